//! Sends, through both channels.

use std::thread;
use std::time::{Duration, Instant};

use tombolo::{Segment, SendTimeoutError};

use super::orders::{Args, BROADCAST, CAPACITY, Orders, PAUSE, QUEUE};
use super::piece;
use super::words::{Report, Sent};

/// How many messages a second are published: a feed does not wait for bridges that are dead.
const PACE: u32 = 10_000;

/// Sends until it is told to stop.
pub(super) fn run(args: &Args, segment: &Segment, orders: &Orders) -> Result<(), String> {
    let queue = segment.bytes(QUEUE).capacity(CAPACITY, args.size).lasting();
    let queue = queue.sender().map_err(|error| error.to_string())?;
    let broadcast = segment.broadcast_bytes(BROADCAST).capacity(CAPACITY, args.size).lasting();
    let broadcast = broadcast.publisher().map_err(|error| error.to_string())?;
    let to_queue = |message: &[u8], most| sent(queue.send_timeout(message, most));
    let to_all = move |message: &[u8], most| sent(broadcast.send_timeout(message, most));
    let mut message = vec![0; args.size];
    while !orders.go() && !orders.stop() {
        piece::write(piece::HELLO, &mut message);
        to_queue(&message, PAUSE)?;
        to_all(&message, PAUSE)?;
        thread::sleep(PAUSE);
    }
    let (queue, broadcast) = thread::scope(|scope| {
        let other = scope.spawn(move || numbered(args, orders, to_all, Some(PACE)));
        let queue = numbered(args, orders, to_queue, None);
        (queue, other.join().unwrap_or_else(|_| Err("a thread panicked".to_owned())))
    });
    Report::Sent(Sent { queue: queue?, broadcast: broadcast? }).say();
    while !orders.over() {
        thread::sleep(PAUSE);
    }
    Ok(())
}

/// Whether it was sent.
fn sent<T>(done: Result<(), SendTimeoutError<T>>) -> Result<bool, String> {
    match done {
        Ok(()) => Ok(true),
        Err(SendTimeoutError::Timeout(_)) => Ok(false),
        Err(error) => Err(error.to_string()),
    }
}

/// Sends numbered messages; says how many.
fn numbered(
    args: &Args,
    orders: &Orders,
    send: impl Fn(&[u8], Duration) -> Result<bool, String>,
    pace: Option<u32>,
) -> Result<u64, String> {
    let (mut message, mut number, began) = (vec![0; args.size], 0, Instant::now());
    while !orders.stop() && args.messages.is_none_or(|most| number < most) {
        let due = pace.map(|pace| Duration::from_secs_f64(number as f64 / f64::from(pace)));
        if let Some(early) = due.and_then(|due| due.checked_sub(began.elapsed())) {
            thread::sleep(early.clamp(Duration::from_millis(1), PAUSE));
            continue;
        }
        piece::write(number, &mut message);
        if send(&message, PAUSE)? {
            number += 1;
        }
    }
    Ok(number)
}
