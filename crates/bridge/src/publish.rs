//! Tells others how the bridge is: the status in its segment, and news of what changes.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tombolo::{Bytes, ChannelError, Publisher, Segment};
use tombolo_cli::bridges::{self, Counts, LONGEST, Link, News, Peer, VERSION};
use tombolo_cli::terms::{millis, remark};

use crate::Stop;
use crate::plan::Plan;
use crate::status::{RouteStatus, State, Status};

/// How often to look at what has happened.
const PAUSE: Duration = Duration::from_millis(500);
/// How many news are kept.
const KEPT: usize = 32;
/// How many bridges of one name can be on a host: one serves, others stand by.
const OF_ONE_NAME: u32 = 16;

/// What is done with each piece of news, and whether the log says the same.
pub type Tell = Box<dyn FnMut(&News, bool) + Send>;

/// The thread that tells.
#[derive(Debug)]
pub struct Speaker {
    stop: Stop,
    thread: JoinHandle<()>,
}

impl Speaker {
    /// Begins. `ending` is the bridge's own request to end.
    ///
    /// # Errors
    /// That there can be no thread.
    pub fn start(
        plan: &Plan,
        status: &Arc<Status>,
        ending: &Stop,
        tell: Tell,
    ) -> std::io::Result<Self> {
        let stop = Stop::new();
        let (until, status, ending) = (stop.clone(), Arc::clone(status), ending.clone());
        let mut voice = Voice { last: first(plan), board: Board::open(&plan.name), tell };
        let speak = move || {
            loop {
                let over = until.is_stopped();
                voice.say(&status, ending.is_stopped());
                if over {
                    return;
                }
                until.wait(PAUSE);
            }
        };
        let thread = thread::Builder::new().name("status".to_owned()).spawn(speak)?;
        Ok(Self { stop, thread })
    }

    /// Tells what there is still to tell, and ends.
    pub fn end(self) {
        self.stop.stop();
        // A thread that has panicked has nothing more to tell.
        let _ = self.thread.join();
    }
}

/// What is so before anything has happened.
fn first(plan: &Plan) -> bridges::Status {
    let engine = &plan.config.engine;
    bridges::Status {
        version: VERSION,
        pid: std::process::id(),
        state: "starting".to_owned(),
        config: plan.file.as_ref().map(|file| file.display().to_string()).unwrap_or_default(),
        listen: engine.listen.clone(),
        connect: engine.connect.clone(),
        ..bridges::Status::default()
    }
}

/// Knows what was said last.
struct Voice {
    last: bridges::Status,
    board: Option<Board>,
    tell: Tell,
}

impl Voice {
    /// Says what has changed.
    fn say(&mut self, status: &Status, ending: bool) {
        let mut now = self.last.clone();
        now.state = if ending { "draining" } else { "running" }.to_owned();
        let known = |id: &str| self.last.peers.iter().find(|peer| peer.id == id).cloned();
        let peers = status.peers().into_iter();
        now.peers = peers
            .map(|(id, since)| {
                known(&id).unwrap_or_else(|| Peer { id, since_unix_ms: unix_ms(since.elapsed()) })
            })
            .collect();
        now.links = status.routes.iter().map(|route| link(route)).collect();
        for (link, what, logged) in changes(&self.last, &now) {
            let n = now.news.last().map_or(1, |last| last.n + 1);
            let news = News { n, unix_ms: unix_ms(Duration::ZERO), link, what };
            (self.tell)(&news, logged);
            now.news.push(news);
        }
        let old = now.news.len().saturating_sub(KEPT);
        now.news.drain(..old);
        if now != self.last {
            if let Some(board) = &self.board {
                board.put_up(now.clone());
            }
            self.last = now;
        }
    }
}

/// Milliseconds since 1970, so long ago.
fn unix_ms(ago: Duration) -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    millis(since.saturating_sub(ago))
}

