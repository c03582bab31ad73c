//! A peer that writes anything anywhere: the other processes in the segment get data or
//! an error, in time, and keep working.
//!
//! The victims are separate processes, so that a crash is seen as one. In them, an access
//! beyond a segment, or a request for unbounded memory, ends the process: see `guard`.
//!
//! `replay` runs the corpus of `fuzz/`, and mutations of it, without a
//! fuzzer; `live` writes into a segment while others use it, `storm` into one word
//! of it as fast as it can, and `stepped` into one word at each instruction of a
//! call; `overlaps` makes channels share memory; `views` writes into the messages that others hold; `extremes`
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
mod overlaps;
mod replay;
mod services;
mod stepped;
mod storm;
mod views;

#[global_allocator]
static ALLOCATOR: guard::Bounded = guard::Bounded;
