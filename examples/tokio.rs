//! Receiving and sending in `tokio` tasks, with `AsyncFd` around a handle's
//! descriptor.
//!
//! `cargo run --release --example tokio`
//!
//! The example starts the other side itself, a process that sends each number back
//! doubled. One task sends, another receives, and a third ticks meanwhile. A handle
//! belongs to one task at a time, which owns it or has a `&mut` to it. Such a task
//! may move from thread to thread.

use std::env;
use std::error::Error;
use std::io;
use std::os::fd::AsFd;
use std::process::Command;
use std::time::Duration;

use tokio::net::unix::pipe;
use tokio::{runtime, time};
use tombolo::{Readiness, Receiver, Segment, Sender, TryRecvError, TrySendError};

const NUMBERS: u64 = 100_000;

type Failure = Box<dyn Error + Send + Sync>;

/// A handle's descriptor, registered once: a duplicate of its own.
struct Polled(pipe::Receiver);

impl Polled {
    fn of(readiness: &Readiness) -> io::Result<Self> {
        let own = readiness.as_fd().try_clone_to_owned()?;
        Ok(Self(pipe::Receiver::from_owned_fd(own)?))
    }

    /// Waits until it is worth trying again. To be called when a try has found
    /// nothing, and no earlier.
    async fn ready(&mut self) -> io::Result<()> {
        self.0.readable().await?;
        // Takes the byte out, whoever is faster, and has `tokio` forget what it
        // knew. A message that comes later makes the descriptor readable anew.
        match self.0.try_read(&mut [0; 8]) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(()),
        }
    }
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
    runtime.block_on(async {
        let ticks = tokio::spawn(async {
            loop {
                println!("tick");
                time::sleep(Duration::from_millis(50)).await;
            }
        });
        let sends = tokio::spawn(async move {
            let mut there = there;
            let mut fd = Polled::of(there.readiness()?)?;
            for n in 1..=NUMBERS {
                send(&mut there, &mut fd, n).await?;
            }
            // With the sender dropped, the other side gets what is left, and
            // then that nothing more comes.
            Ok::<(), Failure>(())
        });
        let receives = tokio::spawn(async move {
            let mut back = back;
            let mut fd = Polled::of(back.readiness()?)?;
            let mut sum = 0;
            while let Some(n) = recv(&mut back, &mut fd).await? {
                sum += n;
            }
            Ok::<u64, Failure>(sum)
        });
        sends.await??;
        let sum = receives.await??;
        ticks.abort();
        println!("{NUMBERS} numbers doubled come to {sum}");
        Ok::<(), Failure>(())
    })?;
    other.wait()?;
    Ok(())
}

/// The next message; `None` when the last sender has gone.
///
/// A handle is not `Sync`, so a task that holds a `&Receiver` across an `await`
/// cannot be spawned; one that holds a `&mut Receiver` can.
async fn recv(receiver: &mut Receiver<u64>, fd: &mut Polled) -> Result<Option<u64>, Failure> {
    loop {
        match receiver.try_recv() {
            Ok(message) => return Ok(Some(message)),
            // The descriptor is quiet from here on, and tells what comes next.
            Err(TryRecvError::Empty | TryRecvError::Pending) => {}
            Err(TryRecvError::Disconnected) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        fd.ready().await?;
    }
}

async fn send(sender: &mut Sender<u64>, fd: &mut Polled, message: u64) -> Result<(), Failure> {
    loop {
        match sender.try_send(message) {
            Ok(()) => return Ok(()),
            Err(TrySendError::Full(_)) => {}
            Err(error) => return Err(error.into()),
        }
        fd.ready().await?;
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
