//! Watching many: a watcher is called for each of its channels, whoever dies or is stopped, and
//! nobody keeps a call from another one.
//!
//! A lost wake shows as loom's *deadlock*: the main thread waits.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;

use crate::checker;
use crate::death::{self, End, Fate};
use crate::explore::{
    LOST, completely, fails, fails_for_some_end, holds, holds_despite, holds_for_every_end,
};
use crate::kernel::{Deadline, Process, System};
use crate::mutant::{self, Mutant};
use crate::operation::Plain;
use crate::ring::credit;
use crate::ring::event::{self, Event, Life, Memo, Wakes};
use crate::ring::kernel::{Kernel, Op, Refusal};
use crate::ring::set::SetMap;
use crate::ring::table::{Member, MemberState, MemberWord, Table};
use crate::ring::wait::rounds::Rounds;
use crate::ring::wait::set::{Kept, Mark, Members, Place, Prospect, Vigil, Watched};
use crate::ring::wait::{Heard, NotNow, Queue, Registration, Seat};
use crate::ring::watch::{self, Topic, Watch, Watchers};
use crate::sync::{AtomicU64, Ordering};

const LIFE: u64 = 1;
const LIVE: u64 = MemberWord { state: MemberState::Live, incarnation: LIFE }.word();
const DEAD: u64 = MemberWord { state: MemberState::Dead, incarnation: LIFE }.word();
/// The channels.
const A: usize = 0;
const B: usize = 1;
const LINES: usize = 2;

/// One side of a channel.
struct Line {
    /// How many messages there are.
    there: AtomicU64,
    waiting: AtomicU64,
    watchers: AtomicU64,
    records: Vec<AtomicU64>,
    watches: Vec<AtomicU64>,
}

struct Scene {
    system: Rc<System>,
    map: SetMap,
    lines: [Line; LINES],
    words: Vec<AtomicU64>,
    /// What has called each: both channels have their bits in the first word.
    called: Vec<AtomicU64>,
    /// The other words of it.
    quiet: AtomicU64,
}

impl fmt::Debug for Scene {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scene").finish_non_exhaustive()
    }
}

impl Table for Scene {
    fn map(&self) -> SetMap {
        self.map
    }

    fn word(&self, id: u16) -> &AtomicU64 {
        &self.words[usize::from(id)]
    }
}

impl Watchers for Scene {
    fn watches(&self, rows: usize, id: u16) -> &AtomicU64 {
        &self.lines[rows].watches[usize::from(id)]
    }

    fn calls(&self, id: u16, part: usize) -> &AtomicU64 {
        if part == 0 { &self.called[usize::from(id)] } else { &self.quiet }
    }
}

struct Peer {
    scene: Rc<Scene>,
    process: Process,
    me: Member,
    memos: [Cell<Memo>; LINES],
    registration: Registration<Deadline>,
    kept: RefCell<Kept<Deadline>>,
    rounds: RefCell<Rounds<Deadline>>,
    marks: [Mark; LINES],
    /// The words of all when it last listened.
    known: RefCell<Vec<u64>>,
}

/// So many, of whom the last `watchers` watch both channels.
fn peers<const N: usize>(watchers: usize) -> [Peer; N] {
    let peers = attached();
    for peer in &peers[N - watchers..] {
        peer.register();
    }
    peers
}

/// So many, of whom nobody watches yet.
fn attached<const N: usize>() -> [Peer; N] {
    let map = SetMap { participants: N as u16, channels: LINES as u16, own_bells: true };
    let system = Rc::new(System::new(map.count(), N));
    let words = |word: u64| (0..N).map(|_| AtomicU64::new(word)).collect();
    let line = || Line {
        there: AtomicU64::new(0),
        waiting: AtomicU64::new(0),
        watchers: AtomicU64::new(0),
        records: words(event::record(LIFE)),
        watches: words(0),
    };
    let scene = Rc::new(Scene {
        system: Rc::clone(&system),
        map,
        lines: [line(), line()],
        words: words(LIVE),
        called: words(0),
        quiet: AtomicU64::new(0),
    });
    let peers: [Peer; N] = core::array::from_fn(|id| Peer {
        scene: Rc::clone(&scene),
        process: Process { system: Rc::clone(&system), id },
        me: Member { id: id as u16, incarnation: LIFE },
        memos: Default::default(),
        registration: Registration::new(None),
        kept: RefCell::new(Kept::new(map.own_bell(id as u16))),
        rounds: RefCell::new(Rounds::new()),
        marks: Default::default(),
        known: RefCell::default(),
    });
    for peer in &peers {
        for sem in [SetMap::WAKE_ALL, map.items(A as u16), map.items(B as u16)] {
            credit::arm(&peer.process, sem).unwrap();
        }
        peer.process.semop(&[Op::add(map.liveness(peer.me.id), 1).undo()], None).unwrap();
    }
    peers
}

