//! Kills processes before every step of the library, and checks the guarantees with the
//! survivors.
//!
//! A play is a channel in some state and a process that does something with it. One
//! performance counts the steps. Then each step is the last one in a performance of its
//! own. A step is every use of an atomic in a segment, every system call that changes
//! something, and the middle of every copy ([`crash`](tombolo::sys::crash)).

#![allow(unsafe_code, missing_docs)]

extern crate tombolo_crash_points as tombolo;

#[path = "../../../common/mod.rs"]
mod common;

mod actor;
mod clones;
mod deeds;
mod duels;
mod judge;
mod ledger;
mod places;
mod play;

use std::collections::BTreeSet;
use std::time::Duration;

use common::ends::Ring;
use common::{Brief, Peer, effort, own_tables};
use deeds::Deed;
use duels::Duel;
use ledger::{Doom, Ledger};
use play::{Act, Play, Plot, perform};
use tombolo::sys::crash::End;

/// Longer than a director says nothing.
const SILENCE: Duration = Duration::from_secs(60);

/// After so many, a director gives up.
const MOST_FAILURES: u64 = 4;

/// The treatment of the victims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Programme {
    /// Nothing: their steps are counted.
    Counting,
    Killing,
    Stopping,
    /// Killed, and whoever sweeps them too.
    Sweeping,
}

const PROGRAMMES: [Programme; 4] =
    [Programme::Counting, Programme::Killing, Programme::Stopping, Programme::Sweeping];

/// How many groups of plays there are; the next is that of the deeds.
const PLAYS: usize = 12;

/// And the group of the duels.
const DUELS: usize = PLAYS + 1;

/// And that of the clones.
const CLONES: usize = PLAYS + 2;

/// Plays that one director performs.
fn repertoire(group: usize) -> Vec<Play> {
    let (ring, class) = (Ring::ALL[group / 3], group % 3);
    let belongs = |play: &Play| {
        play.ring == ring
            && class
                == match play.act {
                    Act::Attach => 2,
                    act if act.sends() => 0,
                    _ => 1,
                }
    };
    Play::all().into_iter().filter(belongs).collect()
}

/// Of how many plays and deeds an everyday run performs one; and of how many points
/// of theirs, and of a sweeper's.
const PLAYS_SAMPLED: u64 = 8;
const DEEDS_SAMPLED: u64 = 3;
const POINTS_SAMPLED: u64 = 8;
const SWEEPERS_SAMPLED: u64 = 16;
/// The latter in a long run: every point of a victim, and a part of the pairs.
const PAIRS_SAMPLED: u64 = 3;
/// In how many rounds an everyday run looks for the points of who comes after.
const ROUNDS: u64 = 4;

/// Whether two die at every pair of their steps: that takes several times as long.
fn thorough() -> bool {
    effort::times() > 1
}

/// The steps that are worth being the last: the first times at a point, and
/// the last. Of two who die, each at the first only, unless all is asked for.
fn occasions(points: &[(String, u64)], two: bool) -> Vec<(String, u64)> {
    let brief = two && !thorough();
    let mut occasions = Vec::new();
    for (at, times) in points {
        let mut chosen = if brief { vec![1] } else { vec![1, 2.min(*times), *times] };
        chosen.dedup();
        occasions.extend(chosen.into_iter().map(|time| (at.clone(), time)));
    }
    occasions
}

/// A sample of these, or all in a long run.
fn sampled<T: Clone>(all: &[T], one_in: u64, seed: u64) -> Vec<T> {
    // At least one.
    let one_in = one_in.min(all.len() as u64).max(1);
    let taken = all.iter().zip(0..).filter(|(_, n)| effort::sampled(one_in, seed, *n));
    taken.map(|(one, _)| one.clone()).collect()
}

struct Director<'a> {
    brief: &'a Brief,
    seed: u64,
    ledger: Ledger,
    reached: BTreeSet<String>,
    performances: u64,
    failures: u64,
}

