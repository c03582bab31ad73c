//! A descriptor that tells an event loop when a handle can go on.
//!
//! A handle that is asked for one gets a thread. The thread waits as any blocked call does
//! (a [`Session`], with an operation that only looks) and then writes one byte into a pipe:
//!
//! ```text
//!  the handle                                          its thread
//!
//!  a try finds nothing: takes the byte,  ── armed ──▶  registers, looks,
//!  says what the try lacked                            sleeps, looks
//!                                                          │ there, or changed
//!  event loop: readable ◀───────────────── byte ───────────┤
//!  tries until it finds nothing                            ▼ passes the token on
//!                                                       waits to be armed
//! ```
//!
//! **No readiness is lost.** The thread looks for the very thing that the try lacked, as
//! the try saw it. So it finds what has come since before it sleeps for the first time, and
//! it is woken for what comes later like any waiter.
//!
//! **It keeps nothing from others.** The thread consumes nothing, so another waiter needs
//! the token that it has taken. It passes the token on at once, whenever the event loop may
//! come round. Then it does not wait any more, and so does not take the token again: a
//! token goes through all waiters once. A sender of MPMC bytes may want a block now and a
//! slot the next time; its thread waits on the wake-all semaphore
//! ([`slot_waiters`](crate::ring::slot_waiters)), where no token can be kept.
//!
//! **Ending it.** Only a token ends a sleep on the channel's semaphore, and another sleeper
//! may take it. So each sleeper is given one, and the thread passes on the one that it took.
//! A thread that was about to sleep may miss it, so this is repeated until it has ended.

use core::fmt;
use core::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::{changes, queues};
use crate::error::Fault;
use crate::kinds::block::Block;
use crate::ring::kernel::Refusal;
use crate::ring::wait::{
    Cause, Heard, Need, NotNow, Operation, Queue, Registration, Session, Waited, Want,
};
use crate::segment::{Participant, Peer, Side};
use crate::storage::Cells;
use crate::sync::Ordering;
use crate::sys;
use crate::sys::pipe;

/// How long a thread that is to end has for getting to sleep, or for being
/// woken, before everybody is woken again.
pub(super) const ROUND: Duration = Duration::from_millis(1);

/// What a thread is to wait for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask {
    pub(super) want: Want,
    /// `changes` when the handle last looked.
    pub(super) changes: u64,
    /// A receiver found no sender left, and a message in the hands of a
    /// reader: it also waits for that one to have let go of it.
    pub(super) alone: bool,
    /// The participant whose end it waits for, unless it is alone.
    pub(super) peer: Option<Peer>,
}

/// A pollable descriptor of a sender or a receiver: see
/// [`Receiver::readiness`](crate::Receiver::readiness).
///
/// It is the reading end of a pipe, for `poll`, `epoll` and what is built on
/// them. It carries a byte as long as it is readable. The handle takes the byte
/// out; a program may read it, after a call of the handle has found nothing and
/// before the next one. The descriptor belongs to the handle, and is closed with
/// it; [`BorrowedFd::try_clone_to_owned`] gives one that can be kept apart.
pub struct Readiness {
    shared: Arc<Shared>,
    at: At,
    thread: Option<JoinHandle<()>>,
}

/// What the handle and its thread share.
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    reader: pipe::Reader,
    writer: pipe::Writer,
}

#[derive(Debug, Default)]
struct State {
    /// What the thread waits for. If nothing, the byte is in the pipe.
    ask: Option<Ask>,
    /// How often the handle has asked.
    asked: u64,
    /// The set is gone, or strange, or refuses: the byte stays.
    gone: Option<Fault>,
    /// A token that the thread had to pass on, and could not.
    owed: Option<Refusal>,
    /// Whether the thread has gone to wait for what was asked.
    parked: bool,
    stop: bool,
    ended: bool,
}

/// One side of a channel, in this process.
#[derive(Clone)]
struct At {
    /// As in [`Endpoint`].
    cells: Cells,
    participant: Arc<Participant>,
    block: Block,
    side: Side,
}

impl At {
    /// What its thread waits for.
    fn need(&self) -> Need {
        queues::need_of_either(&self.block, self.side)
    }

