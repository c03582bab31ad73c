//! One reading of a segment: what is needed everywhere, and what was found.

use crate::kinds::audit::Person;
use crate::kinds::block::Block;
use crate::ring::set::SetMap;
use crate::ring::table::{MemberWord, Table as _};
use crate::segment::mapped::Mapped;
use crate::storage::report::{Report, hex, place};
use crate::sync::{AtomicU64, Ordering};

/// A segment while it is read.
pub(super) struct Reading<'a> {
    pub(super) mapped: &'a Mapped,
    /// Those of the set, if they could be read and are as many as they
    /// should be.
    pub(super) values: Option<Vec<u16>>,
    pub(super) people: Vec<Person>,
    pub(super) report: Report,
}

impl<'a> Reading<'a> {
    pub(super) fn new(mapped: &'a Mapped, values: Option<Vec<u16>>, report: Report) -> Self {
        let map = mapped.plan.map;
        let person = |id| {
            let word = mapped.word(id).load(Ordering::Acquire);
            let liveness =
                values.as_ref().and_then(|values| values.get(usize::from(map.liveness(id))));
            Person { word, member: MemberWord::read(word), liveness: liveness.copied() }
        };
        let people = (0..map.participants).map(person).collect();
        Self { mapped, values, people, report }
    }

    pub(super) fn value(&self, sem: u16) -> Option<u16> {
        self.values.as_ref()?.get(usize::from(sem)).copied()
    }

    pub(super) fn person(&self, id: u64) -> Option<Person> {
        usize::try_from(id).ok().and_then(|id| self.people.get(id)).copied()
    }

    /// All that live, or are still to be swept.
    pub(super) fn present(&self) -> impl Iterator<Item = (u16, Person)> + '_ {
        (0..).zip(self.people.iter().copied()).filter(|(_, person)| person.may_hold())
    }

    /// The word at an offset in the segment; zero for one outside, which the
    /// checked plans do not make.
    pub(super) fn word(&self, at: usize) -> u64 {
        self.mapped.memory.at::<AtomicU64>(at).map_or(0, |word| word.load(Ordering::Acquire))
    }

    /// That words are zero: the first that is not.
    // More parameters than 5: a finding has that many parts.
    pub(super) fn zero(
        &mut self,
        what: &str,
        whose: &str,
        at: usize,
        words: usize,
        expected: &str,
    ) {
        let found = (0..words).map(|n| at + 8 * n).find(|&at| self.word(at) != 0);
        if let Some(at) = found {
            let word = self.word(at);
            self.report.fault(what, place(whose, at), hex(word), expected);
        }
    }

    /// Whether a participant that has died, and is not swept, is in a channel:
    /// then the sweep will put right what else would be a fault.
    pub(super) fn unswept_in(&self, block: &Block) -> bool {
        self.present().any(|(id, person)| {
            person.is_unswept() && {
                let word = self.mapped.row(block, id).endpoints.load(Ordering::Acquire);
                word >> 32 == person.incarnation()
            }
        })
    }

    /// A number that stays as it is while nothing goes on.
    pub(super) fn progress(&self) -> u64 {
        let wake_all = self.value(SetMap::WAKE_ALL).map_or(0, u64::from);
        self.mapped.blocks().fold(wake_all, |sum, block| {
            let control = self.mapped.control(&block);
            [
                &control.changes,
                &control.sending.tail,
                &control.receiving.head,
                &control.waiting.items,
            ]
            .into_iter()
            .map(|word| word.load(Ordering::Relaxed))
            .fold(sum, u64::wrapping_add)
        })
    }
}
