//! A place in the order: who waits for one over the wake-all semaphore is woken by whoever
//! frees it, or by its death.
//!
//! A lost wake shows as loom's *deadlock*: the main thread waits.

use std::rc::Rc;

use crate::death::{self, End, Fate};
use crate::explore::{
    LOST, completely, fails, fails_for_some_end, holds, holds_despite, holds_for_every_end,
};
use crate::kernel::{Process, System};
use crate::mutant::{self, Mutant};
use crate::operation::Plain;
use crate::ring::event::{self, Life};
use crate::ring::kernel::{Kernel, Op};
use crate::ring::set::SetMap;
use crate::ring::wait::{Heard, NotNow, Queue, Registration, Seat};
use crate::ring::{credit, slot_waiters, wake_all};
use crate::sync::{AtomicU64, Ordering};

const LIFE: u64 = 1;
/// The table's word for a life that goes on.
const LIVE: u64 = LIFE << 32 | 1;
/// The participant that holds the place in the beginning.
const READER: u16 = 0;
/// From here on the count is wound back.
const HIGH: u16 = 1 << 13;

struct Channel {
    system: Rc<System>,
    map: SetMap,
    /// 0, or whose it is, from 1.
    place: AtomicU64,
    waiting: AtomicU64,
    records: Vec<AtomicU64>,
    /// The participants that a sweep has found dead.
    dead: Vec<AtomicU64>,
    /// The table's word for everybody here.
    life: AtomicU64,
}

struct Peer {
    channel: Rc<Channel>,
    process: Process,
    id: u16,
}

fn channel<const N: usize>() -> [Peer; N] {
    let map = SetMap { participants: N as u16, channels: 1, own_bells: false };
    let system = Rc::new(System::new(map.count(), N));
    let words = |word: u64| (0..N).map(|_| AtomicU64::new(word)).collect();
    let channel = Rc::new(Channel {
        system: Rc::clone(&system),
        map,
        place: AtomicU64::new(u64::from(READER) + 1),
        waiting: AtomicU64::new(0),
        records: words(event::record(LIFE)),
        dead: words(0),
        life: AtomicU64::new(LIVE),
    });
    let peers: [Peer; N] = core::array::from_fn(|id| Peer {
        channel: Rc::clone(&channel),
        process: Process { system: Rc::clone(&system), id },
        id: id as u16,
    });
    for peer in &peers {
        if !mutant::has("no credit") {
            credit::arm(&peer.process, SetMap::WAKE_ALL).unwrap();
        }
        peer.process.semop(&[Op::add(map.liveness(peer.id), 1).undo()], None).unwrap();
    }
    peers
}

impl Peer {
    /// A receiver's release.
    fn free(&self) {
        self.channel.place.store(0, Ordering::Release);
        if !mutant::has("not struck") {
            slot_waiters::freed(&self.process, &self.channel.waiting, None).unwrap();
        }
    }

    fn claim(&self) -> bool {
        let mine = u64::from(self.id) + 1;
        let (order, failed) = (Ordering::AcqRel, Ordering::Relaxed);
        self.channel.place.compare_exchange(0, mine, order, failed).is_ok()
    }

    /// `Mapped::look`, and what of a sweep concerns the place.
    fn listen(&self) -> u16 {
        let Channel { map, place, waiting, records, dead, .. } = &*self.channel;
        let mut values = vec![0; usize::from(map.count())];
        self.process.values(&mut values).unwrap();
        let heard = values[usize::from(SetMap::WAKE_ALL)];
        let mut swept = false;
        for id in 0..map.participants {
            let buried = &dead[usize::from(id)];
            if values[usize::from(map.liveness(id))] == 0 && buried.load(Ordering::Acquire) == 0 {
                let (order, failed) = (Ordering::AcqRel, Ordering::Relaxed);
                let _ = place.compare_exchange(u64::from(id) + 1, 0, order, failed);
                buried.store(1, Ordering::Release);
                let alive = |id: &usize| dead[*id].load(Ordering::Acquire) == 0;
                let record = |id: usize| records[id].load(Ordering::Acquire);
                let recorded = |id| event::recorded(record(id), LIFE);
                event::settle(waiting, || (0..dead.len()).filter(alive).map(recorded).sum());
                swept = true;
            }
        }
        wake_all::wind(&self.process, heard).unwrap();
        if swept {
            wake_all::strike(&self.process).unwrap();
        }
        heard
    }

