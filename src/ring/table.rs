//! The participants' table: joining, leaving, and finding the dead.
//!
//! One word for each slot, and beside it a liveness semaphore in the set:
//!
//! ```text
//!                 join: {L wait 0, +1 undo}, then the word
//!  FREE(i−1) ─────────────────────────────────────────▶ LIVE(i)
//!                                                        │   │
//!  FREE(i) ◀── leave: the word, then L −1 ───────────────┘   │ look: L is 0,
//!    ▲                                                       │ the word unchanged
//!    └────────── the sweep is complete ─────── DEAD(i) ◀─────┘
//! ```
//!
//! Lives are numbered from 1, and number 0 is nobody's: a FREE slot has the
//! number of the last life in it. Every word of a segment that names a life has
//! its number in the upper half ([`INCARNATION_SHIFT`]).
//!
//! Death is a fact of one reading of the whole set: the set's generation is
//! right, a semaphore that the reader itself holds up is 1 (so this is the set
//! that it joined, in the namespace where it joined), the other's is 0, and
//! the word said LIVE with the same incarnation before and after. No pid and
//! no clock.
//!
//! Joining happens under the lease and only on FREE slots, so that no probe
//! ever raises the liveness of somebody who has just died. It waits for zero
//! because a leaver frees its word before it lowers its semaphore.
//!
//! Edges: every change of a word is Release and every reading Acquire. What
//! a participant does as incarnation i is therefore seen by whoever sees its
//! slot after that.

use super::kernel::{Kernel, Op, Refusal};
use super::set::SetMap;
use super::wake_all;
use crate::sync::{AtomicU64, Ordering};

/// Where the number of a life is, in every word that has one: the upper half.
pub(crate) const INCARNATION_SHIFT: u32 = 32;
const PHASE: u64 = (1 << INCARNATION_SHIFT) - 1;

/// What a slot's word says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Free,
    Live,
    Dead,
}

/// A slot's word, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) phase: Phase,
    pub(crate) incarnation: u64,
}

impl Entry {
    pub(crate) const fn word(self) -> u64 {
        let phase = match self.phase {
            Phase::Free => 0,
            Phase::Live => 1,
            Phase::Dead => 2,
        };
        self.incarnation << INCARNATION_SHIFT | phase
    }

    /// `None` for a word that none of us writes.
    pub(crate) const fn read(word: u64) -> Option<Self> {
        let phase = match word & PHASE {
            0 => Phase::Free,
            1 => Phase::Live,
            2 => Phase::Dead,
            _ => return None,
        };
        Some(Self { phase, incarnation: word >> INCARNATION_SHIFT })
    }

    /// The number of the life that comes after: numbers go round, past 0.
    const fn next_incarnation(self) -> u64 {
        if self.incarnation >= u32::MAX as u64 { 1 } else { self.incarnation + 1 }
    }
}

/// One participant: a slot and which of its lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    pub(crate) id: u16,
    pub(crate) incarnation: u64,
}

impl Member {
    const fn entry(self, phase: Phase) -> Entry {
        Entry { phase, incarnation: self.incarnation }
    }

    /// Whether the slot still says that this life is going on.
    pub(crate) fn is_live(self, table: &impl Table) -> bool {
        self.is(Phase::Live, table)
    }

    /// Whether the slot says that this life has ended and is being swept.
    pub(crate) fn is_dead(self, table: &impl Table) -> bool {
        self.is(Phase::Dead, table)
    }

    /// An id may come out of a message or a role that a peer wrote. One beyond
    /// the table belongs to nobody.
    fn is(self, phase: Phase, table: &impl Table) -> bool {
        self.id < table.map().participants
            && table.word(self.id).load(Ordering::Acquire) == self.entry(phase).word()
    }
}

/// Where the words are.
pub(crate) trait Table {
    fn map(&self) -> SetMap;
    /// The word of slot `id`, which is below `map().participants`.
    fn word(&self, id: u16) -> &AtomicU64;
}

/// Takes a free slot. The caller holds the lease.
///
/// `introduce` writes down who joins, before anybody can see it as living.
/// `None` when no slot is free.
pub(crate) fn join<K: Kernel>(
    kernel: &K,
    table: &impl Table,
    introduce: impl FnOnce(Member),
) -> Result<Option<Member>, Refusal> {
    for id in 0..table.map().participants {
        let word = table.word(id);
        let Some(entry) = Entry::read(word.load(Ordering::Acquire)) else {
            continue;
        };
        if entry.phase != Phase::Free {
            continue;
        }
        let liveness = table.map().liveness(id);
        match kernel.semop(&[Op::zero(liveness).no_wait(), Op::add(liveness, 1).undo()], None) {
            Ok(()) => {}
            // Somebody is on the way out of this slot.
            Err(Refusal::WouldBlock) => continue,
            Err(refusal) => return Err(refusal),
        }
        let member = Member { id, incarnation: entry.next_incarnation() };
        introduce(member);
        word.store(member.entry(Phase::Live).word(), Ordering::Release);
        return Ok(Some(member));
    }
    Ok(None)
}

