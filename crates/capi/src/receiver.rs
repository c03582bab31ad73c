//! Receiving.

use std::cell::RefCell;
use std::ffi::{c_char, c_int, c_void};
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::sync::Mutex;

use tombolo::{AnyOwnedDelivery, AnyReceiver, ByteBatch, ChannelKind, Lent, Shared};

use crate::channel::{open, tombolo_channel};
use crate::failure::{Failure, count, door, pointer};
use crate::given::{Wait, by_time, closed, copy_out, fill_in, give_out, given, room, taken};
use crate::segment::tombolo_segment;
use crate::status::tombolo_status;

/// The receiving end of a channel, or a subscriber.
#[derive(Debug)]
pub struct tombolo_receiver {
    pub(crate) shared: Shared<AnyReceiver>,
    longest: usize,
}

/// A message that is read where it is, and that is in hand until it is released or given back.
#[derive(Debug)]
pub struct tombolo_delivery {
    delivery: AnyOwnedDelivery,
}

/// Messages that were received, side by side in one piece of memory, which can be used again.
#[derive(Debug)]
pub struct tombolo_batch(Mutex<ByteBatch>);

thread_local! {
    static MESSAGE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// What a thread keeps for its next message.
const KEPT: usize = 1 << 20;

impl tombolo_receiver {
    fn lend(&self) -> Result<Lent<'_, AnyReceiver>, Failure> {
        Ok(self.shared.lend()?)
    }
}

/// Opens a receiving end of a channel, or of a broadcast channel a subscriber, as the description
/// says; creates the channel if it has a capacity. Null in place of a description opens what there
/// is. `tombolo_receiver_close` closes it.
///
/// Threads: any. Waits: for another process that is joining or creating. Fork: a child opens its
/// own. Crash: the kernel lets go of what a killed process had.
#[unsafe(no_mangle)]
pub extern "C" fn tombolo_receiver_open(
    segment: Option<&tombolo_segment>,
    name: *const c_char,
    channel: *const tombolo_channel,
    receiver: Option<&mut MaybeUninit<Option<Box<tombolo_receiver>>>>,
) -> c_int {
    door(|| {
        give_out(receiver, || {
            let wanted = open(&given(segment)?.segment, name, channel)?;
            let (channel, start) = (&wanted.channel, wanted.start);
            let receiver = match channel.kind() {
                ChannelKind::Broadcast | ChannelKind::BroadcastBytes if wanted.reliable => {
                    channel.reliable_subscriber_from(start)?
                }
                ChannelKind::Broadcast | ChannelKind::BroadcastBytes => {
                    channel.subscriber_from(start)?
                }
                _ => channel.receiver()?,
            };
            let longest = receiver.element_size();
            Ok(tombolo_receiver { shared: receiver.into_shared(), longest })
        })
    })
}

/// Closes the end, and sets `*receiver` to null. Does nothing if it is null already. What is held
/// of it can still be read, and keeps the end until it is released.
///
/// Threads: no other call may be using it. Waits: never. Fork: in a child, frees the handle
/// alone. Crash: as if it had been closed.
#[unsafe(no_mangle)]
pub extern "C" fn tombolo_receiver_close(
    receiver: Option<&mut Option<Box<tombolo_receiver>>>,
) -> c_int {
    door(|| match closed(receiver)? {
        Some(receiver) => Ok(receiver.shared.close().map(|()| 0)?),
        None => Ok(0),
    })
}

/// Receives a message: copies it to `data`, and its length to `*length`, if that is not null.
/// There must be room for the longest message (`tombolo_receiver_status`): otherwise −EMSGSIZE,
/// and nothing is taken. −EOVERFLOW: this subscriber has missed messages
/// (`tombolo_receiver_status`); receive again. −EPIPE: nothing is left, and the last sender is
/// gone.
///
/// Threads: any, also at the same time; of an SPSC channel and of a subscriber one, and −EBUSY
/// for the others. Waits: for a message, at most `timeout_ns`. Fork: −ECHILD in a child. Crash:
/// killed in the middle, another receiver gets the message; one that was received dies with its
/// process.
#[unsafe(no_mangle)]
pub extern "C" fn tombolo_recv(
    receiver: Option<&tombolo_receiver>,
    data: *mut c_void,
    room_bytes: usize,
    length: Option<&mut MaybeUninit<usize>>,
    timeout_ns: i64,
) -> c_int {
    door(|| {
        let receiver = given(receiver)?;
        if room_bytes < receiver.longest {
            return Err(Failure::new(
                libc::EMSGSIZE,
                format!(
                    "there is room for {room_bytes} bytes, and the longest message has {}",
                    receiver.longest
                ),
            ));
        }
        let room = room(data.cast(), room_bytes)?;
        let lent = receiver.lend()?;
        MESSAGE.with_borrow_mut(|message| {
            by_time!(
                Wait::of(timeout_ns),
                lent.try_recv(message),
                time => lent.recv_timeout(message, time),
                lent.recv(message)
            )?;
            copy_out(message, room, length);
            if message.capacity() > KEPT {
                *message = Vec::new();
            }
            Ok(0)
        })
    })
}

