//! `tombolo recv`: writes the data of [`send`](crate::send) to standard output.

mod everybody;
mod exec;
mod lines;
mod outlet;

use std::ffi::OsString;

use clap::value_parser;
use indicatif::ProgressBar;
use tombolo::{Fault, Side, Start};

use crate::failure::Failure;
use crate::place::Place;
use crate::stream::{
    Ack, BEGIN, Crowd, END, FINISHED, Interrupt, Notice, StreamIn, TURN, WORD, hung_up, progress,
    write_all,
};
use crate::terms::{self, remark};
use outlet::Outlet;

/// Receives what `send` sends with the same name, to standard output.
///
/// Either may come first, and waits for the other.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tombolo recv backup > copy.tar &
  tombolo send backup home.tar

  tombolo recv jobs --lines | while read job; do work on $job; done &
  ls | tombolo send jobs --lines

  tombolo recv jobs --lines --exec 'sh ./work-on-one' &

With --lines a receiver takes the next line when it can be worked on. Into a
pipe (or a local socket) it writes one when the last one has been read, and
several only to a reader that takes them at once. A line is delivered when it
has been read out of the pipe; into a file, when it is written; to --exec, when
COMMAND has ended with status 0. What is not delivered when a reader or a
receiver dies, comes to another receiver, and so it may come twice. As long as
a line is being worked on, 127 more are given out at most.

A receiver waits for a reader that does not read, as long as that has the pipe
open. Others get the lines that it has not taken.

Lines of several receivers do not mix in one pipe, nor in one file to which each
appends (>>), whatever their length. A last line without a newline gets one if
another receiver writes to the same place. SIGKILL may cut the last line of a
receiver that is writing: one that has a pipe for itself, or a line of more than
4096 bytes. That line comes to another receiver.

COMMAND is run by `sh -c` for one line at a time, which is its standard input;
its output is not touched. If it fails, or is killed, the line comes again, here
or at another receiver, up to --retries times. Then it is given up: it is named
on standard error, and both this receiver and the sender exit with 1 in the end.
A signal that ends the receiver is sent to COMMAND, too; its line comes again.

With --broadcast, every receiver gets everything from where it begins. A --reliable
one misses nothing: senders wait for it, as long as it lives. Others may be too
slow; what they have missed is said in the end, and the status is 1. Without
--from, lines are received from the next one on, and a stream only as a whole:
if its beginning is not kept any more, the status is 1.

  tombolo recv news --broadcast --lines --reliable > log &
  tombolo recv news --broadcast --lines --from last:10 --allow-lag

With --broadcast, --exec runs COMMAND for every line at every receiver that has
it. A line whose COMMAND fails comes again only here. What is given up is named,
and this receiver exits with 1 in the end. Senders wait until the COMMAND of each
--reliable receiver has ended.

  tombolo recv alarms --broadcast --lines --reliable --exec 'mail -s alarm root' &

Exits with 0 only if the sender has said that it was all.")]
pub(crate) struct Args {
    #[command(flatten)]
    place: Place,
    /// Receive line by line: any number of senders and receivers, each line to
    /// one receiver, or with --broadcast to all
    #[arg(long)]
    lines: bool,
    /// Receive what `send --broadcast` sends to everybody
    #[arg(long)]
    broadcast: bool,
    /// Have the senders wait, if this receiver is too slow
    #[arg(long, requires = "broadcast")]
    reliable: bool,
    /// With what to begin: `newest`, what is sent from now on; `oldest`, all
    /// that is kept; `last:K`, the last K messages of what is kept
    #[arg(long, value_name = "WHERE", value_parser = terms::start, requires = "broadcast")]
    from: Option<Start>,
    /// It is no failure to have missed something
    #[arg(long, requires = "broadcast", conflicts_with = "reliable")]
    allow_lag: bool,
    /// Run a shell command for each line, with the line as its standard input
    #[arg(long, value_name = "COMMAND", requires = "lines")]
    exec: Option<OsString>,
    /// How many times a line comes again whose command has failed
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = value_parser!(u8).range(..=14))]
    #[arg(requires = "exec")]
    retries: u8,
    /// Show no progress, and do not say what is waited for
    #[arg(long)]
    quiet: bool,
}

/// The command for each line.
struct Task {
    command: OsString,
    retries: u8,
}

/// Runs it.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let interrupt = Interrupt::install()?;
    let progress = progress(None, args.quiet);
    let outlet = Outlet::open(interrupt)?;
    let notice = Notice::new(&args.place, args.quiet);
    let mut receiving = Receiving { outlet, interrupt, progress, notice, received: 0 };
    let task = args.exec.clone().map(|command| Task { command, retries: args.retries });
    let done = match (args.lines, task) {
        (_, task) if args.broadcast => everybody::receive(&mut receiving, args, task.as_ref()),
        (false, _) => receiving.stream(&args.place),
        (true, None) => lines::receive(&mut receiving, &args.place),
        (true, Some(task)) => exec::work(&mut receiving, &args.place, &task),
    };
    receiving.progress.finish_and_clear();
    if let Err(Failure::Signalled(signal)) = done {
        remark(&format!("ended by {signal}; {} bytes were received", receiving.received));
    }
    done
}

struct Receiving {
    outlet: Outlet,
    interrupt: Interrupt,
    progress: ProgressBar,
    notice: Notice,
    /// How many bytes have been written out.
    received: u64,
}

/// Lines that are written out next.
#[derive(Default)]
struct Page {
    bytes: Vec<u8>,
    /// Whether the last line had no newline. It stays so only in the end.
    owed: bool,
}

