//! Sleeps until one of several pipes has changed.

use std::os::fd::AsFd;
use std::time::Instant;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::error::{Call, Error, Result};
use super::object::Object;
use super::pipe::End;

/// What a caller waits for at an end. The loss of the other side always counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interest {
    /// Bytes to read.
    Input,
    /// Room to write.
    Room,
    /// Nothing else.
    Loss,
}

/// What `poll` says of an end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Polled {
    /// What the caller waited for is there.
    pub(crate) ready: bool,
    /// No process has the other side open any more.
    pub(crate) lost: bool,
}

/// Waits until one of these ends is ready or lost, or until the deadline. Returns
/// what each end is, in their order.
///
/// See [poll(2)](https://man7.org/linux/man-pages/man2/poll.2.html).
pub(crate) fn wait(ends: &[(&End, Interest)], until: Option<Instant>) -> Result<Vec<Polled>> {
    let asked = |interest| match interest {
        Interest::Input => PollFlags::POLLIN,
        Interest::Room => PollFlags::POLLOUT,
        Interest::Loss => PollFlags::empty(),
    };
    let mut polled: Vec<_> =
        ends.iter().map(|&(end, interest)| PollFd::new(end.as_fd(), asked(interest))).collect();
    loop {
        match poll(&mut polled, left(until)) {
            Ok(0) if until.is_none_or(|deadline| deadline > Instant::now()) => {}
            Ok(_) => break,
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(Error::new(Call::Poll, Object::Pipe, errno)),
        }
    }
    let lost = PollFlags::POLLERR | PollFlags::POLLHUP | PollFlags::POLLNVAL;
    Ok(polled
        .iter()
        .zip(ends)
        .map(|(polled, &(_, interest))| {
            let found = polled.revents().unwrap_or(PollFlags::POLLNVAL);
            Polled { ready: found.intersects(asked(interest)), lost: found.intersects(lost) }
        })
        .collect())
}

/// The time until the deadline, rounded up to whole milliseconds.
fn left(until: Option<Instant>) -> PollTimeout {
    let Some(deadline) = until else {
        return PollTimeout::NONE;
    };
    let micros = deadline.saturating_duration_since(Instant::now()).as_micros();
    let millis = i32::try_from(micros.div_ceil(1_000)).unwrap_or(i32::MAX);
    PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX)
}
