//! A child that is started with a segment.
//!
//! ```text
//!  parent                                             child
//!    bequest, id, generation ──▶ pipe
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

use crate::control::record::{self, Purpose, Record, VERSION};
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
/// It holds the segment, until the child is known to have
/// [joined](Self::joined) or this is dropped: so an anonymous segment does not
/// go while the child is on its way to it. Dropping it neither ends the child
/// nor waits for it.
pub struct SpawnedChild {
    child: Child,
    to_child: Writer,
    from_child: Reader,
    /// Until the child has joined.
    kept: Option<Segment>,
    /// Afterwards.
    peer: Option<Peer>,
}

impl Segment {
    /// Starts a command and hands this segment over to it, whether it has a
    /// name or not: the child gets it from [`Segment::inherited`].
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
    /// The child is a participant like any other, once it has joined: that it
    /// ends, however it does, shows in its channels and in
    /// [`events`](Self::events). That it ends before, shows in
    /// [`SpawnedChild::joined`].
    ///
    /// It is told by the variable `TOMBOLO_INHERIT` of its environment, and by
    /// two descriptors that no other child gets. Only the process started here
    /// can take them, be it through programs that become others (`env`, `nice`,
    /// a shell's `exec`); its own children are refused. The variable is
    /// removed from the command again.
    ///
    /// # Errors
    /// [`SpawnError::Start`] if there is no such program, or it may not be
    /// run; [`SpawnError::Fault`] if the segment is removed, or its handle a
    /// parent's; [`SpawnError::System`] without descriptors for two pipes.
    pub fn spawn(&self, command: &mut Command) -> Result<SpawnedChild, SpawnError> {
        if let Some(fault) = self.participant().barred() {
            return Err(fault.into());
        }
        let (childs_input, to_child) = pipe::pair()?;
        let (from_child, childs_output) = pipe::pair()?;
        let bequest = Record::segment(Purpose::Bequest, self.id(), self.generation());
        to_child.write_record(&bequest.to_bytes())?;
        let child = child::spawn(command, childs_input, childs_output).map_err(|error| {
            let program = command.get_program().to_string_lossy().into_owned();
            SpawnError::Start { program, error }
        })?;
        Ok(SpawnedChild { child, to_child, from_child, kept: Some(self.clone()), peer: None })
    }

    /// The segment that this process was [started](Self::spawn) with. Can be
    /// taken once.
    ///
    /// # Errors
    /// [`InheritError::NotHandedOver`]; [`InheritError::NotForThis`] in a
    /// grandchild, which has the variable as well;
    /// [`InheritError::Taken`], [`InheritError::Spent`];
    /// [`InheritError::Gone`] if nobody kept the segment; and those of joining.
    pub fn inherited() -> Result<Self, InheritError> {
        Self::inherited_with_pipes().map(|(segment, ..)| segment)
    }

    /// The same, with a pipe from the parent, and one to it: its
    /// [`SpawnedChild::into_pipes`].
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
        let mut bytes = [0; record::BYTES];
        // It is there from the start; to wait for it would be for ever.
        let whole = from_parent.waiting()? >= bytes.len() && from_parent.read_record(&mut bytes)?;
        let bequest = if whole { Record::read(&bytes, &[Purpose::Bequest]) } else { None };
        let Some(bequest) = bequest else {
            return Err(InheritError::Spent { what: "the pipe says nothing of a segment".into() });
        };
        if bequest.version != VERSION {
            return Err(InheritError::Version { found: bequest.version, supported: VERSION });
        }
        let gone = InheritError::Gone { id: bequest.id() };
        let segment = match Self::open_id(bequest.id()) {
            Err(OpenError::NotFound { .. } | OpenError::NotOurs { .. }) => return Err(gone),
            segment => segment?,
        };
        // The id may have been used again.
        if segment.generation() != bequest.second {
            return Err(gone);
        }
        let me = segment.participant().me();
        let joined = Record::new(Purpose::Joined, u64::from(me.id) + 1, me.incarnation);
        match to_parent.write_record(&joined.to_bytes()) {
            // A parent that does not want to know.
            Err(error) if error.kind() == ErrorKind::NoReader => {}
            told => told?,
        }
        Ok((segment, from_parent, to_parent))
    }
}

/// Which participant has written this record.
fn peer_of(joined: &Record, segment: &Segment, pid: u32) -> Peer {
    // One that names nobody is of a build that did not say: then it is whoever
    // has the child's pid, or nobody any more.
    let id = joined.first.checked_sub(1).and_then(|slot| u16::try_from(slot).ok());
    let said = id.map(|id| Member { id, incarnation: joined.second });
    let nobody = Member { id: u16::MAX, incarnation: 0 };
    let found = || segment.participants().into_iter().find(|one| one.pid == pid);
    let member = said.or_else(|| Some(found()?.peer.member)).unwrap_or(nobody);
    Peer::new(segment.generation(), member, pid)
}

impl SpawnedChild {
    /// The child: to wait for, or to kill.
    pub const fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// The child alone. The segment is no longer held for it, and the pipes
    /// are closed.
    pub fn into_child(self) -> Child {
        self.child
    }

    /// Waits until the child has joined, and no longer holds the segment for
    /// it then. Says which participant it is, for waits that end with it: a
    /// child that dies before it opens a channel is nobody's peer there.
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
    /// [`SpawnError::NeverJoined`] when the child, and whoever else has its
    /// end of the pipe from it (children that it has started before it took
    /// its inheritance), has ended or closed it.
    pub fn joined(&mut self) -> Result<Peer, SpawnError> {
        loop {
            if let Some(peer) = self.joined_by(None)? {
                return Ok(peer);
            }
        }
    }

    /// Waits until the child has joined, at most this long; `false` if it has
    /// not yet. Afterwards [`joined`](Self::joined) answers at once.
    ///
    /// # Errors
    /// Those of [`joined`](Self::joined).
    pub fn joined_timeout(&mut self, timeout: Duration) -> Result<bool, SpawnError> {
        // A time-out beyond what the clock can say is none.
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
        let mut bytes = [0; record::BYTES];
        let whole = self.from_child.read_record(&mut bytes)?;
        let joined = if whole { Record::read(&bytes, &[Purpose::Joined]) } else { None };
        let Some(joined) = joined else {
            return Err(SpawnError::NeverJoined { pid: self.child.id() });
        };
        self.peer = Some(peer_of(&joined, kept, self.child.id()));
        self.kept = None;
        Ok(self.peer)
    }

    /// The child, with a pipe to it and one from it, which it gets from
    /// [`Segment::inherited_with_pipes`]. Waits until it has joined.
    ///
    /// # Errors
    /// Those of [`joined`](Self::joined); the child is then on its own.
    pub fn into_pipes(mut self) -> Result<(Child, Writer, Reader), SpawnError> {
        self.joined()?;
        Ok((self.child, self.to_child, self.from_child))
    }
}

impl fmt::Debug for SpawnedChild {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Heir")
            .field("pid", &self.child.id())
            .field("joined", &self.kept.is_none())
            .finish_non_exhaustive()
    }
}
