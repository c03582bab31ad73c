//! `tombolo ls`: lists the segments and their content.

use serde::Serialize;
use tombolo::sys::proc;
use tombolo::{BroadcastInfo, CallsInfo, ChannelInfo, Death, Peer, Segment, SegmentInfo};

use crate::bridges::{Bridge, Bridges, Carried};
use crate::failure::Failure;
use crate::plain::{json, plain};
use crate::standard;
use crate::terms::remark;

/// Lists segments and their channels.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  tombolo ls --json | jq '.[] | select(.attached == 0) | .name'

An anonymous segment has key 0. Depth is how many messages a channel has to be
received, with those that come again because their receiver died; of broadcast,
how many the slowest reliable subscriber has not read. Senders and receivers are
of processes that live; ? (null in JSON) where the segment's
semaphore set is gone or may not be read, so that nobody can tell. Deaths are how
many participants have ended without leaving, as far as somebody has noticed;
--json says who.

Of a broadcast channel there is a line more: how many messages have been
published, and how many of them are retained; the processes that have publishers
and reliable subscribers, of as many as there can be, and how many messages each
subscriber is behind; and how many others there are.

Of a service (calls), capacity is how many calls there can be at once, depth how
many wait for a server, senders are clients, and receivers are servers. There is a
line more: how many calls have a slot, and how many the processes have in hand
that serve them.

Of a channel that a bridge carries between hosts, there is a line more for each
direction; and one for the bridge below its own segment, tombolo.bridge.NAME.

To look into a segment, the kernel wants it attached for some microseconds. That
changes the pid and the times that `ipcs -mp` and `ipcs -mt` show of the last
attachment, and nothing else.")]
pub(crate) struct Args {
    /// Print one JSON array
    #[arg(long)]
    json: bool,
}

/// A segment. Its fields are those of the JSON object.
#[derive(Debug, Serialize)]
// More fields than 12: they are what is shown of a segment.
struct Row {
    name: String,
    key: i32,
    id: i32,
    size: usize,
    owner: String,
    creator: String,
    mode: String,
    attached: u64,
    /// `open`, or what a command has made it.
    state: &'static str,
    /// Ever; and those that the segment remembers, the newest last.
    deaths: u64,
    recent_deaths: Vec<DeathRow>,
    channels: Vec<ChannelRow>,
    /// The bridge whose segment it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    bridge: Option<Bridge>,
}

#[derive(Debug, Serialize)]
struct DeathRow {
    pid: u32,
    uid: u32,
    ago_ms: u128,
    senders: u64,
    receivers: u64,
    unsent: u64,
    redelivered: u64,
    dropped: u64,
    buffers: u64,
    channel: Option<String>,
}

#[derive(Debug, Serialize)]
// More fields than 12: they are what is shown of a channel.
struct ChannelRow {
    name: String,
    kind: String,
    element: String,
    capacity: usize,
    depth: u64,
    senders: Option<u64>,
    receivers: Option<u64>,
    /// Of all participants that have ever died.
    unsent: u64,
    redelivered: u64,
    dropped: u64,
    #[serde(flatten)]
    broadcast: Option<BroadcastRow>,
    #[serde(flatten)]
    calls: Option<CallsRow>,
    /// The bridges that carry it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    bridged: Vec<Carried>,
}

/// What a broadcast channel has besides.
#[derive(Debug, Serialize)]
struct BroadcastRow {
    /// How many messages have been published, ever.
    tail: u64,
    retained: u64,
    /// The process of each.
    publishers: Vec<u32>,
    publisher_seats: u16,
    reliable: Vec<ReliableRow>,
    reliable_seats: u16,
    /// How many subscribers there are for whom nobody waits.
    lossy: Option<u64>,
}

/// What a service has besides.
#[derive(Debug, Serialize)]
struct CallsRow {
    /// How many calls have a slot.
    under_way: u64,
    in_hand: Vec<ServerRow>,
    /// How many of those no client waits for.
    abandoned: u64,
    reply_size: usize,
}

