//! The calls and their answers, with their times.

use std::fmt;

use crate::common::ends::{Nothing, Ring};

/// The queue that a history is of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spec {
    pub(crate) ring: Ring,
    pub(crate) capacity: usize,
    /// How often a message is delivered again.
    pub(crate) times: u8,
}

/// A call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// These, in order, alone or as a batch.
    Send(Vec<u64>),
    /// Up to so many.
    Recv(usize),
    /// Room, to be written in place.
    Reserve,
    /// The content of that room.
    Commit(u64),
    Abort,
    /// One, to be read in place.
    Take,
    Release,
    GiveBack,
    /// [`tombolo::Segment::sweep`].
    Sweep,
    /// A subscriber's place at the last so many, instead of the one it had.
    Join(u64),
    /// How many have been published; or how many calls are under way.
    Count,
    /// This call, over which so many servers may die.
    Ask(u64, u8),
    /// How the call has ended.
    Hear,
    /// The call is given up.
    GiveUp,
    /// A call, to be served.
    Serve,
    /// What the server does with it.
    Let(Letting),
}

/// What a server does with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Letting {
    Reply,
    GiveBack,
    Refuse,
}

/// The result of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// So many were sent, or reserved; if fewer than asked for, it was full.
    Sent(usize),
    Got(Vec<u64>),
    /// One, over which so many receivers have died.
    Taken(u64, u8),
    Nothing(Nothing),
    /// So many were missed.
    Lagged(u64),
    /// The sequence number of the next message, or how many there are.
    At(u64),
    /// The call's server has died, or has refused it.
    Died,
    Refused,
    Done,
    Failed,
}

/// One call of one process.
#[derive(Clone, Debug)]
pub(crate) struct Op {
    pub(crate) who: usize,
    pub(crate) call: u64,
    /// When it returned, and what: not at all if the process was killed.
    pub(crate) end: Option<(u64, Answer)>,
    pub(crate) asked: Asked,
}

impl Op {
    /// Whether it has put something into its caller's hands.
    pub(crate) fn is_held(&self) -> bool {
        let end = self.end.as_ref().map(|(_, answer)| (&self.asked, answer));
        matches!(end, Some((Asked::Take, Answer::Taken(..)) | (Asked::Reserve, Answer::Sent(1))))
    }
}

/// A `SIGKILL`: when it was sent, and when the process was certainly dead.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kill {
    pub(crate) who: usize,
    pub(crate) sent: u64,
    pub(crate) dead: u64,
}

/// A run on a queue that was empty before it and in nobody's hands.
#[derive(Clone, Debug)]
pub(crate) struct History<S = Spec> {
    pub(crate) spec: S,
    pub(crate) ops: Vec<Op>,
    pub(crate) kills: Vec<Kill>,
}

/// Something that happened at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Call(usize),
    /// From here on the process may end.
    Doom(usize),
    Return(usize),
    /// It has ended.
    Death(usize),
}

impl<S> History<S> {
    /// Everything in the order of time; of what is not known to be after the
    /// other, what widens the choice comes first.
    pub(crate) fn events(&self) -> Vec<Event> {
        let mut events = Vec::new();
        for (n, op) in self.ops.iter().enumerate() {
            events.push((op.call, 0, Event::Call(n)));
            if let Some((at, _)) = &op.end {
                events.push((*at, 1, Event::Return(n)));
            }
        }
        for kill in &self.kills {
            events.push((kill.sent, 0, Event::Doom(kill.who)));
            events.push((kill.dead, 1, Event::Death(kill.who)));
        }
        events.sort_by_key(|(at, order, _)| (*at, *order));
        events.into_iter().map(|(_, _, event)| event).collect()
    }

    /// How many processes there are.
    pub(crate) fn processes(&self) -> usize {
        let all = self.ops.iter().map(|op| op.who).chain(self.kills.iter().map(|kill| kill.who));
        all.max().map_or(0, |most| most + 1)
    }

    /// How many calls a kill cut off.
    pub(crate) fn cut_off(&self) -> usize {
        self.ops.iter().filter(|op| op.end.is_none()).count()
    }

    /// How many of the killed had a grant or a delivery in their hands.
    pub(crate) fn held(&self) -> usize {
        let last = |who| self.ops.iter().rfind(|op| op.who == who);
        self.kills.iter().filter(|kill| last(kill.who).is_some_and(Op::is_held)).count()
    }

    /// Pairs of calls of which neither is known to be before the other.
    pub(crate) fn overlaps(&self) -> usize {
        let before = |a: &Op, b: &Op| a.end.as_ref().is_some_and(|(at, _)| *at < b.call);
        let pairs = self.ops.iter().enumerate().flat_map(|(n, a)| {
            self.ops[..n].iter().filter(move |b| a.who != b.who && !before(a, b) && !before(b, a))
        });
        pairs.count()
    }
}

impl<S: fmt::Debug> fmt::Display for History<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:?}, nanoseconds since the first call:", self.spec)?;
        let start = self.ops.iter().map(|op| op.call).min().unwrap_or(0);
        let mut ops: Vec<&Op> = self.ops.iter().collect();
        ops.sort_by_key(|op| op.call);
        for op in ops {
            let from = op.call - start;
            match &op.end {
                Some((at, answer)) => {
                    let to = at - start;
                    writeln!(f, "  {from:>9} ..{to:>9}  {}: {:?} {answer:?}", op.who, op.asked)?;
                }
                None => writeln!(f, "  {from:>9} .. cut off   {}: {:?}", op.who, op.asked)?,
            }
        }
        for kill in &self.kills {
            let (from, to) = (kill.sent.saturating_sub(start), kill.dead.saturating_sub(start));
            writeln!(f, "  {from:>9} ..{to:>9}  {} killed", kill.who)?;
        }
        Ok(())
    }
}
