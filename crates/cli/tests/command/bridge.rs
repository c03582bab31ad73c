//! How the commands show bridges, and what `tombolo bridge` becomes.

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::mpsc;
use std::thread;

use serde_json::{Value, json};
use tombolo::{Bytes, Publisher, Segment};
use tombolo_cli::bridges::{CHANNEL, Counts, LONGEST, Link, News, PREFIX, Peer, Status, VERSION};

use crate::command::{PROGRAM, Running, run, text};
use crate::common::{Folder, PATIENCE, in_own_namespace, wait_until};

/// What is said of a bridge that exports `prices` of `market`.
fn status() -> Status {
    Status {
        version: VERSION,
        pid: std::process::id(),
        state: "running".to_owned(),
        config: "/etc/bridge.json5".to_owned(),
        connect: vec!["tcp/10.0.0.1:7447".to_owned()],
        peers: vec![Peer { id: "abc".to_owned(), since_unix_ms: 1 }],
        links: vec![Link {
            segment: "market".to_owned(),
            channel: "prices".to_owned(),
            direction: "export".to_owned(),
            key: "tombolo/market/prices".to_owned(),
            state: "running".to_owned(),
            counts: Counts { messages: 7, bytes: 70, missed: 3, lag: 2, ..Counts::default() },
            ..Link::default()
        }],
        ..Status::default()
    }
}

/// A bridge as others see it: what it says of itself.
struct Bridge {
    segment: Segment,
    publisher: Publisher<Bytes>,
}

impl Bridge {
    fn new(name: &str) -> Self {
        let options = Segment::options().participants(8).channels(1);
        let options = options.room_for_broadcast_bytes(1, LONGEST);
        let segment = options.create(&format!("{PREFIX}{name}")).unwrap();
        let channel = segment.broadcast_bytes(CHANNEL).capacity(1, LONGEST);
        let publisher = channel.publishers(1).lasting().publisher().unwrap();
        Self { segment, publisher }
    }

    fn say(&self, status: &Status) {
        self.publisher.send(&serde_json::to_vec(status).unwrap()).unwrap();
    }
}

fn market() -> Segment {
    let segment = Segment::options().size(1 << 16).create("market").unwrap();
    drop(segment.broadcast::<u64>("prices").capacity(8).lasting().publisher().unwrap());
    segment
}

fn listed(args: &[&str]) -> Value {
    let output = run(args);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn named<'a>(all: &'a Value, name: &str) -> &'a Value {
    all.as_array().unwrap().iter().find(|it| it["name"] == name).unwrap()
}

#[test]
fn every_command_that_looks_shows_the_bridge_of_a_channel_and_a_dead_one_as_dead() {
    in_own_namespace(|| {
        let segment = market();
        let bridge = Bridge::new("edge");
        bridge.say(&status());
        let own = std::process::id();

        let all = listed(&["ls", "--json"]);
        let link = &named(&all, "market")["channels"][0]["bridged"][0];
        assert_eq!((&link["bridge"], &link["alive"]), (&json!("edge"), &json!(true)), "{all}");
        assert_eq!((&link["messages"], &link["missed"]), (&json!(7), &json!(3)));
        assert_eq!(named(&all, "tombolo.bridge.edge")["bridge"]["peers"][0]["id"], "abc");
        let table = text(&run(&["ls"]).stdout);
        let line = format!(
            "    bridge edge (pid {own}) exports tombolo/market/prices, 7 sent, 2 behind, 3 missed"
        );
        assert!(table.contains(&line), "{table}");

        for args in [&["top", "--once", "--interval", "0.1"][..], &["top", "market", "--once"]] {
            let top = text(&run(args).stdout);
            assert!(top.contains("bridge edge (pid "), "{top}");
            assert!(top.lines().all(|line| line.chars().count() <= 80), "{top}");
        }
        let labels = "{bridge=\"edge\",segment=\"market\",channel=\"prices\",direction=\"export\",\
                      key=\"tombolo/market/prices\"}";
        for args in [&["metrics", "--once"][..], &["metrics", "--once", "market"]] {
            let said = text(&run(args).stdout);
            for line in [
                "tombolo_bridge_up{bridge=\"edge\"} 1".to_owned(),
                format!("tombolo_bridge_link_messages_total{labels} 7"),
                format!("tombolo_bridge_link_missed_messages_total{labels} 3"),
                format!("tombolo_bridge_link_lag{labels} 2"),
            ] {
                assert!(said.lines().any(|it| it == line), "{line} in {said}");
            }
        }
        let doctor = |wanted: &str| {
            let rows: Value = serde_json::from_slice(&run(&["doctor", "--json"]).stdout).unwrap();
            let rows = rows.as_array().unwrap();
            rows.iter().find(|row| row["check"] == wanted).unwrap().clone()
        };
        assert_eq!(doctor("bridge edge")["ok"], true);

        let mut lonely = status();
        lonely.peers.clear();
        lonely.links[0].state = "refused".to_owned();
        lonely.links[0].why = "here u64, there i64".to_owned();
        bridge.say(&lonely);
        assert_eq!(doctor("bridge edge")["ok"], false);
        let refused = doctor("bridge edge: market/prices");
        assert!(refused["found"].as_str().unwrap().contains("here u64, there i64"), "{refused}");

        // Dead: the kernel says that nobody publishes there.
        drop(bridge.publisher);
        let all = listed(&["ls", "--json"]);
        assert_eq!(named(&all, "market")["channels"][0]["bridged"][0]["alive"], false);
        let dead = doctor("bridge edge");
        assert_eq!(dead["ok"], false);
        assert_eq!(
            dead["remedy"],
            "tombolo bridge --config /etc/bridge.json5; or tombolo rm tombolo.bridge.edge"
        );
        bridge.segment.remove().unwrap();
        segment.remove().unwrap();
    });
}

