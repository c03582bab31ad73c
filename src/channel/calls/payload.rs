//! The payloads of calls.

use crate::kinds::calls::Sheet;

/// What requests and replies can be: values of a type that is a
/// [`Message`](crate::Message), or [`Bytes`](crate::Bytes); or
/// [`AnyMessage`](crate::AnyMessage).
pub trait CallPayload: Sheet {}
impl<P: Sheet> CallPayload for P {}
