//! A channel of a segment, and the seat of the one bridge that serves it.
//!
//! The seat is the sending end of an SPSC channel of notes, `bridge:CHANNEL`, in the same segment:
//! the kernel frees it when the bridge ends, however that is. The channel always holds the last
//! note, and so what a successor has to know:
//!
//! - the *origin*: what this life of the segment is called on the way;
//! - of each stream that comes from elsewhere, which number is next;
//! - what was about to be published ([`Note::span`]), which tells, with how much there is in the
//!   channel, how much of it was;
//! - how far the exporter was.

use std::fs::File;
use std::io::Read as _;

use tombolo::{ChannelError, Message, Receiver, Segment, Sender, Spsc};

use crate::wire::Origin;

/// So many streams a note has. Of more, the one that was quiet longest is forgotten.
pub(crate) const STREAMS: usize = 8;
/// How many notes there is room for.
const NOTES: usize = 256;
/// So many stay unread between two tidyings.
pub(crate) const TIDY: u64 = 64;

/// What is known of a stream that comes from elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Message)]
#[repr(C)]
pub(crate) struct Stream {
    /// Where it comes from; zero: there is none.
    pub(crate) origin: [u64; 2],
    /// Queues: its session. Broadcast: the life of its exporter.
    pub(crate) session: u64,
    /// The next number; of a queue, the last one that was published.
    pub(crate) next: u64,
    /// Broadcast: how many that had no number were missing until there.
    pub(crate) lost: u64,
    /// When it was last heard of, as a count.
    pub(crate) heard: u64,
}

/// What a bridge notes for its successor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Message)]
#[repr(C)]
pub(crate) struct Note {
    pub(crate) origin: [u64; 2],
    pub(crate) streams: [Stream; STREAMS],
    /// Broadcast: of this stream something is about to be published …
    pub(crate) current: u64,
    /// … so many messages …
    pub(crate) span: u64,
    /// … where so many have been published before, as after all that was done before it …
    pub(crate) at: u64,
    /// … after so many that are missing, which is told first.
    pub(crate) gap: u64,
    /// Broadcast: so many are missing, and not told yet.
    pub(crate) owed: u64,
    /// Broadcast: 1: others have published in the channel too. So what there is does not tell what of
    /// it the bridge has published, even if it is alone by now.
    pub(crate) shared: u64,
    /// Broadcast: one more than the position of the next message to be exported; 0: none was.
    pub(crate) exported: u64,
    /// Broadcast: so many positions before it were left out, because they came from elsewhere.
    pub(crate) left_out: u64,
    pub(crate) clock: u64,
}

impl Note {
    pub(crate) fn origin(&self) -> Origin {
        origin(self.origin)
    }

    /// The stream from there. If there is none, it takes the place of the one that was quiet
    /// longest.
    pub(crate) fn stream(&mut self, origin: Origin) -> (usize, bool) {
        let words = words(origin.0);
        self.clock += 1;
        let found = self.streams.iter().position(|stream| stream.origin == words);
        let n = found.unwrap_or_else(|| {
            let oldest = (0..STREAMS).min_by_key(|&n| self.streams[n].heard).unwrap_or(0);
            self.streams[oldest] = Stream { origin: words, ..Stream::default() };
            oldest
        });
        self.streams[n].heard = self.clock;
        (n, found.is_some())
    }

    /// What is known of the stream from there, if anything is.
    pub(crate) fn find(&self, origin: Origin) -> Option<Stream> {
        let words = words(origin.0);
        self.streams.iter().find(|stream| stream.origin == words).copied()
    }

    /// Forgets the streams that are not from these: they make room for others.
    pub(crate) fn keep(&mut self, lives: impl Fn(Origin) -> bool) {
        for stream in &mut self.streams {
            if stream.origin != [0; 2] && !lives(origin(stream.origin)) {
                stream.heard = 0;
            }
        }
    }

    /// Whether there is no room for another stream: each is from one that is there.
    pub(crate) fn is_full(&self) -> bool {
        self.streams.iter().all(|stream| stream.heard > 0)
    }

    /// That something is about to be published, where so many have been published.
    pub(crate) fn begin(&mut self, published: u64) {
        self.shared |= u64::from(published != self.at);
        self.at = published;
    }

