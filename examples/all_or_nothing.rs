//! One message to each of two channels, or to none, also if the sender is killed.
//!
//! `cargo run --release --example all_or_nothing`
//!
//! Each sender moves money: it tells one channel what is taken and the other one what is
//! given. It is killed in the middle, again and again. What has arrived in the two channels
//! is the same.

use std::env;
use std::error::Error;
use std::process::Command;
use std::thread;
use std::time::Duration;

use tombolo::{Segment, SendAll, TryRecvError};

const KILLS: u64 = 50;

fn main() -> Result<(), Box<dyn Error>> {
    if let Some(id) = env::args().nth(1) {
        return send(&Segment::open_id(id.parse()?)?);
    }
    let segment = Segment::anonymous()?;
    let taken = segment.channel::<u64>("taken").capacity(8).lasting().receiver()?;
    let given = segment.channel::<u64>("given").capacity(8).lasting().receiver()?;
    let (mut transfers, mut sums) = (0, [0, 0]);
    for _ in 0..KILLS {
        let mut sender = Command::new(env::current_exe()?).arg(segment.id().to_string()).spawn()?;
        // At least one of its transfers, and then some more until it is killed.
        sums[0] += taken.recv()?;
        thread::sleep(Duration::from_micros(100));
        sender.kill()?;
        sender.wait()?;
        // What it had committed is completed, and what it had not is taken back.
        segment.sweep()?;
        transfers += 1;
        for (receiver, sum) in [&taken, &given].into_iter().zip(&mut sums) {
            loop {
                match receiver.try_recv() {
                    Ok(amount) => *sum += amount,
                    Err(TryRecvError::Empty) => break,
                    Err(error) => return Err(error.into()),
                }
            }
        }
        assert_eq!(sums[0], sums[1], "money was lost");
    }
    println!("{transfers} senders were killed; {} were taken and {} given", sums[0], sums[1]);
    Ok(())
}

fn send(segment: &Segment) -> Result<(), Box<dyn Error>> {
    let taken = segment.channel::<u64>("taken").sender()?;
    let given = segment.channel::<u64>("given").sender()?;
    let both = SendAll::new((taken, given))?;
    for amount in 1.. {
        both.send((amount, amount))?;
    }
    Ok(())
}
