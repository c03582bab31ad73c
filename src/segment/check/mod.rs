//! The audit of a segment at rest: every word against what `docs/format.md`
//! says it may be.
//!
//! Nothing is written, and nobody is joined. A word that is wrong for a moment,
//! because somebody is in the middle of an operation, is not damage: so a fault
//! counts only if several readings find it, and find the same.
//!
//! What depends on a channel's kind is the kind's: see [`kinds`](crate::kinds).
//!
//! A segment may contain anything: numbers are bounded before they are used,
//! and no more faults are kept than a person would read.

mod channels;
mod header;
mod people;
mod reading;

use std::thread;
use std::time::Duration;

use super::handle::Segment;
use super::mapped::Mapped;
use super::name::{Name, PROBES};
use crate::error::OpenError;
use crate::storage::Memory;
use crate::storage::layout::{NAME_BYTES, Plan, flags, plausible};
use crate::storage::report::{Finding, Report};
use crate::sync::Ordering;
use crate::sys::ErrorKind;
use crate::sys::sem::Set;
use crate::sys::shm::{AttachOptions, Shm, Stat};
use reading::Reading;

/// How many readings have to find a fault, if nothing moves meanwhile.
const READINGS: u32 = 3;
/// The same in a segment that is in use: what is so for a moment, again and
/// again, is not found so by all of them.
const BUSY_READINGS: u32 = 10;
/// How long between two of them: longer than an operation takes.
const PAUSE: Duration = Duration::from_millis(10);

/// What [`Segment::check`] has found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Audit {
    /// The segment's name, as it says it; empty for an anonymous one. See
    /// [`SegmentInfo::name`](crate::SegmentInfo::name).
    pub name: String,
    /// The id of its shared-memory object.
    pub id: i32,
    /// What cannot be in a segment at rest, in the order of the bytes.
    pub faults: Vec<Finding>,
    /// How many more faults there are than the first 1,000.
    pub more: u64,
    /// What is no fault, and worth knowing: participants that have died and
    /// are still to be swept, for one.
    pub remarks: Vec<String>,
    /// Whether the segment changed while it was read.
    pub busy: bool,
}

impl Audit {
    /// Whether no fault was found.
    pub const fn is_sound(&self) -> bool {
        self.faults.is_empty()
    }
}

impl Segment {
    /// Audits the segment of this name at rest: every word against
    /// `docs/format.md`, without joining and without the right to write.
    ///
    /// A fault counts only if several readings find it, so a word that is wrong only for
    /// a moment is not reported for a segment in use. A participant that is stopped in
    /// the middle of an operation may appear as a fault.
    ///
    /// ```
    /// let name = format!("doc:check:{}", std::process::id());
    /// let segment = tombolo::Segment::options().transient(true).create(&name)?;
    /// let audit = tombolo::Segment::check(&name)?;
    /// assert!(audit.is_sound(), "{:?}", audit.faults);
    /// # drop(segment);
    /// # Ok::<(), tombolo::OpenError>(())
    /// ```
    ///
    /// # Errors
    /// [`OpenError::NotFound`], and the kernel's if the caller may not read it.
    pub fn check(name: &str) -> Result<Audit, OpenError> {
        named(name)
    }

    /// Audits the segment with this [`id`](Self::id): see
    /// [`check`](Self::check).
    ///
    /// # Errors
    /// Those of [`check`](Self::check), and [`OpenError::NotOurs`].
    pub fn check_id(id: i32) -> Result<Audit, OpenError> {
        by_id(id)
    }
}

/// A segment under audit.
enum Subject {
    /// Its tables are inside.
    Whole(Box<Mapped>),
    /// Nothing but the header can be made sense of.
    Header(Memory),
}

/// Audits the segment of a name.
fn named(name: &str) -> Result<Audit, OpenError> {
    let name = Name::new(name, NAME_BYTES)?;
    let missing = || OpenError::NotFound { name: name.to_string() };
    let mut damaged = None;
    let mut denied = None;
    for key in (0..PROBES).map(|probe| name.key(probe)) {
        let stat = match Shm::open(key).and_then(|shm| shm.stat_any()) {
            Ok(stat) => stat,
            Err(error) if is_gone(&error) => continue,
            Err(error) => return Err(error.into()),
        };
        if stat.marked_for_removal || !plausible(stat.size) {
            continue;
        }
        match attach(stat.id) {
            Ok(Some(memory)) if says(&memory).as_deref() == Some(name.as_str()) => {
                return audit(&stat, memory).ok_or_else(missing);
            }
            // Another's, unless it cannot be: no such name comes to this key.
            Ok(Some(memory)) => {
                let its = says(&memory).and_then(|name| Name::new(&name, NAME_BYTES).ok());
                if !its.is_some_and(|its| its.has_key(key)) {
                    damaged.get_or_insert((stat, memory));
                }
            }
            Ok(None) => {}
            Err(error) => denied = Some(error),
        }
    }
    match (damaged, denied) {
        (Some((stat, memory)), _) => audit(&stat, memory).ok_or_else(missing),
        (None, Some(error)) => Err(error),
        (None, None) => Err(missing()),
    }
}

