//! A teller or a waiter is killed or stopped somewhere: nobody else sleeps for it.

use super::{Peer, side};
use crate::death::{End, Fate};
use crate::explore::{LOST, completely, fails_for_some_end, holds_for_every_end};
use crate::mutant::Mutant;
use crate::ring::event;
use crate::sync::Ordering;

/// The teller dies somewhere: what it has published is heard, or its death.
pub(super) fn teller_is_killed(fate: Fate) {
    let [teller, main] = side();
    let telling = teller.spawn(Some(fate), Peer::tell);
    main.wait_until(|| {
        let dead = main.side.dead[0].load(Ordering::Acquire) != 0;
        dead || main.side.published.load(Ordering::Acquire) >= 1
    });
    telling.join().unwrap();
    assert_eq!(main.count(), 0);
}

#[test]
fn a_death_strikes() {
    let name = "bell, the teller is killed";
    completely(|| {
        holds_for_every_end(name, Some(2), End::Killed, teller_is_killed);
        for mutant in [Mutant::Model("no credit"), Mutant::NoUndo] {
            fails_for_some_end(name, mutant, LOST, Some(2), End::Killed, teller_is_killed);
        }
    });
}

/// Two tell, of whom one is stopped somewhere: the message of the other is heard.
fn teller_is_stopped(fate: Fate) {
    let [stopped, teller, main] = side();
    let stopped = stopped.spawn(Some(fate), Peer::tell);
    let telling = teller.spawn(None, |teller| {
        teller.side.seats[0].store(1, Ordering::Release);
        teller.notify();
    });
    main.wait_until(|| main.side.seats[0].load(Ordering::Acquire) != 0);
    telling.join().unwrap();
    stopped.join().unwrap();
}

#[test]
fn a_stopped_teller_keeps_no_stroke_from_anybody() {
    let name = "bell, a teller is stopped";
    completely(|| {
        holds_for_every_end(name, Some(2), End::Stopped, teller_is_stopped);
        let mutant = Mutant::Model("struck is said before");
        fails_for_some_end(name, mutant, LOST, Some(2), End::Stopped, teller_is_stopped);
    });
}

/// Two wait for one message, of whom one is killed or stopped somewhere.
fn waiter_ends(fate: Fate) {
    let [teller, main, other] = side();
    let other = other.spawn(Some(fate), |other| other.hear(1));
    let telling = teller.spawn(None, Peer::tell);
    main.hear(1);
    telling.join().unwrap();
    other.join().unwrap();
    if fate.end == End::Killed {
        main.listen(main.event().sem);
        assert_eq!(main.count(), 0, "somebody who is dead is waited for");
    }
}

#[test]
fn a_waiter_that_ends_keeps_nothing_from_another() {
    completely(|| {
        for end in [End::Killed, End::Stopped] {
            holds_for_every_end("bell, a waiter ends", Some(1), end, waiter_ends);
        }
    });
}

/// The teller leaves, and is killed somewhere: who waits for its end hears of it.
fn teller_leaves(fate: Fate) {
    let [teller, main] = side();
    let telling = teller.spawn(Some(fate), |teller| {
        teller.side.seats[0].store(1, Ordering::Release);
        event::give_credit_back(&teller.process, teller.event()).unwrap();
    });
    main.wait_until(|| {
        let dead = main.side.dead[0].load(Ordering::Acquire) != 0;
        dead || main.side.seats[0].load(Ordering::Acquire) != 0
    });
    telling.join().unwrap();
}

#[test]
fn who_leaves_strikes() {
    completely(|| {
        let name = "bell, the teller leaves";
        holds_for_every_end(name, Some(2), End::Killed, teller_leaves);
    });
}
