//! `tombolo record` and `tombolo replay` as a shell sees them, with recorders that are killed.

#[path = "../../../tests/common/command.rs"]
mod command;
#[path = "../../../tests/common/mod.rs"]
mod common;
#[path = "../../../tests/common/stage.rs"]
mod stage;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::thread;
use std::time::{Duration, Instant};

use mcap::sans_io::linear_reader::{LinearReadEvent, LinearReader};
use nix::sys::signal::Signal;
use serde_json::Value;
use tombolo::{Message, Segment};

use command::{Running, tombolo};
use common::{Folder, Name, wait_until};
use stage::{Scene, Stage, play_all};

#[derive(Clone, Copy, Debug, PartialEq, Message)]
#[repr(C)]
struct Tick {
    id: u64,
    price: f64,
}

/// A folder and two names of segments of this test's own, which go with it.
struct Place {
    folder: Folder,
    name: Name,
    again: Name,
}

impl Place {
    fn new() -> Self {
        Self { folder: Folder::new(), name: Name::new(), again: Name::new() }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path(name)
    }

    fn start(&self, args: &[&str]) -> Running {
        Running::spawn(tombolo(args).current_dir(self.folder.whole()))
    }

    fn run(&self, args: &[&str]) -> Output {
        self.start(args).end()
    }
}

#[track_caller]
fn says(output: &Output, status: i32, words: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{said}");
    assert!(said.contains(words), "{said:?} instead of {words:?}");
}

