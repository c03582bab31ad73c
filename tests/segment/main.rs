//! Segments: how they come into being, whose they are, what limits them, how they go.

#[path = "../common/mod.rs"]
mod common;

mod creation;
mod limits;
mod owners;
mod removal;
