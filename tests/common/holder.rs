//! Processes that are in the middle of something in one of the rings.

use std::time::Duration;

use tombolo::{Fault, Segment};

use super::ends::{CAPACITY, receiver, room, sender, single};
use super::{Brief, Name, PATIENCE, Peer, thread_parked, tid, wait_until};

/// The operations that a [`Holder`] can be in the middle of.
pub(crate) const HELD: [&str; 5] = ["grant", "delivery", "sender", "receiver", "recv"];
/// The message of a holder's delivery, and the message that it sends.
pub(crate) const TAKEN: u64 = 40;
pub(crate) const SENT: u64 = 41;

/// A process in the middle of something, in a channel of its own.
#[derive(Debug)]
pub(crate) struct Holder {
    pub(crate) peer: Peer,
    pub(crate) ring: &'static str,
    pub(crate) held: &'static str,
}

/// The channel that is a holder's.
pub(crate) fn channel_of(ring: &str, held: &str) -> String {
    format!("{ring}/{held}")
}

impl Holder {
    /// A test file with holders calls [`hold`] in its `child_entry`.
    #[track_caller]
    pub(crate) fn start(
        name: &Name,
        segment: &Segment,
        ring: &'static str,
        held: &'static str,
    ) -> Holder {
        let peer = Peer::start("hold", &[name, &ring, &held]);
        Self::of(peer, segment, ring, held)
    }

    /// The same with a peer that was given a role of its own.
    pub(crate) fn of(
        mut peer: Peer,
        segment: &Segment,
        ring: &'static str,
        held: &'static str,
    ) -> Holder {
        if held == "delivery" {
            sender(segment, ring, &channel_of(ring, held)).send(TAKEN).unwrap();
        }
        peer.expect("open");
        peer.tell("go");
        if held == "recv" {
            peer.wait_until_parked();
        } else {
            peer.expect("held");
        }
        Holder { peer, ring, held }
    }

    pub(crate) fn channel(&self) -> String {
        channel_of(self.ring, self.held)
    }

    /// Has it go on, and checks that all was as if nothing had happened.
    pub(crate) fn conclude(mut self, segment: &Segment) {
        let channel = self.channel();
        match self.held {
            "grant" | "sender" => {
                let rx = receiver(segment, self.ring, &channel);
                assert_eq!(rx.try_recv().unwrap(), None, "{channel}");
                self.peer.tell("on");
                self.peer.expect("done");
                assert_eq!(rx.recv().unwrap(), SENT, "{channel}");
            }
            "delivery" => {
                self.peer.tell("on");
                self.peer.expect(&format!("got {TAKEN} after 0"));
            }
            _ => {
                self.peer.tell("on");
                sender(segment, self.ring, &channel).send(TAKEN).unwrap();
                self.peer.expect(&format!("got {TAKEN}"));
            }
        }
        assert_eq!(self.peer.join(), 0, "{channel}");
        assert!(room(segment, self.ring, &channel) >= CAPACITY, "{channel}");
    }

    /// Has it die, and checks that whoever waits goes on without it.
    pub(crate) fn dies(&self, segment: &Segment, kill: impl FnOnce(&Peer)) {
        let channel = self.channel();
        if !single(self.ring) && self.held == "delivery" {
            let mut rx = receiver(segment, self.ring, &channel);
            let got = while_waiting(segment, move || rx.delivery(&mut || ()), || kill(&self.peer));
            assert_eq!(got.unwrap(), (TAKEN, 1), "{channel}");
        } else if !single(self.ring) && self.held == "grant" {
            let rx = receiver(segment, self.ring, &channel);
            let tx = sender(segment, self.ring, &channel);
            while tx.try_send(5).unwrap() {}
            // In the way of what was sent, or of what is to be.
            let got = while_waiting(segment, move || tx.send(6), || kill(&self.peer));
            got.unwrap();
            (1..CAPACITY).for_each(|_| assert_eq!(rx.recv().unwrap(), 5, "{channel}"));
            assert_eq!(rx.recv().unwrap(), 6, "{channel}");
        } else if self.held == "grant" || self.held == "sender" {
            let rx = receiver(segment, self.ring, &channel);
            let told = while_waiting(segment, move || rx.recv(), || kill(&self.peer));
            assert!(matches!(told, Err(Fault::Disconnected { .. })), "{channel}: {told:?}");
        } else {
            let tx = sender(segment, self.ring, &channel);
            while tx.try_send(TAKEN).unwrap() {}
            let told = while_waiting(segment, move || tx.send(6), || kill(&self.peer));
            assert!(matches!(told, Err(Fault::Disconnected { .. })), "{channel}: {told:?}");
            let rx = receiver(segment, self.ring, &channel);
            assert_eq!(rx.try_recv().unwrap(), Some(TAKEN), "{channel}");
        }
        assert!(room(segment, self.ring, &channel) >= CAPACITY, "{channel}");
    }

