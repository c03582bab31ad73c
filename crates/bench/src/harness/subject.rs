//! Subjects: the things that can be measured.

use std::ops::Range;

use super::carry;
use super::exchange;
use super::orders::{Report, Setting, Shape, Shared};
use super::publish;
use super::trickle;
use super::worker::Task;
use crate::failure::Failure;

/// A message: so many words, each of which is the message's number.
pub(crate) type Message<const W: usize> = [u64; W];

/// A subject: something that workers do, and that takes time.
pub(crate) trait Subject: Sync {
    /// Its name, in the output and between conductor and workers.
    fn name(&self) -> String;

    /// Whether its ends are threads of one process, which then makes what
    /// they share by itself.
    fn threads(&self) -> bool {
        false
    }

    /// Makes what the workers share.
    fn prepare(&self, setting: &Setting) -> Result<Shared, Failure>;

    /// One worker's part of a sample.
    fn work(&self, task: &Task<'_>) -> Result<Report, Failure>;
}

/// The sending end of a mechanism.
pub(crate) trait Tx<const W: usize> {
    /// Sends the messages of these numbers, as the mechanism sends so many at
    /// once: each is written in place, or written and then copied.
    fn send(&mut self, numbers: Range<u64>) -> Result<(), Failure>;
}

/// The receiving end of a mechanism.
pub(crate) trait Rx<const W: usize> {
    /// Receives at least one message and at most `most`, shows each of them,
    /// where it is, and says how many.
    fn receive(&mut self, most: u64, see: impl FnMut(&Message<W>)) -> Result<u64, Failure>;
}

/// A mechanism that carries messages from one worker to another.
pub(crate) trait Mechanism: Sync {
    type Tx<const W: usize>: Tx<W>;
    type Rx<const W: usize>: Rx<W>;
    /// Whether each receiver gets every message, so that the loops for that are compiled.
    const PUBLISHES: bool = false;

    fn name(&self) -> String;

    fn threads(&self) -> bool {
        false
    }

    /// How many messages fill it once, so that all of it has been touched.
    fn lap(&self, _: &Setting) -> u64 {
        256
    }

    /// Makes the channels of a setting: one, or one there and one back.
    fn prepare(&self, setting: &Setting) -> Result<Shared, Failure>;

    /// A worker's sending end of a channel.
    fn tx<const W: usize>(
        &self,
        shared: &Shared,
        setting: &Setting,
        channel: usize,
    ) -> Result<Self::Tx<W>, Failure>;

    /// A worker's receiving end of a channel.
    fn rx<const W: usize>(
        &self,
        shared: &Shared,
        setting: &Setting,
        channel: usize,
    ) -> Result<Self::Rx<W>, Failure>;
}

impl<M: Mechanism> Subject for M {
    fn name(&self) -> String {
        Mechanism::name(self)
    }

    fn threads(&self) -> bool {
        Mechanism::threads(self)
    }

    fn prepare(&self, setting: &Setting) -> Result<Shared, Failure> {
        Mechanism::prepare(self, setting)
    }

    fn work(&self, task: &Task<'_>) -> Result<Report, Failure> {
        let setting = task.setting;
        // Few mechanisms publish, and these loops take long to compile for all.
        if M::PUBLISHES {
            match (setting.shape, setting.words) {
                (Shape::Publish | Shape::Lossy, 1) => {
                    return publish::published::<1, M>(self, task);
                }
                (Shape::Publish | Shape::Lossy, 8) => {
                    return publish::published::<8, M>(self, task);
                }
                (Shape::Publish | Shape::Lossy, 128) => {
                    return publish::published::<128, M>(self, task);
                }
                (Shape::Publish | Shape::Lossy, 8192) => {
                    return publish::published::<8192, M>(self, task);
                }
                (Shape::SpreadBusy | Shape::SpreadParked, 1) => {
                    return publish::spread::<M>(self, task);
                }
                _ => {}
            }
        }
        match (setting.shape, setting.words) {
            (Shape::Carry, 1) => carry::ordered::<1, M>(self, task),
            (Shape::Carry, 8) => carry::ordered::<8, M>(self, task),
            (Shape::Carry, 32) => carry::ordered::<32, M>(self, task),
            (Shape::Carry, 128) => carry::ordered::<128, M>(self, task),
            (Shape::Carry, 512) => carry::ordered::<512, M>(self, task),
            (Shape::Carry, 8192) => carry::ordered::<8192, M>(self, task),
            (Shape::Alone, 1) => carry::alone::<1, M>(self, task),
            (Shape::Alone, 8) => carry::alone::<8, M>(self, task),
            (Shape::Trickle, 1) => trickle::trickle::<M>(self, task),
            (Shape::Share, 1) => carry::shared::<M>(self, task),
            (Shape::Busy, 1) => exchange::busy::<M>(self, task),
            (Shape::Parked, 1) => exchange::parked::<M>(self, task),
            (shape, words) => {
                Err(Failure::Broken(format!("there is no loop for {shape:?} of {words} words")))
            }
        }
    }
}
