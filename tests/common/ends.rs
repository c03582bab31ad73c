//! The library's generic handles of all four rings behind one interface, which keeps
//! every answer. Messages are numbers here; the rest of a message follows from its number.

use std::time::Duration;

use tombolo::{
    ChannelError, Fault, InPlace, Mpmc, Readiness, Receiver, RecvError, RecvTimeoutError, Segment,
    SendError, SendTimeoutError, Sender, Spsc, TryRecvError, TrySendError,
};

use super::body::Body;

/// Which ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Ring {
    Mpmc,
    Spsc,
    MpmcBytes,
    SpscBytes,
}

/// The rings by name.
pub(crate) const RINGS: [&str; 4] = ["mpmc", "spsc", "bytes-mpmc", "bytes-spsc"];

impl Ring {
    /// In the order of [`RINGS`].
    pub(crate) const ALL: [Ring; 4] = [Ring::Mpmc, Ring::Spsc, Ring::MpmcBytes, Ring::SpscBytes];

    fn named(name: &str) -> Ring {
        Self::ALL[RINGS.iter().position(|ring| *ring == name).unwrap()]
    }

    /// Whether there is one end of each kind at most.
    pub(crate) const fn single(self) -> bool {
        matches!(self, Ring::Spsc | Ring::SpscBytes)
    }

    pub(crate) const fn bytes(self) -> bool {
        matches!(self, Ring::MpmcBytes | Ring::SpscBytes)
    }
}

/// A channel of one of the rings, whose messages have up to `8 * WORDS` bytes.
#[derive(Clone, Debug)]
pub(crate) struct Queue<const WORDS: usize> {
    pub(crate) ring: Ring,
    pub(crate) name: String,
    pub(crate) capacity: usize,
    /// How often a message is delivered again.
    pub(crate) times: u8,
    /// Whether it never disconnects.
    pub(crate) lasting: bool,
    /// How long the message of this number is; where all are as long, the longest.
    pub(crate) length: fn(u64) -> usize,
}

impl<const WORDS: usize> Queue<WORDS> {
    /// The most bytes of a message.
    pub(crate) const LONGEST: usize = 8 * WORDS;

    pub(crate) fn new(ring: Ring, name: &str, capacity: usize) -> Self {
        let name = name.to_owned();
        Self { ring, name, capacity, times: 8, lasting: false, length: |_| Self::LONGEST }
    }

    pub(crate) fn sender(&self, segment: &Segment) -> Result<Box<dyn Tx>, ChannelError> {
        let (typed, bytes) = self.channels(segment);
        Ok(match self.ring {
            Ring::Mpmc => self.end(typed.sender()?),
            Ring::Spsc => self.end(typed.spsc().sender()?),
            Ring::MpmcBytes => self.end(bytes.sender()?),
            Ring::SpscBytes => self.end(bytes.spsc().sender()?),
        })
    }

    pub(crate) fn receiver(&self, segment: &Segment) -> Result<Box<dyn Rx>, ChannelError> {
        let (typed, bytes) = self.channels(segment);
        Ok(match self.ring {
            Ring::Mpmc => self.end(typed.receiver()?),
            Ring::Spsc => self.end(typed.spsc().receiver()?),
            Ring::MpmcBytes => self.end(bytes.receiver()?),
            Ring::SpscBytes => self.end(bytes.spsc().receiver()?),
        })
    }

    fn channels<'a>(
        &'a self,
        segment: &'a Segment,
    ) -> (tombolo::Channel<'a, [u64; WORDS]>, tombolo::ByteChannel<'a>) {
        let Self { name, capacity, times, .. } = self;
        let typed = segment.channel(name).capacity(*capacity).redeliver(*times);
        let bytes = segment.bytes(name).capacity(*capacity, Self::LONGEST).redeliver(*times);
        if self.lasting { (typed.lasting(), bytes.lasting()) } else { (typed, bytes) }
    }

    fn end<H>(&self, handle: H) -> Box<End<H>> {
        Box::new(End { handle, length: self.length, longest: Self::LONGEST })
    }
}

/// How much room [`Tx::grant_for`] reserves for a message of this number and length: as much as
/// for the longest, or for this very message.
pub(crate) const fn room_of_grant(n: u64, length: usize, longest: usize) -> usize {
    if n.is_multiple_of(2) { longest } else { length }
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

/// The fate of a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Grants {
    Commit,
    Abort,
    Drop,
}

/// The fate of a message that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Release,
    GiveBack,
    Drop,
}

pub(crate) type Got<R> = Result<Result<R, Nothing>, Fault>;

