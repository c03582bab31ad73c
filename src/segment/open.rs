//! From a name or an id to a participant.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use super::Segment;
use super::debris::{self, Reach};
use super::inspect::{belong, values};
use super::mapped::Mapped;
use super::name::{Name, PROBES, anonymous_key, is_anonymous};
use super::options::{Options, shape_allowed};
use super::participant::Participant;
use super::site::{Attached, KeySite, gone, shut_marked};
use crate::error::OpenError;
use crate::ring::creation::{self, Established, MAGIC, Site as _};
use crate::ring::kernel::Refusal;
use crate::ring::lease;
use crate::ring::set::SetMap;
use crate::storage::layout::{Header, NAME_BYTES, Plan, VERSION, flags, plausible};
use crate::sync::Ordering;
use crate::sys::sem::Set;
use crate::sys::shm::Shm;
use crate::sys::{self, ErrorKind, Key};
use crate::wait::Semaphores;

/// How often opening starts over because somebody else was faster.
const STARTS: u32 = 64;

/// What a caller wants of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    Create,
    Open,
    Either,
}

/// Makes something, having cleared away a little of what the dead have left; if
/// the kernel's tables are full of it, all.
fn with_room<T>(make: impl Fn() -> Result<T, OpenError>) -> Result<T, OpenError> {
    debris::clear(Reach::Some);
    match make() {
        Err(OpenError::System(error))
            if error.kind() == ErrorKind::NoSpace && debris::clear(Reach::All) > 0 =>
        {
            make()
        }
        made => made,
    }
}

/// Opens or creates the segment of a name.
pub(crate) fn named(options: &Options, name: &str, wish: Wish) -> Result<Segment, OpenError> {
    let name = Name::new(name, NAME_BYTES)?;
    if wish == Wish::Open {
        // What is there is taken as it is.
        return found(options, &name, wish);
    }
    let options = &options.settled();
    // Before anything is made.
    options.total(name.as_str())?;
    with_room(|| found(options, &name, wish))
}

fn found(options: &Options, name: &Name, wish: Wish) -> Result<Segment, OpenError> {
    let search = Search { options, name, until: options.until() };
    for _ in 0..STARTS {
        match search.pass(wish)? {
            Pass::Found(semaphores, block) if wish == Wish::Create => {
                let _ = lease::release(&semaphores);
                return Err(OpenError::Exists { name: name.to_string(), id: block.shm.id() });
            }
            Pass::Found(semaphores, block) => {
                match join(options, semaphores, block, name.as_str()) {
                    // Removed since: start over.
                    Err(OpenError::Unstable { .. }) => {}
                    joined => return joined,
                }
            }
            Pass::Created(semaphores, block) => {
                match join_first(options, semaphores, block, name.as_str()) {
                    Err(OpenError::Unstable { .. }) => {}
                    joined => return joined,
                }
            }
            Pass::Missing => return Err(OpenError::NotFound { name: name.to_string() }),
            Pass::Again => {}
        }
    }
    Err(OpenError::Unstable { name: name.to_string() })
}

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

/// Removes both objects, whatever state they are in.
fn discard(semaphores: Semaphores, block: Attached, name: &str) -> Result<(), OpenError> {
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

struct Search<'a> {
    options: &'a Options,
    name: &'a Name,
    /// A time-out beyond what the clock can say is none.
    until: Option<Instant>,
}

enum Pass {
    /// With the lease held.
    Found(Semaphores, Attached),
    Created(Semaphores, Attached),
    Missing,
    Again,
}

