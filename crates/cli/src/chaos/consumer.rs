//! A consumer: receives in every possible way, and notes what it holds.

use std::time::Duration;

use tombolo::{ByteDelivery, ByteReceiver, RecvError, RecvTimeoutError, TryRecvError};

use super::ledger::{Id, Note, Phase};
use super::message;
use super::orders::{Kind, Shape};
use super::worker::{Post, opened, wrong};
use crate::failure::Failure;

/// Messages of the longest batch.
const BATCH: usize = 8;
/// How many messages are held at a time, each by a receiver, where the kind of channel
/// allows it.
const RECEIVERS: usize = 3;

/// Whether to go on with this end.
enum Next {
    Same,
    /// No sender is left, or a change is due.
    Another,
}

pub(crate) fn run<K: Kind>(post: &Post<'_>) -> Result<(), Failure> {
    let setting = &post.orders.setting;
    let mut consumer = Consumer { post, chance: post.orders.chance() };
    loop {
        let segment = post.open()?;
        for _ in 0..=consumer.chance.u8(..3) {
            let channel = setting.channel::<K>(&segment);
            let receivers = if setting.shape == Shape::Spsc { 1 } else { RECEIVERS };
            let mut receivers = (0..receivers)
                .map(|_| opened(channel.receiver()))
                .collect::<Result<Vec<_>, Failure>>()?;
            post.note(Note::Up);
            // Only after the end was opened: then it has met the producers,
            // who stay until this phase, and learns that they have left. One
            // opened later may have met nobody, and would wait for good.
            if post.phase() == Phase::Drain {
                return consumer.sweep_up(&receivers);
            }
            while matches!(consumer.step(&mut receivers)?, Next::Same) {}
            // It may have been alone before the producers were back for the last
            // time.
            if post.phase() == Phase::Drain {
                return consumer.sweep_up(&receivers);
            }
            post.note(Note::Down);
        }
    }
}

struct Consumer<'a> {
    post: &'a Post<'a>,
    chance: fastrand::Rng,
}

impl Consumer<'_> {
    fn step<K: Kind>(&mut self, receivers: &mut [ByteReceiver<K>]) -> Result<Next, Failure> {
        let Some((first, others)) = receivers.split_first_mut() else {
            return Ok(Next::Another);
        };
        let next = match self.chance.u8(..16) {
            0..4 => self.receive(first, None)?,
            4..6 => self.receive(first, Some(Duration::from_millis(1)))?,
            6..9 => self.batch(first)?,
            9..13 => self.process(first, &mut [])?,
            13..15 => self.process(first, others)?,
            _ if self.chance.u16(..) < 16 && self.post.phase() == Phase::Storm => Next::Another,
            _ => Next::Same,
        };
        self.post.dawdle(&mut self.chance);
        Ok(next)
    }

    fn ask(&self, most: usize, whole: bool) {
        self.post.note(Note::Asking { most: most as u64, whole });
    }

    /// Notes a message that was taken and acknowledged by one call.
    fn got(&self, message: &[u8]) {
        self.post.note(message::read(message).map_or(Note::Torn, Note::Got));
    }

    fn receive<K: Kind>(
        &mut self,
        receiver: &ByteReceiver<K>,
        timeout: Option<Duration>,
    ) -> Result<Next, Failure> {
        let mut message = Vec::with_capacity(self.post.orders.setting.length());
        self.ask(1, true);
        let received = match timeout {
            None => receiver.recv(&mut message).map_err(RecvTimeoutError::from),
            Some(timeout) => receiver.recv_timeout(&mut message, timeout),
        };
        if received == Err(RecvTimeoutError::Timeout) {
            self.post.note(Note::Done);
            return Ok(Next::Same);
        }
        self.conclude(received, |this| this.got(&message))
    }

    fn batch<K: Kind>(&mut self, receiver: &ByteReceiver<K>) -> Result<Next, Failure> {
        let mut messages = Vec::new();
        let most = self.chance.usize(2..=BATCH);
        self.ask(most, true);
        let received = receiver.recv_batch(&mut messages, most);
        self.conclude(received, |this| messages.iter().for_each(|message| this.got(message)))
    }

    fn conclude(
        &self,
        received: Result<usize, impl Into<RecvTimeoutError>>,
        enter: impl FnOnce(&Self),
    ) -> Result<Next, Failure> {
        let next = match received {
            Ok(_) => {
                enter(self);
                Next::Same
            }
            Err(error) => {
                let error = error.into();
                if !error.is_disconnected() {
                    return Err(wrong("receive", error));
                }
                Next::Another
            }
        };
        self.post.note(Note::Done);
        Ok(next)
    }

    /// Takes a message, and others if there are, works on them and
    /// acknowledges them in any order.
    fn process<K: Kind>(
        &mut self,
        first: &mut ByteReceiver<K>,
        others: &mut [ByteReceiver<K>],
    ) -> Result<Next, Failure> {
        let mut held = Vec::new();
        self.ask(1, false);
        match first.take() {
            Ok(delivery) => held.extend(self.took(delivery)),
            Err(RecvError::Disconnected) => {
                self.post.note(Note::Done);
                return Ok(Next::Another);
            }
            Err(error) => return Err(wrong("take", error)),
        }
        for receiver in others {
            self.ask(1, false);
            match receiver.try_take() {
                Ok(delivery) => held.extend(self.took(delivery)),
                Err(error) => {
                    self.post.note(Note::Done);
                    forgive_try(error)?;
                    break;
                }
            }
        }
        self.post.dawdle(&mut self.chance);
        while !held.is_empty() {
            let (id, delivery) = held.swap_remove(self.chance.usize(..held.len()));
            self.post.note(Note::Releasing(id));
            delivery.release();
            self.post.note(Note::Released(id));
        }
        Ok(Next::Same)
    }

    fn took<'a, K: Kind>(
        &self,
        delivery: ByteDelivery<'a, K>,
    ) -> Option<(Id, ByteDelivery<'a, K>)> {
        match message::read(&delivery.to_vec()) {
            Some(id) => {
                self.post.note(Note::Took(id, delivery.attempts()));
                Some((id, delivery))
            }
            None => {
                self.post.note(Note::Torn);
                self.post.note(Note::Done);
                None
            }
        }
    }

    /// Takes what is left, without waiting for more.
    fn sweep_up<K: Kind>(&self, receivers: &[ByteReceiver<K>]) -> Result<(), Failure> {
        let Some(receiver) = receivers.first() else {
            return Ok(());
        };
        let mut message = Vec::new();
        loop {
            self.ask(1, true);
            match receiver.try_recv(&mut message) {
                Ok(_) => self.got(&message),
                Err(error) => {
                    self.post.note(Note::Done);
                    return forgive_try(error);
                }
            }
        }
    }
}

/// Nothing, if there was only nothing to take.
fn forgive_try(error: TryRecvError) -> Result<(), Failure> {
    match error {
        TryRecvError::Empty | TryRecvError::Pending | TryRecvError::Disconnected => Ok(()),
        error => Err(wrong("take", error)),
    }
}
