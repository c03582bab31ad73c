//! The README's table: Tombolo against each library and mechanism, each used in
//! its best way.

use super::{MISSING, Run, cases};
use crate::harness::beside::Beside;
use crate::harness::records::{Outcome, Record};
use crate::harness::table::{amount, metrics, ranked, short};
use crate::standing::mark;

/// A library or mechanism, and the name of what is measured of it.
pub(super) struct Library {
    pub(super) name: &'static str,
    pub(super) named: &'static str,
    pub(super) threads: bool,
}

const fn between_processes(name: &'static str, named: &'static str) -> Library {
    Library { name, named, threads: false }
}

const fn between_threads(name: &'static str, named: &'static str) -> Library {
    Library { name, named, threads: true }
}

/// Libraries between processes, mechanisms of the kernel, and libraries between
/// the threads of one process.
pub(super) const LIBRARIES: [Library; 14] = [
    between_processes("shaq", "shaq "),
    between_processes("ringfire", "ringfire "),
    between_processes("iceoryx2", "iceoryx2 "),
    between_processes("Boost message_queue", "Boost "),
    between_processes("ipc-channel", "ipc-channel "),
    between_processes("pipe", "pipe"),
    between_processes("Unix socket", "Unix "),
    between_processes("System V message queue", "System V "),
    between_threads("rtrb", "rtrb "),
    between_threads("crossbeam-queue", "crossbeam-queue "),
    between_threads("crossbeam-channel", "crossbeam-channel "),
    between_threads("kanal", "kanal "),
    between_threads("flume", "flume "),
    between_threads("std sync_channel", "sync_channel "),
];

/// The libraries between processes, without the kernel's mechanisms.
pub(super) const SHARED_MEMORY: &[&str] =
    &["shaq ", "ringfire ", "iceoryx2 ", "Boost ", "ipc-channel "];

/// A question: a case, its limit, and the ways to use Tombolo for it.
pub(super) struct Question {
    title: &'static str,
    group: &'static str,
    case: &'static str,
    pub(super) limit: &'static str,
    pub(super) ours: &'static [&'static str],
}

impl Question {
    const fn throughput(title: &'static str, case: &'static str) -> Self {
        Self { title, group: "throughput", case, limit: "best raw ring", ours: &["tombolo SPSC"] }
    }
}

pub(super) const SMALL: Question =
    Question::throughput("one to one, 8 B", "8 B, 1024 slots, one at a time");
pub(super) const LINE: Question =
    Question::throughput("one to one, 64 B", "64 B, 1024 slots, one at a time");

const QUESTIONS: [Question; 5] = [
    SMALL,
    LINE,
    Question {
        title: "round trip, both awake",
        group: "latency",
        case: "both busy, two processors",
        limit: "best raw exchange",
        ours: &["tombolo SPSC"],
    },
    Question {
        title: "round trip, both asleep",
        group: "latency",
        case: "both parked, two processors",
        limit: "semop",
        ours: &["tombolo SPSC, blocking"],
    },
    Question {
        title: "four to four, 8 B",
        group: "contention",
        case: "4×4, 8 B",
        limit: "raw MPMC ring",
        ours: &["tombolo MPMC", "tombolo MPMC, blocking"],
    },
];

/// Whether a subject is what is named, or, of a name that ends with a space,
/// begins with it: then there is more to it than a version.
fn is(subject: &str, name: &str) -> bool {
    subject == name || name.ends_with(' ') && subject.starts_with(name)
}

/// The main figure of the best of a case's subjects that have one of these
/// names.
pub(super) fn best(outcome: &Outcome, names: &[&str]) -> Option<Record> {
    let records = outcome.records();
    let main = *metrics(&records).first()?;
    let named = |record: &&Record| names.iter().any(|name| is(&record.subject, name));
    ranked(&records, main).into_iter().find(named).cloned()
}

/// How often as good the best of ours is as the best of the others.
pub(super) fn compared(
    runs: &[Run],
    (group, case): (&str, &str),
    ours: &[&str],
    others: &[&str],
) -> Option<Beside> {
    cases(runs, group, case).find_map(|outcome| {
        let (one, other) = (best(outcome, ours)?, best(outcome, others)?);
        outcome.beside(&one.subject, &other.subject)
    })
}

impl Question {
    /// The best figure of what has one of these names.
    pub(super) fn figure(&self, runs: &[Run], names: &[&str]) -> Option<Record> {
        cases(runs, self.group, self.case).find_map(|outcome| best(outcome, names))
    }

    fn beside(&self, runs: &[Run], other: &str) -> String {
        let beside = compared(runs, (self.group, self.case), self.ours, &[other]);
        let failed = || {
            let failed = cases(runs, self.group, self.case).flat_map(|outcome| &outcome.failed);
            failed.into_iter().any(|(subject, _)| is(subject, other))
        };
        let missing = || if failed() { "failed" } else { MISSING }.to_owned();
        beside.map_or_else(missing, |beside| match mark(&beside) {
            mark @ ('~' | '?') => format!("{} {mark}", short(beside.median)),
            _ => short(beside.median),
        })
    }
}

/// The table of the README of one make: its head, then a row for each library.
pub(super) fn table(runs: &[Run]) -> Vec<Vec<String>> {
    let row = |name: &str, cell: &dyn Fn(&Question) -> String| {
        [name.to_owned()].into_iter().chain(QUESTIONS.iter().map(cell)).collect::<Vec<String>>()
    };
    let mut table = vec![row("", &|question| question.title.to_owned())];
    table.push(row("**Tombolo**", &|question| {
        let figure = question.figure(runs, question.ours);
        figure.map_or(MISSING.to_owned(), |record| {
            format!("**{}**", amount(record.median, &record.unit))
        })
    }));
    table.push(row("*the limit*", &|question| question.beside(runs, question.limit)));
    for library in &LIBRARIES {
        let name = match library.threads {
            true => format!("{} (threads)", library.name),
            false => library.name.to_owned(),
        };
        table.push(row(&name, &|question| question.beside(runs, library.named)));
    }
    table
}

/// How that table is read.
pub(super) const LEGEND: &str = "Tombolo's advantage: 2 is twice the rate or half the latency; \
     below 1 the other is better. `~`: the rounds disagree, so neither is better. `–`: not \
     measured. *The limit* is the same work written by hand, without Tombolo's guarantees; \
     *(threads)* are queues within one process.";
