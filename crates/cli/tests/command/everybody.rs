//! `send --broadcast` and `recv --broadcast` as a shell sees them: everybody gets everything,
//! or is told what not.

use std::collections::HashMap;
use std::fs;
use std::io::{Read, Write};
use std::process::{ChildStdin, Stdio};

use nix::sys::signal::Signal;

use crate::command::{Running, run, text};
use crate::common::wait_until;
use crate::place::{Place, noise};

const STREAM: &[&str] = &["--broadcast"];
const LINES: &[&str] = &["--broadcast", "--lines"];
const MODES: [&[&str]; 2] = [STREAM, LINES];
/// How many lines are kept.
const KEPT: usize = 1_024;

fn with(mode: &[&'static str], more: &[&'static str]) -> Vec<&'static str> {
    [mode, more].concat()
}

fn numbered(lines: std::ops::Range<usize>) -> Vec<u8> {
    lines.flat_map(|n| format!("line {n}\n").into_bytes()).collect()
}

/// A sender that is under way: the first lines have been received, to `file`, and it waits
/// for more.
fn under_way(mode: &[&'static str], file: &str, more: &[&'static str]) -> (Place, Way) {
    let place = Place::new();
    let (sender, mut input) = place.send_slowly(mode);
    let receiver = place.recv(file, &with(mode, more));
    let bytes = numbered(0..10);
    input.write_all(&bytes).unwrap();
    place.wait_for_bytes(file, bytes.len() as u64);
    (place, Way { sender, input, receiver })
}

struct Way {
    sender: Running,
    input: ChildStdin,
    receiver: Running,
}

#[test]
fn a_stream_reaches_all_reliable_receivers_whole_before_send_returns() {
    for count in [0, 1, 9_000_003] {
        let place = Place::new();
        let bytes = noise(count, 5);
        let input = place.write("in", &bytes);
        let sender = place.send(&input, &with(STREAM, &["--subscribers", "3"]));
        let files = ["a", "b", "c"];
        let receivers = files.map(|file| place.recv(file, &with(STREAM, &["--reliable"])));
        sender.ends(0, "");
        for file in files {
            assert!(place.read(file) == bytes, "{count} bytes are not the same");
        }
        receivers.into_iter().for_each(|receiver| receiver.ends(0, ""));
        place.assert_gone();
    }
}

#[test]
fn every_line_of_all_senders_goes_to_all_receivers_once_and_in_order() {
    let place = Place::new();
    let files = ["a", "b"];
    let receivers = files.map(|file| place.recv(file, &with(LINES, &["--reliable"])));
    let senders = ["1", "2", "3"].map(|sender| {
        let lines = (0..5_000).map(|n| format!("{sender} {n}\n")).collect::<String>();
        let input = place.write(sender, lines.as_bytes());
        place.send(&input, &with(LINES, &["--subscribers", "2"]))
    });
    senders.into_iter().for_each(|sender| sender.ends(0, ""));
    receivers.into_iter().for_each(|receiver| receiver.ends(0, ""));
    for file in files {
        let mut next = HashMap::new();
        for line in text(&place.read(file)).lines() {
            let (sender, n) = line.split_once(' ').unwrap();
            let next = next.entry(sender.to_owned()).or_insert(0);
            assert_eq!(n.parse(), Ok(*next), "of sender {sender}");
            *next += 1;
        }
        assert!(next.values().all(|&count| count == 5_000), "{next:?}");
    }
    assert!(place.read("a") == place.read("b"), "all get the same order");
    wait_until(|| !place.is_listed());
}

#[test]
fn lines_are_any_bytes_and_a_missing_newline_stays_missing() {
    for lossy in [true, false] {
        let place = Place::new();
        let mut bytes = noise(200_000, 3);
        bytes.extend([b"\n", &*vec![b'x'; 1 << 16], b"\n\n\0last"].concat());
        let input = place.write("in", &bytes);
        let receiver = place.recv("out", &with(LINES, if lossy { &[] } else { &["--reliable"] }));
        place.send(&input, LINES).ends(0, "");
        receiver.ends(0, "");
        assert!(place.read("out") == bytes, "lossy {lossy}");
        place.assert_gone();
    }
}