    /// Works out what a predecessor has published of what it was about to publish, where so many
    /// have been published by now. If others have published too, nobody knows, and all
    /// of it counts as missing: what is there is told as missing, rather than the other way round.
    /// `alone`: nobody else publishes now.
    pub(crate) fn settle(&mut self, published: u64, alone: bool) {
        let told = u64::from(self.gap > 0);
        let done =
            published.checked_sub(self.at).filter(|&done| done <= self.span.saturating_add(told));
        self.shared |= u64::from(!alone || done.is_none());
        self.at = published;
        if let Some(stream) = self.streams.get_mut(self.current as usize) {
            match done.filter(|_| self.shared == 0) {
                Some(0) => self.owed = self.owed.saturating_add(self.gap),
                Some(done) => stream.next = stream.next.saturating_add(done - told),
                None => {
                    stream.next = stream.next.saturating_add(self.span);
                    self.owed = self.owed.saturating_add(self.gap).saturating_add(self.span);
                }
            }
        }
        (self.gap, self.span) = (0, 0);
    }

    /// That the bridge has published so many, the last of them before this position.
    pub(crate) fn published(&mut self, count: u64, end: Option<u64>) {
        let end = end.filter(|_| count > 0).unwrap_or(self.at);
        self.shared |= u64::from(end.wrapping_sub(self.at) != count);
        self.at = end;
    }

    /// That so much of it was published, after what was missing was told.
    pub(crate) fn done(&mut self, sent: u64, end: Option<u64>) {
        self.published(sent + u64::from(self.gap > 0), end);
        if let Some(stream) = self.streams.get_mut(self.current as usize) {
            stream.next = stream.next.saturating_add(sent);
        }
        (self.gap, self.span) = (0, 0);
    }
}

fn origin(words: [u64; 2]) -> Origin {
    let mut bytes = [0; 16];
    let (low, high) = bytes.split_at_mut(8);
    low.copy_from_slice(&words[0].to_le_bytes());
    high.copy_from_slice(&words[1].to_le_bytes());
    Origin(bytes)
}

fn words(bytes: [u8; 16]) -> [u64; 2] {
    let half = |range| {
        let half: &[u8] = bytes.get(range).unwrap_or_default();
        half.first_chunk::<8>().map_or(0, |half| u64::from_le_bytes(*half))
    };
    [half(0..8), half(8..16)]
}

/// Some random number that is not zero.
pub(crate) fn random() -> u64 {
    let mut bytes = [0; 8];
    let read = File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    let number = match read {
        Ok(()) => u64::from_ne_bytes(bytes),
        Err(_) => {
            use std::hash::{BuildHasher as _, Hasher as _, RandomState};
            RandomState::new().build_hasher().finish()
        }
    };
    number.max(1)
}

/// The seat of the bridge that serves a channel.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) tx: Sender<Note, Spsc>,
    pub(crate) notes: Notes,
    pub(crate) note: Note,
}

/// The notes that were written.
#[derive(Debug)]
pub(crate) struct Notes {
    rx: Receiver<Note, Spsc>,
    unread: u64,
}

impl Notes {
    /// To be called for each note that is written. Now and then, takes all but the last.
    pub(crate) fn written(&mut self) {
        self.unread += 1;
        if self.unread >= TIDY {
            self.unread = 0;
            self.tidy();
        }
    }

    fn tidy(&self) {
        while self.rx.len() > 1 && self.rx.try_recv().is_ok() {}
    }
}

/// The name of the channel of notes.
pub(crate) fn seat_name(channel: &str) -> String {
    const LONGEST: usize = 64;
    let name = format!("bridge:{channel}");
    if name.len() <= LONGEST {
        return name;
    }
    // FNV-1a, of all of it.
    let hash = name.bytes().fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)
    });
    let end = name.floor_char_boundary(LONGEST - 17);
    format!("{}~{hash:016x}", name.get(..end).unwrap_or_default())
}

impl Seat {
    /// Takes the seat. `None`: another bridge has it.
    pub(crate) fn take(segment: &Segment, channel: &str) -> Result<Option<Self>, ChannelError> {
        let name = seat_name(channel);
        let notes = segment.channel::<Note>(&name).capacity(NOTES).spsc().lasting();
        let tx = match notes.sender() {
            Ok(tx) => tx,
            Err(ChannelError::RoleTaken { .. }) => return Ok(None),
            Err(why) => return Err(why),
        };
        // The other end goes with it, a moment later if its last holder is still ending.
        let mut rx = match notes.receiver() {
            Ok(rx) => rx,
            Err(ChannelError::RoleTaken { .. }) => return Ok(None),
            Err(why) => return Err(why),
        };
        // What a predecessor has committed counts as written.
        segment.sweep()?;
        while rx.len() > 1 && rx.try_recv().is_ok() {}
        let last = match rx.try_take() {
            Ok(last) => {
                let note = last.get().ok();
                last.give_back();
                note
            }
            Err(_) => None,
        };
        let mut note = last.unwrap_or_default();
        if note.origin == [0; 2] {
            note.origin = [random(), random()];
        }
        let mut seat = Self { tx, notes: Notes { rx, unread: 0 }, note };
        seat.write();
        Ok(Some(seat))
    }

