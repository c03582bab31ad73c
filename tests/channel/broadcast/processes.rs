//! Publishers in other processes, also such as are killed and stopped.

use std::thread;

use tombolo::{RecvError, Segment, TryRecvError};

use super::{channel, segment};
use crate::common::{Brief, Name, Peer, wait_until};

#[test]
fn each_subscriber_gets_what_several_publishers_in_other_processes_send() {
    const EACH: u64 = 20_000;
    let name = Name::new();
    let segment = segment(&name);
    let prices = channel(&segment);
    let ledger = prices.reliable_subscriber().unwrap();
    let screen = prices.subscriber().unwrap();
    let peers: Vec<Peer> = (0..3_u64)
        .map(|n| {
            let peer = Peer::start("publish", &[&name, &n, &EACH]);
            peer.expect("ready");
            peer
        })
        .collect();
    let watching = thread::spawn(move || {
        let (mut got, mut missed, mut last) = (0, 0, [None; 3]);
        loop {
            match screen.recv() {
                Ok(message) => {
                    let (from, n) = (message >> 32, message & 0xFFFF_FFFF);
                    assert!(last[from as usize].is_none_or(|last| last < n), "in order");
                    last[from as usize] = Some(n);
                    got += 1;
                }
                Err(RecvError::Lagged(n)) => missed += n,
                Err(RecvError::Disconnected) => return got + missed,
                other => panic!("{other:?}"),
            }
        }
    });
    let mut peers = peers;
    peers.iter_mut().for_each(|peer| peer.tell("go"));
    let mut next = [0; 3];
    for _ in 0..3 * EACH {
        let message = ledger.recv().unwrap();
        let (from, n) = (message >> 32, message & 0xFFFF_FFFF);
        assert_eq!(n, next[from as usize], "nothing is lost, twice or out of order");
        next[from as usize] += 1;
    }
    for peer in peers {
        assert_eq!(peer.join(), 0);
    }
    assert_eq!(ledger.recv(), Err(RecvError::Disconnected));
    assert_eq!(watching.join().unwrap(), 3 * EACH);
}

#[test]
fn killed_and_stopped_publishers_delay_nobody_and_leave_no_gap() {
    let name = Name::new();
    let segment = segment(&name);
    let prices = channel(&segment);
    let publisher = prices.publisher().unwrap();
    let ledger = prices.reliable_subscriber().unwrap();
    let screen = prices.subscriber().unwrap();
    let reading = thread::spawn(move || {
        let mut read = 0;
        while ledger.recv().unwrap() != u64::MAX {
            read += 1;
            assert_eq!(ledger.sequence(), read, "each message, once and in order");
        }
        read
    });
    let start = || {
        let peer = Peer::start("publish", &[&name, &1, &u64::MAX]);
        peer.expect("ready");
        peer
    };
    let mut stopped = start();
    stopped.tell("go");
    wait_until(|| publisher.published() > 1_000);
    stopped.stop();
    for round in 0..6_u64 {
        let mut victim = start();
        victim.tell("go");
        let before = publisher.published();
        wait_until(|| publisher.published() > before + 100 * round);
        victim.kill();
        // None of these waits for the dead one, or for the stopped one.
        for n in 0..1_000 {
            publisher.send(n).unwrap();
        }
    }
    publisher.send(u64::MAX).unwrap();
    let published = publisher.published();
    assert_eq!(publisher.sequence(), Some(published - 1));
    assert_eq!(reading.join().unwrap(), published - 1);
    let mut read = 0;
    loop {
        match screen.try_recv() {
            Ok(_) => read += 1,
            Err(TryRecvError::Lagged(_)) => {}
            Err(TryRecvError::Empty) => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(read + screen.missed(), published);
    assert!(read >= 16, "{read}");
    stopped.finish();
    segment.sweep().unwrap();
    let audit = Segment::check(&name).unwrap();
    assert!(audit.faults.is_empty(), "{:#?}", audit.faults);
    // The entries of the dead are there for others.
    let _eight: Vec<_> = (0..7).map(|_| prices.publisher().unwrap()).collect();
    let info = segment.channels().remove(0).broadcast.unwrap();
    assert_eq!((info.published, info.publishers.len(), info.reliable.len()), (published, 8, 0));
}

fn publish(brief: &Brief) {
    let segment = segment(&Name::of(brief.text(0)));
    let (from, each): (u64, u64) = (brief.number(1), brief.number(2));
    let publisher = channel(&segment).publisher().unwrap();
    brief.say("ready");
    brief.hear();
    let mut last = None;
    for n in 0..each {
        publisher.send(from << 32 | n).unwrap();
        assert!(publisher.sequence() > last, "sequence numbers grow");
        last = publisher.sequence();
    }
}

#[test]
#[ignore = "a child process of the tests in this file"]
fn child_entry() {
    if let Some(brief) = Brief::take() {
        publish(&brief);
    }
}
