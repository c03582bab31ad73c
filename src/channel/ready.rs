//! A descriptor that tells an event loop when a handle can go on.
//!
//! A handle that is asked for one gets a thread, which sleeps as any blocked
//! call does ([`event::park`]) and then writes one byte into a pipe:
//!
//! ```text
//!  the handle                                          its thread
//!
//!  a try finds nothing: takes the byte,  ── armed ──▶  announces itself, looks,
//!  says what refused it                                sleeps, looks
//!                                                          │ there, or changed
//!  event loop: readable ◀───────────────── byte ───────────┤
//!  tries until nothing is found                            ▼ passes the token on
//!                                                       waits to be armed
//! ```
//!
//! **No readiness is lost.** What the thread looks for is the very thing that
//! refused the try, as the try saw it; so what has come since is found before
//! the first sleep. Of what comes later it is told like everybody who waits.
//!
//! **It keeps nothing from others.** It consumes nothing, so the token it has
//! taken is for somebody else too: it passes it on, whenever the event loop
//! will come round. Then it no longer waits, and does not take it again: a
//! token goes once through all who wait, and round no more. A sender of MPMC
//! bytes, who may want a block now and a place the next time, has its thread
//! wait over the wake-all semaphore ([`places`]), where there is no token to be kept.
//!
//! **Ending it.** A thread that sleeps on the channel's semaphore can be woken
//! by a token only, which others may take. Each who sleeps is given one; the
//! thread passes on what it took. Only one that was about to sleep can miss it,
//! and for that it is done again.

use core::cell::RefCell;
use core::fmt;
use core::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::endpoint::{self, Endpoint};
use crate::error::Fault;
use crate::kinds::mpmc_bytes::BlockSlots;
use crate::ring::event::{self, Event, Parked};
use crate::ring::kernel::Refusal;
use crate::ring::registration::Registration;
use crate::ring::table::Blind;
use crate::ring::wait::Want;
use crate::ring::{blocks, mpmc, slot_waiters, spsc};
use crate::segment::{Participant, Peer, Side};
use crate::storage::{Block, Cells, RingKind};
use crate::sync::Ordering;
use crate::sys;
use crate::sys::pipe;

/// How long a thread that is to end has for getting to sleep, or for being
/// woken, before everybody is woken again.
pub(super) const ROUND: Duration = Duration::from_millis(1);

/// Whether what an attempt lacked is there now.
fn is_there(want: Want, cells: &Cells) -> bool {
    match want {
        Want::Change => false,
        Want::Anything => spsc::len(cells) > 0,
        Want::Room(limit) => spsc::freed(cells, limit),
        Want::Message(cursor) => mpmc::available(cells, cursor),
        Want::Slot(cursor) => mpmc::room(cells, cursor),
        Want::Block => {
            BlockSlots::of(cells).is_some_and(|block_slots| blocks::any_free(&block_slots))
        }
    }
}

/// What a thread is to wait for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask {
    pub(super) want: Want,
    /// `changes` when the handle last looked.
    pub(super) changes: u64,
    /// A receiver found no sender left, and a message in the hands of a
    /// reader: it also waits for that one to have let go of it.
    pub(super) alone: bool,
    /// The participant whose end it also waits for.
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
    fn event(&self) -> Event<'_> {
        endpoint::event(&self.participant, &self.cells, &self.block, self.side)
    }

    /// Whether its thread waits over the wake-all semaphore.
    fn is_for_all(&self) -> bool {
        self.side == Side::Sender && self.block.kind == RingKind::MpmcBytes
    }

    /// Wakes its thread, with others; unless it is about to sleep, perhaps.
    fn rouse(&self, enough: impl Fn() -> bool) -> Result<(), Refusal> {
        let semaphores = &self.participant.mapped().semaphores;
        if self.is_for_all() {
            slot_waiters::freed(semaphores, &self.cells.control().slots_waiting)
        } else {
            event::rouse(semaphores, self.event(), enough)
        }
    }

    /// Whether a try could come to something, or to another answer.
    fn is_there(&self, ask: Ask) -> bool {
        endpoint::changes(&self.cells) != ask.changes
            || is_there(ask.want, &self.cells)
            || ask.peer.is_some_and(|peer| !peer.is_live(self.participant.mapped()))
            || ask.alone && (self.block.kind.is_single() || !mpmc::in_flight(&self.cells))
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
    registration: Registration<Instant>,
    /// Why a look has failed.
    fault: RefCell<Option<Fault>>,
}

impl Watcher {
    fn run(&self) {
        while let Some(ask) = self.armed() {
            let parked = self.park(ask);
            let mut state = self.shared.state();
            state.parked = false;
            self.shared.changed.notify_all();
            if let Some(refusal) = self.registration.take_owed() {
                state.owed = Some(refusal);
                self.shared.ring_if_asked(&mut state);
                // Its handle is to find out, whatever it does next.
                self.at.cells.control().changes.fetch_add(1, Ordering::Release);
            }
            match parked {
                Parked::Ready(Woken::Progress(asked)) => {
                    // The handle may have been and had it meanwhile.
                    if state.asked == asked {
                        self.shared.ring_if_asked(&mut state);
                    }
                }
                Parked::Ready(Woken::Stopped) => return,
                // Without a deadline there is no time-out.
                Parked::TimedOut => {}
                Parked::Gone(blind) => {
                    let why = self.fault.borrow_mut().take();
                    let why = why.unwrap_or_else(|| self.at.participant.mapped().fault(blind));
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

    fn park(&self, ask: Ask) -> Parked<Woken> {
        let At { participant, block, side, .. } = &self.at;
        let attempt = || {
            let state = self.shared.state();
            let (ask, asked, stop) = (state.ask, state.asked, state.stop);
            drop(state);
            if stop {
                return Some(Woken::Stopped);
            }
            // Without an ask: it is to be asked anew.
            ask.is_none_or(|ask| self.at.is_there(ask)).then_some(Woken::Progress(asked))
        };
        let blind = |fault| {
            *self.fault.borrow_mut() = Some(fault);
            Blind::NotMember
        };
        let semaphores = &participant.mapped().semaphores;
        if self.at.is_for_all() {
            let (waiting, record) = endpoint::slot_waiters(participant, &self.at.cells, block);
            let listen = || participant.listen().map_err(blind);
            return slot_waiters::park(semaphores, waiting, record, None, attempt, listen);
        }
        let record = endpoint::record(participant, block, *side);
        let (event, registration) = (self.at.event(), &self.registration);
        let strict = ask.peer.is_some();
        registration.be_strict(strict);
        let look = || participant.listen().map(|heard| strict.then_some(heard)).map_err(blind);
        // Nothing was consumed: what the token was for is there for others.
        let parked =
            event::park(semaphores, event, record, registration, None, attempt, |_| true, look);
        // It comes back when the handle has been asked, and has found nothing.
        registration.let_go(event, record);
        parked
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
        let watcher = Watcher {
            shared: Arc::clone(&shared),
            at: at.clone(),
            registration: Registration::new(None),
            fault: RefCell::new(None),
        };
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

impl Endpoint {
    /// Has the thread behind the descriptor wait for what refused a try, if
    /// there is one.
    pub(super) fn await_readiness(&self, want: impl FnOnce() -> Want) -> Result<(), Fault> {
        let Some(readiness) = self.readiness.get() else { return Ok(()) };
        match readiness.arm(self.ask(want())) {
            Ok(()) => Ok(()),
            Err(fault) => self.participant().look().and(Err(fault)),
        }
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
