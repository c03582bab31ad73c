//! The receiving one of two processes that meet by name. It receives until the
//! last sender has gone, and then removes the segment.
//!
//! See `producer.rs` for how to run the two.

use std::error::Error;

use tombolo::Segment;

fn main() -> Result<(), Box<dyn Error>> {
    let segment = Segment::open_or_create("example")?;
    let numbers = segment.channel::<u64>("numbers").capacity(64).receiver()?;
    for number in &numbers {
        println!("received {}", number?);
    }
    // Without this, segment and channel would stay for the next producer.
    segment.remove()?;
    Ok(())
}
