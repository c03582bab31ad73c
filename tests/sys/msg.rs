//! Message queues against the real kernel.

#![allow(unsafe_code)]

use crate::common;

use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

use common::{
    Brief, Owned, PATIENCE, Peer, as_nobody, fresh_key, in_own_namespace, parked_in, queue, says,
    set_limit, tid, wait_until,
};
use tombolo::sys::msg::{self, Queue, Received, Selector, Wait};
use tombolo::sys::{Error, ErrorKind, Key, Object, limits, proc};

/// Where one sleeps until there is room, or a message.
const WAIT: &[i64] = &[libc::SYS_msgsnd, libc::SYS_msgrcv, libc::SYS_ppoll];

/// The type and the text of the message chosen, without waiting.
fn take(queue: &Queue, selector: Selector) -> Result<(i64, String), Error> {
    let mut buffer = [0; 100];
    let got = queue.receive(selector, &mut buffer, Wait::No)?;
    assert!(!got.truncated);
    Ok((got.kind, String::from_utf8_lossy(&buffer[..got.len]).into_owned()))
}

fn put(queue: &Queue, messages: &[(i64, &str)]) {
    for (kind, text) in messages {
        queue.send(*kind, text.as_bytes(), Wait::No).unwrap();
    }
}

/// Everything that `selector` chooses, in its order.
fn drain(queue: &Queue, selector: Selector) -> String {
    let texts = std::iter::from_fn(|| take(queue, selector).ok().map(|(_, text)| text));
    texts.collect::<Vec<_>>().join(" ")
}

fn fill(queue: &Queue) {
    while queue.send(1, &[0; 1000], Wait::No).is_ok() {}
}

#[test]
fn a_new_queue_is_empty_and_as_described() {
    let key = fresh_key();
    let limits = limits::msg().unwrap();
    let queue = Owned(Queue::options().mode(0o640).exclusive(true).create(key).unwrap());
    let stat = queue.stat().unwrap();
    assert_eq!((stat.id, stat.key, stat.mode), (queue.id(), key, 0o640));
    assert_eq!((stat.uid, stat.creator_uid), (proc::uid(), proc::uid()));
    assert_eq!((stat.messages, stat.bytes, stat.max_bytes), (0, 0, limits.max_bytes));
    assert_eq!((stat.last_send_pid, stat.send_time, stat.receive_time), (0, 0, 0));
    assert_eq!(queue.stat_any().unwrap(), stat);
    assert!(msg::all().unwrap().contains(&stat));
    assert_eq!((Queue::open(key).unwrap(), Queue::from_id(stat.id)), (*queue, *queue));

    put(&queue, &[(3, "abc"), (4, "")]);
    let stat = queue.stat().unwrap();
    assert_eq!((stat.messages, stat.bytes), (2, 3));
    assert_eq!(stat.last_send_pid.cast_unsigned(), proc::pid());
    let used = limits::msg().unwrap();
    assert!(used.used_queues >= 1 && used.used_messages >= 2 && used.used_bytes >= 3, "{used:?}");
}

#[test]
fn a_taken_key_and_one_that_nothing_has_are_named() {
    let key = fresh_key();
    let error = Queue::open(key).unwrap_err();
    says(&error, ErrorKind::NotFound, &[&key.to_string(), "ipcs -q"]);
    assert_eq!(error.object(), &Object::QueueKey { key });
    assert_eq!(Queue::open(Key::PRIVATE).unwrap_err().kind(), ErrorKind::NotFound);
    let queue = Owned(Queue::options().create(key).unwrap());
    let error = Queue::options().exclusive(true).create(key).unwrap_err();
    says(&error, ErrorKind::Exists, &[&key.to_string(), "ipcrm -Q"]);
    assert_eq!(Queue::options().create(key).unwrap(), *queue);
}

#[test]
fn messages_of_a_type_come_in_the_order_they_were_sent() {
    let queue = queue();
    put(&queue, &[(2, "a"), (1, "b"), (2, "c"), (1, "d"), (2, "e")]);
    assert_eq!(drain(&queue, Selector::Type(2)), "a c e");
    assert_eq!(drain(&queue, Selector::Any), "b d");
    let error = take(&queue, Selector::Any).unwrap_err();
    assert_eq!((error.kind(), error.errno()), (ErrorKind::WouldBlock, libc::ENOMSG));
}