fn summary(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

fn number(bytes: &[u8]) -> u64 {
    u64::from_ne_bytes(bytes.try_into().unwrap())
}

/// The messages of each topic of a file, up to where it ends.
fn messages(file: &Path) -> BTreeMap<String, Vec<Vec<u8>>> {
    let bytes = fs::read(file).unwrap();
    let (mut reader, mut at) = (LinearReader::new(), 0);
    let mut topics = BTreeMap::new();
    let mut found = BTreeMap::<String, Vec<Vec<u8>>>::new();
    while let Some(Ok(event)) = reader.next_event() {
        match event {
            LinearReadEvent::ReadRequest(wanted) => {
                let end = bytes.len().min(at + wanted);
                reader.insert(end - at).copy_from_slice(&bytes[at..end]);
                reader.notify_read(end - at);
                at = end;
            }
            LinearReadEvent::Record { data, opcode } => match mcap::parse_record(opcode, data) {
                Ok(mcap::records::Record::Channel(channel)) => {
                    topics.insert(channel.id, channel.topic);
                }
                Ok(mcap::records::Record::Message { header, data }) => {
                    let topic = topics[&header.channel_id].clone();
                    found.entry(topic).or_default().push(data.into_owned());
                }
                Ok(mcap::records::Record::DataEnd(_)) => break,
                _ => {}
            },
        }
    }
    found
}

/// How many subscribers and receivers the channels of a segment have.
fn listeners(name: &str) -> u64 {
    let listed = Segment::list().unwrap();
    let segment = listed.into_iter().find(|info| info.name == name);
    segment.map_or(0, |info| info.channels.iter().map(|channel| channel.receivers).sum())
}

#[test]
fn what_was_recorded_is_replayed_as_it_was() {
    let place = Place::new();
    let segment = Segment::create(&place.name).unwrap();
    let ticks = segment.broadcast::<Tick>("ticks").capacity(256).publisher().unwrap();
    let lines = segment.broadcast_bytes("lines").capacity(64, 100).publisher().unwrap();
    let recorder = place.start(&["record", &place.name, "-o", "a.mcap", "--reliable", "--json"]);
    wait_until(|| listeners(&place.name) == 2);
    let tick = |id: u64| Tick { id, price: id as f64 / 4.0 };
    for id in 0..1000 {
        ticks.send(tick(id)).unwrap();
        lines.send(format!("line {id}").as_bytes()).unwrap();
    }
    // The recorder ends when all senders have gone.
    drop((ticks, lines));
    let recorded = recorder.end();
    says(&recorded, 0, "");
    let summary = summary(&recorded);
    assert_eq!((&summary["messages"], &summary["missed"]), (&2000.into(), &0.into()));

    // A channel that is there and differs is refused.
    let other = Segment::create(&place.again).unwrap();
    let differs = other.broadcast::<u32>("ticks").capacity(256).publisher().unwrap();
    says(&place.run(&["replay", "a.mcap", "--as", &place.again]), 2, "cannot replay into");
    other.remove().unwrap();
    drop((differs, other));

    // Subscribers that are there already get everything.
    let copy = Segment::create(&place.again).unwrap();
    let copied = copy.broadcast::<Tick>("ticks").capacity(256).reliable_subscriber().unwrap();
    let lines = copy.broadcast_bytes("lines").capacity(64, 100).reliable_subscriber().unwrap();
    let replaying = place.start(&["replay", "a.mcap", "--speed", "max", "--as", &place.again]);
    let mut text = Vec::new();
    for id in 0..1000 {
        assert_eq!(copied.recv().unwrap(), tick(id));
        text.clear();
        lines.recv(&mut text).unwrap();
        assert_eq!(text, format!("line {id}").as_bytes());
    }
    says(&replaying.end(), 0, "ticks: 1000 messages sent");
}

#[test]
fn a_killed_recorder_leaves_a_file_that_is_read_up_to_its_last_chunk() {
    let place = Place::new();
    let segment = Segment::create(&place.name).unwrap();
    let numbers = segment.broadcast::<u64>("numbers").capacity(4096).publisher().unwrap();
    let recorder = place.start(&["record", &place.name, "-o", "a.mcap"]);
    wait_until(|| listeners(&place.name) == 1);
    numbers.send_batch(&(0..100).collect::<Vec<u64>>()).unwrap();
    let topic = format!("{}/numbers", place.name);
    let read = || messages(&place.file("a.mcap")).remove(&topic).unwrap_or_default();
    // While it is written.
    wait_until(|| read().len() == 100);
    numbers.send_batch(&(100..150).collect::<Vec<u64>>()).unwrap();
    recorder.signal(Signal::SIGKILL);
    let _ = recorder.end();
    let left = read();
    assert!(left.len() >= 100, "{}", left.len());
    assert!(left.iter().map(|bytes| number(bytes)).eq(0..left.len() as u64));
    let args = ["replay", "a.mcap", "--speed", "max", "--as", &place.again, "--json"];
    let replayed = place.run(&args);
    says(&replayed, 0, "ends in the middle");
    let summary = summary(&replayed);
    assert_eq!(summary["messages"], left.len(), "{summary}");
    assert_eq!(summary["complete"], false, "{summary}");
}

#[test]
fn what_was_missed_is_in_the_file() {
    let place = Place::new();
    let segment = Segment::create(&place.name).unwrap();
    let numbers = segment.broadcast::<u64>("numbers").capacity(8).publisher().unwrap();
    let recorder = place.start(&["record", &place.name, "-o", "a.mcap", "--json"]);
    wait_until(|| listeners(&place.name) == 1);
    recorder.signal(Signal::SIGSTOP);
    for n in 0..100_u64 {
        numbers.send(n).unwrap();
    }
    recorder.signal(Signal::SIGCONT);
    drop(numbers);
    let recorded = recorder.end();
    says(&recorded, 1, "");
    let summary = summary(&recorded);
    let of = |field: &str| summary[field].as_u64().unwrap();
    assert_eq!(of("messages") + of("missed"), 100, "{summary}");
    let found = messages(&place.file("a.mcap"));
    let gaps = &found[&format!("{}/numbers#missed", place.name)];
    let told = gaps.iter().map(|gap| serde_json::from_slice::<Value>(gap).unwrap());
    assert_eq!(told.map(|gap| gap["missed"].as_u64().unwrap()).sum::<u64>(), of("missed"));
}

#[test]
fn messages_of_a_queue_are_acknowledged_when_they_are_in_the_file() {
    let place = Place::new();
    let segment = Segment::create(&place.name).unwrap();
    let jobs = segment.channel::<u64>("jobs").capacity(64).lasting().sender().unwrap();
    // Without being told, a recorder takes nothing.
    jobs.send_batch(&[7, 8]).unwrap();
    let left_out = ["record", &place.name, "-o", "b.mcap", "--seconds", "0.1"];
    says(&place.run(&left_out), 0, "--consume takes its messages");
    assert_eq!(jobs.len(), 2);

    let topic = format!("{}/jobs", place.name);
    let taken = |file: &str| {
        let file = place.file(file);
        let there = file.exists().then(|| messages(&file).remove(&topic)).flatten();
        there.unwrap_or_default().iter().map(|bytes| number(bytes)).collect::<Vec<u64>>()
    };
    let (mut sent, mut seen) = (vec![7, 8], Vec::new());
    for round in 0..5 {
        let file = format!("{round}.mcap");
        let recorder = place.start(&["record", &place.name, "-o", &file, "--consume"]);
        for n in 0..100 {
            jobs.send(100 * (round + 1) + n).unwrap();
            sent.push(100 * (round + 1) + n);
        }
        recorder.signal(Signal::SIGKILL);
        let _ = recorder.end();
        seen.extend(taken(&file));
    }
    // The rest.
    let rest = ["record", &place.name, "-o", "rest.mcap", "--consume", "--seconds", "0.5"];
    says(&place.run(&rest), 0, "");
    seen.extend(taken("rest.mcap"));
    // One that was in the file and not yet acknowledged may be there twice.
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen, sent);
}

