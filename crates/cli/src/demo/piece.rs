//! A message of the demo: a piece of the input, with the fields that account for
//! it.

use bytemuck::{Pod, Zeroable, bytes_of, bytes_of_mut, from_bytes, from_bytes_mut};
use crc32fast::Hasher;
use tombolo::Message;

/// The largest payload.
pub(crate) const MOST_BYTES: usize = 65_536;

/// The words before the payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Head {
    /// Counts each producer's messages.
    pub(crate) number: u64,
    /// When it was sent, as [`now`](super::orders::now) said; 0 if this one
    /// does not say.
    pub(crate) sent: u64,
    pub(crate) producer: u32,
    /// Bytes of the payload that count.
    pub(crate) length: u32,
    /// CRC-32 of the payload that counts, begun with the [seed](Self::seed).
    crc: u64,
}

const HEAD: usize = size_of::<Head>();

/// A message: a [`Head`], then the payload, `WORDS` words in all.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(transparent)]
pub(crate) struct Piece<const WORDS: usize>([u64; WORDS]);

impl<const WORDS: usize> Message for Piece<WORDS> {
    const SCHEMA: &'static str =
        "demo piece{number:u64,sent:u64,producer:u32,length:u32,crc:u64,payload}";
}

impl<const WORDS: usize> Piece<WORDS> {
    /// A message without a payload.
    pub(crate) fn new(producer: u16) -> Self {
        let mut piece = Self::zeroed();
        *piece.head_mut() = Head { producer: u32::from(producer), ..Head::default() };
        piece
    }

    pub(crate) fn head(&self) -> &Head {
        from_bytes(&bytes_of(self)[..HEAD])
    }

    fn head_mut(&mut self) -> &mut Head {
        from_bytes_mut(&mut bytes_of_mut(self)[..HEAD])
    }

    /// Makes it the producer's message of this number, sent at `sent`.
    #[inline]
    pub(crate) fn fill(&mut self, number: u64, sent: u64, payload: &[u8]) {
        bytes_of_mut(self)[HEAD..HEAD + payload.len()].copy_from_slice(payload);
        let head = self.head_mut();
        (head.number, head.sent, head.length) = (number, sent, payload.len() as u32);
        head.crc = head.checksum(payload);
    }

    /// The payload, if the checksum is right.
    #[inline]
    pub(crate) fn payload(&self) -> Option<&[u8]> {
        let head = self.head();
        let payload = bytes_of(self)[HEAD..].get(..head.length as usize)?;
        (head.checksum(payload) == head.crc).then_some(payload)
    }
}

impl Head {
    /// The other fields. Mixed into one word they cost a few cycles; in front
    /// of the payload they would cost as much as it does.
    fn seed(&self) -> u32 {
        let last = u64::from(self.producer) << 32 | u64::from(self.length);
        let mixed = [self.number, self.sent, last].into_iter().fold(0, |mixed: u64, field| {
            let mixed = (mixed ^ field).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            mixed ^ mixed >> 32
        });
        mixed as u32
    }

    fn checksum(&self, payload: &[u8]) -> u64 {
        let mut hasher = Hasher::new_with_initial(self.seed());
        hasher.update(payload);
        u64::from(hasher.finalize())
    }
}

/// Work with messages of a size that is known at compile time.
pub(crate) trait Job {
    type Outcome;

    fn run<const WORDS: usize>(self) -> Self::Outcome;
}

/// Runs the job with the smallest message that has room for `size` bytes.
pub(crate) fn sized<J: Job>(size: usize, job: J) -> J::Outcome {
    const fn words(size: usize) -> usize {
        (HEAD + size) / 8
    }
    match size {
        ..=8 => job.run::<{ words(8) }>(),
        9..=64 => job.run::<{ words(64) }>(),
        65..=256 => job.run::<{ words(256) }>(),
        257..=1_024 => job.run::<{ words(1_024) }>(),
        1_025..=4_096 => job.run::<{ words(4_096) }>(),
        4_097..=16_384 => job.run::<{ words(16_384) }>(),
        _ => job.run::<{ words(MOST_BYTES) }>(),
    }
}

/// Bytes of a message with room for `size` bytes.
pub(crate) fn bytes(size: usize) -> usize {
    struct Bytes;

    impl Job for Bytes {
        type Outcome = usize;

        fn run<const WORDS: usize>(self) -> usize {
            size_of::<Piece<WORDS>>()
        }
    }

    sized(size, Bytes)
}

/// The input as an endless stream, cut into pieces of one size.
#[derive(Debug)]
pub(crate) struct Input {
    /// The input, then as much of its repetition as the last piece needs.
    bytes: Vec<u8>,
    length: usize,
    size: usize,
}

impl Input {
    /// `None` if there is nothing to repeat.
    pub(crate) fn new(mut bytes: Vec<u8>, size: usize) -> Option<Self> {
        let length = bytes.len();
        if length == 0 {
            return None;
        }
        while bytes.len() < length + size {
            let more = (length + size - bytes.len()).min(length);
            bytes.extend_from_within(..more);
        }
        Some(Self { bytes, length, size })
    }

    /// Where a producer's first piece begins: each begins elsewhere.
    pub(crate) fn start(&self, producer: u16, producers: u16) -> usize {
        self.length / usize::from(producers.max(1)) * usize::from(producer)
    }

    /// Where the piece after the one at `offset` begins.
    pub(crate) fn next(&self, offset: usize) -> usize {
        (offset + self.size) % self.length
    }

    /// Where a producer's piece of this number begins.
    pub(crate) fn offset(&self, start: usize, number: u64) -> usize {
        let (length, size) = (self.length as u64, self.size as u64);
        ((start as u64 + number % length * (size % length)) % length) as usize
    }

    /// The piece that begins at `offset`, which is inside the input.
    pub(crate) fn piece(&self, offset: usize) -> &[u8] {
        &self.bytes[offset..offset + self.size]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_input_goes_on_where_the_last_piece_ended() {
        let input = Input::new(b"abcde".to_vec(), 3).unwrap();
        let mut offset = input.start(0, 1);
        let mut walked = Vec::new();
        for number in 0..7 {
            assert_eq!(offset, input.offset(input.start(0, 1), number));
            walked.extend_from_slice(input.piece(offset));
            offset = input.next(offset);
        }
        assert_eq!(walked, b"abcdeabcdeabcdeabcdea");
    }

    #[test]
    fn an_input_shorter_than_a_piece_is_repeated_within_it() {
        let input = Input::new(b"ab".to_vec(), 5).unwrap();
        assert_eq!(input.piece(0), b"ababa");
        assert_eq!(input.piece(input.next(0)), b"babab");
        assert!(Input::new(Vec::new(), 5).is_none());
    }

    #[test]
    fn any_changed_byte_is_found() {
        let mut piece = Piece::<12>::new(1);
        piece.fill(7, 99, b"payload");
        assert_eq!(piece.payload(), Some(&b"payload"[..]));
        assert_eq!((piece.head().number, piece.head().sent), (7, 99));
        for at in 0..HEAD + 7 {
            let mut changed = piece;
            bytes_of_mut(&mut changed)[at] ^= 0x10;
            assert_eq!(changed.payload(), None, "byte {at}");
        }
    }

    #[test]
    fn every_size_has_a_message_with_room_for_it() {
        for size in [1, 8, 9, 64, 65, 1_024, 1_025, 4_097, 16_385, MOST_BYTES] {
            assert!(bytes(size) >= HEAD + size);
        }
        assert_eq!(bytes(64), 96);
    }
}
