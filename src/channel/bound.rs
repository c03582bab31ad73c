//! Waits that end with a certain participant.
//!
//! The participant need not be an end of the channel: it may have died before it
//! became one. So its end is not a change of the channel. It shows in the table,
//! and is a stroke of the wake-all semaphore. A handle that is bound asks the table whenever it
//! would have to wait, and wakes at each stroke: see
//! [`registration`](crate::ring::registration), *A death elsewhere*.
//!
//! What that participant had sent before it went is received. So the question
//! comes first, then one more try, then the answer.

use super::endpoint::Endpoint;
use crate::error::Fault;
use crate::segment::Peer;

impl Endpoint {
    /// Binds the waits of this handle to a participant, or to none any more.
    pub(super) fn bind_to_peer(&self, peer: Option<Peer>) -> Result<(), Fault> {
        if let Some(fault) = self.participant().barred() {
            return Err(fault);
        }
        self.peer.set(peer);
        self.registration.be_strict(peer.is_some());
        // Its thread is to wait for that, too, from the next try on.
        match self.readiness.get().map(|readiness| readiness.restart()) {
            None | Some(Ok(())) => Ok(()),
            Some(Err(refusal)) => Err(self.participant().mapped().refused(refusal)),
        }
    }

    /// To whom.
    pub(super) const fn bound(&self) -> Option<Peer> {
        self.peer.get()
    }

    /// That the one whom this handle is bound to has gone, if it has and that is
    /// known.
    pub(super) fn bereft(&self) -> Option<Fault> {
        let peer = self.bound()?;
        (!peer.is_live(self.participant().mapped())).then_some(Fault::PeerGone { peer })
    }
}
