//! Messages and bytes a second from one process to another: one at a time, in
//! batches and in place; in rings with equal slots and in rings with equal bytes.

use crate::harness::carry::batch;
use crate::harness::{Case, Group, Scale, Setting, Shape};
use crate::subjects::{BEST_RING, RINGS};

/// Slots of the rings of equal slots.
const SLOTS: usize = 1_024;
/// Bytes of the rings of equal bytes: beyond the caches that a core has for
/// itself, within the one that cores share.
const BYTES: usize = 4 << 20;

const ONE_AT_A_TIME: &[&str] = &[
    "tombolo SPSC",
    "tombolo SPSC, blocking",
    "tombolo SPSC, awaited",
    "tombolo SPSC, in place",
    "tombolo SPSC bytes",
    "tombolo SPSC bytes, in place",
    "tombolo MPMC",
    "tombolo MPMC, blocking",
    "tombolo MPMC, awaited",
    "tombolo MPMC, in place",
    "tombolo MPMC bytes",
    "tombolo MPMC bytes, in place",
];

const STREAMS: &[&str] = &["pipe", "pipe of 1 MiB", "FIFO", "Unix stream socket", "TCP, loopback"];

const PACKETS: &[&str] = &["Unix packet socket"];

const THREADS: &[&str] = &["sync_channel of std, between threads"];

const QUEUES: &[&str] = &["System V message queue", "POSIX message queue"];

const BATCHED: &[&str] = &[
    "tombolo SPSC, batches",
    "tombolo SPSC, slices in place",
    "tombolo SPSC bytes, batches",
    "tombolo MPMC, batches",
    "tombolo MPMC bytes, batches",
];

pub(super) fn group(scale: &Scale) -> Group {
    let mut cases = Vec::new();
    let mut add = |size, ring: &str, setting: &Setting, subjects: &[&str]| {
        cases.push(Case::carry(size, ring, setting, subjects).limited(BEST_RING, RINGS));
    };
    let sizes: &[usize] =
        if scale.quick { &[8, 64, 1_024, 65_536] } else { &[8, 64, 256, 1_024, 4_096, 65_536] };
    for &size in sizes {
        let bytes = Setting { words: size / 8, slots: BYTES / size, ..scale.pair(Shape::Carry) };
        let batches = Setting { batch: batch(bytes.slots), ..bytes.clone() };
        // The system's limit for messages is below the largest.
        let queues = if size <= 4_096 { QUEUES } else { &[] };
        let all = [ONE_AT_A_TIME, STREAMS, PACKETS, queues].concat();
        add(size, "4 MiB", &bytes, &all);
        add(size, "4 MiB", &batches, &[BATCHED, STREAMS].concat());
        // As many slots of the largest take long to be touched.
        if size <= 4_096 || !scale.quick {
            let ring = format!("{SLOTS} slots");
            let slots = Setting { slots: SLOTS, ..bytes };
            let batches = Setting { batch: batch(SLOTS), ..slots.clone() };
            let all = [ONE_AT_A_TIME, THREADS].concat();
            add(size, &ring, &slots, &all);
            add(size, &ring, &batches, BATCHED);
        }
    }
    Group { name: "throughput", cases }
}
