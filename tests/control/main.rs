//! Everything rare: commands, rendezvous, and segments that children inherit.

#[path = "../common/mod.rs"]
mod common;

mod ctl_races;
mod inherit;
mod rendezvous;
