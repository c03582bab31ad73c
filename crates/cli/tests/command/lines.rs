//! `send --lines` and `recv --lines` as a shell sees them: which receiver gets a line.

use std::collections::HashMap;
use std::fs;
use std::io::{Read, Write};
use std::process::{ChildStdin, Stdio};
use std::thread;

use crate::common::wait_until;
use crate::place::Place;

const LONGEST: usize = 1 << 20;

fn count<'a>(lines: impl Iterator<Item = &'a [u8]>) -> HashMap<&'a [u8], usize> {
    let mut counts = HashMap::new();
    for line in lines {
        *counts.entry(line).or_default() += 1;
    }
    counts
}

/// Lines of this sender, all different; some are long, and some no text.
fn lines(sender: usize, number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for line in 0..number {
        let begin = format!("{sender} {line} ");
        bytes.extend(begin.as_bytes());
        if line % 10_000 == 0 {
            bytes.extend(vec![0xFF; 200_000]);
        }
        if line == 0 {
            bytes.extend(vec![0; LONGEST - begin.len() - 200_000]);
        }
        bytes.push(b'\n');
    }
    bytes
}

#[test]
fn every_line_goes_to_exactly_one_receiver() {
    let place = Place::new();
    let receivers = ["a", "b", "c"].map(|file| (file, place.recv(file, &["--lines"])));
    place.wait_for(0, 3);
    let inputs = [0, 1].map(|sender| lines(sender, 60_000));
    // Both there before either can end.
    let senders = [0, 1].map(|_| place.send_slowly(&["--lines"]));
    place.wait_for(2, 3);
    let feed = |input: Vec<u8>, mut to: ChildStdin| thread::spawn(move || to.write_all(&input));
    for ((sender, stdin), input) in senders.into_iter().zip(&inputs) {
        let fed = feed(input.clone(), stdin);
        thread::spawn(move || {
            fed.join().unwrap().unwrap();
            sender.ends(0, "");
        });
    }
    for (_, receiver) in receivers {
        receiver.ends(0, "");
    }
    let received = ["a", "b", "c"].map(|file| place.read(file)).concat();
    let sent = inputs.concat();
    let newline = |byte: &u8| *byte == b'\n';
    let (sent, received) =
        (count(sent.split_inclusive(newline)), count(received.split_inclusive(newline)));
    assert_eq!(sent.len(), 120_000);
    assert!(sent == received, "{} different lines were received", received.len());
    wait_until(|| !place.is_listed());
}

#[test]
fn lines_of_a_killed_receiver_go_to_another() {
    let place = Place::new();
    let (sender, mut input) = place.send_slowly(&["--lines"]);
    let mut stuck = place.recv_to(Stdio::piped(), &["--lines"]);
    let output = stuck.stdout();
    place.wait_for(1, 1);
    let sent = lines(0, 50_000);
    let fed = {
        let sent = sent.clone();
        thread::spawn(move || input.write_all(&sent))
    };
    let call = format!("/proc/{}/syscall", stuck.pid());
    wait_until(|| fs::read_to_string(&call).unwrap().starts_with("1 "));
    let other = place.recv("other", &["--lines"]);
    place.wait_for(1, 2);
    stuck.kill();
    fed.join().unwrap().unwrap();
    sender.ends(0, "");
    other.ends(0, "");
    // Some may have come twice: they were written out, and not yet let go.
    let mut first = Vec::new();
    { output }.read_to_end(&mut first).unwrap();
    let second = place.read("other");
    let newline = |byte: &u8| *byte == b'\n';
    let mut received = count(first.split_inclusive(newline));
    received.extend(count(second.split_inclusive(newline)));
    assert!(sent.split_inclusive(newline).all(|line| received.contains_key(line)));
    place.assert_gone();
}

#[test]
fn a_line_that_is_too_long_is_named_and_those_before_it_arrive() {
    let place = Place::new();
    let good = b"one\ntwo\n".as_slice();
    let input = place.write("in", &[good, &vec![b'x'; LONGEST + 1], b"\nfour\n"].concat());
    let receiver = place.recv("out", &["--lines"]);
    place.wait_for(0, 1);
    place.send(&input, &["--lines"]).ends(1, "line 3 is longer than 1048576 bytes");
    receiver.ends(1, "the sender has left or died before the end; 8 bytes");
    assert_eq!(place.read("out"), good);
    place.assert_gone();
}

#[test]
fn a_missing_last_newline_stays_missing_but_joins_no_lines() {
    let place = Place::new();
    let receiver = place.recv("out", &["--lines"]);
    let (slow, mut stdin) = place.send_slowly(&["--lines"]);
    place.wait_for(1, 1);
    let input = place.write("in", b"first");
    place.send(&input, &["--lines"]).ends(0, "");
    stdin.write_all(b"second").unwrap();
    drop(stdin);
    slow.ends(0, "");
    receiver.ends(0, "");
    assert_eq!(place.read("out"), b"first\nsecond");
    place.assert_gone();
}