#[test]
fn events_tell_what_bridges_say_of_the_segment_and_of_no_other() {
    in_own_namespace(|| {
        let segment = market();
        let bridge = Bridge::new("edge");
        let news = |n, link: &str, what: &str| News {
            n,
            unix_ms: 5,
            link: link.to_owned(),
            what: what.to_owned(),
        };
        let mut said = status();
        said.news = vec![news(1, "", "before")];
        bridge.say(&said);
        let mut events = Running::start(&["events", "market", "--json"]);
        let joined = || {
            let all = Segment::list().unwrap();
            all.iter().any(|it| it.name == "market" && it.participants > 1)
        };
        wait_until(joined);
        said.news.push(news(2, "other/prices", "of another segment"));
        said.news.push(news(3, "market/prices", "messages missed: 3"));
        said.news.push(news(4, "", "abc has gone"));
        bridge.say(&said);
        let (tell, rows) = mpsc::channel::<Value>();
        let out = BufReader::new(events.stdout());
        thread::spawn(move || {
            let rows = out.lines().map_while(Result::ok);
            let mut rows = rows.map(|line| serde_json::from_str(&line).unwrap());
            rows.try_for_each(|row| tell.send(row))
        });
        let mut of: Vec<String> = Vec::new();
        while of.last().is_none_or(|what| what != "abc has gone") {
            let row = rows.recv_timeout(PATIENCE).unwrap();
            if row["event"] == "bridge" {
                of.push(row["what"].as_str().unwrap().to_owned());
            }
        }
        // The command ends with the segment.
        segment.remove().unwrap();
        assert_eq!(of, ["messages missed: 3", "abc has gone"]);
        assert!(events.wait().success());
        bridge.segment.remove().unwrap();
    });
}

#[test]
fn what_a_status_segment_says_is_a_strangers_text_and_may_be_anything() {
    in_own_namespace(|| {
        let segment = market();
        let bridge = Bridge::new("edge");
        let mut said = status();
        said.links[0].key = "a\u{1b}[2Jb\nc".to_owned();
        said.state = "\u{7}".to_owned();
        for bytes in [b"no JSON".to_vec(), vec![0; 1000], serde_json::to_vec(&said).unwrap()] {
            bridge.publisher.send(&bytes).unwrap();
            for args in [
                &["ls"][..],
                &["top", "--once", "--interval", "0.1"],
                &["doctor"],
                &["metrics", "--once"],
            ] {
                let output = run(args);
                assert!(!output.stdout.is_empty() && output.status.code().is_some(), "{args:?}");
                let clean = |byte: &u8| *byte == b'\n' || *byte >= b' ';
                assert!(output.stdout.iter().all(clean), "{args:?}");
            }
        }
        bridge.segment.remove().unwrap();
        segment.remove().unwrap();
    });
}

#[test]
fn bridge_and_the_demo_of_bridges_are_a_program_of_their_own() {
    let folder = Folder::new();
    let program = folder.path("target/debug/tombolo");
    fs::create_dir_all(program.parent().unwrap()).unwrap();
    fs::copy(PROGRAM, &program).unwrap();
    let run = |args: &[&str]| {
        Command::new(&program).args(args).env("PATH", folder.path("nowhere")).output().unwrap()
    };
    for args in [&["bridge", "--config", "b.json5"][..], &["demo", "--bridge"]] {
        let none = run(args);
        assert_eq!(none.status.code(), Some(2));
        let said = text(&none.stderr);
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.contains("`cargo install --path crates/bridge`"), "{said}");
    }
    // Where a build in the checkout puts it, and then beside the command, which comes first.
    for (at, status) in [("crates/bridge/target/release", 7), ("target/debug", 8)] {
        let path = folder.path(at).join("tombolo-bridge");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, format!("#!/bin/sh\necho \"$@\"\nexit {status}\n")).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        let output = run(&["bridge", "market", "--export", "x"]);
        assert_eq!(output.status.code(), Some(status), "{}", text(&output.stderr));
        assert_eq!(text(&output.stdout), "bridge market --export x\n");
        let output = run(&["demo", "--bridge", "--seconds", "2", "--kill-rate", "3", "--json"]);
        let expected = "demo --size=64 --seconds=2 --kill-rate=3 --json\n";
        assert_eq!(text(&output.stdout), expected);
    }
}
