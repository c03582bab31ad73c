//! The ends of the four rings behind one interface that keeps every answer. Messages are
//! numbers here; the rest of a message follows from its number.

mod bytes;
mod typed;

use std::time::Duration;

use tombolo::{Fault, RecvError, RecvTimeoutError, Segment, SendError, TryRecvError};

use bytes::Bytes;

/// The most bytes of a message.
pub(crate) const LONGEST: usize = 256;

type Page = [u64; LONGEST / 8];

/// Which ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Ring {
    Mpmc,
    Spsc,
    MpmcBytes,
    SpscBytes,
}

/// A channel of one of the rings, that never disconnects.
#[derive(Clone, Debug)]
pub(crate) struct Queue {
    pub(crate) ring: Ring,
    pub(crate) name: String,
    pub(crate) capacity: usize,
    /// How often a message is delivered again.
    pub(crate) times: u8,
    /// How long the message of this number is; where all are as long, the
    /// longest.
    pub(crate) length: fn(u64) -> usize,
}

/// How long to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    None,
    For(Duration),
    Ever,
}

/// Why nothing was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nothing {
    Empty,
    Pending,
    TimedOut,
}

/// What becomes of a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Grants {
    Commit,
    Abort,
    Drop,
}

/// What becomes of a message that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Release,
    GiveBack,
    Drop,
}

/// The sending end.
pub(crate) trait Tx {
    /// Whether there was room.
    fn send(&mut self, id: u64, patience: Patience) -> Result<bool, Fault>;
    fn send_batch(&mut self, ids: &[u64]) -> Result<(), Fault>;
    /// How many fit; `None` if this ring has no such call.
    fn try_send_batch(&mut self, ids: &[u64]) -> Option<Result<usize, Fault>>;
    /// Reserves, calls `meanwhile`, and lets the grant go; whether there was
    /// room.
    fn grant(
        &mut self,
        id: u64,
        patience: Patience,
        end: Grants,
        meanwhile: &mut dyn FnMut(),
    ) -> Result<bool, Fault>;
    /// The same with some side by side, of which the first `commit` are sent;
    /// how many there was room for. `None` if this ring has no such call.
    fn grant_slice(&mut self, _ids: &[u64], _commit: usize) -> Option<Result<usize, Fault>> {
        None
    }
    fn len(&self) -> usize;
}

type Got<R> = Result<Result<R, Nothing>, Fault>;

/// The receiving end. Torn messages are a panic.
pub(crate) trait Rx {
    fn recv(&mut self, patience: Patience) -> Got<u64>;
    fn recv_batch(&mut self, most: usize) -> Result<Vec<u64>, Fault>;
    /// Takes, calls `meanwhile` with the number and how many receivers have
    /// died over it, and lets the message go.
    fn take(
        &mut self,
        patience: Patience,
        end: Verdict,
        meanwhile: &mut dyn FnMut(u64, u8),
    ) -> Got<u64>;
    /// Takes some side by side, and releases the first of them; what was
    /// there. `None` if this ring has no such call.
    fn take_slice(&mut self, _most: usize, _release: usize) -> Option<Result<Vec<u64>, Fault>> {
        None
    }
    fn len(&self) -> usize;
}

impl Queue {
    pub(crate) fn sender(&self, segment: &Segment) -> Result<Box<dyn Tx>, tombolo::ChannelError> {
        let (name, capacity, times) = (&*self.name, self.capacity, self.times);
        let typed = segment.channel::<Page>(name).capacity(capacity).redeliver(times).lasting();
        let bytes = segment.bytes(name).capacity(capacity, LONGEST).redeliver(times).lasting();
        let length = self.length;
        Ok(match self.ring {
            Ring::Mpmc => Box::new(typed.sender()?),
            Ring::Spsc => Box::new(typed.spsc().sender()?),
            Ring::MpmcBytes => Box::new(Bytes { end: bytes.sender()?, length }),
            Ring::SpscBytes => Box::new(Bytes { end: bytes.spsc().sender()?, length }),
        })
    }

    pub(crate) fn receiver(&self, segment: &Segment) -> Result<Box<dyn Rx>, tombolo::ChannelError> {
        let (name, capacity, times) = (&*self.name, self.capacity, self.times);
        let typed = segment.channel::<Page>(name).capacity(capacity).redeliver(times).lasting();
        let bytes = segment.bytes(name).capacity(capacity, LONGEST).redeliver(times).lasting();
        let length = self.length;
        Ok(match self.ring {
            Ring::Mpmc => Box::new(typed.receiver()?),
            Ring::Spsc => Box::new(typed.spsc().receiver()?),
            Ring::MpmcBytes => Box::new(Bytes { end: bytes.receiver()?, length }),
            Ring::SpscBytes => Box::new(Bytes { end: bytes.spsc().receiver()?, length }),
        })
    }
}

impl Ring {
    pub(crate) const ALL: [Ring; 4] = [Ring::Mpmc, Ring::Spsc, Ring::MpmcBytes, Ring::SpscBytes];

    /// Whether there is one end of each kind at most.
    pub(crate) const fn single(self) -> bool {
        matches!(self, Ring::Spsc | Ring::SpscBytes)
    }

    pub(crate) const fn bytes(self) -> bool {
        matches!(self, Ring::MpmcBytes | Ring::SpscBytes)
    }
}

const fn page(id: u64) -> Page {
    [id; LONGEST / 8]
}

#[track_caller]
fn number(page: &Page) -> u64 {
    assert!(page.iter().all(|n| *n == page[0]), "torn: {page:x?}");
    page[0]
}

fn fault(error: RecvError) -> Fault {
    error.into_fault().expect("a message of the type")
}

fn unsent<T>(error: SendError<T>) -> Fault {
    error.into_fault().expect("a message that is not too long")
}

fn tried<R>(got: Result<R, TryRecvError>) -> Got<R> {
    match got {
        Ok(got) => Ok(Ok(got)),
        Err(TryRecvError::Empty) => Ok(Err(Nothing::Empty)),
        Err(TryRecvError::Pending) => Ok(Err(Nothing::Pending)),
        Err(error) => Err(error.into_fault().expect("a message of the type")),
    }
}

fn timed<R>(got: Result<R, RecvTimeoutError>) -> Got<R> {
    match got {
        Ok(got) => Ok(Ok(got)),
        Err(RecvTimeoutError::Timeout) => Ok(Err(Nothing::TimedOut)),
        Err(error) => Err(error.into_fault().expect("a message of the type")),
    }
}
