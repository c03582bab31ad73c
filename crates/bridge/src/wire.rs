//! The bytes on the way. A far side need not be Tombolo: a client of Zenoh reads and writes them
//! with what is said here.
//!
//! What goes together is one put or one reply. Its payload is the messages, one after the other. Its
//! attachment is a header, of little-endian numbers:
//!
//! ```text
//!   0  magic        4 bytes  "TBR1"
//!   4  form         u8       0: of a broadcast channel; 1: of a queue
//!   5  flags        u8       1: lengths follow; 2: marks follow
//!   6  –            u16      0
//!   8  count        u32      how many messages; may be 0, and is at most 65,536
//!  12  –            u32      0
//!  16  fingerprint  u64      of the type of the messages, as the description has it
//!  24  origin       16 bytes the life of the segment that the messages come from
//!  40  stream       u64      broadcast: the life of the exporter; queue: the session
//!  48  seq          u64      the number of the first message
//!  56  lost         u64      broadcast: so many were missing in the stream until here that had no number
//!  64  lengths      u32 × count, of messages of any length; without them, all have one size
//!   …  marks        u8 × count, of queues: how often the message may have been delivered before
//! ```
//!
//! A put without an attachment is one message, whole.

use std::fmt;

const MAGIC: [u8; 4] = *b"TBR1";
const FIXED: usize = 64;
const LENGTHS: u8 = 1;
const MARKS: u8 = 2;
/// So many messages go together at most. A peer decides nothing bigger.
pub(crate) const MOST: usize = 1 << 16;

/// Of what the messages are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Of a broadcast channel.
    Broadcast,
    /// Of a queue.
    Queue,
}