#[test]
fn a_queue_is_recorded_without_taking_anything_and_what_was_not_seen_is_missed() {
    let place = Place::new();
    let segment = Segment::create(&place.name).unwrap();
    let queue = segment.channel::<u64>("queue").capacity(64);
    let (jobs, worker) = (queue.sender().unwrap(), queue.receiver().unwrap());
    let blocks = segment.bytes("blocks").capacity(8, 500);
    let (to_blocks, from_blocks) = (blocks.sender().unwrap(), blocks.receiver().unwrap());
    let joined = segment.participants().len();
    let recorder = place.start(&["record", &place.name, "-o", "a.mcap", "--tap", "--json"]);
    wait_until(|| segment.participants().len() > joined);
    let seen = |channel: &str| {
        let file = place.file("a.mcap");
        let there =
            file.exists().then(|| messages(&file).remove(&format!("{}/{channel}", place.name)));
        there.flatten().unwrap_or_default()
    };
    for round in 0..3_u64 {
        jobs.send_batch(&(20 * round..20 * (round + 1)).collect::<Vec<u64>>()).unwrap();
        to_blocks.send(&[round as u8; 500]).unwrap();
        wait_until(|| seen("queue").len() as u64 == 20 * (round + 1));
        wait_until(|| seen("blocks").len() as u64 == round + 1);
        // Nobody has taken anything.
        assert_eq!((worker.len(), from_blocks.len()), (20, 1));
        for n in 20 * round..20 * (round + 1) {
            assert_eq!(worker.recv().unwrap(), n);
        }
        from_blocks.recv(&mut Vec::new()).unwrap();
    }
    assert_eq!(seen("blocks")[2], [2; 500]);
    // What is taken while the recorder is stopped is missed.
    recorder.signal(Signal::SIGSTOP);
    wait_until(|| command::stat(recorder.pid(), 3).as_deref() == Some("T"));
    for n in 0..30 {
        jobs.send(n).unwrap();
        worker.recv().unwrap();
    }
    recorder.signal(Signal::SIGCONT);
    drop((jobs, to_blocks));
    let recorded = recorder.end();
    says(&recorded, 1, "");
    let summary = summary(&recorded);
    assert_eq!((&summary["messages"], &summary["missed"]), (&63.into(), &30.into()), "{summary}");
    // A place that was used again is not missed silently, and none is told of twice.
    let gaps = &messages(&place.file("a.mcap"))[&format!("{}/queue#missed", place.name)];
    assert_eq!(gaps.len(), 1);
}

