//! Shared by the programs `tombolo` and `tombolo-bench`: how they fail, what they
//! print, and which signals end them. It is for these two programs only.

pub mod failure;
pub mod flags;
pub mod plain;
pub mod shell;
pub mod signals;
pub mod standard;
pub mod terms;
pub mod words;
