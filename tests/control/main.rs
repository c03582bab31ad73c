//! Everything rare: commands, rendezvous, and segments that children inherit.

#[path = "../common/mod.rs"]
mod common;

mod commander;
mod ctl_races;
mod events;
mod inherit;
mod rendezvous;
