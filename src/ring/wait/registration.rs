//! What a waiter keeps from one wait to the next, so that the next costs less.
//!
//! Announcing a waiter takes a heavy fence, and a second look after a while;
//! finding out whether somebody has died takes a call. One who waits again and
//! again stays announced, and takes a token only as long as nobody has died.
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
//! **No wake is lost** for one who stays counted. Every notifier sees a count
//! that is not 0: the raise has been seen by all, or the sleep is a short one
//! ([`event`], the second look). So a notifier rings, or finds in its memo that
//! it has rung for this very word; then it fences and reads the word again, and
//! the waiter has made it another, fenced, and tried: one sees the other (edge
//! V).
//!
//! **Who stays away** is counted for nothing, and each send asks behind a fence
//! whether it is owed a token. So one stays only if it came back at once the
//! last time, only if it is the only one who waits, and no longer than until it
//! finds something, or nothing, without sleeping.
//!
//! **No death is slept through.** All deaths up to the stroke of the [`wake_all`]
//! that was heard have been looked for; the kernel gives a token only while the
//! wake-all semaphore is what was heard, and compares at that instant. Else a token is taken
//! plainly, and followed by a look: for some time where the wake-all semaphore strikes for
//! other reasons, by those who do not stay, and where many live, because one who
//! compares has the kernel ask all who sleep over the set at each operation.
//!
//! **A death elsewhere.** Whoever waits for a certain participant's end, too, is
//! [strict](Standing::be_strict). That participant may have no credit on this
//! event's semaphore, but each has one on the wake-all semaphore, and strikes it when it
//! leaves. So a strict waiter never takes a token plainly. It looks, asks whether
//! that participant lives, tries, and sleeps while the wake-all semaphore is what was heard by
//! that look. An end before the look is found by it, or by the question; an end
//! after it makes the wake-all semaphore another, which the kernel compares at the instant of
//! falling asleep.

use core::cell::Cell;

use super::super::event;
use super::super::kernel::{Kernel, sooner};
use crate::sync::{AtomicU64, Ordering, fence};

/// After the wake-all semaphore has ended a sleep, so many are plain.
const PLAIN: u32 = 64;

/// One waiter's, for one event.
#[derive(Debug)]
pub(crate) struct Registration<D: Copy> {
    /// Whether the event counts it.
    counted: Cell<bool>,
    /// When everybody is sure to have seen that, if not yet.
    unseen: Cell<Option<D>>,
    /// Until when its next wait comes at once.
    at_once: Cell<Option<D>>,
    /// What the wake-all semaphore was when the dead were last looked for; `None` if it had
    /// better be left alone.
    heard: Cell<Option<u16>>,
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
            unseen: Cell::new(None),
            at_once: Cell::new(None),
            heard: Cell::new(heard),
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

    /// Whether this is a wait right after the last one.
    pub(super) fn comes_at_once<K: Kernel<Deadline = D>>(&self, kernel: &K) -> bool {
        self.at_once.take().is_some_and(|until| kernel.now() < until)
    }

    /// The last wait has ended, by a wake.
    pub(crate) fn woken<K: Kernel<Deadline = D>>(&self, kernel: &K) {
        self.at_once.set(kernel.at_once());
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
            self.unseen.set(kernel.soon());
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

    /// When a sleep before `until` has to end for a second look.
    pub(super) fn second_look<K: Kernel<Deadline = D>>(
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

    /// The wake-all semaphore was something else.
    pub(super) fn refused(&self) {
        self.plain.set(PLAIN);
    }

    /// The dead have been looked for, and the wake-all semaphore was this before.
    pub(super) fn listened(&self, heard: Option<u16>) {
        self.heard.set(heard);
    }

    /// Whether the event counts this waiter.
    pub(crate) fn is_counted(&self) -> bool {
        self.counted.get()
    }

    /// Is not counted any more. To be called before the record is used for
    /// anything else.
    pub(crate) fn let_go(&self, waiting: &AtomicU64, record: &AtomicU64) {
        if self.counted.replace(false) {
            event::lower(waiting, record);
        }
    }
}
