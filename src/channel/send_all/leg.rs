//! One channel's part in a joint send, with the handle that sends there.

use core::cell::Cell;

use bytemuck::NoUninit;

use crate::channel::endpoint::Endpoint;
use crate::channel::sender::Sender;
use crate::error::Done;
use crate::kinds::joint::JointRing;
use crate::kinds::ring::Ring;
use crate::kinds::table::{Kind, Payload};
use crate::ring::joint::{Part, Ticket};
use crate::ring::wait::{NotNow, Want};
use crate::segment::Side;

/// What a joint send asks of each of its channels.
pub trait Leg: Part<Refused = NotNow> {
    fn end(&self) -> &Endpoint;

    /// Which of the caller's senders it is.
    fn position(&self) -> usize;

    /// The message's length and the longest possible, if the channel takes none of that
    /// length.
    fn misfit(&self) -> Option<(usize, usize)>;

    /// Whether there is room, just now.
    fn look(&self) -> Result<(), NotNow>;

    /// Does what can be done before a place is claimed.
    fn draft(&self) -> Result<(), NotNow>;

    /// Gives up what it has got ready, and tells those who may be waiting for that, or for
    /// a place that was given back.
    fn discard(&self);

    /// Whether another sender that waits for room could go on.
    fn may_reserve(&self) -> bool;

    /// What has just refused it.
    fn wanted(&self) -> Want;
}

/// A ring of the handle.
type RingOf<P, K> = <P as crate::kinds::table::sealed::Payload>::Ring<K>;

/// One sender and its message.
pub struct One<'x, 'm, P: Payload, K: Kind>
where
    RingOf<P, K>: JointRing,
{
    sender: &'x Sender<P, K>,
    message: &'x P::Sent<'m>,
    position: usize,
    draft: Cell<Option<<RingOf<P, K> as JointRing>::Draft>>,
    held: Cell<Option<<RingOf<P, K> as JointRing>::Held>>,
    /// Whether others may be waiting for the place that it has given back.
    given_back: Cell<bool>,
}

impl<'x, 'm, P: Payload, K: Kind> One<'x, 'm, P, K>
where
    RingOf<P, K>: JointRing,
{
    pub(in crate::channel) const fn new(
        sender: &'x Sender<P, K>,
        message: &'x P::Sent<'m>,
        position: usize,
    ) -> Self {
        let (draft, held) = (Cell::new(None), Cell::new(None));
        Self { sender, message, position, draft, held, given_back: Cell::new(false) }
    }
}

impl<P: Payload + NoUninit, K: Kind> Part for One<'_, '_, P, K>
where
    RingOf<P, K>: JointRing<Of = P>,
{
    type Refused = NotNow;

    fn claim(&self, ticket: Ticket) -> Result<(), NotNow> {
        let Sender { at, ring, end } = self.sender;
        // There is a draft: that comes first.
        let draft = self.draft.get().ok_or(NotNow::Nothing)?;
        self.held.set(Some(ring.claim_jointly(at, end.owner(), ticket, draft)?));
        Ok(())
    }

    fn abort(&self) {
        if let Some(held) = self.held.take() {
            self.given_back.set(self.sender.ring.withdraw(held));
        }
    }

    fn write(&self) {
        if let (Some(held), Some(draft)) = (self.held.get(), self.draft.get()) {
            self.sender.ring.write(held, draft, self.message);
        }
    }

    fn publish(&self) {
        if let Some(held) = self.held.take() {
            self.sender.ring.publish(&self.sender.at, held);
        }
    }
}

impl<P: Payload + NoUninit, K: Kind> Leg for One<'_, '_, P, K>
where
    RingOf<P, K>: JointRing<Of = P>,
{
    fn end(&self) -> &Endpoint {
        &self.sender.end
    }

    fn position(&self) -> usize {
        self.position
    }

    fn misfit(&self) -> Option<(usize, usize)> {
        let length = self.sender.misfit(self.message)?;
        Some((length, self.sender.end.cells().longest()))
    }

    fn look(&self) -> Result<(), NotNow> {
        self.sender.ring.look(&self.sender.at, self.message)
    }

    fn draft(&self) -> Result<(), NotNow> {
        let Sender { at, ring, end } = self.sender;
        self.draft.set(Some(ring.draft(at, end.owner(), self.message)?));
        Ok(())
    }

    fn discard(&self) {
        let Sender { ring, end, .. } = self.sender;
        if let Some(draft) = self.draft.take()
            && ring.discard(draft)
        {
            end.notify_slot_waiters(Done::GivenUp);
        }
        if self.given_back.take() {
            // Its place is free for the next lap, and was in the way of later messages.
            end.notify(Side::Sender, Done::GivenUp);
            end.notify(Side::Receiver, Done::GivenUp);
        }
    }

    fn may_reserve(&self) -> bool {
        self.sender.ring.may_reserve(&self.sender.at)
    }

    fn wanted(&self) -> Want {
        RingOf::<P, K>::wanted_by_producer(&self.sender.at)
    }
}
