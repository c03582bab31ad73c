//! Channels of bytes: messages of any length, here all of one length; by value, many at a
//! time, and in place.

use std::hint::spin_loop;
use std::marker::PhantomData;
use std::ops::Range;

use tombolo::{
    ByteBatch, ByteReceiver, ByteSender, Kind, TrustedPeers, TryRecvError, TrySendError,
};

use super::{BESIDE_BYTES, Choose, NAMES, cannot, open, prepare, trust};
use crate::failure::Failure;
use crate::harness::carry::BATCH;
use crate::harness::{Mechanism, Message, Rx, Setting, Shared, Tx};

/// A kind of channel, used by value or in place.
pub(super) struct Bytes<K, Y> {
    name: &'static str,
    kind: PhantomData<fn() -> (K, Y)>,
}

impl<K, Y> Bytes<K, Y> {
    pub(super) const fn new(name: &'static str) -> Self {
        Self { name, kind: PhantomData }
    }
}

/// Tries until it gets through: sends a slice, and receives into a vector.
pub(super) struct ByValue;
/// Sends slices, and receives into one buffer, as many at a time as a batch has.
pub(super) struct Batches;
/// Writes and reads each message where it is.
pub(super) struct InPlace;

/// An end of a channel, used in one way.
pub(super) struct End<E, Y> {
    end: E,
    room: Vec<u8>,
    batch: ByteBatch,
    trust: TrustedPeers,
    way: PhantomData<Y>,
}

impl<E, Y> End<E, Y> {
    fn new(end: E, trust: TrustedPeers) -> Self {
        Self { end, room: Vec::new(), batch: ByteBatch::new(), trust, way: PhantomData }
    }
}

/// How the ends are used.
pub(super) trait Way<K: Kind>: Sync + Sized + 'static {
    fn send<const W: usize>(
        tx: &mut End<ByteSender<K>, Self>,
        numbers: Range<u64>,
    ) -> Result<(), Failure>;

    fn receive<const W: usize>(
        rx: &mut End<ByteReceiver<K>, Self>,
        most: u64,
        see: impl FnMut(&Message<W>),
    ) -> Result<u64, Failure>;
}

impl<K: Choose, Y: Way<K>> Mechanism for Bytes<K, Y> {
    type Tx<const W: usize> = End<ByteSender<K>, Y>;
    type Rx<const W: usize> = End<ByteReceiver<K>, Y>;

    fn name(&self) -> String {
        self.name.to_owned()
    }

    fn lap(&self, setting: &Setting) -> u64 {
        setting.slots as u64
    }

    fn prepare(&self, setting: &Setting) -> Result<Shared, Failure> {
        prepare(setting, BESIDE_BYTES, |segment, name| {
            let channel = K::choose_bytes(segment.bytes(name));
            let channel = channel.capacity(setting.slots, setting.words * 8).lasting();
            channel.sender().map(drop).map_err(cannot("make the channel"))
        })
    }

    fn tx<const W: usize>(
        &self,
        shared: &Shared,
        _: &Setting,
        channel: usize,
    ) -> Result<End<ByteSender<K>, Y>, Failure> {
        let segment = open(shared)?;
        let end = K::choose_bytes(segment.bytes(NAMES[channel])).sender();
        Ok(End::new(end.map_err(cannot("open a sender"))?, trust(&segment)))
    }

    fn rx<const W: usize>(
        &self,
        shared: &Shared,
        _: &Setting,
        channel: usize,
    ) -> Result<End<ByteReceiver<K>, Y>, Failure> {
        let segment = open(shared)?;
        let end = K::choose_bytes(segment.bytes(NAMES[channel])).receiver();
        Ok(End::new(end.map_err(cannot("open a receiver"))?, trust(&segment)))
    }
}

impl<const W: usize, K: Kind, Y: Way<K>> Tx<W> for End<ByteSender<K>, Y> {
    #[inline(always)]
    fn send(&mut self, numbers: Range<u64>) -> Result<(), Failure> {
        Y::send::<W>(self, numbers)
    }
}

