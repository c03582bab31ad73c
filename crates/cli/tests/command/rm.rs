//! `tombolo rm` as a shell sees it.

use tombolo::Segment;

use crate::command::{Tables, run, text};
use crate::common::{Name, own_tables, tables};
use crate::place::Place;

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
fn rm_removes_by_name_and_names_what_is_not_there() {
    let places = [Place::new(), Place::new()];
    let segments = places.each_ref().map(|place| Segment::create(&place.name).unwrap());
    let output = run(&["rm", &places[0].name, "not-there", &places[1].name]);
    assert_eq!(output.status.code(), Some(2));
    let said = text(&output.stderr);
    assert!(said.contains("there is no segment not-there"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    for place in &places {
        place.assert_gone();
    }
    drop(segments);
    for misuse in [&["rm"] as &[_], &["rm", "--dry-run"], &["rm", "a", "--orphans"]] {
        assert_eq!(run(misuse).status.code(), Some(2), "{misuse:?}");
    }
}

#[test]
fn rm_orphans_removes_what_nobody_holds_and_nothing_else() {
    // Orphans of others are none of this test's business.
    if !own_tables() {
        return;
    }
    let listed = run(&["ls", "--json"]);
    assert_eq!(listed.stdout, b"[]\n");
    assert_eq!(run(&["ls"]).status.code(), Some(0));
    assert_eq!(run(&["ls"]).stdout, b"");
    assert_eq!(run(&["rm", "--orphans"]).status.code(), Some(0));

    let (dead, alive) = (Place::new(), Place::new());
    let input = dead.write("in", b"in vain");
    let sender = dead.send(&input, &[]);
    let receiver = alive.recv("out", &[]);
    dead.wait_for(1, 0);
    alive.wait_for(0, 1);
    sender.kill();
    for (args, began) in [
        (&["rm", "--orphans", "--dry-run"] as &[_], "would remove"),
        (&["rm", "--orphans"], "removed"),
    ] {
        assert!(dead.is_listed());
        let output = run(args);
        let said = text(&output.stdout);
        assert_eq!(output.status.code(), Some(0));
        assert!(said.starts_with(&format!("{began} segment {}", dead.name)), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
    dead.assert_gone();
    assert!(alive.is_listed());
    alive.send(&input.with_file_name("in"), &[]).ends(0, "");
    receiver.ends(0, "");
    assert_eq!(tables(), (0, 0), "segments and sets are left");
}
