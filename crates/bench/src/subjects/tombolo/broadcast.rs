//! Broadcast channels, with subscribers of both sorts, and the ways to use them.

use std::marker::PhantomData;
use std::ops::Range;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use tombolo::{
    Broadcast, BroadcastChannel, ChannelError, Kind, Publisher, Receiver, RecvError, Reliable,
    Segment, TrustedPeers, TryRecvError, TrySendError,
};

use super::{BESIDE_TYPED, NAMES, cannot, open, prepare, trust};
use crate::failure::Failure;
use crate::harness::carry::BATCH;
use crate::harness::{Mechanism, Message, Rx, Setting, Shared, Tx, pause};

/// Which sort of subscriber.
pub(super) trait Sort: Kind {
    fn subscriber<const W: usize>(
        channel: &BroadcastChannel<'_, Message<W>>,
    ) -> Result<Receiver<Message<W>, Self>, ChannelError>
    where
        Self: Sized;
}

impl Sort for Broadcast {
    fn subscriber<const W: usize>(
        channel: &BroadcastChannel<'_, Message<W>>,
    ) -> Result<Receiver<Message<W>, Self>, ChannelError> {
        channel.subscriber()
    }
}

impl Sort for Reliable {
    fn subscriber<const W: usize>(
        channel: &BroadcastChannel<'_, Message<W>>,
    ) -> Result<Receiver<Message<W>, Self>, ChannelError> {
        channel.reliable_subscriber()
    }
}

/// A way to publish.
pub(super) trait Publish: Sync + Sized {
    fn send<const W: usize>(tx: &mut Out<W, Self>, numbers: Range<u64>) -> Result<(), Failure>;
}

/// The same way to subscribe.
pub(super) trait Subscribe<K: Kind>: Publish {
    fn receive<const W: usize>(
        rx: &mut In<W, K, Self>,
        see: impl FnMut(&Message<W>),
    ) -> Result<u64, Failure>;
}

/// A broadcast channel with subscribers of a sort, used in one way.
pub(super) struct Published<K, Y> {
    name: &'static str,
    sort: PhantomData<fn() -> (K, Y)>,
}

impl<K, Y> Published<K, Y> {
    pub(super) const fn new(name: &'static str) -> Self {
        Self { name, sort: PhantomData }
    }
}

pub(super) struct Out<const W: usize, Y> {
    publisher: Publisher<Message<W>>,
    /// Whether others need this end's processor.
    crowded: bool,
    way: PhantomData<Y>,
}

pub(super) struct In<const W: usize, K: Kind, Y> {
    subscriber: Receiver<Message<W>, K>,
    batch: Vec<Message<W>>,
    trust: TrustedPeers,
    crowded: bool,
    way: PhantomData<Y>,
}

impl<const W: usize, Y: Publish> Tx<W> for Out<W, Y> {
    #[inline(always)]
    fn send(&mut self, numbers: Range<u64>) -> Result<(), Failure> {
        Y::send(self, numbers)
    }
}

impl<const W: usize, K: Kind, Y: Subscribe<K>> Rx<W> for In<W, K, Y> {
    #[inline(always)]
    fn receive(&mut self, _: u64, see: impl FnMut(&Message<W>)) -> Result<u64, Failure> {
        Y::receive(self, see)
    }
}

impl<K: Sort, Y: Subscribe<K>> Mechanism for Published<K, Y> {
    type Tx<const W: usize> = Out<W, Y>;
    type Rx<const W: usize> = In<W, K, Y>;
    const PUBLISHES: bool = true;

    fn name(&self) -> String {
        self.name.to_owned()
    }

    fn lap(&self, setting: &Setting) -> u64 {
        2 * setting.slots as u64
    }

    fn prepare(&self, setting: &Setting) -> Result<Shared, Failure> {
        fn make<const W: usize>(
            segment: &Segment,
            name: &str,
            setting: &Setting,
        ) -> Result<(), Failure> {
            let (publishers, subscribers) = (setting.producers as u16, setting.consumers as u16);
            let channel = segment.broadcast::<Message<W>>(name).capacity(setting.slots);
            let channel = channel.publishers(publishers).reliable(subscribers).lasting();
            channel.publisher().map(drop).map_err(cannot("make the channel"))
        }
        // As many more as a channel has beside those that it retains, at most.
        let room = Setting { slots: 3 * setting.slots + setting.producers, ..setting.clone() };
        prepare(&room, BESIDE_TYPED, |segment, name| match setting.words {
            8 => make::<8>(segment, name, setting),
            128 => make::<128>(segment, name, setting),
            8192 => make::<8192>(segment, name, setting),
            _ => make::<1>(segment, name, setting),
        })
    }

    fn tx<const W: usize>(
        &self,
        shared: &Shared,
        setting: &Setting,
        channel: usize,
    ) -> Result<Out<W, Y>, Failure> {
        let segment = open(shared)?;
        let publisher = segment.broadcast::<Message<W>>(NAMES[channel]).publisher();
        let publisher = publisher.map_err(cannot("open a publisher"))?;
        let crowded = !setting.undisturbed();
        Ok(Out { publisher, crowded, way: PhantomData })
    }

