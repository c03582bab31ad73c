//! Messages with gaps: what it costs a receiver to wait for them, and how late it gets
//! them.

use std::hint::spin_loop;

use nix::time::{ClockId, clock_gettime};

use super::orders::{Figure, Report};
use super::subject::{Mechanism, Rx, Tx};
use super::times::Times;
use super::worker::Task;
use crate::failure::Failure;
use crate::terms::now;

/// Nanoseconds from one message to the next: 10,000 a second.
const GAP: u64 = 100_000;
/// Messages of the first part.
const FIRST: u64 = 16;

/// Nanoseconds that the calling thread has been running.
fn running() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID);
    time.map_or(0, |time| (time.tv_sec() * 1_000_000_000 + time.tv_nsec()).cast_unsigned())
}

/// The sender keeps its processor, so that it is punctual; each message says when it was
/// sent. The receiver says which part of the time it was running, and how long messages
/// took.
pub(crate) fn trickle<M: Mechanism>(mechanism: &M, task: &Task<'_>) -> Result<Report, Failure> {
    if task.place < task.setting.producers {
        let mut tx = mechanism.tx::<1>(task.shared, task.setting, 0)?;
        return task.parts(FIRST, |_, plan| {
            let began = now();
            (1..=plan.messages).try_for_each(|number| {
                while now() < began + number * GAP {
                    spin_loop();
                }
                let sent = now();
                tx.send(sent..sent + 1)
            })
        });
    }
    let mut rx = mechanism.rx::<1>(task.shared, task.setting, 0)?;
    task.stay()?;
    let mut times = Times::new()?;
    let (mut last, mut ran) = (0, 0);
    let mut report = task.parts(FIRST, |_, plan| {
        let before = running();
        for _ in 0..plan.messages {
            let mut sent = 0;
            rx.receive(1, |message| sent = message[0])?;
            let came = now();
            if sent <= last || sent > came {
                return Err(Failure::Broken(format!("a message of {sent} came after {last}")));
            }
            last = sent;
            if plan.timed {
                times.record(came - sent);
            }
        }
        ran = running() - before;
        Ok(())
    })?;
    let part = ran as f64 / (report.ended - report.began).max(1) as f64;
    report.figures.push(Figure::new("receiver_running", "part", part.max(1e-6)));
    report.times = times.listed();
    Ok(report)
}
