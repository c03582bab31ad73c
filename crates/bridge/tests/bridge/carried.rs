//! What arrives, and how.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tombolo::{Message, RecvTimeoutError, Segment, Start};
use zenoh::Wait as _;

use crate::hosts::{Host, PATIENCE, endpoint, eventually, hosts, wait_until};
use crate::plain::client;

#[derive(Clone, Copy, Debug, PartialEq, Message)]
#[repr(C)]
struct Tick {
    id: u64,
    price: f64,
}

#[test]
fn a_broadcast_channel_is_made_on_the_other_side_and_carried_in_order() {
    hosts!(near, far);
    let at = endpoint();
    let publisher = near.spawn(|| {
        let market = Segment::open_or_create("market").unwrap();
        let ticks = market.broadcast::<Tick>("ticks").capacity(1024).lasting();
        let publisher = ticks.publisher().unwrap();
        publisher.wait_for_timeout(1, PATIENCE).unwrap();
        publisher
    });
    let export = near.bridge(&["market", "--listen", &at, "--export", "ticks", "--reliable"]);
    let import = far.bridge(&["market", "--connect", &at, "--import", "ticks", "--reliable"]);
    let publisher = publisher.join().unwrap();
    let received = far.spawn(|| {
        let market = eventually("a segment", || Segment::open("market").ok());
        let ticks = market.broadcast::<Tick>("ticks");
        let subscriber = eventually("a channel", || ticks.reliable_subscriber().ok());
        assert_eq!(market.open_channel("ticks").unwrap().capacity(), 1024);
        let first = subscriber.recv_timeout(PATIENCE).unwrap();
        let mut next = first.id + 1;
        while next < 20_000 {
            let tick = subscriber.recv_timeout(PATIENCE).unwrap();
            assert_eq!(tick, Tick { id: next, price: next as f64 });
            next += 1;
        }
    });
    let done = Arc::new(AtomicBool::new(false));
    let going = Arc::clone(&done);
    let publishing = near.spawn(move || {
        for id in 0.. {
            if going.load(Ordering::Relaxed) {
                return;
            }
            publisher.send(Tick { id, price: id as f64 }).unwrap();
            if id % 32 == 0 {
                thread::sleep(Duration::from_micros(500));
            }
        }
    });
    let result = received.join();
    done.store(true, Ordering::Relaxed);
    publishing.join().unwrap();
    result.unwrap();
    assert!(export.terminate().success());
    assert!(import.terminate().success());
}

#[test]
fn a_queue_is_carried_whole_in_order_and_its_senders_wait_for_a_far_receiver() {
    hosts!(near, far);
    let at = endpoint();
    let sending = near.spawn(|| {
        let work = Segment::open_or_create("work").unwrap();
        let sender = work.bytes("jobs").capacity(16, 100).sender().unwrap();
        for n in 0..2_000_u64 {
            sender.send(&n.to_le_bytes()[..(n % 9) as usize]).unwrap();
        }
    });
    let export = near.bridge(&["work", "--listen", &at, "--export", "jobs"]);
    let import = far.bridge(&["work", "--connect", &at, "--import", "jobs"]);
    // 16 here, 16 there, and what is on the way.
    let far_side = far.spawn(|| {
        let work = eventually("a segment", || Segment::open("work").ok());
        let jobs = work.bytes("jobs");
        let receiver = eventually("a channel", || jobs.receiver().ok());
        let mut job = Vec::new();
        for n in 0..2_000_u64 {
            receiver.recv_timeout(&mut job, PATIENCE).unwrap();
            assert_eq!(job, &n.to_le_bytes()[..(n % 9) as usize], "message {n}");
        }
        assert_eq!(
            receiver.recv_timeout(&mut job, Duration::from_millis(300)),
            Err(RecvTimeoutError::Timeout)
        );
    });
    far_side.join().unwrap();
    sending.join().unwrap();
    assert!(import.terminate().success());
    assert!(export.terminate().success());
}

