//! Shared by `send` and `recv`: how they find each other, and their protocol.
//!
//! Each NAME is a transient segment with the channel `stream`, which carries the
//! data. The channel's kind is the mode: SPSC for a stream, MPMC for lines. So the
//! library refuses a process that comes with the other mode.
//!
//! **A stream.** The sender's messages are `word:64 | bytes`. The receiver's
//! acknowledgements (channel `acks`) are a session and a word.
//!
//! ```text
//!  send                                            recv
//!    BEGIN, session ─────────────────────────────▶   a new stream
//!    ◀─────────────────────────── session, 0         somebody will read it
//!    position, bytes ────────────────────────────▶   written out
//!    ◀──────────────────── session, position         room again
//!    END, length ────────────────────────────────▶   all of it is out
//!    leaves `stream`                                 leaves `stream`
//!    ◀──────────────────── session, FINISHED         done
//! ```
//!
//! A peer that goes before its session has begun belonged to an earlier one, and
//! nobody waits for it. A peer that goes later has failed. Both have left `stream`
//! before either ends. So the next process finds the roles free, or a segment that
//! is [over](is_over).
//!
//! **Lines.** A message is one line or several. A receiver releases lines only when
//! they are delivered, so if it dies, another receiver gets them. A sender that has
//! sent its last line sends as many empty messages as the channel holds; after that,
//! all of its lines have been released. Each party puts a token into `sending` or
//! `receiving`, and takes one out at the end. So the tokens that remain when the last
//! party has gone count those that failed. A receiver that has lost lines puts a
//! token into `losses`. A receiver that wants one line in each message is a sender of
//! that channel meanwhile.
//!
//! **To everybody**: see [`everybody`].

pub(crate) mod everybody;
mod interrupt;

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tombolo::{
    ByteChannel, ByteReceiver, ByteSender, Channel, ChannelError, ChannelInfo, ChannelKind, Fault,
    OpenError, OperatingState, Receiver, Segment, Sender, Slowest, Spsc,
};

use crate::failure::Failure;
use crate::place::Place;
use crate::plain::plain;
use crate::terms::remark;
pub(crate) use interrupt::Interrupt;

/// The channel of the data.
const STREAM: &str = "stream";
const ACKS: &str = "acks";
const SENDING: &str = "sending";
const RECEIVING: &str = "receiving";
const LOSSES: &str = "losses";

/// The word of a stream's first message; its session follows.
pub(crate) const BEGIN: u64 = u64::MAX;
/// The word of a stream's last message; its length follows.
pub(crate) const END: u64 = u64::MAX - 1;
/// The receiver's last word.
pub(crate) const FINISHED: u64 = u64::MAX;
/// Bytes of a word.
pub(crate) const WORD: usize = 8;

/// The most bytes of a stream in one message, and how many of those the
/// channel holds: few enough to stay in the cache.
pub(crate) const CHUNK: usize = 256 << 10;
const CHUNKS: usize = 8;

/// The most bytes of a line, without its newline.
pub(crate) const LONGEST: usize = 1 << 20;
/// How many bytes of lines make one message, if several do: with the last of
/// them it may have more.
pub(crate) const TOGETHER: usize = 4 << 10;
/// How many messages the channel holds. It has room for the longest in each,
/// of which only what is used takes memory.
const LINES: usize = 128;
const MOST: usize = LONGEST + 1 + TOGETHER;
/// The most room that one of them takes, and the room for everything else.
const FOR_ONE: usize = MOST + 4_096;
const BESIDE: usize = 1 << 20;
/// The same of a stream's chunks. The channel has room for one more than it holds.
const FOR_A_CHUNK: usize = WORD + CHUNK + 4_096;
const BESIDE_CHUNKS: usize = FOR_A_CHUNK + (128 << 10);
/// Tokens of the living and the failed.
const TOKENS: usize = 1_024;
/// How many processes can share out lines.
pub(crate) const CROWD: u16 = 256;

