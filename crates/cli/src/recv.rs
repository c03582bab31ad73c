//! `tombolo recv`: what [`send`](crate::send) sends, to standard output.

use std::fs::File;

use indicatif::ProgressBar;
use tombolo::{ByteDelivery, ByteReceiver, Fault, Mpmc};

use crate::failure::Failure;
use crate::stream::{
    Ack, BEGIN, CHUNK, Crowd, END, Ended, FINISHED, Interrupt, Mode, StreamIn, TURN, WORD, hung_up,
    output, progress, write_all,
};
use crate::terms::remark;

/// How many lines are held until they are written out together.
const BATCH: usize = 32;

/// Receives what `send` sends with the same name, to standard output.
///
/// Either may come first, and waits for the other.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tombolo recv backup > copy.tar &
  tombolo send backup home.tar

  tombolo recv jobs --lines | while read job; do work on $job; done &
  ls | tombolo send jobs --lines

Exits with 0 only if the sender has said that it was all.")]
pub(crate) struct Args {
    /// Where to meet: the name of a segment, which whoever comes first creates
    name: String,
    /// Receive line by line: any number of senders and receivers, each line to
    /// one receiver
    #[arg(long)]
    lines: bool,
    /// Show no progress
    #[arg(long)]
    quiet: bool,
}

/// Runs it.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let interrupt = Interrupt::install()?;
    let progress = progress(None, args.quiet);
    let mut receiving = Receiving { output: output()?, interrupt, progress, received: 0 };
    let done = match Mode::of(args.lines) {
        Mode::Stream => receiving.stream(&args.name),
        Mode::Lines => receiving.lines(&args.name),
    };
    receiving.progress.finish_and_clear();
    if let Err(Failure::Signalled(signal)) = done {
        remark(&format!("ended by {signal}; {} bytes were received", receiving.received));
    }
    done
}

