//! From other hosts into a queue.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tombolo::{AnyChannel, AnySender, SendAll, SendAllError, SendTimeoutError, Sender, Spsc};
use tombolo_cli::plain::plain;
use zenoh::Wait as _;

use super::Ask;
use crate::broadcast::{Inbox, Inlet, Item};
use crate::describe::{Length, Unfit, Watch};
use crate::key;
use crate::route::{Ended, Here};
use crate::site::{Note, Notes, STREAMS, Seat};
use crate::status::{Counts, RouteStatus, State};
use crate::wire::{Form, Header, Origin};

/// So long it waits at most before it looks whether it is to end.
const LOOK: Duration = Duration::from_millis(250);
/// As how often a message counts as delivered that may have been: enough to be seen, and it leaves the
/// channel's own attempts to its receivers.
const MARK: u8 = 1;
/// So long an exporter may wait for a message before it answers, at most, …
const PATIENCE: Duration = Duration::from_secs(5);
/// … and so much longer its answer may take.
const ANSWER: Duration = Duration::from_secs(10);
/// How often it looks for room before it asks for more.
const ROOM: Duration = Duration::from_millis(5);
/// So long it waits before it asks again an exporter that has not answered.
const AGAIN: Duration = Duration::from_millis(200);
/// How often it looks whether there is room. Others publish meanwhile.
const NO_ROOM: Duration = Duration::from_millis(1);
/// As much of a complaint is shown.
const COMPLAINT: usize = 1000;

/// The queue here, and the notes of what was published.
struct Outlet {
    both: SendAll<(AnySender, Sender<Note, Spsc>)>,
    notes: Notes,
    note: Note,
}

/// What an exporter has answered.
struct Reply<'a> {
    key: &'a str,
    from: Origin,
    header: &'a Header,
    /// When it was asked.
    asked: Instant,
    /// How long the exporter holds them after that.
    lease: Duration,
}

/// What the threads share.
struct Shared<'a> {
    here: &'a Here<'a>,
    status: &'a RouteStatus,
    outlet: Mutex<Outlet>,
    length: Length,
    fingerprint: u64,
    /// What an exporter answered last that it cannot do.
    complaint: Mutex<String>,
}

/// Imports until the route's life ends.
pub(crate) fn import(
    here: &Here<'_>,
    channel: &AnyChannel<'_>,
    status: &RouteStatus,
    seat: Seat,
    watch: &Watch,
) -> Result<(), Ended> {
    let sender = channel.sender().map_err(Ended::failed)?;
    let Seat { tx, notes, note } = seat;
    let both = SendAll::new((sender, tx)).map_err(Ended::failed)?;
    let (length, fingerprint) = (Length::of(channel), channel.fingerprint());
    let outlet = Mutex::new(Outlet { both, notes, note });
    let complaint = Mutex::default();
    let shared = Shared { here, status, outlet, length, fingerprint, complaint };
    let inbox = Arc::new(Inbox::new(here.route.credit_bytes, true));
    let inlet = Inlet::of_queue(here, &inbox).map_err(Ended::failed)?;
    thread::scope(|scope| {
        let (shared, inbox) = (&shared, &inbox);
        let plain = scope.spawn(move || ending(here, shared.plain(inbox)));
        let mut pulls = BTreeMap::new();
        let mut done = Ok(());
        status.set(State::Running, "");
        while here.goes_on() {
            if let Err(why) = here.stands() {
                done = Err(why);
                here.end();
                break;
            }
            let there = watch.described();
            let mut unfit = None;
            for one in &there {
                match one.fits(channel, &here.route.segment) {
                    Ok(()) => {}
                    Err(Unfit::Mismatch(what) | Unfit::Failed(what)) => {
                        unfit = Some(what);
                        continue;
                    }
                }
                // Its own, by a circle.
                if one.origin == here.origin.to_string() {
                    continue;
                }
                let origin = one.origin.clone();
                let theirs = Duration::from_millis(one.lease_ms);
                let lease = if theirs.is_zero() { here.lease } else { theirs.min(here.lease) };
                if pulls.len() >= STREAMS && !pulls.contains_key(&origin) {
                    unfit = Some(format!("{STREAMS} hosts export it, and there are more"));
                    continue;
                }
                let running: &mut thread::ScopedJoinHandle<'_, Result<(), Ended>> =
                    pulls.entry(one.origin.clone()).or_insert_with(|| {
                        scope.spawn(move || ending(here, shared.pull(&origin, lease, watch)))
                    });
                if running.is_finished()
                    && let Some(ended) = pulls.remove(&one.origin)
                    && let Ok(Err(why)) = ended.join()
                {
                    done = Err(why);
                }
            }
            match unfit {
                Some(what) => status.set(State::Refused, &what),
                None => status.set(State::Running, ""),
            }
            watch.wait(LOOK);
        }
        inbox.close();
        for ended in pulls.into_values().chain([plain]) {
            match ended.join() {
                Ok(one) => done = done.and(one),
                Err(_) => done = Err(Ended::failed("a thread of the importer panicked")),
            }
        }
        drop(inlet);
        done
    })
}

