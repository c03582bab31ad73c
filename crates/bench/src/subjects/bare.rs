//! Less than a mechanism: one cache line, two counters, and nothing at all.

use std::hint::{black_box, spin_loop};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

use tombolo::sys::shm::Attachment;

use super::raw;
use crate::failure::Failure;
use crate::harness::{Mechanism, Message, Report, Rx, Setting, Shared, Subject, Task, Tx};

/// The best of these is the limit of an exchange of 8 bytes.
pub(crate) const BEST_EXCHANGE: &str = "best raw exchange";
pub(crate) const EXCHANGES: &[&str] = &[
    "one cache line",
    "one cache line, no pause",
    "raw ring, no pause",
    "raw ring, close indices",
    "raw ring, numbered slots",
];

pub(super) fn all() -> Vec<Box<dyn Subject>> {
    vec![Box::new(Line), Box::new(EagerLine), Box::new(Lines), Box::new(Counters), Box::new(Empty)]
}

/// Bytes from one line to the next, so that no two are fetched together.
const LINE: usize = 128;

/// A message and its number in one cache line for each direction: no message
/// between processors can be quicker.
struct Line;

/// The same, looked at without a pause in between.
struct EagerLine;

/// The same with the number on another line, as in any ring.
struct Lines;

/// A number as the mark of a message: never zero, which means that there is none.
const fn mark(number: u64) -> u64 {
    number + 1
}

struct End<const AT: usize, const PAUSING: bool> {
    memory: Arc<Attachment>,
    number: u64,
}

impl<const W: usize, const AT: usize, const P: bool> Tx<W> for End<AT, P> {
    #[inline(always)]
    fn send(&mut self, numbers: Range<u64>) -> Result<(), Failure> {
        for number in numbers {
            raw::word(&self.memory, AT).store(number, Relaxed);
            raw::word(&self.memory, 0).store(mark(number), Release);
        }
        Ok(())
    }
}

impl<const W: usize, const AT: usize, const P: bool> Rx<W> for End<AT, P> {
    #[inline(always)]
    fn receive(&mut self, _: u64, mut see: impl FnMut(&Message<W>)) -> Result<u64, Failure> {
        while raw::word(&self.memory, 0).load(Acquire) != mark(self.number) {
            if P {
                spin_loop();
            }
        }
        see(&[raw::word(&self.memory, AT).load(Relaxed); W]);
        self.number += 1;
        Ok(1)
    }
}

macro_rules! exchange {
    ($kind:ty, $name:literal, $at:expr, $pausing:literal) => {
        impl Mechanism for $kind {
            type Tx<const W: usize> = End<{ $at }, $pausing>;
            type Rx<const W: usize> = End<{ $at }, $pausing>;

            fn name(&self) -> String {
                $name.to_owned()
            }

            fn prepare(&self, setting: &Setting) -> Result<Shared, Failure> {
                raw::each(setting, 4096)
            }

            fn tx<const W: usize>(
                &self,
                shared: &Shared,
                _: &Setting,
                channel: usize,
            ) -> Result<End<{ $at }, $pausing>, Failure> {
                Ok(End { memory: raw::open(shared, channel)?, number: 0 })
            }

            fn rx<const W: usize>(
                &self,
                shared: &Shared,
                setting: &Setting,
                channel: usize,
            ) -> Result<End<{ $at }, $pausing>, Failure> {
                self.tx::<W>(shared, setting, channel)
            }
        }
    };
}

exchange!(Line, "one cache line", 8, true);
exchange!(EagerLine, "one cache line, no pause", 8, false);
exchange!(Lines, "two cache lines", LINE, true);

/// Producers count on one line and consumers on another: what any queue with
/// two shared indices has to do at least.
struct Counters;

impl Subject for Counters {
    fn name(&self) -> String {
        "two counters".to_owned()
    }

    fn prepare(&self, setting: &Setting) -> Result<Shared, Failure> {
        raw::each(setting, 4096)
    }

    fn work(&self, task: &Task<'_>) -> Result<Report, Failure> {
        let memory = raw::open(task.shared, 0)?;
        let Setting { producers, consumers, .. } = *task.setting;
        let produces = task.place < producers;
        let (line, sharing) = if produces { (0, producers) } else { (LINE, consumers) };
        let counter = raw::word(&memory, line);
        task.parts(1_024, |_, plan| {
            for _ in 0..plan.messages / sharing as u64 {
                counter.fetch_add(1, AcqRel);
            }
            Ok(())
        })
    }
}

/// The loops, with nothing between them: each side writes and reads by itself.
struct Empty;

struct Nothing<const W: usize> {
    number: u64,
    message: Box<Message<W>>,
}

impl<const W: usize> Nothing<W> {
    fn new() -> Self {
        Self { number: 0, message: Box::new([0; W]) }
    }
}

impl<const W: usize> Tx<W> for Nothing<W> {
    #[inline(always)]
    fn send(&mut self, numbers: Range<u64>) -> Result<(), Failure> {
        for number in numbers {
            self.message.fill(number);
            black_box(&mut *self.message);
        }
        Ok(())
    }
}

impl<const W: usize> Rx<W> for Nothing<W> {
    #[inline(always)]
    fn receive(&mut self, _: u64, mut see: impl FnMut(&Message<W>)) -> Result<u64, Failure> {
        self.message.fill(self.number);
        see(black_box(&self.message));
        self.number += 1;
        Ok(1)
    }
}

impl Mechanism for Empty {
    type Tx<const W: usize> = Nothing<W>;
    type Rx<const W: usize> = Nothing<W>;

    fn name(&self) -> String {
        "the empty loop".to_owned()
    }

    fn prepare(&self, _: &Setting) -> Result<Shared, Failure> {
        Ok(Shared::default())
    }

    fn tx<const W: usize>(&self, _: &Shared, _: &Setting, _: usize) -> Result<Nothing<W>, Failure> {
        Ok(Nothing::new())
    }

    fn rx<const W: usize>(&self, _: &Shared, _: &Setting, _: usize) -> Result<Nothing<W>, Failure> {
        Ok(Nothing::new())
    }
}
