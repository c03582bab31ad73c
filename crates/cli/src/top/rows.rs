//! What a look has found, and how fast it goes: the fields are those of the JSON object.

use std::collections::HashMap;
use std::time::Duration;

use serde::Serialize;
use tombolo::{ChannelInfo, Passed, PersonInfo, SegmentInfo};

use crate::bridges::{Bridge, Carried};

/// What had gone into the channels at the last look, by segment and name.
#[derive(Debug, Default)]
pub(super) struct Before(HashMap<u64, HashMap<String, Passed>>);

/// A look.
#[derive(Debug, Serialize)]
pub(super) struct View {
    /// The time since the last look, of which the rates are.
    pub(super) interval_seconds: f64,
    pub(super) segments: Vec<SegmentRow>,
}

#[derive(Debug, Serialize)]
// More fields than 12: they are what is shown of a segment.
pub(super) struct SegmentRow {
    pub(super) name: String,
    pub(super) id: i32,
    pub(super) size: usize,
    /// Bytes of it in memory.
    pub(super) resident: Option<u64>,
    pub(super) attached: u64,
    pub(super) participants: usize,
    /// Whether it is known which of them live.
    pub(super) living_known: bool,
    pub(super) state: &'static str,
    pub(super) deaths: u64,
    pub(super) people: Vec<PersonRow>,
    pub(super) channels: Vec<ChannelRow>,
    /// The bridge whose segment it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) bridge: Option<Bridge>,
}

#[derive(Debug, Serialize)]
pub(super) struct PersonRow {
    /// `slot.life`: used once.
    participant: String,
    pub(super) pid: u32,
    uid: u32,
    pub(super) stopped: Option<bool>,
    /// Threads that sleep until its own bell rings.
    pub(super) asleep: Option<u32>,
}

#[derive(Debug, Serialize)]
// More fields than 12: they are what is shown of a channel.
pub(super) struct ChannelRow {
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) element: String,
    pub(super) capacity: usize,
    pub(super) depth: u64,
    /// What `passed` and `rate_per_second` count.
    pub(super) unit: &'static str,
    pub(super) passed: u64,
    /// `None` of a channel that was not there at the last look.
    pub(super) rate_per_second: Option<f64>,
    pub(super) senders: Option<u64>,
    pub(super) receivers: Option<u64>,
    pub(super) senders_asleep: Option<u32>,
    pub(super) receivers_asleep: Option<u32>,
    /// The processes of the participants that have said they wait.
    pub(super) waiting: Vec<WaiterRow>,
    pub(super) unsent: u64,
    pub(super) redelivered: u64,
    pub(super) dropped: u64,
    /// The subscribers that publishers wait for.
    pub(super) reliable: Vec<SubscriberRow>,
    /// Of a service: who serves.
    pub(super) in_hand: Vec<ServerRow>,
    /// The bridges that carry it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) bridged: Vec<Carried>,
}

