//! Mutants: a line of the rings made wrong without touching it.

use core::panic::Location;
use std::cell::Cell;

use crate::checker::atomic::Ordering;

/// One thing that is wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Mutant {
    /// At these sites of the rings, an ordering is another.
    Weak(&'static [Site]),
    NoLightFence,
    NoHeavyFence,
    /// No heavy fence, and it is never soon.
    NoSecondLook,
    /// No light fence, and none either where a notifier leaves its ringing.
    NoSkipFence,
    /// The kernel forgets what it should take back.
    NoUndo,
    /// A mutation of a model, which asks for it by [`has`].
    Model(&'static str),
}

/// Where an ordering stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Site {
    pub(crate) file: &'static str,
    pub(crate) function: &'static str,
    /// The line of the access.
    pub(crate) line: &'static str,
    pub(crate) order: Ordering,
    /// The mutant's line in its place.
    pub(crate) weak: Ordering,
}

thread_local! {
    // The checker runs all threads of a model on the test's own thread.
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

/// Whether there is a mutant.
pub(crate) fn active() -> bool {
    ACTIVE.get().is_some()
}

/// The same as [`has`] where the place is in this function of the rings.
pub(crate) fn has_in(name: &str, place: &Location<'_>, function: &str) -> bool {
    matches!(ACTIVE.get(), Some(Mutant::Model(active)) if active == name)
        && SOURCES
            .iter()
            .filter(|(file, _)| stands_in(place, file))
            .any(|(file, _)| line(place, file).0 == function)
        && has(name)
}

/// The ordering to use at this place of the sources.
pub(crate) fn weakened(place: &Location<'_>, order: Ordering) -> Ordering {
    let Some(Mutant::Weak(sites)) = ACTIVE.get() else {
        return order;
    };
    let mut here = sites.iter().filter(|site| order == site.order && stands_in(place, site.file));
    let found = here.find(|site| {
        let (function, line) = line(place, site.file);
        function == site.function && line.contains(site.line)
    });
    found.map_or(order, |site| {
        USED.set(true);
        site.weak
    })
}

fn stands_in(place: &Location<'_>, file: &str) -> bool {
    place.file().ends_with(&format!("ring/{file}.rs"))
}

/// The line of a place in this source, after the function that it is in.
fn line(place: &Location<'_>, file: &str) -> (&'static str, &'static str) {
    LINES.with(|lines| {
        let (_, lines) = lines.iter().find(|(name, _)| *name == file).unwrap();
        lines[place.line() as usize - 1]
    })
}

type Lines = Vec<(&'static str, &'static str)>;

thread_local! {
    static LINES: Vec<(&'static str, Lines)> = SOURCES.map(|(file, text)| (file, lines(text))).into();
}

/// The lines of a source, each after the function that it is in.
pub(crate) fn lines(source: &'static str) -> Lines {
    let mut function = "";
    let line = |line: &'static str| {
        if let Some((before, after)) = line.split_once("fn ")
            && before
                .split_whitespace()
                .all(|word| matches!(word, "pub(crate)" | "pub(super)" | "const" | "pub"))
        {
            function = after.split(['(', '<']).next().unwrap_or(after);
        }
        (function, line)
    };
    source.lines().map(line).collect()
}

/// The rings' sources that have orderings.
pub(crate) const SOURCES: [(&str, &str); 24] = [
    ("bell", include_str!("../../src/ring/bell.rs")),
    ("blocks", include_str!("../../src/ring/blocks.rs")),
    ("broadcast/limit", include_str!("../../src/ring/broadcast/limit.rs")),
    ("broadcast/publish", include_str!("../../src/ring/broadcast/publish.rs")),
    ("broadcast/read", include_str!("../../src/ring/broadcast/read.rs")),
    ("broadcast/reliable", include_str!("../../src/ring/broadcast/reliable.rs")),
    ("calls/word", include_str!("../../src/ring/calls/word.rs")),
    ("creation", include_str!("../../src/ring/creation.rs")),
    ("event", include_str!("../../src/ring/event.rs")),
    ("gate", include_str!("../../src/ring/gate.rs")),
    ("joint", include_str!("../../src/ring/joint.rs")),
    ("journal", include_str!("../../src/ring/journal.rs")),
    ("mpmc/observe", include_str!("../../src/ring/mpmc/observe.rs")),
    ("mpmc/queue", include_str!("../../src/ring/mpmc/queue.rs")),
    ("mpmc/recover", include_str!("../../src/ring/mpmc/recover.rs")),
    ("death_record", include_str!("../../src/ring/death_record.rs")),
    ("recovery", include_str!("../../src/ring/recovery.rs")),
    ("records", include_str!("../../src/ring/records.rs")),
    ("role", include_str!("../../src/ring/role.rs")),
    ("spsc", include_str!("../../src/ring/spsc.rs")),
    ("table", include_str!("../../src/ring/table.rs")),
    ("wait/registration", include_str!("../../src/ring/wait/registration.rs")),
    ("wait/set", include_str!("../../src/ring/wait/set.rs")),
    ("watch", include_str!("../../src/ring/watch.rs")),
];
