//! A channel whose receiver waits by a wait set, beside idle members.

use std::ops::Range;
use std::rc::Rc;

use tombolo::{Ready, Receiver, Segment, Sender, TryRecvError, WaitSet};

use super::{BESIDE_TYPED, NAMES, cannot, open, prepare_in};
use crate::failure::Failure;
use crate::harness::{Mechanism, Message, Rx, Setting, Shared, Tx};

/// An MPMC channel, received from by way of a set.
pub(super) struct InSet {
    name: &'static str,
    /// Members of the set that never get anything.
    idle: usize,
    /// Whether it waits before each message, or only where there is none.
    each: bool,
}

impl InSet {
    pub(super) const fn new(name: &'static str, idle: usize, each: bool) -> Self {
        Self { name, idle, each }
    }
}

pub(super) struct Out<const W: usize>(Sender<Message<W>>);

pub(super) struct In<const W: usize> {
    receiver: Rc<Receiver<Message<W>>>,
    set: WaitSet<'static>,
    ready: Vec<Ready>,
    each: bool,
}

impl<const W: usize> Tx<W> for Out<W> {
    #[inline(always)]
    fn send(&mut self, numbers: Range<u64>) -> Result<(), Failure> {
        for number in numbers {
            self.0.send([number; W]).map_err(cannot("send"))?;
        }
        Ok(())
    }
}

impl<const W: usize> Rx<W> for In<W> {
    #[inline(always)]
    fn receive(&mut self, _: u64, mut see: impl FnMut(&Message<W>)) -> Result<u64, Failure> {
        if self.each {
            self.set.wait(&mut self.ready, None).map_err(cannot("wait"))?;
        }
        loop {
            match self.receiver.try_recv() {
                Ok(message) => {
                    see(&message);
                    return Ok(1);
                }
                Err(TryRecvError::Empty | TryRecvError::Pending) => {
                    self.set.wait(&mut self.ready, None).map_err(cannot("wait"))?;
                }
                Err(error) => return Err(cannot("receive")(error)),
            }
        }
    }
}

impl Mechanism for InSet {
    type Tx<const W: usize> = Out<W>;
    type Rx<const W: usize> = In<W>;

    fn name(&self) -> String {
        self.name.to_owned()
    }

    fn lap(&self, setting: &Setting) -> u64 {
        setting.slots as u64
    }

    fn prepare(&self, setting: &Setting) -> Result<Shared, Failure> {
        let channels = u16::try_from(NAMES.len() + self.idle).unwrap_or(u16::MAX);
        prepare_in(Segment::options().channels(channels), setting, BESIDE_TYPED, |segment, name| {
            let channel = segment.channel::<Message<1>>(name).capacity(setting.slots).lasting();
            channel.sender().map(drop).map_err(cannot("make the channel"))?;
            for n in 0..self.idle {
                let name = idle(n);
                let channel = segment.channel::<u64>(&name).capacity(16).lasting();
                channel.sender().map(drop).map_err(cannot("make a channel"))?;
            }
            Ok(())
        })
    }

    fn tx<const W: usize>(
        &self,
        shared: &Shared,
        _: &Setting,
        channel: usize,
    ) -> Result<Out<W>, Failure> {
        let sender = open(shared)?.channel(NAMES[channel]).sender();
        Ok(Out(sender.map_err(cannot("open a sender"))?))
    }

    fn rx<const W: usize>(
        &self,
        shared: &Shared,
        _: &Setting,
        channel: usize,
    ) -> Result<In<W>, Failure> {
        let segment = open(shared)?;
        let receiver = segment.channel(NAMES[channel]).receiver();
        let receiver = Rc::new(receiver.map_err(cannot("open a receiver"))?);
        let mut set = WaitSet::new(&segment);
        for n in 0..self.idle {
            let idle = segment.channel::<u64>(&idle(n)).receiver();
            let idle = Rc::new(idle.map_err(cannot("open a receiver"))?);
            set.add(idle, n as u64).map_err(cannot("add it"))?;
        }
        let key = self.idle as u64;
        set.add(Rc::clone(&receiver), key).map_err(cannot("add it"))?;
        Ok(In { receiver, set, ready: Vec::new(), each: self.each })
    }
}

/// The name of a channel that nobody uses.
fn idle(n: usize) -> String {
    format!("idle-{n}")
}
