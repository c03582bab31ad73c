//! Processes that are killed over a message in place.

use super::*;

#[test]
fn a_commit_gets_the_place_of_a_reader_who_is_killed() {
    let (name, segment) = segment();
    let bytes = segment.bytes("bytes").capacity(2, 512).redeliver(0);
    segment.channel::<Page>("typed").capacity(2).sender().unwrap();
    let (mut tx, rx) = (bytes.sender().unwrap(), bytes.receiver().unwrap());
    tx.send(b"0").unwrap();
    tx.send(b"1").unwrap();
    let reader = Peer::start("take", &[&name, &"bytes"]);
    reader.expect("open");
    reader.expect("held");
    rx.recv(&mut Vec::new()).unwrap();
    let commit = parked(move || tx.reserve(1).unwrap().commit(1).unwrap());
    reader.kill();
    commit.join().unwrap();
    reader.finish();
    assert_eq!(rx.recv(&mut Vec::new()).unwrap(), 1);
}

fn killed(role: &str, ring: &str) {
    let (name, segment) = segment();
    let mpmc = segment.channel::<Page>("typed").capacity(2);
    let spsc = segment.channel::<Page>("single").spsc().capacity(2);
    let lines = segment.bytes("bytes").capacity(2, 512);
    let line = segment.bytes("one").spsc().capacity(2, 512);
    // The channels are there before the child is.
    drop((mpmc.receiver(), spsc.receiver(), lines.receiver(), line.receiver()));
    let start = || {
        let child = Peer::start(role, &[&name, &ring]);
        child.expect("open");
        child
    };
    let bytes = [7; 512];
    let kill = |child: Peer| {
        child.expect("held");
        child.finish();
        wait_until(|| segment.sweep().unwrap() || segment.participants().len() == 1);
    };
    match (role, ring) {
        ("grant", "typed") => {
            kill(start());
            let (tx, rx) = (mpmc.sender().unwrap(), mpmc.receiver().unwrap());
            // The whole capacity, and nothing torn.
            assert!(matches!(rx.try_recv(), Err(TryRecvError::Empty)));
            (0..2).for_each(|n| tx.try_send(page(n)).unwrap());
            (0..2).for_each(|n| assert_eq!(rx.recv().unwrap(), page(n)));
        }
        ("grant", "single") => {
            kill(start());
            let (tx, rx) = (spsc.sender().unwrap(), spsc.receiver().unwrap());
            assert!(matches!(rx.try_recv(), Err(TryRecvError::Empty)));
            (0..2).for_each(|n| tx.try_send(page(n)).unwrap());
            (0..2).for_each(|n| assert_eq!(rx.recv().unwrap(), page(n)));
        }
        ("grant", "bytes") => {
            kill(start());
            let (tx, rx) = (lines.sender().unwrap(), lines.receiver().unwrap());
            (0..2).for_each(|_| tx.try_send(&bytes).unwrap());
            (0..2).for_each(|_| assert_eq!(rx.recv(&mut Vec::new()).unwrap(), 512));
        }
        ("grant", _) => {
            kill(start());
            let (tx, rx) = (line.sender().unwrap(), line.receiver().unwrap());
            (0..2).for_each(|_| tx.try_send(&bytes).unwrap());
            (0..2).for_each(|_| assert_eq!(rx.recv(&mut Vec::new()).unwrap(), 512));
        }
        (_, "typed") => {
            let (tx, mut rx) = (mpmc.sender().unwrap(), mpmc.receiver().unwrap());
            tx.send(page(1)).unwrap();
            for deaths in 1..=3 {
                kill(start());
                let delivery = rx.take().unwrap();
                assert_eq!((delivery.read(), delivery.attempts()), (page(1), deaths));
                delivery.give_back();
            }
            rx.take().unwrap().release();
            (0..2).for_each(|n| tx.try_send(page(n)).unwrap());
        }
        (_, "single") => {
            let tx = spsc.sender().unwrap();
            tx.send(page(1)).unwrap();
            for deaths in 1..=3 {
                kill(start());
                let mut rx = spsc.receiver().unwrap();
                let delivery = rx.take().unwrap();
                assert_eq!((delivery.read(), delivery.attempts()), (page(1), deaths));
                delivery.give_back();
            }
            let mut rx = spsc.receiver().unwrap();
            rx.take().unwrap().release();
            (0..2).for_each(|n| tx.try_send(page(n)).unwrap());
        }
        (_, "bytes") => {
            let (tx, mut rx) = (lines.sender().unwrap(), lines.receiver().unwrap());
            tx.send(&bytes).unwrap();
            for deaths in 1..=3 {
                kill(start());
                let delivery = rx.take().unwrap();
                assert_eq!((delivery.to_vec(), delivery.attempts()), (bytes.to_vec(), deaths));
                delivery.give_back();
            }
            rx.take().unwrap().release();
            (0..2).for_each(|_| tx.try_send(&bytes).unwrap());
        }
        _ => {
            let tx = line.sender().unwrap();
            tx.send(&bytes).unwrap();
            for deaths in 1..=3 {
                kill(start());
                let mut rx = line.receiver().unwrap();
                let delivery = rx.take().unwrap();
                assert_eq!((delivery.to_vec(), delivery.attempts()), (bytes.to_vec(), deaths));
                delivery.give_back();
            }
            let mut rx = line.receiver().unwrap();
            rx.take().unwrap().release();
            (0..2).for_each(|_| tx.try_send(&bytes).unwrap());
        }
    }
}

