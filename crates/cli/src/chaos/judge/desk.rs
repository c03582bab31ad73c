//! The judge of a storm of calls: the conclusions that the notes of clients and servers allow.
//!
//! A call that a server has taken is a *serving*. A server notes what it is about to do with
//! it, and what it has done, so a server that is killed in between may have done it or not.
//!
//! - **Servings** come one after the other. Each but the last was given back, or its server
//!   was killed before the next one took the call; so many deaths at most as the client has
//!   allowed. Nobody takes a call that had ended when it asked for one.
//! - **A reply** is to its call, whole, and of the server that served the call last.
//! - **A client that a reply was for**, as the server was told, has it, unless the client was
//!   killed or gave the call up without looking. One that was told of a time-out or an error
//!   had none.
//! - **A server's death** is told only if so many servers have been killed over the call as that
//!   takes: in their notes they have it, or they were killed while they asked for one
//!   ([`Window`]).
//! - **No server** is told only if at some instant of the call no server was certainly there.
//! - **Each call** of a client that lives comes to its end.

use std::collections::{BTreeMap, HashMap};

use super::{End, Findings, Id, Note, Seat};
use crate::chaos::ledger::{Deed, How};
use crate::chaos::marks::Marks;
use crate::chaos::windows::{Claim, Window, match_up};

/// One time that a server had a call.
#[derive(Debug)]
struct Serving {
    server: (u16, u32),
    /// When it had asked for a call, and when it noted that it has this one.
    asked_at: u64,
    at: u64,
    deed: Option<Deed>,
    /// When its server was still alive, if it was killed before it has noted the end of this.
    died: Option<u64>,
}

/// What a serving may have come to: which of these, the notes leave open for a dead server.
impl Serving {
    fn may_have(&self, about: Deed, done: Deed) -> bool {
        self.deed == Some(done) || self.died.is_some() && self.deed == Some(about)
    }

    fn may_have_replied(&self) -> bool {
        self.may_have(Deed::Replying, Deed::Replied)
    }

    fn may_have_given_back(&self) -> bool {
        self.may_have(Deed::GivingBack, Deed::GaveBack)
    }

    /// Whether no other serving can follow.
    const fn is_final(&self) -> bool {
        matches!(self.deed, Some(Deed::Replied | Deed::Unwanted | Deed::Refused))
    }
}

/// A call that is not settled.
#[derive(Debug)]
struct Call {
    begun_at: u64,
    repeats: u8,
    servings: Vec<Serving>,
    /// How it has ended for its client, when, and who has replied.
    ended: Option<(How, u64, (u16, u32))>,
    /// Its client was killed before it noted the end.
    orphan: bool,
}

/// A server that is there.
#[derive(Debug, Default)]
struct Server {
    asking: Option<u64>,
    held: Vec<Id>,
    up_at: Option<u64>,
}

#[derive(Debug)]
pub(super) struct Desk {
    calls: HashMap<Id, Call>,
    /// Those that are settled, by client and its life.
    settled: BTreeMap<(u16, u32), Marks>,
    /// Of each client, those that have not ended.
    under_way: Vec<Vec<Id>>,
    servers: Vec<Server>,
    windows: Vec<Window>,
    /// When some server was certainly there.
    attended: Vec<(u64, u64)>,
}

impl Desk {
    pub(super) fn new(clients: u16, servers: u16) -> Self {
        Self {
            calls: HashMap::new(),
            settled: BTreeMap::new(),
            under_way: vec![Vec::new(); usize::from(clients)],
            servers: (0..servers).map(|_| Server::default()).collect(),
            windows: Vec::new(),
            attended: Vec::new(),
        }
    }

    /// Hears what a worker in its `life` has noted.
    pub(super) fn hear(
        &mut self,
        seat: Seat,
        life: u32,
        (at, note): (u64, Note),
        findings: &mut Findings,
    ) {
        match seat {
            Seat::Producer(seat) => self.hear_client((seat, life), at, note, findings),
            Seat::Consumer(seat) => self.hear_server((seat, life), at, note, findings),
            Seat::Side => {}
        }
    }

    fn hear_client(
        &mut self,
        (producer, life): (u16, u32),
        at: u64,
        note: Note,
        findings: &mut Findings,
    ) {
        let Some(under_way) = self.under_way.get_mut(usize::from(producer)) else { return };
        match note {
            Note::Calling { number, repeats } => {
                let id = Id { producer, life, number };
                let call = Call {
                    begun_at: at,
                    repeats,
                    servings: Vec::new(),
                    ended: None,
                    orphan: false,
                };
                self.calls.insert(id, call);
                under_way.push(id);
            }
            Note::Ended { number, how, server } => {
                let id = Id { producer, life, number };
                under_way.retain(|&other| other != id);
                if how == How::Answered {
                    findings.messages += 1;
                }
                if let Some(call) = self.calls.get_mut(&id) {
                    call.ended = Some((how, at, server));
                }
                self.settle(id, findings);
            }
            _ => {}
        }
    }