#[test]
fn what_goes_round_in_a_circle_comes_to_each_host_once() {
    hosts!(one, two, three);
    let at: Vec<_> = (0..3).map(|_| endpoint()).collect();
    let hosts = [&one, &two, &three];
    for host in hosts {
        host.run(|| {
            let chat = Segment::open_or_create("chat").unwrap();
            drop(chat.broadcast::<u64>("lines").capacity(1024).lasting().publisher().unwrap());
        });
    }
    let bridges: Vec<_> = (0..3)
        .map(|n| {
            let (own, next) = (&at[n], &at[(n + 1) % 3]);
            hosts[n].bridge(&["chat", "--listen", own, "--connect", next, "--channel", "lines"])
        })
        .collect();
    bridges.iter().for_each(|bridge| bridge.wait_for("import lines of chat: running"));
    bridges.iter().for_each(|bridge| bridge.wait_for("export lines of chat: running"));
    let going = Arc::new(AtomicBool::new(true));
    let listening: Vec<_> = hosts
        .iter()
        .map(|host| {
            let going = Arc::clone(&going);
            host.spawn(move || {
                let chat = Segment::open("chat").unwrap();
                let lines = chat.broadcast::<u64>("lines");
                let subscriber = lines.reliable_subscriber().unwrap();
                let mut came = BTreeMap::<u64, u64>::new();
                while going.load(Ordering::Relaxed) || !subscriber.is_empty() {
                    match subscriber.recv_timeout(Duration::from_millis(100)) {
                        Ok(line) => *came.entry(line).or_default() += 1,
                        Err(RecvTimeoutError::Timeout) => {}
                        Err(why) => panic!("{why}"),
                    }
                }
                came
            })
        })
        .collect();
    // Links are made in any order: what arrives everywhere says that they are.
    thread::sleep(Duration::from_secs(3));
    for (n, host) in hosts.into_iter().enumerate() {
        host.run(move || {
            let chat = Segment::open("chat").unwrap();
            let publisher = chat.broadcast::<u64>("lines").publisher().unwrap();
            for line in 0..100 {
                publisher.send(line + 1000 * n as u64).unwrap();
                thread::sleep(Duration::from_millis(1));
            }
        });
    }
    thread::sleep(Duration::from_secs(2));
    going.store(false, Ordering::Relaxed);
    let expected: BTreeMap<u64, u64> =
        (0..3).flat_map(|n| (0..100).map(move |line| (line + 1000 * n, 1))).collect();
    for came in listening {
        assert_eq!(came.join().unwrap(), expected);
    }
}

#[test]
fn a_second_bridge_of_a_channel_waits_and_takes_over() {
    hosts!(near, far);
    let at = endpoint();
    let other = endpoint();
    let (sender, work) = near.run(|| {
        let work = Segment::open_or_create("work").unwrap();
        let jobs = work.channel::<u64>("jobs").capacity(1024).lasting();
        (jobs.sender().unwrap(), work)
    });
    let import = far.bridge(&["work", "--connect", &at, "--connect", &other, "--import", "jobs"]);
    let first = near.bridge(&["work", "--listen", &at, "--export", "jobs"]);
    first.wait_for("export jobs of work: running");
    let second = near.bridge(&["work", "--listen", &other, "--export", "jobs"]);
    second.wait_for("another bridge serves jobs");
    let receiving = far.spawn(|| {
        let work = eventually("a segment", || Segment::open("work").ok());
        let jobs = work.channel::<u64>("jobs");
        let receiver = eventually("a channel", || jobs.receiver().ok());
        (0..200).map(|_| receiver.recv_timeout(PATIENCE).unwrap()).collect::<Vec<_>>()
    });
    let sender = near.run(move || {
        (0..100).for_each(|n| sender.send(n).unwrap());
        sender
    });
    wait_until("half of them are there", {
        let near = &near;
        move || {
            near.run(|| {
                Segment::open("work")
                    .unwrap()
                    .open_channel("jobs")
                    .unwrap()
                    .receiver()
                    .unwrap()
                    .is_empty()
            })
        }
    });
    thread::sleep(Duration::from_millis(500));
    first.kill();
    second.wait_for("export jobs of work: running");
    near.run(move || {
        (100..200).for_each(|n| sender.send(n).unwrap());
        drop(work);
    });
    assert_eq!(receiving.join().unwrap(), (0..200).collect::<Vec<_>>());
    drop((import, second));
}

