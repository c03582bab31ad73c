//! Peers that know only `docs/format.md`: `python_client.py`, and a minimal one,
//! `c_client.c`, in one segment with the library.

#![allow(unsafe_code)]

mod c;

use crate::common;

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{self, Receiver as Said};
use std::thread;
use std::time::{Duration, Instant};

use tombolo::{
    ByteDelivery, ByteReceiver, ByteSender, ChannelError, Event, Mpmc, Receiver, Segment, Sender,
    Spsc,
};

use common::{Brief, Name, PATIENCE, Peer, Words, parked, thread_parked, tid, wait_until};

const CLIENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/format/python_client.py");

/// Whether there is a Python that can run the client. Says so if not.
fn python() -> bool {
    static FOUND: OnceLock<bool> = OnceLock::new();
    *FOUND.get_or_init(|| {
        if !cfg!(target_arch = "x86_64") {
            eprintln!("SKIPPED: everything with Python peers, whose atomics are for x86-64");
            return false;
        }
        let new = "import sys, ctypes; sys.exit(sys.version_info < (3, 9))";
        let found = Command::new("python3").args(["-c", new]).status();
        let found = found.is_ok_and(|status| status.success());
        if !found {
            eprintln!(
                "SKIPPED: everything with Python peers, for want of python3 (3.9) with ctypes"
            );
        }
        found
    })
}

/// A process of one of the clients in the segment, killed with the test.
struct Python {
    child: Child,
    ears: ChildStdin,
    said: Said<String>,
}

impl Python {
    fn join(name: &str) -> Python {
        let mut command = Command::new("python3");
        command.args([CLIENT, name]).env("PYTHONDONTWRITEBYTECODE", "1");
        Python::start(command)
    }

