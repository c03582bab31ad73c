//! A segment as the command line names it: its name, or `@ID`.

use std::fmt;
use std::str::FromStr;

use tombolo::{Observer, OpenError, Options, Segment, Tap};

/// A segment that is there. No name begins with `@`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Its name.
    Name(String),
    /// The id of its shared-memory object.
    Id(i32),
}

impl Target {
    /// The word on the command line for a segment with this name, or with none.
    pub fn of(segment: &Segment, name: Option<&str>) -> Self {
        name.map_or_else(|| Self::Id(segment.id()), |name| Self::Name(name.to_owned()))
    }

    /// Opens it as the options say.
    pub fn open(&self, options: &Options) -> Result<Segment, OpenError> {
        match self {
            Self::Name(name) => options.open(name),
            Self::Id(id) => options.open_id(*id),
        }
    }

    /// Opens it, or creates it if it has a name and is not there.
    pub fn open_or_create(&self, options: &Options) -> Result<Segment, OpenError> {
        match self {
            Self::Name(name) => options.open_or_create(name),
            Self::Id(id) => options.open_id(*id),
        }
    }

    /// Looks at it without joining.
    pub fn observer(&self) -> Result<Observer, OpenError> {
        match self {
            Self::Name(name) => Observer::of(name),
            Self::Id(id) => Ok(Observer::of_id(*id)),
        }
    }

    /// Looks at the messages of a channel of it.
    pub fn tap(&self, channel: &str) -> Result<Tap, OpenError> {
        match self {
            Self::Name(name) => Tap::of(name, channel),
            Self::Id(id) => Ok(Tap::of_id(*id, channel)),
        }
    }

    /// Removes it.
    pub fn remove(&self) -> Result<(), OpenError> {
        match self {
            Self::Name(name) => Segment::remove_named(name),
            Self::Id(id) => match Segment::open_id(*id)?.remove() {
                Err(tombolo::Fault::System(error)) => Err(error.into()),
                // Somebody else was faster.
                _ => Ok(()),
            },
        }
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix('@') {
            None => Ok(Self::Name(text.to_owned())),
            Some(id) => match id.parse() {
                Ok(id) if id >= 0 => Ok(Self::Id(id)),
                _ => Err("after @ comes the id of a shared-memory object, as in @4711".to_owned()),
            },
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Id(id) => write!(f, "@{id}"),
        }
    }
}
