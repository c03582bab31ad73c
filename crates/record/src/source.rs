//! A segment that is recorded, and each of its channels.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, BorrowedFd};

use mcap::McapError;
use tombolo::{
    AnyChannel, AnyReceiver, ByteBatch, ChannelInfo, Fault, OpenError, Segment, Start, Tap,
    TryRecvError,
};

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
    pub(crate) queues: Queues,
}

/// What is done with queues, whose messages have one receiver each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Queues {
    LeaveOut,
    /// Look at what is in them.
    Tap,
    /// Take it.
    Consume,
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
    way: Way,
    number: usize,
    pub(crate) name: String,
    over: bool,
    pub(crate) messages: u64,
    pub(crate) missed: u64,
}

/// How messages of a channel come here.
enum Way {
    Subscribe(AnyReceiver),
    Consume {
        receiver: AnyReceiver,
        /// Whether one message of it can be held at a time.
        one_at_a_time: bool,
    },
    Tap {
        tap: Tap,
        /// Whether its last sender's end is none of the channel.
        lasting: bool,
        /// Whether it has had a sender.
        begun: bool,
    },
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
            let whole = self.whole(&info.name);
            self.tracks.iter_mut().filter(|track| track.name == whole).for_each(|t| t.heed(&info));
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

    fn whole(&self, channel: &str) -> String {
        format!("{}/{channel}", self.name)
    }

    fn begin(&mut self, name: &str, tape: &mut Tape) -> Result<(), Failure> {
        let whole = self.whole(name);
        let cannot = |error: &dyn std::fmt::Display| {
            Failure::unusable(format!("cannot record {whole}"), error)
        };
        let channel = self.segment.open_channel(name).map_err(|error| cannot(&error))?;
        if channel.is_calls() {
            remark(&plain(&format!("{whole} is left out: it has calls, and no messages")));
            return Ok(());
        }
        let Some(way) = self.way(&channel).map_err(|error| cannot(&error))? else {
            remark(&plain(&format!(
                "{whole} is left out: it is a queue; --consume takes its messages, --tap looks at them"
            )));
            return Ok(());
        };
        if let Some(receiver) = way.receiver() {
            // From now on nothing is missed between two looks.
            receiver.readiness().map_err(|error| cannot(&error))?;
        }
        let number =
            tape.add(Topic::of(&self.name, &channel)).map_err(|error| cannot(&why(&error)))?;
        self.tracks.push(Track { way, number, name: whole, over: false, messages: 0, missed: 0 });
        Ok(())
    }

    /// `None` for a queue that is left out.
    fn way(&self, channel: &AnyChannel<'_>) -> Result<Option<Way>, tombolo::ChannelError> {
        let Choice { reliable, from, queues, .. } = self.choice;
        Ok(match (channel.is_broadcast(), queues) {
            (true, _) if reliable => Some(Way::Subscribe(channel.reliable_subscriber_from(from)?)),
            (true, _) => Some(Way::Subscribe(channel.subscriber_from(from)?)),
            (false, Queues::LeaveOut) => None,
            (false, Queues::Tap) => {
                let tap = Tap::of_id(self.segment.id(), channel.name());
                Some(Way::Tap { tap, lasting: channel.is_lasting(), begun: false })
            }
            (false, Queues::Consume) => {
                let (receiver, one_at_a_time) = (channel.receiver()?, channel.is_spsc());
                Some(Way::Consume { receiver, one_at_a_time })
            }
        })
    }

    /// Whether a channel is looked at that nobody tells of.
    pub(crate) fn taps(&self) -> bool {
        self.tracks.iter().any(|track| matches!(track.way, Way::Tap { .. }) && !track.over)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.tracks.iter().all(|track| track.over)
    }
}

impl Way {
    const fn receiver(&self) -> Option<&AnyReceiver> {
        match self {
            Self::Subscribe(receiver) | Self::Consume { receiver, .. } => Some(receiver),
            Self::Tap { .. } => None,
        }
    }
}

impl Track {
    /// Takes note of who sends. A tap that finds nothing is told by nobody that nothing comes.
    fn heed(&mut self, info: &ChannelInfo) {
        if let Way::Tap { lasting, begun, .. } = &mut self.way {
            let ended = *begun && info.senders == 0 && info.depth == 0 && !*lasting;
            *begun |= info.senders > 0;
            self.over |= ended;
        }
    }

