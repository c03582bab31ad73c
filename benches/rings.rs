//! Both rings between processes, beside the best rings between threads.
//!
//! `cargo bench --bench rings` prints, for 8-byte messages in rings of 1,024,
//! the messages per second of each subject and its ratio to the peer that
//! was measured in the same round. Rounds are interleaved; figures are
//! medians with their range. The machine is noisy: read the ratios.

use std::hint::spin_loop;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_queue::ArrayQueue;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use tombolo::{Kind, Mpmc, Receiver, Segment, Sender, Spsc};

const CAPACITY: usize = 1_024;
const ROUNDS: usize = 7;
const SPSC_MESSAGES: u64 = 20_000_000;
const MPMC_MESSAGES: u64 = 8_000_000;
/// Puts the calling thread on the nth processor, as far as there are so many.
fn pin(n: usize) {
    let cpus = thread::available_parallelism().map_or(1, |n| n.get());
    let mut set = CpuSet::new();
    if n < cpus && set.set(n).is_ok() {
        let _ = sched_setaffinity(Pid::from_raw(0), &set);
    }
}

/// Marks the end of a producer's messages.
const END: u64 = u64::MAX;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, role, cpu, ring, side, id, share] = &arguments[..]
        && role == "worker"
    {
        pin(cpu.parse().expect("a number"));
        let segment = Segment::open_id(id.parse().expect("an id")).expect("the segment");
        let share = share.parse().expect("a number");
        match ring.as_str() {
            "spsc" => worker(segment.channel::<u64>("ring").spsc(), side, share),
            _ => worker(segment.channel::<u64>("ring"), side, share),
        }
        return;
    }
    println!("8-byte messages, capacity {CAPACITY}, {ROUNDS} rounds, one at a time");
    println!("{:44} {:>10}  {:>22}  {:>6}", "subject", "median M/s", "range", "ratio");
    let mut cases = vec![
        Case::new("rtrb, 2 threads", rtrb),
        Case::new("tombolo SPSC, 2 processes, spinning", || processes::<Spsc>(1, false)),
        Case::new("tombolo SPSC, 2 processes, blocking", || processes::<Spsc>(1, true)),
    ];
    measure(&mut cases);
    for pairs in [1, 2] {
        let mut cases = vec![
            Case::new(format!("ArrayQueue, {pairs} × {pairs} threads"), move || {
                array_queue(pairs)
            }),
            Case::new(format!("tombolo MPMC, {pairs} × {pairs} processes, spinning"), move || {
                processes::<Mpmc>(pairs, false)
            }),
            Case::new(format!("tombolo MPMC, {pairs} × {pairs} processes, blocking"), move || {
                processes::<Mpmc>(pairs, true)
            }),
        ];
        measure(&mut cases);
    }
}

struct Case {
    name: String,
    run: Box<dyn Fn() -> f64>,
    rates: Vec<f64>,
}

