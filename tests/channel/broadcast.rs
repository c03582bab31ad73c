//! Broadcast channels: each subscriber gets every message.

use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use tombolo::{
    BroadcastChannel, ByteBatch, ChannelError, Fault, Publisher, RecvError, RecvTimeoutError,
    ReliableSubscriber, Segment, Start, Subscriber, TryRecvError, TrySendError, WaitStrategy,
};

use crate::common::readiness::gets_ready;
use crate::common::{
    Brief, Child, Name, PATIENCE, Peer, Words, thread_parked, thread_parked_for_good, tid,
    wait_until,
};

fn channel(segment: &Segment) -> BroadcastChannel<'_, u64> {
    segment.broadcast("prices").capacity(16)
}

fn segment(name: &Name) -> Segment {
    Segment::options().size(1 << 20).participants(16).channels(4).open_or_create(name).unwrap()
}

#[test]
fn a_channel_that_an_earlier_build_could_not_sweep_is_not_created() {
    let (name, kinds) = (Name::new(), 40);
    let segment = segment(&name);
    let words = Words::behind(&segment);
    let infos = (512 + 8 * 16_usize).next_multiple_of(128);
    let of_this_process = words.at((infos + kinds) / 8);
    let known = of_this_process.swap(0, Ordering::Relaxed);
    let refused = channel(&segment).publisher().err();
    let pid = u64::from(std::process::id());
    assert!(
        matches!(&refused, Some(ChannelError::UnknownKind { pid: by, .. }) if *by == pid),
        "{refused:?}"
    );
    of_this_process.store(known, Ordering::Relaxed);
    channel(&segment).publisher().unwrap();
}

#[test]
fn each_subscriber_gets_every_message_in_order() {
    let segment = Segment::anonymous().unwrap();
    let prices = channel(&segment);
    let publisher = prices.publisher().unwrap();
    let (lossy, other) = (prices.subscriber().unwrap(), prices.subscriber().unwrap());
    let reliable = prices.reliable_subscriber().unwrap();
    assert_eq!(lossy.try_recv(), Err(TryRecvError::Empty));
    for n in 0..100 {
        publisher.try_send(n).unwrap();
        assert_eq!(publisher.sequence(), Some(n));
        assert_eq!(lossy.recv(), Ok(n));
        assert_eq!(other.try_recv(), Ok(n));
        assert_eq!(reliable.recv(), Ok(n));
    }
    assert_eq!(lossy.try_recv(), Err(TryRecvError::Empty));
    assert_eq!(reliable.try_recv(), Err(TryRecvError::Empty));
    drop(publisher);
    assert_eq!(lossy.recv(), Err(RecvError::Disconnected));
    assert_eq!(reliable.recv(), Err(RecvError::Disconnected));
}

