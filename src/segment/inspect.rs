//! What is there, seen from outside: without joining, and without the right
//! to write.

use super::deaths::{Deaths, deaths};
use super::layout::{Plan, VERSION, flags, plausible};
use super::mapped::Mapped;
use super::memory::Memory;
use super::name::is_anonymous;
use super::open::shape;
use super::site::gone;
use super::{ChannelInfo, describe};
use crate::error::OpenError;
use crate::ring::creation::MAGIC;
use crate::ring::lease;
use crate::ring::set::SetMap;
use crate::sync::Ordering;
use crate::sys::sem::{self, Set};
use crate::sys::shm::{self, AttachOptions, Shm};
use crate::wait::Bells;

/// A segment, as [`Segment::list`](super::Segment::list) finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SegmentInfo {
    /// Its name; empty for an anonymous one.
    pub name: String,
    /// Its key; 0 for an anonymous one.
    pub key: i32,
    /// The id of its shared-memory object.
    pub id: i32,
    /// The id of its semaphore set.
    pub set: i32,
    /// Its size in bytes.
    pub size: usize,
    /// Its owner.
    pub uid: u32,
    /// Its permissions, as nine bits.
    pub mode: u32,
    /// How many attachments there are, in all processes.
    pub attached: u64,
    /// How many participants have joined and are not known to be dead.
    pub participants: usize,
    /// Who has died in it.
    pub deaths: Deaths,
    /// Its channels.
    pub channels: Vec<ChannelInfo>,
}

/// Something of Tombolo's that no living process holds, as
/// [`Segment::orphans`](super::Segment::orphans) finds it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Orphan {
    /// What it is, for people.
    pub what: String,
    /// The name, of a segment that has one.
    pub name: Option<String>,
    shm: Option<Shm>,
    set: Option<Set>,
}

/// A segment that is complete, attached for reading.
struct Found {
    stat: shm::Stat,
    mapped: Mapped,
}

/// Attaches a segment for reading, if it is one of ours and complete.
fn find(stat: shm::Stat) -> Option<Found> {
    let options = AttachOptions { read_only: true, ..AttachOptions::default() };
    let shm = Shm::from_id(stat.id);
    let memory = Memory::for_reading(shm.attach_with(options).ok()?)?;
    let header = memory.header();
    if header.magic.load(Ordering::Acquire) != MAGIC
        || header.version.load(Ordering::Relaxed) != VERSION
        || header.size.load(Ordering::Relaxed) != memory.len() as u64
    {
        return None;
    }
    let plan = Plan::new(shape(header)?);
    let set = i32::try_from(header.set.load(Ordering::Relaxed)).ok()?;
    let generation = header.generation.load(Ordering::Relaxed);
    let flags = header.flags.load(Ordering::Relaxed);
    let name = header.name.load()?;
    (plan.heap <= memory.len()).then(|| Found {
        stat,
        mapped: Mapped {
            shm,
            bells: Bells::new(Set::from_id(set), false),
            plan,
            generation,
            flags,
            name,
            memory,
        },
    })
}

fn ours() -> Result<Vec<shm::Stat>, OpenError> {
    let mut all = shm::all()?;
    all.retain(|stat| plausible(stat.size));
    Ok(all)
}

/// Every segment of ours that the caller may read.
pub(crate) fn list() -> Result<Vec<SegmentInfo>, OpenError> {
    // One that has been removed is there until its last process has gone, but
    // nobody can come to it any more; an anonymous one is removed from the
    // start.
    let found = ours()?.into_iter().filter_map(find).filter(|found| {
        !found.stat.marked_for_removal || found.mapped.flags & flags::ANONYMOUS != 0
    });
    Ok(found
        .map(|Found { stat, mapped }| SegmentInfo {
            name: mapped.name.clone(),
            key: stat.key.raw(),
            id: stat.id,
            set: mapped.bells.set().id(),
            size: stat.size,
            uid: stat.uid,
            mode: stat.mode,
            // Less this look's own.
            attached: mapped.shm.stat_any().map_or(stat.attached, |now| now.attached - 1),
            participants: mapped.living().count(),
            deaths: deaths(&mapped),
            channels: describe(&mapped),
        })
        .collect())
}

/// The values of a set, if it is there and may be read.
fn values(set: &Set) -> Option<Vec<u16>> {
    let mut values = vec![0; set.stat_any().ok()?.count];
    set.values(&mut values).ok()?;
    Some(values)
}

