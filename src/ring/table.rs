//! The participants' table: joining, leaving, and finding the dead.
//!
//! Each slot has one word, and a liveness semaphore in the set:
//!
//! ```text
//!                 join: {L wait 0, +1 undo}, then the word
//!  FREE(i−1) ─────────────────────────────────────────▶ LIVE(i)
//!                                                        │   │
//!  FREE(i) ◀── leave: the word, then L −1 ───────────────┘   │ scan: L is 0,
//!    ▲                                                       │ the word unchanged
//!    └────────── the sweep is complete ─────── DEAD(i) ◀─────┘
//! ```
//!
//! The lives of a slot are numbered from 1. Number 0 belongs to no life: a FREE
//! slot has the number of the last life in it. Every word of a segment that names
//! a life has its number in the upper half ([`INCARNATION_SHIFT`]).
//!
//! One reading of the whole set decides that a participant is dead. The set's
//! generation must be right. A semaphore that the reader itself holds up must be
//! 1: so this is the set that the reader joined, in the namespace where it
//! joined. The other's liveness must be 0, and its word must say LIVE with the
//! same incarnation before and after the reading. No pid and no clock take
//! part.
//!
//! A participant joins under the lease, and only on a FREE slot. So no joiner
//! ever raises the liveness of a participant that has just died. A joiner waits
//! for zero, because a leaver frees its word before it lowers its semaphore.
//!
//! Edge T: every change of a word is Release, and every reading is Acquire. So
//! a process that sees the slot of life i FREE, or in a later life, sees
//! everything that the participant did in life i.

use super::kernel::{Kernel, Op, Refusal};
use super::set::SetMap;
use super::wake_all;
use crate::sync::{AtomicU64, Ordering};

/// The first bit of a life's number, in every word that has one: the upper half.
pub(crate) const INCARNATION_SHIFT: u32 = 32;
const STATE: u64 = (1 << INCARNATION_SHIFT) - 1;

/// What a slot's word says of its participant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MemberState {
    Free,
    Live,
    Dead,
}

/// A slot's word, unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MemberWord {
    pub(crate) state: MemberState,
    pub(crate) incarnation: u64,
}

impl MemberWord {
    pub(crate) const fn word(self) -> u64 {
        let state = match self.state {
            MemberState::Free => 0,
            MemberState::Live => 1,
            MemberState::Dead => 2,
        };
        self.incarnation << INCARNATION_SHIFT | state
    }

    /// `None` for a word that this algorithm never writes.
    pub(crate) const fn read(word: u64) -> Option<Self> {
        let state = match word & STATE {
            0 => MemberState::Free,
            1 => MemberState::Live,
            2 => MemberState::Dead,
            _ => return None,
        };
        Some(Self { state, incarnation: word >> INCARNATION_SHIFT })
    }

    /// The number of the next life. Numbers wrap, and skip 0.
    const fn next_incarnation(self) -> u64 {
        if self.incarnation >= u32::MAX as u64 { 1 } else { self.incarnation + 1 }
    }
}

/// One participant: a slot, and which of the slot's lives it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    pub(crate) id: u16,
    pub(crate) incarnation: u64,
}

impl Member {
    const fn word_in(self, state: MemberState) -> u64 {
        MemberWord { state, incarnation: self.incarnation }.word()
    }

    /// Whether the slot says that this participant is alive.
    pub(crate) fn is_live(self, table: &(impl Table + ?Sized)) -> bool {
        self.is(MemberState::Live, table)
    }

    /// Whether the slot says that this participant is dead and not yet swept.
    pub(crate) fn is_dead(self, table: &(impl Table + ?Sized)) -> bool {
        self.is(MemberState::Dead, table)
    }

