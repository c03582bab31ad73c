//! Semaphore sets.

#![allow(unsafe_code)]

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

use crate::common::{Child, PATIENCE, in_own_namespace, segment, set, sleep_forever, wait_until};
use tombolo::sys::sem::{Op, Set};
use tombolo::sys::shm::Shm;
use tombolo::sys::{ErrorKind, Object, limits, proc};

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
