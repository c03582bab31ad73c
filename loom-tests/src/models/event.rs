//! Waiting and waking: a waiter that is owed a wake gets one, whoever dies.
//!
//! A lost wake shows as loom's *deadlock*: the main thread is a participant
//! and waits like the others.

mod bound;
mod deaths;
mod tokens;

use std::panic::resume_unwind;
use std::rc::Rc;

use crate::death::{self, End};
use crate::explore::{LOST, completely, fails, holds, holds_despite};
use crate::kernel::Deadline;
use crate::mutant::{self, Mutant};
use crate::operation::Plain;
use crate::ring::event::{self, Event, Life, Wakes};
use crate::ring::kernel::{Kernel, LightFence, Op, Refusal};
use crate::ring::wait::{Heard, NotNow, Queue, Registration, Seat};
use crate::sync::{AtomicU64, Ordering};
use crate::world::Side::{Receiver, Sender};
use crate::world::{Told, World};

/// The life of those who are in no table, and its word in a table.
const LIFE: u64 = 1;
const LIVE: u64 = LIFE << 32 | 1;
/// What one hears who is not to compare.
const NOTHING: Heard = Heard { own: 0, wake_all: None };

/// One message, one waiter.
fn one_waiter() {
    let (world, [receiver, sender]) = World::between(1, [Receiver, Sender]);
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
    let (world, [receiver, sender]) = World::between(1, [Receiver, Sender]);
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

fn seat<'a>(
    waiting: &'a AtomicU64,
    sem: u16,
    (record, life): (&'a AtomicU64, &'a AtomicU64),
    registration: &'a Registration<Deadline>,
) -> Seat<'a, Deadline> {
    let queue = Queue::Side(Event { waiting, sem, wakes: Wakes::One, watch: None });
    Seat { queue, record, life: Life::new(life, LIFE), registration }
}

/// One who is still counted waits again, for one who has rung for the word.
pub(super) fn one_who_stays() {
    let (world, [receiver, sender]) = World::between(1, [Receiver, Sender]);
    sender.has_woken([&receiver]);
    let sender = sender.spawn(None, |sender| sender.send(1).unwrap());
    assert_eq!(receiver.receive(None), Ok(1));
    receiver.let_go();
    sender.join().unwrap();
    world.at_rest();
}

/// Two of those, and a message for each.
fn two_who_stay() {
    let (world, [main, other, sender]) = World::between(2, [Receiver, Receiver, Sender]);
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

/// Two messages from one sender, two waiters: each gets one.
fn two_waiters() {
    let (world, [main, other, sender]) = World::between(2, [Receiver, Receiver, Sender]);
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
    let (world, [main, other, sender]) = World::between(1, [Receiver, Receiver, Sender]);
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
fn full() {
    let (world, [sender, receiver]) = World::between(1, [Sender, Receiver]);
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
fn timeout() {
    let (world, [main, hasty, sender]) = World::between(2, [Receiver, Receiver, Sender]);
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
fn farewell() {
    let (world, [main, other, sender]) = World::between(2, [Receiver, Receiver, Sender]);
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
    let (world, [main, newcomer, sender]) = World::between(1, [Receiver, Receiver, Sender]);
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

/// The sender leaves while a message is in a receiver's hands: who has been
/// told to wait for that is told when it is let go.
#[test]
fn who_waits_for_a_message_in_hand_is_told() {
    let mutant = Mutant::Model("alone is known before the release");
    fails("event, farewell", mutant, LOST, Some(2), farewell);
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
                let (attempt, more, look) = (|| ready, || false, |_| NOTHING);
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
