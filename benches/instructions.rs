//! Counts the instructions of the hot paths under callgrind. One binary gives the
//! same figures in every run.
//!
//! `cargo bench --bench instructions` prints them for each message, and
//! `-- --json` prints a line of JSON for each path. This program starts itself
//! under valgrind, which counts only within [`tombolo_measured`] and writes a file
//! each time that function returns. It counts one lap of the ring, from empty to
//! full or from full to empty, so each lap's reads of the other side's index are
//! included. So is the loop around it: `plain array` is hardly more than that loop.

#![allow(unsafe_code)]

mod common;

use std::fs;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Group, Kept, LAP, Plan, Way, groups, orders, raw, say};
use tombolo::Segment;

fn main() {
    if let Some(words) = orders("measured") {
        return run(words[0].parse().expect("an id"));
    }
    if Command::new("valgrind").arg("--version").output().is_err() {
        println!("valgrind is not installed: no instructions are counted");
        return;
    }
    let json = std::env::args().any(|argument| argument == "--json");
    let paths = count();
    if !json {
        println!("instructions for each message, over a lap of {LAP}, nobody waiting");
        println!("{:>5}  {:20}  {:24} {:>12}", "bytes", "queue", "call", "instructions");
    }
    for Counted { bytes, queue, call, instructions } in paths {
        if json {
            println!(
                r#"{{"queue":"{queue}","call":"{call}","bytes":{bytes},"instructions":{instructions:.2}}}"#
            );
        } else {
            println!("{bytes:>5}  {queue:20}  {call:24} {instructions:>12.2}");
        }
    }
}

/// The operations that are counted.
fn subjects(segment: &Segment) -> Vec<Way> {
    let all = groups(segment).into_iter().flat_map(|group: Group| group.ways);
    [raw()].into_iter().chain(all).collect()
}

/// The part under valgrind: says what each of its files will be about.
fn run(id: i32) {
    let segment = Segment::open_id(id).expect("the segment");
    for mut way in subjects(&segment) {
        let mut next = 0;
        let mut lap = |way: &mut Way, counted: bool| {
            let numbers = next..next + LAP;
            next += LAP;
            let mut got = 0;
            let mut push = || way.push(numbers.clone());
            if counted {
                tombolo_measured(&mut push)
            } else {
                push()
            }
            let mut pop = || got = way.pop(LAP);
            if counted {
                tombolo_measured(&mut pop)
            } else {
                pop()
            }
            got == way.sum_of(numbers)
        };
        // The first laps are of pages that nobody has used.
        let right = [false, false, true].map(|counted| lap(&mut way, counted));
        assert_eq!(right, [true; 3], "{}", way.queue);
        for call in way.calls {
            say(format!("{}|{}|{call}", way.bytes, way.queue));
        }
    }
}

/// Where valgrind counts; it knows this function by its name.
// SAFETY: nothing else is called so.
#[unsafe(no_mangle)]
#[inline(never)]
fn tombolo_measured(work: &mut dyn FnMut()) {
    work();
    // Or the work would be jumped to, and never seen to return here.
    black_box(());
}

struct Counted {
    bytes: usize,
    queue: String,
    call: String,
    instructions: f64,
}

/// A folder that goes at the end.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn count() -> Vec<Counted> {
    let kept = Kept::new(&Plan::segment(64 << 20));
    let folder = format!("instructions-{}", std::process::id());
    let folder = Folder(Path::new(env!("CARGO_TARGET_TMPDIR")).join(folder));
    fs::create_dir_all(&folder.0).expect("a folder");
    let file = folder.0.join("counted");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--collect-atstart=no"])
        .args(["--toggle-collect=tombolo_measured", "--dump-after=tombolo_measured"])
        .arg(format!("--callgrind-out-file={}", file.display()))
        .arg(std::env::current_exe().expect("this program"))
        .args(["measured", &kept.id().to_string()])
        .output()
        .expect("valgrind");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    (1..)
        .zip(said.lines())
        .map(|(n, line)| {
            let [bytes, queue, call] =
                line.split('|').collect::<Vec<_>>().try_into().expect("three words");
            Counted {
                bytes: bytes.parse().expect("a number"),
                queue: queue.to_owned(),
                call: call.to_owned(),
                instructions: total(&format!("{}.{n}", file.display())) as f64 / LAP as f64,
            }
        })
        .collect()
}

/// All that one of callgrind's files has counted.
fn total(file: &str) -> u64 {
    let text = fs::read_to_string(file).expect("a file for each return");
    let totals = text.lines().find_map(|line| line.strip_prefix("totals: "));
    totals.expect("a total").trim().parse().expect("a number")
}
