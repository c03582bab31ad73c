//! The payloads of calls.

use crate::kinds::calls::Sheet;
use crate::kinds::table::Payload;

/// What requests and replies can be: values of a type that is a
/// [`Message`](crate::Message), or [`Bytes`](crate::Bytes).
pub trait CallPayload: Payload + Sheet {}
impl<P: Payload + Sheet> CallPayload for P {}
