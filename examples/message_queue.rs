//! Orders to a worker by message queue: the urgent one overtakes.
//!
//! `cargo run --example message_queue`
//!
//! Receivers select messages by type. Here, types 1 and 2 are orders, of which the
//! worker always takes the lowest, and type 3 is an answer.

use std::env;
use std::error::Error;
use std::process::Command;
use std::time::{Duration, Instant};

use tombolo::sys::Key;
use tombolo::sys::msg::{Queue, Selector, Wait};

const URGENT: i64 = 1;
const ROUTINE: i64 = 2;
const ANSWER: i64 = 3;

fn main() -> Result<(), Box<dyn Error>> {
    if let Some(id) = env::args().nth(1) {
        return work(&Queue::from_id(id.parse()?));
    }
    let queue = Queue::options().create(Key::PRIVATE)?;
    let done = conduct(&queue);
    // It outlives every process: nothing but this removes it.
    queue.remove()?;
    done
}

fn conduct(queue: &Queue) -> Result<(), Box<dyn Error>> {
    for order in ["count the sheep", "paint the fence", "count them again"] {
        queue.send(ROUTINE, order.as_bytes(), Wait::No)?;
    }
    queue.send(URGENT, b"close the gate", Wait::No)?;
    let mut worker = Command::new(env::current_exe()?).arg(queue.id().to_string()).spawn()?;
    // A worker that was killed does not answer: never wait for good.
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut buffer = [0; 100];
    for _ in 0..4 {
        let got = queue.receive(Selector::Type(ANSWER), &mut buffer, Wait::Until(deadline))?;
        println!("done: {}", String::from_utf8_lossy(&buffer[..got.len]));
    }
    worker.wait()?;
    Ok(())
}

fn work(queue: &Queue) -> Result<(), Box<dyn Error>> {
    // `receive` would say that a longer order does not fit, and leave it there.
    let mut order = [0; 100];
    for _ in 0..4 {
        let got = queue.receive(Selector::UpTo(ROUTINE), &mut order, Wait::Forever)?;
        queue.send(ANSWER, &order[..got.len], Wait::Forever)?;
    }
    Ok(())
}
