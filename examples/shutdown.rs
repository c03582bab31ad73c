//! Ending well on Ctrl-C, where threads block. `examples/tokio.rs` does the same with tasks.
//!
//! `cargo run --release --example shutdown`, and press Ctrl-C.
//!
//! One thread sends and one receives. The main thread waits for the signal, which no thread
//! handles, and then cancels the sender: a call that waits ends, and the next ones do nothing.
//! What was sent is still received.

use std::error::Error;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};
use tombolo::{Fault, Segment, SendError};

type Failure = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    // Before any thread starts, so that none of them is interrupted.
    let signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM]);
    signals.thread_block()?;

    let segment = Segment::anonymous()?;
    let numbers = segment.channel::<u64>("numbers").capacity(4);
    let (sender, receiver) = (numbers.sender()?, numbers.receiver()?);
    let canceller = sender.canceller();
    let sends = thread::spawn(move || {
        for n in 0.. {
            match sender.send(n) {
                Ok(()) => {}
                // The sender is dropped, so the receiver is told that this was all.
                Err(SendError::Fault { fault: Fault::Cancelled, .. }) => return Ok(n),
                Err(error) => return Err(error),
            }
        }
        Ok(0)
    });
    let receives = thread::spawn(move || {
        let mut count = 0;
        for number in &receiver {
            println!("{}", number?);
            count += 1;
            thread::sleep(Duration::from_millis(100));
        }
        Ok::<u64, tombolo::RecvError>(count)
    });

    let signal = signals.wait()?;
    println!("{signal}: nothing more is sent");
    canceller.cancel()?;
    let sent = sends.join().map_err(|_| "the sender panicked")??;
    let received = receives.join().map_err(|_| "the receiver panicked")??;
    println!("{sent} were sent, and {received} were received");
    Ok(())
}
