//! The owners of segments: strangers that are first at a name, and segments that are
//! handed over.

use crate::common;

use std::time::Duration;

use nix::unistd::{Gid, Uid, setresgid, setresuid};
use tombolo::sys::{
    ErrorKind, Permissions,
    msg::{self, Queue},
    sem::Set,
    shm::Shm,
};
use tombolo::{CommandError, Fault, OpenError, Options, Segment};

use common::{
    Brief, NOBODY, Name, Owned, Peer, SIGNATURE, as_nobody, as_user, in_own_namespace, tables,
};

/// Two users that nobody else is.
const ONE: u32 = 4_001;
const OTHER: u32 = 4_002;

fn small() -> Options {
    Segment::options().size(100_000).participants(4).channels(2)
}

fn is_root() -> bool {
    let root = Uid::effective().is_root();
    if !root {
        eprintln!("SKIPPED: needs root, to be another user");
    }
    root
}

/// The objects that another user makes.
fn of_user<R: Send>(user: u32, make: impl FnOnce() -> R + Send) -> R {
    let mut made = None;
    as_user(user, || made = Some(make()));
    made.unwrap()
}

/// Refused because this user has created what is there.
#[track_caller]
fn strange(opened: Result<Segment, OpenError>, creator: u32) -> (Option<i32>, Option<i32>) {
    let error = opened.unwrap_err();
    let said = error.to_string();
    match error {
        OpenError::Stranger { uid, shm, set, own_uid, .. } => {
            assert_eq!((uid, own_uid), (creator, Uid::effective().as_raw()), "{said}");
            for word in [&format!("uid {creator}"), "`Options::any_owner`"] {
                assert!(said.contains(word), "{said}");
            }
            (shm, set)
        }
        _ => panic!("{said}"),
    }
}

/// Opens in every way, by name, that does not create on purpose.
fn ways(name: &str, options: &Options) -> [Result<Segment, OpenError>; 3] {
    [options.open(name), options.open_or_create(name), options.create(name)]
}

#[test]
fn a_strangers_segment_is_not_opened_by_its_name() {
    if !is_root() {
        return;
    }
    let name = Name::new();
    let theirs = of_user(NOBODY, || small().mode(0o666).create(&name).unwrap());
    for opened in ways(&name, &small()) {
        assert_eq!(strange(opened, NOBODY), (Some(theirs.id()), None));
    }
    assert_eq!(theirs.participants().len(), 1);
    // An owner can be anybody whom the creator names.
    as_nobody(|| {
        let set = name.set(0).unwrap();
        for to in
            [set.set_permissions(roots(0o666)), theirs_shm(&name).set_permissions(roots(0o666))]
        {
            to.unwrap();
        }
    });
    for opened in ways(&name, &small()) {
        strange(opened, NOBODY);
    }
    as_user(ONE, || strange(Segment::open(&name), NOBODY).0.map(drop).unwrap());
    // Accepted, by its id, and of this user.
    drop(small().any_owner(true).open(&name).unwrap());
    drop(small().any_owner(true).open_or_create(&name).unwrap());
    drop(Segment::open_id(theirs.id()).unwrap());
    as_nobody(|| drop(Segment::open(&name).unwrap()));
    let listed = Segment::list().unwrap().into_iter().find(|info| info.name == *name).unwrap();
    assert_eq!((listed.creator_uid, listed.uid), (NOBODY, 0));
    // Removing is as the kernel allows it.
    as_user(ONE, || {
        let error = Segment::remove_named(&name).unwrap_err();
        assert!(error.to_string().starts_with(&format!("segment {name}: ")), "{error}");
        // Others go on as if nobody had tried.
        drop(small().any_owner(true).timeout(Duration::ZERO).open(&name).unwrap());
    });
    Segment::remove_named(&name).unwrap();
    assert!(matches!(theirs.sweep(), Err(Fault::Closed)));
    assert_eq!(name.objects(), (0, 0));
}

fn roots(mode: u32) -> Permissions {
    Permissions { uid: 0, gid: 0, mode }
}

fn theirs_shm(name: &Name) -> Shm {
    name.shm(0).unwrap()
}

#[test]
fn what_root_creates_is_everybodys_to_open() {
    if !is_root() {
        return;
    }
    let name = Name::new();
    let segment = small().mode(0o666).create(&name).unwrap();
    as_nobody(|| drop(Segment::open(&name).unwrap()));
    segment.set_mode(0o600).unwrap();
    as_nobody(|| match Segment::open(&name) {
        Err(OpenError::System(error)) => {
            assert_eq!(error.kind(), ErrorKind::PermissionDenied);
            assert!(error.to_string().starts_with(&format!("segment {name}: ")), "{error}");
        }
        other => panic!("{other:?}"),
    });
}

