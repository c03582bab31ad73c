//! The conditions that must hold when all processes have ended.

use std::collections::HashMap;

use tombolo::Segment;

use super::ledger::{Ledger, Note};
use super::play::{Act, BATCH, CAPACITY, Play, SURVIVORS, THERE, VICTIMS, values};
use crate::common::ends::Ring;

const LEASE: usize = 0;
const LIVENESS: usize = 8;
const PARTICIPANTS: usize = 6;
const BELLS: usize = LIVENESS + PARTICIPANTS;

/// Checks that the channel is as good as new, by using it.
pub(crate) fn whole(play: Play, segment: &Segment) -> Result<(), String> {
    let fail = |what: String| Err(what);
    let living = segment.participants().len();
    if living != 1 {
        return fail(format!("{living} participants, where there is one"));
    }
    let values = values(segment);
    let alive: u16 = values[LIVENESS..BELLS].iter().sum();
    if values[LEASE] != 0 || alive != 1 || values[BELLS..BELLS + 4].iter().any(|&v| v > 1) {
        return fail(format!("the semaphores are {values:?}"));
    }
    let audit = Segment::check_id(segment.id()).map_err(|error| error.to_string())?;
    if let Some(fault) = audit.faults.first() {
        return fail(format!("the audit: {fault}, and {} more", audit.faults.len() - 1));
    }
    let (tx, rx) = (play.sender(segment), play.receiver(segment));
    // As long as messages are: of MPMC bytes, so that each has a block.
    let id = |n: u64| if play.ring == Ring::MpmcBytes { 5 * n } else { 3 * n + 1 };
    for round in 0..2 {
        let mut sent = 0;
        while sent < 1_000 && tx.try_send(id(sent)) == Ok(true) {
            sent += 1;
        }
        let exact = if play.ring == Ring::SpscBytes { sent >= 3 } else { sent == 3 };
        if CAPACITY != 3 || !exact {
            return fail(format!("round {round}: it has room for {sent} messages"));
        }
        for n in 0..sent {
            if rx.try_recv() != Ok(Some(id(n))) {
                return fail(format!("round {round}: message {n} of {sent} is not there"));
            }
        }
        let more = rx.try_recv();
        if more != Ok(None) {
            return fail(format!("round {round}: {more:?} out of nowhere"));
        }
    }
    Ok(())
}

/// Checks what was noted against the promise.
pub(crate) fn judge(play: Play, killed: bool, ledger: &Ledger) -> Result<(), String> {
    let all = |note| ledger.all(note);
    let received = all(Note::Received);
    let mut times = HashMap::<u64, u64>::new();
    for &id in &received {
        *times.entry(id).or_default() += 1;
    }
    let times = |id: u64| times.get(&id).copied().unwrap_or(0);
    let (got, holding, let_go) = (all(Note::Got), all(Note::Holding), all(Note::LetGo));
    let told =
        || format!("received {received:?}, got {got:?}, held {holding:?}, let go {let_go:?}");
    if let Some(&id) = received.iter().find(|&&id| times(id) > 1) {
        return Err(format!("{id} came more than once: {}", told()));
    }
    let nobody_knows = |id: &u64| *id >= VICTIMS + BATCH || *id < THERE;
    if received.iter().any(nobody_knows) {
        return Err(format!("out of nowhere: {}", told()));
    }

    // The messages that survivors and victims have sent.
    for id in all(Note::SurvivorSent).into_iter().chain(all(Note::Sent)) {
        if times(id) == 0 && !got.contains(&id) && !let_go.contains(&id) && !lossy(play, killed) {
            return Err(format!("{id} was sent and is lost: {}", told()));
        }
    }
    if play.act == Act::Abort && (0..BATCH).any(|n| times(VICTIMS + n) > 0) {
        return Err(format!("what was not committed was sent: {}", told()));
    }

    for id in THERE..THERE + play.gone() {
        if received.iter().chain(&got).chain(&holding).any(|&other| other == id) {
            return Err(format!("{id} was to be dropped: {}", told()));
        }
    }

    // The messages that the victim has received, or was about to.
    let there = THERE + play.gone()..THERE + play.there();
    let there = there.chain(all(Note::SurvivorSent));
    let mut lost = 0;
    for id in there {
        let (mine, theirs) = (got.contains(&id) || let_go.contains(&id), times(id) > 0);
        let may_both = play.act == Act::GiveBack;
        let may_none = match play.act {
            // Between freeing and returning it is the victim's alone.
            Act::Recv | Act::RecvBatch | Act::RecvInTime => killed,
            Act::Acknowledge => killed && (holding.contains(&id) || play.drops),
            Act::Attach => false,
            _ => killed && play.drops,
        };
        match (mine, theirs) {
            (true, true) if !may_both => return Err(format!("{id} came again: {}", told())),
            (false, false) if !may_none => return Err(format!("{id} is lost: {}", told())),
            (false, false) => lost += 1,
            _ => {}
        }
    }
    let most = if play.act == Act::RecvBatch { BATCH } else { 1 };
    if lost > most {
        return Err(format!("{lost} are lost, and {most} in the victim's hands: {}", told()));
    }
    in_order(play, &received).then_some(()).ok_or_else(|| format!("out of order: {}", told()))
}

/// Whether the victim can have taken a survivor's message with it.
fn lossy(play: Play, killed: bool) -> bool {
    killed
        && (play.drops && play.act != Act::Attach
            || matches!(play.act, Act::Recv | Act::RecvBatch | Act::RecvInTime | Act::Acknowledge))
}

/// Each sender's messages, in the order in which they were sent. With several
/// receivers there is none among what they have received.
fn in_order(play: Play, received: &[u64]) -> bool {
    if !play.ring.single() && !play.act.sends() {
        return true;
    }
    [THERE, SURVIVORS, VICTIMS].iter().all(|&sender| {
        let theirs = received.iter().filter(|&&id| id / 100 == sender / 100);
        theirs.is_sorted()
    })
}
