//! Waiting and waking: a waiter that is owed a wake gets one, whoever dies.
//!
//! A lost wake shows as loom's *deadlock*: the main thread is a participant
//! and waits like the others.

use std::panic::resume_unwind;
use std::rc::Rc;

use crate::death::{self, End, Fate};
use crate::explore::{
    completely, fails, fails_for_some_end, holds, holds_despite, holds_for_every_end,
};
use crate::kernel::{Deadline, Process, System};
use crate::mutant::{self, Mutant};
use crate::operation::Plain;
use crate::ring::event::{self, Event, Life, Memo};
use crate::ring::kernel::{Kernel, LightFence, Op, Refusal};
use crate::ring::set::SetMap;
use crate::ring::wait::{Cause, NotNow, Operation, Over, Queue, Registration, Seat, Session};
use crate::ring::{credit, wake_all};
use crate::sync::{AtomicU64, Ordering};
use crate::world::Side::{Receiver, Sender};
use crate::world::{Peer, Side, Told, World};

const LOST: &str = "deadlock";
/// A semaphore that is none of the others.
const SEM: u16 = SetMap::WAKE_ALL + 1;
/// The life of those who are in no table, and what a table would say of it.
const LIFE: u64 = 1;
const LIVE: u64 = LIFE << 32 | 1;

fn world<const N: usize>(capacity: usize, sides: [Side; N]) -> (Rc<World>, [Peer; N]) {
    let (world, peers) = World::new(capacity, &sides);
    (world, peers.try_into().unwrap_or_else(|_| unreachable!("one peer for each side")))
}

/// One message, one waiter.
pub(super) fn one_waiter() {
    let (world, [receiver, sender]) = world(1, [Receiver, Sender]);
    let sender = sender.spawn(None, |sender| sender.send(1).unwrap());
    assert_eq!(receiver.receive(None), Ok(1));
    sender.join().unwrap();
    world.at_rest();
}

#[test]
fn one_waiter_is_woken() {
    holds("event, one waiter", None, one_waiter);
    completely(|| holds("event, one waiter", Some(3), one_waiter));
    for mutant in [Mutant::NoLightFence, Mutant::NoHeavyFence] {
        fails("event, one waiter", mutant, LOST, Some(3), one_waiter);
    }
}

/// The same, and time goes on afterwards.
fn one_waiter_in_time() {
    let (world, [receiver, sender]) = world(1, [Receiver, Sender]);
    world.system.will_settle();
    let system = Rc::clone(&world.system);
    let sender = sender.spawn(None, move |sender| {
        sender.send(1).unwrap();
        system.settle();
    });
    assert_eq!(receiver.receive(None), Ok(1));
    sender.join().unwrap();
    world.at_rest();
}

#[test]
fn who_looks_twice_is_woken_whom_the_fence_leaves_out() {
    let name = "event, one waiter in time";
    holds(name, Some(3), one_waiter_in_time);
    for mutant in [Mutant::NoLightFence, Mutant::NoHeavyFence] {
        holds_despite(name, mutant, Some(3), one_waiter_in_time);
    }
    fails(name, Mutant::NoSecondLook, LOST, Some(3), one_waiter_in_time);
}

/// A waiter sleeps for long. The token that a notifier has left for it is taken
/// by a newcomer, who has got something else; meanwhile the notifier publishes
/// more, and has rung for that word already.
fn a_newcomer_takes_the_token() {
    let system = Rc::new(System::new(SEM + 1, 2));
    let process = |id| Process { system: Rc::clone(&system), id };
    // What is waiting, the newcomer's record, what is published, its life.
    let words = Rc::new([1, event::record(LIFE), 0, LIVE].map(AtomicU64::new));
    let (theirs, notifier, mut memo) = (Rc::clone(&words), process(0), Memo::default());
    event::notify(&notifier, Event { waiting: &words[0], sem: SEM }, &mut memo).unwrap();
    let notifier = loom::thread::spawn(move || {
        let [waiting, _, published, _] = &*theirs;
        published.store(1, Ordering::Release);
        event::notify(&notifier, Event { waiting, sem: SEM }, &mut memo).unwrap();
    });
    let [waiting, record, published, life] = &*words;
    let mut got = [Err(NotNow::Nothing), Ok(())].into_iter();
    let attempt = || got.next().unwrap();
    let more = || published.load(Ordering::Acquire) != 0;
    let registration = Registration::new(Some(0));
    let mut newcomer = Plain { attempt, more, look: || None, owed: None };
    newcomer.wait(&process(1), seat(waiting, SEM, (record, life), &registration));
    notifier.join().unwrap();
    assert_eq!(system.value(SEM), 1, "{STRANDED}");
}

