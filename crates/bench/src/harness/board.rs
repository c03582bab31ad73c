//! The words that the workers of a sample share, in an object of their own, to
//! start and stop together.

use std::fs::File;
use std::hint::{black_box, spin_loop};
use std::os::unix::fs::FileExt;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tombolo::sys;

use crate::failure::Failure;
use crate::terms::now;
use crate::words::Words;

/// Words from one line to the next, so that no two are fetched together.
const LINE: u64 = 16;
const ARRIVED: u64 = 0;
const MEETING: u64 = LINE;
const PLAN: u64 = 2 * LINE;
const PROBE: u64 = 3 * LINE;
const FINISHED: u64 = 4 * LINE;
/// Words by which a subject's workers tell each other things.
const NOTES: u64 = 5 * LINE;
const THREADS: u64 = 6 * LINE;
const MOST_WORKERS: u64 = 64;
/// Where a probing stream has come to, and its lines.
const STREAMED: u64 = THREADS + MOST_WORKERS;
const STREAM: u64 = STREAMED + LINE;

/// Of both probes the quickest series counts: an interrupted one says nothing
/// about where the processors are.
const SERIES: u64 = 24;
/// Round trips of a series.
const TRIPS: u64 = 50;
/// Lines of a series, and the words of each.
const LINES: u64 = 256;
const WORDS: u64 = 8;

/// Where two processors are to each other, as far as they can tell.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Place {
    /// The round trip of a cache line, in nanoseconds.
    pub(crate) trip: f64,
    /// A line of a stream of them in one direction, in nanoseconds.
    pub(crate) streamed: f64,
}

/// The plan for the next series of messages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) messages: u64,
    /// Whether it is the part that counts.
    pub(crate) timed: bool,
}

#[derive(Debug)]
pub(crate) struct Board(Words);

impl Board {
    pub(crate) fn create() -> Result<Self, sys::Error> {
        Ok(Self(Words::create(STREAM + LINES * WORDS)?))
    }

    pub(crate) fn open(id: i32) -> Result<Self, sys::Error> {
        Ok(Self(Words::open(id)?))
    }

    pub(crate) const fn id(&self) -> i32 {
        self.0.id()
    }

    /// Waits until all have come. A worker that waits for long sleeps, since others
    /// may need its processor.
    pub(crate) fn meet(&self, workers: usize) {
        let meeting = self.0.get(MEETING);
        if self.0.at(ARRIVED).fetch_add(1, AcqRel) + 1 == workers as u64 {
            self.0.at(ARRIVED).store(0, Relaxed);
            self.0.at(MEETING).store(meeting + 1, Release);
            return;
        }
        let mut looked = 0_u32;
        while self.0.get(MEETING) == meeting {
            looked += 1;
            match looked {
                0..=1_000 => spin_loop(),
                1_001..=1_200 => thread::yield_now(),
                _ => thread::sleep(Duration::from_micros(50)),
            }
        }
    }

    pub(crate) fn plan(&self, plan: Plan) {
        self.0.at(PLAN).store(plan.messages << 1 | u64::from(plan.timed), Release);
    }

    pub(crate) fn planned(&self) -> Plan {
        let plan = self.0.get(PLAN);
        Plan { messages: plan >> 1, timed: plan & 1 == 1 }
    }

    /// Whether this is the last of so many to finish.
    pub(crate) fn finish(&self, workers: usize) -> bool {
        let last = self.0.at(FINISHED).fetch_add(1, AcqRel) + 1 == workers as u64;
        if last {
            self.0.at(FINISHED).store(0, Release);
        }
        last
    }

    pub(crate) fn note(&self, index: u64, value: u64) {
        self.0.at(NOTES + index % LINE).store(value, Release);
    }

    pub(crate) fn noted(&self, index: u64) -> u64 {
        self.0.get(NOTES + index % LINE)
    }

