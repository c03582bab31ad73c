//! A link that is cut.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use tombolo::{RecvTimeoutError, Segment};

use crate::hosts::{Host, wait_until};

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
        let mut both = None;
        wait_until("a segment", || {
            both = Segment::open("both").ok();
            both.is_some()
        });
        let both = both.unwrap();
        let (mut jobs, mut ticks) = (None, None);
        wait_until("the channels", || {
            jobs = both.channel::<u64>("jobs").receiver().ok();
            ticks = both.broadcast::<u64>("ticks").reliable_subscriber().ok();
            jobs.is_some() && ticks.is_some()
        });
        let (jobs, ticks) = (jobs.unwrap(), ticks.unwrap());
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
