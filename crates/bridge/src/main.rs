//! `tombolo-bridge`: what `tombolo bridge` runs.

use std::process::ExitCode;

use nix::sys::signal::{SigSet, Signal};
use tombolo_bridge::config::{Config, Direction, Route};
use tombolo_bridge::status::Status;
use tombolo_bridge::{Failure, Stop, run};

fn main() -> ExitCode {
    let mut config = Config::default();
    let mut words = std::env::args().skip(1);
    let segment = words.next().unwrap_or_default();
    while let Some(word) = words.next() {
        let mut value = || words.next().unwrap_or_default();
        match word.as_str() {
            "--listen" => config.engine.listen.push(value()),
            "--connect" => config.engine.connect.push(value()),
            "--export" => config.routes.push(Route::new(&segment, &value(), Direction::Export)),
            "--import" => config.routes.push(Route::new(&segment, &value(), Direction::Import)),
            "--both" => config.routes.push(Route::new(&segment, &value(), Direction::Both)),
            "--reliable" => config.routes.iter_mut().for_each(|route| route.reliable = true),
            other => {
                eprintln!("tombolo-bridge: {other}?");
                return ExitCode::from(2);
            }
        }
    }
    let stop = Stop::new();
    let mut ending = SigSet::empty();
    ending.add(Signal::SIGTERM);
    ending.add(Signal::SIGINT);
    let _ = ending.thread_block();
    let asked = stop.clone();
    std::thread::spawn(move || {
        let _ = ending.wait();
        asked.stop();
    });
    match run(&config, &stop, &Status::new(&config)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Usage(what)) => {
            eprintln!("tombolo-bridge: {what}");
            ExitCode::from(2)
        }
        Err(Failure::Failed(what)) => {
            eprintln!("tombolo-bridge: {what}");
            ExitCode::from(1)
        }
    }
}
