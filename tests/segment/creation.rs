//! One name, one segment, whichever process creates, dies, removes or is in the way.

#![allow(unsafe_code)]

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

/// What it is, and how to make it.
type Remains = (&'static str, fn(&Name));

/// What a creator that died left, as it is made by hand.
fn remains() -> Vec<Remains> {
    fn set(name: &Name, count: usize) -> Set {
        Set::options().exclusive(true).create(name.key(0), count).unwrap()
    }
    fn shm(name: &Name) -> Words {
        Words::of(Shm::options().exclusive(true).create(name.key(0), SOME_SIZE).unwrap())
    }
    /// BUILT, four digits and the check of generation 0.
    fn brand(set: Set) {
        let ops: Vec<Op> = (1..=6).map(|index| Op::add(index, 1)).collect();
        set.perform(&ops).unwrap();
    }
    vec![
        ("nothing", |_| {}),
        ("a set", |name| _ = set(name, SMALL_SET)),
        ("a set of another shape", |name| _ = set(name, SMALL_SET + 32)),
        ("a set and a segment", |name| {
            set(name, SMALL_SET);
            shm(name);
        }),
        ("a nonce and no magic", |name| {
            set(name, SMALL_SET);
            shm(name).put(word::NONCE, 77);
        }),
        ("a marked set and no magic", |name| {
            brand(set(name, SMALL_SET));
            shm(name).put(word::NONCE, 77);
        }),
        ("a marked set alone", |name| {
            brand(set(name, SMALL_SET));
        }),
        ("magic, and a set that is not its own", |name| {
            set(name, SMALL_SET);
            let words = shm(name);
            words.put(word::NONCE, 77);
            words.put(word::MAGIC, MAGIC);
        }),
        ("a segment and no set", |name| drop(shm(name))),
        ("a complete segment without its set", |name| {
            works(name);
            name.set(0).unwrap().remove().unwrap();
        }),
        ("a complete set without its segment", |name| {
            works(name);
            name.shm(0).unwrap().remove().unwrap();
        }),
        ("a complete segment without magic", |name| {
            works(name);
            name.words().put(word::MAGIC, 0);
        }),
        ("a complete segment of another set", |name| {
            works(name);
            name.words().put(word::SET, 1 << 40);
        }),
    ]
}

#[test]
fn whatever_a_dead_creator_left_is_cleared_away() {
    for (what, leave) in remains() {
        for exclusive in [false, true] {
            let name = Name::new();
            leave(&name);
            if exclusive {
                drop(small().create(&name).unwrap_or_else(|error| panic!("{what}: {error}")));
            }
            works(&name);
            assert_eq!(name.objects(), (1, 1), "{what}");
            assert!(matches!(small().create(&name), Err(OpenError::Exists { .. })), "{what}");
        }
    }
}

#[test]
fn what_a_dead_creator_left_is_no_segment() {
    for (what, leave) in remains() {
        let name = Name::new();
        leave(&name);
        let error = small().open(&name).unwrap_err();
        assert!(
            matches!(&error, OpenError::NotFound { name: n } if *n == *name),
            "{what}: {error}"
        );
        works(&name);
    }
}

#[test]
fn removing_a_name_removes_what_a_dead_creator_left() {
    for (what, leave) in remains() {
        let name = Name::new();
        leave(&name);
        // Whether or not there was anything to find, nothing is left.
        match Segment::remove_named(&name) {
            Ok(()) | Err(OpenError::NotFound { .. }) => {}
            Err(error) => panic!("{what}: {error}"),
        }
        assert_eq!(name.objects(), (0, 0), "{what}");
    }
}

/// A segment of another program on one of a name's keys.
struct Foreign {
    shm: Owned<Shm>,
    words: Words,
    before: Vec<u64>,
}

impl Foreign {
    fn on(key: Key) -> Foreign {
        let shm = Owned(Shm::options().exclusive(true).create(key, 4_096).unwrap());
        let words = Words::of(*shm);
        for n in 0..words.len() {
            words.put(n, n as u64 * 0x0101_0101_0101);
        }
        let before = words.copy();
        Foreign { shm, words, before }
    }

    #[track_caller]
    fn is_untouched(&self, key: Key) {
        assert_eq!(self.words.copy(), self.before);
        let stat = self.shm.stat().unwrap();
        assert_eq!((stat.key, stat.attached, stat.size), (key, 1, 4_096));
        // Not attached, not even for a moment.
        assert_eq!(stat.last_pid.unsigned_abs(), proc::pid());
        assert!(!stat.marked_for_removal);
    }
}

#[test]
fn a_foreign_segment_on_the_key_stays_as_it_is_and_the_name_still_works() {
    let name = Name::new();
    let foreign = Foreign::on(name.key(0));
    works(&name);
    let peer = Peer::start("open", &[&name]);
    let id = Segment::open(&name).unwrap().id();
    peer.expect(&id.to_string());
    assert_eq!(name.shm(1).unwrap().id(), id);
    assert!(matches!(small().create(&name), Err(OpenError::Exists { .. })));
    // No set of ours beside the foreigner's segment.
    assert!(name.set(0).is_none());
    Segment::remove_named(&name).unwrap();
    assert_eq!(name.objects(), (1, 0));
    assert!(matches!(Segment::remove_named(&name), Err(OpenError::NotFound { .. })));
    foreign.is_untouched(name.key(0));
}

#[test]
fn a_foreign_set_on_the_key_stays_as_it_is_and_the_name_still_works() {
    for count in [1, 5, 12, 14, 250] {
        let name = Name::new();
        let set = Owned(Set::options().exclusive(true).create(name.key(0), count).unwrap());
        let before = set.stat().unwrap();
        works(&name);
        assert_eq!(name.objects(), (1, 2));
        Segment::remove_named(&name).unwrap();
        assert_eq!(name.objects(), (0, 1));
        assert_eq!(set.stat().unwrap(), before, "{count}: never operated upon");
    }
}

#[test]
fn a_foreign_set_that_is_in_use_stays_as_it_is_even_if_as_large_as_ours() {
    for values in [&[0_u16, 0, 7, 1][..], &[0, 3, 0, 0, 2], &[5, 5, 5, 5]] {
        let name = Name::new();
        let set = Owned(Set::options().exclusive(true).create(name.key(0), SMALL_SET).unwrap());
        for (index, &value) in (0..).zip(values).filter(|(_, value)| **value > 0) {
            set.perform(&[Op::add(index, value)]).unwrap();
        }
        let read = || {
            let mut values = vec![0; SMALL_SET];
            set.values(&mut values).map(|()| values)
        };
        let before = read().unwrap();
        let opened = small().timeout(SOON).open_or_create(&name);
        assert_eq!(read().unwrap(), before, "{values:?}");
        opened.unwrap_or_else(|error| panic!("{values:?}: {error}"));
    }
}

#[test]
fn a_name_whose_keys_are_all_foreign_has_no_key() {
    let name = Name::new();
    let foreigners: Vec<Foreign> = (0..PROBES).map(|n| Foreign::on(name.key(n))).collect();
    for tried in [small().create(&name), small().open_or_create(&name)] {
        match tried.unwrap_err() {
            OpenError::NoKey { name: n, keys } => assert_eq!((&*n, keys), (&*name, PROBES)),
            error => panic!("{error:?}"),
        }
    }
    assert!(matches!(small().open(&name), Err(OpenError::NotFound { .. })));
    assert_eq!(name.objects(), (8, 0));
    for (probe, foreign) in (0..).zip(&foreigners) {
        foreign.is_untouched(name.key(probe));
    }
    // One goes, and its key serves.
    drop(foreigners.into_iter().nth(5));
    works(&name);
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
fn another_version_is_named_and_left_alone() {
    let name = Name::new();
    works(&name);
    let words = name.words();
    let ours = words.get(word::VERSION);
    for theirs in [ours - 1, ours + 1] {
        words.put(word::VERSION, theirs);
        for tried in [Segment::open(&name), Segment::open_or_create(&name)] {
            let error = tried.unwrap_err();
            let said = error.to_string();
            for part in [format!("version {theirs}"), format!("version {ours}"), "remove it".into()]
            {
                assert!(said.contains(&part), "{part}: {said}");
            }
            match error {
                OpenError::Version { name: n, found, supported } => {
                    assert_eq!((&*n, found, supported), (&*name, theirs, ours));
                }
                error => panic!("{error:?}"),
            }
        }
    }
    assert!(matches!(Segment::create(&name), Err(OpenError::Exists { .. })));
    assert_eq!(name.objects(), (1, 1));
    // The lease was given back each time.
    words.put(word::VERSION, ours);
    works(&name);
    words.put(word::VERSION, ours + 1);
    Segment::remove_named(&name).unwrap();
    assert_eq!(name.objects(), (0, 0));
}

#[test]
fn what_only_a_later_build_knows_is_left_alone() {
    // A flag, and a kind of channels that a sweep has to know.
    for (index, bit) in [(word::FLAGS, 1 << 3), (word::KINDS, 1 << 5)] {
        let name = Name::new();
        works(&name);
        let words = name.words();
        words.add(index, bit);
        let error = Segment::open(&name).unwrap_err();
        assert!(matches!(&error, OpenError::Newer { name: n } if *n == *name), "{error:?}");
        assert_eq!(name.objects(), (1, 1));
        words.add(index, bit.wrapping_neg());
        works(&name);
    }
}

#[test]
fn a_header_that_cannot_be_is_reported_and_can_be_removed() {
    let lies = [
        (word::PARTICIPANTS, 0),
        (word::PARTICIPANTS, 50),
        (word::PARTICIPANTS, u64::MAX),
        (word::CHANNELS, 0),
        (word::CHANNELS, 30),
        (word::CHANNELS, 1 << 20),
        (3, 12),
        (3, u64::MAX),
    ];
    for (index, lie) in lies {
        let name = Name::new();
        works(&name);
        let words = name.words();
        assert_ne!(words.get(index), lie);
        words.put(index, lie);
        let error = Segment::open(&name).unwrap_err();
        assert!(
            matches!(&error, OpenError::Damaged { name: n, .. } if *n == *name),
            "word {index} is {lie}: {error:?}"
        );
        assert_eq!(name.objects(), (1, 1));
        Segment::remove_named(&name).unwrap();
        assert_eq!(name.objects(), (0, 0));
        works(&name);
    }
}

#[test]
fn the_mode_is_the_owners_unless_it_is_said_otherwise() {
    for (options, mode) in [(small(), 0o600), (small().mode(0o640), 0o640)] {
        let name = Name::new();
        drop(options.create(&name).unwrap());
        assert_eq!(name.shm(0).unwrap().stat().unwrap().mode, mode);
        assert_eq!(name.set(0).unwrap().stat().unwrap().mode, mode);
    }
}

#[test]
fn who_may_not_is_told_so_and_leaves_no_trace() {
    let name = Name::new();
    works(&name);
    as_nobody(|| {
        let denied = |result: Result<(), OpenError>| match result.unwrap_err() {
            OpenError::System(error) => {
                assert_eq!(error.kind(), ErrorKind::PermissionDenied);
                assert!(error.to_string().to_lowercase().contains("permission"), "{error}");
            }
            error => panic!("{error:?}"),
        };
        denied(Segment::open(&name).map(drop));
        denied(Segment::open_or_create(&name).map(drop));
        denied(Segment::create(&name).map(drop));
        denied(Segment::remove_named(&name));
    });
    assert_eq!(name.objects(), (1, 1));
    works(&name);
}

#[test]
fn names_that_cannot_be_are_refused_before_anything_is_made() {
    let long = "x".repeat(121);
    for bad in ["", " ", "a b", "a\0b", "naïve", "a\n", "a$b", &long] {
        for error in [
            small().create(bad).unwrap_err(),
            small().open_or_create(bad).unwrap_err(),
            small().open(bad).unwrap_err(),
            Segment::remove_named(bad).unwrap_err(),
        ] {
            assert!(matches!(error, OpenError::BadName(_)), "{bad:?}: {error:?}");
        }
        assert!(Shm::open(key_of(bad, 0)).is_err());
    }
    let name = Name::new();
    let options = [
        small().participants(0),
        small().participants(8_193),
        small().channels(0),
        small().channels(4_097),
        small().size(usize::MAX),
    ];
    for options in options {
        let error = options.create(&name).unwrap_err();
        assert!(matches!(error, OpenError::BadOption { .. }), "{error:?}");
        assert!(matches!(options.anonymous(), Err(OpenError::BadOption { .. })));
        assert_eq!(name.objects(), (0, 0));
    }
    // More than any machine has.
    for size in [1 << 56, usize::MAX - 100_000] {
        let error = small().size(size).create(&name).unwrap_err();
        assert!(matches!(error, OpenError::System(_)), "{error:?}");
        assert_eq!(name.objects(), (0, 0));
    }
}

#[test]
fn a_full_table_is_named_and_the_dead_make_room() {
    let name = Name::new();
    let own = small().participants(3).create(&name).unwrap();
    for _ in 0..5 {
        let peers = [Peer::start("open", &[&name]), Peer::start("open", &[&name])];
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

/// Everybody is in a call, or between two: parked, polling, or idle.
fn audience(name: &Name) -> Vec<Peer> {
    let calls = ["recv", "send", "poll", "idle", "recv spsc"];
    let mut peers: Vec<Peer> =
        calls.iter().map(|call| Peer::start("audience", &[name, call])).collect();
    for (peer, call) in peers.iter_mut().zip(calls) {
        peer.expect("open");
        peer.tell("go");
        if call.starts_with("recv") || call == "send" {
            peer.wait_until_parked();
        }
    }
    peers
}

#[track_caller]
fn all_are_told(mut peers: Vec<Peer>, began: Instant) {
    // The idle one, last but one, is told by its next call.
    peers[3].tell("go");
    for peer in &peers {
        peer.expect("the segment has been removed");
    }
    assert!(began.elapsed() < SOON, "it took {:?}", began.elapsed());
}

#[test]
fn removing_a_segment_ends_every_call_in_it() {
    let name = Name::new();
    for by_name in [false, true] {
        let segment = small().participants(8).channels(4).create(&name).unwrap();
        let peers = audience(&name);
        let tx = segment.channel::<u64>("c").sender().unwrap();
        let rx = segment.channel::<u64>("c").receiver().unwrap();
        let began = Instant::now();
        if by_name {
            Segment::remove_named(&name).unwrap();
        } else {
            segment.remove().unwrap();
        }
        all_are_told(peers, began);
        assert_eq!(tx.send(1), Err(SendError::Fault { message: 1, fault: Fault::Closed }));
        assert!(matches!(rx.recv(), Err(RecvError::Fault(Fault::Closed))));
        assert!(matches!(segment.sweep(), Err(Fault::Closed)));
        let error = segment.channel::<u64>("c").sender().unwrap_err();
        assert!(matches!(error, ChannelError::Fault(Fault::Closed)), "{error:?}");
        assert_eq!(name.objects(), (0, 0));
        // Once more is no failure, and does not meet the next one's objects.
        works(&name);
        segment.remove().unwrap();
        works(&name);
        assert_eq!(name.objects(), (1, 1));
        Segment::remove_named(&name).unwrap();
    }
}

#[test]
fn a_set_removed_behind_the_back_ends_every_call() {
    let name = Name::new();
    let segment = small().participants(8).channels(4).create(&name).unwrap();
    let peers = audience(&name);
    let began = Instant::now();
    name.set(0).unwrap().remove().unwrap();
    all_are_told(peers, began);
    assert!(matches!(segment.sweep(), Err(Fault::Closed)));
    works(&name);
    assert_eq!(name.objects(), (1, 1));
}

#[test]
fn a_segment_removed_alone_and_rebuilt_never_mixes_with_the_old_one() {
    let name = Name::new();
    let old = small().participants(8).channels(4).create(&name).unwrap();
    let channel = old.channel::<u64>("c").capacity(4);
    let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
    let sleeper = Peer::start("audience", &[&name, &"recv"]);
    let mut sleeper = sleeper;
    sleeper.expect("open");
    sleeper.tell("go");
    sleeper.wait_until_parked();
    name.shm(0).unwrap().remove().unwrap();
    // Nobody has noticed: the old one goes on.
    tx.send(1).unwrap();
    sleeper.expect("got 1");
    let new = small().participants(8).open_or_create(&name).unwrap();
    assert_ne!(new.id(), old.id());
    let channel = new.channel::<u64>("c").capacity(4);
    let (new_tx, new_rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
    sleeper.tell("go");
    sleeper.expect("the segment has been removed");
    new_tx.send(7).unwrap();
    // Whatever the old handles still do, they do not do it in the new one.
    let _ = tx.try_send(8);
    assert!(!matches!(rx.try_recv(), Ok(7)));
    assert_eq!(new_rx.recv().unwrap(), 7);
    assert!(matches!(new_rx.try_recv(), Err(TryRecvError::Empty)));
    drop((tx, rx, old));
    new_tx.send(9).unwrap();
    assert_eq!(new_rx.recv().unwrap(), 9);
    assert_eq!(new.participants().len(), 1);
    assert_eq!(name.objects(), (1, 1));
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
        let peer = Peer::start("open", &[&name]);
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
        "audience" => audience_of_one(&brief),
        role => panic!("{role}"),
    }
}

fn audience_of_one(brief: &Brief) {
    let segment = Segment::open(brief.text(0)).unwrap();
    match brief.text(1) {
        "recv" | "poll" => {
            let rx = segment.channel::<u64>("c").capacity(4).lasting().receiver().unwrap();
            brief.say("open");
            loop {
                brief.hear();
                let got = match brief.text(1) {
                    "recv" => rx.recv().map_err(TryRecvError::from),
                    _ => loop {
                        match rx.try_recv() {
                            Ok(_) | Err(TryRecvError::Empty | TryRecvError::Pending) => {}
                            Err(error) => break Err(error),
                        }
                    },
                };
                match got {
                    Ok(got) => brief.say(format!("got {got}")),
                    Err(error) => brief.say(error),
                }
            }
        }
        "recv spsc" => {
            let rx = segment.channel::<u64>("one").spsc().capacity(1).receiver().unwrap();
            brief.say("open");
            brief.hear();
            brief.say(rx.recv().unwrap_err());
        }
        "send" | "idle" => {
            let tx = segment.channel::<u64>("full").capacity(1).lasting().sender().unwrap();
            brief.say("open");
            brief.hear();
            if brief.text(1) == "idle" {
                brief.hear();
            } else {
                tx.send(1).unwrap();
            }
            brief.say(tx.send(2).unwrap_err());
        }
        call => panic!("{call}"),
    }
    brief.hear();
}
