//! The benchmark as a shell sees it: its messages, its files, and that it leaves
//! nothing behind. No test here depends on speed.

#[path = "../../../tests/common/command.rs"]
mod command;
#[path = "../../../tests/common/mod.rs"]
mod common;
#[path = "../../../tests/common/stage.rs"]
mod stage;

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::OnceLock;

use nix::sys::signal::Signal;
use serde_json::Value;
use tombolo::sys::msg;

use command::{Running, Tables, assert_refused, lives, run, text};
use common::wait_until;
use stage::{Scene, Stage, play_all};

/// As little as shows everything.
const BRIEF: &[&str] = &["--quick", "--span", "1"];

const GROUPS: [&str; 11] = [
    "limits",
    "latency",
    "calls",
    "sets",
    "throughput",
    "contention",
    "broadcast",
    "alone",
    "idle",
    "recovery",
    "attach",
];

const FIELDS: [&str; 11] = [
    "group",
    "case",
    "subject",
    "metric",
    "unit",
    "median",
    "min",
    "max",
    "ratio_to_limit",
    "rounds",
    "processor",
];

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let name = format!("tombolo-bench-{}-{:?}", std::process::id(), common::tid());
        Self(std::env::temp_dir().join(name))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Runs to its end what takes longer than anything else does, and says more
/// than a pipe holds.
fn long_run(args: &[&str]) -> Output {
    let mut bench = Running::start(args);
    let mut stdout = Vec::new();
    bench.0.stdout.take().unwrap().read_to_end(&mut stdout).unwrap();
    bench.0.wait().unwrap();
    Output { stdout, ..bench.end() }
}

fn queues() -> usize {
    msg::all().unwrap().len()
}

/// What everything there is came to, measured once for all tests.
struct Everything {
    lines: Vec<Value>,
    page: String,
    samples: String,
    plots: Vec<String>,
}

fn everything() -> &'static Everything {
    static EVERYTHING: OnceLock<Everything> = OnceLock::new();
    EVERYTHING.get_or_init(|| {
        let tables = Tables::new();
        let folder = Folder::new();
        let path = folder.0.to_str().unwrap();
        let lines = measured("1", &["--report", path]);
        tables.assert_empty();
        assert!(!tables.own || queues() == 0);
        let read = |path: PathBuf| fs::read_to_string(path).unwrap();
        Everything {
            lines,
            page: read(folder.0.join("index.html")),
            samples: read(folder.0.join("samples.csv")),
            plots: names(&folder.0, "svg").into_iter().map(read).collect(),
        }
    })
}

/// The lines of a run of so many rounds.
#[track_caller]
fn measured(rounds: &str, args: &[&str]) -> Vec<Value> {
    let output = long_run(&[BRIEF, &["--json", "--rounds", rounds], args].concat());
    let said = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{args:?}: {said:?}");
    let left_out = said.1.lines().find(|line| line.contains("left out"));
    assert_eq!(left_out, None, "{args:?}");
    said.0.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Those of a group.
fn of(group: &str) -> Vec<&'static Value> {
    everything().lines.iter().filter(|line| line["group"] == group).collect()
}

fn string(line: &Value, field: &str) -> String {
    line[field].as_str().unwrap().to_owned()
}

/// All lines of a group have the fields that are promised, and figures that
/// can be.
#[track_caller]
fn check(group: &str, lines: &[&Value]) {
    assert!(!lines.is_empty(), "{group}");
    let mut medians: HashMap<(String, String), HashMap<String, &Value>> = HashMap::new();
    let mut first: HashMap<(String, String), &Value> = HashMap::new();
    for &line in lines {
        let fields: HashSet<&str> = line.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(fields, HashSet::from(FIELDS), "{line}");
        assert_eq!(line["group"], group);
        let figure = |field: &str| line[field].as_f64().unwrap();
        assert!(figure("min") <= figure("median") && figure("median") <= figure("max"), "{line}");
        assert!(!string(line, "processor").is_empty());
        assert!((1..=2).contains(&line["rounds"].as_u64().unwrap()), "{line}");
        assert!(!string(line, "unit").is_empty());
        // What exceeds the limit has a line more, which is no figure beside the limit's.
        if line["subject"] == "(the measuring)" || line["metric"] == "times_as_fast_as_the_limit" {
            continue;
        }
        assert!(figure("min") > 0.0 && figure("max").is_finite(), "{line}");
        let of = (string(line, "case"), string(line, "metric"));
        medians.entry(of.clone()).or_default().insert(string(line, "subject"), line);
        first.entry(of).or_insert(line);
    }
    for ((case, metric), subjects) in &medians {
        // The first line of a case is its limit's.
        let limit = first[&(case.clone(), metric.clone())];
        assert_eq!(limit["ratio_to_limit"], 1.0, "{limit}");
        for line in subjects.values() {
            let figure = |line: &Value, field: &str| line[field].as_f64().unwrap();
            let ratio = figure(line, "ratio_to_limit");
            let least = figure(line, "min") / figure(limit, "max");
            let most = figure(line, "max") / figure(limit, "min");
            let between = least * 0.999..=most * 1.001;
            assert!(between.contains(&ratio), "{case}, {metric}: {line}, of {limit}");
        }
    }
}