#[test]
fn files_follow_each_other_by_size_and_each_is_whole() {
    let place = Place::new();
    let segment = Segment::create(&place.name).unwrap();
    let numbers = segment.broadcast::<u64>("numbers").capacity(64).publisher().unwrap();
    let args = ["record", &place.name, "-o", "a.mcap", "--reliable", "--rotate-size", "800"];
    let recorder = place.start(&args);
    wait_until(|| listeners(&place.name) == 1);
    for n in 0..350_u64 {
        numbers.send(n).unwrap();
    }
    drop(numbers);
    says(&recorder.end(), 0, "350 messages, 0 missed");
    let topic = format!("{}/numbers", place.name);
    let mut all = Vec::new();
    for n in 1..=4 {
        let file = place.file(&format!("a.{n:04}.mcap"));
        // It has an index, as complete files do.
        let index = mcap::Summary::read(&fs::read(&file).unwrap()).unwrap().unwrap();
        assert_eq!(index.stats.unwrap().message_count, if n == 4 { 50 } else { 100 });
        all.extend(messages(&file).remove(&topic).unwrap());
    }
    assert!(all.iter().map(|bytes| number(bytes)).eq(0..350));
}

#[test]
fn an_interrupted_recorder_ends_its_file() {
    let place = Place::new();
    let segment = Segment::create(&place.name).unwrap();
    let numbers = segment.broadcast::<u64>("numbers").capacity(64).publisher().unwrap();
    let recorder = place.start(&["record", &place.name, "-o", "a.mcap"]);
    wait_until(|| listeners(&place.name) == 1);
    numbers.send(1).unwrap();
    recorder.signal(Signal::SIGINT);
    assert_eq!(recorder.end().status.code(), Some(130));
    let index = mcap::Summary::read(&fs::read(place.file("a.mcap")).unwrap()).unwrap().unwrap();
    assert_eq!(index.stats.unwrap().message_count, 1);
}

#[test]
fn replay_keeps_the_gaps_in_time() {
    let place = Place::new();
    let segment = Segment::create(&place.name).unwrap();
    let numbers = segment.broadcast::<u64>("numbers").capacity(64).publisher().unwrap();
    let recorder = place.start(&["record", &place.name, "-o", "a.mcap"]);
    wait_until(|| listeners(&place.name) == 1);
    for n in 0..3 {
        numbers.send(n).unwrap();
        // The gaps that the recording has.
        thread::sleep(Duration::from_millis(200));
    }
    drop(numbers);
    says(&recorder.end(), 0, "");
    let took = |speed: &str| {
        let began = Instant::now();
        says(&place.run(&["replay", "a.mcap", "--speed", speed, "--as", &place.again]), 0, "");
        began.elapsed()
    };
    // Recorded when they were received, which may be later than they were sent.
    assert!(took("1") >= Duration::from_millis(300));
    assert!(took("0.5") >= Duration::from_millis(600));
}

#[test]
fn bad_input_is_refused_and_nothing_is_written_over() {
    let place = Place::new();
    fs::write(place.file("old.mcap"), "old").unwrap();
    fs::write(place.file("junk.mcap"), "this is no recording, but text").unwrap();
    let _segment = Segment::create(&place.name).unwrap();
    let name: &str = &place.name;
    for (args, words) in [
        (&["record", name, "-o", "old.mcap"][..], "--force writes over it"),
        (&["record", "no/such", "-o", "a.mcap"], "there is no segment no/such"),
        (&["record", name, "-o", "no/such/a.mcap"], "cannot record to no/such/a.mcap"),
        (&["record", name], "--output <FILE>"),
        (&["record", name, "-o", "a.mcap", "--seconds", "-1"], "not a positive number"),
        (&["replay", "junk.mcap"], "cannot read junk.mcap"),
        (&["replay", "none.mcap"], "cannot read none.mcap"),
        (&["replay", "a.mcap", "--speed", "0"], "not a positive number, nor max"),
    ] {
        let output = place.run(args);
        says(&output, 2, words);
        assert_eq!(String::from_utf8_lossy(&output.stderr).lines().count(), 1, "{args:?}");
    }
    assert_eq!(fs::read_to_string(place.file("old.mcap")).unwrap(), "old");
    assert!(!place.file("a.mcap").exists());
}

