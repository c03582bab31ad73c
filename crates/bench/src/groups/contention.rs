//! Several processes at each end of one channel, with messages of 8 bytes.

use crate::harness::{Case, Group, Scale, Shape};

const SUBJECTS: &[&str] = &[
    "two counters",
    "raw MPMC ring",
    "tombolo MPMC",
    "tombolo MPMC, blocking",
    "pipe",
    "Unix packet socket",
    "System V message queue",
    "POSIX message queue",
];

pub(super) fn group(scale: &Scale) -> Group {
    let shapes = [(1, 1), (2, 2), (4, 4), (8, 8), (1, 4), (4, 1)];
    let case = |(nth, (producers, consumers)): (usize, (usize, usize))| {
        let setting = scale.crew(Shape::Share, producers, consumers);
        Case::crowd(nth, " processes", &setting, SUBJECTS)
    };
    Group { name: "contention", cases: shapes.into_iter().enumerate().map(case).collect() }
}
