//! A parent that gives a segment without a name to its child.
//!
//! `cargo run --example inherit`
//!
//! The child calls one function to open it. If the child is killed, the parent
//! learns of it as of any peer's death: here by the end of a channel, and by the
//! events of the segment.

use std::env;
use std::error::Error;
use std::process::Command;
use std::thread;

use tombolo::{Event, InheritError, Segment};

fn main() -> Result<(), Box<dyn Error>> {
    match Segment::inherited() {
        Ok(segment) => return work(&segment),
        Err(InheritError::NotHandedOver) => {}
        Err(error) => return Err(error.into()),
    }
    let segment = Segment::options().size(1 << 16).anonymous()?;
    let events = segment.events();
    let numbers = segment.channel::<u64>("numbers").capacity(4).receiver()?;

    let mut spawned = segment.spawn(&mut Command::new(env::current_exe()?))?;
    spawned.joined()?;
    println!("process {} has the segment with id {}", spawned.child().id(), segment.id());
    for number in numbers.iter().take(3) {
        println!("it says {}", number?);
    }
    spawned.child().kill()?;
    while numbers.recv().is_ok() {}
    println!("it says no more");
    while let Ok(event) = events.recv() {
        println!("{event}");
        if matches!(event, Event::Died(_)) {
            break;
        }
    }
    spawned.child().wait()?;
    Ok(())
}

fn work(segment: &Segment) -> Result<(), Box<dyn Error>> {
    let numbers = segment.channel::<u64>("numbers").capacity(4).sender()?;
    for number in 1.. {
        numbers.send(number)?;
    }
    loop {
        thread::park();
    }
}
