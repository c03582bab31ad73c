//! The goals, and whether they were reached.

use super::libraries::{SHARED_MEMORY, best, compared};
use super::{MISSING, Run, cases};
use crate::harness::beside::Beside;
use crate::harness::records::{Outcome, median};
use crate::harness::table::{amount, short};

/// In which way it is to be reached.
enum Reach {
    /// At least so much of the best of these.
    Least(f64, &'static [&'static str]),
    /// At most so many times the time of the best of these.
    Most(f64, &'static [&'static str]),
    /// At least so much of what the same subject has in this other case.
    OfCase(f64, &'static str),
    /// At most so many times as long a tail as the best of these.
    Tail(f64, &'static [&'static str]),
    /// At most so many nanoseconds.
    Within(f64),
}

/// The best of these of ours, in a case, has to reach something.
struct Demand {
    what: &'static str,
    to_reach: &'static str,
    at: (&'static str, &'static str),
    ours: &'static [&'static str],
    reach: Reach,
}

const SPSC: &[&str] = &["tombolo SPSC"];
const SPSC_BYTES: &[&str] = &["tombolo SPSC bytes"];
const SPSC_BYTES_IN_PLACE: &[&str] = &["tombolo SPSC bytes, in place"];
const MPMC_BYTES: &[&str] = &["tombolo MPMC bytes"];
const MPMC_BYTES_IN_PLACE: &[&str] = &["tombolo MPMC bytes, in place"];
const BATCHES: &[&str] = &["tombolo SPSC, batches"];
const SLICES: &[&str] = &["tombolo SPSC, slices in place"];
const IN_PLACE: &[&str] = &["tombolo SPSC, in place"];
const MPMC: &[&str] = &["tombolo MPMC"];
const EITHER_MPMC: &[&str] = &["tombolo MPMC", "tombolo MPMC, blocking"];
const SPSC_WAITING: &[&str] = &["tombolo SPSC, blocking"];
const MPMC_WAITING: &[&str] = &["tombolo MPMC, blocking"];
const RAW: &[&str] = &["best raw ring"];
const LARGE_PIPE: &[&str] = &["pipe of 1 MiB"];
const LINE: &[&str] = &["best raw exchange"];
const SEMOP: &[&str] = &["semop"];
const QUEUES: &[&str] = &["crossbeam-queue ", "crossbeam-channel ", "kanal ", "flume "];
const PIPE: &[&str] = &["pipe"];
const BOOST: &[&str] = &["Boost "];
const ICEORYX2: &[&str] = &["iceoryx2 "];
const UNDO: &[&str] = &["semop, undone by the kernel"];
const CHUNKS: &[&str] = &["rtrb "];

const EIGHT: (&str, &str) = ("throughput", "8 B, 1024 slots, one at a time");
const SIXTY_FOUR: (&str, &str) = ("throughput", "64 B, 1024 slots, one at a time");
const EIGHTS: (&str, &str) = ("throughput", "8 B, 1024 slots, 64 at once");
const SIXTY_FOURS: (&str, &str) = ("throughput", "64 B, 1024 slots, 64 at once");
const KIB_SLOTS: (&str, &str) = ("throughput", "1024 B, 1024 slots, one at a time");
const ALONE_EIGHT: (&str, &str) = ("alone", "8 B, one thread, one at a time");
const ALONE_EIGHTS: (&str, &str) = ("alone", "8 B, one thread, 64 at once");
const ALONE_SIXTY_FOURS: (&str, &str) = ("alone", "64 B, one thread, 64 at once");
const CLONES: (&str, &str) = ("alone", "clone a handle and drop it");
const VISITS: (&str, &str) = ("alone", "receive by the handles of a pool");
const IDLE: (&str, &str) = ("idle", "10,000 messages a second, 8 B");
const KIB: (&str, &str) = ("throughput", "1024 B, 4 MiB, one at a time");
const KIBS_4: (&str, &str) = ("throughput", "4096 B, 4 MiB, one at a time");
const KIBS_64: (&str, &str) = ("throughput", "65536 B, 4 MiB, one at a time");
const BUSY: (&str, &str) = ("latency", "both busy, two processors");
const PARKED_2: (&str, &str) = ("latency", "both parked, two processors");
const PARKED_1: (&str, &str) = ("latency", "both parked, one processor");
const CROWD_1: (&str, &str) = ("contention", "1×1, 8 B");
const CROWD_2: (&str, &str) = ("contention", "2×2, 8 B");
const CROWD_4: (&str, &str) = ("contention", "4×4, 8 B");
const CROWD_8: (&str, &str) = ("contention", "8×8, 8 B");
const RECOVERY: (&str, &str) = ("recovery", "from SIGKILL to the first message, 64 slots");
const ATTACH: (&str, &str) = ("attach", "open, 1 GiB");

