//! One name, one segment, whichever process creates, dies, removes or is in the way.

#![allow(unsafe_code)]

mod ends;
mod obstacles;
mod refused;

use crate::common;

use std::fs;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use tombolo::sys::sem::{Op, Set};
use tombolo::sys::shm::Shm;
use tombolo::sys::{ErrorKind, Key, proc};
use tombolo::{
    ChannelError, Fault, OpenError, Options, RecvError, Segment, SendError, TryRecvError,
};

use common::{
    Brief, Child, MAGIC, Name, Owned, PATIENCE, PROBES, Peer, SIGNATURE, Words, as_nobody,
    in_own_namespace, key_of, own_tables, sleep_forever, tables, wait_until, word,
};

/// Longer than a removal takes to reach everybody, on a busy machine too.
use obstacles::Foreign;

const SOON: Duration = Duration::from_millis(500);

/// Few pages, quickly made and removed.
fn small() -> Options {
    Segment::options().size(20_000).participants(4).channels(2)
}

/// Semaphores of such a segment's set.
const SMALL_SET: usize = 29;
/// Some size that only segments of ours have.
const SOME_SIZE: usize = 8 * 4_096 + SIGNATURE;

/// The name works: whoever opens it now meets on one segment and one set.
#[track_caller]
fn works(name: &Name) {
    let first = small().open_or_create(name).unwrap();
    let second = small().open(name).unwrap();
    assert_eq!(first.id(), second.id());
    let channel = first.channel::<u64>("works").capacity(2);
    let rx = channel.receiver().unwrap();
    second.channel::<u64>("works").sender().unwrap().send(5).unwrap();
    assert_eq!(rx.recv().unwrap(), 5);
}

/// A process that has opened it, and stays.
fn opener(name: &Name) -> Peer {
    Peer::start("open", &[name])
}

#[test]
fn processes_that_race_for_a_name_meet_in_one_segment() {
    let name = Name::new();
    for _ in 0..3 {
        let mut peers: Vec<Peer> = (0..32).map(|n| Peer::start("racer", &[&name, &n])).collect();
        for peer in &peers {
            peer.expect("ready");
        }
        for peer in &mut peers {
            peer.tell("go");
        }
        let ids: Vec<String> = peers.iter().map(Peer::said).collect();
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
        assert_eq!(name.objects(), (1, 1));
        let segment = Segment::open(&name).unwrap();
        assert_eq!(segment.participants().len(), 33);
        let rx = segment.channel::<u64>("c").receiver().unwrap();
        let mut from: Vec<u64> = (0..32).map(|_| rx.recv_timeout(PATIENCE).unwrap()).collect();
        from.sort_unstable();
        assert_eq!(from, (0..32).collect::<Vec<_>>());
        segment.remove().unwrap();
        assert_eq!(name.objects(), (0, 0));
    }
}

#[test]
fn a_creator_killed_at_any_call_into_the_kernel_leaves_nothing_in_the_way() {
    const CALLS: &str = "semget,semop,semtimedop,semctl,shmget,shmat,shmdt,shmctl";
    if Command::new("strace").arg("-V").output().is_err() {
        eprintln!("SKIPPED: strace is not installed");
        return;
    }
    let mut survived = 0;
    for nth in 1..80 {
        let name = Name::new();
        let mut strace = Command::new("strace");
        strace.args(["-f", "-qq", "-o", "/dev/null", "--signal=none"]);
        strace.arg(format!("--trace={CALLS}"));
        strace.arg(format!("--inject={CALLS}:signal=KILL:when={nth}"));
        let peer = Peer::start_under(strace, "create and leave", &[&name]);
        match peer.join() {
            0 => survived = nth,
            code => assert_eq!(code, -9, "killed at call {nth}"),
        }
        works(&name);
        assert_eq!(name.objects(), (1, 1), "killed at call {nth}");
        let segment = Segment::open(&name).unwrap();
        assert_eq!(segment.participants().len(), 1, "killed at call {nth}");
        segment.remove().unwrap();
        assert_eq!(name.objects(), (0, 0), "killed at call {nth}");
        if survived > 0 {
            break;
        }
    }
    assert!(survived > 10, "every call was to be reached: {survived}");
}

