//! The command where the kernel's limits are small, and where a segment is full.

use std::fs;

use nix::sys::signal::Signal;
use tombolo::Segment;
use tombolo::sys::{sem, shm};

use crate::command::{Running, assert_refused, run, text};
use crate::common::{Name, in_own_namespace, set_limit, tables, wait_until};

/// The first processes that share out lines have joined.
fn lines(name: &str, args: &[&str], count: usize) -> Vec<Running> {
    let args = [&["recv", name, "--lines"], args].concat();
    let running = (0..count).map(|_| Running::start(&args)).collect();
    wait_until(|| {
        let listed = Segment::list().unwrap();
        let there = listed.iter().find(|info| info.name == name);
        there.is_some_and(|info| info.participants == count)
    });
    running
}

#[test]
fn the_command_fits_the_classic_limits() {
    in_own_namespace(|| {
        set_limit("sem", "250 32000 32 128");
        set_limit("shmmax", "33554432");
        let name = Name::new();
        let receiver = lines(&name, &[], 1).remove(0);
        // As many as one set allows, in a segment that is as large as one may be.
        assert_eq!(sem::all().unwrap()[0].count, 237);
        assert!(shm::all().unwrap()[0].size > 32_000_000);
        let sender = Running::start(&["send", &name, "Cargo.toml", "--lines"]);
        let received = receiver.end();
        assert_eq!(received.status.code(), Some(0), "{}", text(&received.stderr));
        let sent = sender.end();
        assert_eq!(sent.status.code(), Some(0), "{}", text(&sent.stderr));
        assert_eq!(received.stdout, fs::read("Cargo.toml").unwrap());
        let sent = Running::start(&["send", &name, "../../Cargo.lock"]);
        let received = run(&["recv", &name]);
        assert_eq!(received.stdout, fs::read("../../Cargo.lock").unwrap());
        assert_eq!(sent.end().status.code(), Some(0));
        let command = ["run", &name, "--", "true"];
        assert_eq!(run(&command).status.code(), Some(0));
        assert_eq!(run(&["rm", &name]).status.code(), Some(0));
        // A request is granted, or refused with the limit that is in the way.
        assert_refused(
            &["recv", &name, "--lines", "--participants", "250"],
            "allows 250 semaphores per set (its 1st number, SEMMSL); create it with fewer \
             participants (--participants), or raise it: sysctl kernel.sem='269 32000 32 128'",
        );
        assert_refused(
            &["send", &name, "--size", "33554432"],
            "(--size), or raise it: sysctl kernel.shmmax=",
        );
        assert_eq!(tables(), (0, 0));
    });
}

#[test]
fn the_command_uses_what_small_limits_leave_or_names_them() {
    in_own_namespace(|| {
        set_limit("shmmax", "1048576");
        let name = Name::new();
        let sent = Running::start(&["send", &name, "../../Cargo.lock"]);
        let received = run(&["recv", &name]);
        assert_eq!(received.status.code(), Some(0), "{}", text(&received.stderr));
        assert_eq!(received.stdout, fs::read("../../Cargo.lock").unwrap());
        assert_eq!(sent.end().status.code(), Some(0));
        assert_refused(&["recv", &name, "--lines"], "smaller than usual, as kernel.shmmax,");
        for mode in [&["--broadcast"][..], &["--broadcast", "--lines"]] {
            let sent = Running::start(&[&["send", &name, "../../Cargo.lock"], mode].concat());
            let received = run(&[&["recv", &name, "--reliable"], mode].concat());
            assert_eq!(received.status.code(), Some(0), "{}", text(&received.stderr));
            assert_eq!(received.stdout, fs::read("../../Cargo.lock").unwrap());
            assert_eq!(sent.end().status.code(), Some(0));
        }
        // Their segments are as large as their messages need, and no larger.
        set_limit("shmmax", "65536");
        for more in [&[][..], &["--broadcast"], &["--broadcast", "--size", "1024"]] {
            let demo = [&["demo", "--messages", "1000", "--quiet", "--json"], more].concat();
            assert_eq!(run(&demo).status.code(), Some(0), "{more:?}");
        }
        let chaos = ["chaos", "--seconds", "0.5", "--seed", "3", "--quiet", "--json"];
        let chaos = run(&chaos);
        assert_eq!(chaos.status.code(), Some(0), "{}", text(&chaos.stderr));
        let refusal = run(&["demo", "--size", "65536", "--messages", "9", "--quiet"]);
        let refusal = text(&refusal.stderr);
        let (_, enough) = refusal.trim_end().rsplit_once("kernel.shmmax=").expect("an advice");
        set_limit("shmmax", enough);
        let large = run(&["demo", "--size", "65536", "--messages", "9", "--quiet"]);
        assert_eq!(large.status.code(), Some(0), "{}", text(&large.stderr));
        set_limit("shmmax", "33554432");
        set_limit("sem", "32 32000 32 128");
        assert_refused(&["run", &name, "--participants", "64", "--", "true"], "(--participants)");
        set_limit("sem", "12 32000 32 128");
        for command in ["chaos", "demo"] {
            assert_refused(&[command, "--seconds", "1"], "allows 12 semaphores per set");
            assert_refused(&[command, "--seconds", "1"], "(--producers, --consumers), or raise it");
        }
        assert_eq!(tables(), (0, 0));
    });
}

#[test]
fn when_all_places_are_taken_the_flag_for_more_is_named() {
    let name = Name::new();
    let receivers = lines(&name, &["--participants", "2"], 2);
    assert_refused(
        &["send", &name, "--lines"],
        "is full: all 2 participants are living processes; create it with --participants for more",
    );
    for receiver in receivers {
        receiver.signal(Signal::SIGTERM);
        assert_eq!(receiver.end().status.code(), Some(143));
    }
    assert_eq!(name.objects(), (0, 0));
}
