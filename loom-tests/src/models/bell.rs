//! The bell: all who sleep are woken by one stroke, whoever dies or is stopped.
//!
//! A lost wake shows as loom's *deadlock*: the main thread waits.

mod ends;
mod seats;

use std::rc::Rc;

use crate::checker;
use crate::death::{self, Fate};
use crate::explore::{LOST, completely, fails, holds, holds_despite};
use crate::kernel::{Deadline, Process, System};
use crate::mutant::{self, Mutant};
use crate::operation::Plain;
use crate::ring::credit;
use crate::ring::event::{self, Event, Life, Memo, Wakes};
use crate::ring::kernel::{Kernel, LightFence, Op, Refusal};
use crate::ring::set::SetMap;
use crate::ring::wait::{Heard, NotNow, Queue, Registration, Seat};
use crate::sync::{AtomicU64, NO_FENCE_BEFORE_IT_ASKS, Ordering, fence};

const LIFE: u64 = 1;
/// The table's word for a life that goes on.
const LIVE: u64 = LIFE << 32 | 1;
/// From here on the count is wound back.
const HIGH: u16 = 1 << 13;

/// One side of a channel: what is published there is for all.
struct Side {
    system: Rc<System>,
    map: SetMap,
    /// How many messages there are.
    published: AtomicU64,
    /// What the senders of this side wait for: seats, by participant.
    seats: Vec<AtomicU64>,
    waiting: AtomicU64,
    struck: AtomicU64,
    records: Vec<AtomicU64>,
    /// The participants that a sweep has found dead.
    dead: Vec<AtomicU64>,
    /// The table's word for everybody here.
    life: AtomicU64,
}

struct Peer {
    side: Rc<Side>,
    process: Process,
    id: u16,
    registration: Registration<Deadline>,
}

fn side<const N: usize>() -> [Peer; N] {
    let map = SetMap { participants: N as u16, channels: 1, own_bells: false };
    let system = Rc::new(System::new(map.count(), N));
    let words = |word: u64| (0..N).map(|_| AtomicU64::new(word)).collect();
    let side = Rc::new(Side {
        system: Rc::clone(&system),
        map,
        published: AtomicU64::new(0),
        seats: words(0),
        waiting: AtomicU64::new(0),
        struck: AtomicU64::new(0),
        records: words(event::record(LIFE)),
        dead: words(0),
        life: AtomicU64::new(LIVE),
    });
    let peers: [Peer; N] = core::array::from_fn(|id| Peer {
        side: Rc::clone(&side),
        process: Process { system: Rc::clone(&system), id },
        id: id as u16,
        registration: Registration::new(None),
    });
    for peer in &peers {
        if !mutant::has("no credit") {
            credit::arm(&peer.process, map.items(0)).unwrap();
        }
        peer.process.semop(&[Op::add(map.liveness(peer.id), 1).undo()], None).unwrap();
    }
    peers
}

