//! `tombolo send`: sends a file, or standard input, to processes that
//! [`recv`](crate::recv).

mod everybody;

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::value_parser;
use indicatif::ProgressBar;
use nix::poll::PollFlags;
use tombolo::sys::proc::random_u64;
use tombolo::{ByteSender, Fault, Receiver, SendTimeoutError, TryRecvError, TrySendError};

use crate::failure::Failure;
use crate::place::Place;
use crate::standard;
use crate::stream::{
    Ack, BEGIN, CHUNK, Crowd, END, FINISHED, Interrupt, LONGEST, Notice, StreamOut, TOGETHER, TURN,
    WORD, progress, ready, turn,
};
use crate::terms::remark;

/// Receivers that have so many messages before them have plenty to do.
const PLENTY: usize = 32;

/// Sends a file, or standard input, to the process that runs `recv` with the same name.
///
/// Either may come first, and waits for the other. Returns when all has been
/// written out by the other side; with --lines, when all
/// lines are delivered: read out of the receiver's pipe, written to its file, or
/// acknowledged by its --exec command, which has ended with status 0. With
/// --broadcast, when every --reliable receiver has written out all.
#[derive(Debug, clap::Args)]
#[command(after_help = "A line has 1048576 bytes at most, with --broadcast 65536, and 256
processes can take part (fewer where kernel.sem allows fewer semaphores in a set;
more by the option --participants). The process that creates the segment decides
that.

With --broadcast, everybody who receives gets everything from where it begins.
What was sent is kept for those who come later: 1024 lines, or 4 MiB of a stream
(more or fewer with --size, or where a limit is lower), as long as some process
has the segment. --reliable receivers hold a sender up that is so far ahead of
them; the others never do.

Examples:
  tombolo recv backup > copy.tar &
  tombolo send backup home.tar

  tombolo recv jobs --lines | while read job; do work on $job; done &
  ls | tombolo send jobs --lines

  tombolo recv news --broadcast --lines --reliable > log &
  tombolo recv news --broadcast --lines | grep -i storm &
  tombolo send news --broadcast --lines --subscribers 2 < ticker

Exits with 0 only if all was delivered; with --broadcast, if all was sent, and a
receiver was there at the end (or --subscribers is 0).")]
pub(crate) struct Args {
    #[command(flatten)]
    place: Place,
    /// The file to send [default: standard input]
    file: Option<PathBuf>,
    /// Send line by line: any number of senders and receivers, each line to
    /// one receiver, or with --broadcast to all
    #[arg(long)]
    lines: bool,
    /// Send everything to every receiver
    #[arg(long)]
    broadcast: bool,
    /// Send nothing before so many receive
    #[arg(long, value_name = "N", default_value_t = 1, requires = "broadcast")]
    #[arg(value_parser = value_parser!(u16).range(..=8192))]
    subscribers: u16,
    /// Show no progress, and do not say what is waited for
    #[arg(long)]
    quiet: bool,
}

/// Runs it.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let input = Input::open(args)?;
    let interrupt = Interrupt::install()?;
    let notice = Notice::new(&args.place, args.quiet);
    let mut sending = Sending { input, interrupt, notice, sent: 0 };
    let done = match (args.broadcast, args.lines) {
        (false, false) => sending.stream(&args.place),
        (false, true) => sending.lines(&args.place),
        (true, lines) => sending.publish_all(&args.place, lines, args.subscribers),
    };
    sending.input.progress.finish_and_clear();
    if let Err(Failure::Signalled(signal)) = done {
        remark(&format!("ended by {signal}; {} bytes were sent", sending.sent));
    }
    done
}

/// The source of the bytes.
struct Input {
    file: File,
    name: String,
    /// Whether reading it can take for ever.
    slow: bool,
    progress: ProgressBar,
}

impl Input {
    fn open(args: &Args) -> Result<Self, Failure> {
        let (file, name) = match &args.file {
            Some(path) => (File::open(path), path.display().to_string()),
            None => match standard::input() {
                Ok(file) => (Ok(file), "standard input".to_owned()),
                Err(why) => return Err(Failure::broken("cannot read standard input", why)),
            },
        };
        let unusable =
            |why: &dyn std::fmt::Display| Failure::unusable(format!("cannot read {name}"), why);
        let file = file.map_err(|error| unusable(&error))?;
        let metadata = file.metadata().map_err(|error| unusable(&error))?;
        if metadata.is_dir() {
            return Err(unusable(&"it is a directory"));
        }
        let slow = !metadata.is_file();
        let progress = progress((!slow).then_some(metadata.len()), args.quiet);
        Ok(Self { file, name, slow, progress })
    }

