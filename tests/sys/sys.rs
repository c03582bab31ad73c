//! The System V layer against the real kernel.

#![allow(unsafe_code)]

use crate::common;

use std::ffi::CString;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

use common::{
    Child, Owned, PATIENCE, as_nobody, fresh_key, in_own_namespace, in_sandbox, says, segment, set,
    set_limit, sleep_forever, wait_until,
};
use tombolo::sys::msg::Queue;
use tombolo::sys::sem::{self, Op, Set};
use tombolo::sys::shm::{self, AttachOptions, HugePages, Shm};
use tombolo::sys::{ErrorKind, Key, Object, limits, proc};

/// The block of /proc/self/smaps about the mapping at `address`.
fn smaps(address: *const u8) -> String {
    let head = format!("{:08x}-", address.addr());
    let text = fs::read_to_string("/proc/self/smaps").unwrap();
    let at = text.find(&head).expect("mapped");
    let end = text[at..].find("VmFlags").unwrap() + at;
    text[at..].split_at(end - at).0.to_owned() + text[end..].lines().next().unwrap()
}

#[test]
fn exclusive_creation_of_a_taken_key_names_it() {
    let key = fresh_key();
    let segment = Owned(Shm::options().exclusive(true).create(key, 100).unwrap());
    let error = Shm::options().exclusive(true).create(key, 100).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Exists);
    assert_eq!(error.errno(), libc::EEXIST);
    assert_eq!(error.call(), "shmget");
    assert_eq!(error.object(), &Object::NewSegment { key, size: 100, huge_pages: None });
    assert!(error.to_string().contains(&format!("ipcrm -M {key}")), "{error}");
    assert_eq!(Shm::options().create(key, 100).unwrap(), *segment);
    assert_eq!(Shm::open(key).unwrap(), *segment);

    let set = Owned(Set::options().exclusive(true).create(key, 3).unwrap());
    let error = Set::options().exclusive(true).create(key, 3).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Exists);
    assert!(error.to_string().contains(&format!("ipcrm -S {key}")), "{error}");
    assert_eq!(Set::open(key).unwrap(), *set);
}

#[test]
fn opening_what_is_not_there_is_not_found() {
    let key = fresh_key();
    for key in [key, Key::PRIVATE] {
        let error = Shm::open(key).unwrap_err();
        assert_eq!(
            (error.kind(), error.object()),
            (ErrorKind::NotFound, &Object::SegmentKey { key })
        );
        assert!(error.to_string().contains(&key.to_string()), "{error}");
        let error = Set::open(key).unwrap_err();
        assert_eq!((error.kind(), error.object()), (ErrorKind::NotFound, &Object::SetKey { key }));
    }
}

#[test]
fn a_new_object_is_zero_and_as_described() {
    let key = fresh_key();
    let segment = Owned(Shm::options().mode(0o640).create(key, 5000).unwrap());
    let stat = segment.stat().unwrap();
    assert_eq!((stat.id, stat.key, stat.size, stat.mode), (segment.id(), key, 5000, 0o640));
    assert_eq!((stat.uid, stat.creator_uid), (proc::uid(), proc::uid()));
    assert_eq!((stat.creator_pid.cast_unsigned(), stat.last_pid), (proc::pid(), 0));
    assert_eq!((stat.attached, stat.attach_time), (0, 0));
    assert!(stat.change_time > 0 && !stat.marked_for_removal && !stat.locked);
    assert_eq!(segment.stat_any().unwrap(), stat);
    assert!(shm::all().unwrap().contains(&stat));

    let set = Owned(Set::options().mode(0o640).create(key, 7).unwrap());
    let stat = set.stat().unwrap();
    assert_eq!((stat.id, stat.key, stat.count, stat.mode), (set.id(), key, 7, 0o640));
    assert_eq!((stat.uid, stat.last_op_time), (proc::uid(), 0));
    assert_eq!(set.stat_any().unwrap(), stat);
    assert!(sem::all().unwrap().contains(&stat));
    let mut values = [9; 7];
    set.values(&mut values).unwrap();
    assert_eq!(values, [0; 7]);

    let used = (limits::shm().unwrap(), limits::sem().unwrap());
    assert!(used.0.used_segments >= 1 && used.0.used_pages >= 2, "{used:?}");
    assert!(used.1.used_sets >= 1 && used.1.used_sems >= 7, "{used:?}");
    assert_eq!(used.1.max_value, 32767);
}