    fn hear_server(&mut self, server: (u16, u32), at: u64, note: Note, findings: &mut Findings) {
        let Some(there) = self.servers.get_mut(usize::from(server.0)) else { return };
        match note {
            Note::Up => there.up_at = Some(at),
            Note::Down => self.attended.extend(there.up_at.take().map(|up| (up, at))),
            Note::Asking { .. } => there.asking = Some(at),
            Note::Done => there.asking = None,
            Note::Torn => {
                there.asking = None;
                let what = || format!("server {} took a torn request", server.0);
                findings.wrong(|findings| &mut findings.torn, 1, what);
            }
            Note::Took(id, _) => {
                let asked_at = there.asking.take().unwrap_or(at);
                let Some(call) = self.calls.get_mut(&id) else {
                    let settled = self.settled.get(&(id.producer, id.life));
                    let again = settled.is_some_and(|settled| settled.contains(id.number));
                    let what = || format!("server {} took {}", server.0, stranger(id, again));
                    return if again {
                        findings.wrong(|findings| &mut findings.duplicated, 1, what);
                    } else {
                        findings.wrong(|findings| &mut findings.torn, 1, what);
                    };
                };
                there.held.push(id);
                call.servings.push(Serving { server, asked_at, at, deed: None, died: None });
            }
            Note::Lets(id, deed) => {
                let over = deed.is_done();
                if over {
                    there.held.retain(|&held| held != id);
                }
                let serving = self.calls.get_mut(&id).and_then(|call| call.serving_of(server));
                if let Some(serving) = serving {
                    serving.deed = Some(deed);
                }
                if over {
                    self.settle(id, findings);
                }
            }
            _ => {}
        }
    }

    /// Hears how a life ended, after everything that it noted.
    pub(super) fn end(&mut self, seat: Seat, life: u32, end: End, findings: &mut Findings) {
        match (seat, end) {
            (Seat::Producer(seat), End::Killed { .. }) => {
                let Some(under_way) = self.under_way.get_mut(usize::from(seat)) else { return };
                findings.held_by_dead += under_way.len() as u64;
                for id in under_way.drain(..) {
                    self.calls.entry(id).and_modify(|call| call.orphan = true);
                }
            }
            (Seat::Consumer(seat), end) => {
                let Some(server) = self.servers.get_mut(usize::from(seat)) else { return };
                let Server { asking, held, up_at } = std::mem::take(server);
                let End::Killed { signal_at, reaped_at } = end else { return };
                self.attended.extend(up_at.map(|up| (up, signal_at)));
                findings.held_by_dead += held.len() as u64;
                for id in held {
                    let serving = self.calls.get_mut(&id);
                    if let Some(serving) = serving.and_then(|call| call.serving_of((seat, life))) {
                        serving.died = Some(signal_at);
                    }
                }
                self.windows.extend(asking.map(|start| Window {
                    start,
                    signal_at,
                    reaped_at,
                    most: 1,
                    swallows: true,
                    retaken_by: u64::MAX,
                }));
            }
            _ => {}
        }
    }

    /// Judges a call of which all is known.
    fn settle(&mut self, id: Id, findings: &mut Findings) {
        let Some(call) = self.calls.get(&id) else { return };
        let known = |serving: &Serving| serving.deed.is_some_and(Deed::is_done);
        if call.ended.is_some()
            && call.servings.last().is_some_and(Serving::is_final)
            && call.servings.iter().all(known)
            && let Some(call) = self.calls.remove(&id)
        {
            self.settled.entry((id.producer, id.life)).or_default().insert(id.number);
            // Each reply is known, and its server: no death has to explain anything.
            call.judge(id, findings);
        }
    }

