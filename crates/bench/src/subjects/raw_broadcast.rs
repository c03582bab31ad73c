//! The limits of what goes to everybody: rings between processes, written by hand, with one
//! publisher, whose slots say themselves which message they hold.
//!
//! In the *seqlock ring*, the publisher waits for nobody. It marks a slot as being written,
//! writes it, and marks it with its message; a reader copies a slot, and the copy counts if the
//! mark is the same afterwards. In the *raw broadcast ring*, each reader has an index of its
//! own, for which the publisher waits, and reads messages where they are.

#![allow(unsafe_code)]

use std::ops::Range;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU64, fence};

use tombolo::sys::shm::Attachment;

use super::raw;
use crate::failure::Failure;
use crate::harness::{Mechanism, Message, Rx, Setting, Shared, Subject, Tx, pause};

/// The best of these is the limit of what waits for nobody.
pub(crate) const BEST_SEQLOCK: &str = "best seqlock ring";
pub(crate) const SEQLOCKS: &[&str] = &["seqlock ring, no pause", "seqlock ring, 8 pauses"];
/// The limit of what waits for the slowest.
pub(crate) const RELIABLE_RING: &str = "raw broadcast ring";

pub(super) fn all() -> Vec<Box<dyn Subject>> {
    vec![Box::new(Seqlock::<0>), Box::new(Seqlock::<8>), Box::new(Everybody)]
}

/// Bytes of a reader's index, on a line of its own.
const LINE: usize = 128;
const READERS: usize = 16;
/// Where the slots begin.
const SLOTS: usize = READERS * LINE;

/// Bytes from one slot to the next: the mark, and the message.
const fn stride(words: usize) -> usize {
    (words + 1) * 8
}

/// The slots of a ring, and where in them an end is.
struct Ring<const W: usize> {
    memory: Arc<Attachment>,
    count: u64,
    position: u64,
    /// Whether others need this end's processor.
    crowded: bool,
}

impl<const W: usize> Ring<W> {
    fn prepare(at: &Setting) -> Result<Shared, Failure> {
        raw::each(at, SLOTS + at.slots * stride(at.words))
    }

    fn open(shared: &Shared, at: &Setting, channel: usize) -> Result<Self, Failure> {
        let memory = raw::open(shared, channel)?;
        assert!(at.slots.is_power_of_two(), "{} slots", at.slots);
        assert!(SLOTS + at.slots * stride(W) <= memory.len());
        let crowded = !at.undisturbed();
        Ok(Self { memory, count: at.slots as u64, position: 0, crowded })
    }

    #[inline(always)]
    fn slot(&self) -> NonNull<AtomicU64> {
        let at = SLOTS + (self.position & (self.count - 1)) as usize * stride(W);
        // SAFETY: one of the slots, all of which are within the memory.
        unsafe { self.memory.as_non_null().byte_add(at).cast() }
    }

    #[inline(always)]
    fn mark(&self) -> &AtomicU64 {
        // SAFETY: the first word of a slot, which everybody uses as an atomic.
        unsafe { self.slot().as_ref() }
    }

    /// The words of the message, as atomics.
    #[inline(always)]
    fn words(&self) -> &[AtomicU64; W] {
        // SAFETY: the message is after the mark, within the slot.
        let words = unsafe { self.slot().add(1).cast::<[AtomicU64; W]>() };
        // SAFETY: aligned, mapped as long as the ring, and used as atomics, or while nobody
        // writes there.
        unsafe { words.as_ref() }
    }

    /// What a mark is before the message of a position is there, and when it is.
    const fn mark_of(position: u64) -> u64 {
        2 * position + 2
    }
}

/// Copies words that may change meanwhile.
#[inline(always)]
fn copy<const W: usize>(from: &[AtomicU64; W], into: &mut Message<W>) {
    #[cfg(target_arch = "x86_64")]
    if W > 32 {
        // SAFETY: both have so many words. Whatever the words are, they are a message.
        unsafe {
            std::arch::asm!(
                "rep movsq",
                inout("rcx") W => _,
                inout("rsi") from.as_ptr() => _,
                inout("rdi") into.as_mut_ptr() => _,
                options(nostack, preserves_flags)
            );
        }
        return;
    }
    for (from, into) in from.iter().zip(into) {
        *into = from.load(Relaxed);
    }
}

/// With so many pauses before a reader looks again.
struct Seqlock<const PAUSES: u32>;

struct Writer<const W: usize>(Ring<W>);

struct Reader<const W: usize, const PAUSES: u32> {
    ring: Ring<W>,
    /// A message's words.
    message: Box<[u64]>,
}

impl<const P: u32> Mechanism for Seqlock<P> {
    type Tx<const W: usize> = Writer<W>;
    type Rx<const W: usize> = Reader<W, P>;
    const PUBLISHES: bool = true;

    fn name(&self) -> String {
        SEQLOCKS[usize::from(P > 0)].to_owned()
    }

    fn lap(&self, setting: &Setting) -> u64 {
        setting.slots as u64
    }

    fn prepare(&self, at: &Setting) -> Result<Shared, Failure> {
        Ring::<1>::prepare(at)
    }

    fn tx<const W: usize>(
        &self,
        shared: &Shared,
        at: &Setting,
        channel: usize,
    ) -> Result<Writer<W>, Failure> {
        Ring::open(shared, at, channel).map(Writer)
    }

