//! `--broadcast`: everything goes to everybody who receives.
//!
//! The channel `stream` is a broadcast channel of bytes. Its longest message is the mode: of
//! a stream, a word and a chunk; of lines, a line.
//!
//! **A stream.** Messages are `word:64 | bytes`, as without `--broadcast`, and nobody
//! acknowledges them: BEGIN; positions with bytes; END with the length. A receiver knows by
//! the positions where it begins, and how many bytes it has missed. Only END ends well.
//!
//! **Lines.** A message is a line. Each sender puts a token into `sending`, and takes one out
//! at the end. What remains when the last sender has gone counts those that have failed.

use tombolo::{
    ByteBroadcastChannel, Bytes, ChannelInfo, Fault, Publisher, Receiver, RecvTimeoutError,
    ReliableSubscriber, Segment, Start, Subscriber,
};

use super::{
    CROWD, Interrupt, Mode, SENDING, STREAM, TURN, Token, WORD, count, has_receivers, has_senders,
    is_drained, is_stream, join, tokens,
};
use crate::failure::Failure;
use crate::place::Place;

/// The most bytes of a stream in one message, and of a line without its newline. With the word
/// of the one and the newline of the other, the longest messages of the modes differ.
pub(crate) const CHUNK: usize = 64 << 10;
pub(crate) const LONGEST: usize = 64 << 10;
/// How many messages are retained, where nothing is in the way.
const CHUNKS: usize = 64;
const LINES: usize = 1_024;
/// The room for everything but the messages.
const BESIDE: usize = 256 << 10;

/// The longest message.
const fn longest(lines: bool) -> usize {
    if lines { LONGEST + 1 } else { WORD + CHUNK }
}

/// The most room that one message takes.
const fn for_one(lines: bool) -> usize {
    longest(lines) + 64
}

/// How many senders a channel of lines has room for, in so many places for messages: each
/// sender takes one.
fn senders(places: usize, lines: bool) -> usize {
    if lines { (places / 6).clamp(1, usize::from(CROWD)) } else { 1 }
}

/// How many messages are retained where there are so many places for them: the library keeps
/// a quarter more, or for few messages up to 16.
fn retained(places: usize, lines: bool) -> usize {
    let most = if lines { LINES } else { CHUNKS };
    let retained = match places {
        80.. => places / 5 * 4,
        24.. => places - 16,
        _ => places / 3,
    };
    retained.clamp(1, most)
}

/// How many bytes the segment has, where nothing is in the way.
pub(super) const fn room(lines: bool) -> usize {
    let places = if lines { LINES / 4 * 5 + CROWD as usize } else { CHUNKS / 4 * 5 + 1 };
    places * for_one(lines) + BESIDE
}

pub(super) const fn is_of_lines(channel: &ChannelInfo) -> bool {
    channel.element_size == longest(true)
}

/// The channel. All participants come to the same numbers.
fn channel(segment: &Segment, lines: bool) -> ByteBroadcastChannel<'_> {
    let places = segment.size().saturating_sub(BESIDE) / for_one(lines);
    let senders = senders(places, lines);
    let retained = retained(places.saturating_sub(senders), lines);
    let publishers = u16::try_from(senders).unwrap_or(CROWD);
    segment
        .broadcast_bytes(STREAM)
        .capacity(retained, longest(lines))
        .publishers(publishers)
        .reliable(CROWD)
}

/// How many messages have been sent, ever.
fn published(segment: &Segment) -> u64 {
    let channels = segment.channels();
    let stream = channels.iter().find(|channel| is_stream(channel));
    stream.and_then(|channel| channel.broadcast.as_ref()).map_or(0, |info| info.published)
}

/// How many senders of lines have failed, in all.
fn failed(segment: &Segment, tokens: &Receiver<u8>) -> usize {
    loop {
        let living = || count(segment, STREAM, |channel| channel.senders);
        let (before, there, after) = (living(), tokens.len(), living());
        // Otherwise one has come or gone, and its token may be among them or not.
        if before == after {
            return there.saturating_sub(after);
        }
    }
}

/// A sender's end. The segment is left last.
pub(crate) struct Out {
    pub(crate) publisher: Publisher<Bytes>,
    token: Option<Token>,
    pub(crate) segment: Segment,
}

impl Out {
    pub(crate) fn join(name: &Place, lines: bool, interrupt: Interrupt) -> Result<Self, Failure> {
        let mode = Mode { lines, broadcast: true };
        let (segment, (publisher, token)) = join(name, mode, interrupt, |segment| {
            let publisher = channel(segment, lines).publisher()?;
            let token = lines.then(|| Token::put(segment, SENDING)).transpose()?;
            Ok((publisher, token))
        })?;
        Ok(Self { publisher, token, segment })
    }

    pub(crate) const fn is_of_lines(&self) -> bool {
        self.token.is_some()
    }

    /// Whether somebody receives.
    pub(crate) fn is_heard(&self) -> bool {
        // The dead are none.
        let _ = self.segment.sweep();
        has_receivers(&self.segment)
    }

    /// Whether every reliable receiver has written out what this sender has sent.
    pub(crate) fn is_read(&self) -> bool {
        let Some(last) = self.publisher.sequence() else { return true };
        // In this order: what others send meanwhile is not taken for read.
        let published = self.publisher.published();
        let behind = self.publisher.slowest().map_or(0, |slowest| slowest.behind);
        published.saturating_sub(behind) > last
    }

    /// Says that this sender has ended well. It sends no more, and still has the segment.
    pub(crate) fn done(self) -> Segment {
        let Self { publisher, token, segment } = self;
        if let Some(token) = token {
            token.take_back();
        }
        drop(publisher);
        segment
    }
}