#[test]
fn a_lossy_subscriber_is_told_exactly_what_it_missed() {
    let segment = Segment::anonymous().unwrap();
    let prices = channel(&segment);
    let publisher = prices.publisher().unwrap();
    let subscriber = prices.subscriber().unwrap();
    for round in 1..200 {
        let first = publisher.sequence().map_or(0, |last| last + 1);
        for n in first..first + round {
            publisher.send(n).unwrap();
        }
        let (mut missed, mut next) = (0, first);
        loop {
            match subscriber.try_recv() {
                Ok(n) => {
                    assert_eq!(n, next + missed);
                    next += 1;
                }
                Err(TryRecvError::Lagged(n)) => missed += n,
                Err(TryRecvError::Empty) => break,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(next - first + missed, round, "all are got or missed");
        assert!(round < 16 && missed == 0 || next - first >= 16, "the last 16 are retained");
    }
}

/// In small rings, publishers come round while a subscriber copies.
#[test]
fn a_lossy_subscriber_that_is_lapped_at_any_moment_only_misses_messages() {
    let segment = Segment::anonymous().unwrap();
    for (name, capacity) in [("a", 1), ("b", 4), ("c", 16), ("d", 64)] {
        let channel = segment.broadcast::<[u64; 8]>(name).capacity(capacity);
        let (publisher, subscriber) = (channel.publisher().unwrap(), channel.subscriber().unwrap());
        thread::scope(|scope| {
            scope.spawn(move || (0..LAPPED).try_for_each(|n| publisher.send([n; 8])).unwrap());
            assert_accounted(&subscriber);
        });
    }
}

const LAPPED: u64 = 20_000;

/// All of them are got in order, or missed.
fn assert_accounted(subscriber: &Subscriber<[u64; 8]>) {
    let (mut next, mut missed, mut batch) = (0, 0, Vec::new());
    loop {
        let got = if next % 2 == 0 {
            subscriber.recv().map(|message| batch.push(message))
        } else {
            subscriber.recv_batch(&mut batch, 4).map(|_| ())
        };
        match got {
            Ok(()) => {}
            Err(RecvError::Lagged(n)) => missed += n,
            Err(RecvError::Disconnected) => break,
            Err(other) => panic!("{other:?}"),
        }
        for message in batch.drain(..) {
            assert_eq!(message, [next + missed; 8]);
            next += 1;
        }
    }
    assert_eq!((next + missed, subscriber.missed()), (LAPPED, missed));
}

#[test]
fn a_publisher_is_a_capacity_ahead_of_a_reliable_subscriber_and_never_more() {
    let segment = Segment::anonymous().unwrap();
    for capacity in [1, 2, 3, 8, 9, 64, 100] {
        let name = format!("c{capacity}");
        let prices = segment.broadcast::<u64>(&name).capacity(capacity);
        let (publisher, other) = (prices.publisher().unwrap(), prices.publisher().unwrap());
        let reliable = prices.reliable_subscriber().unwrap();
        let (mut sent, mut got) = (0, 0);
        for round in 0..3 * capacity as u64 {
            loop {
                let publisher = if sent % 2 == 0 { &publisher } else { &other };
                match publisher.try_send(sent) {
                    Ok(()) => sent += 1,
                    Err(TrySendError::Full(n)) => break assert_eq!(n, sent),
                    other => panic!("{other:?}"),
                }
            }
            assert_eq!(sent - got, capacity as u64, "capacity {capacity}");
            assert_eq!(publisher.len(), capacity);
            assert!(publisher.is_full());
            for _ in 0..=round % capacity as u64 {
                assert_eq!(reliable.recv(), Ok(got));
                got += 1;
            }
        }
        drop(reliable);
        for n in 0..10 * capacity as u64 {
            publisher.try_send(n).unwrap();
        }
    }
}

#[test]
fn a_blocked_publisher_goes_on_when_the_reliable_subscriber_reads_and_when_it_leaves() {
    let segment = Segment::anonymous().unwrap();
    let prices = segment.broadcast::<u64>("prices").capacity(2);
    let publisher = prices.publisher().unwrap();
    let reliable = prices.reliable_subscriber().unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(move || {
            tell.send(tid()).unwrap();
            for n in 0..6 {
                publisher.send(n).unwrap();
            }
        });
        let publishing = told.recv().unwrap();
        wait_until(|| thread_parked(publishing));
        assert_eq!(reliable.recv(), Ok(0));
        assert_eq!(reliable.recv(), Ok(1));
        assert_eq!(reliable.recv(), Ok(2));
        wait_until(|| thread_parked(publishing));
        drop(reliable);
    });
}

#[test]
fn a_killed_reliable_subscriber_releases_a_blocked_publisher() {
    let name = Name::new();
    let segment = segment(&name);
    let prices = channel(&segment);
    let publisher = prices.publisher().unwrap();
    let peer = Peer::start("subscribe", &[&name]);
    peer.expect("subscribed");
    for n in 0..16 {
        publisher.try_send(n).unwrap();
    }
    assert_eq!(publisher.try_send(16), Err(TrySendError::Full(16)));
    let (tell, told) = std::sync::mpsc::channel();
    let blocked = thread::spawn(move || {
        tell.send(tid()).unwrap();
        publisher.send(16).unwrap();
        publisher
    });
    let publishing = told.recv().unwrap();
    wait_until(|| thread_parked(publishing));
    peer.kill();
    let publisher = blocked.join().unwrap();
    for n in 17..100 {
        publisher.try_send(n).unwrap();
    }
}

fn subscribe(brief: &Brief) {
    let segment = segment(&Name::of(brief.text(0)));
    let _subscriber = channel(&segment).reliable_subscriber().unwrap();
    brief.say("subscribed");
    brief.hear();
}

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

