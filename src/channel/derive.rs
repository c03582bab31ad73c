//! Support for `#[derive(Message)]`. It is no part of the interface.

#![allow(missing_docs)]

pub use bytemuck;

use bytemuck::{AnyBitPattern, CheckedBitPattern, NoUninit};

use crate::kinds::message::Message;
use crate::storage::layout::SCHEMA_BYTES;

/// A schema, put together by the compiler. One that is too long ends with the
/// hash of all of it.
#[derive(Debug)]
pub struct Schema {
    bytes: [u8; SCHEMA_BYTES],
    used: usize,
    hash: u64,
    first: bool,
}

/// `…` and a hash.
const ENDING: usize = 3 + 16;

impl Schema {
    pub const fn new(begin: &str) -> Self {
        // FNV-1a, as all of Tombolo's hashes.
        let hash = 0xcbf2_9ce4_8422_2325;
        Self { bytes: [0; SCHEMA_BYTES], used: 0, hash, first: true }.text(begin)
    }

    const fn text(mut self, text: &str) -> Self {
        let text = text.as_bytes();
        let mut at = 0;
        while at < text.len() {
            self.hash = (self.hash ^ text[at] as u64).wrapping_mul(0x0100_0000_01b3);
            if self.used < SCHEMA_BYTES {
                self.bytes[self.used] = text[at];
            }
            self.used += 1;
            at += 1;
        }
        self
    }

    const fn number(self, number: i128) -> Self {
        let signed = if number < 0 { self.text("-") } else { self };
        let mut digits = [0; 40];
        let (mut rest, mut first) = (number.unsigned_abs(), digits.len());
        loop {
            first -= 1;
            digits[first] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        match core::str::from_utf8(digits.split_at(first).1) {
            Ok(digits) => signed.text(digits),
            Err(_) => signed,
        }
    }

    const fn comma(mut self) -> Self {
        let first = self.first;
        self.first = false;
        if first { self } else { self.text(",") }
    }

    pub const fn field<T: Message>(self, name: &str) -> Self {
        let named = self.comma().text(name).text(":").text(T::SCHEMA);
        // The size of the whole does not tell how long each of two arrays is.
        if T::LENGTH == 1 { named } else { named.text("[").number(T::LENGTH as i128).text("]") }
    }

    pub const fn value(self, name: &str, value: i128) -> Self {
        self.comma().text(name).text("=").number(value)
    }

    pub const fn end(self) -> Self {
        let mut all = self.text("}");
        if all.used <= SCHEMA_BYTES {
            return all;
        }
        all.used = SCHEMA_BYTES - ENDING;
        // Not within a character.
        while all.bytes[all.used] & 0xc0 == 0x80 {
            all.used -= 1;
        }
        let (hash, mut shift) = (all.hash, 64);
        all = all.text("…");
        while shift > 0 {
            shift -= 4;
            let digit = (hash >> shift & 0xf) as usize;
            all = all.text("0123456789abcdef".split_at(digit).1.split_at(1).0);
        }
        all
    }

    pub const fn as_str(&self) -> &str {
        let used = if self.used < SCHEMA_BYTES { self.used } else { SCHEMA_BYTES };
        match core::str::from_utf8(self.bytes.split_at(used).0) {
            Ok(text) => text,
            Err(_) => "",
        }
    }
}

/// Where a field is in its struct.
#[derive(Debug)]
pub struct Field {
    pub name: &'static str,
    pub at: usize,
    pub size: usize,
}

/// Ends the compilation where a struct has bytes that are no field's.
pub const fn no_padding(name: &str, size: usize, fields: &[Field]) {
    let mut index = 0;
    while index < fields.len() {
        let end = fields[index].at + fields[index].size;
        let next = if index + 1 < fields.len() { fields[index + 1].at } else { size };
        let gap = next.saturating_sub(end);
        let said = Schema::new("`")
            .text(name)
            .text("` has ")
            .number(gap as i128)
            .text(" bytes of padding after `")
            .text(fields[index].name)
            .text(
                "`: order the fields, the largest alignment first, or add a field there, as in \
                   `_reserved: [u8; ",
            )
            .number(gap as i128)
            .text("]`");
        assert!(next == end, "{}", said.as_str());
        index += 1;
    }
}

/// Ends the compilation where an enum is larger than its integer.
pub const fn same_size(of: usize, integer: usize) {
    assert!(of == integer, "the enum is larger than its integer: take its #[repr(align)] away");
}

/// A field of a message that is checked.
pub const fn checked<T: NoUninit + CheckedBitPattern>() {}

/// A field of a message that can be used in place.
pub const fn any_bits<T: NoUninit + AnyBitPattern>() {}