/// A thread that fails ends the route's life.
fn ending(here: &Here<'_>, done: Result<(), Ended>) -> Result<(), Ended> {
    if done.is_err() {
        here.end();
    }
    done
}

impl Shared<'_> {
    fn outlet(&self) -> MutexGuard<'_, Outlet> {
        self.outlet.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Publishes what plain clients put.
    fn plain(&self, inbox: &Inbox) -> Result<(), Ended> {
        while self.here.goes_on() {
            Counts::add(&self.status.counts.refused, inbox.take_refused());
            match inbox.pop(LOOK) {
                None => {}
                // There is no subscriber of a queue.
                Some(Item::Put(_)) => {}
                Some(Item::Query(query)) => {
                    let payload = query.payload().map(|payload| payload.to_bytes());
                    let done = match payload {
                        Some(message) => self.publish_plain(&message)?,
                        None => Err("a query here has the message as its payload".to_owned()),
                    };
                    let key = query.key_expr().clone();
                    let _ = match done {
                        Ok(()) => query.reply(key, "ok").wait(),
                        Err(why) => query.reply_err(why).wait(),
                    };
                }
            }
        }
        Ok(())
    }

    fn publish_plain(&self, message: &[u8]) -> Result<Result<(), String>, Ended> {
        let counts = &self.status.counts;
        if !self.length.fits(message) {
            Counts::add(&counts.refused, 1);
            return Ok(Err(self.length.refusal(message)));
        }
        while self.here.goes_on() {
            let sent = self.outlet().both.senders().0.send_timeout(message, Duration::ZERO);
            match sent {
                Ok(()) | Err(SendTimeoutError::Unwoken(_)) => {
                    Counts::add(&counts.messages, 1);
                    Counts::add(&counts.bytes, message.len() as u64);
                    return Ok(Ok(()));
                }
                Err(SendTimeoutError::Timeout(())) => self.here.pause(NO_ROOM),
                Err(why) => return Err(Ended::failed(why)),
            }
        }
        Ok(Err("the bridge ends".to_owned()))
    }

    /// Pulls from one exporter for as long as it is there.
    fn pull(&self, origin: &str, lease: Duration, watch: &Watch) -> Result<(), Ended> {
        let Some(from) = Origin::parse(origin) else { return Ok(()) };
        let key = key::pull(self.here.base, origin);
        let mut acknowledged = None;
        while self.here.goes_on() {
            // Without room there is no credit: what is full here is held where it comes from. But
            // what is published is acknowledged.
            let credit = self.room().min(self.here.route.credit);
            let ask = self.ask(from, credit, PATIENCE.min(lease / 3));
            if credit == 0 && acknowledged == Some((ask.session, ask.ack)) {
                self.here.pause(ROOM);
                continue;
            }
            acknowledged = Some((ask.session, ask.ack));
            let asked = Instant::now();
            let reply = self.query(&key, &ask);
            let Some((header, payload)) = reply else {
                if !watch.origins().contains(&from) {
                    return Ok(());
                }
                self.here.pause(AGAIN);
                continue;
            };
            let Some(messages) = header.messages(&payload, self.length.size) else {
                self.complain(&key, "a reply does not have the messages that its header says");
                self.here.pause(AGAIN);
                continue;
            };
            if !messages.is_empty() {
                self.begin(from, &header, watch);
            }
            self.publish(&Reply { key: &key, from, header: &header, asked, lease }, &messages)?;
        }
        // What was published last.
        let _ = self.query(&key, &self.ask(from, 0, Duration::ZERO));
        Ok(())
    }

    /// How many messages there is room for, now or a moment ago.
    fn room(&self) -> u32 {
        let outlet = self.outlet();
        let sender = &outlet.both.senders().0;
        u32::try_from(sender.capacity().saturating_sub(sender.len())).unwrap_or(u32::MAX)
    }

    /// What to ask an exporter for.
    fn ask(&self, from: Origin, credit: u32, wait: Duration) -> Ask {
        let stream = self.outlet().note.find(from).unwrap_or_default();
        Ask {
            from: self.here.origin.to_string(),
            session: stream.session,
            ack: stream.next,
            credit,
            bytes: self.here.route.credit_bytes,
            wait_ms: wait.as_millis() as u64,
        }
    }

    fn query(&self, key: &str, ask: &Ask) -> Option<(Header, Vec<u8>)> {
        let timeout = Duration::from_millis(ask.wait_ms) + ANSWER;
        let replies = self.here.session.get(ask.selector(key)).timeout(timeout).wait().ok()?;
        let until = Instant::now() + timeout;
        loop {
            let reply = match replies.recv_timeout(LOOK) {
                Ok(Some(reply)) => reply,
                Ok(None) if Instant::now() < until && self.here.goes_on() => continue,
                _ => return None,
            };
            let sample = match reply.into_result() {
                Ok(sample) => sample,
                Err(why) => {
                    let said = why.payload().to_bytes();
                    let said = said.get(..COMPLAINT.min(said.len())).unwrap_or_default();
                    self.complain(key, &String::from_utf8_lossy(said));
                    return None;
                }
            };
            let header = Header::decode(&sample.attachment()?.to_bytes()).ok()?;
            let fits = header.form == Form::Queue
                && (self.length.is_bytes || header.fingerprint == self.fingerprint);
            return fits.then(|| (header, sample.payload().to_bytes().into_owned()));
        }
    }

    /// Says what an exporter has answered that it cannot do, or has done wrong.
    fn complain(&self, key: &str, what: &str) {
        let what = plain(what);
        let mut last = self.complaint.lock().unwrap_or_else(PoisonError::into_inner);
        if *last != what {
            crate::log::say(&format!("{key}: {what}"));
            *last = what;
        }
    }

    /// Notes that a session begins, with whatever number it begins. Of the other streams, only
    /// those that are not there any more make room for a new one.
    fn begin(&self, from: Origin, header: &Header, watch: &Watch) {
        let mut outlet = self.outlet();
        if outlet.note.find(from).is_none() {
            let there = watch.origins();
            outlet.note.keep(|origin| there.contains(&origin));
        }
        let (n, _) = outlet.note.stream(from);
        let stream = &mut outlet.note.streams[n];
        if stream.session != header.stream {
            (stream.session, stream.next) = (header.stream, header.seq.saturating_sub(1));
        }
    }

    /// Publishes each message together with its note, as long as the exporter holds them for
    /// this importer: it counts on that for the lease.
    fn publish(&self, reply: &Reply<'_>, messages: &[&[u8]]) -> Result<(), Ended> {
        let (mut heard, mut asked) = (reply.asked, reply.asked);
        for (n, message) in messages.iter().enumerate() {
            let seq = reply.header.seq.saturating_add(n as u64);
            loop {
                if !self.here.goes_on() || heard.elapsed() >= reply.lease {
                    return Ok(());
                }
                let published = self.publish_one(reply.from, seq, message, reply.header.mark(n))?;
                // The exporter hears that this one lives, and what it has published.
                if asked.elapsed() >= reply.lease / 4 {
                    asked = Instant::now();
                    let ask = self.ask(reply.from, 0, Duration::ZERO);
                    match self.query(reply.key, &ask) {
                        Some((header, _)) if header.stream == reply.header.stream => heard = asked,
                        // It has given back what it held.
                        Some(_) => return Ok(()),
                        None => {}
                    }
                }
                if published {
                    break;
                }
                self.here.pause(NO_ROOM);
            }
        }
        Ok(())
    }

    /// `false`: there is no room.
    fn publish_one(&self, from: Origin, seq: u64, message: &[u8], mark: u8) -> Result<bool, Ended> {
        let counts = &self.status.counts;
        let mut outlet = self.outlet();
        let mut note = outlet.note;
        let (n, _) = note.stream(from);
        if seq <= note.streams[n].next {
            Counts::add(&counts.skipped, 1);
            return Ok(true);
        }
        note.streams[n].next = seq;
        if !self.length.fits(message) {
            // It goes no further: acknowledged, and counted.
            outlet.note = note;
            Counts::add(&counts.refused, 1);
            return Ok(true);
        }
        if mark > 0 {
            // It may come twice anyhow, and says so. So it need not come together with its note.
            let sent = outlet.both.senders().0.send_redelivered(message, MARK, Duration::ZERO);
            match sent {
                Ok(()) | Err(SendTimeoutError::Unwoken(_)) => {}
                Err(SendTimeoutError::Timeout(())) => return Ok(false),
                Err(why) => return Err(Ended::failed(why)),
            }
            if let Err(why) = outlet.both.senders().1.send(note)
                && !why.is_sent()
            {
                return Err(Ended::failed(why));
            }
            Counts::add(&counts.repeated, 1);
        } else {
            match outlet.both.send_timeout((message, note), Duration::ZERO) {
                Ok(()) | Err(SendAllError { reason: SendTimeoutError::Unwoken(_), .. }) => {}
                Err(SendAllError { reason: SendTimeoutError::Timeout(_), .. }) => return Ok(false),
                Err(why) => return Err(Ended::failed(why)),
            }
        }
        outlet.note = note;
        outlet.notes.written();
        Counts::add(&counts.messages, 1);
        Counts::add(&counts.bytes, message.len() as u64);
        Ok(true)
    }
}
