//! Waiting and waking: a waiter that is owed a wake gets one, whoever dies.
//!
//! A lost wake shows as loom's *deadlock*: the main thread is a participant
//! and waits like the others.

use crate::death::{End, Fate};
use crate::explore::{fails, fails_for_some_end, holds, holds_for_every_end};
use crate::kernel::Deadline;
use crate::mutant::Mutant;
use crate::world::Side::{Receiver, Sender};
use crate::world::{Peer, Told, World};

const LOST: &str = "deadlock";

fn world<const N: usize>(
    capacity: usize,
    sides: [crate::world::Side; N],
) -> (std::rc::Rc<World>, [Peer; N]) {
    let (world, peers) = World::new(capacity, &sides);
    (world, peers.try_into().unwrap_or_else(|_| unreachable!("one peer for each side")))
}

/// One message, one waiter.
fn one_waiter() {
    let (world, [receiver, sender]) = world(1, [Receiver, Sender]);
    let sender = sender.spawn(None, |sender| sender.send(1).unwrap());
    assert_eq!(receiver.receive(None), Ok(1));
    sender.join().unwrap();
    world.at_rest();
}

#[test]
fn one_waiter_is_woken() {
    holds("event, one waiter", None, one_waiter);
    for mutant in [Mutant::NoLightFence, Mutant::NoHeavyFence] {
        fails("event, one waiter", mutant, LOST, Some(3), one_waiter);
    }
}

/// Two messages from one sender, two waiters: each gets one.
fn two_waiters() {
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
}

#[test]
fn two_waiters_need_the_baton_and_the_count() {
    for mutant in ["no baton", "skip if the word is unchanged"] {
        fails("event, two waiters", Mutant::Model(mutant), LOST, Some(3), two_waiters);
    }
}

/// A ring of one slot: the sender waits for space.
fn full() {
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
fn timeout() {
    let (world, [main, hasty, sender]) = world(2, [Receiver, Receiver, Sender]);
    let system = std::rc::Rc::clone(&world.system);
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
}

/// A sender dies somewhere: what it published is received, and the receiver
/// is told that it has gone.
fn sender_dies(fate: Fate) {
    let (world, [main, sender]) = world(2, [Receiver, Sender]);
    let sender = sender.spawn(Some(fate), |sender| {
        sender.send(1).unwrap();
        sender.send(2).unwrap();
        sender.withdraw();
    });
    main.drain();
    sender.join().unwrap();
    world.at_rest();
    assert_eq!(*world.consumed.borrow(), *world.published.borrow());
}

#[test]
fn a_senders_death_wakes_the_waiter() {
    holds_for_every_end("event, a sender dies", Some(3), End::Killed, sender_dies);
}

#[test]
fn mutants_of_a_senders_death() {
    for mutant in
        [Mutant::Model("no credit"), Mutant::NoUndo, Mutant::Model("no look after a wake")]
    {
        fails_for_some_end("event, a sender dies", mutant, LOST, Some(2), End::Killed, sender_dies);
    }
}

/// The same with two who wait.
fn sender_of_two_dies(fate: Fate) {
    let (world, [main, other, sender]) = world(2, [Receiver, Receiver, Sender]);
    let sender = sender.spawn(Some(fate), |sender| {
        sender.send(1).unwrap();
        sender.send(2).unwrap();
    });
    let other = other.spawn(None, |other| other.drain());
    main.drain();
    sender.join().unwrap();
    other.join().unwrap();
    world.at_rest();
    assert_eq!(world.consumed.borrow().len(), world.published.borrow().len());
}

/// A receiver dies somewhere, waiting, woken or reading: what it has not
/// consumed the other one gets.
fn receiver_dies(fate: Fate) {
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
fn t_sender_two() {
    holds_for_every_end("event, a sender of two dies", Some(1), End::Killed, sender_of_two_dies);
}
#[test]
fn t_receiver() {
    holds_for_every_end("event, a receiver dies", Some(1), End::Killed, receiver_dies);
}
