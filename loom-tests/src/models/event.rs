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
use crate::mutant::Mutant;
use crate::operation::Plain;
use crate::ring::event;
use crate::ring::kernel::{Kernel, LightFence, Op, Refusal};
use crate::ring::wait::{NotNow, Over, Queue, Registration, Seat};
use crate::sync::{AtomicU64, Ordering};
use crate::world::Side::{Receiver, Sender};
use crate::world::{Told, World};

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
    record: &'a AtomicU64,
    registration: &'a Registration<Deadline>,
) -> Seat<'a, Deadline> {
    Seat { queue: Queue { waiting, over: Over::Token(sem) }, record, registration }
}

/// One who is still counted waits again, for one who has rung for the word.
fn one_who_stays() {
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
    let words = Rc::new([(); 2].map(|()| AtomicU64::new(0)));
    let waiter = Rc::clone(&words);
    let waiter = loom::thread::spawn(move || {
        let [waiting, record] = &*waiter;
        let life = || {
            let registration = Registration::new(Some(0));
            for ready in [Ok(()), Err(NotNow::Nothing)] {
                let (attempt, more, look) = (|| ready, || false, || None);
                let mut waiter = Plain { attempt, more, look, owed: None };
                waiter.wait(&Sleep, seat(waiting, 0, record, &registration));
            }
        };
        death::mortal_with(|| {}, None, life);
    });
    let sweep = |words: Rc<[AtomicU64; 2]>| {
        let [waiting, record] = &*words;
        event::settle(waiting, || event::recorded(record.load(Ordering::Acquire), 0));
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
