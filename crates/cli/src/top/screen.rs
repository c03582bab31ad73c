//! The live view: what it shows, and what the keys do.

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, raise};
use ratatui_core::buffer::Buffer;
use ratatui_core::layout::Rect;
use ratatui_core::style::{Modifier, Style};
use ratatui_core::terminal::Terminal;

use super::Looking;
use super::rows::View;
use super::table::{Line, Shown, heading, lines};
use super::terminal::{Drawing, Screen, typed};
use crate::failure::Failure;
use crate::plain::plain;
use crate::signals::{ENDING, Signals};

const HELP: &str = "q end  space pause  s sort  / filter  d details  arrows move  ? help";

const MORE_HELP: [&str; 11] = [
    "q, Ctrl-C   end",
    "space, p    pause, and go on",
    "s           sort channels by the next: name, rate, depth, asleep",
    "/           filter by name: type, then Enter; Esc forgets it",
    "d           hide or show what is below a channel's row",
    "j k, arrows move by a line; page keys by a page; g and G to the ends",
    "",
    "RATE/s      what goes in per second; B: bytes",
    "DEPTH       messages in it; of broadcast, those that the slowest has not read",
    "ASLEEP      threads that sleep: s to send, r to receive",
    "any key     back",
];

/// What was typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Char(char),
    Enter,
    Escape,
    Backspace,
    Up,
    Down,
    PageUp,
    PageDown,
    Home,
    End,
}

/// What the view shows, and how.
#[derive(Debug, Default)]
pub(super) struct Pane {
    shown: Shown,
    /// The first line that is shown.
    top: usize,
    paused: bool,
    help: bool,
    /// A filter is being typed.
    typing: bool,
    pub(super) over: bool,
    /// How many lines there were, and how many fit.
    count: usize,
    page: usize,
    /// Why the last look has failed.
    error: Option<String>,
}

impl Key {
    /// Keys as terminals send them. What is not understood is left out.
    pub(super) fn all(bytes: &[u8]) -> Vec<Self> {
        let text = String::from_utf8_lossy(bytes);
        let mut rest = &*text;
        let mut keys = Vec::new();
        let sequences = [
            ("\x1b[A", Self::Up),
            ("\x1bOA", Self::Up),
            ("\x1b[B", Self::Down),
            ("\x1bOB", Self::Down),
            ("\x1b[5~", Self::PageUp),
            ("\x1b[6~", Self::PageDown),
            ("\x1b[H", Self::Home),
            ("\x1bOH", Self::Home),
            ("\x1b[1~", Self::Home),
            ("\x1b[F", Self::End),
            ("\x1bOF", Self::End),
            ("\x1b[4~", Self::End),
        ];
        while let Some(first) = rest.chars().next() {
            if let Some((sequence, key)) = sequences.iter().find(|(it, _)| rest.starts_with(it)) {
                keys.push(*key);
                rest = &rest[sequence.len()..];
                continue;
            }
            rest = &rest[first.len_utf8()..];
            match first {
                '\x1b' if rest.starts_with(['[', 'O']) => {
                    // One that is not known, up to its last character.
                    let end = rest[1..].find(|c: char| matches!(c, '@'..='~'));
                    rest = end.and_then(|end| rest.get(end + 2..)).unwrap_or_default();
                }
                '\x1b' => keys.push(Self::Escape),
                '\r' | '\n' => keys.push(Self::Enter),
                '\x7f' | '\x08' => keys.push(Self::Backspace),
                '\x06' => keys.push(Self::PageDown),
                '\x02' => keys.push(Self::PageUp),
                c if !c.is_control() => keys.push(Self::Char(c)),
                _ => {}
            }
        }
        keys
    }
}

impl Pane {
    pub(super) fn press(&mut self, key: Key) {
        if self.help {
            self.help = false;
            self.over = key == Key::Char('q');
            return;
        }
        if self.typing {
            match key {
                Key::Char(c) => self.shown.filter.push(c),
                Key::Backspace => drop(self.shown.filter.pop()),
                Key::Enter => self.typing = false,
                Key::Escape => (self.typing, self.shown.filter) = (false, String::new()),
                _ => {}
            }
            return;
        }
        match key {
            Key::Char('q') => self.over = true,
            Key::Char(' ' | 'p') => self.paused = !self.paused,
            Key::Char('s') => self.shown.sort = self.shown.sort.next(),
            Key::Char('d') => self.shown.bare = !self.shown.bare,
            Key::Char('/') => (self.typing, self.shown.filter) = (true, String::new()),
            Key::Escape => self.shown.filter.clear(),
            Key::Char('?' | 'h') => self.help = true,
            Key::Char('j') | Key::Down => self.top += 1,
            Key::Char('k') | Key::Up => self.top = self.top.saturating_sub(1),
            Key::PageDown => self.top += self.page,
            Key::PageUp => self.top = self.top.saturating_sub(self.page),
            Key::Char('g') | Key::Home => self.top = 0,
            Key::Char('G') | Key::End => self.top = usize::MAX,
            _ => {}
        }
        self.top = self.top.min(self.count.saturating_sub(self.page));
    }

