//! Shared by the programs `tombolo`, `tombolo-bench` and `tombolo-record`: how they fail, what
//! they print, what their arguments mean, and which signals end them. It is for these only.

pub mod failure;
pub mod flags;
pub mod plain;
pub mod shell;
pub mod signals;
pub mod standard;
pub mod target;
pub mod terms;
pub mod words;
