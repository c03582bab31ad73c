//! A limit is reached in the middle of an operation: it fails with a typed error, does
//! all or nothing, and leaves nothing behind.

use crate::common;

use std::fs;
use std::process::Command;
use std::thread;
use std::time::Duration;

use nix::sys::resource::{Resource, setrlimit};
use tombolo::sys::{ErrorKind, sem::Op};
use tombolo::{ChannelError, Fault, OpenError, Options, Segment};

use common::{
    Brief, CAPACITY, Name, Peer, RINGS, in_own_namespace, room, set_limit, tables, wait_until,
};

fn small() -> Options {
    Segment::options().size(100_000).participants(4).channels(8)
}

#[track_caller]
fn refused(what: &str, result: Result<Segment, OpenError>, kinds: &[ErrorKind]) {
    match result {
        Err(OpenError::System(error)) => {
            assert!(kinds.contains(&error.kind()), "{what}: {error}");
        }
        other => panic!("{what}: {other:?}"),
    }
}

/// Every way to make a segment fails so, and leaves nothing.
#[track_caller]
fn nothing_can_be_made(what: &str, options: &Options, name: &Name, kinds: &[ErrorKind]) {
    let (before, ways) = (tables(), ["create", "open_or_create", "anonymous"]);
    let made = [options.create(name), options.open_or_create(name), options.anonymous()];
    for (way, made) in ways.into_iter().zip(made) {
        refused(&format!("{what}, {way}"), made, kinds);
    }
    assert_eq!(tables(), before, "{what}: something was left");
}

#[test]
fn the_machines_tables_are_full() {
    in_own_namespace(|| {
        let name = Name::new();
        let full = [ErrorKind::NoSpace];
        set_limit("shmmni", "0");
        nothing_can_be_made("SHMMNI", &small(), &name, &full);
        set_limit("shmmni", "9");
        set_limit("shmall", "3");
        nothing_can_be_made("SHMALL", &small(), &name, &full);
        set_limit("shmall", "1000000");
        set_limit("shmmax", "4096");
        nothing_can_be_made("SHMMAX", &small(), &name, &[ErrorKind::Invalid]);
        set_limit("shmmax", "1000000000");
        for (what, limits, kind) in [
            ("SEMMNI", "32000 1024000000 500 0", ErrorKind::NoSpace),
            ("SEMMNS", "32000 20 500 100", ErrorKind::NoSpace),
            ("SEMMSL", "20 1024000000 500 100", ErrorKind::Invalid),
        ] {
            set_limit("sem", limits);
            nothing_can_be_made(what, &small(), &name, &[kind]);
        }
        set_limit("sem", "32000 1024000000 500 100");
        drop(small().transient(true).create(&name).unwrap());
        assert_eq!(tables(), (0, 0));
    });
}

#[test]
fn what_a_dead_remover_left_is_removed_under_any_limit_that_it_was_made_under() {
    in_own_namespace(|| {
        let name = Name::new();
        let segment = Segment::options().size(4_096).participants(1).channels(1);
        drop(segment.create(&name).unwrap());
        name.set(0).unwrap().remove().unwrap();
        set_limit("shmmax", "30000");
        set_limit("sem", "13 13 500 1");
        Segment::remove_named(&name).unwrap();
        assert_eq!(tables(), (0, 0));
    });
}

#[test]
fn too_few_operations_in_one_call_are_named_wherever_they_are_met() {
    in_own_namespace(|| {
        let name = Name::new();
        // The longest call of ours has six.
        for most in 1..6 {
            set_limit("sem", &format!("32000 1024000000 {most} 100"));
            let what = format!("SEMOPM {most}");
            nothing_can_be_made(&what, &small(), &name, &[ErrorKind::TooBig]);
        }
        set_limit("sem", "32000 1024000000 6 100");
        let segment = small().create(&name).unwrap();
        let tx = segment.channel::<u64>("c").capacity(1).sender().unwrap();
        let before = Values::of(&name);
        set_limit("sem", "32000 1024000000 1 100");
        refused("open", small().open(&name), &[ErrorKind::TooBig]);
        refused("open_id", Segment::open_id(segment.id()), &[ErrorKind::TooBig]);
        let channel = segment.channel::<u64>("d").capacity(1);
        unopened("channel", channel.sender().map(drop), ErrorKind::TooBig);
        unopened("endpoint", channel.receiver().map(drop), ErrorKind::TooBig);
        set_limit("sem", "32000 1024000000 6 100");
        assert_eq!(Values::of(&name), before);
        assert_eq!((segment.participants().len(), segment.channels().len()), (1, 1));
        works(&segment);
        tx.try_send(1).unwrap();
    });
}

