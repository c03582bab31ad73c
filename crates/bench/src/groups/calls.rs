//! Calls beside what they are made of: two messages, and two wake-ups.

use crate::harness::{Case, Group, Plot, Scale, Setting, Shape};

/// Ways that stay awake. The first one is two messages, one there and one back.
const BUSY: &[&str] = &[
    "tombolo MPMC",
    "tombolo MPMC, blocking",
    "tombolo calls",
    "tombolo calls, blocking",
    "Unix stream socket",
    "Unix packet socket",
];

/// Ways that sleep. The first one is two wake-ups, and nothing else.
const PARKED: &[&str] = &[
    "semop",
    "tombolo MPMC, blocking",
    "tombolo calls, blocking",
    "Unix stream socket",
    "Unix packet socket",
];

pub(super) fn group(scale: &Scale) -> Group {
    let cases = [
        ("a call, both busy, two processors", Shape::Busy, true, BUSY),
        ("a call, both parked, two processors", Shape::Parked, true, PARKED),
        ("a call, both parked, one processor", Shape::Parked, false, PARKED),
    ];
    let case = |(name, shape, apart, subjects): (&str, Shape, bool, &[&str])| {
        let pair = scale.pair(shape);
        let cpus = if apart { pair.cpus.clone() } else { vec![pair.cpus[0]; 2] };
        let setting = Setting { cpus, span: 3 * pair.span, ..pair };
        Case::new(name, Plot::Distribution, &setting, subjects)
    };
    let some = cases.into_iter().filter(|(_, _, apart, _)| !apart || scale.cpus.len() > 1);
    Group { name: "calls", cases: some.map(case).collect() }
}
