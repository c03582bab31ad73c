//! Shuttle under the names that the world is built on.

#![allow(unsafe_code)]

pub(crate) use shuttle::sync::atomic::{self, fence};
pub(crate) use shuttle::sync::{Condvar, Mutex};

/// A cell that is written and read in two steps: what is read while it is
/// written, or written by two, is torn.
#[derive(Debug)]
pub(crate) struct Cell<T: Copy> {
    halves: [core::cell::Cell<T>; 2],
}

impl<T: Copy + PartialEq + core::fmt::Debug> Cell<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { halves: [core::cell::Cell::new(value), core::cell::Cell::new(value)] }
    }

    pub(crate) fn set(&self, value: T) {
        self.halves[0].set(value);
        thread::yield_now();
        self.halves[1].set(value);
    }

    pub(crate) fn get(&self) -> T {
        let first = self.halves[0].get();
        thread::yield_now();
        assert_eq!(first, self.halves[1].get(), "torn");
        first
    }
}

pub(crate) mod thread {
    pub(crate) use shuttle::thread::{ThreadId, current, yield_now};

    /// Something that stays on the thread that it was made on.
    struct Here<T>(T);

    // SAFETY: shuttle runs all threads of an execution as coroutines of the
    // one thread that it was begun on.
    unsafe impl<T> Send for Here<T> {}

    pub(crate) struct JoinHandle<T>(shuttle::thread::JoinHandle<Here<T>>);

    impl<T: 'static> JoinHandle<T> {
        pub(crate) fn join(self) -> std::thread::Result<T> {
            self.0.join().map(|Here(result)| result)
        }
    }

    /// As loom's, which asks for nothing to be `Send`.
    pub(crate) fn spawn<T: 'static>(life: impl FnOnce() -> T + 'static) -> JoinHandle<T> {
        let life = Here(life);
        JoinHandle(shuttle::thread::spawn(move || {
            let Here(life) = { life };
            Here(life())
        }))
    }
}
