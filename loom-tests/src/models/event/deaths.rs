//! A sender, a receiver or a waiter dies or is stopped somewhere: nobody else sleeps for it.

use std::rc::Rc;

use crate::death::{self, End, Fate};
use crate::explore::{LOST, completely, fails, fails_for_some_end, holds, holds_for_every_end};
use crate::kernel::Deadline;
use crate::mutant::Mutant;
use crate::world::Side::{Receiver, Sender};
use crate::world::{Told, World};

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

/// A sender dies somewhere: what it published is received, and the receiver
/// is told that it has gone.
fn sender_dies(fate: Fate) {
    sender_of_one_dies(false, fate);
}

fn sender_of_one_dies(stays: bool, fate: Fate) {
    let (world, [main, sender]) = World::between(2, [Receiver, Sender]);
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

/// The last sender dies while three sleep, of whom two were opened when there was none:
/// they expect others. One of them may sweep, and the other one be woken by that.
fn last_sender_dies_before_newcomers() {
    let sides = [Receiver, Receiver, Receiver, Sender];
    let (world, [main, one, two, sender]) = World::between(1, sides);
    let system = Rc::clone(&world.system);
    let sender = sender.spawn(None, move |sender| {
        system.until_asleep(3);
        sender.process.end();
    });
    let newcomers = [one, two].map(|newcomer| {
        newcomer.met.set(false);
        newcomer.spawn(None, |newcomer| newcomer.receive(Some(Deadline(1))))
    });
    world.system.until_asleep(2);
    assert_eq!(main.receive(None), Err(Told::Disconnected));
    world.system.tick();
    sender.join().unwrap();
    for newcomer in newcomers {
        assert_eq!(newcomer.join().unwrap(), Some(Err(Told::TimedOut)));
    }
}

#[test]
fn who_sleeps_is_told_of_the_last_senders_death_whoever_sleeps_before_it() {
    let name = "event, the last sender dies before newcomers";
    holds(name, Some(1), last_sender_dies_before_newcomers);
    let mutant = Mutant::Model("a sweep rouses nobody");
    fails(name, mutant, LOST, Some(1), last_sender_dies_before_newcomers);
}

/// A sender of two who wait dies, and there is one message.
fn sender_of_two_dies(fate: Fate) {
    let (world, [main, other, sender]) = World::between(1, [Receiver, Receiver, Sender]);
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
fn receiver_dies(fate: Fate) {
    let (world, [main, mortal, sender]) = World::between(2, [Receiver, Receiver, Sender]);
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
    let (world, [main, stopped, sender]) = World::between(2, [Receiver, Receiver, Sender]);
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

/// A waiter has died somewhere; two sweep it, of whom one then waits and the
/// other one sends.
fn waiter_dies_and_two_sweep(fate: Fate) {
    let (world, [main, mortal, sender]) = World::between(1, [Receiver, Receiver, Sender]);
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
    let (world, [main, sleeper, sender]) = World::between(2, [Receiver, Receiver, Sender]);
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
    let (world, [main, dying, other]) = World::between(1, [Sender, Receiver, Receiver]);
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
