//! The participants of a segment, as a process that has not joined sees them: for people.

use crate::kinds::block::Block;
use crate::ring::event;
use crate::ring::table::Member;
use crate::segment::mapped::Mapped;
use crate::storage::Peer;
use crate::sync::Ordering;
use crate::sys::proc;

/// A participant, as [`SegmentInfo::people`](crate::SegmentInfo::people) lists it. It was so a
/// moment ago.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PersonInfo {
    /// Which participant it is, and its process.
    pub peer: Peer,
    /// Its user.
    pub uid: u32,
    /// Whether its process is stopped by a signal or a debugger, as the kernel says it. `None`
    /// if it is in another pid namespace, cannot be seen, or has just ended.
    pub stopped: Option<bool>,
    /// How many threads of it sleep until its own bell rings, as the kernel says it: clients
    /// that wait for replies, and wait sets. `None` if the segment has no such bells, or its
    /// semaphores may not be read.
    pub asleep: Option<u32>,
    /// What it has in each channel in which it has anything.
    pub ends: Vec<EndsInfo>,
}

/// What a participant has in one channel: see [`PersonInfo::ends`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EndsInfo {
    /// Which of [`SegmentInfo::channels`](crate::SegmentInfo::channels) it is.
    pub channel: usize,
    /// How many senders it has.
    pub senders: u16,
    /// How many receivers.
    pub receivers: u16,
    /// How many of its threads have said that they wait there to send. One says so before it
    /// sleeps, and may not take it back before its next wait: see
    /// [`ChannelInfo::senders_asleep`](crate::ChannelInfo::senders_asleep).
    pub waiting_senders: u64,
    /// How many have said that they wait there to receive.
    pub waiting_receivers: u64,
}

impl PersonInfo {
    pub(super) fn of(mapped: &Mapped, member: Member, blocks: &[Block]) -> Self {
        let info = mapped.info(member.id);
        let number = |word: u64| u32::try_from(word).unwrap_or(0);
        let peer = mapped.peer(member);
        let start = info.start_time.load(Ordering::Relaxed);
        let visible = proc::pid_namespace() == Some(info.pid_namespace.load(Ordering::Relaxed));
        let bell = mapped.plan.map.own_bell(member.id);
        let ends = blocks.iter().enumerate();
        Self {
            peer,
            uid: number(info.uid.load(Ordering::Relaxed)),
            stopped: if visible { proc::is_stopped_since(peer.pid(), start) } else { None },
            asleep: bell.and_then(|bell| sleepers(mapped, bell)),
            ends: ends.filter_map(|(n, block)| EndsInfo::of(mapped, member, n, block)).collect(),
        }
    }
}

impl EndsInfo {
    /// `None` if it has nothing there.
    fn of(mapped: &Mapped, member: Member, channel: usize, block: &Block) -> Option<Self> {
        let row = mapped.row(block, member.id);
        let (senders, receivers) = row.endpoints(member);
        let recorded = |word: u64| event::recorded(word, member.incarnation);
        let waiting_senders = recorded(row.space_record.load(Ordering::Relaxed))
            .saturating_add(recorded(row.slots_record.load(Ordering::Relaxed)));
        let waiting_receivers = recorded(row.items_record.load(Ordering::Relaxed));
        (senders > 0 || receivers > 0).then_some(Self {
            channel,
            senders,
            receivers,
            waiting_senders,
            waiting_receivers,
        })
    }
}

/// How many threads sleep over a semaphore until it grows, as the kernel says it.
pub(super) fn sleepers(mapped: &Mapped, sem: u16) -> Option<u32> {
    mapped.semaphores.set().waiting_for_increase(sem).ok()
}
