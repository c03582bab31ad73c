//! `tombolo events` as a shell sees it.

use std::io::{BufRead, BufReader};
use std::sync::mpsc;
use std::thread;

use nix::sys::signal::Signal;
use serde_json::Value;
use tombolo::sys::proc;
use tombolo::{Event, Events, Segment};

use crate::command::{Running, assert_refused, text};
use crate::common::{Brief, Name, PATIENCE, Peer, parked, wait_until};

fn market() -> (Name, Segment) {
    crate::common::market(16, 2)
}

#[track_caller]
fn next(events: &Events) -> Event {
    events.recv_timeout(PATIENCE).unwrap().expect("no event")
}

/// The kind of an event, and the process.
#[track_caller]
fn told(event: &Event) -> (&'static str, u32) {
    match event {
        Event::Joined(member) => ("joined", member.pid),
        Event::Left(member) => ("left", member.pid),
        Event::Died(death) => ("died", death.pid),
        event => panic!("{event:?}"),
    }
}

/// The lines of a command, as they come.
fn lines(command: &mut Running) -> mpsc::Receiver<String> {
    let out = BufReader::new(command.0.stdout.take().unwrap());
    let (tell, said) = mpsc::channel();
    thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| tell.send(line)));
    said
}

#[test]
fn the_command_shows_events_until_the_segment_is_removed() {
    let (name, segment) = market();
    for json in [false, true] {
        let events = segment.events();
        let args = ["events", &*name, "--json"];
        let mut command = Running::start(if json { &args } else { &args[..2] });
        let lines = lines(&mut command);
        assert_eq!(told(&next(&events)), ("joined", command.pid().cast_unsigned()));
        wait_until(|| parked(command.pid()));
        let peer = Peer::start("hold", &[&name]);
        peer.expect("held");
        peer.kill();
        let said = [(); 2].map(|()| lines.recv_timeout(PATIENCE).unwrap());
        if json {
            let said = said.map(|line| serde_json::from_str::<Value>(&line).unwrap());
            for (said, event) in said.iter().zip(["joined", "died"]) {
                assert_eq!(said["event"], event);
                assert_eq!(said["pid"], peer.pid());
                assert_eq!(said["slot"], 2);
                assert_eq!(said["pid_namespace"], proc::pid_namespace().unwrap());
                assert!(said["monotonic_ns"].as_u64().unwrap() > 0);
            }
            assert_eq!((&said[1]["redelivered"], &said[1]["channel"]), (&1.into(), &"jobs".into()));
            segment.remove().unwrap();
            let output = command.end();
            assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
        } else {
            assert_eq!(said[0], format!("process {} joined, slot 2", peer.pid()));
            assert!(said[1].starts_with(&format!("process {} died ", peer.pid())), "{said:?}");
            assert!(said[1].ends_with(", in channel jobs: 1 to be redelivered"), "{said:?}");
            while told(&next(&events)).0 != "died" {}
            // It leaves, as one that is asked to.
            let command_pid = command.pid().cast_unsigned();
            command.signal(Signal::SIGINT);
            let output = command.end();
            assert_eq!((output.status.code(), text(&output.stderr)), (Some(130), String::new()));
            assert_eq!(told(&next(&events)), ("left", command_pid));
        }
    }
}

#[test]
fn the_command_ends_and_leaves_when_nobody_reads_any_more() {
    let (name, segment) = market();
    let events = segment.events();
    let mut command = Running::start(&["events", &name]);
    assert_eq!(told(&next(&events)), ("joined", command.pid().cast_unsigned()));
    wait_until(|| parked(command.pid()));
    let command_pid = command.pid().cast_unsigned();
    drop(command.0.stdout.take());
    let output = command.end();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stderr), "tombolo: cannot write an event: Broken pipe\n");
    assert_eq!(told(&next(&events)), ("left", command_pid));
}

#[test]
fn the_command_says_what_is_wrong() {
    assert_refused(&["events", "test/nobody:has:this"], "there is no segment");
    assert_refused(&["events"], "NAME");
}

#[test]
#[ignore = "what the child processes run"]
fn child_entry() {
    let Some(brief) = Brief::take() else { return };
    let segment = Segment::open(brief.text(0)).unwrap();
    let jobs = segment.channel::<u64>("jobs").capacity(4);
    let (tx, mut rx) = (jobs.sender().unwrap(), jobs.receiver().unwrap());
    tx.send(1).unwrap();
    let _held = rx.take().unwrap();
    brief.say("held");
    brief.hear();
}
