//! Looking at segments from outside, again and again.

use std::collections::HashMap;

use super::examine::{Examined, Found, Glance, TRIED, ours};
use super::list::{Shown, describe_segment, is_there};
use crate::error::OpenError;
use crate::segment::SegmentInfo;
use crate::segment::name::{Name, PROBES};
use crate::storage::layout::{NAME_BYTES, plausible};
use crate::sys::shm::{self, Shm, Stat};

/// Looks at segments again and again, without joining them: for monitors.
///
/// A look changes nothing in a segment: it writes no word, does no operation on a semaphore,
/// wakes nobody and holds nobody up. Nothing of it remains when it has returned: between two
/// looks, an observer has nothing attached. It needs read permission. A channel's words are
/// read one after the other, while others use it, so the numbers of one look are of slightly
/// different moments.
///
/// To read a segment's memory, the kernel wants it attached, which takes some microseconds.
/// While that lasts, the kernel counts one attachment more (`nattch`); and afterwards it names
/// this process, and these times, as those of the last attachment (`lpid`, `atime`, `dtime` in
/// `ipcs -m`). Nothing of Tombolo goes by these. A process that may checkpoint others
/// (`CAP_CHECKPOINT_RESTORE` or `CAP_SYS_ADMIN` outside of all user namespaces, as root has)
/// changes not even that, as long as a participant is alive whose `/proc` it sees: it maps the
/// segment by way of that process.
///
/// ```
/// use tombolo::{Observer, Segment};
///
/// let name = format!("doc:observer:{}", std::process::id());
/// let segment = Segment::options().transient(true).create(&name)?;
/// let numbers = segment.channel::<u64>("numbers").capacity(8).sender()?;
///
/// let mut observer = Observer::of(&name)?;
/// let before = observer.look()?;
/// numbers.send_batch(&[1, 2, 3])?;
/// let after = observer.look()?;
/// let (before, after) = (&before[0].channels[0], &after[0].channels[0]);
/// assert_eq!((after.passed.since(before.passed), after.depth), (3, 3));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Observer {
    which: Which,
    /// By id: processes that may have the segment attached, as the last look found them.
    known: HashMap<i32, Vec<u32>>,
    glance: Glance,
}

/// What to look at.
#[derive(Debug)]
enum Which {
    All,
    Name(Name),
    Id(i32),
}

impl Observer {
    fn new(which: Which) -> Self {
        Self { which, known: HashMap::new(), glance: Glance::default() }
    }

    /// Of all segments that this process may read.
    pub fn all() -> Self {
        Self::new(Which::All)
    }

    /// Of the segment with this name, which need not be there yet.
    ///
    /// # Errors
    /// [`OpenError::BadName`].
    pub fn of(name: &str) -> Result<Self, OpenError> {
        let name = Name::new(name, NAME_BYTES)?;
        Ok(Self::new(Which::Name(name)))
    }

    /// Of the segment with this [`id`](crate::Segment::id).
    pub fn of_id(id: i32) -> Self {
        Self::new(Which::Id(id))
    }

    /// What there is. A segment that has been removed is left out, and so is one that this
    /// process may not read, if it looks at all.
    ///
    /// # Errors
    /// The kernel's refusal to list its objects; of a single segment, that it may not be read.
    pub fn look(&mut self) -> Result<Vec<SegmentInfo>, OpenError> {
        let stats = match &self.which {
            Which::All => ours()?,
            Which::Name(name) => of_name(name),
            Which::Id(id) => Shm::from_id(*id).stat_any().into_iter().collect(),
        };
        let stats: Vec<Stat> = stats.into_iter().filter(|stat| plausible(stat.size)).collect();
        self.known.retain(|id, _| stats.iter().any(|stat| stat.id == *id));
        let resident = shm::resident();
        let mut infos = Vec::with_capacity(stats.len());
        for stat in stats {
            let Some(found) = self.find(stat)? else { continue };
            let mut info = describe_segment(&found, Shown::All);
            info.resident = resident.get(&stat.id).copied();
            let pids = info.people.iter().map(|person| person.peer.pid());
            self.known.insert(stat.id, pids.take(TRIED).collect());
            infos.push(info);
        }
        Ok(infos)
    }

    /// The segment, mapped; `None` if it is not there or not to be looked at.
    fn find(&mut self, stat: Stat) -> Result<Option<Found>, OpenError> {
        let known = self.known.get(&stat.id).map(Vec::as_slice);
        match (self.glance.examine(stat, known), &self.which) {
            (Ok(Examined::Complete(found)), which) => {
                let named = match which {
                    Which::Name(name) => found.mapped.name == name.as_str(),
                    _ => true,
                };
                Ok(Some(*found).filter(|found| named && is_there(found)))
            }
            (Ok(Examined::Sealed(_)), Which::Id(id)) => Err(OpenError::NotOurs {
                id: *id,
                reason: "it may not be read, is damaged, or is of another version",
            }),
            (Err(error), Which::Name(_) | Which::Id(_)) => Err(error),
            _ => Ok(None),
        }
    }
}

/// What is on the keys of a name.
fn of_name(name: &Name) -> Vec<Stat> {
    let on_key = |probe| Shm::open(name.key(probe)).and_then(|shm| shm.stat_any()).ok();
    (0..PROBES).filter_map(on_key).collect()
}
