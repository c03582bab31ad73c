//! The cost of a message without another processor: both ends in one thread.
//!
//! `cargo bench --bench rings` prints the time to send and receive one message,
//! for every way through a channel and for the best queues between threads: the
//! median of interleaved rounds, their range, and the median of the ratios to the
//! first line of the group in the same round. No cache line moves, so this is the
//! cost of the code, whose instructions `instructions` counts. `tombolo bench` and
//! `benches/peers` measure the cost of moving cache lines, because they know where
//! their processes run.

mod common;

use std::time::Instant;

use common::{BATCH, Kept, Plan, Subject, Table, Way, groups, orders};
use tombolo::Segment;

const ROUNDS: Table = Table { rounds: 7 };
/// How often [`BATCH`] messages go in and out.
const BURSTS: u64 = 10_000;
const MESSAGES: u64 = BURSTS * BATCH as u64;

fn main() {
    // All its work is done here; but it starts itself as a keeper.
    if orders("worker").is_some() {
        return;
    }
    let kept = Kept::new(&Plan::segment(64 << 20));
    for group in groups(&kept.join(&Segment::options())) {
        let subjects = group.ways.into_iter().map(subject).collect();
        ROUNDS.measure(&group.title, "ns to send and receive one", subjects);
    }
}

fn subject(mut way: Way) -> Subject<'static> {
    let name = format!("{}: {}; {}", way.queue, way.calls[0], way.calls[1]);
    let mut next = 0;
    Subject::new(name, move || {
        let (first, mut sum) = (next, 0_u64);
        let began = Instant::now();
        for _ in 0..BURSTS {
            let numbers = next..next + BATCH as u64;
            next = numbers.end;
            way.push(numbers);
            sum = sum.wrapping_add(way.pop(BATCH as u64));
        }
        let elapsed = began.elapsed();
        assert_eq!(sum, way.sum_of(first..next), "what was received");
        elapsed.as_nanos() as f64 / MESSAGES as f64
    })
}
