//! Waits that end with a given participant.
//!
//! The participant need not be an end of the channel: it may have died before it became
//! one. So its end is not a change of the channel. It shows in the table, and increments the
//! wake-all semaphore. A bound handle asks the table whenever it would have to wait, and
//! wakes each time the semaphore changes: see
//! [`Registration`](crate::ring::wait::Registration), *The end of a given participant*.
//!
//! The handle still receives what the participant had sent before it went. So it asks
//! first, then tries once more, and only then says that the participant has gone.

use super::endpoint::Endpoint;
use crate::error::Fault;
use crate::segment::Peer;

impl Endpoint {
    /// Binds the waits of this handle to a participant, or to none any more.
    pub(super) fn bind_to_peer(&self, peer: Option<Peer>) -> Result<(), Fault> {
        if let Some(fault) = self.participant().barred() {
            return Err(fault);
        }
        self.wait.bind(peer);
        // Its descriptor is to wait for that, too, from the next try on.
        if let Some(readiness) = self.wait.readiness.get() {
            readiness.restart();
        }
        Ok(())
    }

    /// To whom.
    pub(super) const fn bound(&self) -> Option<Peer> {
        self.wait.peer()
    }

    /// That the one whom this handle is bound to has gone, if it has and that is
    /// known.
    pub(super) fn bereft(&self) -> Option<Fault> {
        let peer = self.bound()?;
        (!peer.is_live(self.participant().mapped())).then_some(Fault::PeerGone { peer })
    }
}
