//! Which members a set looks at that [watches](super::super::watch): those that have called, and
//! no others.
//!
//! ```text
//!             called, or ready when it was looked at
//!         ┌───────────────────────────────────────────┐
//!         ▼                                           │
//!  in the list, not armed ── armed, looked at in vain, ──▶ left alone, armed
//!                            and once more after a while
//! ```
//!
//! A member that is not armed is in the list. So each wait asks as many members as have called or
//! had something, however many there are.
//!
//! The look after a while is the recheck of [`event`](super::super::event): the fence may have
//! left out a thread that has published and not seen that the member is armed.

use super::super::watch::{Calls, PARTS, place_of};
use super::set::Mark;

const BITS: usize = u64::BITS as usize;

/// Whether everybody is sure to have seen that a member is armed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sight<D> {
    Seen,
    /// It has not been looked at since.
    New,
    /// From then on.
    Until(D),
}

#[derive(Debug)]
struct Member<D> {
    listed: bool,
    sight: Sight<D>,
}

/// The members of a set that watches, by their number.
#[derive(Debug)]
pub(crate) struct Rounds<D> {
    members: Vec<Member<D>>,
    /// Those that are to be looked at, each once.
    list: Vec<usize>,
    /// Which members each bit stands for of what has called.
    by_call: Vec<Vec<usize>>,
}

impl<D: Copy + Ord> Rounds<D> {
    pub(crate) fn new() -> Self {
        let by_call = (0..PARTS * BITS).map(|_| Vec::new()).collect();
        Self { members: Vec::new(), list: Vec::new(), by_call }
    }

    /// One more member, of this channel; it is not armed.
    pub(crate) fn add(&mut self, channel: u16) {
        let at = self.members.len();
        self.members.push(Member { listed: false, sight: Sight::Seen });
        let (part, bit) = place_of(channel);
        self.by_call[part * BITS + bit as usize].push(at);
        self.list(at);
    }

    /// This member has gone; the numbers of those behind it are one less.
    pub(crate) fn remove(&mut self, at: usize) {
        self.members.remove(at);
        for list in self.by_call.iter_mut().chain([&mut self.list]) {
            list.retain(|&member| member != at);
            for member in list.iter_mut().filter(|member| **member > at) {
                *member -= 1;
            }
        }
    }

    /// This one is to be looked at.
    pub(crate) fn list(&mut self, at: usize) {
        if let Some(member) = self.members.get_mut(at)
            && !core::mem::replace(&mut member.listed, true)
        {
            self.list.push(at);
        }
    }

    /// All are.
    pub(crate) fn list_all(&mut self) {
        (0..self.members.len()).for_each(|at| self.list(at));
    }

    /// Those that have called are, and are armed no more.
    pub(crate) fn called<'m>(&mut self, calls: &Calls, mark: impl Fn(usize) -> &'m Mark) {
        for (part, &called) in calls.iter().enumerate() {
            let mut left = called;
            while left != 0 {
                let bit = left.trailing_zeros() as usize;
                left &= left - 1;
                for n in 0..self.by_call[part * BITS + bit].len() {
                    let at = self.by_call[part * BITS + bit][n];
                    mark(at).disarm();
                    self.list(at);
                }
            }
        }
    }

    /// The next round begins, after what has called was collected: whoever is armed, had nothing
    /// and is sure to have been seen, is left alone. The others are armed next.
    pub(crate) fn begin<'m>(&mut self, now: D, mark: impl Fn(usize) -> &'m Mark) {
        let members = &mut self.members;
        self.list.retain(|&at| {
            let Some(member) = members.get_mut(at) else { return false };
            match member.sight {
                _ if !mark(at).is_armed() => member.sight = Sight::New,
                Sight::Seen => member.listed = false,
                // It is looked at once more.
                Sight::Until(then) if then <= now => member.sight = Sight::Seen,
                Sight::New | Sight::Until(_) => {}
            }
            member.listed
        });
    }

    /// This one has been looked at; everybody will have seen that it is armed when it is `soon`.
    pub(crate) fn looked(&mut self, at: usize, mark: &Mark, soon: impl FnOnce() -> Option<D>) {
        match self.members.get_mut(at) {
            Some(member) if member.sight == Sight::New && mark.is_armed() => {
                member.sight = soon().map_or(Sight::Seen, Sight::Until);
            }
            _ => {}
        }
    }

    /// Those that are to be looked at.
    pub(crate) fn listed(&self) -> &[usize] {
        &self.list
    }
}