#[test]
fn every_line_has_the_promised_fields_and_a_ratio_that_fits() {
    for group in GROUPS {
        check(group, &of(group));
    }
    let known: usize = GROUPS.iter().map(|group| of(group).len()).sum();
    assert_eq!(everything().lines.len(), known);
}

/// Whether each of these is a subject of the group, with this metric.
#[track_caller]
fn compares(group: &str, metric: &str, subjects: &[&str]) {
    for subject in subjects {
        let found =
            of(group).iter().any(|line| line["subject"] == *subject && line["metric"] == metric);
        assert!(found, "{group}: {subject}, {metric}");
    }
}

#[test]
fn every_way_that_linux_has_is_a_peer() {
    let carry = [
        "best raw ring",
        "raw ring, 8 pauses",
        "tombolo SPSC",
        "tombolo SPSC, batches",
        "tombolo SPSC bytes",
        "tombolo MPMC bytes, batches",
        "tombolo MPMC bytes, in place",
        "tombolo SPSC, in place",
        "tombolo MPMC",
        "pipe",
        "pipe of 1 MiB",
        "FIFO",
        "Unix stream socket",
        "Unix packet socket",
        "System V message queue",
        "POSIX message queue",
        "TCP, loopback",
        "sync_channel of std, between threads",
    ];
    compares("throughput", "bytes_per_second", &carry);
    let lossy =
        ["best seqlock ring", "seqlock ring, 8 pauses", "tombolo broadcast, lossy, blocking"];
    for metric in ["messages_per_second", "published_per_second", "missed"] {
        compares("broadcast", metric, &lossy);
    }
    let reliable = ["raw broadcast ring", "tombolo broadcast, in place", "tombolo SPSC"];
    compares("broadcast", "messages_per_second", &reliable);
    let asleep = ["best semop to all", "semop, all wait for zero", "tombolo broadcast, blocking"];
    compares("broadcast", "p50_ns", &asleep);
    let wake = ["semop", "futex", "eventfd", "tombolo SPSC, blocking", "tombolo MPMC, blocking"];
    let roles = [
        "tombolo SPSC, the first message of a dead receiver's successor",
        "tombolo SPSC, the first message of a dead sender's successor",
    ];
    compares("recovery", "p50_ns", &roles);
    for metric in ["p50_ns", "p90_ns", "p99_ns", "p999_ns", "max_ns"] {
        compares("latency", metric, &wake);
    }
}

#[test]
fn only_the_groups_that_are_named_are_measured() {
    let lines = measured("2", &["attach", "recovery"]);
    let groups: HashSet<String> = lines.iter().map(|line| string(line, "group")).collect();
    assert_eq!(groups, HashSet::from(["attach", "recovery"].map(str::to_owned)));
    for group in ["attach", "recovery"] {
        let of: Vec<&Value> = lines.iter().filter(|line| line["group"] == group).collect();
        check(group, &of);
    }
}

#[test]
fn only_the_cases_that_are_named_are_measured() {
    let lines = measured("1", &["alone", "idle", "--case", "clone"]);
    let cases: HashSet<String> = lines.iter().map(|line| string(line, "case")).collect();
    assert_eq!(cases, HashSet::from(["clone a handle and drop it".to_owned()]));
}

