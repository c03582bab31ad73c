//! Giving commands.
//!
//! The effect of a command is a state of the segment. So a participant that never
//! reads its messages obeys too, at its next operation. The message queue of System
//! V only asks each participant by name and carries its answer.

use core::cell::Cell;
use core::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::answer::{Answer, Drain, Outcome};
use super::mail::{Band, MAX_PAYLOAD, Mail, Status, Verb, address};
use super::post::received;
use crate::error::{CommandError, Fault};
use crate::ring::death_record;
use crate::ring::table::Member;
use crate::segment::handle::Segment;
use crate::segment::participant::{Participant, Unleased};
use crate::storage::OperatingState;
use crate::storage::layout::gate;
use crate::sync::Ordering;
use crate::sys::msg::{Queue, Selector, Wait};
use crate::sys::{self, ErrorKind, proc};

/// How long to wait for answers before calling all participants again: at first, and at
/// most. A token on a semaphore wakes one process, which may not be the one addressed.
const PAUSES: (Duration, Duration) = (Duration::from_micros(100), Duration::from_millis(10));

/// Sends commands to the other participants of a segment: see [`Segment::commander`].
///
/// A participant answers when it next uses the segment, or at once if it is blocked in it
/// (a send, a receive, [`Events::recv`], [`Inbox::recv`]). Each method takes a timeout
/// for the answers, and returns one answer for each participant that it concerns.
///
/// **Crashes.** A commander that is killed has either changed the state of the segment or
/// not; if it has, all participants obey. A participant that is killed during a command
/// is reported as killed. Answers that nobody waits for any more reach nobody else.
///
/// [`Events::recv`]: crate::Events::recv
/// [`Inbox::recv`]: crate::Inbox::recv
pub struct Commander {
    participant: Arc<Participant>,
    queue: Queue,
    /// Of the next request.
    id: Cell<u64>,
}

// No operation runs code of the caller's, so a panic finds the number whole.
impl UnwindSafe for Commander {}
impl RefUnwindSafe for Commander {}

impl Segment {
    /// A commander of the other participants. Creates the segment's message queue if
    /// there is none yet.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tombolo::{Segment, OperatingState};
    ///
    /// let segment = Segment::anonymous()?;
    /// let other = Segment::open_id(segment.id())?;
    /// let receiver = other.channel::<u8>("c").capacity(4).receiver()?;
    /// let blocked = std::thread::spawn(move || receiver.recv());
    ///
    /// let commander = segment.commander()?;
    /// let answers = commander.ping(Duration::from_secs(10))?;
    /// assert!(answers.iter().all(|answer| answer.ok));
    /// commander.shutdown(Duration::from_secs(10))?;
    /// assert!(blocked.join().unwrap().is_err());
    /// assert_eq!(segment.state(), OperatingState::Shutdown);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`CommandError::Foreign`] if another program has a queue on the
    /// segment's key, [`CommandError::Busy`], and the kernel's.
    pub fn commander(&self) -> Result<Commander, CommandError> {
        let participant = Arc::clone(self.participant());
        if let Some(fault) = participant.barred() {
            return Err(fault.into());
        }
        let made = participant.leased(|mapped| mapped.make_queue());
        let queue = made
            .map_err(|refused| unleased(refused, self.name()))?
            .map_err(|error| Fault::from(error).of_segment(self.name()))?
            .ok_or_else(|| CommandError::Foreign { segment: self.name().to_owned() })?;
        let id = Cell::new(proc::random_u64().map_err(Fault::from)?);
        Ok(Commander { participant, queue, id })
    }

    /// Whether it is open for messages.
    pub fn state(&self) -> OperatingState {
        self.participant().mapped().state()
    }
}

fn unleased(refused: Unleased, segment: &str) -> CommandError {
    match refused {
        Unleased::Fault(fault) => fault.into(),
        Unleased::Busy { pid, waited } => {
            CommandError::Busy { segment: segment.to_owned(), pid, waited }
        }
    }
}

/// The deadline. A timeout beyond what the clock can represent never expires.
type Deadline = Option<Instant>;

fn deadline(timeout: Duration) -> Deadline {
    Instant::now().checked_add(timeout)
}

fn is_past(deadline: Deadline) -> bool {
    deadline.is_some_and(|deadline| Instant::now() >= deadline)
}

/// A participant to ask.
struct Asked {
    member: Member,
    pid: u32,
    /// How many had died in its slot.
    deaths: u64,
    sent: bool,
    outcome: Option<Outcome>,
}

