//! A segment that is removed while processes are in its calls.

use super::*;

/// Everybody is in a call, or between two: parked, polling, or idle.
fn audience(name: &Name) -> Vec<Peer> {
    let calls = ["recv", "send", "poll", "idle", "recv spsc"];
    let mut peers: Vec<Peer> =
        calls.iter().map(|call| Peer::start("audience", &[name, call])).collect();
    for (peer, call) in peers.iter_mut().zip(calls) {
        peer.expect("open");
        peer.tell("go");
        if call.starts_with("recv") || call == "send" {
            peer.wait_until_parked();
        }
    }
    peers
}

#[track_caller]
fn all_are_told(mut peers: Vec<Peer>, began: Instant) {
    // The idle one, last but one, is told by its next call.
    peers[3].tell("go");
    for peer in &peers {
        peer.expect("the segment has been removed");
    }
    assert!(began.elapsed() < SOON, "it took {:?}", began.elapsed());
}

#[test]
fn removing_a_segment_ends_every_call_in_it() {
    let name = Name::new();
    for by_name in [false, true] {
        let segment = small().participants(8).channels(4).create(&name).unwrap();
        let peers = audience(&name);
        let tx = segment.channel::<u64>("c").sender().unwrap();
        let rx = segment.channel::<u64>("c").receiver().unwrap();
        let began = Instant::now();
        if by_name {
            Segment::remove_named(&name).unwrap();
        } else {
            segment.remove().unwrap();
        }
        all_are_told(peers, began);
        assert_eq!(tx.send(1), Err(SendError::Fault { message: 1, fault: Fault::Closed }));
        assert!(matches!(rx.recv(), Err(RecvError::Fault(Fault::Closed))));
        assert!(matches!(segment.sweep(), Err(Fault::Closed)));
        let error = segment.channel::<u64>("c").sender().unwrap_err();
        assert!(matches!(error, ChannelError::Fault(Fault::Closed)), "{error:?}");
        assert_eq!(name.objects(), (0, 0));
        // Once more is no failure, and does not meet the next one's objects.
        works(&name);
        segment.remove().unwrap();
        works(&name);
        assert_eq!(name.objects(), (1, 1));
        Segment::remove_named(&name).unwrap();
    }
}

#[test]
fn a_set_removed_behind_the_back_ends_every_call() {
    let name = Name::new();
    let segment = small().participants(8).channels(4).create(&name).unwrap();
    let peers = audience(&name);
    let began = Instant::now();
    name.set(0).unwrap().remove().unwrap();
    all_are_told(peers, began);
    assert!(matches!(segment.sweep(), Err(Fault::Closed)));
    works(&name);
    assert_eq!(name.objects(), (1, 1));
}

#[test]
fn a_segment_removed_alone_and_rebuilt_never_mixes_with_the_old_one() {
    let name = Name::new();
    let old = small().participants(8).channels(4).create(&name).unwrap();
    let channel = old.channel::<u64>("c").capacity(4);
    let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
    let sleeper = Peer::start("audience", &[&name, &"recv"]);
    let mut sleeper = sleeper;
    sleeper.expect("open");
    sleeper.tell("go");
    sleeper.wait_until_parked();
    name.shm(0).unwrap().remove().unwrap();
    // Nobody has noticed: the old one goes on.
    tx.send(1).unwrap();
    sleeper.expect("got 1");
    let new = small().participants(8).open_or_create(&name).unwrap();
    assert_ne!(new.id(), old.id());
    let channel = new.channel::<u64>("c").capacity(4);
    let (new_tx, new_rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
    sleeper.tell("go");
    sleeper.expect("the segment has been removed");
    new_tx.send(7).unwrap();
    // The old handles do nothing in the new one.
    let _ = tx.try_send(8);
    assert!(!matches!(rx.try_recv(), Ok(7)));
    assert_eq!(new_rx.recv().unwrap(), 7);
    assert!(matches!(new_rx.try_recv(), Err(TryRecvError::Empty)));
    drop((tx, rx, old));
    new_tx.send(9).unwrap();
    assert_eq!(new_rx.recv().unwrap(), 9);
    assert_eq!(new.participants().len(), 1);
    assert_eq!(name.objects(), (1, 1));
}

#[test]
#[ignore = "what the child processes run"]
fn child_entry() {
    let Some(brief) = Brief::take() else { return };
    audience_of_one(&brief);
}

fn audience_of_one(brief: &Brief) {
    let segment = Segment::open(brief.text(0)).unwrap();
    match brief.text(1) {
        "recv" | "poll" => {
            let rx = segment.channel::<u64>("c").capacity(4).lasting().receiver().unwrap();
            brief.say("open");
            loop {
                brief.hear();
                let got = match brief.text(1) {
                    "recv" => rx.recv().map_err(TryRecvError::from),
                    _ => loop {
                        match rx.try_recv() {
                            Ok(_) | Err(TryRecvError::Empty | TryRecvError::Pending) => {}
                            Err(error) => break Err(error),
                        }
                    },
                };
                match got {
                    Ok(got) => brief.say(format!("got {got}")),
                    Err(error) => brief.say(error),
                }
            }
        }
        "recv spsc" => {
            let rx = segment.channel::<u64>("one").spsc().capacity(1).receiver().unwrap();
            brief.say("open");
            brief.hear();
            brief.say(rx.recv().unwrap_err());
        }
        "send" | "idle" => {
            let tx = segment.channel::<u64>("full").capacity(1).lasting().sender().unwrap();
            brief.say("open");
            brief.hear();
            if brief.text(1) == "idle" {
                brief.hear();
            } else {
                tx.send(1).unwrap();
            }
            brief.say(tx.send(2).unwrap_err());
        }
        call => panic!("{call}"),
    }
    brief.hear();
}
