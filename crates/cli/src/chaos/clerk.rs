//! Sorts the notes by time before the judge reads them.

use super::judge::{End, Findings, Judge, Seat};
use super::ledger::Note;

#[derive(Debug)]
pub(crate) struct Clerk {
    judge: Judge,
    /// Not yet heard by the judge.
    pending: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    at: u64,
    seat: Seat,
    life: u32,
    what: What,
}

#[derive(Debug)]
enum What {
    Note(Note),
    End(End),
}

impl Clerk {
    pub(crate) const fn new(judge: Judge) -> Self {
        Self { judge, pending: Vec::new() }
    }

    /// Different messages received so far.
    pub(crate) const fn messages(&self) -> u64 {
        self.judge.messages()
    }

    pub(crate) fn note(&mut self, seat: Seat, life: u32, at: u64, note: Note) {
        self.pending.push(Entry { at, seat, life, what: What::Note(note) });
    }

    pub(crate) fn end(&mut self, seat: Seat, life: u32, at: u64, end: End) {
        self.pending.push(Entry { at, seat, life, what: What::End(end) });
    }

    /// Tells the judge what happened until `horizon`, a time before the books
    /// were last read. A later note may have a cause that has not been read
    /// yet, but no earlier one has: what it rests on had been written by then.
    pub(crate) fn tell_until(&mut self, horizon: u64) {
        self.pending.sort_by_key(|entry| entry.at);
        let due = self.pending.partition_point(|entry| entry.at <= horizon);
        for Entry { at, seat, life, what } in self.pending.drain(..due) {
            match what {
                What::Note(note) => self.judge.hear(seat, life, at, note),
                What::End(end) => self.judge.end(seat, life, end),
            }
        }
    }

    /// The verdict, when all books have been read to their ends.
    pub(crate) fn conclude(mut self) -> Findings {
        self.tell_until(u64::MAX);
        self.judge.conclude()
    }
}