    /// Draws all of it.
    pub(super) fn draw(&mut self, view: &View, on: &mut Buffer) {
        let area = on.area;
        let mut put = |row: u16, text: &str, style: Style| {
            if row < area.height {
                on.set_stringn(0, row, text, usize::from(area.width), style);
                on.set_style(Rect::new(0, row, area.width, 1), style);
            }
        };
        let usual = Style::new();
        let reversed = usual.add_modifier(Modifier::REVERSED);
        let last = area.height.saturating_sub(1);
        put(0, &self.title(view), usual);
        if self.help {
            (2..last).zip(MORE_HELP).for_each(|(row, line)| put(row, line, usual));
            return;
        }
        put(1, &heading(), reversed);
        let lines = lines(view, &self.shown);
        self.page = usize::from(area.height.saturating_sub(3)).max(1);
        self.count = lines.len();
        self.top = self.top.min(self.count.saturating_sub(self.page));
        let visible = lines.iter().skip(self.top).take(self.page);
        for (row, Line { text, segment }) in (2..last).zip(visible) {
            let style = if *segment { usual.add_modifier(Modifier::BOLD) } else { usual };
            put(row, text, style);
        }
        put(last, &self.foot(), usual);
    }

    fn title(&self, view: &View) -> String {
        let channels: usize = view.segments.iter().map(|it| it.channels.len()).sum();
        let (segments, sort) = (view.segments.len(), self.shown.sort.name());
        let paused = if self.paused { ", PAUSED" } else { "" };
        let filter = match &*self.shown.filter {
            "" => String::new(),
            filter => format!(", with {}", plain(filter)),
        };
        format!("tombolo top: segments {segments}, channels {channels} by {sort}{filter}{paused}")
    }

    fn foot(&self) -> String {
        if let Some(error) = &self.error {
            return plain(error);
        }
        if self.typing {
            return format!("names that contain: {}_", plain(&self.shown.filter));
        }
        let end = (self.top + self.page).min(self.count);
        if self.count > self.page {
            format!("{HELP}  {}-{end}/{}", self.top + 1, self.count)
        } else {
            HELP.to_owned()
        }
    }
}

/// Shows what is seen, until it is told to end.
pub(super) fn run(looking: &mut Looking, interval: Duration) -> Result<(), Failure> {
    let held = |error| Failure::broken("cannot handle signals", error);
    let signals = ENDING.into_iter().chain([Signal::SIGWINCH, Signal::SIGTSTP]);
    let signals = Signals::hold_these(signals).map_err(held)?;
    let unusable = |error| Failure::unusable("cannot use the terminal", error);
    let screen = Screen::take().map_err(unusable)?;
    let Ok(mut terminal) = Terminal::new(Drawing::default());
    let mut pane = Pane::default();
    // The first rates are of a moment.
    let mut view = looking.look().map_err(super::unreadable)?;
    let mut next = Instant::now() + interval.min(Duration::from_millis(300));
    while !pane.over {
        let Ok(_) = terminal.draw(|frame| pane.draw(&view, frame.buffer_mut()));
        let wait = next.saturating_duration_since(Instant::now()).as_micros().div_ceil(1000);
        let input = io::stdin();
        let mut files = [
            PollFd::new(input.as_fd(), PollFlags::POLLIN),
            PollFd::new(signals.as_fd(), PollFlags::POLLIN),
        ];
        let _ = poll(&mut files, PollTimeout::try_from(wait).unwrap_or(PollTimeout::MAX));
        let has_input = files[0].any() == Some(true);
        match signals.caught() {
            Some(Signal::SIGWINCH) | None => {}
            Some(Signal::SIGTSTP) => {
                screen.lend(stop).map_err(unusable)?;
                let Ok(()) = terminal.clear();
            }
            Some(signal) => return Err(Failure::Signalled(signal)),
        }
        if has_input {
            match typed() {
                // A terminal that is gone is always ready, and has nothing.
                Some(bytes) if !bytes.is_empty() => {
                    Key::all(&bytes).into_iter().for_each(|key| pane.press(key));
                }
                _ => return Err(Failure::broken("cannot read from the terminal", "it is gone")),
            }
        }
        if Instant::now() >= next {
            next = Instant::now() + interval;
            if !pane.paused {
                match looking.look() {
                    Ok(found) => (view, pane.error) = (found, None),
                    Err(error) => pane.error = Some(error.to_string()),
                }
            }
        }
    }
    Ok(())
}

/// Stops this process, as Ctrl-Z does, until it is continued.
fn stop() {
    let set: SigSet = [Signal::SIGTSTP].into_iter().collect();
    let _ = raise(Signal::SIGTSTP);
    // Here it stops.
    let _ = set.thread_unblock();
    let _ = set.thread_block();
}
