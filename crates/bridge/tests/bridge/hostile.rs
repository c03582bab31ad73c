//! A peer that says anything.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tombolo::{RecvTimeoutError, Segment, Start};
use zenoh::{Session, Wait as _};

use crate::hosts::{Bridge, Host, PATIENCE, endpoint, hosts, wait_until};
use crate::plain::client;

/// More than both bridges together ever need for what these tests carry.
const MEMORY: u64 = 500 << 20;

/// A header's bytes.
struct Head {
    form: u8,
    flags: u8,
    count: u32,
    fingerprint: u64,
    origin: [u8; 16],
    stream: u64,
    seq: u64,
    lost: u64,
}

impl Head {
    fn bytes(&self, rest: &[u8]) -> Vec<u8> {
        let mut all = b"TBR1".to_vec();
        all.extend([self.form, self.flags, 0, 0]);
        all.extend(self.count.to_le_bytes());
        all.extend([0; 4]);
        all.extend(self.fingerprint.to_le_bytes());
        all.extend(self.origin);
        [self.stream, self.seq, self.lost].iter().for_each(|n| all.extend(n.to_le_bytes()));
        all.extend(rest);
        all
    }
}

/// All headers that are wrong in some way, of that form.
fn wrong(form: u8, fingerprint: u64, origin: [u8; 16]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let head = |flags, count, seq| Head {
        form,
        flags,
        count,
        fingerprint,
        origin,
        stream: 99,
        seq,
        lost: u64::MAX,
    };
    let mut all = vec![
        (Vec::new(), Vec::new()),
        (b"TBR1".to_vec(), b"x".to_vec()),
        (vec![0xFF; 64], vec![0; 8]),
        (head(0, u32::MAX, 0).bytes(&[]), vec![0; 8]),
        (head(1, u32::MAX, 0).bytes(&[0; 8]), vec![0; 8]),
        (head(3, 1 << 16, 0).bytes(&vec![0; 5 << 16]), Vec::new()),
        (head(1, 2, 1).bytes(&[0xFF; 8]), vec![0; 8]),
        (head(2, 2, 1).bytes(&[0xFF]), vec![0; 16]),
    ];
    for seq in [0, 1, u64::MAX, 5, u64::MAX - 1] {
        all.push((head(2, 1, seq).bytes(&[0xFF]), vec![0; 8]));
        all.push((head(0, 0, seq).bytes(&[]), Vec::new()));
    }
    all
}

/// Goes on until it is dropped.
struct Going(Arc<AtomicBool>, Option<thread::JoinHandle<()>>);

impl Going {
    fn start(mut what: impl FnMut(u64) + Send + 'static) -> Self {
        let going = Arc::new(AtomicBool::new(true));
        let still = Arc::clone(&going);
        let thread = thread::spawn(move || {
            for n in 0.. {
                if !still.load(Ordering::Relaxed) {
                    return;
                }
                what(n);
            }
        });
        Self(going, Some(thread))
    }
}

impl Drop for Going {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
        let _ = self.1.take().unwrap().join();
    }
}

fn origin(n: u64) -> [u8; 16] {
    let mut bytes = [0xAB; 16];
    bytes[..8].copy_from_slice(&n.to_le_bytes());
    bytes
}

fn put(session: &Session, key: &str, payload: Vec<u8>, attached: Vec<u8>) {
    let _ = session.put(key.to_owned(), payload).attachment(attached).wait();
}

fn assert_well(bridges: &[&Bridge]) {
    for bridge in bridges {
        assert!(bridge.lives(), "a bridge has died:\n{}", bridge.said());
        let memory = bridge.memory();
        assert!(memory < MEMORY, "a bridge has {memory} bytes");
        assert!(!bridge.said().contains("panicked"), "{}", bridge.said());
    }
}

