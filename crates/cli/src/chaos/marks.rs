//! A set of numbers that contains most of the small ones.

use std::collections::VecDeque;

#[derive(Debug, Default)]
pub(crate) struct Marks {
    /// All before `64 * full` are in it.
    full: u64,
    words: VecDeque<u64>,
}

impl Marks {
    pub(crate) fn insert(&mut self, number: u64) {
        let Some(word) = (number / 64).checked_sub(self.full) else {
            return;
        };
        let word = word as usize;
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        if let Some(word) = self.words.get_mut(word) {
            *word |= 1 << (number % 64);
        }
        while self.words.front() == Some(&u64::MAX) {
            self.words.pop_front();
            self.full += 1;
        }
    }

    pub(crate) fn contains(&self, number: u64) -> bool {
        let Some(word) = (number / 64).checked_sub(self.full) else {
            return true;
        };
        self.words.get(word as usize).is_some_and(|word| word >> (number % 64) & 1 == 1)
    }

    /// Those before `end` that are not in it.
    pub(crate) fn missing(&self, end: u64) -> impl Iterator<Item = u64> + '_ {
        (64 * self.full..end).filter(|&number| !self.contains(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_inserted_is_in_it_and_nothing_else() {
        let mut marks = Marks::default();
        let absent = [3, 64, 130, 1_000];
        for number in (0..2_000).rev().chain(0..2_000) {
            if !absent.contains(&number) {
                marks.insert(number);
            }
        }
        assert!((0..2_000).all(|number| marks.contains(number) != absent.contains(&number)));
        assert_eq!(marks.missing(2_002).collect::<Vec<_>>(), [3, 64, 130, 1_000, 2_000, 2_001]);
        marks.insert(3);
        assert_eq!(marks.missing(131).collect::<Vec<_>>(), [64, 130]);
    }
}
