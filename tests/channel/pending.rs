//! Waiting for replies in every way: awaited, polled, in a set, by many threads, cancelled.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::mpsc;
use std::task::Poll;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::libc;
use tombolo::{
    AsyncClient, AsyncServer, CallError, Fault, PendingCall, Segment, Side, TryRecvError,
    TrySendError, WaitSet, WaitStrategy,
};

use crate::common::readiness::{gets_ready, is_ready, switches};
use crate::common::tasks::{Task, block_on};
use crate::common::{thread_parked_for_good, tid, wait_until};
use crate::services::{pair, serve};

const SHORT: Duration = Duration::from_millis(20);
/// More polls than it takes until a task rests.
const POLLS: usize = 68;

fn under_way(segment: &Segment) -> u64 {
    segment.channels()[0].calls.as_ref().unwrap().under_way
}

/// Polls a future so often, and drops it.
fn polled<F: Future + ?Sized>(mut future: Pin<Box<F>>, polls: usize) {
    let task = Task::new();
    for _ in 0..polls {
        assert!(task.poll(future.as_mut()).is_pending());
    }
}

/// A wait for a reply is dropped after each number of polls, before the reply or behind it: the
/// call goes on, and its next future has the reply.
#[test]
fn a_wait_for_a_reply_that_is_dropped_at_any_poll_loses_nothing() {
    let segment = Segment::anonymous().unwrap();
    let (client, server) = pair(&segment, 2);
    for polls in 0..POLLS {
        for late in [false, true] {
            let mut call = client.start(5).unwrap().into_async();
            let task = Task::new();
            let mut future = Box::pin(&mut call);
            for _ in 0..polls {
                assert!(task.poll(future.as_mut()).is_pending());
            }
            if !late {
                assert!(serve(&server));
                if polls > 0 {
                    wait_until(|| task.is_woken());
                }
            }
            drop(future);
            if late {
                assert!(serve(&server));
            }
            assert_eq!(block_on(&mut call), Ok(25), "after {polls} polls");
            assert_eq!(under_way(&segment), 0, "after {polls} polls");
            // It has ended.
            assert_eq!(block_on(call), Err(CallError::Fault(Fault::Closed)));
        }
    }
}

#[test]
fn a_start_a_call_and_a_take_that_are_dropped_at_any_poll_hold_nothing() {
    let segment = Segment::anonymous().unwrap();
    let (client, server) = pair(&segment, 1);
    let mut client: AsyncClient<u64, u64> = client.into_async();
    let mut server: AsyncServer<u64, u64> = server.into_async();
    for polls in 0..POLLS {
        // No call is there, and the server goes away.
        polled(Box::pin(server.recv()), polls);
        // It is not made, because there is no room.
        let other = client.as_sync().try_start(2).unwrap();
        polled(Box::pin(client.start(3)), polls);
        polled(Box::pin(client.call(3)), polls);
        drop(other);
        assert!(matches!(server.as_sync().try_recv(), Err(TryRecvError::Empty)));
        // It is made by the first poll, and given up when it is dropped.
        polled(Box::pin(client.call(4)), polls);
        assert_eq!(under_way(&segment), 0, "after {polls} polls");
        // A server has it by then.
        let mut future = Box::pin(client.call(4));
        assert!(Task::new().poll(future.as_mut()).is_pending());
        let taken = block_on(server.recv()).unwrap();
        polled(future, polls);
        assert!(!taken.is_wanted() && !taken.reply(0).unwrap());
        assert_eq!(under_way(&segment), 0, "after {polls} polls");
    }
    let service = segment.service_bytes("files").capacity(1, 8, 8);
    let mut client = service.client().unwrap().into_async();
    for polls in 0..POLLS {
        let other = client.as_sync().try_start(b"all").unwrap();
        polled(Box::pin(client.reserve()), polls);
        drop(other);
        drop(block_on(client.reserve()).unwrap());
    }
}

