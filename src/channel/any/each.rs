//! What is done with whichever handle it is.

/// One of the handles, guards or iterators.
#[derive(Debug)]
pub(super) enum Any<S, M, SB, MB, B, BB, R, RB> {
    Spsc(S),
    Mpmc(M),
    SpscBytes(SB),
    MpmcBytes(MB),
    Broadcast(B),
    BroadcastBytes(BB),
    Reliable(R),
    ReliableBytes(RB),
}

/// The same generic type for each kind of channel.
macro_rules! any_of {
    ($of:ident$(<$life:lifetime>)?) => {
        Any<
            $of<$($life,)? Untyped, Spsc>,
            $of<$($life,)? Untyped, Mpmc>,
            $of<$($life,)? Bytes, Spsc>,
            $of<$($life,)? Bytes, Mpmc>,
            $of<$($life,)? Untyped, Broadcast>,
            $of<$($life,)? Bytes, Broadcast>,
            $of<$($life,)? Untyped, Reliable>,
            $of<$($life,)? Bytes, Reliable>,
        >
    };
}

/// Does the same with each of them.
macro_rules! each {
    ($any:expr, $one:ident => $what:expr) => {
        match $any {
            Any::Spsc($one) => $what,
            Any::Mpmc($one) => $what,
            Any::SpscBytes($one) => $what,
            Any::MpmcBytes($one) => $what,
            Any::Broadcast($one) => $what,
            Any::BroadcastBytes($one) => $what,
            Any::Reliable($one) => $what,
            Any::ReliableBytes($one) => $what,
        }
    };
    ($any:expr, $one:ident => Any: $what:expr) => {
        match $any {
            Any::Spsc($one) => Any::Spsc($what),
            Any::Mpmc($one) => Any::Mpmc($what),
            Any::SpscBytes($one) => Any::SpscBytes($what),
            Any::MpmcBytes($one) => Any::MpmcBytes($what),
            Any::Broadcast($one) => Any::Broadcast($what),
            Any::BroadcastBytes($one) => Any::BroadcastBytes($what),
            Any::Reliable($one) => Any::Reliable($what),
            Any::ReliableBytes($one) => Any::ReliableBytes($what),
        }
    };
}

