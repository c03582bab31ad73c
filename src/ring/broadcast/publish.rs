//! Publishing, and taking up a publisher's entry.

use core::cell::Cell;

use super::super::cursor::Cursor;
use super::super::role;
use super::super::table::{Member, Table};
use super::limit::{Refused, help, raise};
use super::read::first_unpublished;
use super::{Words, raise_to};
use crate::sync::{AtomicU64, Ordering, fence};

/// One publisher: its entry, and its spare buffer.
#[derive(Debug)]
pub struct Publisher {
    number: u64,
    /// The holder's word since this publisher took the entry up.
    holder: u64,
    turn: Cell<u64>,
    spare: Cell<u64>,
    cursor: Cell<Cursor>,
    limit: Cell<u64>,
}

/// Takes a publisher's entry for `me`. `None` if all are taken, perhaps by participants that
/// have died and that nobody has swept yet.
pub(crate) fn claim(words: &impl Words, table: &impl Table, me: Member) -> Option<u64> {
    (0..words.shape().publishers).find(|&n| {
        let holder = words.publisher(n).holder;
        if !role::is_vacant(holder.load(Ordering::Acquire), table) {
            return false;
        }
        // Before the entry is taken: each raise is to find it.
        raise_to(words.publishers_used(), n + 1);
        role::claim(holder, table, me).is_ok()
    })
}

impl Publisher {
    /// Takes up entry `number`, which the caller holds.
    pub(crate) fn attach(words: &impl Words, number: u64) -> Self {
        let shape = words.shape();
        help(words, number);
        let entry = words.publisher(number);
        // Edge H.
        let word = entry.word.load(Ordering::Acquire);
        let helped = entry.helped.load(Ordering::Acquire);
        let later = shape.turns_after(helped, shape.turn(word)) > 0;
        let word = if later { helped } else { word };
        // Edge H.
        entry.word.store(word, Ordering::Release);
        // Edge B: the last holder may have got this buffer and died before its own fence.
        fence(Ordering::Release);
        let cursor = first_unpublished(words);
        Self {
            number,
            // Relaxed: the caller has stored it.
            holder: entry.holder.load(Ordering::Relaxed),
            turn: Cell::new(shape.turn(word)),
            spare: Cell::new(shape.buffer(shape.entry(number), word)),
            cursor: Cell::new(cursor),
            // The limit is not below what is published (I3).
            limit: Cell::new(cursor.position()),
        }
    }

    /// The number of the entry.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// A lower bound of the next position.
    #[inline(always)]
    pub(crate) fn position(&self) -> u64 {
        self.cursor.get().position()
    }

    /// The slot in which the next message comes, if no other publisher is faster.
    #[inline(always)]
    pub(crate) fn slot(&self) -> u64 {
        self.cursor.get().index
    }

    /// The buffer to write the next message into.
    #[inline(always)]
    pub(crate) fn spare(&self) -> u64 {
        self.spare.get()
    }

    /// Whether the next message may be published, as far as is known without a look.
    #[inline(always)]
    pub(crate) fn has_room(&self) -> bool {
        self.limit.get().wrapping_sub(self.position()).cast_signed() > 0
    }

    /// Whether the next message may be published, as far as reliable subscribers go.
    #[inline(always)]
    pub(crate) fn ready(&self, words: &impl Words, table: &impl Table) -> Result<(), Refused> {
        if self.has_room() { Ok(()) } else { self.find_room(words, table) }
    }

    #[cold]
    #[inline(never)]
    fn find_room(&self, words: &impl Words, table: &impl Table) -> Result<(), Refused> {
        // The cursor may be behind: others have published there.
        for _ in 0..=words.shape().slots.saturating_mul(2) {
            let at = self.cursor.get();
            let seen = words.slot(at.index).load(Ordering::Acquire);
            match words.shape().turns_after(seen, at.lap) {
                0 => {
                    let limit = raise(words, table, self.number, at.position())?;
                    self.limit.set(limit);
                    return Ok(());
                }
                turns => self.pass(words, at, turns, seen)?,
            }
        }
        Err(Refused::Contended)
    }