#[test]
fn tasks_call_and_serve_each_other() {
    let segment = Segment::anonymous().unwrap();
    let (client, server) = pair(&segment, 4);
    let mut server = server.into_async();
    let serving = thread::spawn(move || {
        block_on(async {
            while let Ok(call) = server.recv().await {
                let number = call.request().unwrap();
                call.reply(number * number).unwrap();
            }
        });
    });
    let mut client = client.into_async();
    block_on(async {
        for number in 0..200 {
            assert_eq!(client.call(number).await, Ok(number * number));
            let both = [client.start(number).await.unwrap(), client.start(7).await.unwrap()];
            let [first, second] = both;
            assert_eq!((second.await, first.await), (Ok(49), Ok(number * number)));
        }
    });
    drop(client);
    serving.join().unwrap();
}

#[test]
fn whatever_ends_a_call_ends_the_wait_of_a_task_at_once() {
    for way in 0..4 {
        let segment = Segment::anonymous().unwrap();
        let (client, server) = pair(&segment, 1);
        let call = client.start(1).unwrap();
        let canceller = call.canceller();
        let (mut call, task) = (call.into_async(), Task::new());
        task.poll_to_rest(Pin::new(&mut call));
        let ended = match way {
            0 => {
                drop(server);
                CallError::NoServer
            }
            1 => {
                drop(server.recv().unwrap());
                CallError::Refused
            }
            2 => {
                let _ = segment.commander().unwrap().shutdown(SHORT).unwrap();
                CallError::Fault(Fault::Shutdown)
            }
            _ => {
                canceller.cancel().unwrap();
                CallError::Fault(Fault::Cancelled)
            }
        };
        assert_eq!(task.finish(pin!(call)), Err(ended), "{way}");
    }
}

/// What is ready without waiting, and which end it is.
fn ready(set: &mut WaitSet<'_>) -> Vec<(u64, Side)> {
    let mut ready = Vec::new();
    set.try_wait(&mut ready).unwrap();
    ready.iter().map(|ready| (ready.key, ready.side)).collect()
}

/// What a set that sleeps is woken by.
fn waited(set: &mut WaitSet<'_>, elsewhere: impl FnOnce() + Send) -> Vec<u64> {
    let (me, mut ready) = (tid(), Vec::new());
    thread::scope(|scope| {
        scope.spawn(move || {
            wait_until(|| thread_parked_for_good(me));
            elsewhere();
        });
        set.wait(&mut ready, None).unwrap();
    });
    ready.iter().map(|ready| ready.key).collect()
}

#[test]
fn a_call_a_client_and_a_server_are_members_of_a_set() {
    let segment = Segment::anonymous().unwrap();
    let (client, server) = pair(&segment, 1);
    let other = client.try_clone().unwrap();
    for strategy in [WaitStrategy::Block, WaitStrategy::Adaptive] {
        let call = client.start(3).unwrap();
        let mut set = WaitSet::new(&segment);
        set.set_wait_strategy(strategy);
        set.add(&call, 1).unwrap();
        set.add(&client, 2).unwrap();
        set.add(&server, 3).unwrap();
        assert_eq!(ready(&mut set), [(3, Side::Receiver)]);
        let taken = server.try_recv().unwrap();
        assert_eq!(waited(&mut set, move || assert!(taken.reply(9).unwrap())), [1]);
        assert_eq!(ready(&mut set), [(1, Side::Sender)]);
        assert_eq!(call.try_wait(), Some(Ok(9)));
        // It has ended, and there is room for another.
        assert_eq!(ready(&mut set), [(2, Side::Sender)]);
        let next = other.try_start(4).unwrap();
        let taken = server.try_recv().unwrap();
        // Given up, it has a slot until its server lets it go.
        drop(next);
        assert_eq!(waited(&mut set, move || drop(taken)), [2]);
        let next = other.try_start(4).unwrap();
        let taken = server.try_recv().unwrap();
        assert_eq!(waited(&mut set, move || taken.give_back().unwrap()), [3]);
        drop(next);
    }
}

