//! The two ends of a channel, of any kind. Messages are numbers here, and the rest of a
//! message follows from its number.

use std::time::Duration;

use tombolo::{ByteReceiver, ByteSender, Fault, Kind, Receiver, Segment, Sender};

/// What a receiver makes of a message that nobody sent like that.
pub(crate) const TORN: u64 = u64::MAX;

type Message = [u64; 5];

fn message(id: u64) -> Message {
    [id, !id, id.wrapping_mul(0x9E37_79B9_7F4A_7C15), id ^ 0x5555, id.rotate_left(17)]
}

fn number(got: Message) -> u64 {
    if got == message(got[0]) { got[0] } else { TORN }
}

fn bytes(id: u64) -> Vec<u8> {
    let all: &[u8] = &bytemuck::cast::<Message, [u8; 40]>(message(id));
    // Every third is shorter.
    all[..if id.is_multiple_of(3) { 24 } else { 40 }].to_vec()
}

fn number_of(got: &[u8]) -> u64 {
    let id = got.first_chunk().map_or(TORN, |id| u64::from_le_bytes(*id));
    if got == bytes(id) { id } else { TORN }
}

/// The ends that a channel may come to.
fn over(fault: &Fault) -> Option<u64> {
    (!matches!(fault, Fault::Disconnected { .. } | Fault::Closed)).then_some(TORN)
}

/// How long an operation that is to time out takes to.
const SHORT: Duration = Duration::from_millis(1);

/// The writing end. `false`: there is nobody to send to any more.
pub(crate) trait Tx {
    fn send(&mut self, id: u64) -> bool;
    fn try_send(&mut self, id: u64) -> bool;
    fn send_in_time(&mut self, id: u64);
    fn batch(&mut self, ids: &[u64]) -> bool;
    fn grant(&mut self, id: u64, commit: bool) -> bool;
    fn again(&self) -> Box<dyn Tx>;
}

/// What becomes of a message that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Acknowledge,
    GiveBack,
}

/// The reading end. `None`: there will be nothing any more.
pub(crate) trait Rx {
    fn recv(&mut self) -> Option<u64>;
    fn try_recv(&mut self) -> Option<u64>;
    fn recv_in_time(&mut self) -> Option<u64>;
    fn batch(&mut self, most: usize) -> Vec<u64>;
    /// Calls `holding` while it has the message.
    fn take(&mut self, verdict: Verdict, holding: &dyn Fn(u64)) -> Option<u64>;
    fn again(&self) -> Box<dyn Rx>;
}

impl<K: Kind + 'static> Tx for Sender<Message, K>
where
    Sender<Message, K>: Again,
{
    fn send(&mut self, id: u64) -> bool {
        Sender::send(self, message(id)).is_ok()
    }

    fn try_send(&mut self, id: u64) -> bool {
        Sender::try_send(self, message(id)).is_ok()
    }

    fn send_in_time(&mut self, id: u64) {
        let _ = self.send_timeout(message(id), SHORT);
    }

    fn batch(&mut self, ids: &[u64]) -> bool {
        let messages: Vec<Message> = ids.iter().copied().map(message).collect();
        self.send_batch(&messages).is_ok()
    }

    fn grant(&mut self, id: u64, commit: bool) -> bool {
        let Ok(mut grant) = self.reserve() else { return false };
        grant.write(&message(id));
        if commit {
            return grant.commit().is_ok();
        }
        grant.abort();
        true
    }

    fn again(&self) -> Box<dyn Tx> {
        Box::new(Again::again(self))
    }
}

impl<K: Kind + 'static> Rx for Receiver<Message, K>
where
    Receiver<Message, K>: Again,
{
    fn recv(&mut self) -> Option<u64> {
        match Receiver::<Message, K>::recv(self) {
            Ok(got) => Some(number(got)),
            Err(error) => error.into_fault().map_or(Some(TORN), |fault| over(&fault)),
        }
    }

    fn try_recv(&mut self) -> Option<u64> {
        Receiver::<Message, K>::try_recv(self).ok().map(number)
    }

    fn recv_in_time(&mut self) -> Option<u64> {
        self.recv_timeout(SHORT).ok().map(number)
    }

    fn batch(&mut self, most: usize) -> Vec<u64> {
        let mut into = Vec::new();
        let _ = self.recv_batch(&mut into, most);
        into.into_iter().map(number).collect()
    }

    fn take(&mut self, verdict: Verdict, holding: &dyn Fn(u64)) -> Option<u64> {
        let delivery = Receiver::take(self).ok()?;
        let id = number(delivery.read());
        holding(id);
        match verdict {
            Verdict::Acknowledge => delivery.release(),
            Verdict::GiveBack => delivery.give_back(),
        }
        Some(id)
    }

    fn again(&self) -> Box<dyn Rx> {
        Box::new(Again::again(self))
    }
}

