//! Handles whose peer needs the very processor that they run on.

use std::thread;
use std::time::Duration;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::resource::{UsageWho, getrusage};
use nix::unistd::Pid;
use tombolo::Segment;

const ROUNDS: u64 = 400;

/// Binds the calling thread to a processor.
fn bind(cpu: usize) {
    let mut one = CpuSet::new();
    one.set(cpu).unwrap();
    sched_setaffinity(Pid::from_raw(0), &one).unwrap();
}

/// The processor time that the calling thread has used.
fn used() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_THREAD).unwrap();
    let micros = |time: nix::sys::time::TimeVal| {
        Duration::new(time.tv_sec().unsigned_abs(), 1_000 * time.tv_usec() as u32)
    };
    micros(usage.user_time()) + micros(usage.system_time())
}

/// A spin of 20 µs before each of the two sleeps would take 40 µs a round trip.
#[test]
fn two_that_share_a_processor_exchange_messages_and_do_not_spin_for_each_other() {
    let segment = Segment::options().size(1 << 18).anonymous().unwrap();
    let (there, back) = (segment.channel::<u64>("there"), segment.channel::<u64>("back"));
    let (there, back) = (there.capacity(8), back.capacity(8));
    let ours = sched_getaffinity(Pid::from_raw(0)).unwrap();
    let cpu = (0..CpuSet::count()).find(|&cpu| ours.is_set(cpu).unwrap()).unwrap();
    let (questions, answers) = (there.receiver().unwrap(), back.sender().unwrap());
    let (ask, answered) = (there.sender().unwrap(), back.receiver().unwrap());
    let answering = thread::spawn(move || {
        bind(cpu);
        let mut used_by = Vec::new();
        for _ in 0..5 {
            let before = used();
            (0..ROUNDS).for_each(|_| answers.send(questions.recv().unwrap()).unwrap());
            used_by.push(used() - before);
        }
        used_by
    });
    let asking = thread::spawn(move || {
        bind(cpu);
        let mut used_by = Vec::new();
        for _ in 0..5 {
            let before = used();
            for n in 0..ROUNDS {
                ask.send(n).unwrap();
                assert_eq!(answered.recv(), Ok(n));
            }
            used_by.push(used() - before);
        }
        used_by
    });
    let (answering, asking) = (answering.join().unwrap(), asking.join().unwrap());
    // The least of some: in the first, the handles learn.
    let least = answering.iter().zip(&asking).map(|(one, other)| *one + *other).min().unwrap();
    let each = least / ROUNDS as u32;
    assert!(each < Duration::from_micros(25), "a round trip used {each:?} of the processor");
}
