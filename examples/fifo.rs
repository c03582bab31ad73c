//! A server that clients find by a path, and records that never mix.
//!
//! `cargo run --example fifo`
//!
//! Each record is written in one call and is shorter than `PIPE_BUF`. So the
//! server reads whole records, even if other clients write or are killed.

use std::env;
use std::error::Error;
use std::path::Path;
use std::process::{self, Command};

use tombolo::sys::{ErrorKind, fifo, proc};

const CLIENTS: usize = 3;
/// All records have one length: a FIFO keeps no bounds between them.
const RECORD: usize = 32;

fn main() -> Result<(), Box<dyn Error>> {
    if let Some(path) = env::args().nth(1) {
        return greet(path.as_ref());
    }
    let path = env::temp_dir().join(format!("tombolo-example-{}", process::id()));
    fifo::create(&path, 0o600)?;
    let served = serve(&path);
    fifo::remove(&path)?;
    served
}

fn serve(path: &Path) -> Result<(), Box<dyn Error>> {
    // The directory is everybody's: is this the FIFO of before?
    let mine = fifo::options().owner(proc::uid()).deny(0o077);
    let refused = mine.writer(path).err().map(|error| error.kind());
    println!("nobody reads yet: {}", refused == Some(ErrorKind::NoReader));

    let reader = mine.reader(path)?;
    let start = || Command::new(env::current_exe()?).arg(path).spawn();
    let mut clients = (0..CLIENTS).map(|_| start()).collect::<Result<Vec<_>, _>>()?;
    for client in &mut clients {
        client.wait()?;
    }
    let mut record = [0; RECORD];
    while reader.read_record(&mut record)? {
        println!("{}", String::from_utf8_lossy(&record).trim_end());
    }
    println!("and no more: the last client has gone");
    Ok(())
}

fn greet(path: &Path) -> Result<(), Box<dyn Error>> {
    let text = format!("{:RECORD$}", format!("process {} was here", process::id()));
    fifo::options().owner(proc::uid()).writer(path)?.write_record(text.as_bytes())?;
    Ok(())
}
