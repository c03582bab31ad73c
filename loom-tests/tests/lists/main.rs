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
    pub(crate) use core::hint::spin_loop;
    pub(crate) use core::sync::atomic::{AtomicU64, Ordering, fence};
}

mod bytes;
mod in_flight;
mod oracle;
