//! The next possible events of a running call.

use crate::check::{Search, State, Under};
use crate::common::ends::Nothing;
use crate::history::Answer;
use crate::queue::{Next, Place, has_blocks};

/// The possible next steps of a call.
pub(crate) struct Step<'a> {
    pub(crate) search: &'a Search<'a>,
    pub(crate) state: &'a State,
    pub(crate) who: usize,
    pub(crate) under: &'a Under,
}

impl Step<'_> {
    fn single(&self) -> bool {
        self.search.history.spec.ring.single()
    }

    fn next(&self, change: impl FnOnce(&mut Under)) -> State {
        let mut next = self.state.clone();
        next.processes[self.who].under.as_mut().into_iter().for_each(change_once(change));
        next
    }

    fn through(&self) -> State {
        self.next(|under| {
            under.count += 1;
            under.half = false;
        })
    }

    pub(crate) fn send(&self, ids: &[u64], answer: Option<&Answer>, open: &mut Vec<State>) {
        let count = match answer {
            Some(Answer::Sent(count)) => *count,
            Some(_) => return,
            None => ids.len(),
        };
        if self.under.half {
            return self.publish(ids[self.under.count], open);
        }
        if self.under.count < count {
            self.claim(ids[self.under.count], open);
        }
        if answer.is_some() && count < ids.len() && !self.under.seen {
            let spec = self.search.history.spec;
            let rest = count - self.under.count;
            let blocks = rest == 0 && self.under.blocks == 0;
            if blocks || self.state.queue.has_room_for(spec, rest) {
                open.push(self.next(|under| under.seen = true));
            }
        }
    }

    /// A place for this message, and in an SPSC queue the message in it.
    fn claim(&self, id: u64, open: &mut Vec<State>) {
        let single = self.single();
        let mut next = if single { self.through() } else { self.next(|under| under.half = true) };
        let place = if single { Place::Full(id) } else { Place::Writing(self.who) };
        let spec = self.search.history.spec;
        let others = self.state.processes.iter().enumerate();
        let granted = others.filter(|(n, other)| *n != self.who && other.grant).count();
        if has_blocks(spec) && self.state.queue.used() + granted >= spec.capacity {
            return;
        }
        if next.queue.claim(spec, place) {
            open.push(next);
        }
    }

    fn publish(&self, id: u64, open: &mut Vec<State>) {
        let mut next = self.through();
        if let Some(place) = next.queue.written_by(self.who) {
            *place = Place::Full(id);
            open.push(next);
        }
    }

    pub(crate) fn receive(&self, most: usize, answer: Option<&Answer>, open: &mut Vec<State>) {
        if self.under.half {
            let mut next = self.through();
            if let Some(place) = next.queue.read_by(self.who) {
                *place = Place::Free;
                open.push(next);
            }
            return;
        }
        let ids: Option<&[u64]> = match answer {
            Some(Answer::Got(ids)) => Some(ids),
            Some(_) => Some(&[]),
            None => None,
        };
        if ids.map_or(most, <[u64]>::len) > self.under.count {
            self.take_one(ids.map(|ids| ids[self.under.count]), true, open);
        }
        self.fall_short(most, answer, open);
    }

    /// Nothing is there that the answer denies.
    fn fall_short(&self, most: usize, answer: Option<&Answer>, open: &mut Vec<State>) {
        let queue = &self.state.queue;
        let so = match answer {
            Some(Answer::Got(ids)) => {
                ids.len() < most && queue.available() == ids.len() - self.under.count
            }
            Some(Answer::Nothing(nothing)) => matches!(
                (nothing, queue.next()),
                (Nothing::Empty | Nothing::TimedOut, Next::Nothing)
                    | (Nothing::Pending | Nothing::TimedOut, Next::Unpublished)
            ),
            _ => false,
        };
        if so && !self.under.seen && self.under.overdue.is_empty() {
            open.push(self.next(|under| under.seen = true));
        }
    }

    /// Takes a message, this one if it is known which; `letting_go` if it is
    /// let go in the same call.
    fn take_one(&self, id: Option<u64>, letting_go: bool, open: &mut Vec<State>) {
        self.take_where(|found, _| id.is_none_or(|id| id == found), letting_go, open);
    }

    fn take_where(&self, which: impl Fn(u64, u8) -> bool, letting_go: bool, open: &mut Vec<State>) {
        let queue = &self.state.queue;
        let single = self.single();
        for (at, place) in queue.0.iter().enumerate() {
            let (id, deaths) = match *place {
                Place::Orphan { id, deaths, .. } => (id, deaths),
                Place::Full(id)
                    if queue.next() == Next::Message(at, id) && self.under.overdue.is_empty() =>
                {
                    (id, 0)
                }
                _ => continue,
            };
            if !which(id, deaths) {
                continue;
            }
            let mut next = if single || !letting_go {
                self.through()
            } else {
                self.next(|under| under.half = true)
            };
            if !single {
                next.queue.0[at] = Place::Reading { who: self.who, id, deaths };
            } else if letting_go {
                next.queue.0.remove(at);
            }
            for process in &mut next.processes {
                let under = process.under.as_mut();
                under.into_iter().for_each(|under| under.overdue.retain(|late| *late != id));
            }
            open.push(next);
        }
    }

    pub(crate) fn take(&self, answer: Option<&Answer>, open: &mut Vec<State>) {
        if self.under.count == 1 {
            return;
        }
        let single = self.single();
        match answer {
            Some(Answer::Taken(id, after)) => {
                let which = |found, deaths| found == *id && (single || deaths == *after);
                self.take_where(which, false, open);
            }
            None => self.take_one(None, false, open),
            Some(_) => self.fall_short(1, answer, open),
        }
    }

    pub(crate) fn reserve(&self, answer: Option<&Answer>, open: &mut Vec<State>) {
        let spec = self.search.history.spec;
        let queue = &self.state.queue;
        if answer == Some(&Answer::Sent(0)) {
            let no_block = has_blocks(spec) && self.under.blocks == 0;
            if no_block || queue.has_room_for(spec, 0) {
                open.push(self.next(|under| under.seen = true));
            }
            return;
        }
        if self.under.count == 1 {
            return;
        }
        let mut next = self.through();
        let room = if has_blocks(spec) {
            let granted = self.state.processes.iter().filter(|other| other.grant).count();
            next.processes[self.who].grant = true;
            queue.used() + granted < spec.capacity
        } else if self.single() {
            // It is there, and stays so until it is committed.
            next.queue.clone().claim(spec, Place::Free)
        } else {
            next.queue.claim(spec, Place::Writing(self.who))
        };
        if room {
            open.push(next);
        }
    }

    pub(crate) fn commit(&self, id: u64, open: &mut Vec<State>) {
        if self.under.count == 1 {
            return;
        }
        if self.single() || has_blocks(self.search.history.spec) && !self.under.half {
            let before = open.len();
            self.claim(id, open);
            // The block is the place's from now on.
            open[before..].iter_mut().for_each(|next| next.processes[self.who].grant = false);
        } else {
            self.publish(id, open);
        }
    }

    pub(crate) fn abort(&self, open: &mut Vec<State>) {
        if self.under.count == 1 {
            return;
        }
        let mut next = self.through();
        next.processes[self.who].grant = false;
        if let Some(place) = next.queue.written_by(self.who) {
            *place = Place::Free;
        }
        open.push(next);
    }

    pub(crate) fn release(&self, open: &mut Vec<State>) {
        if self.under.count == 1 {
            return;
        }
        let mut next = self.through();
        if self.single() {
            next.queue.0.remove(0);
        } else if let Some(place) = next.queue.read_by(self.who) {
            *place = Place::Free;
        }
        open.push(next);
    }

    pub(crate) fn give_back(&self, open: &mut Vec<State>) {
        if self.under.count == 1 {
            return;
        }
        let mut next = self.through();
        let place = next.queue.read_by(self.who);
        let given = place.and_then(|place| match *place {
            Place::Reading { id, deaths, .. } => {
                *place = Place::Orphan { id, deaths, sure: false };
                Some(id)
            }
            _ => None,
        });
        // Which one it is must be found when it returns.
        let under = next.processes[self.who].under.as_mut();
        under.into_iter().for_each(|under| under.overdue = given.into_iter().collect());
        open.push(next);
    }
}

fn change_once(change: impl FnOnce(&mut Under)) -> impl FnMut(&mut Under) {
    let mut change = Some(change);
    move |under| change.take().into_iter().for_each(|change| change(under))
}
