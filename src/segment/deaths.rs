//! The deaths in a segment, for people: which process, when, what it held, what became of it.

use core::fmt;
use std::time::Duration;

use super::handle::Segment;
use super::journal::{LifeEvent, LifeRecord};
use super::mapped::Mapped;
use crate::sys;

/// The deaths in a segment, as [`Segment::deaths`]
/// gives them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Deaths {
    /// How many participants have died since the segment was created. Each death counts
    /// once, even if other processes die over its recovery.
    pub total: u64,
    /// The deaths that the segment remembers, the newest last.
    ///
    /// It keeps the last 128 joins, leaves and deaths together. A death is missing here
    /// if the process that recorded it was stopped in the middle while 128 others were
    /// recorded.
    pub recent: Vec<Death>,
}

/// A participant that died, and what became of what it held.
///
/// The death was recorded before anything was changed, so the counts are exact. The
/// recovery that they describe is complete, or some process is at it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
// More fields than 12: they are what the journal records of a death.
pub struct Death {
    /// Its slot in the table, and which of the slot's lives it was, from 1:
    /// the two together are used once.
    pub slot: u16,
    /// See [`slot`](Self::slot).
    pub life: u64,
    /// Its process, as it was numbered in its own pid namespace.
    pub pid: u32,
    /// When the process was started, as [`sys::proc::start_time`] told it, and its [pid
    /// namespace](sys::proc::pid_namespace): together with the pid they identify a
    /// process for ever. 0 if unknown.
    pub start_time: u64,
    /// See [`start_time`](Self::start_time).
    pub pid_namespace: u64,
    /// Its user.
    pub uid: u32,
    /// When the death was found, as [`sys::proc::monotonic`] told the time.
    pub found_ns: u64,
    /// How long ago that was.
    pub ago: Duration,
    /// How many senders it had, of all channels.
    pub senders: u64,
    /// How many receivers it had, of all channels.
    pub receivers: u64,
    /// Messages that it was writing into a slot of an MPMC channel. The slot was given
    /// up, and nobody sees them.
    pub unsent: u64,
    /// Messages that it had taken and not acknowledged, and that are
    /// delivered to another receiver.
    pub redelivered: u64,
    /// Messages that it had taken and not acknowledged, and that are not
    /// delivered again: their [attempts](crate::Channel::redeliver) were used
    /// up.
    pub dropped: u64,
    /// Messages that it had committed by a [`SendAll`](crate::SendAll) and had not published
    /// in their channels yet: they are delivered.
    pub completed: u64,
    /// Blocks for messages of bytes that it held in MPMC channels without having queued
    /// them: messages that it was writing, or had just read. They were freed.
    pub buffers: u64,
    /// The channel in which it held any of this; the first one, if there were several.
    pub channel: Option<String>,
}

impl Segment {
    /// Which participants have died, when, what they held, and what became of it, as far
    /// as is known without a [sweep](Self::sweep). This reads some 20 KiB, and delays
    /// nobody.
    ///
    /// ```
    /// let segment = tombolo::Segment::anonymous()?;
    /// segment.sweep()?;
    /// let deaths = segment.deaths();
    /// for death in &deaths.recent {
    ///     // process 4711 died 2.5s ago, in channel jobs: 1 to be redelivered
    ///     println!("{death}");
    /// }
    /// if let Some(last) = deaths.recent.last() {
    ///     println!("the last of {} deaths: {:?} ago", deaths.total, last.ago);
    /// }
    /// # assert_eq!(deaths.total, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn deaths(&self) -> Deaths {
        deaths(self.participant().mapped())
    }
}

impl Death {
    pub(crate) fn of(mapped: &Mapped, record: LifeRecord, now: u64) -> Self {
        let number = |word: u64| u32::try_from(word).unwrap_or(0);
        let name = |index| Some(mapped.directory().read(index)?.ok()?.name);
        let held = record.held;
        Self {
            slot: record.member.id,
            life: record.member.incarnation,
            pid: number(record.pid),
            start_time: record.start_time,
            pid_namespace: record.pid_namespace,
            uid: number(record.uid),
            found_ns: record.time,
            ago: Duration::from_nanos(now.saturating_sub(record.time)),
            senders: held.senders,
            receivers: held.receivers,
            unsent: held.slots.tombstones,
            redelivered: held.slots.orphans,
            dropped: held.slots.dropped,
            completed: held.slots.completed,
            buffers: held.blocks,
            channel: held.channel.and_then(name),
        }
    }
}

impl fmt::Display for Death {
    /// `process 4711 died 2.5s ago, in channel jobs: 1 to be redelivered`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} died {:.1?} ago", self.pid, self.ago)?;
        let held = [
            (self.unsent, "unsent"),
            (self.redelivered, "to be redelivered"),
            (self.dropped, "dropped"),
            (self.completed, "completed"),
            (self.buffers, "freed"),
        ];
        if held.iter().all(|(count, _)| *count == 0) {
            return f.write_str(", holding nothing");
        }
        if let Some(channel) = &self.channel {
            write!(f, ", in channel {channel}")?;
        }
        let mut between = ": ";
        for (count, what) in held.into_iter().filter(|(count, _)| *count > 0) {
            write!(f, "{between}{count} {what}")?;
            between = ", ";
        }
        Ok(())
    }
}

pub(super) fn deaths(mapped: &Mapped) -> Deaths {
    let records = mapped.journal();
    let now = sys::proc::monotonic();
    let died = records.into_iter().filter(|record| record.event == LifeEvent::Died);
    let recent: Vec<_> = died.map(|record| Death::of(mapped, record, now)).collect();
    Deaths { total: mapped.deaths(), recent }
}
