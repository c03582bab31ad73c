//! The sending end of a channel, and the publisher of a broadcast channel.

use std::time::Duration;

use pyo3::prelude::*;
use tombolo::{AnySender, SendBatchError, SendError, SendTimeoutError, Shared, TrySendError};

use crate::buffer::Incoming;
use crate::channel::Channel;
use crate::codec::Codec;
use crate::end::{End, deadline};
use crate::errors::{IntoPy, OrRaise, bad_option};
use crate::grant::Grant;
use crate::segment::seconds;
use crate::signals::waiting;

/// Messages of more bytes than this are copied without the interpreter's lock.
pub(crate) const LARGE: usize = 32 << 10;

/// The sending end of a channel: see ``Channel.sender``.
#[pyclass(frozen, subclass, weakref, module = "tombolo._native")]
pub(crate) struct Sender {
    end: End<AnySender>,
    channel: Py<Channel>,
    encode: Codec,
}

fn opened(py: Python<'_>, channel: &Py<Channel>) -> PyResult<Shared<AnySender>> {
    channel.get().with(py, |channel| Ok(channel.sender().or_raise()?.into_shared()))
}

impl Sender {
    pub(crate) fn shared(&self, py: Python<'_>) -> PyResult<Shared<AnySender>> {
        self.end.shared(|| opened(py, &self.channel))
    }

    pub(crate) fn encoded<'py>(&self, message: &Bound<'py, PyAny>) -> PyResult<Incoming<'py>> {
        self.encode.encoded(message)
    }

    /// The error of a call of this end.
    fn failed(&self, error: impl IntoPy) -> PyErr {
        self.end.raised(error.into_py())
    }

    fn encoded_all<'py>(&self, messages: &Bound<'py, PyAny>) -> PyResult<Vec<Incoming<'py>>> {
        messages.try_iter()?.map(|message| self.encoded(&message?)).collect()
    }
}

/// For how many bytes to reserve room: for a whole message, if it is not said.
pub(crate) fn room(shared: &Shared<AnySender>, length: Option<usize>) -> PyResult<usize> {
    match length {
        Some(length) => Ok(length),
        None => Ok(shared.lend().or_raise()?.element_size()),
    }
}

fn no_publisher() -> PyErr {
    bad_option("this is for the publishers of a broadcast channel")
}

