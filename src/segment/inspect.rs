//! Inspects segments from outside, without joining and without the right to write.

use std::thread;
use std::time::Duration;

use super::deaths::{Deaths, deaths};
use super::debris::has_holder;
use super::mapped::Mapped;
use super::name::is_anonymous;
use super::queue::{is_marked, marked_on};
use super::site::gone;
use super::state::State;
use super::{ChannelInfo, alive_or_joined, describe};
use crate::error::OpenError;
use crate::ring::creation::MAGIC;
use crate::ring::lease;
use crate::ring::set::SetMap;
use crate::storage::Memory;
use crate::storage::layout::{flags, plausible};
use crate::sync::Ordering;
use crate::sys::msg::{self, Queue};
use crate::sys::sem::{self, Set};
use crate::sys::shm::{self, AttachOptions, Shm};
use crate::sys::{ErrorKind, Key};
use crate::wait::Semaphores;

/// A segment, as [`Segment::list`](super::Segment::list) finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
// More fields than 12: they are what a listing shows of a segment.
pub struct SegmentInfo {
    /// Its name; empty for an anonymous one. Like all texts here, it comes from the
    /// segment: a process with write access may have written text that moves a terminal's
    /// cursor.
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
    /// The user that has created it: see
    /// [`Options::any_owner`](super::Options::any_owner).
    pub creator_uid: u32,
    /// Its permissions, as nine bits.
    pub mode: u32,
    /// How many attachments there are, in all processes. Processes that only look, as
    /// this list does, are attached for some microseconds, and left out as far as
    /// possible.
    pub attached: u64,
    /// How many participants live.
    pub participants: usize,
    /// Whether it is known which participants live. It is not if the semaphore set is
    /// gone or may not be read. Then `participants`, and the senders and receivers of the
    /// channels, count all participants that have joined and not left, including dead
    /// ones that have not been swept.
    pub living_known: bool,
    /// Whether it is open for messages.
    pub state: State,
    /// The deaths in it.
    pub deaths: Deaths,
    /// Its channels.
    pub channels: Vec<ChannelInfo>,
}

/// An object of Tombolo that no living process holds, as
/// [`Segment::orphans`](super::Segment::orphans) finds it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Orphan {
    /// What it is, for people. It contains the name, as the segment has it: see
    /// [`SegmentInfo::name`].
    pub what: String,
    /// The name, of a segment that has one.
    pub name: Option<String>,
    shm: Option<Shm>,
    set: Option<Claimed>,
    /// A segment without a set.
    queue: Option<Queue>,
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

/// Longer than a process that has a processor looks at a segment; and how often to wait
/// for that.
const LOOK: Duration = Duration::from_millis(1);
const LOOKS: u32 = 20;

/// A segment that is complete, attached for reading.
pub(super) struct Found {
    stat: shm::Stat,
    pub(super) mapped: Mapped,
}

/// The result of inspecting a segment.
pub(super) enum Inspected {
    Complete(Box<Found>),
    /// Complete, or nobody can tell, but not to be used by this caller: of
    /// another version, damaged, or not to be read. The set that it names, if
    /// that can be said.
    Sealed(Option<i32>),
    /// Without the magic.
    Unfinished,
    Gone,
}

/// Attaches a segment for reading.
pub(super) fn inspect(stat: shm::Stat) -> Result<Inspected, OpenError> {
    let options = AttachOptions { read_only: true, ..AttachOptions::default() };
    let shm = Shm::from_id(stat.id);
    let memory = match shm.attach_with(options) {
        Ok(attachment) => Memory::for_reading(attachment),
        Err(error) if error.kind() == ErrorKind::Removed => return Ok(Inspected::Gone),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => None,
        // A process that cannot look must not conclude anything.
        Err(error) => return Err(error.into()),
    };
    let Some(memory) = memory else {
        return Ok(Inspected::Sealed(None));
    };
    let header = memory.header();
    if header.magic.load(Ordering::Acquire) != MAGIC {
        return Ok(Inspected::Unfinished);
    }
    let set = i32::try_from(header.set.load(Ordering::Relaxed)).ok();
    Ok(match Mapped::of_memory(shm, memory) {
        Some(mapped) => Inspected::Complete(Box::new(Found { stat, mapped })),
        None => Inspected::Sealed(set),
    })
}

