//! A word changes at every single instruction of a call that does not wait. `storm` only
//! makes such a coincidence likely.

use nix::errno::Errno;
use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use tombolo::sys::shm::Shm;

use crate::case::small;
use crate::common::{Brief, Name, Peer, Words, effort, segment, tid};
use crate::ends::{RINGS, Site, receiver, sender};
use crate::fields::Fields;
use crate::input::Input;

/// Far more instructions than any of these calls needs.
const MOST: u64 = 50_000;

/// Of how many words an everyday run takes one.
const ONE_IN: u64 = 16;

/// A thread of another process that goes on by one instruction at a time.
struct Stepped(Pid);

impl Stepped {
    fn attach(tid: i32) -> Result<Self, Errno> {
        let stepped = Pid::from_raw(tid);
        ptrace::attach(stepped)?;
        waitpid(stepped, Some(WaitPidFlag::__WALL))?;
        Ok(Self(stepped))
    }

    fn step(&self) {
        ptrace::step(self.0, None).unwrap();
        let stopped = waitpid(self.0, Some(WaitPidFlag::__WALL)).unwrap();
        assert_eq!(stopped, WaitStatus::Stopped(self.0, Signal::SIGTRAP));
    }
}

impl Drop for Stepped {
    fn drop(&mut self) {
        // Or nobody could wait for its end.
        let _ = ptrace::detach(self.0, None);
    }
}

/// Where the child says which call it is in: it counts begins and ends.
const AT: usize = 0;
const END: u64 = u64::MAX;

#[test]
fn no_word_that_changes_at_every_instruction_holds_a_call_up() {
    let (mut words, mut longest, seed) = (0, 0, effort::seed());
    for ring in RINGS {
        for n in (0..).filter(|n| effort::sampled(ONE_IN, seed, *n as u64)) {
            let Some(found) = longest_call(ring, n) else { return };
            let Some(instructions) = found else { break };
            longest = instructions.max(longest);
            words += 1;
        }
    }
    println!("{words} words; {longest} instructions for the longest call");
}

/// How many instructions the longest of the child's calls takes while the nth
/// of the words that matter to a ring changes. `None` within if there is no
/// such word; `None`, with a note, if there are no single steps.
fn longest_call(ring: &str, n: usize) -> Option<Option<u64>> {
    let name = Name::new();
    let shared = segment(8);
    let ledger = Words::of(Shm::from_id(shared.id()));
    let mut child = Peer::start("stepped", &[&name, &shared.id(), &ring]);
    let thread = child.said().parse().unwrap();
    let words = name.words();
    let Some(index) = Fields::of(&words).of_one_ring(n) else { return Some(None) };
    let stepped = match Stepped::attach(thread) {
        Ok(stepped) => stepped,
        Err(error) => {
            eprintln!("SKIPPED: single steps are refused: {error}");
            return None;
        }
    };
    child.tell("go");
    let (mut at, mut steps, mut longest) = (0, 0, 0);
    while at != END {
        stepped.step();
        if at % 2 == 1 {
            words.add(index, 1);
            steps += 1;
            assert!(steps < MOST, "{ring}, word {index}: call {} does not end", at / 2);
        }
        if ledger.get(AT) != at {
            longest = steps.max(longest);
            (at, steps) = (ledger.get(AT), 0);
        }
    }
    drop(stepped);
    assert_eq!(child.join(), 0);
    Some(Some(longest))
}

#[test]
#[ignore = "what the child processes run"]
fn child_entry() {
    let Some(brief) = Brief::take() else { return };
    let (name, ring) = (brief.text(0), brief.text(2));
    let ledger = Words::of(Shm::from_id(brief.number(1)));
    let segment = small().create(name).unwrap();
    let mut ends = [sender(&segment, ring).unwrap(), receiver(&segment, ring).unwrap()];
    let site = Site { segment: &segment, patience: None };
    brief.say(tid());
    brief.hear();
    // These never wait: a receiver of nothing, a sender, a receiver of
    // something; by copies and in place.
    for what in [0, 3] {
        for end in [1, 0, 1] {
            ledger.add(AT, 1);
            ends[end].operate(what, site, &mut Input(&[what]), &mut |_| ());
            ledger.add(AT, 1);
        }
    }
    ledger.put(AT, END);
    segment.remove().unwrap();
}