    /// Records what is there. Nothing is forgotten by the channel before it is on the tape.
    pub(crate) fn record(
        &mut self,
        batch: &mut ByteBatch,
        tape: &mut Tape,
    ) -> Result<Found, Failure> {
        if self.over {
            return Ok(Found::Over);
        }
        let mut sheet = Sheet { tape, number: self.number, messages: 0, missed: 0 };
        let done = match &mut self.way {
            Way::Subscribe(receiver) => read(receiver, batch, &mut sheet),
            Way::Consume { receiver, one_at_a_time: true } => consume_one(receiver, &mut sheet),
            Way::Consume { receiver, one_at_a_time: false } => consume(receiver, &mut sheet),
            Way::Tap { tap, .. } => look(tap, &mut sheet),
        };
        self.messages += sheet.messages;
        self.missed = self.missed.saturating_add(sheet.missed);
        let found = done.map_err(|cause| cause.of(&self.name))?;
        self.over = found == Found::Over;
        Ok(found)
    }

    /// Readable when there may be something.
    pub(crate) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        let readiness = self.way.receiver()?.readiness().ok().filter(|_| !self.over)?;
        Some(readiness.as_fd())
    }
}

/// The tape, for one channel.
struct Sheet<'a> {
    tape: &'a mut Tape,
    number: usize,
    messages: u64,
    missed: u64,
}

/// Why a channel cannot be recorded any more.
enum Cause {
    Receive(TryRecvError),
    Look(OpenError),
    Write(McapError),
}

impl Cause {
    fn of(self, channel: &str) -> Failure {
        match self {
            Self::Receive(error) => {
                Failure::broken(format!("cannot receive from {channel}"), error)
            }
            Self::Look(error) => Failure::broken(format!("cannot look at {channel}"), error),
            Self::Write(error) => Failure::broken("cannot write the recording", why(&error)),
        }
    }
}

impl Sheet<'_> {
    fn write(&mut self, message: &[u8]) -> Result<(), Cause> {
        self.tape.write(self.number, message).map_err(Cause::Write)?;
        self.messages += 1;
        Ok(())
    }

    fn note_missed(&mut self, count: u64) -> Result<(), Cause> {
        self.missed = self.missed.saturating_add(count);
        self.tape.note_missed(self.number, count).map_err(Cause::Write)
    }

    fn flush(&mut self) -> Result<(), Cause> {
        self.tape.flush().map_err(Cause::Write)
    }
}

fn read(
    receiver: &mut AnyReceiver,
    batch: &mut ByteBatch,
    sheet: &mut Sheet<'_>,
) -> Result<Found, Cause> {
    batch.clear();
    let received = receiver.try_recv_batch_into(batch, BATCH);
    batch.iter().try_for_each(|message| sheet.write(message))?;
    match received {
        Ok(_) => Ok(Found::Messages),
        Err(TryRecvError::Lagged(count)) => {
            sheet.note_missed(count)?;
            Ok(Found::Messages)
        }
        Err(error) => ended(error),
    }
}

/// Takes messages of a queue. They are acknowledged when they are in the file, and come
/// again if this process is killed before.
fn consume(receiver: &AnyReceiver, sheet: &mut Sheet<'_>) -> Result<Found, Cause> {
    let mut held = Vec::new();
    let mut end = None;
    while held.len() < BATCH && end.is_none() {
        match receiver.try_take_shared() {
            Some(Ok(delivery)) => held.push(delivery),
            Some(Err(error)) => end = Some(error),
            None => break,
        }
    }
    held.iter().try_for_each(|delivery| sheet.write(&delivery.to_vec()))?;
    if !held.is_empty() {
        sheet.flush()?;
        held.into_iter().for_each(tombolo::AnyDelivery::release);
        return Ok(Found::Messages);
    }
    drop(held);
    end.map_or(Ok(Found::Messages), ended)
}

/// Of a queue of which one message can be held at a time.
fn consume_one(receiver: &mut AnyReceiver, sheet: &mut Sheet<'_>) -> Result<Found, Cause> {
    match receiver.try_take() {
        Ok(delivery) => {
            sheet.write(&delivery.to_vec())?;
            sheet.flush()?;
            delivery.release();
            Ok(Found::Messages)
        }
        Err(error) => ended(error),
    }
}

/// Looks at what is in a queue and has not been seen yet.
fn look(tap: &mut Tap, sheet: &mut Sheet<'_>) -> Result<Found, Cause> {
    let Some(seen) = tap.look(BATCH, usize::MAX).map_err(Cause::Look)? else {
        return Ok(Found::Over);
    };
    if seen.missed > 0 {
        sheet.note_missed(seen.missed)?;
    }
    seen.messages.iter().try_for_each(|message| sheet.write(&message.bytes))?;
    // What has come meanwhile is there at the next look.
    Ok(if seen.messages.len() == BATCH { Found::Messages } else { Found::Nothing })
}

fn ended(error: TryRecvError) -> Result<Found, Cause> {
    match error {
        TryRecvError::Empty | TryRecvError::Pending => Ok(Found::Nothing),
        TryRecvError::Disconnected
        | TryRecvError::Fault(Fault::Closed | Fault::Drained | Fault::Shutdown) => Ok(Found::Over),
        error => Err(Cause::Receive(error)),
    }
}
