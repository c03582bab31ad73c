//! A segment is removed, by Tombolo or by another program: every call in it, on every
//! kind of channel, ends with `Closed`, and no process crashes.

use crate::common;

use std::thread;
use std::time::{Duration, Instant};

use tombolo::sys::shm::Shm;
use tombolo::{ChannelError, Fault, Segment};

use common::{
    Brief, Name, Peer, RINGS, Words, receiver, sender, single, thread_parked, tid, wait_until,
};

/// Far more than it may take, so that only a stall fails on a busy machine.
const SOON: Duration = Duration::from_secs(2);
/// The promised time, printed beside the measured one.
const PROMISED: Duration = Duration::from_millis(100);

/// Words of the header.
const HEADER: usize = 512 / 8;

const SENDS: [&str; 4] = ["send", "send_timeout", "send_batch", "grant"];
const RECEIVES: [&str; 4] = ["recv", "recv_timeout", "recv_batch", "delivery"];

fn market() -> (Name, Segment) {
    crate::common::market(8, 64)
}

/// A process that is blocked in every call there is, and one that holds a
/// grant and a delivery of every kind.
fn audience(name: &Name) -> [Peer; 2] {
    audience_of(name, "blocked")
}

fn audience_of(name: &Name, role: &str) -> [Peer; 2] {
    let blocked = Peer::start(role, &[name]);
    let holding = Peer::start("holding", &[name]);
    blocked.expect("all are parked");
    holding.expect("holds");
    [blocked, holding]
}

#[track_caller]
fn all_end(what: &str, [blocked, mut holding]: [Peer; 2], began: Instant) {
    blocked.expect("all are told");
    let took = began.elapsed();
    let verdict = if took <= PROMISED { "in time" } else { "LATE, on a busy machine?" };
    eprintln!("{what}: all blocked calls have returned after {took:?}: {verdict}");
    assert!(took < SOON, "{took:?}");
    blocked.expect("new calls are told");
    assert_eq!(blocked.join(), 0);
    holding.tell("go on");
    holding.expect("let go");
    assert_eq!(holding.join(), 0);
}

fn removed(what: &str, by_tombolo: bool, remove: impl FnOnce(&Name, &Segment)) {
    let (name, segment) = market();
    let audience = audience(&name);
    // With a message and with room: no call of theirs asks the kernel.
    let ready = RINGS.map(|ring| {
        let ends = (sender(&segment, ring, ring), receiver(&segment, ring, ring));
        ends.0.send(1).unwrap();
        ends
    });
    let began = Instant::now();
    remove(&name, &segment);
    if by_tombolo {
        for ((tx, rx), ring) in ready.iter().zip(RINGS) {
            closed(&format!("try_recv on {ring}"), rx.try_recv().map(drop));
            closed(&format!("try_send on {ring}"), tx.try_send(1).map(drop));
        }
    }
    all_end(what, audience, began);
    assert!(matches!(segment.sweep(), Err(Fault::Closed)));
    let new = Segment::create(&name).unwrap();
    assert_ne!(new.id(), segment.id());
    assert_eq!(new.channels(), [], "the two have nothing in common");
    drop((segment, new, ready));
    assert_eq!(name.objects(), (1, 1));
}

#[test]
fn a_participant_that_removes_the_segment_ends_every_call() {
    removed("removed by a participant", true, |_, segment| segment.remove().unwrap());
}

#[test]
fn a_stranger_that_removes_the_name_ends_every_call() {
    removed("removed by name", true, |name, _| Segment::remove_named(name).unwrap());
}

#[test]
fn both_objects_removed_behind_the_back_end_every_call() {
    removed("ipcrm -m and -s", false, |name, segment| {
        let set = name.set(0).unwrap();
        Shm::from_id(segment.id()).remove().unwrap();
        set.remove().unwrap();
    });
}

#[test]
fn the_set_removed_behind_the_back_ends_blocked_calls_at_once() {
    let (name, segment) = market();
    let audience = audience(&name);
    let began = Instant::now();
    name.set(0).unwrap().remove().unwrap();
    all_end("ipcrm -s", audience, began);
    // A process that is not blocked is told when it next asks the kernel.
    for ring in RINGS {
        let error = segment.channel::<u64>("late").capacity(1).sender().unwrap_err();
        assert!(matches!(error, ChannelError::Fault(Fault::Closed)), "{ring}: {error:?}");
    }
    assert!(matches!(segment.sweep(), Err(Fault::Closed)));
}

