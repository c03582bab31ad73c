//! Messages in one direction: the same loops for every mechanism.

use std::hint::black_box;
use std::ops::Range;

use super::orders::Report;
use super::subject::{Mechanism, Message, Rx, Tx};
use super::worker::Task;
use crate::failure::Failure;

/// The number of the message that ends a consumer's part.
const END: u64 = u64::MAX - 1;

/// Messages that are sent at once where they are batched, at most.
pub(crate) const BATCH: u64 = 64;

/// Messages that are sent at once through a ring of so many slots: no more than
/// a quarter of it, or one side would wait for the other batch by batch.
pub(crate) fn batch(slots: usize) -> u64 {
    BATCH.min((slots as u64 / 4).max(1))
}

/// One producer and one consumer; all messages arrive, whole and in order.
pub(crate) fn ordered<const W: usize, M: Mechanism>(
    mechanism: &M,
    task: &Task<'_>,
) -> Result<Report, Failure> {
    if task.setting.batch == 1 {
        carry::<W, false, M>(mechanism, task)
    } else {
        carry::<W, true, M>(mechanism, task)
    }
}

fn carry<const W: usize, const BATCHED: bool, M: Mechanism>(
    mechanism: &M,
    task: &Task<'_>,
) -> Result<Report, Failure> {
    let batch = task.setting.batch;
    let lap = mechanism.lap(task.setting).next_multiple_of(batch);
    if task.place < task.setting.producers {
        let mut tx = mechanism.tx::<W>(task.shared, task.setting, 0)?;
        return task.parts(lap, |from, plan| {
            produce::<W, BATCHED, _>(&mut tx, from..from + plan.messages, batch)
        });
    }
    let mut rx = mechanism.rx::<W>(task.shared, task.setting, 0)?;
    task.parts(lap, |from, plan| {
        consume::<W, BATCHED, _>(&mut rx, from..from + plan.messages, batch)
    })
}

/// One worker sends and receives in turns, so that no cache line moves.
pub(crate) fn alone<const W: usize, M: Mechanism>(
    mechanism: &M,
    task: &Task<'_>,
) -> Result<Report, Failure> {
    let batch = task.setting.batch;
    let lap = mechanism.lap(task.setting).next_multiple_of(batch);
    // In this order, for mechanisms in which the receiver makes the channel.
    let mut rx = mechanism.rx::<W>(task.shared, task.setting, 0)?;
    let mut tx = mechanism.tx::<W>(task.shared, task.setting, 0)?;
    task.parts(lap, |from, plan| {
        let numbers = from..from + plan.messages;
        match batch {
            1 => both::<W, false, _, _>(&mut tx, &mut rx, numbers, 1),
            _ => both::<W, true, _, _>(&mut tx, &mut rx, numbers, batch),
        }
    })
}

#[inline(never)]
fn both<const W: usize, const BATCHED: bool, T: Tx<W>, R: Rx<W>>(
    tx: &mut T,
    rx: &mut R,
    numbers: Range<u64>,
    batch: u64,
) -> Result<(), Failure> {
    let (mut number, mut wrong) = (numbers.start, 0);
    while number < numbers.end {
        let next = if BATCHED { (number + batch).min(numbers.end) } else { number + 1 };
        tx.send(number..next)?;
        while number < next {
            rx.receive(if BATCHED { next - number } else { 1 }, |message: &Message<W>| {
                wrong |= differs(message, number);
                number += 1;
            })?;
        }
    }
    whole(black_box(wrong))
}

#[inline(never)]
pub(super) fn produce<const W: usize, const BATCHED: bool, T: Tx<W>>(
    tx: &mut T,
    numbers: Range<u64>,
    batch: u64,
) -> Result<(), Failure> {
    let mut number = numbers.start;
    while number < numbers.end {
        let next = if BATCHED { (number + batch).min(numbers.end) } else { number + 1 };
        tx.send(number..next)?;
        number = next;
    }
    Ok(())
}

#[inline(never)]
fn consume<const W: usize, const BATCHED: bool, R: Rx<W>>(
    rx: &mut R,
    numbers: Range<u64>,
    batch: u64,
) -> Result<(), Failure> {
    let (mut number, mut wrong) = (numbers.start, 0);
    while number < numbers.end {
        let most = if BATCHED { batch.min(numbers.end - number) } else { 1 };
        rx.receive(most, |message: &Message<W>| {
            wrong |= differs(message, number);
            number += 1;
        })?;
    }
    whole(black_box(wrong))
}

/// The number in a message that should consist of nothing else.
#[inline(always)]
pub(super) fn differs<const W: usize>(message: &Message<W>, number: u64) -> u64 {
    message.iter().fold(0, |wrong, word| wrong | (word ^ number))
}

pub(super) fn whole(wrong: u64) -> Result<(), Failure> {
    if wrong == 0 {
        return Ok(());
    }
    Err(Failure::Broken("messages came damaged or out of order".to_owned()))
}

/// Any number of producers and consumers; each message arrives once.
pub(crate) fn shared<M: Mechanism>(mechanism: &M, task: &Task<'_>) -> Result<Report, Failure> {
    let producers = task.setting.producers;
    let consumers = task.setting.consumers as u64;
    let lap = mechanism.lap(task.setting);
    // Of all parts: what was sent less what was received.
    let (mut balance, mut sum) = (0_i64, 0_u64);
    let mut report = if task.place < producers {
        let mut tx = mechanism.tx::<1>(task.shared, task.setting, 0)?;
        task.parts(lap, |from, plan| {
            let share = plan.messages / producers as u64;
            let from = from + share * task.place as u64;
            produce::<1, false, _>(&mut tx, from..from + share, 1)?;
            balance += share.cast_signed();
            sum = (from..from + share).fold(sum, u64::wrapping_add);
            if task.board.finish(producers) {
                (0..consumers).try_for_each(|_| tx.send(END..END + 1))?;
            }
            Ok(())
        })?
    } else {
        let mut rx = mechanism.rx::<1>(task.shared, task.setting, 0)?;
        task.parts(lap, |_, _| {
            let (count, total) = drain(&mut rx)?;
            balance -= count.cast_signed();
            sum = sum.wrapping_sub(total);
            Ok(())
        })?
    };
    (report.balance, report.sum) = (balance, sum);
    Ok(report)
}

/// Receives until it is told that this is the end; says how many messages
/// there were, and what they come to together.
#[inline(never)]
fn drain<R: Rx<1>>(rx: &mut R) -> Result<(u64, u64), Failure> {
    let (mut count, mut sum, mut last) = (0_u64, 0_u64, 0);
    while last != END {
        count += rx.receive(1, |message| {
            last = message[0];
            sum = sum.wrapping_add(last);
        })?;
    }
    Ok((count - 1, sum.wrapping_sub(END)))
}