struct Receiving {
    output: File,
    interrupt: Interrupt,
    progress: ProgressBar,
    /// How many bytes have been written out.
    received: u64,
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
        if hung_up(&self.output) {
            return Err(Failure::Broken("standard output has been closed".to_owned()));
        }
        Ok(())
    }

    fn stream(&mut self, name: &str) -> Result<(), Failure> {
        'next: loop {
            let mut into = StreamIn::join(name, self.interrupt)?;
            let mut session = None;
            loop {
                let message = match into.data.take_timeout(TURN) {
                    Ok(message) => message,
                    Err(error) => match error.fault() {
                        None => {
                            self.look_up()?;
                            continue;
                        }
                        // It had finished an earlier stream.
                        Some(Fault::Disconnected { .. }) if session.is_none() => continue 'next,
                        Some(fault) => return Err(self.failed(&fault)),
                    },
                };
                let (word, bytes) = parse(&message).ok_or_else(not_ours)?;
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
                        let mut written = 0;
                        let done = write_all(&self.output, bytes, &mut written, self.interrupt);
                        self.received += written as u64;
                        done?;
                        drop(message);
                        // It is no loss if there are many already.
                        let _ = into.acks.try_send([session, self.received]);
                        self.progress.set_position(self.received);
                        self.interrupt.check()?;
                    }
                    (BEGIN, _) => {
                        return Err(self.failed(&Fault::Disconnected { peers: "sender" }));
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
                Err(error) => match error.fault() {
                    None => self.interrupt.check()?,
                    Some(Fault::Disconnected { .. }) => return Ok(()),
                    Some(fault) => return Err(self.failed(&fault)),
                },
            }
        }
    }

    /// Ends when all has been written out, and says so.
    fn end(&self, mut into: StreamIn, session: u64) -> Result<(), Failure> {
        // The sender leaves its role now; the next one may be there already.
        loop {
            match into.data.take_timeout(TURN) {
                Ok(next) => break next.give_back(),
                Err(error) => match error.fault() {
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
                Err(error) => match error.fault() {
                    None => self.interrupt.check()?,
                    // All of it is here; that nobody wants to know is no loss.
                    Some(_) => return Ok(()),
                },
            }
        }
    }

    fn lines(&mut self, name: &str) -> Result<(), Failure> {
        let (crowd, first) = Crowd::into(name, self.interrupt)?;
        // More handles only while there is much to do: each holds a line.
        let mut hands = vec![first];
        let mut owed = false;
        loop {
            match self.batch(&mut hands, &mut owed) {
                Ok(Batch::Some { all_hands: false }) => {}
                Ok(Batch::Some { all_hands: true }) => {
                    let more = (2 * hands.len()).min(BATCH) - hands.len();
                    for _ in 0..more {
                        match hands.first().map(ByteReceiver::try_clone) {
                            Some(Ok(hand)) => hands.push(hand),
                            _ => break,
                        }
                    }
                }
                Ok(Batch::Nothing) => {
                    hands.truncate(1);
                    self.look_up()?;
                }
                Err(Stop::Failed(failure)) => return Err(failure),
                Err(Stop::Fault(fault)) => {
                    if !matches!(fault, Fault::Disconnected { .. }) {
                        return Err(self.failed(&fault));
                    }
                    if !crowd.has_senders() || crowd.drained() {
                        if !crowd.drained() && crowd.failed() {
                            return Err(self.failed(&fault));
                        }
                        crowd.done();
                        return Ok(());
                    }
                    // Another has come: it is the handles that are of the past.
                    let fresh = hands.first().map(ByteReceiver::try_clone);
                    hands.clear();
                    match fresh {
                        Some(Ok(hand)) => hands.push(hand),
                        Some(Err(error)) => return Err(Failure::Broken(error.to_string())),
                        None => return Err(self.failed(&fault)),
                    }
                }
            }
        }
    }

    /// Takes what is there, up to a line for each hand, writes it out and lets
    /// it go. `owed` is a newline that the last line did not have.
    fn batch(&mut self, hands: &mut [ByteReceiver], owed: &mut bool) -> Result<Batch, Stop> {
        let Some((first, others)) = hands.split_first_mut() else {
            return Ok(Batch::Nothing);
        };
        let first = match first.take_timeout(TURN) {
            Ok(line) => line,
            Err(error) => return error.fault().map_or(Ok(Batch::Nothing), |f| Err(Stop::Fault(f))),
        };
        let mut held = Held { lines: Vec::with_capacity(BATCH), bytes: Vec::new(), owed: *owed };
        held.add(first);
        let mut all_hands = true;
        for hand in others {
            let line = if held.bytes.len() < CHUNK { hand.try_take() } else { break };
            let Ok(line) = line else {
                // Why, will be seen when this is out.
                all_hands = false;
                break;
            };
            held.add(line);
        }
        let mut written = 0;
        let done = write_all(&self.output, &held.bytes, &mut written, self.interrupt);
        *owed = held.owed;
        self.received += written as u64;
        self.progress.set_position(self.received);
        for (line, end) in held.lines {
            // What is not out is for another receiver.
            if end <= written { line.release() } else { line.give_back() }
        }
        done.and_then(|()| self.interrupt.check()).map_err(Stop::Failed)?;
        Ok(Batch::Some { all_hands })
    }
}

/// What a turn has brought.
enum Batch {
    Nothing,
    Some {
        /// Whether there was a line for each hand.
        all_hands: bool,
    },
}

enum Stop {
    Fault(Fault),
    Failed(Failure),
}

/// Lines that are this receiver's until they are written out.
struct Held<'a> {
    /// Each with where it ends in `bytes`.
    lines: Vec<(ByteDelivery<'a, Mpmc>, usize)>,
    bytes: Vec<u8>,
    /// Whether the last line had no newline. It stays so only in the end.
    owed: bool,
}

impl<'a> Held<'a> {
    fn add(&mut self, line: ByteDelivery<'a, Mpmc>) {
        let Some(&last) = line.last() else {
            return;
        };
        if self.owed {
            self.bytes.push(b'\n');
        }
        self.bytes.extend_from_slice(&line);
        self.owed = last != b'\n';
        self.lines.push((line, self.bytes.len()));
    }
}