#[test]
fn the_lowest_type_overtakes() {
    let queue = queue();
    put(&queue, &[(30, "stats"), (20, "ping"), (30, "stats"), (10, "shutdown"), (20, "pong")]);
    assert_eq!(drain(&queue, Selector::UpTo(20)), "shutdown ping pong");
    assert_eq!(drain(&queue, Selector::UpTo(i64::MAX)), "stats stats");
}

#[test]
fn all_but_one_type_can_be_taken() {
    let queue = queue();
    put(&queue, &[(1, "a"), (2, "b"), (3, "c"), (1, "d")]);
    assert_eq!(drain(&queue, Selector::Except(1)), "b c");
    assert_eq!(drain(&queue, Selector::Any), "a d");
}

#[test]
fn a_type_below_one_is_refused_and_never_means_something_else() {
    let queue = queue();
    put(&queue, &[(1, "a")]);
    for kind in [0, -1, i64::MIN] {
        let error = queue.send(kind, b"x", Wait::No).unwrap_err();
        says(&error, ErrorKind::Invalid, &["at least 1"]);
        for selector in [Selector::Type(kind), Selector::UpTo(kind), Selector::Except(kind)] {
            let error = take(&queue, selector).unwrap_err();
            says(&error, ErrorKind::Invalid, &["from 1 on"]);
        }
    }
    assert_eq!(queue.stat().unwrap().messages, 1);
}

#[test]
fn a_message_that_does_not_fit_stays_and_says_how_long_it_is() {
    let queue = queue();
    put(&queue, &[(9, "far too long for any of it"), (5, "too long"), (5, "fits")]);
    let mut small = [0; 4];
    for (selector, needed) in [
        (Selector::Any, 26),
        (Selector::Type(5), 8),
        (Selector::UpTo(9), 8),
        (Selector::Except(9), 8),
        (Selector::Except(5), 26),
    ] {
        let error = queue.receive(selector, &mut small, Wait::No).unwrap_err();
        let text = format!("{needed} bytes, the buffer 4");
        // A kernel may not tell.
        if error.needed().is_some() {
            says(&error, ErrorKind::TooBig, &[&text]);
        }
        says(&error, ErrorKind::TooBig, &[]);
        assert!(error.needed().is_none_or(|found| found == needed), "{selector:?}: {error}");
    }
    assert_eq!(queue.stat().unwrap().messages, 3);

    let got = queue.receive_truncated(Selector::Type(5), &mut small, Wait::No).unwrap();
    let is = |got: Received| (got.kind, got.len, got.truncated);
    assert_eq!((is(got), &small), ((5, 4, true), b"too "));
    let got = queue.receive_truncated(Selector::Type(5), &mut small, Wait::No).unwrap();
    assert_eq!((is(got), &small), ((5, 4, false), b"fits"));
    let got = queue.receive_truncated(Selector::Any, &mut [], Wait::No).unwrap();
    assert_eq!(is(got), (9, 0, true));
}

#[test]
fn a_full_queue_says_what_is_in_it() {
    let queue = queue();
    queue.set_max_bytes(3000).unwrap();
    fill(&queue);
    let limit = limits::msg().unwrap().max_bytes.to_string();
    let words = ["3 messages of 3000 bytes", "holds 3000", "kernel.msgmnb", &limit];
    let error = queue.send(1, b"x", Wait::No).unwrap_err();
    says(&error, ErrorKind::WouldBlock, &words);
    assert_eq!(error.object(), &Object::Message { queue: queue.id(), kind: 1, len: 1 });
    let soon = Instant::now() + Duration::from_millis(30);
    let error = queue.send(1, b"x", Wait::Until(soon)).unwrap_err();
    says(&error, ErrorKind::TimedOut, &words);
    assert!(Instant::now() >= soon);
    // A message without bytes counts too.
    drain_all(&queue);
    queue.set_max_bytes(2).unwrap();
    put(&queue, &[(1, ""), (1, "")]);
    says(&queue.send(1, b"", Wait::No).unwrap_err(), ErrorKind::WouldBlock, &["2 messages of 0"]);
}

fn drain_all(queue: &Queue) {
    while queue.receive_truncated(Selector::Any, &mut [], Wait::No).is_ok() {}
}