#[derive(Debug, Serialize)]
pub(super) struct WaiterRow {
    pub(super) pid: u32,
    pub(super) senders: u64,
    pub(super) receivers: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct SubscriberRow {
    pub(super) pid: u32,
    /// How many messages it has not read.
    pub(super) lag: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct ServerRow {
    pub(super) pid: u32,
    pub(super) calls: u64,
}

impl Before {
    pub(super) fn of(found: &[SegmentInfo]) -> Self {
        let channels = |info: &SegmentInfo| {
            info.channels.iter().map(|channel| (channel.name.clone(), channel.passed)).collect()
        };
        Self(found.iter().map(|info| (info.identity, channels(info))).collect())
    }

    fn rate(&self, segment: u64, channel: &ChannelInfo, interval: Duration) -> Option<f64> {
        let before = self.0.get(&segment)?.get(&channel.name)?;
        Some(channel.passed.since(*before) as f64 / interval.as_secs_f64().max(1e-9))
    }
}

impl View {
    pub(super) fn of(
        found: &[SegmentInfo],
        bridges: &[Bridge],
        before: &Before,
        interval: Duration,
    ) -> Self {
        let row = |info| SegmentRow::of(info, bridges, before, interval);
        let mut segments: Vec<SegmentRow> = found.iter().map(row).collect();
        segments.sort_by(|a, b| (&a.name, a.id).cmp(&(&b.name, b.id)));
        Self { interval_seconds: interval.as_secs_f64(), segments }
    }
}

impl SegmentRow {
    fn of(info: &SegmentInfo, bridges: &[Bridge], before: &Before, interval: Duration) -> Self {
        let channels = info.channels.iter().enumerate();
        let channel = |(n, channel): (usize, &ChannelInfo)| {
            let rate = before.rate(info.identity, channel, interval);
            let bridged = Carried::all(bridges, info, &channel.name);
            ChannelRow { bridged, ..ChannelRow::of(n, channel, info, rate) }
        };
        Self {
            name: info.name.clone(),
            id: info.id,
            size: info.size,
            resident: info.resident,
            attached: info.attached,
            participants: info.participants,
            living_known: info.living_known,
            state: info.state.name(),
            deaths: info.deaths.total,
            people: info.people.iter().map(PersonRow::of).collect(),
            channels: channels.map(channel).collect(),
            bridge: bridges.iter().find(|bridge| bridge.segment == info.id).cloned(),
        }
    }
}

impl PersonRow {
    fn of(info: &PersonInfo) -> Self {
        Self {
            participant: format!("{}.{}", info.peer.slot(), info.peer.life()),
            pid: info.peer.pid(),
            uid: info.uid,
            stopped: info.stopped,
            asleep: info.asleep,
        }
    }
}

impl ChannelRow {
    fn of(n: usize, info: &ChannelInfo, segment: &SegmentInfo, rate: Option<f64>) -> Self {
        let unit = match info.passed {
            Passed::Bytes(_) => "bytes",
            Passed::Calls(_) => "calls",
            _ => "messages",
        };
        let known = segment.living_known;
        let broadcast = info.broadcast.as_ref().map(|broadcast| &broadcast.reliable);
        let reliable = broadcast.into_iter().flatten();
        let calls = info.calls.as_ref().map(|calls| &calls.in_hand);
        let waiting = segment.people.iter().flat_map(|person| {
            let here = person.ends.iter().filter(move |ends| ends.channel == n);
            here.map(|ends| WaiterRow {
                pid: person.peer.pid(),
                senders: ends.waiting_senders,
                receivers: ends.waiting_receivers,
            })
        });
        Self {
            name: info.name.clone(),
            kind: info.kind.to_string(),
            element: info.element.clone(),
            capacity: info.capacity,
            depth: info.depth,
            unit,
            passed: info.passed.count(),
            rate_per_second: rate,
            senders: known.then_some(info.senders),
            receivers: known.then_some(info.receivers),
            senders_asleep: info.senders_asleep,
            receivers_asleep: info.receivers_asleep,
            waiting: waiting.filter(|row| row.senders + row.receivers > 0).collect(),
            unsent: info.unsent,
            redelivered: info.redelivered,
            dropped: info.dropped,
            reliable: reliable
                .map(|it| SubscriberRow { pid: it.peer.pid(), lag: it.behind })
                .collect(),
            in_hand: calls
                .into_iter()
                .flatten()
                .map(|&(peer, calls)| ServerRow { pid: peer.pid(), calls })
                .collect(),
            bridged: Vec::new(),
        }
    }

    /// How many messages the slowest subscriber has not read, or how many there are.
    pub(super) fn backlog(&self) -> u64 {
        self.reliable.iter().map(|row| row.lag).max().unwrap_or(0).max(self.depth)
    }

    pub(super) fn asleep(&self) -> u32 {
        self.senders_asleep.unwrap_or(0).saturating_add(self.receivers_asleep.unwrap_or(0))
    }
}
