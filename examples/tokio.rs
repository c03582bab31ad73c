//! Receiving and sending in `tokio` tasks: its `AsyncFd` around a handle's
//! descriptor.
//!
//! `cargo run --release --example tokio`
//!
//! It starts the other side itself, a process that sends each number back
//! doubled. One task sends, another receives, and a third ticks meanwhile.
//! Handles belong to one thread at a time, so the tasks are local ones.

#![allow(unsafe_code)]

use std::env;
use std::error::Error;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::process::Command;
use std::time::Duration;

use tokio::io::{Interest, unix::AsyncFd};
use tokio::task::{LocalSet, spawn_local};
use tokio::{runtime, time};
use tombolo::{Fault, Readiness, Receiver, RecvError, Segment, Sender, TryRecvError, TrySendError};

const NUMBERS: u64 = 100_000;

type Failure = Box<dyn Error>;
type Polled<'a> = AsyncFd<BorrowedFd<'a>>;

/// A handle's descriptor, registered once.
fn polled(readiness: &Readiness) -> io::Result<Polled<'_>> {
    // SAFETY: the descriptor is the handle's as long as it is borrowed.
    Ok(unsafe { AsyncFd::register_with_interest(readiness.as_fd(), Interest::READABLE) }?)
}

fn main() -> Result<(), Failure> {
    if let Some(id) = env::args().nth(1) {
        return double(&Segment::open_id(id.parse()?)?);
    }
    let segment = Segment::anonymous()?;
    let there = segment.channel::<u64>("there").capacity(64).sender()?;
    let back = segment.channel::<u64>("back").capacity(64).receiver()?;
    let mut other = Command::new(env::current_exe()?).arg(segment.id().to_string()).spawn()?;

    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let local = LocalSet::new();
    local.block_on(&runtime, async {
        let ticks = spawn_local(async {
            loop {
                println!("tick");
                time::sleep(Duration::from_millis(50)).await;
            }
        });
        let sends = spawn_local(async move {
            let fd = polled(there.readiness()?)?;
            for n in 1..=NUMBERS {
                send(&there, &fd, n).await?;
            }
            // With the sender dropped, the other side gets what is left, and
            // then that nothing more comes.
            Ok::<(), Failure>(())
        });
        let fd = polled(back.readiness()?)?;
        let mut sum = 0;
        while let Some(n) = recv(&back, &fd).await? {
            sum += n;
        }
        sends.await??;
        ticks.abort();
        println!("{NUMBERS} numbers doubled come to {sum}");
        Ok::<(), Failure>(())
    })?;
    other.wait()?;
    Ok(())
}

/// The next message; `None` when the last sender has gone.
async fn recv(receiver: &Receiver<u64>, fd: &Polled<'_>) -> Result<Option<u64>, Failure> {
    loop {
        match receiver.try_recv() {
            Ok(message) => return Ok(Some(message)),
            // The descriptor is quiet from here on, and tells what comes next.
            Err(TryRecvError::Empty | TryRecvError::Pending) => {}
            Err(TryRecvError::Failed(RecvError::Fault(Fault::Disconnected { .. }))) => {
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        }
        // What `tokio` knew is forgotten before the next try, not after it.
        fd.readable().await?.clear_ready();
    }
}

async fn send(sender: &Sender<u64>, fd: &Polled<'_>, message: u64) -> Result<(), Failure> {
    loop {
        match sender.try_send(message) {
            Ok(()) => return Ok(()),
            Err(TrySendError::Full(_)) => {}
            Err(error) => return Err(error.into()),
        }
        fd.readable().await?.clear_ready();
    }
}

fn double(segment: &Segment) -> Result<(), Failure> {
    let there = segment.channel::<u64>("there").receiver()?;
    let back = segment.channel::<u64>("back").sender()?;
    for n in &there {
        back.send(2 * n?)?;
    }
    Ok(())
}
