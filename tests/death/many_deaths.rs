//! After thousands of deaths, everything is whole: the capacity, the participants' slots, the
//! values of the semaphores, the kernel's objects.

#![allow(unsafe_code)]

use crate::common;

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, fork};
use tombolo::sys::sem::{Op, Set};
use tombolo::sys::shm::Shm;
use tombolo::{Fault, Options, Segment};

use common::{
    Brief, CAPACITY, Name, Peer, RINGS, Words, effort, key_of, own_tables, receiver, room,
    segment as shm, sender, single, tables, wait_until,
};

const PARTICIPANTS: u16 = 8;
/// Where the gong is wound back.
const HIGH: u16 = 8_192;

/// Words of the ledger.
const RECEIVED: usize = 0;
/// Torn messages, refusals: whatever there should be none of.
const FAILED: usize = 1;

fn everything_is_whole_after(deaths: u64, seed: u64, ring: &str) {
    let own = own_tables();
    let before = tables();
    let name = Name::new();
    let ledger = shm(64);
    drop(options().create(&name).unwrap());
    // So that it has to be wound back.
    Set::open(key_of(&name, 0)).unwrap().perform(&[Op::add(7, HIGH - 100)]).unwrap();
    let began = Instant::now();
    let driver = Peer::start("drive", &[&name, &ring, &ledger.id(), &deaths, &seed]);
    // As long as it takes: it fails by itself where nothing moves.
    let said = loop {
        if let Some(said) = driver.said_within(Duration::from_secs(20)) {
            match said.strip_prefix("after ") {
                Some(progress) => eprintln!("{ring}: {progress}"),
                None => break said,
            }
        }
    };
    assert_eq!(said, "done");
    assert_eq!(driver.join(), 0);
    let words = Words::of(*ledger);
    eprintln!(
        "{ring}: {deaths} deaths in {:?}, {} messages meanwhile",
        began.elapsed(),
        words.get(RECEIVED)
    );
    assert_eq!(words.get(FAILED), 0);
    let segment = Segment::open(&name).unwrap();
    segment.sweep().unwrap();
    assert_eq!(segment.participants().len(), 1);
    assert!(room(&segment, ring, "c") >= CAPACITY, "the capacity is not whole");
    // All of the slots can be had, and no more.
    let all: Vec<Segment> = (1..PARTICIPANTS).map(|_| Segment::open(&name).unwrap()).collect();
    assert!(Segment::open(&name).is_err());
    drop(all);
    whole_set(&name, &segment);
    // So that nothing but the values can have kept them awake.
    assert_eq!(name.objects(), (1, 1));
    segment.remove().unwrap();
    drop((segment, words, ledger));
    assert_eq!(name.objects(), (0, 0));
    if own {
        // The kernel keeps an object of those whom it has not quite ended yet.
        wait_until(|| tables() == before);
    }
}

fn options() -> Options {
    Segment::options().size(64 << 10).participants(PARTICIPANTS).channels(2)
}

/// The lease is free, nobody but this process lives, and there is at most a
/// token at each bell.
fn whole_set(name: &Name, segment: &Segment) {
    let set = Set::open(key_of(name, 0)).unwrap();
    let mut values = vec![0; set.stat().unwrap().count];
    set.values(&mut values).unwrap();
    let participants = usize::from(PARTICIPANTS);
    let (liveness, semaphores) = (&values[8..8 + participants], &values[8 + participants..]);
    let own = usize::from(segment.participants()[0].slot);
    assert_eq!((values[0], values[1]), (0, 1), "{values:?}");
    assert!(values[7] < HIGH + 2 * PARTICIPANTS, "the gong was not wound back: {values:?}");
    for (slot, value) in liveness.iter().enumerate() {
        assert_eq!(*value, u16::from(slot == own), "{values:?}");
    }
    assert!(semaphores.iter().all(|tokens| *tokens <= 1), "{values:?}");
}

