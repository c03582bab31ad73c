//! What waiting by a set costs beside waiting with the handle itself, with and without idle
//! members.

use super::{Scale, bars};
use crate::harness::{Case, Group, Plot, Setting, Shape};

const BUSY: &[&str] = &[
    "tombolo MPMC, blocking",
    "tombolo MPMC, by a set of 1",
    "tombolo MPMC, by a set of 17",
    "tombolo MPMC, by a set of 17, a wait each",
];

const PARKED: &[&str] =
    &["tombolo MPMC, blocking", "tombolo MPMC, by a set of 1", "tombolo MPMC, by a set of 17"];

pub(super) fn group(scale: &Scale) -> Group {
    let carry = scale.pair(Shape::Carry);
    let carry = Setting { slots: 1_024, ..carry };
    let mut cases = vec![bars("one to one, 8 B", &carry, BUSY)];
    if scale.cpus.len() > 1 {
        let pair = scale.pair(Shape::Parked);
        let parked = Setting { span: 3 * pair.span, ..pair };
        cases.push(Case::new("both parked", Plot::Distribution, &parked, PARKED));
    }
    Group { name: "sets", cases }
}
