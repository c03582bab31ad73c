//! A queue of objects, of which `tombolo.multiprocessing` makes those of a context.
//!
//! Each is an anonymous segment of its own: its memory goes with its last process. It is
//! addresses for as many of the longest messages as there is room for, and memory for those that
//! are there.

mod job;
mod message;
mod tokens;

use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use tombolo::{
    ByteReceiver, ByteSender, Fault, Lent, OpenError, RecvTimeoutError, Segment, SendAll,
    SendError, SendTimeoutError, Shared, TryRecvError, TrySendError,
};

use crate::buffer::Incoming;
use crate::errors::{IntoPy, OrRaise, raise};
use crate::segment::seconds;
use crate::signals::waiting;
pub(crate) use job::Job;
use message::{Outgoing, Received, Taken};
use tokens::Tokens;

/// Messages up to this length are copied before they are sent: they are in their slots.
const SHORT: usize = 112;
/// Messages from this length on are copied without the interpreter's lock.
const LONG: usize = 32 << 10;
/// What the first of the blocks keeps of its memory; the n-th, the n-th part of it.
const RETAINED: usize = 16 << 20;

/// A queue, as this process has it open.
#[pyclass(frozen, weakref, module = "tombolo._native")]
pub(crate) struct Queue {
    ends: Mutex<Option<Arc<Ends>>>,
}

/// What a process has of a queue.
pub(crate) struct Ends {
    // In the order in which they go: the segment is left with the last of them.
    sender: Shared<ByteSender>,
    receiver: Shared<ByteReceiver>,
    tokens: Option<Tokens>,
    /// Handles of their own, whose descriptors tell an event loop of them.
    polled: Mutex<Polled>,
    segment: Segment,
}

#[derive(Default)]
struct Polled {
    sender: Option<Shared<ByteSender>>,
    receiver: Option<Shared<ByteReceiver>>,
}

impl Ends {
    fn open(segment: Segment, shape: Option<(usize, usize, u8)>, joinable: bool) -> PyResult<Self> {
        let mut jobs = segment.bytes("jobs").lasting();
        if let Some((capacity, longest, redeliver)) = shape {
            jobs = jobs.capacity(capacity, longest).redeliver(redeliver);
        }
        Ok(Self {
            sender: jobs.sender().or_raise()?.into_shared(),
            receiver: jobs.receiver().or_raise()?.into_shared(),
            tokens: joinable.then(|| Tokens::open(&segment)).transpose().or_raise()?,
            polled: Mutex::default(),
            segment,
        })
    }

    fn polled(&self) -> MutexGuard<'_, Polled> {
        self.polled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends without waiting. `false` if there is no room.
    fn try_send(
        &self,
        py: Python<'_>,
        sender: &Shared<ByteSender>,
        message: &Outgoing<'_>,
    ) -> PyResult<bool> {
        let length = message.len();
        let mut sender = sender.lend().or_raise()?;
        if let Some(tokens) = &self.tokens {
            return send_joined(py, sender, tokens, &message.to_vec(), Some(Duration::ZERO));
        }
        let sent = if length <= SHORT {
            let mut short = [0; SHORT];
            message.write(|at, bytes| short[at..at + bytes.len()].copy_from_slice(bytes));
            sender.try_send(&short[..length])
        } else {
            let mut send = move || {
                let mut grant = sender.try_reserve(length)?;
                message.write(|at, bytes| {
                    grant.write_at(at, bytes);
                });
                grant.commit(length).map_err(TrySendError::from)
            };
            if length < LONG { send() } else { py.detach(send) }
        };
        match sent {
            Ok(()) => Ok(true),
            Err(TrySendError::Full(()) | TrySendError::Paused(())) => Ok(false),
            Err(error) => Err(error.into_py()),
        }
    }

