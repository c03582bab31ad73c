//! Services: what a client and a server promise each other.

use std::os::fd::AsFd;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tombolo::{
    CallError, CallTimeoutError, ChannelError, ChannelKind, ChannelProperty, Client, Fault,
    RecvError, RecvTimeoutError, ReplyError, Segment, SendError, Server, TryRecvError,
    TrySendError, WaitStrategy, interrupt_waits,
};

use crate::common::{
    Brief, Name, Peer, in_own_namespace, set_limit, thread_parked, thread_parked_for_good, tid,
    wait_until,
};

const SHORT: Duration = Duration::from_millis(20);

pub(crate) fn pair(segment: &Segment, calls: usize) -> (Client<u64, u64>, Server<u64, u64>) {
    let service = segment.service("squares").capacity(calls);
    (service.client().unwrap(), service.server().unwrap())
}

/// Serves the next call.
pub(crate) fn serve(server: &Server<u64, u64>) -> bool {
    let call = server.recv().unwrap();
    let number = call.request().unwrap();
    call.reply(number * number).unwrap()
}

fn sound(name: &Name) {
    let audit = Segment::check(name).unwrap();
    assert!(audit.is_sound(), "{:#?}", audit.faults);
}

fn under_way(segment: &Segment) -> u64 {
    segment.channels()[0].calls.as_ref().unwrap().under_way
}

#[test]
fn a_call_in_another_process_is_replied_to() {
    let name = Name::new();
    let segment = Segment::options().size(1 << 20).create(&name).unwrap();
    let (client, server) = pair(&segment, 4);
    drop(server);
    let peer = Peer::start("serve", &[&name]);
    peer.expect("ready");
    for number in 0..1_000 {
        assert_eq!(client.call(number), Ok(number * number));
    }
    // Asleep on both sides.
    client.set_wait_strategy(WaitStrategy::Block);
    for number in 0..100 {
        peer.wait_until_parked();
        assert_eq!(client.call(number), Ok(number * number));
    }
    sound(&name);
    assert_eq!(under_way(&segment), 0);
    drop(client);
    assert_eq!(peer.join(), 0);
}

#[test]
#[ignore = "what the child processes run"]
fn child_entry() {
    let Some(brief) = Brief::take() else { return };
    let segment = Segment::open(brief.text(0)).unwrap();
    let server = segment.service::<u64, u64>("squares").server().unwrap();
    brief.say("ready");
    for call in &server {
        let call = call.unwrap();
        let number = call.request().unwrap();
        call.reply(number * number).unwrap();
    }
}

#[test]
fn calls_of_one_client_are_replied_to_in_any_order_and_from_other_threads() {
    let segment = Segment::anonymous().unwrap();
    let (client, server) = pair(&segment, 16);
    let pending: Vec<_> = (0..16).map(|n| client.start(n).unwrap()).collect();
    let mut calls: Vec<_> = (0..16).map(|_| server.recv().unwrap()).collect();
    assert!(matches!(server.try_recv(), Err(TryRecvError::Empty)));
    calls.reverse();
    let replying = thread::spawn(move || {
        for call in calls {
            let number = call.request().unwrap();
            assert_eq!(call.reply(number * number), Ok(true));
        }
    });
    for (number, call) in (0..).zip(pending) {
        assert_eq!(call.wait(), Ok(number * number));
    }
    replying.join().unwrap();
    assert_eq!(under_way(&segment), 0);
}

#[test]
fn a_client_waits_for_a_slot_and_is_woken_by_one() {
    let segment = Segment::anonymous().unwrap();
    let (client, server) = pair(&segment, 2);
    let (first, second) = (client.start(1).unwrap(), client.try_start(2).unwrap());
    assert!(matches!(client.try_start(3), Err(TrySendError::Full(3))));
    assert!(client.start_timeout(3, SHORT).unwrap_err().is_timeout());
    let other = client.try_clone().unwrap();
    let (tell, heard) = mpsc::channel();
    let waiting = thread::spawn(move || {
        tell.send(tid()).unwrap();
        other.call(3)
    });
    let tid = heard.recv().unwrap();
    wait_until(|| thread_parked(tid));
    // Given up, it frees a slot at once: no server has it.
    drop(second);
    assert!(serve(&server) && serve(&server));
    assert_eq!((first.wait(), waiting.join().unwrap()), (Ok(1), Ok(9)));
}

