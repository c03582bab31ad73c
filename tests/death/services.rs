//! Clients and servers that are killed or stopped in the middle of a call.

use std::pin::{Pin, pin};
use std::thread;
use std::time::{Duration, Instant};

use tombolo::{
    CallError, CallTimeoutError, Client, PendingCall, Segment, Server, WaitSet, WaitStrategy,
};

use crate::common::effort::{rounds, seed};
use crate::common::readiness::{gets_ready, is_ready};
use crate::common::tasks::Task;
use crate::common::{Brief, Name, Peer, thread_parked, thread_parked_for_good, tid, wait_until};

const CALLS: usize = 4;

fn segment(name: &Name) -> Segment {
    Segment::options().size(1 << 20).participants(16).create(name).unwrap()
}

fn client(segment: &Segment) -> Client<u64, u64> {
    segment.service("squares").capacity(CALLS).client().unwrap()
}

fn server(segment: &Segment) -> Server<u64, u64> {
    segment.service("squares").capacity(CALLS).server().unwrap()
}

fn under_way(segment: &Segment) -> u64 {
    segment.channels()[0].calls.as_ref().unwrap().under_way
}

#[track_caller]
fn sound_and_idle(name: &Name, segment: &Segment) {
    wait_until(|| {
        segment.sweep().unwrap();
        under_way(segment) == 0
    });
    let audit = Segment::check(name).unwrap();
    assert!(audit.is_sound(), "{:#?}", audit.faults);
}

#[test]
fn a_client_hears_of_the_death_of_its_server_without_a_time_out() {
    let name = Name::new();
    let segment = segment(&name);
    let client = client(&segment);
    let stays = server(&segment);
    for strategy in [WaitStrategy::Block, WaitStrategy::BusySpin, WaitStrategy::Adaptive] {
        client.set_wait_strategy(strategy);
        let dying = Peer::start("hold", &[&name]);
        dying.expect("ready");
        let pending = client.start(7).unwrap();
        dying.expect("7");
        let (tell, heard) = std::sync::mpsc::channel();
        let waiting = thread::spawn(move || {
            tell.send(tid()).unwrap();
            pending.wait()
        });
        let tid = heard.recv().unwrap();
        if strategy == WaitStrategy::Block {
            wait_until(|| thread_parked_for_good(tid));
        }
        dying.kill();
        assert_eq!(waiting.join().unwrap(), Err(CallError::ServerDied));
        let death = segment.deaths().recent.pop().unwrap();
        assert_eq!((death.receivers, death.dropped), (1, 1));
        sound_and_idle(&name, &segment);
    }
    // And one that only looks.
    let dying = Peer::start("hold", &[&name]);
    dying.expect("ready");
    let pending = client.start(7).unwrap();
    dying.expect("7");
    dying.kill();
    dying.finish();
    let looks = (1..).find_map(|looks| pending.try_wait().map(|ended| (looks, ended)));
    let (looks, ended) = looks.unwrap();
    assert!(looks <= 256, "{looks}");
    assert_eq!(ended, Err(CallError::ServerDied));
    drop(stays);
    sound_and_idle(&name, &segment);
}

/// Three calls that a server has in hand which is killed then, once `rest` says that the client
/// waits for them; they are what it returns.
fn killed_over_three<T>(
    way: impl FnOnce(&Segment, Vec<PendingCall<u64, u64>>, &(dyn Fn(&dyn Fn() -> bool) + Sync)) -> T,
) -> T {
    let name = Name::new();
    let segment = segment(&name);
    let (client, _stays) = (client(&segment), server(&segment));
    let dying = Peer::start("hold three", &[&name]);
    dying.expect("ready");
    let calls: Vec<_> = (0..3).map(|n| client.start(n).unwrap()).collect();
    (0..3).for_each(|_| dying.expect("one"));
    calls.iter().for_each(|call| call.set_wait_strategy(WaitStrategy::Block));
    let dying = std::sync::Mutex::new(Some(dying));
    let done = way(&segment, calls, &|rests| {
        wait_until(rests);
        dying.lock().unwrap().take().unwrap().kill();
    });
    sound_and_idle(&name, &segment);
    done
}