    /// Sends. Waits for room, at most that long. `false` if there is none.
    fn send(
        &self,
        py: Python<'_>,
        message: &Outgoing<'_>,
        wait: Option<Duration>,
    ) -> PyResult<bool> {
        let length = message.len();
        let mut sender = self.sender.lend().or_raise()?;
        if let Some(tokens) = &self.tokens {
            return send_joined(py, sender, tokens, &message.to_vec(), wait);
        }
        let sent = waiting(py, move || {
            let mut grant = match wait {
                Some(wait) => sender.reserve_timeout(length, wait)?,
                None => sender.reserve(length)?,
            };
            message.write(|at, bytes| {
                grant.write_at(at, bytes);
            });
            grant.commit(length).map_err(SendTimeoutError::from)
        });
        match sent {
            Ok(()) => Ok(true),
            Err(SendTimeoutError::Timeout(())) => Ok(false),
            Err(error) => Err(error.into_py()),
        }
    }

    /// Takes a message. Waits for it, at most that long.
    fn take(&self, py: Python<'_>, wait: Option<Duration>) -> PyResult<Taken> {
        let taken = match self.receiver.try_take() {
            Ok(taken) => taken,
            Err(TryRecvError::Empty | TryRecvError::Pending) => {
                if wait.is_some_and(|wait| wait.is_zero()) {
                    return Err(raise("Empty", "the queue is empty".into()));
                }
                let taken = waiting(py, || match wait {
                    Some(wait) => self.receiver.take_timeout(wait),
                    None => self.receiver.take().map_err(RecvTimeoutError::from),
                });
                taken.or_raise()?
            }
            Err(error) => return Err(error.into_py()),
        };
        taken.set_retained_memory(RETAINED);
        Ok(taken)
    }

    /// The object of a message, which is done then.
    fn object(&self, py: Python<'_>, taken: Taken) -> PyResult<Py<PyAny>> {
        let received = Received::of(py, &taken);
        // If that fails, the job comes again.
        if let Some(tokens) = &self.tokens
            && let Err(error) = tokens.hold(py)
        {
            taken.give_back();
            return Err(error);
        }
        taken.release();
        received?.object(py)
    }
}

/// Sends a job and its token, or neither.
fn send_joined(
    py: Python<'_>,
    job: Lent<'_, ByteSender>,
    tokens: &Tokens,
    message: &[u8],
    wait: Option<Duration>,
) -> PyResult<bool> {
    let token = tokens.sender.lend().or_raise()?;
    if token.is_full() {
        tokens.forget();
    }
    let send = move || {
        let both = SendAll::new((&*job, &*token)).or_raise()?;
        match both.send_timeout((message, 0), wait.unwrap_or(Duration::MAX)) {
            Ok(()) => Ok(true),
            Err(refused) => match refused.reason {
                SendTimeoutError::Timeout(_) => Ok(false),
                SendTimeoutError::TooLong { length, longest, .. } => {
                    Err(SendError::TooLong { message: (), length, longest }.into_py())
                }
                SendTimeoutError::Fault { fault, .. } => Err(fault.into_py()),
                other => Err(raise("Error", other.to_string())),
            },
        }
    };
    if wait.is_some_and(|wait| wait.is_zero()) { send() } else { waiting(py, send) }
}

