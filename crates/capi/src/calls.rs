//! Services: calls and their replies.

use std::ffi::{c_char, c_int, c_void};
use std::mem::MaybeUninit;

use tombolo::{AnyChannel, AnyClient, AnyServer, AnyServerCall, ChannelKind, Segment, Shared};

use crate::failure::{Failure, door, pointer};
use crate::given::{
    Extensible, Wait, by_time, bytes, closed, copy_out, filled, give_out, given, room, taken, text,
};
use crate::segment::tombolo_segment;

/// The service outlives its clients and servers: a flag of `tombolo_service.flags`.
pub const TOMBOLO_SERVICE_LASTING: u32 = 1;

/// A service to open, or to create if it has a capacity: of elements if `request_size` is set, and
/// otherwise of bytes. With neither that nor a capacity, a service of whatever type there is is
/// opened.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct tombolo_service {
    /// sizeof(tombolo_service)
    pub struct_size: usize,
    /// How many calls there can be at once. 0: the service must exist.
    pub capacity: usize,
    /// Bytes: how long a request may be.
    pub longest_request: usize,
    /// Bytes: how long a reply may be.
    pub longest_reply: usize,
    /// TOMBOLO_SERVICE_LASTING.
    pub flags: u32,
    /// How often a call of this client may be served again whose server was killed over it (0).
    pub repeats: u32,
    /// Elements: sizeof the type of a request.
    pub request_size: usize,
    /// Elements: alignof the type of a request.
    pub request_align: usize,
    /// Elements: what a request is, as for tombolo_channel.schema.
    pub request_schema: *const c_char,
    /// Elements: sizeof the type of a reply.
    pub reply_size: usize,
    /// Elements: alignof the type of a reply.
    pub reply_align: usize,
    /// Elements: what a reply is, as for tombolo_channel.schema.
    pub reply_schema: *const c_char,
}

// SAFETY: numbers and pointers, the first of which is its size.
unsafe impl Extensible for tombolo_service {}

/// The calling end of a service.
#[derive(Debug)]
pub struct tombolo_client {
    shared: Shared<AnyClient>,
    repeats: u8,
}

/// The serving end of a service.
#[derive(Debug)]
pub struct tombolo_server(Shared<AnyServer>);

/// A call that a server has taken.
#[derive(Debug)]
pub struct tombolo_request {
    call: AnyServerCall,
    bytes: Vec<u8>,
}

fn service<'a>(
    segment: &'a Segment,
    name: *const c_char,
    service: *const tombolo_service,
) -> Result<(AnyChannel<'a>, u8), Failure> {
    let name = text(name)?;
    if service.is_null() {
        return Ok((segment.open_channel(name)?, 0));
    }
    let given = filled(service)?;
    if given.flags & !TOMBOLO_SERVICE_LASTING != 0 {
        return Err(Failure::bad(c"the service has a flag that this build does not know"));
    }
    let repeats = u8::try_from(given.repeats).unwrap_or(u8::MAX);
    let mut wanted = if given.request_size != 0 {
        segment
            .any_channel(name, ChannelKind::Calls)
            .element(given.request_size, given.request_align, text(given.request_schema)?)
            .reply(given.reply_size, given.reply_align, text(given.reply_schema)?)
    } else if given.capacity != 0 {
        segment
            .any_channel(name, ChannelKind::CallsBytes)
            .longest(given.longest_request)
            .longest_reply(given.longest_reply)
    } else {
        return Ok((segment.open_channel(name)?, repeats));
    };
    if given.capacity != 0 {
        wanted = wanted.capacity(given.capacity);
    }
    if given.flags & TOMBOLO_SERVICE_LASTING != 0 {
        wanted = wanted.lasting();
    }
    Ok((wanted.open()?, repeats))
}

/// Opens a client of a service; creates the service if the description has a capacity. Null in
/// place of a description opens what there is.
///
/// Threads: any. Waits: for another process that is joining or creating. Fork: a child opens its
/// own. Crash: the kernel lets go of what a killed process had.
#[unsafe(no_mangle)]
pub extern "C" fn tombolo_client_open(
    segment: Option<&tombolo_segment>,
    name: *const c_char,
    service: *const tombolo_service,
    client: Option<&mut MaybeUninit<Option<Box<tombolo_client>>>>,
) -> c_int {
    door(|| {
        give_out(client, || {
            let (service, repeats) = self::service(&given(segment)?.segment, name, service)?;
            Ok(tombolo_client { shared: service.client()?.into_shared(), repeats })
        })
    })
}

