//! A segment that is recorded, and each of its channels.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, BorrowedFd};

use mcap::McapError;
use tombolo::{AnyChannel, AnyReceiver, ByteBatch, Fault, Segment, Start, TryRecvError};

use crate::container::why;
use crate::failure::Failure;
use crate::plain::plain;
use crate::tape::Tape;
use crate::terms::remark;
use crate::topic::Topic;

/// So many messages are received at once.
const BATCH: usize = 256;

/// Which channels, and how they are received.
#[derive(Clone, Debug)]
pub(crate) struct Choice {
    /// These; all if there are none.
    pub(crate) channels: Vec<String>,
    pub(crate) reliable: bool,
    pub(crate) from: Start,
    /// Whether the messages of queues are taken.
    pub(crate) consume: bool,
}

/// What a track has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Messages,
    Nothing,
    /// Nothing can come any more.
    Over,
}

/// A channel that is recorded.
pub(crate) struct Track {
    receiver: AnyReceiver,
    number: usize,
    pub(crate) name: String,
    consumes: bool,
    /// Whether one message of it can be held at a time.
    one_at_a_time: bool,
    over: bool,
    pub(crate) messages: u64,
    pub(crate) missed: u64,
}

/// A segment that is recorded.
pub(crate) struct Source {
    name: String,
    segment: Segment,
    choice: Choice,
    /// The channels that have been looked at.
    known: BTreeSet<String>,
    pub(crate) tracks: Vec<Track>,
}

impl Source {
    pub(crate) fn new(name: &str, segment: Segment, choice: Choice) -> Self {
        let (name, known, tracks) = (name.to_owned(), BTreeSet::new(), Vec::new());
        Self { name, segment, choice, known, tracks }
    }

    /// Begins with channels that have come. Whether the segment is still there.
    pub(crate) fn look(&mut self, tape: &mut Tape) -> Result<bool, Failure> {
        for info in self.segment.channels() {
            let chosen = &self.choice.channels;
            let is_chosen = chosen.is_empty() || chosen.contains(&info.name);
            if is_chosen && self.known.insert(info.name.clone()) {
                self.begin(&info.name, tape)?;
            }
        }
        Ok(!matches!(self.segment.sweep(), Err(Fault::Closed)))
    }

    /// The channels that were asked for and are not there.
    pub(crate) fn lacking(&self) -> impl Iterator<Item = &String> {
        self.choice.channels.iter().filter(|name| !self.known.contains(*name))
    }

    fn begin(&mut self, name: &str, tape: &mut Tape) -> Result<(), Failure> {
        let whole = format!("{}/{name}", self.name);
        let cannot = |error: &dyn std::fmt::Display| {
            Failure::unusable(format!("cannot record {whole}"), error)
        };
        let channel = self.segment.open_channel(name).map_err(|error| cannot(&error))?;
        if channel.is_calls() {
            remark(&plain(&format!("{whole} is left out: it has calls, and no messages")));
            return Ok(());
        }
        let consumes = !channel.is_broadcast();
        if consumes && !self.choice.consume {
            remark(&plain(&format!(
                "{whole} is left out: it is a queue; --consume takes its messages"
            )));
            return Ok(());
        }
        let receiver = self.receive(&channel).map_err(|error| cannot(&error))?;
        // From now on nothing is missed between two looks.
        receiver.readiness().map_err(|error| cannot(&error))?;
        let number =
            tape.add(Topic::of(&self.name, &channel)).map_err(|error| cannot(&why(&error)))?;
        self.tracks.push(Track {
            receiver,
            number,
            name: whole,
            consumes,
            one_at_a_time: channel.is_spsc(),
            over: false,
            messages: 0,
            missed: 0,
        });
        Ok(())
    }

    fn receive(&self, channel: &AnyChannel<'_>) -> Result<AnyReceiver, tombolo::ChannelError> {
        match (channel.is_broadcast(), self.choice.reliable) {
            (false, _) => channel.receiver(),
            (true, false) => channel.subscriber_from(self.choice.from),
            (true, true) => channel.reliable_subscriber_from(self.choice.from),
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.tracks.iter().all(|track| track.over)
    }
}

impl Track {
    /// Records what is there. Nothing is forgotten by the channel before it is on the tape.
    pub(crate) fn record(
        &mut self,
        batch: &mut ByteBatch,
        tape: &mut Tape,
    ) -> Result<Found, Failure> {
        if self.over {
            return Ok(Found::Over);
        }
        let found = if self.consumes { self.consume(tape)? } else { self.read(batch, tape)? };
        self.over = found == Found::Over;
        Ok(found)
    }

    fn read(&mut self, batch: &mut ByteBatch, tape: &mut Tape) -> Result<Found, Failure> {
        batch.clear();
        let received = self.receiver.try_recv_batch_into(batch, BATCH);
        for message in batch.iter() {
            tape.write(self.number, message).map_err(|error| broken(&error))?;
            self.messages += 1;
        }
        match received {
            Ok(_) => Ok(Found::Messages),
            Err(TryRecvError::Lagged(count)) => {
                self.missed = self.missed.saturating_add(count);
                tape.note_missed(self.number, count).map_err(|error| broken(&error))?;
                Ok(Found::Messages)
            }
            Err(error) => self.ended(error),
        }
    }

    /// Takes messages of a queue. They are acknowledged when they are in the file, and come
    /// again if this process is killed before.
    fn consume(&mut self, tape: &mut Tape) -> Result<Found, Failure> {
        if self.one_at_a_time {
            return self.consume_one(tape);
        }
        let mut held = Vec::new();
        let mut ended = None;
        while held.len() < BATCH && ended.is_none() {
            match self.receiver.try_take_shared() {
                Some(Ok(delivery)) => held.push(delivery),
                Some(Err(error)) => ended = Some(error),
                None => break,
            }
        }
        for delivery in &held {
            tape.write(self.number, &delivery.to_vec()).map_err(|error| broken(&error))?;
        }
        if !held.is_empty() {
            tape.flush().map_err(|error| broken(&error))?;
            self.messages += held.len() as u64;
            held.into_iter().for_each(tombolo::AnyDelivery::release);
            return Ok(Found::Messages);
        }
        drop(held);
        ended.map_or(Ok(Found::Messages), |error| self.ended(error))
    }

    /// Of a queue of which one message can be held at a time.
    fn consume_one(&mut self, tape: &mut Tape) -> Result<Found, Failure> {
        let ended = match self.receiver.try_take() {
            Ok(delivery) => {
                tape.write(self.number, &delivery.to_vec()).map_err(|error| broken(&error))?;
                tape.flush().map_err(|error| broken(&error))?;
                delivery.release();
                self.messages += 1;
                return Ok(Found::Messages);
            }
            Err(error) => error,
        };
        self.ended(ended)
    }

    fn ended(&self, error: TryRecvError) -> Result<Found, Failure> {
        match error {
            TryRecvError::Empty | TryRecvError::Pending => Ok(Found::Nothing),
            TryRecvError::Disconnected
            | TryRecvError::Fault(Fault::Closed | Fault::Drained | Fault::Shutdown) => {
                Ok(Found::Over)
            }
            error => Err(Failure::broken(format!("cannot receive from {}", self.name), error)),
        }
    }

    /// Readable when there may be something.
    pub(crate) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        let readiness = self.receiver.readiness().ok().filter(|_| !self.over)?;
        Some(readiness.as_fd())
    }
}

fn broken(error: &McapError) -> Failure {
    Failure::broken("cannot write the recording", why(error))
}