fn all<'a>(messages: &'a [Incoming<'_>]) -> Vec<&'a [u8]> {
    messages.iter().map(Incoming::bytes).collect()
}

#[pymethods]
impl Sender {
    #[new]
    #[pyo3(signature = (channel, encode = None, *, later = false))]
    fn new(
        py: Python<'_>,
        channel: Py<Channel>,
        encode: Option<Py<PyAny>>,
        later: bool,
    ) -> PyResult<Self> {
        let end = match later {
            true => End::later("sender"),
            false => End::new(opened(py, &channel)?, "sender"),
        };
        Ok(Self { end, channel, encode: Codec::new(encode) })
    }

    /// The channel that it belongs to.
    #[getter]
    fn channel(&self, py: Python<'_>) -> Py<Channel> {
        self.channel.clone_ref(py)
    }

    /// Sends, waiting for room: at most ``timeout`` seconds, if it is given.
    #[pyo3(signature = (message, timeout = None))]
    fn send(
        &self,
        py: Python<'_>,
        message: &Bound<'_, PyAny>,
        timeout: Option<f64>,
    ) -> PyResult<()> {
        let message = self.encoded(message)?;
        let bytes = message.bytes();
        let shared = self.shared(py)?;
        let end = shared.lend().or_raise()?;
        if bytes.len() <= LARGE {
            match end.try_send(bytes) {
                Ok(()) => return Ok(()),
                Err(TrySendError::Full(()) | TrySendError::Paused(())) => {}
                Err(error) => return Err(self.failed(error)),
            }
        }
        let until = deadline(timeout);
        let sent = waiting(py, move || match until {
            Some(until) => end.send_deadline(bytes, until),
            None => end.send(bytes).map_err(SendTimeoutError::from),
        });
        sent.map_err(|error| self.failed(error))
    }

    /// Sends without waiting; raises ``Full`` if there is no room.
    fn try_send(&self, py: Python<'_>, message: &Bound<'_, PyAny>) -> PyResult<()> {
        let message = self.encoded(message)?;
        let bytes = message.bytes();
        let shared = self.shared(py)?;
        let end = shared.lend().or_raise()?;
        let sent = match bytes.len() <= LARGE {
            true => end.try_send(bytes),
            false => py.detach(move || end.try_send(bytes)),
        };
        sent.map_err(|error| self.failed(error))
    }

    /// Sends all messages in order, waiting for room. An error says in ``sent`` how many of
    /// them are in the channel.
    #[pyo3(signature = (messages, timeout = None))]
    fn send_batch(
        &self,
        py: Python<'_>,
        messages: &Bound<'_, PyAny>,
        timeout: Option<f64>,
    ) -> PyResult<()> {
        let messages = self.encoded_all(messages)?;
        let messages = all(&messages);
        let shared = self.shared(py)?;
        let end = shared.lend().or_raise()?;
        let until = deadline(timeout);
        let messages = &*messages;
        let sent = waiting(py, move || match until {
            Some(until) => end.send_batch_deadline(messages, until),
            None => end.send_batch(messages).map_err(SendBatchError::from),
        });
        sent.map_err(|error| self.failed(error))
    }

    /// Sends as many of the messages as there is room for; returns how many.
    fn try_send_batch(&self, py: Python<'_>, messages: &Bound<'_, PyAny>) -> PyResult<usize> {
        let messages = self.encoded_all(messages)?;
        let messages = all(&messages);
        let shared = self.shared(py)?;
        let end = shared.lend().or_raise()?;
        let sent = py.detach(move || end.try_send_batch(&messages));
        sent.map_err(|error| self.failed(error))
    }

    /// Makes room for a message, which is written in place; waits for it. Of bytes, ``length``
    /// is the most that can be written.
    #[pyo3(signature = (length = None, timeout = None))]
    fn reserve(
        &self,
        py: Python<'_>,
        length: Option<usize>,
        timeout: Option<f64>,
    ) -> PyResult<Grant> {
        let until = deadline(timeout);
        let shared = self.shared(py)?;
        let length = room(&shared, length)?;
        let reserved = waiting(py, || match until {
            Some(until) => shared.reserve_deadline(length, until),
            None => shared.reserve(length).map_err(SendTimeoutError::from),
        });
        let grant = reserved.map_err(|error| self.failed(error))?;
        Ok(Grant::new(grant, self.channel.get().layout()))
    }

    /// The same without waiting; raises ``Full`` if there is no room.
    #[pyo3(signature = (length = None))]
    fn try_reserve(&self, py: Python<'_>, length: Option<usize>) -> PyResult<Grant> {
        let shared = self.shared(py)?;
        let reserved = shared.try_reserve(room(&shared, length)?);
        let grant = reserved.map_err(|error| self.failed(error))?;
        Ok(Grant::new(grant, self.channel.get().layout()))
    }

    /// How many messages are in the channel, now or a moment ago.
    fn qsize(&self, py: Python<'_>) -> PyResult<usize> {
        Ok(self.shared(py)?.lend().or_raise()?.len())
    }

    /// How many messages the channel holds.
    #[getter]
    fn capacity(&self, py: Python<'_>) -> PyResult<usize> {
        Ok(self.shared(py)?.lend().or_raise()?.capacity())
    }

    /// How many bytes a message has; of messages of any length, the longest.
    #[getter]
    fn element_size(&self, py: Python<'_>) -> PyResult<usize> {
        Ok(self.shared(py)?.lend().or_raise()?.element_size())
    }

    /// Waits until the broadcast channel of this publisher has so many subscribers, at most
    /// ``timeout`` seconds, if that is given. Each of them gets what is published from then on.
    #[pyo3(signature = (subscribers, timeout = None))]
    fn wait_for(&self, py: Python<'_>, subscribers: u64, timeout: Option<f64>) -> PyResult<()> {
        let shared = self.shared(py)?;
        let end = shared.lend().or_raise()?;
        let most = timeout.map_or(Duration::MAX, seconds);
        let came = waiting(py, move || end.wait_for_timeout(subscribers, most));
        came.ok_or_else(no_publisher)?.map_err(|error| self.failed(error))
    }

    /// How many messages have been published in this broadcast channel, by all publishers.
    #[getter]
    fn published(&self, py: Python<'_>) -> PyResult<u64> {
        self.shared(py)?.lend().or_raise()?.published().ok_or_else(no_publisher)
    }

    /// The reliable subscriber that is furthest behind: the pid of its process, and by how many
    /// messages. ``None`` if there is none.
    fn slowest(&self, py: Python<'_>) -> PyResult<Option<(u32, u64)>> {
        let slowest = self.shared(py)?.lend().or_raise()?.slowest().ok_or_else(no_publisher)?;
        Ok(slowest.map(|slowest| (slowest.peer.pid(), slowest.behind)))
    }

    /// Ends the calls of other threads that wait, and later ones, with ``Cancelled``; until
    /// ``reset``.
    fn cancel(&self, py: Python<'_>) -> PyResult<()> {
        let shared = self.shared(py)?;
        py.detach(|| shared.cancel()).or_raise()
    }

    /// Lets the end wait again.
    fn reset(&self, py: Python<'_>) -> PyResult<()> {
        self.shared(py)?.reset();
        Ok(())
    }

    /// Whether it is closed.
    #[getter]
    fn closed(&self) -> bool {
        self.end.is_closed()
    }

    /// Gives the end up: receivers are disconnected when the last sender has gone. More calls
    /// do nothing.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.end.close(py, true)
    }

    /// Closes it at the end of the process: other threads go on waiting until that is gone.
    fn let_go(&self, py: Python<'_>) -> PyResult<()> {
        self.end.close(py, false)
    }

    fn __enter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, PyAny>) -> PyResult<()> {
        self.end.close(py, true)
    }
}

/// Every error of a plain send is one of a send with a time-out.
const _: fn(SendError) -> SendTimeoutError = SendTimeoutError::from;