#[test]
fn a_channel_of_another_type_is_refused_and_both_are_named() {
    hosts!(near, far);
    let at = endpoint();
    let near_side = near.run(|| {
        let work = Segment::open_or_create("work").unwrap();
        let sender = work.channel::<u64>("jobs").capacity(4).sender().unwrap();
        sender.send(1).unwrap();
        (work, sender)
    });
    let far_side = far.run(|| {
        let work = Segment::open_or_create("work").unwrap();
        let sender = work.channel::<u32>("jobs").capacity(4).sender().unwrap();
        (work, sender)
    });
    let export = near.bridge(&["work", "--listen", &at, "--export", "jobs"]);
    let import = far.bridge(&["work", "--connect", &at, "--import", "jobs"]);
    import.wait_for("but channel jobs of segment work");
    let said = import.said();
    assert!(said.contains("Mpmc of u64 (8 bytes"), "{said}");
    assert!(said.contains("Mpmc of u32 (4 bytes"), "{said}");
    near.run(move || {
        assert_eq!(near_side.1.len(), 1, "it was taken all the same");
        drop(near_side);
    });
    far.run(move || drop(far_side));
    drop((export, import));
}

#[test]
fn a_message_of_64_mib_arrives_whole() {
    hosts!(near, far);
    let at = endpoint();
    const LONGEST: usize = 64 << 20;
    let keep = near.run(|| {
        let options =
            Segment::options().room_for_bytes(2, LONGEST).room_for_broadcast_bytes(2, LONGEST);
        let big = options.open_or_create("big").unwrap();
        let queue = big.bytes("queue").capacity(2, LONGEST).lasting().sender().unwrap();
        let news = big.broadcast_bytes("news").capacity(2, LONGEST).lasting().publisher().unwrap();
        (big, queue, news)
    });
    let export = near.bridge(&["big", "--listen", &at, "--export", "queue", "--export", "news"]);
    let import = far.bridge(&["big", "--connect", &at, "--import", "queue", "--import", "news"]);
    let came = far.spawn(|| {
        let big = eventually("a segment", || Segment::open("big").ok());
        let queue = big.bytes("queue");
        let receiver = eventually("a channel", || queue.receiver().ok());
        let mut message = Vec::new();
        receiver.recv_timeout(&mut message, PATIENCE).unwrap();
        let whole = message.len() == LONGEST
            && message.iter().enumerate().all(|(n, &byte)| byte == (n % 251) as u8);
        let news = big.broadcast_bytes("news");
        let subscriber = eventually("a channel", || news.subscriber_from(Start::Oldest).ok());
        subscriber.recv_timeout(&mut message, PATIENCE).unwrap();
        (whole, message.len())
    });
    near.run(move || {
        let (_big, queue, news) = keep;
        let message: Vec<u8> = (0..LONGEST).map(|n| (n % 251) as u8).collect();
        queue.send(&message).unwrap();
        news.wait_for_timeout(1, PATIENCE).unwrap();
        // Until the link is there.
        for _ in 0..5 {
            thread::sleep(Duration::from_secs(1));
            news.send(&message).unwrap();
        }
    });
    assert_eq!(came.join().unwrap(), (true, LONGEST));
    drop((export, import));
}

