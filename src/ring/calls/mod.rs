//! Calls: a request to whichever server takes it, and that server's answer to the client.
//!
//! A call has a *slot* for as long as it lasts: with the request, the answer, and one word that
//! says what is happening to it. A client claims a free slot for each call, so it may have many
//! at once. A server may have many in hand, and may answer them in any order.
//!
//! ```text
//!             claim            open             take             answer
//!   FREE ──────────▶ CLAIMED ───────▶ OPEN ─────────────▶ TAKEN ────────▶ ANSWERED ─┐
//!    ▲  ▲  ▲         (client)       (client)        (client, server)      (client)  │
//!    │  │  │            │              │ ▲   given back,  │  │  │                   │
//!    │  │  │      abort │      give up │ └── or the server│  │  │ refuse            │
//!    │  │  └────────────┘              │     dead, and    │  │  └──────▶ REFUSED ─┐ │
//!    │  └──────────────────────────────┘     to be done ──┤  │ server   (client)  │ │
//!    │                                       again        │  │ dead              │ │
//!    │                                                    │  └───────▶ FAILED ─┐ │ │
//!    │                               the client gives up, │           (client) │ │ │
//!    │                               or is dead           ▼                    │ │ │
//!    ├───────── the server lets go, or is dead ─── ABANDONED(server)           │ │ │
//!    └──────────────────────── finish ─────────────────────────────────────────┴─┴─┘
//! ```
//!
//! Where the client is dead, a sweep frees the slot in every phase but TAKEN. Each arrow to
//! FREE raises the turn. Every change is one compare-and-swap of the whole word, with its
//! turn and its participants. So what a participant does too late fails: an answer to another
//! turn, or a step of one that others have taken for dead.
//!
//! **A call is served once.** Only one swap leads from OPEN to TAKEN. It is served again only if
//! its server gives it back, or dies and the client has allowed that ([`open`]: `again`). The
//! request is in the slot, so the sweep of the dead server opens the call anew, without its
//! client.
//!
//! **Nobody gets another call's answer.** A slot that a server has is not free before the
//! server has let go of it, also if the client has gone. Otherwise the server could still
//! write into it when another call has it.
//!
//! **Nobody is in the way of another call.** There is no order between slots. A client that is
//! stopped while it writes, and a server that is stopped anywhere, keep the slots that they
//! have, and nothing else. Servers find open calls by a bit for each slot
//! ([`shown`](self::shown)), and look at the slots in turn.
//!
//! **How a client sleeps.** It reads the semaphore that wakes its participant and the wake-all
//! semaphore, says in the call's word that it is *asleep* ([`doze`]), which is also its last
//! look, and then sleeps while both semaphores are what they were. The participant that ends the call finds
//! *asleep* in the word that it replaces, and strikes the client's semaphore; or *asleep* comes
//! later, and then [`doze`] finds the call ended. Both are swaps of one word, so neither needs a
//! fence, and no second look is due. The semaphores are read before the last look, so the
//! stroke changes what was read. A call that has not ended keeps *asleep*: a client that was
//! woken for something else reads the semaphores anew, looks, and sleeps. A server that gives a call
//! back strikes too, whether the client sleeps or is about to: it finds out whether that was the last
//! server.
//!
//! **Deaths.** Each death strikes the wake-all semaphore ([`wake_all`](super::wake_all)), and
//! every client that sleeps compares it. So it wakes, looks for the dead, and sweeps: its call
//! is FAILED, or OPEN for another server, when that is done. A client whose last server has
//! gone finds that its call is OPEN and gives it up. A sweep needs to wake no client: the death
//! has. It wakes servers where it has opened a call, and clients where it has freed a slot.
//! Likewise, if a server dies between answering and its stroke, its death wakes the client.
//!
//! Edges. Q: opening (Release) with taking (Acquire) passes the request on. A: what ends a call
//! (Release) with [`look`] (Acquire) passes the answer on. F: freeing (Release) with claiming
//! (Acquire) passes the slot on: its last client and server are done with it. C: claiming and
//! taking (Release) with [`recover`] (Acquire): a slow sweep of a former life of this id, which
//! reads this word, sees that its victim is no longer DEAD.
//!
//! | file | what is in it |
//! |---|---|
//! | `word` | a slot's word, its phases, and how it is read and changed |
//! | `shown` | which slots may be open |
//! | `client` | claim, open, look, sleep, finish, give up |
//! | `server` | take; answer, refuse, give back |
//! | `recover` | what a sweep does about a dead participant's calls |
//! | `sleep` | how a client waits asleep for the end of its call |
//! | `observe` | questions that change nothing |

mod client;
mod observe;
mod recover;
mod server;
mod shown;
mod sleep;
mod word;

// Each crate of models compiles these files, and uses some of the names.
#[allow(unused_imports)]
pub(crate) use client::{
    Call, Draft, GivenUp, Look, Sight, abort, claim, doze, doze_over, finish, give_up, look, open,
};
#[allow(unused_imports)]
pub(crate) use observe::{available, count, room, stamp, views};
#[allow(unused_imports)]
pub(crate) use recover::recover;
#[allow(unused_imports)]
pub(crate) use server::{InHand, LetGo, Outcome, is_wanted, let_go, take};
#[allow(unused_imports)]
pub(crate) use sleep::{wait, wake};
#[allow(unused_imports)]
pub(crate) use word::{CallWord, MAX_AGAIN, Phase, TURNS};

use crate::sync::AtomicU64;

/// How many slots one word of bits is for.
pub(crate) const GROUP: u64 = u64::BITS as u64;

/// How often a change of a word is tried against others that change it. Between honest
/// participants it fails a few times at most; a hostile one could keep it from succeeding.
const TRIES: u32 = 1_000;

/// Where the words are. Every number that is passed in is below its bound.
pub(crate) trait Words {
    /// How many calls there can be at once; at least 1.
    fn slots(&self) -> u64;
    /// The word of slot `index`.
    fn slot(&self, index: u64) -> &AtomicU64;
    /// The bits of the slots from `GROUP * group` on.
    fn shown(&self, group: u64) -> &AtomicU64;
    /// The word of this slot is about to be changed. It may be fetched for that: it changes
    /// nothing but the time.
    fn fetch_slot(&self, _index: u64) {}
    /// The bits of this group are about to be changed. As above.
    fn fetch_shown(&self, _group: u64) {}
}
