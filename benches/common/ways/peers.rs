//! The queues between threads of one process with which Tombolo is compared.

use std::cell::Cell;
use std::hint::black_box;
use std::rc::Rc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crossbeam_queue::ArrayQueue;
use crossbeam_utils::CachePadded;

use super::{LAP, Way, each, in_parts, sum, together};

/// As many places, and no indices that others could see: what the loop and the
/// message are by themselves.
pub(crate) fn array<const W: usize>() -> Way {
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

/// A ring written by hand for messages of a word: two indices, each side
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

pub(crate) fn rtrb<const W: usize>() -> Way {
    let (mut tx, mut rx) = rtrb::RingBuffer::new(LAP as usize);
    let push = move |numbers| {
        for n in numbers {
            tx.push([n; W]).expect("room");
        }
    };
    let pop = move |count| each(count, || sum(&rx.pop().expect("a message")));
    Way::new::<W>("rtrb", ["push", "pop"], push, pop)
}

pub(crate) fn rtrb_chunks<const W: usize>() -> Way {
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

pub(crate) fn array_queue<const W: usize>() -> Way {
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
