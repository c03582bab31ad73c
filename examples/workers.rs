//! A pool of worker processes: jobs go out over one channel, each to one worker,
//! and results come back over another.
//!
//! `cargo run --release --example workers`
//!
//! The segment has no name. The workers are told its id, and its memory is freed
//! with the last process attached.

use std::env;
use std::error::Error;
use std::process::{self, Command};

use tombolo::Segment;

const WORKERS: usize = 3;
const JOBS: u64 = 60;

fn main() -> Result<(), Box<dyn Error>> {
    if let Some(id) = env::args().nth(1) {
        return work(&Segment::open_id(id.parse()?)?);
    }
    let segment = Segment::anonymous()?;
    // Room for every result: nobody has to wait for this process to read.
    let jobs = segment.channel::<u64>("jobs").capacity(8).sender()?;
    let results = segment.channel::<[u64; 3]>("results").capacity(JOBS as usize).receiver()?;
    let start = || Command::new(env::current_exe()?).arg(segment.id().to_string()).spawn();
    let mut workers = (0..WORKERS).map(|_| start()).collect::<Result<Vec<_>, _>>()?;

    for job in 1..=JOBS {
        jobs.send(1_000 * job)?;
    }
    // No sender is left: each worker ends when it finds the channel empty.
    drop(jobs);
    // And with the last worker, this ends.
    for result in &results {
        let [below, primes, worker] = result?;
        println!("{primes:5} primes below {below:5}, says process {worker}");
    }
    for worker in &mut workers {
        worker.wait()?;
    }
    Ok(())
}

fn work(segment: &Segment) -> Result<(), Box<dyn Error>> {
    let results = segment.channel::<[u64; 3]>("results").sender()?;
    let jobs = segment.channel::<u64>("jobs").receiver()?;
    for below in &jobs {
        let below = below?;
        let is_prime = |&n: &u64| (2..n).take_while(|d| d * d <= n).all(|d| n % d != 0);
        let primes = (2..below).filter(is_prime).count() as u64;
        results.send([below, primes, process::id().into()])?;
    }
    Ok(())
}
