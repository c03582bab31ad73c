//! A child that is started with a segment.
//!
//! ```text
//!  parent                                             child
//!    handover, id, generation ──▶ pipe
//!    start it, with an end of each pipe ─────────────▶
//!                                                      take the ends, once
//!                                    pipe ────────────▶ join the segment
//!    ◀──────────────────────────── joined ────────────
//!    let go of the segment, or not
//! ```
//!
//! The record is in the pipe before the child exists, so the child never waits for
//! it. Afterwards, both pipes belong to the user. `sys/child.rs` says how the child
//! finds its ends, and why it may take them.

mod error;

use core::fmt;
use std::time::{Duration, Instant};

use crate::control::handshake::{self, Handshake, Purpose, VERSION};
use crate::error::{Fault, OpenError};
use crate::ring::table::Member;
use crate::segment::{Peer, Segment};
use crate::sys::ErrorKind;
use crate::sys::child::{self, Child, Command, NoEnds, VARIABLE};
use crate::sys::pipe::{self, Reader, Writer};
use crate::sys::poll::{Interest, Polled, wait};

pub use error::{InheritError, SpawnError};

/// A child that was started with a segment: see [`Segment::spawn`].
///
/// It keeps the segment until the child is known to have [joined](Self::joined),
/// or until it is dropped. So an anonymous segment stays while the child is on its
/// way to it. Dropping it neither ends the child nor waits for it.
pub struct SpawnedChild {
    child: Child,
    to_child: Writer,
    from_child: Reader,
    /// The segment, until the child has joined.
    kept: Option<Segment>,
    /// The child, after it has joined.
    peer: Option<Peer>,
}

impl Segment {
    /// Starts a command and hands this segment over to it, whether the segment has
    /// a name or not. The child gets it from [`Segment::inherited`].
    ///
    /// ```no_run
    /// use std::process::Command;
    /// use tombolo::Segment;
    ///
    /// // The parent:
    /// let segment = Segment::anonymous()?;
    /// let answers = segment.channel::<u64>("answers").capacity(8).receiver()?;
    /// let mut spawned = segment.spawn(&mut Command::new("worker"))?;
    /// spawned.joined()?;
    /// while let Ok(answer) = answers.recv() {
    ///     println!("{answer}");
    /// }
    /// spawned.child().wait()?;
    ///
    /// // The worker:
    /// let segment = Segment::inherited()?;
    /// let answers = segment.channel::<u64>("answers").capacity(8).sender()?;
    /// answers.send(42)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// Once the child has joined, it is a participant like any other: its end,
    /// however it comes, shows in its channels and in [`events`](Self::events). If
    /// it ends before, [`SpawnedChild::joined`] says so.
    ///
    /// The child finds the segment by the variable `TOMBOLO_INHERIT` of its
    /// environment, and by two descriptors that no other child gets. Only the
    /// process started here can take them. It may become another program first
    /// (`env`, `nice`, a shell's `exec`); its own children are refused. This call
    /// removes the variable from the command again.
    ///
    /// # Errors
    /// [`SpawnError::Start`] if there is no such program, or if this process may not
    /// run it; [`SpawnError::Fault`] if the segment was removed, or if the handle
    /// belongs to a parent process; [`SpawnError::System`] without descriptors for
    /// two pipes.
    pub fn spawn(&self, command: &mut Command) -> Result<SpawnedChild, SpawnError> {
        if let Some(fault) = self.participant().barred() {
            return Err(fault.into());
        }
        let (childs_input, to_child) = pipe::pair()?;
        let (from_child, childs_output) = pipe::pair()?;
        let handover = Handshake::segment(Purpose::Handover, self.id(), self.generation());
        to_child.write_record(&handover.to_bytes())?;
        let child = child::spawn(command, childs_input, childs_output).map_err(|error| {
            let program = command.get_program().to_string_lossy().into_owned();
            SpawnError::Start { program, error }
        })?;
        Ok(SpawnedChild { child, to_child, from_child, kept: Some(self.clone()), peer: None })
    }

    /// The segment that this process was [started](Self::spawn) with. A process can
    /// take it once.
    ///
    /// # Errors
    /// [`InheritError::NotHandedOver`]; [`InheritError::NotForThis`] in a
    /// grandchild, which has the variable as well;
    /// [`InheritError::Taken`], [`InheritError::Spent`];
    /// [`InheritError::Gone`] if no process kept the segment; and those of joining.
    pub fn inherited() -> Result<Self, InheritError> {
        Self::inherited_with_pipes().map(|(segment, ..)| segment)
    }

