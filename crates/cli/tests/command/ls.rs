//! `tombolo ls` as a shell sees it.

use tombolo::{Segment, Start};

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
fn ls_shows_who_publishes_and_how_far_each_reliable_subscriber_is() {
    let place = Place::new();
    let segment = Segment::options().size(1 << 16).create(&place.name).unwrap();
    let prices = segment.broadcast::<u64>("prices").capacity(8).publishers(2).reliable(3);
    let publisher = prices.publisher().unwrap();
    let fast = prices.reliable_subscriber().unwrap();
    for n in 0..30 {
        publisher.send(n).unwrap();
        fast.recv().unwrap();
    }
    let _slow = prices.reliable_subscriber_from(Start::Last(5)).unwrap();
    let _lossy = prices.subscriber().unwrap();
    let own = std::process::id();
    let channel = &place.listed().unwrap()["channels"][0];
    let retained = channel["retained"].as_u64().unwrap();
    assert!((8..=24).contains(&retained), "{channel}");
    let expected = serde_json::json!({
        "name": "prices", "kind": "broadcast", "element": "u64", "capacity": 8, "depth": 5,
        "senders": 1, "receivers": 3, "unsent": 0, "redelivered": 0, "dropped": 0,
        "tail": 30, "retained": retained, "publishers": [own], "publisher_seats": 2,
        "reliable": [{"pid": own, "lag": 0}, {"pid": own, "lag": 5}], "reliable_seats": 3,
        "lossy": 1,
    });
    assert_eq!(*channel, expected);
    let table = text(&run(&["ls"]).stdout);
    let row = table.lines().position(|row| row.starts_with(&*place.name)).unwrap();
    let line = table.lines().nth(row + 2).unwrap();
    assert_eq!(
        line,
        format!(
            "    tail 30, {retained} retained; publishers 1 of 2: pid {own}; reliable 2 of 3: pid \
             {own} (0 behind), pid {own} (5 behind); lossy 1"
        )
    );
    segment.remove().unwrap();
}

#[test]
fn ls_leaves_out_the_ends_of_the_dead() {
    let place = Place::new();
    let receivers =
        ["dead", "living"].map(|file| place.recv(file, &["--broadcast", "--lines", "--reliable"]));
    place.wait_for(0, 2);
    let [dead, living] = receivers;
    let pid = living.pid();
    dead.kill();
    let listed = place.listed().unwrap();
    let channels = listed["channels"].as_array().unwrap();
    let stream = channels.iter().find(|channel| channel["name"] == "stream").unwrap();
    assert_eq!(stream["reliable"], serde_json::json!([{"pid": pid, "lag": 0}]));
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
