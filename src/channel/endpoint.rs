//! What a sender and a receiver have in common: being one end of a channel.
//!
//! | what | where |
//! |---|---|
//! | being attached: from opening to closing | here |
//! | what it knows of the channel; what it does first if that has changed | [`changes`](super::changes); [`guarded`](super::guarded) |
//! | an operation that nothing is in the way of | [`transfer`](super::transfer) |
//! | wakes that it owes; waking the peers | [`debts`](super::debts); [`notify`](super::notify) |
//! | what it keeps for its waits; waiting | [`waiting`](super::waiting); [`blocking`](super::blocking), [`cancel`](super::cancel), [`bound`](super::bound), [`ready`](super::ready) |

use core::cell::Cell;
use std::sync::Arc;

use super::changes::Changes;
use super::debts::Wakes;
use super::waiting::Waiting;
use crate::error::{ChannelError, Fault};
use crate::kinds::block::Block;
use crate::kinds::table::RingKind;
use crate::ring::gate;
use crate::ring::set::SetMap;
use crate::ring::table::Member;
use crate::segment::{Busy, Membership, Participant, Peer, Side, TrustedPeers};
use crate::storage::Cells;
use crate::sync::{AtomicU64, Ordering};
use crate::sys::proc;
use crate::wait::{Semaphores, WaitStrategy};

/// What a handle and its clones have in common.
struct Site {
    participant: Arc<Participant>,
    block: Block,
    name: Arc<str>,
}

impl Site {
    fn opening(&self, side: Side) -> Opening<'_> {
        let Self { participant, block, name } = self;
        Opening { participant, block: *block, name: Arc::clone(name), side }
    }
}

/// One end of a channel. Belongs to one thread at a time.
pub struct Endpoint {
    /// Declared before the participant, so that the memory is detached when
    /// that goes.
    cells: Cells,
    site: Arc<Site>,
    /// The participant's, as is the membership.
    me: Member,
    membership: Membership,
    /// How many were asked for.
    messages: usize,
    pub(crate) side: Side,
    /// Not 0 while this handle sends.
    busy: Arc<Busy>,
    /// Whether this end has been given up.
    left: Cell<bool>,
    pub(super) changes: Changes,
    pub(super) wakes: Wakes,
    pub(super) wait: Waiting,
}

/// An end of a channel that is being opened.
pub(crate) struct Opening<'a> {
    pub(crate) participant: &'a Arc<Participant>,
    pub(crate) block: Block,
    pub(crate) name: Arc<str>,
    pub(crate) side: Side,
}

impl Opening<'_> {
    /// A view of the cells for the handle around the end.
    pub(crate) fn typed<S>(
        &self,
        cells: &Cells,
        view: impl FnOnce(&Cells) -> Option<S>,
    ) -> Result<S, ChannelError> {
        view(cells).ok_or_else(|| self.damaged("its elements are not as large as its type says"))
    }

    pub(crate) fn damaged(&self, what: &str) -> ChannelError {
        ChannelError::Damaged { channel: self.name.to_string(), what: what.to_owned() }
    }

    pub(crate) fn too_many_publishers(&self) -> ChannelError {
        let limit = self.block.plan.seats.publishers;
        ChannelError::TooManyPublishers { channel: self.name.to_string(), limit }
    }
}

/// What another handle of an end is made of, without the handle itself: another thread may be
/// using that.
pub struct Origin {
    site: Arc<Site>,
    side: Side,
    /// Whether the handle had met a peer when it was opened, and how many had joined.
    known: (bool, u64),
    strategy: WaitStrategy,
    peer: Option<Peer>,
}

impl core::fmt::Debug for Origin {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Origin").field("channel", &self.name()).finish_non_exhaustive()
    }
}

impl Origin {
    pub(super) fn in_child(&self) -> bool {
        self.site.participant.guard().in_child()
    }

    pub(super) fn name(&self) -> &str {
        &self.site.name
    }

    pub(super) fn kind(&self) -> RingKind {
        self.site.block.kind
    }

    /// Whether there is one handle of it: each subscriber has a position of its own.
    pub(super) fn is_single(&self) -> bool {
        let kind = self.kind();
        kind.is_single() || (kind.is_broadcast() && matches!(self.side, Side::Receiver))
    }

    pub(super) fn in_use(&self) -> Fault {
        Fault::InUse { channel: self.name().to_owned(), side: self.side }
    }

