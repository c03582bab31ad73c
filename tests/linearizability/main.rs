//! Checks histories of real processes, some of them stopped or killed, against the written
//! specification of a queue ([`queue`]), of a broadcast channel ([`board`]), or of calls
//! ([`service`]).
//!
//! ```text
//!  queue    the specification
//!  board    that of a broadcast channel, and what follows from it for each call
//!  watch    runs publishers and subscribers, and kills some
//!  service  that of calls, and what follows from it for each step of a client and a server
//!  serve    runs clients and servers, and kills some
//!  cast     runs the processes of a round for these two
//!  check    checks a history against it
//!  step     the next events of a call
//!  wrong    invented histories that violate it
//!  history  calls, answers and kills, with their times
//!  tape     where processes read what to do, and note what they have done
//!  actor    such a process
//!  play     runs the processes, and kills some
//! ```

#![allow(unsafe_code)]

mod actor;
mod board;
mod cast;
mod check;
#[path = "../common/mod.rs"]
mod common;
mod history;
mod play;
mod queue;
mod serve;
mod service;
mod step;
mod tally;
mod tape;
mod watch;
mod wrong;

use std::time::Instant;

use check::check;
use common::effort;
use play::Stage;
use tally::Tally;

#[test]
fn what_processes_do_is_what_a_queue_does() {
    let (histories, seed) = (effort::rounds(400, 4_000) as usize, effort::seed());
    let start = Instant::now();
    let mut stage = Stage::new(seed);
    let (mut tally, mut held) = (Tally::default(), 0);
    for _ in 0..histories {
        let history = stage.play();
        tally.add(&history, check(&history), seed);
        held += history.held();
    }
    let Tally { calls, overlaps, kills, cut_off, most_states, .. } = tally;
    println!(
        "{histories} histories, {calls} calls of which {overlaps} pairs overlap, {kills} kills \
         of which {cut_off} in a call and {held} over a grant or a delivery, {} stops, at most {most_states} states to a history, {:.1} s",
        stage.stops,
        start.elapsed().as_secs_f32(),
    );
    assert!(histories == 0 || calls > histories && overlaps > 0, "nothing happens in them");
}
