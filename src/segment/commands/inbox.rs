//! Commands for the application.

use core::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::desk::UserCommand;
use crate::error::Fault;
use crate::segment::handle::Segment;
use crate::segment::participant::Participant;

/// The commands for this participant's application, sent with
/// [`Commander::user`](crate::Commander::user): see [`Segment::inbox`].
///
/// Up to 64 commands wait to be taken. Two inboxes of one segment share them. Commands
/// that were acknowledged and not taken are lost with the process.
pub struct Inbox {
    participant: Arc<Participant>,
}

impl Segment {
    /// Accepts commands for the application, from now on and as long as the inbox lives.
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
    /// The faults that end a handle's use.
    pub fn try_recv(&self) -> Result<Option<UserCommand>, Fault> {
        if let Some(fault) = self.participant.barred() {
            return Err(fault);
        }
        self.participant.serve();
        Ok(self.participant.take_command())
    }

    /// Waits for the next command, without a timeout.
    ///
    /// # Errors
    /// The faults that end a handle's use: [`Fault::Closed`] if the segment is removed,
    /// also while this call waits.
    pub fn recv(&self) -> Result<UserCommand, Fault> {
        // Without a deadline there is no timeout.
        self.recv_by(None)?.ok_or(Fault::Closed)
    }

    /// Waits for the next command, at most this long; `None` if there was none.
    ///
    /// # Errors
    /// Those of [`recv`](Self::recv).
    pub fn recv_timeout(&self, timeout: Duration) -> Result<Option<UserCommand>, Fault> {
        // A timeout beyond what the clock can represent never expires.
        self.recv_by(Instant::now().checked_add(timeout))
    }

    fn recv_by(&self, until: Option<Instant>) -> Result<Option<UserCommand>, Fault> {
        loop {
            if let Some(fault) = self.participant.barred() {
                return Err(fault);
            }
            // Before the scan, so that a later call changes the semaphore.
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