/// Semaphores in the set of a segment that is made so, and bytes in it.
fn made(options: &Options) -> (usize, usize) {
    let name = Name::new();
    let segment = options.create(&name).unwrap();
    works(&segment);
    (name.set(0).unwrap().stat().unwrap().count, segment.size())
}

#[test]
fn what_is_not_said_fits_the_classic_limits_and_grows_with_them() {
    in_own_namespace(|| {
        let (default, many) = (Segment::options(), Segment::options().participants_up_to(256));
        let many = many.channels(4 + 4).size_up_to(100 << 20);
        set_limit("sem", "250 32000 32 128");
        set_limit("shmmax", "33554432");
        let ((sems, bytes), (most, all)) = (made(&default), made(&many));
        // Of what is allowed, as much as can be used.
        // Bells of their own where there is room for them beside the participants.
        assert_eq!((sems, most), (173, 237));
        for bytes in [bytes, all] {
            assert!((32 << 20) - 4_096 < bytes && bytes <= 32 << 20, "{bytes}");
        }
        set_limit("sem", "32000 1024000000 500 32000");
        set_limit("shmmax", "18446744073692774399");
        assert_eq!((made(&default).0, made(&many).0), (173, 541));
        assert!(made(&default).1 > 64 << 20 && made(&many).1 > 100 << 20);
        // Very little is too little.
        set_limit("sem", "61 32000 32 128");
        assert_eq!(made(&default).0, 61);
        set_limit("sem", "40 32000 32 128");
        let error = default.anonymous().unwrap_err().to_string();
        assert!(error.contains("allows 40 semaphores per set"), "{error}");
        assert_eq!(tables(), (0, 0));
    });
}

#[test]
fn what_is_said_is_refused_with_the_limit_and_how_to_raise_it() {
    in_own_namespace(|| {
        let name = Name::new();
        set_limit("sem", "250 32000 32 128");
        set_limit("shmmax", "33554432");
        let says = |made: Result<Segment, OpenError>, words: &[&str]| {
            let error = made.unwrap_err().to_string();
            assert!(error.starts_with(&format!("segment {name}: ")), "{error}");
            for word in words {
                assert!(error.contains(word), "no {word:?} in: {error}");
            }
        };
        let options = Segment::options().channels(4);
        says(
            options.clone().participants(256).create(&name),
            &["250", "SEMMSL", "285", "`Options::participants`", "sysctl kernel.sem='285 32000 32"],
        );
        says(
            options.clone().size(32 << 20).open_or_create(&name),
            &["kernel.shmmax allows 33554432", "`Options::size`", "sysctl kernel.shmmax="],
        );
        set_limit("shmall", "100");
        says(
            options.clone().size(1 << 20).create(&name),
            &["kernel.shmall allows 100 pages", "0 are in use", "sysctl kernel.shmall="],
        );
        set_limit("shmall", "100000");
        set_limit("sem", "250 20 32 128");
        says(options.create(&name), &["SEMMNS", "allows 20", "sysctl kernel.sem='250 "]);
        set_limit("sem", "250 32000 32 0");
        says(options.create(&name), &["allows 0 sets", "SEMMNI", "32 128'"]);
        // As the error has it, it works.
        set_limit("sem", "285 32000 32 128");
        works(&Segment::options().channels(4).participants(256).size(1 << 20).anonymous().unwrap());
        assert_eq!(tables(), (0, 0));
    });
}

