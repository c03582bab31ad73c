//! The limit: rings between two processes, written by hand, without deaths, names or
//! waiting. Each has two indices on cache lines of their own; each side has a copy of
//! the other's index, and slots are written and read in place. Which of them is the
//! fastest differs from one make of processor to the next, and from one size of
//! messages to the next: so there are several, and the best one is the limit.

#![allow(unsafe_code)]

use std::hint::spin_loop;
use std::marker::PhantomData;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Release};

use tombolo::sys::Key;
use tombolo::sys::shm::{AttachOptions, Attachment, Shm};

use crate::failure::Failure;
use crate::harness::{Mechanism, Message, Rx, Setting, Shared, Subject, Tx};

/// The best of these is the limit of what goes through a ring.
pub(crate) const BEST_RING: &str = "best raw ring";
pub(crate) const RINGS: &[&str] = &[
    NoPause::NAME,
    Close::NAME,
    Pauses8::NAME,
    Pauses128::NAME,
    Lazy::NAME,
    Ahead::NAME,
    LazyAhead::NAME,
    super::raw_numbered::NAME,
];

/// The same where both ends are in one thread, and a pause only costs.
pub(crate) const RINGS_ALONE: &[&str] = &[NoPause::NAME, Close::NAME, super::raw_numbered::NAME];

pub(super) fn all() -> Vec<Box<dyn Subject>> {
    vec![
        Box::new(Raw::<NoPause>(PhantomData)),
        Box::new(Raw::<Close>(PhantomData)),
        Box::new(Raw::<Pauses8>(PhantomData)),
        Box::new(Raw::<Pauses128>(PhantomData)),
        Box::new(Raw::<Lazy>(PhantomData)),
        Box::new(Raw::<Ahead>(PhantomData)),
        Box::new(Raw::<LazyAhead>(PhantomData)),
    ]
}

/// How a ring is built, where builders differ.
pub(crate) trait Build: Sync + 'static {
    const NAME: &str;
    /// Bytes from one index to the next, and to the first slot.
    const LINE: usize;
    /// Pauses before each look at the other side's index: polling at once finds a
    /// message or two, and takes the cache line away from its writer.
    const PAUSES: u32;
    /// Whether the receiver says what it has read only for an eighth of the ring at a
    /// time, or when it finds nothing.
    const LAZY: bool;
    /// How many lines ahead of it each side has its next slots fetched, as far as they
    /// are known to be its own: stores become visible in order, so a line that the
    /// other side has would hold up all later ones.
    const AHEAD: usize;
}

/// Name, line, pauses, lazy, ahead.
macro_rules! build {
    ($kind:ident, $name:literal, $line:literal, $pauses:literal, $lazy:literal, $ahead:literal) => {
        pub(crate) struct $kind;

        impl Build for $kind {
            const NAME: &str = $name;
            const LINE: usize = $line;
            const PAUSES: u32 = $pauses;
            const LAZY: bool = $lazy;
            const AHEAD: usize = $ahead;
        }
    };
}

build!(NoPause, "raw ring, no pause", 128, 0, false, 0);
// As shaq 3.0's: indices in neighbouring lines, each message said at both ends.
build!(Close, "raw ring, close indices", 64, 1, false, 0);
// A pause takes from 10 to 140 cycles, by the make of the processor.
build!(Pauses8, "raw ring, 8 pauses", 128, 8, false, 0);
build!(Pauses128, "raw ring, 128 pauses", 128, 128, false, 0);
build!(Lazy, "raw ring, 32 pauses, lazy", 128, 32, true, 0);
build!(Ahead, "raw ring, 8 pauses, fetched ahead", 128, 8, false, 4);
build!(LazyAhead, "raw ring, 32 pauses, lazy, fetched ahead", 128, 32, true, 4);

/// The ring; with batches it publishes, and gives back, as many at once.
pub(crate) struct Raw<B>(PhantomData<fn() -> B>);

impl<B: Build> Mechanism for Raw<B> {
    type Tx<const W: usize> = RawTx<W, B>;
    type Rx<const W: usize> = RawRx<W, B>;

    fn name(&self) -> String {
        B::NAME.to_owned()
    }

    fn lap(&self, setting: &Setting) -> u64 {
        setting.slots as u64
    }

    fn prepare(&self, setting: &Setting) -> Result<Shared, Failure> {
        each(setting, 2 * B::LINE + setting.slots * setting.words * 8)
    }

