//! What a call is about: the names that errors give to objects.

use std::fmt;
use std::path::Path;

use super::key::Key;
use super::shm::HugePages;

/// What the failed call was about.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Object {
    /// The segment with this id.
    Segment {
        /// Its id.
        id: i32,
    },
    /// The segment looked for under a key.
    SegmentKey {
        /// The key.
        key: Key,
    },
    /// The segment that was to be created.
    NewSegment {
        /// Its key.
        key: Key,
        /// Its size in bytes.
        size: usize,
        /// The huge pages asked for.
        huge_pages: Option<HugePages>,
    },
    /// The semaphore set with this id.
    Set {
        /// Its id.
        id: i32,
    },
    /// The semaphore set looked for under a key.
    SetKey {
        /// The key.
        key: Key,
    },
    /// The semaphore set that was to be created.
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
        /// The semaphore's place in it, from 0.
        index: u16,
    },
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
            Object::Path(path) => path.display().fmt(f),
            Object::System(service) => f.write_str(service),
        }
    }
}
