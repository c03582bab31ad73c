//! From a channel to other hosts.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tombolo::{
    AnyChannel, AnyReceiver, ByteBatch, ChannelError, RecvTimeoutError, Start, TryRecvError,
};
use zenoh::Wait as _;
use zenoh::pubsub::Publisher;
use zenoh::qos::CongestionControl;
use zenoh::sample::Locality;

use super::Imported;
use crate::describe::{Description, Told};
use crate::route::{ALONE, Ended, Here, NOBODY};
use crate::site::{Seat, random};
use crate::status::{Counts, RouteStatus, State};
use crate::wire::{Form, Header};

/// So often an exporter that has nothing to say repeats its number.
const BEAT: Duration = Duration::from_secs(1);
/// So long it waits at most before it looks whether it is to end.
const LOOK: Duration = Duration::from_millis(250);
/// So long it goes on sending what is there when it is asked to end.
const DRAIN: Duration = Duration::from_secs(2);
/// So many messages go together at most.
pub(super) const MOST: usize = 4096;
/// An exporter begins so far before where its predecessor was, whose last puts may not have left.
pub(super) const BEFORE: usize = 256;
const BEFORE_BYTES: usize = 4 << 20;

/// What goes to one channel's importers.
struct Outlet<'a> {
    here: &'a Here<'a>,
    publisher: Publisher<'a>,
    status: &'a RouteStatus,
    /// What all headers have in common.
    header: Header,
    is_bytes: bool,
    said: Instant,
    /// So many positions have been left out, because they came from elsewhere.
    left_out: u64,
}

impl Outlet<'_> {
    /// Puts messages `from..to` of the batch, the first of which is at this position.
    fn put(&mut self, at: u64, batch: &ByteBatch, from: usize, to: usize) -> Result<(), Ended> {
        let seq = at.saturating_sub(self.left_out);
        let header = &mut self.header;
        (header.seq, header.count) = (seq, (to - from) as u32);
        let payload = if to - from == batch.len() {
            batch.as_bytes().to_vec()
        } else {
            let messages = batch.iter().take(to).skip(from);
            messages.fold(Vec::new(), |mut all, message| {
                all.extend_from_slice(message);
                all
            })
        };
        let counts = &self.status.counts;
        if to > from {
            Counts::add(&counts.messages, (to - from) as u64);
            Counts::add(&counts.bytes, payload.len() as u64);
        }
        header.lengths = self.is_bytes.then(|| {
            batch.iter().take(to).skip(from).map(|message| message.len() as u32).collect()
        });
        let put = self.publisher.put(payload).attachment(header.encode());
        put.wait().map_err(Ended::failed)?;
        self.said = Instant::now();
        Ok(())
    }
}

/// Exports until the route's life ends.
pub(crate) fn export(
    here: &Here<'_>,
    channel: &AnyChannel<'_>,
    status: &RouteStatus,
    (seat, imported): (&Mutex<Seat>, Option<&Imported>),
) -> Result<(), Ended> {
    let lock = || seat.lock().unwrap_or_else(PoisonError::into_inner);
    let note = lock().note;
    let before = Some(note.exported).filter(|_| imported.is_none());
    let receiver = subscribe(here, channel, before).map_err(Ended::failed)?;
    let publisher = here
        .session
        .declare_publisher(here.base.to_owned())
        .congestion_control(CongestionControl::Block)
        .express(true)
        .allowed_destination(Locality::Remote)
        .wait()
        .map_err(Ended::failed)?;
    let what = Description::of(channel, &here.route.segment, here.origin);
    let _told = Told::new(here.session, here.base, &what).map_err(Ended::failed)?;
    let header = Header {
        form: Form::Broadcast,
        fingerprint: channel.fingerprint(),
        origin: here.origin,
        stream: random(),
        seq: 0,
        lost: 0,
        count: 0,
        lengths: None,
        marks: None,
    };
    let is_bytes = channel.is_bytes();
    let said = Instant::now();
    let left_out = note.left_out;
    let mut outlet = Outlet { here, publisher, status, header, is_bytes, said, left_out };
    status.set(State::Running, "");
    let mut batch = ByteBatch::new();
    let mut until = None;
    let mut look = Instant::now() + ALONE;
    loop {
        let going = here.goes_on();
        if going && look <= Instant::now() {
            look = Instant::now() + BEAT;
            let taken = outlet.publisher.matching_status().wait().map_err(Ended::failed)?;
            status.set(State::Running, if taken.matching() { "" } else { NOBODY });
        }
        if !going && *until.get_or_insert_with(|| Instant::now() + DRAIN) < Instant::now() {
            break;
        }
        batch.clear();
        let wait = if going { LOOK } else { Duration::ZERO };
        let next = receiver.sequence().unwrap_or_default();
        let came = collect(&receiver, outlet.here.route.batch_bytes, wait, &mut batch);
        let (first, missed) = match came {
            Ok(came) => came,
            Err(why) => return Err(Ended::failed(why)),
        };
        let came = batch.len() as u64;
        if came > 0 {
            send(&mut outlet, &batch, first, imported)?;
        }
        if missed > 0 {
            // By so many positions, or by a gap, which has one.
            let from = next.wrapping_add(came);
            let to = receiver.sequence().unwrap_or_default();
            let passed = to.wrapping_sub(from);
            let foreign = imported.map_or(0, |imported| imported.hold().take_all(from, to));
            outlet.left_out = outlet.left_out.wrapping_add(foreign);
            if foreign < passed {
                let lost = &mut outlet.header.lost;
                *lost = lost.saturating_add(missed.saturating_sub(passed));
                Counts::add(&status.counts.gaps, 1);
                Counts::add(&status.counts.missed, missed.saturating_sub(foreign));
                outlet.put(to, &ByteBatch::new(), 0, 0)?;
            }
        }
        if came > 0 || missed > 0 {
            let mut seat = lock();
            seat.note.exported = receiver.sequence().unwrap_or_default().wrapping_add(1);
            seat.note.left_out = outlet.left_out;
            seat.write();
        } else if !going {
            break;
        }
        if outlet.said.elapsed() >= BEAT {
            Counts::set(&status.counts.lag, receiver.len() as u64);
            outlet.put(receiver.sequence().unwrap_or_default(), &ByteBatch::new(), 0, 0)?;
        }
    }
    // The last number, so that the other side knows what it has missed.
    outlet.put(receiver.sequence().unwrap_or_default(), &ByteBatch::new(), 0, 0)
}

