//! `send`, `recv`, `ls` and `rm` as a shell sees them, with real processes
//! that are killed and interrupted.

use crate::common;

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use common::{heed_signals, own_tables, tables, wait_until};
use tombolo::{ChannelInfo, Segment};

const LONGEST: usize = 1 << 20;

fn tombolo(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tombolo"));
    command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    heed_signals(&mut command);
    command
}

#[track_caller]
fn run(args: &[&str]) -> Output {
    tombolo(args).stdout(Stdio::piped()).output().unwrap()
}

/// A command under way, killed with the test.
struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> Self {
        Self(command.spawn().unwrap())
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.0.id().cast_signed()), signal).unwrap();
    }

    /// Kills and reaps it.
    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    fn stdin(&mut self) -> ChildStdin {
        self.0.stdin.take().unwrap()
    }

    /// Its exit status, and what it says.
    #[track_caller]
    fn end(mut self) -> (i32, String) {
        let mut status = None;
        wait_until(|| {
            status = self.0.try_wait().unwrap();
            status.is_some()
        });
        let mut said = String::new();
        self.0.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        (status.unwrap().code().unwrap_or(-1), said)
    }

    /// Ends with this status, and one line that has this in it; or, if it
    /// says nothing, none.
    #[track_caller]
    fn ends(self, status: i32, saying: &str) {
        let (ended, said) = self.end();
        assert_eq!(ended, status, "{said}");
        assert!(said.contains(saying), "{said:?} instead of {saying:?}");
        assert_eq!(said.lines().count(), usize::from(!saying.is_empty()), "{said}");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A name and a folder that nobody else has, and that go with the test.
struct Place {
    name: String,
    folder: PathBuf,
}

impl Place {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("test-streams-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(&name);
        fs::create_dir(&folder).unwrap();
        Self { name, folder }
    }

    fn path(&self, file: &str) -> PathBuf {
        self.folder.join(file)
    }

    fn write(&self, file: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(file);
        fs::write(&path, bytes).unwrap();
        path
    }

    fn send(&self, file: &Path, more: &[&str]) -> Running {
        let args = [&["send", &self.name, file.to_str().unwrap()], more].concat();
        Running::start(&mut tombolo(&args))
    }

    /// One that reads what the test gives it.
    fn send_slowly(&self, more: &[&str]) -> (Running, ChildStdin) {
        let args = [&["send", self.name.as_str()], more].concat();
        let mut running = Running::start(tombolo(&args).stdin(Stdio::piped()));
        let stdin = running.stdin();
        (running, stdin)
    }

    fn recv_to(&self, output: impl Into<Stdio>, more: &[&str]) -> Running {
        let args = [&["recv", self.name.as_str()], more].concat();
        Running::start(tombolo(&args).stdout(output))
    }

    fn recv(&self, file: &str, more: &[&str]) -> Running {
        self.recv_to(File::create(self.path(file)).unwrap(), more)
    }

    fn read(&self, file: &str) -> Vec<u8> {
        fs::read(self.path(file)).unwrap()
    }

    fn channel(&self) -> Option<ChannelInfo> {
        let all = Segment::list().unwrap();
        let segment = all.into_iter().find(|segment| segment.name == self.name)?;
        segment.channels.into_iter().find(|channel| channel.name == "stream")
    }

    /// Waits until as many senders and receivers are there.
    #[track_caller]
    fn wait_for(&self, senders: u64, receivers: u64) {
        wait_until(|| {
            let channel = self.channel();
            channel.is_some_and(|c| c.senders == senders && c.receivers >= receivers)
        });
    }

    /// Waits until so many bytes have arrived.
    #[track_caller]
    fn wait_for_bytes(&self, file: &str, bytes: u64) {
        wait_until(|| fs::metadata(self.path(file)).unwrap().len() >= bytes);
    }

    fn is_listed(&self) -> bool {
        let listed: Value = serde_json::from_slice(&run(&["ls", "--json"]).stdout).unwrap();
        listed.as_array().unwrap().iter().any(|segment| segment["name"] == *self.name)
    }

    #[track_caller]
    fn assert_gone(&self) {
        assert!(!self.is_listed(), "{} is left", self.name);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = Segment::remove_named(&self.name);
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Bytes without a pattern, and with newlines.
fn noise(count: usize, mut seed: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(count + 8);
    while bytes.len() < count {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bytes.extend((seed >> 16).to_le_bytes());
    }
    bytes.truncate(count);
    bytes
}

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
        let args = [&["send", place.name.as_str(), "/dev/zero"], mode].concat();
        if mode.is_empty() {
            let receiver = place.recv("out", mode);
            let sender = Running::start(&mut tombolo(&args));
            place.wait_for_bytes("out", 1 << 20);
            receiver.kill();
            sender.ends(1, "the receiver has left or died");
            place.assert_gone();
        } else {
            // One endless line.
            let receiver = place.recv("out", mode);
            place.wait_for(0, 1);
            Running::start(&mut tombolo(&args)).ends(1, "line 1 is longer than 1048576 bytes");
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
    let output = receiver.0.stdout.take().unwrap();
    let sender = Running::start(&mut tombolo(&["send", &place.name, "/dev/zero"]));
    let stat = format!("/proc/{}/syscall", receiver.0.id());
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
        let mut output = receiver.0.stdout.take().unwrap();
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
    place.recv("other", &[]).ends(2, &format!("receiver already, in process {}", receiver.0.id()));
    let other = place.write("in", b"");
    place.send(&other, &[]).ends(2, &format!("sender already, in process {}", sender.0.id()));
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
        let (sent, said) = sender.end();
        assert_eq!(sent, 1, "{said}");
        // It waits for the next stream, if it came after the end of this one.
        late.signal(Signal::SIGINT);
        let (received, said) = late.end();
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
    let output = stuck.0.stdout.take().unwrap();
    place.wait_for(1, 1);
    let sent = lines(0, 50_000);
    let fed = {
        let sent = sent.clone();
        thread::spawn(move || input.write_all(&sent))
    };
    let call = format!("/proc/{}/syscall", stuck.0.id());
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

#[test]
fn input_that_cannot_be_read_is_refused_before_anything_is_made() {
    let place = Place::new();
    place.send(Path::new("/does/not/exist"), &[]).ends(2, "cannot read /does/not/exist");
    place.send(Path::new("/"), &[]).ends(2, "cannot read /: it is a directory");
    Running::start(&mut tombolo(&["recv", "no names like this"])).ends(2, "cannot be a name");
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
fn ls_shows_what_is_there() {
    let place = Place::new();
    let segment = Segment::options().size(1 << 16).mode(0o640).create(&place.name).unwrap();
    let sender = segment.channel::<u64>("numbers").capacity(8).sender().unwrap();
    sender.send_batch(&[1, 2, 3]).unwrap();
    let output = run(&["ls", "--json"]);
    assert_eq!(output.status.code(), Some(0));
    let listed: Value = serde_json::from_slice(&output.stdout).unwrap();
    let all = listed.as_array().unwrap();
    let found = all.iter().find(|found| found["name"] == *place.name).unwrap();
    let mut keys: Vec<&String> = found.as_object().unwrap().keys().collect();
    keys.sort();
    let fields =
        ["attached", "channels", "creator", "deaths", "id", "key", "mode", "name", "owner"];
    assert_eq!(keys, [&fields[..], &["recent_deaths", "size", "state"]].concat());
    assert_eq!(found["id"], segment.id());
    assert_eq!(found["size"], segment.size());
    assert_eq!(found["mode"], "0640");
    assert_eq!((&found["attached"], &found["state"]), (&1.into(), &"open".into()));
    assert!(found["key"].as_i64().unwrap() > 0);
    let channel = serde_json::json!([{
        "name": "numbers", "kind": "MPMC", "element": "u64", "capacity": 8, "depth": 3,
        "senders": 1, "receivers": 0, "unsent": 0, "redelivered": 0, "dropped": 0,
    }]);
    assert_eq!(found["channels"], channel);
    assert_eq!((&found["deaths"], &found["recent_deaths"]), (&0.into(), &serde_json::json!([])));

    let table = String::from_utf8(run(&["ls"]).stdout).unwrap();
    let row = table.lines().position(|row| row.starts_with(&place.name)).unwrap();
    let channel: Vec<&str> = table.lines().nth(row + 1).unwrap().split_whitespace().collect();
    assert_eq!(channel, ["numbers", "MPMC", "u64", "8", "3", "1", "0"]);
}

#[test]
fn ls_tells_who_has_died() {
    let place = Place::new();
    let input = place.write("in", b"in vain");
    let sender = place.send(&input, &[]);
    place.wait_for(1, 0);
    let pid = sender.0.id();
    sender.kill();
    // The next process sweeps.
    let _segment = Segment::open(&place.name).unwrap();
    let output = run(&["ls", "--json"]);
    let listed: Value = serde_json::from_slice(&output.stdout).unwrap();
    let found = listed.as_array().unwrap().iter().find(|found| found["name"] == *place.name);
    let found = found.unwrap();
    assert_eq!((&found["deaths"], &found["recent_deaths"][0]["pid"]), (&1.into(), &pid.into()));
    assert_eq!(found["recent_deaths"][0]["senders"], 1);
}

#[test]
fn rm_removes_by_name_and_names_what_is_not_there() {
    let places = [Place::new(), Place::new()];
    let segments = places.each_ref().map(|place| Segment::create(&place.name).unwrap());
    let output = run(&["rm", &places[0].name, "not-there", &places[1].name]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("there is no segment not-there"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    for place in &places {
        place.assert_gone();
    }
    drop(segments);
    for misuse in [&["rm"] as &[_], &["rm", "--dry-run"], &["rm", "a", "--orphans"]] {
        assert_eq!(run(misuse).status.code(), Some(2), "{misuse:?}");
    }
}

#[test]
fn rm_orphans_removes_what_nobody_holds_and_nothing_else() {
    // Orphans of others are none of this test's business.
    if !own_tables() {
        return;
    }
    let listed = run(&["ls", "--json"]);
    assert_eq!(listed.stdout, b"[]\n");
    assert_eq!(run(&["ls"]).status.code(), Some(0));
    assert_eq!(run(&["ls"]).stdout, b"");
    assert_eq!(run(&["rm", "--orphans"]).status.code(), Some(0));

    let (dead, alive) = (Place::new(), Place::new());
    let input = dead.write("in", b"in vain");
    let sender = dead.send(&input, &[]);
    let receiver = alive.recv("out", &[]);
    dead.wait_for(1, 0);
    alive.wait_for(0, 1);
    sender.kill();
    for (args, began) in [
        (&["rm", "--orphans", "--dry-run"] as &[_], "would remove"),
        (&["rm", "--orphans"], "removed"),
    ] {
        assert!(dead.is_listed());
        let output = run(args);
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(0));
        assert!(said.starts_with(&format!("{began} segment {}", dead.name)), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
    dead.assert_gone();
    assert!(alive.is_listed());
    alive.send(&input.with_file_name("in"), &[]).ends(0, "");
    receiver.ends(0, "");
    assert_eq!(tables(), (0, 0), "segments and sets are left");
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
    let mut output = receiver.0.stdout.take().unwrap();
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