impl Director<'_> {
    /// Says now and then that it goes on.
    fn performed(&mut self) {
        self.performances += 1;
        if self.performances.is_multiple_of(20) {
            self.brief.say("");
        }
    }

    /// A sample of a sweeper's points, another for each performance; all of them only
    /// if all is asked for.
    fn of_sweepers(&self, points: &[(String, u64)]) -> Vec<(String, u64)> {
        let all = occasions(points, true);
        let one_in = match effort::times() {
            0 => SWEEPERS_SAMPLED,
            1 => PAIRS_SAMPLED,
            _ => return all,
        };
        let nth = self.seed.wrapping_add(self.performances);
        let one_in = one_in.min(all.len() as u64).max(1);
        let taken = all.into_iter().zip(0..).filter(|(_, n)| n % one_in == nth % one_in);
        taken.map(|(occasion, _)| occasion).collect()
    }

    /// A sample of the occasions, another for each performance.
    fn occasions(&self, points: &[(String, u64)], two: bool, one_in: u64) -> Vec<(String, u64)> {
        sampled(&occasions(points, two), one_in, self.seed.wrapping_add(self.performances))
    }

    fn perform(&mut self, play: Play, victim: Doom, sweeper: Option<Doom>) -> bool {
        let plot = Plot { victim, sweeper };
        self.performed();
        let done = perform(play, &plot, &self.ledger);
        if let Err(why) = &done {
            self.failures += 1;
            self.brief.say(format!("FAILED {play:?}, {plot:?}: {why}"));
        }
        done.is_ok()
    }

    /// Says which points were reached, each once.
    fn report(&mut self, points: &[(String, u64)]) {
        for (at, _) in points {
            if self.reached.insert(at.clone()) {
                self.brief.say(format!("POINT {at}"));
            }
        }
    }

    /// The plays of a group that are performed. To count the points takes all of them.
    fn chosen<T: Clone>(&self, programme: Programme, all: Vec<T>, one_in: u64) -> Vec<T> {
        if programme == Programme::Counting { all } else { sampled(&all, one_in, self.seed) }
    }

    fn count(&mut self, play: Play) -> Vec<(String, u64)> {
        if self.perform(play, Doom::Watched, None) { self.ledger.points() } else { Vec::new() }
    }

    fn direct(&mut self, programme: Programme, play: Play) {
        let points = self.count(play);
        if programme == Programme::Counting {
            self.report(&points);
            // And those of who sweeps.
            for (at, _) in sampled(&points, ROUNDS, self.seed) {
                let doom = Doom::At(at, 1, End::Killed);
                if self.perform(play, doom, Some(Doom::Watched)) {
                    let points = self.ledger.points();
                    self.report(&points);
                }
            }
            return;
        }
        for (at, time) in self.occasions(&points, programme == Programme::Sweeping, POINTS_SAMPLED)
        {
            let doom = |end| Doom::At(at.clone(), time, end);
            match programme {
                Programme::Killing => drop(self.perform(play, doom(End::Killed), None)),
                Programme::Stopping => drop(self.perform(play, doom(End::Stopped), None)),
                _ => self.sweep(play, &doom(End::Killed)),
            }
            if self.failures > MOST_FAILURES {
                return;
            }
        }
    }

    /// Has sweepers of one victim die at each of their own steps.
    fn sweep(&mut self, play: Play, victim: &Doom) {
        if !self.perform(play, victim.clone(), Some(Doom::Watched)) {
            return;
        }
        for (at, time) in self.of_sweepers(&self.ledger.points()) {
            let sweeper = Doom::At(at, time, End::Killed);
            if self.failures > MOST_FAILURES {
                return;
            }
            self.perform(play, victim.clone(), Some(sweeper));
        }
    }
}

