//! The command as a shell sees it, with real processes that are killed and interrupted.

#[path = "../../../../tests/common/command.rs"]
mod command;
#[path = "../../../../tests/common/mod.rs"]
mod common;

mod chaos;
mod check;
mod cli;
mod ctl;
mod events;
mod hostile_names;
mod run;
mod shell;
mod streams;