#[test]
fn nobody_waits_for_room_that_cannot_come() {
    let queue = queue();
    queue.set_max_bytes(100).unwrap();
    for wait in [Wait::No, Wait::Forever, Wait::Until(Instant::now() + PATIENCE)] {
        let error = queue.send(1, &[0; 101], wait).unwrap_err();
        says(&error, ErrorKind::TooBig, &["101 bytes", "holds 100 bytes", "kernel.msgmnb"]);
    }
    queue.send(1, &[0; 100], Wait::Forever).unwrap();
}

#[test]
fn the_kernels_limits_are_named_with_their_values() {
    in_own_namespace(|| {
        set_limit("msgmax", "500");
        let one = queue();
        let error = one.send(1, &[0; 501], Wait::Forever).unwrap_err();
        says(&error, ErrorKind::TooBig, &["501 bytes", "kernel.msgmax allows 500"]);
        one.send(1, &[0; 500], Wait::No).unwrap();

        set_limit("msgmni", "1");
        let error = Queue::options().create(Key::PRIVATE).unwrap_err();
        says(&error, ErrorKind::NoSpace, &["kernel.msgmni allows 1 queues, 1 exist", "ipcrm -q"]);
        set_limit("msgmni", "2");
        set_limit("msgmnb", "700");
        let other = queue();
        assert_eq!(other.stat().unwrap().max_bytes, 700);
        let limits = limits::msg().unwrap();
        assert_eq!((limits.max_queues, limits.max_bytes, limits.max_message), (2, 700, 500));
        assert_eq!((limits.used_queues, limits.used_messages, limits.used_bytes), (2, 1, 500));
        match other.set_max_bytes(701) {
            Err(error) => says(
                &error,
                ErrorKind::PermissionDenied,
                &["kernel.msgmnb allows 700", "701", "CAP_SYS_RESOURCE"],
            ),
            Ok(()) => eprintln!("SKIPPED: a queue above msgmnb: this process may make one"),
        }
        let found: Vec<i32> = msg::all().unwrap().iter().map(|stat| stat.id).collect();
        assert_eq!(found, [one.id(), other.id()]);
    });
}

#[test]
fn another_users_queue_is_refused_with_its_owner_and_mode() {
    let key = fresh_key();
    let queue = Owned(Queue::options().create(key).unwrap());
    as_nobody(|| {
        let words = ["uid 0", "mode 0600", "uid 65534"];
        let error = queue.send(1, b"x", Wait::No).unwrap_err();
        says(&error, ErrorKind::PermissionDenied, &words);
        for error in [
            take(&queue, Selector::Any).unwrap_err(),
            queue.stat().unwrap_err(),
            queue.set_max_bytes(10).unwrap_err(),
            queue.remove().unwrap_err(),
            Queue::options().create(key).unwrap_err(),
        ] {
            says(&error, ErrorKind::PermissionDenied, &words);
        }
        assert_eq!(queue.stat_any().unwrap().mode, 0o600);
    });
}

#[test]
fn a_removed_queue_is_gone_for_everything() {
    let queue = queue();
    queue.remove().unwrap();
    for error in [
        queue.send(1, b"x", Wait::Forever).unwrap_err(),
        take(&queue, Selector::Any).unwrap_err(),
        queue.stat().unwrap_err(),
        queue.stat_any().unwrap_err(),
        queue.set_max_bytes(1).unwrap_err(),
        queue.remove().unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Removed, "{error}");
    }
}

#[test]
fn removal_wakes_a_sender_and_a_receiver() {
    for role in ["send", "receive", "send until", "receive until"] {
        let queue = queue();
        if role.starts_with("send") {
            fill(&queue);
        }
        let peer = Peer::start(role, &[&queue.id()]);
        wait_until(|| parked_in(peer.pid(), WAIT));
        queue.remove().unwrap();
        peer.expect("Removed");
        assert_eq!(peer.join(), 0);
    }
}

#[test]
fn who_waits_is_served() {
    for sleeper in ["receive", "receive until"] {
        let queue = queue();
        let peer = Peer::start(sleeper, &[&queue.id()]);
        wait_until(|| parked_in(peer.pid(), WAIT));
        queue.send(7, b"at last", Wait::No).unwrap();
        peer.expect("7 at last");
    }
    for sleeper in ["send", "send until"] {
        let queue = queue();
        fill(&queue);
        let peer = Peer::start(sleeper, &[&queue.id()]);
        wait_until(|| parked_in(peer.pid(), WAIT));
        queue.receive_truncated(Selector::Type(1), &mut [], Wait::No).unwrap();
        peer.expect("sent");
        queue.receive_truncated(Selector::Type(2), &mut [], Wait::No).unwrap();
    }
}

