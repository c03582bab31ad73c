//! Removing the objects of a segment, and telling those who use it.

use super::mapped::Mapped;
use crate::error::OpenError;
use crate::ring::creation::MAGIC;
use crate::ring::set::SetMap;
use crate::storage::Memory;
use crate::storage::layout::plausible;
use crate::sync::Ordering;
use crate::sys::shm::{Shm, Stat};
use crate::sys::{self, ErrorKind};

impl Mapped {
    /// Removes the objects. The set goes first: that wakes all sleepers at one
    /// instant, and shows that this process may remove the segment. Then the gate
    /// is shut, which ends those who are busy. If the remover is killed before it
    /// shuts the gate, nobody sleeps, and a busy participant is told at its next
    /// call into the kernel, or once somebody clears away what is left. In the
    /// other order a killed remover would leave sleepers that nobody wakes.
    pub(crate) fn remove(&self) -> Result<(), sys::Error> {
        // What cannot be read has gone, or is refused to the remover as well.
        let key = self.key();
        let set = self.semaphores.set().remove();
        if set.as_ref().map_or_else(|error| error.kind() == ErrorKind::Removed, |()| true) {
            self.close();
        }
        if let (Ok(()), Ok(key)) = (&set, key) {
            self.remove_queue(key);
        }
        let block = self.shm.remove();
        for removed in [set, block] {
            match removed {
                Err(error) if error.kind() != ErrorKind::Removed => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether its set is gone.
    pub(super) fn has_lost_set(&self) -> bool {
        let set = self.semaphores.set();
        let found = set.stat_any().and_then(|stat| {
            let mut values = vec![0; stat.count];
            set.values(&mut values).map(|()| values)
        });
        match found {
            Ok(values) => SetMap::generation(&values) != Some(self.generation),
            Err(error) => error.kind() == ErrorKind::Removed,
        }
    }
}

/// Removing what has gone already is done.
pub(crate) fn gone(removed: sys::Result<()>) -> Result<(), OpenError> {
    match removed {
        Err(error) if error.kind() != ErrorKind::Removed => Err(error.into()),
        _ => Ok(()),
    }
}

/// The segment, if it is complete and makes sense.
fn complete(shm: Shm) -> Option<Mapped> {
    let memory = Memory::new(shm.attach().ok()?)?;
    // Edge B.
    let complete = memory.header().magic.load(Ordering::Acquire) == MAGIC;
    if complete { Mapped::of_memory(shm, memory) } else { None }
}

/// Ends those who use a segment that has lost its set.
pub(crate) fn shut(shm: Shm) {
    if let Some(mapped) = complete(shm) {
        mapped.close();
    }
}

/// Ends those who use a segment that `is` meant and has no key any more; whether
/// there was one that had not been shut.
pub(crate) fn shut_marked(is: impl Fn(&Mapped) -> bool) -> bool {
    let marked = |stat: &Stat| stat.marked_for_removal && stat.attached > 0 && plausible(stat.size);
    let all = sys::shm::all().unwrap_or_default();
    let open = all.iter().filter(|stat| marked(stat)).filter_map(|stat| {
        complete(Shm::from_id(stat.id)).filter(|mapped| is(mapped) && mapped.over().is_none())
    });
    open.map(|mapped| mapped.close()).count() > 0
}