/// Gives the slot back, and the credit on the wake-all semaphore with it. The caller holds
/// no claim, role or other credit any more.
pub(crate) fn leave<K: Kernel>(
    kernel: &K,
    table: &impl Table,
    member: Member,
) -> Result<(), Refusal> {
    // A failure means that somebody wrote over the slot; then it is not ours.
    let _ = table.word(member.id).compare_exchange(
        member.entry(Phase::Live).word(),
        member.entry(Phase::Free).word(),
        Ordering::AcqRel,
        Ordering::Relaxed,
    );
    let liveness = table.map().liveness(member.id);
    kernel.semop(&[Op::take(liveness, 1).undo().no_wait(), wake_all::LEAVE], None)
}

/// Room for one look, kept so that looking allocates nothing.
#[derive(Debug)]
pub(crate) struct Scratch {
    before: Vec<u64>,
    values: Vec<u16>,
    heard: u16,
}

impl Scratch {
    pub(crate) fn new(map: SetMap) -> Self {
        Self {
            before: vec![0; usize::from(map.participants)],
            values: vec![0; usize::from(map.count())],
            heard: 0,
        }
    }

    /// What a semaphore was at the last look.
    pub(crate) fn value(&self, sem: u16) -> u16 {
        self.values.get(usize::from(sem)).copied().unwrap_or(0)
    }

    /// Up to which stroke of the wake-all semaphore the last look has found all deaths.
    pub(crate) const fn heard(&self) -> u16 {
        self.heard
    }

    /// How many lived at the last look.
    pub(crate) fn living(&self, map: SetMap) -> usize {
        (0..map.participants).filter(|&id| self.value(map.liveness(id)) > 0).count()
    }
}

/// What a look refuses to conclude anything from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blind {
    /// The kernel did not give the values.
    Refused(Refusal),
    /// The set is not the one that was joined, or does not know the reader.
    NotMember,
}

/// Looks for deaths, once, and has each of them swept by `bury`.
///
/// `witness` is a semaphore that this process itself has raised: its own
/// liveness, or the lease that it holds.
///
/// Every slot found DEAD is swept too, whoever marked it: its finder may have
/// died over it. Returns whether there was anything to sweep.
pub(crate) fn look<K: Kernel>(
    kernel: &K,
    table: &impl Table,
    generation: u64,
    witness: u16,
    scratch: &mut Scratch,
    mut bury: impl FnMut(Member, &[u16]) -> Result<(), Refusal>,
) -> Result<bool, Blind> {
    for (id, before) in (0..).zip(scratch.before.iter_mut()) {
        *before = table.word(id).load(Ordering::Acquire);
    }
    kernel.values(&mut scratch.values).map_err(Blind::Refused)?;
    let value = |sem: u16| scratch.values.get(usize::from(sem)).copied();
    if SetMap::generation(&scratch.values) != Some(generation) || value(witness) != Some(1) {
        return Err(Blind::NotMember);
    }
    // Who has joined and died since its slot was read is not found, and has
    // struck the wake-all semaphore: what was heard then is what the wake-all semaphore is not.
    let same = |(id, before): (u16, &u64)| table.word(id).load(Ordering::Acquire) == *before;
    let missed = !(0..).zip(&scratch.before).all(same);
    scratch.heard = scratch.value(SetMap::WAKE_ALL).wrapping_sub(missed.into());
    let value = |sem: u16| scratch.values.get(usize::from(sem)).copied();
    let mut swept = false;
    for (id, &before) in (0..).zip(&scratch.before) {
        let Some(entry) = Entry::read(before) else {
            continue;
        };
        let member = Member { id, incarnation: entry.incarnation };
        let dead = match entry.phase {
            Phase::Free => false,
            Phase::Dead => member.is_dead(table),
            Phase::Live => {
                let marked = || {
                    table.word(id).compare_exchange(
                        before,
                        member.entry(Phase::Dead).word(),
                        Ordering::AcqRel,
                        Ordering::Relaxed,
                    )
                };
                // Where another look marked it first, that look may die
                // over the sweep, and its end need not wake this reader.
                value(table.map().liveness(id)) == Some(0)
                    && (marked().is_ok() || member.is_dead(table))
            }
        };
        if dead {
            bury(member, &scratch.values).map_err(Blind::Refused)?;
            // Complete: the slot may have its next life.
            let _ = table.word(id).compare_exchange(
                member.entry(Phase::Dead).word(),
                member.entry(Phase::Free).word(),
                Ordering::AcqRel,
                Ordering::Relaxed,
            );
            swept = true;
        }
    }
    Ok(swept)
}