#[test]
fn a_peer_that_says_anything_neither_ends_a_bridge_nor_takes_a_message_from_it() {
    hosts!(near, far);
    let at = endpoint();
    let (ticks, jobs) = near.run(|| {
        let both = Segment::open_or_create("both").unwrap();
        let ticks = both.broadcast::<u64>("ticks").capacity(1024).lasting().publisher().unwrap();
        let jobs = both.channel::<u64>("jobs").capacity(64).lasting().sender().unwrap();
        (ticks, jobs)
    });
    let arguments = ["both", "--listen", &at, "--export", "ticks", "--export", "jobs"];
    let export = near.bridge(&arguments);
    let arguments = ["both", "--connect", &at, "--import", "ticks", "--import", "jobs"];
    let other = endpoint();
    let import = far.bridge(&[&arguments[..], &["--listen", &other]].concat());
    import.wait_for("import ticks of both: running");
    import.wait_for("import jobs of both: running");
    let fingerprint =
        near.run(|| Segment::open("both").unwrap().open_channel("ticks").unwrap().fingerprint());
    let (subscriber, receiver) = far.run(|| {
        let both = Segment::open("both").unwrap();
        let ticks = both.broadcast::<u64>("ticks").reliable_subscriber_from(Start::Oldest).unwrap();
        (ticks, both.channel::<u64>("jobs").receiver().unwrap())
    });
    // To both: what exporters and importers may say.
    let sessions = [client(&at), client(&other)];
    let mut rude = Vec::new();
    for session in &sessions {
        let fake = origin(7).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let tokens: Vec<_> = [
            format!("tombolo/both/jobs/@tombolo/{fake}"),
            format!("tombolo/both/ticks/@tombolo/{fake}"),
            "tombolo/both/jobs/@tombolo/none".to_owned(),
            format!("tombolo/@bridge/{}", "long".repeat(500)),
            "tombolo/@bridge/\u{1b}[2J".to_owned(),
        ]
        .into_iter()
        .filter_map(|key| session.liveliness().declare_token(key).wait().ok())
        .collect();
        // A description that is none, that asks for too much, and one that fits.
        let which = std::sync::atomic::AtomicUsize::new(0);
        let answers = session
            .declare_queryable(format!("tombolo/both/*/@tombolo/{fake}"))
            .callback(move |query| {
                let n = which.fetch_add(1, Ordering::Relaxed);
                let mut said = "{\"version\":1".to_owned();
                if n > 3 {
                    said = format!(
                        "{{\"version\":1,\"origin\":\"{fake}\",\"host\":\"\\u001b\",\"pid\":1,\"segment\":\"s\",\
                         \"channel\":\"c\",\"kind\":\"Mpmc\",\"schema\":\"u64\",\"size\":8,\"align\":8,\
                         \"fingerprint\":\"{fingerprint:016x}\",\"capacity\":18446744073709551615,\
                         \"attempts\":255,\"lasting\":true,\"lease_ms\":18446744073709551615}}"
                    );
                }
                let _ = query.reply(query.key_expr().clone(), said).wait();
            })
            .wait()
            .unwrap();
        let replies = session
            .declare_queryable("tombolo/both/jobs/@pull/*")
            .callback(move |query| {
                static N: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
                // What is asked of the honest one is not its to answer.
                let key = query.key_expr().clone();
                if !key.as_str().ends_with(&"ab".repeat(8)) {
                    return;
                }
                let all = wrong(1, fingerprint, origin(7));
                let n = N.fetch_add(1, Ordering::Relaxed);
                let (attached, payload) = all[n % all.len()].clone();
                let _ = query.reply(key, payload).attachment(attached).wait();
            })
            .wait()
            .unwrap();
        let (to, its) = (session.clone(), fingerprint);
        let puts = Going::start(move |n| {
            for (attached, payload) in wrong(0, its, origin(n % 40)) {
                put(&to, "tombolo/both/ticks", payload, attached);
            }
            put(&to, "tombolo/both/jobs", vec![0; 100], vec![0; 1000]);
            put(&to, "tombolo/both/jobs/@in", vec![0; 8], vec![0; 1000]);
            let _ = to.put("tombolo/both/ticks/@in", vec![0; 9]).wait();
            thread::sleep(Duration::from_millis(2));
        });
        let to = session.clone();
        let asks = Going::start(move |n| {
            for what in [
                "from=me;credit=0;bytes=0;wait=18446744073709551615".to_owned(),
                "from=me;credit=0;session=ffffffffffffffff;ack=18446744073709551615".to_owned(),
                format!("from=who{n};credit=0;wait=0"),
                "from=;credit=x".to_owned(),
                format!("from=me;credit=0;more={}", "x".repeat(5000)),
                "session=-1;from=me".to_owned(),
            ] {
                let get = session_get(&to, &format!("tombolo/both/jobs/@pull/*?{what}"));
                drop(get);
            }
            thread::sleep(Duration::from_millis(5));
        });
        rude.push((tokens, answers, replies, puts, asks));
    }
    // Meanwhile, and afterwards, all that is honest arrives.
    const FIRST: u64 = 1 << 40;
    const JOBS: u64 = 1000;
    let (sent, last) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let over = Arc::new(AtomicBool::new(false));
    let (sending, ends) = (Arc::clone(&sent), Arc::clone(&over));
    let publishing = near.spawn(move || {
        for n in FIRST.. {
            ticks.send(n).unwrap();
            sending.store(n, Ordering::Relaxed);
            if n < FIRST + JOBS {
                jobs.send(n).unwrap();
            } else if ends.load(Ordering::Relaxed) {
                break;
            }
            thread::sleep(Duration::from_millis(1));
        }
        (ticks, jobs)
    });
    let jobs_came = far.spawn(move || {
        let mut came = Vec::new();
        while came.last() != Some(&(FIRST + JOBS - 1)) {
            came.extend(Some(receiver.recv_timeout(PATIENCE).unwrap()).filter(|n| *n >= FIRST));
        }
        came
    });
    // Of a lossy channel under such a load, anything may be missing; it is told, and comes in order.
    let (seen, ends) = (Arc::clone(&last), Arc::clone(&over));
    let ticks_come = far.spawn(move || {
        let mut before = 0;
        while !ends.load(Ordering::Relaxed) {
            match subscriber.recv_timeout(Duration::from_millis(100)) {
                Ok(tick) if tick >= FIRST => {
                    assert!(tick > before, "{tick} after {before}");
                    before = tick;
                    seen.store(tick, Ordering::Relaxed);
                }
                Ok(_) | Err(RecvTimeoutError::Lagged(_) | RecvTimeoutError::Timeout) => {}
                Err(why) => panic!("{why}"),
            }
        }
    });
    let wait = |what: &str, done: &dyn Fn() -> bool| {
        let begin = Instant::now();
        while !done() {
            assert!(begin.elapsed() < 2 * PATIENCE, "{what} does not arrive");
            assert_well(&[&export, &import]);
            thread::sleep(Duration::from_millis(100));
        }
    };
    wait("a job", &|| jobs_came.is_finished());
    assert!(jobs_came.join().unwrap().into_iter().eq(FIRST..FIRST + JOBS));
    drop(rude);
    let now = sent.load(Ordering::Relaxed);
    wait("a tick", &|| last.load(Ordering::Relaxed) > now);
    over.store(true, Ordering::Relaxed);
    ticks_come.join().unwrap();
    assert_well(&[&export, &import]);
    drop(near.run(move || publishing.join().unwrap()));
    for session in sessions {
        session.close().wait().unwrap();
    }
    drop((export, import));
}

