//! What a bridge does, for people and programs that watch it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use crate::config::{Config, Direction};

/// So many bridges on other hosts are listed at most.
const MOST_PEERS: usize = 256;

/// What a bridge does.
#[derive(Debug)]
pub struct Status {
    /// One for each direction of each route, in the order of the configuration.
    pub routes: Vec<Arc<RouteStatus>>,
    /// When the bridge began.
    pub since: SystemTime,
    peers: Mutex<BTreeMap<String, Instant>>,
}

/// What a route is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// It has not begun.
    Starting,
    /// It waits for its segment or channel, here or on the other side.
    Waiting,
    /// Another bridge serves the channel. This one takes over when that one ends.
    Standby,
    /// It carries messages.
    Running,
    /// It cannot: see [`RouteStatus::what`].
    Refused,
    /// It has ended.
    Ended,
}

/// What one direction of a route has done in this life of the bridge.
#[derive(Debug)]
pub struct RouteStatus {
    /// The name of the segment.
    pub segment: String,
    /// The name of the channel.
    pub channel: String,
    /// Its key expression.
    pub key: String,
    /// `Export` or `Import`.
    pub direction: Direction,
    state: AtomicU8,
    what: Mutex<String>,
    /// What has happened.
    pub counts: Counts,
}

macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident)*) => {
        /// Counts of a route.
        #[derive(Debug, Default)]
        pub struct Counts {
            $($(#[$doc])* pub $name: AtomicU64,)*
        }

        impl Counts {
            /// Name and value of each.
            pub fn all(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name.load(Ordering::Relaxed)),)*]
            }
        }
    };
}

counts! {
    /// Messages that were carried.
    messages
    /// Their bytes.
    bytes
    /// How often messages of a broadcast channel were missing.
    gaps
    /// How many were missing, and told to subscribers as lagged.
    missed
    /// Messages that are marked, because they may have been delivered before.
    repeated
    /// Messages that were sent again, because they had not been acknowledged.
    resent
    /// Messages that came a second time, and went no further.
    skipped
    /// Messages that the channel does not take.
    refused
    /// Messages that are on the way, and not yet acknowledged.
    held
    /// How many messages an exporter is behind its channel.
    lag
}

impl Status {
    /// For the routes of a configuration.
    pub fn new(config: &Config) -> Arc<Self> {
        let mut routes = Vec::new();
        for route in &config.routes {
            let each = [(Direction::Export, route.exports()), (Direction::Import, route.imports())];
            for (direction, _) in each.into_iter().filter(|(_, there)| *there) {
                routes.push(Arc::new(RouteStatus {
                    segment: route.segment.clone(),
                    channel: route.channel.clone(),
                    key: route.key(),
                    direction,
                    state: AtomicU8::new(State::Starting as u8),
                    what: Mutex::default(),
                    counts: Counts::default(),
                }));
            }
        }
        Arc::new(Self { routes, since: SystemTime::now(), peers: Mutex::default() })
    }

    /// The bridges on other hosts that are there: what they are called, and since when.
    pub fn peers(&self) -> Vec<(String, Instant)> {
        let peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        peers.iter().map(|(name, since)| (name.clone(), *since)).collect()
    }

    pub(crate) fn peer(&self, name: &str, there: bool) {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        if there {
            if peers.len() < MOST_PEERS {
                peers.entry(name.to_owned()).or_insert_with(Instant::now);
            }
        } else {
            peers.remove(name);
        }
    }

    pub(crate) fn of(
        &self,
        segment: &str,
        channel: &str,
        direction: Direction,
    ) -> Arc<RouteStatus> {
        let found = self.routes.iter().find(|one| {
            one.segment == segment && one.channel == channel && one.direction == direction
        });
        found.map_or_else(
            || {
                Arc::new(RouteStatus {
                    segment: segment.to_owned(),
                    channel: channel.to_owned(),
                    key: String::new(),
                    direction,
                    state: AtomicU8::new(0),
                    what: Mutex::default(),
                    counts: Counts::default(),
                })
            },
            Arc::clone,
        )
    }
}

impl RouteStatus {
    /// What it is doing.
    pub fn state(&self) -> State {
        use State::{Ended, Refused, Running, Standby, Starting, Waiting};
        let states = [Starting, Waiting, Standby, Running, Refused, Ended];
        states
            .into_iter()
            .find(|&one| one as u8 == self.state.load(Ordering::Relaxed))
            .unwrap_or(Starting)
    }

    /// What it waits for, or why it was refused; both sides are named.
    pub fn what(&self) -> String {
        self.what.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Says so on standard error when it changes.
    pub(crate) fn set(&self, state: State, what: &str) {
        let mut now = self.what.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.state.swap(state as u8, Ordering::Relaxed);
        if before == state as u8 && *now == what {
            return;
        }
        what.clone_into(&mut now);
        drop(now);
        crate::log::say(&format!(
            "{} {} of {}: {}",
            self.direction.name(),
            self.channel,
            self.segment,
            match state {
                State::Starting => "starting",
                State::Running if what.is_empty() => "running",
                State::Ended => "ended",
                State::Running | State::Waiting | State::Standby | State::Refused => what,
            }
        ));
    }
}

impl Counts {
    pub(crate) fn add(count: &AtomicU64, by: u64) {
        count.fetch_add(by, Ordering::Relaxed);
    }

    pub(crate) fn set(gauge: &AtomicU64, to: u64) {
        gauge.store(to, Ordering::Relaxed);
    }
}