/// Audits the segment with this id.
fn by_id(id: i32) -> Result<Audit, OpenError> {
    let missing = || OpenError::NotFound { name: format!("with id {id}") };
    let stat = match Shm::from_id(id).stat_any() {
        Ok(stat) => stat,
        Err(error) if is_gone(&error) => return Err(missing()),
        Err(error) => return Err(error.into()),
    };
    if !plausible(stat.size) {
        return Err(OpenError::NotOurs { id, reason: "its size has not our signature" });
    }
    let memory = attach(id)?.ok_or_else(missing)?;
    audit(&stat, memory).ok_or_else(missing)
}

fn is_gone(error: &crate::sys::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Removed)
}

fn says(memory: &Memory) -> Option<String> {
    memory.header().name.load()
}

/// Attaches for reading; `None` if there is nothing any more.
fn attach(id: i32) -> Result<Option<Memory>, OpenError> {
    let options = AttachOptions { read_only: true, ..AttachOptions::default() };
    match Shm::from_id(id).attach_with(options) {
        Ok(attachment) => Ok(Memory::for_reading(attachment)),
        Err(error) if is_gone(&error) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

impl Subject {
    fn new(stat: &Stat, memory: Memory) -> Self {
        let header = memory.header();
        let plan = header.shape().map(Plan::new).filter(|plan| plan.heap <= memory.len());
        let Some(plan) = plan else {
            return Self::Header(memory);
        };
        let set = i32::try_from(header.set.load(Ordering::Relaxed)).unwrap_or(-1);
        let (set, name) = (Set::from_id(set), header.name.load().unwrap_or_default());
        let mapped = Mapped::laid_out(Shm::from_id(stat.id), set, memory, plan, name);
        Self::Whole(Box::new(mapped))
    }

    /// Reads all of it once. The number stands for how far everything has got.
    fn read(&self, stat: &Stat) -> (Report, u64) {
        let mut report = Report::default();
        let mapped = match self {
            Self::Header(memory) => {
                header::check(&mut report, memory, stat);
                return (report, 0);
            }
            Self::Whole(mapped) => mapped,
        };
        let values = header::check(&mut report, &mapped.memory, stat);
        let values = values.filter(|values| values.len() == usize::from(mapped.plan.map.count()));
        let mut reading = Reading::new(mapped, values, report);
        let before = reading.progress();
        people::check(&mut reading);
        channels::check(&mut reading);
        let moved = reading.progress() != before;
        (reading.report, before.wrapping_add(moved.into()))
    }
}

/// `None` if it is removed.
fn audit(stat: &Stat, memory: Memory) -> Option<Audit> {
    let set_is_there =
        |set: u64| i32::try_from(set).is_ok_and(|id| Set::from_id(id).stat_any().is_ok());
    let header = memory.header();
    let anonymous = header.flags.load(Ordering::Relaxed) & flags::ANONYMOUS != 0;
    let removed = stat.marked_for_removal && !anonymous;
    if removed && !set_is_there(header.set.load(Ordering::Relaxed)) {
        return None;
    }
    let name = says(&memory).unwrap_or_default();
    let subject = Subject::new(stat, memory);
    let (mut report, began) = subject.read(stat);
    let mut busy = false;
    let mut readings = 1;
    while !report.is_empty() && readings < if busy { BUSY_READINGS } else { READINGS } {
        thread::sleep(PAUSE);
        let (again, now) = subject.read(stat);
        busy |= now != began;
        report.keep_those_of(again);
        readings += 1;
    }
    if busy {
        // Held by one after the other: at rest it would be free.
        report.faults.retain(|fault| fault.what != header::LEASE);
    }
    let Report { faults, more, remarks } = report;
    Some(Audit { name, id: stat.id, faults, more, remarks, busy })
}
