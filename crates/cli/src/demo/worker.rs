//! One process of a demo: a producer or a consumer.
//!
//! When it has done its work, it waits until the demo ends it. If its standard
//! input ends instead, the demo has died, and the worker removes the segment.

use std::fs;
use std::io::{self, BufRead, Write};
use std::path::PathBuf;
use std::process;
use std::thread;
use std::time::Instant;

use hdrhistogram::Histogram;
use tombolo::{
    BroadcastChannel, Channel, Kind, OpenError, Receiver, RecvError, Segment, SendError, Sender,
};

use super::ledger::{Chunk, Marks};
use super::orders::{Findings, Form, Limit, Orders, Report, Role, histogram};
use super::piece::{self, Input, Piece};
use crate::failure::Failure;
use crate::flags::of_crew;
use crate::terms::now;

/// One message in so many says when it was sent: asking for the time costs as
/// much as sending does.
const STAMP_EVERY: u64 = 32;

/// The arguments with which the demo starts a worker.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    orders: String,
    input: PathBuf,
}

/// Runs the worker. The demo is told what goes wrong, and tells the user.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let orders: Orders = serde_json::from_str(&args.orders)
        .map_err(|error| Failure::unusable("not the orders of a demo", error))?;
    let (input, segment) = match prepare(args, &orders) {
        Ok(prepared) => prepared,
        Err(failure) => return conclude(Err(failure)),
    };
    let done = piece::sized(orders.size, Task { orders: &orders, input, segment: &segment });
    if let Err(failure) = conclude(done) {
        // Perhaps there is no demo left to do it; and leaving is not enough,
        // since the thread that watches the demo stays.
        let _ = segment.remove();
        return Err(failure);
    }
    // Until the demo, or the thread that watches it, ends this process: one of
    // the two has to be there to remove the segment.
    loop {
        thread::park();
    }
}

/// Tells the demo how it ended.
fn conclude(done: Result<Report, Failure>) -> Result<(), Failure> {
    let failure = match done {
        Ok(report) => return tell(&report),
        Err(failure) => failure,
    };
    let unusable = matches!(failure, Failure::Unusable(_));
    let why = failure.message().unwrap_or("it was told to end").to_owned();
    tell(&Report::Failed { unusable, why })?;
    Err(Failure::Told(failure.status()))
}

/// Fails without a message: if the demo is not there to be told, the user has
/// ended it.
fn tell(report: &Report) -> Result<(), Failure> {
    let mut line = serde_json::to_vec(report).map_err(|_| Failure::Told(1))?;
    line.push(b'\n');
    let mut out = io::stdout().lock();
    out.write_all(&line).and_then(|()| out.flush()).map_err(|_| Failure::Told(1))
}

/// The next thing the demo says; without one, it has ended.
fn hear() -> Result<String, Failure> {
    let mut line = String::new();
    match io::stdin().lock().read_line(&mut line) {
        Ok(1..) => Ok(line.trim_end().to_owned()),
        Ok(0) => Err(Failure::Broken("the demo has ended".to_owned())),
        Err(error) => Err(Failure::broken("cannot hear the demo", error)),
    }
}

/// Reads the input and opens the segment.
fn prepare(args: &Args, orders: &Orders) -> Result<(Input, Segment), Failure> {
    let path = args.input.display();
    let mut bytes = fs::read(&args.input)
        .map_err(|error| Failure::unusable(format!("cannot read {path}"), error))?;
    // Room for the part that is repeated at the end.
    bytes
        .try_reserve_exact(orders.size)
        .map_err(|error| Failure::unusable("no memory for the input", error))?;
    let crc = crc32fast::hash(&bytes);
    let input = Input::new(bytes, orders.size).filter(|_| crc == orders.input_crc);
    let Some(input) = input else {
        return Err(Failure::Unusable(format!("{path} has changed while it was read")));
    };
    let told = hear()?;
    let segment = match told.parse() {
        Ok(id) => Segment::open_id(id)
            .map_err(|error| Failure::unusable("cannot open the segment", error))?,
        // The first worker is told to create it.
        Err(_) => piece::sized(orders.size, Founding(orders))
            .map_err(|error| Failure::unusable("cannot create a segment", of_crew(error)))?,
    };
    Ok((input, segment))
}