#[test]
fn creators_and_removers_killed_at_random_leave_nothing_in_the_way() {
    let own = own_tables();
    let name = Name::new();
    for _ in 0..210 {
        let peer = Peer::start("create and remove for ever", &[&name]);
        peer.expect("ready");
        let until = Instant::now() + Duration::from_nanos(proc::random_u64().unwrap() & 0xF_FFFF);
        while Instant::now() < until {
            std::hint::spin_loop();
        }
        peer.finish();
        works(&name);
        assert_eq!(name.objects(), (1, 1));
        if own {
            assert_eq!(tables(), (1, 1), "one pair, on no other key and with no key");
        }
    }
    Segment::remove_named(&name).unwrap();
    if own {
        assert_eq!(tables(), (0, 0));
    }
}

#[test]
fn an_opener_is_never_disturbed_by_one_who_removes() {
    for by in ["name", "handle"] {
        disturb(by);
    }
}

fn disturb(by: &str) {
    let name = Name::new();
    let remover = Peer::start("remove for ever", &[&name, &by]);
    remover.expect("ready");
    let until = Instant::now() + Duration::from_secs(1);
    let (mut opened, mut missed) = (0, 0);
    while Instant::now() < until {
        match small().open_or_create(&name) {
            Ok(_) => opened += 1,
            Err(error) => panic!("removed by {by}, after {opened}: {error}"),
        }
        match small().open(&name) {
            Ok(_) => opened += 1,
            Err(OpenError::NotFound { .. }) => missed += 1,
            Err(error) => panic!("removed by {by}, after {opened}: {error}"),
        }
    }
    assert!(opened > 100 && missed > 10, "{opened} {missed}");
}

#[test]
fn two_names_are_two_segments() {
    let (a, b) = (Name::new(), Name::new());
    let (first, second) = (small().create(&a).unwrap(), small().create(&b).unwrap());
    assert_ne!(first.id(), second.id());
    let open = |segment: &Segment| {
        let channel = segment.channel::<u64>("c").capacity(2);
        (channel.sender().unwrap(), channel.receiver().unwrap())
    };
    let ((tx, rx), (tx2, rx2)) = (open(&first), open(&second));
    tx.send(1).unwrap();
    assert!(matches!(rx2.try_recv(), Err(TryRecvError::Empty)));
    tx2.send(2).unwrap();
    assert_eq!((rx.recv().unwrap(), rx2.recv().unwrap()), (1, 2));
    first.remove().unwrap();
    assert!(tx.send(1).is_err());
    tx2.send(2).unwrap();
}

#[test]
fn a_full_table_is_named_and_the_dead_make_room() {
    let name = Name::new();
    let own = small().participants(3).create(&name).unwrap();
    for _ in 0..5 {
        let peers = [opener(&name), opener(&name)];
        for peer in &peers {
            peer.said();
        }
        match Segment::open(&name).unwrap_err() {
            OpenError::TableFull { name: n, participants } => {
                assert_eq!((&*n, participants), (&*name, 3));
            }
            error => panic!("{error:?}"),
        }
        for peer in peers {
            peer.finish();
        }
        // By death, and by leaving.
        let (second, third) = (Segment::open(&name).unwrap(), Segment::open(&name).unwrap());
        assert!(matches!(Segment::open(&name), Err(OpenError::TableFull { .. })));
        drop((second, third));
        assert_eq!(own.participants().len(), 1);
    }
}

#[test]
fn a_stopped_holder_of_the_lease_is_named_in_time() {
    let name = Name::new();
    let segment = small().timeout(Duration::from_millis(200)).create(&name).unwrap();
    let set = name.set(0).unwrap();
    let holder = Child::fork(|| {
        if set.perform(&[Op::zero(0), Op::add(0, 1).undo()]).is_ok() {
            // SAFETY: stops this process, which has one thread.
            unsafe { libc::raise(libc::SIGSTOP) };
        }
        sleep_forever()
    });
    wait_until(|| set.value(0).unwrap() == 1);
    let options = small().timeout(Duration::from_millis(200));
    let began = Instant::now();
    for tried in [options.open(&name), options.open_or_create(&name), options.create(&name)] {
        match tried.unwrap_err() {
            OpenError::Busy { name: n, pid, waited } => {
                assert_eq!((&*n, pid), (&*name, holder.pid()));
                assert_eq!(waited, Duration::from_millis(200));
            }
            error => panic!("{error:?}"),
        }
    }
    match segment.channel::<u64>("c").capacity(1).sender().unwrap_err() {
        ChannelError::Busy { segment, pid, .. } => {
            assert_eq!((&*segment, pid), (&*name, holder.pid()));
        }
        error => panic!("{error:?}"),
    }
    let took = began.elapsed();
    assert!(took > Duration::from_millis(790) && took < Duration::from_secs(5), "{took:?}");
    holder.kill();
    holder.join();
    works(&name);
    segment.channel::<u64>("c").capacity(1).sender().unwrap();
}