#[test]
fn a_late_receiver_begins_where_it_says() {
    let (place, Way { sender, mut input, receiver }) = under_way(LINES, "first", &[]);
    let wishes = [
        ("oldest", &["--from", "oldest", "--reliable"][..], 0),
        ("last", &["--from", "last:3"], 7),
        ("many", &["--from", "last:300"], 0),
        ("newest", &["--from", "newest"], 10),
        ("usual", &["--reliable"], 10),
    ];
    let late = wishes.map(|(file, wish, _)| place.recv(file, &with(LINES, wish)));
    place.wait_for(1, 6);
    input.write_all(&numbered(10..20)).unwrap();
    drop(input);
    sender.ends(0, "");
    receiver.ends(0, "");
    late.into_iter().for_each(|receiver| receiver.ends(0, ""));
    for (file, _, first) in wishes {
        assert_eq!(text(&place.read(file)), text(&numbered(first..20)), "{file}");
    }
    place.assert_gone();
}

#[test]
fn a_stream_is_received_from_its_beginning_or_where_one_says_otherwise() {
    let (place, Way { sender, mut input, receiver }) = under_way(STREAM, "first", &["--reliable"]);
    let whole = place.recv("whole", STREAM);
    place.wait_for_bytes("whole", 70);
    // More than is kept.
    let more = noise(8 << 20, 9);
    input.write_all(&more).unwrap();
    place.wait_for_bytes("first", 70 + (8 << 20));
    place.recv("late", STREAM).ends(1, "the beginning of what");
    assert_eq!(place.read("late"), b"");
    let newest = place.recv("newest", &with(STREAM, &["--from", "newest", "--reliable"]));
    place.wait_for(1, 3);
    input.write_all(b"the rest").unwrap();
    drop(input);
    sender.ends(0, "");
    newest.ends(0, "this begins at byte 8388678 of the stream");
    assert_eq!(place.read("newest"), b"the rest");
    receiver.ends(0, "");
    assert_eq!(place.read("first").len(), 70 + more.len() + 8);
    // It was fast enough, or it has said what it missed.
    let (status, said) = whole.ended();
    let got = place.read("whole").len();
    match status {
        0 => assert_eq!(got, 70 + more.len() + 8),
        _ => assert!(
            said.contains(&format!("{} bytes were missed", more.len() + 78 - got)),
            "{said}"
        ),
    }
    place.assert_gone();
}

#[test]
fn a_sender_that_goes_before_the_end_fails_every_receiver() {
    for (mode, signal) in
        [(STREAM, Signal::SIGKILL), (LINES, Signal::SIGKILL), (LINES, Signal::SIGINT)]
    {
        let (place, Way { sender, input: _input, receiver }) = under_way(mode, "first", &[]);
        let other = place.recv("other", &with(mode, &["--reliable", "--from", "oldest"]));
        place.wait_for_bytes("other", 70);
        sender.signal(signal);
        receiver.ends(1, "sender has left or died before the end; 70 bytes were received");
        other.ends(1, "sender has left or died before the end; 70 bytes were received");
        // It may still be leaving.
        sender.end();
        place.assert_gone();
    }
}

