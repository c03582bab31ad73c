//! The ways through a queue, all in one thread: a number of messages in, and the
//! same number out. Each message is written word by word, and read and summed up
//! word by word.

mod channels;
mod peers;

use std::ops::Range;

use tombolo::{Mpmc, Segment, Spsc};

use channels::{
    awaited, batches, blocking, broadcast, bytes, bytes_batches, bytes_blocking, bytes_trying,
    in_place, in_place_copied, slices,
};
use peers::{array, array_queue, rtrb, rtrb_chunks};

pub(crate) use channels::{Ring, trying};
pub(crate) use peers::raw;

/// Messages that each of the queues holds.
pub(crate) const LAP: u64 = 1_024;
/// How many go at once where several do.
pub(crate) const BATCH: usize = 64;

/// One way, with both ends in one hand.
pub(crate) struct Way {
    /// The queue, with the kind of channel.
    pub(crate) queue: &'static str,
    /// The calls to send and to receive.
    pub(crate) calls: [&'static str; 2],
    /// Bytes of a message.
    pub(crate) bytes: usize,
    push: Box<dyn FnMut(Range<u64>)>,
    pop: Box<dyn FnMut(u64) -> u64>,
}

impl Way {
    fn new<const W: usize>(
        queue: &'static str,
        calls: [&'static str; 2],
        push: impl FnMut(Range<u64>) + 'static,
        pop: impl FnMut(u64) -> u64 + 'static,
    ) -> Self {
        Self { queue, calls, bytes: 8 * W, push: Box::new(push), pop: Box::new(pop) }
    }

    /// Sends messages of these numbers, of whole batches.
    pub(crate) fn push(&mut self, numbers: Range<u64>) {
        (self.push)(numbers);
    }

    /// Receives so many, and says what [`sum_of`](Self::sum_of) should.
    pub(crate) fn pop(&mut self, count: u64) -> u64 {
        (self.pop)(count)
    }

    /// The messages of these numbers.
    pub(crate) fn sum_of(&self, numbers: Range<u64>) -> u64 {
        numbers.sum::<u64>() * (self.bytes as u64 / 8)
    }
}

#[inline(always)]
fn sum<const W: usize>(message: &[u64; W]) -> u64 {
    message.iter().fold(0, |sum, &word| sum.wrapping_add(word))
}

/// Calls for each message, and sums up what comes of it.
#[inline(always)]
fn each(count: u64, mut pop: impl FnMut() -> u64) -> u64 {
    (0..count).fold(0, |sum, _| sum.wrapping_add(pop()))
}

/// The same with calls that say how many messages they were for as well.
#[inline(always)]
fn together(count: u64, mut pop: impl FnMut(usize) -> (usize, u64)) -> u64 {
    let (mut left, mut sum) = (count as usize, 0_u64);
    while left > 0 {
        let (got, these) = pop(left.min(BATCH));
        left -= got;
        sum = sum.wrapping_add(these);
    }
    sum
}

/// Calls with the numbers that are left, until none are.
#[inline(always)]
fn in_parts(numbers: Range<u64>, mut push: impl FnMut(Range<u64>) -> usize) {
    let mut start = numbers.start;
    while start < numbers.end {
        start += push(start..numbers.end.min(start + BATCH as u64)) as u64;
    }
}
/// Ways to do one thing; the first is the limit.
pub(crate) struct Group {
    pub(crate) title: String,
    pub(crate) ways: Vec<Way>,
}

fn of_size<const W: usize>(segment: &Segment) -> [Group; 4] {
    let group = |what: &str, ways| Group { title: format!("{what}, {} bytes", 8 * W), ways };
    [
        group(
            "one to one",
            vec![
                rtrb::<W>(),
                trying::<Spsc, W>(segment),
                blocking::<Spsc, W>(segment),
                awaited::<Spsc, W>(segment),
                in_place::<Spsc, W>(segment),
                in_place_copied::<Spsc, W>(segment),
                bytes_trying::<Spsc, W>(segment),
                bytes_blocking::<Spsc, W>(segment),
                bytes::<Spsc, W>(segment),
                array::<W>(),
            ],
        ),
        group(
            "one to one, 64 at once",
            vec![
                rtrb_chunks::<W>(),
                batches::<Spsc, W>(segment),
                slices::<W>(segment),
                bytes_batches::<Spsc, W>(segment),
            ],
        ),
        group(
            "to each",
            vec![rtrb::<W>(), broadcast::<W>(segment, false), broadcast::<W>(segment, true)],
        ),
        group(
            "any to any",
            vec![
                array_queue::<W>(),
                trying::<Mpmc, W>(segment),
                blocking::<Mpmc, W>(segment),
                awaited::<Mpmc, W>(segment),
                in_place::<Mpmc, W>(segment),
                in_place_copied::<Mpmc, W>(segment),
                batches::<Mpmc, W>(segment),
                bytes_trying::<Mpmc, W>(segment),
                bytes_blocking::<Mpmc, W>(segment),
                bytes::<Mpmc, W>(segment),
                bytes_batches::<Mpmc, W>(segment),
            ],
        ),
    ]
}

/// All of them, with the channels in this segment.
pub(crate) fn groups(segment: &Segment) -> Vec<Group> {
    of_size::<1>(segment).into_iter().chain(of_size::<8>(segment)).collect()
}
