//! A message in place: held until it is ended, and not ended while a view of it is alive.

use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::exceptions::PyBufferError;
use pyo3::prelude::*;

use crate::errors::closed;

/// A grant or a delivery, and the views of it.
pub(crate) struct Held<G> {
    state: Mutex<State<G>>,
    /// What it is to the program.
    what: &'static str,
}

struct State<G> {
    guard: Option<G>,
    views: usize,
    /// How it ends with its last view, if the body of its `with` has failed.
    failed: Option<fn(G)>,
}

impl<G> Held<G> {
    pub(crate) fn new(guard: G, what: &'static str) -> Self {
        let state = State { guard: Some(guard), views: 0, failed: None };
        Self { state: Mutex::new(state), what }
    }

    fn lock(&self) -> MutexGuard<'_, State<G>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_ended(&self) -> bool {
        self.lock().guard.is_none()
    }

    /// Does something with it while it is held.
    pub(crate) fn with<R>(&self, act: impl FnOnce(&mut G) -> R) -> PyResult<R> {
        // No lock is held while the interpreter is called: it may run anything.
        let done = self.lock().guard.as_mut().map(act);
        done.ok_or_else(|| closed(self.what))
    }

    /// It, to be ended: if no view is alive.
    pub(crate) fn take(&self) -> PyResult<G> {
        let mut state = self.lock();
        if state.views > 0 {
            drop(state);
            return Err(PyBufferError::new_err(format!(
                "a view of this {} is alive (an array, a memoryview): delete or release it, or copy \
                 what is to be kept, before the {0} ends",
                self.what
            )));
        }
        let guard = state.guard.take();
        drop(state);
        guard.ok_or_else(|| closed(self.what))
    }

    /// Ends it after a failure: at once, or with the last view, which a traceback may keep.
    pub(crate) fn fail(&self, end: fn(G)) {
        let mut state = self.lock();
        if state.views > 0 {
            state.failed = Some(end);
        } else if let Some(guard) = state.guard.take() {
            drop(state);
            end(guard);
        }
    }

    /// Where its bytes are, and how many: until the view that this counts is
    /// [released](Self::release_view), it does not end.
    pub(crate) fn view(
        &self,
        bytes: impl FnOnce(&mut G) -> (*mut u8, usize),
    ) -> PyResult<(*mut u8, usize)> {
        let mut state = self.lock();
        let found = state.guard.as_mut().map(bytes);
        state.views += usize::from(found.is_some());
        drop(state);
        found.ok_or_else(|| closed(self.what))
    }

    /// A view has been released.
    pub(crate) fn release_view(&self) {
        let mut state = self.lock();
        state.views = state.views.saturating_sub(1);
        if state.views == 0
            && let Some(end) = state.failed.take()
            && let Some(guard) = state.guard.take()
        {
            drop(state);
            end(guard);
        }
    }
}