#[test]
fn nothing_is_built_upon_what_a_stranger_has_laid_there() {
    in_own_namespace(|| {
        if !is_root() {
            return;
        }
        // The remains of a creation that was killed, at each of its steps.
        let blank = |key| Shm::options().mode(0o666).create(key, 139_264 + SIGNATURE).unwrap();
        let bare = |key, count| Set::options().mode(0o666).create(key, count).unwrap();
        let count = 29;
        for probe in [0, 3] {
            for (with_set, with_shm) in [(true, false), (false, true), (true, true)] {
                let name = Name::new();
                let key = name.key(probe);
                as_nobody(|| {
                    let _set = with_set.then(|| bare(key, count));
                    let _shm = with_shm.then(|| blank(key));
                });
                let before = tables();
                for opened in [small().open_or_create(&name), small().create(&name)] {
                    strange(opened, NOBODY);
                }
                assert_eq!(tables(), before, "{probe}: {with_set} {with_shm}");
                if let Some(set) = name.set(probe) {
                    let mut values = vec![0; count];
                    set.values(&mut values).unwrap();
                    assert!(values.iter().all(|&value| value == 0), "{values:?}");
                    assert_eq!(set.stat().unwrap().last_op_time, 0, "it was used");
                }
                // A user who may not read it is told the same.
                if with_set {
                    let secret = Permissions { uid: NOBODY, gid: NOBODY, mode: 0o600 };
                    name.set(probe).unwrap().set_permissions(secret).unwrap();
                    as_user(ONE, || {
                        let _ids = strange(small().open_or_create(&name), NOBODY);
                    });
                }
            }
        }
        // An object of another kind is another program's, and no stranger's.
        let name = Name::new();
        as_nobody(|| {
            let _theirs = bare(name.key(0), count - 1);
        });
        drop(small().transient(true).create(&name).unwrap());
    });
}

#[test]
fn orders_are_not_given_through_a_strangers_queue() {
    if !is_root() {
        return;
    }
    let name = Name::new();
    // It looks like one of ours, and whoever gives orders may not remove it.
    let queue = || Queue::options().mode(0o667).create(name.key(0)).unwrap();
    let queue = Owned(of_user(NOBODY, queue));
    as_user(ONE, || {
        let segment = small().create(&name).unwrap();
        let refused = segment.commander().unwrap_err();
        assert!(matches!(refused, CommandError::Foreign { .. }), "{refused}");
        segment.remove().unwrap();
    });
    assert_eq!(queue.stat().unwrap().messages, 0);
    drop(queue);
    // One that a participant has left is used.
    let segment = of_user(ONE, || small().mode(0o666).create(&name).unwrap());
    let theirs = of_user(OTHER, || small().any_owner(true).open(&name).unwrap());
    let left = || Queue::options().mode(0o667).create(name.key(0)).unwrap();
    let left = of_user(OTHER, left);
    as_user(ONE, || drop(segment.commander().unwrap()));
    assert_eq!(Queue::open(name.key(0)).unwrap(), left);
    drop(theirs);
}

fn is(segment: &Segment, uid: u32, mode: u32) {
    let owner = segment.owner().unwrap();
    assert_eq!((owner.creator_uid, owner.uid, owner.gid, owner.mode), (0, uid, uid, mode));
}

fn queue_of(name: &Name) -> msg::Stat {
    Queue::open(name.key(0)).unwrap().stat_any().unwrap()
}

#[test]
fn a_segment_is_handed_over_as_a_whole() {
    if !is_root() {
        return;
    }
    let name = Name::new();
    let segment = small().create(&name).unwrap();
    is(&segment, 0, 0o600);
    segment.set_owner(ONE, ONE).unwrap();
    is(&segment, ONE, 0o600);
    // Later objects follow.
    drop(segment.commander().unwrap());
    assert_eq!((queue_of(&name).uid, queue_of(&name).mode), (ONE, 0o601));
    segment.set_owner(NOBODY, NOBODY).unwrap();
    // As one leaves it that is killed over it: doing it again ends it.
    name.set(0).unwrap().set_permissions(roots(0o666)).unwrap();
    segment.set_owner(NOBODY, NOBODY).unwrap();
    segment.set_mode(0o1640).unwrap();
    is(&segment, NOBODY, 0o640);
    assert_eq!((queue_of(&name).uid, queue_of(&name).mode), (NOBODY, 0o641));
    let shm = name.shm(0).unwrap().stat_any().unwrap();
    assert_eq!((shm.uid, shm.gid, shm.mode), (NOBODY, NOBODY, 0o640));
    as_nobody(|| {
        let mine = Segment::open(&name).unwrap();
        mine.set_mode(0o600).unwrap();
        drop(mine.commander().unwrap());
        // And cannot be taken back by whoever has it no more.
        mine.set_owner(OTHER, OTHER).unwrap();
        refused(mine.set_mode(0o666), &name);
    });
    is(&segment, OTHER, 0o600);
    segment.remove().unwrap();
    assert!(matches!(segment.set_mode(0o600), Err(Fault::Closed)));
    assert!(matches!(segment.owner(), Err(Fault::Closed)));
}

