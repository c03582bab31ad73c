//! Shaq's queue for several producers and consumers.

use std::hint::spin_loop;
use std::marker::PhantomData;
use std::num::NonZeroUsize;
use std::ops::Range;

use shaq::error::WaitError;
use shaq::mpmc::{Consumer, Producer, minimum_file_size};

use super::{LIMIT, at_most, file};
use crate::failure::Failure;
use crate::harness::{Mechanism, Message, Rx, Setting, Shared, Subject, Tx};
use crate::subjects::files::nameless;
use crate::versions::version;

pub(crate) const SHAQ_MPMC: &str = concat!("shaq ", version!("shaq_4"), " MPMC");
pub(crate) const SHAQ_MPMC_BATCHES: &str = concat!("shaq ", version!("shaq_4"), " MPMC, batches");
pub(crate) const SHAQ_MPMC_WAITING: &str = concat!("shaq ", version!("shaq_4"), " MPMC, waiting");

pub(super) fn all() -> Vec<Box<dyn Subject>> {
    vec![
        Box::new(Mpmc::<Single>(PhantomData)),
        Box::new(Mpmc::<Batches>(PhantomData)),
        Box::new(Mpmc::<Waiting>(PhantomData)),
    ]
}

/// A way to use it.
trait Way: Sync + Sized + 'static {
    const NAME: &str;

    fn send<const W: usize>(producer: &Producer<Message<W>>, numbers: Range<u64>) {
        for number in numbers {
            while producer.try_write([number; W]).is_err() {
                spin_loop();
            }
        }
    }

    fn receive<const W: usize>(
        consumer: &Consumer<Message<W>>,
        most: u64,
        see: impl FnMut(&Message<W>),
    ) -> u64;
}

/// `try_write` and `try_read`.
struct Single;

impl Way for Single {
    const NAME: &str = SHAQ_MPMC;

    #[inline(always)]
    fn receive<const W: usize>(
        consumer: &Consumer<Message<W>>,
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

/// `try_reserve_write_batch` and `try_reserve_read_batch`.
struct Batches;

impl Way for Batches {
    const NAME: &str = SHAQ_MPMC_BATCHES;

    #[inline(always)]
    fn send<const W: usize>(producer: &Producer<Message<W>>, numbers: Range<u64>) {
        let count = NonZeroUsize::new((numbers.end - numbers.start) as usize);
        let Some(count) = count else {
            return;
        };
        loop {
            // SAFETY: all of the batch is written below.
            let Some(mut batch) = (unsafe { producer.try_reserve_write_batch(count) }) else {
                spin_loop();
                continue;
            };
            for (index, number) in numbers.enumerate() {
                // SAFETY: one of the reserved ones.
                unsafe { batch.write(index, [number; W]) };
            }
            return;
        }
    }

    #[inline(always)]
    fn receive<const W: usize>(
        consumer: &Consumer<Message<W>>,
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
    const NAME: &str = SHAQ_MPMC_WAITING;

    #[inline(always)]
    fn receive<const W: usize>(
        consumer: &Consumer<Message<W>>,
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

struct Mpmc<Y>(PhantomData<fn() -> Y>);

struct MpmcTx<const W: usize, Y>(Producer<Message<W>>, PhantomData<Y>);
struct MpmcRx<const W: usize, Y>(Consumer<Message<W>>, PhantomData<Y>);

/// Makes the queue of a file, for others to join.
fn make<const W: usize>(shared: &Shared, slots: usize, channel: usize) -> Result<(), Failure> {
    let size = minimum_file_size::<Message<W>>(slots);
    // SAFETY: nobody else makes it.
    let made = unsafe { Producer::<Message<W>>::create(&file(shared, channel)?, size) };
    made.map(drop).map_err(|error| Failure::Broken(format!("{error:?}")))
}

impl<Y: Way> Mechanism for Mpmc<Y> {
    type Tx<const W: usize> = MpmcTx<W, Y>;
    type Rx<const W: usize> = MpmcRx<W, Y>;

    fn name(&self) -> String {
        Y::NAME.to_owned()
    }

    fn lap(&self, setting: &Setting) -> u64 {
        setting.slots as u64
    }

    fn prepare(&self, setting: &Setting) -> Result<Shared, Failure> {
        let shared = nameless(setting.channels())?;
        for channel in 0..setting.channels() {
            match setting.words {
                128 => make::<128>(&shared, setting.slots, channel)?,
                8 => make::<8>(&shared, setting.slots, channel)?,
                _ => make::<1>(&shared, setting.slots, channel)?,
            }
        }
        Ok(shared)
    }

    fn tx<const W: usize>(
        &self,
        shared: &Shared,
        _: &Setting,
        channel: usize,
    ) -> Result<MpmcTx<W, Y>, Failure> {
        // SAFETY: all sides mean the same type, which is plain data.
        let producer = unsafe { Producer::join(&file(shared, channel)?) };
        let producer = producer.map_err(|error| Failure::Broken(format!("{error:?}")))?;
        Ok(MpmcTx(producer, PhantomData))
    }

    fn rx<const W: usize>(
        &self,
        shared: &Shared,
        _: &Setting,
        channel: usize,
    ) -> Result<MpmcRx<W, Y>, Failure> {
        // SAFETY: all sides mean the same type, which is plain data.
        let consumer = unsafe { Consumer::join(&file(shared, channel)?) };
        let consumer = consumer.map_err(|error| Failure::Broken(format!("{error:?}")))?;
        Ok(MpmcRx(consumer, PhantomData))
    }
}

impl<const W: usize, Y: Way> Tx<W> for MpmcTx<W, Y> {
    #[inline(always)]
    fn send(&mut self, numbers: Range<u64>) -> Result<(), Failure> {
        Y::send(&self.0, numbers);
        Ok(())
    }
}

impl<const W: usize, Y: Way> Rx<W> for MpmcRx<W, Y> {
    #[inline(always)]
    fn receive(&mut self, most: u64, see: impl FnMut(&Message<W>)) -> Result<u64, Failure> {
        Ok(Y::receive(&self.0, most, see))
    }
}
