//! Ledgers made for these tests: correct ones pass, and the judge finds each
//! error in the others, by its own count.

use super::life::COARSE_NS;
use super::*;

/// A ledger in the making: producer 0 in its life 0, and two consumers. Every
/// note is one time later than the one before.
struct Case {
    judge: Judge,
    time: u64,
    lives: [u32; 2],
}

pub(super) const fn id(number: u64) -> Id {
    Id { producer: 0, life: 0, number }
}

impl Case {
    /// Messages before `sent` have been sent.
    fn new(attempts: Option<u8>, sent: u64) -> Self {
        let mut case = Self { judge: Judge::new(attempts, 1, 2), time: 0, lives: [0; 2] };
        case.send(sent);
        case
    }

    fn now(&mut self) -> u64 {
        // Further apart than what is kept of the times of sending.
        self.time += 2 * COARSE_NS;
        self.time
    }

    fn send(&mut self, upto: u64) {
        self.producer(Note::Sending { upto });
        self.producer(Note::Sent { upto });
    }

    fn producer(&mut self, note: Note) {
        let at = self.now();
        self.judge.hear(Seat::Producer(0), 0, at, note);
    }

    fn consumer(&mut self, seat: u16, notes: &[Note]) {
        for &note in notes {
            let at = self.now();
            self.judge.hear(Seat::Consumer(seat), self.lives[usize::from(seat)], at, note);
        }
    }

    fn get(&mut self, seat: u16, numbers: impl IntoIterator<Item = u64>) {
        for number in numbers {
            self.consumer(seat, &[ask(1), Note::Got(id(number)), Note::Done]);
        }
    }

    fn take(&mut self, seat: u16, number: u64, attempts: u8) {
        self.consumer(seat, &[peek(), Note::Took(id(number), attempts)]);
    }

    fn acknowledge(&mut self, seat: u16, number: u64) {
        self.consumer(seat, &[Note::Releasing(id(number)), Note::Released(id(number))]);
    }

    /// Kills a consumer; its successor comes up.
    fn kill(&mut self, seat: u16) {
        let (signal_at, reaped_at) = (self.now(), self.now());
        let life = self.lives[usize::from(seat)];
        self.judge.end(Seat::Consumer(seat), life, End::Killed { signal_at, reaped_at });
        self.lives[usize::from(seat)] += 1;
        self.consumer(seat, &[Note::Up]);
    }

    /// The counts of lost, duplicated, torn and reordered messages.
    #[track_caller]
    fn found(self, expected: [u64; 4]) -> Findings {
        let findings = self.judge.conclude();
        let Findings { lost, duplicated, torn, reordered, .. } = findings;
        assert_eq!([lost, duplicated, torn, reordered], expected, "{:?}", findings.evidence);
        assert_eq!(findings.evidence.is_empty(), expected == [0; 4]);
        findings
    }
}

/// A call that takes and acknowledges messages; and one that only takes one.
const fn ask(most: u64) -> Note {
    Note::Asking { most, whole: true }
}

const fn peek() -> Note {
    Note::Asking { most: 1, whole: false }
}

pub(super) const RIGHT: [u64; 4] = [0; 4];
pub(super) const LOST: [u64; 4] = [1, 0, 0, 0];
pub(super) const DUPLICATED: [u64; 4] = [0, 1, 0, 0];
pub(super) const TORN: [u64; 4] = [0, 0, 1, 0];
pub(super) const REORDERED: [u64; 4] = [0, 0, 0, 1];

#[test]
fn what_is_received_once_and_in_order_is_right() {
    let mut case = Case::new(Some(8), 6);
    case.get(0, [0, 2]);
    case.get(1, [1]);
    case.take(1, 3, 0);
    case.consumer(0, &[ask(4), Note::Got(id(4)), Note::Got(id(5)), Note::Done]);
    case.acknowledge(1, 3);
    assert_eq!(case.found(RIGHT).messages, 6);
}

#[test]
fn a_message_that_never_came_is_lost() {
    for lost in [0, 1, 2] {
        let mut case = Case::new(Some(8), 3);
        case.get(0, (0..3).filter(|&number| number != lost));
        case.found(LOST);
    }
}

