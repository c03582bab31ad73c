//! The ends of every kind of ring, and all their operations.

use std::io::{Read, Write};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use tombolo::{
    Broadcast, ByteDelivery, ByteReceiver, ByteSender, Bytes, ChannelError, InPlace, Kind, Mpmc,
    Receiver, Reliable, Segment, Sender, Spsc, Start, Subscriber, TryRecvError, WaitSet, Waitable,
};

use crate::input::Input;

/// No call that does not wait may take longer, on the busiest machine.
pub(crate) const A_CALL: Duration = Duration::from_secs(10);
/// The time-out of a call that has one.
const MOMENT: Duration = Duration::from_micros(1);

/// A message that is not as large as its alignment.
pub(crate) type Element = [u32; 5];
const ELEMENT: Element = [7; 5];

pub(crate) const CAPACITY: usize = 5;
pub(crate) const LONGEST: usize = 40;
/// More than fits.
const MANY: usize = 2 * CAPACITY + 1;

/// How many different things are done that do not wait, or not for long.
pub(crate) const PROMPT: u8 = 6;
/// How many are done that may wait for ever. Their numbers come next.
pub(crate) const WAITING: u8 = 5;

/// Runs a call that does not wait, and panics if it takes too long.
pub(crate) fn timed<R>(what: &str, call: impl FnOnce() -> R) -> R {
    let began = Instant::now();
    let result = call();
    assert!(began.elapsed() < A_CALL, "{what} took {:?}", began.elapsed());
    result
}

/// Where an end is, and after how long a call that waits for ever is ended,
/// by removing the segment; never, if somebody else sees to that.
#[derive(Clone, Copy)]
pub(crate) struct Site<'a> {
    pub(crate) segment: &'a Segment,
    pub(crate) patience: Option<Duration>,
}

impl Site<'_> {
    fn ended<R>(self, what: &str, call: impl FnOnce() -> R) -> R {
        let Some(patience) = self.patience else { return call() };
        thread::scope(|scope| {
            let (tell, told) = mpsc::channel::<()>();
            scope.spawn(move || {
                if told.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
                    let _ = self.segment.remove();
                    if told.recv_timeout(A_CALL) == Err(RecvTimeoutError::Timeout) {
                        eprintln!("{what} waits though the segment is removed");
                        std::process::abort();
                    }
                }
            });
            let result = call();
            drop(tell);
            result
        })
    }
}

/// Waits by a set, with a time-out and without.
fn watched(site: Site<'_>, handle: impl Waitable) {
    let (mut set, mut ready) = (WaitSet::new(site.segment), Vec::new());
    if set.add(handle, 7).is_ok() {
        let _ = timed("try_wait", || set.try_wait(&mut ready));
        let _ = timed("wait", || set.wait(&mut ready, MOMENT));
        assert!(ready.iter().all(|ready| ready.key == 7) && ready.len() <= 1);
    }
}

