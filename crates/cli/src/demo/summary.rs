//! The demo's result: added up from the reports, and printed.

use std::path::Path;

use indicatif::HumanCount;
use serde::Serialize;

use super::ledger::Ledger;
use super::orders::{Findings, Form, Orders, Report, histogram};
use crate::failure::Failure;

/// What has come to a group of consumers.
#[derive(Debug)]
struct Group {
    /// By producer.
    ledgers: Vec<Ledger>,
    /// How many messages of which it is not known which they were: those that have come
    /// corrupt, or of which it was said that they were missed.
    unknown: u64,
}

impl Group {
    fn received(&self) -> u64 {
        self.ledgers.iter().map(Ledger::received).sum()
    }
}

/// The reports so far, added up.
#[derive(Debug)]
pub(crate) struct Tally {
    groups: Vec<Group>,
    sent: u64,
    /// When the producers began.
    start: u64,
    /// Those of all consumers together, but for the latencies.
    findings: Findings,
    latencies: Vec<(u64, u64)>,
}

impl Tally {
    pub(crate) fn new(orders: &Orders, start: u64) -> Self {
        let ledgers = || (0..orders.producers).map(|_| Ledger::default()).collect();
        let group = |_| Group { ledgers: ledgers(), unknown: 0 };
        Self {
            groups: (0..orders.groups()).map(group).collect(),
            sent: 0,
            start,
            findings: Findings::default(),
            latencies: Vec::new(),
        }
    }

    pub(crate) fn add(&mut self, report: Report) {
        match report {
            Report::Sent { messages } => self.sent += messages,
            Report::Received { group, producer, chunk, words } => {
                let group = self.groups.get_mut(usize::from(group));
                let ledger = group.and_then(|group| group.ledgers.get_mut(usize::from(producer)));
                if let Some(ledger) = ledger {
                    ledger.enter(chunk, words);
                }
            }
            Report::Drained { group, findings } => {
                if let Some(group) = self.groups.get_mut(usize::from(group)) {
                    group.unknown += findings.corrupt + findings.lagged;
                }
                self.findings.lagged += findings.lagged;
                self.findings.duplicated += findings.duplicated;
                self.findings.reordered += findings.reordered;
                self.findings.corrupt += findings.corrupt;
                self.findings.last = self.findings.last.max(findings.last);
                self.latencies.extend(findings.latencies);
            }
            Report::Ready { .. } | Report::Failed { .. } => {}
        }
    }

    /// How many different messages have come intact, to each group.
    pub(crate) fn messages(&self) -> u64 {
        self.groups.iter().map(Group::received).sum()
    }

    /// How many have not come, of which nobody was told.
    fn lost(&self) -> u64 {
        let lost = |group: &Group| {
            self.sent.saturating_sub(group.received()).saturating_sub(group.unknown)
        };
        self.groups.iter().map(lost).sum()
    }
}

/// The result. Its fields are those of the JSON object.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    messages: u64,
    bytes: u64,
    seconds: f64,
    messages_per_second: f64,
    bytes_per_second: f64,
    latency_ns: Latency,
    lost: u64,
    duplicated: u64,
    reordered: u64,
    corrupt: u64,
    /// With `--broadcast`: how many messages the lossy subscriber was told that it has missed.
    #[serde(skip_serializing_if = "Option::is_none")]
    lagged: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Latency {
    p50: u64,
    p99: u64,
    p999: u64,
}

impl Summary {
    pub(crate) fn of(tally: &Tally, orders: &Orders) -> Result<Self, Failure> {
        let messages = tally.messages();
        let bytes = messages.saturating_mul(orders.size as u64);
        // At least a nanosecond, so that the rates are numbers.
        let seconds = tally.findings.last.saturating_sub(tally.start).max(1) as f64 / 1e9;
        let ledgers = tally.groups.iter().flat_map(|group| &group.ledgers);
        let doubled: u64 = ledgers.map(Ledger::duplicated).sum();
        Ok(Self {
            messages,
            bytes,
            seconds,
            messages_per_second: messages as f64 / seconds,
            bytes_per_second: bytes as f64 / seconds,
            latency_ns: Latency::of(&tally.latencies)?,
            lost: tally.lost(),
            duplicated: tally.findings.duplicated + doubled,
            reordered: tally.findings.reordered,
            corrupt: tally.findings.corrupt,
            lagged: (orders.form == Form::Broadcast).then_some(tally.findings.lagged),
        })
    }

    /// The broken promises in words, if there are any.
    pub(crate) fn verdict(&self) -> Option<String> {
        let Self { lost, duplicated, reordered, corrupt, .. } = *self;
        ([lost, duplicated, reordered, corrupt] != [0; 4]).then(|| {
            format!(
                "verification failed: {lost} lost, {duplicated} duplicated, {reordered} \
                 reordered, {corrupt} corrupt"
            )
        })
    }

    pub(crate) fn json(&self) -> String {
        // An object of numbers can always be written.
        serde_json::to_string(self).unwrap_or_default()
    }

    pub(crate) fn table(&self, orders: &Orders, input: &Path) -> String {
        let Latency { p50, p99, p999 } = self.latency_ns;
        let Orders { producers, consumers, size, .. } = *orders;
        let (consumers, channel) = match orders.form {
            Form::Mpmc => (format!("{consumers} processes"), "MPMC"),
            Form::Spsc => (format!("{consumers} processes"), "SPSC"),
            Form::Broadcast => {
                (format!("{} reliable processes and a lossy one", orders.reliable()), "broadcast")
            }
        };
        let lagged =
            self.lagged.map_or_else(String::new, |lagged| format!("\nlagged      {lagged:>18}"));
        format!(
            "{producers} to {consumers}, {size} bytes a message, {channel}, {}\n\
             \n\
             messages    {:>18}  {:>14} a second\n\
             bytes       {:>18}  {:>14.1} MB a second\n\
             seconds     {:>18.3}\n\
             latency p50 {:>18}\n\
             latency p99 {:>18}\n\
             latency p999{:>18}\n\
             lost        {:>18}\n\
             duplicated  {:>18}\n\
             reordered   {:>18}\n\
             corrupt     {:>18}{lagged}",
            input.display(),
            HumanCount(self.messages).to_string(),
            HumanCount(self.messages_per_second.round() as u64).to_string(),
            HumanCount(self.bytes).to_string(),
            self.bytes_per_second / 1e6,
            self.seconds,
            span(p50),
            span(p99),
            span(p999),
            self.lost,
            self.duplicated,
            self.reordered,
            self.corrupt,
        )
    }
}

impl Latency {
    fn of(latencies: &[(u64, u64)]) -> Result<Self, Failure> {
        let mut all = histogram()?;
        for &(value, count) in latencies {
            all.saturating_record_n(value, count);
        }
        let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|q| all.value_at_quantile(q));
        Ok(Self { p50, p99, p999 })
    }
}

/// Nanoseconds for people.
fn span(nanoseconds: u64) -> String {
    match nanoseconds as f64 {
        ns if ns < 1e3 => format!("{ns} ns"),
        ns if ns < 1e6 => format!("{:.2} µs", ns / 1e3),
        ns if ns < 1e9 => format!("{:.2} ms", ns / 1e6),
        ns => format!("{:.2} s", ns / 1e9),
    }
}
