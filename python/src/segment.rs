//! A segment that this process participates in.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::PyDict;
use tombolo::{Options, Segment as Handle};

use crate::errors::{OrRaise, bad_option, closed};
use crate::forks;

/// A handle of a segment, until it is left. A process that was forked with it opens the
/// segment again when it first uses it.
#[pyclass(frozen, subclass, weakref, module = "tombolo._native")]
pub(crate) struct Segment {
    state: Mutex<State>,
}

struct State {
    handle: Option<Handle>,
    /// Of the process that has opened it.
    forks: u32,
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
            "prefault" => options.prefault(value.extract()?),
            "symmetric_fences" => options.symmetric_fences(value.extract()?),
            "core_dumps" => options.core_dumps(value.extract()?),
            "any_owner" => options.any_owner(value.extract()?),
            "timeout" => options.timeout(seconds(value.extract()?)),
            _ => return Err(bad_option(format!("there is no option {name}"))),
        };
    }
    Ok(options)
}

/// So many seconds; for ever, if no clock knows that many.
pub(crate) fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX)
}

impl Segment {
    fn of(handle: Handle) -> Self {
        Self { state: Mutex::new(State { handle: Some(handle), forks: forks::count() }) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The library's handle.
    pub(crate) fn handle(&self) -> PyResult<Handle> {
        let mut state = self.lock();
        let handle = state.handle.as_ref().ok_or_else(|| closed("segment"))?;
        let forks = forks::count();
        if state.forks == forks {
            return Ok(handle.clone());
        }
        let again = Handle::options().open_id(handle.id()).or_raise()?;
        *state = State { handle: Some(again.clone()), forks };
        Ok(again)
    }
}

#[pymethods]
impl Segment {
    /// Opens a segment: ``how`` is ``create``, ``open`` or ``open_or_create`` with a name,
    /// ``anonymous`` without one, or ``id`` with its id.
    #[new]
    #[pyo3(signature = (how, name = None, id = None, options = None))]
    fn new(
        py: Python<'_>,
        how: &str,
        name: Option<&str>,
        id: Option<i32>,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        let options = self::options(options)?;
        let opened = match (how, name, id) {
            ("create", Some(name), None) => py.detach(|| options.create(name)),
            ("open", Some(name), None) => py.detach(|| options.open(name)),
            ("open_or_create", Some(name), None) => py.detach(|| options.open_or_create(name)),
            ("anonymous", None, None) => py.detach(|| options.anonymous()),
            ("id", None, Some(id)) => py.detach(|| options.open_id(id)),
            _ => return Err(bad_option("a segment is opened by its name or by its id")),
        };
        opened.or_raise().map(Self::of)
    }

    /// Removes the segment of this name.
    #[staticmethod]
    fn remove_named(py: Python<'_>, name: &str) -> PyResult<()> {
        py.detach(|| Handle::remove_named(name)).or_raise()
    }

    /// Its name; ``(anonymous)`` if it has none.
    #[getter]
    fn name(&self) -> PyResult<String> {
        Ok(self.handle()?.name().to_owned())
    }

    /// The id of its shared-memory object, as ``ipcs -m`` shows it.
    #[getter]
    fn id(&self) -> PyResult<i32> {
        Ok(self.handle()?.id())
    }

    /// Its size in bytes.
    #[getter]
    fn size(&self) -> PyResult<usize> {
        Ok(self.handle()?.size())
    }

    /// Whether this process has left it by ``leave``.
    #[getter]
    fn closed(&self) -> bool {
        self.lock().handle.is_none()
    }

    /// Removes this segment: every call in it ends, in every process. Its name is free at once.
    fn remove(&self, py: Python<'_>) -> PyResult<()> {
        let handle = self.handle()?;
        py.detach(|| handle.remove()).or_raise()
    }

    /// Hands the segment over to another user and group.
    fn set_owner(&self, py: Python<'_>, uid: u32, gid: u32) -> PyResult<()> {
        let handle = self.handle()?;
        py.detach(|| handle.set_owner(uid, gid)).or_raise()
    }

    /// What the segment remembers of the processes that have died in it: of each one, which it
    /// was, and what became of what it held.
    fn deaths(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        let handle = self.handle()?;
        py.detach(|| {
            handle.sweep().or_raise()?;
            Ok(handle.deaths().recent.iter().map(ToString::to_string).collect())
        })
    }

    /// Lets go of this handle. The process leaves the segment when its last handle in it is
    /// gone, senders and receivers included. More calls do nothing.
    fn leave(&self, py: Python<'_>) -> PyResult<()> {
        let (handle, forks) = {
            let mut state = self.lock();
            (state.handle.take(), state.forks)
        };
        match handle {
            // A parent's is not this process's to leave.
            Some(handle) if forks == forks::count() => py.detach(|| handle.leave()).or_raise(),
            _ => Ok(()),
        }
    }
}
