//! Handles for several threads, each of which takes one for a call.

use std::sync::{Mutex, PoisonError};

use crate::failure::Failure;

/// Handles of one end of a service. The first one stays, to make others of.
#[derive(Debug)]
pub(crate) struct Pool<H>(Mutex<Vec<H>>);

impl<H> Pool<H> {
    pub(crate) fn new(first: H) -> Self {
        Self(Mutex::new(vec![first]))
    }

    /// Does something with a handle that no other thread uses.
    pub(crate) fn with<R, E: Into<Failure>>(
        &self,
        another: impl FnOnce(&H) -> Result<H, E>,
        act: impl FnOnce(&H) -> Result<R, Failure>,
    ) -> Result<R, Failure> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = if all.len() > 1 { all.pop() } else { None };
        let handle = match (idle, all.first()) {
            (Some(idle), _) => idle,
            (None, Some(first)) => another(first).map_err(E::into)?,
            (None, None) => return Err(Failure::busy()),
        };
        drop(all);
        let done = act(&handle);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(handle);
        done
    }

    pub(crate) fn into_inner(self) -> Vec<H> {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}