    /// A peer may have written the id, into a message or a role. An id beyond the
    /// table belongs to no participant.
    fn is(self, state: MemberState, table: &(impl Table + ?Sized)) -> bool {
        self.id < table.map().participants
            && table.word(self.id).load(Ordering::Acquire) == self.word_in(state)
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
/// `introduce` writes down who joins, before any process can see the slot as
/// LIVE. Returns `None` if no slot is free.
pub(crate) fn join<K: Kernel>(
    kernel: &K,
    table: &impl Table,
    introduce: impl FnOnce(Member),
) -> Result<Option<Member>, Refusal> {
    for id in 0..table.map().participants {
        let word = table.word(id);
        let Some(entry) = MemberWord::read(word.load(Ordering::Acquire)) else {
            continue;
        };
        if entry.state != MemberState::Free {
            continue;
        }
        let liveness = table.map().liveness(id);
        match kernel.semop(&[Op::zero(liveness).no_wait(), Op::add(liveness, 1).undo()], None) {
            Ok(()) => {}
            // A participant is just leaving this slot.
            Err(Refusal::WouldBlock) => continue,
            Err(refusal) => return Err(refusal),
        }
        let member = Member { id, incarnation: entry.next_incarnation() };
        introduce(member);
        word.store(member.word_in(MemberState::Live), Ordering::Release);
        return Ok(Some(member));
    }
    Ok(None)
}

/// Gives the slot back, and with it the credit on the wake-all semaphore. The
/// caller no longer holds any claim, role or other credit.
pub(crate) fn leave<K: Kernel>(
    kernel: &K,
    table: &impl Table,
    member: Member,
) -> Result<(), Refusal> {
    // A failure means that another process overwrote the slot; then the slot is
    // not ours.
    let _ = table.word(member.id).compare_exchange(
        member.word_in(MemberState::Live),
        member.word_in(MemberState::Free),
        Ordering::AcqRel,
        Ordering::Relaxed,
    );
    let liveness = table.map().liveness(member.id);
    kernel.semop(&[Op::take(liveness, 1).undo().no_wait(), wake_all::LEAVE], None)
}

/// Buffers for a scan, kept so that a scan allocates nothing.
#[derive(Debug)]
pub(crate) struct Scratch {
    before: Vec<u64>,
    values: Vec<u16>,
    /// Whether the last scan may have missed a death.
    missed: bool,
}

impl Scratch {
    pub(crate) fn new(map: SetMap) -> Self {
        Self {
            before: vec![0; usize::from(map.participants)],
            values: vec![0; usize::from(map.count())],
            missed: false,
        }
    }

    /// A semaphore's value at the last scan.
    pub(crate) fn value(&self, sem: u16) -> u16 {
        self.values.get(usize::from(sem)).copied().unwrap_or(0)
    }

    /// The value of a semaphore up to which the last scan found all deaths that change it.
    pub(crate) fn heard(&self, sem: u16) -> u16 {
        self.value(sem).wrapping_sub(self.missed.into())
    }

    /// What all semaphores were at the last scan. Of the wake-all semaphore, what a sleeper may
    /// compare.
    pub(crate) fn copy_into(&self, values: &mut Vec<u16>) {
        values.clone_from(&self.values);
        if let Some(wake_all) = values.get_mut(usize::from(SetMap::WAKE_ALL)) {
            *wake_all = self.heard(SetMap::WAKE_ALL);
        }
    }

    /// What the words of all participants were before the last scan.
    pub(crate) fn table(&self) -> &[u64] {
        &self.before
    }

    /// How many participants lived at the last scan.
    pub(crate) fn living(&self, map: SetMap) -> usize {
        (0..map.participants).filter(|&id| self.value(map.liveness(id)) > 0).count()
    }
}

/// Why a scan cannot conclude anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blind {
    /// The kernel refused to give the values.
    Refused(Refusal),
    /// The set is not the one that the reader joined, or the reader is no longer
    /// a member of it.
    NotMember,
}

/// Scans for dead participants once, and passes each of them to `sweep`.
///
/// `witness` is a semaphore that this process itself holds up: its own
/// liveness, or the lease.
///
/// A slot that is already DEAD is swept too, whichever process marked it: that
/// process may have died over the sweep. Returns whether there was anything to
/// sweep.
// More parameters than 5: its callers keep these in different structures.
pub(crate) fn scan<K: Kernel>(
    kernel: &K,
    table: &impl Table,
    generation: u64,
    witness: u16,
    scratch: &mut Scratch,
    mut sweep: impl FnMut(Member, &[u16]) -> Result<(), Refusal>,
) -> Result<bool, Blind> {
    for (id, before) in (0..).zip(scratch.before.iter_mut()) {
        *before = table.word(id).load(Ordering::Acquire);
    }
    kernel.values(&mut scratch.values).map_err(Blind::Refused)?;
    let value = |sem: u16| scratch.values.get(usize::from(sem)).copied();
    if SetMap::generation(&scratch.values) != Some(generation) || value(witness) != Some(1) {
        return Err(Blind::NotMember);
    }
    // This scan misses a participant that joined and died after its slot was
    // read. That death has raised the semaphores that it had a credit on, so what is
    // `heard` is then a value that they do not have, and the next sleep ends at once.
    let same = |(id, before): (u16, &u64)| table.word(id).load(Ordering::Acquire) == *before;
    scratch.missed = !(0..).zip(&scratch.before).all(same);
    let value = |sem: u16| scratch.values.get(usize::from(sem)).copied();
    let mut swept = false;
    for (id, &before) in (0..).zip(&scratch.before) {
        let Some(entry) = MemberWord::read(before) else {
            continue;
        };
        let member = Member { id, incarnation: entry.incarnation };
        let dead = match entry.state {
            MemberState::Free => false,
            MemberState::Dead => member.is_dead(table),
            MemberState::Live => {
                let marked = || {
                    table.word(id).compare_exchange(
                        before,
                        member.word_in(MemberState::Dead),
                        Ordering::AcqRel,
                        Ordering::Relaxed,
                    )
                };
                // If another scan marked the slot first, its process may die
                // over the sweep, and that death need not wake this reader.
                value(table.map().liveness(id)) == Some(0)
                    && (marked().is_ok() || member.is_dead(table))
            }
        };
        if dead {
            sweep(member, &scratch.values).map_err(Blind::Refused)?;
            // The sweep is complete: a new participant may take the slot.
            let _ = table.word(id).compare_exchange(
                member.word_in(MemberState::Dead),
                member.word_in(MemberState::Free),
                Ordering::AcqRel,
                Ordering::Relaxed,
            );
            swept = true;
        }
    }
    Ok(swept)
}