#[test]
fn a_call_that_is_dropped_by_its_server_is_refused() {
    let segment = Segment::anonymous().unwrap();
    let (client, server) = pair(&segment, 2);
    let call = client.start(1).unwrap();
    drop(server.recv().unwrap());
    assert_eq!(call.wait(), Err(CallError::Refused));
    let call = client.start(1).unwrap();
    let panicking = thread::spawn(move || {
        let call = server.recv().unwrap();
        assert_eq!(call.request().unwrap(), 2, "this is to panic");
    });
    assert!(panicking.join().is_err());
    assert_eq!(call.wait(), Err(CallError::Refused));
    assert_eq!(under_way(&segment), 0);
}

#[test]
fn a_call_that_is_given_back_is_taken_again() {
    let segment = Segment::anonymous().unwrap();
    let (client, server) = pair(&segment, 2);
    let other = server.try_clone().unwrap();
    let call = client.start(3).unwrap();
    server.recv().unwrap().give_back().unwrap();
    assert_eq!(server.len(), 1);
    assert!(serve(&other));
    assert_eq!(call.wait(), Ok(9));
}

#[test]
fn a_call_that_is_given_up_costs_its_server_nothing_and_no_later_call_its_reply() {
    let segment = Segment::anonymous().unwrap();
    let (client, server) = pair(&segment, 1);
    for way in 0..3 {
        let server = server.try_clone().unwrap();
        let taken = thread::spawn(move || server.recv().unwrap());
        match way {
            0 => assert!(client.call_timeout(5, SHORT).unwrap_err().is_timed_out()),
            1 => {
                let call = client.start(5).unwrap();
                assert_eq!(call.wait_timeout(SHORT), None);
                assert_eq!(call.try_wait(), None);
            }
            _ => {
                let until = Instant::now() + SHORT;
                assert_eq!(client.call_deadline(5, until), Err(CallTimeoutError::TimedOut));
            }
        }
        let call = taken.join().unwrap();
        assert!(!call.is_wanted());
        // The slot is the server's until it lets go.
        assert!(matches!(client.try_start(6), Err(TrySendError::Full(6))));
        assert_eq!(call.request().unwrap(), 5);
        assert_eq!(call.reply(0), Ok(false));
        let call = client.try_start(6).unwrap();
        let here = segment.service::<u64, u64>("squares").server().unwrap();
        assert!(serve(&here));
        assert_eq!(call.wait(), Ok(36));
    }
    // One that no server has taken is gone.
    drop(client.start(7).unwrap());
    assert!(matches!(server.try_recv(), Err(TryRecvError::Empty)));
    assert_eq!(under_way(&segment), 0);
}

#[test]
fn a_call_ends_when_the_last_server_goes_and_none_has_taken_it() {
    let segment = Segment::anonymous().unwrap();
    for asleep in [false, true] {
        let (client, server) = pair(&segment, 2);
        let another = server.try_clone().unwrap();
        let (tell, heard) = mpsc::channel();
        let waiting = thread::spawn(move || {
            tell.send(tid()).unwrap();
            client.set_wait_strategy(WaitStrategy::Block);
            (client.call(1), client.start(1).err())
        });
        let tid = heard.recv().unwrap();
        wait_until(|| server.len() == 1 && (!asleep || thread_parked_for_good(tid)));
        drop(another);
        assert_eq!(server.len(), 1, "it waits for the other one");
        drop(server);
        let (ended, next) = waiting.join().unwrap();
        assert_eq!(ended, Err(CallError::NoServer));
        assert_eq!(next, Some(SendError::Disconnected(1)));
    }
}

