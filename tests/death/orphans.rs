//! `Segment::orphans` finds what no living process holds, and does not remove it once a process
//! holds it.

use crate::common;

use std::os::unix::process::CommandExt;
use std::process::Command;

use std::time::{Duration, Instant};

use nix::sys::prctl;
use nix::sys::signal::{Signal, raise};
use tombolo::sys::msg;
use tombolo::sys::sem::{self, Set};
use tombolo::sys::shm::{self, Shm};
use tombolo::sys::{Key, proc};
use tombolo::{OpenError, Options, Orphan, Receiver, Segment, Sender};

use common::{
    Brief, Child, MAGIC, Name, Owned, PATIENCE, Peer, SIGNATURE, Words, as_nobody,
    in_own_namespace, key_of, set_limit, tables, wait_until, word,
};

fn small(name: &str) -> Segment {
    Segment::options().size(1 << 16).participants(4).channels(2).create(name).unwrap()
}

/// The orphans that have one of these in their description.
fn orphans(marks: &[String]) -> Vec<Orphan> {
    let ours = |orphan: &Orphan| marks.iter().any(|mark| orphan.what.contains(mark));
    Segment::orphans().unwrap().into_iter().filter(ours).collect()
}

/// The one orphan that there is. Another process that looks at the segment right now
/// is attached to it for as long.
fn only(marks: &[String]) -> Orphan {
    let mut found = Vec::new();
    wait_until(|| {
        found = orphans(marks);
        !found.is_empty()
    });
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

/// How the orphans of a segment's objects are described.
fn marks(segment: i32, set: i32) -> [String; 2] {
    [format!("(id {segment},"), format!("semaphore set {set} ")]
}

fn set_of(name: &str) -> Set {
    Set::open(key_of(name, 0)).unwrap()
}

#[test]
fn a_segment_that_cannot_be_understood_keeps_its_set() {
    for (at, what) in [(word::VERSION, "of another version"), (word::SIZE, "damaged")] {
        let name = Name::new();
        let segment = small(&name);
        let words = Words::behind(&segment);
        let right = words.get(at);
        words.put(at, right + 1);
        let marks = marks(segment.id(), set_of(&name).id());
        assert!(orphans(&marks).is_empty(), "{what}");
        words.put(at, right);
        assert!(!segment.sweep().unwrap());
    }
}

#[test]
fn memory_of_our_size_without_a_key_is_somebody_elses() {
    let shm = Owned(Shm::options().create(Key::PRIVATE, 8_192 + SIGNATURE).unwrap());
    assert!(orphans(&marks(shm.id(), -1)).is_empty());
}

#[test]
fn an_orphan_that_somebody_has_joined_is_left_alone() {
    for role in ["stay", "exec"] {
        let name = Name::new();
        let segment = small(&name);
        let (id, set) = (segment.id(), set_of(&name));
        drop(segment);
        let orphan = only(&marks(id, set.id()));
        let peer = Peer::start(role, &[&name]);
        peer.expect("joined");
        if role == "exec" {
            // Nothing is attached any more; the process is there.
            wait_until(|| Shm::from_id(id).stat().unwrap().attached == 0);
        }
        assert!(!orphan.remove().unwrap(), "{role}");
        assert_eq!(set.value(0).unwrap(), 0, "the lease has been given back");
        assert!(orphans(&marks(id, set.id())).is_empty());
        peer.finish();
        wait_until(|| orphan.remove().unwrap());
        assert_eq!(name.objects(), (0, 0));
    }
}

#[test]
fn who_may_not_remove_an_orphan_does_not_keep_its_lease() {
    if proc::uid() != 0 {
        return eprintln!("SKIPPED: another user's orphan: it takes root to be another user");
    }
    let name = Name::new();
    let options = Segment::options().size(1 << 16).mode(0o666);
    let segment = options.create(&name).unwrap();
    let (id, set) = (segment.id(), set_of(&name));
    drop(segment);
    let orphan = only(&marks(id, set.id()));
    let peer = Peer::start_under(nobody(), "may not", &[&name]);
    peer.expect("refused");
    assert_eq!(set.value(0).unwrap(), 0, "the lease is free");
    wait_until(|| orphan.remove().unwrap());
}

/// Makes so many segments that each place of the tables has been looked at,
/// where few others fill them.
fn go_round() {
    for _ in 0..200 {
        drop(tiny().anonymous().unwrap());
    }
}

fn tiny() -> Options {
    Segment::options().size(1 << 14).participants(4).channels(2)
}

/// One with everything that a process can leave: tokens on bells, a message, a
/// queue for commands.
fn in_use(segment: &Segment) -> (Sender<u64>, Receiver<u64>) {
    let channel = segment.channel::<u64>("c").capacity(4);
    let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
    tx.send(1).unwrap();
    segment.commander().unwrap().ping(Duration::ZERO).unwrap();
    (tx, rx)
}

#[test]
fn whoever_makes_a_segment_clears_away_what_nobody_holds_and_nothing_else() {
    in_own_namespace(|| {
        // One with a name waits for somebody to come.
        let name = Name::new();
        drop(in_use(&small(&name)));
        let mine = tiny().anonymous().unwrap();
        let (tx, rx) = in_use(&mine);
        let stopped = Peer::start("hold", &[]);
        stopped.expect("holds");
        stopped.stop();
        let executed = Peer::start("hold and exec", &[]);
        executed.expect("holds");
        wait_until(|| shm::all().unwrap().len() == 3);
        let held = sem::all().unwrap();
        assert_eq!((held.len(), msg::all().unwrap().len()), (4, 4));

        for end in ["hold and die", "hold and return"] {
            assert!(matches!(Peer::start(end, &[]).join(), 0 | -9));
        }
        // One whose memory was removed behind its back, and everybody left.
        let lost = Name::new();
        let segment = small(&lost);
        drop(in_use(&segment));
        lost.shm(0).unwrap().remove().unwrap();
        drop(segment);
        assert_eq!(lost.objects(), (0, 1));
        // One whose remover was killed half-way, and one that was never finished.
        let half = Name::new();
        drop(in_use(&small(&half)));
        half.set(0).unwrap().remove().unwrap();
        let _unfinished = anonymous_set();

        go_round();
        let ids = |sets: &[sem::Stat]| sets.iter().map(|stat| stat.id).collect::<Vec<_>>();
        let there = sem::all().unwrap();
        assert_eq!(ids(&there), ids(&held), "{there:?}");
        assert_eq!(half.objects(), (0, 0));
        assert_eq!(name.objects(), (1, 1));
        // The memory of the dead goes when the kernel comes to it.
        wait_until(|| (shm::all().unwrap().len(), msg::all().unwrap().len()) == (3, 4));
        tx.send(2).unwrap();
        assert_eq!((rx.recv().unwrap(), rx.recv().unwrap()), (1, 2));
        assert!(!mine.sweep().unwrap());
        drop(executed);
        drop(stopped);
        go_round();
        let there = sem::all().unwrap().len();
        assert_eq!(there, 2, "what they held is gone with them");
    });
}

/// Anybody can write another user's set into the header of memory of their own.
#[test]
fn a_set_that_strangers_memory_names_is_not_removed_with_it() {
    in_own_namespace(|| {
        if proc::uid() != 0 {
            return eprintln!("SKIPPED: it takes root to be another user");
        }
        for (named, finished) in [(true, true), (true, false), (false, true), (false, false)] {
            let name = Name::new();
            let options = tiny().mode(0o644);
            let made = if named { options.create(&name) } else { options.anonymous() };
            let first = made.unwrap();
            // It lives in the second place, and the stranger's memory has one.
            let second = Segment::open_id(first.id()).unwrap();
            drop(first);
            let (tx, rx) = in_use(&second);
            let (id, set) = (second.id(), only_set());
            let keys = [Key::PRIVATE, set.key].into_iter();
            let forged: Vec<_> = keys.filter_map(|key| forge(id, key, finished)).collect();
            assert_eq!(forged.len(), if named { 1 } else { 2 }, "a key is taken once");
            assert!(matches!(Segment::open_id(forged[0].id()), Err(OpenError::NotOurs { .. })));
            for orphan in Segment::orphans().unwrap() {
                orphan.remove().unwrap();
            }
            go_round();
            assert_eq!(only_set(), set);
            assert_eq!(rx.recv().unwrap(), 1);
            tx.send(2).unwrap();
            assert!(!second.sweep().unwrap());
            // The stranger's is cleared away where it looks like one of ours.
            assert_eq!(forged[0].stat_any().is_err(), finished);
            drop((tx, rx));
            second.remove().unwrap();
            for memory in forged {
                let _ = memory.remove();
            }
        }
    });
}

fn only_set() -> sem::Stat {
    let all = sem::all().unwrap();
    let [set] = all[..] else { panic!("{all:?}") };
    set
}

/// Another user's copy of a segment, with room for one participant.
fn forge(id: i32, key: Key, finished: bool) -> Option<Shm> {
    let mut forged = None;
    let made = &mut forged;
    as_nobody(move || {
        let original = Words::reading(Shm::from_id(id));
        let options = Shm::options().mode(0o644).exclusive(true);
        let Ok(shm) = options.create(key, original.len() * 8 + SIGNATURE % 8) else { return };
        let words = Words::of(shm);
        (0..512).for_each(|at| words.put(at, original.get(at)));
        words.put(word::PARTICIPANTS, 1);
        words.put(word::MAGIC, if finished { MAGIC } else { 0 });
        *made = Some(shm);
    });
    forged
}

/// A set that a creator has just made.
fn anonymous_set() -> Owned<Set> {
    Owned(Set::options().create(Key::new(0xB0B1_0001_u32.cast_signed()), 29).unwrap())
}

#[test]
fn another_users_are_not_touched() {
    in_own_namespace(|| {
        if proc::uid() != 0 {
            return eprintln!("SKIPPED: it takes root to be another user");
        }
        Peer::start("hold and die", &[]).join();
        let [left] = sem::all().unwrap()[..] else { panic!("{:?}", sem::all()) };
        let touched = Set::from_id(left.id).last_pid(0).unwrap();
        as_nobody(go_round);
        let [there] = sem::all().unwrap()[..] else { panic!("{:?}", sem::all()) };
        assert_eq!(there, left);
        assert_eq!(Set::from_id(left.id).last_pid(0).unwrap(), touched);
        go_round();
        assert_eq!(sem::all().unwrap(), []);
    });
}

#[test]
fn tables_that_are_full_of_what_nobody_holds_have_room() {
    in_own_namespace(|| {
        set_limit("sem", "250 32000 32 6");
        let dead: Vec<_> = (0..6).map(|_| Peer::start("hold and die", &[])).collect();
        assert!(dead.into_iter().all(|peer| peer.join() == -9));
        let all: Vec<_> = (0..6).map(|_| tiny().anonymous().unwrap()).collect();
        let error = tiny().anonymous().unwrap_err();
        assert!(error.to_string().contains("kernel.sem"), "{error}");
        drop(all);
    });
}

/// Each of them makes segments, and is killed: few sets remain, whenever one
/// counts, and those who live are not harmed.
#[test]
fn a_storm_of_makers_killed_leaves_few_sets() {
    in_own_namespace(|| {
        let name = Name::new();
        let peers: Vec<_> = (0..3).map(|_| Peer::start("storm", &[&name])).collect();
        let mine: Vec<_> = (0..20).map(|_| tiny().anonymous().unwrap()).collect();
        let ends: Vec<_> = mine.iter().map(in_use).collect();
        let mut most = 0;
        let mut raging: Vec<&Peer> = peers.iter().collect();
        while !raging.is_empty() {
            for (tx, rx) in &ends {
                assert_eq!(rx.recv_timeout(PATIENCE).unwrap(), 1);
                tx.send(1).unwrap();
            }
            most = most.max(sem::all().unwrap().len());
            raging.retain(|peer| peer.said_within(Duration::ZERO).is_none());
        }
        assert!(mine.iter().all(|segment| !segment.sweep().unwrap()));
        drop((ends, mine, peers));
        let left = sem::all().unwrap().len();
        eprintln!("at most {most} sets, 20 of them in use; {left} left");
        assert!(most < 20 + 60, "{most}");
        // But for the one with a name, and once the last killed have been reaped.
        wait_until(|| {
            go_round();
            let (segments, sets) = tables();
            segments <= 1 && sets <= 1
        });
    });
}

/// A server that has segments itself, and one process for each client.
#[test]
fn children_of_one_process_clear_away_what_their_siblings_left() {
    in_own_namespace(|| {
        let _mine: Vec<_> = (0..8).map(|_| tiny().anonymous().unwrap()).collect();
        let mut most = 0;
        for n in 0..120 {
            let child = Child::fork(|| {
                let Ok(segment) = tiny().anonymous() else { return 1 };
                // As by a return from `main` while threads hold it.
                std::mem::forget((in_use(&segment), segment));
                if n % 2 == 0 {
                    let _ = raise(Signal::SIGKILL);
                }
                0
            });
            assert_ne!(child.join(), 1);
            most = most.max(sem::all().unwrap().len());
        }
        assert!(most < 8 + 60, "{most}");
    });
}

/// Makes segments in processes of their own, and kills those.
fn storm(brief: &Brief) {
    let name = brief.text(0);
    for n in 0..150 {
        let maker = Child::fork(|| {
            // With the one that forks it, whatever ends that.
            let _ = prctl::set_pdeathsig(Signal::SIGKILL);
            let mut held = Vec::new();
            for _ in 0..3 {
                let Ok(segment) = tiny().anonymous() else { return 1 };
                held.push((in_use(&segment), segment));
            }
            drop(tiny().transient(true).open_or_create(name));
            if n % 3 == 0 {
                // As by a return from `main` while threads hold them.
                return 0;
            }
            loop {
                drop(tiny().anonymous());
            }
        });
        let until = Instant::now() + Duration::from_micros(proc::random_u64().unwrap() & 0xFFF);
        while Instant::now() < until {
            std::hint::spin_loop();
        }
        if n % 3 != 0 {
            maker.kill();
        }
        assert_ne!(maker.join(), 1);
    }
    brief.say("over");
    // For as long as it is asked.
    brief.hear();
}

/// Runs what follows as another user.
fn nobody() -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    command
}

#[test]
#[ignore = "what the child processes run"]
fn child_entry() {
    let Some(brief) = Brief::take() else { return };
    match &*brief.role {
        "storm" => return storm(&brief),
        role if role.starts_with("hold") => {
            let segment = tiny().anonymous().unwrap();
            let _ends = in_use(&segment);
            match role {
                "hold and die" => drop(raise(Signal::SIGKILL)),
                "hold and return" => std::process::exit(0),
                _ => {}
            }
            brief.say("holds");
            if role == "hold and exec" {
                panic!("{}", Command::new("cat").exec());
            }
            brief.hear();
            return;
        }
        _ => {}
    }
    if brief.role == "may not" {
        let name = brief.text(0);
        wait_until(|| {
            let mut found = Segment::orphans().unwrap().into_iter();
            let orphan = found.find(|orphan| orphan.name.as_deref() == Some(name));
            orphan.is_some_and(|orphan| orphan.remove().is_err())
        });
        brief.say("refused");
        // Still there, with what it has not given back.
        brief.hear();
        return;
    }
    let _segment = Segment::open(brief.text(0)).unwrap();
    brief.say("joined");
    if brief.role == "exec" {
        panic!("{}", Command::new("cat").exec());
    }
    brief.hear();
}
