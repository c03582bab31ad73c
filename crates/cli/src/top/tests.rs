//! What is drawn, without a terminal.

use std::time::Duration;

use ratatui_core::buffer::Buffer;
use ratatui_core::layout::Rect;
use tombolo::{Observer, Segment, Start};

use super::rows::{Before, View};
use super::screen::{Key, Pane};
use super::table::{Shown, WIDTH, number, text};

fn view_of(segment: &Segment) -> View {
    let found = Observer::of_id(segment.id()).look().unwrap();
    View::of(&found, &[], &Before::of(&found), Duration::from_secs(1))
}

fn drawn(pane: &mut Pane, view: &View, width: u16, height: u16) -> Vec<String> {
    let mut on = Buffer::empty(Rect::new(0, 0, width, height));
    pane.draw(view, &mut on);
    let cells = on.content.chunks(usize::from(width));
    let row = |cells: &[ratatui_core::buffer::Cell]| cells.iter().map(|it| it.symbol()).collect();
    cells.map(row).map(|row: String| row.trim_end().to_owned()).collect()
}

fn segment() -> Segment {
    let segment = Segment::options().size(1 << 20).channels(40).anonymous().unwrap();
    for n in 0..30 {
        drop(segment.channel::<u64>(&format!("queue-{n:02}")).capacity(8).sender().unwrap());
    }
    segment
}

#[test]
fn a_number_has_six_characters_at_most() {
    for (value, said) in [
        (0.0, "0"),
        (0.4, "0.4"),
        (9999.0, "9999"),
        (9999.6, "10k"),
        (12_345.0, "12k"),
        (1_234_567.0, "1235k"),
        (12_345_678.0, "12M"),
        (1e30, "1000000000000E"),
    ] {
        assert_eq!(number(value), said);
    }
}

#[test]
fn no_line_is_wider_than_the_terminal_and_details_follow_their_channel() {
    let segment = segment();
    let prices = segment.broadcast::<u64>("prices-of-a-very-long-name-indeed").capacity(8);
    let publisher = prices.publisher().unwrap();
    let _slow = prices.reliable_subscriber_from(Start::Oldest).unwrap();
    (0..5).for_each(|n| publisher.send(n).unwrap());
    let shown = text(&view_of(&segment), &Shown::default());
    let lines: Vec<&str> = shown.lines().collect();
    assert!(lines.iter().all(|line| line.chars().count() <= WIDTH), "{shown}");
    let at = lines.iter().position(|line| line.starts_with("  prices-of-a-very-lo~")).unwrap();
    let own = std::process::id();
    assert_eq!(lines[at + 1], format!("    reliable: pid {own} 5 behind"));
}

#[test]
fn keys_sort_filter_move_pause_and_end() {
    let segment = segment();
    let view = view_of(&segment);
    let mut pane = Pane::default();
    let first = drawn(&mut pane, &view, 80, 24);
    assert!(first[3].starts_with("  queue-00"), "{first:?}");
    assert!(first[23].contains("1-21/31"), "{first:?}");
    Key::all(b"\x1b[B\x1b[B").into_iter().for_each(|key| pane.press(key));
    assert!(drawn(&mut pane, &view, 80, 24)[2].starts_with("  queue-01"));
    Key::all(b"G").into_iter().for_each(|key| pane.press(key));
    assert!(drawn(&mut pane, &view, 80, 24)[22].starts_with("  queue-29"));
    Key::all(b"/e-1\r").into_iter().for_each(|key| pane.press(key));
    let filtered = drawn(&mut pane, &view, 80, 24);
    assert_eq!(filtered.iter().filter(|row| row.starts_with("  queue-")).count(), 10);
    Key::all(b"s p").into_iter().for_each(|key| pane.press(key));
    let title = &drawn(&mut pane, &view, 80, 24)[0];
    assert!(title.contains("by rate, with e-1"), "{title}");
    Key::all(b"?").into_iter().for_each(|key| pane.press(key));
    assert!(drawn(&mut pane, &view, 80, 24)[2].starts_with("q, Ctrl-C"));
    Key::all(b"\x1b[17~q").into_iter().for_each(|key| pane.press(key));
    assert!(pane.over);
    for (width, height) in [(1, 1), (3, 2), (200, 3)] {
        drawn(&mut Pane::default(), &view, width, height);
    }
}