#[test]
fn a_panic_removes_the_segment_that_was_to_go_with_the_scope() {
    for how in ["panic", "return", "fork"] {
        let name = Name::new();
        let peer = Peer::start("remove on drop", &[&name, &how]);
        peer.expect("created");
        // Somebody else is in it: what is transient would stay.
        let segment = Segment::open(&name).unwrap();
        let rx = segment.channel::<u64>("c").capacity(1).receiver().unwrap();
        let mut peer = peer;
        peer.tell("go");
        if how == "fork" {
            peer.expect("forked");
            assert_eq!(name.objects(), (1, 1), "a forked child is not its owner");
            peer.tell("go");
        }
        assert_eq!(peer.join(), if how == "panic" { 101 } else { 0 });
        assert_eq!(name.objects(), (0, 0), "{how}");
        assert!(matches!(rx.recv(), Err(RecvError::Fault(Fault::Closed))));
        // The next run of the same test.
        drop(small().create(&name).unwrap().remove_on_drop());
        assert_eq!(name.objects(), (0, 0), "{how}");
    }
}

#[test]
fn the_last_to_leave_a_transient_segment_removes_it() {
    let name = Name::new();
    for _ in 0..3 {
        let first = small().transient(true).create(&name).unwrap();
        let second = Segment::open(&name).unwrap();
        let tx = second.channel::<u64>("c").capacity(1).sender().unwrap();
        drop(first);
        drop(second);
        assert_eq!(name.objects(), (1, 1), "a handle is left");
        drop(tx);
        assert_eq!(name.objects(), (0, 0));
        // The dead do not count.
        let own = small().transient(true).create(&name).unwrap();
        let peer = opener(&name);
        peer.said();
        peer.finish();
        assert_eq!(name.objects(), (1, 1));
        drop(own);
        assert_eq!(name.objects(), (0, 0));
    }
    drop(small().create(&name).unwrap());
    assert_eq!(name.objects(), (1, 1), "not transient");
}

#[test]
fn an_anonymous_segment_is_opened_by_its_id_and_goes_with_the_last() {
    let own = own_tables();
    let segment = small().anonymous().unwrap();
    let rx = segment.channel::<u64>("c").capacity(4).receiver().unwrap();
    let peer = Peer::start("by id", &[&segment.id()]);
    assert_eq!(rx.recv().unwrap(), 4);
    peer.expect("sent");
    peer.finish();
    let second = Segment::open_id(segment.id()).unwrap();
    assert_eq!(second.id(), segment.id());
    let id = segment.id();
    drop((segment, rx));
    assert_eq!(second.participants().len(), 1);
    drop(second);
    assert!(matches!(Segment::open_id(id), Err(OpenError::NotFound { .. })));
    if own {
        assert_eq!(tables(), (0, 0));
    }
    // A segment with a name has an id too.
    let name = Name::new();
    let named = small().create(&name).unwrap();
    let again = Segment::open_id(named.id()).unwrap();
    assert_eq!(again.name(), &*name);
    drop((named, again));
    assert_eq!(name.objects(), (1, 1));
}

#[test]
fn an_id_of_something_else_is_not_ours() {
    assert!(matches!(Segment::open_id(-5), Err(OpenError::NotFound { .. })));
    let name = Name::new();
    let foreign = Foreign::on(name.key(0));
    match Segment::open_id(foreign.shm.id()).unwrap_err() {
        OpenError::NotOurs { id, .. } => assert_eq!(id, foreign.shm.id()),
        error => panic!("{error:?}"),
    }
    foreign.is_untouched(name.key(0));
    // As large as one of ours, and empty.
    let blank = Owned(Shm::options().create(Key::PRIVATE, SOME_SIZE).unwrap());
    assert!(matches!(Segment::open_id(blank.id()), Err(OpenError::NotOurs { .. })));
    // With magic, and a set that is not there, or somebody else's.
    let words = Words::of(*blank);
    words.put(word::MAGIC, MAGIC);
    let other = Owned(Set::options().create(Key::PRIVATE, SMALL_SET).unwrap());
    for set in [0x7FFF_FFF0, u64::MAX, other.id().unsigned_abs().into()] {
        words.put(word::SET, set);
        let error = Segment::open_id(blank.id()).unwrap_err();
        assert!(matches!(error, OpenError::NotFound { .. }), "{error:?}");
    }
    assert_eq!(other.stat().unwrap().last_op_time, 0, "never operated upon");
}

