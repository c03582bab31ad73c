//! A link that is cut.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use tombolo::{RecvTimeoutError, Segment};

use crate::hosts::{Host, PATIENCE, eventually, wait_until};

/// Whether `ip` did it.
fn ip(arguments: &str) -> bool {
    Command::new("ip").args(arguments.split(' ')).status().is_ok_and(|done| done.success())
}

/// Two hosts with networks of their own, and a link between them.
fn linked() -> Option<(Host, Host)> {
    let (near, far) = (Host::with_network()?, Host::with_network()?);
    let other = far.run(|| nix::unistd::gettid().as_raw());
    let done = near.run(move || {
        ip(&format!("link add bridge0 type veth peer name bridge1 netns {other}"))
            && ip("addr add 10.87.0.1/24 dev bridge0")
            && ip("link set bridge0 up")
            && ip("link set lo up")
    }) && far.run(|| {
        ip("addr add 10.87.0.2/24 dev bridge1") && ip("link set bridge1 up") && ip("link set lo up")
    });
    if !done {
        eprintln!("SKIPPED: a pair of network interfaces cannot be had");
        return None;
    }
    Some((near, far))
}

#[test]
fn a_link_that_is_cut_loses_nothing_of_a_queue_and_tells_each_gap() {
    let Some((near, far)) = linked() else { return };
    let done = Arc::new(AtomicBool::new(false));
    let going = Arc::clone(&done);
    let sending = near.spawn(move || {
        let both = Segment::open_or_create("both").unwrap();
        let jobs = both.channel::<u64>("jobs").capacity(64).lasting().sender().unwrap();
        let ticks = both.broadcast::<u64>("ticks").capacity(64).lasting().publisher().unwrap();
        let (mut sent, mut published) = (0, 0);
        while !going.load(Ordering::Relaxed) {
            sent += u64::from(jobs.send_timeout(sent, Duration::from_millis(1)).is_ok());
            ticks.send(published).unwrap();
            published += 1;
            thread::sleep(Duration::from_micros(300));
        }
        (sent, published)
    });
    let over = Arc::new(AtomicBool::new(false));
    let ended = Arc::clone(&over);
    let export = near.bridge(&[
        "both",
        "--listen",
        "tcp/10.87.0.1:7447",
        "--export",
        "jobs",
        "--export",
        "ticks",
    ]);
    let import = far.bridge(&[
        "both",
        "--connect",
        "tcp/10.87.0.1:7447",
        "--import",
        "jobs",
        "--import",
        "ticks",
    ]);
    let receiving = far.spawn(move || {
        let both = eventually("a segment", || Segment::open("both").ok());
        let ticks = both.broadcast::<u64>("ticks");
        let ticks = eventually("a channel", || ticks.reliable_subscriber().ok());
        let jobs = eventually("a channel", || both.channel::<u64>("jobs").receiver().ok());
        let (mut came, mut next, mut missed) = (BTreeSet::new(), None, 0);
        loop {
            let job = jobs.recv_timeout(Duration::from_millis(1));
            if let Ok(job) = job {
                assert!(came.insert(job), "{job} came twice, though no bridge was killed");
            }
            match ticks.recv_timeout(Duration::from_millis(1)) {
                Ok(tick) => {
                    assert_eq!(*next.get_or_insert(tick), tick);
                    next = Some(tick + 1);
                }
                Err(RecvTimeoutError::Lagged(many)) => {
                    missed += many;
                    next = next.map(|next| next + many);
                }
                Err(RecvTimeoutError::Timeout) => {
                    if job.is_err() && ended.load(Ordering::Relaxed) {
                        return (came, next, missed);
                    }
                }
                Err(why) => panic!("{why}"),
            }
        }
    });
    thread::sleep(Duration::from_secs(2));
    // Once for so short that the connection outlives it, and once for longer.
    for seconds in [1, 14] {
        assert!(near.run(|| ip("link set bridge0 down")));
        thread::sleep(Duration::from_secs(seconds));
        assert!(near.run(|| ip("link set bridge0 up")));
        thread::sleep(Duration::from_secs(5));
    }
    done.store(true, Ordering::Relaxed);
    let (sent, published) = sending.join().unwrap();
    let jobs_left = || {
        let both = Segment::open("both").unwrap();
        both.open_channel("jobs").unwrap().receiver().unwrap().len()
    };
    wait_until("the queue is empty", || near.run(jobs_left) == 0);
    thread::sleep(Duration::from_secs(3));
    over.store(true, Ordering::Relaxed);
    let (came, next, missed) = receiving.join().unwrap();
    eprintln!("{sent} jobs; {published} ticks, of which {missed} were missed and told");
    assert_eq!(came, (0..sent).collect());
    assert_eq!(next, Some(published));
    drop((export, import));
}

/// A queue and a broadcast channel that carry numbers of themselves.
fn numbers(host: &Host) -> (tombolo::Sender<u64>, tombolo::Publisher<u64>) {
    host.run(|| {
        let both = Segment::open_or_create("both").unwrap();
        let jobs = both.channel::<u64>("jobs").capacity(64).lasting().sender().unwrap();
        let ticks = both.broadcast::<u64>("ticks").capacity(64).lasting().publisher().unwrap();
        (jobs, ticks)
    })
}

