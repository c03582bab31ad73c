//! From a queue to other hosts.

use std::collections::{HashMap, VecDeque};
use std::sync::mpsc::{self, Receiver as Inbox, RecvTimeoutError as Nothing, Sender as Outbox};
use std::thread;
use std::time::{Duration, Instant};

use tombolo::{
    AnyChannel, AnyDelivery, AnyOwnedDelivery, AnyReceiver, Canceller, Fault, RecvTimeoutError,
    Shared,
};
use zenoh::Wait as _;
use zenoh::query::Query;

use super::Ask;
use crate::describe::{Description, Told};
use crate::key;
use crate::route::{Ended, Here};
use crate::site::{Seat, random};
use crate::status::{Counts, RouteStatus, State};
use crate::wire::{Form, Header};

/// So long it waits at most before it looks whether it is to end.
const LOOK: Duration = Duration::from_millis(250);
/// So long it waits for acknowledgements when it is asked to end.
const DRAIN: Duration = Duration::from_secs(3);
/// A reply has at most so many messages.
const MOST: usize = 1 << 16;
/// So many importers pull from one channel at most.
const STREAMS: usize = 64;

/// What a stream's thread is sent.
struct Asked {
    ask: Ask,
    query: Query,
}

/// A stream whose thread runs.
struct Running<'scope> {
    outbox: Outbox<Asked>,
    /// Ends the wait for a message.
    canceller: Canceller,
    thread: thread::ScopedJoinHandle<'scope, ()>,
}

/// Exports until the route's life ends.
pub(crate) fn export(
    here: &Here<'_>,
    channel: &AnyChannel<'_>,
    status: &RouteStatus,
    seat: Seat,
) -> Result<(), Ended> {
    let (asked, queries) = mpsc::channel();
    let at = key::pull(here.base, &here.origin.to_string());
    let _queryable = here
        .session
        .declare_queryable(&at)
        .callback(move |query| drop(asked.send(query)))
        .wait()
        .map_err(Ended::failed)?;
    let what = Description::of(channel, &here.route.segment, here.origin);
    let _told = Told::new(here.session, here.base, &what).map_err(Ended::failed)?;
    // While it is here, senders wait for far receivers, and are not told that there are none.
    let keeper = if channel.is_spsc() { None } else { channel.receiver().ok() };
    status.set(State::Running, "");
    let done = thread::scope(|scope| {
        let mut streams: HashMap<String, Running<'_>> = HashMap::new();
        let mut done = Ok(());
        while here.goes_on() || !streams.is_empty() {
            // Those whose thread has ended.
            streams.retain(|_, stream| !stream.thread.is_finished());
            let query: Query = match queries.recv_timeout(LOOK) {
                Ok(query) => query,
                Err(Nothing::Timeout) => continue,
                Err(Nothing::Disconnected) => break,
            };
            let ask = match Ask::read(|name| query.parameters().get(name)) {
                Ok(ask) => ask,
                Err(why) => {
                    let _ = query.reply_err(why).wait();
                    continue;
                }
            };
            let from = ask.from.clone();
            let mut asked = Asked { ask, query };
            if let Some(stream) = streams.get(&from) {
                match stream.outbox.send(asked) {
                    Ok(()) => {
                        let _ = stream.canceller.cancel();
                        continue;
                    }
                    Err(mpsc::SendError(back)) => asked = back,
                }
            }
            if !here.goes_on() {
                continue;
            }
            if streams.len() >= STREAMS {
                let _ = asked.query.reply_err("too many importers pull from this channel").wait();
                continue;
            }
            let receiver = match channel.receiver() {
                Ok(receiver) => receiver,
                Err(why) => {
                    let _ = asked.query.reply_err(why.to_string()).wait();
                    if let tombolo::ChannelError::Fault(_) = why {
                        done = Err(Ended::failed(why));
                        here.end();
                    }
                    continue;
                }
            };
            let canceller = receiver.canceller();
            let (outbox, inbox) = mpsc::channel();
            let _ = outbox.send(asked);
            let stopper = canceller.clone();
            let is_spsc = channel.is_spsc();
            let (fingerprint, is_bytes) = (channel.fingerprint(), channel.is_bytes());
            let thread = scope.spawn(move || {
                let source = Source::new(receiver, is_spsc);
                let stream = Stream {
                    here,
                    status,
                    source: &source,
                    canceller: stopper,
                    session: random(),
                    next: 1,
                    held: VecDeque::new(),
                    fingerprint,
                    is_bytes,
                };
                if let Err(Ended(state, what)) = stream.serve(&inbox) {
                    status.set(state, &what);
                    here.end();
                }
            });
            streams.insert(from, Running { outbox, canceller, thread });
        }
        done
    });
    drop((seat, keeper));
    done
}

/// A receiving end that may hold messages.
enum Source {
    /// Any number.
    Many(AnyReceiver),
    /// Of an SPSC channel: one.
    One(Shared<AnyReceiver>),
}

enum Held<'a> {
    Many(AnyDelivery<'a>),
    One(AnyOwnedDelivery),
}

impl Source {
    fn new(receiver: AnyReceiver, is_spsc: bool) -> Self {
        if is_spsc { Self::One(receiver.into_shared()) } else { Self::Many(receiver) }
    }

    /// The next message, if one comes in time.
    fn take(&self, wait: Duration) -> Result<Option<Held<'_>>, Ended> {
        let taken = match self {
            Self::Many(receiver) => {
                let taken = receiver.take_shared_timeout(wait);
                taken.map_or(Err(RecvTimeoutError::Timeout), |taken| taken.map(Held::Many))
            }
            Self::One(shared) => shared.take_timeout(wait).map(Held::One),
        };
        match taken {
            Ok(held) => Ok(Some(held)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            // Until another sender comes. Nothing wakes for that.
            Err(RecvTimeoutError::Disconnected) => {
                thread::sleep(wait.min(Duration::from_millis(10)));
                Ok(None)
            }
            Err(RecvTimeoutError::Fault(Fault::Cancelled | Fault::InUse { .. })) => Ok(None),
            Err(why) => Err(Ended::failed(why)),
        }
    }
}

