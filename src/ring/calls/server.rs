//! What a server does: take a call, and let it go.

use core::cell::Cell;

use super::shown::{hide, show, shown};
use super::word::{CallWord, Phase, load, swap};
use super::{TRIES, Words};

/// A call that this server has taken and has not let go yet.
#[derive(Debug)]
#[must_use]
pub struct InHand {
    pub(crate) index: u64,
    turn: u64,
    server: u16,
}

/// How a server lets a call go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The answer is written.
    Answered,
    /// There is no answer, and the client hears that.
    Refused,
    /// Another server is to take it.
    GivenBack,
}

/// What has become of a call that its server has let go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LetGo {
    /// It has ended. If there is a participant here, it sleeps and has to be woken.
    Over(Option<u16>),
    /// It waits for another server: one of those that wait has to be woken. And this participant,
    /// its client, whether it sleeps or not: it finds out whether there is another server.
    Open(u16),
    /// The client had gone. The slot is free: a client that waits for one has to be woken.
    Unwanted,
    /// The slot is not in this server's hands. Others have taken this participant for dead, or
    /// the word was overwritten.
    Lost(u64),
}

impl InHand {
    /// Whether a word says that this server has this call.
    fn is(&self, seen: CallWord) -> bool {
        let phase = matches!(seen.phase, Phase::Taken | Phase::Abandoned);
        phase && (seen.turn, seen.server) == (self.turn, self.server)
    }
}

/// Takes an open call for `server`. Searches from `hint` on, and moves it behind the call.
///
/// So of the calls that are open at the same time, a server takes each one before it takes any
/// slot's call a second time.
pub(crate) fn take(words: &impl Words, hint: &Cell<u64>, server: u16) -> Option<InHand> {
    let first = hint.get() % words.slots();
    let call = shown(words, first).find_map(|index| take_at(words, index, server))?;
    // Otherwise a server that looks would take the slot's cache line away from its client.
    hide(words, call.index);
    hint.set(call.index + 1);
    Some(call)
}

/// Takes the call in this slot, if it is open.
#[inline]
fn take_at(words: &impl Words, index: u64, server: u16) -> Option<InHand> {
    let slot = words.slot(index);
    for _ in 0..TRIES {
        let seen = load(slot);
        if seen.phase != Phase::Open {
            return None;
        }
        if swap(slot, seen, CallWord { phase: Phase::Taken, server, ..seen }) {
            return Some(InHand { index, turn: seen.turn, server });
        }
    }
    None
}

/// Whether the client still waits for the answer.
pub(crate) fn is_wanted(words: &impl Words, call: &InHand) -> bool {
    let seen = load(words.slot(call.index));
    call.is(seen) && seen.phase == Phase::Taken
}

/// Lets a call go.
pub(crate) fn let_go(words: &impl Words, call: InHand, outcome: Outcome) -> LetGo {
    let slot = words.slot(call.index);
    let mut seen = load(slot);
    for _ in 0..TRIES {
        if !call.is(seen) {
            break;
        }
        let (to, let_go) = match (seen.phase, outcome) {
            (Phase::Abandoned, _) => (seen.freed(), LetGo::Unwanted),
            (_, Outcome::GivenBack) => (seen.reopened(seen.again), LetGo::Open(seen.client)),
            (_, Outcome::Answered) => (seen.over(Phase::Answered), told(seen)),
            (_, Outcome::Refused) => (seen.over(Phase::Refused), told(seen)),
        };
        if matches!(let_go, LetGo::Open(_)) {
            show(words, call.index);
        }
        if swap(slot, seen, to) {
            return let_go;
        }
        seen = load(slot);
    }
    LetGo::Lost(seen.word())
}

const fn told(seen: CallWord) -> LetGo {
    LetGo::Over(if seen.asleep { Some(seen.client) } else { None })
}