impl Peer {
    fn register(&self) {
        for at in [A, B] {
            self.topic(at).register(self.me, Topic::Items as u64);
            self.rounds.borrow_mut().add(at as u16);
        }
    }

    fn line(&self, at: usize) -> &Line {
        &self.scene.lines[at]
    }

    fn topic(&self, at: usize) -> Watch<'_> {
        Watch {
            all: &*self.scene,
            channel: at as u16,
            rows: at,
            watchers: &self.line(at).watchers,
            topic: Topic::Items,
        }
    }

    fn event(&self, at: usize) -> Event<'_> {
        let (waiting, sem) = (&self.line(at).waiting, self.scene.map.items(at as u16));
        Event { waiting, sem, wakes: Wakes::One, watch: Some(self.topic(at)) }
    }

    /// Publishes one message and tells those who wait or watch.
    fn tell(&self, at: usize) {
        self.line(at).there.fetch_add(1, Ordering::Release);
        let mut memo = self.memos[at].get();
        event::notify(&self.process, self.event(at), &mut memo).unwrap();
        self.memos[at].set(memo);
    }

    fn there(&self, at: usize) -> u64 {
        self.line(at).there.load(Ordering::Acquire)
    }

    fn is_dead(&self, id: usize) -> bool {
        self.scene.words[id].load(Ordering::Acquire) != LIVE
    }

    /// `Participant::listen_for_changes`, and what a sweep does for these lines.
    fn listen(&self, values: &mut Vec<u16>) -> bool {
        let Scene { map, lines, words, .. } = &*self.scene;
        let before: Vec<_> = words.iter().map(|word| word.load(Ordering::Acquire)).collect();
        values.clear();
        values.resize(usize::from(map.count()), 0);
        self.process.values(values).unwrap();
        let mut swept = false;
        for id in 0..map.participants {
            let word = &words[usize::from(id)];
            if values[usize::from(map.liveness(id))] == 0 && before[usize::from(id)] == LIVE {
                let _ = word.compare_exchange(LIVE, DEAD, Ordering::AcqRel, Ordering::Relaxed);
                swept = true;
                // Everybody has a row in the first channel, and in no other.
                for (at, line) in lines.iter().enumerate().take(1) {
                    let alive = |id: &usize| !self.is_dead(*id);
                    let record = |id: usize| line.records[id].load(Ordering::Acquire);
                    let recorded = |id| event::recorded(record(id), LIFE);
                    let living = || (0..words.len()).filter(alive).map(recorded).sum();
                    event::settle(&line.waiting, living);
                    let event = self.event(at);
                    let value = values[usize::from(event.sem)];
                    event::tell_of_death(&self.process, event, value).unwrap();
                }
            }
        }
        let changed = *self.known.borrow() != before;
        *self.known.borrow_mut() = before;
        (swept || changed) && !mutant::has("a death is not looked at")
    }

    fn life(&self) -> Life<'_> {
        Life::new(self.scene.word(self.me.id), LIFE)
    }

    /// Watches until this says something of a channel.
    fn watch(
        &self,
        until: Option<Deadline>,
        so: impl Fn(usize) -> Prospect,
    ) -> Option<[Prospect; LINES]> {
        let mut watching = Watching { peer: self, so, found: [Prospect::Nothing; LINES] };
        let mut kept = self.kept.borrow_mut();
        // As a set does that has not slept: `WaitSet::wait`.
        if watching.glance() {
            return Some(watching.found);
        }
        match Vigil::new(&self.process, &mut kept, until).block(&mut watching) {
            Ok(Watched::Ready) => Some(watching.found),
            Ok(Watched::TimedOut) => None,
            Err(refusal) => panic!("the set is still there: {refusal:?}"),
        }
    }

    /// Watches until there are so many messages in a channel.
    fn watch_for(&self, at: usize, messages: u64) {
        self.watch(None, |which| ready(which == at && self.there(at) >= messages)).unwrap();
    }

    /// Waits for a message of a channel, as an ordinary receiver, and takes it.
    fn receive(&self, at: usize) {
        let line = self.line(at);
        let one_less = |there: u64| there.checked_sub(1);
        let attempt = || {
            let taken = line.there.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_less);
            taken.map(drop).map_err(|_| NotNow::Nothing)
        };
        let more = || self.there(at) > 0;
        let mut values = Vec::new();
        let look = |sem: u16| {
            self.listen(&mut values);
            Heard { own: values[usize::from(sem)], wake_all: None }
        };
        let seat = Seat {
            queue: Queue::Side(self.event(at)),
            record: &line.records[usize::from(self.me.id)],
            life: self.life(),
            registration: &self.registration,
        };
        Plain { attempt, more, look, owed: None }.wait(&self.process, seat);
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

