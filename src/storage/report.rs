//! What an audit has found in the memory of a segment.

use core::fmt::{self, Display};

use super::layout::Text;
use crate::sync::{AtomicU64, Ordering};

/// More faults than this are counted only.
const MOST: usize = 1_000;

/// A word of a segment that contradicts the format, which is in
/// `docs/format.md`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// Which kind of word: `slot word`, `LIVE`.
    pub what: String,
    /// Which one, with its offset in the segment in bytes: `channel jobs, slot
    /// 7, byte 33792`. A channel's name is what the segment says: see
    /// [`SegmentInfo::name`](crate::SegmentInfo::name).
    pub place: String,
    /// What is there.
    pub found: String,
    /// What could be.
    pub expected: String,
}

impl Display for Finding {
    /// `slot word, channel jobs, slot 7, byte 33792: found …, expected …`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, place, found, expected } = self;
        write!(f, "{what}, {place}: found {found}, expected {expected}")
    }
}

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) faults: Vec<Finding>,
    pub(crate) more: u64,
    pub(crate) remarks: Vec<String>,
}

impl Report {
    pub(crate) fn is_empty(&self) -> bool {
        self.faults.is_empty()
    }

    pub(crate) fn fault(
        &mut self,
        what: impl Display,
        place: impl Display,
        found: impl Display,
        expected: impl Display,
    ) {
        if self.faults.len() >= MOST {
            self.more += 1;
            return;
        }
        self.faults.push(Finding {
            what: what.to_string(),
            place: place.to_string(),
            found: found.to_string(),
            expected: expected.to_string(),
        });
    }

    pub(crate) fn remark(&mut self, what: impl Display) {
        self.remarks.push(what.to_string());
    }

    /// Drops the faults that a later reading has not found; its remarks are
    /// the newer ones.
    pub(crate) fn keep_those_of(&mut self, later: Self) {
        self.faults.retain(|fault| later.faults.contains(fault));
        self.more = self.more.min(later.more);
        self.remarks = later.remarks;
    }
}

/// `channel jobs, slot 7, byte 33792`
pub(crate) fn place(whose: impl Display, at: usize) -> String {
    format!("{whose}, byte {at}")
}

pub(crate) fn hex(word: u64) -> String {
    format!("{word:#018x}")
}

/// A word as it is at one moment.
pub(crate) fn read(word: &AtomicU64) -> u64 {
    word.load(Ordering::Acquire)
}

/// That reserved words are zero: the first that is not.
pub(crate) fn reserved(report: &mut Report, whose: &str, words: &[AtomicU64], at: usize) {
    let found = (0..).zip(words).map(|(n, word)| (at + 8 * n, read(word)));
    if let Some((at, word)) = found.into_iter().find(|&(_, word)| word != 0) {
        report.fault("reserved", place(whose, at), hex(word), 0);
    }
}

/// A text's length, that it is zero-padded, and what it is.
pub(crate) fn text<const WORDS: usize>(
    report: &mut Report,
    (what, whose, at): (&str, &str, usize),
    text: &Text<WORDS>,
) -> Option<String> {
    let said = text.load();
    let length = read(&text.len);
    if said.is_none() {
        let expected = format!("the length of a UTF-8 text, up to {}", 8 * WORDS);
        report.fault(what, place(whose, at), format!("length {length}"), expected);
        return None;
    }
    let bytes = text.bytes.iter().flat_map(|word| read(word).to_le_bytes());
    let odd = (0_u64..).zip(bytes).skip(usize::try_from(length).unwrap_or(usize::MAX));
    if let Some((n, byte)) = odd.into_iter().find(|&(_, byte)| byte != 0) {
        let at = place(whose, at + 8 + n as usize);
        report.fault(what, at, format!("byte {byte} behind its {length} bytes"), 0);
    }
    said
}
