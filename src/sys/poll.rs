//! Sleeps until one of several pipes has changed.

use std::os::fd::AsFd;
use std::time::Instant;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::error::{Call, Error, Result};
use super::object::Object;
use super::pipe::End;

/// What of an end to wait for. That the other side is gone is always told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interest {
    /// Bytes to read.
    Input,
    /// Room to write.
    Room,
    /// Nothing else.
    Loss,
}

/// How an end was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    /// What was waited for is there.
    pub(crate) ready: bool,
    /// Nobody has the other side open any more.
    pub(crate) lost: bool,
}

/// Waits until one of these ends is ready or lost, or the deadline. Tells how
/// each was found, in their order.
///
/// See [poll(2)](https://man7.org/linux/man-pages/man2/poll.2.html).
pub(crate) fn wait(ends: &[(&End, Interest)], until: Option<Instant>) -> Result<Vec<State>> {
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
            State { ready: found.intersects(asked(interest)), lost: found.intersects(lost) }
        })
        .collect())
}

/// What is left until the deadline, in whole milliseconds and never less.
fn left(until: Option<Instant>) -> PollTimeout {
    let Some(deadline) = until else {
        return PollTimeout::NONE;
    };
    let micros = deadline.saturating_duration_since(Instant::now()).as_micros();
    let millis = i32::try_from(micros.div_ceil(1_000)).unwrap_or(i32::MAX);
    PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX)
}