#[test]
fn a_far_consumer_that_is_slow_bounds_the_memory_of_both_bridges() {
    hosts!(near, far);
    let at = endpoint();
    const SIZE: usize = 1 << 20;
    let done = Arc::new(AtomicBool::new(false));
    let going = Arc::clone(&done);
    let sending = near.spawn(move || {
        let options =
            Segment::options().room_for_bytes(64, SIZE).room_for_broadcast_bytes(64, SIZE);
        let slow = options.open_or_create("slow").unwrap();
        let queue = slow.bytes("queue").capacity(64, SIZE).lasting().sender().unwrap();
        let news = slow.broadcast_bytes("news").capacity(64, SIZE).lasting().publisher().unwrap();
        let message = vec![1; SIZE];
        let mut sent = 0;
        while !going.load(Ordering::Relaxed) {
            sent += u64::from(queue.send_timeout(&message, Duration::from_millis(20)).is_ok());
            news.send(&message).unwrap();
        }
        sent
    });
    let export = near.bridge(&["slow", "--listen", &at, "--export", "queue", "--export", "news"]);
    let import = far.bridge(&["slow", "--connect", &at, "--import", "queue", "--import", "news"]);
    let stalled = far.run(|| {
        let slow = eventually("a segment", || Segment::open("slow").ok());
        let queue = eventually("a channel", || slow.bytes("queue").receiver().ok());
        let news = slow.broadcast_bytes("news");
        // Reads nothing.
        let news = eventually("a channel", || news.reliable_subscriber().ok());
        (queue, news, slow)
    });
    let begin = Instant::now();
    let mut most = [0; 2];
    while begin.elapsed() < Duration::from_secs(6) {
        for (most, bridge) in most.iter_mut().zip([&export, &import]) {
            *most = bridge.memory().max(*most);
        }
        thread::sleep(Duration::from_millis(50));
    }
    done.store(true, Ordering::Relaxed);
    let sent = sending.join().unwrap();
    eprintln!("{sent} MiB taken of the queue; the bridges had {most:?} bytes at most");
    // 64 here, 64 there, and 64 MiB of credit.
    assert!(sent < 64 * 4, "{sent} messages were taken");
    assert!(most.iter().all(|&most| most < 400 << 20), "{most:?}");
    far.run(move || drop(stalled));
    drop((export, import));
}

#[test]
fn what_a_far_host_had_and_did_not_acknowledge_goes_to_another_one() {
    hosts!(near, two);
    let at = endpoint();
    let file = std::env::temp_dir().join(format!("bridge-{}.json5", std::process::id()));
    let config = format!(
        "{{ engine: {{ listen: \"{at}\" }}, lease_seconds: 2, channels: [\
         {{ segment: \"work\", channel: \"jobs\", direction: \"export\" }}] }}"
    );
    std::fs::write(&file, config).unwrap();
    let sender = near.run(|| {
        let work = Segment::open_or_create("work").unwrap();
        let sender = work.channel::<u64>("jobs").capacity(128).lasting().sender().unwrap();
        (0..100).for_each(|n| sender.send(n).unwrap());
        sender
    });
    let export = near.bridge(&["--config", file.to_str().unwrap()]);
    export.wait_for("export jobs of work: running");
    // It takes all, and is not heard of again.
    let first = client(&at);
    let pull =
        first.get("tombolo/work/jobs/@pull/*?from=first;credit=100;wait=900").wait().unwrap();
    assert_eq!(pull.recv().unwrap().result().unwrap().payload().len(), 800);
    first.close().wait().unwrap();
    let second = two.bridge(&["work", "--connect", &at, "--import", "jobs"]);
    let came: BTreeSet<u64> = two.run(|| {
        let work = eventually("a segment", || Segment::open("work").ok());
        let jobs = work.channel::<u64>("jobs");
        let mut receiver = eventually("a channel", || jobs.receiver().ok());
        let mut came = BTreeSet::new();
        while came.len() < 100 {
            let job = receiver.take_timeout(PATIENCE).unwrap();
            assert!(job.attempts() > 0, "{} has no mark", job.read());
            came.insert(job.read());
        }
        came
    });
    assert_eq!(came, (0..100).collect());
    std::fs::remove_file(file).unwrap();
    near.run(move || drop(sender));
    drop((export, second));
}

