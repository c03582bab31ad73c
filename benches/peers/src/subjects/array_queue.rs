//! `crossbeam-queue`: the bounded queue, polled until it has room or a message,
//! spinning, or yielding as its authors' own benchmarks do.

use std::hint::spin_loop;
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::Arc;
use std::thread::yield_now;

use crossbeam_queue::ArrayQueue;

use crate::failure::Failure;
use crate::harness::{Message, Rx, Subject, Tx};
use crate::ours::threads::{Pair, Threads};
use crate::versions::version;

pub(crate) const ARRAY_QUEUE: &str =
    concat!("crossbeam-queue ", version!("crossbeam_queue"), ", between threads");
pub(crate) const ARRAY_QUEUE_YIELDING: &str =
    concat!("crossbeam-queue ", version!("crossbeam_queue"), ", yielding, between threads");

pub(super) fn all() -> Vec<Box<dyn Subject>> {
    vec![Box::new(Threads::<Queue<Spinning>>::new()), Box::new(Threads::<Queue<Yielding>>::new())]
}

/// The pause between two tries.
trait Between: Send + 'static {
    const NAME: &str;
    fn tries();
}

struct Spinning;
struct Yielding;

impl Between for Spinning {
    const NAME: &str = ARRAY_QUEUE;
    #[inline(always)]
    fn tries() {
        spin_loop();
    }
}

impl Between for Yielding {
    const NAME: &str = ARRAY_QUEUE_YIELDING;
    #[inline(always)]
    fn tries() {
        yield_now();
    }
}

struct Queue<B>(PhantomData<B>);

/// Either end.
struct End<const W: usize, B> {
    queue: Arc<ArrayQueue<Message<W>>>,
    between: PhantomData<B>,
}

impl<const W: usize, B> Clone for End<W, B> {
    fn clone(&self) -> Self {
        Self { queue: Arc::clone(&self.queue), between: PhantomData }
    }
}

impl<B: Between> Pair for Queue<B> {
    const NAME: &str = B::NAME;
    type Tx<const W: usize> = End<W, B>;
    type Rx<const W: usize> = End<W, B>;

    fn pair<const W: usize>(slots: usize) -> (Self::Tx<W>, Self::Rx<W>) {
        let end = End { queue: Arc::new(ArrayQueue::new(slots)), between: PhantomData };
        (end.clone(), end)
    }

    fn next_tx<const W: usize>(tx: &Self::Tx<W>) -> Option<Self::Tx<W>> {
        Some(tx.clone())
    }

    fn next_rx<const W: usize>(rx: &Self::Rx<W>) -> Option<Self::Rx<W>> {
        Some(rx.clone())
    }
}

impl<const W: usize, B: Between> Tx<W> for End<W, B> {
    #[inline(always)]
    fn send(&mut self, numbers: Range<u64>) -> Result<(), Failure> {
        for number in numbers {
            while self.queue.push([number; W]).is_err() {
                B::tries();
            }
        }
        Ok(())
    }
}

impl<const W: usize, B: Between> Rx<W> for End<W, B> {
    #[inline(always)]
    fn receive(&mut self, _: u64, mut see: impl FnMut(&Message<W>)) -> Result<u64, Failure> {
        loop {
            if let Some(message) = self.queue.pop() {
                see(&message);
                return Ok(1);
            }
            B::tries();
        }
    }
}
