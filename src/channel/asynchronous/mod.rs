//! Handles that are awaited, for every runtime.
//!
//! An attempt of a task is one of a blocking call that does not wait: it tries at once. Only if
//! nothing is there, it gives way to other tasks a few times, and then asks the
//! [`reactor`](super::reactor) to wake it. So no thread and no system call is involved while
//! messages flow.
//!
//! **Cancel safety.** A future does something in the poll in which it is ready, and nothing
//! before. Between two polls it holds no message, no place and no token: the reactor consumes
//! nothing and passes tokens on at once. A future that is dropped withdraws what it has asked.
//! A call is under way from the poll that has made it. An [`AsyncPendingCall`] holds it, whoever
//! polls, and gives it up when it is dropped itself.

mod client;
mod pending;
mod receiver;
mod sender;
mod server;
mod waits;

pub use client::AsyncClient;
pub use pending::AsyncPendingCall;
pub use receiver::AsyncReceiver;
pub use sender::AsyncSender;
pub use server::AsyncServer;
