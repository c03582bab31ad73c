//! Sending.

use std::ffi::{c_char, c_int, c_void};
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::sync::Mutex;
use std::time::Duration;

use tombolo::{AnyOwnedGrant, AnySender, SendBatchError, Shared};

use crate::channel::{open, tombolo_channel};
use crate::failure::{Failure, count, door, pointer};
use crate::given::{Wait, by_time, bytes, closed, fill_in, give_out, given, items, taken};
use crate::segment::tombolo_segment;
use crate::status::tombolo_status;

/// The sending end of a channel, or a publisher.
#[derive(Debug)]
pub struct tombolo_sender {
    pub(crate) shared: Shared<AnySender>,
}

/// A place in a channel for one message, which is written there.
#[derive(Debug)]
pub struct tombolo_grant(Mutex<AnyOwnedGrant>);

/// The bytes of one message.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct tombolo_bytes {
    /// The first of them.
    pub data: *const c_void,
    /// How many there are.
    pub length: usize,
}

/// Opens a sending end of a channel, or of a broadcast channel a publisher; creates the channel if
/// the description has a capacity. Null in place of a description opens what there is.
/// `tombolo_sender_close` closes it.
///
/// Threads: any. Waits: for another process that is joining or creating. Fork: a child opens its
/// own. Crash: the kernel lets go of what a killed process had.
#[unsafe(no_mangle)]
pub extern "C" fn tombolo_sender_open(
    segment: Option<&tombolo_segment>,
    name: *const c_char,
    channel: *const tombolo_channel,
    sender: Option<&mut MaybeUninit<Option<Box<tombolo_sender>>>>,
) -> c_int {
    door(|| {
        give_out(sender, || {
            let wanted = open(&given(segment)?.segment, name, channel)?;
            Ok(tombolo_sender { shared: wanted.channel.sender()?.into_shared() })
        })
    })
}

/// Closes the end, and sets `*sender` to null. Does nothing if it is null already. What is held of
/// it can still be committed, and keeps the end until then.
///
/// Threads: no other call may be using it. Waits: never. Fork: in a child, frees the handle
/// alone. Crash: as if it had been closed.
#[unsafe(no_mangle)]
pub extern "C" fn tombolo_sender_close(sender: Option<&mut Option<Box<tombolo_sender>>>) -> c_int {
    door(|| match closed(sender)? {
        Some(sender) => Ok(sender.shared.close().map(|()| 0)?),
        None => Ok(0),
    })
}

/// Sends a copy of the message; in a channel of elements, of exactly one. 0: it is in the
/// channel. −ECOMM: it is, and a receiver that sleeps could not be woken.
///
/// Threads: any, also at the same time; of an SPSC channel one, and −EBUSY for the others.
/// Waits: for room, at most `timeout_ns`. Fork: −ECHILD in a child. Crash: killed in the middle,
/// the message is sent whole or not at all.
#[unsafe(no_mangle)]
pub extern "C" fn tombolo_send(
    sender: Option<&tombolo_sender>,
    data: *const c_void,
    length: usize,
    timeout_ns: i64,
) -> c_int {
    door(|| {
        let (message, sender) = (bytes(data, length)?, given(sender)?.shared.lend()?);
        by_time!(
            Wait::of(timeout_ns),
            sender.try_send(message),
            time => sender.send_timeout(message, time),
            sender.send(message)
        )?;
        Ok(0)
    })
}