#[test]
fn every_thread_that_waits_hears_of_the_death_of_its_server() {
    let ended = killed_over_three(|_, calls, kill| {
        let (tell, heard) = std::sync::mpsc::channel();
        let waits = |call: PendingCall<u64, u64>| {
            let tell = tell.clone();
            thread::spawn(move || {
                tell.send(tid()).unwrap();
                call.wait()
            })
        };
        let waiting: Vec<_> = calls.into_iter().map(waits).collect();
        let tids: Vec<_> = (0..3).map(|_| heard.recv().unwrap()).collect();
        // One of them, for all.
        kill(&|| tids.iter().any(|&tid| thread_parked_for_good(tid)));
        waiting.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(ended, vec![Err(CallError::ServerDied); 3]);
}

#[test]
fn a_set_a_task_and_a_descriptor_hear_of_the_death_of_a_server() {
    killed_over_three(|segment, calls, kill| {
        let mut set = WaitSet::new(segment);
        for (key, call) in (0..).zip(&calls) {
            set.add(call, key).unwrap();
        }
        let (me, mut ready, mut ended) = (tid(), Vec::new(), 0);
        thread::scope(|scope| {
            scope.spawn(|| kill(&|| thread_parked_for_good(me)));
            while ended < 3 {
                set.wait(&mut ready, None).unwrap();
                for member in &ready {
                    let call = &calls[member.key as usize];
                    assert_eq!(call.try_wait(), Some(Err(CallError::ServerDied)));
                    ended += 1;
                }
            }
        });
    });
    killed_over_three(|_, calls, kill| {
        let task = Task::new();
        let mut calls: Vec<_> = calls.into_iter().map(PendingCall::into_async).collect();
        for call in &mut calls {
            task.poll_to_rest(Pin::new(call));
        }
        kill(&|| true);
        for call in calls {
            assert_eq!(task.finish(pin!(call)), Err(CallError::ServerDied));
        }
    });
    killed_over_three(|_, calls, kill| {
        let readiness = calls.iter().map(|call| call.readiness().unwrap());
        let readiness: Vec<_> = readiness.collect();
        for (call, readiness) in calls.iter().zip(&readiness) {
            assert_eq!(call.try_wait(), None);
            assert!(!is_ready(readiness));
        }
        kill(&|| true);
        for (call, readiness) in calls.iter().zip(&readiness) {
            gets_ready(readiness);
            assert_eq!(call.try_wait(), Some(Err(CallError::ServerDied)));
        }
    });
}

#[test]
fn a_call_that_may_be_repeated_is_served_by_the_next_server() {
    let name = Name::new();
    let segment = segment(&name);
    let client = client(&segment);
    client.set_repeats(2);
    let stays = server(&segment);
    for deaths in 0..4 {
        let pending = client.start(6).unwrap();
        for death in 0..deaths {
            let dying = Peer::start("hold", &[&name]);
            dying.expect("ready");
            dying.expect("6");
            dying.kill();
            dying.finish();
            wait_until(|| {
                segment.sweep().unwrap();
                stays.len() == usize::from(death < 2)
            });
        }
        if deaths < 3 {
            let call = stays.recv().unwrap();
            assert_eq!(call.request().unwrap(), 6);
            assert_eq!(call.reply(36), Ok(true));
            assert_eq!(pending.wait(), Ok(36));
        } else {
            assert_eq!(pending.wait(), Err(CallError::ServerDied));
        }
        sound_and_idle(&name, &segment);
    }
    assert_eq!(segment.channels()[0].redelivered, 1 + 2 + 2);
}

#[test]
fn the_death_of_the_last_server_ends_calls_that_none_has_taken() {
    let name = Name::new();
    let segment = segment(&name);
    let client = client(&segment);
    client.set_wait_strategy(WaitStrategy::Block);
    let last = Peer::start("be there", &[&name]);
    last.expect("ready");
    let (tell, heard) = std::sync::mpsc::channel();
    let waiting = thread::spawn(move || {
        tell.send(tid()).unwrap();
        client.call(8)
    });
    let tid = heard.recv().unwrap();
    wait_until(|| thread_parked_for_good(tid));
    last.kill();
    assert_eq!(waiting.join().unwrap(), Err(CallError::NoServer));
    sound_and_idle(&name, &segment);
}

#[test]
fn a_stopped_server_holds_up_neither_its_clients_deadline_nor_other_clients() {
    let name = Name::new();
    let segment = segment(&name);
    let client = client(&segment);
    let stopped = Peer::start("hold", &[&name]);
    stopped.expect("ready");
    let pending = client.start(1).unwrap();
    stopped.expect("1");
    stopped.stop();
    drop(pending);
    // It sleeps, and would be the one to be woken.
    let other = Peer::start("serve", &[&name]);
    other.expect("ready");
    let asking = Peer::start("ask", &[&name, &100]);
    asking.expect("done");
    assert_eq!(asking.join(), 0);
    other.finish();
    wait_until(|| segment.participants().len() == 2);
    let timeout = Duration::from_millis(50);
    for _ in 0..2 {
        let began = Instant::now();
        assert_eq!(client.call_timeout(2, timeout), Err(CallTimeoutError::TimedOut));
        assert!(began.elapsed() >= timeout);
    }
    // Only the one that it has is lost to others, until it goes on.
    assert_eq!(under_way(&segment), 1);
    stopped.resume();
    stopped.finish();
    sound_and_idle(&name, &segment);
}

#[test]
fn a_client_that_dies_costs_its_server_nothing_and_no_other_client_its_slot() {
    let name = Name::new();
    let segment = segment(&name);
    let server = server(&segment);
    for taken in 0..=CALLS {
        let dying = Peer::start("ask and wait", &[&name]);
        dying.expect("asked");
        let calls: Vec<_> = (0..taken).map(|_| server.recv().unwrap()).collect();
        // Answered, and not taken note of: it sleeps over another one.
        let mut calls = calls.into_iter();
        if taken > 1 {
            assert_eq!(calls.next().unwrap().reply(1), Ok(true));
        }
        dying.kill();
        dying.finish();
        wait_until(|| segment.sweep().unwrap() || segment.participants().len() == 1);
        for call in calls {
            assert!(!call.is_wanted());
            assert_eq!(call.reply(0), Ok(false));
        }
        let client = client(&segment);
        let pending: Vec<_> = (0..CALLS as u64).map(|n| client.try_start(n).unwrap()).collect();
        for _ in 0..CALLS {
            let call = server.recv().unwrap();
            let number = call.request().unwrap();
            call.reply(number * number).unwrap();
        }
        for (number, call) in (0..).zip(pending) {
            assert_eq!(call.wait(), Ok(number * number));
        }
        sound_and_idle(&name, &segment);
    }
}

/// The handles of a process that dies may be closed, and calls still be in its hands.
#[test]
fn calls_that_outlive_their_handles_are_freed_for_those_who_sleep_when_their_process_dies() {
    let name = Name::new();
    let segment = segment(&name);
    let client = client(&segment);
    let _stays = server(&segment);
    for role in ["take and close", "ask and close"] {
        let dying = Peer::start(role, &[&name]);
        dying.expect("ready");
        if role == "take and close" {
            // Given up, they are in the hands of the server alone.
            let calls: Vec<_> = (0..CALLS as u64).map(|n| client.start(n).unwrap()).collect();
            dying.expect("closed");
            drop(calls);
        } else {
            dying.expect("closed");
        }
        assert_eq!(under_way(&segment), CALLS as u64);
        let waits = client.try_clone().unwrap();
        let (tell, heard) = std::sync::mpsc::channel();
        let waiting = thread::spawn(move || {
            waits.set_wait_strategy(WaitStrategy::Block);
            tell.send(tid()).unwrap();
            waits.start_timeout(8, Duration::from_secs(10)).map(drop)
        });
        let tid = heard.recv().unwrap();
        wait_until(|| thread_parked(tid));
        dying.kill();
        assert_eq!(waiting.join().unwrap(), Ok(()));
        sound_and_idle(&name, &segment);
    }
}

/// Clients and servers are killed at any time. Each call of the client that stays is replied to
/// rightly, or ends with one of the errors that a death may cause; and nothing stays behind.
#[test]
fn clients_and_servers_that_are_killed_at_any_time_leave_nothing_behind() {
    let mut random = seed() | 1;
    let name = Name::new();
    let segment = segment(&name);
    let client = client(&segment);
    let stays = Peer::start("serve", &[&name]);
    stays.expect("ready");
    let start = |n: usize| {
        if n.is_multiple_of(2) {
            Peer::start("serve", &[&name])
        } else {
            Peer::start("ask", &[&name, &u64::MAX])
        }
    };
    let mut peers: Vec<_> = (0..4).map(start).collect();
    let (mut replied, mut died) = (0_u64, 0_u64);
    for round in 0..rounds(20, 400) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let until = Instant::now() + Duration::from_micros(random % 8_000);
        while Instant::now() < until {
            client.set_repeats((replied % 3) as u8);
            let number = replied % 1_000;
            match client.call(number) {
                Ok(square) => {
                    assert_eq!(square, number * number);
                    replied += 1;
                }
                Err(CallError::ServerDied) => died += 1,
                other => panic!("{other:?}"),
            }
        }
        let n = round as usize % peers.len();
        peers[n].kill();
        peers[n] = start(n);
    }
    drop(peers);
    assert!(replied > 0, "{replied} replies, {died} deaths");
    assert_eq!(client.call(9), Ok(81));
    sound_and_idle(&name, &segment);
    stays.finish();
}

#[test]
#[ignore = "what the child processes run"]
fn child_entry() {
    let Some(brief) = Brief::take() else { return };
    let segment = Segment::open(brief.text(0)).unwrap();
    match &*brief.role {
        "be there" => {
            let _server = server(&segment);
            brief.say("ready");
            brief.hear();
        }
        "hold" => {
            let server = server(&segment);
            brief.say("ready");
            let call = server.recv().unwrap();
            brief.say(call.request().unwrap());
            brief.hear();
        }
        "hold three" => {
            let server = server(&segment);
            brief.say("ready");
            let calls = [(); 3].map(|()| {
                let call = server.recv().unwrap();
                brief.say("one");
                call
            });
            brief.hear();
            drop(calls);
        }
        "take and close" => {
            let server = server(&segment);
            brief.say("ready");
            let calls: Vec<_> = (0..CALLS).map(|_| server.recv().unwrap()).collect();
            drop(server);
            brief.say("closed");
            brief.hear();
            drop(calls);
        }
        "ask and close" => {
            let client = client(&segment);
            brief.say("ready");
            let calls: Vec<_> = (0..CALLS as u64).map(|n| client.start(n).unwrap()).collect();
            drop(client);
            brief.say("closed");
            brief.hear();
            drop(calls);
        }
        "serve" => {
            let server = server(&segment);
            brief.say("ready");
            for call in &server {
                let call = call.unwrap();
                let number = call.request().unwrap();
                call.reply(number * number).unwrap();
            }
        }
        "ask" => {
            let client = client(&segment);
            for number in 0..brief.number(1) {
                let number: u64 = number;
                match client.call(number % 1_000) {
                    Ok(square) => assert_eq!(square, (number % 1_000).pow(2)),
                    Err(CallError::ServerDied) => {}
                    other => panic!("{other:?}"),
                }
            }
            brief.say("done");
        }
        "ask and wait" => {
            let client = client(&segment);
            let mut pending: Vec<_> = (0..CALLS as u64).map(|n| client.start(n).unwrap()).collect();
            brief.say("asked");
            // The last one is never replied to.
            let _ = pending.pop().unwrap().wait();
            brief.hear();
        }
        role => unreachable!("{role}"),
    }
}
