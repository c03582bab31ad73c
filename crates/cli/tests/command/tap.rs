//! `tombolo tap`: messages are shown, and stay.

use nix::sys::signal::Signal;
use serde_json::Value;
use tombolo::{Message, Segment};

use crate::command::{Running, assert_refused, run, text};
use crate::common::{Name, wait_until};

#[derive(Clone, Copy, Debug, PartialEq, Message)]
#[repr(C)]
struct Tick {
    id: u64,
    price: f64,
}

fn rows(args: &[&str]) -> Vec<Value> {
    let output = run(&[&["tap", "--json"], args].concat());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn messages_of_each_kind_are_shown_and_not_taken() {
    let name = Name::new();
    let segment = Segment::options().size(1 << 18).create(&name).unwrap();
    let queue = segment.channel::<Tick>("queue").capacity(8);
    let (to, from) = (queue.sender().unwrap(), queue.receiver().unwrap());
    let single = segment.channel::<u32>("single").capacity(8).spsc();
    let (to_one, from_one) = (single.sender().unwrap(), single.receiver().unwrap());
    let blocks = segment.bytes("blocks").capacity(8, 500);
    let (to_blocks, from_blocks) = (blocks.sender().unwrap(), blocks.receiver().unwrap());
    let records = segment.bytes("records").capacity(8, 24).spsc();
    let (to_records, from_records) = (records.sender().unwrap(), records.receiver().unwrap());
    let all = segment.broadcast::<u32>("all").capacity(8).publisher().unwrap();
    let lines = segment.broadcast_bytes("lines").capacity(8, 50).publisher().unwrap();
    // Beyond the first lap, and past the padding at the end of it.
    for n in 0..30_u8 {
        to.send(Tick { id: n.into(), price: 0.5 }).unwrap();
        to_one.send(n.into()).unwrap();
        to_blocks.send(&vec![n; if n % 2 == 0 { 8 } else { 500 }]).unwrap();
        to_records.send(&vec![n; (n % 24).into()]).unwrap();
        all.send(n.into()).unwrap();
        lines.send(&[n; 3]).unwrap();
        if n >= 3 {
            assert_eq!(from.recv().unwrap().id, u64::from(n) - 3);
            from_one.recv().unwrap();
            from_blocks.recv(&mut Vec::new()).unwrap();
            from_records.recv(&mut Vec::new()).unwrap();
        }
    }
    let ids: Vec<u64> =
        rows(&[&name, "queue"]).iter().map(|row| row["fields"]["id"].as_u64().unwrap()).collect();
    assert_eq!(ids, [27, 28, 29]);
    let found = rows(&[&name, "single"]);
    assert_eq!(found[2]["fields"], 29);
    assert_eq!((found.len(), &found[0]["position"]), (3, &27.into()));
    let found = rows(&[&name, "blocks", "--bytes", "2"]);
    assert_eq!((&found[0]["hex"], &found[0]["length"]), (&"1b1b".into(), &500.into()));
    assert_eq!((&found[1]["hex"], &found[1]["length"]), (&"1c1c".into(), &8.into()));
    let found = rows(&[&name, "records"]);
    assert_eq!(found.len(), 3);
    assert_eq!((&found[0]["hex"], &found[0]["length"]), (&"1b1b1b".into(), &3.into()));
    let found = rows(&[&name, "all", "--count", "2"]);
    assert_eq!(found.len(), 2);
    let found = rows(&[&name, "lines"]);
    assert_eq!((&found.last().unwrap()["hex"], found.len() >= 8), (&"1d1d1d".into(), true));

    let said = text(&run(&["tap", &name, "queue", "--count", "1"]).stdout);
    assert!(said.starts_with("27, 16 bytes: id 27, price 0.5\n  000000  1b 00 00"), "{said}");
    assert_eq!((segment.participants().len(), from.recv().unwrap().id), (1, 27));
}

#[test]
fn what_comes_is_followed_until_a_signal_or_the_end() {
    let name = Name::new();
    let segment = Segment::options().size(1 << 16).create(&name).unwrap();
    let all = segment.broadcast::<u32>("all").capacity(4).publisher().unwrap();
    let slow = ["tap", &*name, "all", "--follow", "--rate", "1", "--json", "--count", "2"];
    let tap = Running::start(&["tap", &name, "all", "--follow", "--quiet"]);
    let slow = Running::start(&slow);
    for n in 0..200 {
        all.send(n).unwrap();
    }
    // It had 200 messages to show, of which a few are retained, and two seconds.
    let output = slow.end();
    assert_eq!((output.status.code(), text(&output.stdout).lines().count()), (Some(0), 2));
    tap.signal(Signal::SIGINT);
    let output = tap.end();
    assert_eq!(output.status.code(), Some(130));
    wait_until(|| segment.participants().len() == 1);
}

#[test]
fn what_cannot_be_tapped_is_said() {
    let name = Name::new();
    let segment = Segment::options().size(1 << 16).create(&name).unwrap();
    let _server = segment.service::<u32, u32>("calls").capacity(2).server().unwrap();
    assert_refused(&["tap", &name, "calls"], "is a service, whose calls are not shown");
    assert_refused(&["tap", &name, "nothing"], "there is no channel nothing of segment");
    assert_refused(&["tap", "no/such", "all"], "there is no channel all of segment no/such");
}
