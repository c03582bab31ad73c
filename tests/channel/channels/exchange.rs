//! Many messages between threads, and between processes.

use super::*;

pub(super) fn threads_exchange_everything_in_order<K: Pick>() {
    let segment = small();
    for (capacity, count) in [(1, 5_000), (3, 20_000), (100, 200_000)] {
        let (tx, rx) = ends::<u64, K>(&segment, &format!("c{capacity}"), capacity);
        thread::scope(|scope| {
            let tx = Moved(tx);
            scope.spawn(move || {
                let tx = tx.get();
                (0..count).for_each(|n| tx.send(n).unwrap());
            });
            let (rx, mut expected) = (rx, 0);
            for n in &rx {
                assert_eq!(n.unwrap(), expected);
                expected += 1;
            }
            assert_eq!(expected, count);
        });
    }
}

#[test]
fn four_senders_and_four_receivers_in_threads_exchange_exactly_everything() {
    const EACH: u64 = 20_000;
    let segment = small();
    for capacity in [1, 2, 7, 64] {
        let each = if capacity == 1 { EACH / 10 } else { EACH };
        let (tx, rx) = ends::<u64, Mpmc>(&segment, &format!("c{capacity}"), capacity);
        let received = thread::scope(|scope| {
            for sender in 0..4 {
                let tx = tx.try_clone().unwrap();
                scope.spawn(move || (0..each).for_each(|n| tx.send(sender << 32 | n).unwrap()));
            }
            let receivers: Vec<_> = (0..4)
                .map(|_| {
                    let rx = rx.try_clone().unwrap();
                    scope.spawn(move || rx.iter().map(Result::unwrap).collect::<Vec<u64>>())
                })
                .collect();
            drop((tx, rx));
            receivers.into_iter().map(|r| r.join().unwrap()).collect::<Vec<_>>()
        });
        check_exactly_once(&received, 4, each);
    }
}

/// Every message once, and of each sender in order to each receiver.
fn check_exactly_once(received: &[Vec<u64>], senders: u64, each: u64) {
    let mut times = HashMap::new();
    for list in received {
        let mut last = vec![None; usize::try_from(senders).unwrap()];
        for &message in list {
            *times.entry(message).or_insert(0) += 1;
            let (sender, n) = ((message >> 32) as usize, message & 0xFFFF_FFFF);
            assert!(last[sender] < Some(n), "{n} of {sender} after {:?}", last[sender]);
            last[sender] = Some(n);
        }
    }
    assert_eq!(times.len() as u64, senders * each, "messages received");
    assert!(times.values().all(|&n| n == 1), "something came twice");
}

#[test]
fn two_producers_and_two_consumers_in_processes_exchange_exactly_everything() {
    const EACH: u64 = 30_000;
    let name = Name::new();
    for capacity in [2, 100] {
        let segment = Segment::options().size(1 << 20).open_or_create(&name).unwrap();
        let channel = segment.channel::<u64>("c").capacity(capacity);
        // Keeps the channel connected until everybody is there.
        let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        let consumers: Vec<Peer> = (0..2).map(|_| Peer::start("consume", &[&name])).collect();
        let producers: Vec<Peer> =
            (0..2).map(|id| Peer::start("produce", &[&name, &id, &EACH])).collect();
        for peer in producers.iter().chain(&consumers) {
            peer.expect("open");
        }
        drop((tx, rx));
        for mut peer in producers {
            peer.tell("go");
            peer.expect("sent");
        }
        let received: Vec<Vec<u64>> = consumers
            .iter()
            .map(|peer| {
                let file = peer.said();
                let bytes = std::fs::read(&file).unwrap();
                std::fs::remove_file(&file).unwrap();
                bytes.chunks(8).map(|word| u64::from_le_bytes(word.try_into().unwrap())).collect()
            })
            .collect();
        check_exactly_once(&received, 2, EACH);
        segment.remove().unwrap();
    }
}

#[test]
#[ignore = "what the child processes run"]
fn child_entry() {
    let Some(brief) = Brief::take() else { return };
    let segment = Segment::open(brief.text(0)).unwrap();
    let channel = segment.channel::<u64>("c");
    match &*brief.role {
        "produce" => {
            let tx = channel.sender().unwrap();
            brief.say("open");
            brief.hear();
            let id: u64 = brief.number(1);
            for n in 0..brief.number(2) {
                tx.send(id << 32 | n).unwrap();
            }
            drop(tx);
            brief.say("sent");
        }
        "consume" => {
            let rx = channel.receiver().unwrap();
            brief.say("open");
            let got: Vec<u64> = rx.iter().map(Result::unwrap).collect();
            let file = std::env::temp_dir().join(format!("tombolo-{}", std::process::id()));
            std::fs::write(&file, bytemuck::cast_slice(&got)).unwrap();
            brief.say(file.display());
        }
        role => panic!("{role}"),
    }
}
