//! Random schedules of Tombolo's algorithms, at sizes that loom cannot reach:
//! the shipping files of `src/ring`, and the world that `loom-tests` puts
//! around them, on shuttle's atomics.
//!
//! ```text
//!  checker   shuttle, under the names of loom-tests/src/checker.rs
//!  explore   runs a scene in many schedules
//!  scenes/   what happens, and what must hold then
//! ```
//!
//! Shuttle is sequentially consistent, so it cannot find a weakened ordering or a
//! dropped fence; loom does that. Shuttle explores orders of steps, among more threads
//! and over longer lives: at random, or by probabilistic concurrency testing, which
//! changes priorities at a few random points. It proves nothing; a mutant shows that it
//! finds what it looks for.
//!
//! `TOMBOLO_TEST_LONG=100 cargo test -p shuttle-tests -- --nocapture` runs 300,000
//! schedules of each scene.
#![allow(dead_code, unused_imports)]

#[path = "../../src/ring/mod.rs"]
mod ring;

#[path = "../../loom-tests/src/broadcast.rs"]
mod broadcast;
mod checker;
#[path = "../../loom-tests/src/death.rs"]
mod death;
#[path = "../../tests/common/effort.rs"]
mod effort;
mod explore;
#[path = "../../loom-tests/src/kernel.rs"]
mod kernel;
#[path = "../../loom-tests/src/mutant.rs"]
mod mutant;
#[path = "../../loom-tests/src/operation.rs"]
mod operation;
#[path = "../../loom-tests/src/slots.rs"]
mod slots;
#[path = "../../loom-tests/src/sync.rs"]
mod sync;
#[path = "../../loom-tests/src/world.rs"]
mod world;

#[cfg(test)]
mod scenes;
