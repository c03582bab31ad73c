//! What a bridge says of itself, and how the commands read it.
//!
//! A bridge has a small transient segment, `tombolo.bridge.NAME`, with one broadcast channel of
//! bytes, `status`. Each message of it is a [`Status`] as JSON, of which the newest holds. Commands
//! look at it from outside. Whether the bridge lives, the kernel says: a dead one has no publisher.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use tombolo::sys::proc;
use tombolo::{Observer, SegmentInfo, Tap};

use crate::plain::plain;

/// How the names of the segments begin in which bridges say how they are.
pub const PREFIX: &str = "tombolo.bridge.";
/// The channel in each.
pub const CHANNEL: &str = "status";
/// The version of what is in it. A reader takes what it knows of any later one.
pub const VERSION: u32 = 1;
/// How long a message may be.
pub const LONGEST: usize = 1 << 20;

/// What a bridge says of itself. Its fields are those of the JSON object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// [`VERSION`].
    pub version: u32,
    /// The bridge's process.
    pub pid: u32,
    /// `starting`, `running` or `draining`.
    pub state: String,
    /// The configuration file, or nothing if flags said all.
    pub config: String,
    /// The endpoints at which it listens.
    pub listen: Vec<String>,
    /// Those that it keeps trying to reach.
    pub connect: Vec<String>,
    /// The far ends of its connections.
    pub peers: Vec<Peer>,
    /// A row for each channel and direction.
    pub links: Vec<Link>,
    /// How many links there was no room for.
    pub left_out: usize,
    /// What happened last, the newest at the end.
    pub news: Vec<News>,
}

/// A program at the far end of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Peer {
    /// The engine's name for it.
    pub id: String,
    /// Since when, in milliseconds since 1970.
    pub since_unix_ms: u64,
}

/// A channel, and one direction.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Link {
    /// The segment, by name or as @ID.
    pub segment: String,
    /// The channel.
    pub channel: String,
    /// `export` or `import`.
    pub direction: String,
    /// The key expression.
    pub key: String,
    /// `starting`, `waiting`, `standby`, `running` or `refused`.
    pub state: String,
    /// Why it does not run; empty if it does.
    pub why: String,
    /// What it has done.
    #[serde(flatten)]
    pub counts: Counts,
}

/// What a link has done in this life of the bridge. All but `lag` and `held` only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// Messages that went over.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Of an exporter: messages of its channel that it has not sent yet.
    pub lag: u64,
    /// Of a queue's exporter: messages that it has sent and the far side has not acknowledged.
    pub held: u64,
    /// How often messages of a broadcast channel were missing.
    pub gaps: u64,
    /// How many were, which its subscribers were told as lagged.
    pub missed: u64,
    /// Messages of a queue that were sent again.
    pub resent: u64,
    /// Messages of a queue that may have come twice, and were marked so.
    pub repeated: u64,
    /// Messages that came twice, and were left out.
    pub skipped: u64,
    /// Messages that the channel does not take.
    pub refused: u64,
}

/// Something that happened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct News {
    /// Counts what has happened, from 1 on.
    pub n: u64,
    /// When, in milliseconds since 1970.
    pub unix_ms: u64,
    /// The channel that it is about, as `SEGMENT/CHANNEL`; empty if it is about all.
    pub link: String,
    /// What it was.
    pub what: String,
}

impl Link {
    /// Whether it is about this channel.
    pub fn is_of(&self, segment: &SegmentInfo, channel: &str) -> bool {
        self.channel == channel && self.is_in(segment)
    }

    /// Whether its channel is in this segment.
    pub fn is_in(&self, segment: &SegmentInfo) -> bool {
        self.segment.strip_prefix('@').map_or_else(
            || self.segment == segment.name && segment.key != 0,
            |id| id.parse() == Ok(segment.id),
        )
    }

    /// What it does and how it goes, in a few words.
    pub fn words(&self) -> String {
        let Self { key, counts, .. } = self;
        let does = if self.direction == "import" { "imports" } else { "exports" };
        let mut words = format!("{does} {}", plain(key));
        if self.state != "running" {
            words += &format!(", {}", plain(&self.state));
        }
        if !self.why.is_empty() {
            words += &format!(" ({})", plain(&self.why));
        }
        let went = if self.direction == "import" { "received" } else { "sent" };
        words += &format!(", {} {went}", counts.messages);
        for (count, what) in counts.remarkable() {
            words += &format!(", {count} {what}");
        }
        words
    }
}

impl Counts {
    /// What is not zero and is of interest to people.
    fn remarkable(&self) -> impl Iterator<Item = (u64, &'static str)> {
        let all = [
            (self.lag, "behind"),
            (self.held, "unacknowledged"),
            (self.missed, "missed"),
            (self.resent, "resent"),
            (self.repeated, "repeated"),
            (self.skipped, "skipped"),
            (self.refused, "refused"),
        ];
        all.into_iter().filter(|(count, _)| *count > 0)
    }
}

