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
        self.put(self.members.len(), channel);
    }

    /// A member has this number, which is vacant or the next one.
    pub(crate) fn put(&mut self, at: usize, channel: u16) {
        let member = Member { listed: false, sight: Sight::Seen };
        match self.members.get_mut(at) {
            Some(vacant) => *vacant = member,
            None => self.members.push(member),
        }
        let (part, bit) = place_of(channel);
        self.by_call[part * BITS + bit as usize].push(at);
        self.list(at);
    }

    /// This member has gone; its number is vacant.
    pub(crate) fn vacate(&mut self, at: usize) {
        for list in self.by_call.iter_mut().chain([&mut self.list]) {
            list.retain(|&member| member != at);
        }
    }

    /// This member has gone; the numbers of those behind it are one less.
    pub(crate) fn remove(&mut self, at: usize) {
        self.vacate(at);
        self.members.remove(at);
        let lists = self.by_call.iter_mut().chain([&mut self.list]);
        for member in lists.flatten().filter(|member| **member > at) {
            *member -= 1;
        }
    }

    /// Of those in the list, only those for which somebody asks are to be looked at. The others
    /// are listed again when somebody does, if they are not armed.
    pub(crate) fn keep<'m>(
        &mut self,
        asked: impl Fn(usize) -> bool,
        mark: impl Fn(usize) -> &'m Mark,
    ) {
        let members = &mut self.members;
        self.list.retain(|&at| {
            let asked = asked(at);
            if let Some(member) = members.get_mut(at).filter(|_| !asked) {
                member.listed = false;
                if member.sight != Sight::Seen {
                    // It would not be looked at once more.
                    mark(at).disarm();
                }
            }
            asked
        });
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
                    self.members[at].sight = Sight::New;
                }
            }
        }
    }

    /// The next round begins: whoever is armed, had nothing and is sure to have been seen, is left
    /// alone, unless it is listed after this. Those that are not armed are armed next.
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
