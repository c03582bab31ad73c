//! The storm as a shell sees it: short storms in every setting, their output, and
//! that they leave nothing behind.

use crate::command;
use crate::common;

use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use command::{Running, Tables, assert_refused, lives, run, stat, text};
use common::wait_until;
use tombolo::Segment;

/// Runs a storm that must keep every promise, and returns the object.
#[track_caller]
fn survived(args: &[&str]) -> Value {
    let output = run(&[&["chaos", "--json"], args].concat());
    let said = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{args:?}: {said:?}");
    assert_eq!(said.1, "", "{args:?}");
    let result: Value = serde_json::from_str(said.0.lines().last().unwrap()).unwrap();
    for broken in
        ["lost_beyond_held", "duplicated_beyond_policy", "torn", "reordered", "leaked_objects"]
    {
        assert_eq!(result[broken], 0, "{args:?}: {broken}");
    }
    for happened in ["messages", "kills", "recovered"] {
        assert!(result[happened].as_u64().unwrap() > 0, "{args:?}: no {happened}: {result}");
    }
    result
}

/// A storm that would go on for long, once messages go through.
fn blowing(args: &[&str]) -> Running {
    let storm = Running::start(&[&["chaos", "--seconds", "1000"], args].concat());
    let channel = format!("chaos.{}.", storm.pid());
    let sent = |segment: &tombolo::SegmentInfo| {
        segment.name.starts_with(&channel) && !segment.channels.is_empty()
    };
    wait_until(|| Segment::list().unwrap().iter().any(sent));
    storm
}

#[test]
fn every_setting_keeps_every_promise_and_leaves_nothing() {
    let tables = Tables::new();
    for args in [
        &["--seed", "1"][..],
        &["--seed", "2", "--policy", "drop"],
        &["--seed", "3", "--size", "1", "--producers", "3", "--consumers", "1"],
        &["--seed", "4", "--size", "4096", "--producers", "1", "--consumers", "3"],
        &["--seed", "5", "--kill-rate", "300"],
        &["--seed", "6", "--spsc"],
        &["--seed", "7", "--spsc", "--policy", "drop", "--size", "1"],
        &["--seed", "8", "--spsc", "--kill-rate", "200", "--size", "4096"],
        &["--seed", "9", "--broadcast", "--kill-rate", "100"],
        &["--seed", "10", "--calls", "--kill-rate", "100", "--producers", "3"],
    ] {
        survived(&[&["--seconds", "1"], args].concat());
        tables.assert_empty();
    }
}

#[test]
fn json_has_exactly_the_promised_fields() {
    let result = survived(&["--seconds", "1.5", "--seed", "77"]);
    let mut promised = vec![
        "seconds",
        "messages",
        "kills",
        "recovered",
        "held_by_dead",
        "lost_beyond_held",
        "duplicated_beyond_policy",
        "torn",
        "reordered",
        "longest_stall_ms",
        "leaked_objects",
        "seed",
    ];
    promised.sort_unstable();
    assert_eq!(result.as_object().unwrap().keys().collect::<Vec<_>>(), promised);
    assert!(result.as_object().unwrap().values().all(Value::is_number), "{result}");
    assert_eq!(result["seed"], 77);
    assert!(result["seconds"].as_f64().unwrap() >= 1.5);
}

