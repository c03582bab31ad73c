//! Waiting: what a handle does about an operation that cannot be done yet.

mod answer;
mod poll;
mod registration;
mod session;

pub(crate) use answer::{Need, NotNow, Polled, Want};
pub(crate) use poll::{Cause, Found, Operation, poll, resolve};
pub(crate) use registration::Registration;
pub(crate) use session::{Over, Queue, Seat, Session, Waited};
