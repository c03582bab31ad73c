//! The duration of an exchange of 8 bytes, between processes that stay awake and
//! between processes that sleep when their message comes.

use crate::harness::{Case, Group, Plot, Scale, Setting, Shape};
use crate::subjects::{BEST_EXCHANGE, EXCHANGES};

/// Ways that do not let go of the processor; calls into the kernel return at
/// once and are repeated.
const BUSY: &[&str] = &[
    "tombolo SPSC",
    "tombolo SPSC, blocking",
    "tombolo SPSC, awaited",
    "tombolo SPSC, in place",
    "tombolo MPMC",
    "tombolo MPMC, blocking",
    "tombolo MPMC, awaited",
    "pipe",
    "Unix stream socket",
    "Unix packet socket",
    "System V message queue",
    "POSIX message queue",
    "TCP, loopback",
];

/// Ways that sleep.
const SLEEPING: &[&str] = &[
    "semop",
    "tombolo SPSC, blocking",
    "tombolo SPSC, awaited",
    "tombolo MPMC, blocking",
    "tombolo MPMC, awaited",
    "tombolo SPSC bytes, in place",
    "futex",
    "eventfd",
    "pipe",
    "FIFO",
    "Unix stream socket",
    "Unix packet socket",
    "System V message queue",
    "POSIX message queue",
    "TCP, loopback",
];

pub(super) fn group(scale: &Scale) -> Group {
    let cases = [
        ("both busy, two processors", Shape::Busy, true, BUSY),
        ("both parked, two processors", Shape::Parked, true, SLEEPING),
        ("both busy, one processor", Shape::Busy, false, SLEEPING),
        ("both parked, one processor", Shape::Parked, false, SLEEPING),
    ];
    let case = |(name, shape, apart, subjects): (&str, Shape, bool, &[&str])| {
        let pair = scale.pair(shape);
        let cpus = if apart { pair.cpus.clone() } else { vec![pair.cpus[0]; 2] };
        // A tail takes many exchanges to be seen.
        let setting = Setting { cpus, span: 3 * pair.span, ..pair };
        let case = Case::new(name, Plot::Distribution, &setting, subjects);
        if setting.polled() { case.limited(BEST_EXCHANGE, EXCHANGES) } else { case }
    };
    // One processor of a kind is all that some machines have.
    let some = cases.into_iter().filter(|(_, _, apart, _)| !apart || scale.cpus.len() > 1);
    Group { name: "latency", cases: some.map(case).collect() }
}
