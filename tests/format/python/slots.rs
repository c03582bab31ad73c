//! Slots and blocks that one side leaves to the other.

use super::*;

macro_rules! mpmc_kinds {
    ($($name:ident)*) => {
        all_kinds! { @ mpmc "mpmc" $($name)* }
        all_kinds! { @ mpmc_bytes "mpmc-bytes" $($name)* }
    };
}

mpmc_kinds! {
    a_python_killed_over_a_claim_leaves_a_tombstone
    a_python_killed_over_a_message_leaves_it_to_another
    a_message_that_may_not_be_taken_again_goes_with_its_python
    a_rust_process_killed_over_a_claim_or_a_message_is_put_right_by_python
    a_message_that_may_not_be_taken_again_goes_with_its_rust_process
    a_message_given_back_is_taken_by_the_other
    the_last_message_s_end_is_told_to_other_receivers
    many_of_both_exchange_everything_once
}

fn a_python_killed_over_a_claim_leaves_a_tombstone(kind: &str) {
    let market = Market::new(kind, 3);
    let tx = market.tx();
    let mut python = market.python("sender");
    python.ask("hold-claim c", "holding");
    tx.send(1).unwrap();
    // Behind the claim: pending, until its owner is dead.
    let rx = market.rx();
    let waiting = parked_thread(move || rx.recv());
    python.kill();
    assert_eq!(waiting.join().unwrap().unwrap(), market.nth(1));
    assert_eq!(market.control(TOMBSTONES), 1);
    market.holds_its_capacity();
    if kind == "mpmc-bytes" {
        let mut python = market.python("sender");
        python.tell("hold-block c");
        assert!(python.said().starts_with("holding "));
        python.kill();
        market.sweep();
        assert_eq!(market.control(TOMBSTONES), 1);
        market.holds_its_capacity();
    }
}

fn a_python_killed_over_a_message_leaves_it_to_another(kind: &str) {
    let market = Market::new(kind, 3);
    let (tx, rx) = (market.tx(), market.rx());
    let mut python = market.python("receiver");
    tx.send(1).unwrap();
    tx.send(2).unwrap();
    python.ask("take c", &market.nth(1));
    assert_eq!(rx.recv().unwrap(), market.nth(2));
    let waiting = parked_thread(move || rx.recv());
    python.kill();
    assert_eq!(waiting.join().unwrap().unwrap(), market.nth(1));
    assert_eq!(market.control(ORPHANED), 1);
    market.holds_its_capacity();
}

fn a_message_that_may_not_be_taken_again_goes_with_its_python(kind: &str) {
    let market = Market::with(kind, 3, 0, false);
    let (tx, rx) = (market.tx(), market.rx());
    let mut python = market.python("receiver");
    tx.send(1).unwrap();
    python.ask("take c", &market.nth(1));
    python.kill();
    market.sweep();
    assert_eq!((market.control(ORPHANED), market.control(DROPPED)), (0, 1));
    // Between taking the slot and what it names; swept by either.
    let mut other = market.python("receiver");
    for look in [false, true] {
        let mut python = market.python("receiver");
        tx.send(1).unwrap();
        python.ask("hold-taken c", "holding");
        python.kill();
        if look {
            other.ask("look c", "swept True");
        } else {
            wait_until(|| market.segment.sweep().unwrap());
        }
    }
    other.leave();
    assert_eq!(market.control(DROPPED), 3);
    tx.send(2).unwrap();
    assert_eq!(rx.recv().unwrap(), market.nth(2));
    market.holds_its_capacity();
}

