//! Sharing work among `smol` tasks.
//!
//! `cargo run --release --example smol`
//!
//! The example starts the other side itself, a process that sends jobs. Four tasks of one thread
//! share them, each by its own clone of the receiving handle, and send what they have found by
//! another channel. A thousand such tasks would cost no more threads: all that wait are woken by
//! one.

use std::env;
use std::error::Error;
use std::process::Command;
use std::time::Duration;

use smol::{LocalExecutor, Timer, future};
use tombolo::{AsyncReceiver, AsyncSender, RecvError, Segment};

const JOBS: u64 = 200;
const TASKS: usize = 4;

type Failure = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    if let Some(id) = env::args().nth(1) {
        return employ(&Segment::open_id(id.parse()?)?);
    }
    let segment = Segment::anonymous()?;
    let jobs = segment.channel::<u64>("jobs").capacity(16).receiver()?.into_async();
    let found = segment.channel::<u64>("found").capacity(16).sender()?.into_async();
    let mut other = Command::new(env::current_exe()?).arg(segment.id().to_string()).spawn()?;

    let executor = LocalExecutor::new();
    let tasks = (0..TASKS).map(|_| Ok(executor.spawn(work(jobs.try_clone()?, found.try_clone()?))));
    let tasks = tasks.collect::<Result<Vec<_>, Failure>>()?;
    // The other side is to learn when the last task has ended.
    drop((jobs, found));
    let done = future::block_on(executor.run(async {
        let mut done = Vec::new();
        for task in tasks {
            done.push(task.await?);
        }
        Ok::<Vec<u64>, Failure>(done)
    }))?;
    println!("the tasks have done {done:?} jobs");
    other.wait()?;
    Ok(())
}

/// Works until no job is left. Returns how many it has done.
async fn work(mut jobs: AsyncReceiver<u64>, mut found: AsyncSender<u64>) -> Result<u64, Failure> {
    for done in 0.. {
        match jobs.recv().await {
            Ok(job) => {
                // Meanwhile, other tasks work.
                Timer::after(Duration::from_millis(1)).await;
                found.send(job * job).await?;
            }
            Err(RecvError::Disconnected) => return Ok(done),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(0)
}

/// The other side.
fn employ(segment: &Segment) -> Result<(), Failure> {
    let jobs = segment.channel::<u64>("jobs").sender()?;
    let found = segment.channel::<u64>("found").receiver()?;
    let sender = std::thread::spawn(move || (1..=JOBS).try_for_each(|job| jobs.send(job)));
    let sum = found.iter().sum::<Result<u64, _>>()?;
    println!("{JOBS} squares come to {sum}");
    sender.join().map_err(|_| "the sender panicked")??;
    Ok(())
}