    /// Whether there is something to read, or the end of it.
    fn ready(&self) -> bool {
        !self.slow || ready(&self.file, PollFlags::POLLIN, turn())
    }

    /// Reads some; 0 bytes are the end.
    fn read(&mut self, into: &mut [u8], interrupt: Interrupt) -> Result<usize, Failure> {
        loop {
            match self.file.read(into) {
                Ok(read) => return Ok(read),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Somebody has made it non-blocking.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.slow = true;
                    self.ready();
                }
                Err(error) => {
                    return Err(Failure::broken(format!("cannot read {}", self.name), error));
                }
            }
            interrupt.check()?;
        }
    }
}

struct Sending {
    input: Input,
    interrupt: Interrupt,
    notice: Notice,
    /// How many bytes have been put into the channel.
    sent: u64,
}

impl Sending {
    fn failed(&self, fault: &Fault) -> Failure {
        Failure::Broken(match fault {
            Fault::Disconnected { .. } => format!(
                "the receiver has left or died before all was delivered; {} bytes were sent",
                self.sent
            ),
            fault => format!("{fault}; {} bytes were sent", self.sent),
        })
    }

    fn unsent(&self, error: impl Into<TrySendError>) -> Failure {
        let error = error.into();
        let text = error.to_string();
        error.into_fault().map_or(Failure::Broken(text), |fault| self.failed(&fault))
    }

    /// Waits for the receiver to say something of this session, for a turn.
    fn hear(&self, acks: &Receiver<Ack>, session: u64) -> Result<Option<u64>, Fault> {
        match acks.recv_timeout(TURN) {
            Ok([of, word]) => Ok((of == session).then_some(word)),
            Err(error) => error.into_fault().map_or(Ok(None), Err),
        }
    }

    fn stream(&mut self, name: &Place) -> Result<(), Failure> {
        let (mut out, session) = self.begin(name)?;
        let mut chunk = vec![0; CHUNK];
        loop {
            self.interrupt.check()?;
            if !self.input.ready() {
                self.check(&out)?;
                continue;
            }
            self.room(&mut out, session)?;
            let fault = |error: TrySendError| Failure::Broken(error.to_string());
            let mut grant = out.data.try_reserve(WORD + CHUNK).map_err(fault)?;
            let read = self.input.read(&mut chunk, self.interrupt)?;
            if read == 0 {
                break;
            }
            grant.write_at(0, &self.sent.to_le_bytes());
            grant.write_at(WORD, &chunk[..read]);
            match grant.commit(WORD + read) {
                Ok(()) => {}
                Err(error) => return Err(self.unsent(error)),
            }
            self.sent += read as u64;
            self.input.progress.set_position(self.sent);
        }
        self.end(out, session)
    }

    /// Begins a stream with a receiver that is there to take it.
    fn begin(&mut self, name: &Place) -> Result<(StreamOut, u64), Failure> {
        loop {
            let out = StreamOut::join(name, self.interrupt)?;
            let session = random_u64().map_err(|error| Failure::unusable("cannot begin", error))?;
            let mut begin = BEGIN.to_le_bytes().to_vec();
            begin.extend(session.to_le_bytes());
            let begun = loop {
                self.interrupt.check()?;
                match out.data.send_timeout(&begin, TURN).map_err(SendTimeoutError::into_fault) {
                    Ok(()) => break Ok(()),
                    Err(None) => self.notice.waits(&out.segment, "receiver", || true),
                    Err(Some(fault)) => break Err(fault),
                }
            };
            let heard = begun.and_then(|()| {
                loop {
                    match self.hear(&out.acks, session) {
                        Ok(None) if self.interrupt.check().is_ok() => {
                            self.notice.waits(&out.segment, "receiver", || true);
                        }
                        heard => break heard,
                    }
                }
            });
            self.interrupt.check()?;
            match heard {
                Ok(_) => return Ok((out, session)),
                // The receiver was finishing an earlier stream, or died before
                // it could begin.
                Err(Fault::Disconnected { .. }) => {}
                Err(fault) => return Err(self.failed(&fault)),
            }
        }
    }

