//! What no living process holds: segments and sets that killed processes have left, and
//! segments that wait for the next process.

use super::debris::{self, Reach};
use super::examine::{Examined, Found, examine, ours};
use super::holders::{attached_for_good, belong, has_holder, has_peer, is_stray, leased, values};
use crate::error::OpenError;
use crate::ring::lease;
use crate::ring::set::SetMap;
use crate::segment::handle::Segment;
use crate::segment::mapped::Mapped;
use crate::segment::name::is_anonymous;
use crate::segment::queue::marked_on;
use crate::segment::removal::gone;
use crate::sys::Key;
use crate::sys::msg::{self, Queue};
use crate::sys::sem::{self, Set};
use crate::sys::shm::Shm;
use crate::wait::Semaphores;

/// An object of Tombolo that no living process holds, as
/// [`Segment::orphans`](Segment::orphans) finds it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Orphan {
    /// What it is, for people. It contains the name, as the segment has it: see
    /// [`SegmentInfo::name`](crate::SegmentInfo::name).
    pub what: String,
    /// The name, of a segment that has one.
    pub name: Option<String>,
    shm: Option<Shm>,
    set: Option<Claimed>,
    /// A segment without a set.
    queue: Option<Queue>,
}

impl Segment {
    /// Every segment, and every semaphore set that has lost its segment, that no living
    /// process holds: the remains of killed processes, and segments that wait for the
    /// next process, with or without messages.
    ///
    /// This attaches segments for some microseconds. If another process has attached a
    /// segment without taking part, this waits for it, 20 ms at most, so that two
    /// processes that look at once both find the orphan.
    ///
    /// # Errors
    /// The kernel's refusal to list its objects.
    pub fn orphans() -> Result<Vec<Orphan>, OpenError> {
        orphans()
    }

    /// Removes what killed processes have left and nobody can use: above all, semaphore sets
    /// of anonymous segments. Returns how many objects that were. Creating a segment does this
    /// bit by bit; this call goes through all of the kernel's tables.
    pub fn clear_debris() -> usize {
        debris::clear(Reach::All)
    }
}

/// A set to remove, as it was when it was found.
#[derive(Clone, Copy, Debug)]
struct Claimed {
    set: Set,
    generation: Option<u64>,
    holders: Holders,
}

/// How it is known whether a process holds a set.
#[derive(Clone, Copy, Debug)]
enum Holders {
    /// By the map of its own segment.
    Mapped(SetMap),
    /// By the processes that last changed its semaphores. It may look like an orphan only
    /// because of what an unprivileged user has put beside it, or in its name.
    Changers,
    /// There is no segment, so no process can hold it.
    Nobody,
}

/// Everything of ours that no living process holds.
///
/// Of a set, the values are read before the segment that is, or is not yet,
/// there. A set that is branded has its segment by then, and never gets
/// another; one that is not is no orphan to [`Orphan::remove`] any more once
/// somebody has built with it.
fn orphans() -> Result<Vec<Orphan>, OpenError> {
    let mut orphans = Vec::new();
    let sets = sem::all()?.into_iter().filter(|stat| SetMap::plausible(stat.count));
    let sets: Vec<_> = sets
        .filter_map(|stat| {
            let set = Set::from_id(stat.id);
            let claimed = |values: &[u16]| Claimed::new(set, values, Holders::Nobody);
            values(&set).map(|values| (stat, claimed(&values), values))
        })
        .collect();
    let mut spared = Spared::default();
    for stat in ours()? {
        let on_key = Set::open(stat.key).ok();
        let before = on_key.map(|set| (set, values(&set)));
        let shm = Some(Shm::from_id(stat.id));
        match examine(stat)? {
            Examined::Gone => {}
            Examined::Sealed(set) => {
                spared.keys.push(stat.key);
                spared.ids.extend(set);
            }
            Examined::Complete(found) => {
                let Found { stat, mapped } = *found;
                let Mapped { semaphores, memory, plan, generation, name, .. } = mapped;
                let set = *semaphores.set();
                spared.ids.push(set.id());
                let own =
                    values(&set).filter(|values| SetMap::generation(values) == Some(generation));
                let map = plan.map;
                let holders = match set.stat_any() {
                    Ok(its) if belong(&stat, &its) => Holders::Mapped(map),
                    _ => Holders::Changers,
                };
                let held = |values: &Vec<u16>| leased(values) || has_peer(map, values);
                drop(memory);
                let unheld = !own.as_ref().is_some_and(held);
                if unheld && attached_for_good(Shm::from_id(stat.id), stat.attached, 0) == 0 {
                    let name = (!name.is_empty()).then_some(name);
                    orphans.push(Orphan {
                        what: format!(
                            "segment {} (id {}, {} bytes)",
                            name.as_deref().unwrap_or("(anonymous)"),
                            stat.id,
                            stat.size
                        ),
                        name,
                        shm,
                        set: own
                            .map(|values| Claimed::new(set, &values, holders))
                            .filter(Claimed::is_free),
                        queue: None,
                    });
                }
            }
            // Without a key, it was never one of ours.
            Examined::Unfinished
                if stat.key == Key::PRIVATE
                    || attached_for_good(Shm::from_id(stat.id), stat.attached, 0) > 0 => {}
            Examined::Unfinished => {
                let own = match before {
                    None => None,
                    Some((set, Some(values))) if SetMap::ours(&values) => {
                        // A builder holds the lease of the set on the key.
                        if leased(&values) {
                            continue;
                        }
                        spared.ids.push(set.id());
                        Some(Claimed::new(set, &values, Holders::Changers)).filter(Claimed::is_free)
                    }
                    Some((_, Some(_))) => None,
                    Some((_, None)) => continue,
                };
                orphans.push(Orphan {
                    what: format!("unfinished segment (id {}, {} bytes)", stat.id, stat.size),
                    name: None,
                    shm,
                    set: own,
                    queue: None,
                });
            }
        }
    }
    for (stat, claimed, values) in sets {
        // Only what we have branded is ours for sure, or what has a key that
        // nobody else would choose.
        let ours = claimed.generation.is_some() || is_anonymous(stat.key) && SetMap::ours(&values);
        if ours && !leased(&values) && !spared.contains(&stat) {
            orphans.push(Orphan {
                what: format!("semaphore set {} without its segment", stat.id),
                name: None,
                shm: None,
                set: Some(claimed),
                queue: None,
            });
        }
    }
    orphans.extend(stray_queues()?);
    Ok(orphans)
}

