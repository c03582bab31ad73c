//! Receives from both channels, and accounts for every message.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tombolo::{ChannelError, RecvTimeoutError, Segment};

use super::orders::{Args, BROADCAST, Orders, PAUSE, QUEUE};
use super::piece::{self, HELLO};
use super::words::{Done, Latency, Report, Tally};

/// How long it waits for messages that do not come.
const PATIENCE: Duration = Duration::from_secs(30);

/// What both receiving threads share.
struct Hall<'a> {
    size: usize,
    orders: &'a Orders,
    received: AtomicU64,
    /// Which channels messages come through.
    open: [AtomicBool; 2],
}

/// What a channel's receiver finds.
struct Account {
    tally: Tally,
    times: Option<Histogram<u64>>,
    /// Which numbers have come, a bit each; of a queue.
    seen: Vec<u64>,
    /// The number after the highest.
    next: u64,
    /// Of a broadcast channel: so many are told to be missing, and are not accounted for yet.
    told: u64,
}

/// Receives until all is there.
pub(super) fn run(args: &Args, segment: &Segment, orders: &Orders) -> Result<(), String> {
    let hall = Hall {
        size: args.size,
        orders,
        received: AtomicU64::new(0),
        open: [AtomicBool::new(false), AtomicBool::new(false)],
    };
    let (queue, broadcast, seconds) = thread::scope(|scope| {
        let queue = scope.spawn(|| hall.receive_queue(segment));
        let broadcast = scope.spawn(|| hall.receive_broadcast(segment));
        let seconds = hall.tell(|| queue.is_finished() && broadcast.is_finished());
        let joined = |it: thread::ScopedJoinHandle<'_, Result<Account, String>>| {
            it.join().unwrap_or_else(|_| Err("a thread panicked".to_owned()))
        };
        (joined(queue), joined(broadcast), seconds)
    });
    let (queue, broadcast) = (queue?, broadcast?);
    let mut times = queue.times;
    if let (Some(times), Some(more)) = (&mut times, broadcast.times) {
        let _ = times.add(more);
    }
    let at = |quantile| times.as_ref().map_or(0, |times| times.value_at_quantile(quantile));
    let latency = Latency { p50: at(0.5), p99: at(0.99), p999: at(0.999) };
    Report::Done(Done { seconds, latency, queue: queue.tally, broadcast: broadcast.tally }).say();
    while !orders.over() {
        thread::sleep(PAUSE);
    }
    Ok(())
}

