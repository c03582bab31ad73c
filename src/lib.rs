//! Typed channels between the processes of one machine, which survive the
//! `kill -9` of any of them.
//!
//! A [`Segment`] is shared memory with a name. In it are channels, each a
//! bounded queue of plain values. Sending and receiving make no system call
//! unless somebody sleeps. The kernel itself reports a killed process to
//! whoever waits for it, and a survivor puts right what it held: no daemon,
//! no heartbeat, no file to delete.
//!
//! # Two processes
//!
//! Either may come first:
//!
//! ```no_run
//! // The one that sends:
//! let segment = tombolo::Segment::open_or_create("market")?;
//! let prices = segment.channel::<f64>("prices").capacity(1024).sender()?;
//! prices.send(101.5)?;
//!
//! // The one that receives:
//! let segment = tombolo::Segment::open_or_create("market")?;
//! let prices = segment.channel::<f64>("prices").capacity(1024).receiver()?;
//! for price in &prices {
//!     println!("{}", price?);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Segments
//!
//! A named segment, and what is queued in it, stays until it is
//! [removed](Segment::remove), whoever comes and goes; a
//! [transient](Options::transient) one goes with the last to leave, and
//! [`Segment::remove_on_drop`] removes it at the end of a scope. An
//! [anonymous](Segment::anonymous) one is reached by its [`id`](Segment::id),
//! and its memory goes with the last process attached. [`Options`] has the
//! sizes and the permissions. The default of 64 MiB, less where the machine's
//! limits are lower, is for all channels together; [`Options::room_for`]
//! computes what you need.
//!
//! Processes that need no name in common: a [`Listener`] meets each client
//! that [connects](connect()) on an anonymous segment, by way of a FIFO; and
//! [`Segment::spawn`] starts a child with one, which the child gets from
//! [`Segment::inherited`].
//!
//! # Channels, of two kinds
//!
//! [`Mpmc`], the default, has any number of senders and receivers; each
//! message goes to one receiver. [`Spsc`] has one of each at a time, and is
//! faster. The kind is part of the handles' types: only those of an MPMC
//! channel can be cloned. Elements are plain data, a [`Message`] each: numbers,
//! arrays, and structs with `#[derive(Message)]`. Both sides must mean the same
//! type. [`Segment::bytes`] is a channel of messages of any length.
//!
//! ```
//! use tombolo::{ChannelError, ChannelProperty, Message, Segment};
//!
//! let segment = Segment::anonymous()?;
//! let jobs = segment.channel::<u64>("jobs").capacity(8);
//! let (sender, receiver) = (jobs.sender()?, jobs.receiver()?);
//! let another = sender.try_clone()?;
//! std::thread::spawn(move || another.send(1)).join().unwrap()?;
//! sender.send_batch(&[2, 3])?;
//! assert_eq!([receiver.recv()?, receiver.recv()?, receiver.recv()?], [1, 2, 3]);
//!
//! #[derive(Clone, Copy, Message)]
//! #[repr(C)]
//! struct Tick {
//!     id: u64,
//!     price: f64,
//! }
//! let ticks = segment.channel::<Tick>("ticks").capacity(8).spsc();
//! let only = ticks.sender()?;
//! only.send(Tick { id: 1, price: 101.5 })?;
//! assert!(matches!(ticks.sender(), Err(ChannelError::RoleTaken { .. })));
//! assert!(matches!(
//!     segment.channel::<u32>("jobs").sender(),
//!     Err(ChannelError::Mismatch { what: ChannelProperty::Elements, .. })
//! ));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Waiting
//!
//! A message is sent and received in three forms: one that waits, one with a
//! time-out or a deadline, and one that does not wait. Batches and messages in
//! place have fewer: some only wait. A call that waits tries for a while and then
//! sleeps. A full channel makes its senders wait: nothing is ever overwritten.
//!
//! ```
//! use std::time::Duration;
//! use tombolo::{RecvTimeoutError, Segment, TryRecvError, TrySendError};
//!
//! let segment = Segment::anonymous()?;
//! let channel = segment.channel::<u8>("one").capacity(1);
//! let (sender, receiver) = (channel.sender()?, channel.receiver()?);
//! assert!(matches!(receiver.try_recv(), Err(TryRecvError::Empty)));
//! let waited = receiver.recv_timeout(Duration::from_millis(10));
//! assert!(matches!(waited, Err(RecvTimeoutError::Timeout)));
//! sender.send(7)?;
//! assert!(matches!(sender.try_send(8), Err(TrySendError::Full(8))));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Event loops
//!
//! A handle gives a descriptor for `poll`, `epoll` and what is built on them,
//! beside sockets and timers: [`Receiver::readiness`]. It is readable until a
//! call that does not wait has found nothing; messages cost no system call
//! while there are more. It costs a thread that sleeps. `examples/event_loop.rs`
//! and `examples/tokio.rs` show it at work.
//!
//! # Disconnection
//!
//! When the last sender has gone, dropped or killed, receivers get what is
//! left and then [`Disconnected`](RecvError::Disconnected); when the last receiver has gone,
//! the senders that there are get it, until a receiver comes again. A sender
//! that is opened later does not get it: it fills the channel, and waits for a
//! new receiver. Nobody gets it before the first peer has come, nor ever in a
//! [lasting](Channel::lasting) channel.
//!
//! ```
//! use tombolo::{RecvError, Segment, SendError, TrySendError};
//!
//! # let segment = Segment::anonymous()?;
//! let channel = segment.channel::<u8>("some").capacity(4);
//! let (sender, receiver) = (channel.sender()?, channel.receiver()?);
//! sender.send_batch(&[1, 2])?;
//! drop(sender);
//! let received: Result<Vec<u8>, _> = receiver.iter().collect();
//! assert_eq!(received?, [1, 2]);
//! assert_eq!(receiver.recv(), Err(RecvError::Disconnected));
//!
//! let channel = segment.channel::<u8>("other").capacity(1);
//! let (sender, receiver) = (channel.sender()?, channel.receiver()?);
//! drop(receiver);
//! assert_eq!(sender.send(3), Err(SendError::Disconnected(3)));
//! let later = channel.sender()?;
//! later.send(4)?;
//! assert_eq!(later.try_send(5), Err(TrySendError::Full(5)));
//! assert_eq!(channel.receiver()?.recv()?, 4);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # How a wait ends
//!
//! Besides with what it waits for, at its time-out, and with a disconnection:
//!
//! - with a certain participant, that may never have come to the channel, such as
//!   a child that dies at once: [`Receiver::until_gone`], [`SpawnedChild::joined`];
//! - by another thread, say when Ctrl-C was pressed: [`Receiver::canceller`];
//! - when the segment is [removed](Segment::remove) or
//!   [shut down](Commander::shutdown), for everybody.
//!
//! A process that gives up the right to the segment's semaphores after opening it
//! can still send and receive, but may wake nobody. It is told so
//! ([`Fault::Unwoken`]), also by [`Sender::close`] and [`Segment::leave`], which do
//! what dropping does.
//!
//! # Crashes
//!
//! A process may be killed between any two instructions.
//!
//! - What `send` has returned for is in the channel. A call that was cut off
//!   has sent its message whole or not at all; which, nobody can say, so who
//!   sends it again may send it twice.
//! - What `recv` has copied out is its receiver's, and dies with it. A message
//!   that was taken and not yet copied out is delivered to another receiver,
//!   as often as the channel [allows](Channel::redeliver), and out of its
//!   order if others have passed it.
//! - Who waits is woken. A sender that does not wait has no reason to look,
//!   and learns of a killed receiver when it would have to wait.
//! - A process that is stopped is not dead. What it was writing hides what is
//!   behind it ([`TryRecvError::Pending`]) until it goes on or is killed.
//!
//! Memory does not outlive the machine: a reboot empties it.
//!
//! [`Segment::deaths`] tells who died, holding what, and what was done with it;
//! [`Segment::events`] tells who joins, leaves and dies, as it happens.
//!
//! # Commands
//!
//! [`Segment::commander`] asks every other participant for a sign of life or for
//! what it does, makes senders wait ([`pause`](Commander::pause)), lets the channels
//! run empty ([`drain`](Commander::drain)) or ends every call
//! ([`shutdown`](Commander::shutdown)). Who is blocked is woken for it; who is busy
//! answers at its next operation; who never looks obeys all the same, because what
//! is commanded stands in the segment. [`Segment::inbox`] takes what is meant for
//! the application.
//!
//! # Errors
//!
//! Each kind of operation has its own error, and a message that was not sent
//! is in it. [`Fault`] is what ends the use of a handle. What the kernel
//! refuses is a [`sys::Error`], which names the object, the limit in force
//! and the remedy. `{:?}` of an error says the same after the kind of error, so
//! that `unwrap`, and a `main` that returns the error, show it too.
//!
//! # Fork
//!
//! Handles belong to the process that made them. In a forked child each call
//! returns [`Fault::Forked`], and dropping them does nothing; the child opens
//! the segment anew. A process that `exec`s while it has a segment open
//! counts as living until it ends; [`ParticipantInfo::attached`] shows it.
//!
//! # Trust
//!
//! Safe code stays defined whatever a peer writes. All that safe code reads in
//! a segment is an atomic word, or a copy that was made by atomic accesses;
//! bounds and [bit patterns](bytemuck::CheckedBitPattern) are checked on the
//! copy. The guards of messages in place ([`Grant`], [`Delivery`],
//! [`ByteGrant`], [`ByteDelivery`]) copy in and out as well. They lend
//! references to those who declare, by an `unsafe` call for each segment, that
//! its peers are trusted: [`Segment::trust_peers`].
//!
//! A peer that writes anything can still send false messages, and leave a
//! channel stuck or [corrupt](Fault::Corrupt). Calls that do not wait return all the same. One
//! that waits may sleep over a word that says that nobody does, until its
//! time-out or until the segment is [removed](Segment::remove), which ends it
//! whatever is in the segment. The permissions of the segment say who is
//! trusted: its owner, unless [`Options::mode`] says more.
//!
//! A name is free to whoever comes first. So opening by name refuses a segment
//! that another user has created ([`OpenError::Stranger`]), unless that user is
//! root, or [`Options::any_owner`] accepts it. A daemon that creates a segment
//! as root and then drops its privileges hands it over before
//! ([`Segment::set_owner`]).
//!
//! # Below
//!
//! [`sys`] is System V shared memory and semaphores as safe Rust, of use on
//! its own.

