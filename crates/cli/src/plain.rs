//! Makes foreign text safe to print: any process that may write to a segment
//! chooses its name.

use std::fmt::Write;

use serde::Serialize;

/// Without what would move a cursor, end a line or turn one round.
pub fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' | '\'' | '\\' => plain.push(c),
            _ => plain.extend(c.escape_debug()),
        }
    }
    plain
}

/// As JSON, of which the same is true, and which says the same.
pub fn json(value: &impl Serialize) -> Result<String, serde_json::Error> {
    let text = serde_json::to_string(value)?;
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        // In JSON, only strings have characters that are not ASCII.
        if c.is_ascii() && c != '\x7f' || c.escape_debug().len() == 1 {
            plain.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(plain, "\\u{unit:04x}");
            }
        }
    }
    Ok(plain)
}
