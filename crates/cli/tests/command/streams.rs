//! `send` and `recv` as a shell sees them: streams, whose senders and receivers are killed
//! and interrupted.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{ChildStdin, Stdio};
use std::thread;

use nix::sys::signal::Signal;
use tombolo::Segment;

use crate::command::Running;
use crate::common::wait_until;
use crate::place::{Place, noise};

#[track_caller]
fn carried(count: usize, more: &[&str], receiver_first: bool) {
    let place = Place::new();
    let bytes = noise(count, 7);
    let input = place.write("in", &bytes);
    let (sender, receiver) = if receiver_first {
        let receiver = place.recv("out", more);
        place.wait_for(0, 1);
        (place.send(&input, more), receiver)
    } else {
        let sender = place.send(&input, more);
        place.wait_for(1, 0);
        (sender, place.recv("out", more))
    };
    sender.ends(0, "");
    // Delivered when send returns, whether or not recv has ended.
    assert!(place.read("out") == bytes, "{count} bytes are not the same");
    receiver.ends(0, "");
    assert!(place.read("out") == bytes, "{count} bytes are not the same in the end");
    place.assert_gone();
}

#[test]
fn a_stream_of_any_length_arrives_whole_in_either_order_of_start() {
    for count in [0, 1, 1_000_003, 64 << 20] {
        carried(count, &[], true);
        carried(count, &[], false);
    }
}

#[test]
fn one_to_one_lines_are_any_bytes_in_order() {
    for count in [0, 1, 1_000_003] {
        carried(count, &["--lines"], true);
        carried(count, &["--lines"], false);
    }
}

#[test]
fn streams_follow_each_other_under_one_name_without_a_pause() {
    let place = Place::new();
    for round in 0..30 {
        let bytes = noise(round * 10_007, round as u64);
        let input = place.write("in", &bytes);
        let file = format!("out{round}");
        let receiver = place.recv(&file, &[]);
        let sender = place.send(&input, &[]);
        // Now one and now the other is still leaving when the next ones come.
        if round % 2 == 0 {
            sender.ends(0, "");
            assert!(place.read(&file) == bytes);
            thread::spawn(move || receiver.ends(0, ""));
        } else {
            receiver.ends(0, "");
            assert!(place.read(&file) == bytes);
            thread::spawn(move || sender.ends(0, ""));
        }
    }
    wait_until(|| !place.is_listed());
}

#[test]
fn a_pipe_is_carried_as_it_comes() {
    let place = Place::new();
    let (sender, mut input) = place.send_slowly(&[]);
    let receiver = place.recv("out", &[]);
    for part in 1..=3 {
        input.write_all(b"part").unwrap();
        place.wait_for_bytes("out", 4 * part);
    }
    drop(input);
    sender.ends(0, "");
    receiver.ends(0, "");
    place.assert_gone();
}

/// A stream that is under way: 1 MiB has been received, and the sender waits
/// for more.
fn under_way(more: &[&str]) -> (Place, Running, ChildStdin, Running) {
    let place = Place::new();
    let (sender, mut input) = place.send_slowly(more);
    let receiver = place.recv("out", more);
    let mut bytes = noise((1 << 20) - 1, 3);
    bytes.push(b'\n');
    input.write_all(&bytes).unwrap();
    place.wait_for_bytes("out", 1 << 20);
    (place, sender, input, receiver)
}

const MODES: [&[&str]; 2] = [&[], &["--lines"]];

#[test]
fn a_killed_sender_fails_the_receiver() {
    for mode in MODES {
        let (place, sender, _input, receiver) = under_way(mode);
        sender.kill();
        receiver.ends(1, "sender has left or died before the end; 1048576 bytes were received");
        place.assert_gone();
    }
}

#[test]
fn a_killed_receiver_fails_the_sender_even_if_that_has_nothing_to_send() {
    for mode in MODES {
        let (place, sender, _input, receiver) = under_way(mode);
        receiver.kill();
        sender.ends(1, "receiver has left or died before all was delivered; 1048576 bytes");
        place.assert_gone();
    }
}

