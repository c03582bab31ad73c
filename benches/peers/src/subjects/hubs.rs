//! Channels between threads of one process by which every receiver gets every message: `tokio`'s
//! `broadcast`, `bus` and `disruptor`. One of the threads makes the channel with all of its
//! ends, since of some of them no end can be made later; all take theirs.

use std::any::Any;
use std::fmt::Debug;
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use bus::{Bus, BusReader};
use disruptor::{
    BusySpinWithSpinLoopHint, EventPoller, MultiConsumerBarrier, Polling, Producer,
    SingleConsumerBarrier, SingleProducer, SingleProducerBarrier, build_single_producer,
};
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::broadcast::{self, Receiver, Sender};

use crate::failure::Failure;
use crate::harness::{Mechanism, Message, Rx, Setting, Shared, Subject, Tx, pause};
use crate::versions::version;

pub(crate) const TOKIO: &str = concat!("tokio ", version!("tokio"), " broadcast, between threads");
pub(crate) const TOKIO_TRYING: &str =
    concat!("tokio ", version!("tokio"), " broadcast, trying, between threads");
pub(crate) const BUS: &str = concat!("bus ", version!("bus"), ", between threads");
pub(crate) const BUS_TRYING: &str = concat!("bus ", version!("bus"), ", trying, between threads");
pub(crate) const DISRUPTOR: &str =
    concat!("disruptor ", version!("disruptor"), ", between threads");

pub(super) fn all() -> Vec<Box<dyn Subject>> {
    vec![
        Box::new(Hub::<Tokio<false>>(PhantomData)),
        Box::new(Hub::<Tokio<true>>(PhantomData)),
        Box::new(Hub::<OfBus<false>>(PhantomData)),
        Box::new(Hub::<OfBus<true>>(PhantomData)),
        Box::new(Hub::<Disruptor>(PhantomData)),
    ]
}

/// A channel as its library makes it.
trait Ends: 'static {
    const NAME: &str;
    type Tx<const W: usize>: Tx<W> + Send;
    type Rx<const W: usize>: Rx<W> + Send;

    /// All senders and all receivers.
    fn make<const W: usize>(at: &Setting) -> (Vec<Self::Tx<W>>, Vec<Self::Rx<W>>);
}

/// Such a channel as something to measure.
struct Hub<E>(PhantomData<fn() -> E>);

/// The ends that nobody has taken yet; nothing before the first one comes.
type Left = Mutex<Option<Box<dyn Any + Send>>>;
type All<E, const W: usize> = (Vec<<E as Ends>::Tx<W>>, Vec<<E as Ends>::Rx<W>>);

fn take<E: Ends, T, const W: usize>(
    shared: &Shared,
    at: &Setting,
    end: impl FnOnce(&mut All<E, W>) -> Option<T>,
) -> Result<T, Failure> {
    let lost = || Failure::Broken("the channel has no such end left".to_owned());
    let left = shared.held.first().and_then(|held| held.downcast_ref::<Left>());
    let mut left = left.ok_or_else(lost)?.lock().unwrap_or_else(PoisonError::into_inner);
    let left = left.get_or_insert_with(|| Box::new(E::make::<W>(at)));
    left.downcast_mut::<All<E, W>>().and_then(end).ok_or_else(lost)
}

impl<E: Ends> Mechanism for Hub<E> {
    type Tx<const W: usize> = E::Tx<W>;
    type Rx<const W: usize> = E::Rx<W>;
    const PUBLISHES: bool = true;

    fn name(&self) -> String {
        E::NAME.to_owned()
    }

    fn threads(&self) -> bool {
        true
    }

    fn lap(&self, setting: &Setting) -> u64 {
        setting.slots as u64
    }

    fn prepare(&self, _: &Setting) -> Result<Shared, Failure> {
        let mut shared = Shared::default();
        shared.held.push(Box::new(Left::default()));
        Ok(shared)
    }