#[test]
fn a_call_that_is_given_back_when_the_last_server_has_gone_ends() {
    let segment = Segment::anonymous().unwrap();
    for strategy in [WaitStrategy::Block, WaitStrategy::BusySpin] {
        let (client, server) = pair(&segment, 2);
        client.set_wait_strategy(strategy);
        let pending = client.start(1).unwrap();
        let call = server.recv().unwrap();
        drop(server);
        assert_eq!(pending.try_wait(), None, "the call is in the hands of a server that has gone");
        let (tell, heard) = mpsc::channel();
        let waiting = thread::spawn(move || {
            tell.send(tid()).unwrap();
            pending.wait_timeout(Duration::from_secs(10))
        });
        let tid = heard.recv().unwrap();
        wait_until(|| strategy == WaitStrategy::BusySpin || thread_parked(tid));
        call.give_back().unwrap();
        assert_eq!(waiting.join().unwrap(), Some(Err(CallError::NoServer)));
        drop(client);
    }
    assert_eq!(under_way(&segment), 0);
}

#[test]
fn a_call_that_was_taken_outlives_its_server_and_its_client() {
    let segment = Segment::anonymous().unwrap();
    let (client, server) = pair(&segment, 2);
    let pending = client.start(4).unwrap();
    let call = server.recv().unwrap();
    drop((client, server));
    let replying = thread::spawn(move || call.reply(16).unwrap());
    assert_eq!(pending.wait(), Ok(16));
    assert!(replying.join().unwrap());
}

#[test]
fn a_lasting_service_waits_for_the_next_server_and_the_next_client() {
    let segment = Segment::anonymous().unwrap();
    let service = segment.service::<u64, u64>("lasting").capacity(2).lasting();
    let client = service.client().unwrap();
    drop(service.server().unwrap());
    let call = client.start(3).unwrap();
    let server = service.server().unwrap();
    assert!(serve(&server));
    assert_eq!(call.wait(), Ok(9));
    drop(client);
    assert!(matches!(server.recv_timeout(SHORT), Err(RecvTimeoutError::Timeout)));
}

#[test]
fn a_server_hears_that_the_last_client_has_gone_once_nothing_is_left() {
    let segment = Segment::anonymous().unwrap();
    let (client, server) = pair(&segment, 2);
    let pending = client.start(2).unwrap();
    drop(client);
    assert!(serve(&server));
    assert_eq!(pending.wait(), Ok(4));
    assert!(matches!(server.recv(), Err(RecvError::Disconnected)));
    assert!(matches!(server.try_recv(), Err(TryRecvError::Disconnected)));
    assert_eq!(server.iter().count(), 0);
}

#[test]
fn a_pause_and_a_drain_let_calls_under_way_come_to_their_end() {
    let name = Name::new();
    let segment = Segment::options().size(1 << 20).create(&name).unwrap();
    let (client, server) = pair(&segment, 4);
    let commander = Segment::open(&name).unwrap().commander().unwrap();
    let before = client.start(3).unwrap();
    commander.pause(SHORT).unwrap();
    assert!(matches!(client.try_start(1), Err(TrySendError::Paused(1))));
    assert!(serve(&server));
    assert_eq!(before.wait(), Ok(9));
    commander.resume(SHORT).unwrap();
    assert_eq!(client.start(1).map(drop), Ok(()));
    commander.shutdown(SHORT).unwrap();
    assert!(matches!(client.call(1), Err(CallError::Fault(Fault::Shutdown))));
    assert!(matches!(server.recv(), Err(RecvError::Fault(Fault::Shutdown))));
}

#[test]
fn a_shutdown_and_a_removal_end_the_wait_for_a_reply() {
    for removal in [false, true] {
        let name = Name::new();
        let segment = Segment::options().size(1 << 20).create(&name).unwrap();
        let (client, server) = pair(&segment, 4);
        let (tell, heard) = mpsc::channel();
        let waiting = thread::spawn(move || {
            tell.send(tid()).unwrap();
            client.set_wait_strategy(WaitStrategy::Block);
            client.call(1)
        });
        let call = server.recv().unwrap();
        let tid = heard.recv().unwrap();
        wait_until(|| thread_parked_for_good(tid));
        let fault = if removal {
            segment.remove().unwrap();
            Fault::Closed
        } else {
            let commander = segment.commander().unwrap();
            let _ = commander.shutdown(SHORT).unwrap();
            Fault::Shutdown
        };
        assert_eq!(waiting.join().unwrap(), Err(CallError::Fault(fault)));
        drop(call);
    }
}

