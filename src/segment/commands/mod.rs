//! Commands to the participants of a segment, and their answers.
//!
//! The effect of a command is a state of the segment ([`announce`]), which everybody obeys.
//! The rest asks for an answer: a [`Commander`] posts messages ([`mail`], [`post`]), and a
//! participant answers them when it next uses the segment ([`serve`], with what it keeps on
//! its [`desk`]). An [`Inbox`] takes the commands that are meant for the application.

mod announce;
mod answer;
mod commander;
pub(super) mod desk;
mod inbox;
mod mail;
mod post;
mod serve;

pub use answer::{Answer, Drain, Outcome};
pub use commander::Commander;
pub use desk::{Stats, UserCommand};
pub use inbox::Inbox;
