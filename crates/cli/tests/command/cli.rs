//! The command as a shell sees it: exit statuses, messages, JSON, and that it leaves
//! nothing behind, in whatever way it ends.

use crate::command;
use crate::common;

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use command::{Running, Tables, assert_refused, lives, run, text};
use common::{Folder, Name, as_nobody, in_own_namespace, set_limit, tables, wait_until};
use tombolo::Segment;
use tombolo::sys::{sem, shm};

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

/// What the help lists of a kind: subcommands, or the flags of one.
fn listed(args: &[&str], of: impl Fn(&str) -> Option<&str>) -> BTreeSet<String> {
    let help = text(&run(args).stdout);
    let own = |word: &&str| !matches!(*word, "help" | "--help");
    help.lines().filter_map(of).filter(own).map(str::to_owned).collect()
}

/// A flag that does nothing where it is accepted lets people believe that it
/// does: each has a row that sees what it does.
#[test]
fn no_flag_is_accepted_and_ignored() {
    let name = Name::new();
    let segment = Segment::options().size(1 << 16).create(&name).unwrap();
    let folder = std::env::temp_dir().join(format!("tombolo-flags-{}", std::process::id()));
    let report = folder.to_str().unwrap();
    let toml = ["demo", "--input", "Cargo.toml"];
    // What is run, its exit status, and what it says.
    let rows: &[(&[&str], i32, &str)] = &[
        (
            &[
                &toml[..],
                &["--messages", "7", "--producers", "3", "--consumers", "1", "--size", "9"],
            ]
            .concat(),
            0,
            "3 to 1 processes, 9 bytes a message, MPMC, Cargo.toml\n",
        ),
        (
            &[&toml[..], &["--messages", "7", "--spsc", "--producers", "1"]].concat(),
            0,
            "1 to 1 processes, 64 bytes a message, SPSC, Cargo.toml\n",
        ),
        (&[&toml[..], &["--seconds", "0.1", "--json", "--quiet"]].concat(), 0, "\"seconds\":0."),
        (&["chaos", "--seconds", "0.1", "--spsc", "--quiet"], 0, "1 to 1 processes, 64 bytes a"),
        (
            &[
                &["chaos", "--seconds", "0.1", "--producers", "1", "--consumers", "3"][..],
                &["--size", "9", "--policy", "drop", "--seed", "77"],
            ]
            .concat(),
            0,
            "1 to 3 processes, 9 bytes a message, MPMC for 256, drop, seed 77\n",
        ),
        (
            &["bench", "attach", "--quick", "--json", "--report", report, "--quiet"],
            0,
            "{\"group\":\"attach\"",
        ),
        (
            &["ctl", &name, "ping", "--timeout", "0.1", "--json"],
            1,
            "\"verb\":\"ping\",\"ok\":false",
        ),
        (&["bench", "--version"], 0, "tombolo-bench "),
        (&["ls", "--json"], 0, "[{\"name\":"),
        (&["rm", &name, "--dry-run"], 0, "would remove segment test/"),
        (&["rm", "--dry-run", "no/such", &name], 2, "would remove segment test/"),
        (&["rm", "--orphans", "--dry-run"], 0, ""),
    ];
    let mut seen = BTreeSet::new();
    let mut see = |args: &[&str]| {
        let flags = args[1..].iter().filter(|arg| arg.starts_with("--"));
        seen.extend(flags.map(|flag| format!("{} {flag}", args[0])));
    };
    for &(args, status, says) in rows {
        let began = Instant::now();
        // Short, as all others are.
        let brief = ["--rounds", "1", "--span", "1"];
        let more = if args[0] == "bench" { &brief[..] } else { &[] };
        let output = run(&[args, more].concat());
        let said = text(&output.stdout);
        assert_eq!(output.status.code(), Some(status), "{args:?}: {}", text(&output.stderr));
        assert!(said.contains(says), "{args:?}: {said}");
        // Without --timeout it is 5 s.
        assert!(args[0] != "ctl" || began.elapsed() < Duration::from_secs(4));
        see(args);
    }
    assert!(folder.join("index.html").exists());
    fs::remove_dir_all(&folder).unwrap();

    // But for producers that are killed in the end.
    let calm = ["chaos", "--seconds", "0.1", "--kill-rate", "0.01", "--seed", "1", "--json"];
    let summary: Value = serde_json::from_slice(&run(&calm).stdout).unwrap();
    assert!(summary["kills"].as_u64().unwrap() <= 2, "{summary}");
    see(&calm);

    // Those that wait for others.
    see(&["events", "--remembered", "--json"]);
    let joined = segment.participants()[0].pid;
    let events = Running::start(&["events", &name, "--remembered", "--json"]);
    wait_until(|| segment.participants().len() == 2);
    segment.remove().unwrap();
    let said = text(&events.end().stdout);
    let first: Value = serde_json::from_str(said.lines().next().unwrap()).unwrap();
    assert_eq!((&first["event"], &first["pid"]), (&"joined".into(), &joined.into()), "{said}");
    let there = Name::new();
    for mode in [&["--quiet"][..], &["--lines", "--quiet"]] {
        let receiving = Running::start(&[&["recv", &*there], mode].concat());
        let sending = Running::start(&[&["send", &there, "Cargo.toml"], mode].concat());
        assert_eq!(receiving.end().stdout, fs::read("Cargo.toml").unwrap(), "{mode:?}");
        let sent = sending.end();
        assert_eq!(sent.status.code(), Some(0), "{mode:?}: {}", text(&sent.stderr));
        see(&[&["recv"], mode].concat());
        see(&[&["send"], mode].concat());
    }
    // What other tests see: those of shell.rs, of check.rs, and the last ones here.
    see(&["recv", "--exec", "--retries"]);
    see(&["check", "--json", "--quiet"]);
    for meeting in ["send", "recv", "run"] {
        see(&[meeting, "--mode", "--participants", "--size", "--any-owner"]);
    }
    see(&["ctl", "--any-owner"]);
    see(&["events", "--any-owner"]);
    let word = |line: &str| line.strip_prefix("  ").filter(|line| !line.starts_with(' ')).is_some();
    let subcommands = listed(&["--help"], |line| {
        word(line).then(|| line.split_whitespace().next()).flatten().filter(|w| !w.starts_with('-'))
    });
    assert!(subcommands.len() >= 10, "{subcommands:?}");
    let mut unseen = Vec::new();
    for subcommand in subcommands.iter().filter(|&subcommand| subcommand != "tombolo") {
        let flags = listed(&[subcommand, "--help"], |line| {
            line.trim_start()
                .split([' ', ','])
                .find(|word| word.starts_with("--"))
                .filter(|_| line.trim_start().starts_with('-'))
        });
        let all = flags.iter().map(|flag| format!("{subcommand} {flag}"));
        unseen.extend(all.filter(|flag| !seen.contains(flag)));
    }
    assert!(unseen.is_empty(), "no row here says what they do: {unseen:?}");
}