/// What a segment's life is called on the way.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin(pub [u8; 16]);

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Origin {
    /// From its 32 digits.
    pub(crate) fn parse(digits: &str) -> Option<Self> {
        let mut bytes = [0; 16];
        for (n, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(digits.get(2 * n..2 * n + 2)?, 16).ok()?;
        }
        Some(Self(bytes))
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// What is said of the messages that go together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Of what they are.
    pub form: Form,
    /// The fingerprint of their type.
    pub fingerprint: u64,
    /// Where they come from.
    pub origin: Origin,
    /// The life of the exporter, or the session.
    pub stream: u64,
    /// The number of the first one.
    pub seq: u64,
    /// So many messages were missing in this stream until here that had no number: the channel that
    /// they come from says so. It only grows, so a put that is lost hides none.
    pub lost: u64,
    /// How many messages there are.
    pub count: u32,
    /// How long each is; `None`: all have one size.
    pub lengths: Option<Vec<u32>>,
    /// How often each may have been delivered before; `None`: never.
    pub marks: Option<Vec<u8>>,
}

impl Header {
    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let lengths = self.lengths.as_deref().unwrap_or_default();
        let marks = self.marks.as_deref().unwrap_or_default();
        let mut bytes = Vec::with_capacity(FIXED + 4 * lengths.len() + marks.len());
        bytes.extend_from_slice(&MAGIC);
        bytes.push(u8::from(self.form == Form::Queue));
        let flag = |there: bool, flag| if there { flag } else { 0 };
        bytes.push(flag(self.lengths.is_some(), LENGTHS) | flag(self.marks.is_some(), MARKS));
        bytes.extend_from_slice(&[0; 2]);
        bytes.extend_from_slice(&self.count.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&self.fingerprint.to_le_bytes());
        bytes.extend_from_slice(&self.origin.0);
        for number in [self.stream, self.seq, self.lost] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        lengths.iter().for_each(|length| bytes.extend_from_slice(&length.to_le_bytes()));
        bytes.extend_from_slice(marks);
        bytes
    }

    /// Reads one, whatever the bytes are.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn decode(bytes: &[u8]) -> Result<Self, &'static str> {
        let (fixed, rest) = bytes.split_at_checked(FIXED).ok_or("a header is too short")?;
        if !fixed.starts_with(&MAGIC) {
            return Err("a header begins with other bytes than TBR1");
        }
        let form = match fixed.get(4) {
            Some(0) => Form::Broadcast,
            Some(1) => Form::Queue,
            _ => return Err("a header has an unknown form"),
        };
        let flags = fixed.get(5).copied().unwrap_or_default();
        let count = number::<4>(fixed, 8).map_or(0, u32::from_le_bytes);
        let many = usize::try_from(count).ok().filter(|&many| many <= MOST);
        let many = many.ok_or("a header counts too many messages")?;
        let (lengths, rest) = if flags & LENGTHS == 0 {
            (None, rest)
        } else {
            let size = many.checked_mul(4).ok_or("a header counts too many messages")?;
            let (lengths, rest) =
                rest.split_at_checked(size).ok_or("a header lacks lengths of messages")?;
            let (each, _) = lengths.as_chunks::<4>();
            (Some(each.iter().map(|length| u32::from_le_bytes(*length)).collect()), rest)
        };
        let marks = if flags & MARKS == 0 {
            None
        } else {
            Some(rest.get(..many).ok_or("a header lacks marks of messages")?.to_vec())
        };
        let long = |at| number::<8>(fixed, at).map_or(0, u64::from_le_bytes);
        Ok(Self {
            form,
            fingerprint: long(16),
            origin: Origin(number::<16>(fixed, 24).unwrap_or_default()),
            stream: long(40),
            seq: long(48),
            lost: long(56),
            count,
            lengths,
            marks,
        })
    }

    /// The messages, if the payload is theirs; `size` is that of an element.
    pub fn messages<'p>(&self, payload: &'p [u8], size: usize) -> Option<Vec<&'p [u8]>> {
        let Some(lengths) = &self.lengths else {
            let whole = usize::try_from(self.count).ok()?.checked_mul(size)? == payload.len();
            // Of no bytes: there are none, or each of them has none.
            return match size {
                _ if !whole => None,
                0 => Some(vec![&[]; usize::try_from(self.count).ok()?]),
                size => Some(payload.chunks_exact(size).collect()),
            };
        };
        let mut left = payload;
        let mut messages = Vec::with_capacity(lengths.len());
        for &length in lengths {
            let (message, rest) = left.split_at_checked(usize::try_from(length).ok()?)?;
            messages.push(message);
            left = rest;
        }
        left.is_empty().then_some(messages)
    }

    /// How often message `n` may have been delivered before.
    pub fn mark(&self, n: usize) -> u8 {
        self.marks.as_ref().and_then(|marks| marks.get(n)).copied().unwrap_or_default()
    }
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk::<N>().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header {
            form: Form::Queue,
            fingerprint: 7,
            origin: Origin([9; 16]),
            stream: 1,
            seq: u64::MAX,
            lost: 3,
            count: 2,
            lengths: Some(vec![1, 2]),
            marks: Some(vec![0, 3]),
        }
    }

    #[test]
    fn a_header_is_read_as_it_was_written() {
        let header = header();
        assert_eq!(Header::decode(&header.encode()), Ok(header.clone()));
        assert_eq!(header.messages(b"abc", 0), Some(vec![&b"a"[..], b"bc"]));
        assert_eq!(header.messages(b"abcd", 0), None);
        assert_eq!((header.mark(1), header.mark(5)), (3, 0));
    }

    #[test]
    fn nobody_afar_makes_lists_longer_than_what_goes_together() {
        let many = Header { count: 1 << 16, lengths: None, marks: None, ..header() };
        assert_eq!(Header::decode(&many.encode()), Ok(many.clone()));
        assert!(Header::decode(&Header { count: (1 << 16) + 1, ..many }.encode()).is_err());
    }

    #[test]
    fn no_bytes_make_a_panic_or_more_messages_than_there_are() {
        let whole = header().encode();
        for end in 0..whole.len() {
            assert!(Header::decode(&whole[..end]).is_err());
        }
        for at in 0..whole.len() {
            for bits in [1, 0x80, 0xFF] {
                let mut other = whole.clone();
                other[at] ^= bits;
                if let Ok(read) = Header::decode(&other) {
                    let _ = read.messages(b"abc", usize::MAX);
                    let _ = read.messages(b"abc", 0);
                }
            }
        }
    }
}
