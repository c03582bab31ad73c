//! The receiving end of a channel, and the subscriber of a broadcast channel.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use pyo3::prelude::*;
use pyo3::types::PyList;
use tombolo::{
    AnyOwnedDelivery, AnyReceiver, ByteBatch, Lent, RecvTimeoutError, Shared, Start, TryRecvError,
};

use crate::channel::Channel;
use crate::codec::Codec;
use crate::delivery::Delivery;
use crate::end::{End, deadline};
use crate::errors::{IntoPy, OrRaise, bad_option};
use crate::signals::waiting;

/// Which receiving end it is.
#[derive(Clone, Copy)]
enum Role {
    Receiver,
    Subscriber(Start),
    Reliable(Start),
}

impl Role {
    fn of(name: &str, start: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        let start = match start {
            None => Start::Newest,
            Some(start) => match start.extract::<u64>() {
                Ok(last) => Start::Last(last),
                Err(_) => match start.extract::<&str>()? {
                    "newest" => Start::Newest,
                    "oldest" => Start::Oldest,
                    other => {
                        return Err(bad_option(format!(
                            "a subscriber starts at \"newest\", at \"oldest\" or with a number of \
                             last messages, and not at {other:?}"
                        )));
                    }
                },
            },
        };
        Ok(match name {
            "receiver" => Self::Receiver,
            "subscriber" => Self::Subscriber(start),
            "reliable" => Self::Reliable(start),
            _ => return Err(bad_option(format!("there is no role {name}"))),
        })
    }

    fn opened(self, py: Python<'_>, channel: &Py<Channel>) -> PyResult<Shared<AnyReceiver>> {
        channel.get().with(py, |channel| {
            let end = match self {
                Self::Receiver => channel.receiver(),
                Self::Subscriber(start) => channel.subscriber_from(start),
                Self::Reliable(start) => channel.reliable_subscriber_from(start),
            };
            Ok(end.or_raise()?.into_shared())
        })
    }

    /// For a process that was forked: with what comes from there on.
    const fn again(self) -> Self {
        match self {
            Self::Receiver => Self::Receiver,
            Self::Subscriber(_) => Self::Subscriber(Start::Newest),
            Self::Reliable(_) => Self::Reliable(Start::Newest),
        }
    }
}

/// The receiving end of a channel: see ``Channel.receiver``.
#[pyclass(frozen, subclass, weakref, module = "tombolo._native")]
pub(crate) struct Receiver {
    end: End<AnyReceiver>,
    channel: Py<Channel>,
    role: Role,
    decode: Codec,
    /// Whether what a subscriber has missed is counted only.
    skips: bool,
    missed: AtomicU64,
}

impl Receiver {
    fn again(&self, py: Python<'_>) -> PyResult<Shared<AnyReceiver>> {
        self.role.again().opened(py, &self.channel)
    }

    pub(crate) fn shared(&self, py: Python<'_>) -> PyResult<Shared<AnyReceiver>> {
        self.end.shared(|| self.again(py))
    }

