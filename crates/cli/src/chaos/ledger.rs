//! The workers' notes, outside the segment: a book for each seat, in one
//! shared-memory object that has no key and is freed with its last process.
//!
//! A book is a ring of notes that one worker at a time writes and the conductor
//! reads. A worker writes a note before the index that makes it visible. So a
//! writer that is killed at any instruction leaves whole notes, and its successor
//! continues behind the last one. If the book is full, the writer waits for the
//! conductor.
//!
//! The ledger does not use the library's channels, because they are under test.

use std::fmt;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use tombolo::sys::{self, limits};

use crate::terms::now;
use crate::words::Words;

/// Notes that a book holds, or fewer where `kernel.shmmax` allows no such ledger:
/// then its writer waits more often.
const NOTES: u64 = 1 << 15;
/// With fewer, nothing would get on.
const FEWEST_NOTES: u64 = 16;
/// Words of a note.
const WORDS: u64 = 3;
/// Words before a book's notes: what is written and what is read, a line each.
const HEAD: u64 = 32;
const READ: u64 = 16;
/// Words before the first book: the phase, and how many notes a book holds.
const COVER: u64 = 16;
const HOLDS: u64 = 1;

/// Names a message: its producer, which of the producer's lives, and its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Id {
    pub(crate) producer: u16,
    pub(crate) life: u32,
    pub(crate) number: u64,
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { producer, life, number } = self;
        write!(f, "message {number} of life {life} of producer {producer}")
    }
}

/// The phases of a storm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Storm,
    /// Nothing new is sent.
    Finish,
    /// Producers leave; consumers take what is left, and leave.
    Drain,
}

/// How a call has ended for its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    Answered,
    /// With the reply to another call, or with one that nobody gave.
    Another,
    Torn,
    ServerDied,
    NoServer,
    Refused,
    TimedOut,
    /// The client has dropped it.
    GivenUp,
    /// It was not made at all.
    Unmade,
}

impl How {
    const ALL: [Self; 9] = [
        Self::Answered,
        Self::Another,
        Self::Torn,
        Self::ServerDied,
        Self::NoServer,
        Self::Refused,
        Self::TimedOut,
        Self::GivenUp,
        Self::Unmade,
    ];
}

/// What a server is about to do with a call that it has, and what it has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    Replying,
    Replied,
    /// It has replied, and was told that nobody waited.
    Unwanted,
    Refusing,
    Refused,
    GivingBack,
    GaveBack,
}

impl Deed {
    const ALL: [Self; 7] = [
        Self::Replying,
        Self::Replied,
        Self::Unwanted,
        Self::Refusing,
        Self::Refused,
        Self::GivingBack,
        Self::GaveBack,
    ];

    /// Whether it is done.
    pub(crate) const fn is_done(self) -> bool {
        !matches!(self, Self::Replying | Self::Refusing | Self::GivingBack)
    }
}

/// A worker's note.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Note {
    /// It has its end of the channel; or it is about to give it up.
    Up,
    Down,
    /// A producer is about to send the messages before `upto`, and has.
    Sending {
        upto: u64,
    },
    Sent {
        upto: u64,
    },
    /// It sends nothing more.
    Idle,
    /// A consumer asks for up to `most` messages. `whole`: they are taken and
    /// acknowledged by one call.
    Asking {
        most: u64,
        whole: bool,
    },
    /// It has received one by such a call.
    Got(Id),
    /// It has one in its hands, over which so many receivers have died.
    Took(Id, u8),
    /// It is about to acknowledge it, and has.
    Releasing(Id),
    Released(Id),
    /// It has received a message that nobody sent.
    Torn,
    /// The call for messages has ended.
    Done,
    /// A subscriber has its end, and comes to the message of this sequence number next.
    Joined {
        position: u64,
        reliable: bool,
    },
    /// A producer has sent a message of this sequence number last; or a subscriber comes
    /// to it next.
    At {
        position: u64,
    },
    /// A subscriber was told that it has missed so many; or it has passed over them.
    Missed {
        count: u64,
    },
    Skipped {
        count: u64,
    },
    /// A client is about to make this call, over which so many servers may die.
    Calling {
        number: u64,
        repeats: u8,
    },
    /// Its call has ended so; it has the reply of this server and its life, if any.
    Ended {
        number: u64,
        how: How,
        server: (u16, u32),
    },
    /// What a server does with a call.
    Lets(Id, Deed),
}

