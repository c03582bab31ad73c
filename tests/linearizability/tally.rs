//! What a run of histories has had in it.

use std::fmt::Display;

use crate::check::Judgement;
use crate::history::History;

/// What the histories judged so far have had in them.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) histories: usize,
    pub(crate) calls: usize,
    pub(crate) overlaps: usize,
    pub(crate) kills: usize,
    /// Kills in a call.
    pub(crate) cut_off: usize,
    /// The most states that one has taken to judge.
    pub(crate) most_states: usize,
}

impl Tally {
    /// Counts a history, whose judgement must be that it is right.
    pub(crate) fn add<S>(&mut self, history: &History<S>, judgement: Judgement, seed: u64)
    where
        History<S>: Display,
    {
        let n = self.histories;
        match judgement {
            Judgement::Right(states) => self.most_states = self.most_states.max(states),
            judgement => panic!("{judgement:?}, seed {seed}, the {n}th history: {history}"),
        }
        self.histories += 1;
        self.calls += history.ops.len();
        self.overlaps += history.overlaps();
        self.kills += history.kills.len();
        self.cut_off += history.cut_off();
    }
}