/// Runs while a message is in this process's hands.
pub(crate) type Meanwhile<'a> = &'a mut dyn FnMut(&mut Input<'_>);

/// A sender or a receiver.
pub(crate) trait End: Send {
    /// Does the thing of this number. The result does not matter, only
    /// that something does. Says how many messages were received.
    fn operate(
        &mut self,
        what: u8,
        site: Site<'_>,
        input: &mut Input<'_>,
        meanwhile: Meanwhile<'_>,
    ) -> usize;
}

/// The operations of one kind of typed channel only.
pub(crate) trait Sends: Kind + Sized {
    fn more_to_send(
        tx: &mut Sender<Element, Self>,
        site: Site<'_>,
        input: &mut Input<'_>,
        meanwhile: Meanwhile<'_>,
    );
}

/// The same of receivers.
pub(crate) trait Receives: InPlace + Sized {
    fn more_to_receive(
        rx: &mut Receiver<Element, Self>,
        site: Site<'_>,
        input: &mut Input<'_>,
        meanwhile: Meanwhile<'_>,
    ) -> usize;
}

impl Sends for Mpmc {
    fn more_to_send(tx: &mut Sender<Element>, _: Site<'_>, _: &mut Input<'_>, _: Meanwhile<'_>) {
        if let Ok(tx) = timed("try_clone", || tx.try_clone()) {
            drop(timed("try_send", || tx.try_send(ELEMENT)));
        }
    }
}

impl Receives for Mpmc {
    fn more_to_receive(
        rx: &mut Receiver<Element>,
        _: Site<'_>,
        _: &mut Input<'_>,
        _: Meanwhile<'_>,
    ) -> usize {
        match timed("try_clone", || rx.try_clone()) {
            Ok(rx) => timed("try_recv", || rx.try_recv()).is_ok().into(),
            Err(_) => 0,
        }
    }
}

impl Sends for Broadcast {
    fn more_to_send(
        tx: &mut Sender<Element, Self>,
        site: Site<'_>,
        input: &mut Input<'_>,
        _: Meanwhile<'_>,
    ) {
        if let Ok(tx) = timed("try_clone", || tx.try_clone()) {
            drop(timed("try_send", || tx.try_send(ELEMENT)));
        }
        std::hint::black_box(timed("slowest", || (tx.slowest(), tx.published(), tx.sequence())));
        let subscribers = input.below(2) as u64;
        drop(site.ended("wait_for", || tx.wait_for(subscribers)));
    }
}

impl Receives for Reliable {
    fn more_to_receive(
        rx: &mut Receiver<Element, Self>,
        _: Site<'_>,
        _: &mut Input<'_>,
        _: Meanwhile<'_>,
    ) -> usize {
        let clone = timed("try_clone", || rx.try_clone());
        drop(timed("skip_to_newest", || rx.skip_to_newest()));
        let got = clone.is_ok_and(|clone| timed("latest", || clone.latest()).is_ok());
        usize::from(got) + usize::from(timed("latest", || rx.latest()).is_ok())
    }
}

/// The subscriber for which nobody waits, which reads nothing in place.
struct Lossy(Subscriber<Bytes>);

impl End for Lossy {
    fn operate(&mut self, what: u8, site: Site<'_>, _: &mut Input<'_>, _: Meanwhile<'_>) -> usize {
        let rx = &self.0;
        let (mut into, mut batch) = (Vec::new(), Vec::new());
        let got = match what {
            0 | 1 => timed("try_recv", || rx.try_recv(&mut into)).is_ok().into(),
            2 => timed("recv_timeout", || rx.recv_timeout(&mut into, MOMENT)).is_ok().into(),
            3 => match timed("latest", || rx.latest()) {
                Ok(message) => {
                    into = message;
                    1
                }
                Err(_) => 0,
            },
            4 => match timed("try_clone", || rx.try_clone()) {
                Ok(clone) => timed("try_recv", || clone.try_recv(&mut into)).is_ok().into(),
                Err(_) => 0,
            },
            5 => {
                let len = timed("len", || rx.len());
                assert!(len <= 3 * rx.capacity(), "{len}");
                std::hint::black_box((rx.missed(), rx.sequence()));
                0
            }
            6 => site.ended("recv", || rx.recv(&mut into)).is_ok().into(),
            7 => site.ended("iter", || rx.iter().take(CAPACITY).flatten().count()),
            _ => {
                drop(site.ended("recv_batch", || rx.recv_batch(&mut batch, MANY)));
                batch.len()
            }
        };
        assert!(into.len() <= LONGEST && batch.iter().all(|message| message.len() <= LONGEST));
        got
    }
}

impl Sends for Spsc {
    fn more_to_send(
        tx: &mut Sender<Element, Spsc>,
        site: Site<'_>,
        input: &mut Input<'_>,
        meanwhile: Meanwhile<'_>,
    ) {
        let most = input.below(MANY);
        if let Ok(mut grant) = site.ended("reserve_slice", || tx.reserve_slice(most)) {
            assert!(grant.len() <= CAPACITY);
            meanwhile(input);
            let (at, count) = (input.below(MANY), input.below(MANY));
            let room = grant.len().saturating_sub(at);
            assert_eq!(grant.write_at(at, &[ELEMENT; MANY][..count]), count.min(room));
            drop(grant.commit(input.below(MANY)));
        }
    }
}

impl Receives for Spsc {
    fn more_to_receive(
        rx: &mut Receiver<Element, Spsc>,
        site: Site<'_>,
        input: &mut Input<'_>,
        meanwhile: Meanwhile<'_>,
    ) -> usize {
        let most = input.below(MANY);
        let Ok(delivery) = site.ended("take_slice", || rx.take_slice(most)) else { return 0 };
        assert!(delivery.len() <= CAPACITY);
        meanwhile(input);
        std::hint::black_box((delivery.iter().flatten().max(), delivery.to_vec()));
        let (count, at) = (delivery.len(), input.below(MANY));
        assert_eq!(delivery.read(at).is_some(), at < count);
        delivery.release(input.below(MANY));
        count
    }
}

impl<K: Sends> End for Sender<Element, K>
where
    Self: Send,
{
    fn operate(
        &mut self,
        what: u8,
        site: Site<'_>,
        input: &mut Input<'_>,
        meanwhile: Meanwhile<'_>,
    ) -> usize {
        match what {
            0 => drop(timed("try_send", || self.try_send(ELEMENT))),
            1 => {
                let batch = [ELEMENT; MANY];
                let most = input.below(MANY + 1);
                drop(timed("try_send_batch", || self.try_send_batch(&batch[..most])));
            }
            2 => drop(timed("send_timeout", || self.send_timeout(ELEMENT, MOMENT))),
            3 | 4 => {
                if let Ok(mut grant) = timed("try_reserve", || self.try_reserve()) {
                    meanwhile(input);
                    grant.write(&ELEMENT);
                    if what == 3 { drop(grant.commit()) } else { grant.abort() }
                }
            }
            5 => {
                let len = timed("len", || self.len());
                assert!(len <= self.capacity(), "{len}");
                watched(site, &*self);
            }
            6 => drop(site.ended("send", || self.send(ELEMENT))),
            7 => drop(site.ended("send_batch", || self.send_batch(&[ELEMENT; MANY]))),
            8 => {
                if let Ok(grant) = site.ended("reserve", || self.reserve()) {
                    meanwhile(input);
                    drop(grant.commit());
                }
            }
            _ => K::more_to_send(self, site, input, meanwhile),
        }
        0
    }
}

impl<K: Receives> End for Receiver<Element, K>
where
    Self: Send,
{
    fn operate(
        &mut self,
        what: u8,
        site: Site<'_>,
        input: &mut Input<'_>,
        meanwhile: Meanwhile<'_>,
    ) -> usize {
        let mut into = Vec::new();
        match what {
            0 => timed("try_recv", || self.try_recv()).is_ok().into(),
            1 => timed("recv_timeout", || self.recv_timeout(MOMENT)).is_ok().into(),
            2 | 3 => {
                let Ok(delivery) = timed("try_take", || self.try_take()) else { return 0 };
                meanwhile(input);
                std::hint::black_box((delivery.read(), delivery.attempts()));
                if what == 2 {
                    delivery.release()
                } else {
                    delivery.give_back()
                }
                1
            }
            4 => timed("take_timeout", || self.take_timeout(MOMENT).is_ok()).into(),
            5 => {
                let len = timed("len", || self.len());
                assert!(len <= self.capacity(), "{len}");
                watched(site, &*self);
                0
            }
            6 => site.ended("recv", || self.recv()).is_ok().into(),
            7 | 8 => {
                let most = if what == 7 { 3 } else { usize::MAX };
                drop(site.ended("recv_batch", || self.recv_batch(&mut into, most)));
                into.len()
            }
            9 => site.ended("iter", || self.iter().take(CAPACITY).flatten().count()),
            _ => K::more_to_receive(self, site, input, meanwhile),
        }
    }
}

impl<K: Kind> End for ByteSender<K>
where
    Self: Send,
{
    fn operate(
        &mut self,
        what: u8,
        site: Site<'_>,
        input: &mut Input<'_>,
        meanwhile: Meanwhile<'_>,
    ) -> usize {
        let length = input.below(LONGEST + 1);
        let message = &[9; LONGEST][..length];
        match what {
            0 | 1 => drop(timed("try_send", || self.try_send(message))),
            2 => drop(timed("send_timeout", || self.send_timeout(message, MOMENT))),
            3 => {
                if let Ok(mut grant) = timed("try_reserve", || self.try_reserve(length)) {
                    assert_eq!(grant.len(), length);
                    meanwhile(input);
                    let (at, bytes) = (input.below(LONGEST + 9), input.below(LONGEST + 9));
                    let room = length.saturating_sub(at);
                    assert_eq!(grant.write_at(at, &[3; LONGEST + 9][..bytes]), bytes.min(room));
                    grant.abort();
                }
            }
            4 => drop(timed("try_send", || self.try_send(&[1; LONGEST + 1])).unwrap_err()),
            5 => {
                // One more for what is left of a ring of packets.
                let len = timed("len", || self.len());
                assert!(len <= self.capacity() + 1, "{len}");
                watched(site, &*self);
            }
            6 => drop(site.ended("send", || self.send(message))),
            7 | 8 => {
                let batch = [message; MANY];
                let batch = &batch[..input.below(MANY + 1)];
                if what == 7 {
                    drop(site.ended("send_batch", || self.send_batch(batch)));
                } else {
                    drop(timed("try_send_batch", || self.try_send_batch(batch)));
                }
            }
            _ => {
                if let Ok(mut grant) = timed("try_reserve", || self.try_reserve(length)) {
                    meanwhile(input);
                    let _ = grant.writer().write_all(message);
                    let shorter = input.below(LONGEST + 9);
                    drop(site.ended("commit", || grant.commit(shorter)));
                }
            }
        }
        0
    }
}

/// Reads a message in every way that takes no trust. A text that was checked
/// stays one, whatever a peer does.
fn looked_at<K: InPlace>(delivery: &ByteDelivery<'_, K>, input: &mut Input<'_>) -> usize {
    let (at, count) = (input.below(LONGEST + 9), input.below(LONGEST + 9));
    let mut part = [0; LONGEST + 9];
    let there = delivery.len().saturating_sub(at);
    assert_eq!(delivery.read_at(at, &mut part[..count]), count.min(there));
    let (mut all, mut copy) = (Vec::new(), b"before".to_vec());
    assert_eq!(delivery.reader().read_to_end(&mut all).unwrap(), delivery.len());
    delivery.append_to(&mut copy);
    assert_eq!(copy.len(), 6 + delivery.len());
    match String::from_utf8(delivery.to_vec()) {
        Ok(text) => text.chars().count(),
        Err(bytes) => bytes.into_bytes().len(),
    }
}

impl<K: InPlace> End for ByteReceiver<K>
where
    Self: Send,
{
    fn operate(
        &mut self,
        what: u8,
        site: Site<'_>,
        input: &mut Input<'_>,
        meanwhile: Meanwhile<'_>,
    ) -> usize {
        let mut into = Vec::new();
        match what {
            0 => match timed("try_recv", || self.try_recv(&mut into)) {
                Ok(length) => {
                    assert!(length <= LONGEST && length == into.len(), "{length}");
                    1
                }
                Err(_) => 0,
            },
            1 => timed("recv_timeout", || self.recv_timeout(&mut into, MOMENT)).is_ok().into(),
            2 | 3 => {
                let Ok(delivery) = timed("try_take", || self.try_take()) else { return 0 };
                assert!(delivery.len() <= LONGEST);
                meanwhile(input);
                std::hint::black_box((looked_at(&delivery, input), delivery.attempts()));
                if what == 2 {
                    delivery.release()
                } else {
                    delivery.give_back()
                }
                1
            }
            4 => timed("take_timeout", || self.take_timeout(MOMENT).is_ok()).into(),
            5 => {
                let len = timed("len", || self.len());
                assert!(len <= self.capacity() + 1, "{len}");
                watched(site, &*self);
                0
            }
            6 => site.ended("recv", || self.recv(&mut into)).is_ok().into(),
            7 => site.ended("take", || self.take().is_ok()).into(),
            _ => {
                let most = if what == 8 { 3 } else { usize::MAX };
                let mut into = Vec::new();
                drop(site.ended("recv_batch", || self.recv_batch(&mut into, most)));
                assert!(into.iter().all(|message| message.len() <= LONGEST));
                into.len()
            }
        }
    }
}

/// A type that not all bytes are a value of.
impl End for Sender<char> {
    fn operate(&mut self, what: u8, _: Site<'_>, _: &mut Input<'_>, _: Meanwhile<'_>) -> usize {
        match what % 2 {
            0 => drop(timed("try_send", || self.try_send('z'))),
            _ => drop(timed("try_send_batch", || self.try_send_batch(&['y'; MANY]))),
        }
        0
    }
}

impl End for Receiver<char> {
    fn operate(&mut self, what: u8, site: Site<'_>, _: &mut Input<'_>, _: Meanwhile<'_>) -> usize {
        if what < PROMPT {
            let got: Result<char, TryRecvError> = timed("try_recv", || self.try_recv());
            got.is_ok_and(|got| char::from_u32(u32::from(got)).is_some()).into()
        } else {
            let mut into = Vec::new();
            drop(site.ended("recv_batch", || self.recv_batch(&mut into, MANY)));
            assert!(into.iter().all(|&got| char::from_u32(u32::from(got)).is_some()));
            into.len()
        }
    }
}

/// The channels, one of each kind of ring; and one more of the first.
pub(crate) const RINGS: [&str; 7] =
    ["many", "one", "many.bytes", "one.bytes", "chars", "all", "all.bytes"];

/// Broadcast channels.
pub(crate) const TO_ALL: [&str; 3] = ["all", "all.bytes", "all.kept"];

/// Opens the sending end of a channel, and makes it where there is none.
pub(crate) fn sender(segment: &Segment, ring: &str) -> Result<Box<dyn End>, ChannelError> {
    let typed = segment.channel::<Element>(ring).capacity(CAPACITY);
    let bytes = segment.bytes(ring).capacity(CAPACITY, LONGEST).redeliver(1);
    Ok(match ring {
        "many" => Box::new(typed.sender()?),
        "one" => Box::new(typed.spsc().sender()?),
        "many.bytes" => Box::new(bytes.sender()?),
        "one.bytes" => Box::new(bytes.spsc().sender()?),
        "all" => Box::new(
            segment
                .broadcast::<Element>(ring)
                .capacity(CAPACITY)
                .publishers(3)
                .reliable(3)
                .publisher()?,
        ),
        "all.bytes" | "all.kept" => Box::new(
            segment
                .broadcast_bytes(ring)
                .capacity(CAPACITY, LONGEST)
                .publishers(if ring == "all.kept" { 2 } else { 1 })
                .reliable(3)
                .publisher()?,
        ),
        _ => Box::new(segment.channel::<char>(ring).capacity(3).sender()?),
    })
}

/// Opens the receiving end.
pub(crate) fn receiver(segment: &Segment, ring: &str) -> Result<Box<dyn End>, ChannelError> {
    let typed = segment.channel::<Element>(ring).capacity(CAPACITY);
    let bytes = segment.bytes(ring).capacity(CAPACITY, LONGEST).redeliver(1);
    Ok(match ring {
        "many" => Box::new(typed.receiver()?),
        "one" => Box::new(typed.spsc().receiver()?),
        "many.bytes" => Box::new(bytes.receiver()?),
        "one.bytes" => Box::new(bytes.spsc().receiver()?),
        "all" => {
            let all = segment.broadcast::<Element>(ring).capacity(CAPACITY);
            Box::new(all.reliable_subscriber_from(Start::Oldest)?)
        }
        "all.bytes" => {
            let all = segment.broadcast_bytes(ring).capacity(CAPACITY, LONGEST);
            Box::new(Lossy(all.subscriber_from(Start::Oldest)?))
        }
        "all.kept" => {
            let all = segment.broadcast_bytes(ring).capacity(CAPACITY, LONGEST);
            Box::new(all.reliable_subscriber_from(Start::Oldest)?)
        }
        _ => Box::new(segment.channel::<char>(ring).capacity(3).receiver()?),
    })
}
