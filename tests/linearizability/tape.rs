//! The orders for processes, and their notes of what they have done: in memory beside the
//! segment, so that the notes survive their writers.

use std::sync::atomic::{Ordering, fence};
use std::time::Duration;

use nix::libc;

use crate::common::ends::{Grants, Nothing, Patience, Verdict};
use crate::common::{Owned, Words, segment};
use crate::history::{Answer, Asked, Letting, Op};
use tombolo::sys::shm::Shm;

/// The most processes of one history, but for the director.
pub(crate) const MOST: usize = 4;
/// The most steps of one process, and messages of one batch.
pub(crate) const STEPS: usize = 5;
pub(crate) const BATCH: usize = 3;

const GO: usize = 0;
const FIRST: usize = 8;
const READY: usize = 0;
const DONE: usize = 1;
const QUEUE: usize = 2;
const LENGTH: usize = 3;
const CALLED: usize = 4;
const PROGRAM: usize = 8;
const RECORDS: usize = PROGRAM + 2 * STEPS;
const RECORD: usize = 8;
const SEAT: usize = RECORDS + 2 * STEPS * RECORD;

/// A wait that is to come to an end.
pub(crate) const A_WHILE: Duration = Duration::from_micros(300);

/// A part of a program.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    Send { first: u64, count: usize, patience: Patience },
    Recv { most: usize, patience: Patience },
    Grant { id: u64, patience: Patience, end: Grants },
    Take { patience: Patience, end: Verdict },
    Join { last: u64 },
    Leave,
    Ask { id: u64, again: u8, patience: Patience },
    Hear { patience: Patience },
    GiveUp,
    Serve { patience: Patience },
    Let { way: Letting },
}

/// A step, and how long to dawdle before it, and in the middle of it with a
/// grant or a delivery in hand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Beat {
    pub(crate) pause: u16,
    pub(crate) hold: u16,
    pub(crate) step: Step,
}

impl Beat {
    fn words(self) -> [u64; 2] {
        let patience = |patience| match patience {
            Patience::None => 0,
            Patience::For(_) => 1,
            Patience::Ever => 2,
        };
        let (code, wait, count, end, id) = match self.step {
            Step::Send { first, count, patience: wait } => (0, patience(wait), count, 0, first),
            Step::Recv { most, patience: wait } => (1, patience(wait), most, 0, 0),
            Step::Grant { id, patience: wait, end } => (2, patience(wait), 1, end as u64, id),
            Step::Take { patience: wait, end } => (3, patience(wait), 1, end as u64, 0),
            Step::Join { last } => (4, 0, 1, 0, last),
            Step::Leave => (5, 0, 1, 0, 0),
            Step::Ask { id, again, patience: wait } => (6, patience(wait), 1, again.into(), id),
            Step::Hear { patience: wait } => (7, patience(wait), 1, 0, 0),
            Step::GiveUp => (8, 0, 1, 0, 0),
            Step::Serve { patience: wait } => (9, patience(wait), 1, 0, 0),
            Step::Let { way } => (10, 0, 1, way as u64, 0),
        };
        let count = count as u64;
        [
            code | wait << 8
                | count << 16
                | end << 24
                | u64::from(self.pause) << 32
                | u64::from(self.hold) << 48,
            id,
        ]
    }

    fn of([word, id]: [u64; 2]) -> Self {
        let patience = match word >> 8 & 0xFF {
            0 => Patience::None,
            1 => Patience::For(A_WHILE),
            _ => Patience::Ever,
        };
        let count = (word >> 16 & 0xFF) as usize;
        let end = (word >> 24 & 0xFF) as usize;
        let step = match word & 0xFF {
            0 => Step::Send { first: id, count, patience },
            1 => Step::Recv { most: count, patience },
            2 => {
                let end = [Grants::Commit, Grants::Abort, Grants::Drop][end];
                Step::Grant { id, patience, end }
            }
            4 => Step::Join { last: id },
            5 => Step::Leave,
            6 => Step::Ask { id, again: end as u8, patience },
            7 => Step::Hear { patience },
            8 => Step::GiveUp,
            9 => Step::Serve { patience },
            10 => {
                let way = [Letting::Reply, Letting::GiveBack, Letting::Refuse][end];
                Step::Let { way }
            }
            _ => {
                let end = [Verdict::Release, Verdict::GiveBack, Verdict::Drop][end];
                Step::Take { patience, end }
            }
        };
        Self { pause: (word >> 32) as u16, hold: (word >> 48) as u16, step }
    }

