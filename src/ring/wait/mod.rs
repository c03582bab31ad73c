//! Waiting: what a handle does about an operation that cannot be done yet.
//!
//! One state machine, generic over the [`Kernel`](super::kernel::Kernel) and over the
//! [`Operation`] that a channel's end implements. A thread that blocks, the thread behind
//! a descriptor and the models drive this very machine; a waker can drive it too, because
//! polling, registering and sleeping are separate calls. A thread that waits for any of many
//! drives another one: [`set`]; and if it waits for very many, [`rounds`] says which to ask.
//!
//! ```text
//!   poll                                                     poll ends the session:
//!  ┌─────────────────────────────────────────────────┐
//!  │ Trying ◀──────────────────────────────┐         ├─ done ──────▶ Done
//!  │   │ not now                           │ open    │
//!  │   ▼                                   │         ├─ a fault ───▶ Over
//!  │ Resolving ── changed ─▶ FindingOut ───┘         │
//!  │   │                                             ├─ needs what comes elsewhere
//!  └───┼─────────────────────────────────────────────┘           ───▶ Needs
//!      │ needs what comes here
//!      ▼             register: raise the record and `waiting`, fence (S, W);
//!  Announced ◀───────────────  or the next version of `waiting`, fence (V)
//!      │ ▲
//!      │ └─ poll: once more, behind the fence. Done: deregister
//!      │ ▲
//!      ▼ └─ recheck is due
//!  Sleeping          {W −1}, or {W −1} while the wake-all semaphore is what it was, or
//!      │             only while that is what it was
//!      ├── the time is up ──▶ poll ──▶ TimedOut
//!      ├── the set is gone ─▶ poll ──▶ Over
//!      ▼ token, or the wake-all semaphore has changed
//!  Woken ── poll, if the token was taken while that was what it was ── done ──┐
//!      ▼                                                                     │
//!  Scanning ── look for deaths, sweep the dead ── cannot ─▶ give back, Over   │
//!      ▼                                                                     │
//!  poll ── nothing ─▶ Trying                                                 │
//!      └── done, or a fault ──▶ PassingOn: a token, if more is left ◀─────────┘
//!                                   └──▶ Done, Needs, Over
//! ```
//!
//! [`poll`] draws the first box, [`Session`] is the rest, and [`Registration`] is what
//! stays between two sessions.
//!
//! **No wake-up is lost.** Whoever makes an operation possible publishes, fences and reads
//! `waiting`; a waiter is `Announced` behind a fence before the poll that precedes its
//! sleep. One of the two sees the other: edges W and V, in [`event`](super::event) and
//! [`Registration`]. So a driver may sleep only in the state `Announced`, and only after a
//! poll in that state; [`Session`] makes any other order do nothing.
//!
//! **No token is kept.** A session that has taken a token either does what the token was
//! for and passes one on if more is left; or ends in another way and passes it on; or polls
//! in vain, and then nothing is there of what the token stood for.
//!
//! The last is true where all waiters of a queue can use the same things. So waiters that
//! lack different things do not share a queue ([`Need::is_for_all`]). Two differences
//! remain, and both concern what tells waiters that they are alone. An end that was opened
//! after the last peer had gone waits for new peers. A receiver that holds nothing waits for
//! the end of a message in another's hands, and the receiver that holds it does not. So
//! what may tell waiters that they are alone wakes all who sleep ([`Queue::rouse`],
//! [`event::rouse`](super::event::rouse)): that the last peer leaves, that a participant has
//! died, that the state of the segment changes, that a message has been released of which a
//! receiver waited for the end, and that a session ends with a fault. A waiter that is preempted between
//! its poll and its sleep, for as long as a newcomer takes to be woken and to sleep again,
//! can still miss it. It is then told by the next token or death.
//!
//! What happens to a session in each state:
//!
//! | | killed | the set is removed | a wake-up is refused | shut down, paused | a canceller |
//! |---|---|---|---|---|---|
//! | `Trying` | the ring's words name what it had claimed | the next `FindingOut` says so | the operation keeps it as owed | `changes` has grown: `FindingOut` | the poll is over |
//! | `FindingOut`, `Resolving` | nothing is held | it is found out | it is given again first; still refused: Over | it is found out | `Trying` comes next, or the poll is over at the next call |
//! | `Announced` | its record dies with it, and the sweep sets `waiting` | the sleep fails at once | nobody is woken here | a token, or a stroke of the wake-all semaphore, comes for the sleep | rouses, again and again until the session has ended |
//! | `Sleeping` | the same; the kernel's undo leaves a token for one it was granted | the sleep fails | an error of its own: poll, Over | woken by it | woken by it |
//! | `Woken`, `Scanning` | the undo leaves a token | the scan fails: Over | the token that it cannot give back is owed | the poll finds out | the poll is over, and the token is passed on |
//! | `PassingOn` | the undo leaves a token | nobody sleeps any more | the token is owed | — | — |
//!
//! A forked child has no session: its only thread is the one that forked, outside of any.
//! Its copy of a registration is never used, since each call of a handle asks first
//! whether it is in a child. A thread that is stopped in `Woken` keeps its token until the
//! next one is posted.

mod answer;
mod poll;
mod registration;
pub(crate) mod rounds;
mod session;
pub(crate) mod set;

pub(crate) use answer::{Need, NotNow, Polled, Want};
pub(crate) use poll::{Cause, Found, Heard, Operation, poll, resolve};
pub(crate) use registration::Registration;
pub(crate) use session::{Queue, Seat, Session, Waited};
