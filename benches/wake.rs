//! The cost of waking: while no process waits, and while one does.
//!
//! `cargo bench --bench wake` prints three things:
//!
//! - the time of a send while no process sleeps, compared with an index moved by
//!   hand. The difference is the cost of crash safety and of the check for
//!   sleepers;
//! - the time of a message and its answer when both sides sleep in between,
//!   compared with `semop` alone, on two processors and on one;
//! - the system calls that this makes, if strace is installed.

mod common;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::process::Command;
use std::time::Instant;

use common::{
    BATCH, Kept, LAP, Plan, Ring, Subject, Table, Way, Worker, orders, raw, say, settle, trying,
};
use nix::sys::resource::{UsageWho, getrusage};
use tombolo::sys::proc::monotonic;
use tombolo::sys::sem::{Op, Set};
use tombolo::{Mpmc, Segment, Spsc};

const ROUNDS: Table = Table { rounds: 7 };

fn main() {
    if let Some(words) = orders("worker") {
        return work(&words);
    }
    unheeded();
    for apart in [true, false] {
        parked(apart);
    }
    calls();
}

// Nobody waits.

fn unheeded() {
    let fences = |symmetric| {
        let plan = Plan::Segment { bytes: 1 << 20, participants: 64, channels: 4, symmetric };
        let kept = Kept::new(&plan);
        let segment = kept.join(&Segment::options());
        (kept, segment)
    };
    let (_here, asymmetric) = fences(false);
    let (_there, symmetric) = fences(true);
    let subjects = vec![
        pushing("raw ring", raw()),
        pushing("tombolo SPSC", trying::<Spsc, 1>(&asymmetric)),
        pushing("tombolo SPSC, fenced by senders", trying::<Spsc, 1>(&symmetric)),
        pushing("tombolo MPMC", trying::<Mpmc, 1>(&asymmetric)),
        pushing("tombolo MPMC, fenced by senders", trying::<Mpmc, 1>(&symmetric)),
    ];
    ROUNDS.measure("a send while nobody waits, 8 bytes, one thread", "ns", subjects);
}

/// The time of sending alone, a lap at a time; only the whole lap is timed,
/// because the clock costs more than a message.
fn pushing(name: &str, mut way: Way) -> Subject<'static> {
    const LAPS: u64 = 1_000;
    let mut next = 0;
    Subject::new(name, move || {
        let mut times: Vec<f64> = Vec::new();
        for _ in 0..LAPS {
            let numbers = next..next + LAP;
            next = numbers.end;
            let began = Instant::now();
            way.push(numbers.clone());
            times.push(began.elapsed().as_nanos() as f64 / LAP as f64);
            assert_eq!(way.pop(LAP), way.sum_of(numbers), "what was received");
        }
        common::median(times)
    })
}

// Somebody does.

const WAYS: [(&str, &str); 3] =
    [("semop", "semop"), ("tombolo SPSC", "spsc"), ("tombolo MPMC", "mpmc")];

fn parked(apart: bool) {
    const EXCHANGES: u64 = 1_000;
    let place = if apart { "two processors" } else { "one processor" };
    let sleeps = RefCell::new(Vec::new());
    let subjects = WAYS.map(|(name, way)| {
        let sleeps = &sleeps;
        Subject::new(name, move || {
            let exchange = Exchange { way, count: EXCHANGES, apart, traced: None }.run();
            sleeps.borrow_mut().push(exchange.sleeps);
            exchange.nanoseconds / 1e3
        })
    });
    let title = format!("a message and its answer, both sides asleep, {place}");
    ROUNDS.measure(&title, "µs", subjects.into());
    // Less than two, and something else was measured.
    let fewest = sleeps.into_inner().into_iter().fold(f64::MAX, f64::min);
    println!("  each slept {fewest:.2} times or more, of 2");
}

/// Exchanges between two processes, each of which sleeps before the other
/// sends.
struct Exchange<'a> {
    way: &'a str,
    count: u64,
    /// On a processor each, or on one together.
    apart: bool,
    /// Where strace is to write, with the side added.
    traced: Option<&'a str>,
}

/// The averages of one.
struct Outcome {
    /// From each call that sends to the return of the one that receives.
    nanoseconds: f64,
    /// Of both sides.
    sleeps: f64,
}

const SIDES: [&str; 2] = ["asks", "answers"];