    pub(crate) fn decoded<'py>(
        &self,
        py: Python<'py>,
        bytes: &[u8],
    ) -> PyResult<Bound<'py, PyAny>> {
        self.decode.decoded(py, bytes)
    }

    /// The error of a call of this end.
    pub(crate) fn failed(&self, error: impl IntoPy) -> PyErr {
        self.end.raised(error.into_py())
    }

    /// Notes what a subscriber has missed; whether it goes on.
    pub(crate) fn goes_on(&self, lagged: Option<u64>) -> bool {
        let Some(missed) = lagged else { return false };
        self.missed.fetch_add(missed, Ordering::Relaxed);
        self.skips
    }

    /// Receives by `recv`, again after messages that are only counted as missed.
    fn until_received<R: Send>(
        &self,
        py: Python<'_>,
        mut recv: impl FnMut() -> Result<R, RecvTimeoutError> + Send,
    ) -> PyResult<R> {
        let got = waiting(py, || {
            loop {
                match recv() {
                    Err(error) if self.goes_on(error.lagged()) => {}
                    got => return got,
                }
            }
        });
        got.map_err(|error| self.failed(error))
    }

    /// Receives what is there; `None` if there is nothing.
    pub(crate) fn received_now(&self, end: &AnyReceiver, into: &mut Vec<u8>) -> PyResult<bool> {
        loop {
            match end.try_recv(into) {
                Ok(_) => return Ok(true),
                Err(TryRecvError::Empty | TryRecvError::Pending) => return Ok(false),
                Err(error) if self.goes_on(error.lagged()) => {}
                Err(error) => return Err(self.failed(error)),
            }
        }
    }

    fn received(&self, py: Python<'_>, until: Option<Instant>) -> PyResult<Vec<u8>> {
        let shared = self.shared(py)?;
        let end = shared.lend().or_raise()?;
        let mut into = Vec::new();
        if self.received_now(&end, &mut into)? {
            return Ok(into);
        }
        self.until_received(py, move || {
            match until {
                Some(until) => end.recv_deadline(&mut into, until)?,
                None => end.recv(&mut into)?,
            };
            Ok(std::mem::take(&mut into))
        })
    }

    fn in_hand(&self, py: Python<'_>, delivery: AnyOwnedDelivery) -> Delivery {
        Delivery::new(delivery, self.channel.get().layout(), self.decode.another(py))
    }

    /// A delivery of what is there; `None` if there is nothing.
    fn taken_now(
        &self,
        py: Python<'_>,
        shared: &Shared<AnyReceiver>,
    ) -> PyResult<Option<Delivery>> {
        loop {
            match shared.try_take() {
                Ok(delivery) => return Ok(Some(self.in_hand(py, delivery))),
                Err(TryRecvError::Empty | TryRecvError::Pending) => return Ok(None),
                Err(error) if self.goes_on(error.lagged()) => {}
                Err(error) => return Err(self.failed(error)),
            }
        }
    }
}

fn no_subscriber() -> PyErr {
    bad_option("this is for the subscribers of a broadcast channel")
}

