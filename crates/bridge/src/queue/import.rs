//! From other hosts into a queue.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tombolo::{
    AnyChannel, AnySender, SendAll, SendAllError, SendError, SendTimeoutError, Sender, Spsc,
};
use zenoh::Wait as _;

use super::Ask;
use crate::broadcast::{Inbox, Inlet, Item};
use crate::describe::{Unfit, Watch};
use crate::key;
use crate::route::{Ended, Here};
use crate::site::{Note, Notes, Seat};
use crate::status::{Counts, RouteStatus, State};
use crate::wire::{Form, Header, Origin};

/// So long it waits at most before it looks whether it is to end.
const LOOK: Duration = Duration::from_millis(250);
/// As how often a message counts as delivered that may have been: enough to be seen, and it leaves the
/// channel's own attempts to its receivers.
const MARK: u8 = 1;
/// So long an exporter may wait for a message before it answers.
const PATIENCE: Duration = Duration::from_secs(5);
/// So long it waits before it asks again an exporter that has not answered.
const AGAIN: Duration = Duration::from_millis(200);

/// The queue here, and the notes of what was published.
struct Outlet {
    both: SendAll<(AnySender, Sender<Note, Spsc>)>,
    notes: Notes,
    note: Note,
}

/// What the threads share.
struct Shared<'a> {
    here: &'a Here<'a>,
    status: &'a RouteStatus,
    outlet: Mutex<Outlet>,
    is_bytes: bool,
    fingerprint: u64,
    size: usize,
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
    let size = sender.element_size();
    let Seat { tx, notes, note } = seat;
    let both = SendAll::new((sender, tx)).map_err(Ended::failed)?;
    let (is_bytes, fingerprint) = (channel.is_bytes(), channel.fingerprint());
    let outlet = Mutex::new(Outlet { both, notes, note });
    let complaint = Mutex::default();
    let shared = Shared { here, status, outlet, is_bytes, fingerprint, size, complaint };
    let inbox = Arc::new(Inbox::new(here.route.credit_bytes, true));
    let inlet = Inlet::new(here.session, here.base, &inbox).map_err(Ended::failed)?;
    thread::scope(|scope| {
        let (shared, inbox) = (&shared, &inbox);
        let plain = scope.spawn(move || ending(here, shared.plain(inbox)));
        let mut pulls = BTreeMap::new();
        let mut done = Ok(());
        status.set(State::Running, "");
        while here.goes_on() {
            let there = watch.described(here.session);
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
                let running: &mut thread::ScopedJoinHandle<'_, Result<(), Ended>> =
                    pulls.entry(one.origin.clone()).or_insert_with(|| {
                        scope.spawn(move || ending(here, shared.pull(&origin, watch)))
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
            match inbox.pop(LOOK) {
                None => {}
                Some(Item::Put(put)) => {
                    if let Err(why) = self.publish_plain(&put.payload().to_bytes())? {
                        crate::log::say(&format!("{}: a put was refused: {why}", self.here.base));
                    }
                }
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
        if if self.is_bytes { message.len() > self.size } else { message.len() != self.size } {
            Counts::add(&counts.refused, 1);
            let most = if self.is_bytes { "at most " } else { "" };
            let size = self.size;
            return Ok(Err(format!("a message has {most}{size} bytes, and not {}", message.len())));
        }
        while self.here.goes_on() {
            let sent = self.outlet().both.senders().0.send_timeout(message, LOOK);
            match sent {
                Ok(()) | Err(SendTimeoutError::Unwoken(_)) => {
                    Counts::add(&counts.messages, 1);
                    Counts::add(&counts.bytes, message.len() as u64);
                    return Ok(Ok(()));
                }
                Err(SendTimeoutError::Timeout(())) => {}
                Err(why) => return Err(Ended::failed(why)),
            }
        }
        Ok(Err("the bridge ends".to_owned()))
    }

    /// Pulls from one exporter for as long as it is there.
    fn pull(&self, origin: &str, watch: &Watch) -> Result<(), Ended> {
        let Some(from) = parse(origin) else { return Ok(()) };
        let key = key::pull(self.here.base, origin);
        while self.here.goes_on() {
            let ask = self.ask(from, self.here.route.credit, PATIENCE);
            let Some((header, payload)) = self.query(&key, &ask) else {
                if !watch.described(self.here.session).iter().any(|one| one.origin == origin) {
                    return Ok(());
                }
                self.here.pause(AGAIN);
                continue;
            };
            self.publish(&key, from, &header, &payload)?;
        }
        // What was published last.
        let _ = self.query(&key, &self.ask(from, 0, Duration::ZERO));
        Ok(())
    }

    /// What to ask an exporter for.
    fn ask(&self, from: Origin, credit: u32, wait: Duration) -> Ask {
        let mut outlet = self.outlet();
        let (n, _) = outlet.note.stream(from);
        let stream = outlet.note.streams[n];
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
        let timeout = Duration::from_millis(ask.wait_ms) + Duration::from_secs(10);
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
                    let what = why.payload().to_bytes().into_owned();
                    let what = String::from_utf8_lossy(&what).into_owned();
                    let mut last = self.complaint.lock().unwrap_or_else(PoisonError::into_inner);
                    if *last != what {
                        crate::log::say(&format!("{key}: {what}"));
                        *last = what;
                    }
                    return None;
                }
            };
            let header = Header::decode(&sample.attachment()?.to_bytes()).ok()?;
            let fits = header.form == Form::Queue
                && (self.is_bytes || header.fingerprint == self.fingerprint);
            return fits.then(|| (header, sample.payload().to_bytes().into_owned()));
        }
    }

    /// Publishes each message together with its note.
    fn publish(
        &self,
        key: &str,
        from: Origin,
        header: &Header,
        payload: &[u8],
    ) -> Result<(), Ended> {
        let counts = &self.status.counts;
        let messages = header.messages(payload, self.size);
        let Some(messages) =
            messages.filter(|all| all.iter().all(|message| message.len() <= self.size))
        else {
            Counts::add(&counts.refused, u64::from(header.count));
            return Err(Ended(
                State::Refused,
                format!("{key}: a reply does not have the messages that its header says"),
            ));
        };
        {
            // A session that begins, with whatever number it begins.
            let mut outlet = self.outlet();
            let (n, _) = outlet.note.stream(from);
            let stream = &mut outlet.note.streams[n];
            if stream.session != header.stream {
                (stream.session, stream.next) = (header.stream, header.seq.saturating_sub(1));
            }
        }
        let mut asked = Instant::now();
        for (n, message) in messages.into_iter().enumerate() {
            let seq = header.seq.saturating_add(n as u64);
            while !self.publish_one(from, seq, message, header.mark(n))? {
                if !self.here.goes_on() {
                    return Ok(());
                }
                // The exporter hears that this one lives, and what it has published.
                if asked.elapsed() >= self.here.lease / 4 {
                    asked = Instant::now();
                    let _ = self.query(key, &self.ask(from, 0, Duration::ZERO));
                }
            }
        }
        Ok(())
    }

    /// `false`: there was no room for a while.
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
        if mark > 0 {
            // It may come twice anyhow, and says so. So it need not come together with its note.
            let sent = outlet.both.senders().0.send_redelivered(message, MARK, LOOK);
            match sent {
                Ok(()) | Err(SendTimeoutError::Unwoken(_)) => {}
                Err(SendTimeoutError::Timeout(())) => return Ok(false),
                Err(why) => return Err(Ended::failed(why)),
            }
            let noted = outlet.both.senders().1.send(note);
            noted
                .or_else(|why: SendError<Note>| if why.is_sent() { Ok(()) } else { Err(why) })
                .map_err(Ended::failed)?;
            Counts::add(&counts.repeated, 1);
        } else {
            match outlet.both.send_timeout((message, note), LOOK) {
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

fn parse(origin: &str) -> Option<Origin> {
    let mut bytes = [0; 16];
    for (n, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(origin.get(2 * n..2 * n + 2)?, 16).ok()?;
    }
    Some(Origin(bytes))
}
