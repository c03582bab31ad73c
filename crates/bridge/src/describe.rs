//! What a channel is, told to the other side; and who is there.
//!
//! An exporter has a liveliness token at `KEY/@tombolo/ORIGIN`, and answers a query there with its
//! description. An importer watches `KEY/@tombolo/*`.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tombolo::{AnyChannel, ChannelError, ChannelKind, Segment};
use tombolo_cli::plain::plain;
use zenoh::liveliness::LivelinessToken;
use zenoh::pubsub::Subscriber;
use zenoh::query::Queryable;
use zenoh::sample::SampleKind;
use zenoh::{Session, Wait as _};

use crate::key;
use crate::wire::Origin;

/// What an exporter says of its channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Description {
    pub(crate) version: u32,
    pub(crate) origin: String,
    pub(crate) host: String,
    pub(crate) pid: u32,
    pub(crate) segment: String,
    pub(crate) channel: String,
    pub(crate) kind: String,
    pub(crate) schema: String,
    pub(crate) size: usize,
    pub(crate) align: usize,
    /// In hexadecimal: JSON's numbers end before.
    pub(crate) fingerprint: String,
    pub(crate) capacity: usize,
    pub(crate) attempts: u8,
    pub(crate) lasting: bool,
    /// Queues: how long an importer may be silent, in milliseconds.
    #[serde(default)]
    pub(crate) lease_ms: u64,
}

const VERSION: u32 = 1;
/// For other channels than the one for which a segment is made.
const OTHERS: usize = 1 << 30;
/// A channel for which more bytes are needed is not made because somebody afar says so.
const MOST_ROOM: usize = 8 << 30;
/// A description is shorter.
const LONGEST: usize = 64 << 10;
/// So many exporters of one channel are looked at, at most.
const MOST_THERE: usize = 64;
/// How long an exporter may take to describe its channel.
const PATIENCE: Duration = Duration::from_secs(2);
/// So long until one that has not answered is asked again; twice as long each time.
const AGAIN: Duration = Duration::from_millis(500);
const AGAIN_MOST: Duration = Duration::from_secs(30);

const KINDS: [ChannelKind; 6] = [
    ChannelKind::Spsc,
    ChannelKind::Mpmc,
    ChannelKind::SpscBytes,
    ChannelKind::MpmcBytes,
    ChannelKind::Broadcast,
    ChannelKind::BroadcastBytes,
];

/// What this host is called.
pub(crate) fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}

/// Why a segment lacks a channel of a description, or has another one.
#[derive(Debug)]
pub(crate) enum Unfit {
    /// It is another one.
    Mismatch(String),
    /// Something else, perhaps for a while only.
    Failed(String),
}

impl Description {
    pub(crate) fn of(channel: &AnyChannel<'_>, segment: &str, origin: Origin) -> Self {
        Self {
            version: VERSION,
            origin: origin.to_string(),
            host: host(),
            pid: std::process::id(),
            segment: segment.to_owned(),
            channel: channel.name().to_owned(),
            kind: format!("{:?}", channel.kind()),
            schema: channel.schema().to_owned(),
            size: channel.element_size(),
            align: channel.element_align(),
            fingerprint: format!("{:016x}", channel.fingerprint()),
            capacity: channel.capacity(),
            attempts: channel.attempts(),
            lasting: channel.is_lasting(),
            lease_ms: 0,
        }
    }

    pub(crate) fn kind(&self) -> Option<ChannelKind> {
        KINDS.into_iter().find(|kind| format!("{kind:?}") == self.kind)
    }

    /// For how many bytes a segment needs room for it, and for others that may follow. What is not
    /// used takes no memory.
    fn room(&self) -> usize {
        let each = self.size.saturating_add(64);
        let many = self.capacity.saturating_mul(3) / 2;
        each.saturating_mul(many.saturating_add(32)).saturating_add(OTHERS)
    }

    /// Whether it may decide how much is made here.
    fn is_modest(&self) -> Result<(), Unfit> {
        let room = self.room();
        if room <= MOST_ROOM + OTHERS {
            return Ok(());
        }
        Err(Unfit::Mismatch(format!(
            "{}, for {} messages: that is {room} bytes here, and a bridge makes no channel of more \
             than {MOST_ROOM}; create it here first",
            self.there(),
            self.capacity
        )))
    }

    /// The segment that is to have it, made if there is none.
    pub(crate) fn segment(&self, name: &str) -> Result<Segment, Unfit> {
        self.is_modest()?;
        let options = Segment::options().size_up_to(self.room()).no_reserve(true);
        options.open_or_create(name).map_err(|why| Unfit::Failed(why.to_string()))
    }