impl Held<'_> {
    fn place(&self) -> &AnyDelivery<'_> {
        match self {
            Self::Many(delivery) => delivery,
            Self::One(delivery) => delivery,
        }
    }

    /// For another receiver, who is to see that it may have been delivered.
    fn give_back_counted(self) {
        match self {
            Self::Many(delivery) => delivery.give_back_counted(),
            Self::One(delivery) => delivery.give_back_counted(),
        }
    }
}

/// What one importer pulls.
struct Stream<'a> {
    here: &'a Here<'a>,
    status: &'a RouteStatus,
    source: &'a Source,
    canceller: Canceller,
    session: u64,
    /// The number of the next message that is taken.
    next: u64,
    /// What was sent and is not acknowledged, the oldest first. The last one has the number before
    /// `next`.
    held: VecDeque<Held<'a>>,
    fingerprint: u64,
    is_bytes: bool,
}

impl Stream<'_> {
    fn serve(mut self, inbox: &Inbox<Asked>) -> Result<(), Ended> {
        let mut heard = Instant::now();
        let mut until = None;
        loop {
            let going = self.here.goes_on();
            if !going {
                let until = *until.get_or_insert_with(|| Instant::now() + DRAIN);
                if self.held.is_empty() || Instant::now() >= until {
                    break;
                }
            }
            let mut asked = match inbox.recv_timeout(LOOK) {
                Ok(asked) => asked,
                Err(Nothing::Timeout) if heard.elapsed() < self.here.lease => continue,
                Err(_) => break,
            };
            heard = Instant::now();
            self.canceller.reset();
            self.acknowledged(&asked.ask);
            // Only the last query is waited for.
            while let Ok(later) = inbox.try_recv() {
                self.acknowledged(&later.ask);
                asked = later;
            }
            self.answer(&asked, going)?;
        }
        // The importer may have published them.
        let held = self.held.len() as u64;
        self.held.drain(..).for_each(Held::give_back_counted);
        self.status.counts.held.fetch_sub(held, std::sync::atomic::Ordering::Relaxed);
        Ok(())
    }

    /// Lets go of what the importer has published.
    fn acknowledged(&mut self, ask: &Ask) {
        if ask.session != self.session {
            return;
        }
        let first = self.next - self.held.len() as u64;
        let count = ask.ack.saturating_add(1).saturating_sub(first).min(self.held.len() as u64);
        let done = self.held.drain(..count as usize);
        let bytes: usize = done.map(|held| held.place().len()).sum();
        let counts = &self.status.counts;
        Counts::add(&counts.messages, count);
        Counts::add(&counts.bytes, bytes as u64);
        counts.held.fetch_sub(count, std::sync::atomic::Ordering::Relaxed);
    }

    /// Sends what is not acknowledged, and then what there is, as far as the credit goes.
    fn answer(&mut self, asked: &Asked, going: bool) -> Result<(), Ended> {
        let Asked { ask, query } = asked;
        let credit = (ask.credit as usize).min(MOST);
        let (mut payload, mut lengths, mut marks) = (Vec::new(), Vec::new(), Vec::new());
        let full = |payload: &Vec<u8>, lengths: &Vec<u32>| {
            lengths.len() >= credit || (payload.len() as u64 >= ask.bytes && !lengths.is_empty())
        };
        let mut add = |held: &Held<'_>, payload: &mut Vec<u8>, lengths: &mut Vec<u32>| {
            let before = payload.len();
            held.place().append_to(payload);
            lengths.push((payload.len() - before) as u32);
            marks.push(held.place().attempts());
        };
        let first = self.next - self.held.len() as u64;
        for held in &self.held {
            if full(&payload, &lengths) {
                break;
            }
            add(held, &mut payload, &mut lengths);
        }
        Counts::add(&self.status.counts.resent, lengths.len() as u64);
        let resent = lengths.len();
        let until = Instant::now() + Duration::from_millis(ask.wait_ms);
        // In order: nothing new before all that is held.
        let all = resent == self.held.len();
        while going && all && !full(&payload, &lengths) {
            let wait = if lengths.is_empty() {
                until.saturating_duration_since(Instant::now()).min(LOOK)
            } else {
                Duration::ZERO
            };
            match self.source.take(wait)? {
                Some(held) => {
                    add(&held, &mut payload, &mut lengths);
                    self.held.push_back(held);
                    self.next += 1;
                    Counts::add(&self.status.counts.held, 1);
                }
                None if !lengths.is_empty() => break,
                None => {
                    let over = Instant::now() >= until || self.canceller.is_cancelled();
                    if over || !self.here.goes_on() {
                        break;
                    }
                }
            }
        }
        let repeated = marks.iter().skip(resent).filter(|&&mark| mark > 0).count() as u64;
        Counts::add(&self.status.counts.repeated, repeated);
        let header = Header {
            form: Form::Queue,
            fingerprint: self.fingerprint,
            origin: self.here.origin,
            stream: self.session,
            seq: first,
            skip: 0,
            lost: 0,
            count: lengths.len() as u32,
            lengths: self.is_bytes.then_some(lengths),
            marks: marks.iter().any(|&mark| mark > 0).then_some(marks),
        };
        let reply = query.reply(query.key_expr().clone(), payload).attachment(header.encode());
        // A reply that is lost is asked for again.
        let _ = reply.wait();
        Ok(())
    }
}