/// The sending end.
pub(crate) trait Tx: Send {
    /// Whether there was room.
    fn send_for(&self, n: u64, patience: Patience) -> Result<bool, Fault>;
    fn send_batch(&self, numbers: &[u64]) -> Result<(), Fault>;
    /// How many fit.
    fn try_send_batch(&self, numbers: &[u64]) -> Result<usize, Fault>;
    /// Reserves, writes half a message, calls `meanwhile`, writes all of it, and lets the
    /// grant go; whether there was room.
    fn grant_for(
        &mut self,
        n: u64,
        patience: Patience,
        end: Grants,
        meanwhile: &mut dyn FnMut(),
    ) -> Result<bool, Fault>;
    /// As [`Body::grant_slice`].
    fn grant_slice(&mut self, numbers: &[u64], commit: usize) -> Option<Result<usize, Fault>>;
    fn len(&self) -> usize;
    fn readiness(&self) -> Result<&Readiness, Fault>;
    /// A second handle in this process.
    fn again(&self) -> Box<dyn Tx>;

    fn send(&self, n: u64) -> Result<(), Fault> {
        self.send_for(n, Patience::Ever).map(|sent| assert!(sent))
    }

    fn try_send(&self, n: u64) -> Result<bool, Fault> {
        self.send_for(n, Patience::None)
    }

    fn send_timeout(&self, n: u64, time: Duration) -> Result<bool, Fault> {
        self.send_for(n, Patience::For(time))
    }

    fn grant(&mut self, n: u64, meanwhile: &mut dyn FnMut()) -> Result<(), Fault> {
        self.grant_for(n, Patience::Ever, Grants::Commit, meanwhile).map(|sent| assert!(sent))
    }
}

/// The receiving end. Torn messages are a panic.
pub(crate) trait Rx: Send {
    fn recv_for(&self, patience: Patience) -> Got<u64>;
    /// Up to `most`.
    fn recv_batch(&self, most: usize) -> Result<Vec<u64>, Fault>;
    /// Takes, calls `meanwhile` with the number and how many receivers have died over it,
    /// and lets the message go.
    fn take(
        &mut self,
        patience: Patience,
        end: Verdict,
        meanwhile: &mut dyn FnMut(u64, u8),
    ) -> Got<u64>;
    /// As [`Body::take_slice`].
    fn take_slice(&mut self, most: usize, release: usize) -> Option<Result<Vec<u64>, Fault>>;
    fn len(&self) -> usize;
    fn readiness(&self) -> Result<&Readiness, Fault>;
    /// A second handle in this process.
    fn again(&self) -> Box<dyn Rx>;

    fn recv(&self) -> Result<u64, Fault> {
        self.recv_for(Patience::Ever).map(Result::unwrap)
    }

    /// `None` if there is nothing, or nothing yet.
    fn try_recv(&self) -> Result<Option<u64>, Fault> {
        self.recv_for(Patience::None).map(Result::ok)
    }

    fn recv_timeout(&self, time: Duration) -> Result<Option<u64>, Fault> {
        self.recv_for(Patience::For(time)).map(Result::ok)
    }

    /// The number, and how many receivers have died over it.
    fn delivery(&mut self, meanwhile: &mut dyn FnMut()) -> Result<(u64, u8), Fault> {
        let mut deaths = 0;
        let taken = self.take(Patience::Ever, Verdict::Drop, &mut |_, died| {
            deaths = died;
            meanwhile();
        });
        Ok((taken?.unwrap(), deaths))
    }
}

/// A handle, and how long its messages are.
struct End<H> {
    handle: H,
    length: fn(u64) -> usize,
    longest: usize,
}

impl<H> End<H> {
    fn message<P: Body>(&self, n: u64) -> Vec<u8> {
        let words = 0..self.longest as u64 / 8;
        // No word is the same in two messages.
        let words = words.map(|word| n ^ word.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let mut bytes: Vec<u8> = words.flat_map(u64::to_ne_bytes).collect();
        bytes.truncate(if P::WHOLE { self.longest } else { (self.length)(n) });
        bytes
    }

    fn messages<P: Body>(&self, numbers: &[u64]) -> Vec<Vec<u8>> {
        numbers.iter().map(|n| self.message::<P>(*n)).collect()
    }

    #[track_caller]
    fn number<P: Body>(&self, message: &[u8]) -> u64 {
        let n = message.first_chunk().map_or(0, |n| u64::from_ne_bytes(*n));
        assert_eq!(message, self.message::<P>(n), "torn");
        n
    }

    fn with<T>(&self, handle: T) -> End<T> {
        End { handle, length: self.length, longest: self.longest }
    }
}

/// The operations of the handles of one kind.
trait Which: InPlace {
    fn grant_slice<P: Body>(
        tx: &mut Sender<P, Self>,
        messages: &[Vec<u8>],
        commit: usize,
    ) -> Option<Result<usize, Fault>>;
    fn take_slice<P: Body>(
        rx: &mut Receiver<P, Self>,
        most: usize,
        release: usize,
    ) -> Option<Result<Vec<Vec<u8>>, Fault>>;
    fn second_sender<P: Body>(tx: &Sender<P, Self>) -> Sender<P, Self>;
    fn second_receiver<P: Body>(rx: &Receiver<P, Self>) -> Receiver<P, Self>;
}

impl Which for Mpmc {
    fn grant_slice<P: Body>(
        _tx: &mut Sender<P>,
        _messages: &[Vec<u8>],
        _commit: usize,
    ) -> Option<Result<usize, Fault>> {
        None
    }

