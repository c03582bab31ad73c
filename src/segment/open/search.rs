//! Tries the keys of a name.

use std::time::Instant;

use super::options::Options;
use super::site::{Attached, KeySite};
use crate::error::OpenError;
use crate::ring::creation::{self, Established, MAGIC, Site as _};
use crate::ring::set::SetMap;
use crate::segment::name::{Name, PROBES};
use crate::sync::Ordering;
use crate::wait::Semaphores;

/// What a caller wants of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    Create,
    Open,
    Either,
}

/// The search for a name's segment on its keys.
pub(super) struct Search<'a> {
    pub(super) options: &'a Options,
    pub(super) name: &'a Name,
    /// A time-out beyond what the clock can say is none.
    pub(super) until: Option<Instant>,
}

/// What one pass over the keys has found or made.
pub(super) enum Pass {
    /// With the lease held.
    Found(Semaphores, Attached),
    Created(Semaphores, Attached),
    Missing,
    Again,
}

impl Search<'_> {
    pub(super) fn site(&self, probe: u8) -> KeySite<'_> {
        KeySite { name: Some(self.name), key: self.name.key(probe), options: self.options }
    }

    fn busy(&self, semaphores: &Semaphores) -> OpenError {
        OpenError::Busy {
            name: self.name.to_string(),
            pid: semaphores.set().last_pid(SetMap::LEASE).unwrap_or(0),
            waited: self.options.timeout,
        }
    }

    /// One pass over the name's keys.
    pub(super) fn pass(&self, wish: Wish) -> Result<Pass, OpenError> {
        let mut vacant = None;
        for probe in 0..PROBES {
            match creation::establish(&self.site(probe), false, self.until)? {
                Established::Opened(semaphores, block) => {
                    return Ok(Pass::Found(semaphores, block));
                }
                Established::Missing => {
                    vacant.get_or_insert(probe);
                }
                Established::Busy(semaphores) => return Err(self.busy(&semaphores)),
                Established::Unstable => {
                    return Err(OpenError::Unstable { name: self.name.to_string() });
                }
                Established::Foreign | Established::Created(..) => {}
            }
        }
        if wish == Wish::Open {
            return Ok(Pass::Missing);
        }
        let Some(probe) = vacant else {
            return Err(OpenError::NoKey { name: self.name.to_string(), keys: PROBES });
        };
        let site = self.site(probe);
        match creation::establish(&site, true, self.until)? {
            Established::Opened(semaphores, block) => Ok(Pass::Found(semaphores, block)),
            Established::Created(semaphores, block) => {
                // Somebody who found a foreigner here, gone since, may have
                // created the name on another of its keys. Both would see
                // each other; nobody has joined, since the lease is held.
                match self.elsewhere(probe) {
                    Ok(false) => Ok(Pass::Created(semaphores, block)),
                    elsewhere => {
                        // Nothing is left behind, by a failure neither.
                        site.remove_block(&block)?;
                        site.remove_set(&semaphores)?;
                        elsewhere.map(|_| Pass::Again)
                    }
                }
            }
            Established::Busy(semaphores) => Err(self.busy(&semaphores)),
            Established::Foreign | Established::Missing => Ok(Pass::Again),
            Established::Unstable => Err(OpenError::Unstable { name: self.name.to_string() }),
        }
    }

    /// Whether another key has a complete segment of this name.
    fn elsewhere(&self, probe: u8) -> Result<bool, OpenError> {
        for other in (0..PROBES).filter(|&other| other != probe) {
            let site = self.site(other);
            if let creation::Found::Ours(block) = site.block()?
                && block.memory.header().magic.load(Ordering::Acquire) == MAGIC
                && site.named(&block)
            {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
