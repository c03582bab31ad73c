//! Everything rare, small or urgent, beside the channels.

mod answer;
mod commander;
mod events;
mod handshake;
mod inbox;
mod inherit;
mod rendezvous;

pub use answer::{Answer, Drain, Outcome};
pub use commander::Commander;
pub use events::{Event, Events, EventsIter, Member};
pub use inbox::Inbox;
pub use inherit::{InheritError, SpawnError, SpawnedChild};
pub use rendezvous::{ConnectError, ListenError, Listener, connect, connect_timeout};