const fn ready(is: bool) -> Prospect {
    if is { Prospect::Ready } else { Prospect::Nothing }
}

struct Watching<'a, S> {
    peer: &'a Peer,
    so: S,
    found: [Prospect; LINES],
}

impl<S: Fn(usize) -> Prospect> Watching<'_, S> {
    fn listed(&self, at: usize) -> usize {
        self.peer.rounds.borrow().listed()[at]
    }

    /// `Watching::called` in `src/channel/wait_set.rs`.
    fn collect(&self) {
        let peer = self.peer;
        let calls = watch::collect(&*peer.scene, peer.me.id);
        let unmarked = Mark::default();
        let keeps = mutant::has("what has called stays armed");
        let mark = |at: usize| if keeps { &unmarked } else { &peer.marks[at] };
        peer.rounds.borrow_mut().called(&calls, mark);
    }

    fn ask(&mut self, at: usize) -> Prospect {
        let found = (self.so)(at);
        self.peer.marks[at].found(found);
        self.found[at] = found;
        found
    }
}

impl<S: Fn(usize) -> Prospect> Members for Watching<'_, S> {
    type Fault = Refusal;

    fn count(&self) -> usize {
        self.peer.rounds.borrow().listed().len()
    }

    fn place(&self, at: usize) -> Option<Place<'_>> {
        let (peer, at) = (self.peer, self.listed(at));
        Some(Place {
            queue: Queue::Side(peer.event(at)),
            record: &peer.line(at).records[usize::from(peer.me.id)],
            life: peer.life(),
            mark: &peer.marks[at],
            watch: Some(peer.topic(at)),
        })
    }

    fn look(&mut self, at: usize) -> Prospect {
        let at = self.listed(at);
        let found = self.ask(at);
        let peer = self.peer;
        peer.rounds.borrow_mut().looked(at, &peer.marks[at], || peer.process.soon());
        found
    }

    fn glance(&mut self) -> bool {
        self.collect();
        let listed = self.peer.rounds.borrow().listed().to_vec();
        listed.into_iter().any(|at| self.ask(at) != Prospect::Nothing)
    }

    fn is_called(&mut self) -> bool {
        false
    }

    fn listen(&mut self, values: &mut Vec<u16>) -> Result<(), Refusal> {
        let early = mutant::has("collected before it listens");
        if early {
            self.collect();
        }
        let changed = self.peer.listen(values);
        let (peer, rounds) = (self.peer, &self.peer.rounds);
        rounds.borrow_mut().begin(peer.process.now(), |at| &peer.marks[at]);
        if !early {
            self.collect();
        }
        if changed {
            rounds.borrow_mut().list_all();
        }
        Ok(())
    }

    fn owes(&mut self, _: usize, refusal: Refusal) {
        panic!("nothing is refused here: {refusal:?}");
    }

    fn fault(&self, refusal: Refusal) -> Refusal {
        refusal
    }
}

