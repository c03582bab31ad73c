//! One publisher, and subscribers in other processes.
//!
//! `cargo run --example broadcast` publishes ten prices a second. Start
//! `cargo run --example broadcast -- watch` in other terminals, as often as you like, and
//! `cargo run --example broadcast -- record` for one that the publisher waits for. Stop and
//! kill any of them.

use std::error::Error;
use std::thread;
use std::time::Duration;

use tombolo::{BroadcastChannel, Message, RecvError, Segment, Start};

/// What is published.
#[derive(Clone, Copy, Debug, Message)]
#[repr(C)]
struct Price {
    number: u64,
    cents: u64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let segment = Segment::open_or_create("example/broadcast")?;
    let prices = segment.broadcast::<Price>("prices").capacity(64).lasting();
    match std::env::args().nth(1).as_deref() {
        None | Some("publish") => publish(&prices),
        Some("watch") => watch(&prices),
        Some("record") => record(&prices),
        Some(other) => Err(format!("{other}: publish, watch or record").into()),
    }
}

fn publish(prices: &BroadcastChannel<'_, Price>) -> Result<(), Box<dyn Error>> {
    let publisher = prices.publisher()?;
    for number in 0.. {
        publisher.send(Price { number, cents: 10_000 + number * 7 % 100 })?;
        thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// Nobody waits for this one.
fn watch(prices: &BroadcastChannel<'_, Price>) -> Result<(), Box<dyn Error>> {
    let subscriber = prices.subscriber_from(Start::Last(1))?;
    loop {
        match subscriber.recv() {
            Ok(price) => println!("{price:?}"),
            Err(RecvError::Lagged(missed)) => println!("missed {missed}"),
            Err(error) => return Err(error.into()),
        }
    }
}

/// The publisher waits for this one when it is 64 prices behind.
fn record(prices: &BroadcastChannel<'_, Price>) -> Result<(), Box<dyn Error>> {
    let subscriber = prices.reliable_subscriber_from(Start::Oldest)?;
    for price in &subscriber {
        println!("{:?}", price?);
    }
    Ok(())
}