#[test]
fn every_thread_of_a_process_gets_its_own_reply() {
    let segment = Segment::anonymous().unwrap();
    let (client, server) = pair(&segment, 8);
    for strategy in [WaitStrategy::Adaptive, WaitStrategy::Block] {
        let asking: Vec<_> = (0..4_u64)
            .map(|first| {
                let client = client.try_clone().unwrap();
                client.set_wait_strategy(strategy);
                thread::spawn(move || {
                    (0..200).all(|n| {
                        let number = 1_000 * first + n;
                        client.call(number) == Ok(number * number)
                    })
                })
            })
            .collect();
        // In the order opposite to that in which they came, where there are two.
        let mut served = 0;
        while served < 800 {
            let first = server.recv().unwrap();
            let second = server.recv_timeout(Duration::from_micros(50));
            for call in second.into_iter().chain([first]) {
                let number = call.request().unwrap();
                assert!(call.reply(number * number).unwrap());
                served += 1;
            }
        }
        assert!(asking.into_iter().all(|thread| thread.join().unwrap()));
    }
    assert_eq!(under_way(&segment), 0);
}

#[test]
fn a_server_is_polled_and_cancelled_like_a_receiver() {
    let segment = Segment::anonymous().unwrap();
    let (client, server) = pair(&segment, 4);
    let readiness = server.readiness().unwrap();
    let ready = |timeout: PollTimeout| {
        let mut fds = [PollFd::new(readiness.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, timeout).unwrap() == 1
    };
    assert!(matches!(server.try_recv(), Err(TryRecvError::Empty)));
    assert!(!ready(PollTimeout::ZERO));
    let pending = client.start(3).unwrap();
    assert!(ready(PollTimeout::from(20_000_u16)));
    let call = server.try_recv().unwrap();
    assert!(matches!(server.try_recv(), Err(TryRecvError::Empty)));
    call.reply(9).unwrap();
    assert_eq!(pending.wait(), Ok(9));
    let canceller = server.canceller();
    let waiting = thread::spawn(move || server.recv().err());
    canceller.cancel().unwrap();
    assert_eq!(waiting.join().unwrap(), Some(RecvError::Fault(Fault::Cancelled)));
}

#[test]
fn a_request_that_is_written_in_place_arrives_and_one_that_is_dropped_leaves_its_slot() {
    let segment = Segment::anonymous().unwrap();
    let service = segment.service_bytes("files").capacity(1, 40, 8);
    let (mut client, server) = (service.client().unwrap(), service.server().unwrap());
    for _ in 0..3 {
        let mut dropped = client.reserve().unwrap();
        assert_eq!(dropped.write_at(38, b"abc"), 2);
        drop(dropped);
        let error = client.reserve().unwrap().start(41).unwrap_err();
        assert!(error.is_too_long());
        let mut request = client.reserve().unwrap();
        assert_eq!((request.write_at(0, b"abc"), request.write_at(3, b"defgh")), (3, 5));
        let pending = request.start(7).unwrap();
        let call = server.recv().unwrap();
        assert_eq!(call.request().unwrap(), b"abcdefg");
        call.reply(b"done").unwrap();
        assert_eq!(pending.wait().unwrap(), b"done");
    }
    assert_eq!(under_way(&segment), 0);
}

#[test]
fn requests_and_replies_of_every_shape_arrive_whole() {
    #[derive(Clone, Copy, Debug, PartialEq, tombolo::Message)]
    #[repr(C, align(64))]
    struct Wide {
        bytes: [u8; 64],
    }
    fn one<Q, R>(segment: &Segment, name: &str, request: Q, reply: R)
    where
        Q: tombolo::Message + PartialEq + std::fmt::Debug,
        R: tombolo::Message + PartialEq + std::fmt::Debug,
        Q: tombolo::bytemuck::NoUninit + tombolo::bytemuck::CheckedBitPattern,
        R: tombolo::bytemuck::NoUninit + tombolo::bytemuck::CheckedBitPattern,
    {
        let service = segment.service::<Q, R>(name).capacity(3);
        let (client, server) = (service.client().unwrap(), service.server().unwrap());
        for _ in 0..7 {
            let pending = client.start(request).unwrap();
            let call = server.recv().unwrap();
            assert_eq!(call.request().unwrap(), request);
            call.reply(reply).unwrap();
            assert_eq!(pending.wait().unwrap(), reply);
        }
    }
    let name = Name::new();
    let segment = Segment::options().size(1 << 20).create(&name).unwrap();
    let wide = Wide { bytes: std::array::from_fn(|n| n as u8) };
    one(&segment, "a", [1_u8, 2, 3], wide);
    one(&segment, "b", wide, 7_u128);
    one(&segment, "c", 1_u8, true);
    one(&segment, "d", [0_u64; 100], [1.5_f64; 33]);
    sound(&name);
}

#[test]
fn bytes_of_every_length_arrive_whole_and_longer_ones_are_refused() {
    let name = Name::new();
    let segment = Segment::options().size(1 << 20).create(&name).unwrap();
    let service = segment.service_bytes("echo").capacity(2, 100, 200);
    let (client, server) = (service.client().unwrap(), service.server().unwrap());
    for length in (0..20).chain(90..=100) {
        let request: Vec<u8> = (0..length).map(|n| n as u8).collect();
        let pending = client.start(&request).unwrap();
        let call = server.recv().unwrap();
        let got = call.request().unwrap();
        assert_eq!((call.request_len(), &got), (length, &request));
        call.reply(&[got.clone(), got].concat()).unwrap();
        assert_eq!(pending.wait().unwrap(), request.repeat(2));
    }
    let error = client.call(&[0; 101]).unwrap_err();
    assert_eq!(error, CallError::TooLong { length: 101, longest: 100 });
    let pending = client.start(b"x").unwrap();
    let error = server.recv().unwrap().reply(&[0; 201]).unwrap_err().to_string();
    assert!(error.contains("201 bytes") && error.contains("200"), "{error}");
    assert_eq!(pending.wait(), Err(CallError::Refused));
    sound(&name);
}

#[test]
fn a_service_is_opened_as_what_it_is() {
    let name = Name::new();
    let segment = Segment::options().size(1 << 20).create(&name).unwrap();
    assert!(matches!(
        segment.service::<u64, u64>("none").client(),
        Err(ChannelError::NotFound { .. })
    ));
    let (_client, _server) = pair(&segment, 4);
    let differs = |error: Option<ChannelError>| match error {
        Some(ChannelError::Mismatch { what, .. }) => what,
        other => panic!("{other:?}"),
    };
    let kind = ChannelProperty::Kind;
    assert_eq!(
        differs(segment.service::<u64, u32>("squares").client().err()),
        ChannelProperty::Elements
    );
    assert_eq!(
        differs(segment.service::<u32, u64>("squares").server().err()),
        ChannelProperty::Elements
    );
    let other = segment.service::<u64, u64>("squares").capacity(5);
    assert_eq!(differs(other.server().err()), ChannelProperty::Capacity);
    assert_eq!(differs(segment.channel::<u64>("squares").sender().err()), kind);
    assert_eq!(differs(segment.service_bytes("squares").client().err()), kind);
    let any = segment.open_channel("squares").unwrap();
    assert!(any.is_calls() && any.kind() == ChannelKind::Calls);
    assert_eq!(differs(any.sender().err()), kind);
    assert_eq!(differs(any.receiver().err()), kind);
    segment.service_bytes("bytes").capacity(2, 8, 8).client().unwrap();
    // Without a capacity, the lengths are those that are there.
    segment.service_bytes("bytes").server().unwrap();
    let other = segment.service_bytes("bytes").capacity(2, 8, 16).client();
    assert_eq!(differs(other.err()), ChannelProperty::Replies);
    for calls in [0, 65_537] {
        let refused = segment.service::<u8, u8>("much").capacity(calls).client().err();
        assert!(matches!(refused, Some(ChannelError::BadCapacity { .. })), "{refused:?}");
    }
    sound(&name);
}

#[test]
fn a_service_whose_types_are_described_is_that_of_the_types() {
    let name = Name::new();
    let segment = Segment::options().size(1 << 20).create(&name).unwrap();
    let described = |reply: &'static str| {
        let spec = segment.any_channel("squares", ChannelKind::Calls).element(8, 8, "u64");
        spec.reply(8, 8, reply).capacity(4).open()
    };
    let any = described("u64").unwrap();
    assert_eq!((any.element_size(), any.reply_size(), any.schema()), (8, 8, "u64 -> u64"));
    let (client, server) = pair(&segment, 4);
    let (any_client, any_server) = (any.client().unwrap(), any.server().unwrap());
    assert_eq!(any_client.request_size(), 8);
    for number in [0, 3, u64::MAX] {
        // One of a type calls one of none, and the other way round.
        let pending = client.start(number).unwrap();
        let call = any_server.recv().unwrap();
        assert_eq!((call.request().unwrap(), call.reply_size()), (number.to_ne_bytes().into(), 8));
        call.reply(&number.wrapping_mul(2).to_ne_bytes()).unwrap();
        assert_eq!(pending.wait(), Ok(number.wrapping_mul(2)));
        let pending = any_client.start(&number.to_ne_bytes()).unwrap();
        let call = server.recv().unwrap();
        assert_eq!(call.request(), Ok(number));
        call.reply(number).unwrap();
        assert_eq!(pending.wait().unwrap(), number.to_ne_bytes());
    }
    // Neither more nor less than an element.
    assert_eq!(any_client.call(b"seven b"), Err(CallError::TooShort { length: 7, size: 8 }));
    assert_eq!(any_client.call(b"nine byte"), Err(CallError::TooLong { length: 9, longest: 8 }));
    for (reply, error) in [
        (&b"seven b"[..], ReplyError::TooShort { length: 7, size: 8 }),
        (b"nine byte", ReplyError::TooLong { length: 9, longest: 8 }),
    ] {
        let pending = client.start(1).unwrap();
        assert_eq!(any_server.recv().unwrap().reply(reply), Err(error));
        assert_eq!(pending.wait(), Err(CallError::Refused));
    }
    assert!(matches!(described("i64"), Err(ChannelError::Mismatch { .. })));
    let lacks = segment.any_channel("lacks", ChannelKind::Calls).element(8, 8, "u64").capacity(1);
    assert!(matches!(lacks.open(), Err(ChannelError::BadCapacity { .. })));
    assert!(segment.channel::<u64>("c").capacity(1).sender().is_ok());
    let none = segment.open_channel("c").unwrap();
    assert!(matches!(none.client(), Err(ChannelError::Mismatch { .. })));
    sound(&name);
}

