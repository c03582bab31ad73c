//! The sending one of two processes that meet by name.
//!
//! In one terminal run `cargo run --example consumer`, in another
//! `cargo run --example producer`, in any order: the first one creates the segment
//! and the channel. Kill the producer with `kill -9`, and the consumer receives
//! what was sent and ends. Kill the consumer and start it again: it continues
//! where it was.

use std::error::Error;
use std::thread;
use std::time::Duration;

use tombolo::Segment;

fn main() -> Result<(), Box<dyn Error>> {
    let segment = Segment::open_or_create("example")?;
    let numbers = segment.channel::<u64>("numbers").capacity(64).sender()?;
    for number in 1..=20 {
        numbers.send(number)?;
        println!("sent {number}");
        thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}
