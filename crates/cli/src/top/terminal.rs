//! The terminal: taken over, drawn on, and put back as it was, however this process ends.
//!
//! Colours are not used, and only what every terminal of the last decades understands. The
//! terminal's own signals stay on, so that Ctrl-C and Ctrl-Z come as signals, which
//! [`Signals`](crate::signals::Signals) turns into something to poll.

#![allow(unsafe_code)]

use std::convert::Infallible;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::AsFd;
use std::panic;
use std::sync::Mutex;
use std::sync::PoisonError;

use nix::errno::Errno;
use nix::sys::termios::{
    LocalFlags, SetArg, SpecialCharacterIndices, Termios, tcgetattr, tcsetattr,
};
use ratatui_core::backend::{Backend, ClearType, WindowSize};
use ratatui_core::buffer::Cell;
use ratatui_core::layout::{Position, Size};
use ratatui_core::style::Modifier;

/// How the terminal was, while it is taken over.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[2J";
const LEAVE: &str = "\x1b[0m\x1b[?25h\x1b[?1049l";

/// Whether standard input and output are a terminal that can be drawn on.
pub(super) fn can_move_its_cursor() -> bool {
    let kind = std::env::var("TERM").unwrap_or_default();
    let able = !kind.is_empty() && kind != "dumb";
    able && io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// The terminal, as long as it is taken over.
#[derive(Debug)]
pub(super) struct Screen;

impl Screen {
    /// Takes the terminal over. It is put back when this is dropped, and before a panic is told.
    pub(super) fn take() -> Result<Self, Errno> {
        enter()?;
        let told = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            leave();
            told(info);
        }));
        Ok(Self)
    }

    /// Lends it back while `meanwhile` runs.
    pub(super) fn lend(&self, meanwhile: impl FnOnce()) -> Result<(), Errno> {
        leave();
        meanwhile();
        enter()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        leave();
    }
}

fn enter() -> Result<(), Errno> {
    let input = io::stdin();
    let before = tcgetattr(&input)?;
    let mut ours = before.clone();
    ours.local_flags &= !(LocalFlags::ICANON | LocalFlags::ECHO);
    // A read returns with what there is.
    for (which, value) in [(SpecialCharacterIndices::VMIN, 0), (SpecialCharacterIndices::VTIME, 0)]
    {
        if let Some(character) = ours.control_chars.get_mut(which as usize) {
            *character = value;
        }
    }
    BEFORE.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(before);
    tcsetattr(&input, SetArg::TCSAFLUSH, &ours)?;
    say(ENTER);
    Ok(())
}

/// Puts it back, once.
fn leave() {
    if let Some(before) = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take() {
        say(LEAVE);
        let _ = tcsetattr(io::stdin(), SetArg::TCSAFLUSH, &before);
    }
}

fn say(text: &str) {
    let mut out = io::stdout().lock();
    // If nobody listens there is nothing more to do about it.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// What was typed. `None` if the terminal is gone.
pub(super) fn typed() -> Option<Vec<u8>> {
    let mut bytes = [0; 64];
    match io::stdin().as_fd().try_clone_to_owned().map(std::fs::File::from) {
        Ok(mut input) => match input.read(&mut bytes) {
            Ok(count) => bytes.get(..count).map(<[u8]>::to_vec),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Some(Vec::new()),
            Err(_) => None,
        },
        Err(_) => None,
    }
}

/// How many columns and rows there are.
fn size() -> Size {
    let mut found = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the kernel writes a `winsize` there, and nothing beyond it.
    let asked = unsafe { libc::ioctl(libc::STDOUT_FILENO, libc::TIOCGWINSZ, &raw mut found) };
    let known = asked == 0 && found.ws_row > 0 && found.ws_col > 0;
    if known { Size::new(found.ws_col, found.ws_row) } else { Size::new(80, 24) }
}

/// Draws on standard output. What is drawn is kept until it is flushed: a slow connection gets it
/// in one piece.
#[derive(Debug, Default)]
pub(super) struct Drawing {
    pending: String,
}

/// Nothing that is drawn fails: a terminal that is gone is found by reading from it.
impl Backend for Drawing {
    type Error = Infallible;

    fn draw<'a, I>(&mut self, content: I) -> Result<(), Infallible>
    where
        I: Iterator<Item = (u16, u16, &'a Cell)>,
    {
        let mut next = None;
        let mut style = Modifier::empty();
        for (x, y, cell) in content {
            if next != Some((x, y)) {
                self.set_cursor_position((x, y))?;
            }
            if cell.modifier != style {
                style = cell.modifier;
                self.pending.push_str("\x1b[0m");
                if style.contains(Modifier::BOLD) {
                    self.pending.push_str("\x1b[1m");
                }
                if style.contains(Modifier::REVERSED) {
                    self.pending.push_str("\x1b[7m");
                }
            }
            self.pending.push_str(cell.symbol());
            // A wide character moves it further: then the place is said anew.
            next = (cell.symbol().len() == 1).then_some((x + 1, y));
        }
        self.pending.push_str("\x1b[0m");
        Ok(())
    }

    fn hide_cursor(&mut self) -> Result<(), Infallible> {
        self.pending.push_str("\x1b[?25l");
        Ok(())
    }

    fn show_cursor(&mut self) -> Result<(), Infallible> {
        self.pending.push_str("\x1b[?25h");
        Ok(())
    }

    fn get_cursor_position(&mut self) -> Result<Position, Infallible> {
        Ok(Position::ORIGIN)
    }

    fn set_cursor_position<P: Into<Position>>(&mut self, position: P) -> Result<(), Infallible> {
        let Position { x, y } = position.into();
        let _ = write!(self.pending, "\x1b[{};{}H", y + 1, x + 1);
        Ok(())
    }

    fn clear(&mut self) -> Result<(), Infallible> {
        self.clear_region(ClearType::All)
    }

    fn clear_region(&mut self, region: ClearType) -> Result<(), Infallible> {
        self.pending.push_str(match region {
            ClearType::All => "\x1b[2J",
            ClearType::AfterCursor => "\x1b[J",
            ClearType::BeforeCursor => "\x1b[1J",
            ClearType::CurrentLine => "\x1b[2K",
            ClearType::UntilNewLine => "\x1b[K",
        });
        Ok(())
    }

    fn size(&self) -> Result<Size, Infallible> {
        Ok(size())
    }

    fn window_size(&mut self) -> Result<WindowSize, Infallible> {
        Ok(WindowSize { columns_rows: size(), pixels: Size::ZERO })
    }

    fn flush(&mut self) -> Result<(), Infallible> {
        say(&self.pending);
        self.pending.clear();
        Ok(())
    }
}