#[test]
fn a_set_of_calls_alone_is_woken_for_each() {
    let segment = Segment::anonymous().unwrap();
    let (client, server) = pair(&segment, 8);
    let calls: Vec<_> = (0..8_u64).map(|n| client.start(n).unwrap()).collect();
    let me = tid();
    let serving = thread::spawn(move || {
        let mut taken: Vec<_> = (0..8).map(|_| server.recv().unwrap()).collect();
        while let Some(call) = taken.pop() {
            wait_until(|| thread_parked_for_good(me));
            let number = call.request().unwrap();
            assert!(call.reply(number * number).unwrap());
        }
    });
    let mut set = WaitSet::new(&segment);
    set.set_wait_strategy(WaitStrategy::Block);
    for (key, call) in (0..).zip(&calls) {
        set.add(call, key).unwrap();
    }
    let (mut ready, mut left) = (Vec::new(), 8);
    while left > 0 {
        set.wait(&mut ready, None).unwrap();
        for member in &ready {
            let key = member.key;
            assert_eq!(calls[key as usize].try_wait(), Some(Ok(key * key)));
            assert!(set.remove(key));
            left -= 1;
        }
    }
    serving.join().unwrap();
}

#[test]
fn a_call_and_a_client_are_polled() {
    let segment = Segment::anonymous().unwrap();
    let (client, server) = pair(&segment, 1);
    for _ in 0..20 {
        let call = client.start(4).unwrap();
        let (reply, room) = (call.readiness().unwrap(), client.readiness().unwrap());
        assert!(is_ready(reply), "only a look finds out that there is nothing");
        assert_eq!(call.try_wait(), None);
        assert!(matches!(client.try_start(1), Err(TrySendError::Full(1))));
        assert!(!is_ready(reply) && !is_ready(room));
        assert!(serve(&server));
        gets_ready(reply);
        assert!(!is_ready(room));
        assert_eq!(call.try_wait(), Some(Ok(16)));
        gets_ready(room);
    }
}

/// Whether a thread of this process sleeps, over a semaphore or for another thread.
fn sleeps(tid: i32) -> bool {
    let call =
        std::fs::read_to_string(format!("/proc/self/task/{tid}/syscall")).unwrap_or_default();
    let number = call.split(' ').next().and_then(|number| number.parse().ok());
    let calls = [libc::SYS_futex, libc::SYS_semop, libc::SYS_semtimedop];
    number.is_some_and(|number: i64| calls.contains(&number))
}

type Waiting = (i32, JoinHandle<Result<u64, CallError>>);

/// Threads that wait for the replies to these, in the order in which they came to wait.
fn threads(calls: Vec<PendingCall<u64, u64>>, timeout: Option<Duration>) -> Vec<Waiting> {
    let waits = |call: PendingCall<u64, u64>| {
        let (tell, heard) = mpsc::channel();
        let thread = thread::spawn(move || {
            tell.send(tid()).unwrap();
            call.set_wait_strategy(WaitStrategy::Block);
            match timeout {
                None => call.wait(),
                Some(timeout) => call.wait_timeout(timeout).unwrap_or(Ok(0)),
            }
        });
        let tid = heard.recv().unwrap();
        wait_until(|| sleeps(tid));
        (tid, thread)
    };
    calls.into_iter().map(waits).collect()
}

/// Of eight threads that wait, the one that a reply is for runs, and the one that sleeps for
/// all.
#[test]
fn a_reply_wakes_the_thread_that_it_is_for_and_one_other_at_most() {
    let segment = Segment::anonymous().unwrap();
    let (client, server) = pair(&segment, 8);
    let waiting = threads((0..8).map(|n| client.start(n).unwrap()).collect(), None);
    let mut taken: Vec<_> = (0..8).map(|_| server.recv().unwrap()).collect();
    taken.sort_by_key(|call| call.request().unwrap());
    let leader = waiting[0].0;
    assert!(waiting.iter().all(|&(tid, _)| sleeps(tid)) && thread_parked_for_good(leader));
    let slept = |waiting: &[Waiting]| -> Vec<u64> {
        waiting.iter().map(|&(tid, _)| switches(tid)).collect()
    };
    // From the last on: nobody has to pass the lead on.
    let mut waiting = waiting;
    while let (Some((_, thread)), Some(call)) = (waiting.pop(), taken.pop()) {
        let number = call.request().unwrap();
        let before = slept(&waiting);
        assert!(call.reply(number * number).unwrap());
        assert_eq!(thread.join().unwrap(), Ok(number * number));
        wait_until(|| waiting.is_empty() || thread_parked_for_good(leader));
        let after = slept(&waiting);
        let others = before.iter().zip(&after).skip(1);
        assert!(others.clone().all(|(before, after)| before == after), "{before:?} {after:?}");
    }
}

