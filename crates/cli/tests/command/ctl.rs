//! `tombolo ctl` as a shell sees it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::thread;

use serde_json::Value;
use tombolo::sys::{msg, pipe};
use tombolo::{Fault, Segment};

use crate::command::{self, Running, Tables, run, text};
use crate::common::{Brief, Name, Peer, own_tables, wait_until};

#[test]
fn the_command_prints_a_row_for_each_and_says_how_it_went() {
    let name = Name::new();
    let segment = Segment::options().size(1 << 16).create(&name).unwrap();
    let peers = [(), ()].map(|()| Peer::start("receive", &[&name]));
    peers.iter().for_each(|peer| peer.expect("open"));
    drop(segment);
    for verb in ["ping", "stats", "pause", "resume"] {
        let output = run(&["ctl", &name, verb, "--json"]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let mut pids = BTreeMap::new();
        for line in text(&output.stdout).lines() {
            let row: Value = serde_json::from_str(line).unwrap();
            assert_eq!((&row["verb"], &row["ok"]), (&verb.into(), &true.into()), "{row}");
            assert!(row["error"].is_null() && row["participant"].is_string());
            pids.insert(row["pid"].as_i64().unwrap(), row);
        }
        assert_eq!(pids.len(), 2);
        assert!(peers.iter().all(|peer| pids.contains_key(&i64::from(peer.pid()))));
    }
    peers[0].stop();
    let output = run(&["ctl", &name, "ping", "--timeout", "0.3"]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stdout);
    assert!(said.contains("its process is stopped") && said.contains("done"), "{said}");
    peers[0].resume();
    let output = run(&["ctl", &name, "shutdown"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
    for peer in peers {
        peer.expect("Shutdown");
    }
    for (args, why) in [
        (&["ctl", &name, "sing"][..], "invalid value 'sing'"),
        (&["ctl", &name, "user"], "TEXT"),
        (&["ctl", &name, "ping", "text"], "only `user` takes"),
        (&["ctl", &name, "pause"], "is shutdown"),
        (&["ctl", "no/such/segment", "ping"], "there is no segment"),
    ] {
        command::assert_refused(args, why);
    }
}

#[test]
fn nothing_of_it_stays_when_the_segment_is_removed() {
    if !own_tables() {
        return;
    }
    let name = Name::new();
    let segment = Segment::create(&name).unwrap();
    drop(segment.commander().unwrap());
    assert_eq!(msg::all().unwrap().len(), 1);
    let output = run(&["rm", &name]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(msg::all().unwrap().len(), 0);
    drop(segment);
}

#[test]
fn lines_end_well_on_both_sides_when_they_are_drained() {
    let tables = Tables::new();
    let name = Name::new();
    // Lines without an end.
    let mut yes = Command::new("yes").arg("a line").stdout(Stdio::piped()).spawn().unwrap();
    let send = {
        let mut send = command::tombolo(&["send", &name, "--lines"]);
        Running::spawn(send.stdin(yes.stdout.take().unwrap()))
    };
    let (reader, writer) = pipe::pair().unwrap();
    // The command keeps the end that it hands over.
    let recv = {
        let mut recv = command::tombolo(&["recv", &name, "--lines"]);
        Running::spawn(recv.stdout(writer))
    };
    let counted = thread::spawn(move || {
        let mut lines = BufReader::new(reader).lines();
        lines.try_fold(0_u64, |count, line| {
            line.map(|line| {
                assert_eq!(line, "a line");
                count + 1
            })
        })
    });
    let depth = || {
        let all = Segment::list().unwrap();
        all.iter()
            .filter(|s| s.name == *name)
            .flat_map(|s| s.channels.clone())
            .map(|c| c.senders)
            .sum::<u64>()
    };
    wait_until(|| depth() >= 3);
    let output = run(&["ctl", &name, "pause", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
    let output = run(&["ctl", &name, "resume"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
    let output = run(&["ctl", &name, "drain", "--timeout", "20"]);
    assert_eq!(output.status.code(), Some(0), "{}{}", text(&output.stdout), text(&output.stderr));
    let (send, recv) = (send.end(), recv.end());
    let (said, heard) = (text(&send.stderr), text(&recv.stderr));
    assert_eq!((send.status.code(), recv.status.code()), (Some(0), Some(0)), "{said}{heard}");
    let bytes: u64 = said.split(' ').find_map(|word| word.parse().ok()).unwrap();
    assert_eq!(counted.join().unwrap().unwrap() * 7, bytes, "{said}");
    let _ = yes.kill();
    let _ = yes.wait();
    drop(name);
    tables.assert_empty();
}

#[test]
#[ignore = "what the child processes run"]
fn child_entry() {
    let Some(brief) = Brief::take() else { return };
    let segment = Segment::open(brief.text(0)).unwrap();
    let receiver = segment.channel::<u64>("c").capacity(4).receiver().unwrap();
    brief.say("open");
    assert_eq!(receiver.recv().unwrap_err().into_fault(), Some(Fault::Shutdown));
    brief.say("Shutdown");
}