    fn tx<const W: usize>(
        &self,
        shared: &Shared,
        at: &Setting,
        _: usize,
    ) -> Result<E::Tx<W>, Failure> {
        take::<E, _, W>(shared, at, |(tx, _)| tx.pop())
    }

    fn rx<const W: usize>(
        &self,
        shared: &Shared,
        at: &Setting,
        _: usize,
    ) -> Result<E::Rx<W>, Failure> {
        take::<E, _, W>(shared, at, |(_, rx)| rx.pop())
    }
}

fn cannot<E: Debug>(what: &'static str) -> impl Fn(E) -> Failure {
    move |error| Failure::Broken(format!("cannot {what}: {error:?}"))
}

/// A receiver, and whether others need its processor.
struct End<R> {
    receiver: R,
    crowded: bool,
}

/// It sleeps, or tries.
struct Tokio<const TRYING: bool>;

struct Publisher<const W: usize>(Sender<Message<W>>);
struct Subscriber<const W: usize, const TRYING: bool>(End<Receiver<Message<W>>>);

impl<const TRYING: bool> Ends for Tokio<TRYING> {
    const NAME: &str = if TRYING { TOKIO_TRYING } else { TOKIO };
    type Tx<const W: usize> = Publisher<W>;
    type Rx<const W: usize> = Subscriber<W, TRYING>;

    fn make<const W: usize>(at: &Setting) -> (Vec<Publisher<W>>, Vec<Subscriber<W, TRYING>>) {
        let (sender, _) = broadcast::channel(at.slots);
        let crowded = !at.undisturbed();
        let subscribers = (0..at.consumers)
            .map(|_| Subscriber(End { receiver: sender.subscribe(), crowded }))
            .collect();
        ((0..at.producers).map(|_| Publisher(sender.clone())).collect(), subscribers)
    }
}

impl<const W: usize> Tx<W> for Publisher<W> {
    fn send(&mut self, numbers: Range<u64>) -> Result<(), Failure> {
        for number in numbers {
            self.0.send([number; W]).map_err(|_| cannot("send")("nobody receives"))?;
        }
        Ok(())
    }
}

impl<const W: usize, const TRYING: bool> Rx<W> for Subscriber<W, TRYING> {
    fn receive(&mut self, _: u64, mut see: impl FnMut(&Message<W>)) -> Result<u64, Failure> {
        let End { receiver, crowded } = &mut self.0;
        loop {
            let message = if TRYING {
                match receiver.try_recv() {
                    Err(TryRecvError::Empty) => {
                        pause(*crowded);
                        continue;
                    }
                    // The numbers tell.
                    Err(TryRecvError::Lagged(_)) => continue,
                    received => received.map_err(cannot("receive"))?,
                }
            } else {
                match receiver.blocking_recv() {
                    Err(RecvError::Lagged(_)) => continue,
                    received => received.map_err(cannot("receive"))?,
                }
            };
            see(&message);
            return Ok(1);
        }
    }
}

/// It sleeps, or tries.
struct OfBus<const TRYING: bool>;

struct Driver<const W: usize, const TRYING: bool>(End<Bus<Message<W>>>);
struct Passenger<const W: usize, const TRYING: bool>(End<BusReader<Message<W>>>);

impl<const TRYING: bool> Ends for OfBus<TRYING> {
    const NAME: &str = if TRYING { BUS_TRYING } else { BUS };
    type Tx<const W: usize> = Driver<W, TRYING>;
    type Rx<const W: usize> = Passenger<W, TRYING>;

    fn make<const W: usize>(at: &Setting) -> (Vec<Driver<W, TRYING>>, Vec<Passenger<W, TRYING>>) {
        let mut bus = Bus::new(at.slots);
        let crowded = !at.undisturbed();
        let passengers =
            (0..at.consumers).map(|_| Passenger(End { receiver: bus.add_rx(), crowded })).collect();
        (vec![Driver(End { receiver: bus, crowded })], passengers)
    }
}

