//! Removes the segment of a name, whatever state it is in.

use super::join::discard;
use super::options::Options;
use super::search::{Pass, Search, Wish};
use crate::error::OpenError;
use crate::ring::creation::{self, Established, Site as _};
use crate::ring::lease;
use crate::ring::set::SetMap;
use crate::segment::name::{Name, PROBES};
use crate::segment::outside::holders::values;
use crate::segment::removal::shut_marked;
use crate::storage::layout::NAME_BYTES;
use crate::sys::ErrorKind;
use crate::wait::Semaphores;

/// Removes the segment of a name, whoever is attached and whoever has created
/// it: whether that is allowed, the kernel decides.
///
/// What is unfinished is finished first. It gets the usual size: if this process dies
/// before it removes the result, the next process that opens the name finds a segment
/// that it can use. Only where the kernel refuses that size does it get the smallest.
pub(crate) fn remove(options: &Options, name: &str) -> Result<(), OpenError> {
    let name = Name::new(name, NAME_BYTES)?;
    match finish_and_remove(&options.settled().any_owner(true), &name) {
        Err(OpenError::System(error)) if may_be_its_size(error.kind()) => {
            let small = options.clone().size(0).participants(1).channels(1).any_owner(true);
            finish_and_remove(&small, &name)
        }
        done => done,
    }
}

/// Whether a smaller segment may be possible where this was refused.
const fn may_be_its_size(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::NoSpace | ErrorKind::NoMemory | ErrorKind::Invalid)
}

fn finish_and_remove(options: &Options, name: &Name) -> Result<(), OpenError> {
    let search = Search { options, name, until: options.until() };
    // The pass itself removes one that has lost its segment.
    let built = search.has_built_set()?;
    match search.pass(Wish::Open) {
        Ok(Pass::Found(semaphores, block) | Pass::Created(semaphores, block)) => {
            let set = *semaphores.set();
            discard(semaphores, block, name.as_str()).inspect_err(|_| {
                // What may not be removed is others' to use.
                let _ = lease::release(&Semaphores::new(set, false));
            })
        }
        Ok(Pass::Missing | Pass::Again) => search.discard_debris(built),
        // Somebody is stopped over it: all the more reason.
        Err(OpenError::Busy { .. }) => search.discard_held(),
        Err(error) => Err(error),
    }
}

impl Search<'_> {
    /// Whether a set that was built with is on one of the keys.
    fn has_built_set(&self) -> Result<bool, OpenError> {
        for probe in 0..PROBES {
            if let creation::Found::Ours(semaphores) = self.site(probe).set(false)?
                && values(semaphores.set())
                    .is_some_and(|found| SetMap::generation(&found).is_some())
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Removes what a dead creator or a dead remover left: finishes it, since
    /// whoever can do that holds it alone, and removes it then. Ends those who
    /// still use a segment of this name that has no key any more. `found`: whether
    /// something has been removed already.
    fn discard_debris(&self, mut found: bool) -> Result<(), OpenError> {
        for probe in 0..PROBES {
            let site = self.site(probe);
            let debris = matches!(site.block()?, creation::Found::Ours(_))
                || matches!(site.set(false)?, creation::Found::Ours(_));
            if !debris {
                continue;
            }
            if let Established::Created(semaphores, block)
            | Established::Opened(semaphores, block) =
                creation::establish(&site, true, self.until)?
            {
                let set = *semaphores.set();
                discard(semaphores, block, self.name.as_str()).inspect_err(|_| {
                    let _ = lease::release(&Semaphores::new(set, false));
                })?;
                found = true;
            }
        }
        found |= shut_marked(|mapped| mapped.name == self.name.as_str() && mapped.has_lost_set());
        if found { Ok(()) } else { Err(OpenError::NotFound { name: self.name.to_string() }) }
    }

    /// Removes the segment without its lease.
    fn discard_held(&self) -> Result<(), OpenError> {
        for probe in 0..PROBES {
            let site = self.site(probe);
            if let creation::Found::Ours(block) = site.block()?
                && site.named(&block)
                && let creation::Found::Ours(semaphores) = site.set(false)?
            {
                return discard(semaphores, block, self.name.as_str());
            }
        }
        Err(OpenError::NotFound { name: self.name.to_string() })
    }
}