impl Peer {
    fn event(&self) -> Event<'_> {
        let Side { waiting, struck, map, .. } = &*self.side;
        Event { waiting, sem: map.items(0), wakes: Wakes::All { struck }, watch: None }
    }

    /// Publishes one message and tells those who wait.
    fn tell(&self) {
        let early = mutant::has("told before it is published");
        if early {
            self.notify();
        }
        // As the swap of a slot that has the message beside it.
        self.side.published.fetch_add(1, Ordering::Release);
        if !early {
            self.notify();
        }
    }

    fn notify(&self) {
        if mutant::has("never strikes") {
            return;
        }
        if mutant::has("struck is said before") {
            self.say_and_strike();
            return;
        }
        event::notify(&self.process, self.event(), &mut Memo::default()).unwrap();
    }

    /// As `bell::ring`, in the wrong order.
    fn say_and_strike(&self) {
        let Side { waiting, struck, map, .. } = &*self.side;
        if event::waited_for(&self.process, waiting).is_none() {
            return;
        }
        fence(Ordering::SeqCst);
        let word = waiting.load(Ordering::Relaxed);
        if word as u32 == 0 || struck.load(Ordering::Acquire) == word >> 32 {
            return;
        }
        struck.store(word >> 32, Ordering::Release);
        self.process.semop(&[Op::add(map.items(0), 1)], None).unwrap();
    }

    /// `Participant::scan_for_sleeper`, and what a sweep does for this side.
    fn listen(&self, sem: u16) -> Heard {
        let Side { map, waiting, records, dead, .. } = &*self.side;
        let mut values = vec![0; usize::from(map.count())];
        self.process.values(&mut values).unwrap();
        let own = values[usize::from(sem)];
        for id in 0..map.participants {
            let buried = &dead[usize::from(id)];
            if values[usize::from(map.liveness(id))] == 0 && buried.load(Ordering::Acquire) == 0 {
                buried.store(1, Ordering::Release);
                let alive = |id: &usize| dead[*id].load(Ordering::Acquire) == 0;
                let record = |id: usize| records[id].load(Ordering::Acquire);
                let recorded = |id| event::recorded(record(id), LIFE);
                event::settle(waiting, || (0..dead.len()).filter(alive).map(recorded).sum());
                event::tell_of_death(&self.process, self.event(), own).unwrap();
            }
        }
        Heard { own, wake_all: None }
    }

    /// Waits until this is so.
    fn wait_until(&self, so: impl Fn() -> bool) {
        let attempt = || {
            if mutant::has("listens after it has announced itself") {
                let own = self.side.system.value(self.event().sem);
                self.registration.listened(Heard { own, wake_all: None });
            }
            if so() { Ok(()) } else { Err(NotNow::Nothing) }
        };
        let look = |sem| self.listen(sem);
        let seat = Seat {
            queue: Queue::Side(self.event()),
            record: &self.side.records[usize::from(self.id)],
            life: Life::new(&self.side.life, LIFE),
            registration: &self.registration,
        };
        Plain { attempt, more: || false, look, owed: None }.block(&self.process, seat);
    }

    /// Waits for this message.
    fn hear(&self, message: u64) {
        self.wait_until(|| self.side.published.load(Ordering::Acquire) >= message);
    }

    fn let_go(&self) {
        let record = &self.side.records[usize::from(self.id)];
        self.registration.let_go(&self.side.waiting, record, Life::new(&self.side.life, LIFE));
    }

    fn count(&self) -> u64 {
        self.side.waiting.load(Ordering::Acquire) & u64::from(u32::MAX)
    }

    /// How often anybody has struck.
    fn strokes(&self) -> u16 {
        self.side.system.value(self.event().sem)
    }

    fn spawn(
        self,
        fate: Option<Fate>,
        life: impl FnOnce(&Self) + 'static,
    ) -> checker::thread::JoinHandle<()> {
        checker::thread::spawn(move || {
            let _ = death::mortal(&self.process, fate, || life(&self));
        })
    }
}

/// One tells, one waits.
pub(super) fn one_waits() {
    let [teller, main] = side();
    let telling = teller.spawn(None, Peer::tell);
    main.hear(1);
    telling.join().unwrap();
    assert_eq!(main.count(), 0);
}

#[test]
fn who_sleeps_is_woken() {
    let name = "bell, one waits";
    holds(name, Some(3), one_waits);
    completely(|| holds(name, Some(3), one_waits));
    let own = ["never strikes", "told before it is published"].map(Mutant::Model);
    for mutant in own.into_iter().chain([Mutant::NoLightFence, Mutant::NoHeavyFence]) {
        fails(name, mutant, LOST, Some(3), one_waits);
    }
}

/// The same, and time goes on afterwards.
fn one_waits_in_time() {
    let [teller, main] = side();
    main.side.system.will_settle();
    let telling = teller.spawn(None, |teller| {
        teller.tell();
        teller.side.system.settle();
    });
    main.hear(1);
    telling.join().unwrap();
    assert_eq!(main.count(), 0);
}

#[test]
fn who_looks_twice_is_woken_whom_the_fence_leaves_out() {
    let name = "bell, one waits in time";
    holds(name, Some(2), one_waits_in_time);
    for mutant in [Mutant::NoLightFence, Mutant::NoHeavyFence] {
        holds_despite(name, mutant, Some(2), one_waits_in_time);
    }
    fails(name, Mutant::NoSecondLook, LOST, Some(2), one_waits_in_time);
}

