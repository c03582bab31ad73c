//! A peer that writes anything anywhere: whoever else is in the segment gets
//! data or an error, in time, and goes on.
//!
//! The victims are processes of their own, so that a crash is seen as one. In
//! them, whatever touches memory beyond a segment or asks for memory without
//! bound ends the process: see `guard`.
//!
//! `replay` runs the corpus of `fuzz/`, and mutations of it, without a
//! fuzzer; `live` writes into a segment while others use it, and
//! `storm` into one word of it as fast as it can; `views` into the messages that
//! others hold; `extremes` writes the values at which arithmetic goes wrong.

#![allow(unsafe_code)]

#[path = "../common/mod.rs"]
mod common;

mod case;
mod ends;
mod extremes;
mod fields;
mod guard;
mod input;
mod live;
mod replay;
mod stepped;
mod storm;
mod views;

#[global_allocator]
static ALLOCATOR: guard::Bounded = guard::Bounded;

/// A number that the environment may set.
fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| {
        text.parse().unwrap_or_else(|_| panic!("{name} should be a number, and is {text:?}"))
    })
}