/// Waits until `segment` has so many attachments: the children that other
/// tests fork inherit this process's, for a moment.
fn attached_only(segment: &Shm, count: u64) {
    wait_until(|| segment.stat().unwrap().attached == count);
}

#[test]
fn memory_is_shared_until_the_last_detaches() {
    let segment = segment(5000);
    let one = segment.attach().unwrap();
    let two = segment.attach().unwrap();
    assert_eq!((one.len(), one.read_only(), one.shm()), (5000, false, *segment));
    // SAFETY: the first byte of the segment, which only this thread uses.
    unsafe { one.as_ptr().write_volatile(42) };
    // SAFETY: as above.
    assert_eq!(unsafe { two.as_ptr().read_volatile() }, 42);

    segment.remove().unwrap();
    let stat = segment.stat().unwrap();
    assert!(stat.marked_for_removal && stat.key.is_private());
    attached_only(&segment, 2);
    let late = segment.attach().unwrap();
    // SAFETY: as above.
    assert_eq!(unsafe { late.as_non_null().read_volatile() }, 42);
    drop(late);
    one.detach().unwrap();
    two.detach().unwrap();
    wait_until(|| segment.stat().is_err());
    for error in [segment.stat().unwrap_err(), segment.attach().unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::Removed, "{error}");
        assert_eq!(error.object(), &Object::Segment { id: segment.id() });
    }
}

#[test]
fn a_leaked_mapping_stays() {
    let segment = segment(1);
    let address = segment.attach().unwrap().leak();
    attached_only(&segment, 1);
    // SAFETY: the address came from an attachment that nothing else undoes.
    assert_eq!(unsafe { libc::shmdt(address.as_ptr().cast()) }, 0);
    attached_only(&segment, 0);
}

#[test]
fn attach_options_reach_the_mapping() {
    let segment = segment(3 << 20);
    let plain = segment.attach().unwrap();
    let text = smaps(plain.as_ptr());
    assert!(text.contains("rw-s") && !text.contains(" dd"), "{text}");
    assert!(text.lines().any(|l| l.starts_with("Rss:") && l.ends_with(" 0 kB")), "{text}");

    let options =
        AttachOptions { prefault: true, keep_out_of_core_dumps: true, ..Default::default() };
    let filled = segment.attach_with(options).unwrap();
    let text = smaps(filled.as_ptr());
    assert!(text.contains("rw-s") && text.contains(" dd"), "{text}");
    assert!(text.lines().any(|l| l.starts_with("Rss:") && l.ends_with(" 3072 kB")), "{text}");

    let options = AttachOptions { read_only: true, prefault: true, ..Default::default() };
    let read = segment.attach_with(options).unwrap();
    assert!(read.read_only());
    let text = smaps(read.as_ptr());
    assert!(text.contains("r--s"), "{text}");
    assert!(text.lines().any(|l| l.starts_with("Rss:") && l.ends_with(" 3072 kB")), "{text}");
}

#[test]
fn a_segment_too_large_names_the_limit() {
    let error = Shm::options().create(Key::PRIVATE, usize::MAX).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let limit = format!("kernel.shmmax allows {} bytes", limits::shm().unwrap().max_size);
    assert!(error.to_string().contains(&limit), "{error}");
    let error = Shm::options().create(Key::PRIVATE, 0).unwrap_err();
    assert!(error.to_string().contains("at least one byte"), "{error}");

    let key = fresh_key();
    let small = Owned(Shm::options().create(key, 10).unwrap());
    let error = Shm::options().create(key, 11).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains(&format!("segment {} has this key", small.id())), "{error}");
    assert!(error.to_string().contains("(10 bytes)"), "{error}");
}

#[test]
fn a_set_of_the_wrong_size_names_the_limit() {
    let error = Set::options().create(Key::PRIVATE, usize::MAX).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let limit = format!("allows {} semaphores per set", limits::sem().unwrap().per_set);
    assert!(error.to_string().contains(&limit), "{error}");
    let error = Set::options().create(Key::PRIVATE, 0).unwrap_err();
    assert!(error.to_string().contains("at least one semaphore"), "{error}");

    let key = fresh_key();
    let small = Owned(Set::options().create(key, 2).unwrap());
    let error = Set::options().create(key, 3).unwrap_err();
    assert!(error.to_string().contains(&format!("set {} has this key", small.id())), "{error}");
}

