//! `tombolo metrics`: what is in the segments, in the text format of Prometheus.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use prometheus_client::encoding::EncodeMetric;
use prometheus_client::encoding::prometheus_text::{CONTENT_TYPE, encode};
use prometheus_client::metrics::TypedMetric;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tiny_http::{Header, Method, Request, Response, Server};
use tombolo::{ChannelInfo, Observer, OpenError, Passed, SegmentInfo};

use crate::bridges::{Bridge, Bridges};
use crate::failure::Failure;
use crate::plain::plain;
use crate::signals::Signals;
use crate::standard;
use crate::target::Target;
use crate::terms::remark;

/// Shows what is in the segments in the text format of Prometheus.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tombolo metrics --once
  tombolo metrics --listen 127.0.0.1:9464 &
  curl -s --retry 9 --retry-connrefused http://127.0.0.1:9464/metrics

Looks at the segments whenever it is asked, by a GET of / or /metrics, and at no other time: no
program that uses a segment counts anything for it. (Bridges count, also when nobody asks.) An anonymous segment is named
@ID. A counter of messages of an MPMC channel has also those whose senders died over them; of an
SPSC channel of bytes there are bytes, with 8 for each message. Standard error says the address,
also of a port 0. By default only this machine can ask: whoever can reach another
address can read the names of segments and channels. Ends by SIGTERM or Ctrl-C.")]
pub(crate) struct Args {
    /// The segments, or @ID; all of them if none is said
    #[arg(value_name = "NAME")]
    segments: Vec<Target>,
    /// The address to answer at
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9464")]
    listen: SocketAddr,
    /// Print the text once, and end
    #[arg(long, conflicts_with = "listen")]
    once: bool,
    /// Do not say the address on standard error
    #[arg(long)]
    quiet: bool,
}

