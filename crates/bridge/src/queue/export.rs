//! From a queue to other hosts.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{
    self, Receiver as Inbox, RecvTimeoutError as Nothing, SyncSender as Outbox, TrySendError,
};
use std::thread;
use std::time::{Duration, Instant};

use tombolo::{
    AnyChannel, AnyDelivery, AnyOwnedDelivery, AnyReceiver, Canceller, Fault, RecvTimeoutError,
    Shared,
};
use tombolo_cli::terms::millis;
use zenoh::Wait as _;
use zenoh::query::Query;

use super::Ask;
use crate::broadcast::extras;
use crate::describe::{Description, Told};
use crate::key;
use crate::route::{ALONE, Ended, Here, NOBODY};
use crate::site::{Seat, random};
use crate::status::{Counts, RouteStatus, State};
use crate::wire::{Form, Header};

/// So long it waits at most before it looks whether it is to end.
const LOOK: Duration = Duration::from_millis(250);
/// So long it waits for acknowledgements when it is asked to end.
const DRAIN: Duration = Duration::from_secs(3);
/// A reply has at most so many messages.
const MOST: usize = crate::wire::MOST;
/// So many importers pull from one channel at most.
const STREAMS: usize = 64;
/// So many queries wait at most, of all and of one importer. Others are dropped: each is asked again.
const QUERIES: usize = 256;
const QUERIES_OF_ONE: usize = 4;
/// So many bytes a query has at most.
const LONGEST_QUERY: usize = 4096;

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
    let (asked, queries) = mpsc::sync_channel(QUERIES);
    let at = key::pull(here.base, &here.origin.to_string());
    let _queryable = here
        .session
        .declare_queryable(&at)
        // One with more than it has to say would take room for nothing.
        .callback(move |query| {
            let more = query.payload().map_or(0, |payload| payload.len());
            if more + extras(&query) <= LONGEST_QUERY {
                drop(asked.try_send(query));
            }
        })
        .wait()
        .map_err(Ended::failed)?;
    let mut what = Description::of(channel, &here.route.segment, here.origin);
    what.lease_ms = millis(here.lease);
    let _told = Told::new(here.session, here.base, &what).map_err(Ended::failed)?;
    // While it is here, senders wait for far receivers, and are not told that there are none.
    let keeper = if channel.is_spsc() { None } else { channel.receiver().ok() };
    status.set(State::Running, "");
    let begun = Instant::now();
    let done = thread::scope(|scope| {
        let mut streams: HashMap<String, Running<'_>> = HashMap::new();
        let mut done = Ok(());
        while here.goes_on() || !streams.is_empty() {
            // Those whose thread has ended.
            streams.retain(|_, stream| !stream.thread.is_finished());
            if here.goes_on() && begun.elapsed() >= ALONE {
                status.set(State::Running, if streams.is_empty() { NOBODY } else { "" });
            }
            let query: Query = match queries.recv_timeout(LOOK) {
                Ok(query) => query,
                Err(Nothing::Timeout) => {
                    if let Err(why) = here.stands() {
                        done = Err(why);
                        here.end();
                    }
                    continue;
                }
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
                // Before it is there: its own wait is not to be ended.
                let _ = stream.canceller.cancel();
                match stream.outbox.try_send(asked) {
                    Ok(()) | Err(TrySendError::Full(_)) => continue,
                    Err(TrySendError::Disconnected(back)) => asked = back,
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
            let (outbox, inbox) = mpsc::sync_channel(QUERIES_OF_ONE);
            let _ = outbox.try_send(asked);
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
                    is_spsc,
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
    Many(Box<AnyReceiver>),
    /// Of an SPSC channel: one.
    One(Shared<AnyReceiver>),
}

enum Held<'a> {
    Many(AnyDelivery<'a>),
    One(AnyOwnedDelivery),
}

impl Source {
    fn new(receiver: AnyReceiver, is_spsc: bool) -> Self {
        if is_spsc { Self::One(receiver.into_shared()) } else { Self::Many(Box::new(receiver)) }
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

    fn release(self) {
        match self {
            Self::Many(delivery) => delivery.release(),
            Self::One(delivery) => delivery.release(),
        }
    }

    /// For another receiver, who is to see that it may have been delivered. One attempt says that:
    /// more would have the channel drop it in the end.
    fn give_back(self) {
        let seen = self.place().attempts() > 0;
        match self {
            Self::Many(delivery) if seen => delivery.give_back(),
            Self::One(delivery) if seen => delivery.give_back(),
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
    is_spsc: bool,
}

/// However a stream ends, its importer may have published what it holds.
impl Drop for Stream<'_> {
    fn drop(&mut self) {
        self.status.counts.held.fetch_sub(self.held.len() as u64, Ordering::Relaxed);
        self.held.drain(..).for_each(Held::give_back);
    }
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
            self.canceller.reset();
            self.acknowledged(&asked.ask);
            // Only the last query is waited for.
            while let Ok(later) = inbox.try_recv() {
                self.acknowledged(&later.ask);
                asked = later;
            }
            self.answer(&asked, going)?;
            // It has waited for messages meanwhile, and the importer for an answer.
            heard = Instant::now();
        }
        Ok(())
    }

    /// Lets go of what the importer has published.
    fn acknowledged(&mut self, ask: &Ask) {
        if ask.session != self.session {
            return;
        }
        let first = self.next - self.held.len() as u64;
        let count = ask.ack.saturating_add(1).saturating_sub(first).min(self.held.len() as u64);
        let mut bytes = 0;
        for held in self.held.drain(..count as usize) {
            bytes += held.place().len();
            held.release();
        }
        let counts = &self.status.counts;
        Counts::add(&counts.messages, count);
        Counts::add(&counts.bytes, bytes as u64);
        counts.held.fetch_sub(count, Ordering::Relaxed);
    }

    /// Sends what is not acknowledged, and then what there is, as far as the credit goes.
    fn answer(&mut self, asked: &Asked, going: bool) -> Result<(), Ended> {
        let Asked { ask, query } = asked;
        let credit = (ask.credit as usize).min(MOST);
        let most = ask.bytes.min(self.here.route.credit_bytes);
        let (mut payload, mut lengths, mut marks) = (Vec::new(), Vec::new(), Vec::new());
        let full = |payload: &Vec<u8>, lengths: &Vec<u32>| {
            lengths.len() >= credit || (payload.len() as u64 >= most && !lengths.is_empty())
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
        let until = Instant::now() + Duration::from_millis(ask.wait_ms).min(self.here.lease / 2);
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
        // An importer that does not know the session does not know what it has had of it.
        if ask.session != self.session {
            marks.iter_mut().take(resent).for_each(|mark| *mark = (*mark).max(1));
        }
        // What an SPSC channel is given back, it does not count: it is the first one of a session.
        if self.is_spsc
            && first == 1
            && let Some(mark) = marks.first_mut()
        {
            *mark = (*mark).max(1);
        }
        let repeated = marks.iter().skip(resent).filter(|&&mark| mark > 0).count() as u64;
        Counts::add(&self.status.counts.repeated, repeated);
        let header = Header {
            form: Form::Queue,
            fingerprint: self.fingerprint,
            origin: self.here.origin,
            stream: self.session,
            seq: first,
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
