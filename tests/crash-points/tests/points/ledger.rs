//! The notes of all processes in a trial, outside the segment, so that they survive their
//! writers.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use tombolo::sys::crash::{self, End, Plot, Point};

use crate::common::{Words, segment};

/// An observation of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Note {
    /// By the victim: its send has returned.
    Sent = 1,
    /// By the victim: a receive has returned it.
    Got,
    /// By the victim: it holds it, and is about to let it go.
    Holding,
    /// By the victim: letting go has returned.
    LetGo,
    /// By a survivor that has received it.
    Received,
    /// By a survivor whose send has returned.
    SurvivorSent,
}

const NOTES: [Note; 6] =
    [Note::Sent, Note::Got, Note::Holding, Note::LetGo, Note::Received, Note::SurvivorSent];

const COUNT: usize = 0;
const LENGTH: usize = 1;
const FIRST_NOTE: usize = 8;
const FIRST_LETTER: usize = 4_096;
const SIZE: usize = 1 << 20;

/// Shared with every forked child.
pub(crate) struct Ledger {
    words: Words,
}

impl Ledger {
    pub(crate) fn new() -> Ledger {
        // Removed at once: it goes with its last process.
        Ledger { words: Words::of(*segment(SIZE)) }
    }

    /// Forgets everything.
    pub(crate) fn clear(&self) {
        for at in 0..self.words.get(COUNT) as usize {
            self.words.put(FIRST_NOTE + at, 0);
        }
        self.words.put(COUNT, 0);
        self.words.put(LENGTH, 0);
    }

    pub(crate) fn note(&self, note: Note, id: u64) {
        let at = self.words.at(COUNT).fetch_add(1, Ordering::SeqCst) as usize;
        let torn = id == u64::MAX;
        // Two bits for what cannot be a number: nothing noted, and torn.
        let word = 1 << 63 | u64::from(torn) << 62 | (note as u64) << 48 | id & 0xFFFF_FFFF_FFFF;
        self.words.put(FIRST_NOTE + at, word);
    }

    /// The numbers of the messages of which `note` was noted, in order.
    pub(crate) fn all(&self, note: Note) -> Vec<u64> {
        (0..self.words.get(COUNT) as usize)
            .map(|at| self.words.get(FIRST_NOTE + at))
            .filter(|word| word >> 63 == 1 && NOTES[(word >> 48 & 0xFF) as usize - 1] == note)
            .map(|word| if word >> 62 & 1 == 1 { u64::MAX } else { word & 0xFFFF_FFFF_FFFF })
            .collect()
    }

    /// Hands the points that this process has passed to its parent.
    pub(crate) fn hand_over(&self, points: &[Point]) {
        let mut times = BTreeMap::<Point, u64>::new();
        for point in points {
            *times.entry(*point).or_default() += 1;
        }
        let lines: Vec<String> = times.iter().map(|(at, times)| format!("{at}\t{times}")).collect();
        let text = lines.join("\n");
        assert!(FIRST_LETTER * 8 + text.len() < SIZE);
        for (at, chunk) in text.as_bytes().chunks(8).enumerate() {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.words.put(FIRST_LETTER + at, u64::from_le_bytes(word));
        }
        self.words.put(LENGTH, text.len() as u64);
    }

    /// The points that the last child handed over, and how often it passed
    /// each.
    pub(crate) fn points(&self) -> Vec<(String, u64)> {
        let length = self.words.get(LENGTH) as usize;
        let mut bytes: Vec<u8> = (0..length.div_ceil(8))
            .flat_map(|at| self.words.get(FIRST_LETTER + at).to_le_bytes())
            .collect();
        bytes.truncate(length);
        let text = String::from_utf8(bytes).unwrap();
        let pair = |line: &str| {
            let (at, times) = line.split_once('\t').unwrap();
            (at.to_owned(), times.parse().unwrap())
        };
        text.lines().map(pair).collect()
    }
}

/// The act of a child that is to die, or to be watched, when it gets to what
/// matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Doom {
    /// Its points are noted.
    Watched,
    /// It ends at this point, this time.
    At(String, u64, End),
}

impl Doom {
    pub(crate) fn begin(&self) {
        match self {
            Doom::Watched => crash::watch(),
            Doom::At(at, time, end) => {
                crash::plot(Some(Plot { at: at.clone(), time: *time, end: *end }));
            }
        }
    }

    pub(crate) fn finish(&self, ledger: &Ledger) {
        match self {
            Doom::Watched => ledger.hand_over(&crash::trace()),
            Doom::At(..) => crash::plot(None),
        }
    }
}