impl Director<'_> {
    fn do_deed(&mut self, deed: Deed, dooms: &[&Doom]) -> bool {
        self.performed();
        let done = deeds::perform(deed, dooms, &self.ledger);
        if let Err(why) = &done {
            self.failures += 1;
            self.brief.say(format!("FAILED {deed:?}, {dooms:?}: {why}"));
        }
        done.is_ok()
    }

    fn direct_deed(&mut self, programme: Programme, deed: Deed) {
        // Two who die over commands are two who die, and take long.
        if programme == Programme::Sweeping && deed.commands() && !thorough() {
            return;
        }
        if !self.do_deed(deed, &[&Doom::Watched]) {
            return;
        }
        let points = self.ledger.points();
        if programme == Programme::Counting {
            self.report(&points);
            // And those of who comes after one who died over it.
            for (at, time) in sampled(&occasions(&points, true), ROUNDS, self.seed) {
                let doom = Doom::At(at, time, End::Killed);
                if self.do_deed(deed, &[&doom, &Doom::Watched]) {
                    let points = self.ledger.points();
                    self.report(&points);
                }
            }
            return;
        }
        let end = if programme == Programme::Stopping { End::Stopped } else { End::Killed };
        for (at, time) in self.occasions(&points, programme == Programme::Sweeping, POINTS_SAMPLED)
        {
            let doom = Doom::At(at, time, end);
            if programme != Programme::Sweeping {
                self.do_deed(deed, &[&doom]);
            } else if self.do_deed(deed, &[&doom, &Doom::Watched]) {
                for (at, time) in self.of_sweepers(&self.ledger.points()) {
                    self.do_deed(deed, &[&doom, &Doom::At(at, time, End::Killed)]);
                    if self.failures > MOST_FAILURES {
                        return;
                    }
                }
            }
            if self.failures > MOST_FAILURES {
                return;
            }
        }
    }
}

impl Director<'_> {
    fn fight(&mut self, duel: Duel, maker: &Doom, clearer: &Doom) -> bool {
        self.performed();
        let done = duels::perform(duel, maker, clearer, &self.ledger);
        if let Err(why) = &done {
            self.failures += 1;
            self.brief.say(format!("FAILED {duel:?}, {maker:?}, {clearer:?}: {why}"));
        }
        done.is_ok()
    }

    /// Stops both at every step of theirs.
    fn direct_duel(&mut self, duel: Duel) {
        let stopped = |(at, time)| Doom::At(at, time, End::Stopped);
        // Nothing is named so: the clearer alone is watched, or the maker.
        let nowhere = || stopped((String::from("nowhere"), 1));
        if !self.fight(duel, &Doom::Watched, &nowhere()) {
            return;
        }
        for maker in
            self.occasions(&self.ledger.points(), false, POINTS_SAMPLED).into_iter().map(stopped)
        {
            if !self.fight(duel, &maker, &Doom::Watched) {
                return;
            }
            for clearer in self
                .occasions(&self.ledger.points(), false, SWEEPERS_SAMPLED)
                .into_iter()
                .map(stopped)
            {
                self.fight(duel, &maker, &clearer);
                if self.failures > MOST_FAILURES {
                    return;
                }
            }
        }
    }
}

impl Director<'_> {
    fn clone_once(&mut self, doom: &Doom) -> bool {
        self.performed();
        clones::perform(doom, &self.ledger).unwrap_or_else(|why| {
            self.failures += 1;
            self.brief.say(format!("FAILED to clone, {doom:?}: {why}"));
            false
        })
    }

    /// Stops a cloning subscriber at every step.
    fn direct_clones(&mut self) {
        self.clone_once(&Doom::Watched);
        let mut slept = false;
        for (at, time) in occasions(&self.ledger.points(), false) {
            slept |= self.clone_once(&Doom::At(at, time, End::Stopped));
            if self.failures > MOST_FAILURES {
                return;
            }
        }
        if !slept {
            self.brief.say("FAILED: no publisher had to wait");
        }
    }
}

/// Runs a programme in a process of its own; what it says, line by line.
fn evening(programme: Programme, group: usize, seed: u64) -> Vec<String> {
    let director = Peer::start("direct", &[&(programme as usize), &group, &seed]);
    let mut lines = Vec::new();
    loop {
        let line = director.said_within(SILENCE).expect("the director stalls");
        if line.is_empty() {
            continue;
        }
        if let Some(sum) = line.strip_prefix("DONE ") {
            println!("{programme:?} {group}: {sum}");
            return lines;
        }
        lines.push(line);
    }
}

