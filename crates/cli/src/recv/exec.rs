//! Lines as work for a command: each line goes to the command's standard input,
//! and is acknowledged when the command succeeds. Of a broadcast, each receiver's command
//! gets every line.

#![allow(unsafe_code)]

use std::ffi::CString;
use std::fs::File;
use std::io::{Seek, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tombolo::{ByteDelivery, Fault, Mpmc, Side};

use super::{Receiving, Task};
use crate::failure::Failure;
use crate::place::Place;
use crate::plain::plain;
use crate::standard;
use crate::stream::{Crowd, TURN};
use crate::terms::remark;

/// How long a line that has failed is left to others; twice as long each time.
const PAUSE: Duration = Duration::from_millis(50);
/// How long a command may take to obey a signal.
const OBEDIENCE: Duration = Duration::from_secs(5);
/// How much of a line names it.
const SHOWN: usize = 80;

/// Does the work until the senders have ended.
pub(super) fn work(receiving: &mut Receiving, name: &Place, task: &Task) -> Result<(), Failure> {
    let (crowd, mut hand) = Crowd::into(name, receiving.interrupt, true)?;
    let mut lost = 0_u64;
    loop {
        let taken = match hand.take_timeout(TURN) {
            Ok(message) => {
                lost += job(receiving, &crowd, task, message)?;
                continue;
            }
            Err(error) => error.into_fault(),
        };
        receiving.interrupt.check()?;
        receiving.waits(&crowd);
        let cut = crowd.was_cut().then_some(Fault::Disconnected { side: Side::Sender });
        let Some(fault) = taken.or(cut) else { continue };
        if !crowd.goes_on(fault).map_err(|fault| receiving.failed(&fault))? {
            break;
        }
        hand = crowd.receiver()?;
    }
    crowd.done();
    match lost {
        0 => Ok(()),
        // Each was named.
        _ => Err(Failure::Told(1)),
    }
}

/// Does what a message asks for; how many lines were given up.
fn job(
    receiving: &mut Receiving,
    crowd: &Crowd,
    task: &Task,
    message: ByteDelivery<'_, Mpmc>,
) -> Result<u64, Failure> {
    // It is looked at more than once.
    let bytes = message.to_vec();
    let lines: Vec<&[u8]> = bytes.split_inclusive(|&byte| byte == b'\n').collect();
    let alone = lines.len() == 1;
    let mut lost = 0;
    for line in lines {
        let mut failures = if alone { message.attempts() } else { 0 };
        loop {
            let ended = match attempt(receiving, task, line, failures) {
                Ok(Ended::Again(pause)) if alone => {
                    message.give_back_counted();
                    rest(receiving, pause)?;
                    return Ok(lost);
                }
                Ok(Ended::Again(pause)) => rest(receiving, pause).map(|()| Ended::Again(pause)),
                ended => ended,
            };
            match ended {
                Ok(Ended::Again(_)) => failures += 1,
                Ok(Ended::Well) => break,
                Ok(Ended::GivenUp) => {
                    crowd.lose();
                    lost += 1;
                    break;
                }
                Err(failure) => {
                    message.give_back();
                    return Err(failure);
                }
            }
        }
    }
    receiving.note(bytes.len());
    message.release();
    Ok(lost)
}

/// Does what a line asks for that goes to nobody else in its place: again and again, until it
/// succeeds. Whether it has.
pub(super) fn insist(receiving: &mut Receiving, task: &Task, line: &[u8]) -> Result<bool, Failure> {
    let mut failures = 0;
    loop {
        match attempt(receiving, task, line, failures)? {
            Ended::Again(pause) => rest(receiving, pause)?,
            ended => {
                receiving.note(line.len());
                return Ok(matches!(ended, Ended::Well));
            }
        }
        failures += 1;
    }
}

/// How it has gone with a line.
enum Ended {
    Well,
    /// It has failed too often.
    GivenUp,
    /// It has failed, and is to be left alone for so long.
    Again(Duration),
}

/// Runs the command for a line that has failed so often before; says what has failed.
fn attempt(
    receiving: &Receiving,
    task: &Task,
    line: &[u8],
    failures: u8,
) -> Result<Ended, Failure> {
    let ended = run(receiving, task, line)?;
    if ended.success() {
        return Ok(Ended::Well);
    }
    let (line, why) = (shown(line), said(ended));
    if failures >= task.retries {
        remark(&format!("line {line} is given up: {why}, after {failures} retries"));
        return Ok(Ended::GivenUp);
    }
    remark(&format!("line {line} will come again: {why}"));
    Ok(Ended::Again(PAUSE.saturating_mul(1 << failures.min(4))))
}

/// Leaves the work to others for so long.
fn rest(receiving: &Receiving, span: Duration) -> Result<(), Failure> {
    thread::sleep(span);
    receiving.interrupt.check()
}

/// Runs the command with a line before it, to its end.
fn run(receiving: &Receiving, task: &Task, line: &[u8]) -> Result<ExitStatus, Failure> {
    let input = input(line).map_err(|error| Failure::unusable("cannot hand over a line", error))?;
    let mut command = Command::new("sh");
    // A group of its own, so that all of it can be ended.
    command.arg("-c").arg(&task.command).stdin(Stdio::from(input)).process_group(0);
    let end_with_parent = || Ok(set_pdeathsig(Signal::SIGTERM)?);
    // SAFETY: in the forked child this makes a system call: it neither
    // allocates nor takes a lock.
    unsafe { command.pre_exec(end_with_parent) };
    standard::pass_on(&mut command, false);
    let child =
        command.spawn().map_err(|error| Failure::unusable("cannot start a command", error))?;
    let pid = Pid::from_raw(child.id().cast_signed());
    let mut asked: Option<Instant> = None;
    loop {
        let mut status = 0;
        // SAFETY: fills one int.
        match unsafe { libc::waitpid(pid.as_raw(), &raw mut status, 0) } {
            -1 if Errno::last() == Errno::EINTR => {}
            -1 => return Err(Failure::broken("cannot wait for a command", Errno::last())),
            _ => {
                let ended = ExitStatus::from_raw(status);
                // A line whose command has ended well need not come again, signal or not.
                if !ended.success() {
                    receiving.interrupt.check()?;
                }
                return Ok(ended);
            }
        }
        if let Err(failure) = receiving.interrupt.check() {
            let signal = match (asked, failure) {
                (None, Failure::Signalled(signal)) => signal,
                (Some(since), _) if since.elapsed() < OBEDIENCE => continue,
                _ => Signal::SIGKILL,
            };
            asked = asked.or(Some(Instant::now()));
            let _ = killpg(pid, signal);
        }
    }
}

/// A file that is the line: a command may read it or not.
fn input(line: &[u8]) -> std::io::Result<File> {
    let name = CString::new("line").unwrap_or_default();
    let mut file = File::from(memfd_create(name.as_c_str(), MFdFlags::MFD_CLOEXEC)?);
    file.write_all(line)?;
    file.rewind()?;
    Ok(file)
}

/// How a command ended.
fn said(ended: ExitStatus) -> String {
    match (ended.code(), ended.signal()) {
        (Some(code), _) => format!("the command ended with status {code}"),
        (None, Some(signal)) => format!("the command was killed by signal {signal}"),
        (None, None) => "the command failed".to_owned(),
    }
}

/// The name of a line in messages.
fn shown(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let text = text.trim_end_matches('\n');
    let begin: String = text.chars().take(SHOWN).collect();
    let more = if begin.len() < text.len() { "…" } else { "" };
    format!("\"{}{more}\"", plain(&begin))
}