/// Creates the segment with room for the channel, and no more: a limit may allow
/// just that.
struct Founding<'a>(&'a Orders);

impl piece::Job for Founding<'_> {
    type Outcome = Result<Segment, OpenError>;

    fn run<const WORDS: usize>(self) -> Self::Outcome {
        let Self(orders) = self;
        let options = Segment::options().participants(orders.participants()).channels(1);
        let options = match orders.form {
            Form::Mpmc | Form::Spsc => options.room_for::<Piece<WORDS>>(orders.capacity),
            Form::Broadcast => options
                .room_for_broadcast::<Piece<WORDS>>(orders.capacity)
                // The words of more subscribers than are usual.
                .size(128 * usize::from(orders.reliable())),
        };
        options.anonymous()
    }
}

/// A worker's work, for messages of any size.
struct Task<'a> {
    orders: &'a Orders,
    input: Input,
    segment: &'a Segment,
}

impl piece::Job for Task<'_> {
    type Outcome = Result<Report, Failure>;

    fn run<const WORDS: usize>(self) -> Result<Report, Failure> {
        let orders = self.orders;
        let queue = self.segment.channel::<Piece<WORDS>>("demo").capacity(orders.capacity);
        match orders.form {
            Form::Mpmc => self.at_end(&queue),
            Form::Spsc => self.at_end(&queue.spsc()),
            Form::Broadcast => {
                let board =
                    self.segment.broadcast::<Piece<WORDS>>("demo").capacity(orders.capacity);
                let board = board.publishers(orders.producers).reliable(orders.reliable());
                self.at_board::<WORDS>(&board)
            }
        }
    }
}

impl Task<'_> {
    fn at_end<const WORDS: usize, K: Kind>(
        self,
        channel: &Channel<'_, Piece<WORDS>, K>,
    ) -> Result<Report, Failure> {
        let unusable = |error| Failure::unusable("cannot open the channel", error);
        match self.orders.role {
            Role::Producer => {
                let sender = channel.sender().map_err(unusable)?;
                start(self.segment)?;
                self.produce(&sender)
            }
            Role::Consumer => {
                let receiver = channel.receiver().map_err(unusable)?;
                start(self.segment)?;
                self.consume(&receiver)
            }
        }
    }

    fn at_board<const WORDS: usize>(
        self,
        board: &BroadcastChannel<'_, Piece<WORDS>>,
    ) -> Result<Report, Failure> {
        let unusable = |error| Failure::unusable("cannot open the channel", error);
        match self.orders.role {
            Role::Producer => {
                let publisher = board.publisher().map_err(unusable)?;
                start(self.segment)?;
                self.produce(&publisher)
            }
            Role::Consumer if self.orders.index < self.orders.reliable() => {
                let subscriber = board.reliable_subscriber().map_err(unusable)?;
                start(self.segment)?;
                self.consume(&subscriber)
            }
            Role::Consumer => {
                let subscriber = board.subscriber().map_err(unusable)?;
                start(self.segment)?;
                self.consume(&subscriber)
            }
        }
    }

    fn produce<const WORDS: usize, K: Kind>(
        &self,
        sender: &Sender<Piece<WORDS>, K>,
    ) -> Result<Report, Failure> {
        let Orders { index, producers, limit, .. } = *self.orders;
        let (most, until) = match limit {
            Limit::Messages(messages) => (self.orders.part_of(messages), None),
            Limit::Time(span) => (u64::MAX, Instant::now().checked_add(span)),
        };
        let mut piece = Piece::<WORDS>::new(index);
        let mut offset = self.input.start(index, producers);
        let (mut number, mut last) = (0, most == 0);
        while !last {
            last = number + 1 == most;
            // The last one is always stamped: the demo ends when it comes.
            let stamp = last || number % STAMP_EVERY == 0;
            if stamp {
                last |= until.is_some_and(|until| Instant::now() >= until);
            }
            let sent = if stamp { now() } else { 0 };
            piece.fill(number, sent, self.input.piece(offset));
            match sender.send(piece) {
                Ok(()) => {}
                // The demo finds out why the consumers have ended.
                Err(SendError::Disconnected(_)) => break,
                Err(error) => return Err(Failure::broken("cannot send", error)),
            }
            number += 1;
            offset = self.input.next(offset);
        }
        Ok(Report::Sent { messages: number })
    }

    fn consume<const WORDS: usize, K: Kind>(
        &self,
        receiver: &Receiver<Piece<WORDS>, K>,
    ) -> Result<Report, Failure> {
        let mut log = Log::new(self.orders, &self.input)?;
        loop {
            match receiver.recv() {
                Ok(piece) => log.enter(&piece)?,
                Err(RecvError::Lagged(missed)) => log.findings.lagged += missed,
                Err(RecvError::Disconnected) => return log.close(),
                Err(error) => return Err(Failure::broken("cannot receive", error)),
            }
        }
    }
}