#[test]
fn a_time_out_beyond_what_the_clock_can_say_is_none() {
    for forever in [Duration::MAX, Duration::from_secs(u64::MAX), Duration::MAX / 2] {
        let name = Name::new();
        let options = small().timeout(forever).transient(true);
        assert!(matches!(options.open(&name), Err(OpenError::NotFound { .. })));
        let segment = options.create(&name).unwrap();
        let other = options.open_or_create(&name).unwrap();
        let anonymous = options.anonymous().unwrap();
        drop(options.open_id(anonymous.id()).unwrap());
        let typed = segment.channel::<u64>("typed").capacity(1);
        let bytes = segment.bytes("bytes").capacity(1, 8);
        let (tx, mut rx) = (typed.sender().unwrap(), typed.receiver().unwrap());
        let (to, mut from) = (bytes.sender().unwrap(), bytes.receiver().unwrap());
        thread::scope(|scope| {
            scope.spawn(move || {
                for n in 0..3 {
                    tx.send_timeout(n, forever).unwrap();
                    to.send_timeout(&[1], forever).unwrap();
                }
            });
            assert_eq!(rx.recv_timeout(forever).unwrap(), 0);
            assert_eq!(from.recv_timeout(&mut Vec::new(), forever).unwrap(), 1);
            assert_eq!(rx.take_timeout(forever).unwrap().read(), 1);
            assert_eq!(from.take_timeout(forever).unwrap().len(), 1);
        });
        let commander = segment.commander().unwrap();
        // The other participant is this process as well, and looks up.
        let answering = thread::spawn(move || {
            let rx = other.channel::<u64>("never").capacity(1).receiver().unwrap();
            let _ = rx.recv_timeout(forever);
            drop(rx);
            let events = other.events();
            events.stop().unwrap();
            let _ = events.recv_timeout(forever);
        });
        wait_until(|| segment.channels().iter().any(|found| found.name == "never"));
        assert!(commander.ping(forever).unwrap().iter().all(|answer| answer.ok));
        drop(commander.shutdown(forever).unwrap());
        answering.join().unwrap();
        drop((segment, commander));
        // The last of a transient segment takes the lease to remove it.
    }
}

/// The values of a segment's semaphores.
#[derive(Debug, PartialEq)]
struct Values(Vec<u16>);

impl Values {
    fn of(name: &Name) -> Values {
        let set = name.set(0).unwrap();
        let mut values = vec![0; set.stat().unwrap().count];
        set.values(&mut values).unwrap();
        Values(values)
    }
}

#[track_caller]
fn unopened(what: &str, result: Result<(), ChannelError>, kind: ErrorKind) {
    match result {
        Err(ChannelError::Fault(Fault::System(error))) => {
            assert_eq!(error.kind(), kind, "{what}: {error}");
        }
        other => panic!("{what}: {other:?}"),
    }
}

fn works(segment: &Segment) {
    for ring in RINGS {
        assert!(room(segment, ring, &format!("{ring}/room")) >= CAPACITY);
    }
}

/// How far a process can be from what it owes to one semaphore.
const UNDO: u16 = 32_767;

#[test]
fn an_undo_out_of_range_is_an_error_and_changes_nothing() {
    let name = Name::new();
    let segment = small().create(&name).unwrap();
    // Made beforehand, with room for what is tried below.
    works(&segment);
    let first = segment.channel::<u64>("c").capacity(1).sender().unwrap();
    let set = name.set(0).unwrap();
    let (lease, items, space) = (0, 8 + 4 + 2 * 4, 8 + 4 + 2 * 4 + 1);
    drop(first);
    for sem in [items, space, lease] {
        // As if this process had attached so often: each arming adds one to
        // what the kernel would give back.
        let arm = [Op::add(sem, 1), Op::take(sem, 1).undo()];
        let hold = [Op::add(sem, 1).undo(), Op::take(sem, 1)];
        let mut armed = 0;
        while set.perform(if sem == lease { &hold } else { &arm }).is_ok() {
            armed += 1;
            assert!(armed <= 2 * u32::from(UNDO));
        }
        let before = Values::of(&name);
        let channel = segment.channel::<u64>("c").capacity(1);
        unopened("sender", channel.sender().map(drop), ErrorKind::OutOfRange);
        unopened("receiver", channel.receiver().map(drop), ErrorKind::OutOfRange);
        assert_eq!(Values::of(&name), before, "of semaphore {sem}");
        let listed = segment.channels().into_iter().find(|found| found.name == "c").unwrap();
        assert_eq!((listed.senders, listed.receivers), (0, 0));
        if sem == lease {
            refused("open", small().open(&name), &[ErrorKind::OutOfRange]);
            assert_eq!(segment.participants().len(), 1);
        }
        let disarm = [Op::add(sem, 1).undo(), Op::take(sem, 1)];
        let let_go = [Op::add(sem, 1), Op::take(sem, 1).undo()];
        for _ in 0..armed {
            set.perform(if sem == lease { &let_go } else { &disarm }).unwrap();
        }
    }
    works(&segment);
    works(&small().open(&name).unwrap());
}

