//! How a name gets exactly one segment and one semaphore set, whichever process
//! dies on the way.
//!
//! ```text
//!  find or make the set ─▶ take the lease ─▶ what is on the key?
//!      ▲                                      │
//!      │          complete, and it is ours ◀──┼──▶ foreign: leave it alone
//!      │                                      ├──▶ nothing: make the segment
//!      │                                      │      nonce ─▶ fill ─▶ brand the
//!      │                                      │      set (BUILT) ─▶ magic
//!      └── remove both ◀── anything unfinished┘
//! ```
//!
//! The lease returns when its holder dies, so its holder knows that no other
//! process is building. Unfinished objects are removed, never repaired: a segment
//! without magic, a branded set without its segment, a segment that names another
//! set. Removing a set wakes every process that sleeps on it.
//!
//! Edge B: the magic (Release) with its reading (Acquire) publishes the header. A
//! builder swaps the nonce in first. Two processes can build in the same memory,
//! because the set can be removed while the first one builds; then the second one
//! finds the nonce and gives up.

use super::kernel::{Kernel, Op, Refusal};
use super::lease;
use super::set::SetMap;
use crate::sync::{AtomicU64, Ordering};

/// The last word that a builder stores: "tombolo" and a zero byte.
pub(crate) const MAGIC: u64 = u64::from_le_bytes(*b"tombolo\0");

/// The bits of a generation.
const GENERATION: u64 = (1 << SetMap::GENERATION_BITS) - 1;

/// How often creation starts over because another process removes what it works
/// on.
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
    /// Not Tombolo's, or complete and of another name.
    Foreign,
    Ours(B),
}

/// One key, and the kernel's objects on it.
pub(crate) trait Site {
    type Set: Kernel;
    type Block: Block;
    type Error;

    /// The set on the key. If there is none and `create` is true, makes it.
    fn set(&self, create: bool) -> Result<Found<Self::Set>, Self::Error>;
    fn set_id(&self, set: &Self::Set) -> i32;
    /// The caller's error for a refusal of the set.
    fn refused(&self, set: &Self::Set, refusal: Refusal) -> Self::Error;
    /// How many semaphores the set has.
    fn set_count(&self, set: &Self::Set) -> usize;
    /// Succeeds if the set has gone already: two processes may be clearing away.
    fn remove_set(&self, set: &Self::Set) -> Result<(), Self::Error>;

    /// Whether the segment on the key cannot be Tombolo's.
    fn foreign(&self) -> Result<bool, Self::Error>;
    fn block(&self) -> Result<Found<Self::Block>, Self::Error>;
    /// `Nothing` if another process was faster.
    fn make_block(&self) -> Result<Found<Self::Block>, Self::Error>;
    /// Succeeds if the segment has gone already, as for the set.
    fn remove_block(&self, block: &Self::Block) -> Result<(), Self::Error>;
    /// Whether a complete block has the name that the caller looks for.
    fn named(&self, block: &Self::Block) -> bool;

    /// The shape of a new set.
    fn map(&self) -> SetMap;
    /// A random number, which no other process draws.
    fn random(&self) -> Result<u64, Self::Error>;
}

/// The result of [`establish`]. A result with a set in it holds the lease, except
/// `Busy`.
pub(crate) enum Established<S: Site> {
    Created(S::Set, S::Block),
    Opened(S::Set, S::Block),
    /// The key belongs to another program, or to another name.
    Foreign,
    /// There is nothing on the key, and the caller did not ask to create.
    Missing,
    /// Another process held the lease until the deadline.
    Busy(S::Set),
    /// Other processes removed the objects again and again.
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
        // Checked before anything is made beside it.
        if site.foreign()? {
            return Ok(Established::Foreign);
        }
        let set = match site.set(create)? {
            Found::Ours(set) => set,
            Found::Foreign => return Ok(Established::Foreign),
            // A segment without a set is debris, or another process is making it
            // at this moment. Only a holder of the lease can tell, and clears
            // debris away.
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
        // A failure leaves nothing behind, not even the lease.
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

/// Lets go of a set. Removes it if it was never branded, because then only this
/// creation uses it; gives the lease back otherwise.
fn retire<S: Site>(site: &S, set: &S::Set) -> Result<(), S::Error> {
    match brand(site, set) {
        Ok(None) => site.remove_set(set),
        Ok(Some(_)) | Err(_) => {
            let _ = lease::release(set);
            Ok(())
        }
    }
}

/// Removes a set whose lease the kernel refuses, unless another process has begun
/// to use it. This process has most likely just made it.
///
/// One call checks that the lease is free and brands the set. So a process that
/// takes the lease from then on finds a set without its segment, which is debris,
/// and no process can have built with the set when it is removed.
fn forsake<S: Site>(site: &S, set: &S::Set) -> Result<(), S::Error> {
    let unused = [Op::zero(SetMap::LEASE).no_wait(), Op::zero(SetMap::BUILT).no_wait()];
    let mut ops = unused.to_vec();
    ops.extend(SetMap::brand(site.random()? & GENERATION));
    match set.semop(&ops, None) {
        Ok(()) => site.remove_set(set),
        Err(Refusal::WouldBlock | Refusal::Removed) => Ok(()),
        // Where the limit forbids so many operations in one call, no process can
        // create anything.
        Err(_) if untouched(site, set) => site.remove_set(set),
        Err(_) => Ok(()),
    }
}

/// Whether no process has ever operated on the set, not even taken its lease.
fn untouched<S: Site>(site: &S, set: &S::Set) -> bool {
    let mut values = vec![0; site.set_count(set)];
    set.values(&mut values).is_ok() && values.iter().all(|&value| value == 0)
}

/// The generation of a branded set; `None` for a set that no process finished. A
/// set with BUILT raised and a wrong check gives `Some(None)`.
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

/// Builds in a segment that is all zero. Returns `false` if another process is
/// building in it, or the set is gone.
pub(crate) fn seal<S: Site>(site: &S, set: &S::Set, block: &S::Block) -> Result<bool, S::Error> {
    let nonce = site.random()? | 1;
    let generation = site.random()? & GENERATION;
    // Acquire: no store of `fill` may come before this.
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