/// Receives up to `most` messages into the batch, in place of what was in it, and returns how
/// many. Waits for the first one alone.
///
/// Threads: as for `tombolo_recv`; the batch is used by one at a time. Waits: at most
/// `timeout_ns`. Fork: −ECHILD in a child. Crash: as for `tombolo_recv`.
#[unsafe(no_mangle)]
pub extern "C" fn tombolo_recv_batch(
    receiver: Option<&tombolo_receiver>,
    batch: Option<&tombolo_batch>,
    most: usize,
    timeout_ns: i64,
) -> c_int {
    door(|| {
        let receiver = given(receiver)?;
        let mut batch = given(batch)?.0.try_lock().map_err(|_| Failure::busy())?;
        let lent = receiver.lend()?;
        batch.clear();
        let most = most.min(c_int::MAX as usize);
        by_time!(
            Wait::of(timeout_ns),
            lent.try_recv_batch_into(&mut batch, most),
            time => lent.recv_batch_into_timeout(&mut batch, most, time),
            lent.recv_batch_into(&mut batch, most)
        )
        .map(count)
    })
}

/// Makes a batch, without messages. `tombolo_batch_free` frees it.
///
/// Threads: any. Waits: never. Fork: may be called. Crash: holds nothing.
#[unsafe(no_mangle)]
pub extern "C" fn tombolo_batch_new(
    batch: Option<&mut MaybeUninit<Option<Box<tombolo_batch>>>>,
) -> c_int {
    door(|| give_out(batch, || Ok(tombolo_batch(Mutex::new(ByteBatch::new())))))
}

/// The message at `index` of the batch, from 0 on, and in `*length`, if that is not null, how long
/// it is. Null if there is none. Valid until the batch is received into again, or freed.
///
/// Threads: one at a time. Waits: never. Fork: may be called. Crash: holds nothing.
#[unsafe(no_mangle)]
pub extern "C" fn tombolo_batch_get(
    batch: Option<&tombolo_batch>,
    index: usize,
    length: Option<&mut MaybeUninit<usize>>,
) -> *const c_void {
    pointer(|| {
        let batch = given(batch)?.0.try_lock().map_err(|_| Failure::busy())?;
        let message = batch.get(index).ok_or(Failure::bad(c"the batch has fewer messages"))?;
        if let Some(length) = length {
            length.write(message.len());
        }
        Ok(message.as_ptr())
    })
    .cast()
}

/// Frees the batch, and sets `*batch` to null. Does nothing if it is null already.
///
/// Threads: no other call may be using it. Waits: never. Fork: may be called. Crash: holds
/// nothing.
#[unsafe(no_mangle)]
pub extern "C" fn tombolo_batch_free(batch: Option<&mut Option<Box<tombolo_batch>>>) -> c_int {
    door(|| closed(batch).map(|_| 0))
}

/// Takes a message, to be read where it is. Until it is released it is in hand: its place is
/// occupied, and if the process dies, another receiver gets it. Several may be held at a time; of
/// an SPSC channel and of a subscriber one, and −EBUSY for others. A subscriber for which
/// publishers do not wait gets a copy. Errors as for `tombolo_recv`.
///
/// Threads: as for `tombolo_recv`. Waits: for a message, at most `timeout_ns`. Fork: −ECHILD in a
/// child. Crash: the messages that a killed process held come again, as often as the channel says.
#[unsafe(no_mangle)]
pub extern "C" fn tombolo_take(
    receiver: Option<&tombolo_receiver>,
    timeout_ns: i64,
    delivery: Option<&mut MaybeUninit<Option<Box<tombolo_delivery>>>>,
) -> c_int {
    door(|| {
        give_out(delivery, || {
            let receiver = &given(receiver)?.shared;
            let delivery = by_time!(
                Wait::of(timeout_ns),
                receiver.try_take(),
                time => receiver.take_timeout(time),
                receiver.take()
            )?;
            Ok(tombolo_delivery { delivery })
        })
    })
}

