//! From the objects of a segment to a participant, or to nothing.

use std::sync::{Arc, OnceLock};

use super::options::Options;
use super::site::Attached;
use crate::error::OpenError;
use crate::kinds::table::RingKind;
use crate::ring::lease;
use crate::segment::mapped::Mapped;
use crate::segment::participant::Participant;
use crate::segment::removal::gone;
use crate::segment::trace;
use crate::storage::layout::{JOINT_SENDS, Plan, VERSION, flags};
use crate::sync::{AtomicU64, Ordering};
use crate::sys;
use crate::wait::Semaphores;

/// Checks what the header says, once, against what there is.
#[expect(clippy::result_large_err, reason = "the parts go back to who can remove them")]
fn mapped(
    semaphores: Semaphores,
    block: Attached,
    name: &str,
) -> Result<Mapped, (Semaphores, Attached, OpenError)> {
    let header = block.memory.header();
    let read = |word: &AtomicU64| word.load(Ordering::Relaxed);
    let version = read(&header.version);
    if version != VERSION {
        let name = name.to_owned();
        let error = OpenError::Version { name, found: version, supported: VERSION };
        return Err((semaphores, block, error));
    }
    let damaged = |what: String| OpenError::Damaged { name: name.to_owned(), what };
    let (size, flags, generation) =
        (read(&header.size), read(&header.flags), read(&header.generation));
    let (participants, channels) = (read(&header.participants), read(&header.channels));
    let Some(map) = header.shape() else {
        let what = format!("it says {participants} participants and {channels} channels");
        return Err((semaphores, block, damaged(what)));
    };
    let plan = Plan::new(map);
    let len = block.memory.len();
    let count = match semaphores.set().stat_any() {
        Ok(stat) => stat.count,
        Err(_) => {
            let error = OpenError::Unstable { name: name.to_owned() };
            return Err((semaphores, block, error));
        }
    };
    let kinds = read(&header.kinds);
    let what = if flags & !flags::KNOWN != 0 || kinds & !(RingKind::LATER | JOINT_SENDS) != 0 {
        let name = name.to_owned();
        return Err((semaphores, block, OpenError::Newer { name }));
    } else if size != len as u64 {
        format!("it says {size} bytes and has {len}")
    } else if plan.heap > len {
        format!("its directory ends at {} of {len} bytes", plan.heap)
    } else if count != usize::from(plan.map.count()) {
        format!("its set has {count} semaphores and should have {}", plan.map.count())
    } else {
        let asymmetric = flags & flags::SYMMETRIC == 0;
        return Ok(Mapped {
            shm: block.shm,
            memory: Arc::new(block.memory),
            semaphores: Semaphores::new(*semaphores.set(), asymmetric),
            plan,
            generation,
            flags,
            name: name.to_owned(),
            end: OnceLock::new(),
        });
    };
    Err((semaphores, block, damaged(what)))
}

/// Joins a segment that was made just now. Nobody else can have joined it,
/// since its lease is held: if this fails, it is removed.
pub(super) fn join_first(
    options: &Options,
    semaphores: Semaphores,
    block: Attached,
    name: &str,
) -> Result<Arc<Participant>, OpenError> {
    let (set, shm) = (*semaphores.set(), block.shm);
    let joined = join_leased(options, semaphores, block, name);
    if joined.is_err() {
        let _ = set.remove();
        let _ = shm.remove();
    } else {
        let _ = lease::release(&Semaphores::new(set, false));
    }
    trace::tell();
    joined
}

/// Joins a segment whose lease is held, and gives the lease back.
pub(super) fn join(
    options: &Options,
    semaphores: Semaphores,
    block: Attached,
    name: &str,
) -> Result<Arc<Participant>, OpenError> {
    let set = *semaphores.set();
    let joined = join_leased(options, semaphores, block, name);
    let _ = lease::release(&Semaphores::new(set, false));
    trace::tell();
    joined
}

fn join_leased(
    options: &Options,
    semaphores: Semaphores,
    block: Attached,
    name: &str,
) -> Result<Arc<Participant>, OpenError> {
    let mapped = mapped(semaphores, block, name).map_err(|(_, _, error)| error)?;
    // Before anything of ours can be relied upon by a heavy fence.
    if mapped.flags & flags::SYMMETRIC == 0 && !sys::proc::register_global_barrier() {
        return Err(OpenError::NoBarrier { name: name.to_owned() });
    }
    Participant::join(mapped, options.timeout)
}

/// Removes both objects, whatever state they are in.
pub(super) fn discard(
    semaphores: Semaphores,
    block: Attached,
    name: &str,
) -> Result<(), OpenError> {
    match mapped(semaphores, block, name) {
        Ok(mapped) => Ok(mapped.remove()?),
        // Nothing that can be used; but it has the name.
        Err((semaphores, block, _)) => {
            gone(semaphores.set().remove())?;
            let shm = block.shm;
            block.shut();
            gone(shm.remove())
        }
    }
}
