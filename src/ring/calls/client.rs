//! What a client does: claim a slot, open the call, look for its answer, give it up.

use core::cell::Cell;

use super::shown::{self, show};
use super::word::{CallWord, MAX_AGAIN, Phase, load, swap};
use super::{TRIES, Words};

/// A call slot that this client writes its request into.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Draft {
    pub(crate) index: u64,
    word: CallWord,
}

/// A call that this client has made, and that it has not let go yet.
#[derive(Debug)]
#[must_use]
pub struct Call {
    pub(crate) index: u64,
    turn: u64,
    client: u16,
}

/// Which call it is, for one who looks at it in its client's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sight {
    index: u64,
    turn: u64,
    client: u16,
}

/// How a call stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// No server has it.
    Open,
    /// This participant serves it.
    Taken(u16),
    /// The answer is there. The client reads it and then calls [`finish`].
    Answered,
    /// This participant has died over it. It is finished like an answered one.
    Failed(u16),
    /// This participant has let it go without an answer. It is finished like an answered one.
    Refused(u16),
    /// The slot is not in this call's hands. Others have taken this participant for dead, or
    /// the word was overwritten.
    Lost(u64),
}

/// What has become of a call that its client has given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GivenUp {
    /// No server had it. The slot is free: a client that waits for one has to be woken.
    Unserved,
    /// A server has it. The slot is free once that server lets go.
    Served,
    /// It has ended before. The client looks and finishes it.
    Over,
    /// As [`Look::Lost`].
    Lost(u64),
}

/// Takes a free slot for a call by `client`, searching from `hint` on, where the slot of the
/// last call is. `None` if none is free.
pub(crate) fn claim(words: &impl Words, hint: &Cell<u64>, client: u16) -> Option<Draft> {
    let slots = words.slots();
    let first = hint.get() % slots;
    for index in (first..slots).chain(0..first) {
        let slot = words.slot(index);
        let seen = load(slot);
        if seen.phase != Phase::Free {
            continue;
        }
        // It comes while the request is written.
        shown::fetch(words, index);
        let word = CallWord { phase: Phase::Claimed, client, ..seen };
        if swap(slot, seen, word) {
            hint.set(index);
            return Some(Draft { index, word });
        }
    }
    None
}

/// Gives a claimed slot back without a call. Returns whether it was this client's; then a
/// client that waits for a slot has to be woken.
pub(crate) fn abort(words: &impl Words, draft: Draft) -> bool {
    swap(words.slot(draft.index), draft.word, draft.word.freed())
}

/// Makes the call whose request is written. Up to `again` servers may die over it before it
/// fails. Servers that wait have to be notified afterwards.
///
/// # Errors
/// As [`Look::Lost`].
pub(crate) fn open(words: &impl Words, draft: Draft, again: u8) -> Result<Call, u64> {
    let Draft { index, word } = draft;
    let open = CallWord { phase: Phase::Open, again: again.min(MAX_AGAIN), ..word };
    show(words, index);
    if !swap(words.slot(index), word, open) {
        return Err(load(words.slot(index)).word());
    }
    Ok(Call { index, turn: word.turn, client: word.client })
}

impl Call {
    /// What others need to look at it.
    pub(crate) const fn sight(&self) -> Sight {
        let &Self { index, turn, client } = self;
        Sight { index, turn, client }
    }

    fn is(&self, seen: CallWord) -> bool {
        self.sight().is(seen)
    }
}

impl Sight {
    /// Whether a word is of this call and its client has not let go.
    fn is(&self, seen: CallWord) -> bool {
        let phase = matches!(seen.phase, Phase::Open | Phase::Taken) || seen.phase.is_over();
        phase && (seen.turn, seen.client) == (self.turn, self.client)
    }
}

/// How a call stands.
#[inline]
pub(crate) fn look(words: &impl Words, call: &Call) -> Look {
    // If the call has ended, it is to be finished.
    words.fetch_slot(call.index);
    let seen = load(words.slot(call.index));
    if !call.is(seen) {
        return Look::Lost(seen.word());
    }
    match seen.phase {
        Phase::Open => Look::Open,
        Phase::Taken => Look::Taken(seen.server),
        Phase::Answered => Look::Answered,
        Phase::Failed => Look::Failed(seen.server),
        Phase::Refused => Look::Refused(seen.server),
        Phase::Free | Phase::Claimed | Phase::Abandoned => Look::Lost(seen.word()),
    }
}

/// Announces that this client is going to sleep until the call has ended. Returns whether it
/// may: the call has not ended yet.
pub(crate) fn doze(words: &impl Words, call: &Call) -> bool {
    doze_over(words, call.sight())
}

/// As [`doze`], by one who sleeps in the client's place.
pub(crate) fn doze_over(words: &impl Words, call: Sight) -> bool {
    let slot = words.slot(call.index);
    for _ in 0..TRIES {
        let seen = load(slot);
        if !call.is(seen) || seen.phase.is_over() {
            return false;
        }
        if seen.asleep || swap(slot, seen, CallWord { asleep: true, ..seen }) {
            return true;
        }
    }
    false
}

/// Lets a call go that has ended. A client that waits for a slot has to be woken. `false`, as
/// [`Look::Lost`]: then also what was read of its slot may be another call's.
pub(crate) fn finish(words: &impl Words, call: Call) -> bool {
    let slot = words.slot(call.index);
    let seen = load(slot);
    // Nobody else changes the slot of a call that has ended.
    call.is(seen) && seen.phase.is_over() && swap(slot, seen, seen.freed())
}

/// Stops waiting for a call, unless it has ended.
pub(crate) fn give_up(words: &impl Words, call: &Call) -> GivenUp {
    let slot = words.slot(call.index);
    let mut seen = load(slot);
    for _ in 0..TRIES {
        if !call.is(seen) {
            break;
        }
        let (to, given_up) = match seen.phase {
            Phase::Open => (seen.freed(), GivenUp::Unserved),
            Phase::Taken => (seen.abandoned(), GivenUp::Served),
            _ => return GivenUp::Over,
        };
        if swap(slot, seen, to) {
            return given_up;
        }
        seen = load(slot);
    }
    GivenUp::Lost(seen.word())
}
