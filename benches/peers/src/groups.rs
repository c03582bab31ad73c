//! The groups of cases: which subjects are compared.

// The cases that `tombolo bench` has, with more subjects.
#[path = "../../../crates/bench/src/groups/broadcast.rs"]
mod broadcast;

use clap::ValueEnum;

use crate::harness::carry::batch;
use crate::harness::{Case, Group, Plot, Scale, Setting, Shape};
use crate::ours::{BEST_EXCHANGE, BEST_RING, EXCHANGES, RINGS, RINGS_ALONE};
use crate::subjects::*;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Which {
    /// How long an exchange takes
    Latency,
    /// Messages a second, of one sender to one receiver
    Throughput,
    /// Several senders and receivers
    Contention,
    /// Each message to all subscribers
    Broadcast,
    /// Both ends in one thread
    Alone,
}

const ONE_AT_A_TIME: &[&str] = &[
    "tombolo SPSC",
    "tombolo SPSC, blocking",
    "tombolo SPSC, in place",
    "tombolo SPSC bytes",
    "tombolo SPSC bytes, in place",
    "tombolo MPMC",
    RTRB,
    ARRAY_QUEUE,
    SHAQ_3,
    SHAQ,
    SHAQ_MPMC,
    RINGFIRE,
    ICEORYX2,
    IPC_CHANNEL,
    CROSSBEAM,
    KANAL,
    FLUME,
    STD,
    "pipe",
    "Unix stream socket",
    "System V message queue",
];

/// Queues in the memory of a process: the kernel's are not made for this.
const ALONE: &[&str] = &[
    "tombolo SPSC",
    "tombolo SPSC, in place",
    "tombolo SPSC bytes",
    "tombolo MPMC",
    RTRB,
    ARRAY_QUEUE,
    SHAQ_3,
    SHAQ,
    CROSSBEAM,
    KANAL,
    FLUME,
    STD,
];

const ALONE_BATCHED: &[&str] = &[
    "tombolo SPSC, batches",
    "tombolo SPSC, slices in place",
    "tombolo MPMC, batches",
    RTRB_CHUNKS,
    SHAQ_3_BATCHES,
    SHAQ_BATCHES,
    SHAQ_MPMC_BATCHES,
];

const BATCHED: &[&str] = &[
    "tombolo SPSC, batches",
    "tombolo SPSC, slices in place",
    "tombolo MPMC, batches",
    RTRB_CHUNKS,
    SHAQ_3_BATCHES,
    SHAQ_BATCHES,
    SHAQ_MPMC_BATCHES,
    RINGFIRE_BATCHES,
];

const BUSY: &[&str] = &[
    "tombolo SPSC",
    "tombolo SPSC, blocking",
    "tombolo SPSC, in place",
    "tombolo MPMC",
    RTRB,
    ARRAY_QUEUE,
    SHAQ_3,
    SHAQ,
    SHAQ_MPMC,
    RINGFIRE,
    ICEORYX2,
    IPC_CHANNEL,
    CROSSBEAM_TRYING,
    KANAL_TRYING,
    FLUME_TRYING,
    STD_TRYING,
    "pipe",
    "Unix stream socket",
    "System V message queue",
];

const SLEEPING: &[&str] = &[
    "semop",
    "tombolo SPSC, blocking",
    "tombolo MPMC, blocking",
    SHAQ_WAITING,
    SHAQ_MPMC_WAITING,
    RINGFIRE_WAITING,
    ICEORYX2_EVENTS,
    IPC_CHANNEL,
    CROSSBEAM,
    KANAL,
    FLUME,
    STD,
    "pipe",
    "Unix stream socket",
    "System V message queue",
];

const SHARED: &[&str] = &[
    "two counters",
    "raw MPMC ring",
    "tombolo MPMC",
    "tombolo MPMC, blocking",
    ARRAY_QUEUE,
    ARRAY_QUEUE_YIELDING,
    SHAQ_MPMC,
    SHAQ_MPMC_WAITING,
    CROSSBEAM,
    CROSSBEAM_TRYING,
    KANAL,
    KANAL_TRYING,
    FLUME,
    FLUME_TRYING,
    "pipe",
    "Unix packet socket",
    "System V message queue",
];