impl Page {
    /// Adds lines, which `append` appends.
    fn add(&mut self, outlet: &Outlet, append: impl FnOnce(&mut Vec<u8>)) {
        if self.owed {
            self.bytes.push(b'\n');
        }
        append(&mut self.bytes);
        self.owed = self.bytes.last() != Some(&b'\n');
        if self.owed && outlet.is_shared() {
            // Or the next line of another receiver would become a part of this one.
            self.bytes.push(b'\n');
            self.owed = false;
        }
    }
}

/// A message of a stream.
fn parse(message: &[u8]) -> Option<(u64, &[u8])> {
    let (word, bytes) = message.split_first_chunk::<WORD>()?;
    Some((u64::from_le_bytes(*word), bytes))
}

/// The only other word of a message.
fn number(bytes: &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.try_into().ok()?))
}

fn not_ours() -> Failure {
    Failure::Broken("what came is not what `tombolo send` sends".to_owned())
}

impl Receiving {
    fn failed(&self, fault: &Fault) -> Failure {
        Failure::Broken(match fault {
            Fault::Disconnected { .. } => format!(
                "the sender has left or died before the end; {} bytes were received",
                self.received
            ),
            fault => format!("{fault}; {} bytes were received", self.received),
        })
    }

    /// Looks up from waiting.
    fn look_up(&self) -> Result<(), Failure> {
        self.interrupt.check()?;
        if hung_up(self.outlet.file()) {
            return Err(Failure::Broken("standard output has been closed".to_owned()));
        }
        Ok(())
    }

    fn stream(&mut self, name: &Place) -> Result<(), Failure> {
        'next: loop {
            let mut into = StreamIn::join(name, self.interrupt)?;
            let mut session = None;
            let mut copy = Vec::new();
            loop {
                let message = match into.data.take_timeout(TURN) {
                    Ok(message) => message,
                    Err(error) => match error.into_fault() {
                        None => {
                            self.look_up()?;
                            let alone = || session.is_none();
                            self.notice.waits(&into.segment, "sender", alone);
                            continue;
                        }
                        // It had finished an earlier stream.
                        Some(Fault::Disconnected { .. }) if session.is_none() => continue 'next,
                        Some(fault) => return Err(self.failed(&fault)),
                    },
                };
                copy.clear();
                message.append_to(&mut copy);
                let (word, bytes) = parse(&copy).ok_or_else(not_ours)?;
                match (word, session) {
                    (BEGIN, _) if self.received == 0 => {
                        let begun = number(bytes).ok_or_else(not_ours)?;
                        session = Some(begun);
                        drop(message);
                        self.tell(&into, [begun, 0])?;
                    }
                    (END, Some(session)) if number(bytes) == Some(self.received) => {
                        drop(message);
                        return self.end(into, session);
                    }
                    (position, Some(session)) if position == self.received => {
                        self.outlet.check()?;
                        let mut written = 0;
                        let done =
                            write_all(self.outlet.file(), bytes, &mut written, self.interrupt);
                        self.received += written as u64;
                        done?;
                        drop(message);
                        // It is no loss if there are many already.
                        let _ = into.acks.try_send([session, self.received]);
                        self.progress.set_position(self.received);
                        self.interrupt.check()?;
                    }
                    (BEGIN, _) => {
                        return Err(self.failed(&Fault::Disconnected { side: Side::Sender }));
                    }
                    (_, None) => {
                        return Err(Failure::Broken(format!(
                            "the beginning of what {name} carries went to another receiver"
                        )));
                    }
                    _ => return Err(not_ours()),
                }
            }
        }
    }

    /// Says something that must arrive, unless the sender has gone.
    fn tell(&self, into: &StreamIn, ack: Ack) -> Result<(), Failure> {
        loop {
            match into.acks.send_timeout(ack, TURN) {
                Ok(()) => return Ok(()),
                Err(error) => match error.into_fault() {
                    None => self.interrupt.check()?,
                    Some(Fault::Disconnected { .. }) => return Ok(()),
                    Some(fault) => return Err(self.failed(&fault)),
                },
            }
        }
    }

    /// Ends when all has been written out, and says so.
    fn end(&self, mut into: StreamIn, session: u64) -> Result<(), Failure> {
        // Closing may bring an error to light: before the sender is told that all is well.
        self.outlet.close()?;
        // The sender leaves its role now; the next one may be there already.
        loop {
            match into.data.take_timeout(TURN) {
                Ok(next) => break next.give_back(),
                Err(error) => match error.into_fault() {
                    None => self.interrupt.check()?,
                    Some(Fault::Disconnected { .. }) => break,
                    Some(fault) => return Err(self.failed(&fault)),
                },
            }
        }
        let StreamIn { data, acks, segment } = into;
        drop(data);
        let _segment = segment;
        loop {
            match acks.send_timeout([session, FINISHED], TURN) {
                Ok(()) => return Ok(()),
                Err(error) => match error.into_fault() {
                    None => self.interrupt.check()?,
                    // All of it is here; that nobody wants to know is no loss.
                    Some(_) => return Ok(()),
                },
            }
        }
    }

    /// Notes what has been written out.
    fn note(&mut self, written: usize) {
        self.received += written as u64;
        self.progress.set_position(self.received);
    }

    /// Tells what it waits for, if that takes long.
    fn waits(&mut self, crowd: &Crowd) {
        let begun = self.received > 0;
        self.notice.waits(&crowd.segment, "sender", || !begun && !crowd.has_senders());
    }
}
