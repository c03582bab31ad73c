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
//! Shuttle is sequentially consistent: a weakened ordering or a dropped fence
//! is nothing that it can see, and loom is there for those. What it finds is
//! orders of steps, among more threads and over longer lives: at random, or by
//! probabilistic concurrency testing, a few changes of priority at random
//! places. It proves nothing; a mutant shows that it sees what it looks at.
//!
//! For a long run, so many schedules of each scene, from a seed of its own:
//!
//! ```sh
//! TOMBOLO_SCHEDULES=1000000 TOMBOLO_SEED=1 cargo test --release -p shuttle-tests -- --nocapture
//! ```
#![allow(dead_code, unused_imports)]

#[path = "../../src/ring/mod.rs"]
mod ring;

mod checker;
#[path = "../../loom-tests/src/death.rs"]
mod death;
mod explore;
#[path = "../../loom-tests/src/kernel.rs"]
mod kernel;
#[path = "../../loom-tests/src/mutant.rs"]
mod mutant;
#[path = "../../loom-tests/src/slots.rs"]
mod slots;
#[path = "../../loom-tests/src/sync.rs"]
mod sync;
#[path = "../../loom-tests/src/world.rs"]
mod world;

#[cfg(test)]
mod scenes;
