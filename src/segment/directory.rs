//! The directory of a segment: which channels it has.
//!
//! ```text
//!  free (0) ── under the lease: fill, then the state (Release) ──▶ READY
//! ```
//!
//! An entry is taken by its state, stored last; a maker that dies before
//! leaves a free entry and untouched heap, because where the heap is used up
//! to is computed from the READY entries. An entry never changes again.

use std::sync::Arc;

use crate::kinds::block::Block;
use crate::kinds::table::RingKind;
use crate::ring::mpmc::MAX_ATTEMPTS;
use crate::storage::layout::{DirectoryEntry, LASTING, Measures, Plan, READY, Reply, Seats};
use crate::storage::{KindCode, Memory};
use crate::sync::{AtomicU64, Ordering};

/// A channel as the directory describes it.
#[derive(Clone, Debug)]
pub(crate) struct Described {
    pub(crate) name: String,
    pub(crate) schema: String,
    pub(crate) size: usize,
    pub(crate) align: usize,
    pub(crate) fingerprint: u64,
    /// What the replies of calls are like, and their fingerprint.
    pub(crate) reply: (Reply, u64),
    pub(crate) block: Block,
}

/// The directory in this memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Directory<'a> {
    pub(super) memory: &'a Arc<Memory>,
    pub(super) plan: &'a Plan,
}

impl<'a> Directory<'a> {
    pub(super) fn entry(self, index: u16) -> Option<&'a DirectoryEntry> {
        self.memory.at(self.plan.directory + size_of::<DirectoryEntry>() * usize::from(index))
    }

    /// Every channel, with its index; or what contradicts what in its entry.
    ///
    /// A block begins at the end of the one before it, or later. An entry that says
    /// otherwise makes no sense, so that what walks over the blocks of all channels sees no
    /// byte of the segment more than once, however many entries a peer may have written.
    pub(super) fn all(self) -> impl Iterator<Item = (u16, Result<Described, String>)> + use<'a> {
        let mut end = self.plan.heap;
        (0..self.plan.map.channels).filter_map(move |index| {
            let found = self.read(index)?.and_then(|found| {
                let Block { offset, plan, .. } = found.block;
                if offset < end {
                    return Err(format!(
                        "its block begins at {offset}, before the last one ends at {end}"
                    ));
                }
                end = offset + plan.length;
                Ok(found)
            });
            Some((index, found))
        })
    }

    /// The channel at `index`, by its own entry alone: `None` if there is none, and what
    /// contradicts what if the entry makes no sense.
    pub(crate) fn read(self, index: u16) -> Option<Result<Described, String>> {
        let entry = self.entry(index)?;
        // Acquire with the maker's Release: the rest of the entry.
        (entry.state.load(Ordering::Acquire) == READY).then(|| self.describe(index, entry))
    }

    /// Every channel whose entry makes sense.
    pub(crate) fn channels(self) -> impl Iterator<Item = Described> + use<'a> {
        self.all().filter_map(|(_, found)| found.ok())
    }

    fn describe(self, index: u16, entry: &DirectoryEntry) -> Result<Described, String> {
        let read = |word: &AtomicU64| word.load(Ordering::Relaxed);
        let number = |word| usize::try_from(read(word)).unwrap_or(usize::MAX);
        let (size, align) = (number(&entry.element_size), number(&entry.element_align));
        let (capacity, offset) = (number(&entry.capacity), number(&entry.offset));
        let code = read(&entry.kind);
        let kind = RingKind::read(KindCode(code)).ok_or_else(|| format!("its kind is {code}"))?;
        let seat = |word| u16::try_from(read(word)).unwrap_or(u16::MAX);
        let seats = if kind.is_broadcast() {
            Seats { publishers: seat(&entry.publishers), reliable: seat(&entry.reliable) }
        } else {
            Seats::default()
        };
        let reply = if kind.is_calls() {
            Reply { size: number(&entry.reply_size), align: number(&entry.reply_align) }
        } else {
            Reply::default()
        };
        let of = Measures { messages: capacity, size, align, seats, reply };
        let plan = kind.plan(&of, self.plan.map.participants).ok_or_else(|| {
            let Seats { publishers, reliable } = seats;
            let seats = if kind.is_calls() {
                let Reply { size, align } = reply;
                format!(", replied to with {size} bytes at {align}")
            } else if kind.is_broadcast() {
                format!(", for {publishers} publishers and {reliable} reliable subscribers")
            } else {
                String::new()
            };
            format!("its capacity is {capacity}, of {size} bytes at {align}{seats}")
        })?;
        let block = Block {
            index,
            kind,
            offset,
            plan,
            longest: size,
            attempts: u8::try_from(read(&entry.attempts)).unwrap_or(MAX_ATTEMPTS).min(MAX_ATTEMPTS),
            lasting: read(&entry.flags) & LASTING != 0,
        };
        if offset < self.plan.heap
            || offset.checked_add(plan.length).is_none_or(|end| end > self.memory.len())
            || block.cells_in(self.memory).is_none()
        {
            return Err(format!(
                "its {} bytes at {offset} are not inside the segment",
                plan.length
            ));
        }
        let text = |text: Option<String>| text.ok_or_else(|| "its name is not a text".to_owned());
        Ok(Described {
            name: text(entry.name.load())?,
            schema: text(entry.schema.load())?,
            size,
            align,
            fingerprint: read(&entry.fingerprint),
            reply: (reply, read(&entry.reply_fingerprint)),
            block,
        })
    }
}