#[test]
fn a_service_of_bytes_whose_lengths_are_described_is_that_of_bytes() {
    let segment = Segment::anonymous().unwrap();
    let spec = segment.any_channel("upper", ChannelKind::CallsBytes).longest(20).longest_reply(30);
    let any = spec.capacity(2).open().unwrap();
    let typed = segment.service_bytes("upper");
    let (client, server) = (typed.client().unwrap(), typed.server().unwrap());
    let (any_client, any_server) = (any.client().unwrap(), any.server().unwrap());
    for request in [&b""[..], b"a", b"eight by", b"twenty bytes, or so.."] {
        let request = &request[..request.len().min(20)];
        let pending = client.start(request).unwrap();
        let call = any_server.recv().unwrap();
        assert_eq!(call.request().unwrap(), request);
        call.reply(&request.to_ascii_uppercase()).unwrap();
        assert_eq!(pending.wait().unwrap(), request.to_ascii_uppercase());
        let pending = any_client.start(request).unwrap();
        let call = server.recv().unwrap();
        assert_eq!(call.request().unwrap(), request);
        call.reply(&[7; 30]).unwrap();
        assert_eq!(pending.wait().unwrap(), [7; 30]);
    }
    assert_eq!(any_client.call(&[0; 21]), Err(CallError::TooLong { length: 21, longest: 20 }));
    let pending = any_client.start(b"").unwrap();
    let refused = any_server.recv().unwrap().reply(&[0; 31]);
    assert_eq!(refused, Err(ReplyError::TooLong { length: 31, longest: 30 }));
    assert_eq!(pending.wait(), Err(CallError::Refused));
}

