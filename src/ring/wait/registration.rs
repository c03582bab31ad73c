//! A waiter's registration, which it keeps from one wait to the next, so that the next
//! wait costs less.
//!
//! Registering a waiter takes a heavy fence, and a recheck after a while. Scanning for
//! deaths takes a system call. A waiter that waits again and again stays registered, and
//! takes a token only as long as no process has died.
//!
//! ```text
//!              ┌──────────── raise, heavy fence ───────────┐
//!              │                                           ▼
//!   ──▶  not counted                                   counted ◀── next version,
//!              ▲                                        │    │     fence
//!              ├── found without sleeping, timed out, ──┘    ▼     │
//!              │   let go                                  sleep ──┤ woken, and came
//!              └── woken, and came late ───────────────────────────┘ at once last time
//! ```
//!
//! **No wake-up is lost** for a waiter that stays registered. Every notifier sees a count
//! that is not 0: either all have seen the increment, or the sleep is a short one (the
//! recheck in [`event`]). So a notifier posts a token, or finds in its memo that it has
//! posted one for this very word. In the second case it fences and reads the word again,
//! while the waiter has changed the word, fenced and tried. At least one of the two sees
//! the other (edge V).
//!
//! **A registered waiter that does not wait** is counted for nothing, and each send checks
//! behind a fence whether it owes a token. So a waiter stays registered only if it waited
//! again within a short time after its last wake-up, only if it is the only waiter, and
//! only until it gets a result without sleeping.
//!
//! **No death is slept through.** The waiter has scanned for all deaths up to the value of
//! the [`wake_all`] semaphore that it last read. The kernel gives it a token only while the
//! semaphore has that value, and compares at that instant. Otherwise the waiter takes a
//! token without the condition, and then scans. It does so for some time if the semaphore
//! changes for other reasons; if it does not stay registered; and if many processes live,
//! because a sleeper with a condition makes the kernel go through all sleepers of the set
//! at each operation.
//!
//! **The end of a given participant.** A waiter that also waits for the end of a given
//! participant is *strict*. That participant may have no credit on this event's semaphore,
//! but every participant has one on the wake-all semaphore, and increments it when it
//! leaves. So a strict waiter never takes a token without the condition. It scans, asks
//! whether the participant lives, tries, and sleeps while the semaphore has the value of
//! that scan. The scan or the question finds an end before them. A later end changes the
//! semaphore, which the kernel compares at the instant of falling asleep.

use core::cell::Cell;

use super::super::event::{self, Life};
use super::super::kernel::{Kernel, sooner};
use super::Heard;
use crate::sync::{AtomicU64, Ordering, fence};

/// After the wake-all semaphore has ended a sleep, so many are plain.
const PLAIN: u32 = 64;

/// When a waiter has to look once more, and whether it comes back at once.
#[derive(Debug)]
pub(super) struct Timing<D: Copy> {
    /// When everybody is sure to have seen that it is counted, if not yet.
    unseen: Cell<Option<D>>,
    /// Until when its next wait comes at once.
    at_once: Cell<Option<D>>,
}

impl<D: Copy + Ord> Timing<D> {
    pub(super) const fn new() -> Self {
        Self { unseen: Cell::new(None), at_once: Cell::new(None) }
    }

    /// Whether this is a wait right after the last one.
    pub(super) fn comes_at_once<K: Kernel<Deadline = D>>(&self, kernel: &K) -> bool {
        self.at_once.take().is_some_and(|until| kernel.now() < until)
    }

    /// The last wait has ended, by a wake.
    pub(super) fn woken<K: Kernel<Deadline = D>>(&self, kernel: &K) {
        self.at_once.set(kernel.at_once());
    }

    /// It is counted, behind a heavy fence.
    pub(super) fn unseen_until_soon<K: Kernel<Deadline = D>>(&self, kernel: &K) {
        self.unseen.set(kernel.soon());
    }