fn seat<'a>(
    waiting: &'a AtomicU64,
    sem: u16,
    (record, life): (&'a AtomicU64, &'a AtomicU64),
    registration: &'a Registration<Deadline>,
) -> Seat<'a, Deadline> {
    let queue = Queue { waiting, over: Over::Token(sem) };
    Seat { queue, record, life: Life::new(life, LIFE), registration }
}

const STRANDED: &str = "nobody has passed the token on";

#[test]
fn a_token_that_a_newcomer_takes_is_passed_on() {
    let (name, model) = ("event, a newcomer", a_newcomer_takes_the_token);
    completely(|| {
        holds(name, Some(2), model);
        holds_despite(name, Mutant::NoLightFence, Some(2), model);
        fails(name, Mutant::NoSkipFence, STRANDED, Some(2), model);
    });
}

/// One who is still counted waits again, for one who has rung for the word.
pub(super) fn one_who_stays() {
    let (world, [receiver, sender]) = world(1, [Receiver, Sender]);
    sender.has_woken([&receiver]);
    let sender = sender.spawn(None, |sender| sender.send(1).unwrap());
    assert_eq!(receiver.receive(None), Ok(1));
    receiver.let_go();
    sender.join().unwrap();
    world.at_rest();
}

/// Two of those, and a message for each.
fn two_who_stay() {
    let (world, [main, other, sender]) = world(2, [Receiver, Receiver, Sender]);
    sender.has_woken([&main, &other]);
    let sender = sender.spawn(None, |sender| {
        sender.send(1).unwrap();
        sender.send(2).unwrap();
    });
    let other = other.spawn(None, |other| {
        other.receive(None).unwrap();
        other.let_go();
    });
    main.receive(None).unwrap();
    main.let_go();
    sender.join().unwrap();
    other.join().unwrap();
    world.at_rest();
}

#[test]
fn who_stays_is_woken_without_a_heavy_fence() {
    let (name, two) = ("event, one who stays", "event, two who stay");
    holds(name, None, one_who_stays);
    holds_despite(name, Mutant::NoHeavyFence, Some(3), one_who_stays);
    holds_despite(name, Mutant::NoLightFence, Some(3), one_who_stays);
    completely(|| holds(name, Some(3), one_who_stays));
    for mutant in [Mutant::NoSkipFence, Mutant::Model("no fence after the next version")] {
        fails(name, mutant, LOST, Some(3), one_who_stays);
    }
    holds(two, Some(2), two_who_stay);
}

/// A sender dies somewhere; the receiver waits again and again, and stays.
fn dies_before_one_who_stays(fate: Fate) {
    sender_of_one_dies(true, fate);
}

#[test]
fn a_death_wakes_who_stays() {
    let name = "event, a sender dies before one who stays";
    holds_for_every_end(name, Some(2), End::Killed, dies_before_one_who_stays);
    for mutant in ["no look after a wake", "no credit", "the wake-all semaphore is not compared"] {
        let (mutant, how) = (Mutant::Model(mutant), Some(2));
        fails_for_some_end(name, mutant, LOST, how, End::Killed, dies_before_one_who_stays);
    }
}

