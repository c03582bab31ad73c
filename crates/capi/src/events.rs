//! Joins, leaves and deaths.

use std::ffi::{c_char, c_int};
use std::mem::MaybeUninit;
use std::sync::Mutex;

use tombolo::{Event, Events};

use crate::failure::{Failure, door};
use crate::given::{Extensible, Wait, closed, fill_in, give_out, given};
use crate::segment::tombolo_segment;

/// An event, of `tombolo_event.kind`: a participant has joined.
pub const TOMBOLO_JOINED: u32 = 1;
/// A participant has left by itself.
pub const TOMBOLO_LEFT: u32 = 2;
/// A participant has died, and what it held is given back.
pub const TOMBOLO_DIED: u32 = 3;
/// So many events were overwritten before they were read.
pub const TOMBOLO_MISSED: u32 = 4;

/// An event in the life of a participant.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct tombolo_event {
    /// sizeof(tombolo_event)
    pub struct_size: usize,
    /// TOMBOLO_JOINED and the others.
    pub kind: u32,
    /// Its process, as numbered in its own pid namespace.
    pub pid: u32,
    /// Its user.
    pub uid: u32,
    /// Its slot in the table. Slot and life together are used once.
    pub slot: u32,
    /// Which of the slot's lives it is.
    pub life: u64,
    /// How many events were missed, if some were.
    pub missed: u64,
    /// The event in words, with a zero at their end.
    pub text: [c_char; 256],
}

// SAFETY: numbers, the first of which is its size.
unsafe impl Extensible for tombolo_event {}

/// A subscription to the events of a segment.
#[derive(Debug)]
pub struct tombolo_events(Mutex<Events>);

/// Subscribes to the participants that join, leave and die from now on.
///
/// Threads: any. Waits: never. Fork: the subscription is the parent's. Crash: holds nothing in
/// the segment.
#[unsafe(no_mangle)]
pub extern "C" fn tombolo_events_open(
    segment: Option<&tombolo_segment>,
    events: Option<&mut MaybeUninit<Option<Box<tombolo_events>>>>,
) -> c_int {
    door(|| give_out(events, || Ok(tombolo_events(Mutex::new(given(segment)?.segment.events())))))
}

/// Fills in the next event: −EAGAIN or −ETIMEDOUT if there is none.
///
/// Threads: one at a time; −EBUSY while another one is in a call. Waits: at most `timeout_ns`.
/// Fork: −ECHILD in a child. Crash: each death is told once, whichever process dies over it.
#[unsafe(no_mangle)]
pub extern "C" fn tombolo_events_next(
    events: Option<&tombolo_events>,
    event: *mut tombolo_event,
    timeout_ns: i64,
) -> c_int {
    door(|| {
        let events = given(events)?.0.try_lock().map_err(|_| Failure::busy())?;
        // Before an event is taken.
        fill_in(event, &of(&Event::Missed(0)))?;
        let next = match Wait::of(timeout_ns) {
            Wait::Now => events.try_recv()?.ok_or(Failure::again(c"there is no event")),
            Wait::For(time) => {
                events.recv_timeout(time)?.ok_or(Failure::timed_out(c"no event has come"))
            }
            Wait::Forever => Ok(events.recv()?),
        };
        fill_in(event, &of(&next?))?;
        Ok(0)
    })
}

fn of(event: &Event) -> tombolo_event {
    let mut told = tombolo_event {
        struct_size: size_of::<tombolo_event>(),
        kind: 0,
        pid: 0,
        uid: 0,
        slot: 0,
        life: 0,
        missed: 0,
        text: [0; 256],
    };
    for (at, byte) in told.text[..255].iter_mut().zip(event.to_string().bytes()) {
        *at = byte.cast_signed() as c_char;
    }
    let (kind, pid, uid, slot, life) = match event {
        Event::Joined(one) => (TOMBOLO_JOINED, one.pid, one.uid, one.slot, one.life),
        Event::Left(one) => (TOMBOLO_LEFT, one.pid, one.uid, one.slot, one.life),
        Event::Died(one) => (TOMBOLO_DIED, one.pid, one.uid, one.slot, one.life),
        Event::Missed(missed) => {
            told.missed = *missed;
            (TOMBOLO_MISSED, 0, 0, 0, 0)
        }
        _ => (0, 0, 0, 0, 0),
    };
    tombolo_event { kind, pid, uid, slot: slot.into(), life, ..told }
}

/// Ends the subscription, and sets `*events` to null. Does nothing if it is null already.
///
/// Threads: no other call may be using it. Waits: never. Fork: may be called. Crash: holds
/// nothing.
#[unsafe(no_mangle)]
pub extern "C" fn tombolo_events_close(events: Option<&mut Option<Box<tombolo_events>>>) -> c_int {
    door(|| closed(events).map(|_| 0))
}