#[derive(Debug, Serialize)]
struct ServerRow {
    pid: u32,
    calls: u64,
}

#[derive(Debug, Serialize)]
struct ReliableRow {
    pid: u32,
    /// How many messages it has not read.
    lag: u64,
}

impl DeathRow {
    fn of(death: Death) -> Self {
        Self {
            pid: death.pid,
            uid: death.uid,
            ago_ms: death.ago.as_millis(),
            senders: death.senders,
            receivers: death.receivers,
            unsent: death.unsent,
            redelivered: death.redelivered,
            dropped: death.dropped,
            buffers: death.buffers,
            channel: death.channel,
        }
    }
}

impl Row {
    fn of(info: SegmentInfo, bridges: &[Bridge]) -> Self {
        let known = info.living_known;
        let channels = info.channels.iter().cloned();
        let channels = channels.map(|channel| {
            let bridged = Carried::all(bridges, &info, &channel.name);
            ChannelRow::of(channel, known, bridged)
        });
        Self {
            channels: channels.collect(),
            bridge: bridges.iter().find(|bridge| bridge.segment == info.id).cloned(),
            name: info.name,
            key: info.key,
            id: info.id,
            size: info.size,
            owner: owner(info.uid),
            creator: owner(info.creator_uid),
            mode: format!("{:04o}", info.mode & 0o777),
            attached: info.attached,
            state: info.state.name(),
            deaths: info.deaths.total,
            recent_deaths: info.deaths.recent.into_iter().map(DeathRow::of).collect(),
        }
    }

    fn cells(&self) -> [String; 9] {
        let name = if self.name.is_empty() { "(anonymous)" } else { &self.name };
        [
            plain(name),
            format!("{:#010x}", self.key),
            self.id.to_string(),
            self.size.to_string(),
            plain(&self.owner),
            self.mode.clone(),
            self.attached.to_string(),
            self.deaths.to_string(),
            self.state.to_owned(),
        ]
    }
}

impl ChannelRow {
    fn of(info: ChannelInfo, living_known: bool, bridged: Vec<Carried>) -> Self {
        let receivers = living_known.then_some(info.receivers);
        Self {
            bridged,
            broadcast: info.broadcast.map(|info| BroadcastRow::of(&info, receivers)),
            calls: info.calls.map(|info| CallsRow::of(&info)),
            name: info.name,
            kind: info.kind.to_string(),
            element: info.element,
            capacity: info.capacity,
            depth: info.depth,
            senders: living_known.then_some(info.senders),
            receivers,
            unsent: info.unsent,
            redelivered: info.redelivered,
            dropped: info.dropped,
        }
    }

    fn cells(&self) -> [String; 7] {
        [
            format!("  {}", plain(&self.name)),
            self.kind.clone(),
            plain(&self.element),
            self.capacity.to_string(),
            self.depth.to_string(),
            count(self.senders),
            count(self.receivers),
        ]
    }
}

impl BroadcastRow {
    fn of(info: &BroadcastInfo, receivers: Option<u64>) -> Self {
        let reliable = info.reliable.iter();
        Self {
            tail: info.published,
            retained: info.published.saturating_sub(info.oldest),
            publishers: info.publishers.iter().map(Peer::pid).collect(),
            publisher_seats: info.most_publishers,
            reliable: reliable
                .map(|reliable| ReliableRow { pid: reliable.peer.pid(), lag: reliable.behind })
                .collect(),
            reliable_seats: info.most_reliable,
            lossy: receivers.map(|all| all.saturating_sub(info.reliable.len() as u64)),
        }
    }

    fn line(&self) -> String {
        let listed = |held: Vec<String>, seats| {
            let holders =
                if held.is_empty() { String::new() } else { format!(": {}", held.join(", ")) };
            format!("{} of {seats}{holders}", held.len())
        };
        let publishers = self.publishers.iter().map(|pid| format!("pid {pid}")).collect();
        let behind = |row: &ReliableRow| format!("pid {} ({} behind)", row.pid, row.lag);
        format!(
            "    tail {}, {} retained; publishers {}; reliable {}; lossy {}",
            self.tail,
            self.retained,
            listed(publishers, self.publisher_seats),
            listed(self.reliable.iter().map(behind).collect(), self.reliable_seats),
            count(self.lossy),
        )
    }
}

