//! Processes that are killed, stopped, forked or replaced in the middle of something.

#[path = "../common/mod.rs"]
mod common;

mod death;
mod descent;
mod diagnostics;
mod identity;
mod in_hand;
mod long_stops;
mod many_deaths;
mod orphans;
mod readiness_storm;
