//! A subscriber of a broadcast channel: receives in every possible way, and notes what it
//! gets and where it is.
//!
//! The first one is the witness: it begins before anything is published, and nobody kills
//! it, so that its notes are the whole sequence. The others begin anywhere.

use std::thread;
use std::time::Duration;

use tombolo::{
    Broadcast, ByteBroadcastChannel, ByteReceiver, ChannelError, Fault, RecvTimeoutError, Reliable,
    Start, TryRecvError,
};

use super::ledger::{Note, Phase};
use super::message;
use super::orders::is_reliable;
use super::worker::{Post, opened, wrong};
use crate::failure::Failure;

/// Messages of the longest batch.
const BATCH: usize = 8;

/// The two sorts of subscribers.
trait Sort: tombolo::Kind {
    const RELIABLE: bool;

    fn open(
        channel: &ByteBroadcastChannel<'_>,
        start: Start,
    ) -> Result<ByteReceiver<Self>, ChannelError>;

    fn position(subscriber: &ByteReceiver<Self>) -> u64;

    fn skip(subscriber: &ByteReceiver<Self>) -> Result<u64, Fault>;

    /// Receives one, in place if it can; `meanwhile` it has it in its hands.
    fn take(
        subscriber: &mut ByteReceiver<Self>,
        message: &mut Vec<u8>,
        meanwhile: impl FnOnce(),
    ) -> Result<(), RecvTimeoutError>;
}

impl Sort for Broadcast {
    const RELIABLE: bool = false;

    fn open(
        channel: &ByteBroadcastChannel<'_>,
        start: Start,
    ) -> Result<ByteReceiver<Self>, ChannelError> {
        channel.subscriber_from(start)
    }

    fn position(subscriber: &ByteReceiver<Self>) -> u64 {
        subscriber.sequence()
    }

    fn skip(subscriber: &ByteReceiver<Self>) -> Result<u64, Fault> {
        subscriber.skip_to_newest()
    }

    fn take(
        subscriber: &mut ByteReceiver<Self>,
        message: &mut Vec<u8>,
        meanwhile: impl FnOnce(),
    ) -> Result<(), RecvTimeoutError> {
        subscriber.recv(message)?;
        meanwhile();
        Ok(())
    }
}

impl Sort for Reliable {
    const RELIABLE: bool = true;

    fn open(
        channel: &ByteBroadcastChannel<'_>,
        start: Start,
    ) -> Result<ByteReceiver<Self>, ChannelError> {
        channel.reliable_subscriber_from(start)
    }

    fn position(subscriber: &ByteReceiver<Self>) -> u64 {
        subscriber.sequence()
    }

    fn skip(subscriber: &ByteReceiver<Self>) -> Result<u64, Fault> {
        subscriber.skip_to_newest()
    }

    fn take(
        subscriber: &mut ByteReceiver<Self>,
        message: &mut Vec<u8>,
        meanwhile: impl FnOnce(),
    ) -> Result<(), RecvTimeoutError> {
        let delivery = subscriber.take()?;
        meanwhile();
        message.clear();
        delivery.append_to(message);
        delivery.release();
        Ok(())
    }
}

pub(crate) fn run(post: &Post<'_>) -> Result<(), Failure> {
    if is_reliable(post.orders.index) {
        attend::<Reliable>(post)
    } else {
        attend::<Broadcast>(post)
    }
}

fn attend<S: Sort>(post: &Post<'_>) -> Result<(), Failure> {
    let mut subscriber = Subscriber { post, chance: post.orders.chance(), message: Vec::new() };
    loop {
        let segment = post.open()?;
        for _ in 0..=subscriber.chance.u8(..3) {
            let start = subscriber.start();
            let mut end = opened(S::open(&post.orders.setting.board(&segment), start))?;
            let position = S::position(&end);
            post.note(Note::Joined { position, reliable: S::RELIABLE });
            post.note(Note::Up);
            // The phase is asked after the end was opened: see the consumer.
            while post.phase() != Phase::Drain && subscriber.step::<S>(&mut end)? {}
            if post.phase() == Phase::Drain {
                return subscriber.sweep_up::<S>(&end);
            }
            post.note(Note::Down);
        }
    }
}

