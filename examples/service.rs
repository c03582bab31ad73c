//! A server with a hundred clients, in one thread: it takes calls, leaves those that take
//! long for later, and replies in the order in which they are done.
//!
//! `cargo run --release --example service`
//!
//! Two processes with fifty clients each make calls, one after the other. One of the processes
//! is killed in the middle: the server does not notice, but for calls that nobody wants.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::env;
use std::error::Error;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use tombolo::{RecvTimeoutError, Segment, ServerCall};

const CLIENTS: u64 = 50;
const CALLS: u64 = 20;

/// Asks for so many milliseconds of patience, and is told how many calls were waiting then.
type Call = ServerCall<u64, u64>;

fn main() -> Result<(), Box<dyn Error>> {
    if let Some(id) = env::args().nth(1) {
        return ask(&Segment::open_id(id.parse()?)?);
    }
    let segment = Segment::anonymous()?;
    let server = segment.service::<u64, u64>("patience").capacity(128).server()?;
    let start = || Command::new(env::current_exe()?).arg(segment.id().to_string()).spawn();
    let (mut stays, mut dies) = (start()?, start()?);

    // What is to be replied to, the soonest first.
    let mut due: BinaryHeap<Reverse<(Instant, usize)>> = BinaryHeap::new();
    let mut waiting: Vec<Option<Call>> = Vec::new();
    let (mut replied, mut unwanted) = (0, 0);
    loop {
        // The next call, or the time of the next reply.
        let next = due.peek().map(|Reverse((at, _))| *at);
        let until = next.unwrap_or_else(|| Instant::now() + Duration::from_secs(1));
        match server.recv_deadline(until) {
            Ok(call) => {
                let at = Instant::now() + Duration::from_millis(call.request()?);
                due.push(Reverse((at, waiting.len())));
                waiting.push(Some(call));
            }
            Err(RecvTimeoutError::Timeout) => {}
            // The last client has gone, and nothing is left to take.
            Err(RecvTimeoutError::Disconnected) if due.is_empty() => break,
            Err(RecvTimeoutError::Disconnected) => thread::sleep(Duration::from_millis(1)),
            Err(error) => return Err(error.into()),
        }
        while let Some(&Reverse((at, index))) = due.peek() {
            if at > Instant::now() {
                break;
            }
            due.pop();
            let Some(call) = waiting.get_mut(index).and_then(Option::take) else { continue };
            if call.reply(due.len() as u64)? {
                replied += 1;
            } else {
                unwanted += 1;
            }
            if replied == CLIENTS * CALLS / 2 {
                dies.kill()?;
            }
        }
    }
    dies.wait()?;
    println!("{replied} replies, and {unwanted} that nobody waited for any more");
    let status = stays.wait()?;
    if status.success() { Ok(()) } else { Err(status.to_string().into()) }
}

/// Fifty clients, each in a thread of its own.
fn ask(segment: &Segment) -> Result<(), Box<dyn Error>> {
    let service = segment.service::<u64, u64>("patience");
    let clients = (0..CLIENTS).map(|_| service.client()).collect::<Result<Vec<_>, _>>()?;
    let asking: Vec<_> = (0..)
        .zip(clients)
        .map(|(number, client)| {
            thread::spawn(move || {
                (0..CALLS).try_for_each(|n| client.call((number + n) % 10).map(drop))
            })
        })
        .collect();
    for thread in asking {
        thread.join().map_err(|_| "a client has panicked")??;
    }
    Ok(())
}
