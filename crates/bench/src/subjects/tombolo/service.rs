//! Calls: an exchange in which the answer belongs to the question.

use std::cell::{Cell, RefCell};
use std::hint::spin_loop;
use std::marker::PhantomData;
use std::ops::Range;

use tombolo::{Client, Server, ServerCall, TryRecvError};

use super::{BESIDE_TYPED, cannot, open, prepare};
use crate::failure::Failure;
use crate::harness::{Mechanism, Message, Rx, Setting, Shared, Tx};

const NAME: &str = "numbers";

thread_local! {
    /// The next question of this thread's client, which is asked when it waits for the answer.
    static QUESTION: Cell<u64> = const { Cell::new(0) };
    /// The call that this thread's server is to reply to.
    static IN_HAND: RefCell<Option<ServerCall<u64, u64>>> = const { RefCell::new(None) };
}

/// How both sides wait.
pub(super) trait Way: Sync {
    fn ask(client: &Client<u64, u64>, question: u64) -> Result<u64, Failure>;
    fn take(server: &Server<u64, u64>) -> Result<ServerCall<u64, u64>, Failure>;
}

/// Looks until something is there.
pub(super) struct Spinning;

impl Way for Spinning {
    #[inline(always)]
    fn ask(client: &Client<u64, u64>, question: u64) -> Result<u64, Failure> {
        let call = client.start(question).map_err(cannot("call"))?;
        loop {
            if let Some(answer) = call.try_wait() {
                return answer.map_err(cannot("be answered"));
            }
            spin_loop();
        }
    }

    #[inline(always)]
    fn take(server: &Server<u64, u64>) -> Result<ServerCall<u64, u64>, Failure> {
        loop {
            match server.try_recv() {
                Ok(call) => return Ok(call),
                Err(TryRecvError::Empty) => spin_loop(),
                Err(error) => return Err(cannot("serve")(error)),
            }
        }
    }
}

/// Leaves it to the library.
pub(super) struct Blocking;

impl Way for Blocking {
    #[inline(always)]
    fn ask(client: &Client<u64, u64>, question: u64) -> Result<u64, Failure> {
        client.call(question).map_err(cannot("call"))
    }

    #[inline(always)]
    fn take(server: &Server<u64, u64>) -> Result<ServerCall<u64, u64>, Failure> {
        server.recv().map_err(cannot("serve"))
    }
}

/// A service, used in one way: the first worker's messages are requests, and those that come
/// back to it are the replies.
pub(super) struct Service<Y> {
    name: &'static str,
    way: PhantomData<fn() -> Y>,
}

impl<Y> Service<Y> {
    pub(super) const fn new(name: &'static str) -> Self {
        Self { name, way: PhantomData }
    }
}

/// One of the four ends.
pub(super) enum End<Y> {
    /// Notes the question.
    Question,
    /// Asks it.
    Client(Client<u64, u64>, PhantomData<fn() -> Y>),
    Server(Server<u64, u64>),
    /// Replies to what was taken.
    Answer,
}

impl<Y: Way> Mechanism for Service<Y> {
    type Tx<const W: usize> = End<Y>;
    type Rx<const W: usize> = End<Y>;

    fn name(&self) -> String {
        self.name.to_owned()
    }

    fn prepare(&self, setting: &Setting) -> Result<Shared, Failure> {
        prepare(setting, 128 + BESIDE_TYPED, |segment, _| {
            let service = segment.service::<u64, u64>(NAME).capacity(setting.slots.min(64));
            service.lasting().client().map(drop).map_err(cannot("make the service"))
        })
    }

    fn tx<const W: usize>(&self, _: &Shared, _: &Setting, n: usize) -> Result<End<Y>, Failure> {
        Ok(if n == 0 { End::Question } else { End::Answer })
    }

    fn rx<const W: usize>(
        &self,
        shared: &Shared,
        _: &Setting,
        n: usize,
    ) -> Result<End<Y>, Failure> {
        let segment = open(shared)?;
        let service = segment.service::<u64, u64>(NAME);
        if n == 0 {
            return Ok(End::Server(service.server().map_err(cannot("open a server"))?));
        }
        let client = service.client().map_err(cannot("open a client"))?;
        Ok(End::Client(client, PhantomData))
    }
}

impl<const W: usize, Y: Way> Tx<W> for End<Y> {
    #[inline(always)]
    fn send(&mut self, numbers: Range<u64>) -> Result<(), Failure> {
        match self {
            Self::Question => QUESTION.set(numbers.start),
            _ => {
                let call = IN_HAND.take();
                let call = call.ok_or_else(|| Failure::Broken("no call in hand".to_owned()))?;
                call.reply(numbers.start).map_err(cannot("reply"))?;
            }
        }
        Ok(())
    }
}

impl<const W: usize, Y: Way> Rx<W> for End<Y> {
    #[inline(always)]
    fn receive(&mut self, _: u64, mut see: impl FnMut(&Message<W>)) -> Result<u64, Failure> {
        let number = match self {
            Self::Client(client, _) => Y::ask(client, QUESTION.get())?,
            Self::Server(server) => {
                let call = Y::take(server)?;
                let number = call.request().map_err(cannot("read a request"))?;
                IN_HAND.set(Some(call));
                number
            }
            _ => return Err(Failure::Broken("an end that receives nothing".to_owned())),
        };
        see(&[number; W]);
        Ok(1)
    }
}
