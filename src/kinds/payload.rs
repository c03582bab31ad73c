//! The payload of a channel: values of a type, or bytes.

#![allow(unsafe_code)]

use core::fmt::Debug;

use bytemuck::{CheckedBitPattern, NoUninit, Pod, Zeroable};

use super::message::Message;
use crate::storage::{ByteSpan, CopyOut, ElementBytes, Elements};

/// Messages of bytes, of any length up to the channel's longest: the payload of a
/// [`ByteSender`](crate::ByteSender) and a [`ByteReceiver`](crate::ByteReceiver).
///
/// It only names the payload; there is nothing in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bytes;

// SAFETY: it has no bytes, so they are all valid.
unsafe impl Zeroable for Bytes {}
// SAFETY: as above, and none is uninitialised.
unsafe impl Pod for Bytes {}

/// Elements of a size that is known only when the program runs, as bytes: the payload of
/// the handles that [`Segment::open_channel`](crate::Segment::open_channel) opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Untyped;

/// Requests and replies of a service, elements or bytes, of which that is known only when the
/// program runs: the payload of an [`AnyClient`](crate::AnyClient) and an
/// [`AnyServer`](crate::AnyServer).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnyMessage;

// SAFETY: it has no bytes, so they are all valid.
unsafe impl Zeroable for AnyMessage {}
// SAFETY: as above, and none is uninitialised.
unsafe impl Pod for AnyMessage {}

/// The place of a message that is an element, or bytes.
#[derive(Clone, Copy, Debug)]
pub enum AnyPlace<'a> {
    Element(ElementBytes<'a>),
    Bytes(ByteSpan<'a>),
}

// SAFETY: it has no bytes, so they are all valid.
unsafe impl Zeroable for Untyped {}
// SAFETY: as above, and none is uninitialised.
unsafe impl Pod for Untyped {}

/// In which forms a payload is given to a handle, and comes out of one.
pub trait Form: Copy + 'static {
    /// A message to be sent: a `T` by value, or `&[u8]`.
    type Sent<'m>;
    /// What an error gives back of a message that was not sent: a `T`, or `()`,
    /// because the caller still has the bytes.
    type Unsent;
    /// A message that was received: a `T`, or a `Vec<u8>`.
    type Owned;
    /// Where a message is copied to. Bytes are added at its end.
    type Out;
    /// A message's place in memory.
    type Place<'a>: Copy + Debug;

    fn unsent(message: &Self::Sent<'_>) -> Self::Unsent;
    /// A message that is kept, as it is sent.
    #[cfg(feature = "async")]
    fn lent(kept: &Self::Owned) -> Self::Sent<'_>;
    fn out() -> Self::Out
    where
        Self: CheckedBitPattern;
    /// What was copied out; `None` if the bytes are not a value of the type.
    fn owned(out: Self::Out) -> Option<Self::Owned>
    where
        Self: CheckedBitPattern;
    /// How much is there, and to leave no more than that: what was copied since does not
    /// count.
    fn filled(_out: &Self::Out) -> usize {
        0
    }
    fn cut(_out: &mut Self::Out, _to: usize) {}
    /// What the directory says of the messages: what the bytes mean, and how they are
    /// aligned; of how many bytes each is, if that is always the same.
    const SCHEMA: &'static str;
    const ALIGN: usize;
    const SIZE: Option<usize>;
    /// Whether a message has exactly as many bytes as an element, and not fewer.
    const EXACT: bool = true;

    /// How many bytes a message has, where their number varies.
    fn length(_message: &Self::Sent<'_>) -> Option<usize> {
        None
    }
}

impl<T: Message> Form for T {
    type Sent<'m> = T;
    type Unsent = T;
    type Owned = T;
    type Out = CopyOut<T>;
    type Place<'a> = Elements<'a, T>;

    const SCHEMA: &'static str = <T as Message>::SCHEMA;
    const ALIGN: usize = align_of::<T>();
    const SIZE: Option<usize> = Some(size_of::<T>());

    #[inline(always)]
    fn unsent(message: &T) -> T {
        *message
    }

    #[cfg(feature = "async")]
    fn lent(kept: &T) -> T {
        *kept
    }

    #[inline(always)]
    fn out() -> CopyOut<T>
    where
        T: CheckedBitPattern,
    {
        CopyOut::new()
    }

    #[inline(always)]
    fn owned(out: CopyOut<T>) -> Option<T>
    where
        T: CheckedBitPattern,
    {
        out.hand_on(Some, || None)
    }
}

macro_rules! form_of_bytes {
    ($($payload:ident: $place:ident, $schema:literal, $exact:literal;)*) => {$(
        impl Form for $payload {
            type Sent<'m> = &'m [u8];
            type Unsent = ();
            type Owned = Vec<u8>;
            type Out = Vec<u8>;
            type Place<'a> = $place<'a>;

            const SCHEMA: &'static str = $schema;
            const ALIGN: usize = 1;
            const SIZE: Option<usize> = None;
            const EXACT: bool = $exact;

            fn unsent(_: &&[u8]) {}

            #[cfg(feature = "async")]
            fn lent(kept: &Vec<u8>) -> &[u8] {
                kept
            }

            fn out() -> Vec<u8> {
                Vec::new()
            }

            fn owned(out: Vec<u8>) -> Option<Vec<u8>> {
                Some(out)
            }

            #[inline(always)]
            fn filled(out: &Vec<u8>) -> usize {
                out.len()
            }

            fn cut(out: &mut Vec<u8>, to: usize) {
                out.truncate(to);
            }

            #[inline(always)]
            fn length(message: &&[u8]) -> Option<usize> {
                Some(message.len())
            }
        }
    )*};
}

form_of_bytes! {
    Bytes: ByteSpan, "bytes", false;
    // What the directory says of the channel that is opened counts.
    Untyped: ElementBytes, "", true;
    // As above.
    AnyMessage: AnyPlace, "", true;
}

const _: () = {
    const fn sent_and_received<T: NoUninit + CheckedBitPattern>() {}
    sent_and_received::<Bytes>();
};
