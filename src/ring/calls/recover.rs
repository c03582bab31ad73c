//! What a sweep does about the calls of a dead participant.

use super::super::mpmc::Recovered;
use super::super::recovery::{Finished, Recovery, settle};
use super::shown::show;
use super::word::{CallWord, Phase, load};
use super::{TRIES, Words};

/// What becomes of a call over which a participant has died.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Repair {
    /// It was the client: nobody waits for the call any more.
    Withdraw,
    /// It was the server, and another one may take the call.
    Reopen,
    /// It was the server, and the call fails.
    Fail,
    /// It was the server, and the client has gone before.
    Free,
}

impl Repair {
    fn count(self, into: &mut Recovered) {
        match self {
            Self::Withdraw => into.tombstones += 1,
            Self::Reopen => into.orphans += 1,
            Self::Fail => into.dropped += 1,
            Self::Free => {}
        }
    }
}

/// How a sweep repairs a call slot, and its word afterwards; `None` if the dead participant
/// has no part in it.
fn repair(seen: CallWord, dead: u16) -> Option<(Repair, CallWord)> {
    let (client, server) = (seen.client == dead, seen.server == dead);
    match seen.phase {
        Phase::Claimed | Phase::Open | Phase::Answered | Phase::Failed | Phase::Refused
            if client =>
        {
            Some((Repair::Withdraw, seen.freed()))
        }
        Phase::Taken if client && server => Some((Repair::Withdraw, seen.freed())),
        Phase::Taken if client => Some((Repair::Withdraw, seen.abandoned())),
        Phase::Taken if server => Some(match seen.again.checked_sub(1) {
            Some(again) => (Repair::Reopen, seen.reopened(again)),
            None => (Repair::Fail, seen.over(Phase::Failed)),
        }),
        Phase::Abandoned if server => Some((Repair::Free, seen.freed())),
        _ => None,
    }
}

/// Walks over the calls of a dead participant: counts what becomes of each, and repairs them if
/// that is what the walk is for.
///
/// The other participant of a call may change its word meanwhile. So each slot is repaired
/// until the dead one has no part in it.
pub(crate) fn recover(
    words: &impl Words,
    dead: u16,
    recovery: &(impl Recovery + ?Sized),
) -> Result<Recovered, Finished> {
    let mut done = Recovered::default();
    for index in 0..words.slots() {
        let slot = words.slot(index);
        for _ in 0..TRIES {
            let seen = load(slot);
            let Some((repair, repaired)) = repair(seen, dead) else { break };
            if repair == Repair::Reopen && recovery.repairs() {
                show(words, index);
            }
            if settle(recovery, slot, seen.word(), repaired.word())? {
                repair.count(&mut done);
                break;
            }
        }
    }
    Ok(done)
}