impl<const W: usize, K: Kind, Y: Way<K>> Rx<W> for End<ByteReceiver<K>, Y> {
    #[inline(always)]
    fn receive(&mut self, most: u64, see: impl FnMut(&Message<W>)) -> Result<u64, Failure> {
        Y::receive(self, most, see)
    }
}

impl<K: Kind> Way<K> for ByValue {
    #[inline(always)]
    fn send<const W: usize>(
        tx: &mut End<ByteSender<K>, Self>,
        numbers: Range<u64>,
    ) -> Result<(), Failure> {
        for number in numbers {
            let message: Message<W> = [number; W];
            while let Err(error) = tx.end.try_send(bytemuck::cast_slice(&message)) {
                if !matches!(error, TrySendError::Full(_)) {
                    return Err(cannot("send")(error));
                }
                spin_loop();
            }
        }
        Ok(())
    }

    #[inline(always)]
    fn receive<const W: usize>(
        rx: &mut End<ByteReceiver<K>, Self>,
        _: u64,
        mut see: impl FnMut(&Message<W>),
    ) -> Result<u64, Failure> {
        loop {
            match rx.end.try_recv(&mut rx.room) {
                Ok(_) => {
                    see(bytemuck::try_from_bytes(&rx.room).map_err(cannot("read words"))?);
                    return Ok(1);
                }
                Err(TryRecvError::Empty | TryRecvError::Pending) => spin_loop(),
                Err(error) => return Err(cannot("receive")(error)),
            }
        }
    }
}

impl<K: Kind> Way<K> for Batches {
    #[inline(always)]
    fn send<const W: usize>(
        tx: &mut End<ByteSender<K>, Self>,
        numbers: Range<u64>,
    ) -> Result<(), Failure> {
        tx.room.clear();
        for number in numbers {
            tx.room.extend_from_slice(bytemuck::cast_slice(&[number; W]));
        }
        let mut messages = [&[][..]; BATCH as usize];
        let mut count = 0;
        for (message, bytes) in messages.iter_mut().zip(tx.room.chunks_exact(W * 8)) {
            *message = bytes;
            count += 1;
        }
        tx.end.send_batch(&messages[..count]).map_err(cannot("send"))
    }

    #[inline(always)]
    fn receive<const W: usize>(
        rx: &mut End<ByteReceiver<K>, Self>,
        most: u64,
        mut see: impl FnMut(&Message<W>),
    ) -> Result<u64, Failure> {
        rx.batch.clear();
        let received = rx.end.recv_batch_into(&mut rx.batch, most as usize);
        let received = received.map_err(cannot("receive"))?;
        for message in rx.batch.iter() {
            see(bytemuck::try_from_bytes(message).map_err(cannot("read words"))?);
        }
        Ok(received as u64)
    }
}

impl<K: tombolo::InPlace> Way<K> for InPlace {
    #[inline(always)]
    fn send<const W: usize>(
        tx: &mut End<ByteSender<K>, Self>,
        numbers: Range<u64>,
    ) -> Result<(), Failure> {
        for number in numbers {
            let mut room = tx.end.reserve(W * 8).map_err(cannot("reserve"))?;
            let message: &mut Message<W> =
                bytemuck::try_from_bytes_mut(room.as_mut_slice(tx.trust))
                    .map_err(cannot("write words"))?;
            message.fill(number);
            room.commit(W * 8).map_err(cannot("send"))?;
        }
        Ok(())
    }

    #[inline(always)]
    fn receive<const W: usize>(
        rx: &mut End<ByteReceiver<K>, Self>,
        _: u64,
        mut see: impl FnMut(&Message<W>),
    ) -> Result<u64, Failure> {
        let message = rx.end.take().map_err(cannot("take"))?;
        see(bytemuck::try_from_bytes(message.as_slice(rx.trust)).map_err(cannot("read words"))?);
        Ok(1)
    }
}
