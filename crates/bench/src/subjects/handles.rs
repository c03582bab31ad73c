//! Handles of one channel in one process: the cost of another one, and of one that has
//! not been used for a while.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use tombolo::{Receiver, Sender};

use super::recovery;
use crate::failure::Failure;
use crate::harness::{Figure, Report, Setting, Shared, Subject, Task};

pub(super) fn all() -> Vec<Box<dyn Subject>> {
    let clones: [(&str, Make); 4] = [
        ("Arc, clone", |_| {
            let one = Arc::new(7_u64);
            Ok(Box::new(move || done(Arc::clone(&one))))
        }),
        ("SyncSender of std, clone", |_| {
            let (one, _) = sync_channel::<u64>(1);
            Ok(Box::new(move || done(one.clone())))
        }),
        ("tombolo MPMC sender, try_clone", |ends| {
            let one = ends.sender;
            Ok(Box::new(move || done(one.try_clone().map_err(failed)?)))
        }),
        ("tombolo MPMC receiver, try_clone", |ends| {
            let one = ends.receiver;
            Ok(Box::new(move || done(one.try_clone().map_err(failed)?)))
        }),
    ];
    let visits: [(&str, Visitors); 3] = [
        ("tombolo MPMC, one handle", Visitors::One),
        ("tombolo MPMC, handles in turns", Visitors::InTurns),
        ("tombolo MPMC, a fresh handle each", Visitors::Fresh),
    ];
    let clones = clones.map(|(name, make)| Box::new(Clone { name, make }) as Box<dyn Subject>);
    let visits = visits.map(|(name, who)| Box::new(Visit { name, who }) as Box<dyn Subject>);
    clones.into_iter().chain(visits).collect()
}

fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::broken("the channel", error)
}

fn done<T>(value: T) -> Result<(), Failure> {
    black_box(value);
    Ok(())
}

/// Both ends of a channel that nobody else uses.
struct Ends {
    sender: Sender<u64>,
    receiver: Receiver<u64>,
}

impl Ends {
    fn new(shared: &Shared) -> Result<Self, Failure> {
        let segment = recovery::segment(shared)?;
        let channel = segment.channel::<u64>("handles").capacity(1_024);
        Ok(Self {
            sender: channel.sender().map_err(failed)?,
            receiver: channel.receiver().map_err(failed)?,
        })
    }
}

type Body = Box<dyn FnMut() -> Result<(), Failure>>;
type Make = fn(Ends) -> Result<Body, Failure>;

/// A handle is cloned, and the clone is dropped.
struct Clone {
    name: &'static str,
    make: Make,
}

impl Subject for Clone {
    fn name(&self) -> String {
        self.name.to_owned()
    }

    fn prepare(&self, _: &Setting) -> Result<Shared, Failure> {
        recovery::prepared(|_| Ok(()))
    }

    fn work(&self, task: &Task<'_>) -> Result<Report, Failure> {
        let mut body = (self.make)(Ends::new(task.shared)?)?;
        let mut report = task.parts(64, |_, plan| (0..plan.messages).try_for_each(|_| body()))?;
        let each = (report.ended - report.began) as f64 / report.messages as f64;
        report.figures.push(Figure::new("each_ns", "ns", each));
        Ok(report)
    }
}

/// The receiving handle of each message.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Visitors {
    /// Always the same.
    One,
    /// The next one of a pool: it is as far behind as the pool is large.
    InTurns,
    /// A new one.
    Fresh,
}

/// Handles of the pool, and messages that wait for them.
const POOL: u64 = 16;

/// Messages are received by the handles of a pool; only that is timed.
struct Visit {
    name: &'static str,
    who: Visitors,
}

impl Subject for Visit {
    fn name(&self) -> String {
        self.name.to_owned()
    }

    fn prepare(&self, _: &Setting) -> Result<Shared, Failure> {
        recovery::prepared(|_| Ok(()))
    }

    fn work(&self, task: &Task<'_>) -> Result<Report, Failure> {
        let Ends { sender, receiver } = Ends::new(task.shared)?;
        let another = |_| receiver.try_clone().map_err(failed);
        let mut pool = (0..POOL).map(another).collect::<Result<Vec<_>, _>>()?;
        let (mut wrong, mut took) = (0, 0);
        let mut report = task.parts(POOL, |from, plan| {
            took = 0;
            for first in (from..from + plan.messages).step_by(POOL as usize) {
                let numbers = first..first + POOL;
                numbers.clone().try_for_each(|number| sender.send(number).map_err(failed))?;
                if self.who == Visitors::Fresh {
                    pool = (0..POOL).map(another).collect::<Result<Vec<_>, _>>()?;
                }
                let began = task.clock.ticks();
                for (number, handle) in numbers.zip(&pool) {
                    let handle = if self.who == Visitors::One { &receiver } else { handle };
                    wrong |= handle.recv().map_err(failed)? ^ number;
                }
                took += task.clock.ticks() - began;
            }
            Ok(())
        })?;
        if wrong != 0 {
            return Err(Failure::Broken("messages came damaged or out of order".to_owned()));
        }
        let visits = report.messages.next_multiple_of(POOL) as f64;
        let each = task.clock.nanoseconds(took) as f64 / visits;
        report.figures.push(Figure::new("visit_ns", "ns", each));
        Ok(report)
    }
}
