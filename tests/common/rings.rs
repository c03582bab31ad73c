//! The four rings behind one interface.

use std::time::Duration;

use tombolo::{
    ByteChannel, ByteReceiver, ByteSender, Channel, Fault, Kind, Readiness, Receiver, RecvError,
    RecvTimeoutError, Segment, SendError, SendTimeoutError, Sender, TryRecvError, TrySendError,
};

/// MPMC and SPSC of plain data, MPMC and SPSC of bytes.
pub(crate) const RINGS: [&str; 4] = ["mpmc", "spsc", "bytes-mpmc", "bytes-spsc"];
/// Messages that a channel of [`ends`] holds.
pub(crate) const CAPACITY: usize = 2;
const LONGEST: usize = 512;

type Page = [u64; LONGEST / 8];

/// A sender of numbers, each large enough to be torn.
pub(crate) trait Tx: Send {
    fn send(&self, n: u64) -> Result<(), Fault>;
    /// Whether there was room.
    fn try_send(&self, n: u64) -> Result<bool, Fault>;
    fn send_timeout(&self, n: u64, time: Duration) -> Result<bool, Fault>;
    fn send_batch(&self, numbers: &[u64]) -> Result<(), Fault>;
    /// Writes in place, does something, and commits.
    fn grant(&mut self, n: u64, meanwhile: &mut dyn FnMut()) -> Result<(), Fault>;
    fn readiness(&self) -> Result<&Readiness, Fault>;
}

/// A receiver of such numbers: torn ones are a panic.
pub(crate) trait Rx: Send {
    fn recv(&self) -> Result<u64, Fault>;
    /// `None` if there is nothing, or nothing yet.
    fn try_recv(&self) -> Result<Option<u64>, Fault>;
    fn recv_timeout(&self, time: Duration) -> Result<Option<u64>, Fault>;
    fn recv_batch(&self) -> Result<usize, Fault>;
    /// Takes in place, does something, reads and releases. The number, and
    /// how many readers have died over it.
    fn delivery(&mut self, meanwhile: &mut dyn FnMut()) -> Result<(u64, u8), Fault>;
    fn readiness(&self) -> Result<&Readiness, Fault>;
}

#[track_caller]
fn whole(page: &Page) -> u64 {
    assert!(page.iter().all(|n| *n == page[0]), "torn: {page:?}");
    page[0]
}

#[track_caller]
fn whole_bytes(bytes: &[u8]) -> u64 {
    assert_eq!(bytes.len(), LONGEST);
    whole(bytemuck::pod_read_unaligned::<Page>(bytes).as_ref().try_into().unwrap())
}

fn received(error: RecvError) -> Fault {
    error.into_fault().expect("a message of the type")
}

fn unsent<T>(error: SendError<T>) -> Fault {
    error.into_fault().expect("a message that is not too long")
}

fn tried<R>(result: Result<R, TryRecvError>) -> Result<Option<R>, Fault> {
    match result {
        Ok(got) => Ok(Some(got)),
        Err(error) => error.into_fault().map_or(Ok(None), Err),
    }
}

fn timed<R>(result: Result<R, RecvTimeoutError>) -> Result<Option<R>, Fault> {
    match result {
        Ok(got) => Ok(Some(got)),
        Err(RecvTimeoutError::Timeout) => Ok(None),
        Err(error) => Err(error.into_fault().expect("a message of the type")),
    }
}

fn tried_sent<T>(result: Result<(), TrySendError<T>>) -> Result<bool, Fault> {
    match result {
        Ok(()) => Ok(true),
        Err(TrySendError::Full(_)) => Ok(false),
        Err(error) => Err(error.into_fault().expect("a segment that is not paused")),
    }
}

fn timed_sent<T>(result: Result<(), SendTimeoutError<T>>) -> Result<bool, Fault> {
    match result {
        Ok(()) => Ok(true),
        Err(SendTimeoutError::Timeout(_)) => Ok(false),
        Err(error) => Err(error.into_fault().expect("a message that is not too long")),
    }
}