#[test]
fn what_cannot_go_together_is_refused() {
    let name = Name::new();
    let segment = Segment::options().size(1 << 16).create(&name).unwrap();
    for (args, why) in [
        (&["rm"][..], "<NAME>"),
        (&["rm", "--dry-run"], "<NAME>"),
        (&["rm", "--orphans", &name], "cannot be used with"),
        (&["rm", "--orphans", "--dry-run", &name], "cannot be used with"),
        (&["rm", &name, "--json"], "'--json'"),
        (&["chaos", "--spsc", "--producers", "2"], "one producer and one consumer"),
        (&["chaos", "--policy", "keep"], "'keep'"),
        (&["demo", "--json", "--json"], "multiple times"),
        (&["demo", "Cargo.toml"], "'Cargo.toml'"),
        (&["ctl", &name, "ping", "now"], "only `user` takes a TEXT"),
        (&["ctl", &name, "user"], "<TEXT>"),
        (&["ctl", &name, "ping", "--timeout", "0"], "positive"),
        (&["ls", &name], "unexpected argument"),
        (&["events"], "<NAME>"),
        (&["recv", "x", "Cargo.toml"], "'Cargo.toml'"),
        (&["recv"], "<NAME>"),
        (&["send"], "<NAME>"),
        (&["send", "x", "--json"], "'--json'"),
        (&["run", "x"], "<COMMAND>"),
        (&["run", "x", "true"], "'true'"),
    ] {
        assert_refused(args, why);
    }
    // Of all this nothing was done.
    assert!(Segment::open(&name).is_ok());
    segment.remove().unwrap();
}

