//! The participants of a segment, for people.

use super::handle::Segment;
use super::mapped::Mapped;
use crate::ring::table::Member;
use crate::storage::Peer;
use crate::storage::layout::Info;
use crate::sync::Ordering;
use crate::sys;

/// A participant, as [`Segment::participants`] lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ParticipantInfo {
    /// Its slot in the table.
    pub slot: u16,
    /// Its process, as it is numbered in its own pid namespace.
    pub pid: u32,
    /// Which participant it is, for waits that end with it: see
    /// [`Receiver::bind_to_peer`](crate::Receiver::bind_to_peer).
    pub peer: Peer,
    /// Its user.
    pub uid: u32,
    /// Whether it is this handle's own.
    pub own: bool,
    /// Whether its process still has the segment in its memory. `Some(false)` means that
    /// the process has called `exec`, or has detached the segment without the library. It
    /// no longer takes part. What it holds is recovered when it ends, so killing it
    /// recovers that.
    ///
    /// `None` if this is not visible: in another pid namespace, without the right to
    /// inspect that process, or if the process has just ended. This information is for
    /// people, and as old as this list. The library never takes anything from a
    /// participant because of it.
    pub attached: Option<bool>,
}

impl Segment {
    /// The living participants. Dead ones are not listed, whether or not they have been
    /// [swept](Self::sweep). This reads a few files of each process.
    ///
    /// Once the segment's semaphore set is gone, deaths are unknown, and the list
    /// contains all participants that have joined and not left.
    pub fn participants(&self) -> Vec<ParticipantInfo> {
        let mapped = self.participant().mapped();
        let number = |word: u64| u32::try_from(word).unwrap_or(0);
        alive_or_joined(mapped)
            .0
            .into_iter()
            .map(|member| {
                let info = mapped.info(member.id);
                let pid = number(info.pid.load(Ordering::Relaxed));
                ParticipantInfo {
                    slot: member.id,
                    pid,
                    peer: Peer::new(mapped.generation, member, pid),
                    uid: number(info.uid.load(Ordering::Relaxed)),
                    own: member == self.participant().me(),
                    attached: attached(info, self.id()),
                }
            })
            .collect()
    }
}

/// Whether the process in `info` has the object with this id attached.
fn attached(info: &Info, id: i32) -> Option<bool> {
    let pid = u32::try_from(info.pid.load(Ordering::Relaxed)).ok()?;
    let start_time = info.start_time.load(Ordering::Relaxed);
    let pid_namespace = info.pid_namespace.load(Ordering::Relaxed);
    if sys::proc::pid_namespace() != Some(pid_namespace) {
        return None;
    }
    let attached = sys::proc::has_attached(pid, id);
    // Afterwards: the inspected process is still the same one.
    attached.filter(|_| sys::proc::start_time(pid) == Some(start_time))
}

/// The living participants, and that they are known; otherwise all that have joined.
pub(super) fn alive_or_joined(mapped: &Mapped) -> (Vec<Member>, bool) {
    match mapped.alive() {
        Some(alive) => (alive, true),
        None => (mapped.living().collect(), false),
    }
}
