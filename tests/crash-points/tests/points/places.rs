//! The places in the source that can be points.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The beginnings of a step.
const STEPS: [&str; 9] = [
    ".load(",
    ".store(",
    ".fetch_add(",
    ".fetch_or(",
    ".fetch_max(",
    ".fetch_update(",
    ".compare_exchange(",
    ".semop(",
    "crash::point(",
];

fn files(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, into);
        } else {
            into.push(path);
        }
    }
}

/// A place: `ring/spsc.rs:182:21`.
pub(crate) fn place(point: &str) -> &str {
    point.split(' ').next().unwrap()
}

/// Every place in the source where a step begins, and its line.
pub(crate) fn all() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../src");
    let mut paths = Vec::new();
    for floor in ["ring", "storage", "kinds", "segment", "channel", "control", "wait"] {
        files(&root.join(floor), &mut paths);
    }
    let mut places = Vec::new();
    for path in paths {
        let file = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
        // What only looks writes nothing: nobody can tell that it died.
        let looks = [
            "storage/report.rs",
            "ring/broadcast/observe.rs",
            "kinds/broadcast/inspect.rs",
            "kinds/mpmc/peek.rs",
            "kinds/spsc/peek.rs",
            "kinds/spsc_bytes/peek.rs",
            "segment/outside/people.rs",
        ];
        if file.starts_with("segment/check/") || looks.contains(&file.as_str()) {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        for (number, line) in (1..).zip(code.lines()) {
            let code = line.split("//").next().unwrap();
            for step in STEPS {
                for (at, _) in code.match_indices(step) {
                    // The caller of a method is where its name begins.
                    let column = at + 1 + usize::from(step.starts_with('.'));
                    places.push((format!("{file}:{number}:{column}"), line.trim().to_owned()));
                }
            }
        }
    }
    assert!(places.len() > 80, "the source was not found");
    places
}

/// Texts, whose words are the steps, copies, whose middle is one, words of one process, and
/// calls of which the caller is the place.
const NOT_STEPS: [&str; 18] = [
    ".name.store(",
    ".name.load()",
    ".schema.store(",
    ".schema.load()",
    "atomic.load(Ordering::Relaxed)",
    "atomic.store(self, Ordering::Relaxed);",
    "self.state.load(Ordering::Relaxed) & CALLED != 0",
    "match part.load(Ordering::Relaxed) {",
    "part.fetch_or(called, Ordering::Relaxed);",
    "shared.state.fetch_or(SLEEPS, Ordering::AcqRel);",
    "self.shared.state.fetch_or(CALLED, Ordering::AcqRel) & SLEEPS != 0",
    "loan.in_hand().fetch_add(1, Ordering::Relaxed);",
    "self.state.compare_exchange(IDLE, LENT, Ordering::Acquire, Ordering::Relaxed)",
    "others_hold(self.held.load(Ordering::Relaxed));",
    "others_hold(self.0.held.load(Ordering::Relaxed));",
    "self.state.store(IDLE, Ordering::Release);",
    "self.0.state.store(IDLE, Ordering::Release);",
    "return self.semaphores.semop(ops, until);",
];

/// Steps that no process gets to unless another has written nonsense, or for
/// another reason that is given.
const EXCUSED: [(&str, &str); 10] = [
    (
        "let pid = mapped.info(member.id).pid.load(crate::sync::Ordering::Relaxed);",
        "what only the feature tracing notes: tests/death/traced.rs",
    ),
    (
        "let there = words.slot(at.index).load(Ordering::Acquire);",
        "a limit that is a lie: tests/hostile",
    ),
    (
        "let _ = entry.helped.compare_exchange(helped, word, Ordering::AcqRel, Ordering::Relaxed);",
        "a publisher that has published as often as its entry can count to, by a quarter",
    ),
    (
        "position.store(at, Ordering::Release);",
        "a raise between two looks of one who joins: its model",
    ),
    (
        "pid: mapped.info(member.id).pid.load(Ordering::Relaxed),",
        "a participant of an earlier build: tests/channel/broadcast/",
    ),
    (
        "pid: info(member.id).pid.load(Ordering::Relaxed),",
        "a participant of an earlier build: tests/channel/send_all.rs",
    ),
    (
        "&& block.memory.header().magic.load(Ordering::Acquire) == MAGIC",
        "two creators of one name, over a key that becomes free between them",
    ),
    ("id| self.info(id).uid.load(", "a queue that another user has left: tests/segment/owners.rs"),
    (
        "entry.cells.control().changes.fetch_add(1,",
        "a wake that is refused: tests/channel/waits/refused.rs",
    ),
    ("match set.semop(&ops, None) {", "a lease that is refused, for want of memory say"),
];

/// Steps that are taken or not as processes happen to follow each other.
const SOMETIMES: [&str; 6] = [
    "(0..blocks.count()).any(|index| !held(blocks.block(index).load(Ordering::Relaxed)))",
    // One dies in the few steps between a commit and the last message: the deed `SendToAll`.
    "let tail = ring.tail().load(Ordering::Relaxed);",
    // A publisher that is about to sleep looks once more: tests/channel/broadcast/.
    "let raised = words.limit().load(Ordering::Acquire);",
    // Something is sent between a token and whom it wakes.
    "let now = event.waiting.load(Ordering::Relaxed);",
    // One that is asked ends before it answers: tests/control/commander/obeyed.rs.
    "let end = mapped.info(one.member.id).end.load(Ordering::Acquire);",
    // Of two who sweep at once, one finds the other about to publish.
    "let _ = word.compare_exchange(seen.0, done.0, Ordering::Release, Ordering::Relaxed);",
];

/// The places that were not reached and should have been, and the excuses
/// that are none.
pub(crate) fn missed(reached: &BTreeSet<String>) -> Vec<String> {
    let mut missed = Vec::new();
    let mut used = BTreeSet::new();
    for (place, line) in all() {
        let free = NOT_STEPS.iter().chain(&SOMETIMES).any(|code| line.contains(code));
        if free || reached.contains(&place) {
            continue;
        }
        match EXCUSED.iter().find(|(code, _)| line.contains(code)) {
            Some((code, _)) => drop(used.insert(*code)),
            None => missed.push(format!("src/{place}: {line}")),
        }
    }
    let idle = EXCUSED.iter().filter(|(code, _)| !used.contains(code));
    missed.extend(idle.map(|(code, why)| format!("no excuse is needed: {code} ({why})")));
    missed
}
