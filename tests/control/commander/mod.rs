//! Commands reach all participants, blocked or busy. All obey them, and commands
//! never affect the messages.

mod obeyed;
mod queue;

use std::fmt::Display;
use std::time::Duration;

use tombolo::sys::msg::Queue;
use tombolo::sys::shm::Shm;
use tombolo::{Answer, Fault, Segment};

use crate::common::{self, Brief, Name, Owned, PATIENCE, Peer, Words, receiver, sender};

/// For those who will not answer.
const SHORT: Duration = Duration::from_millis(300);

fn market() -> (Name, Segment) {
    crate::common::market(16, 16)
}

/// A peer that has joined and does what it is told to.
fn joined(role: &str, name: &Name, args: &[&dyn Display]) -> Peer {
    let mut all: Vec<&dyn Display> = vec![name];
    all.extend(args);
    let peer = Peer::start(role, &all);
    peer.expect("open");
    peer
}

#[track_caller]
fn all_ok(answers: &[Answer]) {
    assert!(!answers.is_empty() && answers.iter().all(|answer| answer.ok), "{answers:?}");
}

#[track_caller]
fn answer_of<'a>(answers: &'a [Answer], peer: &Peer) -> &'a Answer {
    let of_it = |answer: &&Answer| answer.pid == peer.pid().cast_unsigned();
    answers.iter().find(of_it).unwrap_or_else(|| panic!("{answers:?}"))
}

/// The queue that a segment's header names.
fn queue_of(segment: &Segment) -> Queue {
    let word = Words::behind(segment).get(272 / 8);
    Queue::from_id(i32::try_from(word - 1).unwrap())
}

/// The counts of a sender and a receiver.
struct Ledger(Owned<Shm>, Words);

impl Ledger {
    fn new() -> Self {
        let shm = common::segment(4096);
        let words = Words::of(*shm);
        Self(shm, words)
    }
    fn sent(&self) -> u64 {
        self.1.get(0)
    }
    fn received(&self) -> u64 {
        self.1.get(1)
    }
}

fn word_for(fault: &Fault) -> String {
    match fault {
        Fault::Shutdown => "Shutdown".to_owned(),
        Fault::Drained => "Drained".to_owned(),
        Fault::Disconnected { .. } => "Disconnected".to_owned(),
        fault => fault.to_string(),
    }
}

#[test]
#[ignore = "what the child processes run"]
fn child_entry() {
    let Some(brief) = Brief::take() else { return };
    let segment = Segment::open(brief.text(0)).unwrap();
    let ring = || (brief.text(1), brief.text(2));
    match &*brief.role {
        "listen" => {
            brief.say("open");
            let events = segment.events();
            while events.recv().is_ok() {}
        }
        "receive" => {
            let (ring, channel) = ring();
            let rx = receiver(&segment, ring, channel);
            brief.say("open");
            match rx.recv() {
                Ok(n) => brief.say(format!("got {n}")),
                Err(fault) => brief.say(word_for(&fault)),
            }
        }
        "send" => {
            let (ring, channel) = ring();
            let tx = sender(&segment, ring, channel);
            brief.say("open");
            let fault = (0..).find_map(|n| tx.send(n).err()).unwrap();
            brief.say(word_for(&fault));
        }
        "poll" => {
            let (ring, channel) = ring();
            let tx = sender(&segment, ring, channel);
            let rx = receiver(&segment, ring, channel);
            brief.say("open");
            let fault = (0..).find_map(|n| tx.try_send(n).err().or_else(|| rx.try_recv().err()));
            brief.say(word_for(&fault.unwrap()));
        }
        "pour" | "drink" => {
            let (ring, channel) = ring();
            let ledger = Words::of(Shm::from_id(brief.number(3)));
            let fault = if brief.role == "pour" {
                let tx = sender(&segment, ring, channel);
                brief.say("open");
                loop {
                    match tx.send(1) {
                        Ok(()) => drop(ledger.add(0, 1)),
                        Err(fault) => break fault,
                    }
                }
            } else {
                let rx = receiver(&segment, ring, channel);
                brief.say("open");
                loop {
                    match rx.recv() {
                        Ok(_) => drop(ledger.add(1, 1)),
                        Err(fault) => break fault,
                    }
                }
            };
            brief.say(word_for(&fault));
        }
        "command" => {
            brief.say("open");
            let commander = segment.commander().unwrap();
            let answers = match brief.text(1) {
                "ping" => commander.ping(PATIENCE),
                "pause" => commander.pause(PATIENCE),
                "resume" => commander.resume(PATIENCE),
                _ => commander.shutdown(PATIENCE),
            };
            let ok: Vec<String> = answers.unwrap().iter().map(|a| a.ok.to_string()).collect();
            brief.say(ok.join(" "));
            brief.hear();
        }
        role => panic!("{role}"),
    }
}
