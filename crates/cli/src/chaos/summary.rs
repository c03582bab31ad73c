//! The storm's result, as a table or as JSON.

use indicatif::HumanCount;
use serde::Serialize;

use super::aftermath::Aftermath;
use super::judge::Findings;
use super::orders::{Setting, Shape};

/// The result. Its fields are those of the JSON object.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    pub(crate) seconds: f64,
    pub(crate) messages: u64,
    pub(crate) kills: u64,
    pub(crate) recovered: u64,
    pub(crate) held_by_dead: u64,
    pub(crate) lost_beyond_held: u64,
    pub(crate) duplicated_beyond_policy: u64,
    pub(crate) torn: u64,
    pub(crate) reordered: u64,
    pub(crate) longest_stall_ms: u64,
    pub(crate) leaked_objects: u64,
    pub(crate) seed: u64,
}

impl Summary {
    pub(crate) const fn enter(&mut self, findings: &Findings, after: &Aftermath) {
        self.messages = findings.messages;
        self.held_by_dead = findings.held_by_dead;
        self.lost_beyond_held = findings.lost;
        self.duplicated_beyond_policy = findings.duplicated;
        self.torn = findings.torn;
        self.reordered = findings.reordered;
        self.recovered = after.recovered;
        self.leaked_objects = after.leaked;
    }

    /// The promises, and how often each was broken.
    const fn promises(&self) -> [(&'static str, u64); 5] {
        [
            ("lost beyond what the dead held", self.lost_beyond_held),
            ("duplicated beyond the policy", self.duplicated_beyond_policy),
            ("torn", self.torn),
            ("reordered", self.reordered),
            ("leaked objects", self.leaked_objects),
        ]
    }

    /// The broken promises in words, if there are any.
    pub(crate) fn verdict(&self) -> Option<String> {
        let broken = self.promises().into_iter().filter(|&(_, count)| count > 0);
        let broken = broken.map(|(what, count)| format!("{count} {what}")).collect::<Vec<_>>();
        (!broken.is_empty()).then(|| {
            format!("the storm broke a promise: {} (seed {})", broken.join(", "), self.seed)
        })
    }

    pub(crate) fn json(&self) -> String {
        // An object of numbers can always be written.
        serde_json::to_string(self).unwrap_or_default()
    }

    pub(crate) fn table(&self, setting: &Setting) -> String {
        let Setting { producers, consumers, size, capacity, .. } = *setting;
        let channel = setting.shape.name();
        let policy = match setting.shape {
            Shape::Broadcast | Shape::Calls => "",
            _ if setting.attempts == 0 => "drop, ",
            _ => "redeliver, ",
        };
        let count =
            |name: &str, value: u64| format!("{name:<32}{:>14}", HumanCount(value).to_string());
        let mut lines = vec![
            format!(
                "{producers} to {consumers} processes, {size} bytes a message, {channel} for \
                 {capacity}, {policy}seed {}",
                self.seed
            ),
            String::new(),
            format!("{:<32}{:>14.1}", "seconds", self.seconds),
            count("messages", self.messages),
            count("kills", self.kills),
            count("deaths swept", self.recovered),
            count("messages that the dead held", self.held_by_dead),
            format!("{:<32}{:>11} ms", "longest stall", self.longest_stall_ms),
            String::new(),
        ];
        lines.extend(self.promises().map(|(what, broken)| {
            format!("{}  {}", count(what, broken), if broken == 0 { "kept" } else { "BROKEN" })
        }));
        lines.push(String::new());
        lines.push(match self.verdict() {
            None => "Every promise was kept.".to_owned(),
            Some(_) => "A promise was broken.".to_owned(),
        });
        lines.join("\n")
    }
}
