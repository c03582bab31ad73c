//! How processes meet, and learn of each other: beside the channels.

mod events;
mod handshake;
mod inherit;
mod rendezvous;

pub use events::{Event, Events, EventsIter, Member};
pub use inherit::{InheritError, SpawnError, SpawnedChild};
pub use rendezvous::{ConnectError, ListenError, Listener, connect, connect_timeout};
