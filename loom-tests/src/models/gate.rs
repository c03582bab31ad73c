//! The gate: who is told that a sender has stopped finds nothing sent later.

use std::rc::Rc;

use crate::checker::atomic::Ordering;
use crate::explore::{completely, fails, holds};
use crate::kernel::{Process, System};
use crate::mutant::{self, Mutant};
use crate::ring::gate;
use crate::sync::AtomicU64;

const PAUSED: u64 = 1;

struct Segment {
    gate: AtomicU64,
    changes: AtomicU64,
    busy: AtomicU64,
    /// The messages that have been sent.
    sent: AtomicU64,
}

/// Sends twice, unless it finds the gate shut.
fn sends(segment: &Segment, kernel: &Process) {
    let mut seen = 0;
    for message in 1..=2 {
        while !gate::enter(kernel, &segment.busy, &segment.changes, seen) {
            seen = segment.changes.load(Ordering::Acquire);
            if segment.gate.load(Ordering::Relaxed) == PAUSED {
                return;
            }
        }
        if mutant::has("left before it is sent") {
            gate::leave(&segment.busy);
        }
        segment.sent.store(message, Ordering::Relaxed);
        gate::leave(&segment.busy);
    }
}

/// One sends; another thread of its process shuts the gate and answers for it.
pub(crate) fn one_is_paused() {
    let system = Rc::new(System::new(1, 2));
    let process = |id| Process { system: Rc::clone(&system), id };
    let word = || AtomicU64::new(0);
    let segment = Segment { gate: word(), changes: word(), busy: word(), sent: word() };
    let segment = Rc::new(segment);
    let (theirs, kernel) = (Rc::clone(&segment), process(0));
    let sender = loom::thread::spawn(move || sends(&theirs, &kernel));
    segment.gate.store(PAUSED, Ordering::Relaxed);
    if !mutant::has("nobody is told") {
        segment.changes.fetch_add(1, Ordering::Release);
    }
    let stopped = gate::idle(&process(1), [&segment.busy].into_iter());
    let then = segment.sent.load(Ordering::Relaxed);
    sender.join().unwrap();
    let now = segment.sent.load(Ordering::Relaxed);
    assert!(!stopped || then == now, "sent after it had stopped");
}

const LATE: &str = "sent after it had stopped";

#[test]
fn nothing_is_sent_once_it_is_known_to_have_stopped() {
    completely(|| holds("gate, one is paused", None, one_is_paused));
    let wrong = [
        Mutant::NoLightFence,
        Mutant::NoHeavyFence,
        Mutant::Model("left before it is sent"),
        Mutant::Model("nobody is told"),
    ];
    for mutant in wrong {
        completely(|| fails("gate, one is paused", mutant, LATE, None, one_is_paused));
    }
}
