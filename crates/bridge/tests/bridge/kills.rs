//! Bridges that are killed under load.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use tombolo::{RecvTimeoutError, Segment, Start};

use crate::hosts::{endpoint, eventually, hosts, wait_until};

/// How many kills: 1,000 with TOMBOLO_TEST_LONG=1.
fn kills() -> u64 {
    if std::env::var_os("TOMBOLO_TEST_LONG").is_some() { 1_000 } else { 12 }
}

#[test]
fn kills_of_bridges_lose_nothing_of_a_queue_and_what_comes_twice_is_marked() {
    hosts!(near, far);
    let at = endpoint();
    let done = Arc::new(AtomicBool::new(false));
    let going = Arc::clone(&done);
    let sending = near.spawn(move || {
        let work = Segment::open_or_create("work").unwrap();
        let jobs = work.channel::<u64>("jobs").capacity(256).redeliver(15).lasting();
        let sender = jobs.sender().unwrap();
        let mut sent = 0;
        while !going.load(Ordering::Relaxed) {
            sender.send(sent).unwrap();
            sent += 1;
            if sent % 64 == 0 {
                thread::sleep(Duration::from_millis(1));
            }
        }
        sent
    });
    let over = Arc::new(AtomicBool::new(false));
    let ended = Arc::clone(&over);
    let receiving = far.spawn(move || {
        let work = eventually("a segment", || Segment::open("work").ok());
        let jobs = work.channel::<u64>("jobs");
        let mut receiver = eventually("a channel", || jobs.receiver().ok());
        // Of each message, how often it came, and how often it came with a mark.
        let mut came = BTreeMap::<u64, (u64, u64)>::new();
        loop {
            match receiver.take_timeout(Duration::from_millis(200)) {
                Ok(job) => {
                    let (all, marked) = came.entry(job.read()).or_default();
                    *all += 1;
                    *marked += u64::from(job.attempts() > 0);
                    job.release();
                }
                Err(RecvTimeoutError::Timeout) if ended.load(Ordering::Relaxed) => return came,
                Err(RecvTimeoutError::Timeout) => {}
                Err(why) => panic!("{why}"),
            }
        }
    });
    let start = |exports: bool| {
        if exports {
            near.bridge(&["work", "--listen", &at, "--export", "jobs"])
        } else {
            far.bridge(&["work", "--connect", &at, "--import", "jobs"])
        }
    };
    let mut bridges = [start(true), start(false)];
    let mut random = 0x9E37_79B9_7F4A_7C15_u64;
    for _ in 0..kills() {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        thread::sleep(Duration::from_millis(50 + random % 400));
        let which = (random >> 32) as usize % 2;
        let next = {
            let [exporter, importer] = bridges;
            let (victim, other) =
                if which == 0 { (exporter, importer) } else { (importer, exporter) };
            victim.kill();
            let next = start(which == 0);
            if which == 0 { [next, other] } else { [other, next] }
        };
        bridges = next;
    }
    done.store(true, Ordering::Relaxed);
    let sent = sending.join().unwrap();
    let name = "work";
    let empty = move || {
        let work = Segment::open(name).unwrap();
        work.open_channel("jobs").unwrap().receiver().unwrap().is_empty()
    };
    wait_until("the queue is empty", || near.run(empty));
    thread::sleep(Duration::from_secs(1));
    over.store(true, Ordering::Relaxed);
    let came = receiving.join().unwrap();
    let lost = (0..sent).filter(|n| !came.contains_key(n)).count();
    let twice = came.values().filter(|(all, _)| *all > 1).count();
    let unmarked = came
        .iter()
        .filter(|(_, (all, marked))| all - marked > 1)
        .map(|(n, _)| *n)
        .collect::<Vec<_>>();
    let marked: u64 = came.values().map(|(_, marked)| marked).sum();
    eprintln!(
        "{} kills: {sent} sent, {lost} lost, {twice} came more than once, {marked} were marked, {} \
         came twice without a mark",
        kills(),
        unmarked.len()
    );
    assert_eq!((lost, unmarked), (0, vec![]));
    let _ = bridges.map(|bridge| bridge.terminate());
}

#[test]
fn kills_of_bridges_leave_no_gap_of_a_broadcast_channel_untold() {
    hosts!(near, far);
    let at = endpoint();
    let done = Arc::new(AtomicBool::new(false));
    let going = Arc::clone(&done);
    let publishing = near.spawn(move || {
        let market = Segment::open_or_create("market").unwrap();
        let ticks = market.broadcast::<u64>("ticks").capacity(256).lasting();
        let publisher = ticks.publisher().unwrap();
        let mut sent = 0;
        while !going.load(Ordering::Relaxed) {
            publisher.send(sent).unwrap();
            sent += 1;
            if sent % 64 == 0 {
                thread::sleep(Duration::from_millis(1));
            }
        }
        sent
    });
    let over = Arc::new(AtomicBool::new(false));
    let ended = Arc::clone(&over);
    let receiving = far.spawn(move || {
        let market = eventually("a segment", || Segment::open("market").ok());
        let ticks = market.broadcast::<u64>("ticks");
        let subscriber =
            eventually("a channel", || ticks.reliable_subscriber_from(Start::Oldest).ok());
        let mut next = None;
        let (mut came, mut missed, mut gaps) = (0_u64, 0_u64, 0_u64);
        loop {
            match subscriber.recv_timeout(Duration::from_millis(200)) {
                Ok(tick) => {
                    let expected = *next.get_or_insert(tick);
                    assert_eq!(tick, expected, "after {came} messages and {gaps} gaps");
                    next = Some(tick + 1);
                    came += 1;
                }
                Err(RecvTimeoutError::Lagged(many)) => {
                    next = next.map(|next| next + many);
                    missed += many;
                    gaps += 1;
                }
                Err(RecvTimeoutError::Timeout) if ended.load(Ordering::Relaxed) => {
                    return (next.unwrap_or(0), came, missed, gaps);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(why) => panic!("{why}"),
            }
        }
    });
    let start = |exports: bool| {
        if exports {
            near.bridge(&["market", "--listen", &at, "--export", "ticks"])
        } else {
            far.bridge(&["market", "--connect", &at, "--import", "ticks"])
        }
    };
    let mut bridges = [Some(start(true)), Some(start(false))];
    let mut random = 0x2545_F491_4F6C_DD1D_u64;
    for _ in 0..kills() {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        thread::sleep(Duration::from_millis(50 + random % 400));
        let which = (random >> 32) as usize % 2;
        bridges[which].take().unwrap().kill();
        bridges[which] = Some(start(which == 0));
    }
    thread::sleep(Duration::from_secs(3));
    done.store(true, Ordering::Relaxed);
    let sent = publishing.join().unwrap();
    thread::sleep(Duration::from_secs(3));
    over.store(true, Ordering::Relaxed);
    let (next, came, missed, gaps) = receiving.join().unwrap();
    eprintln!("{} kills: {sent} sent, {came} came, {missed} missed in {gaps} gaps", kills());
    assert_eq!(next, sent, "the end was not told");
    assert!(came > 0);
}
