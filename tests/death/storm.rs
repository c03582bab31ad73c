//! Storms: producers and consumers that are killed over and over, and every message is
//! accounted for.

#![allow(unsafe_code)]

use std::thread;
use std::time::{Duration, Instant};

use tombolo::sys::{proc, shm::Shm};
use tombolo::{Kind, Message, Receiver, RecvError, Segment, Sender, TryRecvError};

use crate::common::{
    Brief, Name, Peer, Words, effort, own_tables, segment as shm, tables, wait_until,
};

/// Words of a storm's ledger; from `MESSAGES` on, four bits for each message.
mod ledger {
    use crate::common::Words;

    pub(crate) const STOP: usize = 0;
    /// Messages are numbered up to here for now.
    pub(crate) const RATION: usize = 5;
    pub(crate) const NEXT: usize = 1;
    pub(crate) const RECEIVED: usize = 2;
    pub(crate) const LAST: usize = 3;
    pub(crate) const TORN: usize = 4;
    pub(crate) const MESSAGES: usize = 16;
    pub(crate) const EACH_ROUND: u64 = 40_000;
    pub(crate) const ROOM: usize = 1 << 20;
    /// Of a message: its send has returned; how often it was received.
    pub(crate) const SENT: u64 = 1;
    pub(crate) const ONCE: u64 = 2;

    pub(crate) fn note(words: &Words, n: u64, what: u64) {
        words.add(MESSAGES + n as usize / 16, what << (n % 16 * 4));
    }

    pub(crate) fn read(words: &Words, n: u64) -> u64 {
        words.get(MESSAGES + n as usize / 16) >> (n % 16 * 4) & 15
    }
}

/// Large enough to be torn.
#[derive(Clone, Copy)]
#[repr(C)]
struct Numbered([u64; 24]);
// SAFETY: words only.
unsafe impl bytemuck::Zeroable for Numbered {}
// SAFETY: words only.
unsafe impl bytemuck::Pod for Numbered {}
impl Message for Numbered {
    const SCHEMA: &'static str = "Numbered";
}

impl Numbered {
    fn new(n: u64) -> Self {
        Self(std::array::from_fn(|i| n.wrapping_mul(2 * i as u64 + 1)))
    }

    /// The number, unless it is torn.
    fn number(&self) -> Option<u64> {
        let n = self.0[0];
        (self.0 == Self::new(n).0).then_some(n)
    }
}

struct Storm {
    kind: &'static str,
    producers: usize,
    consumers: usize,
    capacity: usize,
    /// In a long run; a quarter of it every day.
    kills: u64,
    stops: bool,
}

#[test]
fn a_storm_of_kills_over_many_producers_and_consumers_loses_nothing_that_was_sent() {
    Storm { kind: "mpmc", producers: 2, consumers: 2, capacity: 16, kills: 240, stops: false }
        .rage();
}

#[test]
fn a_storm_of_kills_and_stops_in_a_tiny_channel_loses_nothing_that_was_sent() {
    Storm { kind: "mpmc", producers: 2, consumers: 2, capacity: 1, kills: 120, stops: true }.rage();
}

#[test]
fn a_storm_of_kills_over_one_producer_and_one_consumer_loses_nothing_that_was_sent() {
    Storm { kind: "spsc", producers: 1, consumers: 1, capacity: 16, kills: 160, stops: true }
        .rage();
}

impl Storm {
    fn rage(&self) {
        let own = own_tables();
        let name = Name::new();
        // Fewer slots than lives by far.
        let count = u16::try_from(self.producers + self.consumers + 3).unwrap();
        let options = Segment::options().size(1 << 20).participants(count).channels(1);
        let segment = options.create(&name).unwrap();
        let book = shm(8 * (ledger::MESSAGES + ledger::ROOM));
        let words = Words::of(*book);
        self.open(&segment);
        let start = |role: &str| {
            let peer = Peer::start(role, &[&name, &self.kind, &book.id()]);
            peer.expect("open");
            peer
        };
        let mut peers: Vec<Peer> = (0..self.producers + self.consumers)
            .map(|n| start(if n < self.producers { "producer" } else { "consumer" }))
            .collect();
        let mut killed = [0, 0];
        effort::say_how_to_repeat();
        for _ in 0..effort::rounds(self.kills / 4, self.kills) {
            let random = proc::random_u64().unwrap();
            let victim = (random % peers.len() as u64) as usize;
            // Some of them while another is stopped over its work.
            let stopped = (victim + 1) % peers.len();
            if self.stops && random >> 8 & 3 == 0 {
                peers[stopped].stop();
            }
            words.add(ledger::RATION, ledger::EACH_ROUND);
            let until = Instant::now() + Duration::from_nanos(random >> 16 & 0x1F_FFFF);
            while Instant::now() < until {
                std::hint::spin_loop();
            }
            let role = usize::from(victim >= self.producers);
            killed[role] += 1;
            peers.swap_remove(victim).finish();
            peers.push(start(["producer", "consumer"][role]));
            let last = peers.len() - 1;
            peers.swap(victim, last);
            peers[stopped].resume();
            // Nobody stalls, whatever the dead held.
            let before = words.get(ledger::RECEIVED);
            words.add(ledger::RATION, 1_000);
            wait_until(|| words.get(ledger::RECEIVED) > before + 500);
        }
        words.put(ledger::STOP, 1);
        for peer in peers {
            peer.expect("done");
            assert_eq!(peer.join(), 0);
        }
        self.settle(&segment, &words, killed);
        segment.remove().unwrap();
        drop((segment, words, book));
        if own {
            assert_eq!(tables(), (0, 0), "left in the kernel's tables");
        }
    }