/// Records ticks until their sender has gone. What it says.
fn recorded_to_the_end(stage: &mut Stage) -> String {
    let segment = Segment::create("market").unwrap();
    let ticks = segment.broadcast::<Tick>("ticks").capacity(64).publisher().unwrap();
    let shown = stage.start();
    wait_until(|| listeners("market") == 1);
    (0..3).for_each(|id| ticks.send(Tick { id, price: 1.0 }).unwrap());
    drop(ticks);
    shown.ends(&[0])
}

fn messages_of(stage: &Stage, file: &str) -> Vec<String> {
    let file = stage.path(file);
    let found = if file.exists() { messages(&file) } else { BTreeMap::new() };
    found.into_keys().collect()
}

/// The file that is replayed.
const RECORD: &str = "tombolo record market --reliable -o market.mcap 2> recorded";

/// Each example of the help, with what has to be there for it and what comes of it.
const SCENES: &[Scene] = &[
    ("tombolo record market -o market.mcap", |stage| {
        assert!(recorded_to_the_end(stage).contains("market/ticks: 3 messages"));
    }),
    ("tombolo record market --channel ticks --reliable --seconds 60 -o minute.mcap", |stage| {
        assert!(recorded_to_the_end(stage).contains("market/ticks: 3 messages"));
    }),
    ("tombolo record jobs --consume -o jobs.mcap --rotate-size 1000000000", |stage| {
        let segment = Segment::create("jobs").unwrap();
        let jobs = segment.channel::<u64>("jobs").capacity(64).sender().unwrap();
        let shown = stage.start();
        wait_until(|| listeners("jobs") == 1);
        jobs.send_batch(&[1, 2, 3]).unwrap();
        drop(jobs);
        assert!(shown.ends(&[0]).contains("jobs/jobs: 3 messages"));
    }),
    ("tombolo record jobs --tap --allow-lag -o seen.mcap", |stage| {
        let segment = Segment::create("jobs").unwrap();
        let jobs = segment.channel::<u64>("jobs").capacity(64);
        let (sender, receiver) = (jobs.sender().unwrap(), jobs.receiver().unwrap());
        sender.send_batch(&[1, 2, 3]).unwrap();
        let shown = stage.start();
        wait_until(|| !messages_of(stage, "seen.mcap").is_empty());
        receiver.try_recv_batch(&mut Vec::new(), 3).unwrap();
        drop(sender);
        assert!(shown.ends(&[0]).contains("jobs/jobs: 3 messages"));
    }),
    ("tombolo replay market.mcap", |stage| {
        recorded_to_the_end(stage.before(RECORD));
        assert!(stage.read("recorded").contains("market/ticks: 3 messages"));
    }),
    ("tombolo replay market.mcap --speed max --as rehearsal", |stage| {
        recorded_to_the_end(stage.before(RECORD));
        assert!(Segment::open("rehearsal").is_ok());
    }),
    ("tombolo replay market.mcap --channel ticks --step", |stage| {
        stage.typed("\n\n\n");
        let said = recorded_to_the_end(stage.before(RECORD));
        assert!(said.contains("ticks: 3 messages sent"), "{said}");
    }),
];

#[test]
fn each_example_of_the_help_works_as_printed() {
    play_all(&[&["record", "--help"], &["replay", "--help"]], SCENES);
}