#[test]
fn what_strangers_send_takes_no_more_memory_than_the_credit() {
    let Some(host) = Host::new() else { return };
    let at = endpoint();
    let stalled = host.run(|| {
        let both = Segment::open_or_create("both").unwrap();
        let ticks = both.broadcast::<u64>("ticks").capacity(8).lasting();
        let jobs = both.channel::<u64>("jobs").capacity(8).lasting().sender().unwrap();
        (ticks.reliable_subscriber().unwrap(), jobs, ticks.publisher().unwrap())
    });
    let arguments = ["both", "--listen", &at, "--import", "ticks", "--export", "jobs"];
    let bridge = host.bridge(&arguments);
    bridge.wait_for("import ticks of both: running");
    bridge.wait_for("export jobs of both: running");
    let session = client(&at);
    let mut replies = Vec::new();
    for n in 0..40_u64 {
        // The subscriber does not read. Of a put, what is attached stays as long as the rest.
        put(&session, "tombolo/both/ticks", vec![0; 8], vec![n as u8; 16 << 20]);
        let get = session.get("tombolo/both/ticks/@in").payload(vec![0; 8]);
        replies.push(get.attachment(vec![0; 16 << 20]).wait());
        let get = session.get("tombolo/both/jobs/@pull/*?from=me;credit=0;wait=20000");
        replies.push(get.payload(vec![0; 16 << 20]).wait());
        assert_well(&[&bridge]);
    }
    thread::sleep(Duration::from_secs(1));
    assert_well(&[&bridge]);
    host.run(move || drop(stalled));
    session.close().wait().unwrap();
}

