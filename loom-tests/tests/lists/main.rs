//! The rings, played by one thread, against plain lists: at capacities, lengths and
//! laps that the models cannot afford.
#![allow(dead_code, unused_imports)]

#[path = "../../../tests/common/effort.rs"]
mod effort;
#[path = "../../../src/ring/mod.rs"]
mod ring;
#[path = "../../src/slots.rs"]
mod slots;

mod sync {
    use std::cell::Cell;

    pub(crate) use core::sync::atomic::{AtomicU64, Ordering, fence};

    thread_local! {
        static SPUN: Cell<u64> = const { Cell::new(0) };
    }

    pub(crate) fn spin_loop() {
        SPUN.set(SPUN.get() + 1);
        core::hint::spin_loop();
    }

    /// How many pauses this thread has made.
    pub(crate) fn spun() -> u64 {
        SPUN.get()
    }
}

mod broadcast;
mod bytes;
mod calls;
mod in_flight;
mod oracle;