#[test]
fn threads_share_a_client_and_a_server() {
    let segment = Segment::anonymous().unwrap();
    let (client, server) = pair(&segment, 16);
    let (client, server) = (client.into_shared(), server.into_shared());
    let servers: Vec<_> = (0..2)
        .map(|_| {
            let server = server.clone();
            thread::spawn(move || {
                while server.lend().unwrap().recv().is_ok_and(|call| {
                    let number = call.request().unwrap();
                    call.reply(number * number).unwrap()
                }) {}
            })
        })
        .collect();
    thread::scope(|scope| {
        for first in 0..4 {
            let client = &client;
            scope.spawn(move || {
                for number in first * 100..first * 100 + 100 {
                    assert_eq!(client.lend().unwrap().call(number), Ok(number * number));
                }
            });
        }
    });
    // Several handles, which are cancelled and closed as one.
    server.cancel().unwrap();
    servers.into_iter().for_each(|server| server.join().unwrap());
    client.close().unwrap();
}

#[test]
fn a_wait_for_a_reply_that_is_interrupted_leaves_the_call_as_it_is() {
    let segment = Segment::anonymous().unwrap();
    let (client, server) = pair(&segment, 2);
    let pending = client.start(3).unwrap();
    let call = server.recv().unwrap();
    {
        let _ends = interrupt_waits(|| true);
        let interrupted = Some(Err(CallError::Fault(Fault::Interrupted)));
        assert_eq!(pending.wait_timeout(Duration::from_secs(10)), interrupted);
        assert_eq!(pending.wait_timeout(Duration::from_secs(10)), interrupted);
        // Nobody can wait for this one again.
        let lost = client.start(4).unwrap();
        assert_eq!(lost.wait(), Err(CallError::Fault(Fault::Interrupted)));
    }
    assert!(!pending.has_ended() && call.is_wanted());
    call.reply(9).unwrap();
    assert_eq!(pending.wait_timeout(Duration::from_secs(10)), Some(Ok(9)));
    assert_eq!(under_way(&segment), 0);
}