#[test]
fn two_hosts_share_a_queue_of_each_kind_and_each_message_comes_to_one_of_them() {
    hosts!(near, one, two);
    let at = endpoint();
    let senders = near.run(|| {
        let work = Segment::open_or_create("work").unwrap();
        let shared = work.channel::<u64>("shared").capacity(256).lasting().sender().unwrap();
        let single = work.bytes("single").capacity(256, 64).spsc().lasting().sender().unwrap();
        (work, shared, single)
    });
    let export =
        near.bridge(&["work", "--listen", &at, "--export", "shared", "--export", "single"]);
    let imports = [
        one.bridge(&["work", "--connect", &at, "--import", "shared", "--import", "single"]),
        two.bridge(&["work", "--connect", &at, "--import", "shared"]),
    ];
    let over = Arc::new(AtomicBool::new(false));
    let all = Arc::new(AtomicU64::new(0));
    let receiving = |host: &Host| {
        let (ended, all) = (Arc::clone(&over), Arc::clone(&all));
        host.spawn(move || {
            let work = eventually("a segment", || Segment::open("work").ok());
            let shared = work.channel::<u64>("shared");
            let receiver = eventually("a channel", || shared.receiver().ok());
            let mut came = Vec::new();
            while !ended.load(Ordering::Relaxed) {
                if let Ok(one) = receiver.recv_timeout(Duration::from_millis(50)) {
                    came.push(one);
                    all.fetch_add(1, Ordering::Relaxed);
                }
            }
            came
        })
    };
    let came = [receiving(&one), receiving(&two)];
    let single = one.spawn(|| {
        let work = eventually("a segment", || Segment::open("work").ok());
        let single = work.bytes("single").spsc();
        let receiver = eventually("a channel", || single.receiver().ok());
        let mut message = Vec::new();
        for n in 0..200_u64 {
            receiver.recv_timeout(&mut message, PATIENCE).unwrap();
            assert_eq!(message, n.to_string().as_bytes());
        }
    });
    imports.iter().for_each(|bridge| bridge.wait_for("import shared of work: running"));
    near.run(move || {
        let (_work, shared, single) = senders;
        (0..200).for_each(|n| single.send(format!("{n}").as_bytes()).unwrap());
        (0..20_000).for_each(|n| shared.send(n).unwrap());
    });
    single.join().unwrap();
    wait_until("all has come", || all.load(Ordering::Relaxed) >= 20_000);
    // Would anything come twice?
    thread::sleep(Duration::from_millis(500));
    over.store(true, Ordering::Relaxed);
    let [in_one, in_two] = came.map(|came| came.join().unwrap());
    assert!(!in_one.is_empty() && !in_two.is_empty());
    assert!(in_one.is_sorted() && in_two.is_sorted());
    let mut all = [in_one, in_two].concat();
    all.sort_unstable();
    assert!(all.into_iter().eq(0..20_000));
    drop((export, imports));
}

#[test]
fn an_exporter_may_die_any_number_of_times_while_the_far_side_is_full() {
    hosts!(near, far);
    let at = endpoint();
    // Eight deaths over a message drop it.
    let sender = near.run(|| {
        let work = Segment::open_or_create("work").unwrap();
        let sender = work.channel::<u64>("jobs").capacity(32).lasting().sender().unwrap();
        (0..32).for_each(|n| sender.send(n).unwrap());
        sender
    });
    let receiver = far.run(|| {
        let work = Segment::open_or_create("work").unwrap();
        work.channel::<u64>("jobs").capacity(4).lasting().receiver().unwrap()
    });
    let import = far.bridge(&["work", "--connect", &at, "--import", "jobs"]);
    for _ in 0..12 {
        let export = near.bridge(&["work", "--listen", &at, "--export", "jobs"]);
        export.wait_for("export jobs of work: running");
        thread::sleep(Duration::from_millis(300));
        export.kill();
    }
    let export = near.bridge(&["work", "--listen", &at, "--export", "jobs"]);
    let came = far.run(move || {
        (0..32).map(|_| receiver.recv_timeout(PATIENCE).unwrap()).collect::<BTreeSet<_>>()
    });
    assert_eq!(came, (0..32).collect());
    near.run(move || drop(sender));
    drop((import, export));
}