/// How often one that waits looks up.
pub(crate) const TURN: Duration = Duration::from_millis(100);
/// How long the parties of an earlier session may take to leave.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(2);
/// How long a sender to everybody stays for those who are about to end.
pub(crate) const LINGER: Duration = Duration::from_secs(1);

/// An acknowledgement: which session, and how far.
pub(crate) type Ack = [u64; 2];

/// How the data is cut, and who gets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mode {
    pub(crate) lines: bool,
    pub(crate) broadcast: bool,
}

impl Mode {
    const STREAM: Self = Self { lines: false, broadcast: false };
    const LINES: Self = Self { lines: true, broadcast: false };

    /// That of a channel of the data.
    fn of(channel: &ChannelInfo) -> Option<Self> {
        match channel.kind {
            ChannelKind::SpscBytes => Some(Self::STREAM),
            ChannelKind::MpmcBytes => Some(Self::LINES),
            ChannelKind::BroadcastBytes => {
                Some(Self { lines: everybody::is_of_lines(channel), broadcast: true })
            }
            _ => None,
        }
    }

    fn open(self, name: &Place) -> Result<Segment, OpenError> {
        let participants = if self == Self::STREAM { 16 } else { CROWD };
        let options = name.making.options(self.room(), participants);
        options.channels(4).transient(true).open_or_create(name)
    }

    /// How many bytes its segment has, where nothing is in the way.
    const fn room(self) -> usize {
        match (self.broadcast, self.lines) {
            (false, false) => (CHUNKS + 2) * CHUNK + BESIDE,
            (false, true) => LINES * FOR_ONE + BESIDE,
            (true, lines) => everybody::room(lines),
        }
    }

    /// What is carried.
    const fn name(self) -> &'static str {
        match (self.broadcast, self.lines) {
            (false, false) => "a stream",
            (false, true) => "lines",
            (true, false) => "a stream to everybody",
            (true, true) => "lines to everybody",
        }
    }

    /// The flags that this has and another mode has not.
    fn flags_beyond(self, other: Self) -> String {
        let lines = (self.lines && !other.lines).then_some("--lines");
        let broadcast = (self.broadcast && !other.broadcast).then_some("--broadcast");
        broadcast.into_iter().chain(lines).collect::<Vec<_>>().join(" ")
    }

    /// The message for a peer that came with this mode where another is in use.
    fn refusal(self, name: &str, theirs: Self) -> String {
        let (add, leave) = (theirs.flags_beyond(self), self.flags_beyond(theirs));
        let advice = match (&*add, &*leave) {
            (add, "") => format!("use {add} here as well"),
            ("", leave) => format!("leave out {leave}"),
            (add, leave) => format!("use {add} and leave out {leave}"),
        };
        format!("{name} carries {}, not {}: {advice}", theirs.name(), self.name())
    }
}

/// How many messages of lines a segment has room for: as many as usual, or fewer
/// where a limit or the user has made it smaller. All participants come to the
/// same number.
fn lines_in(segment: &Segment) -> usize {
    (segment.size().saturating_sub(BESIDE) / FOR_ONE).clamp(1, LINES)
}

/// How many chunks of a stream a segment has room for, of which the same is true.
fn chunks_in(segment: &Segment) -> usize {
    (segment.size().saturating_sub(BESIDE_CHUNKS) / FOR_A_CHUNK).clamp(1, CHUNKS)
}

/// Why a channel cannot be had. A segment that was to be larger has come to a
/// limit, and the user is told of which sort.
fn unopened(segment: &Segment, name: &Place, mode: Mode, error: ChannelError) -> Failure {
    let small = name.making.is_as_usual() && segment.size() < mode.room();
    match error {
        error @ ChannelError::SegmentFull { .. } if small => Failure::unusable(
            error,
            "the segment is smaller than usual, as kernel.shmmax, kernel.shmall or ulimit -v wants \
             it where it was created: raise those there",
        ),
        error => Failure::Unusable(error.to_string()),
    }
}