#[test]
fn after_thousands_of_deaths_everything_is_whole() {
    let (deaths, seed) = (effort::rounds(250, 2_500), effort::seed());
    std::thread::scope(|scope| {
        // A thread for each, for a namespace of its own.
        let runs = RINGS.map(|ring| {
            let run = std::thread::Builder::new().name(format!("deaths/{ring}"));
            run.spawn_scoped(scope, move || everything_is_whole_after(deaths, seed, ring)).unwrap()
        });
        runs.into_iter().for_each(|run| run.join().unwrap());
    });
}

/// Keeps a few forked children at work, and kills one after the other.
fn drive(brief: &Brief) {
    let (ring, deaths) = (brief.text(1), brief.number::<u64>(3));
    let words = Words::of(Shm::from_id(brief.number(2)));
    let received = || words.get(RECEIVED);
    let each = if single(ring) { 1 } else { 2 };
    let mut children: Vec<(bool, Pid)> = Vec::new();
    let mut random = brief.number::<u64>(4) | 1;
    let mut below = |end: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % end
    };
    for n in 1..=deaths {
        for sends in [true, false] {
            while children.iter().filter(|child| child.0 == sends).count() < each {
                children.push((sends, child(brief, &words, sends)));
            }
        }
        // At any instruction: of opening, joining, at work, or leaving.
        let until = Instant::now() + Duration::from_micros(below(1_500));
        while Instant::now() < until {
            std::hint::spin_loop();
        }
        // One, or now and then all of them at once.
        let victims = if n % 97 == 0 { children.len() } else { 1 };
        let victims: Vec<Pid> = (0..victims)
            .map(|_| children.swap_remove(below(children.len() as u64) as usize).1)
            .collect();
        victims.iter().for_each(|victim| kill(*victim, Signal::SIGKILL).unwrap());
        for victim in &victims {
            waitpid(*victim, None).unwrap();
        }
        if n % 50 == 0 {
            // The survivors, and those that come, get on with it.
            for sends in [true, false] {
                while children.iter().filter(|child| child.0 == sends).count() < each {
                    children.push((sends, child(brief, &words, sends)));
                }
            }
            let before = received();
            wait_until(|| received() > before + 20);
        }
        if n % 10_000 == 0 {
            brief.say(format!("after {n} deaths: {} messages", received()));
        }
    }
    for (_, child) in children {
        kill(child, Signal::SIGKILL).unwrap();
        waitpid(child, None).unwrap();
    }
    brief.say("done");
}

/// A forked child that sends or receives until it is killed, here or with its
/// parent.
fn child(brief: &Brief, words: &Words, sends: bool) -> Pid {
    // SAFETY: the only other thread is the harness's, which waits for this one.
    match unsafe { fork() }.unwrap() {
        ForkResult::Parent { child } => child,
        ForkResult::Child => {
            // SAFETY: a number and nothing else.
            unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
            let worked = std::panic::catch_unwind(|| work(brief, words, sends));
            words.add(FAILED, u64::from(worked.is_err()));
            // SAFETY: ends the process.
            unsafe { libc::_exit(1) }
        }
    }
}

fn work(brief: &Brief, words: &Words, sends: bool) {
    let ring = brief.text(1);
    let segment = options().open_or_create(brief.text(0)).unwrap();
    let mut turn = 0_u64;
    if sends {
        let mut tx = sender(&segment, ring, "c");
        loop {
            turn += 1;
            match if turn.is_multiple_of(2) { tx.send(turn) } else { tx.grant(turn, &mut || ()) } {
                Ok(()) | Err(Fault::Disconnected { .. }) => {}
                Err(fault) => panic!("{fault}"),
            }
        }
    }
    let mut rx = receiver(&segment, ring, "c");
    loop {
        turn += 1;
        let got = match turn % 2 {
            0 => rx.recv().map(drop),
            _ => rx.delivery(&mut || ()).map(drop),
        };
        match got {
            Ok(()) => {
                words.add(RECEIVED, 1);
            }
            Err(Fault::Disconnected { .. }) => {}
            Err(fault) => panic!("{fault}"),
        }
    }
}

#[test]
#[ignore = "what the child processes run"]
fn child_entry() {
    let Some(brief) = Brief::take() else { return };
    drive(&brief);
}
