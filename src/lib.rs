//! wip
mod channel;
mod error;
mod ring;
mod segment;
mod sync;
pub mod sys;
mod wait;

pub use channel::{Channel, Iter, Kind, Message, Mpmc, Receiver, Sender, Spsc};
pub use error::{
    BadName, ChannelError, Fault, OpenError, RecvError, RecvTimeoutError, SendBatchError,
    SendError, SendTimeoutError, TryRecvError, TrySendError,
};
pub use segment::{ChannelInfo, Options, ParticipantInfo, Segment};