/// Two messages from one sender, two waiters: each gets one.
pub(super) fn two_waiters() {
    let (world, [main, other, sender]) = world(2, [Receiver, Receiver, Sender]);
    let sender = sender.spawn(None, |sender| {
        sender.send(1).unwrap();
        sender.send(2).unwrap();
    });
    let other = other.spawn(None, |other| other.receive(None).unwrap());
    main.receive(None).unwrap();
    sender.join().unwrap();
    other.join().unwrap();
    world.at_rest();
}

#[test]
fn two_waiters_are_woken() {
    holds("event, two waiters", Some(2), two_waiters);
    completely(|| holds("event, two waiters", Some(1), two_waiters));
}

#[test]
fn two_waiters_need_the_baton() {
    fails("event, two waiters", Mutant::Model("no baton"), LOST, Some(2), two_waiters);
}

/// One message and two waiters, of whom one gives its wait up when it is woken or its time
/// is up, without another poll.
fn one_gives_up() {
    let (world, [main, other, sender]) = world(1, [Receiver, Receiver, Sender]);
    let system = Rc::clone(&world.system);
    let sender = sender.spawn(None, move |sender| {
        sender.send(1).unwrap();
        system.tick();
    });
    let other = other.spawn(None, |other| other.gives_up(Deadline(1)));
    main.receive(None).unwrap();
    sender.join().unwrap();
    other.join().unwrap();
    assert_eq!(world.items_waiting.load(Ordering::Acquire) as u32, 0, "somebody is counted");
}

#[test]
fn a_wait_that_is_given_up_keeps_no_token() {
    let name = "event, one gives up";
    holds(name, Some(2), one_gives_up);
    fails(name, Mutant::Model("given up with the token"), LOST, Some(2), one_gives_up);
}

/// A ring of one slot: the sender waits for space.
pub(super) fn full() {
    let (world, [sender, receiver]) = world(1, [Sender, Receiver]);
    let receiver = receiver.spawn(None, |receiver| {
        assert_eq!(receiver.receive(None), Ok(1));
        assert_eq!(receiver.receive(None), Ok(2));
    });
    sender.send(1).unwrap();
    sender.send(2).unwrap();
    receiver.join().unwrap();
    world.at_rest();
}

#[test]
fn both_sides_wait() {
    holds("event, both sides wait", Some(3), full);
}

/// A waiter's time runs out while a message comes: it is the other's then.
pub(super) fn timeout() {
    let (world, [main, hasty, sender]) = world(2, [Receiver, Receiver, Sender]);
    let system = Rc::clone(&world.system);
    let sender = sender.spawn(None, move |sender| {
        sender.send(1).unwrap();
        system.tick();
        sender.send(2).unwrap();
    });
    let hasty = hasty.spawn(None, |hasty| match hasty.receive(Some(Deadline(1))) {
        Ok(_) => {}
        Err(told) => assert_eq!(told, Told::TimedOut),
    });
    main.receive(None).unwrap();
    sender.join().unwrap();
    hasty.join().unwrap();
    world.at_rest();
}

#[test]
fn a_time_out_takes_no_wake_along() {
    holds("event, a time-out", Some(2), timeout);
}

/// The sender has gone: everybody is told, and everything was received.
pub(super) fn farewell() {
    let (world, [main, other, sender]) = world(2, [Receiver, Receiver, Sender]);
    let sender = sender.spawn(None, |sender| {
        sender.send(1).unwrap();
        sender.withdraw();
    });
    let other = other.spawn(None, |other| other.drain());
    main.drain();
    sender.join().unwrap();
    other.join().unwrap();
    world.at_rest();
    assert_eq!(*world.consumed.borrow(), [1]);
}

#[test]
fn everybody_is_told_of_the_last_senders_leaving() {
    holds("event, farewell", Some(2), farewell);
    completely(|| holds("event, farewell", Some(1), farewell));
}