/// The message, and in `*length`, if that is not null, how long it is. Null after a failure. Valid
/// until it is released or given back; also when the segment is removed meanwhile. Other processes
/// can write there, if they do not keep to the protocol.
///
/// Threads: any. Waits: never. Fork: a child may read it while the parent holds it. Crash: as for
/// `tombolo_take`.
#[unsafe(no_mangle)]
pub extern "C" fn tombolo_delivery_data(
    delivery: Option<&tombolo_delivery>,
    length: Option<&mut MaybeUninit<usize>>,
) -> *const c_void {
    pointer(|| {
        let delivery = &given(delivery)?.delivery;
        if let Some(length) = length {
            length.write(delivery.len());
        }
        Ok(delivery.as_ptr())
    })
    .cast()
}

/// How many receivers have died over this message, or have given it back after a failure.
///
/// Threads: any. Waits: never. Fork: may be called. Crash: holds nothing.
#[unsafe(no_mangle)]
pub extern "C" fn tombolo_delivery_attempts(delivery: Option<&tombolo_delivery>) -> c_int {
    door(|| Ok(given(delivery)?.delivery.attempts().into()))
}

/// Acknowledges the message: it is done, and its place becomes free. Sets `*delivery` to null.
/// Does nothing if it is null already.
///
/// Threads: any, also another one than has taken it. Waits: never. Fork: in a child, frees the
/// handle alone. Crash: killed before this returns, the message may come again.
#[unsafe(no_mangle)]
pub extern "C" fn tombolo_delivery_release(
    delivery: Option<&mut Option<Box<tombolo_delivery>>>,
) -> c_int {
    door(|| closed(delivery).map(|_| 0))
}

/// Gives the message back, for another receiver or the next call of this one; `failed`, if it is
/// not 0, counts in its attempts, in an MPMC channel. Sets `*delivery` to null.
///
/// Threads: as for `tombolo_delivery_release`. Waits: never. Fork: in a child, frees the handle
/// alone. Crash: likewise.
#[unsafe(no_mangle)]
pub extern "C" fn tombolo_delivery_give_back(
    delivery: Option<&mut Option<Box<tombolo_delivery>>>,
    failed: c_int,
) -> c_int {
    door(|| {
        let delivery = taken(delivery)?.delivery;
        if failed == 0 {
            delivery.give_back();
        } else {
            delivery.give_back_counted();
        }
        Ok(0)
    })
}

/// Ends the waits of this end with −ECANCELED, in whichever thread, and refuses later ones, if
/// `cancelled` is not 0; otherwise lets it wait again. Calls that do not wait go on.
///
/// Threads: any. Waits: until the calls have ended their waits, a moment. Fork: −ECHILD in a
/// child. Crash: holds nothing.
#[unsafe(no_mangle)]
pub extern "C" fn tombolo_receiver_cancel(
    receiver: Option<&tombolo_receiver>,
    cancelled: c_int,
) -> c_int {
    door(|| {
        let receiver = &given(receiver)?.shared;
        if cancelled == 0 {
            receiver.reset();
            return Ok(0);
        }
        Ok(receiver.cancel().map(|()| 0)?)
    })
}

/// Says what this end is like just now.
///
/// Threads: as for `tombolo_recv`. Waits: never. Fork: −ECHILD in a child. Crash: holds nothing.
#[unsafe(no_mangle)]
pub extern "C" fn tombolo_receiver_status(
    receiver: Option<&tombolo_receiver>,
    status: *mut tombolo_status,
) -> c_int {
    door(|| {
        let receiver = given(receiver)?;
        let lent = receiver.lend()?;
        let ours = tombolo_status {
            struct_size: size_of::<tombolo_status>(),
            length: lent.len(),
            capacity: lent.capacity(),
            element_size: receiver.longest,
            missed: lent.missed(),
        };
        fill_in(status, &ours)?;
        Ok(0)
    })
}

/// A descriptor for poll(2) that is readable (POLLIN) while a receive could go on: until
/// `tombolo_recv` with TOMBOLO_NOW answers −EAGAIN. It is open until the end is closed; do not
/// close it. The first call starts a thread of the process, which all descriptors of the segment
/// share.
///
/// Threads: one, which also receives; −EBUSY while another one is in a call. Waits: never. Fork:
/// −ECHILD in a child. Crash: holds nothing.
#[unsafe(no_mangle)]
pub extern "C" fn tombolo_receiver_fd(receiver: Option<&tombolo_receiver>) -> c_int {
    door(|| Ok(given(receiver)?.shared.readiness()?.as_raw_fd()))
}
