//! Histories of real processes, some of them stopped or killed, against the
//! written specification of a queue ([`queue`]).
//!
//! ```text
//!  queue    the specification
//!  check    whether a history keeps to it
//!  step     what a call may come to next
//!  wrong    made-up histories that do not
//!  history  calls, answers and kills, with their times
//!  tape     where processes read what to do, and note what they have done
//!  actor    such a process
//!  play     has them play, and kills some
//! ```
//!
//! For a long run:
//!
//! ```sh
//! TOMBOLO_HISTORIES=1000000 cargo test --test linearizability -- --nocapture
//! ```

#![allow(unsafe_code)]

mod actor;
mod check;
#[path = "../common/mod.rs"]
mod common;
mod history;
mod play;
mod queue;
mod step;
mod tape;
mod wrong;

use std::time::Instant;

use check::{Judgement, check};
use play::Stage;

/// How many histories are recorded unless it is said otherwise.
const HISTORIES: usize = 2_000;

#[test]
fn what_processes_do_is_what_a_queue_does() {
    let asked = std::env::var("TOMBOLO_HISTORIES").ok();
    let histories = asked.map_or(HISTORIES, |number| number.parse().unwrap());
    let seed = std::env::var("TOMBOLO_SEED")
        .map_or_else(|_| tombolo::sys::proc::random_u64().unwrap(), |seed| seed.parse().unwrap());
    println!("seed {seed}");
    let start = Instant::now();
    let mut stage = Stage::new(seed);
    let (mut calls, mut kills, mut cut, mut held, mut overlaps, mut most) = (0, 0, 0, 0, 0, 0);
    for n in 0..histories {
        let history = stage.play();
        match check(&history) {
            Judgement::Right(states) => most = most.max(states),
            judgement => panic!("{judgement:?}, seed {seed}, the {n}th history: {history}"),
        }
        calls += history.ops.len();
        kills += history.kills.len();
        cut += history.cut_off();
        held += history.held();
        overlaps += history.overlaps();
    }
    println!(
        "{histories} histories, {calls} calls of which {overlaps} pairs overlap, {kills} kills \
         of which {cut} in a call and {held} over a grant or a delivery, {} stops, at most {most} states to a history, {:.1} s",
        stage.stops,
        start.elapsed().as_secs_f32(),
    );
    assert!(histories == 0 || calls > histories && overlaps > 0, "nothing happens in them");
}
