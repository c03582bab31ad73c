//! The cost of sending one message to each of n channels, to all or to none, beside that of
//! n single sends.
//!
//! `cargo bench --bench send_all` prints nanoseconds for each round of n messages of 8 bytes:
//! the median of the rounds, and the lowest and highest. One thread sends and receives, so
//! nobody waits and nobody else is at the channels.

use std::time::Instant;

use tombolo::{Kind, Mpmc, Receiver, Segment, SendAll, Sender, Spsc};

const ROUNDS: usize = 15;
const SENDS: u64 = 100_000;
const CAPACITY: u64 = 64;
const NAMES: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];

/// The ends of a channel for each name.
type Ends<const N: usize, K> = ([Sender<u64, K>; N], [Receiver<u64, K>; N]);

/// What one call of `send` costs, where `receive` empties the channels now and then.
fn measure(mut send: impl FnMut(u64), mut receive: impl FnMut()) -> [f64; 3] {
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let mut sending = 0;
            for lap in 0..SENDS / CAPACITY {
                let began = Instant::now();
                (0..CAPACITY).for_each(|n| send(lap * CAPACITY + n));
                sending += began.elapsed().as_nanos();
                (0..CAPACITY).for_each(|_| receive());
            }
            sending as f64 / (SENDS / CAPACITY * CAPACITY) as f64
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    [rounds[ROUNDS / 2], rounds[0], rounds[ROUNDS - 1]]
}

fn say(kind: &str, n: usize, how: &str, [median, lowest, highest]: [f64; 3]) {
    println!("{kind}  {n}  {how:12} {median:7.1} ns  ({lowest:.1} to {highest:.1})");
}

fn compare<const N: usize, K: Kind>(kind: &str, (senders, receivers): Ends<N, K>)
where
    Sender<u64, K>: for<'m> tombolo::SendEnd<Message<'m> = u64>,
{
    let receive = || {
        for receiver in &receivers {
            receiver.try_recv().expect("a message");
        }
    };
    let each = |n: u64| {
        for sender in &senders {
            sender.try_send(n).expect("room");
        }
    };
    say(kind, N, "single sends", measure(each, receive));
    let all = SendAll::new(senders.each_ref()).expect("senders of one segment");
    let together = |n: u64| assert!(all.try_send([n; N]).is_ok());
    say(kind, N, "together", measure(together, receive));
}

fn pairs<const N: usize>() {
    let segment = Segment::anonymous().expect("a segment");
    let many = |n| segment.channel::<u64>(n).capacity(CAPACITY as usize);
    let mpmc: Ends<N, Mpmc> = (
        std::array::from_fn(|n| many(NAMES[n]).sender().expect("a sender")),
        std::array::from_fn(|n| many(NAMES[n]).receiver().expect("a receiver")),
    );
    compare("MPMC", mpmc);
    let segment = Segment::anonymous().expect("a segment");
    let single = |n| segment.channel::<u64>(n).capacity(CAPACITY as usize).spsc();
    let spsc: Ends<N, Spsc> = (
        std::array::from_fn(|n| single(NAMES[n]).sender().expect("a sender")),
        std::array::from_fn(|n| single(NAMES[n]).receiver().expect("a receiver")),
    );
    compare("SPSC", spsc);
}

fn main() {
    pairs::<1>();
    pairs::<2>();
    pairs::<4>();
    pairs::<8>();
}
