//! Walking through one of the kernel's tables of objects.

use std::sync::atomic::{AtomicU32, Ordering};

use nix::errno::Errno;

use super::proc;

/// So many places are looked at for nothing.
const LOOKS: u32 = 4;
/// So many more for each thing that was found: they are seldom alone.
const MORE: u32 = 16;
/// And so many at most.
const MOST: u32 = 256;

/// What there is in a table with this last place. Objects that come and go
/// meanwhile may be missed.
pub(super) fn walk<S, T>(
    last: i32,
    stat: impl Fn(i32) -> Result<(i32, S), Errno>,
    make: impl Fn(i32, &S) -> T,
) -> Result<Vec<T>, Errno> {
    let mut found = Vec::new();
    for index in 0..=last {
        match stat(index) {
            Ok((id, stat)) => found.push(make(id, &stat)),
            // Nothing there.
            Err(Errno::EINVAL | Errno::EIDRM) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(found)
}

/// Where this process is on its way around a table, a few places at a time.
#[derive(Debug)]
pub(crate) struct Round(AtomicU32);

impl Round {
    pub(crate) const fn new() -> Round {
        Round(AtomicU32::new(0))
    }

    /// Goes on, past a few places, or all; `find` says whether there was what is
    /// looked for. How often there was.
    pub(crate) fn walk(
        &self,
        last: Option<u32>,
        all: bool,
        mut find: impl FnMut(u32) -> bool,
    ) -> usize {
        let Some(last) = last else { return 0 };
        let places = last.saturating_add(1);
        let (mut left, most) = if all { (places, places) } else { (LOOKS, MOST.min(places)) };
        let mut place = match self.0.load(Ordering::Relaxed) {
            // Processes that come by once each begin at different places.
            0 => (proc::monotonic() as u32 ^ proc::pid()).wrapping_mul(0x9E37_79B9) % places,
            place => place,
        };
        let (mut looked, mut found) = (0, 0);
        while left > 0 && looked < most {
            place = if place >= last { 0 } else { place + 1 };
            if find(place) {
                found += 1;
                left = left.saturating_add(MORE);
            }
            left -= 1;
            looked += 1;
        }
        // Relaxed: where to go on is a suggestion. 0 is to begin.
        self.0.store(place.max(1), Ordering::Relaxed);
        found
    }
}