/// Two tell, one message each; one waits for both.
pub(super) fn two_tell() {
    let [one, two, main] = side();
    let tellers = [one, two].map(|teller| teller.spawn(None, Peer::tell));
    main.hear(2);
    tellers.into_iter().for_each(|teller| teller.join().unwrap());
    assert_eq!(main.count(), 0);
}

#[test]
fn one_stroke_is_enough_for_an_announcement_whoever_makes_it() {
    let name = "bell, two tell";
    completely(|| {
        holds(name, Some(2), two_tell);
        for mutant in ["listens after it has announced itself", "not announced again"] {
            fails(name, Mutant::Model(mutant), LOST, Some(2), two_tell);
        }
    });
}

/// Two wait for one message.
fn two_wait() {
    let [teller, main, other] = side();
    let other = other.spawn(None, |other| other.hear(1));
    let telling = teller.spawn(None, Peer::tell);
    main.hear(1);
    telling.join().unwrap();
    other.join().unwrap();
    assert_eq!(main.count(), 0);
}

#[test]
fn all_who_sleep_are_woken() {
    let name = "bell, two wait";
    completely(|| holds(name, Some(1), two_wait));
    fails(name, Mutant::Model("never strikes"), LOST, Some(1), two_wait);
}

/// Two sleep, and one message wakes both by one stroke.
fn two_sleep() {
    let [teller, main, other] = side();
    let system = Rc::clone(&teller.side.system);
    let other = other.spawn(None, |other| other.hear(1));
    let telling = teller.spawn(None, move |teller| {
        system.until_asleep(2);
        teller.tell();
        assert_eq!(teller.strokes(), 1);
    });
    main.hear(1);
    telling.join().unwrap();
    other.join().unwrap();
    assert_eq!(main.strokes(), 1);
}

#[test]
fn one_stroke_wakes_all() {
    holds("bell, two sleep", Some(1), two_sleep);
}

/// One who has been woken is still counted, and awake: one call for it, and no more.
fn one_stays() {
    let [teller, main] = side();
    main.side.system.returns();
    let telling = teller.spawn(None, |teller| {
        for _ in 0..3 {
            teller.tell();
        }
    });
    for message in 1..=3 {
        main.hear(message);
    }
    main.let_go();
    telling.join().unwrap();
    assert_eq!(main.count(), 0);
}

#[test]
fn who_stays_counted_is_woken_without_a_heavy_fence() {
    let name = "bell, one stays";
    completely(|| holds(name, Some(2), one_stays));
}

/// One who stays counted from before waits again, for one who may have struck for it.
pub(super) fn one_who_stays() {
    let [teller, main] = side();
    main.side.system.returns();
    let record = &main.side.records[usize::from(main.id)];
    main.registration.announce(&main.process, &main.side.waiting, record);
    main.registration.woken(&main.process);
    teller.notify();
    assert_eq!(main.strokes(), 1);
    teller.notify();
    assert_eq!(main.strokes(), 1, "one stroke is enough for it");
    let telling = teller.spawn(None, Peer::tell);
    main.hear(1);
    main.let_go();
    telling.join().unwrap();
    assert_eq!(main.count(), 0);
}

#[test]
fn who_has_been_struck_for_and_waits_again_is_woken() {
    let name = "bell, one who stays";
    holds(name, Some(3), one_who_stays);
    completely(|| holds(name, Some(3), one_who_stays));
    for mutant in [Mutant::NoLightFence, Mutant::NoHeavyFence] {
        holds_despite(name, mutant, Some(3), one_who_stays);
    }
    for mutant in
        ["no fence after the next version", "not announced again", NO_FENCE_BEFORE_IT_ASKS]
    {
        fails(name, Mutant::Model(mutant), LOST, Some(3), one_who_stays);
    }
}

/// The count is high, and wound back by who listens.
fn count_is_wound_back(from: u16) {
    let [teller, main] = side();
    main.side.system.preset(main.event().sem, from);
    let telling = teller.spawn(None, Peer::tell);
    main.hear(1);
    telling.join().unwrap();
    assert!(main.strokes() <= 2, "{}", main.strokes());
}

#[test]
fn nobody_sleeps_through_the_winding() {
    for from in [HIGH, 32_766, 32_767] {
        holds("bell, the count is wound back", Some(2), move || count_is_wound_back(from));
    }
}