/// Two sleep when the last sender goes, of whom one was opened when there was none: it
/// expects others, and may be the first to be woken.
fn farewell_to_a_newcomer() {
    let (world, [main, newcomer, sender]) = world(1, [Receiver, Receiver, Sender]);
    newcomer.met.set(false);
    let system = Rc::clone(&world.system);
    let sender = sender.spawn(None, move |sender| {
        system.until_asleep(2);
        sender.close();
    });
    let newcomer = newcomer.spawn(None, |newcomer| newcomer.receive(Some(Deadline(1))));
    assert_eq!(main.receive(None), Err(Told::Disconnected));
    world.system.tick();
    sender.join().unwrap();
    assert_eq!(newcomer.join().unwrap(), Some(Err(Told::TimedOut)));
}

#[test]
fn who_sleeps_is_told_of_the_last_senders_leaving_whoever_sleeps_before_it() {
    let name = "event, farewell to a newcomer";
    holds(name, Some(2), farewell_to_a_newcomer);
    fails(name, Mutant::Model("one token for all"), LOST, Some(2), farewell_to_a_newcomer);
}

/// A sender dies somewhere: what it published is received, and the receiver
/// is told that it has gone.
pub(super) fn sender_dies(fate: Fate) {
    sender_of_one_dies(false, fate);
}

fn sender_of_one_dies(stays: bool, fate: Fate) {
    let (world, [main, sender]) = world(2, [Receiver, Sender]);
    if stays {
        sender.has_woken([&main]);
    }
    let sender = sender.spawn(Some(fate), |sender| {
        sender.send(1).unwrap();
        sender.send(2).unwrap();
        sender.withdraw();
    });
    main.drain();
    main.let_go();
    sender.join().unwrap();
    world.at_rest();
    assert_eq!(*world.consumed.borrow(), *world.published.borrow());
}

#[test]
fn a_senders_death_wakes_the_waiter() {
    let name = "event, a sender dies";
    holds_for_every_end(name, Some(3), End::Killed, sender_dies);
    completely(|| holds_for_every_end(name, Some(1), End::Killed, sender_dies));
}

#[test]
fn mutants_of_a_senders_death() {
    for mutant in
        [Mutant::Model("no credit"), Mutant::NoUndo, Mutant::Model("no look after a wake")]
    {
        fails_for_some_end("event, a sender dies", mutant, LOST, Some(2), End::Killed, sender_dies);
    }
}

/// The same with two who wait, and one message.
fn sender_of_two_dies(fate: Fate) {
    let (world, [main, other, sender]) = world(1, [Receiver, Receiver, Sender]);
    let sender = sender.spawn(Some(fate), |sender| sender.send(1).unwrap());
    let other = other.spawn(None, |other| other.drain());
    main.drain();
    sender.join().unwrap();
    other.join().unwrap();
    world.at_rest();
    assert_eq!(*world.consumed.borrow(), *world.published.borrow());
}

#[test]
fn a_senders_death_wakes_both_waiters() {
    let name = "event, a sender of two dies";
    holds_for_every_end(name, Some(1), End::Killed, sender_of_two_dies);
}

/// A receiver dies somewhere, waiting, woken or reading: what it has not
/// consumed the other one gets.
pub(super) fn receiver_dies(fate: Fate) {
    let (world, [main, mortal, sender]) = world(2, [Receiver, Receiver, Sender]);
    let sender = sender.spawn(None, |sender| {
        sender.send(1).unwrap();
        sender.send(2).unwrap();
        sender.withdraw();
    });
    let mortal = mortal.spawn(Some(fate), |mortal| {
        let _ = mortal.receive(None);
    });
    main.drain();
    sender.join().unwrap();
    mortal.join().unwrap();
    world.at_rest();
    assert_eq!(world.consumed.borrow().len(), 2);
}

#[test]
fn a_receivers_death_leaves_its_wake_to_the_other() {
    holds_for_every_end("event, a receiver dies", Some(1), End::Killed, receiver_dies);
}

/// A receiver is stopped somewhere, and never continued: of two messages it
/// has at most one, and the other is received.
fn receiver_is_stopped(fate: Fate) {
    let (world, [main, stopped, sender]) = world(2, [Receiver, Receiver, Sender]);
    let sender = sender.spawn(None, |sender| {
        sender.send(1).unwrap();
        sender.send(2).unwrap();
    });
    let stopped = stopped.spawn(Some(fate), |stopped| stopped.receive(None).unwrap());
    main.receive(None).unwrap();
    sender.join().unwrap();
    stopped.join().unwrap();
    world.at_rest();
}