impl Exchange<'_> {
    fn run(&self) -> Outcome {
        let kept = Kept::new(&match self.way {
            "semop" => Plan::Set(2),
            _ => Plan::segment(1 << 20),
        });
        let (id, count) = (kept.id().to_string(), self.count.to_string());
        let mut sides = SIDES.map(|side| {
            let cpu = if self.apart && side == "answers" { "1" } else { "0" };
            let orders = ["worker", self.way, side, &id, &count, cpu];
            match self.traced {
                None => Worker::start(&orders),
                Some(file) => {
                    let file = format!("{file}-{side}");
                    let calls = "trace=%ipc,membarrier,futex";
                    Worker::start_under(&["strace", "-qq", "-e", calls, "-o", &file], &orders)
                }
            }
        });
        let pids = sides.each_mut().map(|side| side.says().expect("its number"));
        for (side, other) in sides.iter_mut().zip(pids.iter().rev()) {
            side.tell(other);
        }
        let (mut waited, mut slept) = (0_u64, 0);
        for side in &mut sides {
            waited = waited.wrapping_add(side.number());
            slept += side.number();
        }
        sides.into_iter().for_each(Worker::join);
        let each = |all: u64| all as f64 / self.count as f64;
        Outcome { nanoseconds: each(waited), sleeps: each(slept) }
    }
}

fn work(words: &[String]) {
    let [way, side, id, count, cpu] = words else { panic!("not an order: {words:?}") };
    settle(cpu.parse().expect("a number"));
    let (id, count) = (id.parse().expect("an id"), count.parse().expect("a number"));
    let asks = side == "asks";
    match way.as_str() {
        "semop" => {
            let set = Set::from_id(id);
            let mine = u16::from(asks);
            let perform = |op| set.perform(&[op]).expect("a set");
            let take = |_| perform(Op::take(mine, 1));
            exchange(asks, count, |_| perform(Op::add(1 - mine, 1)), take);
        }
        "spsc" => through::<Spsc>(id, asks, count),
        _ => through::<Mpmc>(id, asks, count),
    }
}

fn through<K: Ring>(id: i32, asks: bool, count: u64) {
    let segment = Segment::options().prefault(true).open_id(id).expect("the segment");
    let channel = |name| K::typed(segment.channel::<u64>(name)).capacity(BATCH).lasting();
    let (out, back) = if asks { ("there", "back") } else { ("back", "there") };
    let tx = channel(out).sender().expect("a sender");
    let rx = channel(back).receiver().expect("a receiver");
    let receive = |n| assert_eq!(rx.recv().expect("received"), n);
    exchange(asks, count, |n| tx.send(n).expect("sent"), receive);
}

/// Says by how much what it received came later than what it sent, all
/// together: of both sides' numbers the sum is the time on the way. And how
/// often it slept.
fn exchange(asks: bool, count: u64, send: impl Fn(u64), receive: impl Fn(u64)) {
    say(std::process::id());
    let mut other = String::new();
    std::io::stdin().read_line(&mut other).expect("a number");
    let state = format!("/proc/{}/stat", other.trim_end());
    let asleep = || {
        let state = std::fs::read_to_string(&state).expect("the other");
        // After its name, which is in brackets.
        state.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('S'))
    };
    let slept = || getrusage(UsageWho::RUSAGE_SELF).expect("a count").voluntary_context_switches();
    let mut waited = 0_u64;
    let send = |n, waited: &mut u64| {
        while !asleep() {
            std::thread::yield_now();
        }
        *waited = waited.wrapping_sub(monotonic());
        send(n);
    };
    let receive = |n, waited: &mut u64| {
        receive(n);
        *waited = waited.wrapping_add(monotonic());
    };
    let mut before = 0;
    for n in 0..=count {
        if asks {
            send(n, &mut waited);
            receive(n, &mut waited);
        } else {
            receive(n, &mut waited);
            send(n, &mut waited);
        }
        if n == 0 {
            // Before that, the other may have slept over its orders.
            (waited, before) = (0, slept());
        }
    }
    say(waited);
    say(slept() - before);
}

// Which calls that makes.

fn calls() {
    println!("\nsystem calls of such an exchange, both sides together, two processors");
    if Command::new("strace").arg("-V").output().is_err() {
        println!("  not counted: strace is not installed");
        return;
    }
    for (name, way) in WAYS {
        // Only the calls that grow with the exchanges: not joining, nor leaving.
        let (few, many) = (counted(way, 100), counted(way, 600));
        let each = many.iter().filter_map(|(call, many)| {
            let few = few.get(call).copied().unwrap_or(0);
            let each = (*many as f64 - few as f64) / 500.0;
            (each >= 0.005).then(|| format!("{call} {each:.2}"))
        });
        println!("  {name:16} {}", each.collect::<Vec<_>>().join(", "));
    }
}

/// How many of which calls so many exchanges make.
fn counted(way: &str, count: u64) -> BTreeMap<String, u64> {
    let file = format!("{}/calls-{}", env!("CARGO_TARGET_TMPDIR"), std::process::id());
    Exchange { way, count, apart: true, traced: Some(&file) }.run();
    let mut counts = BTreeMap::new();
    for side in SIDES {
        let file = format!("{file}-{side}");
        let text = std::fs::read_to_string(&file).expect("what strace saw");
        let _ = std::fs::remove_file(&file);
        for (call, _) in text.lines().filter_map(|line| line.split_once('(')) {
            *counts.entry(call.to_owned()).or_default() += 1;
        }
    }
    counts
}