    /// The channel that it describes, in a segment here; made if there is none.
    pub(crate) fn channel<'s>(
        &self,
        segment: &'s Segment,
        name: &str,
    ) -> Result<AnyChannel<'s>, Unfit> {
        let failed = |why: ChannelError| Unfit::Failed(why.to_string());
        let found = match segment.open_channel(name) {
            Ok(found) => found,
            Err(ChannelError::NotFound { .. }) => {
                self.is_modest()?;
                let kind = self.kind().ok_or_else(|| {
                    Unfit::Mismatch(format!(
                        "{} is of a kind that this build has not",
                        self.there()
                    ))
                })?;
                let spec = segment.any_channel(name, kind).capacity(self.capacity);
                // Bridges come and go: nobody is to take that for an end.
                let spec = spec.redeliver(self.attempts).lasting();
                let spec = if kind.is_bytes() {
                    spec.longest(self.size)
                } else {
                    spec.element(self.size, self.align, &self.schema)
                };
                spec.open().map_err(failed)?;
                segment.open_channel(name).map_err(failed)?
            }
            Err(why) => return Err(failed(why)),
        };
        self.fits(&found, segment.name())?;
        Ok(found)
    }

    /// Whether the channel here takes what comes from there.
    pub(crate) fn fits(&self, here: &AnyChannel<'_>, segment: &str) -> Result<(), Unfit> {
        let same = here.is_broadcast() == self.kind().is_some_and(ChannelKind::is_broadcast)
            && here.is_bytes() == self.kind().is_some_and(ChannelKind::is_bytes)
            && if here.is_bytes() {
                here.element_size() >= self.size
            } else {
                format!("{:016x}", here.fingerprint()) == self.fingerprint
            };
        if same {
            return Ok(());
        }
        let ours = Self::of(here, segment, Origin([0; 16]));
        Err(Unfit::Mismatch(format!("{}, but {}", self.there(), ours.there())))
    }

    /// What it is and where, in words that are safe to show, whoever has said it.
    fn there(&self) -> String {
        plain(&format!(
            "channel {} of segment {} on {} (process {}) is {} of {} ({} bytes, aligned to {})",
            self.channel,
            self.segment,
            self.host,
            self.pid,
            self.kind,
            self.schema,
            self.size,
            self.align
        ))
    }
}

/// A description that others can get, until this is dropped.
pub(crate) struct Told {
    _token: LivelinessToken,
    _answers: Queryable<()>,
}

impl Told {
    pub(crate) fn new(session: &Session, base: &str, what: &Description) -> Result<Self, String> {
        let at = format!("{}/{}", key::about(base), what.origin);
        let text = serde_json::to_string(what).map_err(|why| why.to_string())?;
        let own = at.clone();
        // The answers first: the token says that there are some.
        let answers = session.declare_queryable(&at).callback(move |query| {
            let _ = query.reply(&own, text.as_str()).wait();
        });
        let answers = answers.wait().map_err(|why| why.to_string())?;
        let token =
            session.liveliness().declare_token(&at).wait().map_err(|why| why.to_string())?;
        Ok(Self { _token: token, _answers: answers })
    }
}

/// The exporters of a channel that are there.
pub(crate) struct Watch {
    seen: Arc<Seen>,
    _subscriber: Subscriber<()>,
}

#[derive(Default)]
struct Seen {
    there: Mutex<There>,
    changed: Condvar,
}

#[derive(Default)]
struct There {
    /// By origin.
    all: BTreeMap<String, Exporter>,
    /// Nobody watches any more.
    over: bool,
}

/// An exporter that is there.
struct Exporter {
    /// When that is known.
    what: Option<Description>,
    /// When it is to be asked, and how long to wait then until it is asked again.
    ask: Instant,
    again: Duration,
}

impl Seen {
    fn lock(&self) -> MutexGuard<'_, There> {
        self.there.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An exporter has come or gone. What is no origin is no exporter's.
    fn note(&self, origin: &str, there: bool) {
        let is_one = |c: char| matches!(c, '0'..='9' | 'a'..='f');
        if origin.len() != 32 || !origin.chars().all(is_one) {
            return;
        }
        let mut seen = self.lock();
        if !there {
            seen.all.remove(origin);
        } else if seen.all.len() < MOST_THERE && !seen.all.contains_key(origin) {
            let new = Exporter { what: None, ask: Instant::now(), again: AGAIN };
            seen.all.insert(origin.to_owned(), new);
        }
        drop(seen);
        self.changed.notify_all();
    }

    /// Asks each exporter what its channel is, until nobody watches any more.
    fn ask_all(&self, session: &Session, about: &str) {
        let mut seen = self.lock();
        while !seen.over {
            let now = Instant::now();
            let unknown = seen.all.iter_mut().filter(|(_, one)| one.what.is_none());
            let Some((origin, one)) = unknown.min_by_key(|(_, one)| one.ask) else {
                seen = self.changed.wait(seen).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            if one.ask > now {
                let left = one.ask - now;
                let waited = self.changed.wait_timeout(seen, left);
                seen = waited.unwrap_or_else(PoisonError::into_inner).0;
                continue;
            }
            one.ask = now + one.again;
            one.again = (one.again * 2).min(AGAIN_MOST);
            let origin = origin.clone();
            drop(seen);
            let what = ask_one(session, about, &origin);
            seen = self.lock();
            if let (Some(what), Some(one)) = (what, seen.all.get_mut(&origin)) {
                one.what = Some(what);
                self.changed.notify_all();
            }
        }
    }
}

/// How long the messages of a channel are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Length {
    /// Of elements, their size; of bytes, the longest.
    pub(crate) size: usize,
    pub(crate) is_bytes: bool,
}