impl<K: Kind> Tx for Sender<Page, K>
where
    Self: Send,
{
    fn send(&self, n: u64) -> Result<(), Fault> {
        Sender::send(self, [n; _]).map_err(unsent)
    }

    fn try_send(&self, n: u64) -> Result<bool, Fault> {
        tried_sent(Sender::try_send(self, [n; _]))
    }

    fn send_timeout(&self, n: u64, time: Duration) -> Result<bool, Fault> {
        timed_sent(Sender::send_timeout(self, [n; _], time))
    }

    fn send_batch(&self, numbers: &[u64]) -> Result<(), Fault> {
        let pages: Vec<Page> = numbers.iter().map(|n| [*n; _]).collect();
        Sender::send_batch(self, &pages).map_err(|error| unsent(error.reason))
    }

    fn grant(&mut self, n: u64, meanwhile: &mut dyn FnMut()) -> Result<(), Fault> {
        let mut grant = self.reserve().map_err(unsent)?;
        let mut half = [0; _];
        half[0] = n;
        grant.write(&half);
        meanwhile();
        grant.write(&[n; _]);
        grant.commit().map_err(unsent)
    }

    fn readiness(&self) -> Result<&Readiness, Fault> {
        Sender::readiness(self)
    }
}

impl<K: Kind> Rx for Receiver<Page, K>
where
    Self: Send,
{
    fn recv(&self) -> Result<u64, Fault> {
        Receiver::<Page, K>::recv(self).map(|page| whole(&page)).map_err(received)
    }

    fn try_recv(&self) -> Result<Option<u64>, Fault> {
        Ok(tried(Receiver::<Page, K>::try_recv(self))?.map(|page| whole(&page)))
    }

    fn recv_timeout(&self, time: Duration) -> Result<Option<u64>, Fault> {
        Ok(timed(Receiver::<Page, K>::recv_timeout(self, time))?.map(|page| whole(&page)))
    }

    fn recv_batch(&self) -> Result<usize, Fault> {
        Receiver::recv_batch(self, &mut Vec::new(), 9).map_err(received)
    }

    fn delivery(&mut self, meanwhile: &mut dyn FnMut()) -> Result<(u64, u8), Fault> {
        let delivery = self.take().map_err(received)?;
        meanwhile();
        Ok((whole(&delivery.read()), delivery.attempts()))
    }

    fn readiness(&self) -> Result<&Readiness, Fault> {
        Receiver::readiness(self)
    }
}

impl<K: Kind> Tx for ByteSender<K>
where
    Self: Send,
{
    fn send(&self, n: u64) -> Result<(), Fault> {
        ByteSender::send(self, bytemuck::bytes_of(&[n; LONGEST / 8])).map_err(unsent)
    }

    fn try_send(&self, n: u64) -> Result<bool, Fault> {
        tried_sent(ByteSender::try_send(self, bytemuck::bytes_of(&[n; LONGEST / 8])))
    }

    fn send_timeout(&self, n: u64, time: Duration) -> Result<bool, Fault> {
        timed_sent(ByteSender::send_timeout(self, bytemuck::bytes_of(&[n; LONGEST / 8]), time))
    }

    fn send_batch(&self, numbers: &[u64]) -> Result<(), Fault> {
        let pages: Vec<Page> = numbers.iter().map(|n| [*n; _]).collect();
        let bytes: Vec<&[u8]> = pages.iter().map(bytemuck::bytes_of).collect();
        ByteSender::send_batch(self, &bytes).map_err(|error| unsent(error.reason))
    }

    fn grant(&mut self, n: u64, meanwhile: &mut dyn FnMut()) -> Result<(), Fault> {
        let mut grant = self.reserve(LONGEST).map_err(unsent)?;
        grant.write_at(0, &[1]);
        meanwhile();
        grant.write_at(0, bytemuck::bytes_of(&[n; LONGEST / 8]));
        grant.commit(LONGEST).map_err(unsent)
    }

    fn readiness(&self) -> Result<&Readiness, Fault> {
        ByteSender::readiness(self)
    }
}

