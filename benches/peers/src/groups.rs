//! The groups of cases: which subjects are compared.

use clap::ValueEnum;

use crate::harness::carry::batch;
use crate::harness::case::Standard;
use crate::harness::{Case, Group, Plot, Scale, Setting, Shape};
use crate::subjects::*;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Which {
    /// How long an exchange takes
    Latency,
    /// Messages a second, of one sender to one receiver
    Throughput,
    /// Several senders and receivers
    Contention,
}

/// The share of the best ring between threads that the raw ring has to reach: if it is
/// slower, it is badly written, and no limit.
const LEAST: f64 = 0.85;

const ONE_AT_A_TIME: &[&str] = &[
    "raw ring",
    "tombolo SPSC",
    "tombolo SPSC, blocking",
    "tombolo SPSC, in place",
    "tombolo MPMC",
    RTRB,
    ARRAY_QUEUE,
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

const BATCHED: &[&str] = &[
    "raw ring",
    "tombolo SPSC, batches",
    "tombolo SPSC, slices in place",
    "tombolo MPMC, batches",
    RTRB_CHUNKS,
    SHAQ_BATCHES,
    SHAQ_MPMC_BATCHES,
    RINGFIRE_BATCHES,
];

const BUSY: &[&str] = &[
    "one cache line",
    "raw ring",
    "tombolo SPSC",
    "tombolo SPSC, blocking",
    "tombolo SPSC, in place",
    "tombolo MPMC",
    RTRB,
    ARRAY_QUEUE,
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
    }
}

fn latency(scale: &Scale) -> Group {
    let case = |name: &str, shape, apart: bool, subjects: &[&str]| {
        let pair = scale.pair(shape);
        let cpus = if apart { pair.cpus.clone() } else { vec![pair.cpus[0]; 2] };
        // A tail takes many exchanges to be seen.
        let setting = Setting { cpus, span: 3 * pair.span, ..pair };
        Case::new(name, Plot::Distribution, &setting, subjects)
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

fn throughput(scale: &Scale) -> Group {
    let mut cases = Vec::new();
    for size in [8, 64] {
        let single = Setting { words: size / 8, ..scale.pair(Shape::Carry) };
        let batched = Setting { batch: batch(single.slots), ..single.clone() };
        for (setting, subjects, standard) in [
            (single, &[ONE_AT_A_TIME, BOOST].concat(), RTRB),
            (batched, &BATCHED.to_vec(), RTRB_CHUNKS),
        ] {
            let slots = format!("{} slots", setting.slots);
            let standard = Some(Standard { subject: standard.to_owned(), least: LEAST });
            cases.push(Case { standard, ..Case::carry(size, &slots, &setting, subjects) });
        }
    }
    Group { name: "throughput", cases }
}

fn contention(scale: &Scale) -> Group {
    let subjects = [SHARED, BOOST, BOOST_TRYING].concat();
    let crowds = [1, 2, 4, 8].into_iter().enumerate();
    let case = |(nth, each): (usize, usize)| {
        Case::crowd(nth, ", 8 B", &scale.crew(Shape::Share, each, each), &subjects)
    };
    Group { name: "contention", cases: crowds.map(case).collect() }
}
