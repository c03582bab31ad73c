//! What the programs `tombolo` and `tombolo-bench` have in common towards the
//! shell: how they fail, what they print, which signals end them. It is for
//! these two only.

pub mod failure;
pub mod flags;
pub mod plain;
pub mod shell;
pub mod signals;
pub mod standard;
pub mod terms;
pub mod words;
