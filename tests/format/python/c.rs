//! The minimal client of the document, section 17, in C. It never sweeps, and
//! does everything else on which a peer relies.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use tombolo::Segment;

use super::{
    ITEMS_WAITING, Market, NO_RECEIVER, NO_SENDER, Python as Client, SPACE_WAITING, parked_thread,
};
use crate::common::wait_until;

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/format/c_client.c");

/// The client, compiled once. Says so if there is nothing to compile it with.
fn client() -> Option<&'static PathBuf> {
    static CLIENT: OnceLock<Option<PathBuf>> = OnceLock::new();
    let made = CLIENT.get_or_init(|| {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        let made = folder.join(format!("c_client.{}", std::process::id()));
        let program = folder.join("c_client");
        let mut compiler = Command::new("cc");
        compiler.args(["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-o"]).arg(&made);
        match compiler.arg(SOURCE).status() {
            Ok(status) => {
                assert!(status.success(), "{SOURCE} does not compile");
                // At one instant: another run may be using one.
                std::fs::rename(&made, &program).unwrap();
                Some(program)
            }
            Err(error) => {
                eprintln!("SKIPPED: everything with C peers, for want of a cc: {error}");
                None
            }
        }
    });
    made.as_ref()
}

/// A C process with one end of the channel.
fn join(market: &Market, side: &str) -> Option<Client> {
    let mut command = Command::new(client()?);
    command.arg(&*market.name);
    let mut client = Client::start(command);
    client.open(&market.kind, side);
    Some(client)
}

/// The segment is as the document says.
#[track_caller]
fn sound(market: &Market) {
    let audit = Segment::check(&market.name).unwrap();
    assert!(audit.is_sound(), "{:#?}", audit.faults);
}

