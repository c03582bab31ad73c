//! A pool of workers that survives `kill -9`, as in docs/tutorial.md.
//!
//! `cargo run --release --example pool work`, as often as you like, and
//! `cargo run --release --example pool ask`, in any order.

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;
use std::{env, process, thread};

use tombolo::Segment;

const JOBS: u64 = 30;

fn main() -> Result<(), Box<dyn Error>> {
    let segment = Segment::open_or_create("pool")?;
    match env::args().nth(1).as_deref() {
        Some("work") => work(&segment),
        Some("ask") => ask(&segment),
        _ => Err("say `work` or `ask`".into()),
    }
}

fn work(segment: &Segment) -> Result<(), Box<dyn Error>> {
    let mut jobs = segment.channel::<u64>("jobs").capacity(100).lasting().receiver()?;
    let results = segment.channel::<[u64; 2]>("results").capacity(100).lasting().sender()?;
    loop {
        let job = jobs.take()?;
        let number = job.read();
        println!("process {} works on {number}", process::id());
        thread::sleep(Duration::from_millis(300));
        results.send([number, number * number])?;
        job.release();
    }
}

fn ask(segment: &Segment) -> Result<(), Box<dyn Error>> {
    let jobs = segment.channel::<u64>("jobs").capacity(100).lasting().sender()?;
    let results = segment.channel::<[u64; 2]>("results").capacity(100).lasting().receiver()?;
    for number in 1..=JOBS {
        jobs.send(number)?;
    }
    let mut done = BTreeMap::new();
    while done.len() < JOBS as usize {
        let [number, square] = results.recv()?;
        done.insert(number, square);
        println!("{number} squared is {square}; {} of {JOBS} are done", done.len());
    }
    println!("all {JOBS} jobs are done");
    Ok(())
}
