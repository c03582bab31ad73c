//! A far side that is no Tombolo: a client of Zenoh, which has only what `wire` says.

use std::time::Duration;

use tombolo::{RecvTimeoutError, Segment};
use zenoh::{Session, Wait as _};

use crate::hosts::{Host, PATIENCE, endpoint, wait_until};

/// A session of Zenoh that is a client of that endpoint.
pub(crate) fn client(at: &str) -> Session {
    let mut settings = zenoh::Config::default();
    for (key, value) in [
        ("mode", "\"client\"".to_owned()),
        ("connect/endpoints", format!("[\"{at}\"]")),
        ("scouting/multicast/enabled", "false".to_owned()),
    ] {
        settings.insert_json5(key, &value).unwrap();
    }
    zenoh::open(settings).wait().unwrap()
}

fn long(header: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(header[at..at + 8].try_into().unwrap())
}

#[test]
fn a_plain_client_subscribes_and_publishes() {
    let Some(near) = Host::new() else { return };
    let at = endpoint();
    let (publisher, subscriber, _market) = near.run(|| {
        let market = Segment::open_or_create("market").unwrap();
        let ticks = market.broadcast::<u64>("ticks").capacity(64).lasting();
        let orders = market.broadcast::<u64>("orders").capacity(64).lasting();
        (ticks.publisher().unwrap(), orders.subscriber().unwrap(), market)
    });
    let bridge =
        near.bridge(&["market", "--listen", &at, "--export", "ticks", "--import", "orders"]);
    bridge.wait_for("export ticks of market: running");
    bridge.wait_for("import orders of market: running");
    let session = client(&at);
    let ticks = session.declare_subscriber("tombolo/market/ticks").wait().unwrap();
    let (mut next, mut sent) = (None, 0_u64);
    wait_until("100 in a row", || {
        near.run({
            let publisher = publisher.try_clone().unwrap();
            move || publisher.send(sent).unwrap()
        });
        sent += 1;
        while let Ok(Some(put)) = ticks.try_recv() {
            let header = put.attachment().unwrap().to_bytes();
            let payload = put.payload().to_bytes();
            assert_eq!(&header[..5], b"TBR1\0");
            let count = u32::from_le_bytes(header[8..12].try_into().unwrap());
            assert_eq!(payload.len(), 8 * count as usize);
            for (n, message) in payload.chunks(8).enumerate() {
                let seq = long(&header, 48) + n as u64;
                assert_eq!(u64::from_le_bytes(message.try_into().unwrap()), seq);
                assert_eq!(*next.get_or_insert(seq), seq);
                next = Some(seq + 1);
            }
        }
        next.is_some_and(|next| next >= 100)
    });
    let number = near.spawn(move || subscriber.recv_timeout(PATIENCE));
    let orders = session.get("tombolo/market/orders/@in").payload(7_u64.to_ne_bytes());
    let answer = orders.wait().unwrap().recv().unwrap();
    assert_eq!(&*answer.result().unwrap().payload().to_bytes(), b"ok");
    assert_eq!(number.join().unwrap(), Ok(7));
    let wrong = session.get("tombolo/market/orders/@in").payload("four").wait().unwrap();
    let why = wrong.recv().unwrap().into_result().unwrap_err();
    assert!(String::from_utf8_lossy(&why.payload().to_bytes()).contains("8 bytes, and not 4"));
    near.run(move || drop((publisher, _market)));
    session.close().wait().unwrap();
}

#[test]
fn a_plain_client_takes_from_a_queue_and_sends_to_one() {
    let Some(near) = Host::new() else { return };
    let at = endpoint();
    let (sender, receiver, work) = near.run(|| {
        let work = Segment::open_or_create("work").unwrap();
        let jobs = work.bytes("jobs").capacity(64, 80).lasting().sender().unwrap();
        let done = work.bytes("done").capacity(64, 80).lasting().receiver().unwrap();
        ["one", "two", "three"].iter().for_each(|job| jobs.send(job.as_bytes()).unwrap());
        (jobs, done, work)
    });
    let bridge = near.bridge(&["work", "--listen", &at, "--export", "jobs", "--import", "done"]);
    bridge.wait_for("export jobs of work: running");
    bridge.wait_for("import done of work: running");
    let session = client(&at);
    let get = |what: &str| {
        let replies = session.get(format!("tombolo/work/jobs/@pull/*?{what}")).wait().unwrap();
        let reply = replies.recv().unwrap().into_result().unwrap();
        let header = reply.attachment().unwrap().to_bytes().into_owned();
        (reply.key_expr().to_string(), header, reply.payload().to_bytes().into_owned())
    };
    let (_, header, payload) = get("from=me;credit=2;wait=5000");
    assert_eq!(payload, b"onetwo");
    assert_eq!(&header[..6], b"TBR1\x01\x01");
    assert_eq!((long(&header, 48), &header[64..]), (1, &[3, 0, 0, 0, 3, 0, 0, 0][..]));
    // Not acknowledged: the same again.
    let (_, again, payload) = get("from=me;credit=2;wait=0");
    // And who does not name the session does not know what it has had: these are marked.
    assert_eq!((&payload[..], again[5], &again[72..]), (&b"onetwo"[..], 3, &[1, 1][..]));
    let session_of = long(&header, 40);
    let acknowledged = get(&format!("from=me;session={session_of:x};ack=2;credit=10;wait=5000"));
    assert_eq!(acknowledged.2, b"three");
    get(&format!("from=me;session={session_of:x};ack=3;credit=0"));
    assert!(near.run(move || sender.is_empty()));
    let answer = session.get("tombolo/work/done/@in").payload("all three").wait().unwrap();
    assert_eq!(&*answer.recv().unwrap().result().unwrap().payload().to_bytes(), b"ok");
    let nameless = session.get("tombolo/work/jobs/@pull/*?credit=2").wait().unwrap();
    let why = nameless.recv().unwrap().into_result().unwrap_err();
    assert!(String::from_utf8_lossy(&why.payload().to_bytes()).contains("a name of your own"));
    near.run(move || {
        let mut done = Vec::new();
        receiver.recv_timeout(&mut done, PATIENCE).unwrap();
        assert_eq!(done, b"all three");
        let nothing = receiver.recv_timeout(&mut done, Duration::from_millis(50));
        assert_eq!(nothing, Err(RecvTimeoutError::Timeout));
        drop(work);
    });
    session.close().wait().unwrap();
}

