//! Large messages in place, beside a hand-written ring and a pipe.
//!
//! `cargo bench --bench bytes` prints the bytes per second of messages of
//! 64 KiB between two processes, each filled by the one and summed up by the
//! other, and its ratio to a raw ring of as many slots in the same round.

#![allow(unsafe_code)]

use std::fs::File;
use std::hint::spin_loop;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use nix::fcntl::{FcntlArg, fcntl};
use tombolo::sys::Key;
use tombolo::sys::shm::{AttachOptions, Attachment, Shm};
use tombolo::{ByteChannel, ByteKind, Mpmc, Segment, Spsc};

const LENGTH: usize = 65_536;
const SLOTS: usize = 64;
const MESSAGES: u64 = 60_000;
const ROUNDS: usize = 5;
const PIPE: i32 = 1 << 20;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    match &arguments[..] {
        [_, word, subject, side, id] if word == "worker" => {
            work(subject, side, id.parse().expect("an id"));
        }
        _ => report(),
    }
}

fn report() {
    println!("messages of {LENGTH} bytes, {SLOTS} of them, {ROUNDS} rounds, 2 processes");
    println!("{:36} {:>11}  {:>16}  {:>6}", "subject", "median GB/s", "range", "ratio");
    let subjects = [
        ("raw", "raw ring"),
        ("spsc", "tombolo SPSC bytes, in place"),
        ("mpmc", "tombolo MPMC bytes, in place"),
        ("spsc-copy", "tombolo SPSC bytes, copied"),
        ("pipe", "pipe of 1 MiB"),
    ];
    let mut rates = vec![Vec::new(); subjects.len()];
    for _ in 0..ROUNDS {
        for ((subject, _), rates) in subjects.iter().zip(&mut rates) {
            rates.push(run(subject));
        }
    }
    let first = rates[0].clone();
    for ((_, name), rates) in subjects.iter().zip(&rates) {
        let ratios = rates.iter().zip(&first).map(|(rate, first)| rate / first).collect();
        let low = rates.iter().copied().fold(f64::MAX, f64::min);
        let high = rates.iter().copied().fold(0.0, f64::max);
        let range = format!("{low:.1} to {high:.1}");
        println!("{name:36} {:>11.1}  {range:>16}  {:>6.2}", median(rates.clone()), median(ratios));
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Removes the raw segment also when a worker fails.
struct Raw(Shm);

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = self.0.remove();
    }
}

/// Gigabytes per second.
fn run(subject: &str) -> f64 {
    let segment = Segment::options().size(16 << 20).prefault(true).anonymous().expect("a segment");
    let raw = Raw(Shm::options().create(Key::PRIVATE, raw_size()).expect("a raw segment"));
    let prefault = AttachOptions { prefault: true, ..AttachOptions::default() };
    let _pages = raw.0.attach_with(prefault).expect("attached");
    let id = match subject {
        "raw" => raw.0.id(),
        _ => segment.id(),
    };
    match subject {
        "mpmc" => drop(segment.bytes("b").capacity(SLOTS, LENGTH).lasting().sender()),
        _ => drop(segment.bytes("b").spsc().capacity(SLOTS, LENGTH).lasting().sender()),
    }
    let (reader, writer) = nix::unistd::pipe().expect("a pipe");
    fcntl(&writer, FcntlArg::F_SETPIPE_SZ(PIPE)).expect("an enlarged pipe");
    let spawn = |side: &str, data: OwnedFd| {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args(["worker", subject, side, &id.to_string()]);
        command.stdin(data).stdout(Stdio::null()).stderr(Stdio::piped());
        command.spawn().expect("a worker")
    };
    // The data's pipe is each worker's standard input; what it says, it says
    // on standard error.
    let mut workers = [spawn("producer", writer), spawn("consumer", reader)];
    let mut said = workers
        .each_mut()
        .map(|worker: &mut Child| BufReader::new(worker.stderr.take().expect("its words")).lines());
    for said in &mut said {
        assert_eq!(said.next().expect("a line").expect("read"), "ready");
    }
    let seconds: f64 =
        said[1].next().expect("a line").expect("read").parse().expect("what it took");
    for worker in &mut workers {
        assert!(worker.wait().expect("its end").success());
    }
    MESSAGES as f64 * LENGTH as f64 / seconds / 1e9
}

/// Not inlined, so that it is the same code for every subject.
#[inline(never)]
fn fill(room: &mut [u8], n: u64) {
    room.fill(n as u8);
}