    fn queue(&self) -> Queue<'_> {
        queues::queue(&self.participant, &self.block, self.side, self.need())
    }

    /// Wakes its thread, with others; unless it is about to sleep, perhaps.
    fn rouse(&self, enough: impl Fn() -> bool) -> Result<(), Refusal> {
        self.queue().rouse(&self.participant.mapped().semaphores, enough)
    }

    /// Whether a try could come to something, or to another answer.
    fn is_there(&self, ask: Ask) -> bool {
        changes::count(&self.cells) != ask.changes
            || self.cells.has(ask.want)
            || if ask.alone {
                !self.cells.in_flight()
            } else {
                ask.peer.is_some_and(|peer| !peer.is_live(self.participant.mapped()))
            }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the descriptor readable, which it is not.
    fn ring(&self, state: &mut State) {
        // Never full: there is one byte at most.
        let _ = self.writer.write_record(&[1]);
        state.ask = None;
    }

    /// Makes the descriptor readable, if it is not.
    fn ring_if_asked(&self, state: &mut State) {
        if state.ask.is_some() {
            self.ring(state);
        }
    }
}

/// What ends a thread's sleep.
enum Woken {
    /// What was asked for at this count is there.
    Progress(u64),
    Stopped,
}

/// The thread.
struct Watcher {
    shared: Arc<Shared>,
    at: At,
}

impl Watcher {
    fn run(&self) {
        let kept = Registration::new(None);
        while let Some(ask) = self.armed() {
            // A watch that compares the wake-all semaphore looks for deaths first: what an
            // earlier watch has heard may be old, and the value may have come round to it.
            let strict = Registration::new(None);
            strict.be_strict(true);
            // Over the wake-all semaphore there are no tokens.
            let compares = ask.peer.is_some() || self.at.need() == Need::Block;
            let woken = self.watch(if compares { &strict } else { &kept });
            let mut state = self.shared.state();
            state.parked = false;
            self.shared.changed.notify_all();
            match woken {
                Ok(Some(Woken::Progress(asked))) => {
                    // The handle may have been and had it meanwhile.
                    if state.asked == asked {
                        self.shared.ring_if_asked(&mut state);
                    }
                }
                Ok(Some(Woken::Stopped)) => return,
                // Without a deadline there is no time-out.
                Ok(None) => {}
                Err(why) => {
                    state.gone = Some(why);
                    return self.shared.ring_if_asked(&mut state);
                }
            }
        }
    }

    /// Waits until there is something to wait for; `None` for the end.
    fn armed(&self) -> Option<Ask> {
        let idle = |state: &mut State| state.ask.is_none() && !state.stop;
        let state = self.shared.changed.wait_while(self.shared.state(), idle);
        let mut state = state.unwrap_or_else(PoisonError::into_inner);
        let ask = state.ask.filter(|_| !state.stop)?;
        state.parked = true;
        Some(ask)
    }

    fn watch(&self, registration: &Registration<Instant>) -> Result<Option<Woken>, Fault> {
        let At { participant, block, side, .. } = &self.at;
        let seat = queues::seat(participant, block, *side, self.at.need(), registration);
        let mut session = Session::new(&participant.mapped().semaphores, seat, None);
        let mut watch = Watch { shared: &self.shared, at: &self.at };
        let waited = session.block(&mut watch);
        // It comes back when the handle has been asked, and has found nothing.
        session.deregister(&mut watch);
        match waited? {
            Waited::Done(woken) => Ok(Some(woken)),
            Waited::Needs(_) | Waited::TimedOut => Ok(None),
        }
    }
}

/// Waiting for what the handle lacks, without consuming it.
struct Watch<'a> {
    shared: &'a Shared,
    at: &'a At,
}

impl Operation for Watch<'_> {
    type Done = Woken;
    type Fault = Fault;

    fn attempt(&mut self, _: bool) -> Result<Woken, NotNow> {
        let state = self.shared.state();
        let (ask, asked, stop) = (state.ask, state.asked, state.stop);
        drop(state);
        if stop {
            return Ok(Woken::Stopped);
        }
        // Without an ask: it is to be asked anew.
        if ask.is_none_or(|ask| self.at.is_there(ask)) {
            return Ok(Woken::Progress(asked));
        }
        Err(if self.at.need() == Need::Block { NotNow::NoBlock } else { NotNow::Nothing })
    }

    fn may_wait(&self) -> Result<(), Fault> {
        self.at.participant.is_counted_alive()
    }

    /// Nothing was consumed: what the token was for is there for others.
    fn more(&self) -> bool {
        true
    }

    fn scan(&mut self, sem: u16, must: bool) -> Result<Heard, Fault> {
        self.at.participant.scan_for_sleeper(sem, must)
    }

    /// Its handle is to find out, whatever it does next.
    fn owes(&mut self, refusal: Refusal) {
        let mut state = self.shared.state();
        state.owed = Some(refusal);
        self.shared.ring_if_asked(&mut state);
        self.at.cells.control().changes.fetch_add(1, Ordering::Release);
    }

    fn fault(&self, cause: Cause) -> Fault {
        match cause {
            Cause::Sleep(refusal) => self.at.participant.mapped().refused(refusal),
            // It only looks, which corrupts nothing.
            Cause::Attempt(_) => Fault::Closed,
        }
    }
}

