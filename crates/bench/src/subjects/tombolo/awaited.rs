//! Channels of plain data whose handles are awaited, by a runtime that runs one task and parks
//! its thread.

use std::future::Future;
use std::marker::PhantomData;
use std::ops::Range;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use tombolo::{AsyncReceiver, AsyncSender, Kind};

use super::typed::{Blocking, Typed};
use super::{Choose, NAMES, cannot, open};
use crate::failure::Failure;
use crate::harness::{Mechanism, Message, Rx, Setting, Shared, Tx};

/// A kind of channel.
pub(super) struct Awaited<K> {
    name: &'static str,
    kind: PhantomData<fn() -> K>,
}

impl<K> Awaited<K> {
    pub(super) const fn new(name: &'static str) -> Self {
        Self { name, kind: PhantomData }
    }
}

/// Runs a future at a time in this thread.
struct Runtime {
    woken: Arc<Woken>,
    waker: Waker,
}

struct Woken {
    woken: AtomicBool,
    thread: Thread,
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.woken.swap(true, Ordering::AcqRel) && self.thread.id() != thread::current().id() {
            self.thread.unpark();
        }
    }
}

impl Runtime {
    fn new() -> Self {
        let woken = Arc::new(Woken { woken: AtomicBool::new(false), thread: thread::current() });
        Self { waker: Arc::clone(&woken).into(), woken }
    }

    #[inline(always)]
    fn run<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        let mut cx = Context::from_waker(&self.waker);
        loop {
            if let Poll::Ready(done) = future.as_mut().poll(&mut cx) {
                return done;
            }
            while !self.woken.woken.swap(false, Ordering::AcqRel) {
                thread::park();
            }
        }
    }
}

pub(super) struct Out<const W: usize, K: Kind> {
    sender: AsyncSender<Message<W>, K>,
    runtime: Runtime,
}

pub(super) struct In<const W: usize, K: Kind> {
    receiver: AsyncReceiver<Message<W>, K>,
    runtime: Runtime,
}

impl<const W: usize, K: Kind> Tx<W> for Out<W, K> {
    #[inline(always)]
    fn send(&mut self, numbers: Range<u64>) -> Result<(), Failure> {
        let Self { sender, runtime } = self;
        runtime.run(async {
            for number in numbers {
                sender.send([number; W]).await.map_err(cannot("send"))?;
            }
            Ok(())
        })
    }
}

impl<const W: usize, K: Kind> Rx<W> for In<W, K> {
    #[inline(always)]
    fn receive(&mut self, _: u64, mut see: impl FnMut(&Message<W>)) -> Result<u64, Failure> {
        see(&self.runtime.run(self.receiver.recv()).map_err(cannot("receive"))?);
        Ok(1)
    }
}

impl<K: Choose> Mechanism for Awaited<K> {
    type Tx<const W: usize> = Out<W, K>;
    type Rx<const W: usize> = In<W, K>;
    const PUBLISHES: bool = K::TO_ONE;

    fn name(&self) -> String {
        self.name.to_owned()
    }

    fn lap(&self, setting: &Setting) -> u64 {
        setting.slots as u64
    }

    fn prepare(&self, setting: &Setting) -> Result<Shared, Failure> {
        Typed::<K, Blocking>::new(self.name).prepare(setting)
    }

    fn tx<const W: usize>(
        &self,
        shared: &Shared,
        _: &Setting,
        channel: usize,
    ) -> Result<Out<W, K>, Failure> {
        let segment = open(shared)?;
        let channel = K::choose(segment.channel::<Message<W>>(NAMES[channel]));
        let sender = channel.sender().map_err(cannot("open a sender"))?.into_async();
        Ok(Out { sender, runtime: Runtime::new() })
    }

    fn rx<const W: usize>(
        &self,
        shared: &Shared,
        _: &Setting,
        channel: usize,
    ) -> Result<In<W, K>, Failure> {
        let segment = open(shared)?;
        let channel = K::choose(segment.channel::<Message<W>>(NAMES[channel]));
        let receiver = channel.receiver().map_err(cannot("open a receiver"))?.into_async();
        Ok(In { receiver, runtime: Runtime::new() })
    }
}
