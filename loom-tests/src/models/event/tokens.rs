//! A token of another waiter: it is passed on, or owed.

use std::rc::Rc;

use super::{LIFE, LIVE, NOTHING, seat};
use crate::explore::{completely, fails, holds, holds_despite};
use crate::kernel::{Deadline, Process, System};
use crate::mutant::Mutant;
use crate::operation::Plain;
use crate::ring::event::{self, Event, Memo, Wakes};
use crate::ring::kernel::{Kernel, LightFence, Op, Refusal};
use crate::ring::set::SetMap;
use crate::ring::wait::{Cause, Heard, NotNow, Operation, Registration, Session};
use crate::ring::wake_all;
use crate::sync::{AtomicU64, Ordering};

/// A semaphore that is none of the others.
const SEM: u16 = SetMap::WAKE_ALL + 1;

/// A waiter sleeps for long. The token that a notifier has left for it is taken
/// by a newcomer, who has got something else; meanwhile the notifier publishes
/// more, and has rung for that word already.
fn a_newcomer_takes_the_token() {
    let system = Rc::new(System::new(SEM + 1, 2));
    let process = |id| Process { system: Rc::clone(&system), id };
    // The waiting word, the newcomer's record, the published message, its life.
    let words = Rc::new([1, event::record(LIFE), 0, LIVE].map(AtomicU64::new));
    let (theirs, notifier, mut memo) = (Rc::clone(&words), process(0), Memo::default());
    event::notify(
        &notifier,
        Event { waiting: &words[0], sem: SEM, wakes: Wakes::One, watch: None },
        &mut memo,
    )
    .unwrap();
    let notifier = loom::thread::spawn(move || {
        let [waiting, _, published, _] = &*theirs;
        published.store(1, Ordering::Release);
        event::notify(
            &notifier,
            Event { waiting, sem: SEM, wakes: Wakes::One, watch: None },
            &mut memo,
        )
        .unwrap();
    });
    let [waiting, record, published, life] = &*words;
    let mut got = [Err(NotNow::Nothing), Ok(())].into_iter();
    let attempt = || got.next().unwrap();
    let more = || published.load(Ordering::Acquire) != 0;
    let registration = Registration::new(Some(0));
    let mut newcomer = Plain { attempt, more, look: |_| NOTHING, owed: None };
    newcomer.wait(&process(1), seat(waiting, SEM, (record, life), &registration));
    notifier.join().unwrap();
    assert_eq!(system.value(SEM), 1, "{STRANDED}");
}

const STRANDED: &str = "nobody has passed the token on";

#[test]
fn a_token_that_a_newcomer_takes_is_passed_on() {
    let (name, model) = ("event, a newcomer", a_newcomer_takes_the_token);
    completely(|| {
        holds(name, Some(2), model);
        holds_despite(name, Mutant::NoLightFence, Some(2), model);
        fails(name, Mutant::NoSkipFence, STRANDED, Some(2), model);
    });
}

/// A process that may no longer post.
struct Barred(Process);

impl LightFence for Barred {
    fn light_fence(&self) {
        self.0.light_fence();
    }
}

impl Kernel for Barred {
    type Deadline = Deadline;

    fn semop(&self, ops: &[Op], until: Option<Deadline>) -> Result<(), Refusal> {
        if ops.iter().any(|op| op.delta > 0) { Err(DENIED) } else { self.0.semop(ops, until) }
    }

    fn values(&self, into: &mut [u16]) -> Result<(), Refusal> {
        self.0.values(into)
    }

    fn heavy_fence(&self) {
        self.0.heavy_fence();
    }

    fn soon(&self) -> Option<Deadline> {
        self.0.soon()
    }

    fn now(&self) -> Deadline {
        self.0.now()
    }

    fn at_once(&self) -> Option<Deadline> {
        self.0.at_once()
    }

    fn own_fence(&self) {
        self.0.own_fence();
    }
}

const DENIED: Refusal = Refusal::Failed(13);

/// It takes the token of another, leaves more behind, and may not post.
fn a_token_that_cannot_be_passed_on() {
    let system = Rc::new(System::new(SEM + 1, 2));
    let notifier = Process { system: Rc::clone(&system), id: 1 };
    let notifier = loom::thread::spawn(move || event::post(&notifier, SEM).unwrap());
    let [waiting, record, life] = [1, event::record(LIFE), LIVE].map(AtomicU64::new);
    let registration = Registration::new(None);
    let mut got = [Err(NotNow::Nothing), Ok(())].into_iter();
    let attempt = || got.next().unwrap();
    let barred = Barred(Process { system, id: 0 });
    let mut waiter = Plain { attempt, more: || true, look: |_| NOTHING, owed: None };
    waiter.wait(&barred, seat(&waiting, SEM, (&record, &life), &registration));
    notifier.join().unwrap();
    assert_eq!(waiter.owed, Some(DENIED), "{STRANDED}");
}

/// It is woken by the wake-all semaphore, and then cannot look for deaths: it has left the
/// namespace, and the semaphore is a stranger's.
struct Blind;

impl Operation for Blind {
    type Done = ();
    type Fault = ();

    fn attempt(&mut self, _: bool) -> Result<(), NotNow> {
        Err(NotNow::Nothing)
    }

    fn more(&self) -> bool {
        true
    }

    fn scan(&mut self, _: u16, _: bool) -> Result<Heard, ()> {
        Err(())
    }

    fn owes(&mut self, refusal: Refusal) {
        panic!("nothing is refused here: {refusal:?}");
    }

    fn fault(&self, _: Cause) {}
}

fn woken_and_blind(struck: bool) {
    let system = Rc::new(System::new(SEM + 1, 2));
    let other = Process { system: Rc::clone(&system), id: 1 };
    let waker = loom::thread::spawn(move || {
        if struck { wake_all::strike(&other) } else { event::post(&other, SEM).map(drop) }.unwrap();
    });
    let [waiting, record, life] = [0, event::record(LIFE), LIVE].map(AtomicU64::new);
    let registration = Registration::new(Some(0));
    registration.be_strict(struck);
    let process = Process { system: Rc::clone(&system), id: 0 };
    let seat = seat(&waiting, SEM, (&record, &life), &registration);
    assert_eq!(Session::new(&process, seat, None).block(&mut Blind), Err(()));
    waker.join().unwrap();
    assert_eq!(system.value(SEM), u16::from(!struck), "a token that was taken, or one too many");
}

#[test]
fn who_cannot_look_gives_back_the_token_that_it_took_and_no_other() {
    holds("event, struck and blind", None, || woken_and_blind(true));
    holds("event, woken and blind", None, || woken_and_blind(false));
}

#[test]
fn a_token_that_cannot_be_passed_on_is_owed() {
    holds("event, a token that is owed", None, a_token_that_cannot_be_passed_on);
}