/// Says each message that it gets.
fn watch(brief: &Brief) {
    let segment = segment(&Name::of(brief.text(0)));
    let subscriber = channel(&segment).subscriber().unwrap();
    subscriber.set_wait_strategy(WaitStrategy::Block);
    brief.say("watching");
    while let Ok(message) = subscriber.recv() {
        brief.say(message.to_string());
    }
}

/// The semaphore over which so many sleep, once they do.
fn slept_over(name: &Name, count: u32) -> u16 {
    let set = name.set(0).unwrap();
    let all = u16::try_from(set.stat().unwrap().count).unwrap();
    let mut found = None;
    wait_until(|| {
        found = (0..all).find(|&sem| set.waiting_for_increase(sem).unwrap() == count);
        found.is_some()
    });
    found.unwrap()
}

#[test]
fn one_call_wakes_all_subscribers_that_sleep_and_none_is_made_while_nobody_does() {
    let name = Name::new();
    let segment = segment(&name);
    let prices = channel(&segment);
    let publisher = prices.publisher().unwrap();
    let value = |sem| name.set(0).unwrap().value(sem).unwrap();
    let mut peers: Vec<Peer> = (0..8).map(|_| Peer::start("watch", &[&name])).collect();
    peers.iter().for_each(|peer| peer.expect("watching"));
    for message in 0..10 {
        let items = slept_over(&name, 8);
        let before = value(items);
        publisher.send(message).unwrap();
        assert_eq!(value(items), before + 1, "one stroke for all of them");
        peers.iter().for_each(|peer| peer.expect(&message.to_string()));
    }
    // One of them dies asleep: the others hear of the next message as before.
    let items = slept_over(&name, 8);
    peers.remove(0).kill();
    assert_eq!(slept_over(&name, 7), items);
    publisher.send(10).unwrap();
    peers.iter().for_each(|peer| peer.expect("10"));
    slept_over(&name, 7);
    peers.iter().for_each(Peer::kill);
    wait_until(|| segment.participants().len() == 1);
    // Looks for the dead, so that nobody is counted.
    let subscriber = prices.subscriber().unwrap();
    let before = value(items);
    for message in 11..20 {
        publisher.send(message).unwrap();
        assert_eq!(subscriber.try_recv(), Ok(message));
    }
    assert_eq!(value(items), before, "a call for nobody");
}

