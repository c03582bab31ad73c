//! Waiting for any of many ends.

use std::ffi::c_int;
use std::mem::MaybeUninit;
use std::sync::Mutex;

use tombolo::{Ready, Side, WaitSet, WaitSetWaker};

use crate::failure::{Failure, count, door};
use crate::given::{Wait, closed, give_out, given, room};
use crate::receiver::tombolo_receiver;
use crate::segment::tombolo_segment;
use crate::sender::tombolo_sender;

/// Waits for any of many senders and receivers of one segment.
#[derive(Debug)]
pub struct tombolo_wait_set {
    set: Mutex<Set>,
    waker: WaitSetWaker,
}

#[derive(Debug)]
struct Set {
    members: WaitSet<'static>,
    ready: Vec<Ready>,
}

/// A member that could go on.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct tombolo_ready {
    /// The key that it was added with.
    pub key: u64,
    /// 1 if it is a sender, 0 if it is a receiver.
    pub sends: u32,
    /// 0.
    pub reserved: u32,
}

/// Makes a set for ends of this segment, without members. `tombolo_wait_set_free` frees it.
///
/// Threads: any. Waits: never. Fork: a child makes its own. Crash: holds nothing.
#[unsafe(no_mangle)]
pub extern "C" fn tombolo_wait_set_new(
    segment: Option<&tombolo_segment>,
    set: Option<&mut MaybeUninit<Option<Box<tombolo_wait_set>>>>,
) -> c_int {
    door(|| {
        give_out(set, || {
            let members = WaitSet::new(&given(segment)?.segment);
            let waker = members.waker();
            Ok(tombolo_wait_set { set: Mutex::new(Set { members, ready: Vec::new() }), waker })
        })
    })
}

fn changed(
    set: Option<&tombolo_wait_set>,
    change: impl FnOnce(&mut Set) -> Result<c_int, Failure>,
) -> c_int {
    door(|| change(&mut *given(set)?.set.try_lock().map_err(|_| Failure::busy())?))
}

/// Adds a receiver, under a key that no other member has. The set has a share of it, so it may be
/// closed; it is still an end of the channel until it is removed from the set.
///
/// Threads: the set is used by one at a time, −EBUSY for others. Waits: never. Fork: −ECHILD in a
/// child. Crash: holds nothing.
#[unsafe(no_mangle)]
pub extern "C" fn tombolo_wait_set_add_receiver(
    set: Option<&tombolo_wait_set>,
    receiver: Option<&tombolo_receiver>,
    key: u64,
) -> c_int {
    changed(set, |set| Ok(set.members.add(given(receiver)?.shared.clone(), key).map(|()| 0)?))
}

/// Adds a sender, in the same way.
///
/// Threads: as for `tombolo_wait_set_add_receiver`. Waits: never. Fork: −ECHILD in a child. Crash:
/// holds nothing.
#[unsafe(no_mangle)]
pub extern "C" fn tombolo_wait_set_add_sender(
    set: Option<&tombolo_wait_set>,
    sender: Option<&tombolo_sender>,
    key: u64,
) -> c_int {
    changed(set, |set| Ok(set.members.add(given(sender)?.shared.clone(), key).map(|()| 0)?))
}

/// Removes the member with this key; −ENOENT if there is none.
///
/// Threads: as for `tombolo_wait_set_add_receiver`. Waits: never. Fork: may be called. Crash:
/// holds nothing.
#[unsafe(no_mangle)]
pub extern "C" fn tombolo_wait_set_remove(set: Option<&tombolo_wait_set>, key: u64) -> c_int {
    changed(set, |set| {
        let no_member = || Failure::new(libc::ENOENT, "the set has no member with this key");
        set.members.remove(key).then_some(0).ok_or_else(no_member)
    })
}

/// Waits until members are ready: a receiver may receive, a sender may send, or its next call has
/// an error to report. Writes up to `most` of them, and returns how many; those beyond that are
/// ready again next time. 0: the time is up, or `tombolo_wait_set_wake` was called. A member may
/// be ready although nothing is there, because another process was faster: use TOMBOLO_NOW.
///
/// Threads: one at a time, −EBUSY for others; also −EBUSY while another thread is in a call of a
/// member, or a message is held of one that does one thing at a time. Waits: at most `timeout_ns`.
/// Fork: −ECHILD in a child. Crash: holds nothing.
#[unsafe(no_mangle)]
pub extern "C" fn tombolo_wait_set_wait(
    set: Option<&tombolo_wait_set>,
    ready: *mut tombolo_ready,
    most: usize,
    timeout_ns: i64,
) -> c_int {
    changed(set, |set| {
        let room = room(ready, most)?;
        let Set { members, ready } = set;
        match Wait::of(timeout_ns) {
            Wait::Now => members.try_wait(ready)?,
            wait => members.wait(ready, wait.most())?,
        };
        for (at, one) in room.iter_mut().zip(&*ready) {
            let sends = u32::from(one.side == Side::Sender);
            at.write(tombolo_ready { key: one.key, sends, reserved: 0 });
        }
        Ok(count(ready.len().min(most)))
    })
}

/// Ends the wait of the set that goes on, or the next one, with 0.
///
/// Threads: any. Waits: never. Fork: −ECHILD in a child. Crash: holds nothing.
#[unsafe(no_mangle)]
pub extern "C" fn tombolo_wait_set_wake(set: Option<&tombolo_wait_set>) -> c_int {
    door(|| Ok(given(set)?.waker.wake().map(|()| 0)?))
}

/// Frees the set, and sets `*set` to null. Does nothing if it is null already. The members stay as
/// they are.
///
/// Threads: no other call may be using it. Waits: never. Fork: may be called. Crash: holds
/// nothing.
#[unsafe(no_mangle)]
pub extern "C" fn tombolo_wait_set_free(set: Option<&mut Option<Box<tombolo_wait_set>>>) -> c_int {
    door(|| closed(set).map(|_| 0))
}
