//! A segment that is removed while it is carried.

use std::time::Duration;

use tombolo::{Segment, Start};

use crate::hosts::{PATIENCE, endpoint, eventually, hosts, wait_until};

/// The channel's messages that are there.
fn len(segment: &'static str, channel: &'static str) -> impl Fn() -> usize + Send + 'static {
    move || {
        let Ok(segment) = Segment::open(segment) else { return 0 };
        let Ok(channel) = segment.open_channel(channel) else { return 0 };
        channel.receiver().map_or(0, |receiver| receiver.len())
    }
}

#[test]
fn a_full_far_segment_that_is_removed_is_made_again_and_takes_only_what_was_in_it_along() {
    hosts!(near, far);
    let at = endpoint();
    let sending = near.spawn(|| {
        let work = Segment::open_or_create("work").unwrap();
        let sender = work.channel::<u64>("jobs").capacity(8).lasting().sender().unwrap();
        (0..40).for_each(|n| sender.send(n).unwrap());
        (work, sender)
    });
    let export = near.bridge(&["work", "--listen", &at, "--export", "jobs"]);
    let import = far.bridge(&["work", "--connect", &at, "--import", "jobs"]);
    // Nobody receives there, so the bridge has nothing to do either.
    wait_until("the far queue is full", || far.run(len("work", "jobs")) == 8);
    std::thread::sleep(Duration::from_millis(500));
    far.run(|| Segment::remove_named("work").unwrap());
    let came = far.run(|| {
        let work = eventually("a new segment", || Segment::open("work").ok());
        let jobs = eventually("its channel", || work.channel::<u64>("jobs").receiver().ok());
        let mut came = Vec::new();
        while !came.contains(&39) {
            came.push(jobs.recv_timeout(PATIENCE).unwrap());
        }
        came
    });
    let lost: Vec<_> = (8..40).filter(|n| !came.contains(n)).collect();
    assert!(lost.is_empty(), "{lost:?} were not in the removed segment");
    drop(near.run(move || sending.join().unwrap()));
    drop((export, import));
}

#[test]
fn a_bridge_that_has_nothing_to_do_goes_over_to_the_segment_that_takes_the_place_of_a_removed_one()
{
    hosts!(near, far);
    let at = endpoint();
    let make = || {
        let market = Segment::open_or_create("market").unwrap();
        let publisher =
            market.broadcast::<u64>("ticks").capacity(64).lasting().publisher().unwrap();
        let sender = market.channel::<u64>("jobs").capacity(64).lasting().sender().unwrap();
        (market, publisher, sender)
    };
    let first = near.run(make);
    let mut arguments = vec!["market", "--listen", &at, "--export", "ticks", "--export", "jobs"];
    let export = near.bridge(&arguments);
    export.wait_for("export ticks of market: running");
    arguments = vec!["market", "--connect", &at, "--import", "ticks", "--import", "jobs"];
    let import = far.bridge(&arguments);
    import.wait_for("import ticks of market: running");
    import.wait_for("import jobs of market: running");
    for host in [&far, &near] {
        host.run(|| Segment::remove_named("market").unwrap());
    }
    near.run(move || drop(first));
    // No message has to be lost over the removed one first.
    let second = near.run(make);
    let (subscriber, receiver) = far.run(|| {
        let (mut subscriber, mut receiver) = (None, None);
        wait_until("the channels are there again", || {
            let Ok(market) = Segment::open("market") else { return false };
            let ticks = market.broadcast::<u64>("ticks");
            subscriber = ticks.reliable_subscriber_from(Start::Oldest).ok();
            receiver = market.channel::<u64>("jobs").receiver().ok();
            subscriber.is_some() && receiver.is_some()
        });
        (subscriber.unwrap(), receiver.unwrap())
    });
    wait_until("the new channel is carried", || {
        let said = export.said();
        let again = |what: &str| said.matches(what).count() >= 2;
        again("export ticks of market: running") && again("export jobs of market: running")
    });
    let sending = near.spawn(move || {
        second.2.send(7).unwrap();
        let mut n = 0;
        while second.1.send(n).is_ok() && n < 3000 {
            n += 1;
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    far.run(move || {
        assert_eq!(receiver.recv_timeout(PATIENCE), Ok(7));
        let mut next = subscriber.recv_timeout(PATIENCE).unwrap();
        for _ in 0..100 {
            next += 1;
            assert_eq!(subscriber.recv_timeout(PATIENCE), Ok(next));
        }
        assert_ne!(receiver.recv_timeout(Duration::from_millis(50)), Ok(7));
    });
    drop((export, import));
    sending.join().unwrap();
}
