//! Messages there and back: how long an exchange takes.

use hdrhistogram::Histogram;

use super::orders::Report;
use super::subject::{Mechanism, Rx, Tx};
use super::worker::Task;
use crate::failure::Failure;
use crate::terms::now;

/// Exchanges of the first part.
const FIRST: u64 = 64;

/// On the board: when the message came, and when the answer went.
const CAME: u64 = 0;
const WENT: u64 = 1;

/// Times of up to ten seconds, in nanoseconds to three digits.
fn histogram() -> Result<Histogram<u64>, Failure> {
    Histogram::new_with_bounds(1, 10_000_000_000, 3)
        .map_err(|error| Failure::broken("cannot keep times", error))
}

fn listed(histogram: &Histogram<u64>) -> Vec<(u64, u64)> {
    let listed = histogram.iter_recorded();
    listed.map(|step| (step.value_iterated_to(), step.count_since_last_iteration())).collect()
}

/// The ends of the worker that asks, or of the one that answers.
fn ends<M: Mechanism>(mechanism: &M, task: &Task<'_>) -> Result<(M::Tx<1>, M::Rx<1>), Failure> {
    let (to, from) = if task.place == 0 { (0, 1) } else { (1, 0) };
    // In this order, for mechanisms in which one has to wait for the other.
    if task.place == 0 {
        let tx = mechanism.tx::<1>(task.shared, task.setting, to)?;
        return Ok((tx, mechanism.rx::<1>(task.shared, task.setting, from)?));
    }
    let rx = mechanism.rx::<1>(task.shared, task.setting, from)?;
    Ok((mechanism.tx::<1>(task.shared, task.setting, to)?, rx))
}

#[inline(always)]
fn ask<T: Tx<1>, R: Rx<1>>(tx: &mut T, rx: &mut R, number: u64) -> Result<(), Failure> {
    tx.send(number..number + 1)?;
    expect(rx, number)
}

#[inline(always)]
fn expect<R: Rx<1>>(rx: &mut R, number: u64) -> Result<(), Failure> {
    let mut came = None;
    rx.receive(1, |message| came = Some(message[0]))?;
    if came == Some(number) {
        return Ok(());
    }
    Err(Failure::Broken(format!("message {number} came as {came:?}")))
}

/// Exchanges by a timetable of twice their usual time. One that is late, for
/// those before it took too long, is timed from when it was due: so a pause
/// counts for every exchange that it held up.
pub(crate) fn busy<M: Mechanism>(mechanism: &M, task: &Task<'_>) -> Result<Report, Failure> {
    let (mut tx, mut rx) = ends(mechanism, task)?;
    if task.place != 0 {
        return task.parts(FIRST, |from, plan| {
            (from..from + plan.messages).try_for_each(|number| {
                expect(&mut rx, number)?;
                tx.send(number..number + 1)
            })
        });
    }
    let clock = task.clock;
    let mut times = histogram()?;
    let mut usual = 0.0;
    let mut report = task.parts(FIRST, |from, plan| {
        let numbers = from..from + plan.messages;
        if !plan.timed {
            let began = now();
            numbers.clone().try_for_each(|number| ask(&mut tx, &mut rx, number))?;
            usual = (now() - began) as f64 / plan.messages as f64;
            return Ok(());
        }
        let step = clock.in_ticks(2.0 * usual);
        let mut due = clock.ticks();
        for number in numbers {
            let mut began = clock.ticks();
            if began > due {
                began = due;
            } else {
                while began < due {
                    began = clock.ticks();
                }
            }
            ask(&mut tx, &mut rx, number)?;
            times.saturating_record(clock.nanoseconds(clock.ticks() - began).max(1));
            due += step;
        }
        Ok(())
    })?;
    report.times = listed(&times);
    Ok(report)
}

/// Exchanges in which each message finds the other side asleep: nobody sends
/// before the kernel says so. What is timed is from the call of send until
/// receive returns on the other side, there and back.
pub(crate) fn parked<M: Mechanism>(mechanism: &M, task: &Task<'_>) -> Result<Report, Failure> {
    let (mut tx, mut rx) = ends(mechanism, task)?;
    let board = task.board;
    board.meet(task.setting.workers());
    let other = board.sleeper(1 - task.place)?;
    if task.place != 0 {
        return task.parts(FIRST, |from, plan| {
            (from..from + plan.messages).try_for_each(|number| {
                expect(&mut rx, number)?;
                board.note(CAME, now());
                other.wait()?;
                board.note(WENT, now());
                tx.send(number..number + 1)
            })
        });
    }
    let mut times = histogram()?;
    let mut report = task.parts(FIRST, |from, plan| {
        for number in from..from + plan.messages {
            other.wait()?;
            let began = now();
            ask(&mut tx, &mut rx, number)?;
            let ended = now();
            let there = board.noted(CAME).saturating_sub(began);
            let back = ended.saturating_sub(board.noted(WENT));
            if plan.timed {
                times.saturating_record((there + back).max(1));
            }
        }
        Ok(())
    })?;
    report.times = listed(&times);
    Ok(report)
}
