//! `tombolo demo` as a shell sees it: exit statuses, JSON, and that it leaves nothing
//! behind, in whatever way it ends.

use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tombolo::sys::shm;

use crate::command::{Running, Tables, assert_refused, lives, run, text};
use crate::common::{self, wait_until};

impl Running {
    /// Starts a demo that would go on for long, and waits until every worker
    /// has joined.
    fn demo(args: &[&str]) -> Self {
        let demo = Self::start(&[&["demo", "--seconds", "1000"], args].concat());
        wait_until(|| {
            let workers = demo.workers();
            !workers.is_empty() && workers.iter().all(|&pid| watches(pid))
        });
        demo
    }

    /// The first of its workers with this role.
    fn worker(&self, role: &str) -> i32 {
        let role = format!("\"role\":\"{role}\"");
        let command = |pid| fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        self.workers().into_iter().find(|&pid| command(pid).contains(&role)).unwrap()
    }
}

/// Whether a worker is past its start: from then on it has a second thread,
/// which watches the demo.
fn watches(pid: i32) -> bool {
    fs::read_dir(format!("/proc/{pid}/task")).is_ok_and(|threads| threads.count() == 2)
}

/// Runs a demo with `--json` that must succeed, and returns the object.
#[track_caller]
fn verified(args: &[&str]) -> Value {
    let output = run(&[&["demo", "--json"], args].concat());
    let said = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{args:?}: {said:?}");
    let result: Value = serde_json::from_str(said.0.lines().last().unwrap()).unwrap();
    for fault in ["lost", "duplicated", "reordered", "corrupt"] {
        assert_eq!(result[fault], 0, "{args:?}: {fault}");
    }
    result
}

#[test]
fn every_subscriber_gets_everything_but_what_the_lossy_one_was_told_it_missed() {
    for (size, subscribers) in [("64", 3), ("1", 0), ("65536", 1)] {
        let messages = if size == "65536" { 500 } else { 20_000 };
        let count = (messages.to_string(), subscribers.to_string());
        let result = verified(&[
            "--broadcast",
            "--messages",
            &count.0,
            "--subscribers",
            &count.1,
            "--size",
            size,
        ]);
        let (got, lagged) = (&result["messages"], &result["lagged"]);
        let all = got.as_u64().unwrap() + lagged.as_u64().unwrap();
        assert_eq!(all, messages * (subscribers + 1), "{result}");
    }
}

#[test]
fn bad_usage_and_input_exit_with_2_and_one_line() {
    let tables = Tables::new();
    let directory = std::env::temp_dir();
    let empty = directory.join(format!("tombolo-empty-{}", std::process::id()));
    fs::write(&empty, "").unwrap();
    let (directory, empty) = (directory.to_str().unwrap(), empty.to_str().unwrap());
    for (args, why) in [
        (&["--messages", "0"][..], "'--messages <N>'"),
        (&["--messages", "-1"], "'-1'"),
        (&["--producers", "0"], "'--producers <P>'"),
        (&["--consumers", "0"], "'--consumers <C>'"),
        (&["--consumers", "many"], "invalid digit"),
        (&["--size", "0"], "'--size <BYTES>'"),
        (&["--size", "65537"], "1..=65536"),
        (&["--seconds", "0"], "positive"),
        (&["--seconds", "NaN"], "positive"),
        (&["--seconds", "1e30"], "positive"),
        (&["--seconds", "1", "--messages", "1"], "cannot be used with"),
        (&["--spsc", "--producers", "2"], "one producer and one consumer"),
        (&["--spsc", "--consumers", "3"], "not 1 and 3"),
        (&["--input", "/no/such/file"], "/no/such/file: No such file"),
        (&["--input", directory], "not a regular file"),
        (&["--input", empty], "empty"),
        (&["--input"], "value is required"),
        (&["--colour"], "'--colour'"),
    ] {
        assert_refused(&[&["demo"], args].concat(), why);
    }
    assert_refused(&["dem"], "unrecognized subcommand 'dem'");
    fs::remove_file(empty).unwrap();
    tables.assert_empty();
}

#[test]
fn an_object_that_cannot_be_had_exits_with_2() {
    let tables = Tables::new();
    if !tables.own {
        return;
    }
    for (limit, none, some) in
        [("shmmni", "0", "4096"), ("sem", "32000 1024000000 500 0", "32000 1024000000 500 32000")]
    {
        let file = format!("/proc/sys/kernel/{limit}");
        if fs::write(&file, none).is_err() {
            eprintln!("SKIPPED: {limit} cannot be lowered");
            continue;
        }
        assert_refused(&["demo", "--messages", "10"], "cannot create a segment");
        fs::write(&file, some).unwrap();
        tables.assert_empty();
    }
}

#[test]
fn json_has_exactly_the_promised_fields() {
    let result = verified(&["--messages", "1000"]);
    let fields = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let mut promised = vec![
        "messages",
        "bytes",
        "seconds",
        "messages_per_second",
        "bytes_per_second",
        "latency_ns",
        "lost",
        "duplicated",
        "reordered",
        "corrupt",
    ];
    promised.sort_unstable();
    assert_eq!(fields(&result), promised);
    assert_eq!(fields(&result["latency_ns"]), ["p50", "p99", "p999"]);
    assert_eq!(result["messages"], 1_000);
    assert_eq!(result["bytes"], 64_000);
    for rate in ["seconds", "messages_per_second", "bytes_per_second"] {
        assert!(result[rate].as_f64().unwrap() > 0.0, "{rate}");
    }
    let latencies = ["p50", "p99", "p999"].map(|at| result["latency_ns"][at].as_u64().unwrap());
    assert!(latencies[0] > 0 && latencies.is_sorted(), "{latencies:?}");
}