pub(crate) fn of(group: Which, scale: &Scale) -> Group {
    match group {
        Which::Latency => latency(scale),
        Which::Throughput => throughput(scale),
        Which::Contention => contention(scale),
        Which::Broadcast => broadcast::group(scale, publishing),
        Which::Alone => alone(scale),
    }
}

fn latency(scale: &Scale) -> Group {
    let case = |name: &str, shape, apart: bool, subjects: &[&str]| {
        let pair = scale.pair(shape);
        let cpus = if apart { pair.cpus.clone() } else { vec![pair.cpus[0]; 2] };
        // A tail takes many exchanges to be seen.
        let setting = Setting { cpus, span: 3 * pair.span, ..pair };
        let case = Case::new(name, Plot::Distribution, &setting, subjects);
        if setting.polled() { case.limited(BEST_EXCHANGE, EXCHANGES) } else { case }
    };
    let mut cases = Vec::new();
    let sleeping = [SLEEPING, BOOST].concat();
    if scale.cpus.len() > 1 {
        cases.push(case(
            "both busy, two processors",
            Shape::Busy,
            true,
            &[BUSY, BOOST_TRYING].concat(),
        ));
        cases.push(case("both parked, two processors", Shape::Parked, true, &sleeping));
    }
    cases.push(case("both parked, one processor", Shape::Parked, false, &sleeping));
    Group { name: "latency", cases }
}

/// Messages of each size, one at a time and in batches.
fn carry(sizes: &[usize], setting: &Setting, ring: &str, subjects: [&[&str]; 2]) -> Vec<Case> {
    let mut cases = Vec::new();
    for &size in sizes {
        let single = Setting { words: size / 8, ..setting.clone() };
        let batched = Setting { batch: batch(single.slots), ..single.clone() };
        for (setting, subjects) in [single, batched].iter().zip(subjects) {
            let case = Case::carry(size, ring, setting, subjects);
            let rings = if setting.shape == Shape::Alone { RINGS_ALONE } else { RINGS };
            cases.push(case.limited(BEST_RING, rings));
        }
    }
    cases
}

fn throughput(scale: &Scale) -> Group {
    let setting = scale.pair(Shape::Carry);
    let single = [ONE_AT_A_TIME, BOOST].concat();
    let slots = format!("{} slots", setting.slots);
    Group {
        name: "throughput",
        cases: carry(&[8, 64, 1_024], &setting, &slots, [&single, BATCHED]),
    }
}

fn alone(scale: &Scale) -> Group {
    let setting = Setting { shape: Shape::Alone, ..scale.alone() };
    Group { name: "alone", cases: carry(&[8, 64], &setting, "one thread", [ALONE, ALONE_BATCHED]) }
}

/// The peers that give each message to all subscribers, in such a setting.
fn publishing(setting: &Setting) -> Vec<&'static str> {
    match setting.shape {
        Shape::Lossy => vec![ICEORYX2, TOKIO, TOKIO_TRYING],
        // `bus` and the disruptor's pollers have one publisher.
        Shape::Publish if setting.producers > 1 => vec![ICEORYX2],
        Shape::Publish => vec![ICEORYX2, BUS, BUS_TRYING, DISRUPTOR],
        Shape::SpreadBusy => vec![ICEORYX2, TOKIO_TRYING, BUS_TRYING, DISRUPTOR],
        _ => vec![ICEORYX2_EVENTS, TOKIO, BUS],
    }
}

fn contention(scale: &Scale) -> Group {
    let subjects = [SHARED, BOOST, BOOST_TRYING].concat();
    let crowds = [1, 2, 4, 8].into_iter().enumerate();
    let case = |(nth, each): (usize, usize)| {
        Case::crowd(nth, ", 8 B", &scale.crew(Shape::Share, each, each), &subjects)
    };
    Group { name: "contention", cases: crowds.map(case).collect() }
}