    /// Whether the receiver is still there.
    fn check(&self, out: &StreamOut) -> Result<(), Failure> {
        out.segment.sweep().map_err(|fault| self.failed(&fault))?;
        match out.acks.try_recv() {
            Ok(_) | Err(TryRecvError::Empty | TryRecvError::Pending) => Ok(()),
            Err(error) => error.into_fault().map_or(Ok(()), |fault| Err(self.failed(&fault))),
        }
    }

    /// Waits for room for a chunk. The receiver acknowledges after it has
    /// made room, or has too many acknowledgements unread.
    fn room(&mut self, out: &mut StreamOut, session: u64) -> Result<(), Failure> {
        loop {
            match out.data.try_reserve(WORD + CHUNK) {
                Ok(_) => return Ok(()),
                Err(TrySendError::Full(()) | TrySendError::Paused(())) => {}
                Err(error) => return Err(self.unsent(error)),
            }
            self.interrupt.check()?;
            let heard = self.hear(&out.acks, session).map_err(|fault| self.failed(&fault))?;
            if heard.is_none() {
                self.notice.waits(&out.segment, "receiver", || false);
            }
        }
    }

    /// Ends the stream, and waits until all of it is delivered.
    fn end(&mut self, mut out: StreamOut, session: u64) -> Result<(), Failure> {
        self.room(&mut out, session)?;
        let mut end = END.to_le_bytes().to_vec();
        end.extend(self.sent.to_le_bytes());
        while let Err(error) = out.data.send_timeout(&end, TURN) {
            match error.into_fault() {
                None => {
                    self.interrupt.check()?;
                    self.notice.waits(&out.segment, "receiver", || false);
                }
                Some(fault) => return Err(self.failed(&fault)),
            }
        }
        let StreamOut { data, acks, segment } = out;
        drop(data);
        let _segment = segment;
        loop {
            self.interrupt.check()?;
            let heard = self.hear(&acks, session).map_err(|fault| self.failed(&fault))?;
            if heard == Some(FINISHED) {
                return Ok(());
            }
        }
    }

    fn lines(&mut self, name: &Place) -> Result<(), Failure> {
        let (crowd, mut lines) = Crowd::out(name, self.interrupt)?;
        let mut cut = Cutter::new(LONGEST)?;
        let mut wish = Wish::new();
        loop {
            // Line by line, as long as that feeds the receivers, or one of them
            // asks for it. Where they have plenty to do, several at a time are
            // no less fair, and cheaper.
            loop {
                let many = lines.len() >= PLENTY && wish.many(&crowd);
                let Some(some) = cut.next(if many { TOGETHER } else { 1 })? else { break };
                self.line(&crowd, &mut lines, some)?;
            }
            if cut.ended {
                break;
            }
            self.interrupt.check()?;
            if self.input.ready() {
                cut.fill(&mut self.input, self.interrupt)?;
                self.input.progress.set_position(self.sent);
            } else {
                // Nobody else may notice that the receivers have died.
                crowd.segment.sweep().map_err(|fault| self.failed(&fault))?;
                let full = lines.try_reserve(0).err();
                if let Some(fault) = full.and_then(TrySendError::into_fault) {
                    self.left(&crowd, &mut lines, &fault)?;
                }
            }
        }
        // When as many more have gone into the channel as it holds, all lines
        // have been let go; with one in addition, somebody has been there even
        // if there were none.
        for _ in 0..=lines.capacity() {
            self.line(&crowd, &mut lines, b"")?;
        }
        crowd.done();
        match crowd.lost() {
            0 => Ok(()),
            lost => Err(Failure::Broken(format!(
                "not all was delivered: receivers have given up {lost} of the messages"
            ))),
        }
    }

    fn line(&mut self, crowd: &Crowd, lines: &mut ByteSender, line: &[u8]) -> Result<(), Failure> {
        let mut sent = lines.try_send(line).map_err(TrySendError::into_fault);
        loop {
            match sent {
                Ok(()) => {
                    self.sent += line.len() as u64;
                    return Ok(());
                }
                Err(None) => {
                    self.interrupt.check()?;
                    let alone = || !crowd.has_receivers();
                    self.notice.waits(&crowd.segment, "receiver", alone);
                }
                Err(Some(fault)) => self.left(crowd, lines, &fault)?,
            }
            sent = lines.send_timeout(line, TURN).map_err(SendTimeoutError::into_fault);
        }
    }

