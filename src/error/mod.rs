//! One error for each form of an operation.
//!
//! **Which.** The errors of sending and receiving have the names, and the
//! predicates, of crossbeam-channel. Each is flat: it lists what a caller of
//! this very form decides by, and puts all the rest into one variant, `Fault`.
//!
//! ```text
//!               waits              does not wait          waits until a deadline
//!  sending      SendError<T>    ⊂  TrySendError<T>        SendTimeoutError<T>
//!                                  + Full, Paused         + Timeout
//!  receiving    RecvError       ⊂  TryRecvError           RecvTimeoutError
//!                                  + Empty, Pending       + Timeout
//!  calling      CallError                              ⊂  CallTimeoutError + TimedOut
//! ```
//!
//! The larger ones convert from the smaller one, and all of them from [`Fault`].
//!
//! **Typed messages, and bytes.** Both kinds of handles have the same errors.
//! `T` is what comes back by value: the message of a typed send; `()` where the
//! caller still has it, as with bytes, batches and messages written in place. A
//! channel of bytes has one answer of its own, `TooLong`.
//!
//! **Disconnection** is a variant of each error, without content, so that it can
//! be matched and compared with `==`. The text says which side has gone, and that
//! follows from the operation. Whether the last peer was dropped or has died is
//! what [`Segment::deaths`](crate::Segment::deaths) tells: the kernel reports a
//! death to any handle, and not why the side is empty now.
//!
//! **A message that is in the channel** though its send has failed is `Unwoken`:
//! nothing comes back, and sending it again would send it twice. So
//! `into_inner` gives an `Option`. [`Fault::Unwoken`] within `Fault` is about an
//! earlier operation: then this one has done nothing.
//!
//! **What may grow.** Every error type, and every enum that one contains, is
//! `#[non_exhaustive]`: new variants, and new fields of structs, break no
//! program. The fields of a variant stay as they are.
//!
//! **Equality.** Errors are compared by all that they say, with the kernel's
//! refusals by object, call, error number, limits and remedy. `SpawnError` is not
//! comparable: it contains an `io::Error`.

mod call;
mod channel;
mod control;
mod fault;
mod open;
mod recv;
mod send;
mod send_all;
mod wait_set;

pub use call::{CallError, CallTimeoutError, ReplyError};
pub use channel::{ChannelError, ChannelProperty};
pub use control::CommandError;
pub use fault::{Done, Fault, Unwoken};
pub use open::{BadName, OpenError};
pub use recv::{InvalidMessage, RecvError, RecvTimeoutError, TryRecvError};
pub use send::{SendBatchError, SendError, SendTimeoutError, TrySendError};
pub use send_all::SendAllError;
pub use wait_set::WaitSetError;

/// `{:?}` says what `{}` says, after the kind of error: it is what `main` and
/// `unwrap` show, where the remedy is needed most. What stands after a `;` is
/// another error, whose kind says more.
macro_rules! debug_as_display {
    ($($name:ident $({ $($variant:ident)* $(; $($within:ident)*)? })?)*) => {$(
        impl ::core::fmt::Debug for $name {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                let [kind, ..] = [
                    $(match self {
                        $(Self::$variant { .. } => stringify!($variant),)*
                        $($(Self::$within(error) => return ::core::fmt::Debug::fmt(error, f),)*)?
                    },)?
                    stringify!($name),
                ];
                write!(f, "{kind}: {self}")
            }
        }
    )*};
}

pub(crate) use debug_as_display;

#[cfg(test)]
mod tests;
