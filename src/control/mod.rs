//! What is rare, small or urgent, beside the channels.

mod events;
mod inherit;
mod record;
mod rendezvous;

pub use events::{Event, Events, EventsIter, Member};
pub use inherit::{Heir, InheritError, SpawnError};
pub use rendezvous::{ConnectError, ListenError, Listener, connect, connect_timeout};
