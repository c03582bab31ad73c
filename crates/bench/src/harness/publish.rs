//! Messages to everybody: each receiver gets every message, or knows which it has missed;
//! and how long a message takes to the last receiver.

use std::hint::{black_box, spin_loop};
use std::thread;

use super::carry::{BATCH, differs, produce, whole};
use super::exchange::{expect, paced};
use super::orders::{Report, Shape};
use super::subject::{Mechanism, Message, Rx, Tx};
use super::times::Times;
use super::worker::Task;
use crate::failure::Failure;
use crate::terms::now;

/// The number of the message that ends a part.
const END: u64 = u64::MAX - 1;

/// Where a message's number says which producer it is of.
const PRODUCER: u32 = 48;
const PRODUCERS: usize = 16;

/// Messages of the first part, where each is awaited.
const FIRST: u64 = 64;

/// Between two tries: lets go of a processor that others need.
#[inline(always)]
pub(crate) fn pause(crowded: bool) {
    if crowded { thread::yield_now() } else { spin_loop() }
}

/// Each consumer gets the messages of each producer in order. If it may miss some, it counts
/// them; if it may not, one that is missed is an error.
pub(crate) fn published<const W: usize, M: Mechanism>(
    mechanism: &M,
    task: &Task<'_>,
) -> Result<Report, Failure> {
    let producers = task.setting.producers;
    let lap = mechanism.lap(task.setting).max(producers as u64);
    // Of each producer, in all parts so far.
    let mut before = 0;
    if task.place < producers {
        let mut tx = mechanism.tx::<W>(task.shared, task.setting, 0)?;
        return task.parts(lap, |_, plan| {
            let share = plan.messages / producers as u64;
            let first = (task.place as u64) << PRODUCER | before;
            before += share;
            produce::<W, false, _>(&mut tx, first..first + share, 1)?;
            // Behind all others, so that it is the last one that is retained.
            if task.board.finish(producers) { tx.send(END..END + 1) } else { Ok(()) }
        });
    }
    let may_miss = task.setting.shape == Shape::Lossy;
    let mut rx = mechanism.rx::<W>(task.shared, task.setting, 0)?;
    let mut missed = None;
    let mut report = task.parts(lap, |_, plan| {
        let share = plan.messages / producers as u64;
        let mut next = [before; PRODUCERS];
        before += share;
        let came = collect::<W, _>(&mut rx, &mut next, may_miss)?;
        let sent = share * producers as u64;
        let all = next.iter().take(producers).all(|&next| next == before);
        if came > sent || !may_miss && !all {
            return Err(Failure::Broken(format!("{came} messages came of {sent}")));
        }
        missed = (may_miss && plan.timed).then(|| (sent - came) as f64 / sent as f64);
        Ok(())
    })?;
    report.missed = missed;
    Ok(report)
}

/// Receives until the end; says how many messages there were.
#[inline(never)]
fn collect<const W: usize, R: Rx<W>>(
    rx: &mut R,
    next: &mut [u64; PRODUCERS],
    may_miss: bool,
) -> Result<u64, Failure> {
    let (mut came, mut wrong, mut ended) = (0, 0, false);
    while !ended {
        rx.receive(BATCH, |message: &Message<W>| {
            let number = message[0];
            wrong |= differs(message, number);
            if number == END {
                ended = true;
                return;
            }
            let next = &mut next[(number >> PRODUCER) as usize % PRODUCERS];
            let number = number & ((1 << PRODUCER) - 1);
            wrong |= if may_miss { u64::from(number < *next) } else { number ^ *next };
            *next = number + 1;
            came += 1;
        })?;
    }
    whole(black_box(wrong)).map(|()| came)
}

/// How long a message takes until the last consumer has it. Those that shall be awake get
/// messages by a timetable, as busy exchanges do; those that shall sleep get the next one
/// when the kernel says that all of them sleep.
pub(crate) fn spread<M: Mechanism>(mechanism: &M, task: &Task<'_>) -> Result<Report, Failure> {
    let (board, workers) = (task.board, task.setting.workers());
    if task.place != 0 {
        let mut rx = mechanism.rx::<1>(task.shared, task.setting, 0)?;
        board.meet(workers);
        return task.parts(FIRST, |from, plan| {
            (from..from + plan.messages).try_for_each(|number| {
                expect(&mut rx, number)?;
                board.note(task.place as u64, now());
                Ok(())
            })
        });
    }
    let mut tx = mechanism.tx::<1>(task.shared, task.setting, 0)?;
    board.meet(workers);
    let asleep = task.setting.shape == Shape::SpreadParked;
    let sleepers = match asleep {
        true => (1..workers).map(|place| board.sleeper(place)).collect::<Result<Vec<_>, _>>()?,
        false => Vec::new(),
    };
    let mut times = Times::new()?;
    let mut step = 0;
    let mut report = task.parts(FIRST, |from, plan| {
        let start = now();
        let mut due = start;
        for number in from..from + plan.messages {
            sleepers.iter().try_for_each(super::board::Sleeper::wait)?;
            while now() < due {
                spin_loop();
            }
            let sent = now();
            tx.send(number..number + 1)?;
            let last = (1..workers).map(|place| arrival(task, place, sent)).max().unwrap_or(sent);
            if plan.timed {
                // One that is late, for those before it took too long, is timed from when
                // it was due.
                times.record(last.saturating_sub(if asleep { sent } else { due }));
                due += step;
            }
        }
        if !plan.timed && !asleep {
            step = paced((now() - start) as f64 / plan.messages as f64) as u64;
        }
        Ok(())
    })?;
    report.times = times.listed();
    Ok(report)
}

/// When a message came that was sent then.
fn arrival(task: &Task<'_>, place: usize, sent: u64) -> u64 {
    let mut looked = 0_u32;
    loop {
        let came = task.board.noted(place as u64);
        if came >= sent {
            return came;
        }
        looked += 1;
        pause(looked > 1_000);
    }
}
