//! Sending and receiving in `tokio` tasks, and ending well on Ctrl-C.
//!
//! `cargo run --release --example tokio`
//!
//! The example starts the other side itself, a process that sends each number back doubled. One
//! task sends, another receives, and a third ticks meanwhile. On Ctrl-C, nothing more is sent,
//! and what is on its way is still received. The handles work in any runtime;
//! `examples/smol.rs` has another.

use std::env;
use std::error::Error;
use std::future::pending;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};
use tokio::{runtime, select, signal, time};
use tombolo::{AsyncReceiver, AsyncSender, RecvError, Segment};

const NUMBERS: u64 = 100_000;

type Failure = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    if let Some(id) = env::args().nth(1) {
        return double(&Segment::open_id(id.parse()?)?);
    }
    let segment = Segment::anonymous()?;
    let there = segment.channel::<u64>("there").capacity(64).sender()?.into_async();
    let back = segment.channel::<u64>("back").capacity(64).receiver()?.into_async();
    let mut other = Command::new(env::current_exe()?).arg(segment.id().to_string()).spawn()?;

    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let ticks = tokio::spawn(async {
            loop {
                println!("tick");
                time::sleep(Duration::from_millis(50)).await;
            }
        });
        let sends = tokio::spawn(send(there));
        let receives = tokio::spawn(receive(back));
        let sent = sends.await??;
        let (count, sum) = receives.await??;
        ticks.abort();
        assert_eq!(sent, count);
        println!("{count} numbers doubled come to {sum}");
        Ok::<(), Failure>(())
    })?;
    other.wait()?;
    Ok(())
}

/// Sends until there are enough, or until Ctrl-C. Returns how many.
///
/// `select!` drops the future that is not ready, and so nothing of that message is sent. With
/// the sender dropped at the end, the other side gets what is left, and then that nothing more
/// comes.
async fn send(mut there: AsyncSender<u64>) -> Result<u64, Failure> {
    let ctrl_c = async {
        if signal::ctrl_c().await.is_err() {
            pending::<()>().await;
        }
    };
    tokio::pin!(ctrl_c);
    for n in 1..=NUMBERS {
        select! {
            biased;
            () = &mut ctrl_c => return Ok(n - 1),
            sent = there.send(n) => sent?,
        }
    }
    Ok(NUMBERS)
}

/// Receives until the other side has gone. Returns how many numbers came, and their sum.
async fn receive(mut back: AsyncReceiver<u64>) -> Result<(u64, u64), Failure> {
    let (mut count, mut sum) = (0, 0);
    loop {
        match back.recv().await {
            Ok(n) => (count, sum) = (count + 1, sum + n),
            Err(RecvError::Disconnected) => return Ok((count, sum)),
            Err(error) => return Err(error.into()),
        }
    }
}

/// The other side, which leaves Ctrl-C to the first.
fn double(segment: &Segment) -> Result<(), Failure> {
    SigSet::from(Signal::SIGINT).thread_block()?;
    let there = segment.channel::<u64>("there").receiver()?;
    let back = segment.channel::<u64>("back").sender()?;
    for n in &there {
        back.send(2 * n?)?;
    }
    Ok(())
}