/// Whether a channel is the one of the data.
fn is_stream(channel: &ChannelInfo) -> bool {
    channel.name == STREAM
}

/// Whether nobody is at the data any more: its parties are about to leave, or
/// have been killed.
fn is_over(segment: &Segment) -> bool {
    let over = |channel: &ChannelInfo| channel.senders == 0 && channel.receivers == 0;
    segment.channels().iter().any(|channel| is_stream(channel) && over(channel))
}

/// Joins the segment, creating it if need be, and takes part in it by
/// `enter`. Peers of an earlier session are not in the way.
fn join<T>(
    name: &Place,
    mode: Mode,
    interrupt: Interrupt,
    mut enter: impl FnMut(&Segment) -> Result<T, ChannelError>,
) -> Result<(Segment, T), Failure> {
    let begun = Instant::now();
    loop {
        interrupt.check()?;
        let segment = mode.open(name).map_err(|error| Failure::Unusable(error.to_string()))?;
        // A peer whose death nobody has noticed yet does not count.
        let _ = segment.sweep();
        let ours = [STREAM, ACKS, SENDING, RECEIVING, LOSSES];
        let channels = segment.channels();
        if let Some(theirs) = channels.iter().find(|c| !ours.contains(&c.name.as_str())) {
            return Err(Failure::Unusable(format!(
                "segment {name} is another program's: it has a channel {}; choose another name",
                theirs.name
            )));
        }
        if !is_over(&segment) {
            match enter(&segment) {
                Ok(entered) => return Ok((segment, entered)),
                Err(error @ ChannelError::Mismatch { .. }) if !is_over(&segment) => {
                    let channels = segment.channels();
                    let theirs = channels.iter().find(|channel| is_stream(channel));
                    let theirs = theirs.and_then(Mode::of).filter(|theirs| *theirs != mode);
                    return Err(Failure::Unusable(match theirs {
                        Some(theirs) => mode.refusal(name, theirs),
                        None => error.to_string(),
                    }));
                }
                // It may be leaving just now.
                Err(ChannelError::TooManyPublishers { .. })
                    if !mode.lines && begun.elapsed() < LINGER => {}
                Err(ChannelError::TooManyPublishers { .. }) if !mode.lines => {
                    return Err(Failure::Unusable(format!(
                        "{name} has its sender already; a stream has one"
                    )));
                }
                Err(ChannelError::RoleTaken { side, pid, .. }) => {
                    return Err(Failure::Unusable(format!(
                        "{name} has its {side} already, in process {pid}; a stream has one of each"
                    )));
                }
                // Removed meanwhile.
                Err(ChannelError::Mismatch { .. } | ChannelError::Fault(Fault::Closed)) => {}
                Err(error) => return Err(unopened(&segment, name, mode, error)),
            }
        }
        // The last to leave removes it; that may be this process.
        drop(segment);
        if begun.elapsed() >= PATIENCE {
            return Err(Failure::Unusable(format!(
                "segment {name} is left over from others and is not removed; see `tombolo ls`"
            )));
        }
        thread::sleep(PAUSE);
    }
}

/// The channel of a stream.
fn chunks(segment: &Segment) -> ByteChannel<'_, Spsc> {
    segment.bytes(STREAM).spsc().capacity(chunks_in(segment), WORD + CHUNK)
}

/// A sender's ends of a stream. The segment is left last.
pub(crate) struct StreamOut {
    pub(crate) data: ByteSender<Spsc>,
    pub(crate) acks: Receiver<Ack>,
    pub(crate) segment: Segment,
}

impl StreamOut {
    pub(crate) fn join(name: &Place, interrupt: Interrupt) -> Result<Self, Failure> {
        let (segment, (data, acks)) = join(name, Mode::STREAM, interrupt, |segment| {
            let data = chunks(segment).sender()?;
            Ok((data, segment.channel(ACKS).capacity(8 * CHUNKS).receiver()?))
        })?;
        Ok(Self { data, acks, segment })
    }
}

