//! Explains a stall: which process waits for what, from the kernel's tables and the
//! segment's own words, without joining it.

use std::fmt::Write;
use std::fs;

use tombolo::sys::sem::Set;
use tombolo::sys::shm::Shm;
use tombolo::{Segment, SegmentInfo};

use super::orders::{Setting, Shape};
use crate::words::Words;

/// The semaphore that the first participant holds up while it lives, as docs/format.md
/// numbers it.
const LIVENESS: u16 = 8;

/// Everything there is to say about it.
pub(crate) fn waiting(setting: &Setting, workers: &[(String, i32)]) -> String {
    let mut text = String::new();
    for (name, pid) in workers {
        let _ = writeln!(text, "  {name} (pid {pid}) {}", doing(*pid));
    }
    let segments = Segment::list().unwrap_or_default();
    match segments.iter().find(|segment| segment.name == setting.name) {
        Some(segment) => {
            semaphores(&mut text, setting, segment);
            words(&mut text, setting, segment);
            for board in segment.channels.iter().filter_map(|channel| channel.broadcast.as_ref()) {
                let _ = writeln!(text, "  {board:?}");
            }
            for calls in segment.channels.iter().filter_map(|channel| channel.calls.as_ref()) {
                let _ = writeln!(text, "  {calls:?}");
            }
        }
        None => text.push_str("  the segment is not there\n"),
    }
    text.truncate(text.trim_end().len());
    text
}

/// The state of a process, and the system call that it is in.
fn doing(pid: i32) -> String {
    let read = |file| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let stat = read("stat");
    let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next()).unwrap_or('?');
    let call = read("syscall");
    match call.split(' ').next().unwrap_or_default().trim() {
        "running" => format!("is running ({state})"),
        "220" | "65" if cfg!(target_arch = "x86_64") => {
            format!("waits for a semaphore ({state})")
        }
        number => format!("is in system call {number} ({state})"),
    }
}

/// The semaphores that say something, as docs/format.md numbers them.
fn semaphores(text: &mut String, setting: &Setting, segment: &SegmentInfo) {
    let set = Set::from_id(segment.set);
    let participants = setting.participants();
    let living = |n: u16| (format!("participant {n}"), LIVENESS + n);
    let named = [("lease".to_owned(), 0)]
        .into_iter()
        .chain((0..participants).map(living))
        .chain([("items".to_owned(), 8 + participants), ("space".to_owned(), 9 + participants)]);
    let _ = write!(text, "  semaphores:");
    for (name, index) in named {
        let value = set.value(index).map_or("?".to_owned(), |value| value.to_string());
        let waiters = set.waiting_for_increase(index).unwrap_or(0);
        let zeroes = set.waiting_for_zero(index).unwrap_or(0);
        let _ = write!(text, " {name} {value}");
        if waiters + zeroes > 0 {
            let last = set.last_pid(index).unwrap_or(0);
            let _ = write!(text, " ({waiters} wait, {zeroes} for zero; last was {last})");
        }
        text.push(',');
    }
    text.pop();
    text.push('\n');
}

/// The channel's words, at the places that docs/format.md gives.
fn words(text: &mut String, setting: &Setting, segment: &SegmentInfo) {
    let Ok(words) = Words::of(Shm::from_id(segment.id)) else {
        return;
    };
    let participants = u64::from(setting.participants());
    let set = Set::from_id(segment.set);
    let get = |byte: u64| words.get(byte / 8);
    let _ = write!(text, "  participants:");
    for id in 0..participants {
        let word = get(512 + 8 * id);
        let phase = match word & 3 {
            0 => "free",
            // Its word stays so until somebody has swept it.
            1 if set.value(LIVENESS + id as u16).is_ok_and(|value| value == 0) => "dead, not swept",
            1 => "live",
            2 => "dead",
            _ => "?",
        };
        let pid = get((512 + 8 * participants).next_multiple_of(128) + 128 * id);
        let _ = write!(text, " {id} {phase} (life {}, pid {pid}),", word >> 32);
    }
    text.pop();
    text.push('\n');
    let infos = (512 + 8 * participants).next_multiple_of(128);
    let entry = (infos + 128 * participants).next_multiple_of(128);
    if matches!(setting.shape, Shape::Broadcast | Shape::Calls) {
        return;
    }
    let control = get(entry + 48);
    if control == 0 {
        text.push_str("  there is no channel\n");
        return;
    }
    let _ = write!(text, "  channel:");
    for (name, at) in [
        ("changes", 0),
        ("items waiting", 8),
        ("space waiting", 16),
        ("orphans", 32),
        ("scanned", 40),
        ("tombstones", 144),
        ("orphaned", 152),
        ("dropped", 160),
        ("tail", 256),
        ("producer", 264),
        ("head", 384),
        ("consumer", 392),
    ] {
        let value = get(control + at);
        // `waiting` is a version and a count.
        let value = if at == 8 || at == 16 { value & 0xFFFF } else { value };
        let _ = write!(text, " {name} {value},");
    }
    text.pop();
    text.push('\n');
    if setting.shape == Shape::Mpmc {
        let slots = (control + 1_024 + 64 * participants).next_multiple_of(128);
        let slot = |slot: u64| {
            let word = get(slots + 16 * slot);
            let phase = ["free", "writing", "full", "reading", "orphan"];
            let phase = phase.get((word >> 13 & 7) as usize).unwrap_or(&"?");
            let lap = word >> 20;
            match *phase {
                "writing" | "reading" => format!("{phase} by {} (lap {lap})", word & 0x1FFF),
                _ => format!("{phase} (lap {lap})"),
            }
        };
        let all = (0..setting.capacity as u64).map(slot).collect::<Vec<_>>();
        let alike = all.chunk_by(|a, b| a == b).map(|some| match some {
            [one] => one.clone(),
            _ => format!("{} times {}", some.len(), some[0]),
        });
        let _ = writeln!(text, "  slots: {}", alike.collect::<Vec<_>>().join(", "));
        let blocks = (slots + 16 * setting.capacity as u64).next_multiple_of(128);
        let held = (0..setting.capacity as u64).filter_map(|block| {
            let word = get(blocks + 8 * block);
            (word >> 13 & 1 == 1).then(|| format!("{block} by {}", word & 0x1FFF))
        });
        let _ = writeln!(text, "  blocks held: {}", held.collect::<Vec<_>>().join(", "));
    }
}
