//! Channels of plain data, and the ways to use them.

use std::hint::spin_loop;
use std::marker::PhantomData;
use std::ops::Range;

use tombolo::{Kind, Receiver, Sender, Spsc, TrustedPeers, TryRecvError, TrySendError};

use super::{BESIDE_TYPED, Choose, NAMES, cannot, open, prepare, trust};
use crate::failure::Failure;
use crate::harness::carry::BATCH;
use crate::harness::{Mechanism, Message, Rx, Setting, Shared, Tx};

/// A way to use the channel's ends.
pub(super) trait Way<K: Kind>: Sync {
    fn send<const W: usize>(tx: &mut Out<W, K, Self>, numbers: Range<u64>) -> Result<(), Failure>
    where
        Self: Sized;

    fn receive<const W: usize>(
        rx: &mut In<W, K, Self>,
        most: u64,
        see: impl FnMut(&Message<W>),
    ) -> Result<u64, Failure>
    where
        Self: Sized;
}

/// A kind of channel, used in one way.
pub(super) struct Typed<K, Y> {
    name: &'static str,
    kind: PhantomData<fn() -> (K, Y)>,
}

impl<K, Y> Typed<K, Y> {
    pub(super) const fn new(name: &'static str) -> Self {
        Self { name, kind: PhantomData }
    }
}

pub(super) struct Out<const W: usize, K: Kind, Y> {
    sender: Sender<Message<W>, K>,
    batch: Vec<Message<W>>,
    trust: TrustedPeers,
    way: PhantomData<Y>,
}

pub(super) struct In<const W: usize, K: Kind, Y> {
    receiver: Receiver<Message<W>, K>,
    batch: Vec<Message<W>>,
    trust: TrustedPeers,
    way: PhantomData<Y>,
}

impl<const W: usize, K: Kind, Y: Way<K>> Tx<W> for Out<W, K, Y> {
    #[inline(always)]
    fn send(&mut self, numbers: Range<u64>) -> Result<(), Failure> {
        Y::send(self, numbers)
    }
}

impl<const W: usize, K: Kind, Y: Way<K>> Rx<W> for In<W, K, Y> {
    #[inline(always)]
    fn receive(&mut self, most: u64, see: impl FnMut(&Message<W>)) -> Result<u64, Failure> {
        Y::receive(self, most, see)
    }
}

impl<K: Choose, Y: Way<K>> Mechanism for Typed<K, Y> {
    type Tx<const W: usize> = Out<W, K, Y>;
    type Rx<const W: usize> = In<W, K, Y>;
    const PUBLISHES: bool = K::TO_ONE;

    fn name(&self) -> String {
        self.name.to_owned()
    }

    fn lap(&self, setting: &Setting) -> u64 {
        setting.slots as u64
    }

    fn prepare(&self, setting: &Setting) -> Result<Shared, Failure> {
        prepare(setting, BESIDE_TYPED, |segment, name| {
            // Of so many words, whatever the type of the workers says.
            fn make<const W: usize, K: Choose>(
                segment: &tombolo::Segment,
                name: &str,
                slots: usize,
            ) -> Result<(), Failure> {
                let channel = segment.channel::<Message<W>>(name).capacity(slots).lasting();
                K::choose(channel).sender().map(drop).map_err(cannot("make the channel"))
            }
            match setting.words {
                8 => make::<8, K>(segment, name, setting.slots),
                32 => make::<32, K>(segment, name, setting.slots),
                128 => make::<128, K>(segment, name, setting.slots),
                512 => make::<512, K>(segment, name, setting.slots),
                8192 => make::<8192, K>(segment, name, setting.slots),
                _ => make::<1, K>(segment, name, setting.slots),
            }
        })
    }

    fn tx<const W: usize>(
        &self,
        shared: &Shared,
        _: &Setting,
        channel: usize,
    ) -> Result<Out<W, K, Y>, Failure> {
        let segment = open(shared)?;
        let channel = K::choose(segment.channel::<Message<W>>(NAMES[channel]));
        let sender = channel.sender().map_err(cannot("open a sender"))?;
        Ok(Out { sender, batch: Vec::new(), trust: trust(&segment), way: PhantomData })
    }

    fn rx<const W: usize>(
        &self,
        shared: &Shared,
        _: &Setting,
        channel: usize,
    ) -> Result<In<W, K, Y>, Failure> {
        let segment = open(shared)?;
        let channel = K::choose(segment.channel::<Message<W>>(NAMES[channel]));
        let receiver = channel.receiver().map_err(cannot("open a receiver"))?;
        let batch = Vec::with_capacity(BATCH as usize);
        Ok(In { receiver, batch, trust: trust(&segment), way: PhantomData })
    }
}

/// Tries until it gets through.
pub(super) struct Spinning;