#[test]
fn a_stopped_receiver_keeps_no_wake_from_the_other() {
    holds_for_every_end("event, a receiver is stopped", Some(1), End::Stopped, receiver_is_stopped);
}

#[test]
fn a_memo_of_the_word_alone_strands_those_behind_a_stopped_receiver() {
    let mutant = Mutant::Model("skip if the word is unchanged");
    let name = "event, a receiver is stopped";
    fails_for_some_end(name, mutant, LOST, Some(1), End::Stopped, receiver_is_stopped);
}

/// The sender leaves while a message is in a receiver's hands: who has been
/// told to wait for that is told when it is let go.
#[test]
fn who_waits_for_a_message_in_hand_is_told() {
    let mutant = Mutant::Model("alone is known before the release");
    fails("event, farewell", mutant, LOST, Some(2), farewell);
}

/// A waiter has died somewhere; two sweep it, of whom one then waits and the
/// other one sends.
pub(super) fn waiter_dies_and_two_sweep(fate: Fate) {
    let (world, [main, mortal, sender]) = world(1, [Receiver, Receiver, Sender]);
    let _ = death::mortal(&mortal.process, Some(fate), || mortal.receive(Some(Deadline(0))));
    let sender = sender.spawn(None, |sender| {
        sender.look().unwrap();
        sender.send(1).unwrap();
    });
    main.look().unwrap();
    assert_eq!(main.receive(None), Ok(1));
    sender.join().unwrap();
    world.at_rest();
}

#[test]
fn two_sweeps_of_a_waiter_hide_no_other() {
    let name = "event, a waiter dies and two sweep";
    holds_for_every_end(name, Some(1), End::Killed, waiter_dies_and_two_sweep);
}

/// A waiter is killed in its sleep, with or without a token granted.
fn sleeper_is_killed() {
    let (world, [main, sleeper, sender]) = world(2, [Receiver, Receiver, Sender]);
    let system = Rc::clone(&world.system);
    let sender = sender.spawn(None, move |sender| {
        sender.send(1).unwrap();
        system.kill(1);
        sender.send(2).unwrap();
        sender.withdraw();
    });
    let sleeper = sleeper.spawn(None, |sleeper| {
        let _ = sleeper.receive(None);
    });
    main.drain();
    sender.join().unwrap();
    sleeper.join().unwrap();
    world.at_rest();
    assert_eq!(world.consumed.borrow().len(), 2);
}

#[test]
fn who_is_killed_asleep_leaves_its_token_to_the_other() {
    completely(|| holds("event, a sleeper is killed", Some(1), sleeper_is_killed));
}

/// A receiver dies with a message in its hands while the only sender waits
/// for its slot and another receiver for a message: the token of the death
/// may be one with that of an ordinary change, and whoever gets it sweeps.
fn receiver_dies_before_a_waiting_sender() {
    let (world, [main, dying, other]) = world(1, [Sender, Receiver, Receiver]);
    main.send(1).unwrap();
    dying.take_and_keep();
    let dying = dying.spawn(None, |dying| dying.process.end());
    let other = other.spawn(None, |other| {
        other.receive(None).unwrap();
        other.receive(None).unwrap();
    });
    main.send(2).unwrap();
    dying.join().unwrap();
    other.join().unwrap();
    world.at_rest();
}

#[test]
fn a_receivers_death_wakes_the_waiting_sender() {
    let name = "event, a receiver dies before a waiting sender";
    holds(name, Some(1), receiver_dies_before_a_waiting_sender);
    let mutant = Mutant::Model("no look after a wake");
    fails(name, mutant, LOST, Some(1), receiver_dies_before_a_waiting_sender);
}

/// A kernel in which everybody sleeps for good.
struct Sleep;

impl LightFence for Sleep {
    fn light_fence(&self) {}
}