#[test]
fn a_receiver_that_was_too_slow_says_exactly_how_much_it_missed() {
    for allowed in [false, true] {
        let (place, Way { sender, mut input, receiver }) =
            under_way(LINES, "slow", if allowed { &["--allow-lag"] } else { &[] });
        let other = place.recv("other", &with(LINES, &["--reliable"]));
        place.wait_for(1, 2);
        receiver.signal(Signal::SIGSTOP);
        input.write_all(&numbered(10..5_000)).unwrap();
        drop(input);
        let all = numbered(10..5_000).len() as u64;
        place.wait_for_bytes("other", all);
        receiver.signal(Signal::SIGCONT);
        sender.ends(0, "");
        other.ends(0, "");
        let (status, said) = receiver.ended();
        assert_eq!(status, i32::from(!allowed), "{said}");
        let got = text(&place.read("slow")).lines().count();
        assert!(got >= KEPT, "{got} lines");
        assert!(said.contains(&format!(" {} lines were missed", 5_000 - got)), "{got}: {said}");
        assert_eq!(said.contains("--reliable"), !allowed, "{said}");
        let slow = place.read("slow");
        assert!(slow.ends_with(&numbered(5_000 - KEPT..5_000)), "what is kept is not missed");
        place.assert_gone();
    }
}

#[test]
fn a_reliable_receiver_holds_senders_up_until_it_is_killed() {
    for mode in MODES {
        let (place, Way { sender, mut input, receiver }) = under_way(mode, "slow", &["--reliable"]);
        receiver.signal(Signal::SIGSTOP);
        // More than is kept, and than the sender and the pipe before it hold.
        let times = if mode == STREAM { 50 } else { 8 };
        let fed = std::thread::spawn(move || {
            for _ in 0..times {
                input.write_all(&numbered(0..10_000)).unwrap();
            }
        });
        let slot = |field: &str| {
            let listed = place.listed().unwrap();
            let channels = listed["channels"].as_array().unwrap().clone();
            let channel = channels.into_iter().find(|channel| channel["name"] == "stream").unwrap();
            channel[field].as_u64().unwrap()
        };
        wait_until(|| slot("depth") == slot("capacity"));
        assert!(!fed.is_finished());
        receiver.kill();
        fed.join().unwrap();
        sender.ends(1, "no receiver was there at the end");
        place.assert_gone();
    }
}

#[test]
fn nobody_at_the_end_is_a_failure_unless_that_was_said() {
    for mode in MODES {
        let place = Place::new();
        let input = place.write("in", &numbered(0..10));
        place.send(&input, &with(mode, &["--subscribers", "0"])).ends(0, "");
        place.assert_gone();
        let (place, Way { sender, input, receiver }) = under_way(mode, "out", &[]);
        receiver.signal(Signal::SIGINT);
        receiver.ends(130, "ended by SIGINT; 70 bytes were received");
        drop(input);
        sender.ends(1, "no receiver was there at the end: nobody has got all of the 70 bytes");
        place.assert_gone();
    }
}

#[test]
fn signals_and_a_closed_pipe_leave_nothing() {
    for mode in MODES {
        for signal in [Signal::SIGINT, Signal::SIGTERM] {
            let place = Place::new();
            let (sender, _input) = place.send_slowly(mode);
            place.wait_for(1, 0);
            sender.signal(signal);
            sender.ends(128 + signal as i32, "ended by SIG");
            let receiver = place.recv("out", mode);
            place.wait_for(0, 1);
            receiver.signal(signal);
            receiver.ends(128 + signal as i32, "ended by SIG");
            place.assert_gone();
        }
        let place = Place::new();
        let (sender, mut input) = place.send_slowly(mode);
        let mut receiver = place.recv_to(Stdio::piped(), mode);
        let mut output = receiver.stdout();
        input.write_all(b"to be read\n").unwrap();
        let mut read = [0; 11];
        output.read_exact(&mut read).unwrap();
        drop(output);
        receiver.ends(1, "standard output");
        drop(input);
        sender.ends(1, "no receiver was there at the end");
        place.assert_gone();
    }
}

#[test]
fn a_line_that_is_too_long_is_named() {
    let place = Place::new();
    let bytes = [numbered(0..2), vec![b'x'; (1 << 16) + 1], b"\n".to_vec()].concat();
    let input = place.write("in", &bytes);
    let receiver = place.recv("out", LINES);
    place.send(&input, LINES).ends(1, "line 3 is longer than 65536 bytes");
    receiver.ends(1, "sender has left or died before the end");
    assert_eq!(place.read("out"), numbered(0..2));
    place.assert_gone();
}