impl CallsRow {
    fn of(info: &CallsInfo) -> Self {
        let in_hand = info.in_hand.iter();
        Self {
            under_way: info.under_way,
            in_hand: in_hand.map(|&(peer, calls)| ServerRow { pid: peer.pid(), calls }).collect(),
            abandoned: info.abandoned,
            reply_size: info.reply_size,
        }
    }

    fn line(&self) -> String {
        let hands = self.in_hand.iter().map(|row| format!("pid {} ({})", row.pid, row.calls));
        let hands = hands.collect::<Vec<_>>().join(", ");
        let hands = if hands.is_empty() { "none".to_owned() } else { hands };
        let (under_way, abandoned) = (self.under_way, self.abandoned);
        format!("    {under_way} under way; in hand {hands}; {abandoned} abandoned")
    }
}

/// A number, if it is known.
fn count(number: Option<u64>) -> String {
    number.map_or_else(|| "?".to_owned(), |number| number.to_string())
}

/// A user's name, or the number of one that has none.
pub(crate) fn owner(uid: u32) -> String {
    proc::user_name(uid).unwrap_or_else(|| uid.to_string())
}

/// Runs it.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let unwritable = |error| Failure::broken("cannot write the list", error);
    standard::check_output().map_err(unwritable)?;
    let segments =
        Segment::list().map_err(|error| Failure::unusable("cannot list the segments", error))?;
    // Without a key, it was removed while processes are still attached.
    let there = |info: &SegmentInfo| info.name.is_empty() || info.key != 0;
    let bridges = Bridges::default().among(&segments);
    let row = |info| Row::of(info, &bridges);
    let mut rows: Vec<Row> = segments.into_iter().filter(there).map(row).collect();
    rows.sort_by(|a, b| (&a.name, a.id).cmp(&(&b.name, b.id)));
    let printed = if args.json {
        json(&rows).map_err(|error| Failure::broken("cannot write the list", error))?
    } else if rows.is_empty() {
        remark("there are no segments");
        return Ok(());
    } else {
        table(&rows)
    };
    standard::print(&printed).map_err(unwritable)
}

fn table(rows: &[Row]) -> String {
    let segment = ["SEGMENT", "KEY", "ID", "SIZE", "OWNER", "MODE", "ATTACHED", "DEATHS", "STATE"];
    let channel = ["  CHANNEL", "KIND", "ELEMENT", "CAPACITY", "DEPTH", "SENDERS", "RECEIVERS"];
    let mut segments = vec![segment.map(str::to_owned)];
    segments.extend(rows.iter().map(Row::cells));
    let mut channels = vec![channel.map(str::to_owned)];
    channels.extend(rows.iter().flat_map(|row| row.channels.iter().map(ChannelRow::cells)));
    let mut segments = aligned(&segments).into_iter();
    let mut channels = aligned(&channels).into_iter();
    let mut lines = Vec::new();
    lines.extend(segments.next());
    lines.extend(channels.next());
    for (row, line) in rows.iter().zip(segments) {
        lines.push(line);
        lines.extend(row.bridge.as_ref().map(|bridge| format!("  {}", bridge.words())));
        for channel in &row.channels {
            lines.extend(channels.next());
            lines.extend(channel.broadcast.as_ref().map(BroadcastRow::line));
            lines.extend(channel.calls.as_ref().map(CallsRow::line));
            lines.extend(channel.bridged.iter().map(|it| format!("    {}", it.words())));
        }
    }
    lines.join("\n")
}

/// The rows, each column as wide as its widest cell.
fn aligned<const COLUMNS: usize>(rows: &[[String; COLUMNS]]) -> Vec<String> {
    let widths = std::array::from_fn::<usize, COLUMNS, _>(|column| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    });
    let line = |row: &[String; COLUMNS]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}