fn no_failure(programme: Programme, group: usize) {
    let failed = evening(programme, group, effort::seed());
    assert!(failed.is_empty(), "{} failures:\n{}", failed.len(), failed.join("\n"));
}

/// A role for a child process, not a test.
#[test]
#[ignore = "run by other tests, as another process"]
fn child_entry() {
    let Some(brief) = Brief::take() else { return };
    let programme = PROGRAMMES[brief.number::<usize>(0)];
    let mut director = Director {
        brief: &brief,
        seed: brief.number(2),
        ledger: Ledger::new(),
        reached: BTreeSet::new(),
        performances: 0,
        failures: 0,
    };
    let group = brief.number(1);
    if group == PLAYS && own_tables() {
        for deed in director.chosen(programme, Deed::ALL.to_vec(), DEEDS_SAMPLED) {
            director.direct_deed(programme, deed);
        }
    }
    if group == DUELS && own_tables() {
        Duel::ALL.iter().for_each(|&duel| director.direct_duel(duel));
    }
    if group == CLONES && own_tables() {
        director.direct_clones();
    }
    let plays = if group < PLAYS { repertoire(group) } else { Vec::new() };
    for play in director.chosen(programme, plays, PLAYS_SAMPLED) {
        director.direct(programme, play);
        if director.failures > MOST_FAILURES {
            break;
        }
    }
    let Director { performances, failures, .. } = director;
    brief.say(format!("DONE {performances} performances, {failures} failures"));
}

macro_rules! programmes {
    ($($name:ident: $programme:ident;)*) => {
        $(mod $name {
            use super::{Programme, no_failure};
            #[test] fn senders_of_spsc() { no_failure(Programme::$programme, 0); }
            #[test] fn receivers_of_spsc() { no_failure(Programme::$programme, 1); }
            #[test] fn newcomers_of_spsc() { no_failure(Programme::$programme, 2); }
            #[test] fn senders_of_mpmc() { no_failure(Programme::$programme, 3); }
            #[test] fn receivers_of_mpmc() { no_failure(Programme::$programme, 4); }
            #[test] fn newcomers_of_mpmc() { no_failure(Programme::$programme, 5); }
            #[test] fn senders_of_spsc_bytes() { no_failure(Programme::$programme, 6); }
            #[test] fn receivers_of_spsc_bytes() { no_failure(Programme::$programme, 7); }
            #[test] fn newcomers_of_spsc_bytes() { no_failure(Programme::$programme, 8); }
            #[test] fn senders_of_mpmc_bytes() { no_failure(Programme::$programme, 9); }
            #[test] fn receivers_of_mpmc_bytes() { no_failure(Programme::$programme, 10); }
            #[test] fn newcomers_of_mpmc_bytes() { no_failure(Programme::$programme, 11); }
            #[test] fn creators_and_removers() { no_failure(Programme::$programme, 12); }
        })*
    };
}

programmes! {
    killed_before_every_step: Killing;
    stopped_before_every_step: Stopping;
    swept_by_one_who_is_killed: Sweeping;
}

#[test]
fn who_clears_away_leaves_what_is_being_made() {
    no_failure(Programme::Stopping, DUELS);
}

#[test]
fn a_publisher_that_waits_for_a_clone_where_it_begins_goes_on() {
    no_failure(Programme::Stopping, CLONES);
}

#[test]
fn every_point_is_reached() {
    let mut reached = BTreeSet::new();
    let mut missed = Vec::new();
    let seed = effort::seed();
    // Some depend on who is faster; and a sample has not all of them.
    for round in 0..5 + ROUNDS {
        for group in 0..=PLAYS {
            for line in evening(Programme::Counting, group, seed + round) {
                let point = line.strip_prefix("POINT ").unwrap_or_else(|| panic!("{line}"));
                reached.insert(places::place(point).to_owned());
            }
        }
        missed = places::missed(&reached);
        if missed.is_empty() {
            break;
        }
    }
    println!("{} points are reached", reached.len());
    assert!(missed.is_empty(), "{} are not:\n{}", missed.len(), missed.join("\n"));
}
