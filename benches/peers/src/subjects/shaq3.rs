//! `shaq` 3: its SPSC queue leaves to the caller when to publish (`commit`), when to give
//! back (`finalize`) and when to look at the other side (`sync`). One message at a time,
//! each is published and given back; in batches, all of a batch together.

#![allow(unsafe_code)]

use std::fs::File;
use std::hint::spin_loop;
use std::ops::Range;

use shaq3::spsc::{Consumer, Producer, minimum_file_size};

use super::files::{nameless, until};
use super::shaq::file;
use crate::failure::Failure;
use crate::harness::{Mechanism, Message, Rx, Setting, Shared, Subject, Tx};
use crate::versions::version;

pub(crate) const SHAQ_3: &str = concat!("shaq ", version!("shaq_3"), " SPSC");
pub(crate) const SHAQ_3_BATCHES: &str = concat!("shaq ", version!("shaq_3"), " SPSC, batches");

pub(super) fn all() -> Vec<Box<dyn Subject>> {
    vec![Box::new(Spsc(SHAQ_3)), Box::new(Spsc(SHAQ_3_BATCHES))]
}

struct Spsc(&'static str);

impl Mechanism for Spsc {
    type Tx<const W: usize> = Sending<W>;
    type Rx<const W: usize> = Receiving<W>;

    fn name(&self) -> String {
        self.0.to_owned()
    }

    fn lap(&self, setting: &Setting) -> u64 {
        setting.slots as u64
    }

    fn prepare(&self, setting: &Setting) -> Result<Shared, Failure> {
        nameless(setting.channels())
    }

    /// The consumer makes the queue, the producer joins it.
    fn tx<const W: usize>(
        &self,
        shared: &Shared,
        _: &Setting,
        channel: usize,
    ) -> Result<Sending<W>, Failure> {
        let file: File = file(shared, channel)?;
        // SAFETY: the only producer; both sides mean the same type, which is
        // plain data.
        let join = || unsafe { Producer::join(&file) };
        Ok(Sending(until("join the queue", join)?))
    }

    fn rx<const W: usize>(
        &self,
        shared: &Shared,
        setting: &Setting,
        channel: usize,
    ) -> Result<Receiving<W>, Failure> {
        let size = minimum_file_size::<Message<W>>(setting.slots);
        // SAFETY: the only consumer, which alone makes the queue.
        let consumer = unsafe { Consumer::create(&file(shared, channel)?, size) };
        let consumer = consumer.map_err(|error| Failure::Broken(format!("{error:?}")))?;
        Ok(Receiving(consumer))
    }
}

struct Sending<const W: usize>(Producer<Message<W>>);
struct Receiving<const W: usize>(Consumer<Message<W>>);

impl<const W: usize> Tx<W> for Sending<W> {
    #[inline(always)]
    fn send(&mut self, numbers: Range<u64>) -> Result<(), Failure> {
        for number in numbers {
            let slot = loop {
                // SAFETY: it is written before anything is committed.
                if let Some(slot) = unsafe { self.0.reserve() } {
                    break slot;
                }
                // What waits for room has been published: the receiver makes some.
                self.0.commit();
                self.0.sync();
                spin_loop();
            };
            // SAFETY: reserved, and so this producer's alone.
            unsafe { slot.write([number; W]) };
        }
        self.0.commit();
        Ok(())
    }
}

impl<const W: usize> Rx<W> for Receiving<W> {
    #[inline(always)]
    fn receive(&mut self, most: u64, mut see: impl FnMut(&Message<W>)) -> Result<u64, Failure> {
        let mut count = 0;
        while count < most {
            match self.0.try_read() {
                Some(message) => see(message),
                None if count > 0 => break,
                None => {
                    self.0.sync();
                    spin_loop();
                    continue;
                }
            }
            count += 1;
        }
        self.0.finalize();
        Ok(count)
    }
}
