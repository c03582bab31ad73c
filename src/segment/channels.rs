//! Opening a channel, or making it.

use super::directory::Described;
use super::mapped::Mapped;
use super::name::{Name, fingerprint};
use super::participant::{Participant, Unleased};
use crate::error::{ChannelError, ChannelProperty};
use crate::kinds::block::Block;
use crate::kinds::broadcast::MAX_MESSAGES;
use crate::kinds::calls::MAX_CALLS;
use crate::kinds::table::RingKind;
use crate::ring::table::Member;
use crate::storage::layout::{
    LASTING, MAX_CAPACITY, MAX_LENGTH, MAX_SEATS, Measures, READY, Reply, SCHEMA_BYTES, Seats,
};
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
    /// Broadcast: how many publishers and reliable subscribers at most; `None` to take what
    /// there is, or to create it with what is usual.
    pub(crate) publishers: Option<u16>,
    pub(crate) reliable: Option<u16>,
    /// Calls: what is replied with.
    pub(crate) reply: Option<ReplySpec>,
    pub(crate) attempts: u8,
    pub(crate) lasting: bool,
}

/// What a caller wants the replies of calls to be.
#[derive(Clone, Debug)]
pub(crate) struct ReplySpec {
    /// Bytes of a reply, or of the longest; `None` to take what there is.
    pub(crate) size: Option<usize>,
    pub(crate) align: usize,
    pub(crate) schema: String,
}

impl ReplySpec {
    fn fingerprint(&self, size: usize) -> u64 {
        fingerprint(&self.schema, size as u64, self.align as u64)
    }
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

    /// Those to create it with.
    fn seats(&self) -> Seats {
        if self.kind.is_broadcast() {
            Seats {
                publishers: self.publishers.unwrap_or(Seats::USUAL.publishers),
                reliable: self.reliable.unwrap_or(Seats::USUAL.reliable),
            }
        } else {
            Seats::default()
        }
    }

    fn fingerprint(&self, size: usize) -> u64 {
        fingerprint(&self.schema, size as u64, self.align as u64)
    }

    fn type_name(schema: &str, size: u64, align: u64) -> String {
        format!("{schema} ({size} bytes, aligned to {align})")
    }
}

impl Participant {
    /// Opens a channel, or makes it.
    pub(crate) fn channel(&self, spec: &Spec) -> Result<Block, ChannelError> {
        if let Some(fault) = self.barred() {
            return Err(fault.into());
        }
        self.exclusively(|mapped| open_or_make(mapped, spec))
    }

    /// Does something with the lease held.
    pub(super) fn exclusively<R>(
        &self,
        act: impl FnOnce(&Mapped) -> Result<R, ChannelError>,
    ) -> Result<R, ChannelError> {
        self.leased(act).map_err(|refused| match refused {
            Unleased::Fault(fault) => fault.into(),
            Unleased::Busy { pid, waited } => {
                ChannelError::Busy { segment: self.mapped.name.clone(), pid, waited }
            }
        })?
    }

    /// The channel of this name, as the directory describes it.
    pub(crate) fn described(&self, name: &str) -> Result<Described, ChannelError> {
        match self.barred() {
            Some(fault) => Err(fault.into()),
            None => named(&self.mapped, name),
        }
    }
}

/// The channel of this name.
fn named(mapped: &Mapped, name: &str) -> Result<Described, ChannelError> {
    mapped.directory().channels().find(|found| found.name == name).ok_or_else(|| {
        ChannelError::NotFound { channel: name.to_owned(), segment: mapped.name.clone() }
    })
}