/// Whether a process holds anything of a segment's set up: the lease, or a
/// participant's liveness.
fn held(map: SetMap, values: &[u16]) -> bool {
    let up = |sem: u16| values.get(usize::from(sem)).is_some_and(|&value| value > 0);
    leased(values) || (0..map.participants).any(|id| up(map.liveness(id)))
}

/// Everything of ours that no living process holds.
pub(crate) fn orphans() -> Result<Vec<Orphan>, OpenError> {
    let mut orphans = Vec::new();
    // Before the segments: a set that is branded has its segment already.
    let sets = sem::all()?;
    let mut sets_in_use = Vec::new();
    for stat in ours()? {
        if let Some(Found { stat, mapped }) = find(stat) {
            let set = *mapped.bells.set();
            sets_in_use.push(set.id());
            let own =
                values(&set).filter(|values| SetMap::generation(values) == Some(mapped.generation));
            let held = own.as_ref().is_some_and(|values| held(mapped.plan.map, values));
            if stat.attached == 0 && !held {
                let name = (!mapped.name.is_empty()).then(|| mapped.name.clone());
                orphans.push(Orphan {
                    what: format!(
                        "segment {} (id {}, {} bytes)",
                        name.as_deref().unwrap_or("(anonymous)"),
                        stat.id,
                        stat.size
                    ),
                    name,
                    shm: Some(Shm::from_id(stat.id)),
                    set: own.map(|_| set),
                });
            }
        } else if stat.attached == 0 && readable(&stat) {
            // Who builds holds the lease of the set on the same key.
            let set = Set::open(stat.key).ok();
            let own = set.and_then(|set| values(&set)).filter(|values| SetMap::ours(values));
            if own.as_ref().is_some_and(|values| leased(values)) {
                continue;
            }
            sets_in_use.extend(set.map(Set::id));
            orphans.push(Orphan {
                what: format!("unfinished segment (id {}, {} bytes)", stat.id, stat.size),
                name: None,
                shm: Some(Shm::from_id(stat.id)),
                set: own.and(set),
            });
        }
    }
    for stat in sets {
        let set = Set::from_id(stat.id);
        // Only what we have branded is ours for sure, or what has a key that
        // nobody else would choose.
        let known = |values: &[u16]| {
            SetMap::generation(values).is_some() || is_anonymous(stat.key) && SetMap::ours(values)
        };
        if !sets_in_use.contains(&stat.id)
            && SetMap::plausible(stat.count)
            && values(&set).is_some_and(|values| known(&values) && !leased(&values))
        {
            orphans.push(Orphan {
                what: format!("semaphore set {} without its segment", stat.id),
                name: None,
                shm: None,
                set: Some(set),
            });
        }
    }
    Ok(orphans)
}

fn leased(values: &[u16]) -> bool {
    values.get(usize::from(SetMap::LEASE)).is_some_and(|&value| value > 0)
}

/// Whether an unfinished segment is one that its creator has left unfinished:
/// what cannot be read is somebody else's to judge.
fn readable(stat: &shm::Stat) -> bool {
    let options = AttachOptions { read_only: true, ..AttachOptions::default() };
    Shm::from_id(stat.id)
        .attach_with(options)
        .ok()
        .and_then(Memory::for_reading)
        .is_some_and(|memory| memory.header().magic.load(Ordering::Acquire) != MAGIC)
}

impl Orphan {
    /// Removes it, unless somebody holds it by now (`false`).
    ///
    /// # Errors
    /// The kernel's refusal, if the caller is neither the owner nor
    /// privileged.
    pub fn remove(&self) -> Result<bool, OpenError> {
        if let Some(set) = self.set {
            // Nobody can join while this process holds the lease.
            let bells = Bells::new(set, false);
            if lease::try_acquire(&bells).is_err() {
                return Ok(false);
            }
            if self.shm.is_some_and(|shm| shm.stat_any().is_ok_and(|stat| stat.attached > 0)) {
                let _ = lease::release(&bells);
                return Ok(false);
            }
            gone(set.remove())?;
        }
        if let Some(shm) = self.shm {
            match shm.stat_any() {
                Ok(stat) if stat.attached > 0 => return Ok(false),
                _ => gone(shm.remove())?,
            }
        }
        Ok(true)
    }
}