#[test]
fn a_gap_that_has_no_number_is_told_although_the_put_that_tells_it_first_finds_no_room() {
    hosts!(near, far);
    let at = endpoint();
    let file = std::env::temp_dir().join(format!("bridge-lost-{}.json5", std::process::id()));
    let config = format!(
        "{{ engine: {{ connect: \"{at}\" }}, channels: [{{ segment: \"market\", channel: \
         \"ticks\", direction: \"import\", credit_bytes: 1 }}] }}"
    );
    std::fs::write(&file, config).unwrap();
    let publisher = near.run(|| {
        let market = Segment::open_or_create("market").unwrap();
        market.broadcast::<u64>("ticks").capacity(4096).lasting().publisher().unwrap()
    });
    let export = near.bridge(&["market", "--listen", &at, "--export", "ticks"]);
    export.wait_for("export ticks of market: running");
    let subscriber = far.run(|| {
        let market = Segment::open_or_create("market").unwrap();
        market.broadcast::<u64>("ticks").capacity(64).lasting().reliable_subscriber().unwrap()
    });
    let import = far.bridge(&["--config", file.to_str().unwrap()]);
    import.wait_for("import ticks of market: running");
    // One that arrives says that both are connected.
    let (mut publisher, mut sent) = (Some(publisher), 0);
    let mut subscriber = Some(subscriber);
    let mut next = None;
    wait_until("something comes", || {
        let ticks = publisher.take().unwrap();
        publisher = Some(near.run(move || {
            ticks.send(sent).unwrap();
            ticks
        }));
        sent += 1;
        let ticks = subscriber.take().unwrap();
        let (back, came) = far.run(move || {
            let came = ticks.recv_timeout(Duration::from_millis(50)).ok();
            (ticks, came)
        });
        subscriber = Some(back);
        next = came.map(|tick| tick + 1);
        next.is_some()
    });
    const LOST: u64 = 1_000_000;
    const MORE: u64 = 4000;
    let ticks = publisher.take().unwrap();
    let publish = move || {
        // The far subscriber does not read: nothing has room there, when the gap comes.
        for n in sent..sent + MORE {
            if n == sent + MORE / 2 {
                ticks.try_send_gap(LOST).unwrap();
                thread::sleep(Duration::from_millis(500));
            }
            let id = if n < sent + MORE / 2 { n } else { n + LOST };
            ticks.send(id).unwrap();
            if n % 16 == 0 {
                thread::sleep(Duration::from_millis(1));
            }
        }
        ticks
    };
    let publisher = near.run(publish);
    let end = sent + MORE + LOST;
    let subscriber = subscriber.take().unwrap();
    far.run(move || {
        let mut next = next.unwrap();
        while next < end {
            match subscriber.recv_timeout(PATIENCE) {
                Ok(tick) => {
                    assert_eq!(tick, next);
                    next += 1;
                }
                Err(RecvTimeoutError::Lagged(many)) => next += many,
                Err(why) => panic!("{why}, at {next} of {end}"),
            }
        }
        assert_eq!(next, end);
    });
    near.run(move || drop(publisher));
    std::fs::remove_file(file).unwrap();
    drop((export, import));
}

fn session_get(session: &Session, selector: &str) -> impl Sized + use<> {
    session.get(selector.to_owned()).timeout(Duration::from_secs(1)).wait().ok()
}
