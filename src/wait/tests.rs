//! A bell over a real semaphore set.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64 as Count, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use super::Semaphores;
use crate::ring::event::{self, Event, Life, Memo, Wakes};
use crate::ring::kernel::{Kernel as _, Op, Refusal};
use crate::ring::set::SetMap;
use crate::ring::wait::{
    Cause, Heard, NotNow, Operation, Queue, Registration, Seat, Session, Waited,
};
use crate::ring::wake_all;
use crate::sync::{AtomicU64, Ordering};
use crate::sys::Key;
use crate::sys::sem::Set;

const LIFE: u64 = 1;
const LIVE: u64 = LIFE << 32 | 1;
/// The semaphore of the bell.
const SEM: u16 = SetMap::WAKE_ALL + 1;
const SLEEPERS: u32 = 8;

/// One side of a channel whose messages are for all.
struct Side {
    semaphores: Semaphores,
    waiting: AtomicU64,
    struck: AtomicU64,
    record: AtomicU64,
    life: AtomicU64,
    published: AtomicU64,
}

impl Side {
    fn new() -> Arc<Self> {
        let set = Set::options().create(Key::PRIVATE, usize::from(SEM) + 1).unwrap();
        let [waiting, struck, published] = [0; 3].map(AtomicU64::new);
        let (record, life) = (AtomicU64::new(event::record(LIFE)), AtomicU64::new(LIVE));
        let semaphores = Semaphores::new(set, false);
        Arc::new(Self { semaphores, waiting, struck, record, life, published })
    }

    const fn event(&self) -> Event<'_> {
        let wakes = Wakes::All { struck: &self.struck };
        Event { waiting: &self.waiting, sem: SEM, wakes }
    }

    fn publish(&self) {
        self.published.fetch_add(1, Ordering::Release);
        event::notify(&self.semaphores, self.event(), &mut Memo::default()).unwrap();
    }

    /// Waits for this message; says whether it has come.
    fn hear(
        &self,
        message: u64,
        registration: &Registration<Instant>,
        until: Option<Instant>,
    ) -> bool {
        let (queue, life) = (Queue::Side(self.event()), Life::new(&self.life, LIFE));
        let seat = Seat { queue, record: &self.record, life, registration };
        let waited = Session::new(&self.semaphores, seat, until).block(&mut Hear(self, message));
        seat.let_go();
        matches!(waited, Ok(Waited::Done(())))
    }

    fn asleep(&self) -> u32 {
        self.semaphores.set().waiting_for_increase(SEM).unwrap()
    }

    fn until_asleep(&self, count: u32) {
        while self.asleep() < count {
            thread::sleep(Duration::from_micros(100));
        }
    }

    fn strokes(&self) -> u16 {
        self.semaphores.set().value(SEM).unwrap()
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        let _ = self.semaphores.set().remove();
    }
}

struct Hear<'a>(&'a Side, u64);

impl Operation for Hear<'_> {
    type Done = ();
    type Fault = Cause;

    fn attempt(&mut self, _: bool) -> Result<(), NotNow> {
        let there = self.0.published.load(Ordering::Acquire) >= self.1;
        if there { Ok(()) } else { Err(NotNow::Nothing) }
    }

    fn more(&self) -> bool {
        false
    }

    fn scan(&mut self, sem: u16, must: bool) -> Result<Heard, Cause> {
        let mut values = [0; SEM as usize + 1];
        self.0.semaphores.values(&mut values).map_err(Cause::Sleep)?;
        let wake_all = must.then_some(values[usize::from(SetMap::WAKE_ALL)]);
        Ok(Heard { own: values[usize::from(sem)], wake_all })
    }

    fn owes(&mut self, refusal: Refusal) {
        panic!("nothing is passed on over a bell: {refusal:?}");
    }

    fn fault(&self, cause: Cause) -> Cause {
        cause
    }
}

fn sleepers(side: &Arc<Side>, rounds: u64, heard: &Arc<Count>) -> Vec<thread::JoinHandle<()>> {
    let sleeper = |_| {
        let (side, heard) = (Arc::clone(side), Arc::clone(heard));
        thread::spawn(move || {
            let registration = Registration::new(None);
            for message in 1..=rounds {
                assert!(side.hear(message, &registration, None));
                heard.fetch_add(1, SeqCst);
            }
        })
    };
    (0..SLEEPERS).map(sleeper).collect()
}

#[test]
fn one_stroke_wakes_all_who_sleep_and_none_is_made_while_nobody_does() {
    const ROUNDS: u64 = 20;
    let (side, heard) = (Side::new(), Arc::new(Count::new(0)));
    side.publish();
    assert_eq!(side.strokes(), 0, "a call for nobody");
    side.published.store(0, Ordering::Release);
    let threads = sleepers(&side, ROUNDS, &heard);
    for round in 1..=ROUNDS {
        side.until_asleep(SLEEPERS);
        let before = side.strokes();
        side.publish();
        assert_eq!(side.strokes(), before + 1, "one call for all of them");
        while heard.load(SeqCst) < round * u64::from(SLEEPERS) {
            thread::yield_now();
        }
    }
    for thread in threads {
        thread.join().unwrap();
    }
    let before = side.strokes();
    side.publish();
    assert_eq!((side.strokes(), side.asleep()), (before, 0));
}

#[test]
fn a_sleep_over_a_bell_ends_in_time() {
    let side = Side::new();
    let until = Instant::now() + Duration::from_millis(5);
    assert!(!side.hear(1, &Registration::new(None), Some(until)));
    assert!(Instant::now() >= until);
    assert_eq!(side.waiting.load(Ordering::Relaxed) as u32, 0, "it is still counted");
}

#[test]
fn who_waits_for_a_participants_end_too_is_woken_by_the_wake_all_semaphore() {
    for before in [0, 1, 7] {
        let side = Side::new();
        for _ in 0..before {
            wake_all::strike(&side.semaphores).unwrap();
            side.semaphores.semop(&[Op::add(SEM, 1)], None).unwrap();
        }
        let theirs = Arc::clone(&side);
        let waiter = thread::spawn(move || {
            let registration = Registration::new(None);
            registration.be_strict(true);
            theirs.hear(1, &registration, None)
        });
        side.until_asleep(1);
        // As at a death that nobody here has a credit for.
        side.published.fetch_add(1, Ordering::Release);
        wake_all::strike(&side.semaphores).unwrap();
        assert!(waiter.join().unwrap());
        assert_eq!(side.strokes(), before);
    }
}

#[test]
fn a_bell_at_its_highest_value_still_wakes() {
    for value in [8_191_u16, 8_192, 32_766, 32_767] {
        let side = Side::new();
        side.semaphores.semop(&[Op::add(SEM, value.cast_signed())], None).unwrap();
        let heard = Arc::new(Count::new(0));
        let threads = sleepers(&side, 2, &heard);
        for round in 1..=2 {
            side.until_asleep(SLEEPERS);
            side.publish();
            while heard.load(SeqCst) < round * u64::from(SLEEPERS) {
                thread::yield_now();
            }
        }
        for thread in threads {
            thread.join().unwrap();
        }
        assert!(side.strokes() < 8_194, "{}", side.strokes());
    }
}