#[rustfmt::skip]
const DEMANDS: &[Demand] = &[
    least("SPSC, one at a time, 8 B", EIGHT, SPSC, 0.95, "≥ 0.95 × the best raw ring", RAW),
    least("SPSC, one at a time, 64 B", SIXTY_FOUR, SPSC, 0.95, "≥ 0.95 × the best raw ring", RAW),
    least("SPSC, one at a time, 8 B", EIGHT, SPSC, 1.0, "≥ the best shared-memory library", SHARED_MEMORY),
    least("SPSC, one at a time, 64 B", SIXTY_FOUR, SPSC, 1.0, "≥ the best shared-memory library", SHARED_MEMORY),
    least("SPSC, one at a time, 1 KiB", KIB_SLOTS, SPSC, 0.95, "≥ 0.95 × the best raw ring", RAW),
    least("SPSC, one at a time, 1 KiB", KIB_SLOTS, SPSC, 1.0, "≥ the best shared-memory library", SHARED_MEMORY),
    least("SPSC, one at a time, 8 B", EIGHT, SPSC, 20.0, "≥ 20 × iceoryx2", ICEORYX2),
    least("SPSC, one at a time, 64 B", SIXTY_FOUR, SPSC, 20.0, "≥ 20 × iceoryx2", ICEORYX2),
    least("SPSC, batches of 64, 8 B", EIGHTS, BATCHES, 0.9, "≥ 0.9 × the best raw ring", RAW),
    least("SPSC, batches of 64, 64 B", SIXTY_FOURS, BATCHES, 0.9, "≥ 0.9 × the best raw ring", RAW),
    least("SPSC, batches of 64, 8 B", EIGHTS, BATCHES, 1.0, "≥ rtrb chunks", CHUNKS),
    least("SPSC, batches of 64, 64 B", SIXTY_FOURS, BATCHES, 1.0, "≥ rtrb chunks", CHUNKS),
    least("SPSC, batches of 64 in place, 8 B", EIGHTS, SLICES, 1.0, "≥ rtrb chunks", CHUNKS),
    least("SPSC, batches of 64 in place, 64 B", SIXTY_FOURS, SLICES, 1.0, "≥ rtrb chunks", CHUNKS),
    least("SPSC, batches of 64 in one thread, 8 B", ALONE_EIGHTS, BATCHES, 1.0, "≥ rtrb chunks", CHUNKS),
    least("SPSC, batches of 64 in one thread, 64 B", ALONE_SIXTY_FOURS, BATCHES, 1.0, "≥ rtrb chunks", CHUNKS),
    least("SPSC, batches of 64 in place in one thread, 8 B", ALONE_EIGHTS, SLICES, 1.0, "≥ rtrb chunks", CHUNKS),
    least("SPSC bytes, 8 B", EIGHT, SPSC_BYTES, 0.5, "≥ 0.5 × typed", SPSC),
    least("SPSC bytes, 64 B", SIXTY_FOUR, SPSC_BYTES, 0.5, "≥ 0.5 × typed", SPSC),
    least("SPSC bytes in place, 8 B", EIGHT, SPSC_BYTES_IN_PLACE, 0.5, "≥ 0.5 × typed", SPSC),
    least("SPSC bytes in place, 64 B", SIXTY_FOUR, SPSC_BYTES_IN_PLACE, 0.5, "≥ 0.5 × typed", SPSC),
    least("SPSC bytes in one thread, 8 B", ALONE_EIGHT, SPSC_BYTES, 0.5, "≥ 0.5 × typed", SPSC),
    least("MPMC bytes, 8 B", EIGHT, MPMC_BYTES, 0.33, "≥ a third of typed", MPMC),
    least("MPMC bytes, 64 B", SIXTY_FOUR, MPMC_BYTES, 0.33, "≥ a third of typed", MPMC),
    least("MPMC bytes in place, 8 B", EIGHT, MPMC_BYTES_IN_PLACE, 0.33, "≥ a third of typed", MPMC),
    least("MPMC bytes in place, 64 B", SIXTY_FOUR, MPMC_BYTES_IN_PLACE, 0.33, "≥ a third of typed", MPMC),
    least("SPSC, in place, 1 KiB", KIB, IN_PLACE, 0.9, "≥ 0.9 × the best raw ring", RAW),
    least("SPSC, in place, 4 KiB", KIBS_4, IN_PLACE, 0.9, "≥ 0.9 × the best raw ring", RAW),
    least("SPSC, in place, 64 KiB", KIBS_64, IN_PLACE, 0.9, "≥ 0.9 × the best raw ring", RAW),
    least("SPSC, in place, 1 KiB", KIB, IN_PLACE, 10.0, "≥ 10 × an enlarged pipe", LARGE_PIPE),
    least("SPSC, in place, 4 KiB", KIBS_4, IN_PLACE, 4.0, "≥ 4 × an enlarged pipe", LARGE_PIPE),
    least("SPSC, in place, 64 KiB", KIBS_64, IN_PLACE, 4.0, "≥ 4 × an enlarged pipe", LARGE_PIPE),
    most("SPSC round trip, both busy", BUSY, SPSC, 1.1, "≤ 1.1 × the best raw exchange", LINE),
    most("SPSC round trip, both busy", BUSY, SPSC, 1.1, "≤ 1.1 × the best shared-memory library", SHARED_MEMORY),
    most("MPMC round trip, both busy", BUSY, MPMC, 1.1, "≤ 1.1 × the best shared-memory library", SHARED_MEMORY),
    Demand { what: "SPSC round trip, both busy: p99 to p50", to_reach: "≤ 1.5 × the best raw exchange's", at: BUSY, ours: SPSC, reach: Reach::Tail(1.5, LINE) },
    Demand { what: "MPMC round trip, both busy: p99 to p50", to_reach: "≤ 1.5 × the best raw exchange's", at: BUSY, ours: MPMC, reach: Reach::Tail(1.5, LINE) },
    least("MPMC 1×1, 8 B", CROWD_1, EITHER_MPMC, 1.0, "≥ the fastest queue between threads", QUEUES),
    least("MPMC 2×2, 8 B", CROWD_2, EITHER_MPMC, 1.3, "≥ 1.3 × the fastest queue between threads", QUEUES),
    least("MPMC 4×4, 8 B", CROWD_4, EITHER_MPMC, 1.3, "≥ 1.3 × the fastest queue between threads", QUEUES),
    least("MPMC 8×8, 8 B", CROWD_8, EITHER_MPMC, 1.3, "≥ 1.3 × the fastest queue between threads", QUEUES),
    least("MPMC 1×1, 8 B", CROWD_1, EITHER_MPMC, 8.0, "≥ 8 × Boost", BOOST),
    least("MPMC 2×2, 8 B", CROWD_2, EITHER_MPMC, 8.0, "≥ 8 × Boost", BOOST),
    least("MPMC 4×4, 8 B", CROWD_4, EITHER_MPMC, 8.0, "≥ 8 × Boost", BOOST),
    least("MPMC 8×8, 8 B", CROWD_8, EITHER_MPMC, 8.0, "≥ 8 × Boost", BOOST),
    Demand { what: "MPMC 8×8, 8 B", to_reach: "≥ 0.7 × 2×2", at: CROWD_8, ours: EITHER_MPMC, reach: Reach::OfCase(0.7, CROWD_2.1) },
    most("MPMC round trip, both busy", BUSY, MPMC, 1.5, "≤ 1.5 × the best raw exchange", LINE),
    most("SPSC round trip, both parked, two processors", PARKED_2, SPSC_WAITING, 1.05, "≤ 1.05 × semop", SEMOP),
    most("MPMC round trip, both parked, two processors", PARKED_2, MPMC_WAITING, 1.05, "≤ 1.05 × semop", SEMOP),
    most("SPSC round trip, both parked, one processor", PARKED_1, SPSC_WAITING, 1.05, "≤ 1.05 × semop", SEMOP),
    most("MPMC round trip, both parked, one processor", PARKED_1, MPMC_WAITING, 1.05, "≤ 1.05 × semop", SEMOP),
    most("blocking SPSC round trip, both busy", BUSY, SPSC_WAITING, 1.5, "≤ 1.5 × the spinning one", SPSC),
    least("blocking SPSC, one at a time, 8 B", EIGHT, SPSC_WAITING, 0.67, "≥ 0.67 × the spinning one", SPSC),
    least("blocking MPMC 1×1, 8 B", CROWD_1, MPMC_WAITING, 0.67, "≥ 0.67 × the spinning one", MPMC),
    most("recovery of MPMC, a sender's slot", RECOVERY, &["tombolo MPMC, the message behind a dead sender's slot"], 2.0, "≤ 2 × the kernel's undo and wake-up", UNDO),
    most("recovery of MPMC, a receiver's message", RECOVERY, &["tombolo MPMC, the message of a dead receiver"], 2.0, "≤ 2 × the kernel's undo and wake-up", UNDO),
    most("recovery of SPSC, a successor of the receiver", RECOVERY, &["tombolo SPSC, the first message of a dead receiver's successor"], 2.0, "≤ 2 × the kernel's undo and wake-up", UNDO),
    most("recovery of SPSC, a successor of the sender", RECOVERY, &["tombolo SPSC, the first message of a dead sender's successor"], 2.0, "≤ 2 × the kernel's undo and wake-up", UNDO),
    most("receiver of 10,000 SPSC messages a second: its processor", IDLE, SPSC_WAITING, 2.0, "≤ 2 × a pipe's", PIPE),
    most("receiver of 10,000 MPMC messages a second: its processor", IDLE, MPMC_WAITING, 2.0, "≤ 2 × a pipe's", PIPE),
    Demand { what: "try_clone of a sender", to_reach: "≤ 200 ns", at: CLONES, ours: &["tombolo MPMC sender, try_clone"], reach: Reach::Within(200.0) },
    Demand { what: "try_clone of a receiver", to_reach: "≤ 200 ns", at: CLONES, ours: &["tombolo MPMC receiver, try_clone"], reach: Reach::Within(200.0) },
    Demand { what: "a handle that is 16 messages behind", to_reach: "≤ 100 ns a message", at: VISITS, ours: &["tombolo MPMC, handles in turns"], reach: Reach::Within(100.0) },
    Demand { what: "open a segment of 1 GiB", to_reach: "≤ 1 ms", at: ATTACH, ours: &["tombolo, open"], reach: Reach::Within(1e6) },
];