impl Commander {
    /// Asks all participants for a sign of life.
    ///
    /// # Errors
    /// The faults that end a handle's use, and those of the queue.
    pub fn ping(&self, timeout: Duration) -> Result<Vec<Answer>, CommandError> {
        let deadline = deadline(timeout);
        self.ask(self.audience(Verb::Ping)?, Verb::Ping, &[], timeout, deadline)
    }

    /// Asks all participants for their statistics.
    ///
    /// # Errors
    /// Those of [`ping`](Self::ping).
    pub fn stats(&self, timeout: Duration) -> Result<Vec<Answer>, CommandError> {
        let deadline = deadline(timeout);
        self.ask(self.audience(Verb::Stats)?, Verb::Stats, &[], timeout, deadline)
    }

    /// Sends up to 1,024 bytes to every application that takes them from its
    /// [`Inbox`](crate::Inbox).
    ///
    /// # Errors
    /// [`CommandError::TooLong`], and those of [`ping`](Self::ping).
    pub fn user(&self, payload: &[u8], timeout: Duration) -> Result<Vec<Answer>, CommandError> {
        if payload.len() > MAX_PAYLOAD {
            return Err(CommandError::TooLong { length: payload.len(), longest: MAX_PAYLOAD });
        }
        let deadline = deadline(timeout);
        self.ask(self.audience(Verb::User)?, Verb::User, payload, timeout, deadline)
    }

    /// Makes senders wait until [`resume`](Self::resume). Calls that do not wait return
    /// an error that says so. Receivers keep working. A participant whose answer is ok
    /// sends nothing more: what it was sending, including grants, is sent or given up.
    ///
    /// # Errors
    /// [`CommandError::State`] if it is drained or shut down, and those of
    /// [`ping`](Self::ping).
    pub fn pause(&self, timeout: Duration) -> Result<Vec<Answer>, CommandError> {
        self.change(OperatingState::Paused, Verb::Pause, timeout)
    }

    /// Opens the segment again: for paused senders, and after a [`drain`](Self::drain) or
    /// a [`shutdown`](Self::shutdown) for existing and new handles.
    ///
    /// # Errors
    /// Those of [`ping`](Self::ping).
    pub fn resume(&self, timeout: Duration) -> Result<Vec<Answer>, CommandError> {
        self.change(OperatingState::Open, Verb::Resume, timeout)
    }

    /// Ends every send and receive in the segment, blocked or new, with
    /// [`Fault::Shutdown`]. Messages stay in their channels. Events and commands keep
    /// working.
    ///
    /// # Errors
    /// Those of [`ping`](Self::ping).
    pub fn shutdown(&self, timeout: Duration) -> Result<Vec<Answer>, CommandError> {
        self.change(OperatingState::Shutdown, Verb::Shutdown, timeout)
    }

    /// Lets the channels run empty. From now on senders get [`Fault::Drained`]. Receivers
    /// get the remaining messages, and are then told that nobody sends any more
    /// ([`RecvError::Disconnected`](crate::RecvError::Disconnected)).
    ///
    /// If a participant does not acknowledge that it has stopped sending, receivers are
    /// not told yet. In that case, drain again.
    ///
    /// # Errors
    /// [`CommandError::State`] if it is shut down, or is resumed meanwhile, and
    /// those of [`ping`](Self::ping).
    pub fn drain(&self, timeout: Duration) -> Result<Drain, CommandError> {
        let deadline = deadline(timeout);
        let (audience, since) = self.audience_to(OperatingState::Draining, Verb::Drain)?;
        let answers = self.ask(audience, Verb::Drain, &[], timeout, deadline)?;
        if answers.iter().all(|answer| answer.ok) {
            self.announce(OperatingState::Drained, Some(since))?;
        }
        let mut pause = PAUSES.0;
        loop {
            self.scan()?;
            let left = self.participant.mapped().undelivered();
            if left.is_empty() || is_past(deadline) {
                return Ok(Drain { answers, left });
            }
            if let Some(reply) = self.rest(&mut pause, deadline)? {
                self.participant.keep_reply(reply);
            }
        }
    }

    fn change(
        &self,
        state: OperatingState,
        verb: Verb,
        timeout: Duration,
    ) -> Result<Vec<Answer>, CommandError> {
        let deadline = deadline(timeout);
        let (audience, _) = self.audience_to(state, verb)?;
        self.ask(audience, verb, &[], timeout, deadline)
    }