impl<const W: usize, const TRYING: bool> Tx<W> for Driver<W, TRYING> {
    fn send(&mut self, numbers: Range<u64>) -> Result<(), Failure> {
        let End { receiver: bus, crowded } = &mut self.0;
        for number in numbers {
            if !TRYING {
                bus.broadcast([number; W]);
                continue;
            }
            let mut message = [number; W];
            while let Err(back) = bus.try_broadcast(message) {
                message = back;
                pause(*crowded);
            }
        }
        Ok(())
    }
}

impl<const W: usize, const TRYING: bool> Rx<W> for Passenger<W, TRYING> {
    fn receive(&mut self, _: u64, mut see: impl FnMut(&Message<W>)) -> Result<u64, Failure> {
        let End { receiver, crowded } = &mut self.0;
        loop {
            let message = if TRYING {
                match receiver.try_recv() {
                    Err(std::sync::mpsc::TryRecvError::Empty) => {
                        pause(*crowded);
                        continue;
                    }
                    received => received.map_err(cannot("receive"))?,
                }
            } else {
                receiver.recv().map_err(cannot("receive"))?
            };
            see(&message);
            return Ok(1);
        }
    }
}

/// With pollers, which it reads many messages by at once.
struct Disruptor;

/// A message in its ring.
struct Event<const W: usize>(Message<W>);

type Poller<const W: usize> = EventPoller<Event<W>, SingleProducerBarrier>;

/// Its type says whether there are several pollers.
enum Producing<const W: usize> {
    ToOne(SingleProducer<Event<W>, SingleConsumerBarrier>),
    ToSeveral(SingleProducer<Event<W>, MultiConsumerBarrier>),
}

impl Ends for Disruptor {
    const NAME: &str = DISRUPTOR;
    type Tx<const W: usize> = End<Producing<W>>;
    type Rx<const W: usize> = End<Poller<W>>;

    fn make<const W: usize>(at: &Setting) -> (Vec<End<Producing<W>>>, Vec<End<Poller<W>>>) {
        let crowded = !at.undisturbed();
        let empty = || Event([0; W]);
        let builder = build_single_producer(at.slots, empty, BusySpinWithSpinLoopHint);
        let (first, builder) = builder.new_event_poller();
        let mut pollers = vec![first];
        let producing = if at.consumers == 1 {
            Producing::ToOne(builder.build())
        } else {
            let (second, mut builder) = builder.new_event_poller();
            pollers.push(second);
            while pollers.len() < at.consumers {
                let (next, rest) = builder.new_event_poller();
                pollers.push(next);
                builder = rest;
            }
            Producing::ToSeveral(builder.build())
        };
        let pollers = pollers.into_iter().map(|receiver| End { receiver, crowded }).collect();
        (vec![End { receiver: producing, crowded }], pollers)
    }
}

/// Publishes by trying: what waits in its library spins, on whatever processor it is.
fn publish<const W: usize, P: Producer<Event<W>>>(producer: &mut P, number: u64, crowded: bool) {
    while producer.try_publish(|event| event.0.fill(number)).is_err() {
        pause(crowded);
    }
}

impl<const W: usize> Tx<W> for End<Producing<W>> {
    fn send(&mut self, numbers: Range<u64>) -> Result<(), Failure> {
        for number in numbers {
            match &mut self.receiver {
                Producing::ToOne(producer) => publish(producer, number, self.crowded),
                Producing::ToSeveral(producer) => publish(producer, number, self.crowded),
            }
        }
        Ok(())
    }
}

impl<const W: usize> Rx<W> for End<Poller<W>> {
    fn receive(&mut self, most: u64, mut see: impl FnMut(&Message<W>)) -> Result<u64, Failure> {
        loop {
            match self.receiver.take(most) {
                Ok(mut events) => {
                    let mut seen = 0;
                    for event in &mut events {
                        see(&event.0);
                        seen += 1;
                    }
                    return Ok(seen);
                }
                Err(Polling::NoEvents) => pause(self.crowded),
                Err(error) => return Err(cannot("receive")(error)),
            }
        }
    }
}
