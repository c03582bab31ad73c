//! The command as a shell sees it, with real processes that are killed and interrupted.

#[path = "../../../../tests/common/command.rs"]
mod command;
#[path = "../../../../tests/common/mod.rs"]
mod common;
#[path = "../../../../tests/common/stage.rs"]
mod stage;

mod bench;
mod bridge;
mod chaos;
mod check;
mod ctl;
mod demo;
mod doctor;
mod events;
mod everybody;
mod examples;
mod hostile_names;
mod limits;
mod lines;
mod looking;
mod ls;
mod metrics;
mod pages;
mod place;
mod rm;
mod run;
mod shell;
mod streams;
mod tap;
mod top;
mod tutorial;
mod usage;
