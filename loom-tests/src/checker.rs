//! The explorer of the models, as far as the world is built on it. The same
//! files are compiled beside another one of these in `shuttle-tests`.

pub(crate) use loom::cell::Cell;
pub(crate) use loom::sync::atomic::{self, fence};
pub(crate) use loom::sync::{Condvar, Mutex};
pub(crate) use loom::thread;