/// A segment that is complete, if it is.
fn find(stat: shm::Stat) -> Option<Found> {
    match inspect(stat) {
        Ok(Inspected::Complete(found)) => Some(*found),
        _ => None,
    }
}

fn ours() -> Result<Vec<shm::Stat>, OpenError> {
    let mut all = shm::all()?;
    all.retain(|stat| plausible(stat.size));
    Ok(all)
}

/// Every segment of ours that the caller may read.
pub(crate) fn list() -> Result<Vec<SegmentInfo>, OpenError> {
    // A removed segment exists until its last process is gone, but no new process can
    // find it. An anonymous one is removed from the start.
    let found = ours()?.into_iter().filter_map(find).filter(|found| {
        !found.stat.marked_for_removal || found.mapped.flags & flags::ANONYMOUS != 0
    });
    Ok(found
        .map(|Found { stat, mapped }| {
            let (members, living_known) = alive_or_joined(&mapped);
            let mut info = SegmentInfo {
                name: mapped.name.clone(),
                key: stat.key.raw(),
                id: stat.id,
                set: mapped.semaphores.set().id(),
                size: stat.size,
                uid: stat.uid,
                creator_uid: stat.creator_uid,
                mode: stat.mode,
                attached: stat.attached,
                participants: members.len(),
                living_known,
                state: mapped.state(),
                deaths: deaths(&mapped),
                channels: describe(&mapped, &members),
            };
            let shm = mapped.shm;
            // This look's own is none.
            drop(mapped);
            // Nor is another's, which is soon gone.
            let most = u64::try_from(members.len()).unwrap_or(u64::MAX);
            info.attached = attached_for_good(shm, stat.attached, most);
            info
        })
        .collect())
}

/// How many of the attachments found at first remain, without processes that only look:
/// waits a little until there are no more than `most`.
fn attached_for_good(shm: Shm, first: u64, most: u64) -> u64 {
    let mut fewest = first;
    for _ in 0..LOOKS {
        if fewest <= most {
            break;
        }
        match shm.stat_any() {
            Ok(stat) => fewest = fewest.min(stat.attached),
            Err(_) => return 0,
        }
        if fewest > most {
            thread::sleep(LOOK);
        }
    }
    fewest
}

/// The values of a set, if it is there and may be read.
pub(super) fn values(set: &Set) -> Option<Vec<u16>> {
    let mut values = vec![0; set.stat_any().ok()?.count];
    set.values(&mut values).ok()?;
    Some(values)
}

pub(super) fn leased(values: &[u16]) -> bool {
    values.get(usize::from(SetMap::LEASE)).is_some_and(|&value| value > 0)
}

/// Whether a segment is one whose header may say which set is its own. Anybody can
/// make memory whose header names another user's set, also on the key of an
/// anonymous segment's; nobody can make it as that user.
pub(super) fn belong(segment: &shm::Stat, set: &sem::Stat) -> bool {
    segment.creator_uid == set.creator_uid
        && (segment.key == set.key || segment.key == Key::PRIVATE)
}

/// Whether a process holds a participant's liveness up.
fn has_peer(map: SetMap, values: &[u16]) -> bool {
    let up = |sem: u16| values.get(usize::from(sem)).is_some_and(|&value| value > 0);
    (0..map.participants).any(|id| up(map.liveness(id)))
}

/// Everything of ours that no living process holds.
///
/// Of a set, the values are read before the segment that is, or is not yet,
/// there. A set that is branded has its segment by then, and never gets
/// another; one that is not is no orphan to [`Orphan::remove`] any more once
/// somebody has built with it.
pub(crate) fn orphans() -> Result<Vec<Orphan>, OpenError> {
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
        match inspect(stat)? {
            Inspected::Gone => {}
            Inspected::Sealed(set) => {
                spared.keys.push(stat.key);
                spared.ids.extend(set);
            }
            Inspected::Complete(found) => {
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
            Inspected::Unfinished
                if stat.key == Key::PRIVATE
                    || attached_for_good(Shm::from_id(stat.id), stat.attached, 0) > 0 => {}
            Inspected::Unfinished => {
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

pub(super) fn is_stray(queue: &msg::Stat) -> bool {
    is_marked(queue) && queue.key != Key::PRIVATE && without_set(queue.key)
}

/// Whether no set is on the key.
pub(super) fn without_set(key: Key) -> bool {
    Set::open(key).is_err_and(|error| error.kind() == ErrorKind::NotFound)
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
