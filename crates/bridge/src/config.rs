//! What a bridge is asked to do.

use std::path::PathBuf;
use std::time::Duration;

use crate::Failure;
use crate::key;

/// What a bridge is asked to do.
#[derive(Clone, Debug)]
pub struct Config {
    /// How Zenoh is reached.
    pub engine: Engine,
    /// Which channels are carried.
    pub routes: Vec<Route>,
    /// How long the other side of a queue may be silent before what it has not acknowledged is
    /// given back to the queue.
    pub lease: Duration,
}

/// How Zenoh is reached.
#[derive(Clone, Debug, Default)]
pub struct Engine {
    /// Zenoh's own configuration file, to which the rest is added.
    pub file: Option<PathBuf>,
    /// Where to listen, such as `tcp/0.0.0.0:7447`.
    pub listen: Vec<String>,
    /// Whom to connect to, such as `tcp/10.0.0.2:7447`.
    pub connect: Vec<String>,
    /// Whether other hosts are looked for by multicast.
    pub discovery: bool,
}

/// In which direction a channel is carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the segment to other hosts.
    Export,
    /// From other hosts into the segment.
    Import,
    /// Both: a broadcast channel only.
    Both,
}

impl Direction {
    /// Its name, in a configuration and wherever it is shown.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Export => "export",
            Self::Import => "import",
            Self::Both => "both",
        }
    }
}

/// A channel that is carried.
#[derive(Clone, Debug)]
pub struct Route {
    /// The name of the segment.
    pub segment: String,
    /// The name of the channel.
    pub channel: String,
    /// In which direction.
    pub direction: Direction,
    /// Its key expression; `None`: `tombolo/SEGMENT/CHANNEL`.
    pub key: Option<String>,
    /// Broadcast: whether publishers wait for the bridge, and the bridge for its far subscribers.
    pub reliable: bool,
    /// Queues: how many messages may be on the way.
    pub credit: u32,
    /// How many bytes may be on the way, or wait here.
    pub credit_bytes: u64,
    /// How many bytes go together, if they are there; 0: each message by itself.
    pub batch_bytes: usize,
    /// Whether a segment or channel that does not exist here is created.
    pub create: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self { engine: Engine::default(), routes: Vec::new(), lease: Duration::from_secs(30) }
    }
}

impl Route {
    /// A route with everything else as is usual.
    pub fn new(segment: &str, channel: &str, direction: Direction) -> Self {
        Self {
            segment: segment.to_owned(),
            channel: channel.to_owned(),
            direction,
            key: None,
            reliable: false,
            credit: 1024,
            credit_bytes: 64 << 20,
            // With a header, they fit into one frame of Zenoh.
            batch_bytes: 48 << 10,
            create: true,
        }
    }

    /// Its key expression.
    pub fn key(&self) -> String {
        self.key.clone().unwrap_or_else(|| key::usual(&self.segment, &self.channel))
    }

    /// Whether it exports.
    pub fn exports(&self) -> bool {
        self.direction != Direction::Import
    }

    /// Whether it imports.
    pub fn imports(&self) -> bool {
        self.direction != Direction::Export
    }
}

impl Config {
    /// What is wrong with it, if anything is.
    ///
    /// # Errors
    /// [`Failure::Usage`], which names the route.
    pub fn check(&self) -> Result<(), Failure> {
        for (n, route) in self.routes.iter().enumerate() {
            let here = format!("channel {} of segment {}", route.channel, route.segment);
            key::check(&route.key()).map_err(|why| Failure::Usage(format!("{here}: {why}")))?;
            let twice =
                self.routes.iter().take(n).any(|other| {
                    (&other.segment, &other.channel) == (&route.segment, &route.channel)
                });
            if twice {
                return Err(Failure::Usage(format!(
                    "{here}: there are two routes for it; give it one, with the direction `both` \
                     if it goes both ways"
                )));
            }
            if route.reliable && route.direction == Direction::Both {
                return Err(Failure::Usage(format!(
                    "{here}: reliable in both directions, two bridges could wait for each other \
                     for ever"
                )));
            }
            if self.routes.iter().take(n).any(|other| other.key() == route.key()) {
                return Err(Failure::Usage(format!(
                    "{here}: another channel has its key, {}, with which it would mix",
                    route.key()
                )));
            }
            if route.credit == 0 || route.credit_bytes == 0 {
                return Err(Failure::Usage(format!("{here}: a credit of 0 carries nothing")));
            }
        }
        Ok(())
    }
}
