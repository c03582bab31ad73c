//! Channels between threads of one process, for comparison: they need not cross
//! from one process to another. One of the threads creates the channel, and all
//! take their ends.

use std::any::Any;
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};

use crate::failure::Failure;
use crate::harness::{Mechanism, Message, Rx, Setting, Shared, Subject, Tx};

pub(super) fn all() -> Vec<Box<dyn Subject>> {
    vec![Box::new(Threads::<SyncChannel>::new())]
}

/// A channel as its library makes it.
pub(crate) trait Pair: 'static {
    const NAME: &str;
    type Tx<const W: usize>: Tx<W> + Send;
    type Rx<const W: usize>: Rx<W> + Send;

    fn pair<const W: usize>(slots: usize) -> (Self::Tx<W>, Self::Rx<W>);

    /// The end for the next thread that asks for one: none, or a clone.
    fn next_tx<const W: usize>(_: &Self::Tx<W>) -> Option<Self::Tx<W>> {
        None
    }

    fn next_rx<const W: usize>(_: &Self::Rx<W>) -> Option<Self::Rx<W>> {
        None
    }
}

/// Such a channel as something to measure.
pub(crate) struct Threads<P>(PhantomData<fn() -> P>);

impl<P> Threads<P> {
    pub(crate) const fn new() -> Self {
        Self(PhantomData)
    }
}

/// The ends that nobody has taken yet; nothing before the first one comes.
type Ends = Mutex<Option<Box<dyn Any + Send>>>;
type Pairs<P, const W: usize> = (Option<<P as Pair>::Tx<W>>, Option<<P as Pair>::Rx<W>>);

fn take<P: Pair, E, const W: usize>(
    shared: &Shared,
    setting: &Setting,
    channel: usize,
    end: impl FnOnce(&mut Pairs<P, W>) -> Option<E>,
) -> Result<E, Failure> {
    let lost = || Failure::Broken("the channel has no such end left".to_owned());
    let ends = shared.held.get(channel).and_then(|held| held.downcast_ref::<Ends>());
    let mut ends = ends.ok_or_else(lost)?.lock().unwrap_or_else(PoisonError::into_inner);
    let ends = ends.get_or_insert_with(|| {
        let (tx, rx) = P::pair::<W>(setting.slots);
        Box::new((Some(tx), Some(rx)))
    });
    ends.downcast_mut::<Pairs<P, W>>().and_then(end).ok_or_else(lost)
}

impl<P: Pair> Mechanism for Threads<P> {
    type Tx<const W: usize> = P::Tx<W>;
    type Rx<const W: usize> = P::Rx<W>;

    fn name(&self) -> String {
        P::NAME.to_owned()
    }

    fn threads(&self) -> bool {
        true
    }

    fn lap(&self, setting: &Setting) -> u64 {
        setting.slots as u64
    }

    fn prepare(&self, setting: &Setting) -> Result<Shared, Failure> {
        let mut shared = Shared::default();
        for _ in 0..setting.channels() {
            shared.held.push(Box::new(Ends::default()));
        }
        Ok(shared)
    }

    fn tx<const W: usize>(
        &self,
        shared: &Shared,
        setting: &Setting,
        channel: usize,
    ) -> Result<P::Tx<W>, Failure> {
        take::<P, _, W>(shared, setting, channel, |(tx, _)| {
            let taken = tx.take()?;
            *tx = P::next_tx(&taken);
            Some(taken)
        })
    }

    fn rx<const W: usize>(
        &self,
        shared: &Shared,
        setting: &Setting,
        channel: usize,
    ) -> Result<P::Rx<W>, Failure> {
        take::<P, _, W>(shared, setting, channel, |(_, rx)| {
            let taken = rx.take()?;
            *rx = P::next_rx(&taken);
            Some(taken)
        })
    }
}

/// `std::sync::mpsc::sync_channel`.
struct SyncChannel;

impl Pair for SyncChannel {
    const NAME: &str = "sync_channel of std, between threads";
    type Tx<const W: usize> = SyncSender<Message<W>>;
    type Rx<const W: usize> = Receiver<Message<W>>;

    fn pair<const W: usize>(slots: usize) -> (Self::Tx<W>, Self::Rx<W>) {
        sync_channel(slots)
    }
}

impl<const W: usize> Tx<W> for SyncSender<Message<W>> {
    fn send(&mut self, numbers: Range<u64>) -> Result<(), Failure> {
        for number in numbers {
            SyncSender::send(self, [number; W])
                .map_err(|error| Failure::broken("cannot send", error))?;
        }
        Ok(())
    }
}

impl<const W: usize> Rx<W> for Receiver<Message<W>> {
    fn receive(&mut self, _: u64, mut see: impl FnMut(&Message<W>)) -> Result<u64, Failure> {
        see(&self.recv().map_err(|error| Failure::broken("cannot receive", error))?);
        Ok(1)
    }
}
