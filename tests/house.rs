//! The rules of the architecture, checked by reading the source.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

#[path = "house/circles.rs"]
mod circles;
#[path = "house/pages.rs"]
mod pages;
#[path = "house/parts.rs"]
mod parts;

/// A line of code, without comments and tests.
struct Line {
    file: String,
    number: usize,
    code: String,
}

fn files(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

/// The library's code.
fn library() -> Vec<Line> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    files(&root, &mut paths);
    let mut lines = Vec::new();
    for path in paths {
        let file = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
        let text = fs::read_to_string(&path).unwrap();
        // Tests are the last thing in a file.
        let code = text.split("#[cfg(test)]").next().unwrap();
        for (number, line) in (1..).zip(code.lines()) {
            let code = line.split("//").next().unwrap().trim().to_owned();
            if !code.is_empty() {
                lines.push(Line { file: file.clone(), number, code });
            }
        }
    }
    assert!(lines.len() > 2_000, "the source was not found");
    lines
}

/// Fails with all lines that `forbidden` objects to.
#[track_caller]
fn none(lines: &[Line], what: &str, forbidden: impl Fn(&Line) -> bool) {
    let found: Vec<String> = lines
        .iter()
        .filter(|line| forbidden(line))
        .map(|line| format!("src/{}:{}: {}", line.file, line.number, line.code))
        .collect();
    assert!(found.is_empty(), "{what}:\n{}", found.join("\n"));
}

#[test]
fn atomics_of_segments_come_through_one_door() {
    let lines = library();
    none(&lines, "core's atomics outside sync.rs", |line| {
        let named = line.code.contains("sync::atomic");
        match line.file.split('/').next().unwrap() {
            "sync" | "sync.rs" => false,
            // Its own, never in a segment.
            "sys" => named && line.code.contains("AtomicU64"),
            "wait" => named && line.code.contains("Atomic"),
            _ => named,
        }
    });
    // Over several lines, too.
    none(&lines, "AtomicU64 from elsewhere", |line| {
        let floor = line.file.split('/').next().unwrap();
        line.code.contains("AtomicU64") && matches!(floor, "sys" | "wait")
    });
}

#[test]
fn the_rings_know_nothing_but_sync() {
    let lines = library();
    none(&lines, "an import that a ring may not have", |line| {
        let foreign = ["std::", "libc::", "nix::", "crossbeam", "bytemuck", "fnv::", "thiserror"];
        line.file.starts_with("ring/")
            && (foreign.iter().any(|name| line.code.contains(name))
                || line.code.replace("crate::sync::", "").contains("crate::"))
    });
}

#[test]
fn system_calls_are_made_by_sys_alone() {
    let lines = library();
    none(&lines, "libc or nix outside sys", |line| {
        let named = ["libc::", "nix::", "std::fs", "std::process", "extern \"C\""];
        !line.file.starts_with("sys/") && named.iter().any(|name| line.code.contains(name))
    });
}

#[test]
fn sys_and_sync_rest_on_nothing() {
    let lines = library();
    none(&lines, "an arrow that runs upward", |line| {
        let above: &[&str] = match line.file.split('/').next().unwrap() {
            "sys" | "sync" | "sync.rs" => {
                &["ring", "storage", "kinds", "segment", "wait", "channel", "control", "error"]
            }
            "ring" => {
                &["sys", "storage", "kinds", "segment", "wait", "channel", "control", "error"]
            }
            "storage" => &["kinds", "segment", "wait", "channel", "control", "error"],
            "kinds" => &["segment", "channel", "control", "error"],
            "error" => &["kinds", "segment", "wait", "channel", "control"],
            "segment" => &["channel", "control"],
            "control" => &["channel"],
            "wait" => &["storage", "kinds", "segment", "channel", "control", "error"],
            _ => &[],
        };
        above.iter().any(|floor| line.code.contains(&format!("crate::{floor}")))
    });
}

