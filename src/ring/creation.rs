//! How a name comes to have exactly one segment and one set, whoever dies.
//!
//! ```text
//!  find or make the set ─▶ take the lease ─▶ what is on the key?
//!      ▲                                      │
//!      │          complete, and it is ours ◀──┼──▶ somebody else's: leave it
//!      │                                      ├──▶ nothing: make the segment
//!      │                                      │      nonce ─▶ fill ─▶ brand the
//!      │                                      │      set (BUILT) ─▶ magic
//!      └── remove both ◀── anything unfinished┘
//! ```
//!
//! The lease returns with its holder's death, so whoever holds it knows that
//! nobody is building. What is unfinished is removed, never repaired: a
//! segment without magic, a branded set without its segment, a segment whose
//! set is another. Removing wakes whoever slept on the old set.
//!
//! Edge B: the magic (Release) with its reading (Acquire) publishes the
//! header. The nonce is swapped in first, so that of two builders in the same
//! memory (the set can be removed behind the first one's back) one gives up.

use super::kernel::{Kernel, Op, Refusal};
use super::lease;
use super::set::SetMap;
use crate::sync::{AtomicU64, Ordering};

/// The last word that a builder stores: "tombolo" and a zero byte.
pub(crate) const MAGIC: u64 = u64::from_le_bytes(*b"tombolo\0");

/// The bits of a generation.
const GENERATION: u64 = (1 << SetMap::GENERATION_BITS) - 1;

/// How often creation starts over because somebody removes what it works on.
const STARTS: u32 = 256;

/// A segment's identity, as it stands in its header.
pub(crate) trait Block {
    fn nonce(&self) -> &AtomicU64;
    fn magic(&self) -> &AtomicU64;
    /// The set's id and generation, as the builder wrote them down.
    fn sealed(&self) -> (i32, u64);
    /// Writes everything but nonce and magic.
    fn fill(&self, set: i32, generation: u64);
}

/// What is on a key.
pub(crate) enum Found<B> {
    Nothing,
    /// Not of our kind, or complete and of another name.
    Foreign,
    Ours(B),
}

/// One key, and the kernel's objects on it.
pub(crate) trait Site {
    type Set: Kernel;
    type Block: Block;
    type Error;

    /// The set on the key. Made if there is none and `create` says so.
    fn set(&self, create: bool) -> Result<Found<Self::Set>, Self::Error>;
    fn set_id(&self, set: &Self::Set) -> i32;
    /// What a refusal of the set's means to the caller.
    fn refused(&self, set: &Self::Set, refusal: Refusal) -> Self::Error;
    /// How many semaphores the set has.
    fn set_count(&self, set: &Self::Set) -> usize;
    /// Removing what has gone already succeeds: two may be clearing away.
    fn remove_set(&self, set: &Self::Set) -> Result<(), Self::Error>;

    /// Whether the segment on the key cannot be one of ours.
    fn foreign(&self) -> Result<bool, Self::Error>;
    fn block(&self) -> Result<Found<Self::Block>, Self::Error>;
    /// `Nothing` when somebody else was faster.
    fn make_block(&self) -> Result<Found<Self::Block>, Self::Error>;
    /// Removing what has gone already succeeds, as for the set.
    fn remove_block(&self, block: &Self::Block) -> Result<(), Self::Error>;
    /// Whether a complete block carries the name that is looked for.
    fn named(&self, block: &Self::Block) -> bool;

    /// What a new set has to be.
    fn map(&self) -> SetMap;
    /// A number that nobody else draws.
    fn random(&self) -> Result<u64, Self::Error>;
}

/// What [`establish`] came to. The lease is held where a set is returned.
pub(crate) enum Established<S: Site> {
    Created(S::Set, S::Block),
    Opened(S::Set, S::Block),
    /// The key is somebody else's.
    Foreign,
    /// There is nothing, and nothing was to be created.
    Missing,
    /// The lease was not to be had in time.
    Busy(S::Set),
    /// It was removed again and again.
    Unstable,
}

enum Verdict<B> {
    Created(B),
    Opened(B),
    Foreign,
    Missing,
    Again,
    Debris(Option<B>),
}

/// Opens what is on the key, or creates it. Returns with the lease held.
pub(crate) fn establish<S: Site>(
    site: &S,
    create: bool,
    until: Option<<S::Set as Kernel>::Deadline>,
) -> Result<Established<S>, S::Error> {
    for _ in 0..STARTS {
        // Before anything is made beside it.
        if site.foreign()? {
            return Ok(Established::Foreign);
        }
        let set = match site.set(create)? {
            Found::Ours(set) => set,
            Found::Foreign => return Ok(Established::Foreign),
            // A segment without a set is debris, or being made this moment:
            // only who holds a lease can tell, and will clear it away.
            Found::Nothing if create => continue,
            Found::Nothing => return Ok(Established::Missing),
        };
        match lease::acquire(&set, until) {
            Ok(()) => {}
            Err(Refusal::Removed) => continue,
            Err(Refusal::TimedOut) => return Ok(Established::Busy(set)),
            Err(refusal) => {
                let error = site.refused(&set, refusal);
                if create {
                    let _ = forsake(site, &set);
                }
                return Err(error);
            }
        }
        // Nothing is left behind by a failure, the lease included.
        let finish = |error| {
            let _ = lease::release(&set);
            error
        };
        match judge(site, &set, create) {
            Ok(Verdict::Created(block)) => return Ok(Established::Created(set, block)),
            Ok(Verdict::Opened(block)) => return Ok(Established::Opened(set, block)),
            Ok(Verdict::Debris(block)) => {
                if let Some(block) = block {
                    site.remove_block(&block).map_err(finish)?;
                }
                site.remove_set(&set).map_err(finish)?;
            }
            Ok(Verdict::Again) => retire(site, &set).map_err(finish)?,
            Ok(Verdict::Foreign) => {
                retire(site, &set).map_err(finish)?;
                return Ok(Established::Foreign);
            }
            Ok(Verdict::Missing) => {
                retire(site, &set).map_err(finish)?;
                return Ok(Established::Missing);
            }
            Err(error) => {
                let _ = retire(site, &set).map_err(finish);
                return Err(error);
            }
        }
    }
    Ok(Established::Unstable)
}