impl<K: Kind> Rx for ByteReceiver<K>
where
    Self: Send,
{
    fn recv(&self) -> Result<u64, Fault> {
        let mut into = Vec::new();
        ByteReceiver::recv(self, &mut into).map(|_| whole_bytes(&into)).map_err(received)
    }

    fn try_recv(&self) -> Result<Option<u64>, Fault> {
        let mut into = Vec::new();
        Ok(tried(ByteReceiver::try_recv(self, &mut into))?.map(|_| whole_bytes(&into)))
    }

    fn recv_timeout(&self, time: Duration) -> Result<Option<u64>, Fault> {
        let mut into = Vec::new();
        Ok(timed(ByteReceiver::recv_timeout(self, &mut into, time))?.map(|_| whole_bytes(&into)))
    }

    fn recv_batch(&self) -> Result<usize, Fault> {
        ByteReceiver::recv_batch(self, &mut Vec::new(), 9).map_err(received)
    }

    fn delivery(&mut self, meanwhile: &mut dyn FnMut()) -> Result<(u64, u8), Fault> {
        let delivery = self.take().map_err(received)?;
        meanwhile();
        Ok((whole_bytes(&delivery.to_vec()), delivery.attempts()))
    }

    fn readiness(&self) -> Result<&Readiness, Fault> {
        ByteReceiver::readiness(self)
    }
}

/// The sending end of a ring, in a channel of this name.
pub(crate) fn sender(segment: &Segment, ring: &str, channel: &str) -> Box<dyn Tx> {
    Ends { segment, ring, channel, capacity: CAPACITY, lasting: false }.sender()
}

/// The receiving end.
pub(crate) fn receiver(segment: &Segment, ring: &str, channel: &str) -> Box<dyn Rx> {
    Ends { segment, ring, channel, capacity: CAPACITY, lasting: false }.receiver()
}

/// A channel of one of the rings.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ends<'a> {
    pub(crate) segment: &'a Segment,
    pub(crate) ring: &'a str,
    pub(crate) channel: &'a str,
    pub(crate) capacity: usize,
    pub(crate) lasting: bool,
}

impl<'a> Ends<'a> {
    fn typed(&self) -> Channel<'a, Page> {
        let typed = self.segment.channel::<Page>(self.channel).capacity(self.capacity);
        if self.lasting { typed.lasting() } else { typed }
    }

    fn bytes(&self) -> ByteChannel<'a> {
        let bytes = self.segment.bytes(self.channel).capacity(self.capacity, LONGEST);
        if self.lasting { bytes.lasting() } else { bytes }
    }

    pub(crate) fn sender(&self) -> Box<dyn Tx> {
        match self.ring {
            "mpmc" => Box::new(self.typed().sender().unwrap()),
            "spsc" => Box::new(self.typed().spsc().sender().unwrap()),
            "bytes-mpmc" => Box::new(self.bytes().sender().unwrap()),
            "bytes-spsc" => Box::new(self.bytes().spsc().sender().unwrap()),
            ring => panic!("{ring}"),
        }
    }

    pub(crate) fn receiver(&self) -> Box<dyn Rx> {
        match self.ring {
            "mpmc" => Box::new(self.typed().receiver().unwrap()),
            "spsc" => Box::new(self.typed().spsc().receiver().unwrap()),
            "bytes-mpmc" => Box::new(self.bytes().receiver().unwrap()),
            "bytes-spsc" => Box::new(self.bytes().spsc().receiver().unwrap()),
            ring => panic!("{ring}"),
        }
    }
}

/// Whether a ring has one sender and one receiver at a time.
pub(crate) fn single(ring: &str) -> bool {
    ring.ends_with("spsc")
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