#[test]
fn a_disagreement_of_modes_is_told() {
    let all: [(&[&str], &str); 4] = [
        (&[], "a stream"),
        (&["--lines"], "lines"),
        (STREAM, "a stream to everybody"),
        (LINES, "lines to everybody"),
    ];
    let place = Place::new();
    let input = place.write("in", b"x");
    for (theirs, what) in all {
        let receiver = place.recv("out", theirs);
        place.wait_for(0, 1);
        for (ours, _) in all.into_iter().filter(|&(ours, _)| ours != theirs) {
            place.send(&input, ours).ends(2, &format!("carries {what}, not "));
            place.recv("other", ours).ends(2, &format!("carries {what}, not "));
        }
        receiver.signal(Signal::SIGTERM);
        receiver.ends(143, "ended by SIGTERM");
        place.assert_gone();
    }
    let receiver = place.recv("out", LINES);
    place.wait_for(0, 1);
    place.send(&input, &["--broadcast"]).ends(2, "use --lines here as well");
    place.send(&input, &["--lines"]).ends(2, "use --broadcast here as well");
    drop(receiver);
}

#[test]
fn a_stream_to_everybody_has_one_sender() {
    let (place, Way { sender, input, receiver }) = under_way(STREAM, "out", &[]);
    let other = place.write("other", b"x");
    place.send(&other, STREAM).ends(2, "has its sender already; a stream has one");
    drop(input);
    sender.ends(0, "");
    receiver.ends(0, "");
    assert_eq!(fs::read(place.path("out")).unwrap(), numbered(0..10));
    place.assert_gone();
}

#[test]
fn lines_to_everybody_that_are_drained_end_well() {
    let (place, Way { sender, mut input, receiver }) = under_way(LINES, "out", &["--reliable"]);
    assert_eq!(run(&["ctl", &place.name, "drain"]).status.code(), Some(0));
    // It may have ended already.
    let _ = input.write_all(b"too late\n");
    sender.ends(0, "the segment has been drained: 70 bytes were sent, and no more");
    receiver.ends(0, "");
    assert_eq!(place.read("out"), numbered(0..10));
    place.assert_gone();
}

#[test]
fn streams_to_everybody_follow_each_other_under_one_name_without_a_pause() {
    let place = Place::new();
    for round in 0..16 {
        let bytes = noise(round * 20_011, round as u64);
        let input = place.write("in", &bytes);
        let file = format!("out{round}");
        let more = with(STREAM, if round % 3 == 0 { &["--reliable"] } else { &[] });
        let receiver = place.recv(&file, &more);
        let sender = place.send(&input, STREAM);
        // One or the other is still leaving when the next ones come.
        let (first, second) = if round % 2 == 0 { (sender, receiver) } else { (receiver, sender) };
        first.ends(0, "");
        assert!(place.read(&file) == bytes, "round {round}");
        std::thread::spawn(move || second.ends(0, ""));
    }
    wait_until(|| !place.is_listed());
}

#[test]
fn a_receiver_of_whole_streams_waits_for_one_that_has_not_ended() {
    let (place, Way { sender, input, receiver }) = under_way(STREAM, "first", &[]);
    receiver.signal(Signal::SIGSTOP);
    drop(input);
    // It has sent the end, and stays for a moment.
    place.wait_for(0, 1);
    let next = place.recv("next", STREAM);
    place.wait_for(0, 2);
    place.recv("again", &with(STREAM, &["--from", "oldest"])).ends(0, "");
    assert_eq!(place.read("again"), numbered(0..10));
    sender.kill();
    let input = place.write("in", b"another");
    let sender = place.send(&input, STREAM);
    next.ends(0, "");
    assert_eq!(place.read("next"), b"another");
    receiver.signal(Signal::SIGCONT);
    receiver.ends(0, "");
    sender.ends(0, "");
    assert_eq!(place.read("first"), numbered(0..10));
    place.assert_gone();
}