    /// Another endpoint like that of the handle, which takes what it needs of the channel.
    pub(super) fn attach<R>(
        &self,
        take: impl FnOnce(&Opening<'_>, &Cells) -> Result<R, ChannelError>,
    ) -> Result<(Endpoint, R), ChannelError> {
        let opening = self.site.opening(self.side);
        let attached = Endpoint::attach(&opening, Some(self.known), |cells| take(&opening, cells));
        let (end, taken) = attached?;
        end.wait.bind(self.peer);
        end.set_wait_strategy(self.strategy);
        Ok((end, taken))
    }
}

impl Endpoint {
    pub(crate) fn new(opening: &Opening<'_>) -> Result<Self, ChannelError> {
        Ok(Self::attach(opening, None, |_| Ok(()))?.0)
    }

    /// Takes what this end needs of the channel before it counts for the others.
    pub(super) fn taking<R>(
        opening: &Opening<'_>,
        take: impl FnOnce(&Cells) -> Result<R, ChannelError>,
    ) -> Result<(Self, R), ChannelError> {
        Self::attach(opening, None, take)
    }

    /// `known`: whether it has met a peer, and how many had joined by then, as in
    /// [`Changes`].
    fn attach<R>(
        opening: &Opening<'_>,
        known: Option<(bool, u64)>,
        take: impl FnOnce(&Cells) -> Result<R, ChannelError>,
    ) -> Result<(Self, R), ChannelError> {
        let &Opening { participant, block, ref name, side } = opening;
        // The dead are nobody's peers.
        let heard = participant.scan_for_sleeper(SetMap::WAKE_ALL, false)?.wake_all;
        let (mut met, joined) = known.unwrap_or_else(|| {
            let joined = participant.joined(&block, side.other()).load(Ordering::Acquire);
            (participant.has_peer(&block, side.other()), joined)
        });
        let cells = block
            .cells(participant.mapped())
            .ok_or_else(|| opening.damaged("its block is outside the segment"))?;
        let (busy, taken) = participant.enlist(&block, side, name, || take(&cells))?;
        if side == Side::Receiver && !met && known.is_none() && !block.kind.is_broadcast() {
            // Their messages are all that is left of senders. In this order: a message is
            // taken, then in a reader's hands, then gone or back. The walk over the slots
            // is for this case only, where nobody sends.
            met = cells.len() > 0 || cells.in_flight();
        }
        let changes = Changes::new(*participant.guard(), &cells, met, joined);
        let end = Self {
            cells,
            site: Arc::new(Site {
                participant: Arc::clone(participant),
                block,
                name: Arc::clone(name),
            }),
            me: participant.me(),
            membership: participant.membership(),
            messages: block.plan.messages,
            side,
            busy,
            left: Cell::new(false),
            changes,
            wakes: Wakes::default(),
            wait: Waiting::new(heard),
        };
        Ok((end, taken))
    }

    /// For another handle of the same side in this process.
    pub(super) fn opening(&self) -> Opening<'_> {
        self.site.opening(self.side)
    }

    /// For others of the same side, in any thread of this process.
    pub(super) fn origin(&self) -> Origin {
        Origin {
            site: Arc::clone(&self.site),
            side: self.side,
            known: (self.changes.met, self.changes.joined),
            strategy: self.wait_strategy(),
            peer: self.bound(),
        }
    }

    /// Has this handle know that there was a peer: it has found a message.
    pub(super) const fn has_met_a_peer(&mut self) {
        self.changes.met = true;
    }

    /// How many receivers the living have.
    pub(super) fn receivers(&self) -> u64 {
        self.participant().mapped().endpoints(self.block()).1
    }

    /// Another endpoint of the same kind in this process. It knows what this one
    /// does: whom it has met, until whose end it waits, whom it owes a wake. While this
    /// one is there, it needs no look and no call into the kernel.
    #[inline]
    pub(crate) fn another(&self) -> Result<Self, ChannelError> {
        let Site { participant, block, name } = &*self.site;
        let Some(busy) = participant.enlist_another(block, self.side, name)? else {
            return self.attached_again();
        };
        Ok(Self {
            cells: self.cells.clone(),
            site: Arc::clone(&self.site),
            me: self.me,
            membership: self.membership,
            messages: self.messages,
            side: self.side,
            busy,
            left: Cell::new(false),
            changes: self.changes.another(participant.mapped().semaphores.asymmetric()),
            wakes: self.wakes.another(),
            wait: self.wait.another(),
        })
    }

    #[cold]
    fn attached_again(&self) -> Result<Self, ChannelError> {
        let known = Some((self.changes.met, self.changes.joined));
        let (mut other, ()) = Self::attach(&self.opening(), known, |_| Ok(()))?;
        other.wait.bind(self.bound());
        other.set_wait_strategy(self.wait_strategy());
        other.wakes = self.wakes.another();
        Ok(other)
    }

