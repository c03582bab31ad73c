//! Broadcast channels: what only they promise, between the library and Python.

use super::*;

macro_rules! broadcast_kinds {
    ($($name:ident)*) => {
        all_kinds! { @ broadcast "broadcast" $($name)* }
        all_kinds! { @ broadcast_bytes "broadcast-bytes" $($name)* }
    };
}

broadcast_kinds! {
    history_outlives_a_killed_python
    a_message_that_a_killed_python_has_not_noted_is_completed_by_either
    a_lossy_python_is_told_exactly_what_it_missed
    a_python_that_publishers_wait_for_releases_them_by_its_death
    a_python_that_is_joining_holds_nobody_up
    everybody_gets_the_same_in_one_order
}

/// All that a subscriber from the oldest message on gets.
fn history(market: &Market) -> Vec<String> {
    let mut into = Vec::new();
    if market.kind == "broadcast" {
        let all = market.segment.broadcast::<u64>("c").subscriber_from(Start::Oldest).unwrap();
        return all.try_iter().map(|message| number(message.unwrap())).collect();
    }
    let all = market.segment.broadcast_bytes("c").subscriber_from(Start::Oldest).unwrap();
    std::iter::from_fn(|| all.try_recv(&mut into).ok().map(|_| bytes(&into))).collect()
}

fn is_sound(market: &Market) {
    let audit = Segment::check(&market.name).unwrap();
    assert!(audit.faults.is_empty(), "{:#?}", audit.faults);
}

fn history_outlives_a_killed_python(kind: &str) {
    let market = Market::new(kind, 30);
    let mut python = market.python("sender");
    python.ask("send-all c 0 20", "sent");
    python.kill();
    market.sweep();
    let all: Vec<String> = (0..20).map(|n| market.nth(n)).collect();
    assert_eq!(history(&market), all);
    for side in ["lossy:100", "reliable:100", "lossy:20"] {
        let mut heir = market.python(side);
        heir.ask("recv-all c 0 20", "received");
        // It has met the publisher by its messages.
        heir.ask("try-recv c", "Disconnected sender");
        heir.leave();
    }
    for side in ["lossy:1", "reliable:1"] {
        let mut heir = market.python(side);
        heir.ask("recv c", &market.nth(19));
        heir.leave();
    }
    let mut fresh = market.python("lossy");
    fresh.ask("try-recv c", "nothing");
    fresh.leave();
    is_sound(&market);
}

fn a_message_that_a_killed_python_has_not_noted_is_completed_by_either(kind: &str) {
    const CAPACITY: u64 = 4;
    for by in ["library", "Python", "its successor"] {
        let market = Market::new(kind, CAPACITY as usize);
        let rx = market.rx();
        let tx = (by == "library").then(|| market.tx());
        let mut other = (by == "Python").then(|| market.python("sender"));
        let mut victim = market.python("sender");
        victim.ask("send c 0", "sent");
        assert_eq!(rx.recv().unwrap(), market.nth(0));
        victim.ask("hold-published c 1", "holding");
        victim.kill();
        assert_eq!(rx.recv().unwrap(), market.nth(1));
        // More than a lap: its slot is published anew.
        let others = if by == "its successor" { 0 } else { 12 * CAPACITY };
        for n in 2..others {
            match (&tx, &mut other) {
                (Some(tx), _) => tx.send(n).unwrap(),
                (_, Some(other)) => other.ask(&format!("send c {n}"), "sent"),
                _ => unreachable!(),
            }
            assert_eq!(rx.recv().unwrap(), market.nth(n));
        }
        // And one takes its entry up.
        let mut heir = market.python("sender");
        for n in 0..4 * CAPACITY {
            heir.ask(&format!("send c {n}"), "sent");
            assert_eq!(rx.recv().unwrap(), market.nth(n));
        }
        is_sound(&market);
    }
}

fn a_lossy_python_is_told_exactly_what_it_missed(kind: &str) {
    let market = Market::new(kind, 4);
    let mut python = market.python("lossy");
    let tx = market.tx();
    let mut next = 0;
    for round in 0..40 {
        for n in 0..round {
            tx.send(n).unwrap();
        }
        let (mut got, mut missed) = (0, 0);
        loop {
            python.tell("try-recv c");
            let said = python.said();
            match said.strip_prefix("Lagged ") {
                Some(more) => missed += more.parse::<u64>().unwrap(),
                None if said == "nothing" => break,
                None => {
                    assert_eq!(said, market.nth(missed + got), "round {round}");
                    got += 1;
                }
            }
        }
        next += round;
        assert_eq!(got + missed, round, "{next} published");
        assert!(missed == 0 || got >= 4, "the last four are retained");
    }
    python.leave();
}

