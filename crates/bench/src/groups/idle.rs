//! What it costs to wait for 10,000 messages a second.

use super::{Scale, bars};
use crate::harness::{Group, Setting, Shape};

const SUBJECTS: &[&str] = &[
    "pipe",
    "tombolo SPSC, blocking",
    "tombolo MPMC, blocking",
    "tombolo SPSC bytes, in place",
    "tombolo SPSC",
    "Unix stream socket",
    "System V message queue",
];

pub(super) fn group(scale: &Scale) -> Group {
    let pair = scale.pair(Shape::Trickle);
    // As few as these take a while.
    let setting = Setting { span: 5 * pair.span, ..pair };
    let case = bars("10,000 messages a second, 8 B", &setting, SUBJECTS);
    Group { name: "idle", cases: vec![case] }
}
