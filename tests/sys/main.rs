//! The system calls, against the real kernel.

#[path = "../common/mod.rs"]
mod common;

mod fifo;
mod msg;
mod pipe;
mod sys;