#[test]
fn more_memory_than_there_is_says_so() {
    // An exabyte: within shmmax and shmall by default, but nobody's memory.
    let Err(error) = Shm::options().create(Key::PRIVATE, 1 << 60).map(Owned) else {
        eprintln!("SKIPPED: this kernel promises an exabyte");
        return;
    };
    if error.kind() == ErrorKind::NoMemory {
        assert!(error.to_string().contains("vm.overcommit_memory is"), "{error}");
    } else {
        assert!(error.to_string().contains("kernel.shm"), "{error}");
    }
}

#[test]
fn huge_pages_come_or_are_explained() {
    for pages in [HugePages::Default, HugePages::Size2M, HugePages::Size1G] {
        match Shm::options().huge_pages(Some(pages)).create(Key::PRIVATE, 1).map(Owned) {
            Ok(segment) => {
                let options = AttachOptions {
                    prefault: true,
                    keep_out_of_core_dumps: true,
                    ..Default::default()
                };
                let attachment = segment.attach_with(options).unwrap();
                assert!(smaps(attachment.as_ptr()).contains(" dd"));
            }
            Err(error) => {
                let text = error.to_string();
                assert!(text.contains(&pages.to_string()), "{text}");
                assert!(text.contains("HugePages_Free") || text.contains("huge pages "), "{text}");
            }
        }
    }
}

#[test]
fn operations_are_all_done_or_none() {
    let set = set(3);
    set.perform(&[Op::add(0, 2), Op::add(1, 5), Op::take(1, 3), Op::zero(2)]).unwrap();
    let mut values = [0; 3];
    set.values(&mut values).unwrap();
    assert_eq!(values, [2, 2, 0]);
    let error = set.perform(&[Op::take(0, 1), Op::take(1, 3).no_wait()]).unwrap_err();
    assert_eq!((error.kind(), error.errno()), (ErrorKind::WouldBlock, libc::EAGAIN));
    assert_eq!(error.object(), &Object::Set { id: set.id() });
    assert_eq!(set.value(0).unwrap(), 2);
    assert_eq!(set.last_pid(0).unwrap().cast_unsigned(), proc::pid());
    assert_eq!(set.last_pid(2).unwrap().cast_unsigned(), proc::pid());
    assert!(set.stat().unwrap().last_op_time > 0);
}

#[test]
fn operations_out_of_bounds_say_which_bound() {
    let set = set(3);
    let kind_and_text = |ops: &[Op]| {
        let error = set.perform(ops).unwrap_err();
        (error.kind(), error.to_string())
    };
    let (kind, text) = kind_and_text(&[Op::add(3, 1)]);
    assert_eq!(kind, ErrorKind::TooBig);
    assert!(text.contains("semaphore 3 of") && text.contains("has 3 semaphores"), "{text}");
    let (kind, text) = kind_and_text(&[]);
    assert_eq!(kind, ErrorKind::Invalid);
    assert!(text.contains("no operation"), "{text}");
    let most = usize::try_from(limits::sem().unwrap().ops_per_call).unwrap();
    let (kind, text) = kind_and_text(&vec![Op::zero(0); most + 1]);
    assert_eq!(kind, ErrorKind::TooBig);
    assert!(text.contains(&format!("allows {most} operations per call")), "{text}");

    set.perform(&[Op::add(1, u16::MAX)]).unwrap();
    assert_eq!(set.value(1).unwrap(), 32767);
    let (kind, text) = kind_and_text(&[Op::add(1, 1)]);
    assert_eq!(kind, ErrorKind::OutOfRange);
    assert!(text.contains("this one holds 32767"), "{text}");
    let (kind, _) = kind_and_text(&[Op::take(1, u16::MAX).no_wait()]);
    assert_eq!(kind, ErrorKind::WouldBlock);

    let error = set.value(3).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("has 3 semaphores"), "{error}");
    assert_eq!(set.set_value(1, 32768).unwrap_err().kind(), ErrorKind::OutOfRange);
    set.set_value(1, 77).unwrap();
    assert_eq!(set.value(1).unwrap(), 77);
}