type Case = (&'static str, &'static str);
type Names = &'static [&'static str];

const fn least(
    what: &'static str,
    at: Case,
    ours: Names,
    least: f64,
    to_reach: &'static str,
    others: Names,
) -> Demand {
    Demand { what, to_reach, at, ours, reach: Reach::Least(least, others) }
}

const fn most(
    what: &'static str,
    at: Case,
    ours: Names,
    most: f64,
    to_reach: &'static str,
    others: Names,
) -> Demand {
    Demand { what, to_reach, at, ours, reach: Reach::Most(most, others) }
}

/// A finding in words; and how good it is, beside the demand.
struct Found {
    text: String,
    least: f64,
    median: f64,
    most: f64,
    rounds: usize,
    needed: f64,
}

impl Found {
    fn beside(found: &Beside, needed: f64, text: String) -> Self {
        let &Beside { median, least, most, rounds } = found;
        Self { text, least, median, most, rounds, needed }
    }

    fn verdict(&self) -> &'static str {
        match (self.rounds, self.least >= self.needed, self.most >= self.needed) {
            (1, true, _) => "in the only round",
            (_, true, _) => "yes",
            (_, _, false) => "no",
            _ if self.median >= self.needed => "in the median; the rounds disagree",
            _ => "not in the median; the rounds disagree",
        }
    }
}