    /// Like [`inherited`](Self::inherited), with a pipe from the parent and one to
    /// it. The parent gets their other ends from [`SpawnedChild::into_pipes`].
    ///
    /// # Errors
    /// Those of [`inherited`](Self::inherited).
    pub fn inherited_with_pipes() -> Result<(Self, Reader, Writer), InheritError> {
        let (from_parent, to_parent) = child::ends().map_err(|why| match why {
            NoEnds::Unset => InheritError::NotHandedOver,
            NoEnds::Senseless(text) => {
                InheritError::Spent { what: format!("{VARIABLE} says {text:?}") }
            }
            NoEnds::Others(parent, actual) => InheritError::NotForThis { parent, actual },
            NoEnds::Taken => InheritError::Taken,
            NoEnds::Unfit(error) => InheritError::Spent { what: error.to_string() },
        })?;
        let mut bytes = [0; handshake::BYTES];
        // The record is there from the start. If it is not, a wait would never
        // end.
        let whole = from_parent.waiting()? >= bytes.len() && from_parent.read_record(&mut bytes)?;
        let handover = if whole { Handshake::read(&bytes, &[Purpose::Handover]) } else { None };
        let Some(handover) = handover else {
            return Err(InheritError::Spent { what: "the pipe says nothing of a segment".into() });
        };
        if handover.version != VERSION {
            return Err(InheritError::Version { found: handover.version, supported: VERSION });
        }
        let gone = InheritError::Gone { id: handover.id() };
        let segment = match Self::open_id(handover.id()) {
            Err(OpenError::NotFound { .. } | OpenError::NotOurs { .. }) => return Err(gone),
            segment => segment?,
        };
        // Another segment may have the id by now.
        if segment.generation() != handover.second {
            return Err(gone);
        }
        let me = segment.participant().me();
        let joined = Handshake::new(Purpose::Joined, u64::from(me.id) + 1, me.incarnation);
        match to_parent.write_record(&joined.to_bytes()) {
            // The parent does not read it.
            Err(error) if error.kind() == ErrorKind::NoReader => {}
            told => told?,
        }
        Ok((segment, from_parent, to_parent))
    }
}

/// The participant that wrote this record.
fn peer_of(joined: &Handshake, segment: &Segment, pid: u32) -> Peer {
    // A build that did not say which participant it is wrote a record without one.
    // Then it is the participant with the child's pid, or none any more.
    let id = joined.first.checked_sub(1).and_then(|slot| u16::try_from(slot).ok());
    let said = id.map(|id| Member { id, incarnation: joined.second });
    let nobody = Member { id: u16::MAX, incarnation: 0 };
    let found = || segment.participants().into_iter().find(|one| one.pid == pid);
    let member = said.or_else(|| Some(found()?.peer.member)).unwrap_or(nobody);
    Peer::new(segment.generation(), member, pid)
}

impl SpawnedChild {
    /// The child, for example to wait for it or to kill it.
    pub const fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// The child alone. Lets go of the segment, and closes the pipes.
    pub fn into_child(self) -> Child {
        self.child
    }

    /// Waits until the child has joined, and then lets go of the segment. Returns
    /// which participant the child is, for waits that end with it: a child that
    /// dies before it opens a channel is no peer there.
    ///
    /// ```no_run
    /// # use std::process::Command;
    /// # use tombolo::{Fault, RecvError, Segment};
    /// let segment = Segment::anonymous()?;
    /// let answers = segment.channel::<u64>("answers").capacity(8).receiver()?;
    /// let mut spawned = segment.spawn(&mut Command::new("worker"))?;
    /// answers.bind_to_peer(spawned.joined()?)?;
    /// match answers.recv() {
    ///     Err(RecvError::Fault(Fault::PeerGone { peer })) => println!("{peer} has gone"),
    ///     answer => println!("{}", answer?),
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`SpawnError::NeverJoined`] if the child has ended or closed its end of the
    /// pipe, and so has every process that inherited that end from it (children
    /// that it started before it took the segment).
    pub fn joined(&mut self) -> Result<Peer, SpawnError> {
        loop {
            if let Some(peer) = self.joined_by(None)? {
                return Ok(peer);
            }
        }
    }

    /// Waits until the child has joined, at most this long. Returns `false` if it
    /// has not joined yet. After `true`, [`joined`](Self::joined) returns at once.
    ///
    /// # Errors
    /// Those of [`joined`](Self::joined).
    pub fn joined_timeout(&mut self, timeout: Duration) -> Result<bool, SpawnError> {
        // A timeout beyond the range of the clock is no timeout.
        Ok(self.joined_by(Instant::now().checked_add(timeout))?.is_some())
    }

    fn joined_by(&mut self, until: Option<Instant>) -> Result<Option<Peer>, SpawnError> {
        let Some(kept) = &self.kept else {
            return Ok(self.peer);
        };
        if kept.participant().guard().in_child() {
            return Err(Fault::Forked.into());
        }
        if *wait(&[(&*self.from_child, Interest::Input)], until)? == [Polled::default()] {
            return Ok(None);
        }
        let mut bytes = [0; handshake::BYTES];
        let whole = self.from_child.read_record(&mut bytes)?;
        let joined = if whole { Handshake::read(&bytes, &[Purpose::Joined]) } else { None };
        let Some(joined) = joined else {
            return Err(SpawnError::NeverJoined { pid: self.child.id() });
        };
        self.peer = Some(peer_of(&joined, kept, self.child.id()));
        self.kept = None;
        Ok(self.peer)
    }

    /// Waits until the child has joined. Returns the child, with a pipe to it and
    /// one from it. The child gets their other ends from
    /// [`Segment::inherited_with_pipes`].
    ///
    /// # Errors
    /// Those of [`joined`](Self::joined). The child then runs on, without this
    /// value.
    pub fn into_pipes(mut self) -> Result<(Child, Writer, Reader), SpawnError> {
        self.joined()?;
        Ok((self.child, self.to_child, self.from_child))
    }
}

impl fmt::Debug for SpawnedChild {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpawnedChild")
            .field("pid", &self.child.id())
            .field("joined", &self.kept.is_none())
            .finish_non_exhaustive()
    }
}