#[test]
fn a_wait_with_a_deadline_ends_with_it_and_a_past_one_still_tries() {
    let queue = queue();
    let soon = Instant::now() + Duration::from_millis(30);
    let error = queue.receive(Selector::Any, &mut [], Wait::Until(soon)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(Instant::now() >= soon);
    queue.send(1, b"", Wait::Until(soon)).unwrap();
    queue.receive(Selector::Any, &mut [], Wait::Until(soon)).unwrap();
}

#[test]
fn a_receiver_killed_before_a_message_came_takes_nothing() {
    for role in ["receive", "receive until"] {
        let queue = queue();
        let peer = Peer::start(role, &[&queue.id()]);
        wait_until(|| parked_in(peer.pid(), WAIT));
        peer.finish();
        put(&queue, &[(1, "still here")]);
        assert_eq!(drain(&queue, Selector::Any), "still here");
    }
}

/// The kernel takes the message off for a sleeper, which may never wake: it is
/// lost with the receiver, and no other is.
#[test]
fn a_receiver_killed_inside_a_receive_takes_one_message_with_it() {
    let queue = queue();
    let peer = Peer::start("receive", &[&queue.id()]);
    wait_until(|| parked_in(peer.pid(), WAIT));
    put(&queue, &[(1, "given"), (1, "left")]);
    peer.finish();
    assert_eq!(drain(&queue, Selector::Any), "left");
}

#[test]
fn a_signal_interrupts_a_receive_and_does_not_shorten_a_deadline() {
    extern "C" fn nothing(_: i32) {}
    let action = SigAction::new(SigHandler::Handler(nothing), SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: the handler does nothing, and no other test uses this signal.
    unsafe { sigaction(Signal::SIGUSR1, &action) }.unwrap();
    let queue = queue();
    for forever in [true, false] {
        let (tell, told) = std::sync::mpsc::channel();
        let soon = Instant::now() + Duration::from_millis(200);
        let wait = if forever { Wait::Forever } else { Wait::Until(soon) };
        let queue = *queue;
        let sleeper = thread::spawn(move || {
            tell.send(tid()).unwrap();
            queue.receive(Selector::Any, &mut [], wait).unwrap_err().kind()
        });
        let id = told.recv().unwrap();
        let call = format!("/proc/self/task/{id}/syscall");
        let number = if forever { libc::SYS_msgrcv } else { libc::SYS_ppoll }.to_string();
        wait_until(|| {
            let now = std::fs::read_to_string(&call).unwrap_or_default();
            now.split(' ').next() == Some(&number) || sleeper.is_finished()
        });
        if !sleeper.is_finished() {
            // SAFETY: sends a signal that is handled, and touches no memory.
            let sent =
                unsafe { libc::syscall(libc::SYS_tgkill, proc::pid(), id, Signal::SIGUSR1 as i32) };
            assert!(sent == 0 || sleeper.is_finished());
        }
        let kind = sleeper.join().unwrap();
        if forever {
            assert_eq!(kind, ErrorKind::Interrupted);
        } else {
            assert_eq!(kind, ErrorKind::TimedOut);
            assert!(Instant::now() >= soon);
        }
    }
}

#[test]
#[ignore = "what the child processes run"]
fn child_entry() {
    let Some(brief) = Brief::take() else { return };
    let queue = Queue::from_id(brief.number(0));
    let wait = if brief.role.ends_with("until") {
        Wait::Until(Instant::now() + PATIENCE)
    } else {
        Wait::Forever
    };
    let mut buffer = [0; 100];
    let done = if brief.role.starts_with("send") {
        queue.send(2, &[0; 1000], wait).map(|()| "sent".to_owned())
    } else {
        queue
            .receive(Selector::Any, &mut buffer, wait)
            .map(|got| format!("{} {}", got.kind, String::from_utf8_lossy(&buffer[..got.len])))
    };
    match done {
        Ok(what) => brief.say(what),
        Err(error) => brief.say(format_args!("{:?}", error.kind())),
    }
}