#[test]
fn publishers_that_wait_are_woken_by_the_slowest_subscriber_and_by_no_other() {
    let name = Name::new();
    let segment = segment(&name);
    let prices = channel(&segment);
    let publisher = prices.publisher().unwrap();
    let (ahead, slow) =
        (prices.reliable_subscriber().unwrap(), prices.reliable_subscriber().unwrap());
    for n in 0..16 {
        publisher.try_send(n).unwrap();
    }
    let blocked = thread::spawn(move || publisher.send(16).map(|()| publisher));
    let space = slept_over(&name, 1);
    let value = || name.set(0).unwrap().value(space).unwrap();
    let before = value();
    for n in 0..16 {
        assert_eq!(ahead.try_recv(), Ok(n));
    }
    assert_eq!(value(), before, "woken for nothing");
    assert_eq!(slow.try_recv(), Ok(0));
    let publisher = blocked.join().unwrap().unwrap();
    assert_eq!(publisher.sequence(), Some(16));
    assert_eq!(value(), before + 1);
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

#[test]
fn bytes_of_every_length_go_to_all_in_batches_and_in_place() {
    const LONGEST: usize = 70;
    let segment = Segment::anonymous().unwrap();
    let news = segment.broadcast_bytes("news").capacity(100, LONGEST);
    let mut publisher = news.publisher().unwrap();
    let (screen, mut ledger) = (news.subscriber().unwrap(), news.reliable_subscriber().unwrap());
    let message = |length: usize| (0..length).map(|n| (n * 7 + length) as u8).collect::<Vec<_>>();
    assert!(publisher.send(&message(LONGEST + 1)).is_err_and(|error| error.is_too_long()));
    let messages: Vec<Vec<u8>> = (0..=LONGEST).map(message).collect();
    let slices: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
    publisher.send_batch(&slices).unwrap();
    let mut batch = Vec::new();
    while batch.len() < messages.len() {
        screen.recv_batch(&mut batch, 30).unwrap();
    }
    assert_eq!(batch, messages);
    let mut flat = ByteBatch::new();
    let late = news.subscriber_from(Start::Oldest).unwrap();
    while flat.len() < messages.len() {
        late.recv_batch_into(&mut flat, 30).unwrap();
    }
    assert!(flat.iter().eq(messages.iter().map(Vec::as_slice)));
    let mut into = Vec::new();
    for (n, message) in messages.iter().enumerate() {
        if n % 2 == 0 {
            assert_eq!(ledger.take().unwrap().to_vec(), *message);
        } else {
            assert_eq!(ledger.recv(&mut into).unwrap(), message.len());
            assert_eq!(into, *message);
        }
    }
    let mut grant = publisher.reserve(LONGEST).unwrap();
    assert_eq!(grant.write_at(0, b"in place"), 8);
    grant.commit(8).unwrap();
    let mut given_up = publisher.reserve(LONGEST).unwrap();
    given_up.write_at(0, b"never seen");
    drop(given_up);
    assert_eq!(screen.latest().unwrap(), b"in place");
    assert_eq!(ledger.latest().unwrap(), b"in place");
    assert!(screen.try_recv(&mut into).is_err_and(|error| error.is_empty()));
    assert!(into.is_empty());
}

#[test]
fn a_batch_that_ends_at_missed_messages_leaves_their_number_to_the_next_call() {
    let segment = Segment::anonymous().unwrap();
    let news = segment.broadcast_bytes("news").capacity(4, 8);
    let publisher = news.publisher().unwrap();
    let (one, two) = (news.subscriber().unwrap(), news.subscriber().unwrap());
    let (mut got, mut flat, mut missed) = ([0; 2], ByteBatch::new(), [0; 2]);
    for n in 0..1_000_u64 {
        publisher.send(&n.to_ne_bytes()).unwrap();
        if n % 7 == 0 {
            let mut batch = Vec::new();
            match one.try_recv_batch(&mut batch, 3) {
                Ok(count) => got[0] += count as u64,
                Err(error) => missed[0] += error.lagged().unwrap(),
            }
            match two.try_recv_batch_into(&mut flat, 3) {
                Ok(count) => got[1] += count as u64,
                Err(error) => missed[1] += error.lagged().unwrap(),
            }
        }
        assert_eq!([one.sequence(), two.sequence()], [got[0] + missed[0], got[1] + missed[1]]);
    }
    assert!(got[0] > 0 && missed[0] > 0 && [one.missed(), two.missed()] == missed);
}

#[test]
fn a_grant_delays_no_other_publisher_and_a_delivery_is_not_written_over() {
    type Page = [u64; 512];
    let segment = Segment::anonymous().unwrap();
    let pages = segment.broadcast::<Page>("pages").capacity(4);
    let (mut one, two) = (pages.publisher().unwrap(), pages.publisher().unwrap());
    let screen = pages.subscriber().unwrap();
    let mut ledger = pages.reliable_subscriber().unwrap();
    let mut grant = one.reserve().unwrap();
    grant.write(&[7; 512]);
    for n in 0..3 {
        two.try_send([n; 512]).unwrap();
        assert_eq!(screen.try_recv(), Ok([n; 512]));
    }
    grant.commit().unwrap();
    assert_eq!(screen.recv(), Ok([7; 512]));
    let delivery = ledger.take().unwrap();
    assert!(two.try_send([9; 512]).is_err_and(|error| error.is_full()));
    assert_eq!(delivery.read(), [0; 512]);
    delivery.give_back();
    assert!(two.try_send([9; 512]).is_err_and(|error| error.is_full()));
    ledger.take().unwrap().release();
    two.try_send([9; 512]).unwrap();
    for page in [[1; 512], [2; 512], [7; 512], [9; 512]] {
        assert_eq!(ledger.take().unwrap().read(), page);
    }
    assert!(ledger.try_take().is_err_and(|error| error.is_empty()));
}

#[test]
fn deadlines_batches_and_iterators_work_as_on_every_channel() {
    let segment = Segment::anonymous().unwrap();
    let prices = channel(&segment);
    let publisher = prices.publisher().unwrap();
    let (screen, ledger) = (prices.subscriber().unwrap(), prices.reliable_subscriber().unwrap());
    let soon = Duration::from_millis(1);
    assert!(screen.recv_timeout(soon).is_err_and(|error| error.is_timeout()));
    assert!(ledger.recv_timeout(soon).is_err_and(|error| error.is_timeout()));
    let all: Vec<u64> = (0..20).collect();
    assert_eq!(publisher.try_send_batch(&all).unwrap(), 16);
    assert!(publisher.send_timeout(16, soon).is_err_and(|error| error.is_timeout()));
    let slowest = publisher.slowest().unwrap();
    assert_eq!((slowest.behind, slowest.peer.pid()), (16, std::process::id()));
    assert_eq!((screen.len(), ledger.len(), publisher.len()), (16, 16, 16));
    let got: Result<Vec<u64>, _> = screen.try_iter().collect();
    assert_eq!(got.unwrap(), all[..16]);
    let mut batch = Vec::new();
    assert_eq!(ledger.try_recv_batch(&mut batch, 100), Ok(16));
    assert_eq!(publisher.try_send_batch(&all[16..]).unwrap(), 4);
    let clone = ledger.try_clone().unwrap();
    drop(publisher);
    assert_eq!(ledger.iter().collect::<Result<Vec<u64>, _>>().unwrap(), all[16..]);
    assert_eq!(clone.into_iter().collect::<Result<Vec<u64>, _>>().unwrap(), all[16..]);
}

#[test]
fn clones_begin_where_their_originals_are() {
    let segment = Segment::anonymous().unwrap();
    let prices = channel(&segment);
    let publisher = prices.publisher().unwrap();
    let other = publisher.try_clone().unwrap();
    let (screen, ledger) = (prices.subscriber().unwrap(), prices.reliable_subscriber().unwrap());
    publisher.send_batch(&[0, 1, 2]).unwrap();
    other.send(3).unwrap();
    assert_eq!((screen.recv(), ledger.recv()), (Ok(0), Ok(0)));
    let (screen2, ledger2) = (screen.try_clone().unwrap(), ledger.try_clone().unwrap());
    for n in 1..4 {
        assert_eq!((screen2.recv(), ledger2.recv()), (Ok(n), Ok(n)));
    }
    assert_eq!((screen.sequence(), ledger.sequence()), (1, 1));
    assert_eq!((screen.recv(), ledger.recv()), (Ok(1), Ok(1)));
    let behind = |segment: &Segment| {
        let info = segment.channels().remove(0).broadcast.unwrap();
        info.reliable.iter().map(|reliable| reliable.behind).collect::<Vec<_>>()
    };
    assert_eq!(behind(&segment), [2, 0]);
    assert_eq!(ledger.skip_to_newest(), Ok(1));
    assert_eq!(behind(&segment), [1, 0]);
    assert_eq!(ledger.recv(), Ok(3));
}

#[test]
fn a_descriptor_is_readable_when_a_message_or_room_comes() {
    let segment = Segment::anonymous().unwrap();
    let prices = segment.broadcast::<u64>("prices").capacity(1);
    let publisher = prices.publisher().unwrap();
    let (screen, ledger) = (prices.subscriber().unwrap(), prices.reliable_subscriber().unwrap());
    let reading = [screen.readiness().unwrap(), ledger.readiness().unwrap()];
    assert!(screen.try_recv().is_err() && ledger.try_recv().is_err());
    publisher.send(1).unwrap();
    reading.into_iter().for_each(gets_ready);
    assert_eq!(screen.try_recv(), Ok(1));
    let writing = publisher.readiness().unwrap();
    assert!(publisher.try_send(2).is_err());
    assert_eq!(ledger.try_recv(), Ok(1));
    gets_ready(writing);
    publisher.try_send(2).unwrap();
}

#[test]
fn a_forked_child_takes_nothing_and_gives_nothing_up() {
    let segment = Segment::anonymous().unwrap();
    let prices = segment.broadcast::<u64>("prices").capacity(2);
    let publisher = prices.publisher().unwrap();
    let (screen, ledger) = (prices.subscriber().unwrap(), prices.reliable_subscriber().unwrap());
    publisher.send(1).unwrap();
    let handles = std::cell::Cell::new(Some((publisher, screen, ledger)));
    let child = Child::fork(|| {
        let (publisher, screen, ledger) = handles.take().unwrap();
        let refused = publisher.try_send(2).is_err()
            && screen.try_recv().is_err()
            && ledger.try_recv().is_err()
            && ledger.skip_to_newest().is_err();
        drop((publisher, screen, ledger));
        i32::from(!refused)
    });
    assert_eq!(child.join(), 0);
    let (publisher, screen, ledger) = handles.take().unwrap();
    publisher.send(2).unwrap();
    assert!(publisher.try_send(3).is_err_and(|error| error.is_full()), "the ledger still counts");
    assert_eq!((ledger.recv(), ledger.recv()), (Ok(1), Ok(2)));
    assert_eq!((screen.recv(), screen.recv()), (Ok(1), Ok(2)));
}

#[test]
fn a_channel_that_is_found_by_its_name_is_published_to_and_subscribed() {
    let segment = Segment::anonymous().unwrap();
    let prices = channel(&segment);
    let typed = prices.subscriber().unwrap();
    let found = segment.open_channel("prices").unwrap();
    assert!(found.is_broadcast() && !found.is_bytes());
    let publisher = found.sender().unwrap();
    let mut ledger = found.reliable_subscriber_from(Start::Newest).unwrap();
    let mut screen = found.receiver().unwrap();
    for n in 0..3_u64 {
        publisher.send(&n.to_ne_bytes()).unwrap();
    }
    assert_eq!(typed.recv(), Ok(0));
    let mut into = Vec::new();
    for receiver in [&mut ledger, &mut screen] {
        assert_eq!(receiver.recv(&mut into).unwrap(), 8);
        receiver.take().unwrap().give_back();
        let delivery = receiver.take().unwrap();
        assert_eq!(delivery.to_vec(), 1_u64.to_ne_bytes());
        delivery.release();
        assert_eq!(receiver.try_clone().unwrap().len(), 1);
        assert_eq!(receiver.try_recv(&mut into).unwrap(), 8);
        assert_eq!(into, 2_u64.to_ne_bytes());
    }
    let jobs = segment.channel::<u64>("jobs").capacity(1);
    drop(jobs.sender().unwrap());
    let wrong = segment.open_channel("jobs").unwrap().subscriber_from(Start::Newest);
    assert!(matches!(wrong, Err(ChannelError::Mismatch { .. })), "{wrong:?}");
}

#[test]
fn a_lasting_channel_tells_no_subscriber_that_its_publishers_are_gone() {
    let segment = Segment::anonymous().unwrap();
    let states = segment.broadcast::<u64>("states").capacity(4).lasting();
    states.publisher().unwrap().send(1).unwrap();
    let screen = states.subscriber_from(Start::Oldest).unwrap();
    assert_eq!(screen.recv(), Ok(1));
    assert_eq!(screen.try_recv(), Err(TryRecvError::Empty));
    let prices = channel(&segment);
    prices.publisher().unwrap().send(1).unwrap();
    let history = prices.subscriber_from(Start::Oldest).unwrap();
    assert_eq!(history.recv(), Ok(1));
    assert_eq!(history.try_recv(), Err(TryRecvError::Disconnected));
    // This one has met nobody.
    let fresh = prices.subscriber().unwrap();
    assert_eq!(fresh.try_recv(), Err(TryRecvError::Empty));
}

#[test]
#[ignore = "a child process of the tests in this file"]
fn child_entry() {
    let Some(brief) = Brief::take() else { return };
    match &*brief.role {
        "subscribe" => subscribe(&brief),
        "publish" => publish(&brief),
        "watch" => watch(&brief),
        role => panic!("no role {role}"),
    }
}

#[test]
fn a_waiting_publisher_sees_subscribers_come_and_each_gets_all_that_follows() {
    let segment = Segment::anonymous().unwrap();
    let prices = channel(&segment);
    let publisher = prices.publisher().unwrap();
    publisher.wait_for(0).unwrap();
    let early = publisher.wait_for_timeout(1, Duration::from_millis(1));
    assert!(early.is_err_and(|error| error.is_timeout()));
    thread::scope(|scope| {
        let subscribers: Vec<_> = (0..3)
            .map(|n| {
                let prices = prices.clone();
                scope.spawn(move || {
                    let got = if n == 0 {
                        prices.reliable_subscriber().unwrap().recv()
                    } else {
                        prices.subscriber().unwrap().recv()
                    };
                    assert_eq!(got, Ok(7));
                })
            })
            .collect();
        publisher.wait_for(3).unwrap();
        publisher.send(7).unwrap();
        subscribers.into_iter().for_each(|subscriber| subscriber.join().unwrap());
    });
}

#[test]
fn a_late_subscriber_begins_where_it_says() {
    let segment = Segment::anonymous().unwrap();
    let prices = channel(&segment);
    let publisher = prices.publisher().unwrap();
    let first_lossy = |start| -> Option<u64> {
        let subscriber: Subscriber<u64> = prices.subscriber_from(start).unwrap();
        subscriber.try_recv().ok()
    };
    let first_reliable = |start| -> Option<u64> {
        let subscriber: ReliableSubscriber<u64> = prices.reliable_subscriber_from(start).unwrap();
        subscriber.try_recv().ok()
    };
    for sent in 0..100 {
        let last = |k: u64| (sent > 0 && k > 0).then(|| sent - k.min(16).min(sent));
        for k in [0, 1, 2, 15, 16, 17, 1_000, u64::MAX] {
            assert_eq!(first_lossy(Start::Last(k)), last(k), "{k} of {sent}");
            assert_eq!(first_reliable(Start::Last(k)), last(k), "{k} of {sent}");
        }
        assert_eq!(first_lossy(Start::Newest), None);
        assert_eq!(first_reliable(Start::Newest), None);
        assert_eq!(first_reliable(Start::Oldest), last(16));
        let oldest = first_lossy(Start::Oldest);
        assert!(oldest <= last(16) && oldest.is_some() == (sent > 0));
        publisher.send(sent).unwrap();
    }
}

#[test]
fn there_are_as_many_publishers_and_reliable_subscribers_as_the_channel_says() {
    let segment = Segment::anonymous().unwrap();
    let prices = segment.broadcast::<u64>("prices").capacity(4).publishers(2).reliable(1);
    let (one, _two): (Publisher<u64>, _) =
        (prices.publisher().unwrap(), prices.publisher().unwrap());
    let three = prices.publisher();
    assert!(matches!(three, Err(ChannelError::TooManyPublishers { limit: 2, .. })), "{three:?}");
    drop(one);
    prices.publisher().unwrap();
    let ledger = prices.reliable_subscriber().unwrap();
    let second = prices.reliable_subscriber();
    assert!(matches!(second, Err(ChannelError::TooManyReliable { limit: 1, .. })), "{second:?}");
    prices.subscriber().unwrap();
    ledger.close().unwrap();
    prices.reliable_subscriber().unwrap();
    let other = segment.broadcast::<u64>("prices").publishers(3).publisher();
    assert!(matches!(other, Err(ChannelError::Mismatch { .. })), "{other:?}");
}

#[test]
fn a_waiting_publisher_sees_clones_of_subscribers_come() {
    let segment = Segment::anonymous().unwrap();
    let prices = channel(&segment);
    let publisher = prices.publisher().unwrap();
    let (lossy, reliable) = (prices.subscriber().unwrap(), prices.reliable_subscriber().unwrap());
    let (says, said) = std::sync::mpsc::channel();
    let waits = thread::spawn(move || {
        for enough in [2, 3, 4] {
            publisher.wait_for(enough).unwrap();
            says.send(tid()).unwrap();
        }
    });
    let thread = said.recv().unwrap();
    wait_until(|| thread_parked_for_good(thread));
    let _other = lossy.try_clone().unwrap();
    let third = said.recv_timeout(PATIENCE);
    wait_until(|| thread_parked_for_good(thread));
    let _another = reliable.try_clone().unwrap();
    let fourth = said.recv_timeout(PATIENCE);
    // One that is opened wakes it in any case.
    let _more = [(); 2].map(|()| prices.subscriber().unwrap());
    waits.join().unwrap();
    assert_eq!((third, fourth), (Ok(thread), Ok(thread)));
}

#[test]
fn a_subscriber_that_is_far_behind_goes_on_with_the_newest_message() {
    let segment = Segment::anonymous().unwrap();
    let prices = channel(&segment);
    let publisher = prices.publisher().unwrap();
    let (lossy, latest) = (prices.subscriber().unwrap(), prices.subscriber().unwrap());
    for n in 0..1_000 {
        publisher.send(n).unwrap();
    }
    assert_eq!(lossy.skip_to_newest(), Ok(999));
    assert_eq!(lossy.recv(), Ok(999));
    assert_eq!(latest.latest(), Ok(999));
    assert_eq!(latest.latest(), Err(TryRecvError::Empty));
    assert_eq!((lossy.missed(), latest.missed()), (0, 0));
}

#[test]
fn a_subscriber_hears_what_it_missed_and_what_is_left_before_it_is_disconnected() {
    let segment = Segment::anonymous().unwrap();
    let prices = channel(&segment);
    let publisher = prices.publisher().unwrap();
    let all: Vec<_> = [(); 4].map(|()| prices.subscriber().unwrap()).into();
    let clone = all[0].try_clone().unwrap();
    for n in 0..1_000_u64 {
        publisher.send(n).unwrap();
    }
    drop(publisher);
    let late = prices.subscriber_from(Start::Oldest).unwrap();
    let first = 1_000 - late.len() as u64;
    let left: Vec<u64> = (first..1_000).collect();
    for subscriber in [&all[0], &clone] {
        assert_eq!(subscriber.recv(), Err(RecvError::Lagged(first)));
        assert_eq!(subscriber.iter().collect::<Result<Vec<_>, _>>().unwrap(), left);
        assert_eq!((subscriber.missed(), subscriber.recv()), (first, Err(RecvError::Disconnected)));
    }
    let mut batch = Vec::new();
    let patience = Duration::from_secs(1);
    assert_eq!(
        all[1].recv_batch_timeout(&mut batch, 1_000, patience),
        Err(RecvTimeoutError::Lagged(first))
    );
    while all[1].recv_batch_timeout(&mut batch, 1_000, patience).is_ok() {}
    assert_eq!(batch, left);
    let mut items = all[2].try_iter();
    assert_eq!(items.next(), Some(Err(TryRecvError::Lagged(first))));
    assert_eq!(items.collect::<Result<Vec<_>, _>>().unwrap(), left);
    assert_eq!(all[3].latest(), Ok(999));
    assert_eq!(all[3].latest(), Err(TryRecvError::Disconnected));
    assert_eq!(late.into_iter().collect::<Result<Vec<_>, _>>().unwrap(), left);
}

#[test]
fn a_blocked_publisher_is_told_what_ends_its_wait() {
    let name = Name::new();
    let segment = segment(&name);
    let prices = channel(&segment);
    let _ledger = prices.reliable_subscriber().unwrap();
    let (ids, said) = std::sync::mpsc::channel();
    let publisher = prices.publisher().unwrap();
    let waiter = publisher.try_clone().unwrap();
    while publisher.try_send(1).is_ok() {}
    let cancel = [publisher.canceller(), waiter.canceller()];
    let blocked = {
        let ids = ids.clone();
        thread::spawn(move || {
            ids.send(tid()).unwrap();
            let cancelled = publisher.send(2).unwrap_err();
            assert_eq!(cancelled.into_fault(), Some(Fault::Cancelled));
            publisher.canceller().reset();
            ids.send(tid()).unwrap();
            publisher.send(2).unwrap_err().into_fault()
        })
    };
    let waiting = thread::spawn(move || {
        ids.send(tid()).unwrap();
        assert_eq!(waiter.wait_for(9), Err(Fault::Cancelled));
        waiter.canceller().reset();
        ids.send(tid()).unwrap();
        waiter.wait_for(9)
    });
    let both_park = || {
        let both = [(); 2].map(|()| said.recv().unwrap());
        wait_until(|| both.iter().all(|&thread| thread_parked_for_good(thread)));
    };
    both_park();
    cancel.iter().for_each(|cancel| cancel.cancel().unwrap());
    both_park();
    segment.remove().unwrap();
    assert_eq!(blocked.join().unwrap(), Some(Fault::Closed));
    assert_eq!(waiting.join().unwrap(), Err(Fault::Closed));
}
