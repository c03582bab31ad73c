//! Posting the messages of a queue, receiving them, and making room.

use super::mail::{MAX_MAIL, Mail, is_to};
use crate::segment::mapped::Mapped;
use crate::sys::msg::{Queue, Received, Selector, Wait};
use crate::sys::{self, ErrorKind, proc};

/// How many messages are looked at to make room: more than a queue of the
/// usual size can have.
const MOST_TIDIED: u32 = 20_000;

/// Receives a message, whatever is in it; one that is too long to be ours is
/// cut off. `None` if there is none in time.
pub(crate) fn received(
    queue: Queue,
    selector: Selector,
    wait: Wait,
) -> sys::Result<Option<(i64, Vec<u8>)>> {
    let mut buffer = [0; MAX_MAIL + 1];
    match queue.receive_truncated(selector, &mut buffer, wait) {
        Ok(Received { kind, len, .. }) => Ok(buffer.get(..len).map(|got| (kind, got.to_vec()))),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

impl Mapped {
    /// Posts a message without waiting; `false` if the queue is full of
    /// messages that somebody may still want. It is tidied if that is so,
    /// unless it was just now.
    pub(crate) fn post(
        &self,
        queue: Queue,
        to: i64,
        mail: &Mail,
        tidied: &mut bool,
    ) -> sys::Result<bool> {
        let bytes = mail.bytes();
        let post = || match queue.send(to, &bytes, Wait::No) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        };
        if post()? {
            return Ok(true);
        }
        if core::mem::replace(tidied, true) {
            return Ok(false);
        }
        self.tidy(queue)?;
        post()
    }

    /// Goes through the queue once and takes out what is of no use: junk, what
    /// nobody waits for any more, and what is addressed to the dead.
    fn tidy(&self, queue: Queue) -> sys::Result<()> {
        let mut buffer = [0; MAX_MAIL + 1];
        let mut position = 0;
        for _ in 0..MOST_TIDIED {
            let seen = match queue.peek(position, &mut buffer) {
                Ok(Some(seen)) => seen,
                Ok(None) => return Ok(()),
                // Where nobody may look without taking, it stays full.
                Err(error) if error.kind() == ErrorKind::Unsupported => return Ok(()),
                // One that has come since the room for it was made.
                Err(error) if error.kind() == ErrorKind::TooBig => {
                    position += 1;
                    continue;
                }
                Err(error) => return Err(error),
            };
            if buffer.get(..seen.len).is_some_and(|bytes| self.is_of_use(seen.kind, bytes)) {
                position += 1;
            } else if let Some((kind, bytes)) =
                received(queue, Selector::Type(seen.kind), Wait::No)?
                && self.is_of_use(kind, &bytes)
            {
                // The oldest of that type is another. If there is no room for
                // it any more, it is lost, and who asked told so by time.
                let _ = queue.send(kind, &bytes, Wait::No);
            }
        }
        Ok(())
    }

    fn is_of_use(&self, kind: i64, bytes: &[u8]) -> bool {
        let in_time = |mail: Mail| mail.deadline > proc::monotonic();
        Mail::read(bytes, self.generation).is_some_and(in_time)
            && self.living().any(|member| is_to(kind, member))
    }
}