#[test]
fn all_values_are_read_into_a_buffer_of_their_number_only() {
    // Around a page of values, and beyond it.
    for count in [1, 3, 2047, 2048, 2049, 20000] {
        let set = set(count);
        set.perform(&[Op::add(count as u16 - 1, 3)]).unwrap();
        // The short ones first, while no buffer of this thread has the room.
        for wrong in [0, 1, 2, count - 1, count + 1, count + 2, count + 5000] {
            if wrong == count {
                continue;
            }
            let mut values = vec![7; wrong];
            let error = set.values(&mut values).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{wrong} of {count}");
            assert!(error.to_string().contains(&format!("has {count} semaphores")), "{error}");
            assert!(values.iter().all(|&value| value == 7));
        }
        let mut values = vec![7; count];
        set.values(&mut values).unwrap();
        assert_eq!(values.pop(), Some(3));
        assert!(values.iter().all(|&value| value == 0));
    }
    let gone = Set::from_id(set(2).id());
    assert_eq!(gone.values(&mut [0; 2]).unwrap_err().kind(), ErrorKind::Removed);
}

#[test]
fn removal_wakes_sleepers() {
    let set = set(1);
    thread::scope(|scope| {
        let sleepers = [Op::take(0, 1), Op::take(0, 2)].map(|op| {
            let set = &set;
            scope.spawn(move || set.perform(&[op]).unwrap_err())
        });
        wait_until(|| set.waiting_for_increase(0).unwrap() == 2);
        set.remove().unwrap();
        for sleeper in sleepers {
            let error = sleeper.join().unwrap();
            assert_eq!((error.kind(), error.errno()), (ErrorKind::Removed, libc::EIDRM));
        }
    });
    // Later callers get another number for the same.
    let error = set.perform(&[Op::add(0, 1)]).unwrap_err();
    assert_eq!((error.kind(), error.errno()), (ErrorKind::Removed, libc::EINVAL));
    assert_eq!(set.remove().unwrap_err().kind(), ErrorKind::Removed);
    assert_eq!(set.stat_any().unwrap_err().kind(), ErrorKind::Removed);
}

#[test]
fn the_successor_in_its_place_is_not_taken_for_a_removed_object() {
    in_own_namespace(|| {
        // Places are given out in turn, so soon one comes around; ids differ
        // from it by a multiple of the number of places there can be.
        let same_place = |one: i32, other: i32| (one - other) % 32768 == 0;
        let gone = segment(1).id();
        let next = (0..40_000).map(|_| segment(1)).find(|next| same_place(next.id(), gone));
        assert!(next.is_some());
        assert_eq!(Shm::from_id(gone).stat_any().unwrap_err().errno(), libc::EIDRM);
        let gone = set(1).id();
        let next = (0..40_000).map(|_| set(1)).find(|next| same_place(next.id(), gone));
        assert!(next.is_some());
        assert_eq!(Set::from_id(gone).stat_any().unwrap_err().errno(), libc::EIDRM);
    });
}

#[test]
fn sleepers_are_counted_by_what_they_wait_for() {
    let set = set(2);
    set.perform(&[Op::add(1, 1)]).unwrap();
    thread::scope(|scope| {
        let set = &set;
        let zero = scope.spawn(move || set.perform_until(&[Op::zero(1)], None));
        let take = scope.spawn(move || set.perform_timeout(&[Op::take(0, 1)], Duration::MAX));
        wait_until(|| set.waiting_for_zero(1).unwrap() == 1);
        wait_until(|| set.waiting_for_increase(0).unwrap() == 1);
        assert_eq!(set.waiting_for_increase(1).unwrap(), 0);
        assert_eq!(set.waiting_for_zero(0).unwrap(), 0);
        set.perform(&[Op::take(1, 1), Op::add(0, 1)]).unwrap();
        zero.join().unwrap().unwrap();
        take.join().unwrap().unwrap();
    });
    assert_eq!(set.waiting_for_zero(1).unwrap(), 0);
}

