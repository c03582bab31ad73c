//! Examines a segment without joining it and without the right to write.

use crate::error::OpenError;
use crate::ring::creation::MAGIC;
use crate::segment::mapped::Mapped;
use crate::storage::Memory;
use crate::storage::layout::plausible;
use crate::sync::Ordering;
use crate::sys::ErrorKind;
use crate::sys::shm::{self, AttachOptions, Shm};

/// A segment that is complete, attached for reading.
pub(crate) struct Found {
    pub(crate) stat: shm::Stat,
    pub(crate) mapped: Mapped,
}

/// The result of examining a segment.
pub(crate) enum Examined {
    Complete(Box<Found>),
    /// Complete, or nobody can tell, but not to be used by this caller: of
    /// another version, damaged, or not to be read. The set that it names, if
    /// that can be said.
    Sealed(Option<i32>),
    /// Without the magic.
    Unfinished,
    Gone,
}

/// Attaches a segment for reading.
pub(crate) fn examine(stat: shm::Stat) -> Result<Examined, OpenError> {
    let options = AttachOptions { read_only: true, ..AttachOptions::default() };
    let shm = Shm::from_id(stat.id);
    let memory = match shm.attach_with(options) {
        Ok(attachment) => Memory::for_reading(attachment),
        Err(error) if error.kind() == ErrorKind::Removed => return Ok(Examined::Gone),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => None,
        // A process that cannot look must not conclude anything.
        Err(error) => return Err(error.into()),
    };
    let Some(memory) = memory else {
        return Ok(Examined::Sealed(None));
    };
    let header = memory.header();
    if header.magic.load(Ordering::Acquire) != MAGIC {
        return Ok(Examined::Unfinished);
    }
    let set = i32::try_from(header.set.load(Ordering::Relaxed)).ok();
    Ok(match Mapped::of_memory(shm, memory) {
        Some(mapped) => Examined::Complete(Box::new(Found { stat, mapped })),
        None => Examined::Sealed(set),
    })
}

/// A segment that is complete, if it is.
pub(crate) fn find(stat: shm::Stat) -> Option<Found> {
    match examine(stat) {
        Ok(Examined::Complete(found)) => Some(*found),
        _ => None,
    }
}

pub(crate) fn ours() -> Result<Vec<shm::Stat>, OpenError> {
    let mut all = shm::all()?;
    all.retain(|stat| plausible(stat.size));
    Ok(all)
}