/// A receiver's ends of a stream.
pub(crate) struct StreamIn {
    pub(crate) data: ByteReceiver<Spsc>,
    pub(crate) acks: Sender<Ack>,
    pub(crate) segment: Segment,
}

impl StreamIn {
    pub(crate) fn join(name: &Place, interrupt: Interrupt) -> Result<Self, Failure> {
        let (segment, (data, acks)) = join(name, Mode::STREAM, interrupt, |segment| {
            let data = chunks(segment).receiver()?;
            Ok((data, segment.channel(ACKS).capacity(8 * CHUNKS).sender()?))
        })?;
        Ok(Self { data, acks, segment })
    }
}

/// A token of this process's. It stays behind if the process fails.
struct Token {
    /// As long as it lives, so does this process as far as tokens go.
    put: Sender<u8>,
    take: Receiver<u8>,
}

impl Token {
    fn put(segment: &Segment, name: &str) -> Result<Self, ChannelError> {
        let tokens = tokens(segment, name);
        let token = Self { put: tokens.sender()?, take: tokens.receiver()? };
        // If it is full of failures, one more makes no difference.
        let _ = token.put.try_send(1);
        Ok(token)
    }

    fn take_back(&self) {
        let _ = self.take.recv_timeout(TURN);
    }
}

/// One party among many that share out lines.
pub(crate) struct Crowd {
    token: Token,
    theirs: Receiver<u8>,
    losses: Receiver<u8>,
    /// Asks for one line in each message.
    careful: Option<Sender<u8>>,
    /// Tokens of the other side's dead, when this process came. A receiver
    /// counts them all: the segment is of this session, or it would be over.
    before: usize,
    lost_before: u64,
    pub(crate) segment: Segment,
}

/// The channel of lines.
fn lines(segment: &Segment) -> ByteChannel<'_> {
    // Delivered again as often as possible.
    segment.bytes(STREAM).capacity(lines_in(segment), MOST).redeliver(15)
}

/// A channel of tokens.
fn tokens<'a>(segment: &'a Segment, name: &'a str) -> Channel<'a, u8> {
    segment.channel::<u8>(name).capacity(TOKENS).lasting()
}

impl Crowd {
    /// Joins the senders.
    pub(crate) fn out(name: &Place, interrupt: Interrupt) -> Result<(Self, ByteSender), Failure> {
        let (mut crowd, end) =
            Self::join(name, interrupt, (SENDING, RECEIVING), false, |lines| lines.sender())?;
        let living = count(&crowd.segment, RECEIVING, |channel| channel.senders);
        crowd.before = crowd.theirs.len().saturating_sub(living);
        crowd.lost_before = crowd.all_lost();
        Ok((crowd, end))
    }

    /// Joins the receivers; careful ones get each line by itself.
    pub(crate) fn into(
        name: &Place,
        interrupt: Interrupt,
        careful: bool,
    ) -> Result<(Self, ByteReceiver), Failure> {
        Self::join(name, interrupt, (RECEIVING, SENDING), careful, |lines| lines.receiver())
    }

