//! The limits of the machine: between two processors, within one, and in the
//! kernel.

use super::{Scale, bars};
use crate::harness::carry::batch;
use crate::harness::{Case, Group, Plot, Setting, Shape};

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
    let mut cases = vec![
        Case::new(
            "round trip between processors, 8 B",
            Plot::Distribution,
            &scale.pair(Shape::Busy),
            &["one cache line", "two cache lines", "raw ring", "the empty loop"],
        ),
        bars("counting on a shared line each", &pair, &["two counters"]),
        bars("copying memory", &alone, &["copy 64 KiB", "copy 8 MiB"]),
        bars("calls", &alone, CALLS),
    ];
    for size in [8, 64, 1_024, 65_536] {
        let setting = Setting { words: size / 8, slots: (4 << 20) / size, ..pair.clone() };
        // A longer message that is read where it has just been written waits
        // for that, as none does that comes from elsewhere.
        let subjects: &[&str] =
            if size == 8 { &["raw ring", "the empty loop"] } else { &["raw ring"] };
        cases.push(Case::carry(size, "4 MiB", &setting, subjects));
        let batches = Setting { batch: batch(setting.slots), ..setting };
        cases.push(Case::carry(size, "4 MiB", &batches, subjects));
    }
    Group { name: "limits", cases }
}