#[pymethods]
impl Receiver {
    #[new]
    #[pyo3(signature = (
        channel, decode = None, *, role = "receiver", start = None, skips = false, later = false,
    ))]
    fn new(
        py: Python<'_>,
        channel: Py<Channel>,
        decode: Option<Py<PyAny>>,
        role: &str,
        start: Option<&Bound<'_, PyAny>>,
        skips: bool,
        later: bool,
    ) -> PyResult<Self> {
        let role = Role::of(role, start)?;
        let end = match later {
            true => End::later("receiver"),
            false => End::new(role.opened(py, &channel)?, "receiver"),
        };
        let decode = Codec::new(decode);
        Ok(Self { end, channel, role, decode, skips, missed: AtomicU64::new(0) })
    }

    /// The channel that it belongs to.
    #[getter]
    fn channel(&self, py: Python<'_>) -> Py<Channel> {
        self.channel.clone_ref(py)
    }

    /// Receives a message, waiting for it: at most ``timeout`` seconds, if it is given.
    #[pyo3(signature = (timeout = None))]
    fn recv<'py>(&self, py: Python<'py>, timeout: Option<f64>) -> PyResult<Bound<'py, PyAny>> {
        let bytes = self.received(py, deadline(timeout))?;
        self.decoded(py, &bytes)
    }

    /// Receives without waiting; raises ``Empty`` if there is nothing.
    fn try_recv<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let shared = self.shared(py)?;
        let end = shared.lend().or_raise()?;
        let mut into = Vec::new();
        match self.received_now(&end, &mut into)? {
            true => self.decoded(py, &into),
            false => Err(TryRecvError::Empty.into_py()),
        }
    }

    /// Receives what there is, up to ``most`` messages; waits for the first one.
    #[pyo3(signature = (most, timeout = None))]
    fn recv_batch<'py>(
        &self,
        py: Python<'py>,
        most: usize,
        timeout: Option<f64>,
    ) -> PyResult<Bound<'py, PyList>> {
        let until = deadline(timeout);
        let shared = self.shared(py)?;
        let end = shared.lend().or_raise()?;
        let batch = self.until_received(py, move || {
            let mut batch = ByteBatch::new();
            match until {
                Some(until) => end.recv_batch_into_deadline(&mut batch, most, until)?,
                None => end.recv_batch_into(&mut batch, most)?,
            };
            Ok(batch)
        })?;
        self.listed(py, &batch)
    }

    /// Receives what there is now, up to ``most`` messages, which may be none.
    fn try_recv_batch<'py>(&self, py: Python<'py>, most: usize) -> PyResult<Bound<'py, PyList>> {
        let shared = self.shared(py)?;
        let end = shared.lend().or_raise()?;
        let mut batch = ByteBatch::new();
        loop {
            match end.try_recv_batch_into(&mut batch, most) {
                Ok(_) | Err(TryRecvError::Empty | TryRecvError::Pending) => break,
                Err(error) if self.goes_on(error.lagged()) => {}
                Err(error) => return Err(self.failed(error)),
            }
        }
        self.listed(py, &batch)
    }

    /// Takes a message to be read in place, waiting for it. It is acknowledged when the body of
    /// ``with`` ends, and given back if that raises; if this process is killed, another
    /// receiver gets it.
    #[pyo3(signature = (timeout = None))]
    fn take(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Delivery> {
        let shared = self.shared(py)?;
        if let Some(delivery) = self.taken_now(py, &shared)? {
            return Ok(delivery);
        }
        let until = deadline(timeout);
        let delivery = self.until_received(py, || match until {
            Some(until) => shared.take_deadline(until),
            None => shared.take().map_err(RecvTimeoutError::from),
        })?;
        Ok(self.in_hand(py, delivery))
    }

    /// The same without waiting; raises ``Empty`` if there is nothing.
    fn try_take(&self, py: Python<'_>) -> PyResult<Delivery> {
        self.taken_now(py, &self.shared(py)?)?.ok_or_else(|| TryRecvError::Empty.into_py())
    }

    /// Receives the newest message of a broadcast channel, and passes over all before it. Does not
    /// wait; raises ``Empty`` if there is none since the last one that was received.
    fn latest<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let shared = self.shared(py)?;
        let newest = shared.lend().or_raise()?.latest().ok_or_else(no_subscriber)?;
        self.decoded(py, &newest.map_err(|error| self.failed(error))?)
    }

    /// Passes over all messages of a broadcast channel but the newest; returns over how many.
    fn skip_to_newest(&self, py: Python<'_>) -> PyResult<u64> {
        let shared = self.shared(py)?;
        shared.lend().or_raise()?.skip_to_newest().ok_or_else(no_subscriber)?.or_raise()
    }

    /// The sequence number of the message of a broadcast channel that comes next: of all that were
    /// ever published, the first has number 0.
    #[getter]
    fn sequence(&self, py: Python<'_>) -> PyResult<u64> {
        self.shared(py)?.lend().or_raise()?.sequence().ok_or_else(no_subscriber)
    }

    /// How many messages are in the channel, now or a moment ago; of a subscriber, how many it is
    /// behind.
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

    /// How many messages this subscriber has missed in all.
    #[getter]
    fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
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

    /// Gives the end up: senders are disconnected when the last receiver has gone. More calls
    /// do nothing.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.end.close(py, true)
    }

    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    /// The next message; the iteration ends when the last sender has gone.
    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let shared = self.shared(py)?;
        let end = shared.lend().or_raise()?;
        let mut into = Vec::new();
        if !self.received_or_over(py, end, &mut into)? {
            return Ok(None);
        }
        self.decoded(py, &into).map(Some)
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

impl Receiver {
    fn listed<'py>(&self, py: Python<'py>, batch: &ByteBatch) -> PyResult<Bound<'py, PyList>> {
        let list = PyList::empty(py);
        for message in batch {
            list.append(self.decoded(py, message)?)?;
        }
        Ok(list)
    }

    /// Receives; or says that the last sender has gone.
    fn received_or_over(
        &self,
        py: Python<'_>,
        end: Lent<'_, AnyReceiver>,
        into: &mut Vec<u8>,
    ) -> PyResult<bool> {
        let got = waiting(py, move || {
            loop {
                match end.recv(into) {
                    Ok(_) => return Ok(true),
                    Err(error) if error.is_disconnected() => return Ok(false),
                    Err(error) if self.goes_on(error.lagged()) => {}
                    Err(error) => return Err(error),
                }
            }
        });
        got.map_err(|error| self.failed(error))
    }
}
