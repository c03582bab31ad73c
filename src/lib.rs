//! Typed channels between the processes of one machine, which survive the
//! `kill -9` of any of them.
//!
//! A [`Segment`] is shared memory with a name. It contains channels, and each
//! channel is a bounded queue of plain values. Sending and receiving make no
//! system call unless a process sleeps. When a process is killed, the kernel
//! wakes the processes that wait for it, and one of them recovers what the
//! dead process held. There is no daemon, no heartbeat and no file to delete.
//!
//! # Two processes
//!
//! Either process may start first:
//!
//! ```no_run
//! // The sending process:
//! let segment = tombolo::Segment::open_or_create("market")?;
//! let prices = segment.channel::<f64>("prices").capacity(1024).sender()?;
//! prices.send(101.5)?;
//!
//! // The receiving process:
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
//! There are three sorts of segments, which differ in how they are found and
//! how long they live:
//!
//! - A named segment, with everything queued in it, exists until it is
//!   [removed](Segment::remove). [`Segment::remove_on_drop`] removes it at the
//!   end of a scope.
//! - A [transient](Options::transient) segment is a named one that is removed
//!   when the last process leaves it.
//! - An [anonymous](Segment::anonymous) segment is found by its
//!   [`id`](Segment::id). Its memory is freed when the last process detaches.
//!
//! [`Options`] sets sizes and permissions. By default a segment has 64 MiB for
//! all its channels together, or less where the machine's limits are lower.
//! [`Options::room_for`] computes the size that given channels need.
//!
//! Two processes can also meet without a common name. A [`Listener`] gives each
//! client that [connects](connect()) an anonymous segment, by way of a FIFO.
//! [`Segment::spawn`] starts a child process with a segment, which the child
//! opens with [`Segment::inherited`].
//!
//! # Channels
//!
//! A channel has one of three kinds:
//!
//! - [`Mpmc`], the default, allows any number of senders and receivers. Each
//!   message goes to one receiver.
//! - [`Spsc`] allows one sender and one receiver at a time, and is faster.
//! - [`Broadcast`] allows any number of publishers and subscribers, and each
//!   message goes to all subscribers: [`Segment::broadcast`].
//!
//! A [service](Segment::service) takes calls: a [`Client`] makes a request, one of the
//! [servers](Server) takes it, and its reply goes to that client.
//!
//! The kind is part of a handle's type: handles of an SPSC channel cannot be
//! cloned. The elements of a channel are plain data that implement [`Message`]:
//! numbers, arrays, and structs with `#[derive(Message)]`. Both sides must use
//! the same type. [`Segment::bytes`] makes a channel of messages of any length.
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
//! `send` and `recv` have three forms: one that waits, one that waits until a
//! timeout or a deadline, and one that does not wait. Batches and messages in
//! place have fewer forms. A call that waits spins for a while and then sleeps.
//! Senders wait while a channel is full: no message is ever overwritten.
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
//! [`Receiver::readiness`] gives a descriptor for `poll`, `epoll` and the
//! libraries built on them, so that a loop can wait for a channel beside sockets
//! and timers. The descriptor is readable until a call that does not wait has
//! found nothing. While there are more messages, they cost no system call. All
//! descriptors of a process in a segment cost one thread, which sleeps.
//! `examples/event_loop.rs` shows how to use it.
//!
//! # Async
//!
//! With the feature `async`, `Receiver::into_async` and `Sender::into_async` give
//! handles that are awaited, in every runtime. They are a `Stream` and a `Sink`. Clients,
//! servers and calls have `into_async` too. The future of each method is safe to drop, and the method says what that means. Tasks
//! that wait are woken by the thread behind the descriptors. `docs/async.md` says
//! more; `examples/tokio.rs` and `examples/smol.rs` are complete.
//!
//! # Several channels in one thread
//!
//! A [`WaitSet`] waits for any of many senders and receivers of one segment, without a
//! thread or a descriptor for each.
//!
//! # Disconnection
//!
//! A sender is gone when it was dropped or its process was killed. When the last
//! sender is gone, receivers get the remaining messages and then
//! [`Disconnected`](RecvError::Disconnected).
//!
//! When the last receiver is gone, current senders get
//! [`Disconnected`](SendError::Disconnected) until a new receiver comes. A sender opened
//! later does not get it: it can fill the channel, and then waits for a new receiver.
//!
//! A handle is disconnected only from peers that it has met, so a process may
//! start before its peers. In a [lasting](Channel::lasting) channel no handle is
//! ever disconnected.
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
//! A wait ends when it gets what it waits for, at its timeout, or with a
//! disconnection. It can also end in these ways:
//!
//! - A given participant ends, even one that never opened the channel, such as a
//!   child that dies at once: [`Receiver::bind_to_peer`], [`SpawnedChild::joined`].
//! - Another thread cancels it, for example on Ctrl-C: [`Receiver::canceller`].
//! - The segment is [removed](Segment::remove) or
//!   [shut down](Commander::shutdown). This ends the waits of all processes.
//!
//! A process that loses its permission on the segment's semaphores after it has
//! opened the segment can still send and receive, but it can no longer wake other
//! processes. Its calls then return [`Fault::Unwoken`]. [`Sender::close`] and
//! [`Segment::leave`] do what dropping does, and report if the other processes
//! could not be woken.
//!
//! # Crashes
//!
//! A process may be killed between any two instructions.
//!
//! - When `send` has returned, its message is in the channel. An interrupted call
//!   has sent its message completely or not at all. Nobody can tell which, so a
//!   process that sends it again may send it twice.
//! - When `recv` has copied a message out, the message belongs to that receiver
//!   and dies with it. A message that was taken but not yet copied out is
//!   delivered to another receiver, as often as the channel
//!   [allows](Channel::redeliver). It arrives out of order if others have
//!   overtaken it.
//! - Waiting processes are woken. A sender that never waits does not look for
//!   deaths: it learns of a killed receiver when it would have to wait.
//! - A stopped process is not dead. The message that it is writing hides the
//!   messages behind it ([`TryRecvError::Pending`]) until the process continues
//!   or is killed.
//!
//! A reboot empties a segment.
//!
//! [`Segment::deaths`] says which processes died, what they held, and what became
//! of it. [`Segment::events`] reports joins, leaves and deaths as they happen.
//!
//! # Commands
//!
//! A [`Segment::commander`] sends commands to all other participants. It can ask
//! for a sign of life or for statistics, make senders wait
//! ([`pause`](Commander::pause)), let the channels run empty
//! ([`drain`](Commander::drain)), or end every call
//! ([`shutdown`](Commander::shutdown)).
//!
//! A blocked participant is woken to answer. A busy participant answers at its
//! next operation. A participant that never answers obeys all the same, because
//! the command is a state of the segment. [`Segment::inbox`] receives the commands
//! that are meant for the application.
//!
//! # Errors
//!
//! Each form of an operation has its own error: [`SendError`],
//! [`TrySendError`] and [`SendTimeoutError`]; [`RecvError`], [`TryRecvError`] and
//! [`RecvTimeoutError`]. They have the names and the predicates of
//! crossbeam-channel, compare with `==`, and give back the message that was not
//! sent. `docs/how-to.md` says what differs from crossbeam-channel, and why.
//!
//! Each error is flat: `Disconnected` is a variant of it, and whatever else ends
//! the use of a handle is its `Fault`, a [`Fault`]. The smaller errors convert to
//! the larger ones. All error types are `#[non_exhaustive]`. A [`sys::Error`] is a
//! refusal of the kernel: it names the object, the limit in force and the remedy.
//! `{:?}` of an error prints the same text as `{}`, after the kind of error, so
//! that `unwrap`, and a `main` that returns the error, show the remedy too.
//!
//! # Fork
//!
//! Handles belong to the process that made them. In a forked child, every call
//! returns [`Fault::Forked`], and dropping a handle does nothing. The child opens
//! the segment anew. A process that calls `exec` while it has a segment open
//! counts as living until it ends; [`ParticipantInfo::attached`] shows this.
//!
//! # Trust
//!
//! Safe code stays defined whatever a peer writes. Safe code reads a segment only
//! as atomic words, or as copies made by atomic accesses. Bounds and
//! [bit patterns](bytemuck::CheckedBitPattern) are checked on the copy. The guards
//! of messages in place ([`Grant`], [`Delivery`], [`ByteGrant`], [`ByteDelivery`])
//! copy in and out as well. They give references only to a caller who has declared,
//! by one `unsafe` call for each segment, that its peers are trusted:
//! [`Segment::trust_peers`].
//!
//! A hostile peer can still send false messages, and leave a channel stuck or
//! [corrupt](Fault::Corrupt). Calls that do not wait return all the same. A
//! blocked call may miss its wake-up if a peer corrupted the count of waiters. It
//! then sleeps until its timeout, or until the segment is
//! [removed](Segment::remove), which always ends it. The permissions of the
//! segment decide which users are trusted: its owner, unless [`Options::mode`]
//! adds others.
//!
//! Any user can be the first to create a segment with a given name. So opening by
//! name refuses a segment that another user has created
//! ([`OpenError::Stranger`]), unless that user is root, or
//! [`Options::any_owner`] accepts it. A daemon that creates a segment as root and
//! then drops its privileges first hands the segment over
//! ([`Segment::set_owner`]).
//!
//! # System calls
//!
//! [`sys`] offers System V shared memory, semaphores and message queues, pipes and
//! FIFOs as safe Rust. It is useful on its own.

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
    AnyChannel, AnyChannelSpec, AnyClient, AnyDelivery, AnyGrant, AnyIntoIter, AnyIter,
    AnyOwnedDelivery, AnyOwnedGrant, AnyPendingCall, AnyReceiver, AnySender, AnyServer,
    AnyServerCall, AnyTryIter, BroadcastChannel, ByteBroadcastChannel, ByteChannel, ByteClient,
    ByteDelivery, ByteGrant, ByteReader, ByteReceiver, ByteRequest, ByteSender, ByteServer,
    ByteServerCall, ByteService, ByteWriter, CallPayload, Canceller, Channel, Client, Delivery,
    DeliverySlice, Grant, GrantSlice, IntoIter, Iter, Lent, LentOwned, Owned, OwnedDelivery,
    OwnedGrant, PendingCall, Publisher, Readiness, Ready, Receiver, ReliableSubscriber, SendAll,
    SendEnd, Sender, Senders, Server, ServerCall, ServerIter, Service, Shareable, Shared, Slowest,
    Subscriber, TryIter, WaitSet, WaitSetWaker, Waitable,
};
#[cfg(feature = "async")]
pub use channel::{AsyncClient, AsyncPendingCall, AsyncReceiver, AsyncSender, AsyncServer};
pub use control::{
    ConnectError, Event, Events, EventsIter, InheritError, ListenError, Listener, Member,
    SpawnError, SpawnedChild, connect, connect_timeout,
};
pub use error::{
    BadName, CallError, CallTimeoutError, ChannelError, ChannelProperty, CommandError, Done, Fault,
    InvalidMessage, OpenError, RecvError, RecvTimeoutError, ReplyError, SendAllError,
    SendBatchError, SendError, SendTimeoutError, TryRecvError, TrySendError, Unwoken, WaitSetError,
};
pub use kinds::batch::{ByteBatch, ByteBatchIter};
pub use kinds::broadcast::Start;
pub use kinds::message::Message;
pub use kinds::passed::Passed;
pub use kinds::payload::{AnyMessage, Bytes};
pub use kinds::table::{
    Broadcast, Broadcastable, InPlace, Kind, Mpmc, Payload, Reliable, RingKind as ChannelKind, Spsc,
};
pub use segment::{
    Answer, Audit, BroadcastInfo, CallsInfo, ChannelInfo, Commander, Death, Deaths, Drain,
    EndsInfo, Inbox, Observer, Options, Orphan, Outcome, Owner, ParticipantInfo, PersonInfo,
    ReliableInfo, RemoveOnDrop, Segment, SegmentInfo, Stats, Tap, Tapped, TappedMessage,
    TrustedPeers, UserCommand,
};
pub use storage::{Finding, OperatingState, Peer, Side};

