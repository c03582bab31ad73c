//! The cost of creating a segment and of joining one.

use super::{Scale, bars};
use crate::harness::{Group, Setting};

pub(super) fn group(scale: &Scale) -> Group {
    let case = |(name, bytes, subjects): (&str, usize, [&str; 2])| {
        bars(name, &Setting { slots: bytes, ..scale.alone() }, &subjects)
    };
    let cases = [
        ("create, 1 MiB", 1 << 20, ["shmget, shmat", "tombolo, create"]),
        ("open, 1 MiB", 1 << 20, ["shmat", "tombolo, open"]),
        ("open, 1 GiB", 1 << 30, ["shmat", "tombolo, open"]),
        (
            "create and prefault, 64 MiB",
            64 << 20,
            ["shmget, shmat, prefault", "tombolo, create, prefault"],
        ),
        ("open and prefault, 64 MiB", 64 << 20, ["shmat, prefault", "tombolo, open, prefault"]),
    ];
    Group { name: "attach", cases: cases.map(case).into() }
}
