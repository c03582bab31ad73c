//! The kernel's refusals, and their errors.

#![allow(unsafe_code)]

use nix::errno::Errno;

use crate::common::{
    Owned, as_nobody, fresh_key, in_own_namespace, in_sandbox, says, segment, set, set_limit,
};
use tombolo::sys::msg::Queue;
use tombolo::sys::sem::{self, Op, Set};
use tombolo::sys::shm::{self, AttachOptions, Shm};
use tombolo::sys::{ErrorKind, Key, limits};

/// A refusal though owner and mode allow the call says so, and has no advice about
/// them.
#[test]
fn a_refusal_by_a_sandbox_is_not_put_down_to_owner_and_mode() {
    let (shm, set, key) = (segment(100), set(1), fresh_key());
    let calls = [libc::SYS_shmat, libc::SYS_shmget, libc::SYS_shmctl, libc::SYS_semtimedop];
    let calls = [&calls[..], &[libc::SYS_semop, libc::SYS_semget, libc::SYS_msgget]].concat();
    let errors = || {
        [
            ("shmat", shm.attach().unwrap_err()),
            ("shmget", Shm::options().create(key, 100).unwrap_err()),
            ("shmget", Shm::options().create(Key::PRIVATE, 100).unwrap_err()),
            ("semop", set.perform(&[Op::add(0, 1)]).unwrap_err()),
            ("semget", Set::open(key).unwrap_err()),
            ("msgget", Queue::options().create(key).unwrap_err()),
        ]
    };
    in_sandbox(&calls, libc::EPERM, || {
        for (call, error) in errors() {
            says(&error, ErrorKind::PermissionDenied, &["sandbox", "seccomp", call]);
            assert!(!error.to_string().contains("run as uid"), "{error}");
        }
    });
    let calls = [libc::SYS_shmat, libc::SYS_semop, libc::SYS_semtimedop];
    in_sandbox(&calls, libc::EACCES, || {
        for error in [shm.attach().unwrap_err(), set.perform(&[Op::add(0, 1)]).unwrap_err()] {
            says(&error, ErrorKind::PermissionDenied, &["security module"]);
            assert!(!error.to_string().contains("run as uid"), "{error}");
        }
    });
}

#[test]
fn another_user_is_told_whose_it_is() {
    let key = fresh_key();
    let segment = Owned(Shm::options().create(key, 100).unwrap());
    let set = Owned(Set::options().create(key, 2).unwrap());
    let readable = Owned(Shm::options().mode(0o644).create(Key::PRIVATE, 100).unwrap());
    as_nobody(|| {
        let errors = [
            segment.attach().unwrap_err(),
            segment.stat().unwrap_err(),
            segment.remove().unwrap_err(),
            Shm::options().create(key, 100).unwrap_err(),
            set.perform(&[Op::add(0, 1)]).unwrap_err(),
            set.value(0).unwrap_err(),
            set.values(&mut [0; 2]).unwrap_err(),
            set.set_value(0, 1).unwrap_err(),
            set.stat().unwrap_err(),
            set.remove().unwrap_err(),
            Set::options().create(key, 2).unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
            let text = error.to_string();
            assert!(text.contains("belongs to uid 0") && text.contains("mode 0600"), "{text}");
            assert!(text.contains("runs as uid 65534"), "{text}");
        }
        // Finding and examining need no permission.
        assert_eq!(Shm::open(key).unwrap().stat_any().unwrap().size, 100);
        assert_eq!(Set::open(key).unwrap().stat_any().unwrap().count, 2);
        assert!(shm::all().unwrap().iter().any(|stat| stat.id == segment.id()));
        assert!(sem::all().unwrap().iter().any(|stat| stat.id == set.id()));

        let error = readable.attach().unwrap_err();
        assert!(error.to_string().contains("mode 0644"), "{error}");
        let read = AttachOptions { read_only: true, ..Default::default() };
        assert_eq!(readable.attach_with(read).unwrap().len(), 100);
    });
}

#[test]
fn exhausted_segment_limits_are_told_apart() {
    in_own_namespace(|| {
        set_limit("shmmni", "2");
        set_limit("shmall", "10");
        set_limit("shmmax", "1000000");
        let limits = limits::shm().unwrap();
        assert_eq!((limits.max_segments, limits.max_pages_total), (2, 10));
        let page = usize::try_from(limits::page_size()).unwrap();
        let _one = segment(page);
        let fail = |size| {
            let error = Shm::options().create(Key::PRIVATE, size).unwrap_err();
            (error.kind(), error.to_string())
        };
        let (kind, text) = fail(10 * page);
        assert_eq!(kind, ErrorKind::NoSpace);
        assert!(text.contains("kernel.shmall allows 10 pages in all segments, 1 are"), "{text}");
        let _two = segment(page);
        let (kind, text) = fail(page);
        assert_eq!(kind, ErrorKind::NoSpace);
        assert!(text.contains("kernel.shmmni allows 2 segments, 2 exist"), "{text}");
        assert!(text.contains("ipcrm -m ID"), "{text}");
        let (kind, text) = fail(1_000_001);
        assert_eq!(kind, ErrorKind::Invalid);
        assert!(text.contains("kernel.shmmax allows 1000000 bytes"), "{text}");
    });
}

#[test]
fn exhausted_semaphore_limits_are_told_apart() {
    in_own_namespace(|| {
        // Per set, in all, per call, sets.
        set_limit("sem", "8 10 4 2");
        let limits = limits::sem().unwrap();
        let all = (limits.per_set, limits.system_wide, limits.ops_per_call, limits.sets);
        assert_eq!(all, (8, 10, 4, 2));
        let one = set(5);
        let fail = |count| {
            let error = Set::options().create(Key::PRIVATE, count).unwrap_err();
            (error.kind(), error.to_string())
        };
        let (kind, text) = fail(6);
        assert_eq!(kind, ErrorKind::NoSpace);
        assert!(text.contains("allows 10 semaphores in all sets"), "{text}");
        let _two = set(1);
        let (kind, text) = fail(1);
        assert_eq!(kind, ErrorKind::NoSpace);
        assert!(text.contains("allows 2 sets (its 4th number), 2 exist"), "{text}");
        let (kind, text) = fail(9);
        assert_eq!(kind, ErrorKind::Invalid);
        assert!(text.contains("allows 8 semaphores per set"), "{text}");
        let error = one.perform(&[Op::add(0, 1); 5]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooBig);
        assert!(error.to_string().contains("allows 4 operations per call"), "{error}");
    });
}

#[test]
fn everyday_errors_are_short_and_plain() {
    let set = set(2);
    let error = set.perform(&[Op::take(1, 1).no_wait()]).unwrap_err();
    let expected = format!(
        "cannot operate on semaphore 1 of set {}: it would have to wait (semop: EAGAIN)",
        set.id()
    );
    assert_eq!(error.to_string(), expected);
    assert!(format!("{error:?}").contains("WouldBlock"));
    assert_eq!(Errno::from_raw(error.errno()), Errno::EAGAIN);
}
