//! A channel's system calls while both sides are busy.

use std::process::Command;

use nix::sys::resource::{UsageWho, getrusage};
use tombolo::Segment;
use tombolo::sys::proc;

use crate::common::{Brief, Name, Peer};

/// Both sides busy, one channel of the default shape: hardly a message goes
/// through the kernel. A side that loses its processor is not busy, and the other
/// one may go to sleep: so the kernel is asked how often that was.
#[test]
fn busy_sides_make_less_than_one_semaphore_call_in_ten_thousand_messages() {
    const MESSAGES: u64 = 2_000_000;
    /// A sleep with its second look, and a wake-up, on both sides.
    const CALLS_PER_SWITCH: u64 = 8;
    if Command::new("strace").arg("-V").output().is_err() {
        eprintln!("SKIPPED: strace is not installed");
        return;
    }
    let name = Name::new();
    let segment = Segment::options().size(1 << 20).participants(4).channels(4);
    let segment = segment.create(&name).unwrap();
    drop(segment.channel::<u64>("c").capacity(1024).spsc().sender().unwrap());
    let mut found = Vec::new();
    // Again, for a machine that is itself without a processor now and then.
    for _ in 0..20 {
        let summary =
            |side: &str| std::env::temp_dir().join(format!("tombolo-{}-{side}", proc::pid()));
        let peers = ["sender", "receiver"].map(|side| {
            let mut strace = Command::new("strace");
            strace.args(["-f", "-c", "--seccomp-bpf", "-e", "trace=semop,semtimedop", "-o"]);
            strace.arg(summary(side));
            let peer = Peer::start_under(strace, "busy", &[&name, &side, &MESSAGES]);
            peer.expect("open");
            peer
        });
        let peers = peers.map(|mut peer| {
            peer.tell("go");
            peer
        });
        let (mut calls, mut switches) = (0, 0);
        for (peer, side) in peers.into_iter().zip(["sender", "receiver"]) {
            switches += peer.said().parse::<u64>().unwrap();
            assert_eq!(peer.join(), 0);
            let text = std::fs::read_to_string(summary(side)).unwrap();
            std::fs::remove_file(summary(side)).unwrap();
            let total = text.lines().find(|line| line.ends_with("total")).unwrap();
            let columns: Vec<&str> = total.split_whitespace().collect();
            calls += columns[3].parse::<u64>().unwrap();
        }
        // Joining and leaving alone take some.
        assert!(calls >= 4, "nothing was counted");
        if calls < MESSAGES / 10_000 + CALLS_PER_SWITCH * switches {
            return;
        }
        found.push((calls, switches));
    }
    panic!("calls for {MESSAGES} messages, and switches: {found:?}");
}

#[test]
#[ignore = "what the child processes run"]
fn child_entry() {
    let Some(brief) = Brief::take() else { return };
    let segment = Segment::open(brief.text(0)).unwrap();
    let channel = segment.channel::<u64>("c").spsc();
    if brief.text(1) == "sender" {
        let tx = channel.sender().unwrap();
        brief.say("open");
        brief.hear();
        (0..brief.number(2)).for_each(|n| tx.send(n).unwrap());
    } else {
        let rx = channel.receiver().unwrap();
        brief.say("open");
        brief.hear();
        (0..brief.number(2)).for_each(|n| assert_eq!(rx.recv().unwrap(), n));
    }
    brief.say(getrusage(UsageWho::RUSAGE_SELF).unwrap().involuntary_context_switches());
}