    fn rx<const W: usize>(
        &self,
        shared: &Shared,
        at: &Setting,
        channel: usize,
    ) -> Result<Reader<W, P>, Failure> {
        // Not on the stack, where the largest would be copied once more.
        let message = vec![0; W].into_boxed_slice();
        Ok(Reader { ring: Ring::open(shared, at, channel)?, message })
    }
}

impl<const W: usize> Tx<W> for Writer<W> {
    #[inline(always)]
    fn send(&mut self, numbers: Range<u64>) -> Result<(), Failure> {
        for number in numbers {
            let ring = &mut self.0;
            let mark = Ring::<W>::mark_of(ring.position);
            ring.mark().store(mark - 1, Relaxed);
            // With the fence of the reader: if it has a word of this message, it sees the mark.
            fence(Release);
            for word in ring.words() {
                word.store(number, Relaxed);
            }
            ring.mark().store(mark, Release);
            ring.position += 1;
        }
        Ok(())
    }
}

impl<const W: usize, const P: u32> Rx<W> for Reader<W, P> {
    #[inline(always)]
    fn receive(&mut self, _: u64, mut see: impl FnMut(&Message<W>)) -> Result<u64, Failure> {
        let ring = &mut self.ring;
        loop {
            let wanted = Ring::<W>::mark_of(ring.position);
            let mark = ring.mark().load(Acquire);
            if mark == wanted {
                let message = self.message.first_chunk_mut::<W>();
                let message = message.ok_or_else(|| Failure::Broken("no room".to_owned()))?;
                copy(ring.words(), message);
                fence(Acquire);
                if ring.mark().load(Relaxed) == wanted {
                    ring.position += 1;
                    see(message);
                    return Ok(1);
                }
            } else if mark > wanted {
                // A later lap has come here: what is after this slot is the oldest.
                let newest = (mark - 1) / 2;
                ring.position = newest + 1 - ring.count + ring.count / 8;
            } else {
                (0..P).for_each(|_| std::hint::spin_loop());
                if ring.crowded {
                    pause(true);
                }
            }
        }
    }
}

/// The ring whose publisher waits for all of its readers.
struct Everybody;

struct Publisher<const W: usize> {
    ring: Ring<W>,
    readers: usize,
    /// The least of the readers' indices when they were last read.
    least: u64,
}

struct Subscriber<const W: usize> {
    ring: Ring<W>,
    /// Which of the readers it is, and what it has told.
    reader: usize,
    told: u64,
}

impl Mechanism for Everybody {
    type Tx<const W: usize> = Publisher<W>;
    type Rx<const W: usize> = Subscriber<W>;
    const PUBLISHES: bool = true;

    fn name(&self) -> String {
        RELIABLE_RING.to_owned()
    }

    fn lap(&self, setting: &Setting) -> u64 {
        setting.slots as u64
    }

    fn prepare(&self, at: &Setting) -> Result<Shared, Failure> {
        Ring::<1>::prepare(at)
    }

    fn tx<const W: usize>(
        &self,
        shared: &Shared,
        at: &Setting,
        channel: usize,
    ) -> Result<Publisher<W>, Failure> {
        assert!(at.consumers <= READERS, "{} readers", at.consumers);
        Ok(Publisher { ring: Ring::open(shared, at, channel)?, readers: at.consumers, least: 0 })
    }

    fn rx<const W: usize>(
        &self,
        shared: &Shared,
        at: &Setting,
        channel: usize,
    ) -> Result<Subscriber<W>, Failure> {
        let ring = Ring::open(shared, at, channel)?;
        // The word after an index counts the readers.
        let reader = raw::word(&ring.memory, 8).fetch_add(1, Relaxed) as usize;
        assert!(reader < READERS, "{reader} readers");
        Ok(Subscriber { ring, reader, told: 0 })
    }
}

impl<const W: usize> Tx<W> for Publisher<W> {
    #[inline(always)]
    fn send(&mut self, numbers: Range<u64>) -> Result<(), Failure> {
        for number in numbers {
            while self.ring.position - self.least == self.ring.count {
                pause(self.ring.crowded);
                let indices = (0..self.readers).map(|n| raw::word(&self.ring.memory, n * LINE));
                self.least = indices.map(|index| index.load(Acquire)).min().unwrap_or(0);
            }
            for word in self.ring.words() {
                word.store(number, Relaxed);
            }
            self.ring.mark().store(Ring::<W>::mark_of(self.ring.position), Release);
            self.ring.position += 1;
        }
        Ok(())
    }
}

impl<const W: usize> Rx<W> for Subscriber<W> {
    #[inline(always)]
    fn receive(&mut self, _: u64, mut see: impl FnMut(&Message<W>)) -> Result<u64, Failure> {
        let wanted = Ring::<W>::mark_of(self.ring.position);
        while self.ring.mark().load(Acquire) != wanted {
            pause(self.ring.crowded);
        }
        let message = NonNull::from(self.ring.words()).cast::<Message<W>>();
        // SAFETY: written, as its mark says, and not written again until the index passes it.
        see(unsafe { message.as_ref() });
        self.ring.position += 1;
        if self.ring.position - self.told >= self.ring.count / 8 {
            self.told = self.ring.position;
            raw::word(&self.ring.memory, self.reader * LINE).store(self.told, Release);
        }
        Ok(1)
    }
}