    fn take_slice<P: Body>(
        _rx: &mut Receiver<P>,
        _most: usize,
        _release: usize,
    ) -> Option<Result<Vec<Vec<u8>>, Fault>> {
        None
    }

    fn second_sender<P: Body>(tx: &Sender<P>) -> Sender<P> {
        tx.try_clone().unwrap()
    }

    fn second_receiver<P: Body>(rx: &Receiver<P>) -> Receiver<P> {
        rx.try_clone().unwrap()
    }
}

impl Which for Spsc {
    fn grant_slice<P: Body>(
        tx: &mut Sender<P, Spsc>,
        messages: &[Vec<u8>],
        commit: usize,
    ) -> Option<Result<usize, Fault>> {
        P::grant_slice(tx, messages, commit)
    }

    fn take_slice<P: Body>(
        rx: &mut Receiver<P, Spsc>,
        most: usize,
        release: usize,
    ) -> Option<Result<Vec<Vec<u8>>, Fault>> {
        P::take_slice(rx, most, release)
    }

    fn second_sender<P: Body>(_: &Sender<P, Spsc>) -> Sender<P, Spsc> {
        unreachable!("there is one at most")
    }

    fn second_receiver<P: Body>(_: &Receiver<P, Spsc>) -> Receiver<P, Spsc> {
        unreachable!("there is one at most")
    }
}

impl<P: Body, K: Which> Tx for End<Sender<P, K>>
where
    Sender<P, K>: Send,
{
    fn send_for(&self, n: u64, patience: Patience) -> Result<bool, Fault> {
        let bytes = self.message::<P>(n);
        let message = P::of(&bytes);
        let back = match patience {
            Patience::None => match self.handle.try_send(message) {
                Ok(()) => return Ok(true),
                Err(TrySendError::Full(back)) => back,
                Err(error) => return Err(error.into_fault().expect("a segment not paused")),
            },
            Patience::For(time) => match self.handle.send_timeout(message, time) {
                Ok(()) => return Ok(true),
                Err(SendTimeoutError::Timeout(back)) => back,
                Err(error) => return Err(error.into_fault().expect("a message not too long")),
            },
            Patience::Ever => return self.handle.send(message).map(|()| true).map_err(unsent),
        };
        assert!(P::came_back(back, &bytes), "another message came back");
        Ok(false)
    }

    fn send_batch(&self, numbers: &[u64]) -> Result<(), Fault> {
        let bytes = self.messages::<P>(numbers);
        let messages: Vec<_> = bytes.iter().map(|bytes| P::of(bytes)).collect();
        self.handle.send_batch(&messages).map_err(|error| unsent(error.reason))
    }

    fn try_send_batch(&self, numbers: &[u64]) -> Result<usize, Fault> {
        let bytes = self.messages::<P>(numbers);
        let messages: Vec<_> = bytes.iter().map(|bytes| P::of(bytes)).collect();
        self.handle.try_send_batch(&messages).map_err(|error| unsent(error.reason))
    }

    fn grant_for(
        &mut self,
        n: u64,
        patience: Patience,
        end: Grants,
        meanwhile: &mut dyn FnMut(),
    ) -> Result<bool, Fault> {
        let bytes = self.message::<P>(n);
        let room = room_of_grant(n, bytes.len(), self.longest);
        let mut grant = match P::reserve(&mut self.handle, room, patience) {
            Ok(grant) => grant,
            Err(TrySendError::Full(())) => return Ok(false),
            Err(error) => return Err(error.into_fault().expect("a segment not paused")),
        };
        P::write(&mut grant, &bytes[..bytes.len() / 2]);
        meanwhile();
        P::write(&mut grant, &bytes);
        match end {
            Grants::Commit => P::commit(grant, bytes.len()).map_err(unsent)?,
            Grants::Abort => grant.abort(),
            Grants::Drop => drop(grant),
        }
        Ok(true)
    }

    fn grant_slice(&mut self, numbers: &[u64], commit: usize) -> Option<Result<usize, Fault>> {
        let messages = self.messages::<P>(numbers);
        K::grant_slice(&mut self.handle, &messages, commit)
    }

    fn len(&self) -> usize {
        self.handle.len()
    }

    fn readiness(&self) -> Result<&Readiness, Fault> {
        self.handle.readiness()
    }

    fn again(&self) -> Box<dyn Tx> {
        Box::new(self.with(K::second_sender(&self.handle)))
    }
}

impl<P: Body, K: Which> Rx for End<Receiver<P, K>>
where
    Receiver<P, K>: Send,
{
    fn recv_for(&self, patience: Patience) -> Got<u64> {
        Ok(P::recv(&self.handle, patience)?.map(|message| self.number::<P>(&message)))
    }

    fn recv_batch(&self, most: usize) -> Result<Vec<u64>, Fault> {
        let mut into = Vec::new();
        let count = self.handle.recv_batch(&mut into, most).map_err(fault)?;
        assert_eq!(count, into.len());
        let messages = into.into_iter().map(P::into_bytes);
        Ok(messages.map(|message| self.number::<P>(&message)).collect())
    }

    fn take(
        &mut self,
        patience: Patience,
        end: Verdict,
        meanwhile: &mut dyn FnMut(u64, u8),
    ) -> Got<u64> {
        let reader = self.with(());
        let taken = match patience {
            Patience::None => tried(self.handle.try_take())?,
            Patience::For(time) => timed(self.handle.take_timeout(time))?,
            Patience::Ever => Ok(self.handle.take().map_err(fault)?),
        };
        Ok(taken.map(|delivery| {
            let n = reader.number::<P>(&P::read(&delivery));
            meanwhile(n, delivery.attempts());
            match end {
                Verdict::Release => delivery.release(),
                Verdict::GiveBack => delivery.give_back(),
                Verdict::Drop => drop(delivery),
            }
            n
        }))
    }

    fn take_slice(&mut self, most: usize, release: usize) -> Option<Result<Vec<u64>, Fault>> {
        let taken = K::take_slice(&mut self.handle, most, release)?;
        Some(taken.map(|all| all.iter().map(|message| self.number::<P>(message)).collect()))
    }

    fn len(&self) -> usize {
        self.handle.len()
    }

    fn readiness(&self) -> Result<&Readiness, Fault> {
        self.handle.readiness()
    }

    fn again(&self) -> Box<dyn Rx> {
        Box::new(self.with(K::second_receiver(&self.handle)))
    }
}

pub(crate) fn fault(error: RecvError) -> Fault {
    error.into_fault().expect("a message of the type")
}

pub(crate) fn unsent<T>(error: SendError<T>) -> Fault {
    error.into_fault().expect("a message that is not too long")
}

pub(crate) fn tried<R>(got: Result<R, TryRecvError>) -> Got<R> {
    match got {
        Ok(got) => Ok(Ok(got)),
        Err(TryRecvError::Empty) => Ok(Err(Nothing::Empty)),
        Err(TryRecvError::Pending) => Ok(Err(Nothing::Pending)),
        Err(error) => Err(error.into_fault().expect("a message of the type")),
    }
}

pub(crate) fn timed<R>(got: Result<R, RecvTimeoutError>) -> Got<R> {
    match got {
        Ok(got) => Ok(Ok(got)),
        Err(RecvTimeoutError::Timeout) => Ok(Err(Nothing::TimedOut)),
        Err(error) => Err(error.into_fault().expect("a message of the type")),
    }
}

/// Messages that a channel of [`sender`] holds.
pub(crate) const CAPACITY: usize = 2;

/// A channel of a ring for messages that are large enough to be torn.
pub(crate) fn large(ring: &str, channel: &str) -> Queue<64> {
    Queue::new(Ring::named(ring), channel, CAPACITY)
}

/// The sending end of a ring, in a channel of this name.
pub(crate) fn sender(segment: &Segment, ring: &str, channel: &str) -> Box<dyn Tx> {
    large(ring, channel).sender(segment).unwrap()
}

/// The receiving end.
pub(crate) fn receiver(segment: &Segment, ring: &str, channel: &str) -> Box<dyn Rx> {
    large(ring, channel).receiver(segment).unwrap()
}

/// Whether a ring has one sender and one receiver at a time.
pub(crate) fn single(ring: &str) -> bool {
    Ring::named(ring).single()
}

/// How many messages fit in, and come out whole again.
pub(crate) fn room(segment: &Segment, ring: &str, channel: &str) -> usize {
    let (tx, rx) = (sender(segment, ring, channel), receiver(segment, ring, channel));
    while rx.try_recv().unwrap().is_some() {}
    let mut room = 0;
    while tx.try_send(room).unwrap() {
        room += 1;
    }
    (0..room).for_each(|n| assert_eq!(rx.try_recv().unwrap(), Some(n)));
    assert_eq!(rx.try_recv().unwrap(), None);
    room as usize
}
