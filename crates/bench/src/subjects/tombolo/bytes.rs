//! Channels of bytes, in place: messages of any length, here all of one length.

use std::ops::Range;

use tombolo::{ByteReceiver, ByteSender, Spsc, TrustedPeers};

use super::{NAMES, cannot, open, prepare, trust};
use crate::failure::Failure;
use crate::harness::{Mechanism, Message, Rx, Setting, Shared, Tx};

pub(super) struct Bytes;

/// An end of a channel, used by reference.
pub(super) struct End<E> {
    end: E,
    trust: TrustedPeers,
}

impl Mechanism for Bytes {
    type Tx<const W: usize> = End<ByteSender<Spsc>>;
    type Rx<const W: usize> = End<ByteReceiver<Spsc>>;

    fn name(&self) -> String {
        "tombolo SPSC bytes, in place".to_owned()
    }

    fn lap(&self, setting: &Setting) -> u64 {
        setting.slots as u64
    }

    fn prepare(&self, setting: &Setting) -> Result<Shared, Failure> {
        prepare(setting, |segment, name| {
            let channel = segment.bytes(name).spsc();
            let channel = channel.capacity(setting.slots, setting.words * 8).lasting();
            channel.sender().map(drop).map_err(cannot("make the channel"))
        })
    }

    fn tx<const W: usize>(
        &self,
        shared: &Shared,
        _: &Setting,
        channel: usize,
    ) -> Result<End<ByteSender<Spsc>>, Failure> {
        let segment = open(shared)?;
        let end = segment.bytes(NAMES[channel]).spsc().sender();
        Ok(End { end: end.map_err(cannot("open a sender"))?, trust: trust(&segment) })
    }

    fn rx<const W: usize>(
        &self,
        shared: &Shared,
        _: &Setting,
        channel: usize,
    ) -> Result<End<ByteReceiver<Spsc>>, Failure> {
        let segment = open(shared)?;
        let end = segment.bytes(NAMES[channel]).spsc().receiver();
        Ok(End { end: end.map_err(cannot("open a receiver"))?, trust: trust(&segment) })
    }
}

impl<const W: usize> Tx<W> for End<ByteSender<Spsc>> {
    #[inline(always)]
    fn send(&mut self, numbers: Range<u64>) -> Result<(), Failure> {
        for number in numbers {
            let mut room = self.end.reserve(W * 8).map_err(cannot("reserve"))?;
            let message: &mut Message<W> =
                bytemuck::try_from_bytes_mut(room.as_mut_slice(self.trust))
                    .map_err(cannot("write words"))?;
            message.fill(number);
            room.commit(W * 8).map_err(cannot("send"))?;
        }
        Ok(())
    }
}

impl<const W: usize> Rx<W> for End<ByteReceiver<Spsc>> {
    #[inline(always)]
    fn receive(&mut self, _: u64, mut see: impl FnMut(&Message<W>)) -> Result<u64, Failure> {
        let message = self.end.take().map_err(cannot("take"))?;
        see(bytemuck::try_from_bytes(message.as_slice(self.trust)).map_err(cannot("read words"))?);
        Ok(1)
    }
}
