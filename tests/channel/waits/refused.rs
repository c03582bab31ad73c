//! A wake-up that the kernel refuses is reported, or made good; no process waits
//! silently.
//!
//! The segment belongs to root alone. Another process sleeps in it, and this one loses
//! the right to wake it.

use std::time::Duration;

use nix::unistd::{Gid, Uid, setresgid, setresuid};
use tombolo::sys::ErrorKind;
use tombolo::{
    Done, Fault, RecvError, RecvTimeoutError, Segment, SendError, SendTimeoutError, Side,
    TryRecvError, TrySendError, Unwoken,
};

use super::market;
use crate::common::readiness::{alone, watchers};
use crate::common::{Brief, Name, PATIENCE, Peer, as_nobody, thread_parked, wait_until};

/// Checks what a refused wake says of itself.
#[track_caller]
fn refused(fault: &Fault, done: Done, side: Side) {
    let Fault::Unwoken(unwoken) = fault else { panic!("{fault:?}") };
    told(unwoken, done, side);
}

#[track_caller]
fn told(unwoken: &Unwoken, done: Done, side: Side) {
    assert_eq!((unwoken.done, unwoken.side), (done, side), "{unwoken}");
    assert_eq!(unwoken.source.kind(), ErrorKind::PermissionDenied, "{unwoken}");
    let text = unwoken.to_string();
    for part in [&*unwoken.channel, "semaphore", "hand it over"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

/// The answer to a sender whose message is in the channel.
#[track_caller]
fn sent_all_the_same(error: SendError) -> Box<Unwoken> {
    let SendError::Unwoken(unwoken) = error else { panic!("{error:?}") };
    unwoken
}

/// Another process that sleeps over one end of a channel.
fn sleeper(name: &Name, role: &str, channel: &str) -> Peer {
    let peer = Peer::start(role, &[name, &channel]);
    peer.expect("ready");
    peer.wait_until_parked();
    peer
}

#[test]
fn a_send_says_that_its_message_is_there_and_its_receiver_asleep() {
    let (name, segment) = market();
    let channel = |name| segment.channel::<u64>(name).capacity(8);
    let forms = ["send", "try_send", "send_timeout", "send_batch", "try_send_batch", "grant"];
    for form in forms {
        let mut tx = channel(form).sender().unwrap();
        let peer = sleeper(&name, "receives", form);
        as_nobody(move || {
            let (unwoken, sent) = match form {
                "send" => {
                    let error = tx.send(1).unwrap_err();
                    assert!(error.is_sent());
                    assert_eq!(error.clone().into_inner(), None);
                    let SendError::Unwoken(unwoken) = error else { panic!("{error:?}") };
                    (unwoken, 1)
                }
                "try_send" => match tx.try_send(1).unwrap_err() {
                    TrySendError::Unwoken(unwoken) => (unwoken, 1),
                    error => panic!("{error:?}"),
                },
                "send_timeout" => match tx.send_timeout(1, PATIENCE).unwrap_err() {
                    SendTimeoutError::Unwoken(unwoken) => (unwoken, 1),
                    error => panic!("{error:?}"),
                },
                "send_batch" => {
                    let error = tx.send_batch(&[1, 1]).unwrap_err();
                    (sent_all_the_same(error.reason), error.sent)
                }
                "try_send_batch" => {
                    let error = tx.try_send_batch(&[1, 1]).unwrap_err();
                    (sent_all_the_same(error.reason), error.sent)
                }
                _ => {
                    let mut grant = tx.reserve().unwrap();
                    grant.write(&1);
                    (sent_all_the_same(grant.commit().unwrap_err()), 1)
                }
            };
            told(&unwoken, Done::Sent, Side::Receiver);
            assert_eq!(tx.len(), sent);
            // Until it is made good, nothing else is done.
            let SendError::Fault { message: 2, fault } = tx.send(2).unwrap_err() else { panic!() };
            refused(&fault, Done::Sent, Side::Receiver);
            assert_eq!(tx.try_send(3).unwrap_err().into_inner(), Some(3));
            assert_eq!(tx.send_batch(&[4]).unwrap_err().sent, 0);
            let reserved = tx.try_reserve().unwrap_err();
            assert!(matches!(reserved, TrySendError::Fault { fault: Fault::Unwoken(_), .. }));
            assert_eq!(tx.len(), sent);
            // Closing tells it, too.
            refused(&tx.close().unwrap_err(), Done::Sent, Side::Receiver);
        });
        drop(peer);
    }
}

#[test]
fn bytes_say_so_too() {
    let (name, segment) = market();
    for kind in ["mpmc", "spsc"] {
        for form in ["send", "try_send", "send_timeout", "send_batch", "grant"] {
            let channel = format!("{kind}/{form}");
            if kind == "mpmc" {
                let tx = segment.bytes(&channel).capacity(8, 64).sender().unwrap();
                bytes(tx, &name, &channel, form);
            } else {
                let tx = segment.bytes(&channel).spsc().capacity(8, 64).sender().unwrap();
                bytes(tx, &name, &channel, form);
            }
        }
    }
}

fn bytes<K: tombolo::Kind>(mut tx: tombolo::ByteSender<K>, name: &Name, channel: &str, form: &str)
where
    tombolo::ByteSender<K>: Send,
{
    let peer = sleeper(name, "receives bytes", channel);
    as_nobody(move || {
        let (error, sent) = match form {
            "send" => (tx.send(b"x").unwrap_err(), 1),
            "try_send" => match tx.try_send(b"x").unwrap_err() {
                TrySendError::Unwoken(unwoken) => (unwoken.into(), 1),
                error => panic!("{error:?}"),
            },
            "send_timeout" => match tx.send_timeout(b"x", PATIENCE).unwrap_err() {
                SendTimeoutError::Unwoken(unwoken) => (unwoken.into(), 1),
                error => panic!("{error:?}"),
            },
            "send_batch" => {
                let error = tx.send_batch(&[b"x"]).unwrap_err();
                (error.reason, error.sent)
            }
            _ => {
                let mut grant = tx.reserve(1).unwrap();
                grant.write_at(0, b"x");
                (grant.commit(1).unwrap_err(), 1)
            }
        };
        assert_eq!(sent, 1);
        assert_eq!(tx.len(), 1, "{form}");
        told(&sent_all_the_same(error), Done::Sent, Side::Receiver);
        match tx.send(b"y").unwrap_err() {
            SendError::Fault { fault, .. } => refused(&fault, Done::Sent, Side::Receiver),
            error => panic!("{error:?}"),
        }
        assert_eq!(tx.len(), 1, "{form}");
    });
    drop(peer);
}

#[test]
fn a_receive_returns_its_message_and_the_next_call_says_that_a_sender_sleeps() {
    let (name, segment) = market();
    for form in ["recv", "try_recv", "recv_timeout", "recv_batch", "take", "bytes"] {
        let peer;
        if form == "bytes" {
            let mut rx = segment.bytes(form).capacity(1, 64).receiver().unwrap();
            peer = sleeper(&name, "sends bytes", form);
            as_nobody(move || {
                let mut into = Vec::new();
                assert_eq!(rx.recv(&mut into).unwrap(), 1);
                let fault = rx.recv(&mut into).unwrap_err().into_fault().unwrap();
                refused(&fault, Done::Taken, Side::Sender);
                assert!(matches!(rx.try_take(), Err(TryRecvError::Fault(Fault::Unwoken(_)))));
                let fault = rx.take().unwrap_err().into_fault().unwrap();
                refused(&fault, Done::Taken, Side::Sender);
                refused(&rx.close().unwrap_err(), Done::Taken, Side::Sender);
            });
        } else {
            let mut rx = segment.channel::<u64>(form).capacity(1).receiver().unwrap();
            peer = sleeper(&name, "sends", form);
            as_nobody(move || {
                match form {
                    "recv" => assert_eq!(rx.recv().unwrap(), 1),
                    "try_recv" => assert_eq!(rx.try_recv().unwrap(), 1),
                    "recv_timeout" => assert_eq!(rx.recv_timeout(PATIENCE).unwrap(), 1),
                    "recv_batch" => assert_eq!(rx.recv_batch(&mut Vec::new(), 9).unwrap(), 1),
                    _ => assert_eq!(rx.take().unwrap().read(), 1),
                }
                for _ in 0..3 {
                    match rx.recv() {
                        Err(RecvError::Fault(fault)) => refused(&fault, Done::Taken, Side::Sender),
                        other => panic!("{form}: {other:?}"),
                    }
                    match rx.try_recv() {
                        Err(TryRecvError::Fault(Fault::Unwoken(_))) => {}
                        other => panic!("{form}: {other:?}"),
                    }
                    match rx.recv_timeout(Duration::ZERO) {
                        Err(RecvTimeoutError::Fault(Fault::Unwoken(_))) => {}
                        other => panic!("{form}: {other:?}"),
                    }
                    let fault = rx.take().unwrap_err().into_fault().unwrap();
                    refused(&fault, Done::Taken, Side::Sender);
                }
                // One more end of a process makes no call that could be refused.
                drop(rx.try_clone().unwrap());
            });
        }
        drop(peer);
    }
}

#[test]
fn a_grant_that_is_given_back_is_told_by_the_next_call() {
    let (name, segment) = market();
    let channel = segment.channel::<u64>("c").capacity(1);
    let mut tx = channel.sender().unwrap();
    let mut peer = Peer::start("receives", &[&name, &"c"]);
    peer.expect("ready");
    peer.wait_until_parked();
    let theirs = &mut tx;
    as_nobody(move || {
        drop(theirs.reserve().unwrap());
        match theirs.try_send(1) {
            Err(TrySendError::Fault { fault, .. }) => {
                refused(&fault, Done::GivenUp, Side::Receiver);
            }
            other => panic!("{other:?}"),
        }
    });
    // With the right back, whatever is called next makes it good.
    tx.send(7).unwrap();
    peer.expect("7");
    peer.tell("go");
    assert_eq!(peer.join(), 0);
}

#[test]
fn closing_says_that_the_other_side_could_not_be_told() {
    let (name, segment) = market();
    let channel = |name| segment.channel::<u64>(name).capacity(1);
    let tx = channel("receives").sender().unwrap();
    let peer = sleeper(&name, "receives", "receives");
    as_nobody(move || refused(&tx.close().unwrap_err(), Done::Closed, Side::Receiver));
    drop(peer);
    let rx = channel("sends").receiver().unwrap();
    let peer = sleeper(&name, "sends", "sends");
    as_nobody(move || refused(&rx.close().unwrap_err(), Done::Closed, Side::Sender));
    drop(peer);
    // Where nothing is refused, it tells the other side, and that is all.
    let tx = channel("closes").sender().unwrap();
    let peer = sleeper(&name, "receives", "closes");
    tx.close().unwrap();
    peer.expect("Disconnected");
    drop(peer);
    // A dropped one has done what it could: who looks finds that it has gone.
    let tx = channel("drops").sender().unwrap();
    let rx = channel("drops").receiver().unwrap();
    as_nobody(move || drop(tx));
    assert_eq!(rx.recv(), Err(RecvError::Disconnected));
}

/// In a process of its own, that gives up root for good.
#[test]
fn leaving_a_segment_without_the_right_to_is_told() {
    let (name, segment) = market();
    let peer = Peer::start("leaves", &[&name]);
    match &*peer.said() {
        "SKIPPED" => eprintln!("SKIPPED: needs root"),
        said => assert_eq!(said, "refused"),
    }
    drop(peer);
    segment.sweep().unwrap();
}

#[test]
fn a_mode_that_an_administrator_changes_is_the_same() {
    let (name, segment) = market();
    segment.sweep().unwrap();
    let id = name.set(0).unwrap().id();
    let mode = |mode: u32| {
        // SAFETY: all zeroes is a value of it.
        let mut set: libc::semid_ds = unsafe { std::mem::zeroed() };
        set.sem_perm.mode = mode as _;
        set.sem_perm.uid = 65_534;
        set.sem_perm.gid = 65_534;
        // SAFETY: the set is the test's own, and the structure is as large as
        // it has to be.
        assert_eq!(unsafe { libc::semctl(id, 0, libc::IPC_SET, &raw mut set) }, 0);
    };
    if !nix::unistd::getuid().is_root() {
        return eprintln!("SKIPPED: needs root");
    }
    mode(0o600);
    let tx = segment.channel::<u64>("c").capacity(4).sender().unwrap();
    let peer = sleeper(&name, "receives", "c");
    let mut tx = Some(tx);
    let theirs = &mut tx;
    as_nobody(move || {
        // The right is there.
        theirs.as_ref().unwrap().send(1).unwrap();
    });
    peer.expect("1");
    drop(peer);
    let peer = sleeper(&name, "receives", "c");
    mode(0);
    let theirs = &mut tx;
    as_nobody(move || {
        let error = theirs.as_ref().unwrap().send(2).unwrap_err();
        let SendError::Unwoken(unwoken) = error else { panic!("{error:?}") };
        told(&unwoken, Done::Sent, Side::Receiver);
    });
    mode(0o600);
    let theirs = &mut tx;
    as_nobody(move || theirs.as_ref().unwrap().send(3).unwrap());
    peer.expect("2");
    drop(peer);
}

/// A thread behind a descriptor that cannot be woken any more is left to itself.
#[test]
fn a_handle_with_a_descriptor_can_be_closed_without_the_right_to_wake_its_thread() {
    alone("closes", &market().0);
}

fn closes(segment: Segment) {
    let rx = segment.channel::<u64>("c").capacity(4).receiver().unwrap();
    rx.readiness().unwrap();
    assert!(matches!(rx.try_recv(), Err(TryRecvError::Empty)));
    wait_until(|| watchers().iter().any(|&tid| thread_parked(tid)));
    as_nobody(move || assert!(rx.close().is_err()));
    segment.remove().unwrap();
    wait_until(|| watchers().is_empty());
}

#[test]
#[ignore = "what the child processes run"]
fn child_entry() {
    let Some(brief) = Brief::take() else { return };
    let segment = Segment::open(brief.text(0)).unwrap();
    match &*brief.role {
        "receives" => {
            let rx = segment.channel::<u64>(brief.text(1)).receiver().unwrap();
            brief.say("ready");
            match rx.recv() {
                Ok(n) => brief.say(n),
                Err(RecvError::Disconnected) => brief.say("Disconnected"),
                Err(error) => panic!("{error}"),
            }
            brief.hear();
        }
        "receives bytes" => {
            let channel = segment.bytes(brief.text(1));
            if brief.text(1).starts_with("spsc") {
                let rx = channel.spsc().receiver().unwrap();
                brief.say("ready");
                let _ = rx.recv(&mut Vec::new());
            } else {
                let rx = channel.receiver().unwrap();
                brief.say("ready");
                let _ = rx.recv(&mut Vec::new());
            }
            brief.hear();
        }
        "sends" => {
            let tx = segment.channel::<u64>(brief.text(1)).sender().unwrap();
            tx.send(1).unwrap();
            brief.say("ready");
            let _ = tx.send(2);
            brief.hear();
        }
        "sends bytes" => {
            let tx = segment.bytes(brief.text(1)).sender().unwrap();
            tx.send(b"1").unwrap();
            brief.say("ready");
            let _ = tx.send(b"2");
            brief.hear();
        }
        "leaves" => {
            let (user, group) = (Uid::from_raw(65_534), Gid::from_raw(65_534));
            if !Uid::current().is_root() || setresgid(group, group, group).is_err() {
                brief.say("SKIPPED");
                return;
            }
            setresuid(user, user, user).unwrap();
            match segment.leave() {
                Err(Fault::System(error)) if error.kind() == ErrorKind::PermissionDenied => {
                    brief.say("refused");
                }
                other => brief.say(format!("{other:?}")),
            }
            brief.hear();
        }
        "closes" => {
            closes(segment);
            brief.say("all is well");
        }
        role => panic!("{role}"),
    }
}
