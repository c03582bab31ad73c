//! Where a handle is in an MPMC ring, and how it goes on when it is refused.

use core::cell::Cell;

use crate::kinds::keep_back::KeepBack;
use crate::ring::backoff::Courtesy;
use crate::ring::joint::Ticket;
use crate::ring::mpmc::{self, Claim, Cursor, Refused, Taken, Words};
use crate::ring::wait::NotNow;

/// A handle's position in an MPMC ring, and how it keeps back.
#[derive(Debug)]
pub struct Position {
    pub(crate) cursor: Cell<Cursor>,
    /// From the other side.
    keep_back: KeepBack,
    /// To others of this side.
    courtesy: Courtesy,
}

impl Position {
    fn at(cursor: Cursor, words: &impl Words) -> Self {
        let keep_back = KeepBack::new(words.capacity(), cursor.position());
        let courtesy = Courtesy::new(cursor.position());
        Self { cursor: Cell::new(cursor), keep_back, courtesy }
    }

    pub(crate) fn producer(words: &impl Words) -> Self {
        Self::at(Cursor::producer(words), words)
    }

    pub(crate) fn consumer(words: &impl Words) -> Self {
        Self::at(Cursor::consumer(words), words)
    }

    /// Of another handle, which begins where this one is.
    pub(crate) fn another(&self, words: &impl Words) -> Self {
        Self::at(self.cursor.get(), words)
    }

    /// Claims the next slot.
    pub(crate) fn claim(&self, words: &impl Words, owner: u16) -> Result<Claim, NotNow> {
        let claim = || mpmc::claim(words, &self.cursor, owner);
        if mpmc::passed_by_producers(words, self.cursor.get()) {
            let further = |way| mpmc::claim_among(words, &self.cursor, owner, way);
            return self.passed(further);
        }
        claim().or_else(|refused| self.go_on(refused, claim))
    }

    /// Claims the next slot for a joint send. It keeps nobody waiting for what else that has
    /// claimed: it does not back off.
    pub(crate) fn claim_jointly(
        &self,
        words: &impl Words,
        owner: u16,
        ticket: Ticket,
    ) -> Result<Claim, NotNow> {
        let claim = || mpmc::claim_jointly(words, &self.cursor, owner, ticket);
        claim().or_else(|refused| settled(refused, claim))
    }

    /// Finds the next slot, without claiming it.
    pub(crate) fn find_free(&self, words: &impl Words) -> Result<(), NotNow> {
        let find = || mpmc::find_free(words, &self.cursor);
        find().or_else(|refused| self.go_on(refused, find))
    }

    /// Whether a claim may come to something. Goes up to the next slot, and claims nothing.
    pub(crate) fn may_claim(&self, words: &impl Words) -> bool {
        may_come_to_something(mpmc::find_free(words, &self.cursor))
    }

    /// Whether a take may come to something. Goes up to the next message, and takes nothing.
    pub(crate) fn may_take(&self, words: &impl Words) -> bool {
        may_come_to_something(mpmc::find_full(words, &self.cursor))
    }

    /// Takes the next message.
    pub(crate) fn take(&self, words: &impl Words, owner: u16) -> Result<Taken, NotNow> {
        let take = || mpmc::take(words, &self.cursor, owner);
        if mpmc::passed_by_consumers(words, self.cursor.get()) {
            let further = |way| mpmc::take_among(words, &self.cursor, owner, way);
            return self.passed(further);
        }
        take().or_else(|refused| self.go_on(refused, take))
    }

    /// Goes on where others of this side have passed this handle.
    #[cold]
    #[inline(never)]
    fn passed<R>(&self, mut further: impl FnMut(bool) -> Result<R, Refused>) -> Result<R, NotNow> {
        let makes_way = self.courtesy.passed(self.cursor.get().position());
        let done = further(makes_way);
        // What it has just got is the first of the next run.
        let own = u64::from(done.is_ok());
        self.courtesy.caught_up(self.cursor.get().position().wrapping_sub(own));
        done.or_else(|refused| self.go_on(refused, || further(makes_way)))
    }

    /// Goes on after a refusal: settles it, and where there is nothing to be had
    /// just now, backs off and tries once more.
    #[cold]
    #[inline(never)]
    fn go_on<R>(
        &self,
        refused: Refused,
        mut attempt: impl FnMut() -> Result<R, Refused>,
    ) -> Result<R, NotNow> {
        let why = match settled(refused, &mut attempt) {
            Err(why @ (NotNow::Nothing | NotNow::Pending)) => why,
            done => return done,
        };
        if !self.keep_back.retries(self.cursor.get().position()) {
            return Err(why);
        }
        attempt().or_else(|refused| settled(refused, attempt))
    }
}

/// Where others were faster, or a word is wrong, an attempt will tell.
const fn may_come_to_something(found: Result<(), Refused>) -> bool {
    !matches!(found, Err(Refused::None | Refused::Pending(_)))
}

/// Nobody is beaten so many times in a row by others who keep to the protocol.
const MOST_PASSES: u32 = 1_000;

/// Tries again as long as the answer is *contended*: others were faster. If
/// what is seen repeats itself, nothing moves, and the ring is corrupt.
#[cold]
fn settled<R>(
    mut refused: Refused,
    mut attempt: impl FnMut() -> Result<R, Refused>,
) -> Result<R, NotNow> {
    let backoff = crossbeam_utils::Backoff::new();
    // Brent's way to find a cycle of any length: compare with what was seen
    // at the last power of two.
    let mut landmark = None;
    for pass in 1..=MOST_PASSES {
        match refused {
            Refused::None => return Err(NotNow::Nothing),
            Refused::Pending(_) => return Err(NotNow::Pending),
            Refused::Corrupt(state) => return Err(NotNow::Word(state.0)),
            Refused::Contended(digest) if landmark == Some(digest) => break,
            Refused::Contended(digest) => {
                if pass.is_power_of_two() {
                    landmark = Some(digest);
                }
                backoff.spin();
            }
        }
        match attempt() {
            Ok(done) => return Ok(done),
            Err(again) => refused = again,
        }
    }
    Err(NotNow::Disorder)
}
