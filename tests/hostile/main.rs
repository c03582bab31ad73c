//! A peer that writes anything anywhere: whoever else is in the segment gets
//! data or an error, in time, and goes on.
//!
//! The victims are processes of their own, so that a crash is seen as one. In
//! them, whatever touches memory beyond a segment or asks for memory without
//! bound ends the process: see `guard`.
//!
//! `replay` runs the corpus of `fuzz/`, and mutations of it, without a
//! fuzzer; `live` writes into a segment while others use it, `storm` into one word
//! of it as fast as it can, and `stepped` into one word at each instruction of a
//! call; `views` writes into the messages that others hold; `extremes`
//! writes the values at which arithmetic goes wrong.
//!
//! Every day each of them takes a sample, as the seed decides.

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