impl Queue {
    fn of(ends: Ends) -> Self {
        Self { ends: Mutex::new(Some(Arc::new(ends))) }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<Ends>>> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ends(&self) -> PyResult<Arc<Ends>> {
        let closed = || raise("HandleClosed", "the queue is closed in this process".into());
        self.lock().clone().ok_or_else(closed)
    }
}

/// Does something with an object that is to be sent.
fn with_message<R>(
    tag: u8,
    payload: &Bound<'_, PyBytes>,
    buffers: Option<Vec<(Bound<'_, PyAny>, bool)>>,
    act: impl FnOnce(&Outgoing<'_>) -> PyResult<R>,
) -> PyResult<R> {
    let kept = buffers.unwrap_or_default().into_iter();
    let kept = kept.map(|(buffer, read_only)| Ok((Incoming::of(&buffer)?, read_only)));
    let kept = kept.collect::<PyResult<Vec<_>>>()?;
    let buffers = kept.iter().map(|(buffer, read_only)| (buffer.bytes(), *read_only)).collect();
    act(&Outgoing { tag, payload: payload.as_bytes(), buffers })
}

/// Whether less would do.
fn is_too_much(error: &OpenError) -> bool {
    use tombolo::sys::ErrorKind::{Invalid, NoMemory, NoSpace};
    matches!(error, OpenError::System(error) if matches!(error.kind(), Invalid | NoMemory | NoSpace))
}

#[pymethods]
impl Queue {
    /// Makes a queue for `capacity` objects of `longest` bytes, or of fewer where the
    /// machine has no addresses for so many.
    #[staticmethod]
    fn create(
        py: Python<'_>,
        capacity: usize,
        longest: usize,
        participants: u16,
        redeliver: u8,
        joinable: bool,
    ) -> PyResult<Self> {
        const LEAST: usize = 64 << 10;
        py.detach(|| {
            // A killed program leaves the semaphores of its queues.
            Segment::clear_debris();
            let mut longest = longest;
            loop {
                let mut options = Segment::options()
                    .room_for_bytes(capacity, longest)
                    .participants_up_to(participants)
                    .channels(3)
                    .no_reserve(true)
                    .core_dumps(false);
                if joinable {
                    options = options.room_for::<u8>(tokens::MOST).room_for::<u8>(1);
                }
                match options.anonymous() {
                    Ok(segment) => {
                        let shape = Some((capacity, longest, redeliver));
                        return Ends::open(segment, shape, joinable).map(Self::of);
                    }
                    Err(error) if is_too_much(&error) && longest > LEAST => {
                        longest = (longest / 2).max(LEAST);
                    }
                    Err(error) => return Err(error.into_py()),
                }
            }
        })
    }

    /// Opens a queue that another process has made.
    #[staticmethod]
    fn attach(py: Python<'_>, id: i32, joinable: bool) -> PyResult<Self> {
        py.detach(|| {
            let segment = Segment::options().core_dumps(false).open_id(id).or_raise()?;
            Ends::open(segment, None, joinable).map(Self::of)
        })
    }

    /// By which another process finds it.
    #[getter]
    fn id(&self) -> PyResult<i32> {
        Ok(self.ends()?.segment.id())
    }

    /// How many processes have it open.
    fn processes(&self) -> PyResult<usize> {
        Ok(self.ends()?.segment.participants().len())
    }

    /// How many bytes an object may have, pickled.
    #[getter]
    fn longest(&self) -> PyResult<usize> {
        Ok(self.ends()?.sender.lend().or_raise()?.max_len() - 1)
    }

    /// Sends an object: its pickle or bytes, and its buffers with whether each is read-only.
    /// Waits for room: for ever, or so many seconds. Says whether it was sent.
    #[pyo3(signature = (tag, payload, buffers = None, timeout = None))]
    fn send(
        &self,
        py: Python<'_>,
        tag: u8,
        payload: &Bound<'_, PyBytes>,
        buffers: Option<Vec<(Bound<'_, PyAny>, bool)>>,
        timeout: Option<f64>,
    ) -> PyResult<bool> {
        let ends = self.ends()?;
        with_message(tag, payload, buffers, |message| {
            if ends.try_send(py, &ends.sender, message)? {
                return Ok(true);
            }
            match timeout.map(seconds) {
                Some(wait) if wait.is_zero() => Ok(false),
                wait => ends.send(py, message, wait),
            }
        })
    }

    /// Sends without waiting, by the handle of the descriptor of `send_fd`.
    #[pyo3(signature = (tag, payload, buffers = None))]
    fn poll_send(
        &self,
        py: Python<'_>,
        tag: u8,
        payload: &Bound<'_, PyBytes>,
        buffers: Option<Vec<(Bound<'_, PyAny>, bool)>>,
    ) -> PyResult<bool> {
        let ends = self.ends()?;
        let sender = ends.polled().sender.clone();
        let sender = sender.as_ref().unwrap_or(&ends.sender);
        with_message(tag, payload, buffers, |message| ends.try_send(py, sender, message))
    }

    /// Receives an object. Waits for it: for ever, or so many seconds.
    #[pyo3(signature = (timeout = None))]
    fn recv(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        let ends = self.ends()?;
        let taken = ends.take(py, timeout.map(seconds))?;
        ends.object(py, taken)
    }

    /// Takes a job in hand.
    #[pyo3(signature = (timeout = None))]
    fn take(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Job> {
        let ends = self.ends()?;
        Ok(Job::new(ends.take(py, timeout.map(seconds))?, ends))
    }

    /// Ends the waits of this handle for objects, those to come too.
    fn cancel(&self, py: Python<'_>) -> PyResult<()> {
        let ends = self.ends()?;
        py.detach(|| ends.receiver.cancel()).or_raise()
    }

    /// Ends the waits that are going on, and no others.
    fn interrupt(&self, py: Python<'_>) -> PyResult<()> {
        let ends = self.ends()?;
        py.detach(|| {
            let ended = ends.receiver.cancel();
            ends.receiver.reset();
            ended
        })
        .or_raise()
    }

    /// How many objects are in the queue.
    fn __len__(&self) -> PyResult<usize> {
        Ok(self.ends()?.receiver.lend().or_raise()?.len())
    }

    /// Whether it has no room.
    fn is_full(&self) -> PyResult<bool> {
        Ok(self.ends()?.receiver.lend().or_raise()?.is_full())
    }

    /// That a job which was put is done.
    fn task_done(&self) -> PyResult<()> {
        self.ends()?.tokens.as_ref().map_or(Ok(()), Tokens::task_done)
    }

    /// Whether a job that was put is not done.
    fn unfinished(&self) -> PyResult<bool> {
        self.ends()?.tokens.as_ref().map_or(Ok(false), Tokens::unfinished)
    }

    /// Waits until a job is done, at most so many seconds.
    fn wait_done(&self, py: Python<'_>, timeout: f64) -> PyResult<()> {
        let ends = self.ends()?;
        ends.tokens.as_ref().map_or(Ok(()), |tokens| tokens.wait(py, seconds(timeout)))
    }

    /// Has another one that waits look too.
    fn pass_on(&self) -> PyResult<()> {
        self.ends()?.tokens.as_ref().map_or(Ok(()), Tokens::ring)
    }

    /// A descriptor for event loops, readable when `poll_recv` may get something.
    fn recv_fd(&self) -> PyResult<i32> {
        let ends = self.ends()?;
        let mut polled = ends.polled();
        let receiver = match &polled.receiver {
            Some(receiver) => receiver,
            None => {
                let receiver = ends.segment.bytes("jobs").receiver().or_raise()?;
                polled.receiver.insert(receiver.into_shared())
            }
        };
        let receiver = receiver.lend().or_raise()?;
        Ok(receiver.readiness().or_raise()?.as_raw_fd())
    }

    /// Receives what is there, by the handle of the descriptor.
    fn poll_recv(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let ends = self.ends()?;
        let Some(receiver) = ends.polled().receiver.clone() else {
            return self.recv(py, Some(0.0));
        };
        let mut receiver = receiver.lend().or_raise()?;
        let delivery = receiver.try_take().or_raise()?;
        let received = Received::of(py, &delivery);
        if let Some(tokens) = &ends.tokens
            && let Err(error) = tokens.hold(py)
        {
            delivery.give_back();
            return Err(error);
        }
        delivery.set_retained_memory(RETAINED);
        delivery.release();
        received?.object(py)
    }

    /// A descriptor for event loops, readable when `poll_send` may find room.
    fn send_fd(&self) -> PyResult<i32> {
        let ends = self.ends()?;
        let mut polled = ends.polled();
        let sender = match &polled.sender {
            Some(sender) => sender,
            None => {
                let sender = ends.segment.bytes("jobs").sender().or_raise()?;
                polled.sender.insert(sender.into_shared())
            }
        };
        let sender = sender.lend().or_raise()?;
        Ok(sender.readiness().or_raise()?.as_raw_fd())
    }

    /// Leaves the queue. What is in it stays, for the others.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let Some(ends) = self.lock().take() else { return Ok(()) };
        py.detach(|| match Arc::into_inner(ends) {
            Some(Ends { sender, receiver, tokens, polled, segment }) => {
                drop((tokens, polled));
                let closed = sender.close().and(receiver.close()).and(segment.leave());
                match closed {
                    Ok(()) | Err(Fault::Forked | Fault::Closed) => Ok(()),
                    Err(fault) => Err(fault.into_py()),
                }
            }
            // A job in hand, or a call of another thread, has the rest.
            None => Ok(()),
        })
    }
}
