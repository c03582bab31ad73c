//! With the feature `tracing`: what this process does in a segment, and what it finds, as
//! events of the crate of that name.
//!
//! A subscriber runs code of the program's. So an event is noted where it happens, and told
//! where this thread holds no lock of ours. Without the feature nothing is noted.

use super::mapped::Mapped;
use crate::kinds::block::Block;
use crate::ring::mpmc::Recovered;
use crate::ring::table::Member;

pub(super) use told::{note, tell};

/// What has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "tracing"), allow(dead_code, reason = "nobody asks"))]
pub(super) enum What {
    Joined,
    Left,
    Died,
    /// All is put right that it held.
    Swept,
    /// What a sweep has found in this channel.
    Recovered {
        channel: String,
        messages: Recovered,
    },
}

/// What has happened to a participant.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "tracing"), allow(dead_code, reason = "nobody asks"))]
pub(super) struct Note {
    what: What,
    segment: String,
    id: i32,
    member: Member,
    pid: u64,
}

impl Note {
    pub(super) fn of(mapped: &Mapped, member: Member, what: What) -> Self {
        let pid = mapped.info(member.id).pid.load(crate::sync::Ordering::Relaxed);
        Self { what, segment: mapped.name.clone(), id: mapped.shm.id(), member, pid }
    }

    pub(super) fn recovered(
        mapped: &Mapped,
        member: Member,
        block: &Block,
        messages: Recovered,
    ) -> Self {
        let mut channels = mapped.directory().channels();
        let channel = channels.find(|found| found.block.index == block.index);
        let channel = channel.map_or_else(String::new, |found| found.name);
        Self::of(mapped, member, What::Recovered { channel, messages })
    }
}

#[cfg(not(feature = "tracing"))]
mod told {
    use super::Note;

    pub(in crate::segment) fn note(_: impl FnOnce() -> Note) {}

    pub(in crate::segment) const fn tell() {}
}

#[cfg(feature = "tracing")]
mod told {
    use std::cell::RefCell;

    use tracing::{debug, info, warn};

    use super::{Note, What};

    thread_local! {
        static NOTED: RefCell<Vec<Note>> = const { RefCell::new(Vec::new()) };
    }

    /// Notes an event, for [`tell`].
    pub(in crate::segment) fn note(what: impl FnOnce() -> Note) {
        // A thread that ends tells nothing any more.
        let _ = NOTED.try_with(|noted| noted.borrow_mut().push(what()));
    }

    /// Tells the subscriber what this thread has noted. Nothing of the segment is locked.
    pub(in crate::segment) fn tell() {
        let noted = NOTED.try_with(RefCell::take).unwrap_or_default();
        noted.iter().for_each(tell_of);
    }

    fn tell_of(note: &Note) {
        let Note { what, segment, id, member, pid } = note;
        let participant = format!("{}.{}", member.id, member.incarnation);
        // The fields that all of them have.
        macro_rules! event {
            ($level:ident, $text:literal $(, $field:ident = $value:expr)*) => {
                $level!(target: "tombolo", segment, id, pid, participant $(, $field = $value)*, $text)
            };
        }
        match what {
            What::Joined => event!(info, "joined"),
            What::Left => event!(info, "left"),
            What::Died => event!(warn, "died"),
            What::Swept => event!(debug, "swept"),
            What::Recovered { channel, messages } => {
                for (count, text) in [
                    (messages.orphans, "redelivered"),
                    (messages.dropped, "dropped"),
                    (messages.tombstones, "unsent"),
                ] {
                    if count > 0 {
                        event!(warn, "recovered", channel = channel, messages = count, fate = text);
                    }
                }
            }
        }
    }
}
