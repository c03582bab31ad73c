//! The configuration: by file and by flags.

use serde_json::{Value, json};
use tombolo::Segment;

use crate::{Folder, assert_refused, in_own_namespace, run, text};

/// A channel that is right.
const RIGHT: &str = r#"{ segment: "market", channel: "prices", direction: "export" }"#;

/// A file with this list of channels.
fn with(channels: &str) -> String {
    format!(
        "{{\n  engine: {{ listen: \"tcp/127.0.0.1:0\" }},\n  channels: [\n{channels}\n  ],\n}}\n"
    )
}

/// What `--check --json` says of it.
fn checked(text_of_it: &str) -> Value {
    let folder = Folder::new();
    let file = folder.write("b.json5", text_of_it);
    let output = run(&["bridge", "--config", file.to_str().unwrap(), "--check", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_file_says_everything_that_a_bridge_does_and_what_is_left_out_is_as_usual() {
    let found = checked(
        r#"{
            // As its engine's file, with comments and without quotes.
            name: "edge-1",
            engine: { listen: "tcp/0.0.0.0:7447", connect: ["tcp/a:1", "tls/[::1]:2"], discovery: true },
            lease_seconds: 5,
            channels: [
                { segment: "market", channel: "prices", direction: "export", mode: "reliable" },
                { segment: "a/b", channel: "jobs", direction: "import", key: "plant/jobs",
                  credit: 7, credit_bytes: 8, batch_bytes: 0, create: false },
            ],
        }"#,
    );
    let usual = json!({
        "segment": "market", "channel": "prices", "direction": "export",
        "key": "tombolo/market/prices", "mode": "reliable", "credit": 1024,
        "credit_bytes": 64 << 20, "batch_bytes": 48 << 10, "create": true, "found": null,
    });
    let said = json!({
        "segment": "a/b", "channel": "jobs", "direction": "import",
        "key": "plant/jobs", "mode": "lossy", "credit": 7, "credit_bytes": 8, "batch_bytes": 0,
        "create": false, "found": null,
    });
    assert_eq!(
        found,
        json!({
            "name": "edge-1", "listen": ["tcp/0.0.0.0:7447"], "connect": ["tcp/a:1", "tls/[::1]:2"],
            "discovery": true, "engine_config": null, "lease_seconds": 5.0,
            "channels": [usual, said],
        })
    );
}

#[test]
fn each_error_is_one_line_that_names_the_file_the_line_and_the_key() {
    let folder = Folder::new();
    folder.write("broken.json5", "{ mode: \"peers\" }");
    let cases: Vec<(String, &str)> = vec![
        ("".into(), ": this is no JSON5"),
        ("{\n  channels: [\n".into(), "b.json5:3: this is no JSON5"),
        ("[]".into(), "b.json5:1: "),
        ("{}".into(), "b.json5:1: `channels` lacks"),
        ("{ channels: [] }".into(), "`channels` lacks, or names no channel"),
        (format!("{{ channels: [{RIGHT}] }}"), "b.json5:1: `engine` meets nobody"),
        (
            "{\n\n  chanels: [] }".into(),
            "b.json5:3: `chanels` is no key that is known; did you mean `channels`?",
        ),
        ("{ colour: 1 }".into(), "`colour` is no key that is known; there are `name`, `engine`"),
        ("{ name: 5 }".into(), "b.json5:1: `name` is 5, and no text"),
        ("{ name: \"\" }".into(), "`name` is empty"),
        ("{ name: \"a b\" }".into(), "`name` is \"a b\", and shall be"),
        ("{\n name: \"a\",\n name: \"b\" }".into(), "b.json5:3: `name` is there twice"),
        ("{ lease_seconds: 0 }".into(), "`lease_seconds` is 0, and no whole number from 1 to"),
        ("{ lease_seconds: 1.5 }".into(), "`lease_seconds` is 1.5, and no whole number"),
        ("{ lease_seconds: -1 }".into(), "`lease_seconds` is -1, and no whole number"),
        ("{ channels: {} }".into(), "`channels` is a table, and shall be none"),
        ("{ channels: 5 }".into(), "`channels` shall be a list"),
        ("{ channels: [5] }".into(), "`channels[0]`"),
        ("{ engine: [] }".into(), "`engine` is a list, and shall be none"),
        ("{ engine: null }".into(), "`engine` shall be a table"),
        (
            "{ engine: {\n listn: [] } }".into(),
            "b.json5:2: `engine.listn` is no key that is known; did you mean `listen`?",
        ),
        (
            "{ engine: { listen: [\n 5 ] } }".into(),
            "b.json5:2: `engine.listen[0]` is 5, and no text",
        ),
        ("{ engine: { listen: [[\"tcp/a:1\"]] } }".into(), "`engine.listen[0]`"),
        ("{ engine: { discovery: [true] } }".into(), "`engine.discovery` is a list, where"),
        ("{ engine: { listen: { a: 1 } } }".into(), "`engine.listen` is a table, where"),
        (
            "{ engine: { connect: \"10.0.0.1\" } }".into(),
            "`engine.connect` is \"10.0.0.1\", and no endpoint",
        ),
        ("{ engine: { connect: \"tcp/10.0.0.1\" } }".into(), "which has no port"),
        ("{ engine: { connect: \"tpc/10.0.0.1:1\" } }".into(), "did you mean `tcp`?"),
        (
            "{ engine: { connect: \"quic/10.0.0.1:1\" } }".into(),
            "whose protocol this build does not have; there are `tcp`, `tls`",
        ),
        (
            "{ engine: { discovery: \"yes\" } }".into(),
            "`engine.discovery` is \"yes\", and neither true nor false",
        ),
        ("{ engine: { config: \"none.json5\" } }".into(), "none.json5, which cannot be read"),
        ("{ engine: { config: \"broken.json5\" } }".into(), "broken.json5, which Zenoh refuses"),
        (
            with("{ channel: \"a\", direction: \"export\" }"),
            "b.json5:4: `channels[0]` lacks `segment`",
        ),
        (with("{ segment: \"a\", direction: \"export\" }"), "`channels[0]` lacks `channel`"),
        (with("{ segment: \"a\", channel: \"b\" }"), "`channels[0]` lacks `direction`"),
        (
            with(&format!("{RIGHT},\n{{ segment: \"a\",\n chanel: \"b\" }}")),
            "b.json5:6: `channels[1].chanel` is no key that is known; did you mean `channel`?",
        ),
        (with("{ segment: \"@5\" }"), "`channels[0].segment` is no name of a segment"),
        (
            with("{ direction: \"exprt\" }"),
            "`channels[0].direction` is \"exprt\", which is not known; did you mean `export`?",
        ),
        (
            with("{ mode: \"fast\" }"),
            "`channels[0].mode` is \"fast\", which is not known; there are `lossy`, `reliable`",
        ),
        (with("{ key: \"a/*\" }"), "`channels[0].key` is of no use"),
        (with("{ key: \"/a\" }"), "`channels[0].key` is of no use"),
        (with("{ credit: 0 }"), "`channels[0].credit` is 0, and no whole number from 1 to"),
        (with("{ credit: \"5\" }"), "`channels[0].credit` is \"5\", and no whole number"),
        (with("{ credit_bytes: 0 }"), "`channels[0].credit_bytes` is 0"),
        (with("{ batch_bytes: 1e12 }"), "`channels[0].batch_bytes` is"),
        (
            with("{ segment: \"a\", channel: \"b\", direction: \"both\", mode: \"reliable\" }"),
            "`channels[0]` carries b reliably in both directions",
        ),
        (
            with(&format!(
                "{RIGHT},\n{{ segment: \"a\", channel: \"b\", direction: \"export\", \
                 key: \"tombolo/market/prices\" }}"
            )),
            "`channels[1]` has the key of an earlier one",
        ),
        (with("{ create: 1 }"), "`channels[0].create` is 1, and neither true nor false"),
        (
            with("{ segment: \"a\", channel: \"b\", direction: \"import\", mode: \"lossy\" }"),
            "`channels[0]` has `mode`, which",
        ),
        (
            with("{ segment: \"a\", channel: \"b*\", direction: \"import\" }"),
            "`channels[0]` imports `b*`, which is a pattern",
        ),
        (
            with("{ segment: \"a\", channel: \"b*\", direction: \"export\", key: \"k\" }"),
            "has one `key` for all",
        ),
        (
            with(&format!("{RIGHT},\n{RIGHT}")),
            "b.json5:5: `channels[1]` names market/prices, as an earlier one does",
        ),
    ];
    for (config, said) in cases {
        let file = folder.write("b.json5", &config);
        println!("{config}");
        assert_refused(&["bridge", "--config", file.to_str().unwrap(), "--check"], said);
        assert_refused(&["bridge", "--config", file.to_str().unwrap()], "b.json5");
    }
    assert_refused(&["bridge", "--config", "/nowhere/b.json5"], "/nowhere/b.json5: cannot read it");
}

#[test]
fn flags_say_the_same_for_one_segment_and_are_checked_too() {
    let right = ["bridge", "market", "--export", "prices", "--listen", "tcp/127.0.0.1:0"];
    let output = run(&[&right[..], &["--check"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let said = text(&output.stdout);
    assert!(
        said.contains(
            "  exports market/prices (not there yet: waits for it) as tombolo/market/prices"
        ),
        "{said}"
    );
    for (args, said) in [
        (&["market", "--listen", "tcp/a:1"][..], "no channel is named"),
        (&["market", "--export", "a"], "it meets nobody"),
        (&["market", "--export", "a", "--listen", "tpc/a:1"], "--listen is \"tpc/a:1\""),
        (
            &["market", "--export", "a", "--connect", "tcp/a"],
            "--connect is \"tcp/a\", which has no port",
        ),
        (&["@5", "--export", "a", "--listen", "tcp/a:1"], "NAME is no name of a segment"),
        (
            &["market", "--export", "a", "--import", "a", "--listen", "tcp/a:1"],
            "--import names market/a, as an earlier one does",
        ),
        (
            &["market", "--import", "a*", "--listen", "tcp/a:1"],
            "--import imports `a*`, which is a pattern",
        ),
        (
            &["market", "--export", "a", "--export", "b", "--key", "k", "--listen", "tcp/a:1"],
            "--key is for one channel",
        ),
        (&["market", "--export", "a", "--key", "k/**", "--listen", "tcp/a:1"], "--key"),
        (
            &["market", "--export", "a", "--engine", "/nowhere", "--listen", "tcp/a:1"],
            "--engine is /nowhere, which cannot be read",
        ),
        (&["market", "--export", "a", "--name", "a/b", "--listen", "tcp/a:1"], "--name is \"a/b\""),
        (&["market", "--config", "b.json5"], "--config"),
        (&["--export", "a"], "NAME"),
    ] {
        assert_refused(&[&["bridge"], args].concat(), said);
    }
}

#[test]
fn a_pattern_stands_for_the_channels_that_there_are() {
    in_own_namespace(|| {
        let pattern = with(r#"{ segment: "market", channel: "tick*", direction: "export" }"#);
        let folder = Folder::new();
        let file = folder.write("b.json5", &pattern);
        let refused = |said| assert_refused(&["bridge", "--config", file.to_str().unwrap()], said);
        refused("there is no segment market to find `tick*` in");
        let segment = Segment::options().size(1 << 20).create("market").unwrap();
        let other = segment.channel::<u64>("other").capacity(8).lasting().sender().unwrap();
        refused("no channel of segment market matches `tick*`");
        for name in ["ticks", "tick-5"] {
            drop(segment.broadcast::<u64>(name).capacity(8).lasting().publisher().unwrap());
        }
        let found = checked(&pattern);
        let channels = found["channels"].as_array().unwrap();
        let mut names: Vec<&str> =
            channels.iter().map(|it| it["channel"].as_str().unwrap()).collect();
        names.sort_unstable();
        assert_eq!(names, ["tick-5", "ticks"]);
        assert_eq!(channels[0]["found"], "broadcast of u64");
        drop(other);
        segment.remove().unwrap();
    });
}

#[test]
fn each_example_of_the_help_is_a_plan() {
    let folder = Folder::new();
    folder.write("bridge.json5", &with(RIGHT));
    let help = text(&run(&["bridge", "--help"]).stdout);
    let examples = help.lines().filter_map(|line| line.strip_prefix("  tombolo bridge "));
    let mut count = 0;
    for example in examples {
        let mut command = crate::command(&["bridge", "--check"]);
        let words = example.split(' ').filter(|word| *word != "--check");
        let output = command.args(words).current_dir(&folder.0).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{example}: {}", text(&output.stderr));
        count += 1;
    }
    assert!(count >= 3, "{help}");
}
