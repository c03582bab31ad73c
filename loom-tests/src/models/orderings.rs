//! Every ordering of the rings, made weaker: which model finds it, or why
//! none does. A row of several sites is weak at all of them at once, where
//! one of them alone is made up for by the others.

use loom::sync::atomic::Ordering::{self, AcqRel, Acquire, Relaxed, Release, SeqCst};

use super::{
    blocks, broadcast, calls, creation, death_record, event, gate, joint, journal, mpmc, reliable,
    spsc, table, wait_set,
};
use crate::death::{End::Killed, Fate};
use crate::explore::{Bound, completely, fails, fails_for_some_end};
use crate::mutant::{self, Mutant, Site};

enum By {
    Model(Bound, fn()),
    Deaths(Bound, fn(Fate)),
    /// Nothing, and why.
    Nothing(&'static str),
}
use By::{Deaths, Model, Nothing};

const fn at(
    file: &'static str,
    function: &'static str,
    line: &'static str,
    order: Ordering,
    weak: Ordering,
) -> Site {
    Site { file, function, line, order, weak }
}

const KERNEL: &str = "calls of the kernel in between order it; loom's are a mutex";
const ORDER: &str = "loom keeps the changes of one word in the order of execution";
const MODELS: &str = "the models of roles mark the dead themselves";
const DEATH: &str = "what the dead did comes before the word that says DEAD";
const ACQUIRES_NOTHING: &str = "what it reads is in the word itself";
const RELEASES_NOTHING: &str = "nothing that was done before is looked for";
const ANSWER: &str = "an answer to go by; the access after it acquires";
const STEPS: &str = "loom keeps a thread's own steps in their order, up to its death";
const OWN_LIFE: &str = "the exact word of a slot or a tail shows whose life it is";
const HELP: &str = "only its value counts: who follows in the entry comes after the help";
const RENEW: &str = "either word says the same; it keeps their turns comparable";
const BELOW: &str = "the limit acquires what is published below it; the rest is an answer";
const COMES: &str = "harm takes one who comes, two who tell, and one who takes what the first told";

const ROWS: &[(&[Site], By)] = &[
    // The bell.
    (
        &[at("bell", "ring", "fence", SeqCst, Relaxed)],
        Nothing("the models of the bell drop it together with the light fence, and find that"),
    ),
    (&[at("bell", "ring", "struck.load", Acquire, Relaxed)], Nothing(KERNEL)),
    (&[at("bell", "ring", "struck.store", Release, Relaxed)], Nothing(KERNEL)),
    // Blocks.
    (
        &[at("blocks", "allocate", ".compare_exchange(seen", AcqRel, Release)],
        Model(Some(2), blocks::one_and_one),
    ),
    (
        &[at("blocks", "allocate", ".compare_exchange(seen", AcqRel, Acquire)],
        Model(Some(2), blocks::id_is_used_again),
    ),
    (
        &[at("blocks", "adopt", ".compare_exchange(seen", AcqRel, Release)],
        Nothing("the Acquire of the slot before it covers it"),
    ),
    (
        &[at("blocks", "adopt", ".compare_exchange(seen", AcqRel, Acquire)],
        Model(Some(2), blocks::next_life_receives),
    ),
    (&[at("blocks", "free", "word.store", Release, Relaxed)], Model(Some(2), blocks::one_and_one)),
    (
        &[at("blocks", "assign_to_dead", "word.load", Acquire, Relaxed)],
        Model(Some(2), blocks::dropped_by_two),
    ),
    (
        &[at("blocks", "assign_to_dead", "word.compare_exchange", AcqRel, Release)],
        Nothing("the Acquire of the same word before it covers it"),
    ),
    (
        &[at("blocks", "assign_to_dead", "word.compare_exchange", AcqRel, Acquire)],
        Nothing("harm takes three sweepers of two lives"),
    ),
    (
        &[at("blocks", "recover", "word.load", Acquire, Relaxed)],
        Model(Some(2), blocks::id_is_used_again),
    ),
    // The broadcast ring.
    (
        &[at("broadcast/limit", "raise", "words.limit().load", Acquire, Relaxed)],
        Model(Some(1), reliable::one_raises_for_another),
    ),
    (
        &[at("broadcast/limit", "raise", "limit.compare_exchange", AcqRel, Acquire)],
        Model(Some(1), reliable::one_raises_for_another),
    ),
    (
        &[at("broadcast/limit", "raise", "limit.compare_exchange", AcqRel, Release)],
        Nothing("the Acquire of the same word before it covers it"),
    ),
    (
        &[at("broadcast/limit", "raise", "fence", SeqCst, Relaxed)],
        Model(Some(2), reliable::one_joins),
    ),
    (&[at("broadcast/limit", "believed", "words.slot", Acquire, Relaxed)], Nothing(ANSWER)),
    (&[at("broadcast/limit", "room", "words.limit().load", Acquire, Relaxed)], Nothing(ANSWER)),
    (
        &[at("broadcast/limit", "slowest", "entry.holder", Acquire, Relaxed)],
        Model(Some(2), reliable::one_leaves),
    ),
    (
        &[at("broadcast/limit", "slowest", "entry.position", Acquire, Relaxed)],
        Model(Some(2), reliable::one_reads),
    ),
    (
        &[at("broadcast/limit", "help", "entry.word", Acquire, Relaxed)],
        Deaths(Some(2), broadcast::helped_and_passed),
    ),
    (
        &[at("broadcast/limit", "help", "words.slot", Acquire, Relaxed)],
        Deaths(Some(2), broadcast::helped),
    ),
    (&[at("broadcast/limit", "help", "entry.helped.load", Acquire, Relaxed)], Nothing(HELP)),
    (
        &[at("broadcast/limit", "help", "entry.helped.compare_exchange", AcqRel, Acquire)],
        Nothing(HELP),
    ),
    (
        &[at("broadcast/limit", "help", "entry.helped.compare_exchange", AcqRel, Release)],
        Nothing("the Acquire of the same word before it covers it"),
    ),
    (&[at("broadcast/limit", "renew", "entry.word.load", Acquire, Relaxed)], Nothing(RENEW)),
    (&[at("broadcast/limit", "renew", "entry.helped.load", Acquire, Relaxed)], Nothing(RENEW)),
    (
        &[at("broadcast/limit", "renew", "entry.helped.compare_exchange", AcqRel, Acquire)],
        Nothing(RENEW),
    ),
    (
        &[at("broadcast/limit", "renew", "entry.helped.compare_exchange", AcqRel, Release)],
        Nothing(RENEW),
    ),
    (&[at("broadcast/publish", "claim", "holder.load", Acquire, Relaxed)], Nothing(ANSWER)),
    (
        &[at("broadcast/publish", "attach", "entry.word.load", Acquire, Relaxed)],
        Nothing("the claim of the entry orders it"),
    ),
    (&[at("broadcast/publish", "attach", "entry.helped.load", Acquire, Relaxed)], Nothing(HELP)),
    (
        &[at("broadcast/publish", "attach", "entry.word.store", Release, Relaxed)],
        Deaths(Some(2), broadcast::helped_while_taken_over),
    ),
    (
        &[at("broadcast/publish", "attach", "fence", Release, Relaxed)],
        Deaths(Some(2), broadcast::a_successor_has_room),
    ),
    (
        &[at("broadcast/publish", "find_room", "words.slot", Acquire, Relaxed)],
        Deaths(Some(2), broadcast::helped_and_passed),
    ),
    (
        &[at("broadcast/publish", "pass", "words.limit()", Acquire, Relaxed)],
        Model(Some(2), broadcast::one_falls_behind),
    ),
    (&[at("broadcast/publish", "pass", "words.slot", Acquire, Relaxed)], Nothing(ANSWER)),
    (
        &[at("broadcast/publish", "attempt", "slot.load", Acquire, Relaxed)],
        Nothing("needed to pass a slot that `find_room` never sees; the models are too small"),
    ),
    (
        &[at("broadcast/publish", "attempt", "entry.word.store", Release, Relaxed)],
        Deaths(Some(2), broadcast::helped),
    ),
    (
        &[at("broadcast/publish", "attempt", "fence", Release, Relaxed)],
        Model(Some(2), broadcast::one_publishes_in_twos),
    ),
    (
        &[at("broadcast/publish", "swap", "slot.store", Release, Relaxed)],
        Model(Some(2), broadcast::one_publishes),
    ),
    (
        &[at("broadcast/publish", "swap", "slot.compare_exchange", AcqRel, Acquire)],
        Model(Some(2), broadcast::one_of_two_publishes),
    ),
    (
        &[at("broadcast/publish", "swap", "slot.compare_exchange", AcqRel, Release)],
        Nothing("the Acquire of the same word before it covers it"),
    ),
    (
        &[at("broadcast/read", "look", "words.slot", Acquire, Relaxed)],
        Model(Some(2), broadcast::one_publishes),
    ),
    (
        &[at("broadcast/read", "unchanged", "fence", Acquire, Relaxed)],
        Model(Some(2), broadcast::one_publishes),
    ),
    (
        &[at("broadcast/read", "skip", "words.limit()", Acquire, Relaxed)],
        Model(Some(2), broadcast::one_publishes_four),
    ),
    (&[at("broadcast/read", "skip", "words.slot", Acquire, Relaxed)], Nothing(BELOW)),
    (
        &[at("broadcast/read", "oldest", "words.limit()", Acquire, Relaxed)],
        Model(Some(3), broadcast::comes_for_the_oldest),
    ),
    (
        &[at("broadcast/read", "first_unpublished", "words.limit()", Acquire, Relaxed)],
        Model(Some(3), broadcast::comes_for_the_next),
    ),
    (&[at("broadcast/read", "first_unpublished", "words.slot", Acquire, Relaxed)], Nothing(BELOW)),
    (
        &[
            at("broadcast/reliable", "join", "position.store", Release, Relaxed),
            at("broadcast/reliable", "join", "holder.store", Release, Relaxed),
        ],
        Model(Some(1), reliable::one_leaves_one_joins),
    ),
    (
        &[at("broadcast/reliable", "join", "fence", SeqCst, Relaxed)],
        Model(Some(2), reliable::one_joins),
    ),
    (
        &[at("broadcast/reliable", "join", "words.limit()", Acquire, Relaxed)],
        Nothing("harm takes two laps while one joins, more than the models have"),
    ),
    (
        &[
            at("broadcast/reliable", "take", "entry.holder.load", Acquire, Relaxed),
            at("broadcast/reliable", "take", "entry.holder.compare_exchange", AcqRel, Release),
        ],
        Model(Some(1), reliable::one_leaves_one_joins),
    ),
    (
        &[at("broadcast/reliable", "take", "entry.holder.compare_exchange", AcqRel, Acquire)],
        Nothing(RELEASES_NOTHING),
    ),
    (
        &[at("broadcast/reliable", "read_up_to", "words.reliable", Release, Relaxed)],
        Model(Some(2), reliable::one_reads),
    ),
    (&[at("broadcast/limit", "has_room", "words.limit()", Acquire, Relaxed)], Nothing(ANSWER)),
    (&[at("broadcast/limit", "has_room", "words.slot", Acquire, Relaxed)], Nothing(ANSWER)),
    // Calls.
    (
        &[at("calls/word", "load", "word.load", Acquire, Relaxed)],
        Model(Some(2), calls::one_and_one),
    ),
    (
        &[at("calls/word", "swap", "word.compare_exchange", AcqRel, Acquire)],
        Model(Some(2), calls::one_and_one),
    ),
    (
        &[at("calls/word", "swap", "word.compare_exchange", AcqRel, Release)],
        Nothing("the Acquire of the same word before it covers it"),
    ),
    // Creation.
    (&[at("creation", "judge", "block.magic()", Acquire, Relaxed)], Nothing(KERNEL)),
    (
        &[at("creation", "seal", "block.nonce()", AcqRel, Relaxed)],
        Nothing("nobody builds in a segment that another one made, unless ids recycle"),
    ),
    (
        &[at("creation", "seal", "block.magic()", Release, Relaxed)],
        Deaths(Some(2), creation::found_by_id),
    ),
    // Waiting.
    (
        &[at("event", "raise", "record.fetch_add", Release, Relaxed)],
        Nothing("the Release of `waiting` after it covers it"),
    ),
    (
        &[at("event", "raise", "waiting.fetch_add", Release, Relaxed)],
        Model(Some(2), event::sweeps_count),
    ),
    (&[at("event", "lower", "waiting.fetch_update", Release, Relaxed)], Nothing(ORDER)),
    (
        &[at("event", "lower", "waiting.fetch_update", Acquire, Relaxed)],
        Model(None, event::let_go_late),
    ),
    (
        &[at("event", "lasts", "self.word.load", Acquire, Relaxed)],
        Nothing("what the dead did is not looked at; `waiting` before it has acquired the word"),
    ),
    (
        &[at("event", "ring_for_one", "fence", SeqCst, Relaxed)],
        Nothing("the models of events drop it together with the light fence, and find that"),
    ),
    (&[at("event", "lower", "record.fetch_update", Release, Relaxed)], Nothing(ORDER)),
    (
        &[at("event", "settle", "waiting.load", Acquire, Relaxed)],
        Model(Some(2), event::sweeps_count),
    ),
    (
        &[at("event", "settle", "waiting.compare_exchange", AcqRel, Acquire)],
        Model(None, event::let_go_late),
    ),
    (
        &[at("event", "settle", "waiting.compare_exchange", AcqRel, Release)],
        Nothing(ACQUIRES_NOTHING),
    ),
    // The gate.
    (&[at("gate", "leave", "busy.store", Release, Relaxed)], Model(None, gate::one_is_paused)),
    (&[at("gate", "idle", "busy.load", Acquire, Relaxed)], Model(None, gate::one_is_paused)),
    // Joint sends.
    (&[at("joint", "send", "committed.fetch_or", Release, Relaxed)], Nothing(STEPS)),
    (&[at("joint", "send", "committed.fetch_and", Release, Relaxed)], Nothing(STEPS)),
    (&[at("joint", "begin", "committed.store", Release, Relaxed)], Nothing(OWN_LIFE)),
    (&[at("joint", "committed_by_dead", "committed.load", Acquire, Relaxed)], Nothing(OWN_LIFE)),
    (
        &[at("joint", "pledge", "ring.pledge().store", Release, Relaxed)],
        Model(Some(2), joint::role_has_a_successor),
    ),
    (
        &[at("joint", "recover_producer", "ring.pledge().load", Acquire, Relaxed)],
        Model(Some(2), joint::role_has_a_successor),
    ),
    // The journal.
    (&[at("journal", "claim", "word.compare_exchange", AcqRel, Release)], Nothing(ORDER)),
    (
        &[at("journal", "claim", "word.compare_exchange", AcqRel, Acquire)],
        Model(Some(2), journal::id_is_used_again),
    ),
    (
        &[at("journal", "fill", ".store(field", Release, Relaxed)],
        Model(Some(2), journal::one_writes_one_reads),
    ),
    (
        &[at("journal", "close", "word.compare_exchange", Release, Relaxed)],
        Model(Some(2), journal::one_writes_one_reads),
    ),
    (
        &[at("journal", "finish", "word.compare_exchange", Release, Relaxed)],
        Deaths(Some(2), death_record::sweeper_is_swept_last),
    ),
    (
        &[at("journal", "recover", "word.load", Acquire, Relaxed)],
        Model(Some(2), journal::id_is_used_again),
    ),
    (
        &[at("journal", "recover", ".compare_exchange(seen.0", Release, Relaxed)],
        Deaths(Some(2), death_record::sweeper_is_swept_first),
    ),
    (
        &[at("journal", "read", "word.load(Ordering::Acquire", Acquire, Relaxed)],
        Model(Some(2), journal::one_writes_one_reads),
    ),
    (
        &[at("journal", "read", "records.field(index, n).load", Acquire, Relaxed)],
        Model(Some(2), journal::one_writes_one_reads),
    ),
    // The ends of lives.
    (&[at("death_record", "names", "end.load", Acquire, Relaxed)], Nothing(DEATH)),
    (
        &[at("death_record", "record", "end.load", Acquire, Relaxed)],
        Model(Some(2), death_record::two_sweep),
    ),
    (
        &[at("death_record", "record", "end.compare_exchange", AcqRel, Acquire)],
        Model(Some(2), death_record::two_sweep),
    ),
    (
        &[at("death_record", "record", "end.compare_exchange", AcqRel, Release)],
        Nothing("nobody but who has lost acts on it"),
    ),
    (
        &[at("death_record", "record", "end.compare_exchange", Acquire, Relaxed)],
        Model(Some(2), death_record::two_sweep),
    ),
    // The ring of many.
    (
        &[at("mpmc/queue", "publish", "words.slot", Release, Relaxed)],
        Model(Some(2), mpmc::one_and_one),
    ),
    (
        &[at("mpmc/queue", "may_have_orphans", "words.orphans", Acquire, Relaxed)],
        Model(Some(2), mpmc::orphan_appears),
    ),
    (
        &[
            at("mpmc/queue", "swap", "slot.load", Acquire, Relaxed),
            at("mpmc/queue", "swap", "slot.compare_exchange", AcqRel, Release),
            at("mpmc/queue", "advance", "slot.load", Acquire, Relaxed),
        ],
        Model(Some(2), mpmc::one_and_one),
    ),
    (
        &[at("mpmc/queue", "swap", "slot.compare_exchange", AcqRel, Acquire)],
        Model(Some(2), mpmc::id_is_used_again),
    ),
    (
        &[at("mpmc/queue", "give_back", "words.slot", Release, Relaxed)],
        Model(Some(2), mpmc::looked_for),
    ),
    (
        &[at("mpmc/queue", "give_back", "words.orphans", Release, Relaxed)],
        Model(Some(2), mpmc::message_is_given_back),
    ),
    (
        &[at("mpmc/queue", "free", "words.slot", Release, Relaxed)],
        Model(Some(2), mpmc::one_and_one),
    ),
    (
        &[
            at("mpmc/queue", "adopt", "slot.load", Acquire, Relaxed),
            at("mpmc/queue", "adopt", "slot.compare_exchange", AcqRel, Release),
        ],
        Model(Some(2), mpmc::looked_for),
    ),
    (
        &[at("mpmc/queue", "adopt", "slot.compare_exchange", AcqRel, Acquire)],
        Model(Some(3), mpmc::readers_id_is_used_again),
    ),
    (
        &[at("mpmc/recover", "recover", "slot.load", Acquire, Relaxed)],
        Model(Some(2), mpmc::id_is_used_again),
    ),
    (
        &[at("recovery", "settle", "word.compare_exchange", AcqRel, Acquire)],
        Model(Some(2), mpmc::tombstone_is_claimed),
    ),
    (
        &[at("recovery", "settle", "word.compare_exchange", AcqRel, Release)],
        Nothing("the Acquire of the same word before it covers it"),
    ),
    (
        &[at("mpmc/recover", "recover", "words.orphans", Release, Relaxed)],
        Model(Some(2), mpmc::orphan_appears),
    ),
    (&[at("mpmc/observe", "in_flight", "words.slot", Acquire, Relaxed)], Nothing(ANSWER)),
    (&[at("mpmc/observe", "available", "words.orphans", Acquire, Relaxed)], Nothing(ANSWER)),
    (&[at("mpmc/observe", "available", "words.slot", Acquire, Relaxed)], Nothing(ANSWER)),
    (&[at("mpmc/observe", "room", "words.slot", Acquire, Relaxed)], Nothing(ANSWER)),
    // Roles.
    (
        &[
            at("role", "claim", "role.load", Acquire, Relaxed),
            at("role", "claim", "role.compare_exchange", AcqRel, Release),
            at("role", "claim", "role.compare_exchange", Acquire, Relaxed),
        ],
        Deaths(Some(2), spsc::producer_dies),
    ),
    (&[at("role", "claim", "role.compare_exchange", AcqRel, Acquire)], Nothing(RELEASES_NOTHING)),
    (
        &[at("role", "release", "role.compare_exchange", Release, Relaxed)],
        Deaths(Some(2), spsc::producer_dies),
    ),
    // The ring of two.
    (
        &[at("spsc", "attach", "ring.tail", Acquire, Relaxed)],
        Nothing("the claim of the role orders it"),
    ),
    (
        &[at("spsc", "attach", "ring.head", Acquire, Relaxed)],
        Nothing("the claim of the role orders it"),
    ),
    (&[at("spsc", "tell", "ring.tail", Release, Relaxed)], Model(Some(2), spsc::two_laps)),
    (&[at("spsc", "tell", "ring.head", Release, Relaxed)], Model(Some(2), spsc::two_laps)),
    (&[at("spsc", "free_until", "ring.head", Acquire, Relaxed)], Model(Some(2), spsc::two_laps)),
    (&[at("spsc", "filled_until", "ring.tail", Acquire, Relaxed)], Model(Some(2), spsc::two_laps)),
    (&[at("spsc", "len", "ring.head", Acquire, Relaxed)], Model(Some(2), spsc::how_many)),
    (&[at("spsc", "len", "ring.tail", Acquire, Relaxed)], Nothing(ACQUIRES_NOTHING)),
    // The table.
    (&[at("table", "is", "table.word", Acquire, Relaxed)], Deaths(Some(2), spsc::consumer_dies)),
    (&[at("table", "join", "word.load", Acquire, Relaxed)], Deaths(Some(2), table::two_look)),
    (&[at("table", "join", "word.store", Release, Relaxed)], Nothing(KERNEL)),
    (&[at("table", "leave", "table.word", AcqRel, Acquire)], Nothing(KERNEL)),
    (&[at("table", "leave", "table.word", AcqRel, Release)], Nothing(ACQUIRES_NOTHING)),
    (&[at("table", "scan", "table.word(id).load", Acquire, Relaxed)], Nothing(KERNEL)),
    (&[at("table", "scan", "  table.word(id).compare", AcqRel, Acquire)], Nothing(MODELS)),
    (
        &[at("table", "scan", "  table.word(id).compare", AcqRel, Release)],
        Nothing(ACQUIRES_NOTHING),
    ),
    (
        &[at("table", "scan", "let _ = table.word", AcqRel, Acquire)],
        Deaths(Some(2), table::two_look),
    ),
    (&[at("table", "scan", "let _ = table.word", AcqRel, Release)], Nothing(ACQUIRES_NOTHING)),
    // Waiting.
    (
        &[at("wait/registration", "announce", "fence", SeqCst, Relaxed)],
        Model(Some(3), event::one_who_stays),
    ),
    (
        &[at("wait/set", "register", "fence", SeqCst, Relaxed)],
        Model(Some(2), wait_set::woken_in_vain),
    ),
    // Watching.
    (&[at("watch", "arm", "waiting.fetch_add", Release, Relaxed)], Nothing(COMES)),
    (
        &[at("watch", "call", "fence", SeqCst, Relaxed)],
        Nothing("the models of watching drop the light fence, and find that"),
    ),
    (&[at("watch", "call", "waiting.load", Acquire, Relaxed)], Nothing(COMES)),
];

fn found_weak(file: &str) {
    for (sites, by) in ROWS {
        let Site { function, line, .. } = sites[0];
        let name = format!("{file}, {function}, {line}");
        let mutant = Mutant::Weak(sites);
        match *by {
            _ if sites[0].file != file => {}
            Model(bound, model) => completely(|| fails(&name, mutant, "", bound, model)),
            Deaths(bound, model) => {
                completely(|| fails_for_some_end(&name, mutant, "", bound, Killed, model));
            }
            Nothing(why) => println!("{name}: {:?} not found: {why}", sites[0].weak),
        }
    }
}

#[test]
fn of_blocks() {
    found_weak("blocks");
}

#[test]
fn of_the_broadcast_ring() {
    found_weak("broadcast/limit");
    found_weak("broadcast/publish");
    found_weak("broadcast/read");
    found_weak("broadcast/reliable");
}

#[test]
fn of_calls() {
    found_weak("calls/word");
}

#[test]
fn of_creation() {
    found_weak("creation");
}

#[test]
fn of_events_and_the_gate() {
    found_weak("bell");
    found_weak("event");
    found_weak("gate");
    found_weak("wait/registration");
    found_weak("wait/set");
    found_weak("watch");
}

#[test]
fn of_the_journal_and_the_ends_of_lives() {
    found_weak("journal");
    found_weak("death_record");
}

#[test]
fn of_the_ring_of_many() {
    found_weak("mpmc/queue");
    found_weak("mpmc/recover");
    found_weak("recovery");
    found_weak("mpmc/observe");
}

#[test]
fn of_joint_sends() {
    found_weak("joint");
}

#[test]
fn of_roles_and_the_ring_of_two() {
    found_weak("role");
    found_weak("spsc");
}

#[test]
fn of_the_table() {
    found_weak("table");
}

/// No ordering is without a row, and no row without an ordering.
#[test]
fn the_list_is_complete() {
    let mut used = vec![0; ROWS.len()];
    for (file, source) in mutant::SOURCES {
        let lines = mutant::lines(source);
        for (at, (function, line)) in lines.iter().enumerate() {
            for (name, order, halves) in [
                ("Acquire", Acquire, 1),
                ("Release", Release, 1),
                ("AcqRel", AcqRel, 2),
                ("SeqCst", SeqCst, 1),
            ] {
                if !line.contains(&format!("Ordering::{name}")) {
                    continue;
                }
                // The access may begin some lines before.
                let access: Vec<_> = lines[at.saturating_sub(3)..=at].iter().collect();
                let meant = |site: &Site| {
                    (site.file, site.function, site.order) == (file, function, order)
                        && access.iter().any(|(_, line)| line.contains(site.line))
                };
                let rows =
                    ROWS.iter().enumerate().filter(|(_, (sites, _))| sites.iter().any(meant));
                let rows: Vec<_> = rows.map(|(row, _)| row).collect();
                let whole = ROWS
                    .iter()
                    .flat_map(|(sites, _)| *sites)
                    .any(|site| meant(site) && order == AcqRel && site.weak == Relaxed);
                assert!(whole || rows.len() >= halves, "{file}.rs:{}: {line}", at + 1);
                rows.iter().for_each(|&row| used[row] += 1);
            }
        }
    }
    let unused = ROWS.iter().zip(&used).find(|(_, used)| **used == 0);
    assert!(unused.is_none(), "no such ordering: {:?}", unused.map(|((sites, _), _)| sites));
}