    fn rx<const W: usize>(
        &self,
        shared: &Shared,
        setting: &Setting,
        channel: usize,
    ) -> Result<In<W, K, Y>, Failure> {
        let segment = open(shared)?;
        let subscriber = K::subscriber(&segment.broadcast::<Message<W>>(NAMES[channel]));
        let subscriber = subscriber.map_err(cannot("open a subscriber"))?;
        let batch = Vec::with_capacity(BATCH as usize);
        let crowded = !setting.undisturbed();
        Ok(In { subscriber, batch, trust: trust(&segment), crowded, way: PhantomData })
    }
}

/// Tries until it gets through.
pub(super) struct Trying;

impl Publish for Trying {
    #[inline(always)]
    fn send<const W: usize>(tx: &mut Out<W, Self>, numbers: Range<u64>) -> Result<(), Failure> {
        for number in numbers {
            let mut message = [number; W];
            while let Err(error) = tx.publisher.try_send(message) {
                match error {
                    TrySendError::Full(back) => message = back,
                    error => return Err(cannot("publish")(error)),
                }
                pause(tx.crowded);
            }
        }
        Ok(())
    }
}

impl<K: Kind> Subscribe<K> for Trying {
    #[inline(always)]
    fn receive<const W: usize>(
        rx: &mut In<W, K, Self>,
        mut see: impl FnMut(&Message<W>),
    ) -> Result<u64, Failure> {
        loop {
            match rx.subscriber.try_recv() {
                Ok(message) => {
                    see(&message);
                    return Ok(1);
                }
                Err(TryRecvError::Empty | TryRecvError::Pending) => pause(rx.crowded),
                // The numbers tell.
                Err(TryRecvError::Lagged(_)) => {}
                Err(error) => return Err(cannot("receive")(error)),
            }
        }
    }
}

/// Publishes one at a time, waiting where there is no room.
#[inline(always)]
fn publish_each<const W: usize, V>(tx: &mut Out<W, V>, numbers: Range<u64>) -> Result<(), Failure> {
    for number in numbers {
        tx.publisher.send([number; W]).map_err(cannot("publish"))?;
    }
    Ok(())
}

/// Calls what waits.
pub(super) struct Waiting;

impl Publish for Waiting {
    #[inline(always)]
    fn send<const W: usize>(tx: &mut Out<W, Self>, numbers: Range<u64>) -> Result<(), Failure> {
        publish_each(tx, numbers)
    }
}

impl<K: Kind> Subscribe<K> for Waiting {
    #[inline(always)]
    fn receive<const W: usize>(
        rx: &mut In<W, K, Self>,
        mut see: impl FnMut(&Message<W>),
    ) -> Result<u64, Failure> {
        loop {
            match rx.subscriber.recv() {
                Ok(message) => {
                    see(&message);
                    return Ok(1);
                }
                Err(RecvError::Lagged(_)) => {}
                Err(error) => return Err(cannot("receive")(error)),
            }
        }
    }
}

/// Publishes one at a time, and receives many at once.
pub(super) struct Batches;

impl Publish for Batches {
    #[inline(always)]
    fn send<const W: usize>(tx: &mut Out<W, Self>, numbers: Range<u64>) -> Result<(), Failure> {
        publish_each(tx, numbers)
    }
}

impl<K: Kind> Subscribe<K> for Batches {
    #[inline(always)]
    fn receive<const W: usize>(
        rx: &mut In<W, K, Self>,
        see: impl FnMut(&Message<W>),
    ) -> Result<u64, Failure> {
        rx.batch.clear();
        loop {
            match rx.subscriber.recv_batch(&mut rx.batch, BATCH as usize) {
                Ok(received) => {
                    rx.batch.iter().for_each(see);
                    return Ok(received as u64);
                }
                Err(RecvError::Lagged(_)) => {}
                Err(error) => return Err(cannot("receive")(error)),
            }
        }
    }
}

/// Writes and reads each message where it is.
pub(super) struct InPlace;

impl Publish for InPlace {
    #[inline(always)]
    fn send<const W: usize>(tx: &mut Out<W, Self>, numbers: Range<u64>) -> Result<(), Failure> {
        for number in numbers {
            let mut grant = tx.publisher.reserve().map_err(cannot("reserve"))?;
            // A lossy subscriber may be reading the room still, which it finds out afterwards:
            // so there is no reference, and words are written as atomics.
            let words = grant.as_mut_ptr().cast::<[AtomicU64; W]>();
            // SAFETY: the room is of such a message, aligned, and used as atomics by everybody.
            let words = unsafe { &*words };
            for word in words {
                word.store(number, Relaxed);
            }
            grant.commit().map_err(cannot("publish"))?;
        }
        Ok(())
    }
}

impl Subscribe<Reliable> for InPlace {
    #[inline(always)]
    fn receive<const W: usize>(
        rx: &mut In<W, Reliable, Self>,
        mut see: impl FnMut(&Message<W>),
    ) -> Result<u64, Failure> {
        let message = rx.subscriber.take().map_err(cannot("take"))?;
        see(message.as_ref(rx.trust));
        drop(message);
        Ok(1)
    }
}