/// Every queue of ours without the set under whose lease it was made: nobody
/// can use it any more.
fn stray_queues() -> Result<Vec<Orphan>, OpenError> {
    let mut queues = msg::all()?;
    queues.retain(is_stray);
    Ok(queues
        .into_iter()
        .map(|stat| Orphan {
            what: format!("message queue {} without its segment", stat.id),
            name: None,
            shm: None,
            set: None,
            queue: Some(Queue::from_id(stat.id)),
        })
        .collect())
}

/// The sets that belong to a segment that is there.
#[derive(Default)]
struct Spared {
    ids: Vec<i32>,
    keys: Vec<Key>,
}

impl Spared {
    fn contains(&self, stat: &sem::Stat) -> bool {
        self.ids.contains(&stat.id) || stat.key != Key::PRIVATE && self.keys.contains(&stat.key)
    }
}

impl Claimed {
    fn new(set: Set, values: &[u16], holders: Holders) -> Self {
        Self { set, generation: SetMap::generation(values), holders }
    }

    /// Whether nobody has built with it or joined since it was found. The
    /// caller holds its lease, so nobody does now.
    fn is_as_it_was(&self) -> bool {
        values(&self.set).is_some_and(|values| SetMap::generation(&values) == self.generation)
            && self.is_free()
    }

    /// Whether no process holds it, whichever process has its lease.
    fn is_free(&self) -> bool {
        values(&self.set).is_some_and(|values| match self.holders {
            Holders::Mapped(map) => !has_peer(map, &values),
            Holders::Changers => !has_holder(self.set, &values),
            Holders::Nobody => true,
        })
    }
}

impl Orphan {
    /// Removes it, unless a process holds it by now (`false`).
    ///
    /// # Errors
    /// The kernel's refusal, if the caller is neither the owner nor
    /// privileged.
    pub fn remove(&self) -> Result<bool, OpenError> {
        let attached = || self.shm.is_some_and(|shm| attached_for_good(shm, u64::MAX, 0) > 0);
        if let Some(claimed) = &self.set {
            // Nobody can build or join while this process holds the lease,
            // nor once the set is gone.
            let semaphores = Semaphores::new(claimed.set, false);
            if lease::try_acquire(&semaphores).is_err() {
                return Ok(false);
            }
            let free = claimed.is_as_it_was() && !attached();
            // Nobody can make one now; and only with the set is it of use.
            let queue = claimed.set.stat_any().and_then(|stat| marked_on(stat.key));
            let removed = if free { gone(claimed.set.remove()) } else { Ok(()) };
            if !free || removed.is_err() {
                let _ = lease::release(&semaphores);
                return removed.map(|()| false);
            }
            if let Ok(Some(queue)) = queue {
                gone(queue.remove())?;
            }
        } else if attached() {
            return Ok(false);
        }
        if let Some(queue) = self.queue {
            // One that a segment has by now was made for it.
            if queue.stat_any().is_ok_and(|stat| !is_stray(&stat)) {
                return Ok(false);
            }
            gone(queue.remove())?;
        }
        self.shm.map_or(Ok(()), |shm| gone(shm.remove())).map(|()| true)
    }
}
