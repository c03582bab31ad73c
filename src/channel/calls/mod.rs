//! Services: clients call, servers reply.
//!
//! | what | where |
//! |---|---|
//! | opening a service | here |
//! | what the handles of a service and its calls have in common | `site` |
//! | making calls | `client` |
//! | a call that is under way | `pending` |
//! | waiting until it is over | `until_over` |
//! | the threads of a process that wait for replies | `company` |
//! | taking calls; replying, refusing, giving back | `server` |

mod client;
mod company;
mod payload;
mod pending;
mod server;
mod site;
mod until_over;

use core::marker::PhantomData;
use std::panic::{RefUnwindSafe, UnwindSafe};

use bytemuck::{CheckedBitPattern, NoUninit};

use super::endpoint::{Endpoint, Opening};
use crate::error::ChannelError;
use crate::kinds::message::Message;
use crate::kinds::payload::Bytes;
use crate::kinds::table::RingKind;
use crate::ring::set::SetMap;
use crate::segment::{Name, Participant, ReplySpec, Segment, Side, Spec};
use crate::storage::layout::CHANNEL_NAME_BYTES;

pub use client::{AnyClient, ByteClient, ByteRequest, Client};
pub use payload::CallPayload;
pub use pending::{AnyPendingCall, PendingCall};
pub use server::{
    AnyServer, AnyServerCall, ByteServer, ByteServerCall, Server, ServerCall, ServerIter,
};
#[cfg(feature = "async")]
pub(in crate::channel) use until_over::UntilOver;

/// A service to open, or to create if a capacity is given: see [`Segment::service`].
#[derive(Clone, Debug)]
#[must_use = "a service does nothing until it is opened as a client or a server"]
pub struct Service<'a, Q: CallPayload, R: CallPayload> {
    segment: &'a Segment,
    name: &'a str,
    capacity: Option<usize>,
    /// The size of a request and of a reply in bytes; for bytes, of the longest.
    request: Option<usize>,
    reply: Option<usize>,
    lasting: bool,
    payloads: PhantomData<fn(Q, R)>,
}

/// A service of bytes to open, or to create if a capacity is given: see
/// [`Segment::service_bytes`].
#[derive(Clone, Debug)]
#[must_use = "a service does nothing until it is opened as a client or a server"]
pub struct ByteService<'a>(Service<'a, Bytes, Bytes>);

impl Segment {
    /// The service of this name: any number of clients and servers, in any processes. A client
    /// makes a call with a request; one of the servers takes it, and replies to that client.
    ///
    /// ```
    /// use std::thread;
    /// use tombolo::Segment;
    ///
    /// let segment = Segment::anonymous()?;
    /// let squares = segment.service::<u32, u64>("squares").capacity(8);
    /// let (client, server) = (squares.client()?, squares.server()?);
    /// let serving = thread::spawn(move || {
    ///     for call in &server {
    ///         let call = call.unwrap();
    ///         let number = u64::from(call.request().unwrap());
    ///         call.reply(number * number).unwrap();
    ///     }
    /// });
    /// assert_eq!(client.call(12)?, 144);
    /// drop(client);
    /// serving.join().unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn service<'a, Q: Message, R: Message>(&'a self, name: &'a str) -> Service<'a, Q, R> {
        Service::new(self, name)
    }

    /// The service of bytes of this name, for requests and replies of any length up to a
    /// maximum of each.
    ///
    /// ```
    /// use std::thread;
    /// use tombolo::Segment;
    ///
    /// let segment = Segment::anonymous()?;
    /// let upper = segment.service_bytes("upper").capacity(8, 100, 100);
    /// let (client, server) = (upper.client()?, upper.server()?);
    /// let serving = thread::spawn(move || {
    ///     let call = server.recv().unwrap();
    ///     let text = call.request().unwrap();
    ///     call.reply(&text.to_ascii_uppercase()).unwrap();
    /// });
    /// assert_eq!(client.call(b"a line")?, b"A LINE");
    /// serving.join().unwrap();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn service_bytes<'a>(&'a self, name: &'a str) -> ByteService<'a> {
        ByteService(Service::new(self, name))
    }
}

/// That clients of this segment can sleep until their replies come.
pub(super) fn has_bells(participant: &Participant) -> Result<(), ChannelError> {
    if participant.own_bell().is_some() {
        return Ok(());
    }
    let map = participant.mapped().plan.map;
    let with = SetMap { own_bells: true, ..map };
    Err(ChannelError::NoCalls {
        segment: participant.mapped().called(),
        semaphores: map.count(),
        needed: with.count(),
    })
}

/// What the directory says of the messages of a service.
pub(super) fn schema_of(request: &str, reply: &str) -> String {
    Spec::schema(&format!("{request} -> {reply}"))
}

