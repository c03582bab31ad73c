//! Trying without sleeping: try, resolve, find out what has changed.
//!
//! ```text
//!            ┌───────── open; for a receiver also: the peers have gone ──────────┐
//!            ▼                                                                   │
//!  ──▶ Trying ── not now ──▶ Resolving ── changed, unsure ──▶ FindingOut ────────┤
//!        │                    │     │                           │    │           │
//!        │ done               │     │ corrupt; the peers        │    │ paused    │
//!        ▼                    │     │ have gone                 │    │           │
//!      Done                   │     ▼                           │    │           │
//!        ▲                    │   Over ◀── shut down, drained, ─┘    │           │
//!        │ done               │     ▲      gone; a sender: no peer   │           │
//!        │                    ▼     │                               │           │
//!      LastTry ◀── its peer ── it needs something ◀──────────────────┘
//!        │         has gone    │
//!        │ nothing             ▼
//!        └──▶ Over           Needs
//! ```
//!
//! **Changes starve no handle.** The try after `FindingOut` is let through even if
//! something has changed again, as if that change had come a moment later. Otherwise a
//! participant that changes things without end would keep this handle from trying.
//!
//! **No last message is lost.** A receiver tries once more after it has found out that its
//! senders have gone: their last message was published before they went, and `changes`
//! hands that over (stored with Release, loaded with Acquire). Then it waits for a message
//! in the hands of another reader, which may come back. A handle that is bound to a
//! participant tries once more after it has found that participant gone.

use super::super::kernel::Refusal;
use super::{Need, NotNow, Polled};

/// How often something may change while it is found out what has changed. Participants
/// change things now and then; only a hostile process does it without end.
const ROUNDS: u32 = 1_000;

/// What has been found out about the channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Nothing is in the way.
    Open,
    /// The last peer that this end has met has gone.
    PeersGone,
    /// The segment is paused, and this is a sender.
    Paused,
}

/// Why an operation is over that is not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// An attempt has met this.
    Attempt(NotNow),
    /// The kernel has refused this waiter its sleep.
    Sleep(Refusal),
}

/// What semaphores were when the dead were last looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Heard {
    /// The one over which the waiter sleeps.
    pub(crate) own: u16,
    /// The wake-all semaphore; `None` if it had better be left alone.
    pub(crate) wake_all: Option<u16>,
}

/// One operation of one end of a channel, as the waiting session sees it.
pub(crate) trait Operation {
    /// What an attempt gives.
    type Done;
    /// Why the operation is over.
    type Fault;

    /// Tries once. `informed`: right after [`find_out`](Self::find_out), and let
    /// through whatever has changed since.
    fn attempt(&mut self, informed: bool) -> Result<Self::Done, NotNow>;

    /// Finds out what has changed. An operation that only looks is in the way of
    /// nothing and has no need to.
    ///
    /// # Errors
    /// The channel cannot be used any more.
    fn find_out(&mut self) -> Result<Found, Self::Fault> {
        Ok(Found::Open)
    }

    /// Whether this is a receiver's, which may find messages after its peers have
    /// gone.
    fn receives(&self) -> bool {
        false
    }

    /// Whether a message is in a reader's hands and may come back.
    fn in_flight(&self) -> bool {
        false
    }

    /// Whether this end may wait.
    ///
    /// # Errors
    /// It has been cancelled.
    fn may_wait(&self) -> Result<(), Self::Fault> {
        Ok(())
    }

    /// That the participant to whom this end is bound has gone, if it has.
    fn bereft(&self) -> Option<Self::Fault> {
        None
    }

    /// Whether what is left concerns another waiter on this side.
    fn more(&self) -> bool;

    /// Looks for deaths and sweeps the dead. Says what `sem` was before, and the wake-all
    /// semaphore, if that may be compared; always, if it `must`.
    ///
    /// # Errors
    /// This process cannot see who is dead.
    fn scan(&mut self, sem: u16, must: bool) -> Result<Heard, Self::Fault>;

    /// A token that was another's could not be passed on.
    fn owes(&mut self, refusal: Refusal);

    /// What the caller is told.
    fn fault(&self, cause: Cause) -> Self::Fault;
}

/// Tries until the operation is done, needs something or is over. Never sleeps.
pub(crate) fn poll<O: Operation>(op: &mut O) -> Result<Polled<O::Done>, O::Fault> {
    op.may_wait()?;
    match op.attempt(false) {
        Ok(done) => Ok(Polled::Done(done)),
        Err(why) => resolve(op, why),
    }
}

/// Goes on after an attempt that came to nothing.
pub(crate) fn resolve<O: Operation>(op: &mut O, why: NotNow) -> Result<Polled<O::Done>, O::Fault> {
    let mut why = why;
    for _ in 0..ROUNDS {
        let found = match why {
            NotNow::Changed | NotNow::Unsure => op.find_out()?,
            NotNow::Nothing | NotNow::NoSlot => return needs(op, Need::Progress),
            NotNow::Pending => return needs(op, Need::Pending),
            NotNow::NoBlock => return needs(op, Need::Block),
            NotNow::PeersGone if op.receives() && op.in_flight() => {
                return Ok(Polled::Needs(Need::Progress));
            }
            NotNow::PeersGone
            | NotNow::Unwoken
            | NotNow::Lagged(_)
            | NotNow::Torn(_)
            | NotNow::Disorder
            | NotNow::Word(_) => return Err(op.fault(Cause::Attempt(why))),
        };
        why = match found {
            Found::Paused => return needs(op, Need::Resumption),
            Found::PeersGone if !op.receives() => NotNow::PeersGone,
            Found::Open | Found::PeersGone => match op.attempt(true) {
                Ok(done) => return Ok(Polled::Done(done)),
                Err(NotNow::Nothing) if found == Found::PeersGone => NotNow::PeersGone,
                Err(why) => why,
            },
        };
    }
    needs(op, Need::Progress)
}

/// It has to wait, unless the participant to whom it is bound has gone.
fn needs<O: Operation>(op: &mut O, need: Need) -> Result<Polled<O::Done>, O::Fault> {
    let Some(gone) = op.bereft() else { return Ok(Polled::Needs(need)) };
    match op.attempt(true) {
        Ok(done) => Ok(Polled::Done(done)),
        // Another's message is on its way.
        Err(NotNow::Pending) if op.receives() => Ok(Polled::Needs(Need::Pending)),
        Err(why) if op.receives() && !matches!(why, NotNow::Nothing | NotNow::PeersGone) => {
            Err(op.fault(Cause::Attempt(why)))
        }
        Err(_) => Err(gone),
    }
}