/// Lets go of a set: removes it if it was never branded, so that it is this
/// creation's alone, and gives the lease back otherwise.
fn retire<S: Site>(site: &S, set: &S::Set) -> Result<(), S::Error> {
    match brand(site, set) {
        Ok(None) => site.remove_set(set),
        Ok(Some(_)) | Err(_) => {
            let _ = lease::release(set);
            Ok(())
        }
    }
}

/// Removes a set whose lease is refused, made just now and most likely by us,
/// unless somebody has begun to use it.
///
/// It is branded first, in one call with the look at its lease: so whoever
/// takes the lease from then on finds a set without its segment, which is
/// debris, and nobody can have built with it when it goes.
fn forsake<S: Site>(site: &S, set: &S::Set) -> Result<(), S::Error> {
    let unused = [Op::zero(SetMap::LEASE).no_wait(), Op::zero(SetMap::BUILT).no_wait()];
    let mut ops = unused.to_vec();
    ops.extend(SetMap::brand(site.random()? & GENERATION));
    match set.semop(&ops, None) {
        Ok(()) => site.remove_set(set),
        Err(Refusal::WouldBlock | Refusal::Removed) => Ok(()),
        // Where so many operations are too many, nobody gets to an end.
        Err(_) if untouched(site, set) => site.remove_set(set),
        Err(_) => Ok(()),
    }
}

/// Whether nothing has ever been done to the set, not even its lease taken.
fn untouched<S: Site>(site: &S, set: &S::Set) -> bool {
    let mut values = vec![0; site.set_count(set)];
    set.values(&mut values).is_ok() && values.iter().all(|&value| value == 0)
}

/// The generation of a branded set, `None` for a set that nobody finished.
/// A set with BUILT raised and a wrong check has generation `None` within.
fn brand<S: Site>(site: &S, set: &S::Set) -> Result<Option<Option<u64>>, Refusal> {
    let mut values = vec![0; site.set_count(set)];
    set.values(&mut values)?;
    let built = values.get(usize::from(SetMap::BUILT)).is_some_and(|&built| built != 0);
    Ok(built.then(|| SetMap::generation(&values)))
}

fn judge<S: Site>(site: &S, set: &S::Set, create: bool) -> Result<Verdict<S::Block>, S::Error> {
    let branded = match brand(site, set) {
        Ok(branded) => branded,
        Err(Refusal::Removed) => return Ok(Verdict::Again),
        Err(refusal) => return Err(site.refused(set, refusal)),
    };
    match site.block()? {
        Found::Foreign => Ok(Verdict::Foreign),
        Found::Ours(block) => {
            // Edge B.
            if block.magic().load(Ordering::Acquire) != MAGIC {
                return Ok(Verdict::Debris(Some(block)));
            }
            let (id, generation) = block.sealed();
            if id != site.set_id(set) || branded != Some(Some(generation)) {
                return Ok(Verdict::Debris(Some(block)));
            }
            Ok(if site.named(&block) { Verdict::Opened(block) } else { Verdict::Foreign })
        }
        Found::Nothing if branded.is_some() => Ok(Verdict::Debris(None)),
        Found::Nothing if !create => Ok(Verdict::Missing),
        Found::Nothing if site.set_count(set) != usize::from(site.map().count()) => {
            Ok(Verdict::Debris(None))
        }
        Found::Nothing => match site.make_block()? {
            Found::Ours(block) => build(site, set, block),
            Found::Nothing | Found::Foreign => Ok(Verdict::Again),
        },
    }
}

fn build<S: Site>(site: &S, set: &S::Set, block: S::Block) -> Result<Verdict<S::Block>, S::Error> {
    match seal(site, set, &block) {
        Ok(true) => Ok(Verdict::Created(block)),
        Ok(false) => Ok(Verdict::Debris(Some(block))),
        Err(error) => {
            let _ = site.remove_block(&block);
            Err(error)
        }
    }
}

/// Builds in a segment that is all zero. `false` when somebody else is
/// building in it, or the set is gone.
pub(crate) fn seal<S: Site>(site: &S, set: &S::Set, block: &S::Block) -> Result<bool, S::Error> {
    let nonce = site.random()? | 1;
    let generation = site.random()? & GENERATION;
    // Acquire: nothing of what is filled in may come before it.
    let first = block.nonce().compare_exchange(0, nonce, Ordering::AcqRel, Ordering::Relaxed);
    if first.is_err() {
        return Ok(false);
    }
    block.fill(site.set_id(set), generation);
    match set.semop(&SetMap::brand(generation), None) {
        Ok(()) => {}
        Err(Refusal::Removed) => return Ok(false),
        Err(refusal) => return Err(site.refused(set, refusal)),
    }
    // Edge B.
    block.magic().store(MAGIC, Ordering::Release);
    Ok(true)
}
