//! Records which messages have come: a bit for each, in chunks, so that the memory
//! does not grow with the length of the run.
//!
//! A consumer keeps one chunk of numbers for each producer, and hands it over when
//! a number beyond it comes. A late number opens its chunk again, so nothing
//! depends on the order. The ledger overlays the consumers' chunks: a bit that is
//! set twice is a duplicate, and a chunk with all bits set is not kept.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// Words of a chunk.
pub(crate) const WORDS: usize = 1_024;
const BITS: u64 = 64 * WORDS as u64;

/// A chunk's index and its words.
pub(crate) type Chunk = (u64, Vec<u64>);

/// The numbers of one producer that one consumer has received lately.
#[derive(Debug)]
pub(crate) struct Marks {
    chunk: u64,
    words: Vec<u64>,
}

impl Marks {
    pub(crate) fn new() -> Self {
        Self { chunk: 0, words: vec![0; WORDS] }
    }

    /// Marks a number. Says whether it is new to this chunk, and gives back
    /// the chunk before if the number is not in it.
    #[inline]
    pub(crate) fn mark(&mut self, number: u64) -> (bool, Option<Chunk>) {
        let (chunk, bit) = (number / BITS, number % BITS);
        let before = (chunk != self.chunk).then(|| self.turn(chunk));
        let mask = 1 << (bit % 64);
        let Some(word) = self.words.get_mut((bit / 64) as usize) else {
            return (true, before);
        };
        let new = *word & mask == 0;
        *word |= mask;
        (new, before)
    }

    /// Turns to another chunk and gives back the one before.
    #[cold]
    pub(crate) fn turn(&mut self, chunk: u64) -> Chunk {
        let words = std::mem::replace(&mut self.words, vec![0; WORDS]);
        (std::mem::replace(&mut self.chunk, chunk), words)
    }
}

/// Everything that has been received of one producer.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// `None` is a chunk with all its bits.
    chunks: HashMap<u64, Option<Vec<u64>>>,
    received: u64,
    duplicated: u64,
}

impl Ledger {
    /// How many different messages.
    pub(crate) const fn received(&self) -> u64 {
        self.received
    }

    /// How many of them came again to another consumer.
    pub(crate) const fn duplicated(&self) -> u64 {
        self.duplicated
    }

    /// Enters what a consumer has received.
    pub(crate) fn enter(&mut self, chunk: u64, words: Vec<u64>) {
        let ones = |words: &[u64]| words.iter().map(|word| u64::from(word.count_ones())).sum();
        let came: u64 = ones(&words);
        let known = match self.chunks.entry(chunk) {
            Entry::Vacant(entry) => {
                self.received += came;
                entry.insert(Some(words))
            }
            Entry::Occupied(entry) => {
                let known = entry.into_mut();
                let Some(all) = known else {
                    self.duplicated += came;
                    return;
                };
                let before: u64 = ones(all);
                for (all, word) in all.iter_mut().zip(words) {
                    *all |= word;
                }
                let new = ones(all) - before;
                self.received += new;
                self.duplicated += came - new;
                known
            }
        };
        if known.as_ref().is_some_and(|words| words.iter().all(|&word| word == u64::MAX)) {
            *known = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The counts for these numbers, each received by one of the consumers.
    fn account(consumers: &[&[u64]]) -> (u64, u64) {
        let mut ledger = Ledger::default();
        let mut again = 0;
        for numbers in consumers {
            let mut marks = Marks::new();
            for &number in *numbers {
                let (new, before) = marks.mark(number);
                again += u64::from(!new);
                if let Some((chunk, words)) = before {
                    ledger.enter(chunk, words);
                }
            }
            let (chunk, words) = marks.turn(0);
            ledger.enter(chunk, words);
        }
        (ledger.received(), ledger.duplicated() + again)
    }

    #[test]
    fn every_number_is_counted_once_and_every_repetition_too() {
        assert_eq!(account(&[&[0, 1, 2], &[3]]), (4, 0));
        assert_eq!(account(&[&[0, 1, 1], &[1]]), (2, 2));
        assert_eq!(account(&[&[0, BITS, 1, 0]]), (3, 1));
        assert_eq!(account(&[&[u64::MAX], &[u64::MAX]]), (1, 1));
    }

    #[test]
    fn a_chunk_with_all_its_bits_still_tells_duplicates() {
        let all = (0..2 * BITS).collect::<Vec<_>>();
        assert_eq!(account(&[&all, &[5, BITS + 5]]), (2 * BITS, 2));
        let (odd, even): (Vec<_>, Vec<_>) = all.iter().partition(|&&number| number % 2 == 1);
        assert_eq!(account(&[&odd, &even]), (2 * BITS, 0));
    }
}
