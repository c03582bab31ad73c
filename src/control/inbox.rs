//! Commands for the application.

use core::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::error::Fault;
use crate::segment::{Participant, Segment, UserCommand};

/// The commands that are sent to this participant for its application, with
/// [`Commander::user`](crate::Commander::user): see [`Segment::inbox`].
///
/// Up to 64 of them wait to be taken. Two inboxes of one segment share them.
/// Those that have been acknowledged and not taken die with the process.
pub struct Inbox {
    participant: Arc<Participant>,
}

impl Segment {
    /// From now on, as long as the inbox lives, commands for the application
    /// are accepted.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tombolo::Segment;
    ///
    /// let segment = Segment::anonymous()?;
    /// let other = Segment::open_id(segment.id())?;
    /// let inbox = segment.inbox();
    /// let told = std::thread::spawn(move || {
    ///     other.commander()?.user(b"reload", Duration::from_secs(10))
    /// });
    /// assert_eq!(inbox.recv()?.payload, b"reload");
    /// assert!(told.join().unwrap()?.iter().all(|answer| answer.ok));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn inbox(&self) -> Inbox {
        let participant = Arc::clone(self.participant());
        participant.begin_to_take();
        Inbox { participant }
    }
}

impl Inbox {
    /// The next command, if there is one.
    ///
    /// # Errors
    /// What ends a handle's use.
    pub fn try_recv(&self) -> Result<Option<UserCommand>, Fault> {
        if let Some(fault) = self.participant.barred() {
            return Err(fault);
        }
        self.participant.serve();
        Ok(self.participant.take_command())
    }

    /// The next command, waiting for it as long as it takes.
    ///
    /// # Errors
    /// What ends a handle's use: [`Fault::Closed`] when the segment is removed,
    /// also while this call waits.
    pub fn recv(&self) -> Result<UserCommand, Fault> {
        // Without a deadline there is no time-out.
        self.recv_by(None)?.ok_or(Fault::Closed)
    }

    /// The next command, waiting for it at most this long; `None` if there was
    /// none.
    ///
    /// # Errors
    /// Those of [`recv`](Self::recv).
    pub fn recv_timeout(&self, timeout: Duration) -> Result<Option<UserCommand>, Fault> {
        // A time-out beyond what the clock can say is none.
        self.recv_by(Instant::now().checked_add(timeout))
    }

    fn recv_by(&self, until: Option<Instant>) -> Result<Option<UserCommand>, Fault> {
        loop {
            if let Some(fault) = self.participant.barred() {
                return Err(fault);
            }
            // Before the look, so that a call after it is a stroke to wake for.
            let heard = self.participant.listen()?;
            match self.try_recv()? {
                None if until.is_none_or(|deadline| deadline > Instant::now()) => {}
                command => return Ok(command),
            }
            self.participant.park(heard, until)?;
        }
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.participant.end_taking();
    }
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox")
            .field("segment", &self.participant.mapped().name)
            .finish_non_exhaustive()
    }
}
