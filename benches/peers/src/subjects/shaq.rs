//! `shaq`: queues in a file that both sides map. One message at a time, in
//! batches that are written and read in place as in its own example, and waiting
//! on its futex.

#![allow(unsafe_code)]

mod mpmc;

use std::fs::File;
use std::hint::spin_loop;
use std::marker::PhantomData;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::os::fd::AsFd;
use std::time::Duration;

use shaq::error::WaitError;
use shaq::spsc::{Consumer, Producer, minimum_file_size};

use super::files::{nameless, until};
use crate::failure::Failure;
use crate::harness::{Mechanism, Message, Rx, Setting, Shared, Subject, Tx};
use crate::versions::version;

pub(crate) const SHAQ: &str = concat!("shaq ", version!("shaq_4"), " SPSC");
pub(crate) const SHAQ_BATCHES: &str = concat!("shaq ", version!("shaq_4"), " SPSC, batches");
pub(crate) const SHAQ_WAITING: &str = concat!("shaq ", version!("shaq_4"), " SPSC, waiting");
pub(crate) use mpmc::{SHAQ_MPMC, SHAQ_MPMC_BATCHES, SHAQ_MPMC_WAITING};

pub(super) fn all() -> Vec<Box<dyn Subject>> {
    let mut all: Vec<Box<dyn Subject>> = vec![
        Box::new(Spsc::<Single>(PhantomData)),
        Box::new(Spsc::<Batches>(PhantomData)),
        Box::new(Spsc::<Waiting>(PhantomData)),
    ];
    all.extend(mpmc::all());
    all
}

/// How long it waits at a time: its calls want a limit, and are repeated.
const LIMIT: Duration = Duration::from_secs(1);

/// The file of a channel.
pub(super) fn file(shared: &Shared, channel: usize) -> Result<File, Failure> {
    let gone = || Failure::Broken("the channel's file was lost".to_owned());
    let fd = shared.fds.get(channel).ok_or_else(gone)?.as_fd().try_clone_to_owned();
    Ok(File::from(fd.map_err(|error| Failure::broken("the channel's file", error))?))
}

/// How many may be taken at once.
fn at_most(most: u64) -> NonZeroUsize {
    NonZeroUsize::new(most as usize).unwrap_or(NonZeroUsize::MIN)
}

/// A way to use it.
trait Way: Sync + Sized + 'static {
    const NAME: &str;

    fn send<const W: usize>(producer: &mut Producer<Message<W>>, numbers: Range<u64>) {
        for number in numbers {
            while producer.try_write([number; W]).is_err() {
                spin_loop();
            }
        }
    }

    fn receive<const W: usize>(
        consumer: &mut Consumer<Message<W>>,
        most: u64,
        see: impl FnMut(&Message<W>),
    ) -> u64;
}

/// `try_write` and `try_read`.
struct Single;

impl Way for Single {
    const NAME: &str = SHAQ;

    #[inline(always)]
    fn receive<const W: usize>(
        consumer: &mut Consumer<Message<W>>,
        _: u64,
        mut see: impl FnMut(&Message<W>),
    ) -> u64 {
        loop {
            if let Some(message) = consumer.try_read() {
                see(&message);
                return 1;
            }
            spin_loop();
        }
    }
}

/// `write_batch` and `try_reserve_read_batch`.
struct Batches;

impl Way for Batches {
    const NAME: &str = SHAQ_BATCHES;

    #[inline(always)]
    fn send<const W: usize>(producer: &mut Producer<Message<W>>, mut numbers: Range<u64>) {
        while !numbers.is_empty() {
            let mut batch = producer.write_batch();
            while !numbers.is_empty() && batch.try_write([numbers.start; W]).is_ok() {
                numbers.start += 1;
            }
            drop(batch);
            if !numbers.is_empty() {
                spin_loop();
            }
        }
    }

    #[inline(always)]
    fn receive<const W: usize>(
        consumer: &mut Consumer<Message<W>>,
        most: u64,
        mut see: impl FnMut(&Message<W>),
    ) -> u64 {
        loop {
            if let Some(batch) = consumer.try_reserve_read_batch(at_most(most)) {
                let (first, second) = batch.as_slices();
                first.iter().chain(second).for_each(&mut see);
                return batch.len() as u64;
            }
            spin_loop();
        }
    }
}

/// `read_timeout`, which spins for a while and then sleeps.
struct Waiting;

impl Way for Waiting {
    const NAME: &str = SHAQ_WAITING;

    #[inline(always)]
    fn receive<const W: usize>(
        consumer: &mut Consumer<Message<W>>,
        _: u64,
        mut see: impl FnMut(&Message<W>),
    ) -> u64 {
        loop {
            match consumer.read_timeout(LIMIT) {
                Ok(message) => {
                    see(&message);
                    return 1;
                }
                Err(WaitError::Timeout) => {}
            }
        }
    }
}

struct Spsc<Y>(PhantomData<fn() -> Y>);

struct SpscTx<const W: usize, Y>(Producer<Message<W>>, PhantomData<Y>);
struct SpscRx<const W: usize, Y>(Consumer<Message<W>>, PhantomData<Y>);

impl<Y: Way> Mechanism for Spsc<Y> {
    type Tx<const W: usize> = SpscTx<W, Y>;
    type Rx<const W: usize> = SpscRx<W, Y>;

    fn name(&self) -> String {
        Y::NAME.to_owned()
    }

    fn lap(&self, setting: &Setting) -> u64 {
        setting.slots as u64
    }

    fn prepare(&self, setting: &Setting) -> Result<Shared, Failure> {
        nameless(setting.channels())
    }

    /// The consumer makes the queue, the producer joins it.
    fn tx<const W: usize>(
        &self,
        shared: &Shared,
        _: &Setting,
        channel: usize,
    ) -> Result<SpscTx<W, Y>, Failure> {
        let file = file(shared, channel)?;
        // SAFETY: the only producer; both sides mean the same type, which is
        // plain data.
        let join = || unsafe { Producer::join(&file) };
        Ok(SpscTx(until("join the queue", join)?, PhantomData))
    }

    fn rx<const W: usize>(
        &self,
        shared: &Shared,
        setting: &Setting,
        channel: usize,
    ) -> Result<SpscRx<W, Y>, Failure> {
        let size = minimum_file_size::<Message<W>>(setting.slots);
        // SAFETY: the only consumer, which alone makes the queue.
        let consumer = unsafe { Consumer::create(&file(shared, channel)?, size) };
        let consumer = consumer.map_err(|error| Failure::Broken(format!("{error:?}")))?;
        Ok(SpscRx(consumer, PhantomData))
    }
}

impl<const W: usize, Y: Way> Tx<W> for SpscTx<W, Y> {
    #[inline(always)]
    fn send(&mut self, numbers: Range<u64>) -> Result<(), Failure> {
        Y::send(&mut self.0, numbers);
        Ok(())
    }
}

impl<const W: usize, Y: Way> Rx<W> for SpscRx<W, Y> {
    #[inline(always)]
    fn receive(&mut self, most: u64, see: impl FnMut(&Message<W>)) -> Result<u64, Failure> {
        Ok(Y::receive(&mut self.0, most, see))
    }
}