impl Note {
    fn words(self) -> [u64; 2] {
        let plain = |kind: u64| [kind, 0];
        let of = |kind: u64, id: Id, attempts: u8| {
            let Id { producer, life, number } = id;
            [
                kind | u64::from(attempts) << 8 | u64::from(producer) << 16 | u64::from(life) << 32,
                number,
            ]
        };
        match self {
            Self::Up => plain(1),
            Self::Down => plain(2),
            Self::Sending { upto } => [3, upto],
            Self::Sent { upto } => [4, upto],
            Self::Idle => plain(5),
            Self::Asking { most, whole } => [6 | u64::from(whole) << 8, most],
            Self::Got(id) => of(7, id, 0),
            Self::Took(id, attempts) => of(8, id, attempts),
            Self::Releasing(id) => of(9, id, 0),
            Self::Released(id) => of(10, id, 0),
            Self::Torn => plain(11),
            Self::Done => plain(12),
            Self::Joined { position, reliable } => [13 | u64::from(reliable) << 8, position],
            Self::At { position } => [14, position],
            Self::Missed { count } => [15, count],
            Self::Skipped { count } => [16, count],
            Self::Calling { number, repeats } => [17 | u64::from(repeats) << 8, number],
            Self::Ended { number, how, server: (producer, life) } => {
                of(18, Id { producer, life, number }, how as u8)
            }
            Self::Lets(id, deed) => of(19, id, deed as u8),
        }
    }

    fn read([head, number]: [u64; 2]) -> Option<Self> {
        let id = Id { producer: (head >> 16) as u16, life: (head >> 32) as u32, number };
        let small = (head >> 8) as u8;
        Some(match head as u8 {
            1 => Self::Up,
            2 => Self::Down,
            3 => Self::Sending { upto: number },
            4 => Self::Sent { upto: number },
            5 => Self::Idle,
            6 => Self::Asking { most: number, whole: small != 0 },
            7 => Self::Got(id),
            8 => Self::Took(id, small),
            9 => Self::Releasing(id),
            10 => Self::Released(id),
            11 => Self::Torn,
            12 => Self::Done,
            13 => Self::Joined { position: number, reliable: small != 0 },
            14 => Self::At { position: number },
            15 => Self::Missed { count: number },
            16 => Self::Skipped { count: number },
            17 => Self::Calling { number, repeats: small },
            18 => {
                let how = *How::ALL.get(usize::from(small))?;
                Self::Ended { number, how, server: (id.producer, id.life) }
            }
            19 => Self::Lets(id, *Deed::ALL.get(usize::from(small))?),
            _ => return None,
        })
    }
}

/// All books.
#[derive(Debug)]
pub(crate) struct Ledger {
    words: Words,
    /// Notes that a book holds.
    notes: u64,
}

/// How many notes fit each of so many books, in so many bytes together.
const fn fitting(books: u64, bytes: u64) -> u64 {
    let mut notes = NOTES;
    while notes > FEWEST_NOTES && 8 * (COVER + books * (HEAD + notes * WORDS)) > bytes {
        notes /= 2;
    }
    notes
}

impl Ledger {
    /// Makes one of so many books.
    pub(crate) fn create(books: usize) -> Result<Self, sys::Error> {
        Self::within(books as u64, limits::shm()?.max_size)
    }

    fn within(books: u64, bytes: u64) -> Result<Self, sys::Error> {
        let notes = fitting(books, bytes);
        let words = Words::create(COVER + books * (HEAD + notes * WORDS))?;
        words.at(HOLDS).store(notes, Ordering::Release);
        Ok(Self { words, notes })
    }

    pub(crate) fn open(id: i32) -> Result<Self, sys::Error> {
        let words = Words::open(id)?;
        let notes = words.get(HOLDS).max(1);
        Ok(Self { words, notes })
    }

    pub(crate) const fn id(&self) -> i32 {
        self.words.id()
    }

    /// Where a book begins.
    const fn start(&self, book: usize) -> u64 {
        COVER + book as u64 * (HEAD + self.notes * WORDS)
    }

    pub(crate) fn phase(&self) -> Phase {
        match self.words.get(0) {
            0 => Phase::Storm,
            1 => Phase::Finish,
            _ => Phase::Drain,
        }
    }

