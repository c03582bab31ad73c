//! `tombolo bridge`.

use std::os::fd::AsFd;
use std::process::exit;
use std::sync::{Arc, OnceLock};
use std::thread;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use tombolo_bridge::flags::Args;
use tombolo_bridge::plan::Plan;
use tombolo_bridge::publish::{Speaker, Tell};
use tombolo_bridge::status::Status;
use tombolo_bridge::{Failure as Ended, Stop};
use tombolo_cli::bridges::News;

use crate::failure::Failure;
use crate::plain::{json, plain};
use crate::signals::Signals;
use crate::terms::{print, remark};

/// Runs it.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let mut plan = args.plan().map_err(Failure::Unusable)?;
    plan.expand().map_err(failed)?;
    plan.config.check().map_err(failed)?;
    if args.check {
        return print(&shown(&plan, args.json)?);
    }
    // Before there are threads.
    let signals = Signals::hold();
    let signals = signals.map_err(|error| Failure::broken("cannot wait for signals", error))?;
    let (stop, caught) = (Stop::new(), Arc::new(OnceLock::new()));
    let (stopping, catching) = (stop.clone(), Arc::clone(&caught));
    // Ends with the process.
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || obey(&signals, &stopping, &catching))
        .map_err(|error| Failure::unusable("cannot start a thread", error))?;
    if !args.json && !args.quiet {
        remark(&format!("bridge {} begins; `tombolo top` shows it", plan.name));
    }
    if args.json || args.quiet {
        tombolo_bridge::log::be_quiet();
    }
    let status = Status::new(&plan.config);
    let speaker = Speaker::start(&plan, &status, &stop, teller(args.json, args.quiet))
        .map_err(|error| Failure::unusable("cannot start a thread", error))?;
    let ended = tombolo_bridge::run(&plan.config, &stop, &status);
    speaker.end();
    ended.map_err(failed)?;
    match caught.get() {
        // A unit is stopped so.
        Some(Signal::SIGTERM) | None => Ok(()),
        Some(signal) => Err(Failure::Signalled(*signal)),
    }
}

fn failed(ended: Ended) -> Failure {
    match ended {
        Ended::Usage(what) => Failure::Unusable(what),
        Ended::Failed(what) => Failure::Broken(what),
    }
}

fn shown(plan: &Plan, as_json: bool) -> Result<String, Failure> {
    if as_json {
        plan.json().map_err(|error| Failure::broken("cannot show the plan", error))
    } else {
        Ok(plan.text())
    }
}

/// Says news to people, on standard error, or to programs.
fn teller(as_json: bool, quiet: bool) -> Tell {
    Box::new(move |news: &News, logged| {
        if as_json {
            // One who has gone reads nothing more.
            let _ = json(news).map(|line| print(&line));
        } else if !quiet && !logged {
            let link = if news.link.is_empty() { "" } else { ": " };
            remark(&plain(&format!("{}{link}{}", news.link, news.what)));
        }
    })
}

/// Has the bridge end at the first signal, and ends this process at the second.
fn obey(signals: &Signals, stop: &Stop, caught: &OnceLock<Signal>) {
    loop {
        let mut files = [PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        let _ = poll(&mut files, PollTimeout::NONE);
        let Some(signal) = signals.caught() else { continue };
        if caught.set(signal).is_err() {
            exit(128 + signal as i32);
        }
        stop.stop();
    }
}
