//! A barrier: processes that begin at different times continue together.
//!
//! `cargo run --example barrier`
//!
//! The semaphore counts the missing processes. Each arrival subtracts one and
//! then, in a second call, waits for zero. One call that does both would wait for
//! both conditions, and nobody could arrive alone.

use std::env;
use std::error::Error;
use std::process::Command;
use std::thread;
use std::time::Duration;

use tombolo::sys::Key;
use tombolo::sys::sem::{Op, Set};

const RUNNERS: u16 = 4;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().collect();
    if let [_, id, number] = &arguments[..] {
        return run(&Set::from_id(id.parse()?), number.parse()?);
    }
    // A set that has just been made is all zero.
    let missing = Set::options().create(Key::PRIVATE, 1)?;
    missing.perform(&[Op::add(0, RUNNERS)])?;
    let start = |number: u16| {
        Command::new(env::current_exe()?)
            .args([missing.id().to_string(), number.to_string()])
            .spawn()
    };
    let mut runners = (0..RUNNERS).map(start).collect::<Result<Vec<_>, _>>()?;
    for runner in &mut runners {
        runner.wait()?;
    }
    missing.remove()?;
    Ok(())
}

fn run(missing: &Set, number: u16) -> Result<(), Box<dyn Error>> {
    thread::sleep(Duration::from_millis(100 * u64::from(number)));
    println!("runner {number} has arrived, {} missing", missing.value(0)? - 1);
    missing.perform(&[Op::take(0, 1)])?;
    missing.perform(&[Op::zero(0)])?;
    println!("runner {number} goes");
    Ok(())
}