impl Hall<'_> {
    /// Tells how far it is, until all is over; and how long it took.
    fn tell(&self, over: impl Fn() -> bool) -> f64 {
        let (mut linked, mut began) = (false, None);
        let mut told = Instant::now();
        while !over() {
            thread::sleep(PAUSE);
            if !linked && self.open.iter().all(|open| open.load(Ordering::Relaxed)) {
                linked = true;
                Report::Linked.say();
            }
            if began.is_none() && self.orders.go() {
                began = Some(Instant::now());
            }
            if linked && told.elapsed() >= Duration::from_millis(100) {
                told = Instant::now();
                Report::Received { messages: self.received.load(Ordering::Relaxed) }.say();
            }
        }
        began.map_or(0.0, |began| began.elapsed().as_secs_f64())
    }

    /// Opens a channel, which the bridge makes.
    fn opened<T>(&self, open: impl Fn() -> Result<T, ChannelError>) -> Result<Option<T>, String> {
        while !self.orders.over() {
            match open() {
                Ok(end) => return Ok(Some(end)),
                Err(ChannelError::NotFound { .. }) => thread::sleep(PAUSE),
                Err(error) => return Err(error.to_string()),
            }
        }
        Ok(None)
    }

    fn receive_queue(&self, segment: &Segment) -> Result<Account, String> {
        let mut account = Account::new();
        let channel = segment.bytes(QUEUE);
        let Some(mut receiver) = self.opened(|| channel.receiver())? else { return Ok(account) };
        let mut last = Instant::now();
        let mut message = Vec::new();
        loop {
            match receiver.take_timeout(PAUSE) {
                Ok(delivery) => {
                    let marked = delivery.attempts() > 0;
                    message.clear();
                    delivery.append_to(&mut message);
                    delivery.release();
                    last = Instant::now();
                    if let Some(number) = self.read(&message, &mut account, 0) {
                        account.of_queue(number, marked);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {
                    let sent = self.orders.sent().map(|sent| sent.queue);
                    let all = sent.is_some_and(|sent| account.distinct() >= sent);
                    if all || self.is_over(&last) {
                        account.end_queue(sent.unwrap_or(0));
                        return Ok(account);
                    }
                }
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    fn receive_broadcast(&self, segment: &Segment) -> Result<Account, String> {
        let mut account = Account::new();
        let channel = segment.broadcast_bytes(BROADCAST);
        let subscriber = self.opened(|| channel.reliable_subscriber())?;
        let Some(subscriber) = subscriber else { return Ok(account) };
        let mut last = Instant::now();
        let mut message = Vec::new();
        loop {
            match subscriber.recv_timeout(&mut message, PAUSE) {
                Ok(_) => {
                    last = Instant::now();
                    if let Some(number) = self.read(&message, &mut account, 1) {
                        account.of_broadcast(number);
                    }
                }
                Err(RecvTimeoutError::Lagged(missed)) => {
                    last = Instant::now();
                    account.told += missed;
                }
                Err(RecvTimeoutError::Timeout) => {
                    let sent = self.orders.sent().map(|sent| sent.broadcast);
                    let all = sent.is_some_and(|sent| account.next + account.told >= sent);
                    if all || self.is_over(&last) {
                        account.end_broadcast(sent.unwrap_or(0));
                        return Ok(account);
                    }
                }
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    fn is_over(&self, last: &Instant) -> bool {
        self.orders.over() || self.orders.sent().is_some() && last.elapsed() > PATIENCE
    }

    /// The number of a message that counts.
    fn read(&self, message: &[u8], account: &mut Account, channel: usize) -> Option<u64> {
        let Some((number, took)) = piece::read(message, self.size) else {
            account.tally.corrupt += 1;
            return None;
        };
        if number == HELLO {
            self.open[channel].store(true, Ordering::Relaxed);
            // What was told before the first number is of these.
            account.told = 0;
            return None;
        }
        self.received.fetch_add(1, Ordering::Relaxed);
        account.tally.received += 1;
        if let Some(times) = &mut account.times {
            let _ = times.record(took.max(1));
        }
        Some(number)
    }
}

impl Account {
    fn new() -> Self {
        Self {
            tally: Tally::default(),
            times: Histogram::new(3).ok(),
            seen: Vec::new(),
            next: 0,
            told: 0,
        }
    }

    /// Messages that are not repeated.
    const fn distinct(&self) -> u64 {
        self.tally.received - self.tally.repeated - self.tally.duplicated
    }

    fn of_queue(&mut self, number: u64, marked: bool) {
        let (word, bit) = ((number / 64) as usize, 1 << (number % 64));
        if self.seen.len() <= word {
            self.seen.resize(word + 1, 0);
        }
        let seen = &mut self.seen[word];
        match (*seen & bit != 0, marked) {
            (true, true) => self.tally.repeated += 1,
            (true, false) => self.tally.duplicated += 1,
            (false, false) if number < self.next => self.tally.reordered += 1,
            (false, _) => {}
        }
        *seen |= bit;
        if !marked {
            self.next = self.next.max(number + 1);
        }
    }

    fn end_queue(&mut self, sent: u64) {
        self.tally.sent = sent;
        self.tally.lost = sent.saturating_sub(self.distinct());
    }

    fn of_broadcast(&mut self, number: u64) {
        if number < self.next {
            self.tally.duplicated += 1;
            return;
        }
        self.missing(number);
        self.next = number + 1;
    }

    /// Everything before this number that has not come was told, or is lost.
    fn missing(&mut self, number: u64) {
        let missing = number.saturating_sub(self.next);
        self.tally.lagged += missing.min(self.told);
        // What was told and is not missing is wrong, too.
        self.tally.lost += missing.abs_diff(self.told);
        self.told = 0;
    }

    fn end_broadcast(&mut self, sent: u64) {
        self.tally.sent = sent;
        self.missing(sent);
    }
}
