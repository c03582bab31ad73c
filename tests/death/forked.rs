//! A forked child of a process that has handles.

#![allow(unsafe_code)]

use std::time::Duration;

use tombolo::sys::sem::Set;
use tombolo::{Fault, Receiver, RecvError, Segment, Sender, Spsc};

use crate::common::{Brief, Child, Peer, key_of};
use crate::market::Market;

#[test]
fn a_forked_child_can_do_nothing_with_its_parents_handles_and_harms_nobody() {
    let market = Market::new(4);
    market.make("mpmc", 4);
    drop(market.segment.channel::<u64>("s").spsc().capacity(4).sender().unwrap());
    let forker = Peer::start("fork", &[&market.name]);
    for step in ["child ended with 0", "still sends and receives"] {
        forker.expect(step);
    }
    assert!(!market.segment.sweep().unwrap());
    assert_eq!(market.living(), 2);
    let channels = market.segment.channels();
    assert!(channels.iter().all(|c| (c.senders, c.receivers) == (1, 1)), "{channels:?}");
}

/// In the child: each is refused, and what refuses is the reason 0, or says
/// which did not.
fn use_all(
    segment: &Segment,
    tx: &Sender<u64>,
    rx: &Receiver<u64>,
    stx: &Sender<u64, Spsc>,
    srx: &Receiver<u64, Spsc>,
) -> i32 {
    let forked = |fault: &Fault| matches!(fault, Fault::Forked);
    let received = RecvError::Fault(Fault::Forked);
    let unsent = tombolo::SendError::Fault { message: 1, fault: Fault::Forked };
    let mut got = Vec::new();
    let second = Duration::from_secs(1);
    let checks = [
        tx.send(1) == Err(unsent.clone()),
        tx.try_send(1) == Err(unsent.clone().into()),
        tx.send_timeout(1, second).is_err(),
        tx.send_batch(&[1]).is_err_and(|e| e.reason == Fault::Forked.into()),
        tx.try_send_batch(&[1]).is_err_and(|e| e.reason == Fault::Forked.into()),
        rx.recv() == Err(received.clone()),
        rx.try_recv() == Err(received.clone().into()),
        rx.recv_timeout(second).is_err(),
        rx.recv_batch(&mut got, 1) == Err(received.clone()),
        stx.send(1) == Err(unsent),
        srx.recv() == Err(received),
        segment.sweep().is_err_and(|e| forked(&e)),
        segment.remove().is_err_and(|e| forked(&e)),
        segment.channel::<u64>("c").sender().is_err(),
        tx.try_clone().is_err(),
        rx.try_clone().is_err(),
    ];
    checks.iter().position(|ok| !ok).map_or(0, |failed| 1 + failed as i32)
}

#[test]
#[ignore = "what the child processes run"]
fn child_entry() {
    let Some(brief) = Brief::take() else { return };
    let segment = Segment::open(brief.text(0)).unwrap();
    let channel = segment.channel::<u64>("c");
    let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
    let other = segment.channel::<u64>("s").spsc();
    let (stx, srx) = (other.sender().unwrap(), other.receiver().unwrap());
    let set = Set::open(key_of(brief.text(0), 0)).unwrap();
    let values = || {
        let mut values = vec![0; set.stat().unwrap().count];
        set.values(&mut values).unwrap();
        values
    };
    let before = values();
    let child = Child::fork(|| {
        let code = use_all(&segment, &tx, &rx, &stx, &srx);
        // SAFETY: copies whose originals are never used again: the
        // child ends without returning.
        unsafe { std::ptr::drop_in_place(&raw const tx as *mut Sender<u64>) };
        // SAFETY: as above.
        unsafe { std::ptr::drop_in_place(&raw const rx as *mut Receiver<u64>) };
        // SAFETY: as above.
        unsafe { std::ptr::drop_in_place(&raw const stx as *mut Sender<u64, Spsc>) };
        // SAFETY: as above.
        unsafe { std::ptr::drop_in_place(&raw const srx as *mut Receiver<u64, Spsc>) };
        // SAFETY: as above.
        unsafe { std::ptr::drop_in_place(&raw const segment as *mut Segment) };
        code
    });
    brief.say(format!("child ended with {}", child.join()));
    assert_eq!(values(), before, "the child touched the set");
    tx.send(1).unwrap();
    assert_eq!(rx.recv().unwrap(), 1);
    stx.send(2).unwrap();
    assert_eq!(srx.recv().unwrap(), 2);
    brief.say("still sends and receives");
    brief.hear();
}
