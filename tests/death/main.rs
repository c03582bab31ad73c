//! Processes that are killed, stopped, forked or replaced in the middle of something.

#[path = "../common/mod.rs"]
mod common;

mod calls;
mod descent;
mod diagnostics;
mod forked;
mod identity;
mod in_hand;
mod killed;
mod long_stops;
mod many_deaths;
mod market;
mod namespaces;
mod orphans;
mod readiness_storm;
mod send_all;
mod services;
mod storm;
mod traced;
