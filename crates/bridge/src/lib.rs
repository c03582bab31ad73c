//! Carries channels of Tombolo to other hosts. Zenoh moves the bytes; this package decides which,
//! keeps what must not be lost, and tells what was.
//!
//! ```text
//!  run ─┬─ engine              the session of Zenoh, as the configuration asks
//!       └─ route ─┬─ site      a segment and its channel; the seat of the one bridge that serves it
//!                 ├─ describe  what a channel is, told to the other side
//!                 ├─ broadcast export, import
//!                 └─ queue     export, import
//!  wire                        the bytes on the way
//!  config, status              what is asked for; what happens
//! ```
//!
//! It uses the library's public interface, as any program does.

mod broadcast;
pub mod config;
mod describe;
mod engine;
mod failure;
pub mod file;
pub mod flags;
mod key;
pub mod log;
pub mod plan;
pub mod publish;
mod queue;
mod route;
mod run;
mod site;
pub mod status;
mod stop;
pub mod wire;

pub use failure::Failure;
pub use run::run;
pub use stop::Stop;