    fn open(&self, segment: &Segment) {
        let channel = segment.channel::<Numbered>("c").capacity(self.capacity).redeliver(15);
        match self.kind {
            "spsc" => drop(channel.spsc().sender().unwrap()),
            _ => drop(channel.sender().unwrap()),
        }
    }

    /// The remains, and the fate of everything.
    fn settle(&self, segment: &Segment, words: &Words, killed: [u64; 2]) {
        segment.sweep().unwrap();
        assert_eq!(segment.participants().len(), 1);
        let audit = Segment::check(segment.name()).unwrap();
        assert!(audit.is_sound(), "{:#?}", audit.faults);
        let channel = segment.channel::<Numbered>("c");
        let full = if self.kind == "spsc" {
            let channel = channel.spsc();
            fill_and_empty(&channel.sender().unwrap(), &channel.receiver().unwrap())
        } else {
            fill_and_empty(&channel.sender().unwrap(), &channel.receiver().unwrap())
        };
        assert_eq!(full, self.capacity, "the capacity is whole");
        let next = words.get(ledger::NEXT);
        assert!(next < 16 * ledger::ROOM as u64);
        let (mut lost, mut twice, mut unsent) = (0, 0, 0);
        for n in 0..next {
            let word = ledger::read(words, n);
            let received = word / ledger::ONCE;
            unsent += u64::from(word & ledger::SENT == 0);
            lost += u64::from(word == ledger::SENT);
            twice += received.saturating_sub(1);
        }
        let [producers, consumers] = killed;
        eprintln!(
            "{}: {next} messages, {producers} and {consumers} kills: {lost} taken by the dead, \
             {unsent} unsent",
            self.kind
        );
        assert_eq!(words.get(ledger::TORN), 0);
        assert_eq!(twice, 0, "received twice");
        assert!(unsent <= producers, "each dead producer leaves at most one unsent");
        // Taken, and dead before that was written down.
        assert!(lost <= consumers, "{lost} lost by {consumers} dead consumers");
    }
}

fn fill_and_empty<K: Kind>(tx: &Sender<Numbered, K>, rx: &Receiver<Numbered, K>) -> usize {
    let mut room = 0;
    while tx.try_send(Numbered::new(0)).is_ok() {
        room += 1;
    }
    for _ in 0..room {
        rx.try_recv().unwrap();
    }
    assert!(matches!(rx.try_recv(), Err(TryRecvError::Empty)));
    room
}

fn produce<K: Kind>(brief: &Brief, tx: &Sender<Numbered, K>) {
    let words = Words::of(Shm::from_id(brief.number(2)));
    brief.say("open");
    while words.get(ledger::STOP) == 0 {
        if words.get(ledger::NEXT) >= words.get(ledger::RATION) {
            thread::yield_now();
            continue;
        }
        let n = words.add(ledger::NEXT, 1);
        while let Err(error) = tx.send(Numbered::new(n)) {
            // Between two lives of the only consumer.
            assert!(error.is_disconnected(), "{error}");
        }
        ledger::note(&words, n, ledger::SENT);
    }
}

fn consume<K: Kind>(brief: &Brief, rx: &Receiver<Numbered, K>) {
    let words = Words::of(Shm::from_id(brief.number(2)));
    brief.say("open");
    loop {
        match rx.recv() {
            Ok(message) => {
                let Some(n) = message.number() else {
                    words.add(ledger::TORN, 1);
                    continue;
                };
                ledger::note(&words, n, ledger::ONCE);
                words.add(ledger::RECEIVED, 1);
                if brief.text(1) == "spsc" {
                    // The messages of a producer's successor come later.
                    assert!(n >= words.get(ledger::LAST), "out of order");
                    words.put(ledger::LAST, n);
                }
            }
            Err(RecvError::Disconnected) => {
                if words.get(ledger::STOP) == 1 {
                    return;
                }
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
#[ignore = "what the child processes run"]
fn child_entry() {
    let Some(brief) = Brief::take() else { return };
    let segment = Segment::open(brief.text(0)).unwrap();
    let channel = segment.channel::<Numbered>("c");
    match (&*brief.role, brief.text(1)) {
        ("producer", "spsc") => produce(&brief, &channel.spsc().sender().unwrap()),
        ("producer", _) => produce(&brief, &channel.sender().unwrap()),
        ("consumer", "spsc") => consume(&brief, &channel.spsc().receiver().unwrap()),
        ("consumer", _) => consume(&brief, &channel.receiver().unwrap()),
        (role, _) => panic!("{role}"),
    }
    brief.say("done");
}