type Labels = Vec<(&'static str, String)>;

/// What is looked at, and the calls of services seen so far: each slot counts its own up to
/// 2^30 only.
#[derive(Debug)]
struct Watched {
    observers: Vec<Observer>,
    /// Whether they look at all segments.
    all: bool,
    bridges: Bridges,
    calls: HashMap<(u64, String), (Passed, u64)>,
}

/// Families of metrics, under one name each.
struct Families {
    registry: Registry,
}

impl Families {
    fn add<M>(&mut self, name: &str, help: &str) -> Family<Labels, M>
    where
        M: EncodeMetric + TypedMetric + Default + Clone + std::fmt::Debug + Send + Sync + 'static,
    {
        let family = Family::<Labels, M>::default();
        self.registry.register(name, help, family.clone());
        family
    }

    fn gauge(&mut self, name: &str, help: &str) -> Family<Labels, Gauge> {
        self.add(name, help)
    }

    fn counter(&mut self, name: &str, help: &str) -> Family<Labels, Counter> {
        self.add(name, help)
    }
}

fn set(family: &Family<Labels, Gauge>, labels: &Labels, value: impl TryInto<i64>) {
    family.get_or_create(labels).set(value.try_into().unwrap_or(i64::MAX));
}

fn count(family: &Family<Labels, Counter>, labels: &Labels, value: u64) {
    family.get_or_create(labels).inc_by(value);
}

fn labels_of(info: &SegmentInfo) -> Labels {
    let name = if info.name.is_empty() { format!("@{}", info.id) } else { plain(&info.name) };
    // Another segment of this name, later, is another series.
    vec![("segment", name), ("id", info.id.to_string())]
}

fn with(labels: &Labels, more: &[(&'static str, &str)]) -> Labels {
    labels.iter().cloned().chain(more.iter().map(|(key, value)| (*key, plain(value)))).collect()
}

impl Watched {
    fn new(segments: &[Target]) -> Result<Self, OpenError> {
        let observers = if segments.is_empty() {
            vec![Observer::all()]
        } else {
            segments.iter().map(Target::observer).collect::<Result<_, _>>()?
        };
        let (all, bridges) = (segments.is_empty(), Bridges::default());
        Ok(Self { observers, all, bridges, calls: HashMap::new() })
    }

    /// All of it as a text.
    fn text(&mut self) -> Result<String, OpenError> {
        let mut found = Vec::new();
        for observer in &mut self.observers {
            found.extend(observer.look()?);
        }
        // A peer may have written any name, also one that another segment has.
        found.sort_by_key(|info| info.identity);
        found.dedup_by_key(|info| info.identity);
        self.calls.retain(|(segment, _), _| found.iter().any(|info| info.identity == *segment));
        let mut families = Families { registry: Registry::with_prefix("tombolo") };
        segments(&mut families, &found);
        self.channels(&mut families, &found);
        bridges(&mut families, &self.bridges.of(&found, self.all));
        let mut text = String::new();
        // A `String` takes everything.
        let _ = encode(&mut text, &families.registry);
        Ok(text)
    }

    fn channels(&mut self, to: &mut Families, found: &[SegmentInfo]) {
        let messages = to.counter("channel_messages", "Messages that have been sent");
        let bytes = to.counter(
            "channel_bytes",
            "Bytes that have been sent, with 8 for each message, of SPSC channels of bytes",
        );
        let calls = to.counter("channel_calls", "Calls that have been made, of services");
        let depth = to.gauge("channel_depth", "Messages that can be received");
        let capacity = to.gauge("channel_capacity", "Messages that the channel holds");
        let ends = to.gauge("channel_ends", "Senders and receivers of living processes");
        let asleep = to.gauge("channel_asleep", "Threads that sleep in a send or a receive");
        let unsent = to.counter("channel_unsent_messages", "Messages lost with their senders");
        let redelivered = to.counter(
            "channel_redelivered_messages",
            "Messages delivered again because their receivers died",
        );
        let dropped = to.counter(
            "channel_dropped_messages",
            "Messages not delivered again although their receivers died",
        );
        let lag = to.gauge("subscriber_lag", "Messages that a reliable subscriber has not read");
        let in_hand = to.gauge("service_calls_in_hand", "Calls that a server has in hand");
        for info in found {
            for (n, channel) in info.channels.iter().enumerate() {
                if info.channels.iter().take(n).any(|other| other.name == channel.name) {
                    // Only a peer that writes anywhere makes two of a name.
                    continue;
                }
                let kind = channel.kind.to_string();
                let labels = with(&labels_of(info), &[("channel", &channel.name), ("kind", &kind)]);
                match channel.passed {
                    Passed::Bytes(passed) => count(&bytes, &labels, passed),
                    Passed::Calls(_) => count(&calls, &labels, self.calls_of(info, channel)),
                    passed => count(&messages, &labels, passed.count()),
                }
                set(&depth, &labels, channel.depth);
                set(&capacity, &labels, channel.capacity);
                let sides = [
                    ("sender", channel.senders, channel.senders_asleep),
                    ("receiver", channel.receivers, channel.receivers_asleep),
                ];
                for (side, all, sleeping) in sides {
                    let labels = with(&labels, &[("side", side)]);
                    if info.living_known {
                        set(&ends, &labels, all);
                    }
                    if let Some(sleeping) = sleeping {
                        set(&asleep, &labels, sleeping);
                    }
                }
                count(&unsent, &labels, channel.unsent);
                count(&redelivered, &labels, channel.redelivered);
                count(&dropped, &labels, channel.dropped);
                let reliable = channel.broadcast.iter().flat_map(|it| &it.reliable);
                for (n, subscriber) in reliable.enumerate() {
                    let (pid, n) = (subscriber.peer.pid().to_string(), n.to_string());
                    set(&lag, &with(&labels, &[("pid", &pid), ("n", &n)]), subscriber.behind);
                }
                for (peer, calls) in channel.calls.iter().flat_map(|it| &it.in_hand) {
                    let (pid, slot) = (peer.pid().to_string(), peer.slot().to_string());
                    set(&in_hand, &with(&labels, &[("pid", &pid), ("n", &slot)]), *calls);
                }
            }
        }
    }

    /// How many calls there have been, which may be more than the channel says.
    fn calls_of(&mut self, info: &SegmentInfo, channel: &ChannelInfo) -> u64 {
        let key = (info.identity, channel.name.clone());
        let (passed, total) =
            self.calls.entry(key).or_insert((channel.passed, channel.passed.count()));
        *total += channel.passed.since(*passed);
        *passed = channel.passed;
        *total
    }
}

fn segments(to: &mut Families, found: &[SegmentInfo]) {
    let size = to.gauge("segment_size_bytes", "Size of the segment");
    let resident = to.gauge("segment_resident_bytes", "Bytes of the segment that are in memory");
    let attached = to.gauge("segment_attachments", "Attachments in all processes");
    let participants = to.gauge("segment_participants", "Participants that live");
    let stopped = to.gauge("segment_stopped_participants", "Participants that are stopped");
    let open = to.gauge("segment_open", "1 if the segment is open for messages");
    let deaths = to.counter("segment_deaths", "Participants that have died");
    for info in found {
        let labels = labels_of(info);
        set(&size, &labels, info.size);
        if let Some(bytes) = info.resident {
            set(&resident, &labels, bytes);
        }
        set(&attached, &labels, info.attached);
        if info.living_known {
            set(&participants, &labels, info.participants);
        }
        let all = info.people.iter().filter(|person| person.stopped == Some(true));
        set(&stopped, &labels, all.count());
        set(&open, &labels, i64::from(info.state.name() == "open"));
        count(&deaths, &labels, info.deaths.total);
    }
}

/// What bridges say of themselves, and whether they live.
fn bridges(to: &mut Families, found: &[Bridge]) {
    if found.is_empty() {
        return;
    }
    let up = to.gauge("bridge_up", "1 if the bridge lives");
    let peers = to.gauge("bridge_peers", "Connections to far ends");
    let running = to.gauge("bridge_link_running", "1 if the bridge carries the channel");
    let lag = to.gauge("bridge_link_lag", "Messages that the exporter has not sent yet");
    let held = to.gauge("bridge_link_held", "Messages that were sent and are not acknowledged");
    let counters = [
        to.counter("bridge_link_messages", "Messages that went over"),
        to.counter("bridge_link_bytes", "Bytes of messages that went over"),
        to.counter("bridge_link_missed_messages", "Messages that subscribers are told they lack"),
        to.counter("bridge_link_resent_messages", "Messages that were sent again"),
        to.counter("bridge_link_repeated_messages", "Messages marked as possibly repeated"),
        to.counter("bridge_link_skipped_messages", "Messages that came twice and were left out"),
        to.counter("bridge_link_refused_messages", "Messages that the channel does not take"),
    ];
    for bridge in found {
        let labels = vec![("bridge", plain(&bridge.name))];
        if let Some(alive) = bridge.alive {
            set(&up, &labels, i64::from(alive));
        }
        set(&peers, &labels, bridge.status.peers.len());
        for link in &bridge.status.links {
            let labels = with(
                &labels,
                &[
                    ("segment", &link.segment),
                    ("channel", &link.channel),
                    ("direction", &link.direction),
                    ("key", &link.key),
                ],
            );
            let counts = link.counts;
            set(&running, &labels, i64::from(link.state == "running"));
            set(&lag, &labels, counts.lag);
            set(&held, &labels, counts.held);
            let values = [
                counts.messages,
                counts.bytes,
                counts.missed,
                counts.resent,
                counts.repeated,
                counts.skipped,
                counts.refused,
            ];
            for (family, value) in counters.iter().zip(values) {
                let counter = family.get_or_create(&labels);
                // A bridge may name a link twice.
                counter.inc_by(value.saturating_sub(counter.get()));
            }
        }
    }
}

/// Runs it.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let unreadable = |error| Failure::unusable("cannot look at the segments", error);
    let mut watched = Watched::new(&args.segments).map_err(unreadable)?;
    if args.once {
        let text = watched.text().map_err(unreadable)?;
        return standard::print(text.trim_end())
            .map_err(|error| Failure::broken("cannot write the metrics", error));
    }
    // Before there are threads.
    let signals =
        Signals::hold().map_err(|error| Failure::broken("cannot handle signals", error))?;
    let unusable = |error| Failure::unusable(format!("cannot listen at {}", args.listen), error);
    let listener = TcpListener::bind(args.listen).map_err(unusable)?;
    let address = listener.local_addr().map_err(unusable)?;
    let server = Server::from_listener(listener, None)
        .map_err(|error| Failure::unusable(format!("cannot listen at {}", args.listen), error))?;
    if !args.quiet {
        remark(&format!("answering at http://{address}/metrics"));
    }
    let server = Arc::new(server);
    let answering = Arc::clone(&server);
    // Ends with the process.
    thread::Builder::new()
        .spawn(move || answer_all(&answering, &mut watched))
        .map_err(|error| Failure::unusable("cannot start a thread", error))?;
    loop {
        let mut files = [PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        match poll(&mut files, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(Failure::broken("cannot wait for signals", error.desc())),
        }
        if let Some(signal) = signals.caught() {
            return Err(Failure::Signalled(signal));
        }
    }
}

fn answer_all(server: &Server, watched: &mut Watched) {
    // It ends if the listener cannot be used any more.
    for request in server.incoming_requests() {
        // One who has gone gets no answer.
        let _ = answer(request, watched);
    }
}

fn answer(request: Request, watched: &mut Watched) -> std::io::Result<()> {
    let path = request.url().split('?').next().unwrap_or_default();
    if !matches!(request.method(), Method::Get | Method::Head) {
        return request.respond(Response::from_string("only GET\n").with_status_code(405));
    }
    if !matches!(path, "/" | "/metrics") {
        return request.respond(Response::from_string("see /metrics\n").with_status_code(404));
    }
    match watched.text() {
        Ok(text) => {
            let kind = Header::from_bytes("Content-Type", CONTENT_TYPE);
            let response = Response::from_string(text);
            request.respond(kind.into_iter().fold(response, Response::with_header))
        }
        Err(error) => {
            request.respond(Response::from_string(format!("{error}\n")).with_status_code(500))
        }
    }
}