#[test]
fn a_killed_receiver_fails_a_busy_sender() {
    for mode in MODES {
        let place = Place::new();
        let args = [&["send", &*place.name, "/dev/zero"], mode].concat();
        if mode.is_empty() {
            let receiver = place.recv("out", mode);
            let sender = Running::start(&args);
            place.wait_for_bytes("out", 1 << 20);
            receiver.kill();
            sender.ends(1, "the receiver has left or died");
            place.assert_gone();
        } else {
            // One endless line.
            let receiver = place.recv("out", mode);
            place.wait_for(0, 1);
            Running::start(&args).ends(1, "line 1 is longer than 1048576 bytes");
            receiver.ends(1, "the sender has left or died before the end; 0 bytes");
            place.assert_gone();
        }
    }
}

#[test]
fn an_interrupted_party_says_so_and_fails_the_other() {
    for mode in MODES {
        for (signal, status) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
            let (place, sender, _input, receiver) = under_way(mode);
            sender.signal(signal);
            sender.ends(status, signal.as_str());
            receiver.ends(1, "the sender has left or died before the end");
            place.assert_gone();

            let (place, sender, _input, receiver) = under_way(mode);
            receiver.signal(signal);
            receiver.ends(status, signal.as_str());
            sender.ends(1, "the receiver has left or died");
            place.assert_gone();
        }
    }
}

#[test]
fn one_that_waits_for_the_other_can_be_interrupted() {
    for mode in MODES {
        let place = Place::new();
        let receiver = place.recv("out", mode);
        place.wait_for(0, 1);
        receiver.signal(Signal::SIGINT);
        receiver.ends(130, "SIGINT");
        place.assert_gone();

        let input = place.write("in", b"something\n");
        let sender = place.send(&input, mode);
        place.wait_for(1, 0);
        sender.signal(Signal::SIGINT);
        sender.ends(130, "SIGINT");
        place.assert_gone();
    }
}

#[test]
fn a_receiver_whose_output_is_stuck_can_be_interrupted() {
    let place = Place::new();
    let mut receiver = place.recv_to(Stdio::piped(), &[]);
    // Nobody reads it.
    let output = receiver.stdout();
    let sender = Running::start(&["send", &place.name, "/dev/zero"]);
    let stat = format!("/proc/{}/syscall", receiver.pid());
    wait_until(|| fs::read_to_string(&stat).unwrap().starts_with("1 "));
    receiver.signal(Signal::SIGINT);
    receiver.ends(130, "SIGINT");
    sender.ends(1, "the receiver has left or died");
    drop(output);
    place.assert_gone();
}

#[test]
fn output_that_cannot_be_written_fails_both() {
    for mode in MODES {
        let place = Place::new();
        let full = File::options().write(true).open("/dev/full").unwrap();
        let receiver = place.recv_to(full, mode);
        let input = place.write("in", b"much\nmore\nthan nothing");
        let sender = place.send(&input, mode);
        receiver.ends(1, "cannot write to standard output: No space left");
        sender.ends(1, "the receiver has left or died");
        place.assert_gone();
    }
}

#[test]
fn output_that_nobody_reads_fails_both_even_if_there_is_nothing_to_write() {
    for mode in MODES {
        let place = Place::new();
        let mut receiver = place.recv_to(Stdio::piped(), mode);
        let (sender, mut input) = place.send_slowly(mode);
        input.write_all(b"x\n").unwrap();
        let mut output = receiver.stdout();
        output.read_exact(&mut [0; 2]).unwrap();
        drop(output);
        receiver.ends(1, "standard output has been closed");
        sender.ends(1, "the receiver has left or died");
        place.assert_gone();
    }
}

#[test]
fn modes_that_disagree_are_refused() {
    let place = Place::new();
    let input = place.write("in", b"a\n");
    let receiver = place.recv("out", &[]);
    place.wait_for(0, 1);
    place.send(&input, &["--lines"]).ends(2, "carries a stream, not lines");
    place.send(&input, &[]).ends(0, "");
    receiver.ends(0, "");

    let receiver = place.recv("out", &["--lines"]);
    place.wait_for(0, 1);
    place.send(&input, &[]).ends(2, "carries lines");
    place.recv("other", &[]).ends(2, "carries lines");
    place.send(&input, &["--lines"]).ends(0, "");
    receiver.ends(0, "");
    place.assert_gone();
}

