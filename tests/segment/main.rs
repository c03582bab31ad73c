//! Segments: how they are created, their owners, their limits, and how they are removed.

#[path = "../common/mod.rs"]
mod common;

mod creation;
mod limits;
mod observer;
mod owners;
mod removal;
