//! The audit of a channel at rest, as far as it depends on the channel's kind.

use core::fmt::Display;
use core::mem::offset_of;
use std::sync::Arc;

use crate::ring::table::{MemberState, MemberWord};
use crate::storage::Memory;
use crate::storage::layout::{BlockPlan, Control, Row};
use crate::storage::report::{Report, hex, place, read, reserved};
use crate::sync::AtomicU64;

/// A participant's slot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Person {
    pub(crate) word: u64,
    /// `None` of a word that none of us writes.
    pub(crate) member: Option<MemberWord>,
    /// Its semaphore, where the set could be read.
    pub(crate) liveness: Option<u16>,
}

impl Person {
    pub(crate) fn state(&self) -> Option<MemberState> {
        self.member.map(|member| member.state)
    }

    /// The number of its life: of the last one, if the slot is free.
    pub(crate) fn incarnation(&self) -> u64 {
        self.member.map_or(0, |member| member.incarnation)
    }

    /// Whether it has died and nobody has swept it yet.
    pub(crate) fn is_unswept(&self) -> bool {
        match self.state() {
            Some(MemberState::Dead) => true,
            Some(MemberState::Live) => self.liveness == Some(0),
            _ => false,
        }
    }

    /// Whether it takes part, for all that is known.
    pub(crate) fn is_alive(&self) -> bool {
        self.state() == Some(MemberState::Live) && !self.is_unswept()
    }

    /// Whether something may be its own: it lives, or is still to be swept.
    pub(crate) fn may_hold(&self) -> bool {
        matches!(self.state(), Some(MemberState::Live | MemberState::Dead))
    }
}

/// A channel under audit.
pub(crate) struct Audited<'a> {
    pub(crate) memory: &'a Arc<Memory>,
    /// Where its block begins.
    pub(crate) offset: usize,
    pub(crate) plan: BlockPlan,
    /// The most bytes of a message.
    pub(crate) longest: usize,
    /// What faults call it.
    pub(crate) whose: String,
    /// Whether a dead participant of it is still to be swept.
    pub(crate) unswept: bool,
    pub(crate) people: &'a [Person],
    pub(crate) report: &'a mut Report,
}

impl<'a> Audited<'a> {
    /// Where a control word is.
    pub(crate) fn at(&self, offset: usize) -> String {
        place(&self.whose, self.offset + offset)
    }

    pub(crate) fn control(&self) -> Option<&'a Control> {
        self.memory.at(self.offset)
    }

    /// What the channel knows of a participant: who it is there for, and how many
    /// endpoints it has.
    pub(crate) fn endpoints(&self, id: u16) -> u64 {
        let at = self.offset + self.plan.rows + size_of::<Row>() * usize::from(id);
        self.memory.at::<Row>(at).map_or(0, |row| read(&row.endpoints))
    }

    pub(crate) fn person(&self, id: u64) -> Option<Person> {
        usize::try_from(id).ok().and_then(|id| self.people.get(id)).copied()
    }

    /// All that live, or are still to be swept.
    pub(crate) fn present(&self) -> impl Iterator<Item = (u16, Person)> + use<'a> {
        (0..).zip(self.people.iter().copied()).filter(|(_, person)| person.may_hold())
    }

    /// The word at an offset in the segment; zero for one outside, which the
    /// checked plans do not make.
    pub(crate) fn word(&self, at: usize) -> u64 {
        self.memory.at::<AtomicU64>(at).map_or(0, read)
    }

    /// Reports a control word.
    pub(crate) fn fault(
        &mut self,
        what: &str,
        offset: usize,
        found: impl Display,
        expected: impl Display,
    ) {
        let at = self.at(offset);
        self.report.fault(what, at, found, expected);
    }

    /// That the roles and the marks of SPSC, which no other kind has, are zero.
    pub(crate) fn has_no_roles(&mut self) {
        let Some(control) = self.control() else { return };
        let (sending, receiving) = (&control.sending, &control.receiving);
        self.unused(&[
            ("producer", &sending.producer, offset_of!(Control, sending.producer)),
            ("pledge", &sending.pledge, offset_of!(Control, sending.pledge)),
            ("consumer", &receiving.consumer, offset_of!(Control, receiving.consumer)),
            ("taker", &receiving.taker, offset_of!(Control, receiving.taker)),
        ]);
        let marks = self.offset + offset_of!(Control, receiving.in_flight);
        reserved(self.report, &self.whose, &receiving.in_flight, marks);
    }

    /// That words which only other kinds use are zero.
    pub(crate) fn unused(&mut self, words: &[(&str, &AtomicU64, usize)]) {
        for &(what, word, at) in words {
            let word = read(word);
            if word != 0 {
                self.fault(what, at, hex(word), "0 in a channel of this kind");
            }
        }
    }
}

/// What the audit asks of a kind.
pub(crate) trait Audit {
    /// Checks that the control words of other kinds are not used.
    fn unused(&self, channel: &mut Audited<'_>);

    /// Checks the words of this kind, and what is in the block behind the rows.
    fn audit(&self, channel: &mut Audited<'_>);
}
