//! Ledgers of broadcast storms made for these tests: correct ones pass, and each error in
//! the others is found, under its count.

use super::life::COARSE_NS;
use super::tests::{DUPLICATED, LOST, REORDERED, RIGHT, TORN, id};
use super::*;

/// A ledger in the making: producer 0, and three subscribers, of which 0 is the witness, 1
/// not reliable, and 2 reliable. Every note is one time later than the one before.
struct Case {
    judge: Judge,
    time: u64,
}

impl Case {
    /// Messages before `sent` have been sent, and all subscribers were there.
    fn new(sent: u64) -> Self {
        let mut case = Self { judge: Judge::of_broadcast(1, 3), time: 0 };
        for seat in 0..3 {
            case.join(seat, 0);
        }
        case.send(sent);
        case
    }

    fn now(&mut self) -> u64 {
        self.time += 2 * COARSE_NS;
        self.time
    }

    fn producer(&mut self, note: Note) {
        let at = self.now();
        self.judge.hear(Seat::Producer(0), 0, at, note);
    }

    fn send(&mut self, upto: u64) {
        self.producer(Note::Sending { upto });
        self.producer(Note::Sent { upto });
    }

    fn subscriber(&mut self, seat: u16, note: Note) {
        let at = self.now();
        self.judge.hear(Seat::Consumer(seat), 0, at, note);
    }

    fn join(&mut self, seat: u16, position: u64) {
        self.subscriber(seat, Note::Joined { position, reliable: seat != 1 });
    }

    fn get(&mut self, seat: u16, numbers: impl IntoIterator<Item = u64>) {
        for number in numbers {
            self.subscriber(seat, Note::Got(id(number)));
        }
    }

    #[track_caller]
    fn found(self, expected: [u64; 4]) {
        let findings = self.judge.conclude();
        let Findings { lost, duplicated, torn, reordered, .. } = findings;
        assert_eq!([lost, duplicated, torn, reordered], expected, "{:?}", findings.evidence);
    }
}

#[test]
fn what_everybody_receives_or_is_told_of_is_right() {
    let mut case = Case::new(6);
    case.get(1, [0]);
    case.get(0, 0..6);
    case.subscriber(1, Note::Missed { count: 2 });
    case.get(1, [3]);
    case.subscriber(1, Note::Skipped { count: 1 });
    case.subscriber(1, Note::At { position: 5 });
    case.get(1, [5]);
    case.get(2, 0..4);
    case.producer(Note::At { position: 5 });
    // A life that is cut off, and one that begins later.
    case.judge.end(Seat::Consumer(2), 0, End::Killed { signal_at: 0, reaped_at: 0 });
    case.join(2, 6);
    case.send(7);
    case.get(2, [6]);
    case.get(0, [6]);
    case.found(RIGHT);
}

#[test]
fn what_was_sent_and_does_not_come_is_lost() {
    let mut case = Case::new(3);
    case.get(0, [0, 1]);
    case.found(LOST);
    let mut case = Case::new(3);
    case.get(0, [0, 2]);
    case.found(LOST);
    // It may have been sent or not.
    let mut case = Case::new(3);
    case.producer(Note::Sending { upto: 5 });
    case.get(0, 0..4);
    case.found(RIGHT);
}

#[test]
fn a_reliable_subscriber_misses_nothing_from_when_it_has_joined() {
    let mut case = Case::new(3);
    case.get(0, 0..3);
    case.subscriber(2, Note::Missed { count: 1 });
    case.found(LOST);
    for (position, expected) in [(3, RIGHT), (4, LOST)] {
        let mut case = Case::new(3);
        case.join(2, position);
        case.send(4);
        case.get(0, 0..4);
        case.found(expected);
    }
}

#[test]
fn a_wrong_count_of_what_was_missed_is_found() {
    for count in [1, 3] {
        let mut case = Case::new(6);
        case.get(0, 0..6);
        case.subscriber(1, Note::Missed { count });
        case.get(1, [2]);
        case.found(REORDERED);
    }
    let mut case = Case::new(3);
    case.get(0, 0..3);
    case.get(1, [0]);
    case.subscriber(1, Note::At { position: 2 });
    case.found(REORDERED);
}

#[test]
fn two_subscribers_that_differ_are_found_whoever_is_first() {
    for late in [true, false] {
        let mut case = Case::new(2);
        if late {
            case.get(0, [0, 1]);
        }
        case.get(1, [1]);
        if !late {
            case.get(0, [0, 1]);
        }
        case.found(REORDERED);
    }
}

#[test]
fn a_message_that_comes_twice_or_late_or_from_nobody_is_found() {
    let mut case = Case::new(2);
    case.get(0, [0, 1, 1]);
    case.found(DUPLICATED);
    let mut case = Case::new(2);
    case.get(0, [1, 0]);
    case.found(REORDERED);
    let mut case = Case::new(2);
    case.get(0, [0, 1, 2]);
    case.found(TORN);
    let mut case = Case::new(2);
    case.get(0, [0, 1]);
    case.subscriber(1, Note::Torn);
    case.found(TORN);
}

#[test]
fn a_wrong_sequence_number_of_what_was_sent_is_found() {
    for position in [0, 2] {
        let mut case = Case::new(2);
        case.producer(Note::At { position });
        case.get(0, [0, 1]);
        let findings = case.judge.conclude();
        assert_eq!(findings.evidence.len(), 1, "{:?}", findings.evidence);
    }
}
