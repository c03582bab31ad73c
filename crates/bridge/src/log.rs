//! Remarks, on standard error.

/// Says it. A closed standard error is nobody's failure.
pub(crate) fn say(what: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "tombolo-bridge: {what}");
}