#[test]
fn a_segment_without_bells_of_its_participants_says_that_it_has_no_calls() {
    in_own_namespace(|| {
        set_limit("sem", "120 32000 32 128");
        let segment = Segment::anonymous().unwrap();
        let error = segment.service::<u8, u8>("none").capacity(1).client().unwrap_err();
        assert!(matches!(error, ChannelError::NoCalls { semaphores: 109, needed: 173, .. }));
        let text = error.to_string();
        assert!(text.contains("kernel.sem") && text.contains("173"), "{text}");
        segment.channel::<u8>("some").capacity(1).sender().unwrap();
        let small = Segment::options().participants(8).anonymous().unwrap();
        small.service::<u8, u8>("some").capacity(1).client().unwrap();
    });
}

#[test]
fn a_listing_says_who_has_calls_in_hand() {
    let segment = Segment::anonymous().unwrap();
    let (client, server) = pair(&segment, 4);
    let calls: Vec<_> = (0..3).map(|n| client.start(n).unwrap()).collect();
    let in_hand = [server.recv().unwrap(), server.recv().unwrap()];
    drop(calls);
    let info = segment.channels().remove(0);
    assert_eq!((info.kind, info.capacity, info.depth), (ChannelKind::Calls, 4, 0));
    assert_eq!((info.senders, info.receivers), (1, 1));
    let calls = info.calls.unwrap();
    assert_eq!((calls.under_way, calls.waiting, calls.abandoned), (2, 0, 2));
    assert_eq!(calls.in_hand.len(), 1);
    assert_eq!((calls.in_hand[0].0.pid(), calls.in_hand[0].1), (std::process::id(), 2));
    assert_eq!(calls.reply_size, 8);
    drop(in_hand);
}
