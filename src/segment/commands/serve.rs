//! Serves commands for a participant: the first of its handles that notices a change,
//! blocked or busy, does so for all.

use super::desk::{Stats, Tray, UserCommand};
use super::mail::{Band, Mail, Status, Verb, address};
use super::post::received;
use crate::ring::table::Member;
use crate::segment::participant::{Participant, lock};
use crate::sync::Ordering;
use crate::sys::msg::{Selector, Wait};
use crate::sys::proc;

/// How many requests of a band are served at a time.
const MOST_SERVED: usize = 256;
/// How many messages of a kind are kept: whoever writes more is no friend.
const MOST_KEPT: usize = 1_024;
/// How many commands wait for the application.
const INBOX: usize = 64;

impl Participant {
    /// Serves what has been asked of this process, if it has been called.
    pub(crate) fn serve(&self) {
        // Acquire: what was asked for before the call is in the queue.
        let calls = self.mapped.memory.header().calls.load(Ordering::Acquire);
        if self.desk.seen.load(Ordering::Relaxed) == calls {
            return;
        }
        let mut tray = lock(&self.desk.tray);
        self.desk.seen.store(calls, Ordering::Relaxed);
        let Some(queue) = self.mapped.queue() else {
            return;
        };
        let mut requests = core::mem::take(&mut tray.deferred);
        for band in Band::REQUESTS {
            let own = Selector::Type(address(self.me, band));
            for _ in 0..MOST_SERVED {
                // What cannot be received is asked for again, or given up.
                let Ok(Some((_, bytes))) = received(queue, own, Wait::No) else {
                    break;
                };
                requests.extend(Mail::read(&bytes, self.mapped.generation));
            }
        }
        for request in requests {
            if !self.is_awaited(&request, request.from) {
                continue;
            }
            let Some((status, payload)) = self.answer(&mut tray, &request) else {
                if tray.deferred.len() < MOST_KEPT {
                    tray.deferred.push(request);
                }
                continue;
            };
            let to = request.from;
            if tray.unsent.len() >= MOST_KEPT {
                continue;
            }
            tray.unsent.push((to, Mail { status, payload, from: self.me, ..request }));
        }
        let mut tidied = false;
        // A caller that waits for one of them calls again.
        tray.unsent.retain(|(to, reply)| {
            self.is_awaited(reply, *to)
                && self
                    .mapped
                    .post(queue, address(*to, Band::Reply), reply, &mut tidied)
                    .is_ok_and(|posted| !posted)
        });
    }

    /// Whether somebody still waits for what came of this.
    fn is_awaited(&self, mail: &Mail, by: Member) -> bool {
        mail.deadline > proc::monotonic() && by.is_live(&self.mapped)
    }

    /// What to reply; `None` for not yet.
    fn answer(&self, tray: &mut Tray, request: &Mail) -> Option<(Status, Vec<u8>)> {
        if request.status != Status::Asked {
            return Some((Status::Superseded, Vec::new()));
        }
        let obeyed = request.verb.is_obeyed_in(self.mapped.state());
        let stops = matches!(request.verb, Verb::Pause | Verb::Drain | Verb::Shutdown);
        if obeyed && stops && !self.idle() {
            return None;
        }
        tray.served += 1;
        Some(match request.verb {
            _ if !obeyed => (Status::Superseded, Vec::new()),
            Verb::Stats => {
                let (senders, receivers) = self.endpoints();
                let sleeps = self.desk.sleeps.load(Ordering::Relaxed);
                let stats = Stats { senders, receivers, sleeps, commands: tray.served };
                (Status::Done, stats.bytes())
            }
            Verb::User if tray.takers == 0 => (Status::NobodyTakes, Vec::new()),
            Verb::User if tray.inbox.len() >= INBOX => (Status::InboxFull, Vec::new()),
            Verb::User => {
                let payload = request.payload.clone();
                tray.inbox.push_back(UserCommand { payload, from: request.from.id });
                // The thread that takes them may sleep.
                if self.strike().is_err() {
                    tray.inbox.pop_back();
                    return Some((Status::NobodyTakes, Vec::new()));
                }
                (Status::Done, Vec::new())
            }
            _ => (Status::Done, Vec::new()),
        })
    }

    /// Keeps a reply for whoever of this process has asked for it.
    pub(crate) fn keep_reply(&self, reply: Mail) {
        let mut replies = lock(&self.desk.replies);
        if replies.len() >= MOST_KEPT {
            // Or forged ones would be in the way for good.
            replies.remove(0);
        }
        replies.push(reply);
    }

    /// The replies to one request that others have received; drops those that
    /// nobody waits for any more.
    pub(crate) fn kept_replies(&self, id: u64) -> Vec<Mail> {
        let mut replies = lock(&self.desk.replies);
        let now = proc::monotonic();
        replies.retain(|reply| reply.deadline > now);
        replies.extract_if(.., |reply| reply.id == id).collect()
    }

    /// From now on, commands for the application are kept.
    pub(crate) fn begin_to_take(&self) {
        lock(&self.desk.tray).takers += 1;
    }

    /// Nobody takes them any more, unless somebody else does.
    pub(crate) fn end_taking(&self) {
        if self.guard().in_child() {
            return;
        }
        let mut tray = lock(&self.desk.tray);
        tray.takers = tray.takers.saturating_sub(1);
        if tray.takers == 0 {
            tray.inbox.clear();
        }
    }

    pub(crate) fn take_command(&self) -> Option<UserCommand> {
        lock(&self.desk.tray).inbox.pop_front()
    }
}
