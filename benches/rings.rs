//! What a message costs where nobody else is: both ends in one thread.
//!
//! `cargo bench --bench rings` prints the time of sending and receiving one, for
//! every way through a channel, beside the best queues between threads: the
//! median of interleaved rounds, their range, and the median of the ratios to
//! the first of the group in the same round. No cache line moves here, so it
//! is what the code costs, which `instructions` counts. What moving lines
//! costs is for `tombolo bench` and `benches/peers`, which know where their
//! processes are.

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
