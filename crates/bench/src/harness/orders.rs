//! The messages between the conductor and its workers: orders as a worker's
//! argument, and one report as a line of JSON on its standard output.

use std::any::Any;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tombolo::Segment;
use tombolo::sys::msg::Queue;
use tombolo::sys::sem::Set;

use super::board::Place;
use crate::failure::Failure;

/// The pattern of a sample's messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Shape {
    /// One sends, one receives, in order.
    Carry,
    /// Several send and several receive, each message once.
    Share,
    /// Several send, and each that receives gets every message.
    Publish,
    /// The same, but who is too slow misses some.
    Lossy,
    /// One sends to several that stay awake, until the last has it.
    SpreadBusy,
    /// One sends to several that sleep, until the last has it.
    SpreadParked,
    /// Two exchange messages, and neither lets go of its processor.
    Busy,
    /// Two exchange messages, and each sleeps when its message comes.
    Parked,
    /// One has both ends, and never waits.
    Alone,
    /// One sends now and then, one sleeps meanwhile.
    Trickle,
    /// Work other than carrying messages.
    Work,
}

/// The setting of a case, the same for all of its subjects.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Setting {
    pub(crate) shape: Shape,
    /// 8-byte words of a message.
    pub(crate) words: usize,
    /// Messages that a ring holds; of a segment to attach, its bytes.
    pub(crate) slots: usize,
    /// Messages that are sent and received at once.
    pub(crate) batch: u64,
    pub(crate) producers: usize,
    pub(crate) consumers: usize,
    /// The processor of each worker: producers first, then consumers.
    pub(crate) cpus: Vec<usize>,
    /// How long the timed part is to take, in nanoseconds.
    pub(crate) span: u64,
}

impl Setting {
    pub(crate) fn workers(&self) -> usize {
        self.cpus.len()
    }

    /// How many channels there are.
    pub(crate) fn channels(&self) -> usize {
        if matches!(self.shape, Shape::Busy | Shape::Parked) { 2 } else { 1 }
    }

    /// Whether calls into the kernel shall return at once, and be repeated.
    pub(crate) fn polled(&self) -> bool {
        self.shape == Shape::Busy && !self.one_processor()
    }

    pub(crate) fn one_processor(&self) -> bool {
        self.cpus.iter().all(|cpu| Some(cpu) == self.cpus.first())
    }

    /// Whether each worker has a processor that no other one needs.
    pub(crate) fn undisturbed(&self) -> bool {
        let cpus = &self.cpus;
        cpus.iter().enumerate().all(|(index, cpu)| !cpus[..index].contains(cpu))
    }

    /// The two workers that look where their processors are: the first, and
    /// the first that is elsewhere.
    pub(crate) fn probers(&self) -> Option<(usize, usize)> {
        let first = self.cpus.first()?;
        let other = self.cpus.iter().position(|cpu| cpu != first)?;
        Some((0, other))
    }
}

/// A System V object, by its id.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum Object {
    Segment(i32),
    Set(i32),
    Queue(i32),
}

impl Object {
    /// Removes it, unless somebody else has.
    pub(crate) fn remove(self) {
        match self {
            Self::Segment(id) => drop(Segment::open_id(id).map(|segment| segment.remove())),
            Self::Set(id) => drop(Set::from_id(id).remove()),
            Self::Queue(id) => drop(Queue::from_id(id).remove()),
        }
    }
}

/// Resources that the workers of a sample share. The process that made them removes
/// their objects.
#[derive(Default)]
pub(crate) struct Shared {
    /// Numbers for the subject's ends.
    pub(crate) numbers: Vec<i64>,
    /// Descriptors that the workers inherit.
    pub(crate) fds: Vec<OwnedFd>,
    /// Objects that would stay in the kernel's tables.
    pub(crate) objects: Vec<Object>,
    /// Values that have to live as long as the sample, or that threads share.
    pub(crate) held: Vec<Box<dyn Any + Send + Sync>>,
    /// What this process has opened, once for all of its ends, as a process does: a
    /// second mapping of the same memory is slower beside the first.
    opened: Mutex<Vec<(usize, Box<dyn Any + Send + Sync>)>>,
    /// Whether this is the copy of a worker, which only uses the objects.
    pub(crate) borrowed: bool,
}

impl Shared {
    /// What is opened the first time that somebody asks for this number.
    pub(crate) fn once<T: Clone + Send + Sync + 'static>(
        &self,
        number: usize,
        open: impl FnOnce() -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        let known = opened.iter().find(|(known, _)| *known == number);
        if let Some(known) = known.and_then(|(_, known)| known.downcast_ref::<T>()) {
            return Ok(known.clone());
        }
        let new = open()?;
        opened.push((number, Box::new(new.clone())));
        Ok(new)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if !self.borrowed {
            self.objects.iter().for_each(|object| object.remove());
        }
    }
}

/// The orders for a worker.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Orders {
    pub(crate) subject: String,
    pub(crate) setting: Setting,
    /// Which of the workers it is; of threads, the first.
    pub(crate) place: usize,
    /// The object in which the workers meet.
    pub(crate) board: i32,
    /// The resources that the conductor made. Threads make theirs themselves.
    pub(crate) numbers: Vec<i64>,
    pub(crate) fds: Vec<i32>,
    pub(crate) objects: Vec<Object>,
    pub(crate) clock: super::clock::Clock,
}

/// A figure of a sample.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Figure {
    pub(crate) metric: String,
    pub(crate) unit: String,
    pub(crate) value: f64,
}

impl Figure {
    pub(crate) fn new(metric: &str, unit: &str, value: f64) -> Self {
        Self { metric: metric.to_owned(), unit: unit.to_owned(), value }
    }
}

/// A worker's report.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Report {
    /// Why there is nothing else to say.
    pub(crate) failed: Option<String>,
    /// Messages of the timed part, and when it began and ended.
    pub(crate) messages: u64,
    pub(crate) began: u64,
    pub(crate) ended: u64,
    /// Of all messages, timed or not: how many were sent less those received,
    /// and the same of their numbers' sum.
    pub(crate) balance: i64,
    pub(crate) sum: u64,
    /// Nanoseconds of the timed part that it was ready to run, and was not.
    pub(crate) delay: u64,
    /// Where its processors were before and after.
    pub(crate) probes: Option<(Place, Place)>,
    /// Which part of the messages it missed, where it may miss some.
    pub(crate) missed: Option<f64>,
    /// Times, and how often each was measured.
    pub(crate) times: Vec<(u64, u64)>,
    /// Figures of its own.
    pub(crate) figures: Vec<Figure>,
}