macro_rules! all_kinds {
    ($($name:ident)*) => {
        mod spsc { $(#[test] fn $name() { super::$name("spsc"); })* }
        mod mpmc { $(#[test] fn $name() { super::$name("mpmc"); })* }
        mod broadcast { $(#[test] fn $name() { super::$name("broadcast"); })* }
    };
}

all_kinds! {
    what_c_sends_rust_receives
    what_rust_sends_c_receives
    a_parked_c_is_woken_by_rust
    a_parked_thread_is_woken_by_c
    a_killed_c_is_swept_and_succeeded
    a_c_that_does_not_sweep_leaves_the_wake_to_one_that_does
    a_paused_c_waits
}

fn what_c_sends_rust_receives(kind: &str) {
    let market = Market::new(kind, 7);
    let rx = market.rx();
    let Some(mut c) = join(&market, "sender") else { return };
    c.tell("send-all c 0 300");
    for n in 0..300 {
        assert_eq!(rx.recv().unwrap(), market.nth(n));
    }
    c.expect("sent");
    c.leave();
    assert_eq!(rx.recv().unwrap_err(), NO_SENDER);
    assert_eq!(market.segment.participants().len(), 1);
    assert!(!market.segment.sweep().unwrap());
    sound(&market);
}

fn what_rust_sends_c_receives(kind: &str) {
    let market = Market::new(kind, 7);
    let tx = market.tx();
    let Some(mut c) = join(&market, "receiver") else { return };
    c.tell("recv-all c 0 300");
    for n in 0..300 {
        tx.send(n).unwrap();
    }
    c.expect("received");
    c.ask("try-recv c", "nothing");
    sound(&market);
    drop(tx);
    c.ask("recv c", "Disconnected sender");
    c.leave();
    assert_eq!(market.segment.participants().len(), 1);
    assert!(!market.segment.sweep().unwrap());
    sound(&market);
}

fn a_parked_c_is_woken_by_rust(kind: &str) {
    let market = Market::new(kind, 2);
    let tx = market.tx();
    let Some(mut c) = join(&market, "receiver") else { return };
    for n in 0..8 {
        c.park("recv c");
        assert_eq!(market.control(ITEMS_WAITING) & 0xFFFF_FFFF, 1);
        sound(&market);
        tx.send(n).unwrap();
        c.expect(&market.nth(n));
    }
    c.leave();
    drop(tx);
    let rx = market.rx();
    let Some(mut c) = join(&market, "sender") else { return };
    for n in 0..8 {
        c.ask("send-all c 0 2", "sent");
        c.park(&format!("send c {n}"));
        for n in 0..2 {
            assert_eq!(rx.recv().unwrap(), market.nth(n));
        }
        c.expect("sent");
        assert_eq!(rx.recv().unwrap(), market.nth(n));
    }
    for waiting in [ITEMS_WAITING, SPACE_WAITING] {
        assert_eq!(market.control(waiting) & 0xFFFF_FFFF, 0);
    }
    drop(rx);
    // A publisher is told nothing: it publishes for those who come later.
    let told = if kind == "broadcast" { "sent" } else { "Disconnected receiver" };
    c.ask("send c 9", told);
    c.leave();
    sound(&market);
}

fn a_parked_thread_is_woken_by_c(kind: &str) {
    let market = Market::new(kind, 1);
    let Some(mut c) = join(&market, "sender") else { return };
    let mut rx = market.rx();
    for n in 1..8 {
        let waiting = parked_thread(move || (rx.recv(), rx));
        c.ask(&format!("send c {n}"), "sent");
        let got;
        (got, rx) = waiting.join().unwrap();
        assert_eq!(got.unwrap(), market.nth(n));
    }
    let waiting = parked_thread(move || rx.recv());
    c.leave();
    assert_eq!(waiting.join().unwrap().unwrap_err(), NO_SENDER);
    let Some(mut c) = join(&market, "receiver") else { return };
    let mut tx = market.tx();
    for n in 1..8 {
        tx.send(n).unwrap();
        let waiting = parked_thread(move || (tx.send(n), tx));
        c.ask("recv c", &market.nth(n));
        let sent;
        (sent, tx) = waiting.join().unwrap();
        sent.unwrap();
        c.ask("recv c", &market.nth(n));
    }
    tx.send(9).unwrap();
    let waiting = parked_thread(move || tx.send(10));
    c.leave();
    let told = waiting.join().unwrap();
    if kind == "broadcast" {
        told.unwrap();
    } else {
        assert_eq!(told.unwrap_err(), NO_RECEIVER);
    }
    sound(&market);
}

fn a_killed_c_is_swept_and_succeeded(kind: &str) {
    let market = Market::new(kind, 3);
    let tx = market.tx();
    for n in 0..3 {
        let Some(mut c) = join(&market, "receiver") else { return };
        c.park("recv c");
        c.kill();
        sound(&market);
        market.sweep();
        assert_eq!(market.control(ITEMS_WAITING) & 0xFFFF_FFFF, 0);
        let Some(mut c) = join(&market, "receiver") else { return };
        tx.send(n).unwrap();
        c.ask("recv c", &market.nth(n));
        c.kill();
        market.sweep();
        sound(&market);
    }
    drop(tx);
    // And a death wakes who waits for it.
    let Some(c) = join(&market, "sender") else { return };
    let rx = market.rx();
    let waiting = parked_thread(move || rx.recv());
    c.kill();
    assert_eq!(waiting.join().unwrap().unwrap_err(), NO_SENDER);
    market.holds_its_capacity();
    assert_eq!(market.segment.deaths().total, 7);
}

fn a_c_that_does_not_sweep_leaves_the_wake_to_one_that_does(kind: &str) {
    let market = Market::new(kind, 3);
    let sender = market.rust("sender");
    let Some(mut c) = join(&market, "receiver") else { return };
    c.park("recv c");
    sender.kill();
    sender.finish();
    // It has the token, puts it back, and polls until somebody has swept. From a bell it has
    // taken nothing, and sleeps.
    if kind != "broadcast" {
        wait_until(|| market.control(ITEMS_WAITING) & 0xFFFF_FFFF == 0);
    }
    // The dead one is no participant any more, and nobody has swept it.
    assert_eq!(market.segment.participants().len(), 2);
    assert!(market.segment.sweep().unwrap());
    c.expect("Disconnected sender");
    c.leave();
    sound(&market);
}

fn a_paused_c_waits(kind: &str) {
    let market = Market::new(kind, 3);
    let Some(mut c) = join(&market, "sender") else { return };
    let rx = market.rx();
    c.ask("send c 1", "sent");
    let commander = market.segment.commander().unwrap();
    // It does not answer.
    let soon = Duration::from_millis(20);
    assert!(commander.pause(soon).unwrap().iter().any(|answer| !answer.ok));
    c.ask("try-send c 2", "full");
    c.park("send c 2");
    commander.resume(soon).unwrap();
    c.expect("sent");
    assert_eq!((rx.recv().unwrap(), rx.recv().unwrap()), (market.nth(1), market.nth(2)));
    commander.shutdown(soon).unwrap();
    c.ask("send c 3", "Closed");
    c.leave();
}

#[test]
fn a_lossy_c_is_told_what_it_missed() {
    let market = Market::new("broadcast", 2);
    let tx = market.tx();
    let Some(mut c) = join(&market, "lossy") else { return };
    for n in 0..2 {
        tx.send(n).unwrap();
    }
    c.ask("recv c", &market.nth(0));
    for n in 2..30 {
        tx.send(n).unwrap();
    }
    c.tell("try-recv c");
    let said = c.said();
    let missed: u64 = said.strip_prefix("Lagged ").unwrap().parse().unwrap();
    assert!((1..=27).contains(&missed), "{said}");
    for n in 1 + missed..30 {
        c.ask("recv c", &market.nth(n));
    }
    c.ask("try-recv c", "nothing");
    c.leave();
    sound(&market);
}
