//! A channel between threads of one process, for comparison: what others have
//! to cross, it has not.

use std::any::Any;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use crate::bench::harness::{Mechanism, Message, Rx, Setting, Shared, Subject, Tx};
use crate::failure::Failure;

pub(super) fn all() -> Vec<Box<dyn Subject>> {
    vec![Box::new(SyncChannel)]
}

/// `std::sync::mpsc::sync_channel`.
struct SyncChannel;

/// The end that nobody has come for yet.
type Waiting = Mutex<Option<Box<dyn Any + Send>>>;

/// An end of a channel, which whoever comes first makes.
fn end<E: Send + 'static, O: Send + 'static>(
    shared: &Shared,
    channel: usize,
    make: impl FnOnce() -> (E, O),
) -> Result<E, Failure> {
    let broken = || Failure::Broken("the channel's ends were lost".to_owned());
    let waiting = shared.held.get(channel).and_then(|held| held.downcast_ref::<Waiting>());
    let mut waiting = waiting.ok_or_else(broken)?.lock().map_err(|_| broken())?;
    if let Some(end) = waiting.take() {
        return end.downcast::<E>().map(|end| *end).map_err(|_| broken());
    }
    let (end, other) = make();
    *waiting = Some(Box::new(other));
    Ok(end)
}

impl Mechanism for SyncChannel {
    type Tx<const W: usize> = SyncSender<Message<W>>;
    type Rx<const W: usize> = Receiver<Message<W>>;

    fn name(&self) -> String {
        "sync_channel of std, between threads".to_owned()
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
            shared.held.push(Box::new(Waiting::default()));
        }
        Ok(shared)
    }

    fn tx<const W: usize>(
        &self,
        shared: &Shared,
        setting: &Setting,
        channel: usize,
    ) -> Result<SyncSender<Message<W>>, Failure> {
        end(shared, channel, || sync_channel::<Message<W>>(setting.slots))
    }

    fn rx<const W: usize>(
        &self,
        shared: &Shared,
        setting: &Setting,
        channel: usize,
    ) -> Result<Receiver<Message<W>>, Failure> {
        end(shared, channel, || {
            let (sender, receiver) = sync_channel::<Message<W>>(setting.slots);
            (receiver, sender)
        })
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
