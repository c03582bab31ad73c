//! One key of a name, as [`creation`](crate::ring::creation) sees it.

use core::fmt;

use super::options::Options;
use crate::error::OpenError;
use crate::ring::creation::{Block, Found, Site};
use crate::ring::kernel::Refusal;
use crate::ring::set::SetMap;
use crate::segment::mapped::Mapped;
use crate::segment::name::Name;
use crate::segment::outside::holders::values;
use crate::segment::removal::{gone, shut, shut_marked};
use crate::storage::Memory;
use crate::storage::layout::{Header, Plan, VERSION, plausible};
use crate::sync::{AtomicU64, Ordering};
use crate::sys::sem::Set;
use crate::sys::shm::Shm;
use crate::sys::{self, ErrorKind, Key};
use crate::wait::Semaphores;

/// A name and one of the keys it hashes to; no name for an anonymous segment.
pub(crate) struct KeySite<'a> {
    pub(crate) name: Option<&'a Name>,
    pub(crate) key: Key,
    pub(crate) options: &'a Options,
}

/// A segment's memory and the object it belongs to.
pub(crate) struct Attached {
    pub(crate) shm: Shm,
    pub(crate) memory: Memory,
    flags: u64,
    name: String,
    plan: Plan,
}

impl fmt::Debug for Attached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attached").field("shm", &self.shm).finish_non_exhaustive()
    }
}

impl KeySite<'_> {
    /// The name for people.
    pub(crate) fn label(&self) -> String {
        self.name.map_or_else(|| "(anonymous)".to_owned(), Name::to_string)
    }

    /// Attaches; `None` if it has gone meanwhile or cannot be one of ours.
    pub(crate) fn attach(&self, shm: Shm) -> Result<Option<Attached>, OpenError> {
        let attachment = match shm.attach_with(self.options.attach_options()) {
            Ok(attachment) => attachment,
            Err(error) if error.kind() == ErrorKind::Removed => return Ok(None),
            Err(error) => {
                return Err(error.advise("create it with less room (`Options::size`)").into());
            }
        };
        if !plausible(attachment.len()) {
            return Ok(None);
        }
        Ok(Memory::new(attachment).map(|memory| Attached {
            shm,
            memory,
            flags: self.options.flags(self.name.is_none()),
            name: self.name.map(Name::to_string).unwrap_or_default(),
            plan: self.options.plan(),
        }))
    }

    /// Whether an object that this user has created is a stranger's: as good as
    /// any other program's for one that has no name, and an error for one that
    /// has. It is never built upon: its creator could take it away, or watch.
    fn strange(&self, creator: u32, shm: Option<i32>, set: Option<i32>) -> Result<bool, OpenError> {
        if self.options.trusts(creator) {
            return Ok(false);
        }
        let Some(name) = self.name else {
            return Ok(true);
        };
        Err(OpenError::Stranger {
            name: name.to_string(),
            uid: creator,
            user_name: sys::proc::user_name(creator),
            own_uid: sys::proc::uid(),
            shm,
            set,
        })
    }

    /// Whether the segment on the key is none of ours.
    fn is_foreign(&self, shm: Shm, stat: &sys::shm::Stat) -> Result<bool, OpenError> {
        Ok(!plausible(stat.size) || self.strange(stat.creator_uid, Some(shm.id()), None)?)
    }

    /// The segment on the key and what can be said of it without a right to
    /// it; `None` if there is none.
    fn find(&self) -> Result<Option<(Shm, sys::shm::Stat)>, OpenError> {
        let found = Shm::open(self.key).and_then(|shm| Ok((shm, shm.stat_any()?)));
        match found {
            Ok((_, stat)) if stat.marked_for_removal => Ok(None),
            Ok(found) => Ok(Some(found)),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Removed) => {
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }
}