impl<Q: Message, R: Message> Service<'_, Q, R> {
    /// Creates the service if it does not exist, for this many calls at once, from 1 to
    /// 65,536: those that wait for a server and those in the hands of servers, of all clients
    /// together. Without a capacity, the service must exist.
    pub const fn capacity(mut self, calls: usize) -> Self {
        self.capacity = Some(calls);
        self
    }
}

impl<'a, Q: CallPayload, R: CallPayload> Service<'a, Q, R> {
    const fn new(segment: &'a Segment, name: &'a str) -> Self {
        Self {
            segment,
            name,
            capacity: None,
            request: Q::SIZE,
            reply: R::SIZE,
            lasting: false,
            payloads: PhantomData,
        }
    }

    /// The service outlives its clients and servers: a call waits for the next server to come,
    /// and a server for the next client. The creator of the service decides.
    ///
    /// Otherwise a call ends when the last server that its client has met is gone and none has
    /// taken it ([`CallError::NoServer`](crate::CallError::NoServer)). Before the first server
    /// comes, and again when another comes, it just waits.
    pub const fn lasting(mut self) -> Self {
        self.lasting = true;
        self
    }

    fn endpoint(&self, side: Side) -> Result<Endpoint, ChannelError> {
        let participant = self.segment.participant();
        has_bells(participant)?;
        let spec = Spec {
            name: Name::new(self.name, CHANNEL_NAME_BYTES)?,
            kind: if Q::EXACT { RingKind::Calls } else { RingKind::CallsBytes },
            size: self.request,
            align: Q::ALIGN,
            schema: schema_of(Q::SCHEMA, R::SCHEMA),
            capacity: self.capacity,
            publishers: None,
            reliable: None,
            reply: Some(ReplySpec {
                size: self.reply,
                align: R::ALIGN,
                schema: R::SCHEMA.to_owned(),
            }),
            attempts: 0,
            lasting: self.lasting,
        };
        let block = participant.channel(&spec)?;
        Endpoint::new(&Opening { participant, block, name: self.name.into(), side })
    }

    /// Opens a client.
    ///
    /// # Errors
    /// [`ChannelError::NotFound`], [`ChannelError::Mismatch`]; [`ChannelError::NoCalls`] in a
    /// segment that was created where `kernel.sem` allowed too few semaphores; and every limit.
    pub fn client(&self) -> Result<Client<Q, R>, ChannelError>
    where
        Q: NoUninit,
        R: CheckedBitPattern,
    {
        Client::new(self.endpoint(Side::Sender)?)
    }

    /// Opens a server.
    ///
    /// # Errors
    /// As for [`client`](Self::client).
    pub fn server(&self) -> Result<Server<Q, R>, ChannelError>
    where
        Q: CheckedBitPattern,
        R: NoUninit,
    {
        Server::new(self.endpoint(Side::Receiver)?)
    }
}

impl ByteService<'_> {
    /// Creates the service if it does not exist, for this many calls at once, with requests and
    /// replies of up to so many bytes each (at most 1 GiB). All of it is set aside for each
    /// call. Without a capacity, the service must exist.
    pub const fn capacity(
        mut self,
        calls: usize,
        longest_request: usize,
        longest_reply: usize,
    ) -> Self {
        self.0.capacity = Some(calls);
        self.0.request = Some(longest_request);
        self.0.reply = Some(longest_reply);
        self
    }

    /// As for [`Service::lasting`].
    pub const fn lasting(self) -> Self {
        Self(self.0.lasting())
    }

    /// Opens a client.
    ///
    /// # Errors
    /// As for [`Service::client`].
    pub fn client(&self) -> Result<ByteClient, ChannelError> {
        self.0.client()
    }

    /// Opens a server.
    ///
    /// # Errors
    /// As for [`Service::client`].
    pub fn server(&self) -> Result<ByteServer, ChannelError> {
        self.0.server()
    }
}

// As for the handles of channels.
impl<Q: CallPayload, R: CallPayload> UnwindSafe for Client<Q, R> {}
impl<Q: CallPayload, R: CallPayload> RefUnwindSafe for Client<Q, R> {}
impl<Q: CallPayload, R: CallPayload> UnwindSafe for PendingCall<Q, R> {}
impl<Q: CallPayload, R: CallPayload> RefUnwindSafe for PendingCall<Q, R> {}
impl<Q: CallPayload, R: CallPayload> UnwindSafe for Server<Q, R> {}
impl<Q: CallPayload, R: CallPayload> RefUnwindSafe for Server<Q, R> {}
impl<Q: CallPayload, R: CallPayload> UnwindSafe for ServerCall<Q, R> {}
impl<Q: CallPayload, R: CallPayload> RefUnwindSafe for ServerCall<Q, R> {}
