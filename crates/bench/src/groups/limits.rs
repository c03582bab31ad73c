//! The limits of the machine: between two processors, within one, and in the
//! kernel.

use super::{Scale, bars};
use crate::harness::{Case, Group, Plot, Shape};
use crate::subjects::{BEST_EXCHANGE, EXCHANGES};

const CALLS: &[&str] = &[
    "getppid",
    "an empty call",
    "clock_gettime",
    "the cycle counter",
    "sched_yield",
    "semctl, a value",
    "semop, in vain",
    "semop +1, semop -1",
    "semop +1, semop -1, to be undone",
    "semop, two operations",
    "semtimedop, two operations",
    "msgsnd, msgrcv",
    "mq_send, mq_receive",
    "pipe, write and read",
    "Unix stream, write and read",
    "eventfd, write and read",
    "futex wake, nobody waits",
    "futex wait, in vain",
    "membarrier, of all that registered",
];

pub(super) fn group(scale: &Scale) -> Group {
    let pair = scale.pair(Shape::Carry);
    let alone = scale.alone();
    let busy = scale.pair(Shape::Busy);
    let loops = "the empty loop";
    let cases = vec![
        Case::new(
            "round trip between processors, 8 B",
            Plot::Distribution,
            &busy,
            &["two cache lines"],
        )
        .limited(BEST_EXCHANGE, EXCHANGES),
        bars("counting on a shared line each", &pair, &["two counters"]),
        bars("copying memory", &alone, &["copy 64 KiB", "copy 8 MiB"]),
        bars("calls", &alone, CALLS),
        Case::new("the measuring itself, exchanges", Plot::Distribution, &busy, &[loops]),
        bars("the measuring itself, streams", &pair, &[loops]),
    ];
    Group { name: "limits", cases }
}