#[test]
fn hosts_that_look_for_each_other_find_each_other() {
    let Some((near, far)) = linked() else { return };
    let routed = |device: &'static str| move || ip(&format!("route add 224.0.0.0/4 dev {device}"));
    if !near.run(routed("bridge0")) || !far.run(routed("bridge1")) {
        eprintln!("SKIPPED: there is no multicast here");
        return;
    }
    let (jobs, ticks) = numbers(&near);
    let export =
        near.bridge(&["both", "--discovery", "--listen", "tcp/10.87.0.1:0", "--export", "jobs"]);
    let import =
        far.bridge(&["both", "--discovery", "--listen", "tcp/10.87.0.2:0", "--import", "jobs"]);
    let came = far.spawn(|| {
        let both = eventually("a segment", || Segment::open("both").ok());
        let receiver = eventually("a channel", || both.channel::<u64>("jobs").receiver().ok());
        (0..100).map(|_| receiver.recv_timeout(PATIENCE).unwrap()).collect::<Vec<_>>()
    });
    let jobs = near.run(move || {
        (0..100).for_each(|n| jobs.send(n).unwrap());
        jobs
    });
    assert!(came.join().unwrap().into_iter().eq(0..100));
    near.run(move || drop((jobs, ticks)));
    drop((export, import));
}

#[test]
fn over_a_slow_link_a_queue_comes_whole_and_each_gap_is_told() {
    let Some((near, far)) = linked() else { return };
    let slow = near.run(|| {
        let tc = "qdisc add dev bridge0 root tbf rate 2mbit burst 16kb latency 100ms";
        Command::new("tc").args(tc.split(' ')).status().is_ok_and(|done| done.success())
    });
    if !slow {
        eprintln!("SKIPPED: a link cannot be made slow here: tc, or tbf in the kernel");
        return;
    }
    const SIZE: usize = 1000;
    let (jobs, ticks) = near.run(|| {
        let both = Segment::open_or_create("both").unwrap();
        let jobs = both.bytes("jobs").capacity(32, SIZE).lasting().sender().unwrap();
        let ticks = both.broadcast_bytes("ticks").capacity(32, SIZE).lasting();
        (jobs, ticks.publisher().unwrap())
    });
    let at = "tcp/10.87.0.1:7447";
    let export = near.bridge(&["both", "--listen", at, "--export", "jobs", "--export", "ticks"]);
    let import = far.bridge(&["both", "--connect", at, "--import", "jobs", "--import", "ticks"]);
    let receiving = far.spawn(|| {
        let both = eventually("a segment", || Segment::open("both").ok());
        let ticks = both.broadcast_bytes("ticks");
        let ticks = eventually("a channel", || ticks.reliable_subscriber().ok());
        let jobs = eventually("a channel", || both.bytes("jobs").receiver().ok());
        let number = |message: &[u8]| u64::from_le_bytes(message[..8].try_into().unwrap());
        let subscribing = std::thread::spawn(move || {
            let (mut tick, mut next, mut missed) = (Vec::new(), None, 0);
            loop {
                match ticks.recv_timeout(&mut tick, PATIENCE) {
                    Ok(8) => return (next, number(&tick), missed),
                    Ok(_) => {
                        assert_eq!(*next.get_or_insert(number(&tick)), number(&tick));
                        next = Some(number(&tick) + 1);
                    }
                    Err(RecvTimeoutError::Lagged(many)) => {
                        missed += many;
                        next = next.map(|next| next + many);
                    }
                    Err(why) => panic!("{why}"),
                }
            }
        });
        let mut job = Vec::new();
        for n in 0..500 {
            jobs.recv_timeout(&mut job, PATIENCE).unwrap();
            assert_eq!((number(&job), job.len()), (n, SIZE));
        }
        subscribing
    });
    import.wait_for("import ticks of both: running");
    let sending = near.spawn(move || {
        let message = |n: u64, size| {
            let mut message = n.to_le_bytes().to_vec();
            message.resize(size, 7);
            message
        };
        let publishing = std::thread::spawn(move || {
            // Ten times as much as goes through.
            for n in 0..5000 {
                ticks.send(&message(n, SIZE)).unwrap();
                std::thread::sleep(Duration::from_micros(500));
            }
            for n in 5000..5020 {
                ticks.send(&message(n, 8)).unwrap();
                std::thread::sleep(Duration::from_millis(200));
            }
        });
        (0..500).for_each(|n| jobs.send(&message(n, SIZE)).unwrap());
        publishing.join().unwrap();
        jobs
    });
    let (next, last, missed) = receiving.join().unwrap().join().unwrap();
    assert_eq!(next, Some(last));
    assert!(missed > 0, "the link was not slow");
    let jobs = sending.join().unwrap();
    near.run(move || drop(jobs));
    drop((export, import));
}