    /// `ByteGrant::commit`.
    fn wait(&self) {
        let unseen = AtomicU64::new(0);
        let waiting = if mutant::has("not announced") { &unseen } else { &self.channel.waiting };
        let record = &self.channel.records[usize::from(self.id)];
        let attempt = || if self.claim() { Ok(()) } else { Err(NotNow::NoBlock) };
        let (more, look) = (|| true, |_| Heard { own: 0, wake_all: Some(self.listen()) });
        let registration = Registration::new(None);
        registration.be_strict(true);
        let life = Life::new(&self.channel.life, LIFE);
        let seat = Seat { queue: Queue::All(waiting), record, life, registration: &registration };
        Plain { attempt, more, look, owed: None }.wait(&self.process, seat);
    }

    fn count(&self) -> u64 {
        self.channel.waiting.load(Ordering::Acquire) & u64::from(u32::MAX)
    }

    fn spawn(
        self,
        fate: Option<Fate>,
        life: impl FnOnce(&Self) + 'static,
    ) -> loom::thread::JoinHandle<()> {
        loom::thread::spawn(move || {
            let _ = death::mortal(&self.process, fate, || life(&self));
        })
    }
}

/// One frees the place, one waits for it.
fn one_waits() {
    let [reader, main] = channel();
    let reading = reader.spawn(None, Peer::free);
    main.wait();
    reading.join().unwrap();
    assert_eq!(main.count(), 0);
}

#[test]
fn who_waits_for_a_place_is_woken() {
    holds("places, one waits", Some(3), one_waits);
    completely(|| holds("places, one waits", Some(2), one_waits));
    let own = ["not struck", "not announced"].map(Mutant::Model);
    for mutant in own.into_iter().chain([Mutant::NoLightFence, Mutant::NoHeavyFence]) {
        fails("places, one waits", mutant, LOST, Some(3), one_waits);
    }
}

/// The same, and time goes on afterwards.
fn one_waits_in_time() {
    let [reader, main] = channel();
    main.channel.system.will_settle();
    let reading = reader.spawn(None, |reader| {
        reader.free();
        reader.channel.system.settle();
    });
    main.wait();
    reading.join().unwrap();
    assert_eq!(main.count(), 0);
}

#[test]
fn who_looks_twice_is_woken_whom_the_fence_leaves_out() {
    let name = "places, one waits in time";
    holds(name, Some(2), one_waits_in_time);
    for mutant in [Mutant::NoLightFence, Mutant::NoHeavyFence] {
        holds_despite(name, mutant, Some(2), one_waits_in_time);
    }
    fails(name, Mutant::NoSecondLook, LOST, Some(2), one_waits_in_time);
}

/// Two wait, and the first to have it frees it for the other.
fn two_wait() {
    let [reader, main, other] = channel();
    let reading = reader.spawn(None, Peer::free);
    let commit = |peer: &Peer| {
        peer.wait();
        peer.free();
    };
    let other = other.spawn(None, commit);
    commit(&main);
    reading.join().unwrap();
    other.join().unwrap();
    assert_eq!(main.count(), 0);
}

#[test]
fn all_who_wait_are_woken() {
    holds("places, two wait", Some(1), two_wait);
    fails("places, two wait", Mutant::Model("not struck"), LOST, Some(1), two_wait);
}

/// The holder of the place dies somewhere, perhaps between freeing and striking.
fn reader_dies(fate: Fate) {
    let [reader, main] = channel();
    let reading = reader.spawn(Some(fate), Peer::free);
    main.wait();
    reading.join().unwrap();
}

#[test]
fn a_death_frees_the_place_and_strikes() {
    completely(|| {
        let name = "places, the reader dies";
        holds_for_every_end(name, Some(2), End::Killed, reader_dies);
        for mutant in [Mutant::Model("no credit"), Mutant::NoUndo] {
            fails_for_some_end(name, mutant, LOST, Some(2), End::Killed, reader_dies);
        }
    });
}

/// Another one waits, and dies somewhere, perhaps with the place.
fn other_ends(fate: Fate) {
    let [reader, main, other] = channel();
    let other = other.spawn(Some(fate), |other| {
        other.wait();
        other.free();
    });
    let reading = reader.spawn(None, Peer::free);
    main.wait();
    main.free();
    reading.join().unwrap();
    other.join().unwrap();
    main.listen();
    assert_eq!(main.count(), 0, "somebody who is dead is waited for");
}

#[test]
fn who_dies_waiting_keeps_nothing_from_another() {
    holds_for_every_end("places, another waits", Some(1), End::Killed, other_ends);
}

/// The count of the wake-all semaphore is high, and wound back by whoever gets to it.
fn count_is_wound_back() {
    let [reader, main] = channel();
    main.channel.system.preset(SetMap::WAKE_ALL, HIGH);
    let reading = reader.spawn(None, Peer::free);
    main.wait();
    reading.join().unwrap();
}

#[test]
fn nobody_sleeps_through_the_winding() {
    holds("places, the count is wound back", Some(3), count_is_wound_back);
    completely(|| holds("places, the count is wound back", Some(2), count_is_wound_back));
}