#[test]
fn a_gap_of_a_channel_that_goes_both_ways_is_told_once_and_does_not_go_round() {
    hosts!(one, two);
    let at = endpoint();
    let publishers = [&one, &two].map(|host| {
        host.run(|| {
            let chat = Segment::open_or_create("chat").unwrap();
            chat.broadcast::<u64>("lines").capacity(64).lasting().publisher().unwrap()
        })
    });
    let first = one.bridge(&["chat", "--listen", &at, "--channel", "lines"]);
    let start = || two.bridge(&["chat", "--connect", &at, "--channel", "lines"]);
    let second = start();
    let subscriber = two.run(|| {
        let chat = Segment::open("chat").unwrap();
        chat.broadcast::<u64>("lines").subscriber().unwrap()
    });
    let [mine, theirs] = publishers;
    let published = || {
        let chat = Segment::open("chat").unwrap();
        chat.broadcast::<u64>("lines").publisher().unwrap().published()
    };
    first.wait_for("running");
    // Until both are connected.
    let mut mine = Some(mine);
    wait_until("something comes", || {
        let publisher = mine.take().unwrap();
        mine = Some(one.run(move || {
            publisher.send(1).unwrap();
            publisher
        }));
        two.run(published) > 0
    });
    second.kill();
    let publisher = mine.take().unwrap();
    let mine = one.run(move || {
        (0..1000).for_each(|_| publisher.send(2).unwrap());
        publisher
    });
    let second = start();
    second.wait_for("import lines of chat: running");
    let missed = two.spawn(move || {
        let mut missed = 0;
        let begin = Instant::now();
        while missed < 1000 && begin.elapsed() < PATIENCE {
            match subscriber.recv_timeout(Duration::from_millis(100)) {
                Err(RecvTimeoutError::Lagged(many)) => missed += many,
                Err(RecvTimeoutError::Timeout) | Ok(_) => {}
                Err(why) => panic!("{why}"),
            }
        }
        missed
    });
    let missed = missed.join().unwrap();
    assert!((900..=1100).contains(&missed), "{missed} were told");
    thread::sleep(Duration::from_secs(2));
    let before = [one.run(published), two.run(published)];
    thread::sleep(Duration::from_secs(3));
    assert_eq!([one.run(published), two.run(published)], before, "a gap goes round");
    one.run(move || drop(mine));
    two.run(move || drop(theirs));
    drop((first, second));
}

#[test]
fn a_reliable_route_misses_nothing_and_its_publishers_wait() {
    hosts!(near, far);
    let at = endpoint();
    let publisher = near.run(|| {
        let market = Segment::open_or_create("market").unwrap();
        market.broadcast_bytes("ticks").capacity(32, 1000).lasting().publisher().unwrap()
    });
    let export = near.bridge(&["market", "--listen", &at, "--export", "ticks", "--reliable"]);
    let import = far.bridge(&["market", "--connect", &at, "--import", "ticks", "--reliable"]);
    let received = far.spawn(|| {
        let market = eventually("a segment", || Segment::open("market").ok());
        let ticks = market.broadcast_bytes("ticks");
        let subscriber = eventually("a channel", || ticks.reliable_subscriber().ok());
        let (mut next, mut tick) = (None, Vec::new());
        loop {
            subscriber.recv_timeout(&mut tick, PATIENCE).unwrap();
            let number = u64::from_le_bytes(tick[..8].try_into().unwrap());
            assert_eq!(*next.get_or_insert(number), number);
            assert_eq!(tick.len(), 8 + (number % 900) as usize);
            next = Some(number + 1);
            if number % 500 == 0 {
                thread::sleep(Duration::from_millis(20));
            }
            if number == 9_999 {
                return;
            }
        }
    });
    import.wait_for("import ticks of market: running");
    near.run(move || {
        publisher.wait_for_timeout(1, PATIENCE).unwrap();
        for number in 0..10_000_u64 {
            let mut tick = number.to_le_bytes().to_vec();
            tick.resize(8 + (number % 900) as usize, 0);
            publisher.send(&tick).unwrap();
            if number < 50 {
                thread::sleep(Duration::from_millis(20));
            }
        }
    });
    received.join().unwrap();
    drop((export, import));
}
