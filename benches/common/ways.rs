//! The ways through a queue, all in one thread: so many messages in, as many
//! out. Each is written word by word, and read and summed up word by word.

use std::cell::Cell;
use std::hint::black_box;
use std::ops::Range;
use std::rc::Rc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crossbeam_queue::ArrayQueue;
use crossbeam_utils::CachePadded;
use tombolo::{
    ByteChannel, ByteKind, Channel, Kind, Message, Mpmc, Receiver, Segment, Sender, Spsc,
};

/// Messages that each of the queues holds.
pub(crate) const LAP: u64 = 1_024;
/// How many go at once where several do.
pub(crate) const BATCH: usize = 64;

/// One way, with both ends in one hand.
pub(crate) struct Way {
    /// The queue, with the kind of channel.
    pub(crate) queue: &'static str,
    /// What is called to send and to receive.
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

    /// What messages of these numbers come to.
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

/// As many places, and no indices that others could see: what the loop and the
/// message are by themselves.
fn array<const W: usize>() -> Way {
    let slots: Rc<Vec<Cell<[u64; W]>>> = Rc::new((0..LAP).map(|_| Cell::new([0; W])).collect());
    let at_end = Rc::clone(&slots);
    let push = move |numbers| {
        for n in numbers {
            // Or several would be written at a time.
            slots[(black_box(n) % LAP) as usize].set([n; W]);
        }
    };
    let mut next = 0;
    let pop = move |count| {
        each(count, || {
            next += 1;
            sum(&at_end[(black_box(next - 1) % LAP) as usize].get())
        })
    };
    Way::new::<W>("plain array", ["write", "read"], push, pop)
}

/// What one would write by hand for messages of a word: two indices, each side
/// with a copy of the other's.
pub(crate) fn raw() -> Way {
    struct Ring {
        slots: [AtomicU64; LAP as usize],
        tail: CachePadded<AtomicU64>,
        head: CachePadded<AtomicU64>,
    }
    let slots = [const { AtomicU64::new(0) }; LAP as usize];
    let ring = Rc::new(Ring { slots, tail: CachePadded::default(), head: CachePadded::default() });
    let at_end = Rc::clone(&ring);
    let mut known = 0;
    let push = move |numbers| {
        for n in numbers {
            let tail = ring.tail.load(Relaxed);
            if tail - known == LAP {
                known = ring.head.load(Acquire);
                assert!(tail - known < LAP, "room");
            }
            ring.slots[(tail % LAP) as usize].store(n, Relaxed);
            ring.tail.store(tail + 1, Release);
        }
    };
    let mut known = 0;
    let pop = move |count| {
        each(count, || {
            let head = at_end.head.load(Relaxed);
            if head == known {
                known = at_end.tail.load(Acquire);
                assert!(head < known, "a message");
            }
            let n = at_end.slots[(head % LAP) as usize].load(Relaxed);
            at_end.head.store(head + 1, Release);
            n
        })
    };
    Way::new::<1>("raw ring", ["push", "pop"], push, pop)
}

fn rtrb<const W: usize>() -> Way {
    let (mut tx, mut rx) = rtrb::RingBuffer::new(LAP as usize);
    let push = move |numbers| {
        for n in numbers {
            tx.push([n; W]).expect("room");
        }
    };
    let pop = move |count| each(count, || sum(&rx.pop().expect("a message")));
    Way::new::<W>("rtrb", ["push", "pop"], push, pop)
}

fn rtrb_chunks<const W: usize>() -> Way {
    let (mut tx, mut rx) = rtrb::RingBuffer::<[u64; W]>::new(LAP as usize);
    let push = move |numbers| {
        in_parts(numbers, |part| {
            let chunk = tx.write_chunk_uninit((part.end - part.start) as usize).expect("room");
            chunk.fill_from_iter(part.map(|n| [n; W]))
        });
    };
    let pop = move |count| {
        together(count, |most| {
            let chunk = rx.read_chunk(most).expect("messages");
            let (first, second) = chunk.as_slices();
            let sums = first.iter().chain(second).map(sum);
            let sum = sums.fold(0, u64::wrapping_add);
            chunk.commit_all();
            (most, sum)
        })
    };
    Way::new::<W>("rtrb", ["write_chunk of 64", "read_chunk of 64"], push, pop)
}

fn array_queue<const W: usize>() -> Way {
    let queue = Rc::new(ArrayQueue::new(LAP as usize));
    let at_end = Rc::clone(&queue);
    let push = move |numbers| {
        for n in numbers {
            queue.push([n; W]).expect("room");
        }
    };
    let pop = move |count| each(count, || sum(&at_end.pop().expect("a message")));
    Way::new::<W>("ArrayQueue", ["push", "pop"], push, pop)
}

/// A kind of channel.
pub(crate) trait Ring: Kind + ByteKind {
    const NAME: &'static str;
    const BYTES: &'static str;
    fn typed<T: Message>(channel: Channel<'_, T>) -> Channel<'_, T, Self>;
    fn bytes(channel: ByteChannel<'_>) -> ByteChannel<'_, Self>;
}

impl Ring for Spsc {
    const NAME: &'static str = "tombolo SPSC";
    const BYTES: &'static str = "tombolo SPSC bytes";
    fn typed<T: Message>(channel: Channel<'_, T>) -> Channel<'_, T, Self> {
        channel.spsc()
    }
    fn bytes(channel: ByteChannel<'_>) -> ByteChannel<'_, Self> {
        channel.spsc()
    }
}

impl Ring for Mpmc {
    const NAME: &'static str = "tombolo MPMC";
    const BYTES: &'static str = "tombolo MPMC bytes";
    fn typed<T: Message>(channel: Channel<'_, T>) -> Channel<'_, T, Self> {
        channel.mpmc()
    }
    fn bytes(channel: ByteChannel<'_>) -> ByteChannel<'_, Self> {
        channel.mpmc()
    }
}

/// A name that no other channel of this program has.
fn name() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    format!("way-{}", COUNT.fetch_add(1, Relaxed))
}

type Ends<K, const W: usize> = (Sender<[u64; W], K>, Receiver<[u64; W], K>);

fn ends<K: Ring, const W: usize>(segment: &Segment) -> Ends<K, W> {
    let name = name();
    let channel = K::typed(segment.channel(&name)).capacity(LAP as usize);
    (channel.sender().expect("an end"), channel.receiver().expect("an end"))
}

pub(crate) fn trying<K: Ring, const W: usize>(segment: &Segment) -> Way {
    let (tx, rx) = ends::<K, W>(segment);
    let push = move |numbers| {
        for n in numbers {
            tx.try_send([n; W]).expect("room");
        }
    };
    let pop = move |count| each(count, || sum(&rx.try_recv().expect("a message")));
    Way::new::<W>(K::NAME, ["try_send", "try_recv"], push, pop)
}

pub(crate) fn blocking<K: Ring, const W: usize>(segment: &Segment) -> Way {
    let (tx, rx) = ends::<K, W>(segment);
    let push = move |numbers| {
        for n in numbers {
            tx.send([n; W]).expect("room");
        }
    };
    let pop = move |count| each(count, || sum(&rx.recv().expect("a message")));
    Way::new::<W>(K::NAME, ["send", "recv"], push, pop)
}

pub(crate) fn in_place<K: Ring, const W: usize>(segment: &Segment) -> Way {
    let (mut tx, mut rx) = ends::<K, W>(segment);
    let push = move |numbers| {
        for n in numbers {
            let mut grant = tx.reserve().expect("room");
            *grant = [n; W];
            grant.commit();
        }
    };
    let pop = move |count| each(count, || sum(&rx.take().expect("a message")));
    Way::new::<W>(K::NAME, ["reserve, commit", "take, drop"], push, pop)
}

pub(crate) fn batches<K: Ring, const W: usize>(segment: &Segment) -> Way {
    let (tx, rx) = ends::<K, W>(segment);
    let mut sent = Vec::with_capacity(BATCH);
    let push = move |numbers| {
        in_parts(numbers, |part| {
            sent.clear();
            sent.extend(part.map(|n| [n; W]));
            tx.send_batch(&sent).expect("room");
            sent.len()
        });
    };
    let mut got = Vec::with_capacity(BATCH);
    let pop = move |count| {
        together(count, |most| {
            got.clear();
            let count = rx.recv_batch(&mut got, most).expect("messages");
            (count, got.iter().map(sum).fold(0, u64::wrapping_add))
        })
    };
    Way::new::<W>(K::NAME, ["send_batch of 64", "recv_batch of 64"], push, pop)
}

fn slices<const W: usize>(segment: &Segment) -> Way {
    let (mut tx, mut rx) = ends::<Spsc, W>(segment);
    let push = move |numbers| {
        in_parts(numbers, |part| {
            let mut grant = tx.reserve_slice((part.end - part.start) as usize).expect("room");
            let count = grant.len();
            grant.iter_mut().zip(part).for_each(|(slot, n)| *slot = [n; W]);
            grant.commit(count);
            count
        });
    };
    let pop = move |count| {
        together(count, |most| {
            let slice = rx.take_slice(most).expect("messages");
            (slice.len(), slice.iter().map(sum).fold(0, u64::wrapping_add))
        })
    };
    Way::new::<W>(Spsc::NAME, ["reserve_slice of 64", "take_slice of 64"], push, pop)
}

fn bytes<K: Ring, const W: usize>(segment: &Segment) -> Way {
    let name = name();
    let channel = K::bytes(segment.bytes(&name)).capacity(LAP as usize, 8 * W);
    let (mut tx, mut rx) = (channel.sender().expect("an end"), channel.receiver().expect("an end"));
    let push = move |numbers| {
        for n in numbers {
            let mut room = tx.reserve(8 * W).expect("room");
            room.copy_from_slice(bytemuck::bytes_of(&[n; W]));
            room.commit(8 * W).expect("sent");
        }
    };
    let pop = move |count| {
        each(count, || {
            let message = rx.take().expect("a message");
            sum(&bytemuck::pod_read_unaligned::<[u64; W]>(&message))
        })
    };
    Way::new::<W>(K::BYTES, ["reserve, commit", "take, drop"], push, pop)
}

/// Ways to do one thing; the first is the limit.
pub(crate) struct Group {
    pub(crate) title: String,
    pub(crate) ways: Vec<Way>,
}

fn of_size<const W: usize>(segment: &Segment) -> [Group; 3] {
    let group = |what: &str, ways| Group { title: format!("{what}, {} bytes", 8 * W), ways };
    [
        group(
            "one to one",
            vec![
                rtrb::<W>(),
                trying::<Spsc, W>(segment),
                blocking::<Spsc, W>(segment),
                in_place::<Spsc, W>(segment),
                bytes::<Spsc, W>(segment),
                array::<W>(),
            ],
        ),
        group(
            "one to one, 64 at once",
            vec![rtrb_chunks::<W>(), batches::<Spsc, W>(segment), slices::<W>(segment)],
        ),
        group(
            "any to any",
            vec![
                array_queue::<W>(),
                trying::<Mpmc, W>(segment),
                blocking::<Mpmc, W>(segment),
                in_place::<Mpmc, W>(segment),
                batches::<Mpmc, W>(segment),
                bytes::<Mpmc, W>(segment),
            ],
        ),
    ]
}

/// All of them, with the channels in this segment.
pub(crate) fn groups(segment: &Segment) -> Vec<Group> {
    of_size::<1>(segment).into_iter().chain(of_size::<8>(segment)).collect()
}
