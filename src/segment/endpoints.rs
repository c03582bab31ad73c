//! What a process keeps of its own endpoints.

use std::sync::Arc;

use crossbeam_utils::CachePadded;

use crate::kinds::block::Block;
use crate::ring::gate;
use crate::storage::Side;
use crate::sync::AtomicU64;

/// Not 0 while a handle sends: see [`gate`].
pub(crate) type Busy = CachePadded<AtomicU64>;

/// The words of as many senders as there have been at one time. A new sender gets that of
/// one that has gone, which costs less than memory of its own.
#[derive(Debug, Default)]
pub(super) struct Sending {
    all: Vec<Arc<Busy>>,
    vacant: Vec<Arc<Busy>>,
    /// The receivers'.
    never: Arc<Busy>,
}

impl Sending {
    /// A word for a new handle.
    pub(super) fn enter(&mut self, side: Side) -> Arc<Busy> {
        if side == Side::Receiver {
            return Arc::clone(&self.never);
        }
        self.vacant.pop().unwrap_or_else(|| {
            let busy = Arc::<Busy>::default();
            self.all.push(Arc::clone(&busy));
            busy
        })
    }

    /// The handle whose word it is has gone.
    pub(super) fn leave(&mut self, side: Side, gone: &Arc<Busy>) {
        if side == Side::Receiver {
            return;
        }
        // It may have forgotten a grant.
        gate::leave(gone);
        self.vacant.push(Arc::clone(gone));
    }

    pub(super) fn words(&self) -> impl Iterator<Item = &AtomicU64> {
        self.all.iter().map(|busy| &***busy)
    }
}

/// How many endpoints this process has of one channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) senders: u16,
    pub(super) receivers: u16,
    /// How many hold on to its credits, whether or not there is an endpoint.
    pub(super) holds: u32,
}

impl Counts {
    pub(super) const fn of(&mut self, side: Side) -> &mut u16 {
        match side {
            Side::Sender => &mut self.senders,
            Side::Receiver => &mut self.receivers,
        }
    }

    /// With one more of this side, if there may be one.
    pub(super) fn and_one(mut self, side: Side) -> Option<Self> {
        let count = self.of(side);
        *count = count.checked_add(1)?;
        Some(self)
    }
}

/// The endpoints of this process.
#[derive(Debug)]
pub(super) struct Endpoints {
    /// By channel.
    pub(super) counts: Vec<Counts>,
    /// The blocks of those that it has an endpoint of.
    pub(super) blocks: Vec<Block>,
    /// Which senders are sending just now.
    pub(super) sending: Sending,
}

impl Endpoints {
    pub(super) fn none(channels: u16) -> Self {
        Self {
            counts: vec![Counts::default(); usize::from(channels)],
            blocks: Vec::new(),
            sending: Sending::default(),
        }
    }

    /// Whether a block has bytes of another one that is in use here. The directory says so
    /// only after a peer has written over it; and then words and elements of different
    /// sizes would be at one place, which no access of this process is made for.
    pub(super) fn overlaps(&self, block: &Block) -> bool {
        let end = |block: &Block| block.offset + block.plan.length;
        self.blocks
            .iter()
            .any(|other| other != block && other.offset < end(block) && block.offset < end(other))
    }
}
