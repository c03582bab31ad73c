//! The ends of the four rings behind one interface that keeps every answer.
//! Messages are numbers here; the rest of a message follows from its number.

use std::time::Duration;

use tombolo::{
    ByteDelivery, ByteKind, ByteReceiver, ByteSender, Delivery, Fault, Kind, Mpmc, Receiver,
    RecvError, RecvTimeoutError, Segment, SendBytesError, SendTimeoutError, Sender, Spsc,
    TryRecvError, TrySendError,
};

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
    match error {
        RecvError::Fault(fault) => fault,
        error => panic!("{error}"),
    }
}

fn tried<R>(got: Result<R, TryRecvError>) -> Got<R> {
    match got {
        Ok(got) => Ok(Ok(got)),
        Err(TryRecvError::Empty) => Ok(Err(Nothing::Empty)),
        Err(TryRecvError::Pending) => Ok(Err(Nothing::Pending)),
        Err(TryRecvError::Failed(error)) => Err(fault(error)),
        Err(error) => panic!("{error}"),
    }
}

fn timed<R>(got: Result<R, RecvTimeoutError>) -> Got<R> {
    match got {
        Ok(got) => Ok(Ok(got)),
        Err(RecvTimeoutError::Timeout) => Ok(Err(Nothing::TimedOut)),
        Err(RecvTimeoutError::Failed(error)) => Err(fault(error)),
        Err(error) => panic!("{error}"),
    }
}

impl<K: Kind> Tx for Sender<Page, K>
where
    Self: Slices,
{
    fn send(&mut self, id: u64, patience: Patience) -> Result<bool, Fault> {
        let back = match patience {
            Patience::None => match self.try_send(page(id)) {
                Ok(()) => return Ok(true),
                Err(TrySendError::Full(back)) => back,
                Err(TrySendError::Failed(error)) => return Err(error.fault),
            },
            Patience::For(time) => match self.send_timeout(page(id), time) {
                Ok(()) => return Ok(true),
                Err(SendTimeoutError::Timeout(back)) => back,
                Err(SendTimeoutError::Failed(error)) => return Err(error.fault),
            },
            Patience::Ever => {
                return Sender::send(self, page(id)).map(|()| true).map_err(|e| e.fault);
            }
        };
        assert_eq!(back, page(id), "another message came back");
        Ok(false)
    }

    fn send_batch(&mut self, ids: &[u64]) -> Result<(), Fault> {
        let pages: Vec<Page> = ids.iter().map(|id| page(*id)).collect();
        Sender::send_batch(self, &pages).map_err(|error| error.fault)
    }

    fn try_send_batch(&mut self, ids: &[u64]) -> Option<Result<usize, Fault>> {
        let pages: Vec<Page> = ids.iter().map(|id| page(*id)).collect();
        Some(Sender::try_send_batch(self, &pages))
    }

    fn grant(
        &mut self,
        id: u64,
        patience: Patience,
        end: Grants,
        meanwhile: &mut dyn FnMut(),
    ) -> Result<bool, Fault> {
        let granted = match patience {
            Patience::None => self.try_reserve()?,
            _ => Some(self.reserve()?),
        };
        let Some(mut grant) = granted else { return Ok(false) };
        *grant = page(id);
        meanwhile();
        match end {
            Grants::Commit => grant.commit(),
            Grants::Abort => grant.abort(),
            Grants::Drop => drop(grant),
        }
        Ok(true)
    }

    fn grant_slice(&mut self, ids: &[u64], commit: usize) -> Option<Result<usize, Fault>> {
        self.granted(ids, commit)
    }

    fn len(&self) -> usize {
        Sender::len(self)
    }
}

/// What only the handles of an SPSC channel can do.
trait Slices {
    fn granted(&mut self, _ids: &[u64], _commit: usize) -> Option<Result<usize, Fault>> {
        None
    }

    fn taken(&mut self, _most: usize, _release: usize) -> Option<Result<Vec<u64>, Fault>> {
        None
    }
}

impl Slices for Sender<Page, Mpmc> {}
impl Slices for Receiver<Page, Mpmc> {}

impl Slices for Sender<Page, Spsc> {
    fn granted(&mut self, ids: &[u64], commit: usize) -> Option<Result<usize, Fault>> {
        let granted = self.reserve_slice(ids.len()).map(|mut grant| {
            grant.iter_mut().zip(ids).for_each(|(cell, id)| *cell = page(*id));
            let room = grant.len();
            grant.commit(commit);
            room
        });
        Some(granted)
    }
}

impl Slices for Receiver<Page, Spsc> {
    fn taken(&mut self, most: usize, release: usize) -> Option<Result<Vec<u64>, Fault>> {
        let taken = self.take_slice(most).map(|slice| {
            let ids = slice.iter().map(number).collect();
            slice.release(release);
            ids
        });
        Some(taken)
    }
}

fn finish<K: Kind>(delivery: Delivery<'_, Page, K>, end: Verdict) {
    match end {
        Verdict::Release => delivery.release(),
        Verdict::GiveBack => delivery.give_back(),
        Verdict::Drop => drop(delivery),
    }
}