    /// When a sleep before `until` has to end for a recheck.
    pub(super) fn recheck<K: Kernel<Deadline = D>>(
        &self,
        kernel: &K,
        until: Option<D>,
    ) -> Option<D> {
        let unseen = self.unseen.get()?;
        if kernel.now() >= unseen {
            self.seen();
            return None;
        }
        sooner(Some(unseen), until)
    }

    /// Everybody has seen it by now.
    pub(super) fn seen(&self) {
        self.unseen.set(None);
    }
}

/// One waiter's, for one event.
#[derive(Debug)]
pub(crate) struct Registration<D: Copy> {
    /// Whether the event counts it.
    counted: Cell<bool>,
    timing: Timing<D>,
    /// What the wake-all semaphore was when the dead were last looked for; `None` if it had
    /// better be left alone.
    heard: Cell<Option<u16>>,
    /// What the semaphore was then over which it sleeps.
    own: Cell<u16>,
    /// How many sleeps are still to be plain.
    plain: Cell<u32>,
    /// Whether none may be.
    strict: Cell<bool>,
}

impl<D: Copy + Ord> Registration<D> {
    /// Of one who has looked for the dead when the wake-all semaphore was this.
    pub(crate) const fn new(heard: Option<u16>) -> Self {
        Self {
            counted: Cell::new(false),
            timing: Timing::new(),
            heard: Cell::new(heard),
            own: Cell::new(0),
            plain: Cell::new(0),
            strict: Cell::new(false),
        }
    }

    /// Whether every sleep is to end with a stroke of the wake-all semaphore. Then what
    /// listens for this waiter always says what the wake-all semaphore was.
    pub(crate) fn be_strict(&self, strict: bool) {
        self.strict.set(strict);
    }

    pub(super) fn is_strict(&self) -> bool {
        self.strict.get()
    }

    /// Whether it may not sleep before the dead have been looked for.
    pub(super) fn is_unheard(&self) -> bool {
        self.strict.get() && self.heard.get().is_none()
    }

    /// When it has to look once more, and whether it comes back at once.
    pub(super) const fn timing(&self) -> &Timing<D> {
        &self.timing
    }

    /// The last wait has ended, by a wake.
    pub(crate) fn woken<K: Kernel<Deadline = D>>(&self, kernel: &K) {
        self.timing.woken(kernel);
    }

    /// Has everybody who publishes from here on see a new word with this waiter
    /// in its count; what others have published by now, a try will find.
    pub(crate) fn announce<K: Kernel<Deadline = D>>(
        &self,
        kernel: &K,
        waiting: &AtomicU64,
        record: &AtomicU64,
    ) {
        if self.counted.get() {
            event::renew(waiting);
            // Edge V.
            fence(Ordering::SeqCst);
        } else {
            event::raise(waiting, record);
            // Edge W.
            kernel.heavy_fence();
            self.timing.unseen_until_soon(kernel);
            self.counted.set(true);
        }
    }

    /// What the wake-all semaphore has to be for the next token, if this waiter `stays`.
    /// `None` for a token that is taken whatever it is.
    pub(super) fn compares(&self, stays: bool) -> Option<u16> {
        if self.strict.get() {
            return self.heard.get();
        }
        let plain = self.plain.get();
        self.plain.set(plain.saturating_sub(1));
        self.heard.get().filter(|_| stays && plain == 0)
    }

    /// The wake-all semaphore was something else.
    pub(super) fn refused(&self) {
        self.plain.set(PLAIN);
    }

    /// The dead have been looked for, and the semaphores were this before.
    pub(crate) fn listened(&self, heard: Heard) {
        self.heard.set(heard.wake_all);
        self.own.set(heard.own);
    }

    /// What its semaphore was when the dead were last looked for.
    pub(super) fn own(&self) -> u16 {
        self.own.get()
    }

    /// Whether the event counts this waiter.
    pub(crate) fn is_counted(&self) -> bool {
        self.counted.get()
    }

    /// Is not counted any more. To be called before the record is used for
    /// anything else.
    pub(crate) fn let_go(&self, waiting: &AtomicU64, record: &AtomicU64, life: Life<'_>) {
        if self.counted.replace(false) {
            event::lower(waiting, record, life);
        }
    }
}