impl Kernel for Sleep {
    type Deadline = Deadline;

    fn semop(&self, _: &[Op], _: Option<Deadline>) -> Result<(), Refusal> {
        resume_unwind(Box::new(End::Stopped))
    }

    fn values(&self, _: &mut [u16]) -> Result<(), Refusal> {
        Err(Refusal::Removed)
    }

    fn heavy_fence(&self) {}

    fn soon(&self) -> Option<Deadline> {
        None
    }

    fn now(&self) -> Deadline {
        Deadline(0)
    }

    fn at_once(&self) -> Option<Deadline> {
        None
    }

    fn own_fence(&self) {}
}

/// One waits, then again, and sleeps; two sweeps set the count right.
pub(super) fn sweeps_count() {
    let words = Rc::new([0, event::record(LIFE), LIVE].map(AtomicU64::new));
    let waiter = Rc::clone(&words);
    let waiter = loom::thread::spawn(move || {
        let [waiting, record, life] = &*waiter;
        let lives = || {
            let registration = Registration::new(Some(0));
            for ready in [Ok(()), Err(NotNow::Nothing)] {
                let (attempt, more, look) = (|| ready, || false, || None);
                let mut waiter = Plain { attempt, more, look, owed: None };
                waiter.wait(&Sleep, seat(waiting, 0, (record, life), &registration));
            }
        };
        death::mortal_with(|| {}, None, lives);
    });
    let sweep = |words: Rc<[AtomicU64; 3]>| {
        let [waiting, record, _] = &*words;
        event::settle(waiting, || event::recorded(record.load(Ordering::Acquire), LIFE));
    };
    let other = Rc::clone(&words);
    let other = loom::thread::spawn(move || sweep(other));
    sweep(Rc::clone(&words));
    waiter.join().unwrap();
    other.join().unwrap();
    let waiting = words[0].load(Ordering::Acquire) as u32;
    assert!(waiting >= 1, "a sweep has hidden a waiter");
    sweep(Rc::clone(&words));
    assert_eq!(words[0].load(Ordering::Acquire) as u32, 1);
}

#[test]
fn sweeps_hide_no_waiter() {
    completely(|| holds("event, sweeps count", Some(2), sweeps_count));
}

/// One who is counted is found dead while it lives, as one who has left the IPC
/// namespace is; a sweep settles the count, with another one in it that waits, and the
/// first lets go.
pub(super) fn let_go_late() {
    let dead = LIFE << 32 | 2;
    let record = || AtomicU64::new(event::record(LIFE));
    let (waiting, late, life, other) =
        (AtomicU64::new(0), record(), AtomicU64::new(LIVE), record());
    let words = Rc::new([waiting, late, life, other]);
    let registration = Registration::<Deadline>::new(None);
    registration.announce(&Sleep, &words[0], &words[1]);
    event::raise(&words[0], &words[3]);
    let theirs = Rc::clone(&words);
    let sweeper = loom::thread::spawn(move || {
        let [waiting, late, life, other] = &*theirs;
        life.store(dead, Ordering::Release);
        let living = || {
            let lives = life.load(Ordering::Acquire) == LIVE;
            let late = if lives { late.load(Ordering::Acquire) } else { 0 };
            event::recorded(late, LIFE) + event::recorded(other.load(Ordering::Acquire), LIFE)
        };
        event::settle(waiting, living);
    });
    let [waiting, late, life, _] = &*words;
    let lives = life.load(Ordering::Acquire) == LIVE;
    if mutant::has("asked before") {
        if lives {
            let own = AtomicU64::new(LIVE);
            registration.let_go(waiting, late, Life::new(&own, LIFE));
        }
    } else if mutant::has("not asked") {
        let own = AtomicU64::new(LIVE);
        registration.let_go(waiting, late, Life::new(&own, LIFE));
    } else {
        registration.let_go(waiting, late, Life::new(life, LIFE));
    }
    sweeper.join().unwrap();
    assert_eq!(words[0].load(Ordering::Acquire) as u32, 1, "a waiter is hidden, or one too many");
}