    /// All receivers have left. If none has failed, what is in the channel
    /// waits for others, and so does this sender.
    fn left(&self, crowd: &Crowd, lines: &mut ByteSender, fault: &Fault) -> Result<(), Failure> {
        if matches!(fault, Fault::Drained) {
            return self.drained(crowd, lines);
        }
        if !matches!(fault, Fault::Disconnected { .. }) || crowd.failed() {
            return Err(self.failed(fault));
        }
        *lines = crowd.sender()?;
        Ok(())
    }

    /// Somebody has commanded that nothing more be sent: ends well when what
    /// was has been taken.
    fn drained(&self, crowd: &Crowd, lines: &ByteSender) -> Result<(), Failure> {
        let events = crowd.segment.events();
        while !lines.is_empty() && crowd.has_receivers() {
            self.interrupt.check()?;
            events.recv_timeout(TURN).map_err(|fault| self.failed(&fault))?;
        }
        crowd.done();
        let sent = self.sent;
        remark(&format!("the segment has been drained: {sent} bytes were sent, and no more"));
        Err(Failure::Told(0))
    }
}

/// Whether the receivers want several lines in one message, looked up now and
/// then.
struct Wish {
    many: bool,
    until: Instant,
}

impl Wish {
    /// How long an answer holds.
    const HOLDS: Duration = Duration::from_millis(2);

    fn new() -> Self {
        Self { many: false, until: Instant::now() }
    }

    fn many(&mut self, crowd: &Crowd) -> bool {
        let now = Instant::now();
        if now >= self.until {
            self.many = crowd.wants_many();
            self.until = now + Self::HOLDS;
        }
        self.many
    }
}

/// Cuts what is read into lines.
struct Cutter {
    bytes: Vec<u8>,
    /// The most bytes of a line.
    longest: usize,
    /// The part of `bytes` with lines that were not yet given out.
    from: usize,
    to: usize,
    /// How far it is known to have no newline.
    looked: usize,
    ended: bool,
    /// How many lines were given out.
    lines: u64,
}

impl Cutter {
    fn new(longest: usize) -> Result<Self, Failure> {
        let mut bytes = Vec::new();
        bytes
            .try_reserve_exact(longest + CHUNK)
            .map_err(|error| Failure::unusable("no memory for lines", error))?;
        bytes.resize(longest + CHUNK, 0);
        Ok(Self { bytes, longest, from: 0, to: 0, looked: 0, ended: false, lines: 0 })
    }

    /// The next lines, at least one and not many more than `bytes`; of the
    /// last one in the end, what is there.
    fn next(&mut self, bytes: usize) -> Result<Option<&[u8]>, Failure> {
        let from = self.from;
        while self.from - from < bytes {
            match self.line() {
                Ok(true) => {}
                // First those before it.
                Err(_) if self.from > from => break,
                Ok(false) => break,
                Err(failure) => return Err(failure),
            }
        }
        Ok(self.bytes.get(from..self.from).filter(|lines| !lines.is_empty()))
    }

    /// Goes past the next line, if it is complete.
    fn line(&mut self) -> Result<bool, Failure> {
        let news = self.bytes.get(self.looked..self.to).unwrap_or_default();
        let end = match news.iter().position(|&byte| byte == b'\n') {
            Some(at) => self.looked + at + 1,
            None => {
                self.looked = self.to;
                if self.to - self.from > self.longest {
                    return Err(self.too_long());
                }
                if !self.ended || self.from == self.to {
                    return Ok(false);
                }
                self.to
            }
        };
        if end - self.from > self.longest + 1 {
            return Err(self.too_long());
        }
        (self.from, self.looked) = (end, end);
        self.lines += 1;
        Ok(true)
    }

    fn too_long(&self) -> Failure {
        Failure::Broken(format!(
            "line {} is longer than {} bytes, which is the maximum",
            self.lines + 1,
            self.longest
        ))
    }

    /// Reads more. There is room, since no line is left but an incomplete one.
    fn fill(&mut self, input: &mut Input, interrupt: Interrupt) -> Result<(), Failure> {
        self.bytes.copy_within(self.from..self.to, 0);
        self.to -= self.from;
        self.looked -= self.from;
        self.from = 0;
        let room = self.bytes.get_mut(self.to..).unwrap_or_default();
        let read = input.read(room, interrupt)?;
        self.to += read;
        self.ended = read == 0;
        Ok(())
    }
}
