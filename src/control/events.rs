//! Joins, leaves and deaths, as they happen.

use core::cell::Cell;
use core::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::error::Fault;
use crate::ring::journal::{LEASEHOLDER, Read};
use crate::segment::journal::{LifeEvent, LifeRecord};
use crate::segment::{Death, Participant, Peer, Segment};
use crate::sys;

/// A participant that joined or left.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Member {
    /// Its slot in the table. Together with [`life`](Self::life) it identifies
    /// the participant for ever.
    pub slot: u16,
    /// Which of the slot's lives it is, from 1.
    pub life: u64,
    /// The same participant, for waits that end with it: see
    /// [`Receiver::bind_to_peer`](crate::Receiver::bind_to_peer).
    pub peer: Peer,
    /// Its process, by the number in that process's own pid namespace.
    pub pid: u32,
    /// When the process was started, in the unit of [`sys::proc::start_time`];
    /// 0 if that could not be found out. The pid, the start time and the
    /// [pid namespace](Self::pid_namespace) together identify a process for ever.
    pub start_time: u64,
    /// The process's [pid namespace](sys::proc::pid_namespace); 0 if it could not
    /// be found out.
    pub pid_namespace: u64,
    /// Its effective user id.
    pub uid: u32,
    /// When it joined or left, in nanoseconds of [`sys::proc::monotonic`].
    pub recorded_ns: u64,
}

/// An event in the life of a participant.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// It has joined.
    Joined(Member),
    /// It has left by itself: its last handle was dropped.
    Left(Member),
    /// It has died. The sweep of what it held is done, or under way.
    Died(Death),
    /// So many events were overwritten before this subscription read them. A few of
    /// them may be records that a process began and gave up.
    Missed(u64),
}

impl fmt::Display for Event {
    /// `process 4711 joined, slot 3`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Joined(member) => {
                write!(f, "process {} joined, slot {}", member.pid, member.slot)
            }
            Self::Left(member) => write!(f, "process {} left, slot {}", member.pid, member.slot),
            Self::Died(death) => death.fmt(f),
            Self::Missed(events) => write!(f, "{events} events missed"),
        }
    }
}

/// A subscription to the [events](Event) of a segment: see
/// [`Segment::events`].
///
/// Every subscriber gets every event, and all get them in the same order. A segment
/// remembers the last 128 events. A subscriber that is further behind gets
/// [`Event::Missed`], and then the remembered ones.
///
/// One thread at a time uses a handle. A clone starts at its original's position
/// and continues independently. Neither leaves a trace in the segment: a
/// subscriber that is slow, stopped or killed affects no other process.
///
/// **Crashes.** A subscriber gets each death exactly once, whichever process dies
/// over the recovery. A process that is stopped while it records an event delays
/// the later ones, until it continues, is killed, or 128 other events are
/// recorded.
#[derive(Clone)]
pub struct Events {
    participant: Arc<Participant>,
    /// The position of the next record.
    at: Cell<u64>,
    /// Of this handle and its clones.
    stopped: Arc<OnceLock<()>>,
}

// No operation runs code of the caller's, so a panic finds the position whole.
impl UnwindSafe for Events {}
impl RefUnwindSafe for Events {}

impl Segment {
    /// Subscribes to the participants that join, leave and die from now on.
    ///
    /// ```
    /// use tombolo::{Event, Segment};
    ///
    /// let segment = Segment::anonymous()?;
    /// let events = segment.events();
    /// drop(Segment::open_id(segment.id())?);
    /// assert!(matches!(events.recv()?, Event::Joined(_)));
    /// assert!(matches!(events.recv()?, Event::Left(_)));
    /// assert_eq!(events.try_recv()?, None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn events(&self) -> Events {
        let participant = Arc::clone(self.participant());
        let at = Cell::new(participant.mapped().journal_from(false));
        Events { participant, at, stopped: Arc::default() }
    }
}

impl Events {
    /// Starts at the oldest event that the segment remembers.
    #[must_use]
    pub fn remembered(self) -> Self {
        self.at.set(self.participant.mapped().journal_from(true));
        self
    }

    /// The next event, if there is one. Scans for deaths before it returns `None`.
    /// Does not wait.
    ///
    /// # Errors
    /// Those of [`recv`](Self::recv).
    pub fn try_recv(&self) -> Result<Option<Event>, Fault> {
        match self.read()? {
            Read::Record(event) => return Ok(Some(event)),
            Read::Pending(LEASEHOLDER) => {
                // The deadline has passed already: this succeeds only if nobody
                // holds the lease at this moment.
                let deadline = Instant::now();
                self.participant.close_leaseholders_records(Some(deadline))?;
            }
            _ => {}
        }
        self.participant.listen()?;
        Ok(match self.read()? {
            Read::Record(event) => Some(event),
            _ => None,
        })
    }

