//! The channels of a segment: finding one by name, making one.
//!
//! ```text
//!  free (0) ── under the lease: fill, then the state (Release) ──▶ READY
//! ```
//!
//! An entry is taken by its state, stored last; a maker that dies before
//! leaves a free entry and untouched heap, because where the heap is used up
//! to is computed from the READY entries. An entry never changes again.

use super::mapped::Mapped;
use super::name::{Name, fingerprint};
use crate::error::{ChannelError, ChannelProperty};
use crate::ring::mpmc::MAX_ATTEMPTS;
use crate::storage::layout::{
    BlockPlan, DirectoryEntry, LASTING, MAX_CAPACITY, MAX_LENGTH, READY, RingKind, SCHEMA_BYTES,
    flags,
};
use crate::storage::{Block, Cells};
use crate::sync::Ordering;

/// What a caller wants a channel to be.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    pub(crate) name: Name,
    pub(crate) kind: RingKind,
    /// Bytes of an element, or of the longest message; `None` to take what
    /// there is.
    pub(crate) size: Option<usize>,
    pub(crate) align: usize,
    pub(crate) schema: String,
    /// What to create it with; `None` to open it only.
    pub(crate) capacity: Option<usize>,
    pub(crate) attempts: u8,
    pub(crate) lasting: bool,
}

impl Spec {
    /// A schema is cut to what an entry has room for.
    pub(crate) fn schema(schema: &str) -> String {
        schema
            .chars()
            .scan(0, |used, c| {
                *used += c.len_utf8();
                (*used <= SCHEMA_BYTES).then_some(c)
            })
            .collect()
    }

    fn fingerprint(&self, size: usize) -> u64 {
        fingerprint(&self.schema, size as u64, self.align as u64)
    }

    fn type_name(schema: &str, size: u64, align: u64) -> String {
        format!("{schema} ({size} bytes, aligned to {align})")
    }
}

/// A channel as the directory describes it.
#[derive(Clone, Debug)]
pub(crate) struct Described {
    pub(crate) name: String,
    pub(crate) schema: String,
    pub(crate) size: usize,
    pub(crate) align: usize,
    pub(crate) fingerprint: u64,
    pub(crate) block: Block,
}

fn entry(mapped: &Mapped, index: u16) -> Option<&DirectoryEntry> {
    mapped.memory.at(mapped.plan.directory + size_of::<DirectoryEntry>() * usize::from(index))
}