/// What both handles can do.
macro_rules! of_both_sides {
    ($handle:ident, $typed:literal, $reliable:ident => $clone:expr) => {
        impl EndOf for $handle {
            fn end(&self) -> &Endpoint {
                each!(&self.0, end => end.end())
            }

            fn may_go_on(&self) -> bool {
                each!(&self.0, end => end.may_go_on())
            }

            fn in_flight(&self) -> bool {
                each!(&self.0, end => EndOf::in_flight(end))
            }
        }

        impl Member for $handle {
            fn part(&self) -> Part<'_> {
                Part::of_end(self)
            }
        }

        impl Handle for $handle {
            fn another(origin: &Origin) -> Result<Self, ChannelError> {
                Self::further(origin)
            }

            fn its_canceller(&self) -> Canceller {
                self.canceller()
            }

            fn its_readiness(&self) -> Result<&Readiness, Fault> {
                self.readiness()
            }

            fn others_hold(&self, messages: u64) {
                each!(&self.0, end => end.others_hold(messages));
            }

            fn end_use(self) -> Result<(), Fault> {
                self.close()
            }
        }

        impl $handle {
            #[doc = concat!("As [`", $typed, "::into_shared`](crate::", $typed, "::into_shared).")]
            pub fn into_shared(self) -> Shared<Self> {
                Shared::new(self)
            }

            /// Whether both handles belong to the same channel.
            pub fn same_channel(&self, other: &Self) -> bool {
                each!(&self.0, end => each!(&other.0, other => end.end.same_channel(&other.end)))
            }

            #[doc = concat!("As [`", $typed, "::bind_to_peer`](crate::", $typed, "::bind_to_peer).")]
            ///
            /// # Errors
            /// As there.
            pub fn bind_to_peer(&self, peer: impl Into<Option<crate::Peer>>) -> Result<(), Fault> {
                each!(&self.0, end => end.bind_to_peer(peer))
            }

            #[doc = concat!("As [`", $typed, "::canceller`](crate::", $typed, "::canceller).")]
            pub fn canceller(&self) -> Canceller {
                each!(&self.0, end => end.canceller())
            }

            #[doc = concat!("As [`", $typed, "::set_wait_strategy`](crate::", $typed, "::set_wait_strategy).")]
            pub fn set_wait_strategy(&self, strategy: $crate::wait::WaitStrategy) {
                each!(&self.0, end => end.set_wait_strategy(strategy));
            }

            #[doc = concat!("As [`", $typed, "::wait_strategy`](crate::", $typed, "::wait_strategy).")]
            pub fn wait_strategy(&self) -> $crate::wait::WaitStrategy {
                each!(&self.0, end => end.wait_strategy())
            }

            #[doc = concat!("As [`", $typed, "::readiness`](crate::", $typed, "::readiness).")]
            ///
            /// # Errors
            /// As there.
            pub fn readiness(&self) -> Result<&Readiness, Fault> {
                each!(&self.0, end => end.readiness())
            }

            /// Another handle of this channel in this process, for another thread. An SPSC
            /// channel has one handle of each side.
            ///
            /// # Errors
            /// [`ChannelError::RoleTaken`] for an SPSC channel; [`ChannelError::TooMany`],
            /// and for broadcast [`ChannelError::TooManyPublishers`] or
            /// [`ChannelError::TooManyReliable`]; and those of every operation.
            pub fn try_clone(&self) -> Result<Self, ChannelError> {
                Ok(Self(match &self.0 {
                    Any::Spsc(end) => return Err(end.end.role_taken()),
                    Any::SpscBytes(end) => return Err(end.end.role_taken()),
                    Any::Mpmc(end) => Any::Mpmc(end.try_clone()?),
                    Any::MpmcBytes(end) => Any::MpmcBytes(end.try_clone()?),
                    Any::Broadcast(end) => Any::Broadcast(end.try_clone()?),
                    Any::BroadcastBytes(end) => Any::BroadcastBytes(end.try_clone()?),
                    Any::Reliable($reliable) => Any::Reliable($clone),
                    Any::ReliableBytes($reliable) => Any::ReliableBytes($clone),
                }))
            }

            #[doc = concat!("As [`", $typed, "::close`](crate::", $typed, "::close).")]
            ///
            /// # Errors
            /// As there.
            pub fn close(self) -> Result<(), Fault> {
                each!(self.0, end => end.close())
            }

            /// How many bytes a message has; of messages of any length, the longest.
            pub fn element_size(&self) -> usize {
                each!(&self.0, end => end.end.cells().longest())
            }

            /// How many messages are in the channel, now or a moment ago.
            pub fn len(&self) -> usize {
                each!(&self.0, end => end.len())
            }

            /// Whether [`len`](Self::len) is zero. May have changed already.
            pub fn is_empty(&self) -> bool {
                self.len() == 0
            }

            /// Whether the channel is full. May have changed already.
            pub fn is_full(&self) -> bool {
                self.len() == self.capacity()
            }

            /// How many messages the channel holds; of bytes in an SPSC channel, how many
            /// of the longest.
            pub fn capacity(&self) -> usize {
                each!(&self.0, end => end.capacity())
            }
        }

        impl core::fmt::Debug for $handle {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                each!(&self.0, end => f.debug_tuple(stringify!($handle)).field(&end.end).finish())
            }
        }
    };
}

impl<T, S, M, SB, MB, B, BB, R, RB> Iterator for Any<S, M, SB, MB, B, BB, R, RB>
where
    S: Iterator<Item = T>,
    M: Iterator<Item = T>,
    SB: Iterator<Item = T>,
    MB: Iterator<Item = T>,
    B: Iterator<Item = T>,
    BB: Iterator<Item = T>,
    R: Iterator<Item = T>,
    RB: Iterator<Item = T>,
{
    type Item = T;

    fn next(&mut self) -> Option<T> {
        each!(self, messages => messages.next())
    }
}

pub(super) use {any_of, each, of_both_sides};
