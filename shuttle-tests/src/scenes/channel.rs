//! A whole channel: senders and receivers that wait for each other, and die.

use crate::checker::thread::JoinHandle;
use crate::death::Fate;
use crate::explore::{any, fails, holds, some_death};
use crate::world::{Peer, Side, Told, World};

/// So many steps of a life are candidates for its last one.
const STEPS: usize = 150;

fn sides(senders: usize, receivers: usize) -> Vec<Side> {
    let mut sides = vec![Side::Sender; senders];
    sides.resize(senders + receivers, Side::Receiver);
    sides
}

/// Sends its messages, and goes.
fn sends(peer: Peer, fate: Option<Fate>, from: u64, count: u64) -> JoinHandle<Option<bool>> {
    peer.spawn(fate, move |peer| {
        let all = (from..from + count).all(|message| peer.send(message).is_ok());
        peer.withdraw();
        all
    })
}

/// Receives until there is nobody to receive from, and goes.
fn receives(peer: Peer, fate: Option<Fate>) -> JoinHandle<Option<Vec<u64>>> {
    peer.spawn(fate, |peer| {
        let all = peer.drain();
        peer.withdraw();
        all
    })
}

/// Numbers of one sender come to one receiver in their order.
fn in_order(received: &[u64], each: u64) {
    for sender in received.iter().map(|message| message / each) {
        let its: Vec<u64> = received.iter().copied().filter(|m| m / each == sender).collect();
        assert!(its.is_sorted(), "out of order: {received:?}");
    }
}

fn exchange(capacity: usize, senders: usize, receivers: usize, each: u64) {
    let (world, peers) = World::new(capacity, &sides(senders, receivers));
    let (mut sending, mut receiving) = (Vec::new(), Vec::new());
    for (n, peer) in peers.into_iter().enumerate() {
        if n < senders {
            sending.push(sends(peer, None, n as u64 * each, each));
        } else {
            receiving.push(receives(peer, None));
        }
    }
    for sender in sending {
        assert_eq!(sender.join().unwrap(), Some(true), "there are receivers");
    }
    for receiver in receiving {
        in_order(&receiver.join().unwrap().unwrap(), each);
    }
    world.at_rest();
    let mut consumed = world.consumed.take();
    consumed.sort_unstable();
    assert_eq!(consumed, (0..senders as u64 * each).collect::<Vec<_>>(), "not what was sent");
}

fn three_and_three() {
    exchange(2 + any(3), 3, 3, 4);
}

#[test]
fn three_and_three_exchange_everything_in_order() {
    holds("channel, three and three", three_and_three);
}

/// Everybody stays: nobody is woken by another's going. Each sends, or
/// receives, its share of eight messages.
fn all_stay(capacity: usize, senders: usize, receivers: usize) {
    let (world, peers) = World::new(capacity, &sides(senders, receivers));
    let lives = peers.into_iter().enumerate().map(|(n, peer)| {
        peer.spawn(None, move |peer| {
            if n < senders {
                let each = 8 / senders as u64;
                let from = n as u64 * each;
                (from..from + each).for_each(|message| peer.send(message).unwrap());
            } else {
                (0..8 / receivers).for_each(|_| assert!(peer.receive(None).is_ok()));
            }
        })
    });
    let lives: Vec<_> = lives.collect();
    lives.into_iter().for_each(|life| life.join().unwrap().unwrap());
    world.at_rest();
    assert_eq!(world.consumed.borrow().len(), 8);
}

fn four_receivers_wait() {
    all_stay(1 + any(2), 2, 4);
}

fn four_senders_wait() {
    all_stay(1 + any(2), 4, 2);
}

#[test]
fn none_of_four_who_wait_is_forgotten() {
    for (name, scene) in [
        ("channel, four receivers wait", four_receivers_wait as fn()),
        ("channel, four senders wait", four_senders_wait),
    ] {
        holds(name, scene);
        fails(name, "not tried again before it sleeps", "deadlock", scene);
        fails(name, "no baton", "deadlock", scene);
        fails(name, "told before it is published", "deadlock", scene);
    }
}

/// One sender and one receiver die; whoever is left finishes.
fn two_die() {
    let (senders, each) = (3, 3);
    let (world, mut peers) = World::new(2 + any(3), &sides(senders, 3));
    let last = peers.pop().unwrap();
    let mut sending = Vec::new();
    for (n, peer) in peers.drain(..senders).enumerate() {
        let fate = if n == 0 { some_death(STEPS) } else { None };
        sending.push(sends(peer, fate, n as u64 * each, each));
    }
    let dying = receives(peers.pop().unwrap(), some_death(STEPS));
    let other = receives(peers.pop().unwrap(), None);
    let rest = last.spawn(None, |peer| {
        let all = peer.drain();
        assert_eq!(peer.receive(None), Err(Told::Disconnected));
        all
    });
    let sent: Vec<_> = sending.into_iter().map(|sender| sender.join().unwrap()).collect();
    assert_eq!(sent[1..], [Some(true); 2]);
    let died = dying.join().unwrap().is_none();
    other.join().unwrap();
    rest.join().unwrap();
    world.at_rest();
    let (consumed, published) = (world.consumed.take(), world.published.take());
    let lost = published.iter().filter(|message| !consumed.contains(message)).count();
    assert!(lost <= usize::from(died), "{published:?} were sent, {consumed:?} came");
    // One may have been killed after it had published, and could not say so.
    let unknown = consumed.iter().filter(|message| !published.contains(message)).count();
    assert!(unknown <= usize::from(sent[0].is_none()), "{consumed:?} came, of {published:?}");
}

#[test]
fn whoever_outlives_the_dead_finishes() {
    holds("channel, two of six die", two_die);
    fails("channel, two of six die", "no credit", "deadlock", two_die);
    fails("channel, two of six die", "no look after a wake", "deadlock", two_die);
}