/// Every channel, with its index; or what contradicts what in its entry.
///
/// A block begins at the end of the one before it, or later. An entry that says otherwise
/// makes no sense, so that what walks over the blocks of all channels sees no byte of the
/// segment more than once, however many entries a peer may have written.
pub(crate) fn all(mapped: &Mapped) -> impl Iterator<Item = (u16, Result<Described, String>)> {
    let mut end = mapped.plan.heap;
    (0..mapped.plan.map.channels).filter_map(move |index| {
        let found = read(mapped, index)?.and_then(|found| {
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

/// The channels whose entries make sense.
pub(crate) fn sound(mapped: &Mapped) -> impl Iterator<Item = Described> {
    all(mapped).filter_map(|(_, found)| found.ok())
}

/// The channel at `index`, by its own entry alone: `None` if there is none, and what
/// contradicts what if the entry makes no sense.
pub(crate) fn read(mapped: &Mapped, index: u16) -> Option<Result<Described, String>> {
    let entry = entry(mapped, index)?;
    // Acquire with the maker's Release: the rest of the entry.
    (entry.state.load(Ordering::Acquire) == READY).then(|| describe(mapped, index, entry))
}

fn describe(mapped: &Mapped, index: u16, entry: &DirectoryEntry) -> Result<Described, String> {
    let read = |word: &crate::sync::AtomicU64| word.load(Ordering::Relaxed);
    let number = |word| usize::try_from(read(word)).unwrap_or(usize::MAX);
    let (size, align) = (number(&entry.element_size), number(&entry.element_align));
    let (capacity, offset) = (number(&entry.capacity), number(&entry.offset));
    let code = read(&entry.kind);
    let kind = RingKind::read(code).ok_or_else(|| format!("its kind is {code}"))?;
    let plan = BlockPlan::new(kind, capacity, size, align, mapped.plan.map.participants)
        .ok_or_else(|| format!("its capacity is {capacity}, of {size} bytes at {align}"))?;
    let block = Block {
        index,
        kind,
        offset,
        plan,
        longest: size,
        attempts: u8::try_from(read(&entry.attempts)).unwrap_or(MAX_ATTEMPTS).min(MAX_ATTEMPTS),
        lasting: read(&entry.flags) & LASTING != 0,
    };
    if offset < mapped.plan.heap
        || offset.checked_add(plan.length).is_none_or(|end| end > mapped.memory.len())
        || Cells::new(&mapped.memory, &block).is_none()
    {
        return Err(format!("its {} bytes at {offset} are not inside the segment", plan.length));
    }
    let text = |text: Option<String>| text.ok_or_else(|| "its name is not a text".to_owned());
    Ok(Described {
        name: text(entry.name.load())?,
        schema: text(entry.schema.load())?,
        size,
        align,
        fingerprint: read(&entry.fingerprint),
        block,
    })
}

/// The channel of this name.
pub(crate) fn named(mapped: &Mapped, name: &str) -> Result<Described, ChannelError> {
    let found = sound(mapped).find(|found| found.name == name);
    found.ok_or_else(|| ChannelError::NotFound {
        channel: name.to_owned(),
        segment: mapped.name.clone(),
    })
}

/// Opens the channel, or makes it. The caller holds the lease.
pub(crate) fn open_or_make(mapped: &Mapped, spec: &Spec) -> Result<Block, ChannelError> {
    // Entries are used in their order, so the blocks lie in it, too.
    let mut vacant = 0;
    let mut used = mapped.plan.heap;
    for (index, found) in all(mapped) {
        match found {
            Ok(found) if found.name == spec.name.as_str() => return check(mapped, spec, &found),
            Ok(found) => used = found.block.offset + found.block.plan.length,
            Err(what) => {
                return Err(ChannelError::Damaged { channel: format!("#{index}"), what });
            }
        }
        vacant = index + 1;
    }
    let (Some(capacity), Some(size)) = (spec.capacity, spec.size) else {
        return Err(ChannelError::NotFound {
            channel: spec.name.to_string(),
            segment: mapped.name.clone(),
        });
    };
    if vacant >= mapped.plan.map.channels {
        return Err(ChannelError::DirectoryFull {
            segment: mapped.name.clone(),
            channels: mapped.plan.map.channels,
        });
    }
    make(mapped, spec, (capacity, size), vacant, used)
}

fn make(
    mapped: &Mapped,
    spec: &Spec,
    (capacity, size): (usize, usize),
    index: u16,
    offset: usize,
) -> Result<Block, ChannelError> {
    let participants = mapped.plan.map.participants;
    let plan =
        BlockPlan::new(spec.kind, capacity, size, spec.align, participants).ok_or_else(|| {
            ChannelError::BadCapacity {
                channel: spec.name.to_string(),
                what: format!(
                    "a capacity of {capacity} elements of {} bytes, aligned to {}; from 1 to \
                 {MAX_CAPACITY} elements are possible, aligned to 128 at most, and messages of \
                 {MAX_LENGTH} bytes",
                    size, spec.align
                ),
            }
        })?;
    let available = mapped.memory.len().saturating_sub(offset);
    let block = Block {
        index,
        kind: spec.kind,
        offset,
        plan,
        longest: size,
        attempts: spec.attempts,
        lasting: spec.lasting,
    };
    let (Some(entry), Some(_), true) =
        (entry(mapped, index), Cells::new(&mapped.memory, &block), plan.length <= available)
    else {
        return Err(ChannelError::SegmentFull {
            channel: spec.name.to_string(),
            segment: mapped.name.clone(),
            needed: plan.length,
            available,
            size: offset.saturating_sub(mapped.plan.heap).saturating_add(plan.length),
        });
    };
    let words = [
        (&entry.kind, spec.kind.code()),
        (&entry.element_size, size as u64),
        (&entry.element_align, spec.align as u64),
        (&entry.fingerprint, spec.fingerprint(size)),
        (&entry.capacity, capacity as u64),
        (&entry.offset, offset as u64),
        (&entry.attempts, u64::from(spec.attempts)),
        (&entry.flags, if spec.lasting { LASTING } else { 0 }),
    ];
    for (word, value) in words {
        word.store(value, Ordering::Relaxed);
    }
    // A maker of a later build may have died over this entry.
    for word in entry.reserved_a.iter().chain(&entry.reserved_b) {
        word.store(0, Ordering::Relaxed);
    }
    entry.name.store(spec.name.as_str());
    entry.schema.store(&spec.schema);
    entry.state.store(READY, Ordering::Release);
    Ok(block)
}

/// Whether the channel is what the caller takes it for.
fn check(mapped: &Mapped, spec: &Spec, found: &Described) -> Result<Block, ChannelError> {
    let mismatch = |what, theirs: String, ours: String| {
        // As the command takes it.
        let segment = if mapped.flags & flags::ANONYMOUS == 0 {
            mapped.name.clone()
        } else {
            format!("@{}", mapped.shm.id())
        };
        Err(ChannelError::Mismatch { channel: spec.name.to_string(), segment, what, theirs, ours })
    };
    if found.block.kind != spec.kind {
        return mismatch(
            ChannelProperty::Kind,
            format!("{:?}", found.block.kind),
            format!("{:?}", spec.kind),
        );
    }
    let size = spec.size.unwrap_or(found.size);
    if (found.size, found.align, found.fingerprint) != (size, spec.align, spec.fingerprint(size)) {
        return mismatch(
            ChannelProperty::Elements,
            Spec::type_name(&found.schema, found.size as u64, found.align as u64),
            Spec::type_name(&spec.schema, size as u64, spec.align as u64),
        );
    }
    match spec.capacity {
        Some(capacity) if capacity != found.block.plan.messages => mismatch(
            ChannelProperty::Capacity,
            found.block.plan.messages.to_string(),
            capacity.to_string(),
        ),
        _ => Ok(found.block),
    }
}
