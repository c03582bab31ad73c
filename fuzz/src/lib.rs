//! The cases of `tests/hostile`, for the targets.

#![allow(unsafe_code, dead_code)]

#[path = "../../tests/hostile/case.rs"]
mod case;
#[path = "../../tests/common/mod.rs"]
mod common;
#[path = "../../tests/hostile/ends.rs"]
mod ends;
#[path = "../../tests/hostile/fields.rs"]
mod fields;
#[path = "../../tests/hostile/guard.rs"]
mod guard;
#[path = "../../tests/hostile/input.rs"]
mod input;

use std::sync::Once;

#[global_allocator]
static ALLOCATOR: guard::Bounded = guard::Bounded;

/// The machine's tables are not the fuzzer's to fill.
fn settle() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        common::own_tables();
    });
}

pub fn steps(data: &[u8]) {
    settle();
    case::steps(data);
}

pub fn broadcast(data: &[u8]) {
    settle();
    case::broadcast(data);
}

pub fn image(data: &[u8]) {
    settle();
    case::image(data);
}
