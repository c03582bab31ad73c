//! `tombolo._native`: the library's handles as Python classes, one file for each.
//!
//! Each class is frozen: what changes is behind a lock of its own, so nothing here relies on
//! the interpreter's lock. Whatever may wait gives that lock up first. What needs no speed is
//! written in Python, on top of this module.

mod buffer;
mod call;
mod channel;
mod client;
mod codec;
mod delivery;
mod end;
mod ending;
mod errors;
mod forks;
mod grant;
mod held;
mod pending;
mod queue;
mod receiver;
mod segment;
mod sender;
mod server;
mod signals;
mod wait_set;
mod watch;

/// The native half of `tombolo`.
#[pyo3::pymodule(gil_used = false)]
mod _native {
    #[pymodule_export]
    use super::call::Call;
    #[pymodule_export]
    use super::channel::Channel;
    #[pymodule_export]
    use super::client::Client;
    #[pymodule_export]
    use super::delivery::Delivery;
    #[pymodule_export]
    use super::ending::ending;
    #[pymodule_export]
    use super::grant::Grant;
    #[pymodule_export]
    use super::pending::PendingCall;
    #[pymodule_export]
    use super::queue::{Job, Queue};
    #[pymodule_export]
    use super::receiver::Receiver;
    #[pymodule_export]
    use super::segment::Segment;
    #[pymodule_export]
    use super::sender::Sender;
    #[pymodule_export]
    use super::server::Server;
    #[pymodule_export]
    use super::wait_set::wait;
    #[pymodule_export]
    use super::watch::{CallWatch, RecvWatch, SendWatch, ServeWatch};
}