    /// The calls that it is at most.
    pub(crate) fn calls(self) -> Vec<Asked> {
        match self.step {
            Step::Send { first, count, .. } => {
                vec![Asked::Send((first..first + count as u64).collect())]
            }
            Step::Recv { most, .. } => vec![Asked::Recv(most)],
            Step::Join { last } => vec![Asked::Join(last)],
            Step::Leave => vec![Asked::Release],
            Step::Ask { id, again, .. } => vec![Asked::Ask(id, again)],
            Step::Hear { .. } => vec![Asked::Hear],
            Step::GiveUp => vec![Asked::GiveUp],
            Step::Serve { .. } => vec![Asked::Serve],
            Step::Let { way } => vec![Asked::Let(way)],
            Step::Grant { id, end, .. } => {
                let committed = end == Grants::Commit;
                vec![Asked::Reserve, if committed { Asked::Commit(id) } else { Asked::Abort }]
            }
            Step::Take { end, .. } => {
                let back = end == Verdict::GiveBack;
                vec![Asked::Take, if back { Asked::GiveBack } else { Asked::Release }]
            }
        }
    }
}

/// The time, on the clock that all processors share. The fences are part of
/// it: what this processor has in its store buffer is done before it reads
/// the clock, and nothing that comes after is done yet.
pub(crate) fn now() -> u64 {
    fence(Ordering::SeqCst);
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is there to be written.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    fence(Ordering::SeqCst);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Waits for a word to say this, without keeping a processor busy for long.
pub(crate) fn wait_for(mut condition: impl FnMut() -> bool) {
    let mut turns = 0_u32;
    while !condition() {
        turns += 1;
        match turns {
            0..200 => std::hint::spin_loop(),
            200..260 => std::thread::yield_now(),
            // Only how often it asks; the condition decides.
            _ => std::thread::sleep(Duration::from_micros(20)),
        }
    }
}

/// The tape, which its last process takes with it.
pub(crate) struct Tape {
    words: Words,
    shm: Option<Owned<Shm>>,
}

/// One process's part of it.
pub(crate) struct Seat<'a> {
    words: &'a Words,
    base: usize,
}

impl Tape {
    pub(crate) fn new() -> Self {
        let shm = segment((FIRST + MOST * SEAT) * 8);
        Self { words: Words::of(*shm), shm: Some(shm) }
    }

    pub(crate) fn of(id: i32) -> Self {
        Self { words: Words::of(Shm::from_id(id)), shm: None }
    }

    pub(crate) fn id(&self) -> i32 {
        self.shm.as_ref().unwrap().id()
    }

    pub(crate) fn seat(&self, who: usize) -> Seat<'_> {
        assert!(who < MOST);
        Seat { words: &self.words, base: FIRST + who * SEAT }
    }

    /// Has everybody start who is ready for this round.
    pub(crate) fn go(&self, round: u64) {
        self.words.put(GO, round);
    }

    pub(crate) fn has_gone(&self, round: u64) -> bool {
        self.words.get(GO) == round
    }
}

