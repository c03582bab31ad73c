//! How long a death delays the living.

use super::{Scale, bars};
use crate::harness::{Group, Setting, Shape};

const SUBJECTS: &[&str] = &[
    "semop, undone by the kernel",
    "tombolo MPMC, the message behind a dead sender's slot",
    "tombolo MPMC, the message of a dead receiver",
    "tombolo SPSC, the first message of a dead receiver's successor",
    "tombolo SPSC, the first message of a dead sender's successor",
];

pub(super) fn group(scale: &Scale) -> Group {
    let pair = scale.pair(Shape::Work);
    // A death takes milliseconds to arrange.
    let setting = Setting { span: 5 * pair.span, ..pair };
    let mut cases = Vec::new();
    for slots in [64, 4_096] {
        let name = format!("from SIGKILL to the first message, {slots} slots");
        cases.push(bars(&name, &Setting { slots, ..setting.clone() }, SUBJECTS));
    }
    Group { name: "recovery", cases }
}