    /// The next event. Waits without limit. The kernel wakes the caller, even for
    /// a death that no other process is left to see.
    ///
    /// # Errors
    /// [`Fault::Closed`] if the segment was removed and this subscription has
    /// received everything recorded until then, or if the subscription was
    /// [stopped](Self::stop), also while this call waits; other faults that end a
    /// handle's use.
    pub fn recv(&self) -> Result<Event, Fault> {
        // Without a deadline there is no timeout.
        self.recv_by(None)?.ok_or(Fault::Closed)
    }

    /// The next event. Waits at most this long; `None` if there was none.
    ///
    /// # Errors
    /// Those of [`recv`](Self::recv).
    pub fn recv_timeout(&self, timeout: Duration) -> Result<Option<Event>, Fault> {
        // A timeout beyond the range of the clock is no timeout.
        self.recv_by(Instant::now().checked_add(timeout))
    }

    fn recv_by(&self, until: Option<Instant>) -> Result<Option<Event>, Fault> {
        loop {
            if let Read::Record(event) = self.read()? {
                return Ok(Some(event));
            }
            match self.wait(until) {
                Ok(None) => {}
                Ok(event) => return Ok(event),
                // Events recorded before the end come before the fault.
                Err(fault) => match self.read()? {
                    Read::Record(event) => return Ok(Some(event)),
                    _ => return Err(fault),
                },
            }
            if until.is_some_and(|deadline| deadline <= Instant::now()) {
                return self.try_recv();
            }
        }
    }

    /// Sleeps once, unless there is an event now.
    fn wait(&self, until: Option<Instant>) -> Result<Option<Event>, Fault> {
        let heard = self.participant.listen()?;
        self.participant.serve();
        match self.read()? {
            Read::Record(event) => return Ok(Some(event)),
            Read::Pending(LEASEHOLDER) => self.participant.close_leaseholders_records(until)?,
            _ => self.participant.park(heard, until)?,
        }
        Ok(None)
    }

    /// Ends this subscription and its clones. A call that waits in one of them, in
    /// another thread, returns.
    ///
    /// # Errors
    /// [`Fault::System`] if the kernel refuses to wake waiting calls: then each
    /// ends when something else wakes it. [`Fault::Forked`].
    pub fn stop(&self) -> Result<(), Fault> {
        let _ = self.stopped.set(());
        self.participant.strike()
    }

    /// Reads the next record. Missed positions count as a record too.
    fn read(&self) -> Result<Read<Event>, Fault> {
        let barred = self.participant.barred();
        if let Some(Fault::Forked) = barred {
            return Err(Fault::Forked);
        }
        if self.stopped.get().is_some() {
            return Err(Fault::Closed);
        }
        let mut at = self.at.get();
        let read = self.participant.mapped().read_journal(&mut at);
        self.at.set(at);
        match (read, barred) {
            (Read::Record(record), _) => Ok(Read::Record(self.event(record))),
            (Read::Missed(positions), _) => Ok(Read::Record(Event::Missed(positions))),
            (_, Some(fault)) => Err(fault),
            (Read::Pending(owner), None) => Ok(Read::Pending(owner)),
            (Read::End, None) => Ok(Read::End),
        }
    }

    fn event(&self, record: LifeRecord) -> Event {
        let number = |word: u64| u32::try_from(word).unwrap_or(0);
        let generation = self.participant.mapped().generation;
        let member = Member {
            peer: Peer::new(generation, record.member, number(record.pid)),
            slot: record.member.id,
            life: record.member.incarnation,
            pid: number(record.pid),
            start_time: record.start_time,
            pid_namespace: record.pid_namespace,
            uid: number(record.uid),
            recorded_ns: record.time,
        };
        match record.event {
            LifeEvent::Joined => Event::Joined(member),
            LifeEvent::Left => Event::Left(member),
            LifeEvent::Died => {
                let now = sys::proc::monotonic();
                Event::Died(Death::of(self.participant.mapped(), record, now))
            }
        }
    }

    /// An iterator over the events as they come, until the segment is removed.
    pub const fn iter(&self) -> EventsIter<'_> {
        EventsIter { events: self, ended: false }
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events")
            .field("segment", &self.participant.mapped().name)
            .finish_non_exhaustive()
    }
}

/// An iterator over the events of a segment: see [`Events::iter`].
#[derive(Debug)]
pub struct EventsIter<'a> {
    events: &'a Events,
    ended: bool,
}

impl Iterator for EventsIter<'_> {
    type Item = Result<Event, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let received = self.events.recv();
        self.ended = received.is_err();
        match received {
            Err(Fault::Closed) => None,
            received => Some(received),
        }
    }
}

impl<'a> IntoIterator for &'a Events {
    type Item = Result<Event, Fault>;
    type IntoIter = EventsIter<'a>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