#[test]
fn time_running_out_is_told_from_not_waiting() {
    let set = set(1);
    let start = Instant::now();
    let limit = Duration::from_millis(20);
    let error = set.perform_timeout(&[Op::take(0, 1)], limit).unwrap_err();
    assert!(start.elapsed() >= limit);
    assert_eq!((error.kind(), error.errno()), (ErrorKind::TimedOut, libc::EAGAIN));
    assert_eq!(error.object(), &Object::Semaphore { id: set.id(), index: 0 });
    let error = set.perform_timeout(&[Op::take(0, 1).no_wait()], PATIENCE).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    // A deadline that has passed still tries.
    let past = Some(start);
    assert_eq!(set.perform_until(&[Op::take(0, 1)], past).unwrap_err().kind(), ErrorKind::TimedOut);
    set.perform(&[Op::add(0, 1)]).unwrap();
    set.perform_until(&[Op::take(0, 1)], past).unwrap();
}

/// Makes `SIGUSR1` do nothing but interrupt.
fn handle_signals() {
    extern "C" fn nothing(_: libc::c_int) {}
    // Even with SA_RESTART, semop is not restarted.
    let action = SigAction::new(SigHandler::Handler(nothing), SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: the handler does nothing.
    unsafe { sigaction(Signal::SIGUSR1, &action) }.unwrap();
}

/// Runs `body` in a thread that `SIGUSR1` rains on until it is done, once
/// `ready`, for at most five seconds.
fn under_signals<T: Send>(ready: impl Fn() -> bool, body: impl FnOnce() -> T + Send) -> T {
    handle_signals();
    let done = AtomicBool::new(false);
    let (thread_id, id) = std::sync::mpsc::channel();
    thread::scope(|scope| {
        let done = &done;
        let thread = scope.spawn(move || {
            // SAFETY: has no preconditions.
            thread_id.send(unsafe { libc::pthread_self() }).unwrap();
            let result = body();
            done.store(true, Ordering::Release);
            result
        });
        let id = id.recv().unwrap();
        wait_until(|| ready() || done.load(Ordering::Acquire));
        let end = Instant::now() + Duration::from_secs(5);
        while !done.load(Ordering::Acquire) && Instant::now() < end {
            // SAFETY: the thread has not been joined, so its id is valid.
            unsafe { libc::pthread_kill(id, libc::SIGUSR1) };
            thread::park_timeout(Duration::from_millis(1));
        }
        thread.join().unwrap()
    })
}

#[test]
fn a_signal_interrupts_a_sleeper() {
    let set = set(1);
    let asleep = || set.waiting_for_increase(0).unwrap() == 1;
    let error = under_signals(asleep, || set.perform(&[Op::take(0, 1)]).unwrap_err());
    assert_eq!((error.kind(), error.errno()), (ErrorKind::Interrupted, libc::EINTR));
    let wait = || set.perform_timeout(&[Op::take(0, 1)], PATIENCE).unwrap_err();
    assert_eq!(under_signals(asleep, wait).kind(), ErrorKind::Interrupted);
}

#[test]
fn signals_do_not_stretch_a_deadline() {
    let set = set(1);
    let limit = Duration::from_millis(200);
    let (error, took) = under_signals(
        || true,
        || {
            let start = Instant::now();
            let error = set.perform_until(&[Op::take(0, 1)], Some(start + limit)).unwrap_err();
            (error, start.elapsed())
        },
    );
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    // Restarting with the whole time at each signal would take five seconds.
    assert!(took >= limit && took < Duration::from_secs(4), "{took:?}");
}

#[test]
fn what_a_killed_process_did_is_undone() {
    let set = set(2);
    let child = Child::fork(|| match set.perform(&[Op::add(0, 1).undo(), Op::add(1, 1)]) {
        Ok(()) => sleep_forever(),
        Err(_) => 1,
    });
    wait_until(|| set.value(0).unwrap() == 1);
    child.kill();
    wait_until(|| set.value(0).unwrap() == 0);
    assert_eq!(set.last_pid(0).unwrap(), child.pid());
    assert_eq!(set.value(1).unwrap(), 1, "what was not marked stays");
    assert_eq!(child.join(), -libc::SIGKILL);
}

/// What is refused though owner and mode allow it says so, and has no advice about
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
fn keys_from_files_are_those_of_ftok() {
    let mut compared = 0;
    for entry in fs::read_dir("/usr/bin").unwrap().take(200) {
        let path = entry.unwrap().path();
        let name = CString::new(path.to_str().unwrap()).unwrap();
        for project in [1, 42, 255] {
            // SAFETY: `name` is a C string.
            let expected = unsafe { libc::ftok(name.as_ptr(), project) };
            let Ok(key) = Key::from_path(&path, project as u8) else {
                assert_eq!(expected, -1, "{path:?}");
                continue;
            };
            assert_eq!(key.raw(), expected);
            assert!(!key.is_private());
            compared += 1;
        }
    }
    assert!(compared > 0);
    let error = Key::from_path("/nowhere/at/all", 1).unwrap_err();
    assert_eq!((error.kind(), error.errno()), (ErrorKind::NotFound, libc::ENOENT));
    assert!(error.to_string().contains("/nowhere/at/all"), "{error}");
    let error = Key::from_path("/", 0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("project number is 0"), "{error}");
}

#[test]
fn keys_look_like_those_of_ipcs() {
    assert_eq!(Key::new(-2).to_string(), "0xfffffffe");
    assert_eq!(format!("{:x} {:?}", Key::new(255), Key::PRIVATE), "ff Key(0x00000000)");
}

#[test]
fn a_fork_guard_knows_every_generation() {
    use proc::ForkGuard;
    let parents = ForkGuard::new().unwrap();
    let body = move || {
        // Asked before and after there is a guard of the child's own.
        let before = parents.in_child();
        let Ok(childs) = ForkGuard::new() else { return 1 };
        if !before || !parents.in_child() || childs.in_child() {
            return 2;
        }
        let grandchild = Child::fork(move || {
            let Ok(own) = ForkGuard::new() else { return 1 };
            let ok = parents.in_child() && childs.in_child() && !own.in_child();
            if ok { 0 } else { 3 }
        });
        let code = grandchild.join();
        if childs.in_child() { 4 } else { code }
    };
    let children: Vec<Child> = (0..8).map(|_| Child::fork(body)).collect();
    for child in children {
        assert_eq!(child.join(), 0);
    }
    assert!(!parents.in_child() && !ForkGuard::new().unwrap().in_child());
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert!(!parents.in_child() && !ForkGuard::new().unwrap().in_child()));
        }
    });
}

