//! `docs/format.md`, against the bytes and with clients in other languages.

#[path = "../common/mod.rs"]
mod common;

mod fields;
mod python;
