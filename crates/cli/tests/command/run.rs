//! `tombolo run`: a command that is started with a segment.

use crate::command;
use crate::common;

use std::env;
use std::process::{Child, Command};

use command::{Running, Tables, assert_refused, lives, run, text};
use common::{Name, PATIENCE};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tombolo::{Event, Segment};

const ROLE: &str = "TOMBOLO_TEST_RUN";

/// A shell command in which `$SELF` is this program as a child.
fn script(body: &str, role: &str) -> Command {
    let program = env::current_exe().unwrap();
    let mut command = command::tombolo(&["run", "--", "sh", "-c", body]);
    let own = format!("{} {} --exact --ignored --nocapture", program.display(), common::entry());
    command.env("SELF", own).env("TOMBOLO", env!("CARGO_BIN_EXE_tombolo")).env(ROLE, role);
    command
}

/// Waits until a command has written that it is ready.
fn ready(child: &mut Child) {
    use std::io::{BufRead, BufReader};
    let mut out = BufReader::new(child.stdout.as_mut().unwrap());
    let mut line = String::new();
    while !line.contains("ready") {
        line.clear();
        assert!(out.read_line(&mut line).unwrap() > 0, "it ended");
    }
}

#[test]
fn the_command_gets_a_segment_that_is_gone_afterwards() {
    let tables = Tables::new();
    let output = Running::spawn(&mut script("exec $SELF", "inherit")).end();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    tables.assert_empty();
}

#[test]
fn all_below_find_it_by_the_variable() {
    let tables = Tables::new();
    // Children of the shell.
    let output = Running::spawn(&mut script("$SELF; $SELF; exit 7", "open by the variable")).end();
    assert_eq!(output.status.code(), Some(7), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout).matches("opened").count(), 2);
    let body = "$TOMBOLO events --remembered $TOMBOLO_SEGMENT | head -n 2; \
                $TOMBOLO rm $TOMBOLO_SEGMENT && ! $TOMBOLO rm $TOMBOLO_SEGMENT";
    let output = Running::spawn(&mut script(body, "")).end();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let said = text(&output.stdout);
    assert!(said.contains("joined, slot 0") && said.contains("joined, slot 1"), "{said}");
    tables.assert_empty();
}

#[test]
fn a_named_segment_is_opened_or_created_and_stays() {
    let name = Name::new();
    for _ in 0..2 {
        let output = run(&["run", &name, "--", "sh", "-c", "echo $TOMBOLO_SEGMENT"]);
        assert_eq!(text(&output.stdout).trim(), &*name);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    }
    assert_eq!(Segment::open(&name).unwrap().participants().len(), 1);
}

#[test]
fn the_one_that_waits_for_the_command_answers_what_is_asked() {
    let name = Name::new();
    let body = "for verb in ping stats pause resume 'user reload'; do
        \"$0\" ctl $TOMBOLO_SEGMENT $verb || exit; done";
    let program = env!("CARGO_BIN_EXE_tombolo");
    let output = run(&["run", &name, "--", "sh", "-c", body, program]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout).matches(" ping ").count(), 1, "{}", text(&output.stdout));
}

#[test]
fn the_exit_status_is_the_commands() {
    for (body, status) in [("exit 0", 0), ("exit 3", 3), ("exit 255", 255)] {
        assert_eq!(run(&["run", "--", "sh", "-c", body]).status.code(), Some(status));
    }
    for signal in ["TERM", "KILL", "INT"] {
        let number: Signal = format!("SIG{signal}").parse().unwrap();
        let body = format!("kill -{signal} $$");
        let output = run(&["run", "--", "sh", "-c", &body]);
        assert_eq!(output.status.code(), Some(128 + number as i32), "{signal}");
    }
}

#[test]
fn signals_are_passed_on_and_the_command_decides() {
    let tables = Tables::new();
    for (signal, name) in [
        (Signal::SIGTERM, "TERM"),
        (Signal::SIGINT, "INT"),
        (Signal::SIGHUP, "HUP"),
        (Signal::SIGUSR1, "USR1"),
        (Signal::SIGQUIT, "QUIT"),
    ] {
        let body = format!("trap 'exit 42' {name}; echo ready; while :; do sleep 0.01; done");
        let mut running = Running::spawn(&mut script(&body, ""));
        ready(&mut running.0);
        running.signal(signal);
        assert_eq!(running.wait().code(), Some(42), "{name}");
        // One that does nothing about it.
        let mut running = Running::spawn(&mut script("echo ready; exec sleep 100", ""));
        ready(&mut running.0);
        running.signal(signal);
        assert_eq!(running.wait().code(), Some(128 + signal as i32), "{name}");
    }
    tables.assert_empty();
}

#[test]
fn a_command_that_is_stopped_and_continued_is_waited_for() {
    let mut running = Running::spawn(&mut script("echo ready; exec sleep 100", ""));
    ready(&mut running.0);
    let child = Pid::from_raw(running.workers()[0]);
    kill(child, Signal::SIGSTOP).unwrap();
    kill(child, Signal::SIGCONT).unwrap();
    assert!(lives(running.pid()));
    running.signal(Signal::SIGTERM);
    assert_eq!(running.wait().code(), Some(128 + 15));
}

#[test]
fn who_is_left_below_is_told_that_it_is_over() {
    let tables = Tables::new();
    // One in the background, and nobody goes before three are there.
    let body = "$SELF & $TOMBOLO events --remembered $TOMBOLO_SEGMENT | head -n 3";
    let output = Running::spawn(&mut script(body, "stay")).end();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("stayed until the end"));
    tables.assert_empty();
}

#[test]
fn a_command_that_cannot_be_run_is_refused_and_nothing_is_left() {
    let tables = Tables::new();
    assert_refused(
        &["run", "--", "/no/such/program"],
        "cannot start /no/such/program: No such file",
    );
    assert_refused(&["run", "--", "/dev/null"], "Permission denied");
    assert_refused(&["run", "not a name", "--", "true"], "cannot be a name");
    assert_refused(&["run"], "COMMAND");
    assert_refused(&["run", "name"], "COMMAND");
    assert_refused(&["run", "a", "b", "--", "true"], "unexpected argument 'b'");
    assert_refused(&["events", "@x"], "id of a shared-memory object");
    assert_refused(&["rm", "@2147483647"], "no segment with id 2147483647");
    tables.assert_empty();
}

#[test]
#[ignore = "what the child processes run"]
fn child_entry() {
    let Ok(role) = env::var(ROLE) else { return };
    let by_variable = || {
        let called = env::var("TOMBOLO_SEGMENT").unwrap();
        Segment::open_id(called.strip_prefix('@').unwrap().parse().unwrap()).unwrap()
    };
    match &*role {
        "inherit" => {
            let segment = Segment::inherited().unwrap();
            assert_eq!(segment.participants().len(), 2);
            assert_eq!(segment.id(), by_variable().id());
            // The segment is told of this one's coming and going.
            let events = segment.events().remembered();
            assert!(matches!(events.recv().unwrap(), Event::Joined(_)));
        }
        "open by the variable" => {
            assert!(Segment::inherited().is_err());
            println!("{} opened", by_variable().id());
        }
        "stay" => {
            let segment = by_variable();
            let events = segment.events();
            loop {
                match events.recv_timeout(PATIENCE) {
                    Ok(Some(_)) => {}
                    // Nobody has told it.
                    Ok(None) => return,
                    Err(_) => break,
                }
            }
            println!("stayed until the end");
        }
        role => panic!("{role}"),
    }
}
