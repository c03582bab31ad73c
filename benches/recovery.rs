//! The cost of a death: the time from the SIGKILL of a receiver that holds a
//! message until another, which slept meanwhile, has that message.
//!
//! `cargo bench --bench recovery` prints medians for MPMC channels of different
//! sizes. The first process that scans for deaths sweeps, so only the first one
//! that waits, polls or attaches is delayed. The others keep working, unless they
//! wait for what the dead one held. In a *mapped* channel, the survivor has used
//! all slots before; in a *used* channel, only the dead process has; in a *fresh*
//! channel, nobody has used more than one slot. *Next* is the cost of the first
//! scan for another message after that.

mod common;

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use bytemuck::{AnyBitPattern, NoUninit};
use common::{Kept, Plan, Worker, orders, ready, say};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use tombolo::{Channel, Message, Segment};

const ROUNDS: usize = 5;
const STATES: [&str; 3] = ["mapped", "used", "fresh"];

fn main() {
    let Some(words) = orders("victim") else { return report() };
    let [id, size, state] = &words[..] else { panic!("not an order: {words:?}") };
    set_pdeathsig(Signal::SIGKILL).expect("a parent");
    let segment = Segment::open_id(id.parse().expect("an id")).expect("the segment");
    match &**size {
        "8" => victim(&segment.channel::<[u64; 1]>("c"), state),
        "512" => victim(&segment.channel::<[u64; 64]>("c"), state),
        _ => victim(&segment.channel::<[u64; 512]>("c"), state),
    }
}

fn report() {
    println!("from SIGKILL to the message in another's hands; medians of {ROUNDS}");
    println!("{:>9} {:>6} {:>8} {:>12} {:>12}", "slots", "bytes", "state", "recovered", "next");
    for slots in [1, 1_000, 10_000, 100_000, 1_000_000] {
        for size in [8, 512, 4_096] {
            let bytes = slots as u64 * (size as u64 + 64) + (1 << 20);
            if bytes > available() / 3 {
                println!("{slots:>9} {size:>6} left out: it needs {} MiB", bytes >> 20);
                continue;
            }
            for state in STATES {
                let mut times: Vec<(Duration, Duration)> = (0..ROUNDS)
                    .map(|_| match size {
                        8 => run::<[u64; 1]>(slots, bytes, state),
                        512 => run::<[u64; 64]>(slots, bytes, state),
                        _ => run::<[u64; 512]>(slots, bytes, state),
                    })
                    .collect();
                times.sort();
                let recovered = times[ROUNDS / 2].0;
                times.sort_by_key(|time| time.1);
                let next = times[ROUNDS / 2].1;
                println!("{slots:>9} {size:>6} {state:>8} {recovered:>12.1?} {next:>12.1?}");
            }
        }
    }
}

fn available() -> u64 {
    let memory = std::fs::read_to_string("/proc/meminfo").expect("/proc");
    let line = memory.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kilobytes.expect("a number of kB") << 10
}

fn run<T>(slots: usize, bytes: u64, state: &str) -> (Duration, Duration)
where
    T: Message + NoUninit + AnyBitPattern,
{
    let plan =
        Plan::Segment { bytes: bytes as usize, participants: 4, channels: 1, symmetric: false };
    let kept = Kept::new(&plan);
    let segment = kept.join(&Segment::options());
    let channel = segment.channel::<T>("c").capacity(slots);
    let (tx, mut rx) = (channel.sender().expect("an end"), channel.receiver().expect("an end"));
    if state == "mapped" {
        fill_and_empty(&channel);
    }
    let (id, size) = (kept.id().to_string(), size_of::<T>().to_string());
    let mut victim = Worker::start(&["victim", &id, &size, state]);
    victim.expect("ready");
    victim.go();
    tx.send(T::zeroed()).expect("room");
    victim.expect("held");
    let (tell, told) = mpsc::channel();
    let waiter = thread::spawn(move || {
        tell.send(nix::unistd::gettid().as_raw()).expect("a parent");
        let delivery = rx.take().expect("a message");
        let got = Instant::now();
        assert_eq!(delivery.attempts(), 1);
        drop(delivery);
        let before = Instant::now();
        assert!(rx.try_recv().is_err());
        (got, before.elapsed())
    });
    let file = format!("/proc/self/task/{}/syscall", told.recv().expect("a thread"));
    while !std::fs::read_to_string(&file)
        .is_ok_and(|call| call.starts_with(&format!("{} ", libc::SYS_semtimedop)))
    {
        thread::yield_now();
    }
    let began = Instant::now();
    victim.kill();
    let (got, next) = waiter.join().expect("no panic");
    (got - began, next)
}

fn fill_and_empty<T: Message + NoUninit + AnyBitPattern>(channel: &Channel<'_, T>) {
    let (tx, rx) = (channel.sender().expect("an end"), channel.receiver().expect("an end"));
    while tx.try_send(T::zeroed()).is_ok() {}
    while rx.try_recv().is_ok() {}
}

/// Takes a message and does not let it go.
fn victim<T: Message + NoUninit + AnyBitPattern>(channel: &Channel<'_, T>, state: &str) {
    if state == "used" {
        fill_and_empty(channel);
    }
    let mut rx = channel.receiver().expect("an end");
    ready();
    let _held = rx.take().expect("a message");
    say("held");
    loop {
        thread::park();
    }
}
