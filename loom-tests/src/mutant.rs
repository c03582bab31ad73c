//! Mutants: a line of the rings made wrong without touching it.

use core::panic::Location;
use std::cell::Cell;

use loom::sync::atomic::Ordering;

/// One thing that is wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Mutant {
    /// In this function of this file of the rings, an ordering is another.
    Weak {
        file: &'static str,
        function: &'static str,
        from: Ordering,
        to: Ordering,
    },
    NoLightFence,
    NoHeavyFence,
    /// The kernel forgets what it should take back.
    NoUndo,
    /// What a model asks for by [`has`].
    Model(&'static str),
}

thread_local! {
    // Loom runs all threads of a model on the test's own thread.
    static ACTIVE: Cell<Option<Mutant>> = const { Cell::new(None) };
    /// Whether the mutant has changed anything yet.
    static USED: Cell<bool> = const { Cell::new(false) };
}

/// Activates a mutant, or none, for this test's models.
pub(crate) fn set(mutant: Option<Mutant>) {
    ACTIVE.set(mutant);
    USED.set(false);
}

pub(crate) fn used() -> bool {
    USED.get()
}

/// Whether the active mutant is this one of the model's own.
pub(crate) fn has(name: &str) -> bool {
    is(|mutant| matches!(mutant, Mutant::Model(active) if active == name))
}

pub(crate) fn is(which: impl Fn(Mutant) -> bool) -> bool {
    let found = ACTIVE.get().is_some_and(which);
    if found {
        USED.set(true);
    }
    found
}

/// The ordering to use at this place of the sources.
pub(crate) fn weakened(place: &Location<'_>, order: Ordering) -> Ordering {
    let Some(Mutant::Weak { file, function, from, to }) = ACTIVE.get() else {
        return order;
    };
    if order == from && encloses(file, function, place) {
        USED.set(true);
        return to;
    }
    order
}

/// The rings' sources, to find out which function a line is in.
const SOURCES: [(&str, &str); 7] = [
    ("creation", include_str!("../../src/ring/creation.rs")),
    ("event", include_str!("../../src/ring/event.rs")),
    ("mpmc", include_str!("../../src/ring/mpmc.rs")),
    ("role", include_str!("../../src/ring/role.rs")),
    ("spsc", include_str!("../../src/ring/spsc.rs")),
    ("table", include_str!("../../src/ring/table.rs")),
    ("lease", include_str!("../../src/ring/lease.rs")),
];

fn encloses(file: &str, function: &str, place: &Location<'_>) -> bool {
    if !place.file().ends_with(&format!("ring/{file}.rs")) {
        return false;
    }
    let Some((_, source)) = SOURCES.iter().find(|(name, _)| *name == file) else {
        panic!("no source file {file}");
    };
    let lines: Vec<_> = source.lines().take(place.line() as usize).collect();
    let found = lines.iter().rev().find_map(|line| {
        let (before, after) = line.split_once("fn ")?;
        let declares =
            before.split_whitespace().all(|word| matches!(word, "pub(crate)" | "const" | "pub"));
        declares.then(|| after.split(['(', '<']).next().unwrap_or(after))
    });
    found == Some(function)
}
