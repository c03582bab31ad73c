//! The system calls, against the real kernel.

#[path = "../common/mod.rs"]
mod common;

mod fifo;
mod memory;
mod msg;
mod pipe;
mod process;
mod refusals;
mod semaphores;