impl<K: Kind> Rx for Receiver<Page, K>
where
    Self: Slices,
{
    fn recv(&mut self, patience: Patience) -> Got<u64> {
        let got = match patience {
            Patience::None => tried(self.try_recv())?,
            Patience::For(time) => timed(self.recv_timeout(time))?,
            Patience::Ever => Ok(Receiver::recv(self).map_err(fault)?),
        };
        Ok(got.map(|page| number(&page)))
    }

    fn recv_batch(&mut self, most: usize) -> Result<Vec<u64>, Fault> {
        let mut into = Vec::new();
        let count = Receiver::recv_batch(self, &mut into, most).map_err(fault)?;
        assert_eq!(count, into.len());
        Ok(into.iter().map(number).collect())
    }

    fn take(
        &mut self,
        patience: Patience,
        end: Verdict,
        meanwhile: &mut dyn FnMut(u64, u8),
    ) -> Got<u64> {
        let taken = match patience {
            Patience::None => tried(self.try_take())?,
            Patience::For(time) => timed(self.take_timeout(time))?,
            Patience::Ever => Ok(Receiver::take(self)?),
        };
        Ok(taken.map(|delivery| {
            let id = number(&delivery);
            meanwhile(id, delivery.attempts());
            finish(delivery, end);
            id
        }))
    }

    fn take_slice(&mut self, most: usize, release: usize) -> Option<Result<Vec<u64>, Fault>> {
        self.taken(most, release)
    }

    fn len(&self) -> usize {
        Receiver::len(self)
    }
}

/// An end of a channel of bytes.
struct Bytes<E> {
    end: E,
    length: fn(u64) -> usize,
}

impl<E> Bytes<E> {
    /// Its number as far as it goes, and over again.
    fn message(&self, id: u64) -> Vec<u8> {
        bytemuck::bytes_of(&page(id))[..(self.length)(id)].to_vec()
    }

    #[track_caller]
    fn number(&self, message: &[u8]) -> u64 {
        let id = message.first_chunk().map_or(0, |id| u64::from_ne_bytes(*id));
        assert_eq!(message, self.message(id), "torn");
        id
    }
}

fn sent(result: Result<(), SendBytesError>) -> Result<bool, Fault> {
    match result {
        Ok(()) => Ok(true),
        Err(SendBytesError::Full) => Ok(false),
        Err(SendBytesError::Fault(fault)) => Err(fault),
        Err(error) => panic!("{error}"),
    }
}

impl<K: ByteKind> Tx for Bytes<ByteSender<K>> {
    fn send(&mut self, id: u64, patience: Patience) -> Result<bool, Fault> {
        let message = self.message(id);
        sent(match patience {
            Patience::None => self.end.try_send(&message),
            Patience::For(time) => self.end.send_timeout(&message, time),
            Patience::Ever => self.end.send(&message),
        })
    }

    fn send_batch(&mut self, ids: &[u64]) -> Result<(), Fault> {
        let messages: Vec<Vec<u8>> = ids.iter().map(|id| self.message(*id)).collect();
        let messages: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
        sent(self.end.send_batch(&messages).map_err(|(_, error)| error)).map(drop)
    }

    fn try_send_batch(&mut self, _ids: &[u64]) -> Option<Result<usize, Fault>> {
        None
    }

    fn grant(
        &mut self,
        id: u64,
        patience: Patience,
        end: Grants,
        meanwhile: &mut dyn FnMut(),
    ) -> Result<bool, Fault> {
        let message = self.message(id);
        let granted = match patience {
            Patience::None => self.end.try_reserve(LONGEST),
            _ => self.end.reserve(LONGEST),
        };
        let mut grant = match granted {
            Ok(grant) => grant,
            Err(error) => return sent(Err(error)),
        };
        grant[..message.len()].copy_from_slice(&message);
        meanwhile();
        match end {
            Grants::Commit => assert!(sent(grant.commit(message.len()))?),
            Grants::Abort => grant.abort(),
            Grants::Drop => drop(grant),
        }
        Ok(true)
    }

    fn len(&self) -> usize {
        self.end.len()
    }
}

fn finish_bytes<K: ByteKind>(delivery: ByteDelivery<'_, K>, end: Verdict) {
    match end {
        Verdict::Release => delivery.release(),
        Verdict::GiveBack => delivery.give_back(),
        Verdict::Drop => drop(delivery),
    }
}

impl<K: ByteKind> Rx for Bytes<ByteReceiver<K>> {
    fn recv(&mut self, patience: Patience) -> Got<u64> {
        let mut into = Vec::new();
        let got = match patience {
            Patience::None => tried(self.end.try_recv(&mut into))?,
            Patience::For(time) => timed(self.end.recv_timeout(&mut into, time))?,
            Patience::Ever => Ok(self.end.recv(&mut into)?),
        };
        Ok(got.map(|length| {
            assert_eq!(length, into.len());
            self.number(&into)
        }))
    }

    fn recv_batch(&mut self, most: usize) -> Result<Vec<u64>, Fault> {
        let mut into = Vec::new();
        let count = self.end.recv_batch(&mut into, most)?;
        assert_eq!(count, into.len());
        Ok(into.iter().map(|message| self.number(message)).collect())
    }

    fn take(
        &mut self,
        patience: Patience,
        end: Verdict,
        meanwhile: &mut dyn FnMut(u64, u8),
    ) -> Got<u64> {
        let reader = Bytes { end: (), length: self.length };
        let taken = match patience {
            Patience::None => tried(self.end.try_take())?,
            Patience::For(time) => timed(self.end.take_timeout(time))?,
            Patience::Ever => Ok(self.end.take()?),
        };
        Ok(taken.map(|delivery| {
            let id = reader.number(&delivery);
            meanwhile(id, delivery.attempts());
            finish_bytes(delivery, end);
            id
        }))
    }

    fn len(&self) -> usize {
        self.end.len()
    }
}
