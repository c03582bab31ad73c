//! The measurement of what bridges add.

use serde_json::Value;

use crate::{in_own_namespace, run, text};

#[test]
fn each_case_of_the_measurement_gets_messages_through() {
    in_own_namespace(|| {
        for size in ["16", "1048576"] {
            let args =
                ["bench", "--seconds", "0.1", "--rounds", "1", "--size", size, "--rate", "200"];
            let output = run(&[&args[..], &["--json", "--quiet"]].concat());
            assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
            let lines: Vec<Value> = text(&output.stdout)
                .lines()
                .map(|line| serde_json::from_str(line).unwrap())
                .collect();
            for subject in ["zenoh alone", "two bridges"] {
                for metric in ["messages", "p50"] {
                    let is = |line: &&Value| line["subject"] == subject && line["metric"] == metric;
                    let line = lines.iter().find(is).unwrap_or_else(|| panic!("{lines:?}"));
                    assert!(line["median"].as_f64().unwrap() > 0.0, "{line}");
                }
            }
        }
    });
}
