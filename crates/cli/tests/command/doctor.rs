//! `tombolo doctor` where nothing gets in the way, and where much does.

use std::process::Command;

use serde_json::Value;
use tombolo::Segment;

use crate::command::{run, text};
use crate::common::{Name, in_own_namespace, set_limit, tables};

/// The rows that say that something will get in the way: the matter and the remedy.
fn in_the_way(args: &[&str]) -> Vec<(String, String)> {
    let output = run(&[&["doctor", "--json"], args].concat());
    let rows: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let of = |row: &Value, field: &str| row[field].as_str().unwrap().to_owned();
    let bad: Vec<_> = rows
        .iter()
        .filter(|row| row["ok"] == false)
        .map(|row| (of(row, "check"), of(row, "remedy")))
        .collect();
    assert_eq!(output.status.code(), Some(i32::from(!bad.is_empty())), "{rows:?}");
    bad
}

/// What concerns System V objects, which alone this namespace changes.
fn of_limits(args: &[&str]) -> Vec<(String, String)> {
    let mut bad = in_the_way(args);
    bad.retain(|(check, _)| !check.contains("control group") && check != "membarrier");
    bad
}

#[test]
fn each_limit_in_the_way_comes_with_the_command_that_mends_it() {
    in_own_namespace(|| {
        assert_eq!(of_limits(&[]), []);
        set_limit("sem", "50 100 10 1");
        set_limit("shmmax", "1048576");
        set_limit("shmall", "16");
        set_limit("shm_rmid_forced", "1");
        let bad = of_limits(&[]);
        let named = |check: &str| bad.iter().any(|(name, _)| name == check);
        for check in [
            "semaphores of a set",
            "semaphores of all sets",
            "operations of a semop",
            "bytes of a segment",
            "pages of all segments",
            "named segments last",
            "a segment as asked for",
        ] {
            assert!(named(check), "{check}: {bad:?}");
        }
        for (_, remedy) in bad.iter().filter(|(_, remedy)| remedy.starts_with("sysctl")) {
            let done = Command::new("sh").args(["-c", remedy]).output().unwrap();
            assert!(done.status.success(), "{remedy}: {}", text(&done.stderr));
        }
        assert_eq!(of_limits(&[]), []);
        assert_eq!(tables(), (0, 0));
    });
}

#[test]
fn limits_that_administrators_commonly_set_are_enough_for_a_segment_of_the_default_size() {
    in_own_namespace(|| {
        set_limit("sem", "250 32000 32 128");
        assert_eq!(of_limits(&[]), []);
        let bad = of_limits(&["--participants", "500"]);
        assert!(bad.iter().any(|(check, _)| check == "operations of a semop"), "{bad:?}");
    });
}

#[test]
fn what_nobody_holds_is_named_and_its_remedy_removes_it() {
    in_own_namespace(|| {
        let name = Name::new();
        drop(Segment::options().size(1 << 16).create(&name).unwrap());
        assert_eq!(
            of_limits(&["--participants", "3", "--channels", "1", "--size", "65536"]),
            [("nothing is left behind".to_owned(), "tombolo rm --orphans".to_owned())],
        );
        assert_eq!(run(&["rm", "--orphans"]).status.code(), Some(0));
        assert_eq!(of_limits(&[]), []);
    });
}

#[test]
fn more_than_the_kernel_has_is_in_the_way() {
    in_own_namespace(|| {
        let bad = of_limits(&["--size", "4503599627370496"]);
        assert!(bad.iter().any(|(check, _)| check == "a segment as asked for"), "{bad:?}");
        assert_eq!(tables(), (0, 0));
    });
}
