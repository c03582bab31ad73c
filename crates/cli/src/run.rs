//! `tombolo run`: starts a command with a segment.

use std::ffi::OsString;
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tombolo::Segment;

use crate::failure::Failure;
use crate::place::Making;
use crate::signals::{ENDING, Signals};
use crate::standard;
use crate::target::Target;

/// The variable that tells everybody below which segment it is.
const SEGMENT: &str = "TOMBOLO_SEGMENT";

/// As the library has it where nobody says otherwise.
const SIZE: usize = 64 << 20;
const PARTICIPANTS: u16 = 64;
/// How often it looks whether it has been asked something, in milliseconds.
const TURN: u8 = 100;

/// Runs a command with a segment handed over to it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tombolo run -- my-worker --verbose
  tombolo run market -- sh -c 'feed & analyse'
  tombolo run -- sh -c 'tombolo events $TOMBOLO_SEGMENT & my-worker'

A program gets the segment from Segment::inherited(), if it is the command
itself. All others below find what it is called in $TOMBOLO_SEGMENT: its name,
or @ID for one that has none, which `tombolo events`, `ctl`, `check` and `rm` take, too.

Without NAME it is an anonymous one, which is removed when the command ends; one
with a name is opened, or created, and stays. Signals are passed on. The exit
status is the command's; 128+n if signal n has ended it.")]
pub(crate) struct Args {
    /// The segment's name [default: one without a name, for this command only]
    name: Option<String>,
    #[command(flatten)]
    making: Making,
    /// The command to run, and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// Runs it.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let Some((program, arguments)) = args.command.split_first() else {
        return Err(Failure::Unusable("there is no command to run".to_owned()));
    };
    let held = |error| Failure::broken("cannot handle signals", error);
    // The command decides what to do about those that ask to end.
    let signals = Signals::hold_these(ENDING.into_iter().chain([Signal::SIGCHLD])).map_err(held)?;
    let options = args.making.options(SIZE, PARTICIPANTS);
    let segment = match &args.name {
        Some(name) => options.open_or_create(name),
        None => options.anonymous(),
    };
    let segment = segment.map_err(|error| Failure::Unusable(error.to_string()))?;

    let mut command = Command::new(program);
    command.args(arguments).env(SEGMENT, Target::of(&segment, args.name.as_deref()).to_string());
    signals.release_in(&mut command);
    standard::pass_on(&mut command, true);
    let ended = match segment.spawn(&mut command) {
        Ok(spawned) => attend(&mut spawned.into_child(), &signals, &segment),
        Err(error) => Err(Failure::Unusable(error.to_string())),
    };
    if args.name.is_none() {
        // The descendants that are left get the signal, too.
        let _ = segment.remove();
    }
    match exit_status(ended?) {
        0 => Ok(()),
        status => Err(Failure::Told(status)),
    }
}

/// Waits for the child's end. Passes signals on to it meanwhile, and answers what
/// `tombolo ctl` asks: this process takes part in the segment, too.
fn attend(child: &mut Child, signals: &Signals, segment: &Segment) -> Result<ExitStatus, Failure> {
    let broken = |error: &dyn std::fmt::Display| Failure::broken("cannot wait for it", error);
    let pid = Pid::from_raw(child.id().cast_signed());
    let inbox = segment.inbox();
    loop {
        if let Some(status) = child.try_wait().map_err(|error| broken(&error))? {
            return Ok(status);
        }
        let mut files = [PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        match poll(&mut files, TURN) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(broken(&error)),
        }
        // Texts for applications are for the command.
        while let Ok(Some(_)) = inbox.try_recv() {}
        while let Some((signal, by_terminal)) = signals.taken() {
            // A terminal sends its signals to the child as well.
            if signal != Signal::SIGCHLD && !by_terminal {
                // Not reaped yet, so it is still this process.
                let _ = kill(pid, signal);
            }
        }
    }
}

/// As a shell would say it.
fn exit_status(ended: ExitStatus) -> u8 {
    let status = ended.code().or_else(|| ended.signal().map(|signal| 128 + signal));
    status.and_then(|status| u8::try_from(status).ok()).unwrap_or(1)
}
