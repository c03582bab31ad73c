//! One process of the bench: it sends or receives, through Zenoh alone or through a channel.

use std::io::BufRead;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use tombolo::{ChannelError, RecvTimeoutError, Segment};
use tombolo_cli::terms::now;
use zenoh::Wait;
use zenoh::qos::CongestionControl;

use crate::failure::Failure;
use crate::scratch;

/// The number of a message that only shows that the way is open.
const HELLO: u64 = u64::MAX;
/// How many messages a channel holds.
const CAPACITY: usize = 4096;
/// How long a worker may need to be ready.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long the last messages may take.
const REST: Duration = Duration::from_secs(5);

/// How messages go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Way {
    /// By Zenoh alone.
    Zenoh,
    /// By a broadcast channel and two bridges.
    Broadcast,
    /// By a queue and two bridges.
    Queue,
}

/// What it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Role {
    Send,
    Receive,
}

/// What a worker needs to know.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    role: Role,
    way: Way,
    #[arg(long)]
    size: usize,
    /// Messages a second; 0: as many as go.
    #[arg(long)]
    rate: u32,
    #[arg(long)]
    seconds: f64,
    #[arg(long)]
    endpoint: String,
    #[arg(long)]
    segment: String,
}

/// What a worker says, as a JSON object a line.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Said {
    Linked,
    Sent { messages: u64 },
    Received(Pass),
    Failed { what: String },
}

/// What a receiver has found.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Pass {
    pub(super) received: u64,
    pub(super) missed: u64,
    /// From the first message to the last.
    nanoseconds: u64,
    pub(super) p50: u64,
    pub(super) p99: u64,
}

impl Pass {
    pub(super) fn rate(&self) -> f64 {
        self.received as f64 * 1e9 / (self.nanoseconds.max(1)) as f64
    }
}

impl Way {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Zenoh => "zenoh",
            Self::Broadcast => "broadcast",
            Self::Queue => "queue",
        }
    }

    /// Its channel.
    pub(super) const fn channel(self) -> &'static str {
        match self {
            Self::Queue => "jobs",
            _ => "prices",
        }
    }
}

impl Said {
    fn say(&self) {
        scratch::say(self);
    }
}

/// What comes in, however it comes.
struct Ear {
    linked: AtomicBool,
    received: AtomicU64,
    first: AtomicU64,
    last: AtomicU64,
    times: Mutex<Option<Histogram<u64>>>,
}

/// Runs it.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let done = match args.role {
        Role::Send => send(args),
        Role::Receive => receive(args),
    };
    if let Err(what) = &done {
        Said::Failed { what: what.clone() }.say();
    }
    done.map_err(Failure::Broken)
}

/// The next order; `None` if the organizing process has gone.
fn order() -> Option<String> {
    std::io::stdin().lock().lines().next()?.ok()
}

