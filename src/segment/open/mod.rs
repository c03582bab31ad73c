//! From a name or an id to a participant.

mod join;
mod options;
mod remove;
mod search;
mod site;
mod sizing;

use std::sync::Arc;

use super::name::{Name, anonymous_key, is_anonymous};
use super::outside::debris::{self, Reach};
use super::outside::holders::belong;
use super::participant::Participant;
use crate::error::OpenError;
use crate::ring::creation::{self, Established, MAGIC, Site as _};
use crate::ring::kernel::Refusal;
use crate::ring::lease;
use crate::ring::set::SetMap;
use crate::storage::layout::{NAME_BYTES, plausible};
use crate::sync::Ordering;
use crate::sys::sem::Set;
use crate::sys::shm::Shm;
use crate::sys::{self, ErrorKind, Key};
use crate::wait::Semaphores;
use join::{join, join_first};
use search::{Pass, Search};
use site::KeySite;

pub use options::Options;
pub(super) use remove::remove;
pub(super) use search::Wish;

/// How often opening starts over because somebody else was faster.
const STARTS: u32 = 64;

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
pub(crate) fn named(
    options: &Options,
    name: &str,
    wish: Wish,
) -> Result<Arc<Participant>, OpenError> {
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

fn found(options: &Options, name: &Name, wish: Wish) -> Result<Arc<Participant>, OpenError> {
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

/// Creates a segment that has no name.
pub(crate) fn anonymous(options: &Options) -> Result<Arc<Participant>, OpenError> {
    let options = &options.settled();
    with_room(|| nameless(options))
}

fn nameless(options: &Options) -> Result<Arc<Participant>, OpenError> {
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
pub(crate) fn by_id(options: &Options, shm: Shm) -> Result<Arc<Participant>, OpenError> {
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