    /// Starts a client, in any language, with this command.
    fn start(mut command: Command) -> Python {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (tell, said) = mpsc::channel();
        thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                if tell.send(line).is_err() {
                    return;
                }
            }
        });
        let python = Python { ears: child.stdin.take().unwrap(), child, said };
        python.expect("joined");
        python
    }

    fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    fn tell(&mut self, command: &str) {
        writeln!(self.ears, "{command}").unwrap();
    }

    #[track_caller]
    fn said(&self) -> String {
        self.said.recv_timeout(PATIENCE).expect("Python says something")
    }

    #[track_caller]
    fn expect(&self, what: &str) {
        assert_eq!(self.said(), what);
    }

    #[track_caller]
    fn ask(&mut self, command: &str, answer: &str) {
        self.tell(command);
        assert_eq!(self.said(), answer, "to {command}");
    }

    fn open(&mut self, kind: &str, side: &str) {
        self.ask(&format!("open c {kind} {side}"), "open");
    }

    /// Has it sleep in a call.
    #[track_caller]
    fn park(&mut self, command: &str) {
        self.tell(command);
        let pid = self.pid();
        wait_until(|| parked(pid));
        assert!(self.said.try_recv().is_err());
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn leave(mut self) {
        self.ask("leave", "left");
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What both sides send as their nth message, as Python tells it.
fn number(n: u64) -> String {
    format!("got {n}")
}

fn filler(n: u64) -> Vec<u8> {
    (0..n * 37 % 101).map(|k| (n + k) as u8).collect()
}

fn bytes(bytes: &[u8]) -> String {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("got {hex}")
}

/// Any sender.
enum Tx {
    Spsc(Sender<u64, Spsc>),
    Mpmc(Sender<u64, Mpmc>),
    SpscBytes(ByteSender<Spsc>),
    MpmcBytes(ByteSender<Mpmc>),
}

impl Tx {
    fn open(segment: &Segment, kind: &str) -> Result<Tx, ChannelError> {
        Ok(match kind {
            "spsc" => Tx::Spsc(segment.channel("c").spsc().sender()?),
            "mpmc" => Tx::Mpmc(segment.channel("c").sender()?),
            "spsc-bytes" => Tx::SpscBytes(segment.bytes("c").spsc().sender()?),
            _ => Tx::MpmcBytes(segment.bytes("c").sender()?),
        })
    }

    /// Sends the nth message; why not, in words. As for [`Rx::recv`].
    fn send(&self, n: u64) -> Result<(), String> {
        let began = Instant::now();
        let sent = self.send_at_all(n);
        if began.elapsed() < PATIENCE { sent } else { Err(format!("too late: {sent:?}")) }
    }

    fn send_at_all(&self, n: u64) -> Result<(), String> {
        let until = Instant::now() + PATIENCE;
        match self {
            Tx::Spsc(tx) => tx.send_deadline(n, until).map_err(|error| error.to_string()),
            Tx::Mpmc(tx) => tx.send_deadline(n, until).map_err(|error| error.to_string()),
            Tx::SpscBytes(tx) => tx.send_deadline(&filler(n), until).map_err(|e| e.to_string()),
            Tx::MpmcBytes(tx) => tx.send_deadline(&filler(n), until).map_err(|e| e.to_string()),
        }
    }

    fn try_send(&self, n: u64) -> bool {
        match self {
            Tx::Spsc(tx) => tx.try_send(n).is_ok(),
            Tx::Mpmc(tx) => tx.try_send(n).is_ok(),
            Tx::SpscBytes(tx) => tx.try_send(&filler(n)).is_ok(),
            Tx::MpmcBytes(tx) => tx.try_send(&filler(n)).is_ok(),
        }
    }
}

/// Any receiver.
enum Rx {
    Spsc(Receiver<u64, Spsc>),
    Mpmc(Receiver<u64, Mpmc>),
    SpscBytes(ByteReceiver<Spsc>),
    MpmcBytes(ByteReceiver<Mpmc>),
}

impl Rx {
    fn open(segment: &Segment, kind: &str) -> Result<Rx, ChannelError> {
        Ok(match kind {
            "spsc" => Rx::Spsc(segment.channel("c").spsc().receiver()?),
            "mpmc" => Rx::Mpmc(segment.channel("c").receiver()?),
            "spsc-bytes" => Rx::SpscBytes(segment.bytes("c").spsc().receiver()?),
            _ => Rx::MpmcBytes(segment.bytes("c").receiver()?),
        })
    }

    /// Receives a message; why not, in words. What comes only with the end
    /// of all patience comes too late: nobody has been woken for it.
    fn recv(&self) -> Result<String, String> {
        let began = Instant::now();
        let got = self.recv_at_all();
        if began.elapsed() < PATIENCE { got } else { Err(format!("too late: {got:?}")) }
    }

    fn recv_at_all(&self) -> Result<String, String> {
        let mut into = Vec::new();
        let got = match self {
            Rx::Spsc(rx) => {
                return rx.recv_timeout(PATIENCE).map(number).map_err(|e| e.to_string());
            }
            Rx::Mpmc(rx) => {
                return rx.recv_timeout(PATIENCE).map(number).map_err(|e| e.to_string());
            }
            Rx::SpscBytes(rx) => rx.recv_timeout(&mut into, PATIENCE),
            Rx::MpmcBytes(rx) => rx.recv_timeout(&mut into, PATIENCE),
        };
        got.map(|_| bytes(&into)).map_err(|error| error.to_string())
    }
}

/// The nth message, as Python and [`Rx`] tell it.
fn nth(kind: &str, n: u64) -> String {
    if kind.ends_with("bytes") { bytes(&filler(n)) } else { number(n) }
}

const NO_SENDER: &str = "the channel is disconnected: its last sender has gone";
const NO_RECEIVER: &str = "the channel is disconnected: its last receiver has gone";

/// A segment with a channel `c`, removed with the test.
struct Market {
    segment: Segment,
    name: Name,
    kind: String,
    capacity: usize,
}

impl Market {
    fn new(kind: &str, capacity: usize) -> Market {
        Self::with(kind, capacity, 8, false)
    }

    fn with(kind: &str, capacity: usize, redeliver: u8, symmetric: bool) -> Market {
        let name = Name::new();
        let options = Segment::options().size(1 << 20).participants(8).channels(4);
        let segment = options.symmetric_fences(symmetric).create(&name).unwrap();
        match kind {
            "spsc" => drop(segment.channel::<u64>("c").capacity(capacity).spsc().sender().unwrap()),
            "mpmc" => {
                let channel = segment.channel::<u64>("c").capacity(capacity);
                drop(channel.redeliver(redeliver).sender().unwrap());
            }
            "spsc-bytes" => {
                drop(segment.bytes("c").capacity(capacity, 100).spsc().sender().unwrap())
            }
            _ => {
                let channel = segment.bytes("c").capacity(capacity, 100);
                drop(channel.redeliver(redeliver).sender().unwrap());
            }
        }
        Market { segment, name, kind: kind.to_owned(), capacity }
    }

    fn tx(&self) -> Tx {
        Tx::open(&self.segment, &self.kind).unwrap()
    }

    fn rx(&self) -> Rx {
        Rx::open(&self.segment, &self.kind).unwrap()
    }

    fn nth(&self, n: u64) -> String {
        nth(&self.kind, n)
    }

    fn python(&self, side: &str) -> Python {
        let mut python = Python::join(&self.name);
        python.open(&self.kind, side);
        python
    }

    /// A process of the library's with one end.
    fn rust(&self, side: &str) -> Peer {
        let peer = Peer::start("puppet", &[&self.name, &self.kind, &side]);
        peer.expect("open");
        peer
    }

    /// A word of the channel's control, by its documented offset.
    fn control(&self, offset: usize) -> u64 {
        let words = Words::behind(&self.segment);
        let (participants, channels) = (words.get(7) as usize, words.get(8) as usize);
        let infos = (512 + 8 * participants).next_multiple_of(128);
        let journal = (infos + 128 * participants).next_multiple_of(128);
        let directory = journal + 128 * 128;
        assert!(channels > 0 && words.get(directory / 8) == 1);
        words.get((words.get(directory / 8 + 6) as usize + offset) / 8)
    }

    /// Finds the one that has just been killed, as whoever waits would.
    #[track_caller]
    fn sweep(&self) {
        wait_until(|| self.segment.sweep().unwrap());
        assert_eq!(self.segment.participants().len(), 1);
    }

    /// Sends until it is full, takes it all out, and so twice: nothing has
    /// been lost of the room.
    #[track_caller]
    fn holds_its_capacity(&self) {
        let (tx, rx) = (self.tx(), self.rx());
        for round in 0..2 {
            for n in 0..self.capacity as u64 {
                assert!(tx.try_send(n), "{n} of round {round}");
            }
            for n in 0..self.capacity as u64 {
                assert_eq!(rx.recv().unwrap(), self.nth(n), "round {round}");
            }
        }
    }
}

const ITEMS_WAITING: usize = 8;
const SPACE_WAITING: usize = 16;
const SLOTS_WAITING: usize = 24;
const TOMBSTONES: usize = 144;
const ORPHANED: usize = 152;
const DROPPED: usize = 160;

/// Runs in a thread, and returns when that sleeps.
fn parked_thread<R: Send + 'static>(
    call: impl FnOnce() -> R + Send + 'static,
) -> thread::JoinHandle<R> {
    let (tell, told) = mpsc::channel();
    let thread = thread::spawn(move || {
        tell.send(tid()).unwrap();
        call()
    });
    let tid = told.recv().unwrap();
    wait_until(|| thread_parked(tid));
    thread
}

macro_rules! all_kinds {
    ($($name:ident)*) => {
        all_kinds! { @ spsc "spsc" $($name)* }
        all_kinds! { @ mpmc "mpmc" $($name)* }
        all_kinds! { @ spsc_bytes "spsc-bytes" $($name)* }
        all_kinds! { @ mpmc_bytes "mpmc-bytes" $($name)* }
    };
    (@ $module:ident $kind:literal $($name:ident)*) => {
        mod $module {
            $(#[test] fn $name() { if super::python() { super::$name($kind); } })*
        }
    };
}

all_kinds! {
    what_python_sends_rust_receives
    what_rust_sends_python_receives
    a_parked_python_is_woken_by_rust
    a_parked_thread_is_woken_by_python
    a_python_killed_while_it_waits_is_swept_and_succeeded
    a_rust_process_killed_while_it_waits_is_swept_by_python
    deaths_and_departures_disconnect_both_ways
    what_a_killed_python_has_sent_is_there
    a_removed_segment_is_closed_to_python
    symmetric_fences_work_too
    a_paused_python_waits_and_a_drained_one_ends
}

fn what_python_sends_rust_receives(kind: &str) {
    let market = Market::new(kind, 7);
    let rx = market.rx();
    let mut python = market.python("sender");
    python.tell("send-all c 0 300");
    for n in 0..300 {
        assert_eq!(rx.recv().unwrap(), market.nth(n));
    }
    python.expect("sent");
    python.leave();
    assert_eq!(market.segment.participants().len(), 1);
    assert!(!market.segment.sweep().unwrap());
}

fn a_paused_python_waits_and_a_drained_one_ends(kind: &str) {
    let market = Market::new(kind, 3);
    let mut python = market.python("sender");
    let rx = market.rx();
    python.ask("send c 1", "sent");
    let commander = market.segment.commander().unwrap();
    // It does not answer.
    let soon = Duration::from_millis(10);
    assert!(commander.pause(soon).unwrap().iter().any(|answer| !answer.ok));
    python.ask("try-send c 2", "full");
    python.park("send c 2");
    commander.resume(soon).unwrap();
    python.expect("sent");
    let got = (rx.recv().unwrap(), rx.recv().unwrap());
    assert_eq!(got, (market.nth(1), market.nth(2)));
    commander.drain(soon).unwrap();
    python.ask("send c 3", "Drained");
    commander.shutdown(soon).unwrap();
    python.ask("send c 3", "Shutdown");
    python.leave();
}

fn what_rust_sends_python_receives(kind: &str) {
    let market = Market::new(kind, 7);
    let tx = market.tx();
    let mut python = market.python("receiver");
    python.tell("recv-all c 0 300");
    for n in 0..300 {
        tx.send(n).unwrap();
    }
    python.expect("received");
    python.ask("try-recv c", "nothing");
    python.leave();
    assert_eq!(market.segment.participants().len(), 1);
    assert!(!market.segment.sweep().unwrap());
}

fn a_parked_python_is_woken_by_rust(kind: &str) {
    let market = Market::new(kind, 2);
    let tx = market.tx();
    let mut python = market.python("receiver");
    for n in 0..8 {
        python.park("recv c");
        assert_eq!(market.control(ITEMS_WAITING) & 0xFFFF_FFFF, 1);
        tx.send(n).unwrap();
        python.expect(&market.nth(n));
    }
    python.ask("recv-timeout c 1", "nothing");
    python.ask("close c", "closed");
    drop(tx);
    let rx = market.rx();
    python.open(kind, "sender");
    for n in 0..8 {
        let mut sent = 0;
        loop {
            python.tell(&format!("try-send c {n}"));
            if python.said() == "full" {
                break;
            }
            sent += 1;
        }
        python.park(&format!("send c {n}"));
        for _ in 0..sent {
            assert_eq!(rx.recv().unwrap(), market.nth(n));
        }
        python.expect("sent");
        assert_eq!(rx.recv().unwrap(), market.nth(n));
    }
    assert_eq!(market.control(ITEMS_WAITING) & 0xFFFF_FFFF, 0);
    assert_eq!(market.control(SPACE_WAITING) & 0xFFFF_FFFF, 0);
    python.leave();
}

fn a_parked_thread_is_woken_by_python(kind: &str) {
    let market = Market::new(kind, 1);
    let mut python = market.python("sender");
    let mut rx = market.rx();
    for n in 1..8 {
        let waiting = parked_thread(move || (rx.recv(), rx));
        python.ask(&format!("send c {n}"), "sent");
        let got;
        (got, rx) = waiting.join().unwrap();
        assert_eq!(got.unwrap(), market.nth(n));
    }
    drop(rx);
    python.ask("close c", "closed");
    python.open(kind, "receiver");
    let mut tx = market.tx();
    for n in 1..8 {
        while tx.try_send(n) {}
        let waiting = parked_thread(move || (tx.send(n), tx));
        python.ask("recv c", &market.nth(n));
        // One more frees enough of a ring of records.
        python.tell("try-recv c");
        python.said();
        let sent;
        (sent, tx) = waiting.join().unwrap();
        sent.unwrap();
        loop {
            python.tell("try-recv c");
            if python.said() == "nothing" {
                break;
            }
        }
    }
    python.leave();
}

fn a_python_killed_while_it_waits_is_swept_and_succeeded(kind: &str) {
    let market = Market::new(kind, 3);
    let tx = market.tx();
    for n in 0..3 {
        let mut python = market.python("receiver");
        python.park("recv c");
        python.kill();
        market.sweep();
        assert_eq!(market.control(ITEMS_WAITING) & 0xFFFF_FFFF, 0);
        // Killed again, between two of them.
        let mut python = market.python("receiver");
        tx.send(n).unwrap();
        python.ask("recv c", &market.nth(n));
        python.kill();
        market.sweep();
    }
    drop(tx);
    let rx = market.rx();
    let mut python = market.python("sender");
    let mut sent = 0;
    loop {
        python.tell("try-send c 5");
        if python.said() == "full" {
            break;
        }
        sent += 1;
    }
    python.park("send c 5");
    python.kill();
    market.sweep();
    assert_eq!(market.control(SPACE_WAITING) & 0xFFFF_FFFF, 0);
    let mut python = market.python("sender");
    for _ in 0..sent {
        assert_eq!(rx.recv().unwrap(), market.nth(5));
    }
    python.ask("send c 7", "sent");
    assert_eq!(rx.recv().unwrap(), market.nth(7));
    python.leave();
    drop(rx);
    if !kind.starts_with("spsc-") {
        market.holds_its_capacity();
    }
}

fn a_rust_process_killed_while_it_waits_is_swept_by_python(kind: &str) {
    let market = Market::new(kind, 3);
    let mut python = market.python("sender");
    let mut rust = market.rust("receiver");
    rust.tell("recv");
    rust.wait_until_parked();
    rust.kill();
    rust.finish();
    python.ask("look", "swept True");
    assert_eq!(market.control(ITEMS_WAITING) & 0xFFFF_FFFF, 0);
    assert_eq!(market.segment.participants().len(), 2);
    let rx = market.rx();
    python.ask("send c 3", "sent");
    assert_eq!(rx.recv().unwrap(), market.nth(3));
    python.leave();
}

fn deaths_and_departures_disconnect_both_ways(kind: &str) {
    let market = Market::new(kind, 1);
    // Rust receivers of Python senders.
    for kill in [true, false] {
        let python = market.python("sender");
        let rx = market.rx();
        let waiting = parked_thread(move || rx.recv());
        if kill {
            python.kill()
        } else {
            python.leave()
        }
        assert_eq!(waiting.join().unwrap().unwrap_err(), NO_SENDER);
    }
    // Python receivers of Rust senders.
    for kill in [true, false] {
        let mut rust = market.rust("sender");
        let mut python = market.python("receiver");
        python.park("recv c");
        if kill {
            rust.kill();
        } else {
            rust.tell("close");
        }
        python.expect("Disconnected sender");
        python.leave();
    }
    // Rust senders of Python receivers.
    let mut more = 0;
    for kill in [true, false] {
        let python = market.python("receiver");
        let tx = market.tx();
        while tx.try_send(9) {
            more += 1;
        }
        let waiting = parked_thread(move || tx.send(9));
        if kill {
            python.kill()
        } else {
            python.leave()
        }
        assert_eq!(waiting.join().unwrap().unwrap_err(), NO_RECEIVER);
    }
    // Python senders of Rust receivers; the channel is full.
    assert!(more > 0);
    for kill in [true, false] {
        let mut rust = market.rust("receiver");
        let mut python = market.python("sender");
        python.park("send c 9");
        if kill {
            rust.kill();
        } else {
            rust.tell("close");
        }
        python.expect("Disconnected receiver");
        python.leave();
    }
}

fn what_a_killed_python_has_sent_is_there(kind: &str) {
    let market = Market::new(kind, 30);
    let mut python = market.python("sender");
    python.ask("send-all c 0 20", "sent");
    python.kill();
    let mut heir = market.python("receiver");
    heir.ask("recv-all c 0 10", "received");
    heir.ask("close c", "closed");
    let rx = market.rx();
    for n in 10..20 {
        assert_eq!(rx.recv().unwrap(), market.nth(n));
    }
    // It has met the sender by its messages.
    assert_eq!(rx.recv().unwrap_err(), NO_SENDER);
}

fn a_removed_segment_is_closed_to_python(kind: &str) {
    let market = Market::new(kind, 1);
    let _tx = market.tx();
    let mut python = market.python("receiver");
    python.park("recv c");
    market.segment.remove().unwrap();
    python.expect("Closed");
    python.ask("try-recv c", "Closed");
    python.leave();
    assert_eq!(market.name.objects(), (0, 0));
}

fn symmetric_fences_work_too(kind: &str) {
    let market = Market::with(kind, 2, 8, true);
    let tx = market.tx();
    let mut python = market.python("receiver");
    python.park("recv c");
    tx.send(1).unwrap();
    python.expect(&market.nth(1));
    python.tell("recv-all c 0 100");
    for n in 0..100 {
        tx.send(n).unwrap();
    }
    python.expect("received");
    python.leave();
}

macro_rules! mpmc_kinds {
    ($($name:ident)*) => {
        mod slots {
            all_kinds! { @ mpmc "mpmc" $($name)* }
            all_kinds! { @ mpmc_bytes "mpmc-bytes" $($name)* }
            $(use super::$name;)*
            use super::python;
        }
    };
}

mpmc_kinds! {
    a_python_killed_over_a_claim_leaves_a_tombstone
    a_python_killed_over_a_message_leaves_it_to_another
    a_message_that_may_not_be_taken_again_goes_with_its_python
    a_rust_process_killed_over_a_claim_or_a_message_is_put_right_by_python
    a_message_that_may_not_be_taken_again_goes_with_its_rust_process
    a_message_given_back_is_taken_by_the_other
    the_last_message_s_end_is_told_to_other_receivers
    many_of_both_exchange_everything_once
}

fn a_python_killed_over_a_claim_leaves_a_tombstone(kind: &str) {
    let market = Market::new(kind, 3);
    let tx = market.tx();
    let mut python = market.python("sender");
    python.ask("hold-claim c", "holding");
    tx.send(1).unwrap();
    // Behind the claim: pending, until its owner is dead.
    let rx = market.rx();
    let waiting = parked_thread(move || rx.recv());
    python.kill();
    assert_eq!(waiting.join().unwrap().unwrap(), market.nth(1));
    assert_eq!(market.control(TOMBSTONES), 1);
    market.holds_its_capacity();
    if kind == "mpmc-bytes" {
        let mut python = market.python("sender");
        python.tell("hold-block c");
        assert!(python.said().starts_with("holding "));
        python.kill();
        market.sweep();
        assert_eq!(market.control(TOMBSTONES), 1);
        market.holds_its_capacity();
    }
}

fn a_python_killed_over_a_message_leaves_it_to_another(kind: &str) {
    let market = Market::new(kind, 3);
    let (tx, rx) = (market.tx(), market.rx());
    let mut python = market.python("receiver");
    tx.send(1).unwrap();
    tx.send(2).unwrap();
    python.ask("take c", &market.nth(1));
    assert_eq!(rx.recv().unwrap(), market.nth(2));
    let waiting = parked_thread(move || rx.recv());
    python.kill();
    assert_eq!(waiting.join().unwrap().unwrap(), market.nth(1));
    assert_eq!(market.control(ORPHANED), 1);
    market.holds_its_capacity();
}

fn a_message_that_may_not_be_taken_again_goes_with_its_python(kind: &str) {
    let market = Market::with(kind, 3, 0, false);
    let (tx, rx) = (market.tx(), market.rx());
    let mut python = market.python("receiver");
    tx.send(1).unwrap();
    python.ask("take c", &market.nth(1));
    python.kill();
    market.sweep();
    assert_eq!((market.control(ORPHANED), market.control(DROPPED)), (0, 1));
    // Between taking the slot and what it names; swept by either.
    let mut other = market.python("receiver");
    for look in [false, true] {
        let mut python = market.python("receiver");
        tx.send(1).unwrap();
        python.ask("hold-taken c", "holding");
        python.kill();
        if look {
            other.ask("look c", "swept True");
        } else {
            wait_until(|| market.segment.sweep().unwrap());
        }
    }
    other.leave();
    assert_eq!(market.control(DROPPED), 3);
    tx.send(2).unwrap();
    assert_eq!(rx.recv().unwrap(), market.nth(2));
    market.holds_its_capacity();
}

fn a_rust_process_killed_over_a_claim_or_a_message_is_put_right_by_python(kind: &str) {
    let market = Market::new(kind, 3);
    let mut python = market.python("receiver");
    // A grant of bytes holds a message block only; one of elements, a slot.
    let mut rust = market.rust("sender");
    rust.tell("grant");
    rust.expect("holding");
    if kind == "mpmc" {
        let tx = market.tx();
        tx.send(1).unwrap();
        python.park("recv c");
        rust.kill();
        python.expect(&market.nth(1));
        assert_eq!(market.control(TOMBSTONES), 1);
    } else {
        rust.kill();
        rust.finish();
        python.ask("look", "swept True");
    }
    market.holds_its_capacity();
    let mut rust = market.rust("receiver");
    let tx = market.tx();
    tx.send(2).unwrap();
    rust.tell("take");
    rust.expect(&market.nth(2));
    python.park("recv c");
    let pid = rust.pid().unsigned_abs();
    rust.kill();
    python.expect(&market.nth(2));
    assert_eq!(market.control(ORPHANED), 1);
    // What Python has recorded, and nobody else after it.
    market.segment.sweep().unwrap();
    let deaths = market.segment.deaths();
    assert_eq!((deaths.total, deaths.recent.len()), (2, 2));
    let [writer, reader] = &deaths.recent[..] else { panic!("{deaths:?}") };
    let (slots, buffers) = if kind == "mpmc" { (1, 0) } else { (0, 1) };
    assert_eq!((writer.unsent, writer.buffers, writer.senders), (slots, buffers, 1));
    assert_eq!((reader.pid, reader.redelivered, reader.receivers), (pid, 1, 1));
    assert_eq!((reader.unsent, reader.buffers, reader.channel.as_deref()), (0, 0, Some("c")));
    python.leave();
    market.holds_its_capacity();
}

fn a_message_that_may_not_be_taken_again_goes_with_its_rust_process(kind: &str) {
    let market = Market::with(kind, 3, 0, false);
    let mut python = market.python("sender");
    let mut rust = market.rust("receiver");
    python.ask("send c 1", "sent");
    rust.tell("take");
    rust.expect(&market.nth(1));
    rust.kill();
    rust.finish();
    python.ask("look", "swept True");
    assert_eq!(market.control(DROPPED), 1);
    python.leave();
    market.holds_its_capacity();
}

fn the_last_message_s_end_is_told_to_other_receivers(kind: &str) {
    let market = Market::new(kind, 3);
    let tx = market.tx();
    let mut python = market.python("receiver");
    let mut other = market.python("receiver");
    let rx = market.rx();
    tx.send(1).unwrap();
    python.ask("take c", &market.nth(1));
    drop(tx);
    // It may come back, so it is not the end yet.
    let waiting = parked_thread(move || rx.recv());
    other.park("recv c");
    python.ask("release c", "released");
    assert_eq!(waiting.join().unwrap().unwrap_err(), NO_SENDER);
    other.expect("Disconnected sender");
    market.holds_its_capacity();
}

fn a_message_given_back_is_taken_by_the_other(kind: &str) {
    let market = Market::new(kind, 3);
    let (tx, rx) = (market.tx(), market.rx());
    let mut python = market.python("receiver");
    for n in 1..8 {
        tx.send(n).unwrap();
        python.ask("take c", &market.nth(n));
        let waiting = parked_thread({
            let rx = market.rx();
            move || rx.recv()
        });
        python.ask("give-back c", "given back");
        assert_eq!(waiting.join().unwrap().unwrap(), market.nth(n));
    }
    // And the other way round.
    let mut rust = market.rust("receiver");
    tx.send(21).unwrap();
    rust.tell("take");
    rust.expect(&market.nth(21));
    python.park("recv c");
    rust.tell("give back");
    python.expect(&market.nth(21));
    python.leave();
    drop(rx);
    rust.tell("close");
    market.holds_its_capacity();
}

fn many_of_both_exchange_everything_once(kind: &str) {
    const EACH: u64 = 150;
    let market = Market::new(kind, 3);
    let receivers: Vec<_> = (0..2)
        .map(|_| {
            let rx = market.rx();
            thread::spawn(move || {
                let mut got = Vec::new();
                loop {
                    match rx.recv() {
                        Ok(message) => got.push(message),
                        Err(why) => break (got, why),
                    }
                }
            })
        })
        .collect();
    let mut reader = market.python("receiver");
    let mut pythons: Vec<_> = (0..2).map(|_| market.python("sender")).collect();
    let tx = market.tx();
    for (python, first) in pythons.iter_mut().zip([0, EACH]) {
        python.tell(&format!("send-all c {first} {}", first + EACH));
    }
    let sender = thread::spawn(move || (2 * EACH..3 * EACH).for_each(|n| tx.send(n).unwrap()));
    reader.tell("drain c");
    sender.join().unwrap();
    for python in pythons {
        python.expect("sent");
        python.leave();
    }
    let read = reader.said();
    let (read, why) = read.split_once(" Disconnected ").unwrap();
    assert_eq!(why, "sender");
    let mut got: Vec<String> = read.split(',').skip(1).map(str::to_owned).collect();
    reader.leave();
    for receiver in receivers {
        let (rest, why) = receiver.join().unwrap();
        assert_eq!(why, NO_SENDER);
        got.extend(rest);
    }
    assert_eq!(got.len() as u64, 3 * EACH);
    let sent: HashSet<String> = (0..3 * EACH).map(|n| market.nth(n)).collect();
    assert_eq!(got.into_iter().collect::<HashSet<_>>(), sent);
    market.holds_its_capacity();
}

#[test]
fn roles_names_and_types_are_checked_from_both_sides() {
    if !python() {
        return;
    }
    let market = Market::new("spsc", 4);
    let mut python = Python::join(&market.name);
    let mut ask = |what: &str| {
        python.tell(&format!("open {what}"));
        python.said()
    };
    assert!(ask("c mpmc sender").starts_with("Mismatch c is (1, 8, 8) of u64"));
    assert!(ask("c spsc-bytes sender").starts_with("Mismatch"));
    assert!(ask("d spsc sender").starts_with("NotFound d"));
    market.segment.channel::<i64>("i").capacity(1).spsc().sender().unwrap();
    assert!(ask("i spsc sender").starts_with("Mismatch i is (1, 8, 8) of i64"));
    let tx = market.tx();
    assert!(ask("c spsc sender").starts_with("RoleTaken"));
    drop(tx);
    assert_eq!(ask("c spsc sender"), "open");
    let taken = Tx::open(&market.segment, "spsc").err().unwrap();
    let pid = python.child.id();
    assert!(matches!(taken, ChannelError::RoleTaken { pid: by, .. } if by == u64::from(pid)));
    python.leave();
    drop(market.tx());
    // What is there of a name that nobody has, and of one that is elsewhere.
    let name = Name::new();
    let mut nobody = Command::new("python3");
    nobody.args([CLIENT, &name]).env("PYTHONDONTWRITEBYTECODE", "1").stderr(Stdio::piped());
    let output = nobody.output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("NotFound"), "{output:?}");
}

#[test]
fn a_python_that_is_last_removes_a_transient_segment() {
    if !python() {
        return;
    }
    let name = Name::new();
    let options = Segment::options().size(1 << 20).participants(4).channels(1).transient(true);
    let segment = options.create(&name).unwrap();
    let first = Python::join(&name);
    let second = Python::join(&name);
    drop(segment);
    first.leave();
    assert_eq!(name.objects(), (1, 1));
    second.leave();
    assert_eq!(name.objects(), (0, 0));
}

#[test]
fn slots_of_killed_pythons_are_used_again() {
    if !python() {
        return;
    }
    let market = Market::new("mpmc-bytes", 2);
    for _ in 0..12 {
        // More than there are slots: each one finds the last one dead.
        market.python("sender").kill();
    }
    let _rx = market.rx();
    assert_eq!(market.segment.participants().len(), 1);
}

/// Two messages, of which the first is in the hands of whoever `takes` it, and
/// the other one has been had.
fn all_but_the_first(market: &Market, takes: impl FnOnce()) {
    let (tx, rx) = (market.tx(), market.rx());
    (1..3).for_each(|n| assert!(tx.try_send(n)));
    takes();
    assert_eq!(rx.recv().unwrap(), market.nth(2));
}

#[test]
fn a_commit_of_the_librarys_gets_the_place_that_a_python_frees() {
    if !python() {
        return;
    }
    let market = Market::new("mpmc-bytes", 2);
    let mut python = market.python("receiver");
    all_but_the_first(&market, || python.ask("take c", &market.nth(1)));
    let tx = market.tx();
    let waiting = parked_thread(move || tx.send(3));
    assert_eq!(market.control(SLOTS_WAITING) as u32, 1);
    python.ask("release c", "released");
    waiting.join().unwrap().unwrap();
    assert_eq!(market.control(SLOTS_WAITING) as u32, 0);
    python.ask("recv c", &market.nth(3));
}

#[test]
fn a_python_gets_the_place_that_the_library_frees() {
    if !python() {
        return;
    }
    let market = Market::new("mpmc-bytes", 2);
    let mut python = market.python("sender");
    let mut rx = market.segment.bytes("c").receiver().unwrap();
    let mut held = None;
    all_but_the_first(&market, || held = Some(rx.take().unwrap()));
    python.park("send c 3");
    assert_eq!(market.control(SLOTS_WAITING) as u32, 1);
    drop(held);
    python.expect("sent");
    assert_eq!(market.control(SLOTS_WAITING) as u32, 0);
    assert_eq!(market.rx().recv().unwrap(), market.nth(3));
    // And one that is killed waiting is counted no more.
    let mut held = None;
    all_but_the_first(&market, || held = Some(rx.take().unwrap()));
    python.park("send c 4");
    python.kill();
    market.sweep();
    assert_eq!(market.control(SLOTS_WAITING) as u32, 0);
    drop(held);
    market.holds_its_capacity();
}

#[test]
fn what_happens_to_either_is_told_to_both() {
    if !python() {
        return;
    }
    let market = Market::new("mpmc", 2);
    let events = market.segment.events();
    let next = || match events.recv_timeout(PATIENCE).unwrap().expect("an event") {
        Event::Joined(member) => format!("joined {}", member.pid),
        Event::Left(member) => format!("left {}", member.pid),
        Event::Died(death) => format!("died {}", death.pid),
        event => panic!("{event:?}"),
    };
    let mut listener = Python::join(&market.name);
    assert_eq!(next(), format!("joined {}", listener.pid()));
    listener.ask("subscribe", "subscribed");
    listener.park("listen");
    let mut told = |event: String| {
        listener.expect(&event);
        assert_eq!(next(), event);
        listener.park("listen");
    };
    let leaver = market.python("sender");
    told(format!("joined {}", leaver.pid()));
    let pid = leaver.pid();
    leaver.leave();
    told(format!("left {pid}"));
    let rust = market.rust("sender");
    told(format!("joined {}", rust.pid()));
    rust.kill();
    told(format!("died {}", rust.pid()));
    let victim = market.python("receiver");
    told(format!("joined {}", victim.pid()));
    let pid = victim.pid();
    victim.kill();
    told(format!("died {pid}"));
    market.segment.remove().unwrap();
    listener.expect("Closed");
}

/// The library's other process: one end, and a command a line.
#[test]
#[ignore = "a role, not a test"]
fn child_entry() {
    let Some(brief) = Brief::take() else { return };
    let segment = Segment::open(brief.text(0)).unwrap();
    let (kind, side) = (brief.text(1).to_owned(), brief.text(2).to_owned());
    match (kind.as_str(), side.as_str()) {
        ("mpmc", "sender") => {
            let mut tx = segment.channel::<u64>("c").sender().unwrap();
            brief.say("open");
            match brief.hear().as_str() {
                "grant" => {
                    let _grant = tx.reserve().unwrap();
                    brief.say("holding");
                    brief.hear();
                }
                _ => drop(tx),
            }
        }
        ("mpmc-bytes", "sender") => {
            let mut tx = segment.bytes("c").sender().unwrap();
            brief.say("open");
            match brief.hear().as_str() {
                "grant" => {
                    let _grant = tx.reserve(100).unwrap();
                    brief.say("holding");
                    brief.hear();
                }
                _ => drop(tx),
            }
        }
        ("mpmc", "receiver") => {
            let mut rx = segment.channel::<u64>("c").receiver().unwrap();
            brief.say("open");
            match brief.hear().as_str() {
                "take" => {
                    let delivery = rx.take().unwrap();
                    brief.say(number(delivery.read()));
                    if brief.hear() == "give back" {
                        delivery.give_back();
                        brief.hear();
                    }
                }
                "recv" => drop(rx.recv()),
                _ => drop(rx),
            }
        }
        ("mpmc-bytes", "receiver") => {
            let mut rx = segment.bytes("c").receiver().unwrap();
            brief.say("open");
            match brief.hear().as_str() {
                "take" => {
                    let delivery: ByteDelivery<'_, Mpmc> = rx.take().unwrap();
                    brief.say(bytes(&delivery.to_vec()));
                    if brief.hear() == "give back" {
                        delivery.give_back();
                        brief.hear();
                    }
                }
                "recv" => drop(rx.recv(&mut Vec::new())),
                _ => drop(rx),
            }
        }
        (kind, "sender") => {
            let tx = Tx::open(&segment, kind).unwrap();
            brief.say("open");
            brief.hear();
            drop(tx);
        }
        (kind, _) => {
            let rx = Rx::open(&segment, kind).unwrap();
            brief.say("open");
            if brief.hear() == "recv" {
                drop(rx.recv());
            }
        }
    }
    // Stays a participant; the handles have gone.
    brief.hear();
}
