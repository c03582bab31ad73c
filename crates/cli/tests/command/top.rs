//! `tombolo top` for scripts, and on a terminal.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::{Winsize, openpty};
use nix::sys::signal::Signal;
use nix::sys::termios::tcgetattr;
use serde_json::Value;
use tombolo::{Segment, Start};

use crate::command::{PROGRAM, Running, assert_refused, run, text};
use crate::common::{Name, PATIENCE, heed_signals};

fn json(args: &[&str]) -> Value {
    let output = run(&[&["top", "--json", "--once", "--interval", "0.1"], args].concat());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn top_shows_rates_lags_and_who_is_there() {
    let name = Name::new();
    let segment = Segment::options().size(1 << 16).create(&name).unwrap();
    let prices = segment.broadcast::<u64>("prices").capacity(8);
    let publisher = prices.publisher().unwrap();
    let _slow = prices.reliable_subscriber_from(Start::Oldest).unwrap();
    publisher.send(1).unwrap();
    let jobs = segment.channel::<u64>("jobs").capacity(4);
    let (sender, receiver) = (jobs.sender().unwrap(), jobs.receiver().unwrap());
    let over = AtomicBool::new(false);
    let found = thread::scope(|scope| {
        let over = &over;
        let _ = scope.spawn(move || {
            while !over.load(Ordering::Relaxed) {
                sender.send(1).unwrap();
                receiver.recv().unwrap();
                thread::yield_now();
            }
        });
        let found = json(&[&name]);
        over.store(true, Ordering::Relaxed);
        found
    });
    let own = std::process::id();
    let market = &found["segments"][0];
    assert_eq!((&market["name"], &market["participants"]), (&(*name).into(), &1.into()));
    assert_eq!(
        (&market["people"][0]["pid"], &market["people"][0]["stopped"]),
        (&own.into(), &false.into())
    );
    assert!(market["resident"].as_u64().unwrap() > 0);
    assert!(found["interval_seconds"].as_f64().unwrap() >= 0.1);
    let [prices, jobs] = [0, 1].map(|n| &market["channels"][n]);
    assert_eq!(prices["reliable"], serde_json::json!([{"pid": own, "lag": 1}]));
    assert_eq!((&prices["passed"], &prices["rate_per_second"]), (&1.into(), &0.0.into()));
    assert!(jobs["rate_per_second"].as_f64().unwrap() > 0.0, "{jobs}");
    assert_eq!((&jobs["unit"], &jobs["capacity"]), (&"messages".into(), &4.into()));

    let table = text(&run(&["top", &name, "--once", "--interval", "0.01"]).stdout);
    assert!(table.starts_with("CHANNEL"), "{table}");
    assert!(table.contains(&format!("    reliable: pid {own} 1 behind\n")), "{table}");
    assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
}

#[test]
fn a_segment_that_is_not_there_is_said() {
    let name = Name::new();
    for args in [&["top", &name, "--once"] as &[_], &["top", &name, "--once", "--json"]] {
        assert_refused(args, &format!("there is no segment {}", &*name));
    }
    assert_refused(&["top", "--interval", "0"], "not a positive number of seconds");
}

/// The command on a terminal of 80 columns, and the terminal's other side.
fn on_a_terminal(args: &[&str], kind: &str) -> (Running, File, File) {
    let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
    let pty = openpty(&size, None).unwrap();
    let slave = File::from(pty.slave);
    let mut command = Command::new(PROGRAM);
    command.args(args).env("TERM", kind).env("NO_COLOR", "1").stderr(Stdio::piped());
    command.stdin(slave.try_clone().unwrap()).stdout(slave.try_clone().unwrap());
    heed_signals(&mut command);
    (Running::spawn(&mut command), File::from(pty.master), slave)
}

/// Reads until the text is there.
fn read_until(terminal: &mut File, wanted: &str) -> String {
    let mut seen = Vec::new();
    loop {
        let mut bytes = [0; 4096];
        let mut files = [PollFd::new(terminal.as_fd(), PollFlags::POLLIN)];
        let ready = poll(&mut files, PollTimeout::try_from(PATIENCE).unwrap());
        assert_eq!(ready, Ok(1), "{wanted:?} is not in {:?}", String::from_utf8_lossy(&seen));
        let count = terminal.read(&mut bytes).unwrap();
        seen.extend_from_slice(&bytes[..count]);
        let text = String::from_utf8_lossy(&seen);
        if text.contains(wanted) {
            return text.into_owned();
        }
    }
}

const LEFT: &str = "\x1b[?1049l";

#[test]
fn a_terminal_is_put_back_as_it_was_however_top_ends() {
    let name = Name::new();
    let segment = Segment::options().size(1 << 16).create(&name).unwrap();
    let _jobs = segment.channel::<u64>("jobs").capacity(4).sender().unwrap();
    // By its key, by the key for Ctrl-C, and by signals.
    for (typed, signal, status) in [
        (Some("?xq"), None, 0),
        (Some("\x03"), None, 130),
        (None, Some(Signal::SIGTERM), 143),
        (None, Some(Signal::SIGHUP), 129),
    ] {
        let (mut top, mut terminal, slave) = on_a_terminal(&["top", &name], "vt100");
        let before = tcgetattr(&slave).unwrap();
        let drawn = read_until(&mut terminal, "pause");
        assert!(drawn.contains("jobs"), "{drawn:?}");
        // Bold and reversed, and no colour.
        for style in drawn.split("\x1b[").filter_map(|part| part.split_once('m')) {
            let (style, _) = style;
            assert!(["0", "1", "7"].contains(&style) || style.contains(char::is_alphabetic));
        }
        assert_ne!(tcgetattr(&slave).unwrap().local_flags, before.local_flags);
        match (typed, signal) {
            // A terminal of which it is not the session's has no Ctrl-C.
            (Some("\x03"), _) => top.signal(Signal::SIGINT),
            (Some(typed), _) => terminal.write_all(typed.as_bytes()).unwrap(),
            (None, Some(signal)) => top.signal(signal),
            (None, None) => {}
        }
        read_until(&mut terminal, LEFT);
        assert_eq!(top.wait().code(), Some(status));
        assert_eq!(tcgetattr(&slave).unwrap(), before);
    }
}

#[test]
fn a_terminal_that_moves_no_cursor_gets_one_table_after_the_other() {
    let name = Name::new();
    let segment = Segment::options().size(1 << 16).create(&name).unwrap();
    let _jobs = segment.channel::<u64>("jobs").capacity(4).sender().unwrap();
    let args = ["top", &*name, "--interval", "0.05"];
    let (mut top, mut terminal, _slave) = on_a_terminal(&args, "dumb");
    let seen = (0..2).map(|_| read_until(&mut terminal, "CHANNEL")).collect::<String>();
    assert!(!seen.contains('\x1b'), "{seen:?}");
    top.signal(Signal::SIGINT);
    assert_eq!(top.wait().code(), Some(130));
}