#[test]
fn a_sender_killed_over_its_grant_leaves_the_capacity_whole_and_nothing_torn() {
    for ring in ["typed", "single", "bytes", "one"] {
        killed("grant", ring);
    }
}

#[test]
fn a_message_whose_reader_is_killed_is_delivered_again_and_says_so() {
    for ring in ["typed", "single", "bytes", "one"] {
        killed("delivery", ring);
    }
}

#[test]
fn a_message_that_kills_every_reader_is_dropped_when_its_attempts_are_used_up() {
    let (name, segment) = segment();
    let lines = segment.bytes("bytes").capacity(2, 512).redeliver(2);
    let (tx, rx) = (lines.sender().unwrap(), lines.receiver().unwrap());
    tx.send(&[7; 512]).unwrap();
    for _ in 0..3 {
        let child = Peer::start("delivery", &[&name, &"bytes"]);
        child.expect("open");
        child.expect("held");
        child.finish();
        segment.sweep().unwrap();
    }
    assert!(matches!(rx.try_recv(&mut Vec::new()), Err(TryRecvError::Empty)));
    // And its room is there again.
    (0..2).for_each(|_| tx.try_send(&[1; 512]).unwrap());
}

#[test]
#[ignore = "what the child processes run"]
fn child_entry() {
    let Some(brief) = Brief::take() else { return };
    let segment = Segment::open(brief.text(0)).unwrap();
    let hold = || {
        brief.say("held");
        brief.hear();
    };
    let mpmc = segment.channel::<Page>("typed");
    let (spsc, lines, line) = (
        segment.channel::<Page>("single").spsc(),
        segment.bytes("bytes"),
        segment.bytes("one").spsc(),
    );
    brief.say("open");
    match (&*brief.role, brief.text(1)) {
        ("grant", "typed") => {
            let mut tx = mpmc.sender().unwrap();
            let mut grant = tx.reserve().unwrap();
            grant.write(&page(9));
            hold();
        }
        ("grant", "single") => {
            let mut tx = spsc.sender().unwrap();
            let mut grant = tx.reserve().unwrap();
            grant.write(&page(9));
            hold();
        }
        ("grant", "bytes") => {
            let mut tx = lines.sender().unwrap();
            let mut grant = tx.reserve(512).unwrap();
            grant.write_at(0, &[9; 512]);
            hold();
        }
        ("grant", _) => {
            let mut tx = line.sender().unwrap();
            let mut grant = tx.reserve(512).unwrap();
            grant.write_at(0, &[9; 512]);
            hold();
        }
        (_, "typed") => {
            let mut rx = mpmc.receiver().unwrap();
            let _held = rx.take().unwrap();
            hold();
        }
        (_, "single") => {
            let mut rx = spsc.receiver().unwrap();
            let _held = rx.take().unwrap();
            hold();
        }
        (_, "bytes") => {
            let mut rx = lines.receiver().unwrap();
            let _held = rx.take().unwrap();
            hold();
        }
        _ => {
            let mut rx = line.receiver().unwrap();
            let _held = rx.take().unwrap();
            hold();
        }
    }
}