    /// Checks that nobody has taken anything from it.
    #[track_caller]
    pub(crate) fn is_unharmed(&self, segment: &Segment) {
        let channel = self.channel();
        assert!(!segment.sweep().unwrap(), "{channel}: swept");
        let listed = segment.channels();
        let found = listed.iter().find(|found| found.name == channel).unwrap();
        assert_eq!(found.senders + found.receivers, 1, "{channel}: taken for dead");
        match (self.held, single(self.ring)) {
            ("grant", false) => {
                assert_eq!(receiver(segment, self.ring, &channel).try_recv().unwrap(), None);
            }
            ("delivery", false) => {
                assert_eq!(receiver(segment, self.ring, &channel).try_recv().unwrap(), None);
                let tx = sender(segment, self.ring, &channel);
                let mut sent = 0;
                while tx.try_send(7).unwrap() {
                    sent += 1;
                }
                // The holder's message is in the way when its turn comes.
                assert!(sent < CAPACITY, "{channel}");
                let rx = receiver(segment, self.ring, &channel);
                (0..sent).for_each(|_| assert_eq!(rx.try_recv().unwrap(), Some(7), "{channel}"));
                assert_eq!(rx.try_recv().unwrap(), None, "{channel}");
            }
            _ => {}
        }
    }
}

/// The result of a call that sleeps when `then` is done.
fn while_waiting<R: Send>(
    segment: &Segment,
    call: impl FnOnce() -> R + Send,
    then: impl FnOnce(),
) -> R {
    std::thread::scope(|scope| {
        let (tell, told) = std::sync::mpsc::channel();
        let waiter = scope.spawn(move || {
            tell.send(tid()).unwrap();
            call()
        });
        let waiter_tid = told.recv().unwrap();
        wait_until(|| waiter.is_finished() || thread_parked(waiter_tid));
        assert!(!waiter.is_finished(), "it does not wait");
        then();
        let deadline = std::time::Instant::now() + PATIENCE;
        while !waiter.is_finished() {
            if std::time::Instant::now() > deadline {
                // Which wakes it, so that the test can end.
                segment.remove().unwrap();
                panic!("nobody has woken it");
            }
            std::thread::park_timeout(Duration::from_micros(200));
        }
        waiter.join().unwrap()
    })
}

/// The process of a [`Holder`].
pub(crate) fn hold(brief: &Brief, segment: &Segment, prepare: &mut dyn FnMut()) {
    let (ring, held) = (brief.text(1), brief.text(2));
    let channel = channel_of(ring, held);
    let mut meanwhile = || {
        prepare();
        brief.say("held");
        brief.hear();
    };
    brief.say("open");
    brief.hear();
    match held {
        "grant" => {
            sender(segment, ring, &channel).grant(SENT, &mut meanwhile).unwrap();
            brief.say("done");
        }
        "sender" => {
            let tx = sender(segment, ring, &channel);
            meanwhile();
            tx.send(SENT).unwrap();
            brief.say("done");
        }
        "delivery" => {
            let (n, deaths) = receiver(segment, ring, &channel).delivery(&mut meanwhile).unwrap();
            brief.say(format!("got {n} after {deaths}"));
        }
        "receiver" => {
            let rx = receiver(segment, ring, &channel);
            meanwhile();
            brief.say(format!("got {}", rx.recv().unwrap()));
        }
        "recv" => {
            let rx = receiver(segment, ring, &channel);
            brief.say(format!("got {}", rx.recv().unwrap()));
        }
        held => panic!("{held}"),
    }
}
