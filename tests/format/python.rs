//! Peers that know only `docs/format.md`: `python_client.py`, and a minimal one,
//! `c_client.c`, in one segment with the library.

#![allow(unsafe_code)]

mod c;
mod market;

use crate::common;

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{self, Receiver as Said};
use std::thread;
use std::time::{Duration, Instant};

use tombolo::{
    ByteDelivery, ByteReceiver, ByteSender, Bytes, ChannelError, Event, Mpmc, Publisher, Receiver,
    ReliableSubscriber, Segment, Sender, Spsc, Start,
};

use common::{Brief, Name, PATIENCE, Peer, Words, parked, thread_parked, tid, wait_until};

use market::*;

macro_rules! all_kinds {
    (queues: $($queues:ident)*; all: $($all:ident)*) => {
        all_kinds! { @ spsc "spsc" $($queues)* $($all)* }
        all_kinds! { @ mpmc "mpmc" $($queues)* $($all)* }
        all_kinds! { @ spsc_bytes "spsc-bytes" $($queues)* $($all)* }
        all_kinds! { @ mpmc_bytes "mpmc-bytes" $($queues)* $($all)* }
        all_kinds! { @ broadcast "broadcast" $($all)* }
        all_kinds! { @ broadcast_bytes "broadcast-bytes" $($all)* }
    };
    (@ $module:ident $kind:literal $($name:ident)*) => {
        mod $module {
            $(#[test] fn $name() { if super::python() { super::$name($kind); } })*
        }
    };
}

mod slots;
mod to_all;
mod together;

all_kinds! {
    queues:
    senders_are_told_that_their_last_receiver_has_gone
    what_a_killed_python_has_sent_is_there;
    all:
    what_python_sends_rust_receives
    what_rust_sends_python_receives
    a_parked_python_is_woken_by_rust
    a_parked_thread_is_woken_by_python
    a_python_killed_while_it_waits_is_swept_and_succeeded
    a_rust_process_killed_while_it_waits_is_swept_by_python
    receivers_are_told_that_their_last_sender_has_gone
    a_removed_segment_is_closed_to_python
    symmetric_fences_work_too
    a_paused_python_waits_and_a_drained_one_ends
}

fn what_python_sends_rust_receives(kind: &str) {
    let market = Market::new(kind, 7);
    let rx = market.rx();
    let mut python = market.python("sender");
    python.tell("send-all c 0 300");
    for n in 0..300 {
        assert_eq!(rx.recv().unwrap(), market.nth(n));
    }
    python.expect("sent");
    python.leave();
    assert_eq!(market.segment.participants().len(), 1);
    assert!(!market.segment.sweep().unwrap());
}

fn a_paused_python_waits_and_a_drained_one_ends(kind: &str) {
    let market = Market::new(kind, 3);
    let mut python = market.python("sender");
    let rx = market.rx();
    python.ask("send c 1", "sent");
    let commander = market.segment.commander().unwrap();
    // It does not answer.
    let soon = Duration::from_millis(10);
    assert!(commander.pause(soon).unwrap().iter().any(|answer| !answer.ok));
    python.ask("try-send c 2", "full");
    python.park("send c 2");
    commander.resume(soon).unwrap();
    python.expect("sent");
    let got = (rx.recv().unwrap(), rx.recv().unwrap());
    assert_eq!(got, (market.nth(1), market.nth(2)));
    commander.drain(soon).unwrap();
    python.ask("send c 3", "Drained");
    commander.shutdown(soon).unwrap();
    python.ask("send c 3", "Shutdown");
    python.leave();
}

fn what_rust_sends_python_receives(kind: &str) {
    let market = Market::new(kind, 7);
    let tx = market.tx();
    let mut python = market.python("receiver");
    python.tell("recv-all c 0 300");
    for n in 0..300 {
        tx.send(n).unwrap();
    }
    python.expect("received");
    python.ask("try-recv c", "nothing");
    python.leave();
    assert_eq!(market.segment.participants().len(), 1);
    assert!(!market.segment.sweep().unwrap());
}

fn a_parked_python_is_woken_by_rust(kind: &str) {
    let market = Market::new(kind, 2);
    let tx = market.tx();
    let mut python = market.python("receiver");
    for n in 0..8 {
        python.park("recv c");
        assert_eq!(market.control(ITEMS_WAITING) & 0xFFFF_FFFF, 1);
        tx.send(n).unwrap();
        python.expect(&market.nth(n));
    }
    python.ask("recv-timeout c 1", "nothing");
    python.ask("close c", "closed");
    drop(tx);
    let rx = market.rx();
    python.open(kind, "sender");
    for n in 0..8 {
        let mut sent = 0;
        loop {
            python.tell(&format!("try-send c {n}"));
            if python.said() == "full" {
                break;
            }
            sent += 1;
        }
        python.park(&format!("send c {n}"));
        for _ in 0..sent {
            assert_eq!(rx.recv().unwrap(), market.nth(n));
        }
        python.expect("sent");
        assert_eq!(rx.recv().unwrap(), market.nth(n));
    }
    assert_eq!(market.control(ITEMS_WAITING) & 0xFFFF_FFFF, 0);
    assert_eq!(market.control(SPACE_WAITING) & 0xFFFF_FFFF, 0);
    python.leave();
}

fn a_parked_thread_is_woken_by_python(kind: &str) {
    let market = Market::new(kind, 1);
    let mut python = market.python("sender");
    let mut rx = market.rx();
    for n in 1..8 {
        let waiting = parked_thread(move || (rx.recv(), rx));
        python.ask(&format!("send c {n}"), "sent");
        let got;
        (got, rx) = waiting.join().unwrap();
        assert_eq!(got.unwrap(), market.nth(n));
    }
    drop(rx);
    python.ask("close c", "closed");
    python.open(kind, "receiver");
    let mut tx = market.tx();
    for n in 1..8 {
        while tx.try_send(n) {}
        let waiting = parked_thread(move || (tx.send(n), tx));
        python.ask("recv c", &market.nth(n));
        // One more frees enough of a ring of records.
        python.tell("try-recv c");
        python.said();
        let sent;
        (sent, tx) = waiting.join().unwrap();
        sent.unwrap();
        loop {
            python.tell("try-recv c");
            if python.said() == "nothing" {
                break;
            }
        }
    }
    python.leave();
}

fn a_python_killed_while_it_waits_is_swept_and_succeeded(kind: &str) {
    let market = Market::new(kind, 3);
    let tx = market.tx();
    for n in 0..3 {
        let mut python = market.python("receiver");
        python.park("recv c");
        python.kill();
        market.sweep();
        assert_eq!(market.control(ITEMS_WAITING) & 0xFFFF_FFFF, 0);
        // Killed again, between two of them.
        let mut python = market.python("receiver");
        tx.send(n).unwrap();
        python.ask("recv c", &market.nth(n));
        python.kill();
        market.sweep();
    }
    drop(tx);
    let rx = market.rx();
    let mut python = market.python("sender");
    let mut sent = 0;
    loop {
        python.tell("try-send c 5");
        if python.said() == "full" {
            break;
        }
        sent += 1;
    }
    python.park("send c 5");
    python.kill();
    market.sweep();
    assert_eq!(market.control(SPACE_WAITING) & 0xFFFF_FFFF, 0);
    let mut python = market.python("sender");
    for _ in 0..sent {
        assert_eq!(rx.recv().unwrap(), market.nth(5));
    }
    python.ask("send c 7", "sent");
    assert_eq!(rx.recv().unwrap(), market.nth(7));
    python.leave();
    drop(rx);
    if !kind.starts_with("spsc-") {
        market.holds_its_capacity();
    }
}

fn a_rust_process_killed_while_it_waits_is_swept_by_python(kind: &str) {
    let market = Market::new(kind, 3);
    let mut python = market.python("sender");
    let mut rust = market.rust("receiver");
    rust.tell("recv");
    rust.wait_until_parked();
    rust.kill();
    rust.finish();
    python.ask("look", "swept True");
    assert_eq!(market.control(ITEMS_WAITING) & 0xFFFF_FFFF, 0);
    assert_eq!(market.segment.participants().len(), 2);
    let rx = market.rx();
    python.ask("send c 3", "sent");
    assert_eq!(rx.recv().unwrap(), market.nth(3));
    python.leave();
}

fn receivers_are_told_that_their_last_sender_has_gone(kind: &str) {
    let market = Market::new(kind, 1);
    // Rust receivers of Python senders.
    for kill in [true, false] {
        let python = market.python("sender");
        let rx = market.rx();
        let waiting = parked_thread(move || rx.recv());
        if kill {
            python.kill()
        } else {
            python.leave()
        }
        assert_eq!(waiting.join().unwrap().unwrap_err(), NO_SENDER);
    }
    // Python receivers of Rust senders.
    for kill in [true, false] {
        let mut rust = market.rust("sender");
        let mut python = market.python("receiver");
        python.park("recv c");
        if kill {
            rust.kill();
        } else {
            rust.tell("close");
        }
        python.expect("Disconnected sender");
        python.leave();
    }
}

fn senders_are_told_that_their_last_receiver_has_gone(kind: &str) {
    let market = Market::new(kind, 1);
    // Rust senders of Python receivers.
    let mut more = 0;
    for kill in [true, false] {
        let python = market.python("receiver");
        let tx = market.tx();
        while tx.try_send(9) {
            more += 1;
        }
        let waiting = parked_thread(move || tx.send(9));
        if kill {
            python.kill()
        } else {
            python.leave()
        }
        assert_eq!(waiting.join().unwrap().unwrap_err(), NO_RECEIVER);
    }
    // Python senders of Rust receivers; the channel is full.
    assert!(more > 0);
    for kill in [true, false] {
        let mut rust = market.rust("receiver");
        let mut python = market.python("sender");
        python.park("send c 9");
        if kill {
            rust.kill();
        } else {
            rust.tell("close");
        }
        python.expect("Disconnected receiver");
        python.leave();
    }
}

fn what_a_killed_python_has_sent_is_there(kind: &str) {
    let market = Market::new(kind, 30);
    let mut python = market.python("sender");
    python.ask("send-all c 0 20", "sent");
    python.kill();
    let mut heir = market.python("receiver");
    heir.ask("recv-all c 0 10", "received");
    heir.ask("close c", "closed");
    let rx = market.rx();
    for n in 10..20 {
        assert_eq!(rx.recv().unwrap(), market.nth(n));
    }
    // It has met the sender by its messages.
    assert_eq!(rx.recv().unwrap_err(), NO_SENDER);
}

fn a_removed_segment_is_closed_to_python(kind: &str) {
    let market = Market::new(kind, 1);
    let _tx = market.tx();
    let mut python = market.python("receiver");
    python.park("recv c");
    market.segment.remove().unwrap();
    python.expect("Closed");
    python.ask("try-recv c", "Closed");
    python.leave();
    assert_eq!(market.name.objects(), (0, 0));
}

fn symmetric_fences_work_too(kind: &str) {
    let market = Market::with(kind, 2, 8, true);
    let tx = market.tx();
    let mut python = market.python("receiver");
    python.park("recv c");
    tx.send(1).unwrap();
    python.expect(&market.nth(1));
    python.tell("recv-all c 0 100");
    for n in 0..100 {
        tx.send(n).unwrap();
    }
    python.expect("received");
    python.leave();
}
