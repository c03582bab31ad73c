//! The bridges that there are: whether they live, are connected, and carry what they shall.

use tombolo::Observer;

use super::Row;
use crate::bridges::{Bridge, Bridges, PREFIX};

pub(super) fn rows() -> Vec<Row> {
    // If the segments cannot be listed, the trial has said so.
    let found = Observer::all().look().unwrap_or_default();
    Bridges::default().among(&found).iter().flat_map(of).collect()
}

pub(super) fn of(bridge: &Bridge) -> Vec<Row> {
    let check = format!("bridge {}", bridge.name);
    let status = &bridge.status;
    if bridge.alive == Some(false) {
        let found = format!("dead: pid {} has ended without leaving", status.pid);
        let again = match &*status.config {
            "" => "start it again".to_owned(),
            config => format!("tombolo bridge --config {config}"),
        };
        let remedy = format!("{again}; or tombolo rm {PREFIX}{}", bridge.name);
        return vec![Row::judged(false, check, found, "a process that lives", remedy)];
    }
    let connected = Row::judged(
        status.connect.is_empty() || !status.peers.is_empty(),
        check.clone(),
        format!("pid {}, {}, {} connected", status.pid, status.state, status.peers.len()),
        match status.connect.join(", ") {
            all if all.is_empty() => "a process that lives".to_owned(),
            all => format!("a connection to {all}"),
        },
        "start the far bridge, or see whether its address can be reached",
    );
    let stuck = status.links.iter().filter(|link| link.state == "refused");
    let stuck = stuck.map(|link| {
        Row::judged(
            false,
            format!("{check}: {}/{}", link.segment, link.channel),
            format!("{} of {} refused: {}", link.direction, link.key, link.why),
            "the same kind, type and sizes on both sides",
            "remove or rename one of the two channels",
        )
    });
    [connected].into_iter().chain(stuck).collect()
}