    /// Looks where the other prober is.
    pub(crate) fn probe(&self) -> Place {
        Place { trip: self.send_to_and_fro(), streamed: self.stream() }
    }

    /// The other prober's part.
    pub(crate) fn answer(&self) {
        self.send_back();
        self.swallow();
    }

    /// Sends a cache line to the other prober and back.
    fn send_to_and_fro(&self) -> f64 {
        let line = self.0.at(PROBE);
        let mut quickest = u64::MAX;
        for series in 0..SERIES {
            let began = now();
            for trip in 0..TRIPS {
                let turn = 2 * (series * TRIPS + trip) + 1;
                line.store(turn, Release);
                while line.load(Acquire) == turn {
                    spin_loop();
                }
            }
            quickest = quickest.min(now() - began);
        }
        line.store(0, Release);
        quickest as f64 / TRIPS as f64
    }

    fn send_back(&self) {
        let line = self.0.at(PROBE);
        for turn in 0..SERIES * TRIPS {
            while line.load(Acquire) != 2 * turn + 1 {
                spin_loop();
            }
            line.store(2 * turn + 2, Release);
        }
    }

    /// Sends line after line to the other prober, whose answer to the last ends
    /// a series.
    fn stream(&self) -> f64 {
        let mut quickest = u64::MAX;
        for series in 1..=SERIES {
            let began = now();
            for line in (STREAM..STREAM + LINES * WORDS).step_by(WORDS as usize) {
                (1..WORDS).for_each(|word| self.0.at(line + word).store(series, Relaxed));
                self.0.at(line).store(series, Release);
            }
            while self.0.get(STREAMED) != series {
                spin_loop();
            }
            quickest = quickest.min(now() - began);
        }
        // All is as at first, for the next time.
        (0..LINES).for_each(|line| self.0.at(STREAM + line * WORDS).store(0, Relaxed));
        self.0.at(STREAMED).store(0, Release);
        quickest as f64 / LINES as f64
    }

    fn swallow(&self) {
        for series in 1..=SERIES {
            let mut sum = 0_u64;
            for line in (STREAM..STREAM + LINES * WORDS).step_by(WORDS as usize) {
                while self.0.get(line) != series {
                    spin_loop();
                }
                let words = (1..WORDS).map(|word| self.0.at(line + word).load(Relaxed));
                sum = words.fold(sum, u64::wrapping_add);
            }
            black_box(sum);
            self.0.at(STREAMED).store(series, Release);
        }
    }

    /// Says which thread a worker is.
    pub(crate) fn enter(&self, place: usize) {
        let thread = nix::unistd::gettid().as_raw();
        self.0.at(THREADS + place as u64).store(u64::from(thread.unsigned_abs()), Release);
    }

    /// A worker, to see whether it sleeps. It must have entered.
    pub(crate) fn sleeper(&self, place: usize) -> Result<Sleeper, Failure> {
        Sleeper::of(self.0.get(THREADS + place as u64))
    }
}

/// A thread that sleeps now and then.
#[derive(Debug)]
pub(crate) struct Sleeper(File);

impl Sleeper {
    pub(crate) fn of(thread: u64) -> Result<Self, Failure> {
        let file = File::open(format!("/proc/{thread}/stat"));
        Ok(Self(file.map_err(|error| Failure::broken("cannot watch a worker", error))?))
    }

    /// Waits until it sleeps.
    pub(crate) fn wait(&self) -> Result<(), Failure> {
        let mut stat = [0; 256];
        loop {
            let read = self.0.read_at(&mut stat, 0);
            let read = read.map_err(|error| Failure::broken("cannot watch a worker", error))?;
            // After the name, which is in parentheses and may contain some.
            let stat = stat.get(..read).unwrap_or_default();
            let name = stat.iter().rposition(|&byte| byte == b')');
            if name.and_then(|name| stat.get(name + 2)) == Some(&b'S') {
                return Ok(());
            }
            thread::yield_now();
        }
    }
}
