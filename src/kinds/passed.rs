//! How much has gone into a channel, for people: from words that the algorithms keep anyway.

/// How much has gone into a channel since it was made: see
/// [`ChannelInfo::passed`](crate::ChannelInfo::passed). No operation counts it; it is where
/// the channel's positions are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Passed {
    /// So many messages. Of an MPMC channel, also those whose senders have died over them, or
    /// have given them up.
    Messages(u64),
    /// So many bytes, with 8 for each message, and what is left free at the ring's end: of an
    /// SPSC channel of bytes, where nobody counts messages.
    Bytes(u64),
    /// So many calls, modulo 2^30: each slot of a service counts its own.
    Calls(u64),
}

impl Passed {
    /// From how much on the number begins again at 0; `None` where that never happens.
    const fn modulus(self) -> Option<u64> {
        match self {
            Self::Calls(_) => Some(1 << 30),
            Self::Messages(_) | Self::Bytes(_) => None,
        }
    }

    /// The number, whatever it counts.
    pub const fn count(self) -> u64 {
        match self {
            Self::Messages(count) | Self::Bytes(count) | Self::Calls(count) => count,
        }
    }

    /// How much has gone in since `before`, which was the same channel's. It is 0 if less has
    /// than before: then somebody has written over the positions.
    pub const fn since(self, before: Self) -> u64 {
        match self.modulus() {
            Some(modulus) => self.count().wrapping_sub(before.count()) % modulus,
            None => self.count().saturating_sub(before.count()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_gone_in_since_is_right_where_the_count_begins_again() {
        let calls = Passed::Calls;
        assert_eq!(calls(3).since(calls((1 << 30) - 2)), 5);
        assert_eq!(Passed::Messages(7).since(Passed::Messages(2)), 5);
        assert_eq!(Passed::Messages(2).since(Passed::Messages(7)), 0);
    }
}