fn a_rust_process_killed_over_a_claim_or_a_message_is_put_right_by_python(kind: &str) {
    let market = Market::new(kind, 3);
    let mut python = market.python("receiver");
    // A grant of bytes holds a message block only; one of elements, a slot.
    let mut rust = market.rust("sender");
    rust.tell("grant");
    rust.expect("holding");
    if kind == "mpmc" {
        let tx = market.tx();
        tx.send(1).unwrap();
        python.park("recv c");
        rust.kill();
        python.expect(&market.nth(1));
        assert_eq!(market.control(TOMBSTONES), 1);
    } else {
        rust.kill();
        rust.finish();
        python.ask("look", "swept True");
    }
    market.holds_its_capacity();
    let mut rust = market.rust("receiver");
    let tx = market.tx();
    tx.send(2).unwrap();
    rust.tell("take");
    rust.expect(&market.nth(2));
    python.park("recv c");
    let pid = rust.pid().unsigned_abs();
    rust.kill();
    python.expect(&market.nth(2));
    assert_eq!(market.control(ORPHANED), 1);
    // Python's record, and nobody else's after it.
    market.segment.sweep().unwrap();
    let deaths = market.segment.deaths();
    assert_eq!((deaths.total, deaths.recent.len()), (2, 2));
    let [writer, reader] = &deaths.recent[..] else { panic!("{deaths:?}") };
    let (slots, buffers) = if kind == "mpmc" { (1, 0) } else { (0, 1) };
    assert_eq!((writer.unsent, writer.buffers, writer.senders), (slots, buffers, 1));
    assert_eq!((reader.pid, reader.redelivered, reader.receivers), (pid, 1, 1));
    assert_eq!((reader.unsent, reader.buffers, reader.channel.as_deref()), (0, 0, Some("c")));
    python.leave();
    market.holds_its_capacity();
}

fn a_message_that_may_not_be_taken_again_goes_with_its_rust_process(kind: &str) {
    let market = Market::with(kind, 3, 0, false);
    let mut python = market.python("sender");
    let mut rust = market.rust("receiver");
    python.ask("send c 1", "sent");
    rust.tell("take");
    rust.expect(&market.nth(1));
    rust.kill();
    rust.finish();
    python.ask("look", "swept True");
    assert_eq!(market.control(DROPPED), 1);
    python.leave();
    market.holds_its_capacity();
}

fn the_last_message_s_end_is_told_to_other_receivers(kind: &str) {
    let market = Market::new(kind, 3);
    let tx = market.tx();
    let mut python = market.python("receiver");
    let mut other = market.python("receiver");
    let rx = market.rx();
    tx.send(1).unwrap();
    python.ask("take c", &market.nth(1));
    drop(tx);
    // It may come back, so it is not the end yet.
    let waiting = parked_thread(move || rx.recv());
    other.park("recv c");
    python.ask("release c", "released");
    assert_eq!(waiting.join().unwrap().unwrap_err(), NO_SENDER);
    other.expect("Disconnected sender");
    market.holds_its_capacity();
}

fn a_message_given_back_is_taken_by_the_other(kind: &str) {
    let market = Market::new(kind, 3);
    let (tx, rx) = (market.tx(), market.rx());
    let mut python = market.python("receiver");
    for n in 1..8 {
        tx.send(n).unwrap();
        python.ask("take c", &market.nth(n));
        let waiting = parked_thread({
            let rx = market.rx();
            move || rx.recv()
        });
        python.ask("give-back c", "given back");
        assert_eq!(waiting.join().unwrap().unwrap(), market.nth(n));
    }
    // And the other way round.
    let mut rust = market.rust("receiver");
    tx.send(21).unwrap();
    rust.tell("take");
    rust.expect(&market.nth(21));
    python.park("recv c");
    rust.tell("give back");
    python.expect(&market.nth(21));
    python.leave();
    drop(rx);
    rust.tell("close");
    market.holds_its_capacity();
}

fn many_of_both_exchange_everything_once(kind: &str) {
    const EACH: u64 = 150;
    let market = Market::new(kind, 3);
    let receivers = [(); 2].map(|()| market.collects());
    let mut reader = market.python("receiver");
    let mut pythons: Vec<_> = (0..2).map(|_| market.python("sender")).collect();
    let tx = market.tx();
    for (python, first) in pythons.iter_mut().zip([0, EACH]) {
        python.tell(&format!("send-all c {first} {}", first + EACH));
    }
    let sender = thread::spawn(move || (2 * EACH..3 * EACH).for_each(|n| tx.send(n).unwrap()));
    reader.tell("drain c");
    sender.join().unwrap();
    for python in pythons {
        python.expect("sent");
        python.leave();
    }
    let mut got = reader.drained();
    for receiver in receivers {
        let (rest, why) = receiver.join().unwrap();
        assert_eq!(why, NO_SENDER);
        got.extend(rest);
    }
    assert_eq!(got.len() as u64, 3 * EACH);
    let sent: HashSet<String> = (0..3 * EACH).map(|n| market.nth(n)).collect();
    assert_eq!(got.into_iter().collect::<HashSet<_>>(), sent);
    market.holds_its_capacity();
}
