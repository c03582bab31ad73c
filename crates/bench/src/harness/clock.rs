//! The clock for intervals shorter than a call of the kernel's clock: the
//! processor's cycle counter, if it runs evenly and is the same on all processors.

#![allow(unsafe_code)]

use std::fs;

use serde::{Deserialize, Serialize};

use crate::terms::now;

/// How long it is compared with the kernel's clock.
const COMPARED: u64 = 20_000_000;

/// Ticks, and how many there are in a nanosecond.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Clock {
    counter: bool,
    per_nanosecond: f64,
}

impl Clock {
    /// Compares the counter with the kernel's clock, which takes a while.
    pub(crate) fn compared() -> Self {
        let flags = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let even = ["constant_tsc", "nonstop_tsc"].iter().all(|flag| flags.contains(flag));
        if !cfg!(target_arch = "x86_64") || !even {
            return Self { counter: false, per_nanosecond: 1.0 };
        }
        let (began, from) = (now(), counter());
        while now() - began < COMPARED {
            std::hint::spin_loop();
        }
        let (ended, to) = (now(), counter());
        Self { counter: true, per_nanosecond: (to - from) as f64 / (ended - began) as f64 }
    }

    /// Now, in ticks.
    #[inline]
    pub(crate) fn ticks(&self) -> u64 {
        if self.counter { counter() } else { now() }
    }

    pub(crate) fn nanoseconds(&self, ticks: u64) -> u64 {
        (ticks as f64 / self.per_nanosecond) as u64
    }

    pub(crate) fn in_ticks(&self, nanoseconds: f64) -> u64 {
        (nanoseconds * self.per_nanosecond) as u64
    }
}

#[cfg(target_arch = "x86_64")]
#[inline]
fn counter() -> u64 {
    use std::arch::x86_64::{_mm_lfence, _rdtsc};
    // The clock must not be read before the work that is timed is done.
    // SAFETY: a fence of loads, which every x86-64 has.
    unsafe { _mm_lfence() };
    // SAFETY: the counter is there on every x86-64, and Linux lets it be read.
    unsafe { _rdtsc() }
}

#[cfg(not(target_arch = "x86_64"))]
fn counter() -> u64 {
    now()
}