fn link(route: &RouteStatus) -> Link {
    let counts = &route.counts;
    Link {
        segment: route.segment.clone(),
        channel: route.channel.clone(),
        direction: route.direction.name().to_owned(),
        key: route.key.clone(),
        state: match route.state() {
            State::Starting => "starting",
            State::Waiting => "waiting",
            State::Standby => "standby",
            State::Running => "running",
            State::Refused => "refused",
            State::Ended => "ended",
        }
        .to_owned(),
        why: route.what(),
        counts: Counts {
            messages: counts.messages.load(Relaxed),
            bytes: counts.bytes.load(Relaxed),
            lag: counts.lag.load(Relaxed),
            held: counts.held.load(Relaxed),
            gaps: counts.gaps.load(Relaxed),
            missed: counts.missed.load(Relaxed),
            resent: counts.resent.load(Relaxed),
            repeated: counts.repeated.load(Relaxed),
            skipped: counts.skipped.load(Relaxed),
            refused: counts.refused.load(Relaxed),
        },
    }
}

/// What is new, about which channel, and whether the log has said it.
fn changes(before: &bridges::Status, now: &bridges::Status) -> Vec<(String, String, bool)> {
    let mut all = Vec::new();
    let is_in = |peers: &[Peer], id: &str| peers.iter().any(|peer| peer.id == id);
    let came = now.peers.iter().filter(|peer| !is_in(&before.peers, &peer.id));
    all.extend(came.map(|peer| (String::new(), format!("{} is there", peer.id), false)));
    let gone = before.peers.iter().filter(|peer| !is_in(&now.peers, &peer.id));
    all.extend(gone.map(|peer| (String::new(), format!("{} has gone", peer.id), false)));
    for (n, link) in now.links.iter().enumerate() {
        let fresh = Link { state: "starting".to_owned(), ..Link::default() };
        let was = before.links.get(n).unwrap_or(&fresh);
        let name = format!("{}/{}", link.segment, link.channel);
        let mut add = |what: String, logged| {
            all.push((name.clone(), format!("{}: {what}", link.direction), logged));
        };
        if (&was.state, &was.why) != (&link.state, &link.why) {
            let why = if link.why.is_empty() { "" } else { ": " };
            add(format!("{}{why}{}", link.state, link.why), true);
        }
        let (then, counts) = (&was.counts, &link.counts);
        for (then, count, what) in [
            (then.missed, counts.missed, "missed, and told to subscribers"),
            (then.resent, counts.resent, "sent again"),
            (then.repeated, counts.repeated, "marked, since they may have come before"),
            (then.skipped, counts.skipped, "came again, and were left out"),
            (then.refused, counts.refused, "refused by the channel"),
        ] {
            if count > then {
                add(format!("messages {what}: {}", count - then), false);
            }
        }
    }
    all
}

/// Where the status is read.
struct Board {
    segment: Segment,
    publisher: Publisher<Bytes>,
}

impl Board {
    /// The first segment of this name that no other bridge has.
    fn open(name: &str) -> Option<Self> {
        for n in 1..=OF_ONE_NAME {
            let more = if n == 1 { String::new() } else { format!(".{n}") };
            match Self::take(&format!("{}{name}{more}", bridges::PREFIX)) {
                Ok(Some(board)) => return Some(board),
                Ok(None) => {}
                Err(error) => {
                    remark(&format!("nobody will see how this bridge is: {error}"));
                    return None;
                }
            }
        }
        None
    }

    /// This segment, unless another bridge has it.
    fn take(name: &str) -> Result<Option<Self>, Box<dyn std::error::Error>> {
        let options = Segment::options().transient(true).participants_up_to(8).channels(1);
        let segment = options.room_for_broadcast_bytes(1, LONGEST).open_or_create(name)?;
        let channel = segment.broadcast_bytes(bridges::CHANNEL).capacity(1, LONGEST);
        match channel.publishers(1).reliable(1).lasting().publisher() {
            Ok(publisher) => Ok(Some(Self { segment, publisher })),
            Err(ChannelError::TooManyPublishers { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Says it there, without the last links if there are too many. Readers look at the newest,
    /// and nobody waits for a reader.
    fn put_up(&self, mut status: bridges::Status) {
        let said = loop {
            let Ok(said) = serde_json::to_vec(&status) else { return };
            if said.len() <= LONGEST || status.links.is_empty() {
                break said;
            }
            let kept = status.links.len() / 2;
            status.left_out += status.links.len() - kept;
            status.links.truncate(kept);
        };
        if let Err(error) = self.publisher.try_send(&said) {
            let segment = self.segment.id();
            remark(&format!("cannot say in segment @{segment} how this bridge is: {error}"));
        }
    }
}