#[test]
fn what_would_be_removed_is_told_and_stays() {
    let tables = Tables::new();
    let names = [Name::new(), Name::new()];
    let segments = names.each_ref().map(|name| Segment::create(name).unwrap());
    let id = format!("@{}", segments[1].id());
    for names in [&[&*names[0], &id][..], &[&id, "no/such", &names[0]]] {
        let output = run(&[&["rm", "--dry-run"], names].concat());
        let (said, remarks) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(said.lines().count(), 2, "{said}");
        for name in names.iter().filter(|name| **name != "no/such") {
            assert!(said.contains(&format!("would remove segment {name} (id ")), "{said}");
        }
        let missing = names.contains(&"no/such");
        assert_eq!(output.status.code(), Some(if missing { 2 } else { 0 }));
        assert_eq!(remarks.contains("no/such: there is no such segment"), missing, "{remarks}");
        assert!(segments.iter().all(|segment| segment.sweep().is_ok()), "{names:?}");
    }
    // Done, and one that fails does not hide the others, nor do they hide it.
    let output = run(&["rm", &names[0], "no/such", &id]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.starts_with("tombolo: cannot remove no/such: there is no segment"), "{said}");
    assert!(!said.contains("create"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    drop(segments);
    tables.assert_empty();
}

#[test]
fn no_subcommand_shows_the_help_and_exits_with_2() {
    let output = run(&[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("Usage: tombolo"));
}

#[test]
fn help_has_an_example() {
    let output = run(&["demo", "--help"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stdout).contains("Example:\n  tombolo demo "));
    let output = run(&["--help"]);
    assert!(!text(&output.stdout).contains("demo-worker"), "for nobody's eyes");
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
        (&["--messages", "200000"][..], 200_000, 64),
        (&["--messages", "200000", "--spsc"], 200_000, 64),
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
    let output = run(&["demo", "--messages", "1234567", "--producers", "3"]);
    assert_eq!(output.status.code(), Some(0));
    let table = text(&output.stdout);
    assert!(table.starts_with("3 to 2 processes, 64 bytes a message, MPMC"), "{table}");
    let rate = table.split_once(" a second").unwrap().0.rsplit(' ').next().unwrap();
    assert!(rate.contains(','), "{rate} in {table}");
    for row in ["1,234,567", "latency p999", "lost  ", "corrupt  "] {
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
    for _ in 0..20 {
        let mut demo = Running::start(&["demo", "--seconds", "1000"]);
        // As soon as somebody else has joined.
        wait_until(|| shm::all().unwrap().iter().any(|segment| segment.attached > 1));
        demo.signal(Signal::SIGKILL);
        demo.wait();
        wait_until(|| common::tables() == (0, 0));
    }
}

/// The first processes that share out lines have joined.
fn lines(name: &str, args: &[&str], count: usize) -> Vec<Running> {
    let args = [&["recv", name, "--lines"], args].concat();
    let running = (0..count).map(|_| Running::start(&args)).collect();
    wait_until(|| {
        let listed = Segment::list().unwrap();
        let there = listed.iter().find(|info| info.name == name);
        there.is_some_and(|info| info.participants == count)
    });
    running
}

#[test]
fn the_command_fits_the_classic_limits() {
    in_own_namespace(|| {
        set_limit("sem", "250 32000 32 128");
        set_limit("shmmax", "33554432");
        let name = Name::new();
        let receiver = lines(&name, &[], 1).remove(0);
        // As many as one set allows, in a segment that is as large as one may be.
        assert_eq!(sem::all().unwrap()[0].count, 237);
        assert!(shm::all().unwrap()[0].size > 32_000_000);
        let sender = Running::start(&["send", &name, "Cargo.toml", "--lines"]);
        let received = receiver.end();
        assert_eq!(received.status.code(), Some(0), "{}", text(&received.stderr));
        let sent = sender.end();
        assert_eq!(sent.status.code(), Some(0), "{}", text(&sent.stderr));
        assert_eq!(received.stdout, fs::read("Cargo.toml").unwrap());
        let sent = Running::start(&["send", &name, "../../Cargo.lock"]);
        let received = run(&["recv", &name]);
        assert_eq!(received.stdout, fs::read("../../Cargo.lock").unwrap());
        assert_eq!(sent.end().status.code(), Some(0));
        let command = ["run", &name, "--", "true"];
        assert_eq!(run(&command).status.code(), Some(0));
        assert_eq!(run(&["rm", &name]).status.code(), Some(0));
        // What is asked for is had, or refused with what is in the way.
        assert_refused(
            &["recv", &name, "--lines", "--participants", "250"],
            "allows 250 semaphores per set (its 1st number, SEMMSL); create it with fewer \
             participants (--participants), or raise it: sysctl kernel.sem='269 32000 32 128'",
        );
        assert_refused(
            &["send", &name, "--size", "33554432"],
            "(--size), or raise it: sysctl kernel.shmmax=",
        );
        assert_eq!(tables(), (0, 0));
    });
}

#[test]
fn the_command_uses_what_small_limits_leave_or_names_them() {
    in_own_namespace(|| {
        set_limit("shmmax", "1048576");
        let name = Name::new();
        let sent = Running::start(&["send", &name, "../../Cargo.lock"]);
        let received = run(&["recv", &name]);
        assert_eq!(received.status.code(), Some(0), "{}", text(&received.stderr));
        assert_eq!(received.stdout, fs::read("../../Cargo.lock").unwrap());
        assert_eq!(sent.end().status.code(), Some(0));
        assert_refused(&["recv", &name, "--lines"], "smaller than usual, as kernel.shmmax,");
        // What they create is as large as their messages need, and no larger.
        set_limit("shmmax", "65536");
        let demo = ["demo", "--messages", "1000", "--quiet", "--json"];
        assert_eq!(run(&demo).status.code(), Some(0));
        let chaos = ["chaos", "--seconds", "0.5", "--seed", "3", "--quiet", "--json"];
        let chaos = run(&chaos);
        assert_eq!(chaos.status.code(), Some(0), "{}", text(&chaos.stderr));
        let refusal = run(&["demo", "--size", "65536", "--messages", "9", "--quiet"]);
        let refusal = text(&refusal.stderr);
        let (_, enough) = refusal.trim_end().rsplit_once("kernel.shmmax=").expect("an advice");
        set_limit("shmmax", enough);
        let large = run(&["demo", "--size", "65536", "--messages", "9", "--quiet"]);
        assert_eq!(large.status.code(), Some(0), "{}", text(&large.stderr));
        set_limit("shmmax", "33554432");
        set_limit("sem", "32 32000 32 128");
        assert_refused(&["run", &name, "--participants", "64", "--", "true"], "(--participants)");
        set_limit("sem", "12 32000 32 128");
        for command in ["chaos", "demo"] {
            assert_refused(&[command, "--seconds", "1"], "allows 12 semaphores per set");
            assert_refused(&[command, "--seconds", "1"], "(--producers, --consumers), or raise it");
        }
        assert_eq!(tables(), (0, 0));
    });
}

#[test]
fn when_all_places_are_taken_the_flag_for_more_is_named() {
    let name = Name::new();
    let receivers = lines(&name, &["--participants", "2"], 2);
    assert_refused(
        &["send", &name, "--lines"],
        "is full: all 2 participants are living processes; create it with --participants for more",
    );
    for receiver in receivers {
        receiver.signal(Signal::SIGTERM);
        assert_eq!(receiver.end().status.code(), Some(143));
    }
    assert_eq!(name.objects(), (0, 0));
}

#[test]
fn whose_a_segment_is_decides_who_uses_it_unless_one_says_otherwise() {
    if !Tables::new().own {
        return;
    }
    let name = Name::new();
    let mode = |wanted| {
        let all = (shm::all().unwrap()[0].mode, sem::all().unwrap()[0].mode);
        assert_eq!(all, (wanted, wanted));
    };
    // Kept, since the thread's rights are the child's.
    as_nobody(|| drop(Segment::options().size(1 << 16).mode(0o660).create(&name).unwrap()));
    mode(0o660);
    for args in [
        &["send", &name, "Cargo.toml"] as &[&str],
        &["recv", &name, "--lines"],
        &["run", &name, "--", "true"],
        &["events", &name],
        &["ctl", &name, "ping"],
    ] {
        assert_refused(args, "created by another user, nobody (uid 65534)");
        assert_refused(args, &format!("segment {name} "));
        assert_refused(args, "accept any creator with --any-owner");
    }
    for args in [
        &["run", &name, "--any-owner", "--", "true"] as &[&str],
        &["ctl", &name, "ping", "--any-owner", "--timeout", "1e30"],
        &["rm", &name],
    ] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(0), "{args:?}: {}", text(&output.stderr));
    }
    let command = ["run", &name, "--mode", "640", "--participants", "3", "--", "true"];
    assert_eq!(run(&command).status.code(), Some(0));
    mode(0o640);
    assert_eq!(sem::all().unwrap()[0].count, 45);
    // A user without the right to it is told which segment it is.
    as_nobody(|| assert_refused(&["events", &name], &format!("segment {name}: cannot ")));
    for bad in ["8", "rw", "1777", ""] {
        assert_refused(&["recv", &name, "--mode", bad], "not three octal digits");
    }
    assert_refused(&["recv", "a b"], "the byte ' ' (0x20) is not allowed");
    assert_eq!(run(&["rm", &name]).status.code(), Some(0));
}

#[test]
fn bench_hands_over_to_a_program_of_its_own_and_says_how_to_build_it() {
    let folder = Folder::new();
    let program = folder.path("tombolo");
    fs::copy(command::PROGRAM, &program).unwrap();
    let bench = |path: &std::path::Path| {
        let mut command = std::process::Command::new(&program);
        let output = command.args(["bench", "--quick", "limits", "--help"]).env("PATH", path);
        output.output().unwrap()
    };
    let none = bench(&folder.path("nowhere"));
    assert_eq!(none.status.code(), Some(2));
    let said = text(&none.stderr);
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains("`cargo build --release -p tombolo-bench`"), "{said}");

    // In PATH, and then beside it, which comes first.
    fs::create_dir(folder.path("bin")).unwrap();
    for (at, status) in [("bin/tombolo-bench", 7), ("tombolo-bench", 8)] {
        let script = format!("#!/bin/sh\necho \"$@\"\nexit {status}\n");
        fs::write(folder.path(at), script).unwrap();
        fs::set_permissions(folder.path(at), Permissions::from_mode(0o755)).unwrap();
        let output = bench(&folder.path("bin"));
        assert_eq!(output.status.code(), Some(status), "{}", text(&output.stderr));
        assert_eq!(text(&output.stdout), "--quick limits --help\n");
    }
}
