//! A critical section between processes. If the holder of the lock is killed, the
//! kernel releases the lock.
//!
//! `cargo run --example critical_section`

use std::env;
use std::error::Error;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::thread;

use tombolo::sys::sem::{Op, Set};
use tombolo::sys::{ErrorKind, Key, Result};

/// Wait for zero and make it one, in a single step.
const LOCK: [Op; 2] = [Op::zero(0), Op::add(0, 1).undo()];
const TRY_LOCK: [Op; 2] = [Op::zero(0).no_wait(), Op::add(0, 1).undo()];
/// Marked to be undone as well: the two marks cancel out.
const UNLOCK: [Op; 1] = [Op::take(0, 1).undo()];

fn critical<R>(set: &Set, section: impl FnOnce() -> R) -> Result<R> {
    set.perform(&LOCK)?;
    let result = section();
    set.perform(&UNLOCK)?;
    Ok(result)
}

fn main() -> std::result::Result<(), Box<dyn Error>> {
    if let Some(id) = env::args().nth(1) {
        // The child: enters, and never leaves.
        critical(&Set::from_id(id.parse()?), || {
            println!("inside");
            loop {
                thread::park();
            }
        })?;
        return Ok(());
    }
    let set = Set::options().create(Key::PRIVATE, 1)?;
    let mut holder = Command::new(env::current_exe()?)
        .arg(set.id().to_string())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    BufReader::new(holder.stdout.take().ok_or("no pipe")?).read_line(&mut line)?;
    println!("process {} says that it is {}", holder.id(), line.trim());

    let refused = set.perform(&TRY_LOCK).map_err(|error| error.kind());
    println!("another one may not enter: {}", refused == Err(ErrorKind::WouldBlock));

    holder.kill()?;
    critical(&set, || println!("it was killed with -9, and now this process is inside"))?;
    holder.wait()?;
    set.remove()?;
    Ok(())
}