#[test]
fn a_bell_at_its_highest_value_is_no_obstacle() {
    let name = Name::new();
    let segment = small().create(&name).unwrap();
    let channel = segment.channel::<u64>("c").capacity(1);
    drop(channel.sender().unwrap());
    let set = name.set(0).unwrap();
    for sem in [12, 13] {
        let value = set.value(sem).unwrap();
        set.perform(&[Op::add(sem, UNDO - value)]).unwrap();
    }
    let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
    tx.send(1).unwrap();
    assert_eq!(rx.recv().unwrap(), 1);
    // A death at the top: the kernel cannot add any more, and need not.
    let mut peer = Peer::start("receive", &[&name]);
    peer.expect("open");
    peer.tell("go");
    peer.wait_until_parked();
    peer.finish();
    assert!(segment.sweep().unwrap());
    assert_eq!((set.value(12).unwrap(), set.value(13).unwrap()), (1, 1));
    tx.send(2).unwrap();
    assert_eq!(rx.recv().unwrap(), 2);
}

#[test]
fn attaching_more_often_than_an_undo_can_count_is_no_matter() {
    let name = Name::new();
    let segment = small().create(&name).unwrap();
    let channel = segment.channel::<u64>("c").capacity(1);
    for _ in 0..=UNDO {
        drop(channel.sender().unwrap());
    }
    for _ in 0..=UNDO {
        drop(small().open(&name).unwrap());
    }
    works(&segment);
    assert_eq!(segment.participants().len(), 1);
}

#[test]
fn no_more_endpoints_than_can_be_counted() {
    let segment = small().anonymous().unwrap();
    let tx = segment.channel::<u64>("c").capacity(1).sender().unwrap();
    let all: Vec<_> = (1..u16::MAX).map(|_| tx.try_clone().unwrap()).collect();
    for error in [tx.try_clone(), segment.channel("c").sender()].map(Result::unwrap_err) {
        assert!(matches!(error, ChannelError::TooMany { limit: u16::MAX, .. }), "{error:?}");
    }
    assert_eq!(segment.channels()[0].senders, u64::from(u16::MAX));
    drop(all);
    assert_eq!(segment.channels()[0].senders, 1);
    tx.try_clone().unwrap().try_send(1).unwrap();
}

#[test]
fn too_little_address_space_is_named_and_leaves_nothing() {
    in_own_namespace(|| {
        let name = Name::new();
        let there = small().size(512 << 20).no_reserve(true).create(&name).unwrap();
        let before = Values::of(&name);
        let peer = Peer::start("too small", &[&name]);
        peer.expect("refused");
        assert_eq!(peer.join(), 0);
        assert_eq!(Values::of(&name), before);
        assert_eq!(there.participants().len(), 1);
        drop(there);
        Segment::remove_named(&name).unwrap();
        assert_eq!(tables(), (0, 0));
    });
}

fn too_small(name: &Name) {
    setrlimit(Resource::RLIMIT_AS, 500 << 20, 500 << 20).unwrap();
    let large = small().size(512 << 20).no_reserve(true);
    let none = [ErrorKind::NoMemory];
    for refused in [large.open(name), large.create(&Name::new())] {
        // This, and not what else memory can be short of.
        let error = refused.unwrap_err().to_string();
        assert!(error.contains(&format!("{} bytes of address space", 500 << 20)), "{error}");
        assert!(error.contains("RLIMIT_AS") && !error.contains("overcommit"), "{error}");
        assert!(error.starts_with("segment test/") && error.contains("Options::size"), "{error}");
    }
    refused("open", large.open(name), &none);
    refused("open_or_create", large.open_or_create(name), &none);
    let other = Name::new();
    nothing_can_be_made("RLIMIT_AS", &large, &other, &none);
    // And with as much as there is, it works.
    works(&small().transient(true).create(&other).unwrap());
}

#[test]
fn a_process_that_may_not_call_membarrier_leaves_nothing() {
    if Command::new("strace").arg("-V").output().is_err() {
        return eprintln!("SKIPPED: a sandbox without membarrier: strace is not installed");
    }
    in_own_namespace(|| {
        let mut strace = Command::new("strace");
        strace.args(["-f", "-qq", "-o", "/dev/null", "--trace=membarrier"]);
        strace.arg("--inject=membarrier:error=EPERM");
        let peer = Peer::start_under(strace, "no barrier", &[]);
        peer.expect("refused");
        assert_eq!(peer.join(), 0);
        assert_eq!(tables(), (0, 0));
    });
}

