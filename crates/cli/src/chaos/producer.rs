//! A producer: sends numbered messages in every possible way, and notes before and
//! after.

use std::time::Duration;

use tombolo::{ByteSender, SendTimeoutError};

use super::ledger::{Id, Note, Phase};
use super::message;
use super::orders::Sends;
use super::worker::{Post, opened, wrong};
use crate::failure::Failure;

/// Messages of the longest batch.
const BATCH: u64 = 8;

/// The outcome of a call that sends.
enum Sent {
    /// So many messages.
    All(u64),
    /// So many, and then no receiver was left.
    Alone(u64),
}

pub(crate) fn run<K: Sends>(post: &Post<'_>) -> Result<(), Failure> {
    let length = post.orders.setting.length();
    let mut producer = Producer {
        post,
        chance: post.orders.chance(),
        number: 0,
        messages: vec![vec![0; length]; BATCH as usize],
    };
    loop {
        let segment = post.open()?;
        // In one membership, some with several ends after each other.
        for _ in 0..=producer.chance.u8(..3) {
            let mut sender = opened(K::sender(&post.orders.setting, &segment))?;
            post.note(Note::Up);
            producer.work(&mut sender)?;
            if post.phase() != Phase::Storm {
                post.idle();
                return Ok(());
            }
            post.note(Note::Down);
        }
    }
}

struct Producer<'a> {
    post: &'a Post<'a>,
    chance: fastrand::Rng,
    /// The next one's.
    number: u64,
    messages: Vec<Vec<u8>>,
}

impl Producer<'_> {
    /// Sends until it is to be idle, or leaves for a change, or is alone.
    fn work<K: Sends>(&mut self, sender: &mut ByteSender<K>) -> Result<(), Failure> {
        while self.post.phase() == Phase::Storm {
            let sent = match self.chance.u8(..16) {
                0..6 => self.send(sender, None)?,
                6..8 => self.send(sender, Some(Duration::from_millis(1)))?,
                8..11 => self.batch(sender)?,
                11..14 => self.in_place(sender)?,
                14 => self.aborted(sender)?,
                _ if self.chance.u16(..) < 16 => return Ok(()),
                _ => Sent::All(0),
            };
            match sent {
                Sent::All(0) => {}
                Sent::All(sent) => self.sent(sender, sent),
                Sent::Alone(sent) => {
                    self.sent(sender, sent);
                    return Ok(());
                }
            }
            self.post.dawdle(&mut self.chance);
        }
        Ok(())
    }

    fn sent<K: Sends>(&mut self, sender: &ByteSender<K>, sent: u64) {
        self.number += sent;
        self.post.note(Note::Sent { upto: self.number });
        if let Some(position) = K::sequence(sender)
            && sent > 0
        {
            self.post.note(Note::At { position });
        }
    }

    /// The `nth` from the next on.
    const fn id(&self, nth: u64) -> Id {
        let orders = self.post.orders;
        Id { producer: orders.index, life: orders.life, number: self.number + nth }
    }

    /// Writes the next messages and notes that they are about to be sent.
    fn write(&mut self, count: u64) {
        for nth in 0..count {
            let id = self.id(nth);
            if let Some(into) = self.messages.get_mut(nth as usize) {
                message::write(id, into);
            }
        }
        self.post.note(Note::Sending { upto: self.number + count });
    }

    fn send<K: Sends>(
        &mut self,
        sender: &ByteSender<K>,
        timeout: Option<Duration>,
    ) -> Result<Sent, Failure> {
        self.write(1);
        let message = &self.messages[0];
        let done = match timeout {
            None => sender.send(message).map_err(SendTimeoutError::from),
            Some(timeout) => sender.send_timeout(message, timeout),
        };
        outcome(done, 1, 0)
    }

    fn batch<K: Sends>(&mut self, sender: &ByteSender<K>) -> Result<Sent, Failure> {
        let count = self.chance.u64(2..=BATCH);
        self.write(count);
        let batch: Vec<&[u8]> =
            self.messages.iter().take(count as usize).map(Vec::as_slice).collect();
        match sender.send_batch(&batch) {
            Ok(()) => Ok(Sent::All(count)),
            Err(error) => outcome(Err(error.reason), count, error.sent as u64),
        }
    }

    fn in_place<K: Sends>(&mut self, sender: &mut ByteSender<K>) -> Result<Sent, Failure> {
        let id = self.id(0);
        let mut grant = match sender.reserve(self.post.orders.setting.length()) {
            Ok(grant) => grant,
            Err(error) => return outcome(Err(error), 1, 0),
        };
        self.post.dawdle(&mut self.chance);
        let length = grant.len();
        let mut message = vec![0; length];
        message::write(id, &mut message);
        grant.write_at(0, &message);
        self.post.note(Note::Sending { upto: self.number + 1 });
        outcome(grant.commit(length), 1, 0)
    }

    /// Reserves and thinks better of it: nobody may ever see that.
    fn aborted<K: Sends>(&mut self, sender: &mut ByteSender<K>) -> Result<Sent, Failure> {
        match sender.reserve(self.post.orders.setting.length()) {
            Ok(mut grant) => {
                let mut message = vec![0; grant.len()];
                message::spoil(&mut message);
                grant.write_at(0, &message);
                grant.abort();
                Ok(Sent::All(0))
            }
            Err(error) => outcome(Err(error), 0, 0),
        }
    }
}

fn outcome(
    done: Result<(), impl Into<SendTimeoutError>>,
    all: u64,
    sent: u64,
) -> Result<Sent, Failure> {
    match done.map_err(Into::into) {
        Ok(()) => Ok(Sent::All(all)),
        // In time, there was no room.
        Err(SendTimeoutError::Timeout(())) => Ok(Sent::All(0)),
        Err(SendTimeoutError::Disconnected(())) => Ok(Sent::Alone(sent)),
        Err(error) => Err(wrong("send", error)),
    }
}
