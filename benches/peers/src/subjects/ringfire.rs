//! `ringfire`: one ring with sequence numbers, for one producer. It is used in
//! its lossless mode, because otherwise slow consumers lose messages; with single
//! messages or slices, spinning or waiting on its futex.

use std::marker::PhantomData;
use std::ops::Range;

use ringfire::{
    BusySpin, FlowControl, FutexWait, RingConsumer, RingConsumerBuilder, RingProducer,
    RingProducerBuilder, WaitStrategy,
};

use super::files::{named, path, until};
use crate::failure::Failure;
use crate::harness::carry::BATCH;
use crate::harness::{Mechanism, Message, Rx, Setting, Shared, Subject, Tx};
use crate::versions::version;

pub(crate) const RINGFIRE: &str = concat!("ringfire ", version!("ringfire"));
pub(crate) const RINGFIRE_BATCHES: &str = concat!("ringfire ", version!("ringfire"), ", batches");
pub(crate) const RINGFIRE_WAITING: &str = concat!("ringfire ", version!("ringfire"), ", waiting");

pub(super) fn all() -> Vec<Box<dyn Subject>> {
    vec![
        Box::new(Ringfire::<BusySpin, false>(RINGFIRE, PhantomData)),
        Box::new(Ringfire::<BusySpin, true>(RINGFIRE_BATCHES, PhantomData)),
        Box::new(Ringfire::<FutexWait, false>(RINGFIRE_WAITING, PhantomData)),
    ]
}

/// Waiting in one of its ways, one at a time or batched.
struct Ringfire<S, const BATCHED: bool>(&'static str, PhantomData<fn() -> S>);

struct RingTx<const W: usize, const BATCHED: bool> {
    producer: RingProducer<Message<W>>,
    batch: Vec<Message<W>>,
}

struct RingRx<const W: usize, S, const BATCHED: bool> {
    consumer: RingConsumer<Message<W>>,
    wait: S,
    batch: Vec<Message<W>>,
}

impl<S: WaitStrategy + Default + 'static, const BATCHED: bool> Mechanism for Ringfire<S, BATCHED> {
    type Tx<const W: usize> = RingTx<W, BATCHED>;
    type Rx<const W: usize> = RingRx<W, S, BATCHED>;

    fn name(&self) -> String {
        self.0.to_owned()
    }

    fn lap(&self, setting: &Setting) -> u64 {
        setting.slots as u64
    }

    fn prepare(&self, _: &Setting) -> Result<Shared, Failure> {
        Ok(named())
    }

    fn tx<const W: usize>(
        &self,
        shared: &Shared,
        setting: &Setting,
        channel: usize,
    ) -> Result<RingTx<W, BATCHED>, Failure> {
        let producer = RingProducerBuilder::new(setting.slots as u64)
            .flow_control(FlowControl::LosslessBackpressure)
            .build(path(shared, channel))
            .map_err(|error| Failure::broken("cannot make the ring", error))?;
        Ok(RingTx { producer, batch: Vec::new() })
    }

    fn rx<const W: usize>(
        &self,
        shared: &Shared,
        _: &Setting,
        channel: usize,
    ) -> Result<RingRx<W, S, BATCHED>, Failure> {
        let attach = || {
            RingConsumerBuilder::<Message<W>>::new().start_from_head().attach(path(shared, channel))
        };
        let consumer = until("attach to the ring", attach)?;
        let batch = vec![[0; W]; BATCH as usize];
        Ok(RingRx { consumer, wait: S::default(), batch })
    }
}

impl<const W: usize, const BATCHED: bool> Tx<W> for RingTx<W, BATCHED> {
    #[inline(always)]
    fn send(&mut self, numbers: Range<u64>) -> Result<(), Failure> {
        if BATCHED {
            self.batch.clear();
            self.batch.extend(numbers.map(|number| [number; W]));
            self.producer.push_batch(&self.batch);
        } else {
            numbers.for_each(|number| self.producer.push(&[number; W]));
        }
        Ok(())
    }
}

impl<const W: usize, S: WaitStrategy, const BATCHED: bool> Rx<W> for RingRx<W, S, BATCHED> {
    #[inline(always)]
    fn receive(&mut self, most: u64, mut see: impl FnMut(&Message<W>)) -> Result<u64, Failure> {
        if !BATCHED {
            see(&self.consumer.recv_blocking(&mut self.wait));
            return Ok(1);
        }
        let room = self.batch.len().min(most as usize);
        loop {
            let count = self.consumer.recv_batch(&mut self.batch[..room]);
            if count > 0 {
                self.batch[..count].iter().for_each(&mut see);
                return Ok(count as u64);
            }
            std::hint::spin_loop();
        }
    }
}
