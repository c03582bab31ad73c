//! A ring whose slots say themselves which message they hold, so that a message and
//! its index travel in one cache line, if the message is short. Only the receiver has
//! an index, from which the sender reads how much room there is.

#![allow(unsafe_code)]

use std::hint::spin_loop;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Release};

use tombolo::sys::shm::Attachment;

use super::raw;
use crate::failure::Failure;
use crate::harness::{Mechanism, Message, Rx, Setting, Shared, Subject, Tx};

pub(super) fn all() -> Vec<Box<dyn Subject>> {
    vec![Box::new(Numbered)]
}

pub(super) const NAME: &str = "raw ring, numbered slots";

/// Bytes of the receiver's index, on a line of its own.
const LINE: usize = 128;

struct Numbered;

#[repr(C)]
struct Slot<const W: usize> {
    /// The position of its message, plus one.
    mark: AtomicU64,
    message: Message<W>,
}

/// Bytes from one slot to the next.
const fn stride(words: usize) -> usize {
    (words + 1) * 8
}

impl Mechanism for Numbered {
    type Tx<const W: usize> = End<W>;
    type Rx<const W: usize> = End<W>;

    fn name(&self) -> String {
        NAME.to_owned()
    }

    fn lap(&self, setting: &Setting) -> u64 {
        setting.slots as u64
    }

    fn prepare(&self, setting: &Setting) -> Result<Shared, Failure> {
        raw::each(setting, LINE + setting.slots * stride(setting.words))
    }

    fn tx<const W: usize>(
        &self,
        shared: &Shared,
        at: &Setting,
        channel: usize,
    ) -> Result<End<W>, Failure> {
        let memory = raw::open(shared, channel)?;
        assert!(at.slots.is_power_of_two(), "{} slots", at.slots);
        assert!(LINE + at.slots * stride(W) <= memory.len());
        Ok(End { memory, count: at.slots as u64, position: 0, head: 0 })
    }

    fn rx<const W: usize>(
        &self,
        shared: &Shared,
        at: &Setting,
        channel: usize,
    ) -> Result<End<W>, Failure> {
        self.tx::<W>(shared, at, channel)
    }
}

struct End<const W: usize> {
    memory: Arc<Attachment>,
    count: u64,
    position: u64,
    /// The receiver's index, when the sender last read it or the receiver wrote it.
    head: u64,
}

impl<const W: usize> End<W> {
    #[inline(always)]
    fn slot(&self, position: u64) -> NonNull<Slot<W>> {
        let at = LINE + (position & (self.count - 1)) as usize * stride(W);
        // SAFETY: one of the slots, all of which are within the memory.
        unsafe { self.memory.as_non_null().byte_add(at).cast() }
    }

    #[inline(always)]
    fn mark(&self, position: u64) -> &AtomicU64 {
        let mark = self.slot(position).cast::<AtomicU64>();
        // SAFETY: the first word of a slot, which everybody uses as an atomic.
        unsafe { mark.as_ref() }
    }

    #[inline(always)]
    fn message(&self, position: u64) -> NonNull<Message<W>> {
        // SAFETY: the rest of the slot.
        unsafe { self.slot(position).byte_add(8).cast() }
    }

    #[inline(always)]
    fn index(&self) -> &AtomicU64 {
        raw::word(&self.memory, 0)
    }
}

impl<const W: usize> Tx<W> for End<W> {
    #[inline(always)]
    fn send(&mut self, numbers: Range<u64>) -> Result<(), Failure> {
        for number in numbers {
            while self.position - self.head == self.count {
                spin_loop();
                self.head = self.index().load(Acquire);
            }
            // SAFETY: free, as the receiver has said; any words are a message.
            unsafe { self.message(self.position).as_mut() }.fill(number);
            self.position += 1;
            self.mark(self.position - 1).store(self.position, Release);
        }
        Ok(())
    }
}

impl<const W: usize> Rx<W> for End<W> {
    #[inline(always)]
    fn receive(&mut self, _: u64, mut see: impl FnMut(&Message<W>)) -> Result<u64, Failure> {
        while self.mark(self.position).load(Acquire) != self.position + 1 {
            spin_loop();
        }
        // SAFETY: written, as its mark says, and not written again until the index passes it.
        see(unsafe { self.message(self.position).as_ref() });
        self.position += 1;
        if self.position - self.head >= self.count / 8 {
            self.head = self.position;
            self.index().store(self.head, Release);
        }
        Ok(1)
    }
}
