//! Models of Tombolo's algorithms: the shipping files of `src/ring`, compiled
//! beside a `sync` that hands out loom's atomics.
//!
//! ```text
//!  models/   what is asked: one file for each file of the rings
//!  world     a segment with one channel, and its participants: what
//!            `ring::wait` asks of a channel's end, and what a sweep does
//!  operation for `ring::wait`, an operation of which only so much matters
//!  slots     the words of a ring
//!  broadcast a broadcast ring, and what its subscribers get
//!  kernel    one semaphore set, with undo, first-come grants and deadlines
//!  sync      loom's atomics; every use is a step that a death can come before
//!  death     which step of which thread is its last
//!  mutant    a line of the rings made wrong, from outside
//!  checker   loom, under names that another one can have as well
//!  explore   runs a model, says how much of it was explored
//! ```
//!
//! A mutant is a test that a model *fails* with it: the proof that the model
//! looks where the mutant is. No source file knows of either.
//!
//! Loom's own choice of orders is not complete where a word is read before it
//! is claimed; `explore::completely` asks for every order instead.
//!
//! Loom cannot show load buffering, a spuriously failing weak
//! compare-and-swap, and any weakness of the kernel's own locks (they are a
//! mutex here, which orders more than a system call promises).
#![allow(dead_code, unused_imports)]

#[path = "../../src/ring/mod.rs"]
mod ring;

mod broadcast;
mod checker;
mod death;
#[path = "../../tests/common/effort.rs"]
mod effort;
mod explore;
mod kernel;
mod mutant;
mod operation;
mod slots;
mod sync;
mod world;

#[cfg(test)]
mod models;
