//! The only door to atomics.
//!
//! Everything in [`ring`](crate::ring) takes its atomics from here. The
//! model checker's crate compiles the same ring files beside a `sync` of its
//! own, which hands out loom's atomics instead.

pub(crate) use core::hint::spin_loop;
pub(crate) use core::sync::atomic::{AtomicU64, Ordering};
