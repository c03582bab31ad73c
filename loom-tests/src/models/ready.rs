//! The thread behind the handles that are polled and awaited: told of what it waits for,
//! keeping nothing from others, and gone when it is to be. What it does for several handles that
//! come and go is a scene of `shuttle-tests`.

use std::rc::Rc;

use crate::death::{End, Fate};
use crate::explore::{LOST, fails, holds, holds_for_every_end};
use crate::mutant::Mutant;
use crate::sync::AtomicU64;
use crate::world::Side::{Receiver, Sender};
use crate::world::World;

fn word() -> Rc<AtomicU64> {
    Rc::new(AtomicU64::new(0))
}

/// Something comes between the try that found nothing and the sleep, or later.
fn progress() {
    let (_, [main, sender]) = World::between(1, [Receiver, Sender]);
    let sender = sender.spawn(None, |sender| sender.send(1).unwrap());
    assert!(main.watch(&word()));
    assert_eq!(main.receive(None), Ok(1));
    sender.join().unwrap();
}

#[test]
fn no_readiness_is_lost() {
    holds("ready, progress", Some(3), progress);
    let hasty = Mutant::Model("not looked before it sleeps");
    for mutant in [hasty, Mutant::NoLightFence, Mutant::NoHeavyFence] {
        fails("ready, progress", mutant, LOST, Some(3), progress);
    }
}

/// The sender dies somewhere, published or not, rung or not.
fn sender_dies(fate: Fate) {
    let (_, [main, sender]) = World::between(1, [Receiver, Sender]);
    let sender = sender.spawn(Some(fate), |sender| {
        sender.send(1).unwrap();
        sender.withdraw();
    });
    assert!(main.watch(&word()));
    sender.join().unwrap();
}

#[test]
fn a_death_between_publishing_and_ringing_is_told() {
    holds_for_every_end("ready, a sender dies", Some(3), End::Killed, sender_dies);
}

/// One message, and its token may go to a watcher that never tries.
fn company() {
    let (_, [main, watcher, sender]) = World::between(1, [Receiver, Receiver, Sender]);
    let stop = word();
    let told = Rc::clone(&stop);
    let watcher = watcher.spawn(None, move |watcher| watcher.watch(&told));
    let sender = sender.spawn(None, |sender| sender.send(1).unwrap());
    assert_eq!(main.receive(None), Ok(1));
    sender.join().unwrap();
    main.end(&stop);
    watcher.join().unwrap();
}

#[test]
fn a_watcher_keeps_no_wake_from_others() {
    holds("ready, company", Some(2), company);
    let mutant = Mutant::Model("the watcher keeps its token");
    fails("ready, company", mutant, LOST, Some(2), company);
}

/// It is to end, asleep or not yet.
fn ends() {
    let (_, [main, watcher]) = World::between(1, [Sender, Receiver]);
    let stop = word();
    let told = Rc::clone(&stop);
    let watcher = watcher.spawn(None, move |watcher| assert!(!watcher.watch(&told)));
    main.end(&stop);
    watcher.join().unwrap();
}

#[test]
fn a_watcher_is_gone_when_it_is_to_be() {
    holds("ready, ends", Some(3), ends);
    for mutant in ["nobody is roused", "asks are read before the values"] {
        fails("ready, ends", Mutant::Model(mutant), LOST, Some(3), ends);
    }
}