/// Whether there is nobody any more who receives what has been sent: only those who are there
/// for other senders.
pub(crate) fn has_ended(segment: &Segment) -> bool {
    !has_receivers(segment) || has_senders(segment)
}

/// A receiver's end: lossy, or such that senders wait for it.
pub(crate) enum Listener {
    Lossy(Box<Subscriber<Bytes>>),
    Reliable(Box<ReliableSubscriber<Bytes>>),
}

impl Listener {
    fn lossy(subscriber: Subscriber<Bytes>) -> Self {
        Self::Lossy(Box::new(subscriber))
    }

    fn reliable(subscriber: ReliableSubscriber<Bytes>) -> Self {
        Self::Reliable(Box::new(subscriber))
    }

    /// Gives the next message to `done`; waits for it, for a turn. A reliable receiver lets
    /// go of it after that.
    pub(crate) fn next<T>(
        &mut self,
        message: &mut Vec<u8>,
        done: impl FnOnce(&[u8]) -> T,
    ) -> Result<T, RecvTimeoutError> {
        match self {
            Self::Lossy(subscriber) => {
                subscriber.recv_timeout(message, TURN)?;
                Ok(done(message))
            }
            Self::Reliable(subscriber) => {
                let taken = subscriber.take_timeout(TURN)?;
                message.clear();
                taken.append_to(message);
                let done = done(message);
                taken.release();
                Ok(done)
            }
        }
    }

    pub(crate) const fn is_reliable(&self) -> bool {
        matches!(self, Self::Reliable(_))
    }

    /// Whether there is nothing to be received just now.
    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Self::Lossy(subscriber) => subscriber.is_empty(),
            Self::Reliable(subscriber) => subscriber.is_empty(),
        }
    }

    /// How many messages were missed.
    pub(crate) const fn missed(&self) -> u64 {
        match self {
            Self::Lossy(subscriber) => subscriber.missed(),
            Self::Reliable(_) => 0,
        }
    }

    /// The number of the next message to be received.
    pub(crate) fn next_number(&self) -> u64 {
        match self {
            Self::Lossy(subscriber) => subscriber.sequence(),
            Self::Reliable(subscriber) => subscriber.sequence(),
        }
    }
}

/// A receiver's end. The segment is left last.
pub(crate) struct In {
    pub(crate) listener: Listener,
    /// Where it is known who sends lines: the senders' tokens, and how many the failed had
    /// left there before.
    senders: Option<(Receiver<u8>, usize)>,
    /// The number of the first message that was sent after this receiver had begun to come.
    pub(crate) first: u64,
    pub(crate) segment: Segment,
}

impl In {
    pub(crate) fn join(
        name: &Place,
        lines: bool,
        (reliable, start): (bool, Start),
        interrupt: Interrupt,
    ) -> Result<Self, Failure> {
        let mode = Mode { lines, broadcast: true };
        join(name, mode, interrupt, |segment| {
            // Before a sender that waits for this receiver sees it.
            let first = published(segment);
            let senders = lines.then(|| tokens(segment, SENDING).receiver()).transpose()?;
            let senders = senders.map(|tokens| {
                // Those of the past have cut what this one begins with.
                let failed = if start == Start::Newest { failed(segment, &tokens) } else { 0 };
                (tokens, failed)
            });
            let channel = channel(segment, lines);
            let listener = if reliable {
                Listener::reliable(channel.reliable_subscriber_from(start)?)
            } else {
                Listener::lossy(channel.subscriber_from(start)?)
            };
            Ok((first, listener, senders))
        })
        .map(|(segment, (first, listener, senders))| Self {
            listener,
            senders,
            first,
            segment,
        })
    }

    pub(crate) fn has_senders(&self) -> bool {
        has_senders(&self.segment)
    }

    /// Whether somebody has commanded that nothing more be sent.
    pub(crate) fn is_drained(&self) -> bool {
        is_drained(&self.segment)
    }

    /// Goes on waiting for the next sender of a stream, when those before have gone and
    /// nothing of theirs is left: as one that has met none.
    pub(crate) fn forget_senders(&mut self) -> Result<(), Failure> {
        let channel = channel(&self.segment, false);
        let again = if self.listener.is_reliable() {
            channel.reliable_subscriber().map(Listener::reliable)
        } else {
            channel.subscriber().map(Listener::lossy)
        };
        let again = again.map_err(|error| Failure::Broken(error.to_string()))?;
        // Otherwise there is one by now.
        if again.next_number() == self.listener.next_number() {
            self.listener = again;
        }
        Ok(())
    }

    /// Whether a receiver of lines goes on after this fault, since others send by now. If
    /// not, all senders have ended, and well.
    pub(crate) fn goes_on(&self, fault: Fault) -> Result<bool, Fault> {
        if !matches!(fault, Fault::Disconnected { .. }) {
            return Err(fault);
        }
        if self.is_drained() {
            return Ok(false);
        }
        if self.has_senders() {
            return Ok(true);
        }
        let failed = self.senders.as_ref().is_some_and(|(tokens, before)| tokens.len() > *before);
        if failed { Err(fault) } else { Ok(false) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_messages_are_retained_as_there_is_room_for() {
        // As docs/broadcast.md has it: a quarter more, and at least 16, or twice as many as
        // the capacity.
        let needs = |messages: usize| messages + 2 * (messages / 8).max(messages.min(8));
        for lines in [false, true] {
            for places in 3..2_000 {
                assert!(needs(retained(places, lines)) <= places, "{places}");
            }
        }
        let places = |lines| room(lines).saturating_sub(BESIDE) / for_one(lines);
        assert_eq!(retained(places(false) - senders(places(false), false), false), CHUNKS);
        assert_eq!(senders(places(true), true), usize::from(CROWD));
        assert_eq!(retained(places(true) - usize::from(CROWD), true), LINES);
    }
}