    /// Changes the state. Returns the participants concerned, and how often the segment
    /// has been opened.
    fn audience_to(
        &self,
        state: OperatingState,
        verb: Verb,
    ) -> Result<(Vec<Asked>, u64), CommandError> {
        // Before the change, or a participant that obeys by leaving would not be named.
        let mut audience = self.audience(verb)?;
        let opened = self.announce(state, None)?;
        // And after it: a participant that joined meanwhile may have seen the last state.
        for one in self.audience(verb)? {
            if audience.iter().all(|other| other.member != one.member) {
                audience.push(one);
            }
        }
        Ok((audience, opened))
    }

    /// Changes the state, unless it has been opened `since`, and makes all participants
    /// look. Returns how often it has been opened.
    fn announce(&self, state: OperatingState, since: Option<u64>) -> Result<u64, CommandError> {
        self.scan()?;
        let mapped = self.participant.mapped();
        let opened = |gate: u64| gate / gate::REOPENED;
        let mut changed = Ok(0);
        let announced = self.participant.announce(|| {
            // Release: a process that sees it also sees what came before.
            changed = mapped.memory.header().gate.fetch_update(
                Ordering::Release,
                Ordering::Relaxed,
                |gate| {
                    let may = OperatingState::of(gate).may_become(state)
                        && since.is_none_or(|since| since == opened(gate));
                    let more = if state == OperatingState::Open { gate::REOPENED } else { 0 };
                    may.then_some((gate & !OperatingState::ALL | state.bits()).wrapping_add(more))
                },
            );
        });
        announced.map_err(|refused| unleased(refused, &mapped.name))?;
        changed.map(opened).map_err(|gate| CommandError::State {
            segment: mapped.name.clone(),
            state: OperatingState::of(gate),
        })
    }

    fn scan(&self) -> Result<(), CommandError> {
        match self.participant.barred() {
            Some(fault) => Err(fault.into()),
            None => Ok(self.participant.scan().map(drop)?),
        }
    }

    /// The participants that a command concerns.
    fn audience(&self, verb: Verb) -> Result<Vec<Asked>, CommandError> {
        self.scan()?;
        let mapped = self.participant.mapped();
        let concerned = |member: &Member| match verb.band() {
            Band::Urgent => mapped.has_endpoints(*member),
            _ => *member != self.participant.me(),
        };
        Ok(mapped
            .living()
            .filter(concerned)
            .map(|member| {
                let info = mapped.info(member.id);
                Asked {
                    member,
                    pid: u32::try_from(info.pid.load(Ordering::Relaxed)).unwrap_or(0),
                    deaths: death_record::deaths(info.end.load(Ordering::Acquire)),
                    sent: member == self.participant.me(),
                    outcome: None,
                }
            })
            // Otherwise its own death may be among them.
            .filter(|one| one.member.is_live(mapped))
            .collect())
    }

    /// Asks all participants concerned, and waits until each has answered or is gone, or
    /// until the deadline.
    // More parameters than 5: a command, and how long it may take.
    fn ask(
        &self,
        mut asked: Vec<Asked>,
        verb: Verb,
        payload: &[u8],
        timeout: Duration,
        deadline: Deadline,
    ) -> Result<Vec<Answer>, CommandError> {
        let mapped = self.participant.mapped();
        let id = self.id.get();
        self.id.set(id.wrapping_add(1));
        let left = deadline.map_or(u128::MAX, |deadline| {
            deadline.saturating_duration_since(Instant::now()).as_nanos()
        });
        let mail = Mail {
            generation: mapped.generation,
            id,
            verb,
            status: Status::Asked,
            from: self.participant.me(),
            deadline: proc::monotonic().saturating_add(u64::try_from(left).unwrap_or(u64::MAX)),
            payload: payload.to_vec(),
        };
        let mut pause = PAUSES.0;
        let mut reply = None;
        loop {
            let mut tidied = false;
            for one in asked.iter_mut().filter(|one| !one.sent && one.outcome.is_none()) {
                one.sent = mapped
                    .post(self.queue, address(one.member, verb.band()), &mail, &mut tidied)
                    .map_err(|error| self.refused(error))?;
            }
            self.participant.call()?;
            self.scan()?;
            let known: Vec<_> = asked.iter().map(|one| self.known(one, verb)).collect();
            // After that: a participant that has answered and gone has answered.
            for mail in self.replies(id, reply)? {
                if let Some(one) = asked.iter_mut().find(|one| one.member == mail.from) {
                    one.outcome = Outcome::of(&mail);
                }
            }
            for (one, known) in asked.iter_mut().zip(known) {
                one.outcome = one.outcome.take().or(known);
            }
            if asked.iter().all(|one| one.outcome.is_some()) || is_past(deadline) {
                return Ok(asked.into_iter().map(|one| self.answer(one, verb, timeout)).collect());
            }
            reply = self.rest(&mut pause, deadline)?;
        }
    }

