//! The terminal that shows a result.

#![allow(unsafe_code)]

use std::io::{IsTerminal, stdout};

/// How many characters a line of standard output has room for: any number where
/// it is no terminal.
pub(super) fn width() -> usize {
    if !stdout().is_terminal() {
        return usize::MAX;
    }
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the call writes a `winsize`, to one that outlives it.
    let told = unsafe { libc::ioctl(libc::STDOUT_FILENO, libc::TIOCGWINSZ, &raw mut size) };
    if told == 0 && size.ws_col > 0 { usize::from(size.ws_col) } else { 80 }
}
