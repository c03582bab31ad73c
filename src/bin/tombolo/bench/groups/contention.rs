//! Several processes at each end of one channel, 8 bytes a message.

use super::Scale;
use crate::bench::harness::{Case, Group, Plot, Shape};

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
    let case = |(at, (producers, consumers)): (usize, (usize, usize))| {
        let label = format!("{producers}×{consumers}");
        Case {
            name: format!("{label} processes"),
            plot: Plot::Line {
                along: "producers × consumers".to_owned(),
                at: at as f64 / 2.0,
                label,
            },
            setting: scale.crew(Shape::Share, producers, consumers),
            subjects: SUBJECTS.iter().map(ToString::to_string).collect(),
        }
    };
    Group { name: "contention", cases: shapes.into_iter().enumerate().map(case).collect() }
}