    /// The verdict, when all have ended.
    pub(super) fn conclude(mut self, findings: &mut Findings) {
        let there = self.servers.iter().filter_map(|server| server.up_at);
        self.attended.extend(there.map(|up| (up, u64::MAX)));
        self.attended.sort_unstable();
        let mut deaths = Vec::new();
        let mut calls: Vec<_> = self.calls.into_iter().collect();
        calls.sort_unstable_by_key(|(id, _)| *id);
        for (id, call) in calls {
            let silent = call.judge(id, findings);
            if let Some((how, ended_at, _)) = call.ended {
                let claim = Claim::Gone { from: call.begun_at, to: ended_at, deaths_left: None };
                deaths.extend((0..silent).map(|_| (id, claim)));
                if how == How::NoServer && is_covered(&self.attended, call.begun_at, ended_at) {
                    let what = || format!("{id} found no server, and there was one all the time");
                    findings.wrong(|findings| &mut findings.lost, 1, what);
                }
            }
        }
        let claims: Vec<Claim> = deaths.iter().map(|&(_, claim)| claim).collect();
        for ((id, claim), explained) in deaths.iter().zip(match_up(&claims, &self.windows)) {
            if !explained {
                let what = || format!("{id} failed, and no server has died over it: {claim:?}");
                findings.wrong(|findings| &mut findings.lost, 1, what);
            }
        }
    }
}

fn stranger(id: Id, again: bool) -> String {
    if again {
        format!("{id} again, when all was done")
    } else {
        format!("{id}, which nobody made")
    }
}

/// Whether these spans, in order, leave no gap between the two times.
fn is_covered(spans: &[(u64, u64)], from: u64, to: u64) -> bool {
    let mut covered = from;
    for &(start, end) in spans {
        if start <= covered {
            covered = covered.max(end);
        }
    }
    covered >= to
}

impl Call {
    /// The serving of this server that is not over.
    fn serving_of(&mut self, server: (u16, u32)) -> Option<&mut Serving> {
        let over = |serving: &Serving| serving.deed.is_some_and(Deed::is_done);
        self.servings.iter_mut().rev().find(|one| one.server == server && !over(one))
    }

    /// What is wrong with it. Returns how many deaths without a note its end takes.
    fn judge(&self, id: Id, findings: &mut Findings) -> u64 {
        let mut wrong = |count: fn(&mut Findings) -> &mut u64, what: &str| {
            findings.wrong(count, 1, || format!("{id}: {what}: {self:?}"));
        };
        let (mut deaths, mut certain) = (0, 0);
        for pair in self.servings.windows(2) {
            let [one, next] = pair else { continue };
            let died = one.died.is_some_and(|died| died <= next.at);
            if one.may_have_given_back() {
                deaths += u64::from(one.died.is_some());
            } else if died {
                (deaths, certain) = (deaths + 1, certain + 1);
            } else {
                wrong(|findings| &mut findings.duplicated, "it was served twice");
            }
        }
        if certain > u64::from(self.repeats) {
            wrong(|findings| &mut findings.duplicated, "it was repeated too often");
        }
        let Some((how, ended_at, replied_by)) = self.ended else {
            if !self.orphan {
                wrong(|findings| &mut findings.lost, "it has not come to an end");
            }
            return 0;
        };
        if self.servings.iter().any(|serving| serving.asked_at > ended_at) {
            wrong(|findings| &mut findings.duplicated, "it was taken when it had ended");
        }
        let last = self.servings.last();
        let replied = last.is_some_and(|last| last.deed == Some(Deed::Replied));
        match how {
            How::Answered => {
                let by = last.filter(|last| last.server == replied_by);
                if !by.is_some_and(Serving::may_have_replied) {
                    wrong(|findings| &mut findings.reordered, "its reply is of another server");
                }
            }
            How::Another => {
                wrong(|findings| &mut findings.reordered, "it has got another call's reply");
            }
            How::Torn => wrong(|findings| &mut findings.torn, "its reply was torn"),
            How::Unmade if last.is_some() => {
                wrong(|findings| &mut findings.duplicated, "it was served, and never made");
            }
            How::Refused
                if !last.is_some_and(|last| last.may_have(Deed::Refusing, Deed::Refused)) =>
            {
                wrong(|findings| &mut findings.lost, "nobody has refused it");
            }
            How::ServerDied | How::NoServer | How::TimedOut | How::Refused if replied => {
                wrong(|findings| &mut findings.lost, "there was a reply to it");
            }
            How::ServerDied => {
                let died = |last: &&Serving| last.died.is_some_and(|died| died <= ended_at);
                let gone = |last: &Serving| last.may_have_given_back();
                if last.is_some_and(|last| !died(&last) && !gone(last)) {
                    wrong(|findings| &mut findings.lost, "its server was alive");
                    return 0;
                }
                deaths += u64::from(last.is_some_and(|last| died(&last)));
                return (u64::from(self.repeats) + 1).saturating_sub(deaths);
            }
            How::NoServer | How::TimedOut | How::GivenUp | How::Unmade | How::Refused => {}
        }
        0
    }
}