    /// That this is the only end of its side.
    pub(crate) fn role_taken(&self) -> ChannelError {
        let channel = self.name().to_string();
        ChannelError::RoleTaken { channel, side: self.side, pid: proc::pid().into() }
    }

    pub(crate) const fn cells(&self) -> &Cells {
        &self.cells
    }

    pub(super) const fn membership(&self) -> Membership {
        self.membership
    }

    pub(super) fn participant(&self) -> &Arc<Participant> {
        &self.site.participant
    }

    pub(super) fn block(&self) -> &Block {
        &self.site.block
    }

    pub(super) fn name(&self) -> &Arc<str> {
        &self.site.name
    }

    pub(super) fn semaphores(&self) -> &Semaphores {
        &self.participant().mapped().semaphores
    }

    /// A view of the cells for the handle around this endpoint.
    #[inline]
    pub(crate) fn typed<S>(
        &self,
        view: impl FnOnce(&Cells) -> Option<S>,
    ) -> Result<S, ChannelError> {
        view(&self.cells).ok_or_else(|| ChannelError::Damaged {
            channel: self.name().to_string(),
            what: "its elements are not as large as its type says".to_owned(),
        })
    }

    pub(crate) const fn me(&self) -> Member {
        self.me
    }

    pub(crate) const fn owner(&self) -> u16 {
        self.me.id
    }

    /// Whether this handle is sending, which its process's memory says.
    #[inline(always)]
    pub(super) fn busy(&self) -> &AtomicU64 {
        &self.busy
    }

    /// Has sent, or has given it up.
    #[inline]
    pub(crate) fn leave(&self) {
        gate::leave(&self.busy);
    }

    /// Whether this is a forked child of the process that made the handle.
    #[inline]
    pub(crate) fn in_child(&self) -> bool {
        self.changes.in_child()
    }

    pub(crate) fn corrupt(&self, what: &str) -> Fault {
        Fault::Corrupt { what: format!("{}: {what}", self.name()) }
    }

    /// Makes sure that the promise is one about this segment.
    ///
    /// # Panics
    /// If it was made of another segment: two have been mixed up in the
    /// caller's program.
    #[inline(always)]
    #[track_caller]
    pub(super) fn check(&self, trust: TrustedPeers) {
        trust.check(self.membership);
    }

    pub(super) fn wait_strategy(&self) -> WaitStrategy {
        self.wait.spin.strategy()
    }

    pub(super) fn set_wait_strategy(&self, strategy: WaitStrategy) {
        self.wait.spin.set_strategy(strategy);
    }

    /// Whether both are ends of one channel of one segment.
    pub(crate) fn same_channel(&self, other: &Self) -> bool {
        let generation = |end: &Self| end.participant().mapped().generation;
        generation(self) == generation(other) && self.block().index == other.block().index
    }

    pub(crate) fn len(&self) -> usize {
        usize::try_from(self.cells.len()).unwrap_or(usize::MAX)
    }

    /// How many messages were asked for.
    pub(crate) const fn messages(&self) -> usize {
        self.messages
    }

    /// Gives this end up, once, as well as it can; returns the first thing that
    /// is refused.
    fn give_up(&mut self) -> Result<(), Fault> {
        if self.left.replace(true) {
            return Ok(());
        }
        if self.in_child() {
            // Nothing of it is this process's.
            drop(self.wait.readiness.take());
            return Err(Fault::Forked);
        }
        let owed = self.make_good();
        // While this process has the credits of this channel.
        let ended = self.wait.readiness.take().map_or(Ok(()), |readiness| readiness.end());
        self.let_go();
        let Site { participant, block, name } = &*self.site;
        let told = participant.withdraw(block, self.side, name, &self.busy);
        match owed.and(told).and(ended) {
            // It has told everybody who waited.
            Err(Fault::Closed) => Ok(()),
            told => told,
        }
    }

    /// The same, and leaves the segment if nothing else of it is left here.
    pub(crate) fn close(mut self) -> Result<(), Fault> {
        let participant = Arc::clone(self.participant());
        let given_up = self.give_up();
        drop(self);
        given_up.and(Participant::let_go(participant))
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        // Nobody is there to be told: see `close`.
        let _ = self.give_up();
    }
}

impl core::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Endpoint")
            .field("channel", self.name())
            .field("side", &self.side)
            .field("capacity", &self.messages())
            .finish_non_exhaustive()
    }
}