/// Sends copies of the messages in order, and returns how many it has sent. That is fewer than
/// `messages_count` if there was no more room in time, or the sending came to an end; it is a
/// failure only if it has sent none.
///
/// Threads: as for `tombolo_send`. Waits: for room, at most `timeout_ns` in all. Fork: −ECHILD in
/// a child. Crash: killed in the middle, the first part is sent.
#[unsafe(no_mangle)]
pub extern "C" fn tombolo_send_batch(
    sender: Option<&tombolo_sender>,
    messages: *const tombolo_bytes,
    messages_count: usize,
    timeout_ns: i64,
) -> c_int {
    door(|| {
        let sender = given(sender)?;
        let given = items(messages, messages_count)?.iter();
        let messages: Vec<&[u8]> =
            given.map(|one| bytes(one.data, one.length)).collect::<Result<_, _>>()?;
        let lent = sender.shared.lend()?;
        let sent = match Wait::of(timeout_ns) {
            Wait::Now => match lent.try_send_batch(&messages) {
                Ok(0) if !messages.is_empty() => Err(Failure::again(c"the channel is full")),
                sent => sent.or_else(some_sent),
            },
            Wait::For(time) => {
                lent.send_batch_timeout(&messages, time).map(|()| messages.len()).or_else(some_sent)
            }
            Wait::Forever => lent.send_batch(&messages).map(|()| messages.len()).or_else(some_sent),
        };
        sent.map(count)
    })
}

/// Of a batch of which a part was sent, how many.
fn some_sent<E: Into<Failure>>(error: SendBatchError<E>) -> Result<usize, Failure> {
    if error.sent == 0 { Err(error.into()) } else { Ok(error.sent) }
}

/// Makes room for a message of up to `length` bytes, to be written in place; in a channel of
/// elements, for one. `tombolo_grant_commit` sends it. Several may be held at a time, of a
/// broadcast channel as many as it has publishers to spare; in an SPSC channel one, and −EBUSY for
/// others.
///
/// In a channel of elements, receivers do not see later messages before this one is committed or
/// given up.
///
/// Threads: as for `tombolo_send`. Waits: for room, at most `timeout_ns`. Fork: −ECHILD in a
/// child. Crash: the room of a killed process becomes free.
#[unsafe(no_mangle)]
pub extern "C" fn tombolo_reserve(
    sender: Option<&tombolo_sender>,
    length: usize,
    timeout_ns: i64,
    grant: Option<&mut MaybeUninit<Option<Box<tombolo_grant>>>>,
) -> c_int {
    door(|| {
        give_out(grant, || {
            let sender = &given(sender)?.shared;
            let grant = by_time!(
                Wait::of(timeout_ns),
                sender.try_reserve(length),
                time => sender.reserve_timeout(length, time),
                sender.reserve(length)
            )?;
            Ok(tombolo_grant(Mutex::new(grant)))
        })
    })
}

/// Where the message is to be written, and in `*room`, if that is not null, for how many bytes
/// there is room. At first the bytes are those of an earlier message. Null after a failure. Valid
/// until the grant is committed or aborted. Other processes can write there, too, if they do not
/// keep to the protocol.
///
/// Threads: one at a time. Waits: never. Fork: a child must not write there. Crash: as for
/// `tombolo_reserve`.
#[unsafe(no_mangle)]
pub extern "C" fn tombolo_grant_data(
    grant: Option<&tombolo_grant>,
    room: Option<&mut MaybeUninit<usize>>,
) -> *mut c_void {
    pointer(|| {
        let mut grant = given(grant)?.0.try_lock().map_err(|_| Failure::busy())?;
        if let Some(room) = room {
            room.write(grant.len());
        }
        Ok(grant.as_mut_ptr().cast_const())
    })
    .cast_mut()
    .cast()
}

/// Sends the first `length` bytes of what was written; in a channel of elements all of it. Sets
/// `*grant` to null, also after a failure, when nothing was sent; but for −ECOMM: the message is
/// in the channel, and a receiver that sleeps could not be woken.
///
/// Threads: one at a time. Waits: in a channel of bytes and a broadcast channel, for a place among
/// the messages, if others have filled the channel since. Fork: −ECHILD in a child. Crash: killed
/// in the middle, the message is sent whole or not at all.
#[unsafe(no_mangle)]
pub extern "C" fn tombolo_grant_commit(
    grant: Option<&mut Option<Box<tombolo_grant>>>,
    length: usize,
) -> c_int {
    door(|| {
        let grant = taken(grant)?.0.into_inner();
        Ok(grant.unwrap_or_else(|poison| poison.into_inner()).commit(length).map(|()| 0)?)
    })
}