/// In a namespace of its own, where the limits can be lowered.
#[test]
fn a_limit_is_named_and_nothing_is_left() {
    let limited = || {
        if !own_tables() {
            return;
        }
        let name = Name::new();
        let write = |file: &str, value: &str| fs::write(file, value).unwrap();
        let refused = |kind: ErrorKind| {
            for tried in [small().create(&name), small().open_or_create(&name), small().anonymous()]
            {
                match tried.unwrap_err() {
                    OpenError::System(error) => assert_eq!(error.kind(), kind, "{error}"),
                    error => panic!("{error:?}"),
                }
                assert_eq!(tables(), (0, 0));
            }
        };
        write("/proc/sys/kernel/shmmni", "0");
        refused(ErrorKind::NoSpace);
        write("/proc/sys/kernel/shmmni", "10");
        write("/proc/sys/kernel/shmmax", "4096");
        refused(ErrorKind::Invalid);
        write("/proc/sys/kernel/shmmax", "1000000000");
        write("/proc/sys/kernel/sem", "32000 1024000000 500 0");
        refused(ErrorKind::NoSpace);
        write("/proc/sys/kernel/sem", "20 1024000000 500 100");
        refused(ErrorKind::Invalid);
        write("/proc/sys/kernel/sem", "32000 1024000000 500 100");
        works(&name);
        Segment::remove_named(&name).unwrap();
        assert_eq!(tables(), (0, 0));
    };
    thread::spawn(limited).join().unwrap();
}

#[test]
fn however_many_anonymous_segments_there_are_none_takes_anothers_place() {
    in_own_namespace(|| {
        let small = Segment::options().size(4_096).participants(2).channels(1);
        // By chance, some thirty of them draw a key that is in use.
        let all: Vec<_> = (0..2_000).map(|_| small.anonymous().unwrap()).collect();
        let lost = all.iter().filter(|segment| segment.sweep().is_err()).count();
        assert_eq!(lost, 0, "of {}", all.len());
        drop(all);
        assert_eq!(tables(), (0, 0));
    });
}

#[test]
#[ignore = "what the child processes run"]
fn child_entry() {
    let Some(brief) = Brief::take() else { return };
    let name = brief.text(0);
    match &*brief.role {
        "racer" => {
            brief.say("ready");
            brief.hear();
            let segment = Segment::open_or_create(name).unwrap();
            let tx = segment.channel::<u64>("c").capacity(64).sender().unwrap();
            tx.send(brief.number(1)).unwrap();
            brief.say(segment.id());
            brief.hear();
        }
        "create and leave" => drop(small().open_or_create(name).unwrap()),
        "create and remove for ever" => {
            brief.say("ready");
            loop {
                drop(small().open_or_create(name).unwrap());
                Segment::remove_named(name).unwrap();
            }
        }
        "remove for ever" => {
            brief.say("ready");
            loop {
                if brief.text(1) == "name" {
                    match Segment::remove_named(name) {
                        Ok(()) | Err(OpenError::NotFound { .. }) => {}
                        Err(error) => panic!("{error}"),
                    }
                } else if let Ok(segment) = Segment::open(name) {
                    segment.remove().unwrap();
                }
            }
        }
        "remove on drop" => {
            let segment = small().create(name).unwrap();
            let mut gone = Some(segment.remove_on_drop());
            brief.say("created");
            brief.hear();
            match brief.text(1) {
                "panic" => panic!("as a test that fails"),
                "fork" => {
                    let child = Child::fork(|| {
                        drop(gone.take());
                        0
                    });
                    assert_eq!(child.join(), 0);
                    brief.say("forked");
                    brief.hear();
                }
                _ => {}
            }
        }
        "open" => {
            let segment = Segment::open(name).unwrap();
            brief.say(segment.id());
            brief.hear();
        }
        "by id" => {
            let segment = Segment::open_id(brief.number(0)).unwrap();
            segment.channel::<u64>("c").sender().unwrap().send(4).unwrap();
            brief.say("sent");
            brief.hear();
        }
        role => panic!("{role}"),
    }
}
