//! Shared by the programs `tombolo` and `tombolo-bench`, and for these two only:
//! exit statuses, messages, progress bars, and the signals that end them.

pub mod failure;
pub mod flags;
pub mod plain;
pub mod shell;
pub mod signals;
pub mod standard;
pub mod terms;
pub mod words;