impl Length {
    pub(crate) fn of(channel: &AnyChannel<'_>) -> Self {
        Self { size: channel.element_size(), is_bytes: channel.is_bytes() }
    }

    /// Whether the channel takes a message of this length.
    pub(crate) fn fits(self, message: &[u8]) -> bool {
        if self.is_bytes { message.len() <= self.size } else { message.len() == self.size }
    }

    /// What somebody is told whose message does not fit.
    pub(crate) fn refusal(self, message: &[u8]) -> String {
        let most = if self.is_bytes { "at most " } else { "" };
        format!("a message has {most}{} bytes, and not {}", self.size, message.len())
    }
}

/// What an exporter says of its channel.
fn ask_one(session: &Session, about: &str, origin: &str) -> Option<Description> {
    let replies = session.get(format!("{about}/{origin}")).timeout(PATIENCE).wait().ok()?;
    replies.into_iter().find_map(|reply| {
        let sample = reply.into_result().ok()?;
        let said = sample.payload();
        let said = (said.len() <= LONGEST).then(|| said.to_bytes())?;
        let what: Description = serde_json::from_slice(&said).ok()?;
        (what.version == VERSION && what.origin == origin).then_some(what)
    })
}

impl Watch {
    pub(crate) fn new(session: &Session, base: &str) -> Result<Self, String> {
        let seen = Arc::<Seen>::default();
        let told = Arc::clone(&seen);
        let about = key::about(base);
        let subscriber = session
            .liveliness()
            .declare_subscriber(format!("{about}/*"))
            .history(true)
            .callback(move |sample| {
                if let Some(origin) = sample.key_expr().as_str().rsplit('/').next() {
                    told.note(origin, sample.kind() == SampleKind::Put);
                }
            })
            .wait()
            .map_err(|why| why.to_string())?;
        let (asking, session) = (Arc::clone(&seen), session.clone());
        // Ends soon after the watch does.
        thread::Builder::new()
            .name("descriptions".to_owned())
            .spawn(move || asking.ask_all(&session, &about))
            .map_err(|why| why.to_string())?;
        Ok(Self { seen, _subscriber: subscriber })
    }

    /// Those that are there and described.
    pub(crate) fn described(&self) -> Vec<Description> {
        self.seen.lock().all.values().filter_map(|one| one.what.clone()).collect()
    }

    /// The origins of those.
    pub(crate) fn origins(&self) -> Vec<Origin> {
        let seen = self.seen.lock();
        let described = seen.all.iter().filter(|(_, one)| one.what.is_some());
        described.filter_map(|(origin, _)| Origin::parse(origin)).collect()
    }

    /// Waits for a change, at most this long.
    pub(crate) fn wait(&self, most: Duration) {
        drop(self.seen.changed.wait_timeout(self.seen.lock(), most));
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.seen.lock().over = true;
        self.seen.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_origins_are_exporters_and_not_without_end() {
        let seen = Seen::default();
        let origin = |n: u32| format!("{n:032x}");
        let long = format!("{}00", origin(1));
        for no in ["", "*", "**", "@in", &origin(1)[1..], &long, &origin(0xAB).to_uppercase()] {
            seen.note(no, true);
        }
        assert_eq!(seen.lock().all.len(), 0);
        (0..1000).for_each(|n| seen.note(&origin(n), true));
        assert_eq!(seen.lock().all.len(), MOST_THERE);
        seen.note(&origin(0), false);
        assert_eq!(seen.lock().all.len(), MOST_THERE - 1);
    }

    #[test]
    fn nobody_afar_decides_how_much_memory_is_made_here_or_what_a_terminal_does() {
        let segment = Segment::anonymous().unwrap();
        let some = segment.channel::<u64>("some").capacity(8);
        let _keep = some.receiver().unwrap();
        let channel = segment.open_channel("some").unwrap();
        let honest = Description::of(&channel, "there", Origin([1; 16]));
        let other = Segment::anonymous().unwrap();
        honest.channel(&other, "some").unwrap();
        let greedy = Description { capacity: 1 << 40, ..honest.clone() };
        let third = Segment::anonymous().unwrap();
        let refused = greedy.channel(&third, "some");
        assert!(matches!(refused, Err(Unfit::Mismatch(what)) if what.contains("create it here")));
        let rude = Description { host: "a\u{1b}[2J\nb".to_owned(), ..honest };
        assert!(!rude.there().contains(['\u{1b}', '\n']));
    }
}