#[track_caller]
fn refused(changed: Result<(), Fault>, name: &Name) {
    match changed {
        Err(Fault::System(error)) => {
            assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
            let said = error.to_string();
            assert!(said.starts_with(&format!("segment {name}: cannot ")), "{said}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_cannot_be_handed_over_stays_as_it_was() {
    if !is_root() {
        return;
    }
    let name = Name::new();
    let segment = of_user(ONE, || small().mode(0o666).create(&name).unwrap());
    as_user(ONE, || drop(segment.commander().unwrap()));
    as_user(OTHER, || {
        let theirs = small().any_owner(true).open(&name).unwrap();
        refused(theirs.set_owner(OTHER, OTHER), &name);
    });
    let still = || {
        let owner = segment.owner().unwrap();
        let memory = name.shm(0).unwrap().stat().unwrap();
        assert_eq!((owner.uid, owner.mode), (ONE, 0o666));
        assert_eq!((memory.uid, memory.mode), (ONE, 0o666));
    };
    still();
    // Somebody else is the master of the queue alone.
    Queue::open(name.key(0)).unwrap().remove().unwrap();
    let queue = of_user(OTHER, || Queue::options().mode(0o667).create(name.key(0)).unwrap());
    name.words().put(34, queue.id() as u64 + 1);
    as_user(ONE, || refused(segment.set_mode(0o600), &name));
    still();
}

#[test]
fn the_last_to_leave_a_transient_segment_that_it_may_not_remove_just_leaves() {
    if !is_root() {
        return;
    }
    let name = Name::new();
    let first = of_user(ONE, || small().mode(0o666).transient(true).create(&name).unwrap());
    let last = of_user(OTHER, || small().any_owner(true).open(&name).unwrap());
    as_user(ONE, || drop(first));
    as_user(OTHER, || drop(last));
    let next = small().any_owner(true).timeout(Duration::ZERO).open(&name).unwrap();
    assert_eq!(next.participants().len(), 1);
    drop(next);
    assert_eq!(name.objects(), (0, 0));
}

/// A daemon: privileges are dropped after the segment was opened, or before.
/// Both sides sleep, are woken, and hear of each other's end.
#[test]
fn who_drops_privileges_goes_on_with_what_was_handed_over() {
    if !is_root() {
        return;
    }
    for before in [true, false] {
        let name = Name::new();
        let segment = small().mode(0o600).create(&name).unwrap();
        let there = segment.channel::<u64>("there").capacity(1);
        let back = segment.channel::<u64>("back").capacity(1);
        let (tx, rx) = (there.sender().unwrap(), back.receiver().unwrap());
        segment.set_owner(NOBODY, NOBODY).unwrap();
        let mut daemon = Peer::start("daemon", &[&name, &before]);
        daemon.expect("dropped");
        for n in 0..20 {
            // It sleeps, and is woken; and so is this one.
            daemon.wait_until_parked();
            tx.send(n).unwrap();
            assert_eq!(rx.recv().unwrap(), n + 1);
        }
        daemon.wait_until_parked();
        drop(tx);
        daemon.expect("Disconnected");
        daemon.tell("end");
        // Asleep until the other is gone, in the middle of things.
        assert!(rx.recv().is_err());
        assert_eq!(daemon.join(), 0);
        drop(rx);
        assert!(!segment.sweep().unwrap());
        assert_eq!(segment.deaths().total, 0, "it has left in good order");
    }
}

fn daemon(name: &str, brief: &Brief) {
    let dropped = || {
        let (user, group) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
        setresgid(group, group, group).unwrap();
        setresuid(user, user, user).unwrap();
    };
    let early = brief.text(1) == "true";
    let open = || {
        let segment = Segment::open(name).unwrap();
        let rx = segment.channel::<u64>("there").receiver().unwrap();
        let tx = segment.channel::<u64>("back").sender().unwrap();
        (segment, rx, tx)
    };
    let opened = early.then(open);
    dropped();
    let (segment, rx, tx) = opened.unwrap_or_else(open);
    brief.say("dropped");
    let ended = loop {
        match rx.recv() {
            Ok(n) => tx.send(n + 1).unwrap(),
            Err(error) => break error,
        }
    };
    let disconnected = ended.to_string().contains("disconnected");
    brief.say(if disconnected { "Disconnected" } else { "?" });
    brief.hear();
    drop((tx, rx, segment));
}

#[test]
#[ignore = "what the child processes run"]
fn child_entry() {
    let Some(brief) = Brief::take() else { return };
    match &*brief.role {
        "daemon" => daemon(brief.text(0), &brief),
        role => panic!("{role}"),
    }
}
