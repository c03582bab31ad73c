//! What the container's library says when it fails.

use mcap::McapError;

/// The reason, in words: its own text leaves out that of the system.
pub(crate) fn why(error: &McapError) -> String {
    match error {
        McapError::Io(error) => error.to_string(),
        error => error.to_string(),
    }
}