#[test]
fn no_files_use_each_other_in_a_circle() {
    let mut files: BTreeMap<String, String> = BTreeMap::new();
    for line in library() {
        let code = files.entry(line.file).or_default();
        code.push_str(&line.code);
        code.push('\n');
    }
    let library = circles::Library::new(&files);
    let uses = library.uses();
    assert!(uses.values().map(BTreeMap::len).sum::<usize>() > 300, "the uses were not found");
    let circles = library.circles();
    let told: Vec<String> = circles
        .iter()
        .map(|circle| {
            let edges = circle.iter().flat_map(|from| {
                let to = uses[from].iter().filter(|(to, _)| circle.contains(*to));
                to.map(move |(to, name)| format!("  {from} uses {to} ({name})\n"))
            });
            format!("{} files:\n{}", circle.len(), edges.collect::<String>())
        })
        .collect();
    assert!(told.is_empty(), "{} circles:\n{}", told.len(), told.join("\n"));
}

/// Above what has more than this, a comment says why: a function its parameters,
/// a type its fields.
const MOST: [(&str, usize); 2] = [("parameters", 5), ("fields", 12)];

#[test]
fn functions_and_types_are_small_or_say_why_not() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    files(&root, &mut paths);
    let (mut counted, mut told) = ([0; 2], Vec::new());
    for path in paths {
        let file = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
        let text = fs::read_to_string(&path).unwrap();
        let text = text.split("#[cfg(test)]").next().unwrap();
        let lines: Vec<&str> = text.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            let [parameters, fields] =
                [parts::parameters(&lines[at..]), parts::fields(&lines[at..])];
            for (n, count) in [parameters, fields].into_iter().enumerate() {
                let (Some(count), (what, most)) = (count, MOST[n]) else { continue };
                counted[n] += 1;
                let above = lines[..at].iter().rev().map(|line| line.trim());
                let mut above =
                    above.take_while(|line| line.starts_with("//") || line.starts_with('#'));
                let reason = format!("// More {what} than {most}: ");
                let says = above.any(|line| line.starts_with(&reason));
                if says != (count > most) {
                    told.push(format!("src/{file}:{}: {count} {what}: {}", at + 1, line.trim()));
                }
            }
        }
    }
    assert!(counted[0] > 1_000 && counted[1] > 60, "the source was not understood: {counted:?}");
    let advice = "split it, or write above it `// More … than …: ` and the reason";
    assert!(told.is_empty(), "{advice}:\n{}", told.join("\n"));
}

#[test]
fn the_library_never_panics_on_purpose() {
    // In a constant, where a plan that was checked would have to break, or
    // where the caller has mixed two segments up.
    let allowed = [
        ("segment/trust.rs", "panic!(\"the peers of another segment are trusted"),
        ("segment/mapped.rs", "unreachable!(\"the plan was checked"),
    ];
    let lines = library();
    none(&lines, "a panic", |line| {
        let panics = [
            ".unwrap()",
            ".expect(",
            "panic!(",
            "todo!(",
            "unimplemented!(",
            "unreachable!(",
            "dbg!(",
            " assert!(",
            " assert_eq!(",
        ];
        // Constants are checked when the library is built.
        let constant = line.code.starts_with("const ") || line.code.starts_with("assert!(");
        let excused =
            allowed.iter().any(|(file, code)| line.file == *file && line.code.contains(code));
        !constant && !excused && panics.iter().any(|panic| line.code.contains(panic))
    });
    for (file, code) in allowed {
        let there = lines.iter().any(|line| line.file == file && line.code.contains(code));
        assert!(there, "no longer to be excused: {file} {code}");
    }
}