#[test]
fn a_second_of_a_kind_is_refused_and_told_who_is_there() {
    let (place, sender, input, receiver) = under_way(&[]);
    place.recv("other", &[]).ends(2, &format!("receiver already, in process {}", receiver.pid()));
    let other = place.write("in", b"");
    place.send(&other, &[]).ends(2, &format!("sender already, in process {}", sender.pid()));
    drop(input);
    sender.ends(0, "");
    receiver.ends(0, "");
    place.assert_gone();
}

#[test]
fn a_late_receiver_never_takes_half_a_stream_for_the_whole() {
    for _ in 0..10 {
        let (place, sender, input, receiver) = under_way(&[]);
        receiver.kill();
        // The sender may not have noticed yet.
        let late = place.recv("late", &[]);
        drop(input);
        let (sent, said) = sender.ended();
        assert_eq!(sent, 1, "{said}");
        // It waits for the next stream, if it came after the end of this one.
        late.signal(Signal::SIGINT);
        let (received, said) = late.ended();
        assert!(matches!(received, 1 | 130 | -1), "{received}: {said}");
        drop(place);
    }
}

#[test]
fn what_the_killed_have_left_does_not_disturb_the_next() {
    for mode in MODES {
        let place = Place::new();
        let stale = place.write("stale", &noise(100_000, 9));
        let sender = place.send(&stale, mode);
        place.wait_for(1, 0);
        sender.kill();
        assert!(place.is_listed());

        let bytes = noise(100_000, 10);
        let input = place.write("in", &bytes);
        let receiver = place.recv("out", mode);
        place.send(&input, mode).ends(0, "");
        receiver.ends(0, "");
        assert!(place.read("out") == bytes);
        place.assert_gone();
    }
}

#[test]
fn input_that_cannot_be_read_is_refused_before_anything_is_made() {
    let place = Place::new();
    place.send(Path::new("/does/not/exist"), &[]).ends(2, "cannot read /does/not/exist");
    place.send(Path::new("/"), &[]).ends(2, "cannot read /: it is a directory");
    Running::start(&["recv", "no names like this"]).ends(2, "cannot be a name");
    place.assert_gone();
}

#[test]
fn a_segment_of_another_program_is_left_alone() {
    let place = Place::new();
    let segment = Segment::create(&place.name).unwrap();
    let _theirs = segment.channel::<u64>("theirs").capacity(1).sender().unwrap();
    place.recv("out", &[]).ends(2, "another program's");
    assert_eq!(segment.channels().len(), 1);
    assert!(place.is_listed());
}

#[test]
#[ignore = "4 GiB"]
fn four_gibibytes_arrive_whole() {
    let place = Place::new();
    let length = (4_u64 << 30) + 4_093;
    let input = place.path("in");
    let file = File::create(&input).unwrap();
    file.set_len(length).unwrap();
    // Sparse, but with something to tell the places apart.
    for at in (0..length - 8).step_by((1 << 20) + 77) {
        file.write_all_at(&at.to_le_bytes(), at).unwrap();
    }
    let mut receiver = place.recv_to(Stdio::piped(), &[]);
    let sender = place.send(&input, &[]);
    let mut output = receiver.stdout();
    let mut expected = File::open(&input).unwrap();
    let mut total = 0;
    let (mut got, mut wanted) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    loop {
        let read = output.read(&mut got).unwrap();
        if read == 0 {
            break;
        }
        expected.read_exact(&mut wanted[..read]).unwrap();
        assert!(got[..read] == wanted[..read], "within {read} bytes from {total}");
        total += read as u64;
    }
    assert_eq!(total, length);
    sender.ends(0, "");
    receiver.ends(0, "");
    place.assert_gone();
}
