//! `tombolo ls` as a shell sees it.

use tombolo::Segment;

use crate::command::{run, text};
use crate::place::Place;

#[test]
fn ls_shows_what_is_there() {
    let place = Place::new();
    let segment = Segment::options().size(1 << 16).mode(0o640).create(&place.name).unwrap();
    let sender = segment.channel::<u64>("numbers").capacity(8).sender().unwrap();
    sender.send_batch(&[1, 2, 3]).unwrap();
    let found = place.listed().unwrap();
    let mut keys: Vec<&String> = found.as_object().unwrap().keys().collect();
    keys.sort();
    let fields =
        ["attached", "channels", "creator", "deaths", "id", "key", "mode", "name", "owner"];
    assert_eq!(keys, [&fields[..], &["recent_deaths", "size", "state"]].concat());
    assert_eq!(found["id"], segment.id());
    assert_eq!(found["size"], segment.size());
    assert_eq!(found["mode"], "0640");
    assert_eq!((&found["attached"], &found["state"]), (&1.into(), &"open".into()));
    assert!(found["key"].as_i64().unwrap() > 0);
    let channel = serde_json::json!([{
        "name": "numbers", "kind": "MPMC", "element": "u64", "capacity": 8, "depth": 3,
        "senders": 1, "receivers": 0, "unsent": 0, "redelivered": 0, "dropped": 0,
    }]);
    assert_eq!(found["channels"], channel);
    assert_eq!((&found["deaths"], &found["recent_deaths"]), (&0.into(), &serde_json::json!([])));

    let table = text(&run(&["ls"]).stdout);
    let row = table.lines().position(|row| row.starts_with(&*place.name)).unwrap();
    let channel: Vec<&str> = table.lines().nth(row + 1).unwrap().split_whitespace().collect();
    assert_eq!(channel, ["numbers", "MPMC", "u64", "8", "3", "1", "0"]);
}

#[test]
fn ls_tells_who_has_died() {
    let place = Place::new();
    let input = place.write("in", b"in vain");
    let sender = place.send(&input, &[]);
    place.wait_for(1, 0);
    let pid = sender.pid();
    sender.kill();
    // The next process sweeps.
    let _segment = Segment::open(&place.name).unwrap();
    let found = place.listed().unwrap();
    assert_eq!((&found["deaths"], &found["recent_deaths"][0]["pid"]), (&1.into(), &pid.into()));
    assert_eq!(found["recent_deaths"][0]["senders"], 1);
}