#[test]
fn the_global_barrier_works_or_is_unsupported() {
    if proc::register_global_barrier() {
        assert!(proc::register_global_barrier());
        proc::global_barrier().unwrap();
        let in_child = || i32::from(!proc::register_global_barrier());
        assert_eq!(Child::fork(in_child).join(), 0);
    } else {
        assert_eq!(proc::global_barrier().unwrap_err().kind(), ErrorKind::Unsupported);
    }
}

#[test]
fn the_process_barrier_registers_by_itself() {
    // Also with threads, and in a forked child.
    for _ in 0..2 {
        proc::process_barrier().unwrap();
        thread::spawn(|| proc::process_barrier().unwrap()).join().unwrap();
    }
    assert_eq!(Child::fork(|| i32::from(proc::process_barrier().is_err())).join(), 0);
}

#[test]
fn the_process_describes_itself() {
    assert_eq!(proc::pid(), std::process::id());
    assert!(proc::cpus() >= 1);
    let start = proc::start_time(proc::pid()).unwrap();
    assert!(start >= proc::start_time(1).unwrap());
    assert_eq!(proc::start_time(0), None);
    assert!(proc::pid_namespace().unwrap() > 0);
    assert_ne!(proc::random_u64().unwrap(), proc::random_u64().unwrap());
}

#[test]
fn what_a_process_has_attached_is_seen_as_long_as_it_has_memory() {
    let [shm, other] = [0, 1].map(|_| segment(4096));
    let has = |pid: i32| proc::has_attached(pid as u32, shm.id());
    let own = proc::pid() as i32;
    assert_eq!(has(own), Some(false));
    let attached = [&shm, &other].map(|shm| shm.attach().unwrap());
    shm.0.remove().unwrap();
    assert_eq!(has(own), Some(true), "by its id, whatever became of its key");
    let child = Child::fork(|| sleep_forever());
    assert_eq!(has(child.pid()), Some(true));
    child.kill();
    wait_until(|| has(child.pid()).is_none());
    drop(child);
    drop(attached);
    assert_eq!(has(own), Some(false));
    assert_eq!(has(0), None);
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
