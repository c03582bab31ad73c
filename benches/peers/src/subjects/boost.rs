//! `boost::interprocess::message_queue`: with the calls that wait, as in its
//! documentation's example, or with those that do not. If its headers are missing
//! when this is built, the subject is missing too.

#![allow(unsafe_code)]

use std::ffi::{CString, c_char, c_int, c_void};
use std::hint::spin_loop;
use std::ops::Range;
use std::ptr::NonNull;

use super::files::{label, named};
use crate::failure::Failure;
use crate::harness::{Mechanism, Message, Rx, Setting, Shared, Subject, Tx};
use crate::versions::version;

pub(crate) const BOOST: &str = concat!("Boost ", version!("boost"), " message_queue");
pub(crate) const BOOST_TRYING: &str =
    concat!("Boost ", version!("boost"), " message_queue, trying");

pub(super) fn all() -> Vec<Box<dyn Subject>> {
    vec![Box::new(Boost { trying: false }), Box::new(Boost { trying: true })]
}

#[repr(C)]
struct Queue {
    _private: [u8; 0],
}

// SAFETY: as boost.cpp defines them; none lets an exception out.
unsafe extern "C" {
    fn boost_queue_create(name: *const c_char, messages: usize, bytes: usize) -> bool;
    fn boost_queue_open(name: *const c_char) -> *mut Queue;
    fn boost_queue_close(queue: *mut Queue);
    fn boost_queue_send(queue: *mut Queue, message: *const c_void, bytes: usize) -> bool;
    fn boost_queue_receive(queue: *mut Queue, message: *mut c_void, bytes: usize) -> bool;
    fn boost_queue_try_send(queue: *mut Queue, message: *const c_void, bytes: usize) -> c_int;
    fn boost_queue_try_receive(queue: *mut Queue, message: *mut c_void, bytes: usize) -> c_int;
}

struct Boost {
    trying: bool,
}

struct End {
    queue: NonNull<Queue>,
    trying: bool,
}

impl Drop for End {
    fn drop(&mut self) {
        // SAFETY: opened, and used by nobody else.
        unsafe { boost_queue_close(self.queue.as_ptr()) };
    }
}

fn queue_name(shared: &Shared, channel: usize) -> Result<CString, Failure> {
    CString::new(label(shared, channel)).map_err(|error| Failure::broken("a queue's name", error))
}

fn failed(what: &str) -> Failure {
    Failure::Broken(format!("cannot {what}"))
}

impl Boost {
    fn open(&self, shared: &Shared, channel: usize) -> Result<End, Failure> {
        let name = queue_name(shared, channel)?;
        // SAFETY: the name ends with a zero.
        let queue = NonNull::new(unsafe { boost_queue_open(name.as_ptr()) });
        let queue = queue.ok_or_else(|| failed("open the queue"))?;
        Ok(End { queue, trying: self.trying })
    }
}

impl Mechanism for Boost {
    type Tx<const W: usize> = End;
    type Rx<const W: usize> = End;

    fn name(&self) -> String {
        if self.trying { BOOST_TRYING } else { BOOST }.to_owned()
    }

    fn lap(&self, setting: &Setting) -> u64 {
        setting.slots as u64
    }

    fn prepare(&self, setting: &Setting) -> Result<Shared, Failure> {
        let shared = named();
        for channel in 0..setting.channels() {
            let name = queue_name(&shared, channel)?;
            // SAFETY: the name ends with a zero.
            if !unsafe { boost_queue_create(name.as_ptr(), setting.slots, 8 * setting.words) } {
                return Err(failed("make the queue"));
            }
        }
        Ok(shared)
    }

    fn tx<const W: usize>(&self, shared: &Shared, _: &Setting, n: usize) -> Result<End, Failure> {
        self.open(shared, n)
    }

    fn rx<const W: usize>(&self, shared: &Shared, _: &Setting, n: usize) -> Result<End, Failure> {
        self.open(shared, n)
    }
}

impl<const W: usize> Tx<W> for End {
    fn send(&mut self, numbers: Range<u64>) -> Result<(), Failure> {
        for number in numbers {
            let message = [number; W];
            let (queue, bytes) = (self.queue.as_ptr(), size_of_val(&message));
            let message = message.as_ptr().cast();
            let sent = if self.trying {
                loop {
                    // SAFETY: an open queue, and so many bytes.
                    match unsafe { boost_queue_try_send(queue, message, bytes) } {
                        0 => spin_loop(),
                        done => break done == 1,
                    }
                }
            } else {
                // SAFETY: as above.
                unsafe { boost_queue_send(queue, message, bytes) }
            };
            if !sent {
                return Err(failed("send"));
            }
        }
        Ok(())
    }
}

impl<const W: usize> Rx<W> for End {
    fn receive(&mut self, _: u64, mut see: impl FnMut(&Message<W>)) -> Result<u64, Failure> {
        let mut message = [0; W];
        let (queue, bytes) = (self.queue.as_ptr(), size_of_val(&message));
        let room = message.as_mut_ptr().cast();
        let received = if self.trying {
            loop {
                // SAFETY: an open queue, and room for so many bytes, of which
                // any are words.
                match unsafe { boost_queue_try_receive(queue, room, bytes) } {
                    0 => spin_loop(),
                    done => break done == 1,
                }
            }
        } else {
            // SAFETY: as above.
            unsafe { boost_queue_receive(queue, room, bytes) }
        };
        if !received {
            return Err(failed("receive"));
        }
        see(&message);
        Ok(1)
    }
}
