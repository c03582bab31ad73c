//! The demo of two hosts.

use serde_json::Value;

use crate::{in_own_namespace, run, text};

#[test]
fn the_demo_kills_bridges_and_accounts_for_every_message() {
    in_own_namespace(|| {
        let output = run(&["demo", "--seconds", "3", "--kill-rate", "2", "--json", "--quiet"]);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let found: Value = serde_json::from_slice(&output.stdout).unwrap();
        for field in ["lost", "duplicated", "reordered", "corrupt"] {
            assert_eq!(found[field], 0, "{found}");
        }
        assert!(found["kills"].as_u64().unwrap() > 1, "{found}");
        assert!(found["messages"].as_u64().unwrap() > 0, "{found}");
        assert!(found["latency_ns"]["p50"].as_u64().unwrap() > 0, "{found}");
    });
}