#[inline(never)]
fn check(message: &[u8], n: u64) {
    let sum = message
        .chunks_exact(8)
        .map(|word| u64::from_le_bytes(word.try_into().expect("eight bytes")))
        .fold(0_u64, u64::wrapping_add);
    let word = u64::from_le_bytes([n as u8; 8]);
    assert_eq!(sum, word.wrapping_mul(LENGTH as u64 / 8), "message {n}");
}

/// Says how long the consumer took, from its first message on.
fn consume(mut receive: impl FnMut(u64)) {
    eprintln!("ready");
    receive(0);
    let began = Instant::now();
    (1..MESSAGES).for_each(receive);
    eprintln!("{}", began.elapsed().as_secs_f64());
}

fn produce(send: impl FnMut(u64)) {
    eprintln!("ready");
    (0..MESSAGES).for_each(send);
}

fn work(subject: &str, side: &str, id: i32) {
    match subject {
        "raw" => {
            let ring = RawRing(Shm::from_id(id).attach().expect("attached"));
            if side == "producer" {
                produce(|n| ring.send(n));
            } else {
                consume(|n| ring.receive(n));
            }
        }
        "pipe" => {
            let data = std::io::stdin();
            let data = std::os::fd::AsFd::as_fd(&data).try_clone_to_owned().expect("a descriptor");
            let mut data = File::from(data);
            let mut buffer = vec![0; LENGTH];
            if side == "producer" {
                produce(|n| {
                    fill(&mut buffer, n);
                    data.write_all(&buffer).expect("written");
                });
            } else {
                consume(|n| {
                    data.read_exact(&mut buffer).expect("read");
                    check(&buffer, n);
                });
            }
        }
        _ => {
            let segment = Segment::open_id(id).expect("the segment");
            let channel = segment.bytes("b");
            match subject {
                "mpmc" => in_place::<Mpmc>(channel, side),
                "spsc" => in_place::<Spsc>(channel.spsc(), side),
                _ => copied(channel.spsc(), side),
            }
        }
    }
}

fn in_place<K: ByteKind>(channel: ByteChannel<'_, K>, side: &str) {
    if side == "producer" {
        let mut sender = channel.sender().expect("a sender");
        produce(|n| {
            let mut room = sender.reserve(LENGTH).expect("room");
            fill(&mut room, n);
            room.commit(LENGTH).expect("sent");
        });
    } else {
        let mut receiver = channel.receiver().expect("a receiver");
        consume(|n| check(&receiver.take().expect("a message"), n));
    }
}

fn copied(channel: ByteChannel<'_, Spsc>, side: &str) {
    let mut buffer = vec![0; LENGTH];
    if side == "producer" {
        let sender = channel.sender().expect("a sender");
        produce(|n| {
            fill(&mut buffer, n);
            sender.send(&buffer).expect("sent");
        });
    } else {
        let receiver = channel.receiver().expect("a receiver");
        consume(|n| {
            receiver.recv(&mut buffer).expect("received");
            check(&buffer, n);
        });
    }
}

/// What one would write by hand: two indices and slots, busy waiting.
struct RawRing(Attachment);

const LINE: usize = 128;

const fn raw_size() -> usize {
    2 * LINE + SLOTS * LENGTH
}

impl RawRing {
    fn index(&self, n: usize) -> &AtomicU64 {
        // SAFETY: within the segment.
        let index = unsafe { self.0.as_ptr().add(n * LINE) };
        // SAFETY: aligned, and both processes use it as an atomic only.
        unsafe { AtomicU64::from_ptr(index.cast()) }
    }

    fn slot(&self, n: u64) -> *mut u8 {
        // SAFETY: within the segment.
        unsafe { self.0.as_ptr().add(2 * LINE + (n as usize % SLOTS) * LENGTH) }
    }

    fn send(&self, n: u64) {
        while n - self.index(0).load(Ordering::Acquire) == SLOTS as u64 {
            spin_loop();
        }
        // SAFETY: the slot is the producer's until the tail says otherwise.
        fill(unsafe { std::slice::from_raw_parts_mut(self.slot(n), LENGTH) }, n);
        self.index(1).store(n + 1, Ordering::Release);
    }

    fn receive(&self, n: u64) {
        while self.index(1).load(Ordering::Acquire) == n {
            spin_loop();
        }
        // SAFETY: the slot is the consumer's until the head says otherwise.
        check(unsafe { std::slice::from_raw_parts(self.slot(n), LENGTH) }, n);
        self.index(0).store(n + 1, Ordering::Release);
    }
}