impl Search<'_> {
    fn site(&self, probe: u8) -> KeySite<'_> {
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
    fn pass(&self, wish: Wish) -> Result<Pass, OpenError> {
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

/// Creates a segment that has no name.
pub(crate) fn anonymous(options: &Options) -> Result<Segment, OpenError> {
    let options = &options.settled();
    with_room(|| nameless(options))
}

fn nameless(options: &Options) -> Result<Segment, OpenError> {
    let until = options.until();
    let label = KeySite { name: None, key: Key::PRIVATE, options }.label();
    for _ in 0..STARTS {
        let key = anonymous_key(sys::proc::random_u64()?);
        let site = KeySite { name: None, key, options };
        match creation::establish(&site, true, until)? {
            Established::Created(semaphores, block) => {
                // Removed from the start: attached by its id until nobody is.
                if let Err(error) = block.shm.remove() {
                    let _ = semaphores.set().remove();
                    return Err(error.into());
                }
                return join_first(options, semaphores, block, &label);
            }
            // Another's: there are more keys.
            Established::Opened(semaphores, _) => drop(lease::release(&semaphores)),
            Established::Foreign | Established::Missing => {}
            Established::Busy(_) | Established::Unstable => {}
        }
    }
    Err(OpenError::Unstable { name: label })
}

/// Opens a segment by its id, whether it has a name or not.
pub(crate) fn by_id(options: &Options, shm: Shm) -> Result<Segment, OpenError> {
    let label = format!("with id {}", shm.id());
    let missing = || OpenError::NotFound { name: label.clone() };
    let stat = match shm.stat_any() {
        Ok(stat) => stat,
        Err(error) if error.kind() == ErrorKind::Removed => return Err(missing()),
        Err(error) => return Err(error.into()),
    };
    let not_ours = |reason| OpenError::NotOurs { id: shm.id(), reason };
    if !plausible(stat.size) {
        return Err(not_ours("its size has not our signature"));
    }
    let site = KeySite { name: None, key: Key::PRIVATE, options };
    let block = site.attach(shm)?.ok_or_else(missing)?;
    let header = block.memory.header();
    if header.magic.load(Ordering::Acquire) != MAGIC {
        return Err(not_ours("it has no header, or is not finished"));
    }
    let (set, generation) = creation::Block::sealed(&block);
    let semaphores = Semaphores::new(Set::from_id(set), false);
    let gone = |error: sys::Error| match error.kind() {
        ErrorKind::Removed => missing(),
        _ => OpenError::System(error),
    };
    let its = semaphores.set().stat_any().map_err(gone)?;
    let mut values = vec![0; its.count];
    semaphores.set().values(&mut values).map_err(gone)?;
    // Ids recycle: the set could be anybody's by now.
    if SetMap::generation(&values) != Some(generation) {
        return Err(missing());
    }
    // Two users may have made the two of a name: its key says that they belong.
    if !belong(&stat, &its) && (stat.key != its.key || is_anonymous(its.key)) {
        return Err(not_ours("it names a semaphore set that is another user's"));
    }
    match lease::acquire(&semaphores, options.until()) {
        Ok(()) => {}
        Err(Refusal::TimedOut) => {
            let pid = semaphores.set().last_pid(SetMap::LEASE).unwrap_or(0);
            return Err(OpenError::Busy { name: label, pid, waited: options.timeout });
        }
        Err(Refusal::Removed) => return Err(missing()),
        Err(refusal) => return Err(site.refused(&semaphores, refusal)),
    }
    let name = header.name.load().filter(|name| !name.is_empty()).unwrap_or_else(|| site.label());
    match join(options, semaphores, block, &name) {
        Err(OpenError::Unstable { .. }) => Err(missing()),
        joined => joined,
    }
}

/// How large the tables are, if what the header says is possible.
pub(crate) fn shape(header: &Header) -> Option<SetMap> {
    let participants = u16::try_from(header.participants.load(Ordering::Relaxed)).ok()?;
    let channels = u16::try_from(header.channels.load(Ordering::Relaxed)).ok()?;
    shape_allowed(participants, channels).then_some(SetMap { participants, channels })
}

/// Checks what the header says, once, against what there is.
#[expect(clippy::result_large_err, reason = "the parts go back to who can remove them")]
fn mapped(
    semaphores: Semaphores,
    block: Attached,
    name: &str,
) -> Result<Mapped, (Semaphores, Attached, OpenError)> {
    let header = block.memory.header();
    let read = |word: &crate::sync::AtomicU64| word.load(Ordering::Relaxed);
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
    let Some(map) = shape(header) else {
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
    let what = if flags & !flags::KNOWN != 0 || kinds != 0 {
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
fn join_first(
    options: &Options,
    semaphores: Semaphores,
    block: Attached,
    name: &str,
) -> Result<Segment, OpenError> {
    let (set, shm) = (*semaphores.set(), block.shm);
    let joined = join_leased(options, semaphores, block, name);
    if joined.is_err() {
        let _ = set.remove();
        let _ = shm.remove();
    } else {
        let _ = lease::release(&Semaphores::new(set, false));
    }
    joined
}

/// Joins a segment whose lease is held, and gives the lease back.
fn join(
    options: &Options,
    semaphores: Semaphores,
    block: Attached,
    name: &str,
) -> Result<Segment, OpenError> {
    let set = *semaphores.set();
    let joined = join_leased(options, semaphores, block, name);
    let _ = lease::release(&Semaphores::new(set, false));
    joined
}

fn join_leased(
    options: &Options,
    semaphores: Semaphores,
    block: Attached,
    name: &str,
) -> Result<Segment, OpenError> {
    let mapped = mapped(semaphores, block, name).map_err(|(_, _, error)| error)?;
    // Before anything of ours can be relied upon by a heavy fence.
    if mapped.flags & flags::SYMMETRIC == 0 && !sys::proc::register_global_barrier() {
        return Err(OpenError::NoBarrier { name: name.to_owned() });
    }
    Participant::join(mapped, options.timeout).map(Segment::new)
}
