//! A segment that this process participates in.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::PyDict;
use tombolo::{Options, Segment as Handle};

use crate::errors::{OrRaise, raise};

/// A handle of a segment, until it is left.
#[pyclass(frozen, subclass, weakref, module = "tombolo._native")]
pub(crate) struct Segment {
    handle: Mutex<Option<Handle>>,
}

/// The options of the creator and of each process that opens the segment.
fn options(given: Option<&Bound<'_, PyDict>>) -> PyResult<Options> {
    let mut options = Handle::options();
    let Some(given) = given else { return Ok(options) };
    for (name, value) in given {
        let name: String = name.extract()?;
        options = match name.as_str() {
            "size" => options.size(value.extract()?),
            "mode" => options.mode(value.extract()?),
            "participants" => options.participants(value.extract()?),
            "channels" => options.channels(value.extract()?),
            "transient" => options.transient(value.extract()?),
            "no_reserve" => options.no_reserve(value.extract()?),
            "any_owner" => options.any_owner(value.extract()?),
            "timeout" => options.timeout(seconds(value.extract()?)),
            "room" => value
                .extract::<Vec<(usize, usize)>>()?
                .into_iter()
                .fold(options, |options, (messages, longest)| {
                    options.room_for_bytes(messages, longest)
                }),
            _ => return Err(raise("BadOption", format!("there is no option {name}"))),
        };
    }
    Ok(options)
}

/// As long as that, or for ever if that is longer than a clock knows.
pub(crate) fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX)
}

impl Segment {
    fn of(handle: Handle) -> Self {
        Self { handle: Mutex::new(Some(handle)) }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Handle>> {
        self.handle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The library's handle.
    pub(crate) fn handle(&self) -> PyResult<Handle> {
        let left = || raise("HandleClosed", "this process has left the segment".into());
        self.lock().clone().ok_or_else(left)
    }
}

#[pymethods]
impl Segment {
    /// Creates a segment. No segment of this name may exist.
    #[staticmethod]
    #[pyo3(signature = (name, options = None))]
    fn create(py: Python<'_>, name: &str, options: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        let options = self::options(options)?;
        py.detach(|| options.create(name)).or_raise().map(Self::of)
    }

    /// Opens a segment that exists.
    #[staticmethod]
    #[pyo3(signature = (name, options = None))]
    fn open(py: Python<'_>, name: &str, options: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        let options = self::options(options)?;
        py.detach(|| options.open(name)).or_raise().map(Self::of)
    }

    /// Opens a segment, or creates it.
    #[staticmethod]
    #[pyo3(signature = (name, options = None))]
    fn open_or_create(
        py: Python<'_>,
        name: &str,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        let options = self::options(options)?;
        py.detach(|| options.open_or_create(name)).or_raise().map(Self::of)
    }

    /// Creates a segment without a name.
    #[staticmethod]
    #[pyo3(signature = (options = None))]
    fn anonymous(py: Python<'_>, options: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        let options = self::options(options)?;
        py.detach(|| options.anonymous()).or_raise().map(Self::of)
    }

    /// Opens a segment by its id.
    #[staticmethod]
    #[pyo3(signature = (id, options = None))]
    fn open_id(py: Python<'_>, id: i32, options: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        let options = self::options(options)?;
        py.detach(|| options.open_id(id)).or_raise().map(Self::of)
    }

    /// Removes the segment of this name.
    #[staticmethod]
    fn remove_named(py: Python<'_>, name: &str) -> PyResult<()> {
        py.detach(|| Handle::remove_named(name)).or_raise()
    }

    /// Its name; `(anonymous)` if it has none.
    #[getter]
    fn name(&self) -> PyResult<String> {
        Ok(self.handle()?.name().to_owned())
    }

    /// The id of its shared-memory object.
    #[getter]
    fn id(&self) -> PyResult<i32> {
        Ok(self.handle()?.id())
    }

    /// Its size in bytes.
    #[getter]
    fn size(&self) -> PyResult<usize> {
        Ok(self.handle()?.size())
    }

    /// Removes this segment: every call in it, in any process, ends.
    fn remove(&self, py: Python<'_>) -> PyResult<()> {
        let handle = self.handle()?;
        py.detach(|| handle.remove()).or_raise()
    }

    /// Lets go of this handle. The process leaves with the last one, senders and receivers
    /// included.
    fn leave(&self, py: Python<'_>) -> PyResult<()> {
        let Some(handle) = self.lock().take() else { return Ok(()) };
        py.detach(|| handle.leave()).or_raise()
    }
}
