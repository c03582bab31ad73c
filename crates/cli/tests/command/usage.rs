//! Common to all subcommands: the help, refused usage, no flag without effect, and whose
//! segments they accept.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use serde_json::Value;
use tombolo::Segment;
use tombolo::sys::{sem, shm};

use crate::command::{Running, Tables, assert_refused, run, text};
use crate::common::{Name, as_nobody, wait_until};

/// The names of one kind in the help: subcommands, or the flags of one.
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
    // The arguments, the exit status, and the output.
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
        (
            &[&toml[..], &["--messages", "7", "--broadcast", "--subscribers", "2"]].concat(),
            0,
            "1 to 2 reliable processes and a lossy one, 64 bytes a message, broadcast, Cargo.toml\n",
        ),
        (&[&toml[..], &["--seconds", "0.1", "--json", "--quiet"]].concat(), 0, "\"seconds\":0."),
        (&["chaos", "--seconds", "0.1", "--spsc", "--quiet"], 0, "1 to 1 processes, 64 bytes a"),
        (
            &["chaos", "--seconds", "0.1", "--broadcast", "--seed", "77"],
            0,
            "2 to 3 processes, 64 bytes a message, broadcast for 256, seed 77\n",
        ),
        (&["chaos", "--seconds", "0.1", "--calls", "--seed", "77", "--quiet"], 0, "seed 77\n"),
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
        (&["bench", "attach", "--quick", "--case", "no such", "--json"], 2, ""),
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
    // Flags that other tests see: those of shell.rs, of everybody.rs, of check.rs, of doctor.rs,
    // of top.rs, of metrics.rs, of tap.rs, of bridge.rs, of tombolo-record, of tombolo-bridge, and
    // the last ones here.
    see(&["demo", "--bridge", "--kill-rate"]);
    see(&["bridge", "--config", "--channel", "--export", "--import", "--listen", "--connect"]);
    see(&["bridge", "--discovery", "--engine", "--reliable", "--key", "--name", "--check"]);
    see(&["bridge", "--json", "--quiet"]);
    see(&["top", "--once", "--json", "--interval"]);
    see(&["tap", "--count", "--follow", "--rate", "--bytes", "--json", "--quiet"]);
    see(&["metrics", "--once", "--listen", "--quiet"]);
    see(&[
        "record",
        "--output",
        "--channel",
        "--seconds",
        "--reliable",
        "--from",
        "--consume",
        "--tap",
    ]);
    see(&["record", "--compression", "--chunk-size", "--rotate-size", "--rotate-seconds"]);
    see(&["record", "--force", "--allow-lag", "--any-owner", "--json", "--quiet"]);
    see(&["replay", "--speed", "--as", "--channel", "--step", "--any-owner", "--json", "--quiet"]);
    see(&["doctor", "--participants", "--channels", "--size", "--json"]);
    see(&["recv", "--exec", "--retries"]);
    see(&["send", "--broadcast", "--subscribers"]);
    see(&["recv", "--broadcast", "--reliable", "--from", "--allow-lag"]);
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
        (&["recv", "x", "--reliable"], "--broadcast"),
        (&["recv", "x", "--from", "oldest"], "--broadcast"),
        (&["recv", "x", "--allow-lag"], "--broadcast"),
        (&["recv", "x", "--broadcast", "--from", "then"], "newest, oldest or last:K"),
        (&["recv", "x", "--broadcast", "--reliable", "--allow-lag"], "cannot be used with"),
        (&["recv", "x", "--broadcast", "--exec", "cat"], "--lines"),
        (&["send", "x", "--subscribers", "2"], "--broadcast"),
        (&["send", "x", "--broadcast", "--subscribers", "-1"], "'-1'"),
        (&["demo", "--subscribers", "2"], "--broadcast"),
        (&["demo", "--broadcast", "--spsc"], "cannot be used with"),
        (&["demo", "--broadcast", "--consumers", "2"], "cannot be used with"),
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
fn no_subcommand_shows_the_help_and_exits_with_2() {
    let output = run(&[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("Usage: tombolo"));
}

#[test]
fn a_demos_worker_is_not_in_the_help() {
    let output = run(&["--help"]);
    assert!(!text(&output.stdout).contains("demo-worker"), "for nobody's eyes");
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
    assert_eq!(sem::all().unwrap()[0].count, 61);
    // A user without the right to it is told which segment it is.
    as_nobody(|| assert_refused(&["events", &name], &format!("segment {name}: cannot ")));
    for bad in ["8", "rw", "1777", ""] {
        assert_refused(&["recv", &name, "--mode", bad], "not three octal digits");
    }
    assert_refused(&["recv", "a b"], "the byte ' ' (0x20) is not allowed");
    assert_eq!(run(&["rm", &name]).status.code(), Some(0));
}