    fn tx<const W: usize>(
        &self,
        shared: &Shared,
        setting: &Setting,
        channel: usize,
    ) -> Result<RawTx<W, B>, Failure> {
        Ok(RawTx { ring: Ring::open(shared, setting, channel)?, tail: 0, head: 0 })
    }

    fn rx<const W: usize>(
        &self,
        shared: &Shared,
        setting: &Setting,
        channel: usize,
    ) -> Result<RawRx<W, B>, Failure> {
        Ok(RawRx { ring: Ring::open(shared, setting, channel)?, head: 0, told: 0, tail: 0 })
    }
}

const PREFAULT: AttachOptions =
    AttachOptions { read_only: false, prefault: true, keep_out_of_core_dumps: false };

/// So much memory for each channel.
pub(super) fn each(setting: &Setting, bytes: usize) -> Result<Shared, Failure> {
    let mut shared = Shared::default();
    for _ in 0..setting.channels() {
        share(&mut shared, memory(bytes)?);
    }
    Ok(shared)
}

/// Memory for the next channel.
pub(super) fn share(shared: &mut Shared, memory: Attachment) {
    shared.numbers.push(i64::from(memory.shm().id()));
    shared.held.push(Box::new(memory));
}

/// Memory that goes with the last process that has it.
pub(super) fn memory(bytes: usize) -> Result<Attachment, Failure> {
    let unusable = |error| Failure::unusable("cannot make shared memory", error);
    let shm = Shm::options().create(Key::PRIVATE, bytes).map_err(unusable)?;
    let memory = shm.attach_with(PREFAULT);
    let removed = shm.remove();
    let memory = memory.map_err(unusable)?;
    removed.map(|()| memory).map_err(unusable)
}

/// The memory of a channel, in a worker.
pub(super) fn open(shared: &Shared, channel: usize) -> Result<Arc<Attachment>, Failure> {
    shared.once(channel, || {
        let id = shared.numbers.get(channel).copied().unwrap_or(-1);
        let shm = Shm::from_id(i32::try_from(id).unwrap_or(-1));
        let memory = shm.attach_with(PREFAULT);
        memory.map(Arc::new).map_err(|error| Failure::unusable("shared memory", error))
    })
}

/// The word at this many bytes of a memory.
pub(super) fn word(memory: &Attachment, bytes: usize) -> &AtomicU64 {
    assert!(bytes.is_multiple_of(8) && bytes < memory.len(), "a word beyond the memory");
    // SAFETY: within the memory.
    let word = unsafe { memory.as_non_null().byte_add(bytes).cast::<AtomicU64>() };
    // SAFETY: aligned, mapped as long as the memory is borrowed, and used as
    // an atomic by everybody.
    unsafe { word.as_ref() }
}

