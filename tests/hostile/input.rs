//! Reads a fuzzer's input as decisions, and overwrites words by it.

use crate::common::Words;
use crate::fields::Fields;

/// Bytes that decide. Where they end, every decision is 0.
#[derive(Debug)]
pub(crate) struct Input<'a>(pub(crate) &'a [u8]);

impl Input<'_> {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::from(self.byte()) % end
    }

    pub(crate) fn pair(&mut self) -> usize {
        usize::from(self.byte()) << 8 | usize::from(self.byte())
    }

    pub(crate) fn word(&mut self) -> u64 {
        (0..8).fold(0, |word, n| word | u64::from(self.byte()) << (8 * n))
    }
}

/// Writes something over one field, or over anything.
pub(crate) fn mutate(words: &Words, fields: &Fields, input: &mut Input<'_>) {
    let group = input.byte();
    let n = input.pair();
    // One in eight is anywhere.
    let (index, parts) = match group % 8 {
        7 => (n % words.len(), &[(0, 63)][..]),
        _ => {
            let field = fields.pick(usize::from(group), n);
            (field.index, field.parts)
        }
    };
    let old = words.get(index);
    let how = input.byte();
    let new = match how % 12 {
        0 => input.word(),
        1 => u64::MAX,
        2 => 0,
        3 => words.get(input.pair() % words.len()),
        4 => old.wrapping_add(u64::from(input.byte())),
        5 => old.wrapping_sub(u64::from(input.byte())),
        6 => old ^ 1 << (input.byte() % 64),
        7 => old ^ u64::from(input.byte()) << (8 * input.below(8)),
        8 => 1_u64.rotate_right(input.byte().into()).wrapping_sub(input.byte().into()),
        _ => {
            // One part of it: small, large, one more, one less.
            let (low, high) = parts[input.below(parts.len())];
            let mask = u64::MAX >> (63 - (high - low));
            let part = old >> low & mask;
            let value = match how / 12 % 6 {
                0 => mask,
                1 => part.wrapping_add(1),
                2 => part.wrapping_sub(1),
                3 => input.word(),
                _ => input.byte().into(),
            };
            old & !(mask << low) | (value & mask) << low
        }
    };
    words.put(index, new);
}