/// Gives the room up, and sets `*grant` to null. Does nothing if it is null already.
///
/// Threads: one at a time. Waits: never. Fork: in a child, frees the handle alone. Crash: as for
/// `tombolo_reserve`.
#[unsafe(no_mangle)]
pub extern "C" fn tombolo_grant_abort(grant: Option<&mut Option<Box<tombolo_grant>>>) -> c_int {
    door(|| closed(grant).map(|_| 0))
}

/// Waits until the broadcast channel of this publisher has so many subscribers. Each of them gets
/// what is published from then on. −EOPNOTSUPP for other channels.
///
/// Threads: any. Waits: at most `timeout_ns`. Fork: −ECHILD in a child. Crash: holds nothing.
#[unsafe(no_mangle)]
pub extern "C" fn tombolo_wait_for_subscribers(
    sender: Option<&tombolo_sender>,
    subscribers: u64,
    timeout_ns: i64,
) -> c_int {
    door(|| {
        let lent = given(sender)?.shared.lend()?;
        let wait = Wait::of(timeout_ns);
        let timeout = wait.most().unwrap_or(Duration::MAX);
        match (lent.wait_for_timeout(subscribers, timeout), wait) {
            (None, _) => Err(Failure::new(libc::EOPNOTSUPP, "it is no broadcast channel")),
            (Some(Err(error)), Wait::Now) if error.is_timeout() => {
                Err(Failure::again(c"there are fewer subscribers"))
            }
            (Some(came), _) => Ok(came.map(|()| 0)?),
        }
    })
}

/// Ends the waits of this end with −ECANCELED, in whichever thread, and refuses later ones, if
/// `cancelled` is not 0; otherwise lets it wait again.
///
/// Threads: any. Waits: until the calls have ended their waits, a moment. Fork: −ECHILD in a
/// child. Crash: holds nothing.
#[unsafe(no_mangle)]
pub extern "C" fn tombolo_sender_cancel(
    sender: Option<&tombolo_sender>,
    cancelled: c_int,
) -> c_int {
    door(|| {
        let sender = &given(sender)?.shared;
        if cancelled == 0 {
            sender.reset();
            return Ok(0);
        }
        Ok(sender.cancel().map(|()| 0)?)
    })
}

/// Says what this end is like just now.
///
/// Threads: as for `tombolo_send`. Waits: never. Fork: −ECHILD in a child. Crash: holds nothing.
#[unsafe(no_mangle)]
pub extern "C" fn tombolo_sender_status(
    sender: Option<&tombolo_sender>,
    status: *mut tombolo_status,
) -> c_int {
    door(|| {
        let lent = given(sender)?.shared.lend()?;
        let (length, capacity, element_size) = (lent.len(), lent.capacity(), lent.element_size());
        let struct_size = size_of::<tombolo_status>();
        fill_in(
            status,
            &tombolo_status { struct_size, length, capacity, element_size, missed: 0 },
        )?;
        Ok(0)
    })
}

/// A descriptor for poll(2) that is readable (POLLIN) while a send could go on: until
/// `tombolo_send` with TOMBOLO_NOW answers −EAGAIN. It is open until the end is closed; do not
/// close it. The first call starts a thread of the process, which all descriptors of the segment
/// share.
///
/// Threads: one, which also makes the sends; −EBUSY while another one is in a call. Waits: never.
/// Fork: −ECHILD in a child. Crash: holds nothing.
#[unsafe(no_mangle)]
pub extern "C" fn tombolo_sender_fd(sender: Option<&tombolo_sender>) -> c_int {
    door(|| Ok(given(sender)?.shared.readiness()?.as_raw_fd()))
}