#[test]
fn a_message_that_was_being_sent_may_be_lost_but_none_before_one_that_came() {
    let mut case = Case::new(Some(8), 1);
    case.producer(Note::Sending { upto: 4 });
    case.get(0, [0]);
    case.judge.end(Seat::Producer(0), 0, End::Killed { signal_at: 1 << 40, reaped_at: 1 << 40 });
    assert_eq!(case.found(RIGHT).held_by_dead, 3);

    let mut case = Case::new(Some(8), 1);
    case.producer(Note::Sending { upto: 4 });
    case.get(0, [0, 2]);
    case.found(LOST);
}

#[test]
fn a_dead_receiver_can_have_swallowed_what_it_asked_for_and_no_more() {
    let swallowed = |most, lost: u64| {
        let mut case = Case::new(Some(8), 10);
        case.get(1, [0]);
        case.consumer(0, &[ask(most)]);
        case.kill(0);
        case.get(1, 1 + lost..10);
        case
    };
    assert_eq!(swallowed(1, 1).found(RIGHT).held_by_dead, 1);
    swallowed(1, 2).found(LOST);
    swallowed(4, 4).found(RIGHT);
    swallowed(4, 5).found(LOST);
}

#[test]
fn a_dead_receiver_explains_nothing_at_another_time() {
    // It asked when the later message had come already.
    let mut case = Case::new(Some(8), 3);
    case.get(1, [0, 2]);
    case.consumer(0, &[ask(1)]);
    case.kill(0);
    case.found(LOST);
    // It died before the message was sent.
    let mut case = Case::new(Some(8), 1);
    case.consumer(0, &[ask(1)]);
    case.kill(0);
    case.send(3);
    case.get(1, [0, 1]);
    case.found(LOST);
    // It had what it asked for.
    let mut case = Case::new(Some(8), 3);
    case.consumer(0, &[ask(1), Note::Got(id(0)), Note::Done]);
    case.kill(0);
    case.get(1, [2]);
    case.found(LOST);
}

#[test]
fn what_a_dead_receiver_had_taken_must_come_again() {
    let taken = |attempts| {
        let mut case = Case::new(attempts, 2);
        case.take(0, 0, 0);
        case.kill(0);
        case
    };
    for policy in [Some(8), None] {
        let mut case = taken(policy);
        case.get(1, [1]);
        case.found(LOST);
        let mut case = taken(policy);
        case.take(1, 0, 1);
        case.acknowledge(1, 0);
        case.get(1, [1]);
        assert_eq!(case.found(RIGHT).held_by_dead, 1);
    }
    // With drop it must not.
    let mut case = taken(Some(0));
    case.get(1, [1]);
    case.found(RIGHT);
    let mut case = taken(Some(0));
    case.get(1, [0, 1]);
    case.found(DUPLICATED);
}

#[test]
fn a_call_that_only_takes_swallows_nothing_unless_it_is_to_be_dropped() {
    let silent = |attempts| {
        let mut case = Case::new(attempts, 2);
        case.consumer(0, &[peek()]);
        case.kill(0);
        case.get(1, [1]);
        case
    };
    silent(Some(8)).found(LOST);
    silent(None).found(LOST);
    silent(Some(0)).found(RIGHT);
}

#[test]
fn what_was_to_come_again_cannot_have_been_swallowed_after_there_was_none() {
    let mut case = Case::new(Some(8), 3);
    case.take(0, 0, 0);
    case.kill(0);
    // Orphans come first: by now somebody has it, and nobody has died.
    case.take(1, 1, 0);
    case.acknowledge(1, 1);
    case.consumer(0, &[ask(1)]);
    case.kill(0);
    case.get(1, [2]);
    case.found(LOST);
    // Here it can have been swallowed.
    let mut case = Case::new(Some(8), 3);
    case.take(0, 0, 0);
    case.kill(0);
    case.consumer(0, &[ask(1)]);
    case.kill(0);
    case.get(1, [1, 2]);
    case.found(RIGHT);
}

#[test]
fn a_message_comes_again_as_often_as_it_may_and_is_then_dropped() {
    let tries = |attempts: std::ops::Range<u8>| {
        let mut case = Case::new(Some(2), 2);
        for attempt in attempts {
            case.take(0, 0, attempt);
            case.kill(0);
        }
        case.get(1, [1]);
        case
    };
    tries(0..2).found(LOST);
    tries(0..3).found(RIGHT);
    tries(0..4).found(DUPLICATED);
}