/// Opens the channel, or makes it. The caller holds the lease.
fn open_or_make(mapped: &Mapped, spec: &Spec) -> Result<Block, ChannelError> {
    // Entries are used in their order, so the blocks lie in it, too.
    let mut vacant = 0;
    let mut used = mapped.plan.heap;
    for (index, found) in mapped.directory().all() {
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
    let seats = spec.seats();
    let reply = spec.reply.as_ref().map_or(Reply::default(), |reply| Reply {
        size: reply.size.unwrap_or(0),
        align: reply.align,
    });
    let of = Measures { messages: capacity, size, align: spec.align, seats, reply };
    let plan = spec.kind.plan(&of, participants).ok_or_else(|| {
        let Seats { publishers, reliable } = seats;
        let (wanted, most, possible) = if spec.kind.is_calls() {
            let Reply { size, align } = reply;
            let wanted = format!(", replied to with {size} bytes, aligned to {align}");
            (wanted, MAX_CALLS, ", and replies too".to_owned())
        } else if spec.kind.is_broadcast() {
            (
                format!(", for {publishers} publishers and {reliable} reliable subscribers"),
                MAX_MESSAGES,
                format!(
                    ", 1 to {MAX_SEATS} publishers and at most {MAX_SEATS} reliable subscribers"
                ),
            )
        } else {
            (String::new(), MAX_CAPACITY, String::new())
        };
        ChannelError::BadCapacity {
            channel: spec.name.to_string(),
            what: format!(
                "a capacity of {capacity} elements of {} bytes, aligned to {}{}; from 1 to {} \
                 elements are possible, aligned to 128 at most, and messages of {MAX_LENGTH} \
                 bytes{}",
                size, spec.align, wanted, most, possible
            ),
        }
    })?;
    known_to_all(mapped, spec)?;
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
        (mapped.directory().entry(index), block.cells(mapped), plan.length <= available)
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
        (&entry.kind, spec.kind.code().0),
        (&entry.element_size, size as u64),
        (&entry.element_align, spec.align as u64),
        (&entry.fingerprint, spec.fingerprint(size)),
        (&entry.capacity, capacity as u64),
        (&entry.offset, offset as u64),
        (&entry.attempts, u64::from(spec.attempts)),
        (&entry.flags, if spec.lasting { LASTING } else { 0 }),
        (&entry.publishers, u64::from(seats.publishers)),
        (&entry.reliable, u64::from(seats.reliable)),
        (&entry.reply_size, reply.size as u64),
        (&entry.reply_align, reply.align as u64),
        (&entry.reply_fingerprint, spec.reply.as_ref().map_or(0, |of| of.fingerprint(reply.size))),
    ];
    for (word, value) in words {
        word.store(value, Ordering::Relaxed);
    }
    // A maker of a later build may have died over this entry.
    for word in entry.reserved_a.iter().chain(&entry.reserved_b) {
        word.store(0, Ordering::Relaxed);
    }
    mapped.memory.header().kinds.fetch_or(spec.kind.bit(), Ordering::Relaxed);
    entry.name.store(spec.name.as_str());
    entry.schema.store(&spec.schema);
    entry.state.store(READY, Ordering::Release);
    Ok(block)
}

/// That every participant can sweep a channel of this kind. Nobody joins meanwhile: the
/// caller holds the lease.
fn known_to_all(mapped: &Mapped, spec: &Spec) -> Result<(), ChannelError> {
    let bit = spec.kind.bit();
    let knows = |member: &Member| mapped.info(member.id).kinds.load(Ordering::Relaxed) & bit == bit;
    match mapped.living().find(|member| !knows(member)) {
        None => Ok(()),
        Some(member) => Err(ChannelError::UnknownKind {
            channel: spec.name.to_string(),
            kind: spec.kind.name(),
            pid: mapped.info(member.id).pid.load(Ordering::Relaxed),
        }),
    }
}

/// Whether the channel is what the caller takes it for.
fn check(mapped: &Mapped, spec: &Spec, found: &Described) -> Result<Block, ChannelError> {
    let mismatch = |what, theirs: String, ours: String| {
        let segment = mapped.called();
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
    if let Some(ours) = &spec.reply {
        let (theirs, fingerprint) = found.reply;
        let size = ours.size.unwrap_or(theirs.size);
        if (theirs.size, theirs.align, fingerprint) != (size, ours.align, ours.fingerprint(size)) {
            return mismatch(
                ChannelProperty::Replies,
                format!("{} bytes, aligned to {}, of {}", theirs.size, theirs.align, found.schema),
                Spec::type_name(&ours.schema, size as u64, ours.align as u64),
            );
        }
    }
    let Seats { publishers, reliable } = found.block.plan.seats;
    for (what, theirs, ours) in [
        (ChannelProperty::Publishers, publishers, spec.publishers),
        (ChannelProperty::Reliable, reliable, spec.reliable),
    ] {
        if let Some(ours) = ours.filter(|&ours| ours != theirs) {
            return mismatch(what, theirs.to_string(), ours.to_string());
        }
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