impl<K: Kind + 'static> Tx for ByteSender<K>
where
    ByteSender<K>: Again,
{
    fn send(&mut self, id: u64) -> bool {
        ByteSender::send(self, &bytes(id)).is_ok()
    }

    fn try_send(&mut self, id: u64) -> bool {
        ByteSender::try_send(self, &bytes(id)).is_ok()
    }

    fn send_in_time(&mut self, id: u64) {
        let _ = self.send_timeout(&bytes(id), SHORT);
    }

    fn batch(&mut self, ids: &[u64]) -> bool {
        let messages: Vec<Vec<u8>> = ids.iter().copied().map(bytes).collect();
        let messages: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
        self.send_batch(&messages).is_ok()
    }

    fn grant(&mut self, id: u64, commit: bool) -> bool {
        let message = bytes(id);
        let Ok(mut grant) = self.reserve(40) else { return false };
        grant.write_at(0, &message);
        if commit { grant.commit(message.len()).is_ok() } else { true }
    }

    fn again(&self) -> Box<dyn Tx> {
        Box::new(Again::again(self))
    }
}

impl<K: Kind + 'static> Rx for ByteReceiver<K>
where
    ByteReceiver<K>: Again,
{
    fn recv(&mut self) -> Option<u64> {
        let mut into = Vec::new();
        match ByteReceiver::recv(self, &mut into) {
            Ok(_) => Some(number_of(&into)),
            Err(error) => error.into_fault().map_or(Some(TORN), |fault| over(&fault)),
        }
    }

    fn try_recv(&mut self) -> Option<u64> {
        let mut into = Vec::new();
        ByteReceiver::try_recv(self, &mut into).ok().map(|_| number_of(&into))
    }

    fn recv_in_time(&mut self) -> Option<u64> {
        let mut into = Vec::new();
        self.recv_timeout(&mut into, SHORT).ok().map(|_| number_of(&into))
    }

    fn batch(&mut self, most: usize) -> Vec<u64> {
        let mut into = Vec::new();
        let _ = self.recv_batch(&mut into, most);
        into.iter().map(|got| number_of(got)).collect()
    }

    fn take(&mut self, verdict: Verdict, holding: &dyn Fn(u64)) -> Option<u64> {
        let delivery = ByteReceiver::take(self).ok()?;
        let id = number_of(&delivery.to_vec());
        holding(id);
        match verdict {
            Verdict::Acknowledge => delivery.release(),
            Verdict::GiveBack => delivery.give_back(),
        }
        Some(id)
    }

    fn again(&self) -> Box<dyn Rx> {
        Box::new(Again::again(self))
    }
}

/// A second handle of the same kind in this process.
trait Again {
    fn again(&self) -> Self;
}

macro_rules! again {
    (cloned: $($cloned:ty),*; alone: $($alone:ty),*) => {
        $(impl Again for $cloned {
            fn again(&self) -> Self {
                self.try_clone().unwrap()
            }
        })*
        $(impl Again for $alone {
            fn again(&self) -> Self {
                unreachable!("there is one at most")
            }
        })*
    };
}

again! {
    cloned: Sender<Message, tombolo::Mpmc>, Receiver<Message, tombolo::Mpmc>,
        ByteSender<tombolo::Mpmc>, ByteReceiver<tombolo::Mpmc>;
    alone: Sender<Message, tombolo::Spsc>, Receiver<Message, tombolo::Spsc>,
        ByteSender<tombolo::Spsc>, ByteReceiver<tombolo::Spsc>
}

/// Which ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ring {
    Spsc,
    Mpmc,
    SpscBytes,
    MpmcBytes,
}

/// How many messages the channel holds.
pub(crate) const CAPACITY: usize = 3;

impl Ring {
    pub(crate) const ALL: [Ring; 4] = [Ring::Spsc, Ring::Mpmc, Ring::SpscBytes, Ring::MpmcBytes];

    /// Whether there is one end of each kind at most.
    pub(crate) const fn single(self) -> bool {
        matches!(self, Ring::Spsc | Ring::SpscBytes)
    }

    /// `times`: how often a message is delivered again.
    pub(crate) fn sender(self, segment: &Segment, times: u8) -> Box<dyn Tx> {
        let fixed = segment.channel::<Message>("c").capacity(CAPACITY).redeliver(times);
        let bytes = segment.bytes("c").capacity(CAPACITY, 40).redeliver(times);
        match self {
            Ring::Spsc => Box::new(fixed.spsc().sender().unwrap()),
            Ring::Mpmc => Box::new(fixed.mpmc().sender().unwrap()),
            Ring::SpscBytes => Box::new(bytes.spsc().sender().unwrap()),
            Ring::MpmcBytes => Box::new(bytes.mpmc().sender().unwrap()),
        }
    }

    pub(crate) fn receiver(self, segment: &Segment, times: u8) -> Box<dyn Rx> {
        let fixed = segment.channel::<Message>("c").capacity(CAPACITY).redeliver(times);
        let bytes = segment.bytes("c").capacity(CAPACITY, 40).redeliver(times);
        match self {
            Ring::Spsc => Box::new(fixed.spsc().receiver().unwrap()),
            Ring::Mpmc => Box::new(fixed.mpmc().receiver().unwrap()),
            Ring::SpscBytes => Box::new(bytes.spsc().receiver().unwrap()),
            Ring::MpmcBytes => Box::new(bytes.mpmc().receiver().unwrap()),
        }
    }
}