    /// Notes what is in `note`.
    pub(crate) fn write(&mut self) {
        // Full: of what a killed predecessor left.
        if self.tx.try_send(self.note).is_err() {
            self.notes.tidy();
            let _ = self.tx.try_send(self.note);
        }
        self.notes.written();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_note_stays_for_the_next_one_who_takes_the_seat() {
        let segment = Segment::anonymous().unwrap();
        let mut seat = Seat::take(&segment, "some").unwrap().unwrap();
        let origin = seat.note.origin();
        assert!(Seat::take(&segment, "some").unwrap().is_none());
        for n in 0..1000 {
            seat.note.exported = n;
            seat.write();
        }
        drop(seat);
        for _ in 0..3 {
            let again = Seat::take(&segment, "some").unwrap().unwrap();
            assert_eq!((again.note.origin(), again.note.exported), (origin, 999));
        }
    }

    #[test]
    fn a_stream_that_lives_is_not_forgotten_for_a_new_one() {
        let from = |n: u8| Origin([n; 16]);
        let mut note = Note::default();
        for n in 1..=STREAMS as u8 {
            let (at, _) = note.stream(from(n));
            note.streams[at].next = n.into();
        }
        assert_eq!(note.find(from(100)), None);
        // The third is the only one that has gone, though others were quiet for longer.
        note.keep(|origin| origin != from(3));
        let (at, known) = note.stream(from(100));
        assert!(!known && note.streams[at].next == 0);
        assert_eq!(note.find(from(3)), None);
        for n in (1..=STREAMS as u8).filter(|n| *n != 3) {
            assert_eq!(note.find(from(n)).map(|stream| stream.next), Some(n.into()));
        }
    }

    #[test]
    fn what_a_predecessor_has_published_is_worked_out() {
        let from = Origin([1; 16]);
        let mut note = Note::default();
        let (n, known) = note.stream(from);
        assert!(!known);
        note.streams[n].next = 100;
        let about = Note { current: n as u64, span: 10, at: 50, ..note };
        for (published, next) in [(50, 100), (53, 103), (60, 110)] {
            let mut settled = about;
            settled.settle(published, true);
            assert_eq!((settled.streams[n].next, settled.owed), (next, 0));
        }
        let mut others = about;
        others.settle(61, true);
        assert_eq!((others.streams[n].next, others.owed), (110, 10));
        others = Note { gap: 7, ..about };
        others.settle(51, false);
        assert_eq!((others.streams[n].next, others.owed), (110, 17));
        let after_gap = Note { gap: 7, ..about };
        for (published, next, owed) in [(50, 100, 7), (51, 100, 0), (54, 103, 0), (61, 110, 0)] {
            let mut settled = after_gap;
            settled.settle(published, true);
            assert_eq!((settled.streams[n].next, settled.owed), (next, owed));
        }
    }

    #[test]
    fn where_others_have_published_what_is_there_is_not_taken_for_what_a_predecessor_sent() {
        let mut note = Note::default();
        let (n, _) = note.stream(Origin([1; 16]));
        note.streams[n].next = 100;
        (note.current, note.span) = (n as u64, 10);
        note.begin(0);
        note.done(10, Some(10));
        // Somebody came, published three messages, and went.
        assert_eq!(note.shared, 0);
        note.span = 10;
        note.begin(13);
        let mut settled = note;
        // And again, while there was no bridge.
        settled.settle(16, true);
        assert_eq!((settled.streams[n].next, settled.owed), (120, 10));
        // Or between two of its own.
        let mut between = Note { shared: 0, ..note };
        between.done(10, Some(24));
        assert_eq!(between.shared, 1);
    }

    #[test]
    fn a_name_that_is_too_long_is_cut_and_still_its_own() {
        let (one, other) = ("é".repeat(31), format!("{}x", "é".repeat(30)));
        assert!(seat_name(&one).len() <= 64 && seat_name(&other).len() <= 64);
        assert_ne!(seat_name(&one), seat_name(&other));
    }
}
