//! The cost of several senders and receivers, and of copying, for messages of
//! 64 KiB between processes.
//!
//! `cargo bench --bench bytes` prints the bytes per second of each way through a
//! channel of bytes, and the ratio to SPSC in place, by reference, in the same
//! round. The sender fills every message and the receiver sums it up.
//! `tombolo bench throughput` compares this with a ring written by hand and with
//! the kernel's own mechanisms.

#![allow(unsafe_code)]

mod common;

use std::time::Instant;

use common::{Kept, Plan, Ring, Subject, Table, Worker, orders, ready, say, settle};
use tombolo::{ByteChannel, Mpmc, Segment, Spsc, TrustedPeers};

const ROUNDS: Table = Table { rounds: 7 };
const LENGTH: usize = 65_536;
const SLOTS: usize = 64;
const MESSAGES: u64 = 20_000;

fn main() {
    if let Some(words) = orders("worker") {
        return work(&words);
    }
    let subject = |(name, ring, how)| {
        let sample: Box<dyn FnMut() -> f64> = match ring {
            "spsc" => Box::new(move || run::<Spsc>(ring, how)),
            _ => Box::new(move || run::<Mpmc>(ring, how)),
        };
        Subject::new(name, sample)
    };
    let subjects = [
        ("tombolo SPSC bytes, in place", "spsc", "in place"),
        ("tombolo MPMC bytes, in place", "mpmc", "in place"),
        ("tombolo SPSC bytes, copied", "spsc", "copied"),
        ("tombolo MPMC bytes, copied", "mpmc", "copied"),
    ];
    let title = format!("messages of {LENGTH} bytes, {SLOTS} of them, 2 processes");
    ROUNDS.measure(&title, "GB a second", subjects.into_iter().map(subject).collect());
}

/// From when both begin until the last message was read.
fn run<K: Ring>(ring: &str, how: &str) -> f64 {
    let kept = Kept::new(&Plan::segment(16 << 20));
    let segment = kept.join(&Segment::options().prefault(true));
    drop(K::bytes(segment.bytes("b")).capacity(SLOTS, LENGTH).lasting().sender());
    let id = kept.id().to_string();
    let mut workers =
        ["producer", "consumer"].map(|side| Worker::start(&["worker", ring, how, side, &id]));
    workers.iter_mut().for_each(|worker| worker.expect("ready"));
    let began = Instant::now();
    workers.iter_mut().for_each(Worker::go);
    let sum = workers[1].number();
    let elapsed = began.elapsed();
    workers.into_iter().for_each(Worker::join);
    assert_eq!(sum, (0..MESSAGES).map(sum_of).fold(0, u64::wrapping_add), "what was received");
    MESSAGES as f64 * LENGTH as f64 / elapsed.as_nanos() as f64
}

fn work(words: &[String]) {
    let [ring, how, side, id] = words else { panic!("not an order: {words:?}") };
    settle(usize::from(side == "consumer"));
    let segment = Segment::options().prefault(true).open_id(id.parse().expect("an id"));
    let segment = segment.expect("the segment");
    // SAFETY: an anonymous segment, whose other participants are processes of
    // this benchmark.
    let trust = unsafe { segment.trust_peers() };
    match ring.as_str() {
        "spsc" => end(&segment.bytes("b").spsc(), how, side, trust),
        _ => end(&segment.bytes("b").mpmc(), how, side, trust),
    }
}

/// The message of this number.
fn sum_of(n: u64) -> u64 {
    u64::from_le_bytes([n as u8; 8]).wrapping_mul(LENGTH as u64 / 8)
}

/// Not inlined, so that it is the same code for every subject.
#[inline(never)]
fn fill(room: &mut [u8], n: u64) {
    room.fill(n as u8);
}

#[inline(never)]
fn sum(message: &[u8]) -> u64 {
    message
        .chunks_exact(8)
        .map(|word| u64::from_le_bytes(word.try_into().expect("eight bytes")))
        .fold(0, u64::wrapping_add)
}

fn end<K: Ring>(channel: &ByteChannel<'_, K>, how: &str, side: &str, trust: TrustedPeers) {
    if side == "producer" {
        let mut tx = channel.sender().expect("a sender");
        let mut buffer = vec![0; LENGTH];
        ready();
        for n in 0..MESSAGES {
            if how == "copied" {
                fill(&mut buffer, n);
                tx.send(&buffer).expect("sent");
            } else {
                let mut room = tx.reserve(LENGTH).expect("room");
                fill(room.as_mut_slice(trust), n);
                room.commit(LENGTH).expect("sent");
            }
        }
    } else {
        let mut rx = channel.receiver().expect("a receiver");
        let mut buffer = Vec::with_capacity(LENGTH);
        ready();
        let receive = |_| {
            if how == "copied" {
                rx.recv(&mut buffer).expect("received");
                sum(&buffer)
            } else {
                sum(rx.take().expect("a message").as_slice(trust))
            }
        };
        say((0..MESSAGES).map(receive).fold(0, u64::wrapping_add));
    }
}
