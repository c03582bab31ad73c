//! The only source of atomics for segments.
//!
//! Everything in [`ring`](crate::ring) takes its atomics from here. The models'
//! crate compiles the same files beside a `sync` of its own, which provides
//! loom's atomics instead. With the feature `crash-points` each use of an atomic
//! is a point at which a test can kill the process.

#[cfg(feature = "crash-points")]
mod stepped;

pub(crate) use core::hint::spin_loop;
#[cfg(not(feature = "crash-points"))]
pub(crate) use core::sync::atomic::AtomicU64;
pub(crate) use core::sync::atomic::{Ordering, fence};
#[cfg(feature = "crash-points")]
pub(crate) use stepped::AtomicU64;

/// For copies of elements. Their accesses are no crash points; each copy has one
/// point in its middle instead. And for words that are this process's alone.
pub(crate) mod unstepped {
    pub(crate) use core::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64};
}
