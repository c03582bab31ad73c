//! Names, the keys they hash to, and the fingerprints of types.
//!
//! All three are plain FNV-1a (64 bits), so that a client in any language
//! computes them in five lines.

use core::fmt;
use core::hash::Hasher as _;

use fnv::FnvHasher;

use crate::error::BadName;
use crate::sys::Key;

/// How many keys a name may fall back to where other programs are in the way.
pub(crate) const PROBES: u8 = 8;

/// A name of a segment or a channel: what a shell, a path and a log can
/// carry without quoting.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Name(Box<str>);

impl Name {
    /// Up to `limit` bytes of ASCII letters, digits and `. _ - / :`.
    pub(crate) fn new(name: &str, limit: usize) -> Result<Self, BadName> {
        let reason = if name.is_empty() {
            "it is empty".to_owned()
        } else if name.len() > limit {
            format!("it has {} bytes, and {limit} is the limit", name.len())
        } else if let Some(odd) = name.chars().find(|&c| !u8::try_from(c).is_ok_and(allowed)) {
            format!("{} is not allowed: use ASCII letters, digits and . _ - / :", described(odd))
        } else {
            return Ok(Self(name.into()));
        };
        Err(BadName { name: name.chars().take(limit).collect(), reason })
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The key of the nth probe: FNV-1a of `tombolo:`, the name and the byte
    /// n, folded to 31 bits; 1 where that gives zero.
    pub(crate) fn key(&self, probe: u8) -> Key {
        let mut hasher = FnvHasher::default();
        hasher.write(b"tombolo:");
        hasher.write(self.0.as_bytes());
        hasher.write(&[probe]);
        let hash = hasher.finish();
        let folded = ((hash >> 32) ^ hash) & 0x7FFF_FFFF;
        Key::new(i32::try_from(folded.max(1)).unwrap_or(1))
    }

    /// Whether a key is one of those.
    pub(crate) fn has_key(&self, key: Key) -> bool {
        (0..PROBES).any(|probe| self.key(probe) == key)
    }
}

/// The upper half of an anonymous segment's key. No name has a key with the
/// top bit set, and who clears away knows a set that nobody has finished.
const ANONYMOUS: u32 = 0xB0B1_0000;

/// A key for an anonymous segment: the lower half is random.
pub(crate) const fn anonymous_key(random: u64) -> Key {
    Key::new((ANONYMOUS | random as u32 & 0xFFFF).cast_signed())
}

/// Whether a key can only be an anonymous segment's.
pub(crate) const fn is_anonymous(key: Key) -> bool {
    key.raw().cast_unsigned() & 0xFFFF_0000 == ANONYMOUS
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A character that nobody may overlook, with its bytes.
fn described(odd: char) -> String {
    let what = if odd.is_ascii() { "byte" } else { "character" };
    let text = odd.to_string();
    let bytes: Vec<_> = text.bytes().map(|byte| format!("0x{byte:02x}")).collect();
    format!("the {what} {odd:?} ({})", bytes.join(" "))
}

const fn allowed(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'/' | b':')
}

/// The fingerprint of a type: FNV-1a of its schema, a zero byte, and its size
/// and alignment as 8 little-endian bytes each.
pub(crate) fn fingerprint(schema: &str, size: u64, align: u64) -> u64 {
    let mut hasher = FnvHasher::default();
    hasher.write(schema.as_bytes());
    hasher.write(&[0]);
    hasher.write(&size.to_le_bytes());
    hasher.write(&align.to_le_bytes());
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_positive_distinct_and_fixed_for_ever() {
        let name = Name::new("market", 120).unwrap();
        let keys: Vec<i32> = (0..PROBES).map(|probe| name.key(probe).raw()).collect();
        assert!(keys.iter().all(|&key| key > 0));
        let distinct: std::collections::HashSet<_> = keys.iter().collect();
        assert_eq!(distinct.len(), keys.len());
        // The format's own numbers: a change here breaks every client.
        assert_eq!(fingerprint("u64", 8, 8), 0x19AB_1CAE_229A_BBB6);
        assert_eq!(keys[..2], [0x5091_74CE, 0x5091_771D]);
    }

    #[test]
    fn what_is_wrong_with_a_name_can_be_seen() {
        for (name, said) in [
            ("a b", "the byte ' ' (0x20) is not allowed"),
            ("a\tb", "the byte '\\t' (0x09) is not allowed"),
            ("a\u{7f}", "the byte '\\u{7f}' (0x7f) is not allowed"),
            ("a'b", "the byte '\\'' (0x27) is not allowed"),
            ("zähler", "the character 'ä' (0xc3 0xa4) is not allowed"),
            ("a\u{a0}b", "the character '\\u{a0}' (0xc2 0xa0) is not allowed"),
        ] {
            let error = Name::new(name, 120).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn names_that_would_need_quoting_are_refused() {
        for bad in ["", "a b", "a\n", "ä", "a\0b", &"x".repeat(121)] {
            assert!(Name::new(bad, 120).is_err(), "{bad:?}");
        }
        for good in ["a", "team/market:2", "x_1-2.3", &"x".repeat(120)] {
            assert!(Name::new(good, 120).is_ok(), "{good:?}");
        }
    }
}