impl Readiness {
    /// The descriptor of a handle, readable: only a try finds out whether
    /// there is nothing.
    pub(super) fn new(
        participant: &Arc<Participant>,
        cells: Cells,
        block: Block,
        side: Side,
    ) -> sys::Result<Self> {
        let (reader, writer) = pipe::pair()?;
        reader.set_blocking(false)?;
        let state = Mutex::default();
        let shared = Arc::new(Shared { state, changed: Condvar::new(), reader, writer });
        shared.ring(&mut shared.state());
        let at = At { cells, participant: Arc::clone(participant), block, side };
        let watcher = Watcher { shared: Arc::clone(&shared), at: at.clone() };
        let body = move || {
            watcher.run();
            let shared = Arc::clone(&watcher.shared);
            // What it keeps of the segment goes before anybody is told.
            drop(watcher);
            shared.state().ended = true;
            shared.changed.notify_all();
        };
        let thread = Some(sys::thread::start("tombolo-ready", body)?);
        Ok(Self { shared, at, thread })
    }

    /// Takes the byte out, and has the thread wait; says why nobody can wait there
    /// any more.
    pub(super) fn arm(&self, ask: Ask) -> Result<(), Fault> {
        let mut state = self.shared.state();
        if let Some(fault) = &state.gone {
            return Err(fault.clone());
        }
        state.asked += 1;
        if state.ask.replace(ask).is_none() {
            // If it is not there, the application has read it.
            let _ = self.shared.reader.read_record(&mut [0]);
            self.shared.changed.notify_all();
        }
        Ok(())
    }

    /// Why a token that the thread had to pass on could not be, if so. It is the
    /// handle's from here on.
    pub(super) fn take_owed(&self) -> Option<Refusal> {
        self.shared.state().owed.take()
    }

    /// Makes the descriptor readable, so that the handle asks anew, and has the
    /// thread come back for that.
    pub(super) fn restart(&self) -> Result<(), Refusal> {
        let mut state = self.shared.state();
        self.shared.ring_if_asked(&mut state);
        self.rouse_until(state, |state| !state.parked).map(drop)
    }

    /// Wakes the thread, with others, until this is so or it has ended.
    fn rouse_until<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        so: impl Fn(&State) -> bool,
    ) -> Result<MutexGuard<'a, State>, Refusal> {
        let finished = || self.thread.as_ref().is_none_or(JoinHandle::is_finished);
        while !so(&state) && !state.ended && !finished() {
            if state.parked {
                drop(state);
                self.at.rouse(|| so(&self.shared.state()))?;
                state = self.shared.state();
            }
            if !so(&state) && !state.ended {
                let waited = self.shared.changed.wait_timeout(state, ROUND);
                (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
            }
        }
        Ok(state)
    }

    /// Ends the thread.
    pub(super) fn end(mut self) -> Result<(), Refusal> {
        self.stop()
    }

    fn stop(&mut self) -> Result<(), Refusal> {
        if self.thread.is_none() {
            return Ok(());
        }
        let At { participant, .. } = &self.at;
        if participant.guard().in_child() {
            // There is no such thread here, and whoever held the lock is not
            // here either.
            mem::forget(self.thread.take());
            return Ok(());
        }
        let mut state = self.shared.state();
        state.stop = true;
        self.shared.changed.notify_all();
        if !participant.is_known() {
            // Either the set is gone and the thread with it, or it is out of
            // reach, in another IPC namespace.
            return Ok(());
        }
        // Refused, it is left to itself: it ends when something else wakes it,
        // and keeps what it needs until then.
        drop(self.rouse_until(state, |state| state.ended)?);
        if let Some(thread) = self.thread.take() {
            // It ended without a panic, or is not worth one.
            let _ = thread.join();
        }
        Ok(())
    }
}

impl Drop for Readiness {
    fn drop(&mut self) {
        // A handle that is closed is told: see `Endpoint::close`.
        let _ = self.stop();
    }
}

impl AsFd for Readiness {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.shared.reader.as_fd()
    }
}

impl AsRawFd for Readiness {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readiness").field("fd", &self.as_raw_fd()).finish_non_exhaustive()
    }
}