    /// The replies to one request that have come, `first` before the others.
    fn replies(&self, id: u64, first: Option<Mail>) -> Result<Vec<Mail>, CommandError> {
        let mut replies = self.participant.kept_replies(id);
        let mut next = match first {
            None => self.receive(Wait::No)?,
            first => first,
        };
        while let Some(mail) = next {
            if mail.id == id {
                replies.push(mail);
            } else {
                self.participant.keep_reply(mail);
            }
            next = self.receive(Wait::No)?;
        }
        Ok(replies)
    }

    /// The meaning of a refusal by the queue.
    fn refused(&self, error: sys::Error) -> CommandError {
        let mapped = self.participant.mapped();
        match error.kind() {
            ErrorKind::Removed if matches!(mapped.over(), Some(Fault::Closed)) => {
                Fault::Closed.into()
            }
            ErrorKind::Removed => CommandError::QueueRemoved { segment: mapped.name.clone() },
            _ => Fault::from(error).of_segment(&mapped.name).into(),
        }
    }

    /// What is known of a participant without its answer.
    fn known(&self, one: &Asked, verb: Verb) -> Option<Outcome> {
        let mapped = self.participant.mapped();
        if one.member == self.participant.me() {
            if !verb.is_obeyed_in(mapped.state()) {
                return Some(Outcome::Superseded);
            }
            let stops = matches!(verb, Verb::Pause | Verb::Drain);
            return (!stops || self.participant.idle()).then_some(Outcome::Done);
        }
        (!one.member.is_live(mapped)).then(|| self.end_of(one))
    }

    /// How a life that is over ended.
    fn end_of(&self, one: &Asked) -> Outcome {
        let mapped = self.participant.mapped();
        // Another process is sweeping it, and perhaps has not recorded it yet.
        let dead = one.member.is_dead(mapped);
        let end = mapped.info(one.member.id).end.load(Ordering::Acquire);
        let deaths = death_record::deaths(end);
        if dead || deaths != one.deaths { Outcome::Died } else { Outcome::Left }
    }

    fn answer(&self, one: Asked, verb: Verb, waited: Duration) -> Answer {
        let outcome = match one.outcome {
            Some(outcome) => outcome,
            None if one.sent => {
                Outcome::Silent { waited, stopped: self.is_stopped(one.member, one.pid) }
            }
            None => Outcome::QueueFull { waited },
        };
        let ok = match outcome {
            Outcome::Done | Outcome::Stats(_) => true,
            Outcome::Left => verb.band() == Band::Urgent,
            _ => false,
        };
        Answer { slot: one.member.id, life: one.member.incarnation, pid: one.pid, outcome, ok }
    }

    fn is_stopped(&self, member: Member, pid: u32) -> bool {
        let info = self.participant.mapped().info(member.id);
        proc::pid_namespace() == Some(info.pid_namespace.load(Ordering::Relaxed))
            && proc::is_stopped(pid) == Some(true)
    }

    /// Takes one of the replies to this participant.
    fn receive(&self, wait: Wait) -> Result<Option<Mail>, CommandError> {
        let own = Selector::Type(address(self.participant.me(), Band::Reply));
        let got = received(self.queue, own, wait).map_err(|error| self.refused(error))?;
        let generation = self.participant.mapped().generation;
        // Replies that are not ours are dropped.
        Ok(got.and_then(|(_, bytes)| Mail::read(&bytes, generation)))
    }

    /// Waits for a reply, for a while that grows.
    fn rest(&self, pause: &mut Duration, deadline: Deadline) -> Result<Option<Mail>, CommandError> {
        let next_deadline = Instant::now() + *pause;
        let until = deadline.map_or(next_deadline, |deadline| deadline.min(next_deadline));
        *pause = (2 * *pause).min(PAUSES.1);
        self.receive(Wait::Until(until))
    }
}

impl fmt::Debug for Commander {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Commander")
            .field("segment", &self.participant.mapped().name)
            .field("queue", &self.queue.id())
            .finish_non_exhaustive()
    }
}