#[test]
fn a_report_needs_nothing_else() {
    let Everything { lines, page, samples, plots } = everything();
    let within = page.matches("href=\"#").count();
    assert!(!page.contains("://") && !page.contains("src="));
    assert_eq!(page.matches("href=").count(), within);
    // What anybody wants to know first is first, and says where Tombolo stands.
    let glance = page.find("At a glance").unwrap();
    assert!(glance < page.find("<figure>").unwrap() && glance < page.find("<table>").unwrap());
    for words in ["both awake", "Tombolo moves ", " times as much as a pipe", "Tombolo takes "] {
        assert!(page[glance..].contains(words), "{words}");
    }
    assert!(page.contains("<svg") && page.contains("kernel") && page.ends_with("</html>\n"));
    for line in lines {
        if line["subject"] != "(the measuring)" {
            assert!(page.contains(line["subject"].as_str().unwrap()), "{line}");
        }
    }
    assert!(!plots.is_empty());
    for svg in plots {
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
        // The same as in the page, but for what a file needs by itself.
        let drawing = svg.split_once('>').unwrap().1;
        assert!(page.contains(drawing));
        assert!(!drawing.contains("://") && !drawing.contains("NaN"), "{drawing}");
    }
    let columns = samples.lines().next().unwrap().split(',').count();
    assert_eq!(columns, 13);
    // One round: each figure is of one sample.
    let figure = |line: &&Value| {
        line["subject"] != "(the measuring)" && line["metric"] != "times_as_fast_as_the_limit"
    };
    assert_eq!(samples.lines().count(), 1 + lines.iter().filter(figure).count());
}

fn names(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|found| found == extension)).collect()
}

#[test]
fn people_get_a_table_from_the_best_to_the_worst() {
    let output = long_run(&[BRIEF, &["--rounds", "1", "attach", "recovery"]].concat());
    let table = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(table.starts_with("recovery: from SIGKILL"), "{table}");
    for word in ["shmat * ", "tombolo, open ", "p50", "ratio", "the limit of its round"] {
        assert!(table.contains(word), "{word} in {table}");
    }
}

#[test]
fn a_signal_ends_it_with_128_and_its_number_and_leaves_nothing() {
    let tables = Tables::new();
    for group in GROUPS {
        for (signal, status) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
            let bench = Running::start(&["--span", "1000", group]);
            wait_until(|| !bench.workers().is_empty());
            let workers = bench.workers();
            bench.signal(signal);
            let output = bench.end();
            assert_eq!(output.status.code(), Some(status), "{}", text(&output.stderr));
            assert!(!workers.iter().any(|&pid| lives(pid)));
            // A process that was to be killed next in a recovery ends by itself.
            wait_until(|| !tables.own || (common::tables(), queues()) == ((0, 0), 0));
        }
    }
}

#[test]
fn workers_of_a_killed_one_end_by_themselves_and_leave_nothing() {
    let tables = Tables::new();
    let mut bench = Running::start(&["--quick", "--span", "5000", "throughput"]);
    wait_until(|| bench.workers().len() >= 2);
    bench.signal(Signal::SIGSTOP);
    let workers = bench.workers();
    bench.signal(Signal::SIGKILL);
    bench.wait();
    wait_until(|| !workers.iter().any(|&pid| lives(pid)));
    wait_until(|| !tables.own || common::tables() == (0, 0));
}

#[test]
fn bad_usage_exits_with_2_and_one_line() {
    assert_refused(&["speed"], "'speed'");
    assert_refused(&["throughput", "--colour"], "'--colour'");
    assert_refused(&["--report", "/dev/null/here"], "/dev/null/here");
    assert_refused(&["--case", "no such case"], "no such case");
}

#[test]
fn help_has_examples_and_says_nothing_of_workers() {
    let output = run(&["--help"]);
    assert_eq!(output.status.code(), Some(0));
    let help = text(&output.stdout);
    assert!(help.contains("Examples:\n  tombolo bench "), "{help}");
    assert!(!text(&run(&["--help"]).stdout).contains("bench-worker"), "for nobody's eyes");
}

/// Measures, and is interrupted: all of it takes minutes.
fn interrupted(stage: &mut Stage) {
    let shown = stage.start();
    wait_until(|| common::tables().0 > 0);
    shown.interrupt();
    shown.ends(&[130]);
}

/// Each example of the help.
const SCENES: &[Scene] = &[
    ("tombolo bench --quick", interrupted),
    ("tombolo bench throughput latency --quick --json", interrupted),
    ("tombolo bench --report figures", interrupted),
];

#[test]
fn each_example_of_the_help_works_as_printed() {
    play_all(&[&["--help"]], SCENES);
}