impl Site for KeySite<'_> {
    type Set = Semaphores;
    type Block = Attached;
    type Error = OpenError;

    fn set(&self, create: bool) -> Result<Found<Semaphores>, OpenError> {
        let make = || {
            let options = Set::options().mode(self.options.mode).exclusive(true);
            options.create(self.key, usize::from(self.map().count())).map_err(|error| {
                error.advise("create it with fewer participants (`Options::participants`)")
            })
        };
        if create && self.name.is_none() {
            // A set on a random key is another's, whether it has a segment on
            // that key, as none has for long, or not.
            return match make() {
                Ok(set) => Ok(Found::Ours(Semaphores::new(set, false))),
                Err(error) if error.kind() == ErrorKind::Exists => Ok(Found::Foreign),
                Err(error) => Err(error.into()),
            };
        }
        let found = match Set::open(self.key) {
            Err(error) if error.kind() == ErrorKind::NotFound && create => {
                match make() {
                    // Somebody else was faster.
                    Err(error) if error.kind() == ErrorKind::Exists => Set::open(self.key),
                    made => made,
                }
            }
            found => found,
        };
        let looked_at = found.and_then(|set| {
            let stat = set.stat_any()?;
            let mut values = vec![0; if SetMap::plausible(stat.count) { stat.count } else { 0 }];
            if !values.is_empty() {
                match set.values(&mut values) {
                    // That it is a stranger's says more.
                    Err(error)
                        if error.kind() == ErrorKind::PermissionDenied
                            && !self.options.trusts(stat.creator_uid) => {}
                    read => read?,
                }
            }
            Ok((set, stat.creator_uid, values))
        });
        match looked_at {
            Ok((set, creator, values)) if SetMap::ours(&values) => {
                let strange = self.strange(creator, None, Some(set.id()))?;
                Ok(if strange { Found::Foreign } else { Found::Ours(Semaphores::new(set, false)) })
            }
            Ok(_) => Ok(Found::Foreign),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Removed) => {
                Ok(Found::Nothing)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn set_id(&self, set: &Semaphores) -> i32 {
        set.set().id()
    }

    fn set_count(&self, set: &Semaphores) -> usize {
        set.set().stat_any().map_or(0, |stat| stat.count)
    }

    fn remove_set(&self, set: &Semaphores) -> Result<(), OpenError> {
        let values = values(set.set()).unwrap_or_default();
        gone(set.set().remove())?;
        if let Some(generation) = SetMap::generation(&values) {
            // It had a segment, which may have been removed alone: those who use
            // it go on until they are told.
            let id = set.set().id();
            shut_marked(|found| {
                found.generation == generation && found.semaphores.set().id() == id
            });
        }
        Ok(())
    }

    fn refused(&self, set: &Semaphores, refusal: Refusal) -> OpenError {
        OpenError::System(set.explain(refusal))
    }

    fn foreign(&self) -> Result<bool, OpenError> {
        self.find()?.map_or(Ok(false), |(shm, stat)| self.is_foreign(shm, &stat))
    }

    fn block(&self) -> Result<Found<Attached>, OpenError> {
        let Some((shm, stat)) = self.find()? else {
            return Ok(Found::Nothing);
        };
        if self.is_foreign(shm, &stat)? {
            return Ok(Found::Foreign);
        }
        Ok(self.attach(shm)?.map_or(Found::Nothing, Found::Ours))
    }

    fn make_block(&self) -> Result<Found<Attached>, OpenError> {
        let size = self.options.total(&self.label())?;
        let shm = match self.options.segment_options().create(self.key, size) {
            Ok(shm) => shm,
            Err(error) if error.kind() == ErrorKind::Exists => return Ok(Found::Nothing),
            Err(error) => {
                return Err(error.advise("create it with less room (`Options::size`)").into());
            }
        };
        match self.attach(shm) {
            Ok(block) => Ok(block.map_or(Found::Nothing, Found::Ours)),
            Err(error) => {
                // Nothing is left behind by a failure.
                let _ = shm.remove();
                Err(error)
            }
        }
    }

    fn remove_block(&self, block: &Attached) -> Result<(), OpenError> {
        // Its remover may have been killed before it told those who use it.
        shut(block.shm);
        gone(block.shm.remove())
    }

    fn named(&self, block: &Attached) -> bool {
        block.memory.header().name.load().as_deref() == Some(self.name.map_or("", Name::as_str))
    }

    fn map(&self) -> SetMap {
        self.options.plan().map
    }

    fn random(&self) -> Result<u64, OpenError> {
        Ok(sys::proc::random_u64()?)
    }
}

impl Attached {
    /// Ends those who use it.
    pub(crate) fn shut(self) {
        if let Some(mapped) = Mapped::of_memory(self.shm, self.memory) {
            mapped.close();
        }
    }

    fn header(&self) -> &Header {
        self.memory.header()
    }
}

impl Block for Attached {
    fn nonce(&self) -> &AtomicU64 {
        &self.header().nonce
    }

    fn magic(&self) -> &AtomicU64 {
        &self.header().magic
    }

    fn sealed(&self) -> (i32, u64) {
        let set = self.header().set.load(Ordering::Relaxed);
        let generation = self.header().generation.load(Ordering::Relaxed);
        (i32::try_from(set).unwrap_or(-1), generation)
    }

    fn fill(&self, set: i32, generation: u64) {
        let header = self.header();
        let put = |word: &AtomicU64, value: u64| word.store(value, Ordering::Relaxed);
        put(&header.version, VERSION);
        put(&header.size, self.memory.len() as u64);
        put(&header.generation, generation);
        put(&header.set, u64::from(set.unsigned_abs()));
        put(&header.flags, self.flags);
        put(&header.participants, u64::from(self.plan.map.participants));
        put(&header.channels, u64::from(self.plan.map.channels));
        header.name.store(&self.name);
    }
}