impl Case {
    fn new(name: impl Into<String>, run: impl Fn() -> f64 + 'static) -> Self {
        Self { name: name.into(), run: Box::new(run), rates: Vec::new() }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Runs the cases in turns; each one's ratio is to the first of its round.
fn measure(cases: &mut [Case]) {
    for _ in 0..ROUNDS {
        for case in cases.iter_mut() {
            let rate = (case.run)();
            case.rates.push(rate);
        }
    }
    let first = cases[0].rates.clone();
    for case in cases {
        let ratios = case.rates.iter().zip(&first).map(|(rate, first)| rate / first).collect();
        let (low, high) = (
            case.rates.iter().copied().fold(f64::MAX, f64::min),
            case.rates.iter().copied().fold(0.0, f64::max),
        );
        println!(
            "{:44} {:>10.1}  {:>22}  {:>6.2}",
            case.name,
            median(case.rates.clone()) / 1e6,
            format!("{:.1} to {:.1}", low / 1e6, high / 1e6),
            median(ratios),
        );
    }
}

fn rate(messages: u64, elapsed: Duration) -> f64 {
    messages as f64 / elapsed.as_secs_f64()
}

fn rtrb() -> f64 {
    let (mut producer, mut consumer) = rtrb::RingBuffer::new(CAPACITY);
    let start = Arc::new(Barrier::new(2));
    let at_start = Arc::clone(&start);
    let sender = thread::spawn(move || {
        pin(0);
        at_start.wait();
        for n in 0..SPSC_MESSAGES {
            while producer.push(n).is_err() {
                spin_loop();
            }
        }
    });
    let receiver = thread::spawn(move || {
        pin(1);
        start.wait();
        let began = Instant::now();
        for expected in 0..SPSC_MESSAGES {
            let n = loop {
                match consumer.pop() {
                    Ok(n) => break n,
                    Err(_) => spin_loop(),
                }
            };
            assert_eq!(n, expected);
        }
        began.elapsed()
    });
    sender.join().expect("the sender");
    let elapsed = receiver.join().expect("the receiver");
    rate(SPSC_MESSAGES, elapsed)
}

fn array_queue(pairs: u64) -> f64 {
    let queue = Arc::new(ArrayQueue::new(CAPACITY));
    let start = Arc::new(Barrier::new(2 * pairs as usize + 1));
    let share = MPMC_MESSAGES / pairs;
    let mut threads = Vec::new();
    for pair in 0..pairs as usize {
        let (queue, start) = (Arc::clone(&queue), Arc::clone(&start));
        threads.push(thread::spawn(move || {
            pin(2 * pair);
            start.wait();
            for n in (0..share).chain([END]) {
                while queue.push(n).is_err() {
                    spin_loop();
                }
            }
            0
        }));
    }
    for pair in 0..pairs as usize {
        let (queue, start) = (Arc::clone(&queue), Arc::clone(&start));
        threads.push(thread::spawn(move || {
            pin(2 * pair + 1);
            start.wait();
            let mut sum = 0_u64;
            loop {
                match queue.pop() {
                    Some(END) => return sum,
                    Some(n) => sum += n,
                    None => spin_loop(),
                }
            }
        }));
    }
    start.wait();
    let began = Instant::now();
    let sum: u64 = threads.into_iter().map(|thread| thread.join().expect("a thread")).sum();
    let elapsed = began.elapsed();
    assert_eq!(sum, pairs * (share * (share - 1) / 2));
    rate(MPMC_MESSAGES, elapsed)
}

trait Ring: Kind {
    const NAME: &'static str;
    const MESSAGES: u64;
}
impl Ring for Spsc {
    const NAME: &'static str = "spsc";
    const MESSAGES: u64 = SPSC_MESSAGES;
}
impl Ring for Mpmc {
    const NAME: &'static str = "mpmc";
    const MESSAGES: u64 = MPMC_MESSAGES;
}

fn processes<K: Ring>(pairs: u64, blocking: bool) -> f64 {
    let segment = Segment::options().size(1 << 20).prefault(true).anonymous().expect("a segment");
    // Made here, so that the workers only open it.
    match K::NAME {
        "spsc" => drop(segment.channel::<u64>("ring").spsc().capacity(CAPACITY).lasting().sender()),
        _ => drop(segment.channel::<u64>("ring").capacity(CAPACITY).lasting().sender()),
    }
    let share = K::MESSAGES / pairs;
    let mode = if blocking { "blocking" } else { "spinning" };
    let spawn = |(cpu, side): (usize, &str)| {
        Command::new(std::env::current_exe().expect("this program"))
            .args(["worker", &cpu.to_string(), K::NAME])
            .arg(format!("{side}-{mode}"))
            .args([segment.id().to_string(), share.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a worker")
    };
    let mut workers: Vec<Child> =
        (0..pairs).flat_map(|_| ["producer", "consumer"]).enumerate().map(spawn).collect();
    let mut outputs: Vec<_> = workers
        .iter_mut()
        .map(|worker| BufReader::new(worker.stdout.take().expect("its output")).lines())
        .collect();
    for output in &mut outputs {
        assert_eq!(output.next().expect("a line").expect("read"), "ready");
    }
    let began = Instant::now();
    for worker in &mut workers {
        worker.stdin.take().expect("its input").write_all(b"\n").expect("written");
    }
    let sum: u64 = outputs
        .iter_mut()
        .map(|output| output.next().expect("a line").expect("read").parse::<u64>().expect("a sum"))
        .sum();
    let elapsed = began.elapsed();
    for mut worker in workers {
        assert!(worker.wait().expect("its end").success());
    }
    assert_eq!(sum, pairs * (share * (share - 1) / 2));
    rate(K::MESSAGES, elapsed)
}

/// The loops stand here as those of the peers do, so that all are compiled
/// alike.
fn worker<K: Kind>(channel: tombolo::Channel<'_, u64, K>, side: &str, share: u64) {
    let ready = || {
        println!("ready");
        let mut go = String::new();
        std::io::stdin().read_line(&mut go).expect("the start");
    };
    let mut sum = 0_u64;
    match side {
        "producer-spinning" => {
            let sender: Sender<u64, K> = channel.sender().expect("a sender");
            ready();
            for n in (0..share).chain([END]) {
                while sender.try_send(n).is_err() {
                    spin_loop();
                }
            }
        }
        "producer-blocking" => {
            let sender: Sender<u64, K> = channel.sender().expect("a sender");
            ready();
            for n in (0..share).chain([END]) {
                sender.send(n).expect("sent");
            }
        }
        "consumer-spinning" => {
            let receiver: Receiver<u64, K> = channel.receiver().expect("a receiver");
            ready();
            loop {
                match receiver.try_recv() {
                    Ok(END) => break,
                    Ok(n) => sum += n,
                    Err(_) => spin_loop(),
                }
            }
        }
        _ => {
            let receiver: Receiver<u64, K> = channel.receiver().expect("a receiver");
            ready();
            loop {
                match receiver.recv().expect("received") {
                    END => break,
                    n => sum += n,
                }
            }
        }
    }
    println!("{sum}");
}