/// One tells here, one there; one watches both.
fn either() {
    let [one, two, main] = peers(1);
    let telling =
        [(one, A), (two, B)].map(|(teller, at)| teller.spawn(None, move |teller| teller.tell(at)));
    let missing = Cell::new([true; LINES]);
    while missing.get() != [false; LINES] {
        let found = main.watch(None, |at| ready(missing.get()[at] && main.there(at) > 0)).unwrap();
        let still = |at: usize| missing.get()[at] && found[at] == Prospect::Nothing;
        missing.set(core::array::from_fn(still));
    }
    telling.into_iter().for_each(|teller| teller.join().unwrap());
}

#[test]
fn a_message_in_any_channel_wakes_the_watcher() {
    let name = "watch, either";
    holds(name, Some(2), either);
    for mutant in [Mutant::NoLightFence, Mutant::NoHeavyFence] {
        fails(name, mutant, LOST, Some(2), either);
    }
    for mutant in [
        "one member is not compared",
        "collected before it listens",
        "what has called is not noted",
    ] {
        fails(name, Mutant::Model(mutant), LOST, Some(2), either);
    }
}

/// The same of one message, and time goes on afterwards.
fn in_time() {
    let [teller, main] = peers(1);
    main.scene.system.will_settle();
    let telling = teller.spawn(None, |teller| {
        teller.tell(A);
        teller.scene.system.settle();
    });
    main.watch_for(A, 1);
    telling.join().unwrap();
}

#[test]
fn a_watcher_looks_twice_whom_the_fence_leaves_out() {
    let name = "watch, in time";
    holds(name, Some(2), in_time);
    for mutant in [Mutant::NoLightFence, Mutant::NoHeavyFence] {
        holds_despite(name, mutant, Some(2), in_time);
    }
    fails(name, Mutant::NoSecondLook, LOST, Some(2), in_time);
}

/// A watcher is woken by each of two messages of one teller, in one channel.
pub(super) fn again() {
    let [teller, main] = peers(1);
    let telling = teller.spawn(None, |teller| {
        teller.tell(A);
        teller.tell(A);
    });
    main.watch_for(A, 1);
    main.watch_for(A, 2);
    telling.join().unwrap();
}

#[test]
fn a_watcher_that_arms_again_is_called_again() {
    let name = "watch, again";
    holds(name, Some(3), again);
}

/// A watcher comes while somebody tells.
pub(super) fn one_comes() {
    let [teller, main] = attached();
    let telling = teller.spawn(None, |teller| teller.tell(A));
    main.register();
    main.watch_for(A, 1);
    telling.join().unwrap();
}

#[test]
fn a_watcher_that_comes_is_called() {
    holds("watch, one comes", Some(3), one_comes);
}

/// A watcher that was called in vain is called again.
pub(super) fn in_vain() {
    let [teller, main] = peers(1);
    let telling = teller.spawn(None, |teller| {
        teller.tell(A);
        teller.tell(A);
    });
    main.watch_for(A, 2);
    telling.join().unwrap();
}

#[test]
fn a_watcher_that_was_called_in_vain_is_called_again() {
    let name = "watch, in vain";
    holds(name, Some(3), in_vain);
    fails(name, Mutant::Model("what has called stays armed"), LOST, Some(3), in_vain);
}

/// Two tell of one channel, and one watches: what one of them disarms is armed again meanwhile.
pub(super) fn two_tell() {
    let [one, two, main] = peers(1);
    let telling = [one, two].map(|teller| teller.spawn(None, |teller| teller.tell(A)));
    main.watch_for(A, 1);
    main.watch_for(A, 2);
    telling.into_iter().for_each(|teller| teller.join().unwrap());
}

#[test]
fn nobody_disarms_what_has_been_armed_since() {
    let name = "watch, two tell";
    holds(name, Some(2), two_tell);
    for mutant in ["not announced again", "WATCHED before the version", "disarms whatever is there"]
    {
        fails(name, Mutant::Model(mutant), LOST, Some(3), two_tell);
    }
}