impl<K: Kind> Way<K> for Spinning {
    #[inline(always)]
    fn send<const W: usize>(tx: &mut Out<W, K, Self>, numbers: Range<u64>) -> Result<(), Failure> {
        for number in numbers {
            let mut message = [number; W];
            while let Err(error) = tx.sender.try_send(message) {
                match error {
                    TrySendError::Full(back) => message = back,
                    error => return Err(cannot("send")(error)),
                }
                spin_loop();
            }
        }
        Ok(())
    }

    #[inline(always)]
    fn receive<const W: usize>(
        rx: &mut In<W, K, Self>,
        _: u64,
        mut see: impl FnMut(&Message<W>),
    ) -> Result<u64, Failure> {
        loop {
            match rx.receiver.try_recv() {
                Ok(message) => {
                    see(&message);
                    return Ok(1);
                }
                Err(TryRecvError::Empty | TryRecvError::Pending) => spin_loop(),
                Err(error) => return Err(cannot("receive")(error)),
            }
        }
    }
}

/// Calls what waits.
pub(super) struct Blocking;

impl<K: Kind> Way<K> for Blocking {
    #[inline(always)]
    fn send<const W: usize>(tx: &mut Out<W, K, Self>, numbers: Range<u64>) -> Result<(), Failure> {
        for number in numbers {
            tx.sender.send([number; W]).map_err(cannot("send"))?;
        }
        Ok(())
    }

    #[inline(always)]
    fn receive<const W: usize>(
        rx: &mut In<W, K, Self>,
        _: u64,
        mut see: impl FnMut(&Message<W>),
    ) -> Result<u64, Failure> {
        see(&rx.receiver.recv().map_err(cannot("receive"))?);
        Ok(1)
    }
}

/// Sends and receives many at once, by value.
pub(super) struct Batches;

impl<K: Kind> Way<K> for Batches {
    #[inline(always)]
    fn send<const W: usize>(tx: &mut Out<W, K, Self>, numbers: Range<u64>) -> Result<(), Failure> {
        tx.batch.clear();
        tx.batch.extend(numbers.map(|number| [number; W]));
        tx.sender.send_batch(&tx.batch).map_err(cannot("send"))
    }

    #[inline(always)]
    fn receive<const W: usize>(
        rx: &mut In<W, K, Self>,
        most: u64,
        see: impl FnMut(&Message<W>),
    ) -> Result<u64, Failure> {
        rx.batch.clear();
        let received = rx.receiver.recv_batch(&mut rx.batch, most as usize);
        let received = received.map_err(cannot("receive"))?;
        rx.batch.iter().for_each(see);
        Ok(received as u64)
    }
}

/// Writes and reads each message where it is.
pub(super) struct InPlace;

impl<K: tombolo::InPlace> Way<K> for InPlace {
    #[inline(always)]
    fn send<const W: usize>(tx: &mut Out<W, K, Self>, numbers: Range<u64>) -> Result<(), Failure> {
        for number in numbers {
            let mut grant = tx.sender.reserve().map_err(cannot("reserve"))?;
            grant.as_mut(tx.trust).fill(number);
            grant.commit().map_err(cannot("send"))?;
        }
        Ok(())
    }

    #[inline(always)]
    fn receive<const W: usize>(
        rx: &mut In<W, K, Self>,
        _: u64,
        mut see: impl FnMut(&Message<W>),
    ) -> Result<u64, Failure> {
        let message = rx.receiver.take().map_err(cannot("take"))?;
        see(message.as_ref(rx.trust));
        drop(message);
        Ok(1)
    }
}

/// Writes and reads many messages at once where they are.
pub(super) struct Slices;

impl Way<Spsc> for Slices {
    #[inline(always)]
    fn send<const W: usize>(
        tx: &mut Out<W, Spsc, Self>,
        mut numbers: Range<u64>,
    ) -> Result<(), Failure> {
        while numbers.start < numbers.end {
            let most = (numbers.end - numbers.start) as usize;
            let mut slots = tx.sender.reserve_slice(most).map_err(cannot("reserve"))?;
            for slot in slots.as_mut_slice(tx.trust) {
                slot.fill(numbers.start);
                numbers.start += 1;
            }
            let all = slots.len();
            slots.commit(all).map_err(cannot("send"))?;
        }
        Ok(())
    }

    #[inline(always)]
    fn receive<const W: usize>(
        rx: &mut In<W, Spsc, Self>,
        most: u64,
        see: impl FnMut(&Message<W>),
    ) -> Result<u64, Failure> {
        let taken = rx.receiver.take_slice(most as usize).map_err(cannot("take"))?;
        taken.as_slice(rx.trust).iter().for_each(see);
        Ok(taken.len() as u64)
    }
}