/// Has a cache line fetched. Nothing depends on it.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn fetch(line: *const u8, to_write: bool) {
    use std::arch::asm;
    if to_write {
        // SAFETY: it changes nothing, whatever the address is.
        unsafe { asm!("prefetchw [{}]", in(reg) line, options(nostack, preserves_flags)) };
    } else {
        // SAFETY: as above.
        unsafe { asm!("prefetcht0 [{}]", in(reg) line, options(nostack, preserves_flags)) };
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn fetch(_: *const u8, _: bool) {}

struct Ring<const W: usize, B> {
    memory: Arc<Attachment>,
    slots: NonNull<Message<W>>,
    count: u64,
    build: PhantomData<fn() -> B>,
}

impl<const W: usize, B: Build> Ring<W, B> {
    fn open(shared: &Shared, setting: &Setting, channel: usize) -> Result<Self, Failure> {
        let memory = open(shared, channel)?;
        assert!(setting.slots.is_power_of_two(), "{} slots", setting.slots);
        assert!(2 * B::LINE + setting.slots * size_of::<Message<W>>() <= memory.len());
        // SAFETY: the memory is longer than that, as just asserted.
        let slots = unsafe { memory.as_non_null().byte_add(2 * B::LINE).cast() };
        Ok(Self { memory, slots, count: setting.slots as u64, build: PhantomData })
    }

    /// Before each look, and so between two.
    #[inline(always)]
    fn back_off(&self) {
        for _ in 0..B::PAUSES {
            spin_loop();
        }
    }

    /// How many slots the lines are that are fetched ahead.
    const AHEAD: u64 = (B::AHEAD * 64).div_ceil(W * 8) as u64;

    /// How many slots are in a line, if it is more than one.
    const EVERY: u64 = if W < 8 { 8 / W as u64 } else { 1 };

    /// Has the lines fetched that are as far ahead of so many slots, if they are before
    /// the end.
    #[inline(always)]
    fn fetch_ahead(&self, from: u64, part: u64, end: u64, to_write: bool) {
        if B::AHEAD == 0 {
            return;
        }
        let mut slot = (from + Self::AHEAD).next_multiple_of(Self::EVERY);
        while slot < from + Self::AHEAD + part && slot < end {
            for line in (0..W * 8).step_by(64) {
                // SAFETY: within the slot.
                let line = unsafe { self.slot(slot).byte_add(line) };
                fetch(line.as_ptr().cast(), to_write);
            }
            slot += Self::EVERY;
        }
    }

    /// How many slots there are from this one to the end of the memory.
    #[inline(always)]
    fn unbroken(&self, number: u64) -> u64 {
        self.count - (number & (self.count - 1))
    }

    #[inline(always)]
    fn head(&self) -> &AtomicU64 {
        self.index(0)
    }

    #[inline(always)]
    fn tail(&self) -> &AtomicU64 {
        self.index(B::LINE)
    }

    #[inline(always)]
    fn index(&self, bytes: usize) -> &AtomicU64 {
        // SAFETY: the two indices are before the slots.
        let index = unsafe { self.memory.as_non_null().byte_add(bytes).cast::<AtomicU64>() };
        // SAFETY: as in `word`.
        unsafe { index.as_ref() }
    }

    #[inline(always)]
    fn slot(&self, number: u64) -> NonNull<Message<W>> {
        // SAFETY: less than the number of slots, all of which are there.
        unsafe { self.slots.add((number & (self.count - 1)) as usize) }
    }
}

pub(crate) struct RawTx<const W: usize, B> {
    ring: Ring<W, B>,
    tail: u64,
    /// The other side's index when it was last read.
    head: u64,
}

impl<const W: usize, B: Build> Tx<W> for RawTx<W, B> {
    #[inline(always)]
    fn send(&mut self, numbers: Range<u64>) -> Result<(), Failure> {
        let mut number = numbers.start;
        while number < numbers.end {
            while self.tail - self.head == self.ring.count {
                self.ring.back_off();
                self.head = self.ring.head().load(Acquire);
            }
            let room = self.ring.count - (self.tail - self.head);
            let part = room.min(numbers.end - number).min(self.ring.unbroken(self.tail));
            self.ring.fetch_ahead(self.tail, part, self.head + self.ring.count, true);
            let first = self.ring.slot(self.tail).as_ptr();
            // SAFETY: free, as the consumer has said, until the tail passes them, and
            // next to each other; any words are a message.
            let slots = unsafe { std::slice::from_raw_parts_mut(first, part as usize) };
            for slot in slots {
                slot.fill(number);
                number += 1;
            }
            self.tail += part;
            self.ring.tail().store(self.tail, Release);
        }
        Ok(())
    }
}

pub(crate) struct RawRx<const W: usize, B> {
    ring: Ring<W, B>,
    head: u64,
    /// The head that the sender was told.
    told: u64,
    /// The other side's index when it was last read.
    tail: u64,
}

impl<const W: usize, B: Build> RawRx<W, B> {
    #[inline(always)]
    fn tell(&mut self) {
        self.ring.head().store(self.head, Release);
        self.told = self.head;
    }
}

impl<const W: usize, B: Build> Rx<W> for RawRx<W, B> {
    #[inline(always)]
    fn receive(&mut self, most: u64, mut see: impl FnMut(&Message<W>)) -> Result<u64, Failure> {
        if self.tail == self.head {
            if B::LAZY && self.told != self.head {
                self.tell();
            }
            while self.tail == self.head {
                self.ring.back_off();
                self.tail = self.ring.tail().load(Acquire);
            }
        }
        let part = (self.tail - self.head).min(most).min(self.ring.unbroken(self.head));
        self.ring.fetch_ahead(self.head, part, self.tail, false);
        let first = self.ring.slot(self.head).as_ptr();
        // SAFETY: written, as the producer has said, not written again until the head
        // passes them, and next to each other.
        let slots = unsafe { std::slice::from_raw_parts(first, part as usize) };
        slots.iter().for_each(&mut see);
        self.head += part;
        if !B::LAZY || self.head - self.told >= self.ring.count / 8 {
            self.tell();
        }
        Ok(part)
    }
}
