//! `rtrb`: a ring for one producer and one consumer, with single items and with
//! chunks.

use std::hint::spin_loop;
use std::ops::Range;

use rtrb::chunks::ChunkError;
use rtrb::{Consumer, Producer, RingBuffer};

use crate::failure::Failure;
use crate::harness::{Message, Rx, Subject, Tx};
use crate::ours::threads::{Pair, Threads};
use crate::versions::version;

pub(crate) const RTRB: &str = concat!("rtrb ", version!("rtrb"), ", between threads");
pub(crate) const RTRB_CHUNKS: &str =
    concat!("rtrb ", version!("rtrb"), ", chunks, between threads");

pub(super) fn all() -> Vec<Box<dyn Subject>> {
    vec![Box::new(Threads::<Single>::new()), Box::new(Threads::<Chunks>::new())]
}

/// `push` and `pop`, as long as there is no room or nothing there.
struct Single;

impl Pair for Single {
    const NAME: &str = RTRB;
    type Tx<const W: usize> = Producer<Message<W>>;
    type Rx<const W: usize> = Consumer<Message<W>>;

    fn pair<const W: usize>(slots: usize) -> (Self::Tx<W>, Self::Rx<W>) {
        RingBuffer::new(slots)
    }
}

impl<const W: usize> Tx<W> for Producer<Message<W>> {
    #[inline(always)]
    fn send(&mut self, numbers: Range<u64>) -> Result<(), Failure> {
        for number in numbers {
            while self.push([number; W]).is_err() {
                spin_loop();
            }
        }
        Ok(())
    }
}

impl<const W: usize> Rx<W> for Consumer<Message<W>> {
    #[inline(always)]
    fn receive(&mut self, _: u64, mut see: impl FnMut(&Message<W>)) -> Result<u64, Failure> {
        loop {
            if let Ok(message) = self.pop() {
                see(&message);
                return Ok(1);
            }
            spin_loop();
        }
    }
}

/// `write_chunk_uninit` filled from an iterator, `read_chunk` read where it is.
struct Chunks;

struct ChunkTx<const W: usize>(Producer<Message<W>>);
struct ChunkRx<const W: usize>(Consumer<Message<W>>);

impl Pair for Chunks {
    const NAME: &str = RTRB_CHUNKS;
    type Tx<const W: usize> = ChunkTx<W>;
    type Rx<const W: usize> = ChunkRx<W>;

    fn pair<const W: usize>(slots: usize) -> (Self::Tx<W>, Self::Rx<W>) {
        let (producer, consumer) = RingBuffer::new(slots);
        (ChunkTx(producer), ChunkRx(consumer))
    }
}

impl<const W: usize> Tx<W> for ChunkTx<W> {
    #[inline(always)]
    fn send(&mut self, mut numbers: Range<u64>) -> Result<(), Failure> {
        while !numbers.is_empty() {
            let wanted = (numbers.end - numbers.start) as usize;
            let chunk = match self.0.write_chunk_uninit(wanted) {
                Err(ChunkError::TooFewSlots(0)) => {
                    spin_loop();
                    continue;
                }
                Err(ChunkError::TooFewSlots(fewer)) => self.0.write_chunk_uninit(fewer),
                chunk => chunk,
            };
            let chunk = chunk.map_err(|error| Failure::broken("cannot write a chunk", error))?;
            let count = chunk.fill_from_iter(numbers.clone().map(|number| [number; W]));
            numbers.start += count as u64;
        }
        Ok(())
    }
}

impl<const W: usize> Rx<W> for ChunkRx<W> {
    #[inline(always)]
    fn receive(&mut self, most: u64, mut see: impl FnMut(&Message<W>)) -> Result<u64, Failure> {
        loop {
            let chunk = match self.0.read_chunk(most as usize) {
                Err(ChunkError::TooFewSlots(0)) => {
                    spin_loop();
                    continue;
                }
                Err(ChunkError::TooFewSlots(fewer)) => self.0.read_chunk(fewer),
                chunk => chunk,
            };
            let chunk = chunk.map_err(|error| Failure::broken("cannot read a chunk", error))?;
            let (first, second) = chunk.as_slices();
            first.iter().chain(second).for_each(&mut see);
            let count = chunk.len() as u64;
            chunk.commit_all();
            return Ok(count);
        }
    }
}