impl Demand {
    fn found(&self, runs: &[Run]) -> Option<Found> {
        let (group, case) = self.at;
        match self.reach {
            Reach::Least(least, others) => {
                let found = compared(runs, self.at, self.ours, others)?;
                let [median, from, to] = [found.median, found.least, found.most].map(short);
                Some(Found::beside(&found, least, format!("{median} ({from} to {to})")))
            }
            Reach::Most(most, others) => {
                let found = compared(runs, self.at, self.ours, others)?;
                let times = [found.median, found.most, found.least].map(|ratio| short(1.0 / ratio));
                let [median, from, to] = times;
                Some(Found::beside(&found, 1.0 / most, format!("{median} ({from} to {to})")))
            }
            Reach::OfCase(needed, other) => {
                let in_both = |run: &Run| {
                    let run = std::slice::from_ref(run);
                    let of = |case| cases(run, group, case).find_map(|one| best(one, self.ours));
                    Some((of(case)?, of(other)?))
                };
                let (one, other) = runs.iter().find_map(in_both)?;
                let [median, least, most] =
                    [one.median / other.median, one.min / other.max, one.max / other.min];
                let text = format!("{} ({} to {})", short(median), short(least), short(most));
                let rounds = one.rounds.min(other.rounds);
                Some(Found { text, least, median, most, rounds, needed })
            }
            Reach::Tail(most, others) => {
                let outcome = cases(runs, group, case).next()?;
                let tails = |names| Some(tails(outcome, &best(outcome, names)?.subject));
                let rounds = tails(self.ours)?.into_iter().zip(tails(others)?);
                let mut ratios: Vec<f64> =
                    rounds.filter_map(|(one, other)| Some(one? / other?)).collect();
                let middle = median(&mut ratios);
                let (least, longest) = (*ratios.first()?, *ratios.last()?);
                let [text, from, to] = [middle, least, longest].map(short);
                Some(Found {
                    text: format!("{text} ({from} to {to})"),
                    least: 1.0 / longest,
                    median: 1.0 / middle,
                    most: 1.0 / least,
                    rounds: ratios.len(),
                    needed: 1.0 / most,
                })
            }
            Reach::Within(most) => {
                let one = cases(runs, group, case).find_map(|one| best(one, self.ours))?;
                let [median, from, to] =
                    [one.median, one.min, one.max].map(|value| amount(value, &one.unit));
                Some(Found {
                    text: format!("{median} ({from} to {to})"),
                    least: 1.0 / one.max,
                    median: 1.0 / one.median,
                    most: 1.0 / one.min,
                    rounds: one.rounds,
                    needed: 1.0 / most,
                })
            }
        }
    }
}

/// The p99 of a subject as a multiple of its p50, in each round.
fn tails(outcome: &Outcome, subject: &str) -> Vec<Option<f64>> {
    let index = outcome.subjects.iter().position(|known| known == subject);
    let index = index.unwrap_or(usize::MAX);
    let all = outcome.values(index, "p99_ns").into_iter().zip(outcome.values(index, "p50_ns"));
    all.map(|(p99, p50)| Some(p99? / p50?)).collect()
}

/// All of them: what, what is to be reached, what was measured, and whether that does.
pub(super) fn table(runs: &[Run]) -> Vec<Vec<String>> {
    let row = |demand: &Demand| {
        let found = demand.found(runs);
        let (text, holds) = found
            .as_ref()
            .map_or((MISSING, MISSING), |found| (found.text.as_str(), found.verdict()));
        [demand.what, demand.to_reach, text, holds].map(str::to_owned).to_vec()
    };
    DEMANDS.iter().map(row).collect()
}
