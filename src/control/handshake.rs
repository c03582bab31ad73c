//! The records by which processes find a segment through a pipe or a FIFO. All
//! have one size, far below `PIPE_BUF`. So each is written completely or not at
//! all, even if several processes write or one is killed.
//!
//! ```text
//!  word  0       1         2       3            4
//!        magic   version   first   second       check
//! ```
//!
//! Words are little-endian. The check is FNV-1a of the words before it. Magic,
//! version and check have the same place in every version.

use core::hash::Hasher as _;

use fnv::FnvHasher;

/// The bytes of a record.
pub(crate) const BYTES: usize = 8 * WORDS;
const WORDS: usize = 5;

/// The only version that this build writes, and understands.
pub(crate) const VERSION: u64 = 1;

/// The purpose of a record: its first eight bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A client asks; first: its token.
    Request,
    /// A server answers; first: the segment's id; second: its generation.
    Offer,
    /// A server answers that it has no segment.
    Refusal,
    /// A parent hands a segment over. The words are those of an offer.
    Handover,
    /// A child has joined. First: its slot plus one; second: its incarnation.
    Joined,
}

impl Purpose {
    const fn magic(self) -> u64 {
        u64::from_le_bytes(*match self {
            Self::Request => b"tmb-ask\n",
            Self::Offer => b"tmb-seg\n",
            Self::Refusal => b"tmb-not\n",
            Self::Handover => b"tmb-own\n",
            Self::Joined => b"tmb-got\n",
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Handshake {
    pub(crate) purpose: Purpose,
    /// The version that its writer speaks.
    pub(crate) version: u64,
    pub(crate) first: u64,
    pub(crate) second: u64,
}

impl Handshake {
    pub(crate) const fn new(purpose: Purpose, first: u64, second: u64) -> Self {
        Self { purpose, version: VERSION, first, second }
    }

    /// A record that names this segment.
    pub(crate) const fn segment(purpose: Purpose, id: i32, generation: u64) -> Self {
        Self::new(purpose, id.cast_unsigned() as u64, generation)
    }

    /// The segment's id.
    pub(crate) const fn id(&self) -> i32 {
        (self.first as u32).cast_signed()
    }

    pub(crate) fn to_bytes(self) -> [u8; BYTES] {
        let words = [self.purpose.magic(), self.version, self.first, self.second];
        let mut bytes = [0; BYTES];
        let check = check(words);
        for (place, word) in bytes.chunks_exact_mut(8).zip(words.into_iter().chain([check])) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// The record at the beginning of `bytes`, if there is one for any of these
    /// purposes.
    pub(crate) fn read(bytes: &[u8], purposes: &[Purpose]) -> Option<Self> {
        let mut words = bytes
            .get(..BYTES)?
            .chunks_exact(8)
            .map(|word| word.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)));
        let words: [u64; WORDS] = core::array::from_fn(|_| words.next().unwrap_or(0));
        let [magic, version, first, second, sum] = words;
        let purpose = *purposes.iter().find(|purpose| purpose.magic() == magic)?;
        let whole = check([magic, version, first, second]) == sum;
        whole.then_some(Self { purpose, version, first, second })
    }
}

fn check(words: [u64; WORDS - 1]) -> u64 {
    let mut hasher = FnvHasher::default();
    words.iter().for_each(|word| hasher.write(&word.to_le_bytes()));
    hasher.finish()
}

/// Finds the records in a stream of bytes that may contain anything else.
///
/// Writers write each record in one piece. So the decoder skips other bytes one by
/// one, and finds every whole record that has arrived, whatever came before it: at
/// each earlier position it has enough bytes to see that no record begins there.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    bytes: Vec<u8>,
    /// How many bytes belonged to no record.
    pub(crate) skipped: u64,
}

impl Decoder {
    /// Adds bytes, and calls `found` with each record that is whole now.
    pub(crate) fn decode(
        &mut self,
        bytes: &[u8],
        purpose: Purpose,
        mut found: impl FnMut(Handshake),
    ) {
        self.bytes.extend_from_slice(bytes);
        let mut at = 0;
        while self.bytes.len() - at >= BYTES {
            match Handshake::read(self.bytes.get(at..).unwrap_or(&[]), &[purpose]) {
                Some(record) => {
                    found(record);
                    at += BYTES;
                }
                None => {
                    self.skipped += 1;
                    at += 1;
                }
            }
        }
        self.bytes.drain(..at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(token: u64) -> [u8; BYTES] {
        Handshake::new(Purpose::Request, token, 0).to_bytes()
    }

    #[test]
    fn every_record_is_found_in_whatever_surrounds_it() {
        let whole = request(1);
        let mut stream = Vec::new();
        let mut junk = 0;
        // Beginnings of records, ends of records, one with a wrong byte.
        let mut wrong = request(9);
        wrong[17] ^= 1;
        let foreign = Handshake::new(Purpose::Offer, 5, 5).to_bytes();
        for (token, other) in [&whole[..39], &whole[3..], &wrong, &foreign, b"\n", &whole[..8], b""]
            .into_iter()
            .enumerate()
        {
            stream.extend_from_slice(other);
            stream.extend(request(token as u64 + 100));
            junk += other.len() as u64;
        }
        for step in [1, 7, 40, 41, 4_096] {
            let (mut decoder, mut tokens) = (Decoder::default(), Vec::new());
            for part in stream.chunks(step) {
                decoder.decode(part, Purpose::Request, |record| tokens.push(record.first));
            }
            assert_eq!(tokens, [100, 101, 102, 103, 104, 105, 106], "in steps of {step}");
            assert_eq!(decoder.skipped, junk);
            assert!(decoder.bytes.is_empty());
        }
    }

    #[test]
    fn the_bytes_are_those_of_the_format() {
        let bytes = Handshake::segment(Purpose::Offer, 7, 0x1122).to_bytes();
        assert_eq!(&bytes[..8], b"tmb-seg\n");
        assert_eq!(
            bytes[8..32],
            [[1, 0, 0, 0, 0, 0, 0, 0], [7, 0, 0, 0, 0, 0, 0, 0], [0x22, 0x11, 0, 0, 0, 0, 0, 0]]
                .concat()
        );
        let read = Handshake::read(&bytes, &[Purpose::Refusal, Purpose::Offer]).unwrap();
        assert_eq!((read.id(), read.second, read.version), (7, 0x1122, VERSION));
        assert_eq!(Handshake::read(&bytes, &[Purpose::Request]), None);
    }
}