/// A bridge, as it is seen from outside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Bridge {
    /// Its name.
    pub name: String,
    /// Whether its process lives; `None` where the kernel does not tell.
    pub alive: Option<bool>,
    /// The id of its segment.
    #[serde(skip)]
    pub segment: i32,
    /// The user that it runs as.
    #[serde(skip)]
    pub uid: u32,
    /// What it has said last.
    #[serde(flatten)]
    pub status: Status,
}

impl Bridge {
    /// Whether what it says of a segment is to be believed: it runs as root, as the
    /// segment's owner or creator, or as the user of this process.
    fn may_speak_of(&self, segment: &SegmentInfo) -> bool {
        let trusted = [0, segment.uid, segment.creator_uid, proc::uid()];
        trusted.contains(&self.uid)
    }

    /// How it is, in a few words.
    pub fn words(&self) -> String {
        let Status { state, peers, links, left_out, .. } = &self.status;
        let running = links.iter().filter(|link| link.state == "running").count();
        let of = links.len() + left_out;
        format!(
            "{}: {}, {} connected, {running} of {of} links running",
            title(&self.name, self.status.pid, self.alive),
            plain(state),
            peers.len()
        )
    }
}

/// A link, with the bridge that has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Carried {
    /// The bridge's name.
    pub bridge: String,
    /// Its process.
    pub pid: u32,
    /// Whether it lives; `None` where the kernel does not tell.
    pub alive: Option<bool>,
    /// The link.
    #[serde(flatten)]
    pub link: Link,
}

impl Carried {
    /// All links to a channel.
    pub fn all(bridges: &[Bridge], segment: &SegmentInfo, channel: &str) -> Vec<Self> {
        let links = bridges.iter().filter(|bridge| bridge.may_speak_of(segment)).flat_map(|it| {
            let links = it.status.links.iter().filter(|link| link.is_of(segment, channel));
            links.map(|link| Self {
                bridge: it.name.clone(),
                pid: it.status.pid,
                alive: it.alive,
                link: link.clone(),
            })
        });
        links.collect()
    }

    /// Which bridge it is, and what it does.
    pub fn words(&self) -> String {
        format!("{} {}", title(&self.bridge, self.pid, self.alive), self.link.words())
    }
}

/// A bridge's name and process.
fn title(name: &str, pid: u32, alive: Option<bool>) -> String {
    let dead = if alive == Some(false) { ", dead" } else { "" };
    format!("bridge {} (pid {pid}{dead})", plain(name))
}

/// Looks at bridges again and again.
#[derive(Debug, Default)]
pub struct Bridges {
    /// By the identities of their segments: where to go on, and the newest that was said.
    seen: HashMap<u64, (Tap, Status)>,
}

impl Bridges {
    /// Those whose own segments are among these.
    pub fn among(&mut self, found: &[SegmentInfo]) -> Vec<Bridge> {
        let named = |info: &&SegmentInfo| info.name.starts_with(PREFIX) && info.key != 0;
        self.seen.retain(|id, _| found.iter().any(|info| info.identity == *id));
        found.iter().filter(named).filter_map(|info| self.look_at(info)).collect()
    }

    /// Those that carry channels of these segments, or whose own are among them. Where these
    /// are not all that there are, it looks at the others, too.
    pub fn of(&mut self, found: &[SegmentInfo], all: bool) -> Vec<Bridge> {
        if all {
            return self.among(found);
        }
        // Without a list of segments there is none of bridges.
        let mut bridges = self.among(&Observer::all().look().unwrap_or_default());
        let concerns = |bridge: &Bridge, info: &SegmentInfo| {
            info.id == bridge.segment || bridge.status.links.iter().any(|link| link.is_in(info))
        };
        bridges.retain(|bridge| found.iter().any(|info| concerns(bridge, info)));
        bridges
    }

    fn look_at(&mut self, info: &SegmentInfo) -> Option<Bridge> {
        let channel = info.channels.iter().find(|channel| channel.name == CHANNEL)?;
        let fresh = || (Tap::of_id(info.id, CHANNEL), Status::default());
        let (tap, status) = self.seen.entry(info.identity).or_insert_with(fresh);
        // Any process of this user can have written it.
        let seen = tap.look(8, LONGEST).ok().flatten();
        let newest = seen.and_then(|seen| seen.messages.into_iter().next_back());
        if let Some(said) = newest.and_then(|it| serde_json::from_slice(&it.bytes).ok()) {
            *status = said;
        }
        Some(Bridge {
            name: info.name.strip_prefix(PREFIX)?.to_owned(),
            alive: info.living_known.then_some(channel.senders > 0),
            segment: info.id,
            uid: info.creator_uid,
            status: status.clone(),
        })
    }
}
