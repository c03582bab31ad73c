//! The guarantees of a channel: messages, waiting, and the descriptor for event loops.

#[path = "../common/mod.rs"]
mod common;

mod asynchronous;
mod broadcast;
mod busy;
mod channels;
mod fence;
mod handles;
mod in_place;
mod owned;
mod pending;
mod properties;
mod readiness;
mod readiness_thread;
mod send_all;
mod services;
mod wait_set;
mod waits;
mod wake;
