//! A server, and clients that find it by name. Each client meets the server on a
//! segment of its own.
//!
//! `cargo run --example rendezvous`
//!
//! The name is that of a FIFO in the user's runtime directory, which serves only
//! to find each other. One client is killed right after its request, and nobody
//! waits for it.

use std::env;
use std::error::Error;
use std::process::{self, Command};
use std::thread;
use std::time::Duration;

use tombolo::{Event, Fault, Listener, Segment, connect};

const CLIENTS: u64 = 4;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().collect();
    if let [_, name, number] = &arguments[..] {
        return ask(name, number.parse()?);
    }
    // Started twice, this makes two servers.
    let name = format!("squares-{}", process::id());
    let mut listener = Listener::bind(&name)?.segments(Segment::options().size(1 << 16));
    println!("listening at {}", listener.path().display());

    let program = env::current_exe()?;
    let start = |number: u64| Command::new(&program).args([&name, &number.to_string()]).spawn();
    let mut clients = (0..CLIENTS).map(start).collect::<Result<Vec<_>, _>>()?;
    // On its way in, or in already.
    clients[0].kill()?;
    let mut served = Vec::new();
    while clients.iter_mut().any(|client| matches!(client.try_wait(), Ok(None))) {
        if let Some(segment) = listener.accept_timeout(Duration::from_millis(100))? {
            served.push(thread::spawn(move || serve(&segment)));
        }
    }
    for thread in served {
        thread.join().map_err(|_| "a thread has failed")??;
    }
    Ok(())
}

/// Answers one client until it has gone, however it goes.
fn serve(segment: &Segment) -> Result<(), Fault> {
    let watched = segment.clone();
    // Before it has opened its end of a channel, only this tells of its end.
    let watch = thread::spawn(move || {
        let gone = |event| matches!(event, Ok(Event::Left(_) | Event::Died(_)));
        watched.events().remembered().iter().any(gone);
        watched.remove()
    });
    if let (Ok(questions), Ok(answers)) = (
        segment.channel::<u64>("questions").capacity(4).receiver(),
        segment.channel::<u64>("answers").capacity(4).sender(),
    ) {
        while let Ok(number) = questions.recv() {
            // A client that has gone needs no answer.
            let _ = answers.send(number * number);
        }
    }
    watch.join().unwrap_or(Ok(()))
}

fn ask(name: &str, number: u64) -> Result<(), Box<dyn Error>> {
    let segment = connect(name)?;
    let answers = segment.channel::<u64>("answers").capacity(4).receiver()?;
    segment.channel::<u64>("questions").capacity(4).sender()?.send(number)?;
    println!("client {}: the square of {number} is {}", process::id(), answers.recv()?);
    Ok(())
}
