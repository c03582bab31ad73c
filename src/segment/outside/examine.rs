//! Examines a segment without joining it and without the right to write.

use crate::error::OpenError;
use crate::ring::creation::MAGIC;
use crate::ring::set::SetMap;
use crate::segment::mapped::Mapped;
use crate::storage::Memory;
use crate::storage::layout::plausible;
use crate::sync::Ordering;
use crate::sys::sem::Set;
use crate::sys::shm::{self, AttachOptions, NoWay, Shm};
use crate::sys::{ErrorKind, Key};

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

/// Examines segments so that nothing changes in what the kernel tells of them, where this
/// process may: by way of a process that has them attached. Otherwise it attaches them.
#[derive(Debug, Default)]
pub(crate) struct Glance {
    /// Whether it may not.
    refused: bool,
}

/// So many processes are tried for one segment.
pub(crate) const TRIED: usize = 4;

impl Glance {
    /// Examines a segment, which these processes may have attached, if they are known.
    pub(crate) fn examine(
        &mut self,
        stat: shm::Stat,
        known: Option<&[u32]>,
    ) -> Result<Examined, OpenError> {
        if !self.refused && stat.attached > 0 {
            let guessed = if known.is_none() { likely(&stat) } else { Vec::new() };
            for &pid in known.unwrap_or(&guessed).iter().take(TRIED) {
                match Shm::from_id(stat.id).map_by(pid, stat.key) {
                    Ok(attachment) => {
                        if let Some(memory) = Memory::for_reading(attachment) {
                            return Ok(look_into(stat, memory));
                        }
                    }
                    Err(NoWay::Elsewhere) => {}
                    Err(NoWay::Refused) => {
                        self.refused = true;
                        break;
                    }
                }
            }
        }
        examine(stat)
    }
}

/// Processes that are likely to have a segment attached of which nothing is known: those that
/// hold a participant's semaphore up, the last one to attach it, and its creator.
fn likely(stat: &shm::Stat) -> Vec<u32> {
    let participants = Set::open(stat.key).ok().filter(|_| stat.key != Key::PRIVATE).map(|set| {
        let first = SetMap::WAKE_ALL + 1;
        (first..first + 2).filter_map(move |sem| set.last_pid(sem).ok())
    });
    let pids = participants.into_iter().flatten().chain([stat.last_pid, stat.creator_pid]);
    let mut pids: Vec<u32> =
        pids.filter_map(|pid| u32::try_from(pid).ok()).filter(|&pid| pid != 0).collect();
    pids.dedup();
    pids
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
    Ok(look_into(stat, memory))
}

fn look_into(stat: shm::Stat, memory: Memory) -> Examined {
    let header = memory.header();
    if header.magic.load(Ordering::Acquire) != MAGIC {
        return Examined::Unfinished;
    }
    let set = i32::try_from(header.set.load(Ordering::Relaxed)).ok();
    match Mapped::of_memory(Shm::from_id(stat.id), memory) {
        Some(mapped) => Examined::Complete(Box::new(Found { stat, mapped })),
        None => Examined::Sealed(set),
    }
}

pub(crate) fn ours() -> Result<Vec<shm::Stat>, OpenError> {
    let mut all = shm::all()?;
    all.retain(|stat| plausible(stat.size));
    Ok(all)
}
