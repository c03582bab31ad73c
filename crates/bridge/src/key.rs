//! Key expressions.

use zenoh::key_expr::KeyExpr;

/// The key expression of a channel, unless the configuration names another. What a key may not
/// have is escaped as in a URL.
pub(crate) fn usual(segment: &str, channel: &str) -> String {
    format!("tombolo/{}/{}", escaped(segment), escaped(channel))
}

fn escaped(name: &str) -> String {
    let mut key = String::new();
    for &byte in name.as_bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':') {
            key.push(char::from(byte));
        } else {
            key.push_str(&format!("%{byte:02X}"));
        }
    }
    key
}

/// Whether a route may have this key.
pub(crate) fn check(key: &str) -> Result<(), String> {
    if key.contains(['*', '$', '@']) {
        return Err(format!("the key `{key}` of one channel has no `*`, `$` or `@`"));
    }
    KeyExpr::try_from(key).map(drop).map_err(|why| format!("the key `{key}` is none: {why}"))
}

/// Where the descriptions are: below this, one for each origin.
pub(crate) fn about(base: &str) -> String {
    format!("{base}/@tombolo")
}

/// Where plain clients put.
pub(crate) fn inlet(base: &str) -> String {
    format!("{base}/@in")
}

/// Where the queue of an origin is pulled from.
pub(crate) fn pull(base: &str, origin: &str) -> String {
    format!("{base}/@pull/{origin}")
}