fn a_python_that_publishers_wait_for_releases_them_by_its_death(kind: &str) {
    let market = Market::new(kind, 3);
    for killed in [true, false] {
        let mut python = market.python("reliable");
        let mut tx = market.tx();
        for n in 0..3 {
            assert!(tx.try_send(n));
        }
        assert!(!tx.try_send(3), "it is a capacity ahead");
        python.ask("recv c", &market.nth(0));
        assert!(tx.try_send(3));
        let waiting = parked_thread(move || (tx.send(4), tx));
        if killed {
            python.kill();
        } else {
            python.leave();
        }
        let sent;
        (sent, tx) = waiting.join().unwrap();
        sent.unwrap();
        for n in 0..20 {
            assert!(tx.try_send(n), "nobody is waited for");
        }
    }
    // And a Python waits for the library, and is released.
    let mut python = market.python("sender");
    let rust = market.rust("receiver");
    for n in 0..3 {
        python.ask(&format!("try-send c {n}"), "sent");
    }
    python.ask("try-send c 3", "full");
    python.park("send c 3");
    rust.kill();
    python.expect("sent");
    python.leave();
    is_sound(&market);
}

fn a_python_that_is_joining_holds_nobody_up(kind: &str) {
    let market = Market::new(kind, 3);
    let mut python = market.python("reliable");
    let tx = market.tx();
    for n in 0..3 {
        assert!(tx.try_send(n));
    }
    assert!(!tx.try_send(3));
    python.ask("hold-joining c", "holding");
    for n in 3..30 {
        assert!(tx.try_send(n));
    }
    python.kill();
}

fn everybody_gets_the_same_in_one_order(kind: &str) {
    const EACH: u64 = 100;
    let market = Market::new(kind, 3);
    let subscribers = [(); 2].map(|()| market.collects());
    let mut readers: Vec<_> = (0..2).map(|_| market.python("reliable")).collect();
    let mut pythons: Vec<_> = (0..2).map(|_| market.python("sender")).collect();
    let tx = market.tx();
    for (python, first) in pythons.iter_mut().zip([0, EACH]) {
        python.tell(&format!("send-all c {first} {}", first + EACH));
    }
    readers.iter_mut().for_each(|reader| reader.tell("drain c"));
    let sender = thread::spawn(move || (2 * EACH..3 * EACH).for_each(|n| tx.send(n).unwrap()));
    sender.join().unwrap();
    for python in pythons {
        python.expect("sent");
        python.leave();
    }
    let mut all: Vec<Vec<String>> = Vec::new();
    for reader in readers {
        all.push(reader.drained());
    }
    for subscriber in subscribers {
        let (got, why) = subscriber.join().unwrap();
        assert_eq!(why, NO_SENDER);
        all.push(got);
    }
    let sent: HashSet<String> = (0..3 * EACH).map(|n| market.nth(n)).collect();
    assert_eq!(all[0].len() as u64, 3 * EACH);
    assert_eq!(all[0].iter().cloned().collect::<HashSet<_>>(), sent);
    assert!(all.iter().all(|got| *got == all[0]), "another order");
    is_sound(&market);
}

#[test]
fn a_python_is_told_that_there_are_as_many_as_there_may_be() {
    if !python() {
        return;
    }
    let market = Market::new("mpmc", 1);
    let few = market.segment.broadcast::<u64>("few").capacity(1).publishers(1).reliable(1);
    let (publisher, ledger) = (few.publisher().unwrap(), few.reliable_subscriber().unwrap());
    let mut python = Python::join(&market.name);
    python.ask("open few broadcast sender", "TooMany publishers");
    python.ask("open few broadcast reliable", "TooMany reliable subscribers");
    python.ask("open few broadcast lossy", "open");
    drop((publisher, ledger));
    python.ask("close few", "closed");
    python.ask("open few broadcast reliable", "open");
    python.ask("close few", "closed");
    python.ask("open few broadcast sender", "open");
    python.leave();
}
