//! Publishers that wait for the slowest of two readers: who moves asks whether it was it.

use super::{Peer, side};
use crate::death::{End, Fate};
use crate::explore::{
    LOST, completely, fails, fails_for_some_end, holds, holds_despite, holds_for_every_end,
};
use crate::mutant::{self, Mutant};
use crate::ring::event::{self, Memo};
use crate::sync::{NO_FENCE_BEFORE_IT_ASKS, Ordering};

impl Peer {
    /// The position of the slowest living one of the first two.
    fn slowest(&self) -> u64 {
        let alive = |id: &usize| self.side.dead[*id].load(Ordering::Acquire) == 0;
        let position = |id: usize| self.side.seats[id].load(Ordering::Acquire);
        (0..2).filter(alive).map(position).min().unwrap_or(u64::MAX)
    }

    /// Reads the first message, and tells the publishers if one more may be published now.
    fn reads(&self) {
        self.side.seats[usize::from(self.id)].store(1, Ordering::Release);
        let Some(word) = event::waited_for(&self.process, &self.side.waiting) else { return };
        let meant = || self.slowest() > 0;
        let mut memo = Memo::default();
        event::ring(&self.process, self.event(), word, &mut memo, meant).unwrap();
    }

    fn waits_for_both(&self) {
        self.wait_until(|| self.slowest() > 0);
    }
}

/// Two readers, and a publisher that waits for both.
pub(in crate::models) fn two_read() {
    let [one, two, main] = side();
    let readers = [one, two].map(|reader| reader.spawn(None, Peer::reads));
    main.waits_for_both();
    readers.into_iter().for_each(|reader| reader.join().unwrap());
    assert_eq!(main.count(), 0);
    assert!(main.strokes() <= 2);
}

/// The same, and everybody has seen long ago that the publisher is counted.
fn two_read_counted() {
    let [one, two, main] = side();
    main.side.system.returns();
    let record = &main.side.records[usize::from(main.id)];
    main.registration.announce(&main.process, &main.side.waiting, record);
    let readers = [one, two].map(|reader| reader.spawn(None, Peer::reads));
    main.waits_for_both();
    main.let_go();
    readers.into_iter().for_each(|reader| reader.join().unwrap());
}

#[test]
fn the_last_of_those_who_are_waited_for_strikes() {
    let name = "bell, two read";
    completely(|| {
        holds(name, Some(2), two_read);
        holds_despite(name, Mutant::NoLightFence, Some(2), two_read_counted);
        fails(name, Mutant::Model(NO_FENCE_BEFORE_IT_ASKS), LOST, Some(2), two_read_counted);
    });
}

/// The publisher sleeps before either moves: the first of them does not wake it.
fn sleeps_before() {
    let [one, two, main] = side();
    let system = std::rc::Rc::clone(&main.side.system);
    let reader = one.spawn(None, move |one| {
        system.until_asleep(1);
        one.reads();
        assert_eq!(one.strokes(), 0, "woken for nothing");
        two.reads();
    });
    main.waits_for_both();
    reader.join().unwrap();
    assert_eq!(main.strokes(), 1);
}

#[test]
fn who_is_not_the_slowest_wakes_nobody() {
    holds("bell, sleeps before two read", Some(2), sleeps_before);
}

/// One of the two dies somewhere, read or not.
fn one_of_two_dies(fate: Fate) {
    let [one, two, main] = side();
    let dying = one.spawn(Some(fate), Peer::reads);
    let reader = two.spawn(None, Peer::reads);
    main.waits_for_both();
    dying.join().unwrap();
    reader.join().unwrap();
    assert_eq!(main.count(), 0);
}

#[test]
fn the_death_of_one_who_is_waited_for_strikes() {
    let name = "bell, one of two readers dies";
    completely(|| {
        holds_for_every_end(name, Some(2), End::Killed, one_of_two_dies);
        let mutant = Mutant::Model("no credit");
        fails_for_some_end(name, mutant, LOST, Some(2), End::Killed, one_of_two_dies);
    });
}