/// The teller dies somewhere: its death or its second message ends the wait. A handle of the
/// other channel, where it has no row, is bound to it, and has been left alone by then.
fn a_teller_dies(fate: Fate) {
    let [teller, main] = peers(1);
    let telling = teller.spawn(Some(fate), |teller| {
        teller.tell(A);
        teller.tell(A);
    });
    let so = |at: usize| match at {
        A if main.there(A) > 1 => Prospect::Ready,
        B if main.is_dead(0) => Prospect::Over,
        _ => Prospect::Nothing,
    };
    main.watch(None, so).unwrap();
    telling.join().unwrap();
}

#[test]
fn a_death_is_looked_at_by_the_watcher() {
    let name = "watch, a teller dies";
    holds_for_every_end(name, Some(2), End::Killed, a_teller_dies);
    fails_for_some_end(name, Mutant::NoUndo, LOST, Some(2), End::Killed, a_teller_dies);
    let unlooked = Mutant::Model("a death is not looked at");
    fails_for_some_end(name, unlooked, LOST, Some(2), End::Killed, a_teller_dies);
}

/// One teller is stopped or killed somewhere, and another one tells, too, afterwards.
fn a_teller_ends(fate: Fate) {
    let [one, two, main] = peers(1);
    let telling = checker::thread::spawn(move || {
        let _ = death::mortal(&one.process, Some(fate), || one.tell(A));
        two.tell(A);
    });
    main.watch_for(A, 1);
    telling.join().unwrap();
}

#[test]
fn a_teller_that_is_stopped_keeps_no_call_from_the_watcher() {
    let name = "watch, a teller is stopped";
    holds_for_every_end(name, Some(2), End::Stopped, a_teller_ends);
    let early = Mutant::Model("disarmed before it is struck");
    fails_for_some_end(name, early, LOST, Some(2), End::Stopped, a_teller_ends);
}

/// Two watch, of whom one ends somewhere; the other is called.
fn a_watcher_ends(fate: Fate) {
    let [teller, other, main] = peers(2);
    let other = other.spawn(Some(fate), |other| {
        other.watch(Some(Deadline(1)), |at| ready(at == A && other.there(A) > 0));
    });
    let telling = teller.spawn(None, |teller| {
        teller.tell(A);
        teller.scene.system.tick();
    });
    main.watch_for(A, 1);
    telling.join().unwrap();
    other.join().unwrap();
}

#[test]
fn a_watcher_that_ends_keeps_no_call_from_another() {
    let name = "watch, a watcher ends";
    holds_for_every_end(name, Some(1), End::Stopped, a_watcher_ends);
    holds_for_every_end(name, Some(1), End::Killed, a_watcher_ends);
}

/// Two watch one channel.
fn two_watch() {
    let [teller, other, main] = peers(2);
    let other = other.spawn(None, |other| other.watch_for(A, 1));
    let telling = teller.spawn(None, |teller| teller.tell(A));
    main.watch_for(A, 1);
    telling.join().unwrap();
    other.join().unwrap();
}

#[test]
fn all_who_watch_are_called_at_once() {
    let name = "watch, two watch";
    holds(name, Some(2), two_watch);
    fails(name, Mutant::Model("one bell for all"), LOST, Some(2), two_watch);
}

/// One watches beside a receiver, who takes what there is; there is one more message afterwards.
fn beside_a_receiver() {
    let [teller, other, main] = peers(1);
    let other = other.spawn(None, |other| other.receive(A));
    let telling = teller.spawn(None, |teller| {
        teller.tell(A);
        teller.tell(A);
    });
    // One of the two is left.
    main.watch_for(A, 1);
    telling.join().unwrap();
    other.join().unwrap();
}

#[test]
fn a_watcher_and_a_receiver_are_both_woken() {
    holds("watch, beside a receiver", Some(2), beside_a_receiver);
}

/// A receiver is swept while the channel is armed: that hides no watcher.
fn a_receiver_dies(fate: Fate) {
    let [teller, other, main] = peers(1);
    let other = other.spawn(Some(fate), |other| other.receive(A));
    let telling = teller.spawn(None, |teller| {
        teller.tell(A);
        teller.tell(A);
    });
    main.watch_for(A, 1);
    telling.join().unwrap();
    other.join().unwrap();
}

#[test]
fn a_sweep_hides_no_watcher() {
    holds_for_every_end("watch, a receiver dies", Some(1), End::Killed, a_receiver_dies);
}
