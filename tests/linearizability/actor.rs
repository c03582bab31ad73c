//! A process that does what its tape says, and notes it.

use std::cell::Cell;
use std::os::unix::process::parent_id;

use tombolo::{Fault, Segment};

use crate::common::Brief;
use crate::common::ends::{Nothing, Patience, Rx, Tx};
use crate::history::Answer;
use crate::play::Queue;
use crate::tape::{Beat, Seat, Step, Tape, wait_for};

/// Works until it is killed, or its parent is gone.
pub(crate) fn act(brief: &Brief, queues: &[Queue]) {
    perform(brief, |segment, seat, begin| play(segment, seat, &queues[seat.queue()], begin));
}

/// Works until it is killed, or its parent is gone: plays each round in turn. `begin` is to
/// be called when it has what it needs.
pub(crate) fn perform(brief: &Brief, play: impl Fn(&Segment, &Seat<'_>, &dyn Fn())) {
    let segment = Segment::open(brief.text(0)).unwrap();
    let tape = Tape::of(brief.number(1));
    let seat = tape.seat(brief.number(2));
    let first: u64 = brief.number(3);
    let parent = parent_id();
    brief.say("here");
    for round in first.. {
        wait_for(|| {
            end_without(parent);
            seat.is_called(round) || seat.is_dismissed()
        });
        if seat.is_dismissed() {
            return;
        }
        play(&segment, &seat, &|| {
            seat.ready(round);
            wait_for(|| {
                end_without(parent);
                tape.has_gone(round)
            });
        });
        seat.done(round);
    }
}

fn play(segment: &Segment, seat: &Seat<'_>, queue: &Queue, begin: &dyn Fn()) {
    let program = seat.program();
    let sends = |beat: &Beat| matches!(beat.step, Step::Send { .. } | Step::Grant { .. });
    let mut tx = (program.iter().any(sends)).then(|| queue.sender(segment).unwrap());
    let receives = |beat: &Beat| !sends(beat);
    let mut rx = program.iter().any(receives).then(|| queue.receiver(segment).unwrap());
    begin();
    let mut diary = Diary::new(seat);
    for beat in &program {
        dawdle(beat.pause);
        match (&mut tx, &mut rx) {
            (Some(tx), _) if sends(beat) => send(&mut **tx, beat, &mut diary),
            (_, Some(rx)) => receive(&mut **rx, beat, &mut diary),
            _ => unreachable!("it has the end that it needs"),
        }
    }
}

/// Nobody is left behind when the test itself is killed.
fn end_without(parent: u32) {
    if parent_id() != parent {
        std::process::exit(0);
    }
}

pub(crate) fn dawdle(pause: u16) {
    (0..pause).for_each(|_| std::hint::spin_loop());
}

/// The calls of a program, one after the other.
pub(crate) struct Diary<'a> {
    seat: &'a Seat<'a>,
    next: Cell<usize>,
}

impl<'a> Diary<'a> {
    pub(crate) const fn new(seat: &'a Seat<'a>) -> Self {
        Self { seat, next: Cell::new(0) }
    }

    pub(crate) fn call(&self) {
        self.seat.call(self.next.get());
    }

    pub(crate) fn answer(&self, answer: &Answer) {
        self.seat.answer(self.next.get(), answer);
        self.next.set(self.next.get() + 1);
    }

    /// A call of a kind that is not made, or that is not needed.
    pub(crate) fn skip(&self) {
        self.next.set(self.next.get() + 1);
    }

    fn answered<R>(&self, result: Result<R, Fault>, answer: impl FnOnce(R) -> Answer) {
        match result {
            Ok(done) => self.answer(&answer(done)),
            Err(fault) => {
                self.answer(&Answer::Failed);
                eprintln!("{fault}");
            }
        }
    }
}

fn send(tx: &mut dyn Tx, beat: &Beat, diary: &mut Diary<'_>) {
    match beat.step {
        Step::Send { first, count: 1, patience } => {
            diary.call();
            let sent = tx.send_for(first, patience);
            diary.answered(sent, |sent| Answer::Sent(sent.into()));
        }
        Step::Send { first, count, patience: Patience::Ever } => {
            let ids: Vec<u64> = (first..first + count as u64).collect();
            diary.call();
            let sent = tx.send_batch(&ids);
            diary.answered(sent, |()| Answer::Sent(count));
        }
        Step::Send { first, count, .. } => {
            let ids: Vec<u64> = (first..first + count as u64).collect();
            diary.call();
            let sent = tx.try_send_batch(&ids);
            diary.answered(sent, Answer::Sent);
        }
        Step::Grant { id, patience, end } => {
            diary.call();
            let granted = tx.grant_for(id, patience, end, &mut || {
                diary.answer(&Answer::Sent(1));
                dawdle(beat.hold);
                diary.call();
            });
            match granted {
                Ok(true) => diary.answer(&Answer::Done),
                Ok(false) => {
                    diary.answer(&Answer::Sent(0));
                    diary.skip();
                }
                Err(fault) => diary.answered(Err::<(), _>(fault), |()| Answer::Done),
            }
        }
        _ => unreachable!("these are not sent"),
    }
}

fn receive(rx: &mut dyn Rx, beat: &Beat, diary: &mut Diary<'_>) {
    let got = |got: Result<u64, Nothing>| match got {
        Ok(id) => Answer::Got(vec![id]),
        Err(nothing) => Answer::Nothing(nothing),
    };
    match beat.step {
        Step::Recv { most: 1, patience } => {
            diary.call();
            let received = rx.recv_for(patience);
            diary.answered(received, got);
        }
        Step::Recv { most, .. } => {
            diary.call();
            let received = rx.recv_batch(most);
            diary.answered(received, Answer::Got);
        }
        Step::Take { patience, end } => {
            diary.call();
            let taken = rx.take(patience, end, &mut |id, deaths| {
                diary.answer(&Answer::Taken(id, deaths));
                dawdle(beat.hold);
                diary.call();
            });
            match taken {
                Ok(Ok(_)) => diary.answer(&Answer::Done),
                Ok(Err(nothing)) => {
                    diary.answer(&Answer::Nothing(nothing));
                    diary.skip();
                }
                Err(fault) => diary.answered(Err::<(), _>(fault), |()| Answer::Done),
            }
        }
        _ => unreachable!("these are not received"),
    }
}
