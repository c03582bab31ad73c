//! The processes that play a round, and what they have done in it.

use core::fmt::Display;
use std::time::{Duration, Instant};

use crate::actor::dawdle;
use crate::common::{PATIENCE, Peer};
use crate::history::{Kill, Op};
use crate::tape::{Beat, MOST, Seat, Tape, now, wait_for};

/// Which process is killed: once it has made so many calls, if it does so in time, and so many
/// pauses later.
pub(crate) struct Victim {
    pub(crate) who: usize,
    pub(crate) calls: usize,
    pub(crate) pauses: u16,
    pub(crate) patience: Duration,
}

/// Processes that are there for one round after the other, until they are killed.
pub(crate) struct Cast {
    /// Starts one, in the file whose `child_entry` it runs.
    start: fn(&[&dyn Display]) -> Peer,
    segment: String,
    tape: Tape,
    actors: Vec<Option<Peer>>,
    round: u64,
}

impl Cast {
    pub(crate) fn new(start: fn(&[&dyn Display]) -> Peer, segment: &str) -> Self {
        let actors = (0..MOST).map(|_| None).collect();
        Self { start, segment: segment.to_owned(), tape: Tape::new(), actors, round: 0 }
    }

    /// Plays a round: each process is told a number and its program.
    pub(crate) fn play(
        &mut self,
        parts: &[(usize, Vec<Beat>)],
        victim: Option<Victim>,
    ) -> (Vec<Op>, Vec<Kill>) {
        self.round += 1;
        let round = self.round;
        for who in 0..parts.len() {
            if self.actors[who].is_none() {
                self.tape.seat(who).assign(0, 0, &[]);
                let (name, id) = (&*self.segment, self.tape.id());
                self.actors[who] = Some((self.start)(&[&name, &id, &who, &round]));
            }
        }
        for (who, (number, program)) in parts.iter().enumerate() {
            self.tape.seat(who).assign(round, *number, program);
        }
        for who in parts.len()..MOST {
            self.tape.seat(who).assign(round, 0, &[]);
        }
        let present: Vec<usize> = (0..MOST).filter(|who| self.actors[*who].is_some()).collect();
        self.wait_for_all(&present, |seat| seat.is_ready(round));
        self.tape.go(round);
        let kills: Vec<Kill> = victim.map(|victim| self.kill(&victim)).into_iter().collect();
        let alive: Vec<usize> =
            present.into_iter().filter(|who| self.actors[*who].is_some()).collect();
        self.wait_for_all(&alive, |seat| seat.is_done(round));
        let each = parts.iter().enumerate();
        let ops = each.flat_map(|(who, (_, program))| self.tape.seat(who).ops(who, program));
        (ops.collect(), kills)
    }

    fn wait_for_all(&self, who: &[usize], are: impl Fn(&Seat<'_>) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        wait_for(|| {
            assert!(Instant::now() < deadline, "somebody does not begin, or end");
            who.iter().all(|&who| are(&self.tape.seat(who)))
        });
    }

    /// In the middle of a call, if it comes to that.
    fn kill(&mut self, victim: &Victim) -> Kill {
        let Victim { who, calls, pauses, patience } = *victim;
        let until = Instant::now() + patience;
        let seat = self.tape.seat(who);
        while !seat.has_called(calls) && !seat.is_done(self.round) && Instant::now() < until {
            std::hint::spin_loop();
        }
        dawdle(pauses);
        let actor = self.actors[who].take().unwrap();
        let sent = now();
        actor.kill();
        actor.finish();
        Kill { who, sent, dead: now() }
    }
}

impl Drop for Cast {
    fn drop(&mut self) {
        (0..MOST).for_each(|who| self.tape.seat(who).dismiss());
    }
}