mod channel;
mod control;
mod error;
mod kinds;
mod ring;
mod segment;
mod storage;
mod sync;
pub mod sys;
mod wait;

pub use bytemuck;
#[doc(hidden)]
pub use channel::derive as __derive;
pub use channel::{
    ByteChannel, ByteDelivery, ByteGrant, ByteReader, ByteReceiver, ByteSender, ByteWriter,
    Canceller, Channel, Delivery, DeliverySlice, Grant, GrantSlice, IntoIter, Iter, Readiness,
    Receiver, Sender, TryIter,
};
pub use control::{
    Answer, Commander, ConnectError, Drain, Event, Events, EventsIter, Inbox, InheritError,
    ListenError, Listener, Member, Outcome, SpawnError, SpawnedChild, connect, connect_timeout,
};
pub use error::{
    BadName, ChannelError, ChannelProperty, CommandError, Done, Fault, OpenError, RecvError,
    RecvTimeoutError, SendBatchError, SendError, SendTimeoutError, TryRecvError, TrySendError,
    Unwoken,
};
pub use kinds::message::Message;
pub use kinds::payload::Bytes;
pub use kinds::table::{Kind, Mpmc, Payload, Spsc};
pub use segment::{
    Audit, ChannelInfo, Death, Deaths, Finding, Options, Orphan, Owner, ParticipantInfo, Peer,
    RemoveOnDrop, Segment, SegmentInfo, Side, State, Stats, TrustedPeers, UserCommand,
};

pub use tombolo_derive::Message;

/// The examples of the README are tested with those of the documentation.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// As are those of the how-to page.
#[cfg(doctest)]
#[doc = include_str!("../docs/how-to.md")]
struct HowTo;
