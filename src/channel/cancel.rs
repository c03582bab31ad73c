//! Ending one handle's waits from another thread.
//!
//! ```text
//!  the handle                             the canceller
//!
//!  waiting ─▶ cancelled? ─▶ try ─▶ sleep    cancelled ─▶ waiting? ── no ─▶ done
//!                ▲                   │                      │ yes       ▲
//!                └── woken ──────────┘ ◀── wakes all ───────┤           │
//!                                          sleepers there   └─ 1 ms ────┘
//! ```
//!
//! **It comes to an end.** Both words are under one lock, so at least one of the two sees
//! the other. The next round wakes a handle that was about to sleep.
//!
//! **It keeps nothing from others.** Each sleeper on this side of the channel is given a
//! token. A sleeper that finds nothing sleeps again. The cancelled handle takes nothing any more, so it passes on
//! the token that it has taken.

use core::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use super::queues;
use super::reactor;
use crate::error::{Done, Fault, Unwoken};
use crate::kinds::block::Block;
use crate::ring::wait::Need;
use crate::segment::{Participant, Side};
use crate::sync::Ordering;

/// How long a handle has for getting to sleep, or for being woken, before everybody is woken
/// again.
const ROUND: Duration = Duration::from_millis(1);

/// Ends the waits of one handle, from any thread: see
/// [`Receiver::canceller`](crate::Receiver::canceller).
///
/// It may outlive the handle, and then does nothing. It keeps neither the handle
/// nor the segment.
#[derive(Clone)]
pub struct Canceller {
    shared: Arc<Shared>,
}

/// What a handle and its cancellers share.
pub(super) struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    participant: Weak<Participant>,
    block: Block,
    side: Side,
    name: Arc<str>,
}

/// Where a wait sleeps.
#[derive(Clone, Copy, Debug)]
pub(super) enum Bed {
    /// Among those of its side of the channel that need this.
    Queue(Need),
    /// Over the bell of this participant: it waits for a reply.
    OwnBell,
}

#[derive(Debug, Default)]
struct State {
    cancelled: bool,
    /// Where the handle waits.
    waiting: Option<Bed>,
}

/// A wait that goes on.
pub(super) struct Waits<'a>(Option<&'a Shared>);

impl<'a> Waits<'a> {
    /// One that its cancellers, if there are any, are to end.
    pub(super) fn new(shared: Option<&'a Shared>, bed: Bed) -> Self {
        if let Some(shared) = shared {
            shared.state().waiting = Some(bed);
        }
        Self(shared)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        if let Some(shared) = self.0 {
            shared.state().waiting = None;
            shared.changed.notify_all();
        }
    }
}

impl Shared {
    pub(super) fn new(
        participant: &Arc<Participant>,
        block: Block,
        side: Side,
        name: &Arc<str>,
    ) -> Self {
        Self {
            state: Mutex::default(),
            changed: Condvar::new(),
            participant: Arc::downgrade(participant),
            block,
            side,
            name: Arc::clone(name),
        }
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.state().cancelled
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Canceller {
    pub(super) const fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Ends with [`Fault::Cancelled`] the call of the handle that waits now, and
    /// every later call of a form that may wait: `send`, `recv`, `take`, `reserve`
    /// and their forms with a time-out or a batch, even if there is room or a
    /// message. Such a call does nothing. Calls that never wait (`try_send`,
    /// `try_recv`) go on, so what is in the channel can still be received. Other
    /// handles are not affected, and neither are clones.
    ///
    /// Returns when the call has ended its wait. Takes locks, so a signal
    /// handler cannot call it; a thread that waits for the signal can.
    ///
    /// # Errors
    /// [`Fault::Unwoken`] if the kernel refuses to wake the call: it ends when
    /// something else wakes it. [`Fault::Forked`].
    pub fn cancel(&self) -> Result<(), Fault> {
        let shared = &*self.shared;
        let Some(participant) = shared.participant.upgrade() else { return Ok(()) };
        if participant.guard().in_child() {
            // The thread that held the lock is not here.
            return Err(Fault::Forked);
        }
        let mut state = shared.state();
        state.cancelled = true;
        let mapped = participant.mapped();
        let control = mapped.control(&shared.block);
        // Release: who sees it sees that it is cancelled. One more change than
        // there was has everybody look, and find nothing else.
        control.changes.fetch_add(1, Ordering::Release);
        if !participant.is_known() {
            // The set is gone, and has woken everybody; or it is out of reach.
            return Ok(());
        }
        drop(state);
        let failed = |fault| match fault {
            Fault::System(source) => {
                Err(Unwoken::new(Done::Cancelled, &shared.name, shared.side, source).into())
            }
            // Gone, and nobody sleeps any more.
            _ => Ok(()),
        };
        // For a task that awaits this handle.
        if let Err(fault) = reactor::stir(&participant) {
            return failed(fault);
        }
        state = shared.state();
        while let (true, Some(bed)) = (state.cancelled, state.waiting) {
            drop(state);
            let woken = match bed {
                Bed::Queue(need) => {
                    let queue = queues::queue(&participant, &shared.block, shared.side, need);
                    let roused =
                        queue.rouse(&mapped.semaphores, || shared.state().waiting.is_none());
                    roused.map_err(|refusal| mapped.refused(refusal))
                }
                Bed::OwnBell => participant.call_own(),
            };
            if let Err(fault) = woken {
                return failed(fault);
            }
            state = shared.state();
            if state.waiting.is_some() {
                let waited = shared.changed.wait_timeout(state, ROUND);
                (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
            }
        }
        Ok(())
    }

    /// Lets the handle wait again. Until this, it stays cancelled.
    pub fn reset(&self) {
        let shared = &*self.shared;
        if let Some(participant) = shared.participant.upgrade()
            && !participant.guard().in_child()
        {
            shared.state().cancelled = false;
        }
    }

    /// Whether the handle is cancelled. `false` in a forked child, where nobody
    /// waits.
    pub fn is_cancelled(&self) -> bool {
        // A thread that is not in the child may have held the lock.
        let in_child = |participant: Arc<Participant>| participant.guard().in_child();
        !self.shared.participant.upgrade().is_some_and(in_child) && self.shared.is_cancelled()
    }
}

impl fmt::Debug for Canceller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Canceller")
            .field("channel", &self.shared.name)
            .field("side", &self.shared.side)
            .finish_non_exhaustive()
    }
}