#[test]
fn the_segment_marked_alone_serves_until_the_name_is_opened_anew() {
    let (name, segment) = market();
    let [blocked, holding] = audience(&name);
    Shm::from_id(segment.id()).remove().unwrap();
    // Nobody has noticed, whatever the ring.
    for ring in RINGS {
        let (tx, rx) = (sender(&segment, ring, ring), receiver(&segment, ring, ring));
        for n in 0..100 {
            tx.send(n).unwrap();
            assert_eq!(rx.recv().unwrap(), n);
        }
    }
    assert!(blocked.silent());
    let began = Instant::now();
    let new = Segment::open_or_create(&name).unwrap();
    assert_ne!(new.id(), segment.id());
    all_end("ipcrm -m, and opened anew", [blocked, holding], began);
    for ring in RINGS {
        let (tx, rx) = (sender(&new, ring, ring), receiver(&new, ring, ring));
        tx.send(1).unwrap();
        assert_eq!(rx.recv().unwrap(), 1);
        assert_eq!(rx.try_recv().unwrap(), None);
    }
    assert!(matches!(segment.sweep(), Err(Fault::Closed)));
    assert_eq!(new.participants().len(), 1);
}

/// The remains of a remover that is killed on its way, and of `ipcrm`, are
/// ended by whoever comes next: also for those who never ask the kernel.
#[test]
fn removing_again_ends_those_who_are_busy_in_what_a_dead_remover_left() {
    type Left = (&'static str, fn(&Name, &Segment));
    let left: [Left; 3] = [
        ("the set removed", |name, _| name.set(0).unwrap().remove().unwrap()),
        ("the memory marked", |_, segment| Shm::from_id(segment.id()).remove().unwrap()),
        ("both", |name, segment| {
            name.set(0).unwrap().remove().unwrap();
            Shm::from_id(segment.id()).remove().unwrap();
        }),
    ];
    type Next = (&'static str, fn(&Name, &Segment));
    let next: [Next; 3] = [
        ("removed by name", |name, _| Segment::remove_named(name).unwrap()),
        ("removed by a participant", |_, segment| segment.remove().unwrap()),
        ("opened anew", |name, segment| {
            let new = Segment::open_or_create(name).unwrap();
            assert_ne!(new.id(), segment.id());
            new.remove().unwrap();
        }),
    ];
    for (left, leave) in left {
        for (how, come) in next {
            // Nobody who comes by the name can know of one that has no object there.
            if left == "both" && how == "opened anew" {
                continue;
            }
            let (name, segment) = market();
            let ready = RINGS.map(|ring| {
                let ends = (sender(&segment, ring, ring), receiver(&segment, ring, ring));
                ends.0.send(1).unwrap();
                // They know of each other, and do not ask the kernel.
                assert!(ends.0.try_send(2).unwrap());
                ends
            });
            leave(&name, &segment);
            for (tx, rx) in &ready {
                assert_eq!(rx.try_recv().unwrap(), Some(1), "{left}: busy");
                assert!(tx.try_send(3).unwrap(), "{left}: busy");
            }
            come(&name, &segment);
            for ((tx, rx), ring) in ready.iter().zip(RINGS) {
                closed(&format!("try_recv on {ring}, {left}, {how}"), rx.try_recv().map(drop));
                closed(&format!("try_send on {ring}, {left}, {how}"), tx.try_send(1).map(drop));
            }
            drop((ready, segment));
            assert_eq!(name.objects(), (0, 0), "{left}, {how}");
        }
    }
}

/// A sleeper over words that were written over may never be woken by them.
#[test]
fn a_segment_that_was_written_over_lets_everybody_go_when_it_is_removed() {
    for scribble in [0, u64::MAX] {
        let (name, segment) = market();
        let [blocked, mut holding] = audience_of(&name, "blocked over damage");
        let words = Words::behind(&segment);
        // All but the header, which says what to remove.
        (HEADER..words.len()).for_each(|index| words.put(index, scribble));
        assert!(blocked.silent());
        segment.remove().unwrap();
        blocked.expect("all are told");
        holding.tell("go on");
        assert_eq!((blocked.join(), holding.join()), (0, 0));
        assert!(matches!(segment.sweep(), Err(Fault::Closed)));
    }
}

/// Runs a call in a thread, and says which it is if it does not end as it has
/// to.
fn closed(name: &str, result: Result<(), Fault>) {
    assert!(matches!(result, Err(Fault::Closed)), "{name}: {result:?}");
}

/// A call that waits; `ready` is told when nothing comes before it any more.
fn call(
    segment: &Segment,
    ring: &'static str,
    call: &'static str,
    ready: impl FnOnce(),
) -> Result<(), Fault> {
    let channel = format!("{ring}/{call}");
    let long = Duration::from_secs(1_000);
    if SENDS.contains(&call) {
        let mut tx = sender(segment, ring, &channel);
        while tx.try_send(1)? {}
        ready();
        match call {
            "send" => tx.send(2),
            "send_timeout" => tx.send_timeout(2, long).map(drop),
            "send_batch" => tx.send_batch(&[2, 3]),
            _ => tx.grant(2, &mut || ()),
        }
    } else {
        let mut rx = receiver(segment, ring, &channel);
        ready();
        match call {
            "recv" => rx.recv().map(drop),
            "recv_timeout" => rx.recv_timeout(long).map(drop),
            "recv_batch" => rx.recv_batch(9).map(drop),
            _ => rx.delivery(&mut || ()).map(drop),
        }
    }
}

fn blocked(brief: &Brief, segment: &Segment, damaged: bool) {
    // Idle until then: told by their next call.
    let idle = RINGS.map(|ring| {
        let channel = format!("{ring}/idle");
        (sender(segment, ring, &channel), receiver(segment, ring, &channel), ring)
    });
    thread::scope(|scope| {
        let (tell, told) = std::sync::mpsc::channel();
        let threads: Vec<_> = RINGS
            .iter()
            .flat_map(|ring| SENDS.iter().chain(&RECEIVES).map(move |name| (ring, name)))
            .map(|(ring, name)| {
                let tell = tell.clone();
                let run = move || {
                    let result = call(segment, ring, name, || tell.send(tid()).unwrap());
                    // Or it ends with what it finds in words written over.
                    if !damaged {
                        closed(&format!("{name} on {ring}"), result);
                    }
                };
                scope.spawn(run)
            })
            .collect();
        for _ in &threads {
            let waiter = told.recv().unwrap();
            wait_until(|| thread_parked(waiter));
        }
        brief.say("all are parked");
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        brief.say("all are told");
    });
    if damaged {
        return;
    }
    // By now the set is gone, and an empty or a full ring asks the kernel.
    let long = Duration::from_secs(1_000);
    for (mut tx, mut rx, ring) in idle {
        let named = |call: &str| format!("{call} on {ring}, new");
        closed(&named("recv"), rx.recv().map(drop));
        closed(&named("recv_timeout"), rx.recv_timeout(long).map(drop));
        closed(&named("recv_batch"), rx.recv_batch(9).map(drop));
        closed(&named("delivery"), rx.delivery(&mut || ()).map(drop));
        while let Ok(true) = tx.try_send(1) {}
        closed(&named("send"), tx.send(1));
        closed(&named("send_timeout"), tx.send_timeout(1, long).map(drop));
        closed(&named("send_batch"), tx.send_batch(&[1]));
        closed(&named("grant"), tx.grant(1, &mut || ()));
    }
    closed("sweep", segment.sweep().map(drop));
    brief.say("new calls are told");
}

/// Holds a grant and a delivery while it happens.
fn holding(brief: &Brief, segment: &Segment, rings: &[&str]) {
    let Some((ring, rest)) = rings.split_first() else {
        brief.say("holds");
        brief.hear();
        return;
    };
    let (written, read) = (format!("{ring}/written"), format!("{ring}/read"));
    sender(segment, ring, &read).send(1).unwrap();
    let mut rx = receiver(segment, ring, &read);
    let mut tx = sender(segment, ring, &written);
    // The result does not matter; that it is whole, and no signal, does.
    let _ = rx.delivery(&mut || {
        let _ = tx.grant(1, &mut || holding(brief, segment, rest));
    });
    assert!(single(ring) || segment.sweep().is_err());
}

#[test]
#[ignore = "what the child processes run"]
fn child_entry() {
    let Some(brief) = Brief::take() else { return };
    let segment = Segment::open(brief.text(0)).unwrap();
    match &*brief.role {
        "blocked" => blocked(&brief, &segment, false),
        "blocked over damage" => blocked(&brief, &segment, true),
        "holding" => {
            holding(&brief, &segment, &RINGS);
            brief.say("let go");
        }
        role => panic!("{role}"),
    }
}
