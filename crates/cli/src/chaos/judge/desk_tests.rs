//! Ledgers of storms of calls made for these tests: correct ones pass, and each error in the
//! others is found, under its count.

use super::tests::{DUPLICATED, LOST, REORDERED, RIGHT, TORN, id};
use super::*;
use crate::chaos::ledger::{Deed, How};

/// A ledger in the making: client 0, and two servers that are there. Every note is one time
/// later than the one before.
struct Case {
    judge: Judge,
    time: u64,
    lives: [u32; 2],
}

impl Case {
    fn new() -> Self {
        let mut case = Self { judge: Judge::of_calls(1, 2), time: 0, lives: [0; 2] };
        case.server(0, &[Note::Up]);
        case.server(1, &[Note::Up]);
        case
    }

    const fn now(&mut self) -> u64 {
        self.time += 10;
        self.time
    }

    fn client(&mut self, note: Note) {
        let at = self.now();
        self.judge.hear(Seat::Producer(0), 0, at, note);
    }

    fn call(&mut self, number: u64, repeats: u8) {
        self.client(Note::Calling { number, repeats });
    }

    fn ended(&mut self, number: u64, how: How, server: (u16, u32)) {
        self.client(Note::Ended { number, how, server });
    }

    fn server(&mut self, seat: u16, notes: &[Note]) {
        for &note in notes {
            let at = self.now();
            self.judge.hear(Seat::Consumer(seat), self.lives[usize::from(seat)], at, note);
        }
    }

    fn ask(&mut self, seat: u16) {
        self.server(seat, &[Note::Asking { most: 1, whole: false }]);
    }

    fn take(&mut self, seat: u16, number: u64) {
        self.ask(seat);
        self.server(seat, &[Note::Took(id(number), 0)]);
    }

    fn deed(&mut self, seat: u16, number: u64, deeds: &[Deed]) {
        for &deed in deeds {
            self.server(seat, &[Note::Lets(id(number), deed)]);
        }
    }

    /// A server takes this call and replies to it.
    fn serve(&mut self, seat: u16, number: u64) {
        self.take(seat, number);
        self.deed(seat, number, &[Deed::Replying, Deed::Replied]);
    }

    /// Kills a server; its successor comes up.
    fn kill(&mut self, seat: u16) {
        let (signal_at, reaped_at) = (self.now(), self.now());
        let life = self.lives[usize::from(seat)];
        self.judge.end(Seat::Consumer(seat), life, End::Killed { signal_at, reaped_at });
        self.lives[usize::from(seat)] += 1;
        self.server(seat, &[Note::Up]);
    }

    #[track_caller]
    fn found(self, expected: [u64; 4]) {
        let findings = self.judge.conclude();
        let Findings { lost, duplicated, torn, reordered, .. } = findings;
        assert_eq!([lost, duplicated, torn, reordered], expected, "{:?}", findings.evidence);
    }
}

#[test]
fn calls_that_are_replied_to_refused_given_back_or_given_up_are_right() {
    let mut case = Case::new();
    for number in 0..6 {
        case.call(number, 0);
    }
    case.take(0, 0);
    case.take(1, 1);
    case.deed(1, 1, &[Deed::Refusing, Deed::Refused]);
    case.ended(1, How::Refused, (0, 0));
    // The client is ahead of its server's note.
    case.deed(0, 0, &[Deed::Replying]);
    case.ended(0, How::Answered, (0, 0));
    case.deed(0, 0, &[Deed::Replied]);
    case.take(0, 2);
    case.deed(0, 2, &[Deed::GivingBack, Deed::GaveBack]);
    case.serve(1, 2);
    case.ended(2, How::Answered, (1, 0));
    case.take(0, 3);
    case.ended(3, How::TimedOut, (0, 0));
    case.deed(0, 3, &[Deed::Replying, Deed::Unwanted]);
    case.serve(0, 4);
    case.ended(4, How::GivenUp, (0, 0));
    case.ended(5, How::Unmade, (0, 0));
    assert_eq!(case.judge.messages(), 2);
    case.found(RIGHT);
}

#[test]
fn a_call_without_its_reply_or_without_an_end_is_lost() {
    for how in [How::TimedOut, How::NoServer, How::ServerDied, How::Refused] {
        let mut case = Case::new();
        case.call(0, 0);
        case.serve(0, 0);
        case.ended(0, how, (0, 0));
        case.found(LOST);
    }
    let mut case = Case::new();
    case.call(0, 0);
    case.found(LOST);
    // One that was killed need not have seen the end.
    let mut case = Case::new();
    case.call(0, 0);
    case.serve(0, 0);
    case.judge.end(Seat::Producer(0), 0, End::Killed { signal_at: 0, reaped_at: 0 });
    case.found(RIGHT);
}