#[test]
fn nothing_is_decided_by_a_clock() {
    let lines = library();
    none(&lines, "the wall clock", |line| {
        let named = ["SystemTime", "UNIX_EPOCH", "CLOCK_REALTIME", "gettimeofday", "libc::time("];
        named.iter().any(|name| line.code.contains(name))
    });
    // A caller's deadline, how long to wait for the lease, how long to spin;
    // when a store is seen, whatever the processor; and how long who was woken
    // stays counted.
    none(&lines, "a clock that is not a deadline", |line| {
        let deadline = ["timeout", "deadline", "+ SEEN", "+ AT_ONCE"]
            .iter()
            .any(|word| line.code.contains(word));
        let asked = line.file == "wait/mod.rs" && line.code == "Instant::now()";
        line.code.contains("Instant::now") && !deadline && !asked && line.file != "wait/spin.rs"
    });
    // Until a caller's deadline, where the kernel has no call that does.
    let pauses = |line: &Line| line.file == "sys/backoff.rs" && line.code.contains("ppoll");
    // Behind handles that are polled or awaited (`channel/reactor.rs`): it sleeps
    // as a blocked call does, and no clock wakes it.
    let polled =
        |line: &Line| line.file == "sys/thread.rs" && line.code.contains("thread::Builder");
    // In place of a barrier that a sandbox refuses.
    let fences = |line: &Line| line.file == "wait/mod.rs" && line.code.contains("sleep(SEEN)");
    // Between two readings of an audit, which takes no part in the segment.
    let rereads =
        |line: &Line| line.file == "segment/check/mod.rs" && line.code.contains("sleep(PAUSE)");
    // Until those who only look at a segment have gone, which nobody is told of.
    let looks = |line: &Line| {
        line.file == "segment/outside/holders.rs" && line.code.contains("sleep(LOOK)")
    };
    // The step of a waiting session, and of a set's, in which a thread may block; a ring has no
    // clock.
    let session = |line: &Line| {
        ["ring/wait/session.rs", "ring/wait/set.rs"].contains(&line.file.as_str())
            && line.code.contains("sleep(")
    };
    none(&lines, "something that runs by itself", |line| {
        // Names that only end like the call.
        let code = line.code.replace("_sleep(", "(");
        let own = ["thread::spawn", "thread::Builder", "sleep(", "park_timeout", "timer", "ppoll"];
        !session(line)
            && !pauses(line)
            && !polled(line)
            && !fences(line)
            && !rereads(line)
            && !looks(line)
            && own.iter().any(|name| code.contains(name))
    });
}

#[test]
fn the_tests_that_documents_name_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = ["docs/crash-semantics.md", "docs/verification.md"]
        .map(|document| fs::read_to_string(root.join(document)).unwrap())
        .concat();
    let mut all = Vec::new();
    for folder in ["tests", "crates/cli/tests", "crates/bench/tests"] {
        files(&root.join(folder), &mut all);
    }
    let mut named = 0;
    // `death/descent.rs::a_test`, with as much of the path as is wanted.
    for (file, test) in text.split('`').filter_map(|code| code.split_once(".rs::")) {
        let file = format!("{file}.rs");
        let has = |path: &&PathBuf| {
            path.ends_with(&file)
                && fs::read_to_string(path).unwrap().contains(&format!("fn {test}("))
        };
        assert!(all.iter().any(|path| has(&path)), "no {file} has a test {test}");
        named += 1;
    }
    assert!(named > 10, "only {named} tests are named");
}

#[test]
fn a_program_that_links_the_library_gets_nothing_of_the_command() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    let section = |name: &str| {
        let (_, rest) = manifest.split_once(&format!("\n[{name}]\n")).unwrap();
        let lines = rest.lines().take_while(|line| !line.starts_with('['));
        let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    // All of them are in every program that links the library.
    let needed = [
        "bytemuck",
        "crossbeam-utils",
        "fnv",
        // Only with the features `async` and `tracing`.
        "futures-core",
        "futures-sink",
        "libc",
        "memoffset",
        "nix",
        "thiserror",
        "tombolo-derive",
        "tracing",
    ];
    let workspace = needed.map(|name| {
        if name.starts_with("futures") || name == "tracing" {
            return format!("{name} = {{ workspace = true, optional = true }}");
        }
        format!("{name}.workspace = true")
    });
    assert_eq!(section("dependencies"), workspace);
    let features = [
        r#"async = ["dep:futures-core", "dep:futures-sink"]"#,
        "crash-points = []",
        r#"tracing = ["dep:tracing"]"#,
    ];
    assert_eq!(section("features"), features);
}
