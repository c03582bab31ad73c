//! Shared by the programs `tombolo`, `tombolo-bench`, `tombolo-bridge` and `tombolo-record`: how
//! they fail, what they print, what their arguments mean, which signals end them, and what a
//! bridge says of itself. It is for these only.

pub mod bridges;
pub mod failure;
pub mod flags;
pub mod plain;
pub mod shell;
pub mod signals;
pub mod standard;
pub mod target;
pub mod terms;
pub mod words;