#[test]
fn a_process_that_is_refused_the_lease_leaves_nothing_and_takes_nothing() {
    if Command::new("strace").arg("-V").output().is_err() {
        return eprintln!("SKIPPED: no memory for the lease's undo: strace is not installed");
    }
    in_own_namespace(|| {
        let there = Name::new();
        let segment = small().create(&there).unwrap();
        let mut strace = Command::new("strace");
        // The lease is waited for with a deadline; nothing else is here.
        strace.args(["-f", "-qq", "-o", "/dev/null", "--trace=semtimedop"]);
        strace.arg("--inject=semtimedop:error=ENOMEM");
        let peer = Peer::start_under(strace, "no lease", &[&there]);
        peer.expect("refused");
        assert_eq!(peer.join(), 0);
        assert_eq!(tables(), (1, 1));
        works(&segment);
        segment.remove().unwrap();
    });
}

fn no_lease(there: &str) {
    let name = Name::new();
    let kinds = [ErrorKind::NoMemory];
    nothing_can_be_made("no memory for the lease", &small(), &name, &kinds);
    for opened in [small().create(there), small().open_or_create(there), small().open(there)] {
        refused("the lease of what is there", opened, &kinds);
    }
}

fn no_barrier() {
    let name = Name::new();
    for made in [small().create(&name), small().open_or_create(&name), small().anonymous()] {
        assert!(matches!(made, Err(OpenError::NoBarrier { .. })), "{made:?}");
        assert_eq!(tables(), (0, 0), "something was left");
    }
    // One that is there stays, and is whole.
    let there = small().symmetric_fences(true).create(&name).unwrap();
    works(&there);
    Segment::remove_named(&name).unwrap();
}

const MANY: usize = 20_000;
const LONG: usize = 500;

/// Bytes of memory that a segment takes.
fn taken(segment: &Segment) -> u64 {
    let list = fs::read_to_string("/proc/sysvipc/shm").unwrap();
    let rows = list.lines().skip(1).map(|row| row.split_ascii_whitespace().collect::<Vec<_>>());
    let mut own = rows.filter(|row| row[1] == segment.id().to_string());
    own.next().unwrap()[14].parse().unwrap()
}

#[test]
fn a_death_takes_no_memory_in_a_channel_that_is_hardly_used() {
    let name = Name::new();
    let segment = Segment::options().size(64 << 20).no_reserve(true).create(&name).unwrap();
    let page = [0_u8; LONG];
    for channel in ["c", "b"] {
        let typed = segment.channel::<[u8; LONG]>("c").capacity(MANY).sender().unwrap();
        let bytes = segment.bytes("b").capacity(MANY, LONG).sender().unwrap();
        typed.send(page).unwrap();
        bytes.send(&page).unwrap();
        let peer = Peer::start("take", &[&name, &channel]);
        peer.expect("taken");
        let before = taken(&segment);
        peer.finish();
        wait_until(|| segment.sweep().unwrap());
        assert_eq!(segment.deaths().recent.last().unwrap().redelivered, 1);
        // The words that say which blocks are free, and a page here and there.
        let few = 8 * MANY as u64 + 64 * 4096;
        let grown = taken(&segment) - before;
        assert!(grown <= few, "{grown} bytes, {channel}");
    }
    segment.remove().unwrap();
}

/// Takes a message, and is killed with it in its hands.
fn take(brief: &Brief) {
    let segment = Segment::open(brief.text(0)).unwrap();
    let mut typed = segment.channel::<[u8; LONG]>("c").receiver().unwrap();
    let mut bytes = segment.bytes("b").receiver().unwrap();
    let held = if brief.text(1) == "c" {
        (Some(typed.take().unwrap()), None)
    } else {
        (None, Some(bytes.take().unwrap()))
    };
    brief.say("taken");
    brief.hear();
    drop(held);
}

#[test]
#[ignore = "what the child processes run"]
fn child_entry() {
    let Some(brief) = Brief::take() else { return };
    match &*brief.role {
        "receive" => {
            let segment = Segment::open(brief.text(0)).unwrap();
            let rx = segment.channel::<u64>("c").receiver().unwrap();
            brief.say("open");
            brief.hear();
            let _ = rx.recv();
        }
        "take" => take(&brief),
        "too small" => {
            too_small(&Name::of(brief.text(0)));
            brief.say("refused");
        }
        "no lease" => {
            no_lease(brief.text(0));
            brief.say("refused");
        }
        "no barrier" => {
            no_barrier();
            brief.say("refused");
        }
        role => panic!("{role}"),
    }
}