pub use tombolo_derive::Message;
pub use wait::{InterruptGuard, WaitStrategy, interrupt_waits};

/// Compiles the examples of the README as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// Compiles the examples of the how-to page as tests.
#[cfg(doctest)]
#[doc = include_str!("../docs/how-to.md")]
struct HowTo;

/// Compiles the program of the tutorial as a test.
#[cfg(doctest)]
#[doc = include_str!("../docs/tutorial.md")]
struct Tutorial;

/// Compiles the examples of the cookbook as tests.
#[cfg(doctest)]
#[doc = include_str!("../docs/cookbook.md")]
struct Cookbook;

/// Compiles the examples of the page on wait sets as tests.
#[cfg(doctest)]
#[doc = include_str!("../docs/wait-sets.md")]
struct WaitSets;

/// Compiles the examples of the page on calls as tests.
#[cfg(doctest)]
#[doc = include_str!("../docs/calls.md")]
struct CallsPage;

/// Compiles the examples of the page on async as tests.
#[cfg(all(doctest, feature = "async"))]
#[doc = include_str!("../docs/async.md")]
struct AsyncPage;

/// Compiles the examples of the page on broadcast as tests.
#[cfg(doctest)]
#[doc = include_str!("../docs/broadcast.md")]
struct BroadcastPage;