struct Subscriber<'a> {
    post: &'a Post<'a>,
    chance: fastrand::Rng,
    message: Vec<u8>,
}

impl Subscriber<'_> {
    fn start(&mut self) -> Start {
        if self.post.orders.is_witness() {
            return Start::Oldest;
        }
        match self.chance.u8(..4) {
            0 => Start::Oldest,
            1 => Start::Last(self.chance.u64(..=self.post.orders.setting.capacity as u64)),
            _ => Start::Newest,
        }
    }

    /// Whether to go on with this end.
    fn step<S: Sort>(&mut self, end: &mut ByteReceiver<S>) -> Result<bool, Failure> {
        let witness = self.post.orders.is_witness();
        let received = match self.chance.u8(..16) {
            0..4 => end.recv(&mut self.message).map(|_| self.got()).map_err(Into::into),
            4..6 => {
                let timeout = Duration::from_millis(1);
                end.recv_timeout(&mut self.message, timeout).map(|_| self.got())
            }
            6..10 => self.batch(end),
            10..14 => self.take(end),
            14 if !witness => {
                let count = S::skip(end).map_err(|fault| wrong("pass over messages", fault))?;
                self.post.note(Note::Skipped { count });
                Ok(())
            }
            _ => Ok(()),
        };
        let connected = self.conclude(end, received)?;
        self.post.dawdle(&mut self.chance);
        if witness {
            if !connected {
                // The publishers are dead, and others are coming.
                thread::sleep(Duration::from_millis(1));
            }
            return Ok(true);
        }
        let leaves = self.chance.u16(..) < 64 && self.post.phase() == Phase::Storm;
        Ok(connected && !leaves)
    }

    /// Notes the message that has come.
    fn got(&self) {
        self.got_all(std::slice::from_ref(&self.message));
    }

    fn got_all(&self, messages: &[Vec<u8>]) {
        for message in messages {
            self.post.note(message::read(message).map_or(Note::Torn, Note::Got));
        }
    }

    fn batch<S: Sort>(&mut self, end: &ByteReceiver<S>) -> Result<(), RecvTimeoutError> {
        let mut messages = Vec::new();
        let received = end.recv_batch(&mut messages, self.chance.usize(2..=BATCH));
        self.got_all(&messages);
        received?;
        Ok(())
    }

    fn take<S: Sort>(&mut self, end: &mut ByteReceiver<S>) -> Result<(), RecvTimeoutError> {
        let Self { post, chance, message } = self;
        S::take(end, message, || post.dawdle(chance))?;
        self.got();
        Ok(())
    }

    /// Notes what a call has come to, and where the subscriber is; whether there is a
    /// publisher.
    fn conclude<S: Sort>(
        &self,
        end: &ByteReceiver<S>,
        received: Result<(), RecvTimeoutError>,
    ) -> Result<bool, Failure> {
        match received {
            Ok(()) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Lagged(count)) => self.post.note(Note::Missed { count }),
            Err(RecvTimeoutError::Disconnected) => return Ok(false),
            Err(error) => return Err(wrong("receive", error)),
        }
        self.post.note(Note::At { position: S::position(end) });
        Ok(true)
    }

    /// Takes what is left, without waiting for more.
    fn sweep_up<S: Sort>(&mut self, end: &ByteReceiver<S>) -> Result<(), Failure> {
        loop {
            let received = match end.try_recv(&mut self.message) {
                Ok(_) => {
                    self.got();
                    Ok(())
                }
                Err(TryRecvError::Lagged(count)) => Err(RecvTimeoutError::Lagged(count)),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return Ok(()),
                Err(error) => return Err(wrong("receive", error)),
            };
            self.conclude(end, received)?;
        }
    }
}