#[test]
fn only_the_death_of_its_server_ends_a_call_with_that_error() {
    let died = |before: &dyn Fn(&mut Case), after: &dyn Fn(&mut Case), repeats| {
        let mut case = Case::new();
        case.call(0, repeats);
        before(&mut case);
        case.ended(0, How::ServerDied, (0, 0));
        after(&mut case);
        case
    };
    let nothing = |_: &mut Case| ();
    let killed = |case: &mut Case| {
        case.take(0, 0);
        case.kill(0);
    };
    let silent = |case: &mut Case| {
        case.ask(1);
        case.kill(1);
    };
    died(&killed, &nothing, 0).found(RIGHT);
    died(&silent, &nothing, 0).found(RIGHT);
    died(
        &|case| {
            killed(case);
            silent(case);
        },
        &nothing,
        1,
    )
    .found(RIGHT);
    died(&killed, &nothing, 1).found(LOST);
    died(&nothing, &nothing, 0).found(LOST);
    // And it was taken when it had ended.
    died(&nothing, &killed, 0).found([1, 1, 0, 0]);
    died(&|case| case.take(0, 0), &|case| case.kill(0), 0).found(LOST);
    // It did not ask when it was killed.
    died(&|case| case.kill(1), &nothing, 0).found(LOST);
    // One death is no reason for two.
    let mut case = Case::new();
    case.call(0, 0);
    case.call(1, 0);
    silent(&mut case);
    case.ended(0, How::ServerDied, (0, 0));
    case.ended(1, How::ServerDied, (0, 0));
    case.found(LOST);
}

#[test]
fn a_call_that_is_served_again_without_a_reason_is_found() {
    let mut case = Case::new();
    case.call(0, 3);
    case.serve(0, 0);
    case.ended(0, How::Answered, (0, 0));
    case.take(1, 0);
    case.found(DUPLICATED);
    for (repeats, dies, expected) in
        [(1, true, RIGHT), (0, true, DUPLICATED), (1, false, DUPLICATED)]
    {
        let mut case = Case::new();
        case.call(0, repeats);
        case.take(0, 0);
        if dies {
            case.kill(0);
        }
        case.serve(1, 0);
        case.ended(0, How::Answered, (1, 0));
        if !dies {
            // Too late.
            case.kill(0);
        }
        case.found(expected);
    }
    for how in [How::GivenUp, How::TimedOut] {
        let mut case = Case::new();
        case.call(0, 0);
        case.ended(0, how, (0, 0));
        case.take(1, 0);
        case.deed(1, 0, &[Deed::Replying, Deed::Unwanted]);
        case.found(DUPLICATED);
    }
    let mut case = Case::new();
    case.call(0, 0);
    case.ask(0);
    case.ended(0, How::Unmade, (0, 0));
    case.server(0, &[Note::Took(id(0), 0)]);
    case.found(DUPLICATED);
}

#[test]
fn another_s_reply_and_torn_ones_are_found() {
    for (how, by, expected) in [
        (How::Answered, (1, 0), REORDERED),
        (How::Answered, (0, 1), REORDERED),
        (How::Another, (0, 0), REORDERED),
        (How::Torn, (0, 0), TORN),
    ] {
        let mut case = Case::new();
        case.call(0, 0);
        case.serve(0, 0);
        case.ended(0, how, by);
        case.found(expected);
    }
    let mut case = Case::new();
    case.call(0, 0);
    case.take(0, 0);
    case.deed(0, 0, &[Deed::Replying, Deed::Unwanted]);
    case.ended(0, How::Answered, (0, 0));
    case.found(REORDERED);
    let mut case = Case::new();
    case.take(0, 7);
    case.found(TORN);
    let mut case = Case::new();
    case.ask(0);
    case.server(0, &[Note::Torn]);
    case.found(TORN);
}

#[test]
fn no_server_is_told_only_where_there_may_have_been_none() {
    let none = |between: &dyn Fn(&mut Case)| {
        let mut case = Case::new();
        case.call(0, 0);
        between(&mut case);
        case.ended(0, How::NoServer, (0, 0));
        case
    };
    none(&|_| ()).found(LOST);
    none(&|case| case.kill(0)).found(LOST);
    // First the one, then the other: one of them was there all the time.
    none(&|case| {
        case.kill(0);
        case.kill(1);
    })
    .found(LOST);
    none(&|case| {
        case.server(0, &[Note::Down]);
        case.kill(1);
        case.server(0, &[Note::Up]);
    })
    .found(RIGHT);
    let mut case = Case::new();
    case.server(0, &[Note::Down]);
    case.kill(1);
    case.call(0, 0);
    case.ended(0, How::NoServer, (0, 0));
    case.found(LOST);
}