    pub(crate) fn set_phase(&self, phase: Phase) {
        self.words.at(0).store(phase as u64, Ordering::Release);
    }

    /// Reads the notes that were added to a book since it was last read, each with
    /// its time.
    pub(crate) fn read(&self, book: usize, mut each: impl FnMut(u64, Note)) {
        let start = self.start(book);
        let (written, read) = (self.words.get(start), self.words.get(start + READ));
        for index in read..written {
            let at = start + HEAD + index % self.notes * WORDS;
            let [time, head, number] = [0, 1, 2].map(|word| self.words.get(at + word));
            if let Some(note) = Note::read([head, number]) {
                each(time, note);
            }
        }
        self.words.at(start + READ).store(written, Ordering::Release);
    }

    /// A book to write in. Its last writer must have ended.
    pub(crate) const fn book(&self, book: usize) -> Book<'_> {
        Book { words: &self.words, notes: self.notes, start: self.start(book) }
    }
}

/// A worker's book.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Book<'a> {
    words: &'a Words,
    notes: u64,
    start: u64,
}

impl Book<'_> {
    pub(crate) fn write(&self, note: Note) {
        let index = self.words.get(self.start);
        while index - self.words.get(self.start + READ) >= self.notes {
            thread::sleep(Duration::from_micros(100));
        }
        let at = self.start + HEAD + index % self.notes * WORDS;
        let [head, number] = note.words();
        for (word, value) in (at..).zip([now(), head, number]) {
            self.words.at(word).store(value, Ordering::Relaxed);
        }
        // Release: a reader that sees the index sees the note.
        self.words.at(self.start).store(index + 1, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_noted_is_read_in_order_by_whoever_comes_later() {
        let ledger = Ledger::within(2, 32 << 10).unwrap();
        let id = Id { producer: 3, life: 0xFFFF_0001, number: u64::MAX };
        let notes = [
            Note::Up,
            Note::Down,
            Note::Sending { upto: 1 << 40 },
            Note::Sent { upto: 7 },
            Note::Idle,
            Note::Asking { most: 9, whole: true },
            Note::Asking { most: 1, whole: false },
            Note::Got(id),
            Note::Took(id, 15),
            Note::Releasing(id),
            Note::Released(id),
            Note::Torn,
            Note::Done,
            Note::Joined { position: 1 << 50, reliable: true },
            Note::Joined { position: 0, reliable: false },
            Note::At { position: u64::MAX },
            Note::Missed { count: 3 },
            Note::Skipped { count: 4 },
            Note::Calling { number: 1 << 60, repeats: 3 },
            Note::Ended { number: 5, how: How::Unmade, server: (9, u32::MAX) },
            Note::Lets(id, Deed::GaveBack),
        ];
        let heard = |book| {
            let mut heard = Vec::new();
            ledger.read(book, |_, note| heard.push(note));
            heard
        };
        // More than a book holds, by one writer after another.
        assert_eq!(ledger.notes, 512);
        for _ in 0..ledger.notes {
            notes.iter().for_each(|&note| ledger.book(1).write(note));
            assert_eq!(heard(1), notes);
        }
        assert_eq!(heard(0), []);
    }

    #[test]
    fn every_end_of_a_call_is_read_as_noted() {
        for (n, how) in (0..).zip(How::ALL) {
            let note = Note::Ended { number: n, how, server: (1, 2) };
            assert_eq!(Note::read(note.words()), Some(note));
        }
        for deed in Deed::ALL {
            let note = Note::Lets(Id { producer: 1, life: 2, number: 3 }, deed);
            assert_eq!(Note::read(note.words()), Some(note));
        }
    }

    #[test]
    fn a_note_without_its_index_was_never_written() {
        let ledger = Ledger::create(1).unwrap();
        ledger.book(0).write(Note::Up);
        // A writer that is killed before its last store leaves this.
        let at = COVER + HEAD + WORDS;
        for word in at..at + WORDS {
            ledger.words.at(word).store(u64::MAX, Ordering::Relaxed);
        }
        ledger.book(0).write(Note::Idle);
        let mut heard = Vec::new();
        ledger.read(0, |_, note| heard.push(note));
        assert_eq!(heard, [Note::Up, Note::Idle]);
    }
}