/// Makes a call, in a service of elements with exactly one, and waits for its reply: copies it to `reply`, and its length to `*reply_length`,
/// if that is not null. If there is not room for the whole reply, the rest is cut off, and
/// `*reply_length` says how long it was. −EOWNERDEAD: the server that had it has died; it cannot
/// be known how far it had come. −EPIPE: the last server is gone, and none had taken the call.
/// −ECONNREFUSED: the server has refused it. −ETIMEDOUT: the call is given up.
///
/// Threads: any, also at the same time. Waits: for a server and its reply, at most `timeout_ns`.
/// Fork: −ECHILD in a child. Crash: if the client is killed, nobody gets the reply.
#[unsafe(no_mangle)]
// More parameters than 5: a request, room for a reply, and a time.
pub extern "C" fn tombolo_call(
    client: Option<&tombolo_client>,
    request: *const c_void,
    request_length: usize,
    reply: *mut c_void,
    reply_room: usize,
    reply_length: Option<&mut MaybeUninit<usize>>,
    timeout_ns: i64,
) -> c_int {
    door(|| {
        let request = bytes(request, request_length)?;
        let room = room(reply.cast(), reply_room)?;
        let client = given(client)?;
        let lent = client.shared.lend()?;
        lent.set_repeats(client.repeats);
        let got = match Wait::of(timeout_ns).most() {
            Some(timeout) => lent.call_timeout(request, timeout)?,
            None => lent.call(request)?,
        };
        copy_out(&got, room, reply_length);
        Ok(0)
    })
}

/// Closes the client, and sets `*client` to null. Does nothing if it is null already.
///
/// Threads: no other call may be using it. Waits: never. Fork: in a child, frees the handle
/// alone. Crash: as if it had been closed.
#[unsafe(no_mangle)]
pub extern "C" fn tombolo_client_close(client: Option<&mut Option<Box<tombolo_client>>>) -> c_int {
    door(|| {
        closed(client)?.map_or(Ok(()), |client| client.shared.close())?;
        Ok(0)
    })
}

/// Opens a server of a service; creates the service if the description has a capacity.
///
/// Threads: any. Waits: for another process that is joining or creating. Fork: a child opens its
/// own. Crash: clients are told at once of calls that a killed server had, or another server
/// repeats them.
#[unsafe(no_mangle)]
pub extern "C" fn tombolo_server_open(
    segment: Option<&tombolo_segment>,
    name: *const c_char,
    service: *const tombolo_service,
    server: Option<&mut MaybeUninit<Option<Box<tombolo_server>>>>,
) -> c_int {
    door(|| {
        give_out(server, || {
            let (service, _) = self::service(&given(segment)?.segment, name, service)?;
            Ok(tombolo_server(service.server()?.into_shared()))
        })
    })
}

/// Takes a call, to be replied to. Several may be in hand, and be replied to in any order.
///
/// Threads: any, also at the same time. Waits: for a call, at most `timeout_ns`. Fork: −ECHILD in
/// a child. Crash: as for `tombolo_server_open`.
#[unsafe(no_mangle)]
pub extern "C" fn tombolo_serve(
    server: Option<&tombolo_server>,
    timeout_ns: i64,
    request: Option<&mut MaybeUninit<Option<Box<tombolo_request>>>>,
) -> c_int {
    door(|| {
        give_out(request, || {
            let server = given(server)?.0.lend()?;
            let call = by_time!(
                Wait::of(timeout_ns),
                server.try_recv(),
                time => server.recv_timeout(time),
                server.recv()
            )?;
            let bytes = call.request().map_err(|error| Failure::new(libc::EBADMSG, error))?;
            Ok(tombolo_request { call, bytes })
        })
    })
}

/// A copy of the request, and in `*length`, if that is not null, how long it is. Null after a
/// failure. Valid until the call is replied to or refused.
///
/// Threads: any. Waits: never. Fork: may be called. Crash: as for `tombolo_server_open`.
#[unsafe(no_mangle)]
pub extern "C" fn tombolo_request_data(
    request: Option<&tombolo_request>,
    length: Option<&mut MaybeUninit<usize>>,
) -> *const c_void {
    pointer(|| {
        let bytes = &given(request)?.bytes;
        if let Some(length) = length {
            length.write(bytes.len());
        }
        Ok(bytes.as_ptr())
    })
    .cast()
}

/// Replies, and sets `*request` to null. Returns 1, or 0 if the client no longer waits. −EMSGSIZE
/// if the reply is too long, or not an element: then the client gets −ECONNREFUSED.
///
/// Threads: any. Waits: never. Fork: −ECHILD in a child. Crash: killed before this returns, the
/// client gets the whole reply, or is told of the death.
#[unsafe(no_mangle)]
pub extern "C" fn tombolo_reply(
    request: Option<&mut Option<Box<tombolo_request>>>,
    data: *const c_void,
    length: usize,
) -> c_int {
    door(|| {
        let reply = bytes(data, length)?;
        Ok(taken(request)?.call.reply(reply)?.into())
    })
}

/// Refuses the call: its client gets −ECONNREFUSED. Sets `*request` to null. Does nothing if it is
/// null already.
///
/// Threads: any. Waits: never. Fork: in a child, frees the handle alone. Crash: as for
/// `tombolo_reply`.
#[unsafe(no_mangle)]
pub extern "C" fn tombolo_refuse(request: Option<&mut Option<Box<tombolo_request>>>) -> c_int {
    door(|| closed(request).map(|_| 0))
}

/// Closes the server, and sets `*server` to null. Does nothing if it is null already.
///
/// Threads: no other call may be using it. Waits: never. Fork: in a child, frees the handle
/// alone. Crash: as for `tombolo_server_open`.
#[unsafe(no_mangle)]
pub extern "C" fn tombolo_server_close(server: Option<&mut Option<Box<tombolo_server>>>) -> c_int {
    door(|| {
        closed(server)?.map_or(Ok(()), |server| server.0.close())?;
        Ok(0)
    })
}
