//! The threads of a process that wait for replies: one of them sleeps for all.
//!
//! A process has one bell for all of its calls, so whoever sleeps over it is woken by every reply
//! to this process. Only one thread at a time does, the *leader*. The others, its *followers*,
//! wait in this process's memory, each for itself.
//!
//! ```text
//!  a thread             joins ── nobody leads ──▶ leads: listens ─▶ tells followers ─▶ looks ─┐
//!                         │ somebody leads            ▲ ▲   whose calls have ended    sleeps ◀┘
//!                         ▼                           │ └──────────────────────────────┘ │
//!  over ◀── looks, says *asleep*                      │                   its call has ended,
//!   ▲          │ nothing                              │                   or its time is up
//!   │          ▼                                      │                                  ▼
//!   └─ told ◀─ waits ─────────── is to lead ──────────┴── the first that is not told ◀─ passes on
//! ```
//!
//! **No wake-up is lost.** A follower is in the list before it looks and says *asleep*. So
//! whoever ends its call after that strikes the bell. If the leader listened before the stroke,
//! its sleep ends, it listens again and looks at the list. If it listened after the stroke, it
//! looks at the list after that, and finds the call ended. A change that concerns a follower
//! strikes the wake-all semaphore, which the leader compares too. And whoever comes to lead
//! listens first. The lead is passed on under the lock that the list is under, also by a leader
//! that panics. So somebody leads as long as somebody waits.
//!
//! A reply thus has at most two threads run: the one that it is for, and the leader.

use core::mem;
use std::any::Any;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::channel::changes;
use crate::ring::calls::Sight;
use crate::ring::wait::Want;
use crate::segment::Participant;
use crate::storage::Cells;

/// What a thread waits for, as others look for it.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) cells: Cells,
    pub(super) call: Sight,
    /// The changes that it knows of.
    pub(super) seen: u64,
}

impl Watch {
    fn is_due(&self) -> bool {
        self.cells.has(Want::Reply(self.call)) || changes::count(&self.cells) != self.seen
    }
}

/// What a follower has been told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Nothing,
    /// To look.
    Due,
    /// To lead.
    Leads,
}

#[derive(Debug)]
struct Follower {
    watch: Watch,
    told: Told,
    bell: Arc<Condvar>,
}

#[derive(Debug, Default)]
struct State {
    led: bool,
    followers: Vec<Option<Follower>>,
}

/// The threads of one process that wait for replies in one segment.
#[derive(Debug, Default)]
pub(super) struct Company(Mutex<State>);

/// A follower's place, until it is dropped.
pub(super) struct Place<'a> {
    company: &'a Company,
    at: usize,
    bell: Arc<Condvar>,
}

/// The lead, until it is dropped.
pub(super) struct Lead<'a>(&'a Company);

/// What one is in the company.
pub(super) enum Part<'a> {
    Leads(Lead<'a>),
    Follows(Place<'a>),
}

impl Company {
    /// That of this process in the segment.
    pub(super) fn of(participant: &Participant) -> Arc<Self> {
        let mut all = participant.shared.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = all.iter().find_map(|one| one.upgrade()?.downcast().ok()) {
            return known;
        }
        let made: Arc<dyn Any + Send + Sync> = Arc::new(Self::default());
        all.push(Arc::downgrade(&made));
        drop(all);
        made.downcast().unwrap_or_default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Becomes the leader if there is none, or follows.
    pub(super) fn join(&self, watch: impl FnOnce() -> Watch) -> Part<'_> {
        let mut state = self.state();
        if !mem::replace(&mut state.led, true) {
            return Part::Leads(Lead(self));
        }
        let bell = Arc::new(Condvar::new());
        let follower = Follower { watch: watch(), told: Told::Nothing, bell: Arc::clone(&bell) };
        let at = match state.followers.iter().position(Option::is_none) {
            Some(vacant) => vacant,
            None => {
                state.followers.push(None);
                state.followers.len() - 1
            }
        };
        state.followers[at] = Some(follower);
        Part::Follows(Place { company: self, at, bell })
    }

    /// Tells those to look for whom that is worth it. The leader has listened before.
    pub(super) fn tell(&self) {
        for follower in self.state().followers.iter_mut().flatten() {
            if follower.told == Told::Nothing && follower.watch.is_due() {
                follower.told = Told::Due;
                follower.bell.notify_one();
            }
        }
    }
}

impl State {
    /// Has another one lead, if one waits. Those who were told to look come again.
    fn pass_on(&mut self) {
        let waits = |follower: &&mut Follower| follower.told == Told::Nothing;
        match self.followers.iter_mut().flatten().find(waits) {
            Some(follower) => {
                follower.told = Told::Leads;
                follower.bell.notify_one();
            }
            None => self.led = false,
        }
    }
}

impl<'a> Place<'a> {
    /// Waits until it is told something, or the time is up.
    pub(super) fn wait(&self, until: Option<Instant>, now: impl Fn() -> Instant) -> Told {
        let told = |state: &State| {
            state.followers[self.at].as_ref().map_or(Told::Due, |follower| follower.told)
        };
        let mut state = self.company.state();
        while told(&state) == Told::Nothing {
            state = match until {
                None => self.bell.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(until) => {
                    let left = until.saturating_duration_since(now());
                    if left.is_zero() {
                        break;
                    }
                    let waited = self.bell.wait_timeout(state, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        told(&state)
    }

    /// Takes the lead that it was told to take.
    pub(super) fn lead(self) -> Lead<'a> {
        let company = self.company;
        if let Some(follower) = &mut company.state().followers[self.at] {
            follower.told = Told::Due;
        }
        Lead(company)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut state = self.company.state();
        let follower = state.followers[self.at].take();
        if follower.is_some_and(|follower| follower.told == Told::Leads) {
            state.pass_on();
        }
    }
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        self.0.state().pass_on();
    }
}