#[test]
fn who_was_swept_takes_nobodys_count_along() {
    let name = "event, let go late";
    holds(name, None, let_go_late);
    for mutant in ["asked before", "not asked"] {
        fails(name, Mutant::Model(mutant), "a waiter is hidden", None, let_go_late);
    }
}

/// One who waits until another participant has gone, one who is no end of the
/// channel and has no credit on its semaphore: nobody posts a token.
struct Bound {
    system: Rc<System>,
    map: SetMap,
    /// What the table says of the bystander: 0 as long as it lives.
    gone: AtomicU64,
    waiting: AtomicU64,
    record: AtomicU64,
    life: AtomicU64,
}

const BYSTANDER: u16 = 0;

impl Bound {
    fn new() -> Rc<Self> {
        let map = SetMap { participants: 2, channels: 1 };
        let system = Rc::new(System::new(map.count(), 2));
        let bystander = Process { system: Rc::clone(&system), id: BYSTANDER.into() };
        bystander.semop(&[Op::add(map.liveness(BYSTANDER), 1).undo()], None).unwrap();
        if !mutant::has("no credit") {
            credit::arm(&bystander, SetMap::WAKE_ALL).unwrap();
        }
        let words = [0, 0, event::record(LIFE), LIVE].map(AtomicU64::new);
        let [gone, waiting, record, life] = words;
        Rc::new(Self { system, map, gone, waiting, record, life })
    }

    /// `table::leave`.
    fn leave(&self, process: &Process) {
        self.gone.store(1, Ordering::Release);
        let lower = Op::take(self.map.liveness(BYSTANDER), 1).undo().no_wait();
        process.semop(&[lower, wake_all::LEAVE], None).unwrap();
    }

    /// `Participant::listen`.
    fn listen(&self, process: &Process) -> u16 {
        let mut values = vec![0; usize::from(self.map.count())];
        process.values(&mut values).unwrap();
        if values[usize::from(self.map.liveness(BYSTANDER))] == 0 {
            self.gone.store(1, Ordering::Release);
        }
        values[usize::from(SetMap::WAKE_ALL)]
    }

    /// `Endpoint::wait` of a handle that is bound, `heard` before.
    fn wait(&self, process: &Process, heard: Option<u16>) {
        let registration = Registration::new(heard);
        registration.be_strict(!mutant::has("not strict"));
        let gone = || self.gone.load(Ordering::Acquire) != 0;
        let attempt = || if gone() { Ok(()) } else { Err(NotNow::Nothing) };
        let (more, look) = (|| true, || Some(self.listen(process)));
        let mut waiter = Plain { attempt, more, look, owed: None };
        let items = self.map.items(0);
        let mine = (&self.record, &self.life);
        waiter.wait(process, seat(&self.waiting, items, mine, &registration));
    }
}

fn bystander_ends(fate: Fate, heard: Option<u16>) {
    let bound = Bound::new();
    let [theirs, main] = [0, 1].map(|id| Process { system: Rc::clone(&bound.system), id });
    let scene = Rc::clone(&bound);
    let bystander = loom::thread::spawn(move || {
        let _ = death::mortal(&theirs, Some(fate), || scene.leave(&theirs));
    });
    bound.wait(&main, heard);
    bystander.join().unwrap();
    assert_eq!(bound.waiting.load(Ordering::Acquire) & u64::from(u32::MAX), 0);
}

/// It has looked before, or has not.
fn bystander_ends_heard(fate: Fate) {
    bystander_ends(fate, Some(0));
}

fn bystander_ends_unheard(fate: Fate) {
    bystander_ends(fate, None);
}

#[test]
fn who_is_bound_to_a_bystander_is_woken_by_its_end() {
    let name = "event, bound to a bystander";
    for model in [bystander_ends_heard, bystander_ends_unheard] {
        holds_for_every_end(name, Some(3), End::Killed, model);
        for mutant in ["not strict", "the wake-all semaphore is not compared", "no credit"] {
            fails_for_some_end(name, Mutant::Model(mutant), LOST, Some(2), End::Killed, model);
        }
    }
}