/// Puts the batch, without what was imported.
fn send(
    outlet: &mut Outlet<'_>,
    batch: &ByteBatch,
    first: u64,
    imported: Option<&Imported>,
) -> Result<(), Ended> {
    let Some(imported) = imported else { return outlet.put(first, batch, 0, batch.len()) };
    let foreign: Vec<bool> = {
        let mut noting = imported.hold();
        (first..).take(batch.len()).map(|position| noting.take(position)).collect()
    };
    let mut from = 0;
    for run in foreign.chunk_by(|one, next| one == next) {
        let to = from + run.len();
        if run.first() == Some(&true) {
            outlet.left_out = outlet.left_out.wrapping_add(run.len() as u64);
        } else {
            outlet.put(first + from as u64, batch, from, to)?;
        }
        from = to;
    }
    Ok(())
}

/// Waits for messages, and takes what goes together. The number of the first one, and how many were
/// missed.
fn collect(
    receiver: &AnyReceiver,
    bytes: usize,
    wait: Duration,
    batch: &mut ByteBatch,
) -> Result<(u64, u64), String> {
    let most = (bytes / receiver.element_size().max(1)).clamp(1, MOST / 4);
    match receiver.recv_batch_into_timeout(batch, most, wait) {
        Ok(_) => {}
        Err(RecvTimeoutError::Timeout) => return Ok((0, 0)),
        Err(RecvTimeoutError::Lagged(missed)) => return Ok((0, missed)),
        // Until another publisher comes. Nothing wakes for that.
        Err(RecvTimeoutError::Disconnected) => {
            std::thread::sleep(wait.min(Duration::from_millis(10)));
            return Ok((0, 0));
        }
        Err(why) => return Err(why.to_string()),
    }
    let next = receiver.sequence().unwrap_or_default();
    let first = next.wrapping_sub(batch.len() as u64);
    while batch.as_bytes().len() < bytes && batch.len() < MOST {
        match receiver.try_recv_batch_into(batch, most) {
            Ok(1..) => {}
            Ok(0)
            | Err(TryRecvError::Empty | TryRecvError::Pending | TryRecvError::Disconnected) => {
                break;
            }
            Err(TryRecvError::Lagged(missed)) => return Ok((first, missed)),
            Err(why) => return Err(why.to_string()),
        }
    }
    Ok((first, 0))
}

/// A subscriber that begins a little before where the last exporter was.
fn subscribe(
    here: &Here<'_>,
    channel: &AnyChannel<'_>,
    exported: Option<u64>,
) -> Result<AnyReceiver, ChannelError> {
    let at = |start| {
        if here.route.reliable {
            channel.reliable_subscriber_from(start)
        } else {
            channel.subscriber_from(start)
        }
    };
    let Some(next) = exported.and_then(|exported| exported.checked_sub(1)) else {
        return at(Start::Newest);
    };
    let published = channel.subscriber_from(Start::Newest)?.sequence().unwrap_or_default();
    let again = (BEFORE_BYTES / channel.element_size().max(1)).clamp(1, BEFORE) as u64;
    at(Start::Last(published.saturating_sub(next).saturating_add(again)))
}
