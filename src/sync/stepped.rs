//! An atomic of which each use is a [crash point](crate::sys::crash).

use core::sync::atomic::{self, Ordering};

use crate::sys::crash::point;

/// Has the layout of the atomic that it wraps.
#[derive(Debug, Default)]
#[repr(transparent)]
pub(crate) struct AtomicU64(atomic::AtomicU64);

macro_rules! steps {
    ($($name:ident($($argument:ident: $kind:ty),*) -> $result:ty;)*) => {
        $(#[track_caller]
        #[inline]
        pub(crate) fn $name(&self, $($argument: $kind),*) -> $result {
            point(stringify!($name));
            self.0.$name($($argument),*)
        })*
    };
}

impl AtomicU64 {
    pub(crate) const fn new(value: u64) -> Self {
        Self(atomic::AtomicU64::new(value))
    }

    steps! {
        load(order: Ordering) -> u64;
        store(value: u64, order: Ordering) -> ();
        fetch_add(value: u64, order: Ordering) -> u64;
        fetch_or(value: u64, order: Ordering) -> u64;
        fetch_and(value: u64, order: Ordering) -> u64;
        compare_exchange(current: u64, new: u64, success: Ordering, failure: Ordering)
            -> Result<u64, u64>;
    }

    /// Two steps, as on the machine: a load, then a compare-and-swap.
    #[track_caller]
    pub(crate) fn fetch_update(
        &self,
        set: Ordering,
        fetch: Ordering,
        mut update: impl FnMut(u64) -> Option<u64>,
    ) -> Result<u64, u64> {
        let mut seen = self.load(fetch);
        while let Some(new) = update(seen) {
            match self.compare_exchange(seen, new, set, fetch) {
                Ok(seen) => return Ok(seen),
                Err(now) => seen = now,
            }
        }
        Err(seen)
    }
}