impl Seat<'_> {
    fn get(&self, at: usize) -> u64 {
        self.words.get(self.base + at)
    }

    fn put(&self, at: usize, value: u64) {
        self.words.put(self.base + at, value);
    }

    /// Writes down what this process is to do in this round, and calls it.
    pub(crate) fn assign(&self, round: u64, queue: usize, program: &[Beat]) {
        for at in RECORDS..SEAT {
            self.put(at, 0);
        }
        for (n, beat) in program.iter().enumerate() {
            let words = beat.words();
            self.put(PROGRAM + 2 * n, words[0]);
            self.put(PROGRAM + 2 * n + 1, words[1]);
        }
        self.put(QUEUE, queue as u64);
        self.put(LENGTH, program.len() as u64);
        self.put(CALLED, round);
    }

    /// There are no more rounds.
    pub(crate) fn dismiss(&self) {
        self.put(CALLED, u64::MAX);
    }

    pub(crate) fn is_dismissed(&self) -> bool {
        self.is_called(u64::MAX)
    }

    pub(crate) fn is_called(&self, round: u64) -> bool {
        self.get(CALLED) == round
    }

    pub(crate) fn queue(&self) -> usize {
        self.get(QUEUE) as usize
    }

    pub(crate) fn program(&self) -> Vec<Beat> {
        let beat =
            |n: usize| Beat::of([PROGRAM + 2 * n, PROGRAM + 2 * n + 1].map(|at| self.get(at)));
        (0..self.get(LENGTH) as usize).map(beat).collect()
    }

    pub(crate) fn ready(&self, round: u64) {
        self.put(READY, round);
    }

    pub(crate) fn is_ready(&self, round: u64) -> bool {
        self.get(READY) == round
    }

    pub(crate) fn done(&self, round: u64) {
        self.put(DONE, round);
    }

    pub(crate) fn is_done(&self, round: u64) -> bool {
        self.get(DONE) == round
    }

    /// Notes that the nth call begins.
    pub(crate) fn call(&self, n: usize) {
        self.put(RECORDS + n * RECORD, now());
    }

    /// Notes what the nth call has come to.
    pub(crate) fn answer(&self, n: usize, answer: &Answer) {
        let at = now();
        let base = RECORDS + n * RECORD;
        let (code, count, values): (u64, u64, &[u64]) = match answer {
            Answer::Sent(count) => (1, *count as u64, &[]),
            Answer::Got(ids) => (2, ids.len() as u64, ids),
            Answer::Taken(id, deaths) => (3, u64::from(*deaths), &[*id]),
            Answer::Nothing(Nothing::Empty) => (4, 0, &[]),
            Answer::Nothing(Nothing::Pending) => (5, 0, &[]),
            Answer::Nothing(Nothing::TimedOut) => (6, 0, &[]),
            Answer::Done => (7, 0, &[]),
            Answer::Failed => (8, 0, &[]),
            Answer::Lagged(count) => (9, 0, &[*count]),
            Answer::At(position) => (10, 0, &[*position]),
            Answer::Died => (11, 0, &[]),
            Answer::Refused => (12, 0, &[]),
        };
        self.put(base + 2, code);
        self.put(base + 3, count);
        for (n, value) in values.iter().enumerate() {
            self.put(base + 4 + n, *value);
        }
        self.put(base + 1, at);
    }

    /// Whether its nth call has begun.
    pub(crate) fn has_called(&self, n: usize) -> bool {
        self.get(RECORDS + n * RECORD) != 0
    }

    /// This process's progress in its program.
    pub(crate) fn ops(&self, who: usize, program: &[Beat]) -> Vec<Op> {
        let mut ops = Vec::new();
        let mut n = 0;
        for beat in program {
            for asked in beat.calls() {
                let base = RECORDS + n * RECORD;
                let (call, ret) = (self.get(base), self.get(base + 1));
                n += 1;
                if call == 0 {
                    continue;
                }
                let end = (ret != 0).then(|| (ret, self.answered(base)));
                ops.push(Op { who, call, end, asked });
            }
        }
        ops
    }

    fn answered(&self, base: usize) -> Answer {
        let count = self.get(base + 3);
        match self.get(base + 2) {
            1 => Answer::Sent(count as usize),
            2 => Answer::Got((0..count as usize).map(|n| self.get(base + 4 + n)).collect()),
            3 => Answer::Taken(self.get(base + 4), count as u8),
            4 => Answer::Nothing(Nothing::Empty),
            5 => Answer::Nothing(Nothing::Pending),
            6 => Answer::Nothing(Nothing::TimedOut),
            7 => Answer::Done,
            9 => Answer::Lagged(self.get(base + 4)),
            10 => Answer::At(self.get(base + 4)),
            11 => Answer::Died,
            12 => Answer::Refused,
            _ => Answer::Failed,
        }
    }
}