/// Says that this worker is ready and waits for the others. From here on, the
/// demo's death is noticed.
fn start(segment: &Segment) -> Result<(), Failure> {
    tell(&Report::Ready { segment: segment.id() })?;
    hear()?;
    let segment = segment.clone();
    let watch = move || {
        while hear().is_ok() {}
        // Wakes every worker and frees the set. Another may have done it.
        let _ = segment.remove();
        process::exit(1);
    };
    match thread::Builder::new().spawn(watch) {
        Ok(_) => Ok(()),
        Err(error) => Err(Failure::unusable("cannot start a thread", error)),
    }
}

/// One producer, as a consumer knows it.
struct Peer {
    /// Where in the input its first message begins.
    start: usize,
    marks: Marks,
    latest: u64,
}

/// A consumer's account of what it has received.
struct Log<'a> {
    group: u16,
    input: &'a Input,
    peers: Vec<Peer>,
    findings: Findings,
    latencies: Histogram<u64>,
}

impl<'a> Log<'a> {
    fn new(orders: &Orders, input: &'a Input) -> Result<Self, Failure> {
        let peer = |producer| Peer {
            start: input.start(producer, orders.producers),
            marks: Marks::new(),
            latest: 0,
        };
        Ok(Self {
            group: orders.group(),
            input,
            peers: (0..orders.producers).map(peer).collect(),
            findings: Findings::default(),
            latencies: histogram()?,
        })
    }

    /// Enters a message.
    #[inline]
    fn enter<const WORDS: usize>(&mut self, piece: &Piece<WORDS>) -> Result<(), Failure> {
        let head = piece.head();
        let received = if head.sent == 0 { 0 } else { now() };
        let peer = self.peers.get_mut(head.producer as usize);
        let (Some(payload), Some(peer)) = (piece.payload(), peer) else {
            self.findings.corrupt += 1;
            return Ok(());
        };
        if payload != self.input.piece(self.input.offset(peer.start, head.number)) {
            self.findings.corrupt += 1;
            return Ok(());
        }
        if received != 0 {
            self.latencies.saturating_record(received.saturating_sub(head.sent));
            self.findings.last = received;
        }
        self.findings.reordered += u64::from(head.number < peer.latest);
        peer.latest = peer.latest.max(head.number);
        let (new, before) = peer.marks.mark(head.number);
        self.findings.duplicated += u64::from(!new);
        match before {
            Some(chunk) => hand_over(self.group, head.producer as u16, chunk),
            None => Ok(()),
        }
    }

    /// Hands over what is left, and says what was found.
    fn close(mut self) -> Result<Report, Failure> {
        for (producer, peer) in (0..).zip(&mut self.peers) {
            hand_over(self.group, producer, peer.marks.turn(0))?;
        }
        let recorded = self.latencies.iter_recorded();
        self.findings.latencies =
            recorded.map(|step| (step.value_iterated_to(), step.count_at_value())).collect();
        Ok(Report::Drained { group: self.group, findings: self.findings })
    }
}

#[cold]
fn hand_over(group: u16, producer: u16, (chunk, words): Chunk) -> Result<(), Failure> {
    tell(&Report::Received { group, producer, chunk, words })
}