    /// Moves the cursor on from a slot whose message of that lap is published.
    #[cold]
    #[inline(never)]
    fn pass(&self, words: &impl Words, at: Cursor, turns: i64, seen: u64) -> Result<(), Refused> {
        // A slot never is behind the first unpublished position's lap.
        let laps = turns.checked_sub(1).filter(|&laps| laps >= 0).ok_or(Refused::Corrupt(seen))?;
        // This one may have been swept while it went on. Then its spare is its successor's: it
        // must not publish it. Relaxed: this only makes that less likely.
        let holder = words.publisher(self.number).holder.load(Ordering::Relaxed);
        if holder != self.holder {
            return Err(Refused::Corrupt(holder));
        }
        let shape = words.shape();
        // A single publisher began at the first unpublished position, and only it publishes.
        if shape.publishers == 1 {
            return Err(Refused::Corrupt(seen));
        }
        let next = at.turned(laps, shape.slots).next(shape.slots);
        // Edge L. What is published is below the limit, and all below `limit - step` is published.
        let limit = words.limit().load(Ordering::Acquire);
        if limit.wrapping_sub(next.position()).cast_signed() < 0 {
            return Err(Refused::Corrupt(limit));
        }
        let begin = limit.saturating_sub(shape.step);
        if begin.wrapping_sub(next.position()).cast_signed() <= 0 {
            self.cursor.set(next);
            return Ok(());
        }
        // A position that has wrapped is nobody's.
        let last = begin.checked_sub(1).ok_or(Refused::Corrupt(limit))?;
        let last = Cursor::at(last, shape.slots);
        if shape.turns_after(words.slot(last.index).load(Ordering::Acquire), last.lap) < 1 {
            return Err(Refused::Corrupt(limit));
        }
        self.cursor.set(last.next(shape.slots));
        Ok(())
    }

    /// Publishes what is in the spare buffer; returns its position. Inlined into callers:
    /// mostly, the first attempt succeeds.
    #[inline(always)]
    pub(crate) fn publish(&self, words: &impl Words, table: &impl Table) -> Result<u64, Refused> {
        self.publish_as(words, table, false)
    }

    /// The same, where the spare buffer says how many messages are missing.
    pub(crate) fn publish_gap(
        &self,
        words: &impl Words,
        table: &impl Table,
    ) -> Result<u64, Refused> {
        self.publish_as(words, table, true)
    }

    #[inline(always)]
    fn publish_as(
        &self,
        words: &impl Words,
        table: &impl Table,
        gap: bool,
    ) -> Result<u64, Refused> {
        self.ready(words, table)?;
        self.publish_next(words, table, gap)
    }

    /// The same where [`has_room`](Self::has_room) holds: [`publish`](Self::publish) asks again.
    #[inline(always)]
    pub(crate) fn publish_next(
        &self,
        words: &impl Words,
        table: &impl Table,
        gap: bool,
    ) -> Result<u64, Refused> {
        self.attempt(words, gap).or_else(|seen| self.publish_after(words, table, (seen, gap)))
    }

    /// Goes on after an attempt that found `seen` in the slot.
    #[cold]
    #[inline(never)]
    fn publish_after(
        &self,
        words: &impl Words,
        table: &impl Table,
        (mut seen, gap): (u64, bool),
    ) -> Result<u64, Refused> {
        let shape = words.shape();
        for _ in 0..shape.slots.saturating_mul(2) {
            let at = self.cursor.get();
            match shape.turns_after(seen, at.lap) {
                // Another one was faster.
                0 => {}
                turns => self.pass(words, at, turns, seen)?,
            }
            self.ready(words, table)?;
            match self.attempt(words, gap) {
                Ok(position) => return Ok(position),
                Err(there) => seen = there,
            }
        }
        Err(Refused::Contended)
    }

    /// Publishes at the cursor, which is below the limit. Otherwise returns the word that it
    /// found in the slot.
    #[inline(always)]
    fn attempt(&self, words: &impl Words, gap: bool) -> Result<u64, u64> {
        let shape = words.shape();
        let entry = words.publisher(self.number);
        let at = self.cursor.get();
        let slot = words.slot(at.index);
        // Edge P: the position before this one is published, or this word says so.
        let seen = slot.load(Ordering::Acquire);
        let Some(over) = shape.buffer_in(at.index, seen, at.lap) else { return Err(seen) };
        // Relaxed: edge P passes them on.
        entry.over.store(over, Ordering::Relaxed);
        entry.at.store(at.position(), Ordering::Relaxed);
        let published = shape.word(at.index, at.lap.wrapping_add(1), self.spare.get());
        let published = if gap { shape.with_gap(published) } else { published };
        if !swap(slot, seen, published, shape.publishers == 1) {
            return Err(seen);
        }
        let turn = self.turn.get().wrapping_add(1);
        let word = shape.word(shape.entry(self.number), turn, over);
        // Edge H.
        entry.word.store(word, Ordering::Release);
        self.turn.set(turn);
        self.spare.set(over);
        self.cursor.set(at.next(shape.slots));
        // Edge B.
        fence(Ordering::Release);
        Ok(at.position())
    }
}

/// Swaps a slot's word. With one publisher nobody else changes a slot, so a store is enough:
/// its successor comes after it, because the entry is claimed only after a sweep.
#[inline(always)]
fn swap(slot: &AtomicU64, from: u64, to: u64, alone: bool) -> bool {
    // Edge P.
    if alone {
        slot.store(to, Ordering::Release);
        return true;
    }
    slot.compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed).is_ok()
}