    fn join<E>(
        name: &Place,
        interrupt: Interrupt,
        (ours, theirs): (&str, &str),
        careful: bool,
        end: impl Fn(&ByteChannel<'_>) -> Result<E, ChannelError>,
    ) -> Result<(Self, E), Failure> {
        let (segment, joined) = join(name, Mode::LINES, interrupt, |segment| {
            let tokens = |name| tokens(segment, name);
            let losses = tokens(LOSSES).receiver()?;
            // Before a line can come.
            let careful = careful.then(|| tokens(LOSSES).sender()).transpose()?;
            let end = end(&lines(segment))?;
            let token = Token::put(segment, ours)?;
            Ok((end, token, tokens(theirs).receiver()?, losses, careful))
        })?;
        let (end, token, theirs, losses, careful) = joined;
        let (before, lost_before) = (0, 0);
        Ok((Self { token, theirs, losses, careful, before, lost_before, segment }, end))
    }

    /// Another end for receiving. It knows nothing of those that have left.
    pub(crate) fn receiver(&self) -> Result<ByteReceiver, Failure> {
        lines(&self.segment).receiver().map_err(|error| Failure::Broken(error.to_string()))
    }

    /// Another end for sending, of which the same is true.
    pub(crate) fn sender(&self) -> Result<ByteSender, Failure> {
        lines(&self.segment).sender().map_err(|error| Failure::Broken(error.to_string()))
    }

    /// Whether this receiver asks for one line in each message.
    pub(crate) const fn is_careful(&self) -> bool {
        self.careful.is_some()
    }

    pub(crate) fn set_careful(&mut self, careful: bool) -> Result<(), Failure> {
        let asks = careful.then(|| tokens(&self.segment, LOSSES).sender()).transpose();
        self.careful = asks.map_err(|error| Failure::Broken(error.to_string()))?;
        Ok(())
    }

    /// Whether several lines may come in one message: there are receivers, and
    /// all of them want that.
    pub(crate) fn wants_many(&self) -> bool {
        self.has_receivers() && count(&self.segment, LOSSES, |channel| channel.senders) == 0
    }

    /// Tells the senders that lines are lost.
    pub(crate) fn lose(&self) {
        if let Ok(losses) = tokens(&self.segment, LOSSES).sender() {
            // If it is full, they know.
            let _ = losses.try_send(1);
        }
    }

    /// How many messages were lost since this process came.
    pub(crate) fn lost(&self) -> u64 {
        self.all_lost().saturating_sub(self.lost_before)
    }

    /// Those that receivers gave up, and those over which so many died that
    /// nobody got them any more.
    fn all_lost(&self) -> u64 {
        let dropped = count(&self.segment, STREAM, |channel| channel.dropped);
        (self.losses.len() + dropped) as u64
    }

    /// Whether a receiver goes on after this fault, since others send by now. If not,
    /// all senders have ended, and well.
    pub(crate) fn goes_on(&self, fault: Fault) -> Result<bool, Fault> {
        if !matches!(fault, Fault::Disconnected { .. }) {
            return Err(fault);
        }
        if self.drained() {
            return Ok(false);
        }
        if self.has_senders() {
            return Ok(true);
        }
        if self.failed() { Err(fault) } else { Ok(false) }
    }

    /// Whether there is no sender any more, and one has failed.
    pub(crate) fn was_cut(&self) -> bool {
        self.failed() && !self.has_senders() && !self.drained()
    }

    /// Says that this process has ended well.
    pub(crate) fn done(&self) {
        self.token.take_back();
    }

    /// Whether one of the other side has failed, if none is there.
    pub(crate) fn failed(&self) -> bool {
        self.theirs.len() > self.before
    }

    /// Whether there is a sender now.
    pub(crate) fn has_senders(&self) -> bool {
        has_senders(&self.segment)
    }

    /// Whether there is a receiver now.
    pub(crate) fn has_receivers(&self) -> bool {
        has_receivers(&self.segment)
    }

    /// Whether somebody has commanded that nothing more be sent.
    pub(crate) fn drained(&self) -> bool {
        is_drained(&self.segment)
    }
}

fn has_senders(segment: &Segment) -> bool {
    count(segment, STREAM, |channel| channel.senders) > 0
}

fn has_receivers(segment: &Segment) -> bool {
    count(segment, STREAM, |channel| channel.receivers) > 0
}

fn is_drained(segment: &Segment) -> bool {
    segment.state() == OperatingState::Drained
}

fn count(segment: &Segment, name: &str, of: impl Fn(&ChannelInfo) -> u64) -> usize {
    let channels = segment.channels();
    let number = channels.iter().find(|channel| channel.name == name).map_or(0, of);
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// Waits until the file is ready for this, or a turn is over; whether it is.
pub(crate) fn ready(file: &impl AsFd, flags: PollFlags, timeout: PollTimeout) -> bool {
    let mut files = [PollFd::new(file.as_fd(), flags)];
    matches!(poll(&mut files, timeout), Ok(1..))
}

/// Whether nobody has the other end of a pipe or a terminal any more.
pub(crate) fn hung_up(file: &impl AsFd) -> bool {
    // Errors and hang-ups are told in any case.
    ready(file, PollFlags::empty(), PollTimeout::ZERO)
}

/// A turn, for [`ready`].
pub(crate) fn turn() -> PollTimeout {
    PollTimeout::try_from(TURN).unwrap_or(PollTimeout::ZERO)
}

/// Writes all of it, unless a signal asks to end; counts what is written.
pub(crate) fn write_all(
    mut file: &File,
    bytes: &[u8],
    written: &mut usize,
    interrupt: Interrupt,
) -> Result<(), Failure> {
    while let Some(rest) = bytes.get(*written..).filter(|rest| !rest.is_empty()) {
        match file.write(rest) {
            Ok(some) if some > 0 => *written += some,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => interrupt.check()?,
            // Somebody has made it non-blocking.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                interrupt.check()?;
                ready(file, PollFlags::POLLOUT, turn());
            }
            Ok(_) => return Err(unwritable(&io::ErrorKind::WriteZero.into())),
            Err(error) => return Err(unwritable(&error)),
        }
    }
    Ok(())
}

pub(crate) fn unwritable(error: &io::Error) -> Failure {
    Failure::broken("cannot write to standard output", error)
}

/// A bar of so many bytes, or a count of them where nobody knows how many;
/// hidden where standard error is not a terminal.
pub(crate) fn progress(bytes: Option<u64>, quiet: bool) -> ProgressBar {
    let target = if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
    let bar = ProgressBar::with_draw_target(bytes, target);
    let template = match bytes {
        Some(_) => "{wide_bar} {bytes} of {total_bytes}, {bytes_per_sec}",
        None => "{bytes}, {bytes_per_sec}",
    };
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// Tells the user, once, what a party waits for that seems to hang.
pub(crate) struct Notice {
    name: String,
    /// With `--quiet` nothing is said, nor where standard error is no terminal.
    quiet: bool,
    terminal: bool,
    since: Instant,
    told: bool,
    paused: bool,
}

impl Notice {
    /// How long one waits in silence for the other.
    const SILENCE: Duration = Duration::from_secs(1);

    pub(crate) fn new(name: &str, quiet: bool) -> Self {
        Self {
            name: name.to_owned(),
            quiet,
            terminal: io::stderr().is_terminal(),
            since: Instant::now(),
            told: false,
            paused: false,
        }
    }

    /// To be called now and then by one that waits; `alone` is asked whether
    /// nobody is there to wait for.
    pub(crate) fn waits(&mut self, segment: &Segment, other: &str, alone: impl FnOnce() -> bool) {
        if self.quiet {
            return;
        }
        let name = &self.name;
        let paused = segment.state() == OperatingState::Paused;
        if paused && !self.paused {
            remark(&plain(&format!(
                "segment {name} is paused: nothing is sent until `tombolo ctl {name} resume`"
            )));
        }
        self.paused = paused;
        let long = self.since.elapsed() >= Self::SILENCE;
        if self.terminal && !self.told && long && alone() {
            let command = if other == "receiver" { "recv" } else { "send" };
            remark(&plain(&format!(
                "waiting for a {other}: nobody has run `tombolo {command} {name}` yet"
            )));
            self.told = true;
        }
    }

    /// To be called now and then by one that has no room, because a reliable receiver is
    /// slow.
    pub(crate) fn is_held_up(&mut self, segment: &Segment, by: Option<Slowest>) {
        self.waits(segment, "receiver", || false);
        let Some(Slowest { peer, behind, .. }) = by.filter(|_| self.terminal && !self.quiet) else {
            return;
        };
        if !self.told {
            remark(&format!(
                "waiting for the receiver in process {}, which is {behind} messages behind",
                peer.pid()
            ));
            self.told = true;
        }
    }
}