#[test]
fn a_leader_that_leaves_has_another_thread_lead() {
    let segment = Segment::anonymous().unwrap();
    let (client, server) = pair(&segment, 8);
    let calls = |count: u64| (0..count).map(|n| client.start(n).unwrap()).collect::<Vec<_>>();
    for time_is_up in [true, false] {
        let first = threads(calls(1), time_is_up.then_some(3 * SHORT));
        let taken = (!time_is_up).then(|| server.recv().unwrap());
        let rest = threads(calls(6), None);
        if time_is_up {
            let first: Vec<_> = first.into_iter().map(|(_, thread)| thread.join()).collect();
            assert_eq!(first.into_iter().collect::<Result<Vec<_>, _>>().unwrap(), [Ok(0)]);
        } else {
            taken.into_iter().for_each(|call| assert!(call.reply(0).unwrap()));
            for (_, thread) in first {
                assert_eq!(thread.join().unwrap(), Ok(0));
            }
        }
        // One of those sleeps over the bell.
        wait_until(|| rest.iter().any(|&(tid, _)| thread_parked_for_good(tid)));
        for _ in 0..6 {
            assert!(serve(&server));
        }
        for (number, (_, thread)) in (0..).zip(rest) {
            assert_eq!(thread.join().unwrap(), Ok(number * number));
        }
    }
}

#[test]
fn a_canceller_ends_the_wait_for_a_reply_wherever_the_thread_sleeps() {
    let segment = Segment::anonymous().unwrap();
    let (client, server) = pair(&segment, 4);
    let calls: Vec<_> = (0..3).map(|n| client.start(n).unwrap()).collect();
    let cancellers: Vec<_> = calls.iter().map(PendingCall::canceller).collect();
    let waiting = threads(calls, None);
    // The leader is the last, and the second is its follower.
    for (canceller, (_, thread)) in cancellers.iter().zip(waiting).rev() {
        canceller.cancel().unwrap();
        assert_eq!(thread.join().unwrap(), Err(CallError::Fault(Fault::Cancelled)));
    }
    assert_eq!(under_way(&segment), 0);
    // That of a client, for a slot and for a reply.
    for full in [false, true] {
        let client = client.try_clone().unwrap();
        client.set_wait_strategy(WaitStrategy::Block);
        let canceller = client.canceller();
        let others: Vec<_> =
            (0..if full { 4 } else { 0 }).map(|n| client.start(n).unwrap()).collect();
        let (tell, heard) = mpsc::channel();
        let waiting = thread::spawn(move || {
            tell.send(tid()).unwrap();
            let first = client.call(7);
            (first, client.call(7), client)
        });
        let tid = heard.recv().unwrap();
        wait_until(|| thread_parked_for_good(tid));
        canceller.cancel().unwrap();
        let (first, second, client) = waiting.join().unwrap();
        let cancelled = Err(CallError::Fault(Fault::Cancelled));
        assert_eq!((first, second), (cancelled.clone(), cancelled));
        drop(others);
        canceller.reset();
        let call = client.start(2).unwrap();
        assert!(serve(&server));
        // What is there is not lost.
        let canceller = call.canceller();
        canceller.cancel().unwrap();
        assert_eq!(call.wait(), Ok(4));
    }
    assert_eq!(under_way(&segment), 0);
}

#[test]
fn calls_that_are_awaited_move_between_threads_and_so_do_their_futures() {
    fn moves<T: Send>(_: &T) {}
    let segment = Segment::anonymous().unwrap();
    let (client, server) = pair(&segment, 4);
    let (mut client, mut server) = (client.into_async(), server.into_async());
    moves(&client);
    moves(&server);
    moves(&client.start(1));
    moves(&client.call(1));
    moves(&server.recv());
    let call = client.as_sync().start(1).unwrap().into_async();
    moves(&call);
    let mut call = pin!(call);
    assert!(matches!(Task::new().poll(call.as_mut()), Poll::Pending));
}
