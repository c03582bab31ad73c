//! The control messages: their content and their address.
//!
//! A message of the queue has a type, which is an address, and bytes: words,
//! little-endian as in the segment. Any process may have written it, so it is checked
//! completely before any of it is used.

use crate::ring::table::Member;
use crate::storage::OperatingState;

/// What every message begins with.
const MAGIC: u64 = u64::from_le_bytes(*b"TMBLMAIL");
/// Bytes before the payload.
const HEAD: usize = 56;
/// The most bytes of a payload.
pub(crate) const MAX_PAYLOAD: usize = 1_024;
/// The most bytes of a message.
pub(crate) const MAX_MAIL: usize = HEAD + MAX_PAYLOAD;

/// How urgent: which messages to a participant are received first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Band {
    /// What changes the state.
    Urgent,
    Ping,
    Bulk,
    /// To who has asked.
    Reply,
}

impl Band {
    /// Those of requests, the most urgent first.
    pub(crate) const REQUESTS: [Self; 3] = [Self::Urgent, Self::Ping, Self::Bulk];

    const fn code(self) -> i64 {
        match self {
            Self::Urgent => 0,
            Self::Ping => 1,
            Self::Bulk => 2,
            Self::Reply => 3,
        }
    }
}

const SLOT_BITS: u32 = 13;

/// The type of messages to one life of a participant, and never to another's.
pub(crate) const fn address(to: Member, band: Band) -> i64 {
    let life = (to.incarnation as u32 as i64) << (2 + SLOT_BITS);
    1 + (band.code() | (to.id as i64) << 2 | life)
}

/// Whether a type addresses this life, in any band.
pub(crate) const fn is_to(kind: i64, member: Member) -> bool {
    let first = address(member, Band::Urgent);
    first <= kind && kind <= address(member, Band::Reply)
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Ping,
    Stats,
    Pause,
    Resume,
    Drain,
    Shutdown,
    User,
}

impl Verb {
    const ALL: [Self; 7] = [
        Self::Ping,
        Self::Stats,
        Self::Pause,
        Self::Resume,
        Self::Drain,
        Self::Shutdown,
        Self::User,
    ];

    const fn code(self) -> u64 {
        self as u64 + 1
    }

    pub(crate) const fn band(self) -> Band {
        match self {
            Self::Pause | Self::Resume | Self::Drain | Self::Shutdown => Band::Urgent,
            Self::Ping => Band::Ping,
            Self::Stats | Self::User => Band::Bulk,
        }
    }

    /// Whether this state is what was asked for.
    pub(crate) fn is_obeyed_in(self, state: OperatingState) -> bool {
        match self {
            Self::Pause => state == OperatingState::Paused,
            Self::Drain => matches!(state, OperatingState::Draining | OperatingState::Drained),
            Self::Resume => state == OperatingState::Open,
            Self::Shutdown => state == OperatingState::Shutdown,
            Self::Ping | Self::Stats | Self::User => true,
        }
    }
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// A request.
    Asked,
    Done,
    /// The state is another by now.
    Superseded,
    /// The application takes no commands.
    NobodyTakes,
    /// The application has not taken the last ones yet.
    InboxFull,
}

impl Status {
    const ALL: [Self; 5] =
        [Self::Asked, Self::Done, Self::Superseded, Self::NobodyTakes, Self::InboxFull];
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mail {
    /// The segment's.
    pub(crate) generation: u64,
    /// The request's, and its reply's.
    pub(crate) id: u64,
    pub(crate) verb: Verb,
    pub(crate) status: Status,
    pub(crate) from: Member,
    /// When nobody waits for the reply any more.
    pub(crate) deadline: u64,
    pub(crate) payload: Vec<u8>,
}

impl Mail {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let words = [
            MAGIC,
            self.generation,
            self.id,
            self.verb.code() | (self.status as u64) << 16,
            u64::from(self.from.id),
            self.from.incarnation,
            self.deadline,
        ];
        words.into_iter().flat_map(u64::to_le_bytes).chain(self.payload.iter().copied()).collect()
    }

    /// `None` for what is not a message of this segment.
    pub(crate) fn read(bytes: &[u8], generation: u64) -> Option<Self> {
        let (head, payload) = bytes.split_at_checked(HEAD)?;
        let mut words = [0; HEAD / 8];
        for (word, chunk) in words.iter_mut().zip(head.as_chunks().0) {
            *word = u64::from_le_bytes(*chunk);
        }
        let [magic, of, id, what, slot, incarnation, deadline] = words;
        let verb = Verb::ALL.into_iter().find(|verb| verb.code() == what & 0xFFFF)?;
        let status = *Status::ALL.get(usize::try_from(what >> 16).ok()?)?;
        let incarnation = u32::try_from(incarnation).ok()?.into();
        let from = Member { id: u16::try_from(slot).ok()?, incarnation };
        let whole = magic == MAGIC && of == generation && payload.len() <= MAX_PAYLOAD;
        let payload = payload.to_vec();
        whole.then_some(Self { generation, id, verb, status, from, deadline, payload })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMBER: Member = Member { id: 4711, incarnation: 300 };

    #[test]
    fn an_address_is_one_lifes_and_one_bands() {
        let mut seen = std::collections::HashSet::new();
        for id in [0, 1, 8_191] {
            for incarnation in [0, 1, 2, u64::from(u32::MAX) - 1] {
                let member = Member { id, incarnation };
                for band in [Band::Urgent, Band::Ping, Band::Bulk, Band::Reply] {
                    let kind = address(member, band);
                    assert!(kind > 0 && seen.insert(kind));
                    assert!(is_to(kind, member));
                    assert!(!is_to(kind, Member { incarnation: incarnation + 1, ..member }));
                }
            }
        }
        assert_eq!(address(MEMBER, Band::Reply), 1 + 3 + 4 * 4711 + 300 * 32_768);
        assert!([i64::MIN, -1, 0, i64::MAX].into_iter().all(|kind| !is_to(kind, MEMBER)));
    }

    #[test]
    fn a_message_is_read_as_it_was_written_and_no_other() {
        let mail = Mail {
            generation: 7,
            id: 9,
            verb: Verb::User,
            status: Status::InboxFull,
            from: MEMBER,
            deadline: 11,
            payload: b"hello".to_vec(),
        };
        let bytes = mail.bytes();
        assert_eq!(Mail::read(&bytes, 7), Some(mail));
        assert_eq!(Mail::read(&bytes, 8), None);
        assert!((0..HEAD).all(|len| Mail::read(&bytes[..len], 7).is_none()));
        let mut long = bytes.clone();
        long.resize(MAX_MAIL + 1, 0);
        assert_eq!(Mail::read(&long, 7), None);
        // A wrong magic, generation, or a word out of its range.
        for at in (0..16).chain(27..32).chain(34..40).chain(44..48) {
            let mut other = bytes.clone();
            other[at] ^= 0x80;
            assert_eq!(Mail::read(&other, 7), None, "byte {at}");
        }
    }
}