#[test]
fn what_is_asked_of_a_queue_comes_to_one_of_the_hosts_that_import_it() {
    let (Some(one), Some(two)) = (Host::new(), Host::new()) else { return };
    let (first, second) = (endpoint(), endpoint());
    let made = || {
        let work = Segment::open_or_create("work").unwrap();
        work.channel::<u64>("jobs").capacity(64).lasting().receiver().unwrap()
    };
    let [_one, _two] = [one.run(made), two.run(made)];
    let bridges = [
        one.bridge(&["work", "--listen", &first, "--import", "jobs"]),
        two.bridge(&["work", "--listen", &second, "--connect", &first, "--import", "jobs"]),
    ];
    bridges.iter().for_each(|bridge| bridge.wait_for("import jobs of work: running"));
    let session = client(&first);
    let ask = |key: &str, n: u64| {
        let asked = session.get(key).payload(n.to_ne_bytes()).wait().unwrap();
        asked.into_iter().map(|reply| reply.into_result().is_ok()).collect::<Vec<_>>()
    };
    // Where one alone imports, its key is not needed; where several do, nobody takes it twice.
    let mut own = Vec::new();
    wait_until("both are known", || {
        let tokens = session.liveliness().get("tombolo/work/jobs/@in/*").wait().unwrap();
        own = tokens.into_iter().filter_map(|one| one.into_result().ok()).collect();
        own.len() == 2 && !ask("tombolo/work/jobs/@in", 0).contains(&true)
    });
    let count = |host: &Host| {
        host.run(|| {
            Segment::open("work").unwrap().open_channel("jobs").unwrap().receiver().unwrap().len()
        })
    };
    let before = count(&one) + count(&two);
    for n in 0..20 {
        assert_eq!(ask(own[n as usize % 2].key_expr().as_str(), n), [true]);
    }
    assert_eq!(count(&one) + count(&two), before + 20);
    session.close().wait().unwrap();
}

#[test]
fn what_was_pulled_and_not_acknowledged_is_there_again_after_a_shutdown() {
    let Some(near) = Host::new() else { return };
    let at = endpoint();
    let (work, sender) = near.run(|| {
        let work = Segment::open_or_create("work").unwrap();
        let sender = work.channel::<u64>("jobs").capacity(64).lasting().sender().unwrap();
        (0..10).for_each(|n| sender.send(n).unwrap());
        (work, sender)
    });
    let bridge = near.bridge(&["work", "--listen", &at, "--export", "jobs"]);
    bridge.wait_for("export jobs of work: running");
    let session = client(&at);
    let pull = "tombolo/work/jobs/@pull/*?from=me;credit=10;wait=5000";
    let reply = session.get(pull).wait().unwrap().recv().unwrap().into_result().unwrap();
    assert_eq!(reply.payload().len(), 80);
    let _waiting = session.get(pull.replace("credit=10", "credit=20")).wait().unwrap();
    near.run(move || {
        let commander = work.commander().unwrap();
        commander.shutdown(PATIENCE).unwrap();
        std::thread::sleep(Duration::from_secs(1));
        commander.resume(PATIENCE).unwrap();
        drop(sender);
    });
    bridge.kill();
    near.run(|| {
        let work = Segment::open("work").unwrap();
        let mut receiver = work.channel::<u64>("jobs").receiver().unwrap();
        for _ in 0..10 {
            let job = receiver.take_timeout(PATIENCE).unwrap();
            assert!(job.attempts() > 0, "{} has no mark", job.read());
        }
    });
    session.close().wait().unwrap();
}
