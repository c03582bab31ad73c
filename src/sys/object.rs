//! The names that errors give to objects.

use std::fmt;
use std::path::Path;

use super::key::Key;
use super::shm::HugePages;

/// The object that a failed call was about.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Object {
    /// The segment with this id.
    Segment {
        /// Its id.
        id: i32,
    },
    /// The segment that a call searched under a key.
    SegmentKey {
        /// The key.
        key: Key,
    },
    /// A segment that a call should create.
    NewSegment {
        /// Its key.
        key: Key,
        /// Its size in bytes.
        size: usize,
        /// The huge pages that the caller asked for.
        huge_pages: Option<HugePages>,
    },
    /// The semaphore set with this id.
    Set {
        /// Its id.
        id: i32,
    },
    /// The semaphore set that a call searched under a key.
    SetKey {
        /// The key.
        key: Key,
    },
    /// A semaphore set that a call should create.
    NewSet {
        /// Its key.
        key: Key,
        /// The number of semaphores.
        count: usize,
    },
    /// One semaphore of a set.
    Semaphore {
        /// The id of the set.
        id: i32,
        /// The semaphore's index in the set, from 0.
        index: u16,
    },
    /// The message queue with this id.
    Queue {
        /// Its id.
        id: i32,
    },
    /// The message queue that a call searched under a key.
    QueueKey {
        /// The key.
        key: Key,
    },
    /// A message queue that a call should create.
    NewQueue {
        /// Its key.
        key: Key,
    },
    /// A message that a call should send.
    Message {
        /// The id of the queue.
        queue: i32,
        /// The message's type.
        kind: i64,
        /// Its bytes.
        len: usize,
    },
    /// The FIFO with this path.
    Fifo(Box<Path>),
    /// A pipe without a name.
    Pipe,
    /// A file.
    Path(Box<Path>),
    /// No object: a service of the kernel.
    System(&'static str),
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Object::Segment { id } => write!(f, "segment {id}"),
            Object::SegmentKey { key } => write!(f, "the segment with key {key}"),
            Object::NewSegment { key, size, huge_pages } => {
                write!(f, "a segment of {size} bytes")?;
                if let Some(pages) = huge_pages {
                    write!(f, " in {pages}")?;
                }
                write!(f, " with key {key}")
            }
            Object::Set { id } => write!(f, "semaphore set {id}"),
            Object::SetKey { key } => write!(f, "the semaphore set with key {key}"),
            Object::NewSet { key, count } => {
                write!(f, "a set of {count} semaphores with key {key}")
            }
            Object::Semaphore { id, index } => write!(f, "semaphore {index} of set {id}"),
            Object::Queue { id } => write!(f, "message queue {id}"),
            Object::QueueKey { key } => write!(f, "the message queue with key {key}"),
            Object::NewQueue { key } => write!(f, "a message queue with key {key}"),
            Object::Message { queue, kind, len } => {
                write!(f, "a message of {len} bytes and type {kind} to queue {queue}")
            }
            Object::Fifo(path) => write!(f, "FIFO {}", path.display()),
            Object::Pipe => f.write_str("a pipe"),
            Object::Path(path) => path.display().fmt(f),
            Object::System(service) => f.write_str(service),
        }
    }
}
