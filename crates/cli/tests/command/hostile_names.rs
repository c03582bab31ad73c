//! Names that a peer with write access has overwritten: the command's output moves no
//! cursor, and its JSON contains the names as they are.

use crate::command;
use crate::common;

use serde_json::Value;
use tombolo::Segment;

use command::{run, text};
use common::{Name, Words, own_tables};

/// Clears the screen in two ways, turns the line round, ends it, rubs it out.
const HOSTILE: &str = "\u{1b}[2J\u{9b}2J\u{202e}\n\r\u{7f}\"'";

/// In words of a segment of 4 participants: the name, and of the first
/// channel the name and the schema. Each is a length, and then bytes.
const NAMES: [usize; 3] = [128 / 8, (17_536 + 128) / 8, (17_536 + 200) / 8];

#[track_caller]
fn assert_harmless(said: &str) {
    let harmful = |c: &char| *c != '\n' && c.escape_debug().len() > 1 && !"\"'\\".contains(*c);
    assert_eq!(said.chars().find(harmful), None, "{said:?}");
}

#[test]
fn names_that_were_written_over_reach_no_terminal() {
    // Orphans of others are none of this test's business.
    if !own_tables() {
        return;
    }
    let name = Name::new();
    let segment = Segment::options().size(1 << 16).participants(4).create(&name).unwrap();
    let id = segment.id();
    drop(segment.channel::<u64>("numbers").capacity(8).sender().unwrap());
    let words = Words::behind(&segment);
    for at in NAMES {
        words.put(at, HOSTILE.len() as u64);
        for (n, chunk) in HOSTILE.as_bytes().chunks(8).enumerate() {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            words.put(at + 1 + n, u64::from_le_bytes(word));
        }
    }

    let table = text(&run(&["ls"]).stdout);
    assert_harmless(&table);
    let shown = r#"\u{1b}[2J\u{9b}2J\u{202e}\n\r\u{7f}"'"#;
    assert_eq!(table.matches(shown).count(), NAMES.len(), "{table}");
    assert_eq!(table.lines().count(), 4, "{table}");

    for format in [&[] as &[&str], &["--json"]] {
        let seen = run(&[&["top", "--once", "--interval", "0.01"], format].concat());
        assert_harmless(&text(&seen.stdout));
    }
    assert_harmless(&text(&run(&["metrics", "--once"]).stdout));

    let listed = text(&run(&["ls", "--json"]).stdout);
    assert_harmless(&listed);
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let (found, channel) = (&listed[0], &listed[0]["channels"][0]);
    for said in [&found["name"], &channel["name"], &channel["element"]] {
        assert_eq!(said, HOSTILE);
    }

    drop((segment, words));
    for (args, began) in [
        (&["rm", "--orphans", "--dry-run"] as &[_], "would remove"),
        (&["rm", "--orphans"], "removed"),
    ] {
        let said = text(&run(args).stdout);
        assert_harmless(&said);
        assert!(said.starts_with(&format!("{began} segment {shown} (id {id}")), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}
