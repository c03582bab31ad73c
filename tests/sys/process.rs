//! Keys, fork guards, barriers, and what a process is.

#![allow(unsafe_code)]

use std::ffi::CString;
use std::fs;
use std::thread;

use crate::common::{Child, segment, sleep_forever, wait_until};
use tombolo::sys::{ErrorKind, Key, proc};

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