#[test]
fn every_mode_and_size_verifies_and_leaves_nothing() {
    let tables = Tables::new();
    for (args, messages, size) in [
        (&["--messages", "60000"][..], 60_000, 64),
        (&["--messages", "60000", "--spsc"], 60_000, 64),
        (&["--messages", "50001", "--producers", "1", "--consumers", "3"], 50_001, 64),
        (&["--messages", "50001", "--producers", "3", "--consumers", "1"], 50_001, 64),
        (&["--messages", "1"], 1, 64),
        (&["--messages", "2", "--producers", "4"], 2, 64),
        (&["--messages", "30000", "--size", "1"], 30_000, 1),
        (&["--messages", "30000", "--size", "9"], 30_000, 9),
        (&["--messages", "3000", "--size", "1000"], 3_000, 1_000),
        (&["--messages", "2000", "--size", "65536"], 2_000, 65_536),
        (&["--messages", "2000", "--size", "65536", "--spsc"], 2_000, 65_536),
        (&["--messages", "5000", "--input", "/proc/self/exe"], 5_000, 64),
        (&["--messages", "5000", "--input", "Cargo.toml", "--size", "16385"], 5_000, 16_385),
    ] {
        let result = verified(args);
        assert_eq!(result["messages"], messages, "{args:?}");
        assert_eq!(result["bytes"], messages * size, "{args:?}");
        tables.assert_empty();
    }
}

#[test]
fn time_limits_a_run_too() {
    let result = verified(&["--seconds", "0.2"]);
    assert!(result["messages"].as_u64().unwrap() > 0);
    assert!(result["seconds"].as_f64().unwrap() >= 0.2);
}

#[test]
fn people_get_a_table_and_pipes_no_progress() {
    let output = run(&["demo", "--messages", "123456", "--producers", "3"]);
    assert_eq!(output.status.code(), Some(0));
    let table = text(&output.stdout);
    assert!(table.starts_with("3 to 2 processes, 64 bytes a message, MPMC"), "{table}");
    let rate = table.split_once(" a second").unwrap().0.rsplit(' ').next().unwrap();
    assert!(rate.contains(','), "{rate} in {table}");
    for row in ["123,456", "latency p999", "lost  ", "corrupt  "] {
        assert!(table.contains(row), "{row} in {table}");
    }
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn a_closed_output_fails_and_leaves_nothing() {
    let tables = Tables::new();
    let mut demo = Running::start(&["demo", "--messages", "1000"]);
    drop(demo.0.stdout.take());
    let output = demo.end();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("cannot write the result: Broken pipe"));
    tables.assert_empty();
}

#[test]
fn a_signal_ends_the_demo_with_128_and_its_number_and_leaves_nothing() {
    let tables = Tables::new();
    for (signal, status) in [(Signal::SIGHUP, 129), (Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
        let demo = Running::demo(&[]);
        let workers = demo.workers();
        assert_eq!(workers.len(), 4);
        demo.signal(signal);
        let output = demo.end();
        assert_eq!(output.status.code(), Some(status), "{}", text(&output.stderr));
        assert_eq!(text(&output.stdout), "");
        assert!(!workers.into_iter().any(lives));
        tables.assert_empty();
    }
}

#[test]
fn a_signal_ends_the_demo_even_if_a_worker_is_stopped() {
    let tables = Tables::new();
    let demo = Running::demo(&[]);
    kill(Pid::from_raw(demo.worker("Consumer")), Signal::SIGSTOP).unwrap();
    demo.signal(Signal::SIGINT);
    assert_eq!(demo.end().status.code(), Some(130));
    tables.assert_empty();
}

#[test]
fn a_killed_worker_is_named_and_nothing_is_left() {
    let tables = Tables::new();
    for (role, args) in [
        ("Producer", &[][..]),
        ("Consumer", &[]),
        ("Producer", &["--spsc"]),
        ("Consumer", &["--spsc"]),
    ] {
        let demo = Running::demo(args);
        let (workers, victim) = (demo.workers(), demo.worker(role));
        kill(Pid::from_raw(victim), Signal::SIGKILL).unwrap();
        let output = demo.end();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        let name =
            format!("tombolo: {} 0 (pid {victim}) was killed by signal 9\n", role.to_lowercase());
        assert_eq!(said, name);
        assert_eq!(text(&output.stdout), "");
        assert!(!workers.into_iter().any(lives));
        tables.assert_empty();
    }
}

#[test]
fn workers_of_a_killed_demo_end_by_themselves_and_leave_nothing() {
    let tables = Tables::new();
    for args in [&[][..], &["--spsc"], &["--producers", "1", "--consumers", "3"]] {
        let mut demo = Running::demo(args);
        let workers = demo.workers();
        demo.signal(Signal::SIGKILL);
        demo.wait();
        // A process whose first thread has ended may have others that have
        // not yet: its memory goes with the last one.
        wait_until(|| !workers.iter().any(|&pid| lives(pid)));
        wait_until(|| !tables.own || common::tables() == (0, 0));
    }
}

#[test]
fn a_demo_killed_at_its_start_leaves_nothing() {
    let tables = Tables::new();
    if !tables.own {
        return;
    }
    for _ in 0..8 {
        let mut demo = Running::start(&["demo", "--seconds", "1000"]);
        // As soon as somebody else has joined.
        wait_until(|| shm::all().unwrap().iter().any(|segment| segment.attached > 1));
        demo.signal(Signal::SIGKILL);
        demo.wait();
        wait_until(|| common::tables() == (0, 0));
    }
}