#[test]
fn people_get_a_table_with_a_verdict_and_pipes_no_progress() {
    let output = run(&["chaos", "--seconds", "1.5", "--producers", "3"]);
    let table = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{table}{}", text(&output.stderr));
    assert!(table.starts_with("3 to 2 processes, 64 bytes a message, MPMC for "), "{table}");
    for row in ["kills  ", "deaths swept  ", "longest stall  ", "torn  ", "  kept", ", seed "] {
        assert!(table.contains(row), "{row} in {table}");
    }
    assert!(table.ends_with("\nEvery promise was kept.\n"), "{table}");
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn bad_usage_exits_with_2_and_one_line() {
    for (args, why) in [
        (&["--producers", "0"][..], "'--producers <P>'"),
        (&["--consumers", "65"], "1..=64"),
        (&["--size", "0"], "'--size <BYTES>'"),
        (&["--size", "65537"], "1..=65536"),
        (&["--seconds", "0"], "positive"),
        (&["--kill-rate", "0"], "0.01 to 10000"),
        (&["--kill-rate", "NaN"], "0.01 to 10000"),
        (&["--policy", "keep"], "redeliver, drop"),
        (&["--seed", "-1"], "'-1'"),
        (&["--spsc", "--producers", "2"], "one producer and one consumer"),
        (&["--spsc", "--consumers", "3"], "not 1 and 3"),
        (&["--broadcast", "--spsc"], "'--broadcast' cannot be used with '--spsc'"),
        (&["--broadcast", "--policy", "drop"], "'--broadcast' cannot be used with '--policy"),
        (&["--calls", "--broadcast"], "'--calls' cannot be used with '--broadcast'"),
        (&["--calls", "--policy", "drop"], "'--calls' cannot be used with '--policy"),
        (&["--colour"], "'--colour'"),
    ] {
        assert_refused(&[&["chaos"], args].concat(), why);
    }
}

#[test]
fn its_worker_is_not_in_the_help() {
    assert!(!text(&run(&["--help"]).stdout).contains("chaos-worker"), "for nobody's eyes");
}

#[test]
fn a_signal_ends_the_storm_with_128_and_its_number_and_leaves_nothing() {
    let tables = Tables::new();
    for (signal, status) in [(Signal::SIGHUP, 129), (Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
        let storm = blowing(&["--kill-rate", "100"]);
        storm.signal(signal);
        let output = storm.end();
        assert_eq!(output.status.code(), Some(status), "{}", text(&output.stderr));
        assert_eq!(text(&output.stdout), "");
        tables.assert_empty();
    }
}

/// Stops a storm, so that nobody comes or goes any more, and returns its workers. It may
/// have just killed all of them: then nobody is left who could clean up after it, and it
/// goes on until somebody is.
fn hold(storm: &Running) -> Vec<i32> {
    loop {
        storm.signal(Signal::SIGSTOP);
        wait_until(|| stat(storm.pid(), 3).as_deref() == Some("T"));
        let workers = storm.workers();
        if !workers.iter().all(|&pid| is_doomed(pid)) {
            return workers;
        }
        storm.signal(Signal::SIGCONT);
    }
}

/// Whether a process has been killed, whether it has ended already or not.
fn is_doomed(pid: i32) -> bool {
    const SIGKILL: u64 = 1 << (Signal::SIGKILL as u32 - 1);
    const EXITING: u64 = 4;
    let pending = ["SigPnd", "ShdPnd"].map(|field| u64::from_str_radix(&status(pid, field), 16));
    let flags = stat(pid, 9).and_then(|flags| flags.parse().ok());
    pending.into_iter().any(|set| set.is_ok_and(|set| set & SIGKILL != 0))
        || flags.is_none_or(|flags: u64| flags & EXITING != 0)
}

/// A field of the kernel's description of a process; empty if there is no such process.
fn status(pid: i32, field: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.unwrap_or_default().trim().to_owned()
}

#[test]
fn workers_of_a_killed_storm_end_by_themselves_and_leave_nothing() {
    let tables = Tables::new();
    for args in [&[][..], &["--spsc"], &["--kill-rate", "300"], &["--broadcast"], &["--calls"]] {
        let mut storm = blowing(args);
        let workers = hold(&storm);
        storm.signal(Signal::SIGKILL);
        storm.wait();
        wait_until(|| !workers.iter().any(|&pid| lives(pid)));
        wait_until(|| !tables.own || common::tables() == (0, 0));
    }
}

#[test]
fn stopped_workers_of_a_killed_storm_end_as_well() {
    let tables = Tables::new();
    let mut storm = blowing(&["--kill-rate", "0.01"]);
    // From when they watch the conductor.
    let watches = |&pid: &i32| {
        fs::read_dir(format!("/proc/{pid}/task")).is_ok_and(|threads| threads.count() == 2)
    };
    wait_until(|| storm.workers().len() == 6 && storm.workers().iter().all(watches));
    storm.signal(Signal::SIGSTOP);
    let workers = storm.workers();
    for &worker in &workers {
        kill(Pid::from_raw(worker), Signal::SIGSTOP).unwrap();
    }
    storm.signal(Signal::SIGKILL);
    storm.wait();
    wait_until(|| !workers.iter().any(|&pid| lives(pid)));
    wait_until(|| !tables.own || common::tables() == (0, 0));
}

#[test]
fn a_worker_that_ends_unbidden_ends_the_storm_and_is_named() {
    let tables = Tables::new();
    let mut storm = blowing(&["--kill-rate", "0.01"]);
    let sends = |pid| {
        let command = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        command.contains("\"role\":\"Producer\"")
    };
    let victim = storm.workers().into_iter().find(|&pid| sends(pid)).unwrap();
    // Not one of the storm's own kills.
    kill(Pid::from_raw(victim), Signal::SIGKILL).unwrap();
    wait_until(|| storm.0.try_wait().unwrap().is_some());
    let output = storm.end();
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(said.contains(&format!("(pid {victim}): was killed by signal 9")), "{said}");
    tables.assert_empty();
}
