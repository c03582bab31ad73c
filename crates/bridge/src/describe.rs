//! What a channel is, told to the other side; and who is there.
//!
//! An exporter has a liveliness token at `KEY/@tombolo/ORIGIN`, and answers a query there with its
//! description. An importer watches `KEY/@tombolo/*`.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tombolo::{AnyChannel, ChannelError, ChannelKind, Segment};
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
}

const VERSION: u32 = 1;
/// For other channels than the one for which a segment is made.
const OTHERS: usize = 1 << 30;

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

    /// The segment that is to have it, made if there is none.
    pub(crate) fn segment(&self, name: &str) -> Result<Segment, Unfit> {
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
                let kind = self.kind().ok_or_else(|| {
                    Unfit::Mismatch(format!(
                        "{} is of a kind that this build has not",
                        self.there()
                    ))
                })?;
                let spec = segment.any_channel(name, kind).capacity(self.capacity);
                let spec = spec.redeliver(self.attempts);
                let spec = if self.lasting { spec.lasting() } else { spec };
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

    fn there(&self) -> String {
        format!(
            "channel {} of segment {} on {} (process {}) is {} of {} ({} bytes, aligned to {})",
            self.channel,
            self.segment,
            self.host,
            self.pid,
            self.kind,
            self.schema,
            self.size,
            self.align
        )
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
    base: String,
    seen: Arc<Seen>,
    _subscriber: Subscriber<()>,
}

#[derive(Default)]
struct Seen {
    /// Each origin, with its description when that is known.
    there: Mutex<BTreeMap<String, Option<Description>>>,
    changed: Condvar,
}

impl Watch {
    pub(crate) fn new(session: &Session, base: &str) -> Result<Self, String> {
        let seen = Arc::<Seen>::default();
        let told = Arc::clone(&seen);
        let subscriber = session
            .liveliness()
            .declare_subscriber(format!("{}/*", key::about(base)))
            .history(true)
            .callback(move |sample| {
                let Some(origin) = sample.key_expr().as_str().rsplit('/').next() else { return };
                let mut there = told.there.lock().unwrap_or_else(PoisonError::into_inner);
                match sample.kind() {
                    SampleKind::Put => {
                        there.entry(origin.to_owned()).or_default();
                    }
                    SampleKind::Delete => {
                        there.remove(origin);
                    }
                }
                told.changed.notify_all();
            })
            .wait()
            .map_err(|why| why.to_string())?;
        Ok(Self { base: base.to_owned(), seen, _subscriber: subscriber })
    }

    /// Those that are there and described.
    pub(crate) fn described(&self, session: &Session) -> Vec<Description> {
        let lock = || self.seen.there.lock().unwrap_or_else(PoisonError::into_inner);
        let unknown: Vec<_> = lock()
            .iter()
            .filter(|(_, what)| what.is_none())
            .map(|(origin, _)| origin.clone())
            .collect();
        for origin in unknown {
            let at = format!("{}/{origin}", key::about(&self.base));
            let Ok(replies) = session.get(at).timeout(Duration::from_secs(2)).wait() else {
                continue;
            };
            let what = replies.into_iter().find_map(|reply| {
                let sample = reply.into_result().ok()?;
                let what: Description =
                    serde_json::from_slice(&sample.payload().to_bytes()).ok()?;
                (what.version == VERSION && what.origin == origin).then_some(what)
            });
            if let Some(entry) = lock().get_mut(&origin) {
                *entry = what;
            }
        }
        lock().values().flatten().cloned().collect()
    }

    /// Waits for a change, at most this long.
    pub(crate) fn wait(&self, most: Duration) {
        let there = self.seen.there.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.seen.changed.wait_timeout(there, most));
    }
}