pub(super) fn said(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn session(listens: bool, endpoint: &str) -> Result<zenoh::Session, String> {
    let mut config = zenoh::Config::default();
    let key = if listens { "listen/endpoints" } else { "connect/endpoints" };
    config.insert_json5(key, &format!("[{endpoint:?}]")).map_err(said)?;
    config.insert_json5("scouting/multicast/enabled", "false").map_err(said)?;
    if !listens {
        config.insert_json5("listen/endpoints", "[]").map_err(said)?;
    }
    zenoh::open(config).wait().map_err(said)
}

fn send(args: &Args) -> Result<(), String> {
    match args.way {
        Way::Zenoh => {
            let session = session(true, &args.endpoint)?;
            let publisher = session.declare_publisher("bench/alone");
            let publisher = publisher.congestion_control(CongestionControl::Block);
            let publisher = publisher.wait().map_err(said)?;
            let sent = send_all(args, |message| publisher.put(message).wait().map_err(said))?;
            Said::Sent { messages: sent }.say();
            // What is on its way goes with the session.
            order();
            Ok(())
        }
        Way::Broadcast => {
            let segment = segment(args)?;
            let channel = segment.broadcast_bytes(args.way.channel());
            let publisher =
                channel.capacity(places(args), args.size).lasting().publisher().map_err(said)?;
            let sent = send_all(args, |message| publisher.send(message).map_err(said))?;
            Said::Sent { messages: sent }.say();
            Ok(())
        }
        Way::Queue => {
            let segment = segment(args)?;
            let channel =
                segment.bytes(args.way.channel()).capacity(places(args), args.size).lasting();
            let sender = channel.sender().map_err(said)?;
            let sent = send_all(args, |message| sender.send(message).map_err(said))?;
            Said::Sent { messages: sent }.say();
            Ok(())
        }
    }
}

/// How many messages a channel has room for.
fn places(args: &Args) -> usize {
    CAPACITY.min((16 << 20) / args.size)
}

/// The segment of this side, with room for all.
fn segment(args: &Args) -> Result<Segment, String> {
    let options = Segment::options().size_up_to(64 << 20);
    options.open_or_create(&args.segment).map_err(said)
}

/// Shows that the way is open until it is told to go, and then sends for so long; says how many.
fn send_all(args: &Args, mut send: impl FnMut(&[u8]) -> Result<(), String>) -> Result<u64, String> {
    let go = Arc::new(AtomicBool::new(false));
    let going = Arc::clone(&go);
    thread::spawn(move || {
        order();
        going.store(true, Ordering::Relaxed);
    });
    let mut message = vec![7; args.size];
    let mut write = |number: u64, message: &mut Vec<u8>| {
        message[..8].copy_from_slice(&number.to_le_bytes());
        message[8..16].copy_from_slice(&now().to_le_bytes());
        send(message)
    };
    let until = Instant::now() + PATIENCE;
    while !go.load(Ordering::Relaxed) {
        if Instant::now() > until {
            return Err("no message has come through".to_owned());
        }
        write(HELLO, &mut message)?;
        sleep(Duration::from_millis(5));
    }
    let (began, span) = (Instant::now(), Duration::from_secs_f64(args.seconds));
    let mut number = 0;
    loop {
        if args.rate > 0 {
            let due = Duration::from_secs_f64(number as f64 / f64::from(args.rate));
            if let Some(early) = due.checked_sub(began.elapsed()) {
                sleep(early);
            }
        }
        // The clock is not looked at for each message.
        if (args.rate > 0 || number % 64 == 0) && began.elapsed() >= span {
            return Ok(number);
        }
        write(number, &mut message)?;
        number += 1;
    }
}

fn receive(args: &Args) -> Result<(), String> {
    let ear = Arc::new(Ear {
        linked: AtomicBool::new(false),
        received: AtomicU64::new(0),
        first: AtomicU64::new(0),
        last: AtomicU64::new(0),
        times: Mutex::new(Histogram::new(3).ok()),
    });
    match args.way {
        Way::Zenoh => {
            let session = session(false, &args.endpoint)?;
            let hearing = Arc::clone(&ear);
            let heard = move |sample: zenoh::sample::Sample| {
                hearing.hear(&sample.payload().to_bytes());
            };
            let subscriber = session.declare_subscriber("bench/alone").callback(heard);
            let _subscriber = subscriber.wait().map_err(said)?;
            ear.report(0)
        }
        Way::Broadcast => {
            let segment = segment(args)?;
            let channel = segment.broadcast_bytes(args.way.channel());
            let subscriber = opened(|| channel.reliable_subscriber())?;
            let hearing = Arc::clone(&ear);
            let missed = Arc::new(AtomicU64::new(0));
            let missing = Arc::clone(&missed);
            thread::spawn(move || {
                let mut message = Vec::new();
                loop {
                    match subscriber.recv_timeout(&mut message, REST * 10) {
                        Ok(_) => hearing.hear(&message),
                        Err(RecvTimeoutError::Lagged(n)) => {
                            missing.fetch_add(n, Ordering::Relaxed);
                        }
                        Err(_) => return,
                    }
                }
            });
            ear.report_with(|| missed.load(Ordering::Relaxed))
        }
        Way::Queue => {
            let segment = segment(args)?;
            let channel = segment.bytes(args.way.channel());
            let receiver = opened(|| channel.receiver())?;
            let hearing = Arc::clone(&ear);
            thread::spawn(move || {
                let mut message = Vec::new();
                while receiver.recv_timeout(&mut message, REST * 10).is_ok() {
                    hearing.hear(&message);
                }
            });
            ear.report(0)
        }
    }
}

/// Opens a channel that the bridge makes.
fn opened<T>(open: impl Fn() -> Result<T, ChannelError>) -> Result<T, String> {
    let until = Instant::now() + PATIENCE;
    loop {
        match open() {
            Ok(end) => return Ok(end),
            Err(ChannelError::NotFound { .. }) if Instant::now() < until => {
                sleep(Duration::from_millis(5));
            }
            Err(error) => return Err(error.to_string()),
        }
    }
}

impl Ear {
    fn hear(&self, message: &[u8]) {
        let word = |at: usize| {
            let bytes = message.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
            bytes.map_or(0, u64::from_le_bytes)
        };
        if word(0) == HELLO {
            self.linked.store(true, Ordering::Release);
            return;
        }
        let now = now();
        if self.received.load(Ordering::Relaxed) == 0 {
            self.first.store(now, Ordering::Relaxed);
        }
        self.last.store(now, Ordering::Relaxed);
        if let Some(times) = &mut *self.times.lock().unwrap_or_else(PoisonError::into_inner) {
            let _ = times.record(now.saturating_sub(word(8)).max(1));
        }
        self.received.fetch_add(1, Ordering::Release);
    }

    fn report(&self, missed: u64) -> Result<(), String> {
        self.report_with(|| missed)
    }

    /// Says when the way is open, and what has come when all has.
    fn report_with(&self, missed: impl Fn() -> u64) -> Result<(), String> {
        let until = Instant::now() + PATIENCE;
        while !self.linked.load(Ordering::Acquire) {
            if Instant::now() > until {
                return Err("no message has come through".to_owned());
            }
            sleep(Duration::from_millis(1));
        }
        let before = missed();
        Said::Linked.say();
        let order = order().ok_or("there is no order")?;
        let sent: u64 = order.strip_prefix("sent ").and_then(|it| it.parse().ok()).unwrap_or(0);
        let (mut seen, mut at) = (0, Instant::now());
        loop {
            let received = self.received.load(Ordering::Acquire);
            if received != seen {
                (seen, at) = (received, Instant::now());
            }
            if received + (missed() - before) >= sent || at.elapsed() > REST {
                break;
            }
            sleep(Duration::from_millis(1));
        }
        let times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        let at = |quantile| times.as_ref().map_or(0, |times| times.value_at_quantile(quantile));
        let (first, last) = (self.first.load(Ordering::Relaxed), self.last.load(Ordering::Relaxed));
        Said::Received(Pass {
            received: seen,
            missed: missed() - before,
            nanoseconds: last.saturating_sub(first),
            p50: at(0.5),
            p99: at(0.99),
        })
        .say();
        Ok(())
    }
}