#[test]
fn a_message_that_comes_again_without_a_death_is_a_duplicate() {
    let mut case = Case::new(Some(8), 1);
    case.get(0, [0, 0]);
    case.found(DUPLICATED);

    let mut case = Case::new(Some(8), 1);
    case.get(0, [0]);
    case.take(1, 0, 0);
    case.acknowledge(1, 0);
    case.found(DUPLICATED);

    // Taken from a consumer that lives, and dies later.
    let mut case = Case::new(Some(8), 1);
    case.take(0, 0, 0);
    case.take(1, 0, 1);
    case.kill(0);
    case.acknowledge(1, 0);
    case.found(DUPLICATED);

    // It had been acknowledged before the death.
    let mut case = Case::new(None, 1);
    case.take(0, 0, 0);
    case.acknowledge(0, 0);
    case.kill(0);
    case.get(1, [0]);
    case.found(DUPLICATED);
}

#[test]
fn a_repetition_that_is_not_marked_is_a_duplicate() {
    let mut case = Case::new(Some(8), 1);
    case.take(0, 0, 0);
    case.kill(0);
    case.take(1, 0, 0);
    case.acknowledge(1, 0);
    case.found(DUPLICATED);
}

#[test]
fn whether_it_was_acknowledged_by_the_dying_nobody_knows() {
    let cut = || {
        let mut case = Case::new(Some(8), 2);
        case.take(0, 0, 0);
        case.consumer(0, &[Note::Releasing(id(0))]);
        case.kill(0);
        case
    };
    let mut case = cut();
    case.get(1, [1]);
    case.found(RIGHT);
    let mut case = cut();
    case.get(1, [0, 1]);
    case.found(RIGHT);
}

#[test]
fn a_torn_message_and_one_that_nobody_sent_are_found() {
    let mut case = Case::new(Some(8), 1);
    case.get(0, [0]);
    case.consumer(0, &[ask(1), Note::Torn, Note::Done]);
    case.found(TORN);
    let mut case = Case::new(Some(8), 1);
    case.get(0, [0, 1]);
    case.found(TORN);
}

#[test]
fn a_message_after_a_later_one_is_reordered() {
    let mut case = Case::new(None, 2);
    case.get(0, [1, 0]);
    case.found(REORDERED);
    let mut case = Case::new(Some(8), 2);
    case.get(0, [1]);
    case.take(0, 0, 0);
    case.acknowledge(0, 0);
    case.found(REORDERED);
    // Between two consumers there is no order.
    let mut case = Case::new(None, 2);
    case.get(0, [1]);
    case.get(1, [0]);
    case.found(RIGHT);
}

#[test]
fn a_repetition_may_come_late() {
    // Marked as one, or noted by the dead.
    for noted in [true, false] {
        let mut case = Case::new(Some(8), 2);
        if noted {
            case.take(0, 0, 0);
        } else {
            case.consumer(0, &[peek()]);
        }
        case.get(1, [1]);
        case.kill(0);
        case.take(1, 0, 1);
        case.acknowledge(1, 0);
        case.found(RIGHT);
    }
    // To a consumer that is not told the attempts: only where a dead one may have had it.
    let mut case = Case::new(Some(8), 2);
    case.consumer(0, &[peek()]);
    case.get(1, [1]);
    case.kill(0);
    case.get(1, [0]);
    case.found(RIGHT);
    let mut case = Case::new(Some(8), 2);
    case.get(1, [1]);
    case.consumer(0, &[peek()]);
    case.kill(0);
    case.get(1, [0]);
    case.found(REORDERED);
    // With drop nothing comes again.
    let mut case = Case::new(Some(0), 2);
    case.consumer(0, &[peek()]);
    case.get(1, [1]);
    case.kill(0);
    case.get(1, [0]);
    case.found(REORDERED);
}

#[test]
fn lives_are_told_apart() {
    let mut case = Case::new(Some(8), 2);
    case.get(0, [0, 1]);
    for note in [Note::Sending { upto: 2 }, Note::Sent { upto: 2 }] {
        let at = case.now();
        case.judge.hear(Seat::Producer(0), 1, at, note);
    }
    let second = |number| Note::Got(Id { producer: 0, life: 1, number });
    case.consumer(0, &[ask(1), second(0), Note::Done]);
    assert_eq!(case.found(LOST).messages, 3);
}