/// A process that may no longer post.
struct Barred(Process);

impl LightFence for Barred {
    fn light_fence(&self) {
        self.0.light_fence();
    }
}

impl Kernel for Barred {
    type Deadline = Deadline;

    fn semop(&self, ops: &[Op], until: Option<Deadline>) -> Result<(), Refusal> {
        if ops.iter().any(|op| op.delta > 0) { Err(DENIED) } else { self.0.semop(ops, until) }
    }

    fn values(&self, into: &mut [u16]) -> Result<(), Refusal> {
        self.0.values(into)
    }

    fn heavy_fence(&self) {
        self.0.heavy_fence();
    }

    fn soon(&self) -> Option<Deadline> {
        self.0.soon()
    }

    fn now(&self) -> Deadline {
        self.0.now()
    }

    fn at_once(&self) -> Option<Deadline> {
        self.0.at_once()
    }

    fn own_fence(&self) {
        self.0.own_fence();
    }
}

const DENIED: Refusal = Refusal::Failed(13);

/// It takes the token of another, leaves more behind, and may not post.
fn a_token_that_cannot_be_passed_on() {
    let system = Rc::new(System::new(SEM + 1, 2));
    let notifier = Process { system: Rc::clone(&system), id: 1 };
    let notifier = loom::thread::spawn(move || event::post(&notifier, SEM).unwrap());
    let [waiting, record, life] = [1, event::record(LIFE), LIVE].map(AtomicU64::new);
    let registration = Registration::new(None);
    let mut got = [Err(NotNow::Nothing), Ok(())].into_iter();
    let attempt = || got.next().unwrap();
    let barred = Barred(Process { system, id: 0 });
    let mut waiter = Plain { attempt, more: || true, look: || None, owed: None };
    waiter.wait(&barred, seat(&waiting, SEM, (&record, &life), &registration));
    notifier.join().unwrap();
    assert_eq!(waiter.owed, Some(DENIED), "{STRANDED}");
}

/// It is woken by the wake-all semaphore, and then cannot look for deaths: it has left the
/// namespace, and the semaphore is a stranger's.
struct Blind;

impl Operation for Blind {
    type Done = ();
    type Fault = ();

    fn attempt(&mut self, _: bool) -> Result<(), NotNow> {
        Err(NotNow::Nothing)
    }

    fn more(&self) -> bool {
        true
    }

    fn scan(&mut self, _: bool) -> Result<Option<u16>, ()> {
        Err(())
    }

    fn owes(&mut self, refusal: Refusal) {
        panic!("nothing is refused here: {refusal:?}");
    }

    fn fault(&self, _: Cause) {}
}

fn woken_and_blind(struck: bool) {
    let system = Rc::new(System::new(SEM + 1, 2));
    let other = Process { system: Rc::clone(&system), id: 1 };
    let waker = loom::thread::spawn(move || {
        if struck { wake_all::strike(&other) } else { event::post(&other, SEM).map(drop) }.unwrap();
    });
    let [waiting, record, life] = [0, event::record(LIFE), LIVE].map(AtomicU64::new);
    let registration = Registration::new(Some(0));
    registration.be_strict(struck);
    let process = Process { system: Rc::clone(&system), id: 0 };
    let seat = seat(&waiting, SEM, (&record, &life), &registration);
    assert_eq!(Session::new(&process, seat, None).block(&mut Blind), Err(()));
    waker.join().unwrap();
    assert_eq!(system.value(SEM), u16::from(!struck), "a token that was taken, or one too many");
}

#[test]
fn who_cannot_look_gives_back_the_token_that_it_took_and_no_other() {
    holds("event, struck and blind", None, || woken_and_blind(true));
    holds("event, woken and blind", None, || woken_and_blind(false));
}

#[test]
fn a_token_that_cannot_be_passed_on_is_owed() {
    holds("event, a token that is owed", None, a_token_that_cannot_be_passed_on);
}
