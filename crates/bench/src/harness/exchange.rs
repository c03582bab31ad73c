//! Messages back and forth: the duration of an exchange.

use super::orders::Report;
use super::subject::{Mechanism, Rx, Tx};
use super::times::Times;
use super::worker::Task;
use crate::failure::Failure;
use crate::terms::now;

/// Exchanges of the first part.
const FIRST: u64 = 64;

/// How much of the time the timetable of busy exchanges leaves: enough to catch
/// up after a pause, so that what counts is the pause and not a backlog.
const PACE: f64 = 10.0;
/// Nanoseconds from one exchange to the next, at least: the clock takes some.
const LEAST: f64 = 500.0;

/// From one busy exchange to the next, where one usually takes so long; both in
/// nanoseconds.
pub(crate) fn paced(usual: f64) -> f64 {
    (PACE * usual).max(LEAST)
}

/// On the board: when the message came, and when the answer went.
const CAME: u64 = 0;
const WENT: u64 = 1;

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
pub(super) fn expect<R: Rx<1>>(rx: &mut R, number: u64) -> Result<(), Failure> {
    let mut came = None;
    rx.receive(1, |message| came = Some(message[0]))?;
    if came == Some(number) {
        return Ok(());
    }
    Err(Failure::Broken(format!("message {number} came as {came:?}")))
}

/// Exchanges by a timetable, at ten times their usual time. One that is late, for
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
    let mut times = Times::new()?;
    let mut usual = 0.0;
    let mut report = task.parts(FIRST, |from, plan| {
        let numbers = from..from + plan.messages;
        if !plan.timed {
            let began = now();
            numbers.clone().try_for_each(|number| ask(&mut tx, &mut rx, number))?;
            usual = (now() - began) as f64 / plan.messages as f64;
            return Ok(());
        }
        let step = clock.in_ticks(paced(usual));
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
            times.record(clock.nanoseconds(clock.ticks() - began));
            due += step;
        }
        Ok(())
    })?;
    report.times = times.listed();
    Ok(report)
}

/// Exchanges in which each message finds the other side asleep: nobody sends
/// before the kernel says so. The time is that from the call of send until
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
    let mut times = Times::new()?;
    let mut report = task.parts(FIRST, |from, plan| {
        for number in from..from + plan.messages {
            other.wait()?;
            let began = now();
            ask(&mut tx, &mut rx, number)?;
            let ended = now();
            let there = board.noted(CAME).saturating_sub(began);
            let back = ended.saturating_sub(board.noted(WENT));
            if plan.timed {
                times.record(there + back);
            }
        }
        Ok(())
    })?;
    report.times = times.listed();
    Ok(report)
}
