//! Vyukov's bounded queue in shared memory, as most libraries have it. It is fast,
//! and stuck for good if a process is killed between its two steps.

use std::hint::spin_loop;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use tombolo::sys::shm::Attachment;

use super::raw;
use crate::failure::Failure;
use crate::harness::{Mechanism, Message, Rx, Setting, Shared, Subject, Tx};

pub(super) fn all() -> Vec<Box<dyn Subject>> {
    vec![Box::new(RawMpmc)]
}

/// Bytes of an index, on a line of its own; and of a slot: sequence, word.
const LINE: usize = 128;
const SLOT: usize = 16;

struct RawMpmc;

impl Mechanism for RawMpmc {
    type Tx<const W: usize> = End;
    type Rx<const W: usize> = End;

    fn name(&self) -> String {
        "raw MPMC ring".to_owned()
    }

    fn lap(&self, setting: &Setting) -> u64 {
        setting.slots as u64
    }

    fn prepare(&self, setting: &Setting) -> Result<Shared, Failure> {
        let mut shared = Shared::default();
        let memory = raw::memory(2 * LINE + setting.slots * SLOT)?;
        for slot in 0..setting.slots {
            raw::word(&memory, 2 * LINE + slot * SLOT).store(slot as u64, Relaxed);
        }
        raw::share(&mut shared, memory);
        Ok(shared)
    }

    fn tx<const W: usize>(&self, shared: &Shared, at: &Setting, n: usize) -> Result<End, Failure> {
        if W != 1 || !at.slots.is_power_of_two() {
            return Err(Failure::Broken("it carries single words, in 2^n slots".to_owned()));
        }
        Ok(End { memory: raw::open(shared, n)?, slots: at.slots as u64 })
    }

    fn rx<const W: usize>(&self, shared: &Shared, at: &Setting, n: usize) -> Result<End, Failure> {
        self.tx::<W>(shared, at, n)
    }
}

struct End {
    memory: Arc<Attachment>,
    slots: u64,
}

impl End {
    fn slot(&self, position: u64) -> (&AtomicU64, &AtomicU64) {
        let at = 2 * LINE + (position & (self.slots - 1)) as usize * SLOT;
        (raw::word(&self.memory, at), raw::word(&self.memory, at + 8))
    }

    /// Claims the next position whose slot is as far as this beyond it.
    fn claim(&self, index: usize, beyond: u64) -> u64 {
        let index = raw::word(&self.memory, index);
        let mut position = index.load(Relaxed);
        loop {
            let sequence = self.slot(position).0.load(Acquire);
            if sequence == position + beyond {
                let claimed = index.compare_exchange_weak(position, position + 1, Relaxed, Relaxed);
                match claimed {
                    Ok(_) => return position,
                    Err(now) => position = now,
                }
            } else {
                spin_loop();
                position = index.load(Relaxed);
            }
        }
    }
}

impl<const W: usize> Tx<W> for End {
    fn send(&mut self, numbers: Range<u64>) -> Result<(), Failure> {
        for number in numbers {
            let position = self.claim(0, 0);
            let (sequence, word) = self.slot(position);
            word.store(number, Relaxed);
            sequence.store(position + 1, Release);
        }
        Ok(())
    }
}

impl<const W: usize> Rx<W> for End {
    fn receive(&mut self, _: u64, mut see: impl FnMut(&Message<W>)) -> Result<u64, Failure> {
        let position = self.claim(LINE, 1);
        let (sequence, word) = self.slot(position);
        let number = word.load(Relaxed);
        sequence.store(position + self.slots, Release);
        see(&[number; W]);
        Ok(1)
    }
}
