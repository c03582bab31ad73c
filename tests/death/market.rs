//! A segment with one channel, and processes with one end of it that do as they are
//! told.

use nix::sched::{CloneFlags, unshare};
use tombolo::sys::shm::Shm;
use tombolo::{Kind, Segment, TryRecvError, TrySendError};

use crate::common::{Brief, Name, Peer, Words};

pub(crate) const NO_SENDER: &str = "the channel is disconnected: its last sender has gone";
pub(crate) const NO_RECEIVER: &str = "the channel is disconnected: its last receiver has gone";

/// A segment for one test, removed with it.
pub(crate) struct Market {
    pub(crate) segment: Segment,
    pub(crate) name: Name,
}

impl Market {
    pub(crate) fn new(participants: u16) -> Market {
        let name = Name::new();
        let options = Segment::options().size(1 << 20).participants(participants).channels(4);
        Market { segment: options.create(&name).unwrap(), name }
    }

    /// A process with one end of the channel `c`, which does as it is told.
    pub(crate) fn peer(&self, kind: &str, side: &str) -> Peer {
        let peer = Peer::start("puppet", &[&self.name, &kind, &side]);
        peer.expect("open");
        peer
    }

    pub(crate) fn make(&self, kind: &str, capacity: usize) {
        let channel = self.segment.channel::<u64>("c").capacity(capacity);
        match kind {
            "spsc" => drop(channel.spsc().sender().unwrap()),
            _ => drop(channel.mpmc().sender().unwrap()),
        }
    }

    pub(crate) fn depth(&self) -> u64 {
        self.segment.channels()[0].depth
    }

    pub(crate) fn living(&self) -> usize {
        self.segment.participants().len()
    }
}

pub(crate) fn parked_in(peer: &mut Peer, call: &str) {
    peer.tell(call);
    peer.wait_until_parked();
    assert!(peer.silent());
}

fn puppet<K: Kind>(brief: &Brief, channel: &tombolo::Channel<'_, u64, K>) {
    let mut tx = None;
    let mut rx = None;
    match brief.text(2) {
        "sender" => tx = Some(channel.sender().unwrap()),
        _ => rx = Some(channel.receiver().unwrap()),
    }
    let tx = || tx.as_ref().unwrap();
    let rx = || rx.as_ref().unwrap();
    brief.say("open");
    loop {
        let line = brief.hear();
        let (word, number) = line.split_once(' ').unwrap_or((&line, "0"));
        let number = number.parse().unwrap_or(0);
        match word {
            "send" => match tx().send(number) {
                Ok(()) => brief.say("sent"),
                Err(error) => brief.say(error),
            },
            "recv" => match rx().recv() {
                Ok(got) => brief.say(format!("got {got}")),
                Err(error) => brief.say(error),
            },
            "drain" => loop {
                match rx().recv() {
                    Ok(got) => brief.say(format!("got {got}")),
                    Err(error) => break brief.say(error),
                }
            },
            "poll" => {
                brief.say("polling");
                let fault = loop {
                    let failed = match brief.text(2) {
                        "sender" => tx().try_send(2).err().and_then(TrySendError::into_fault),
                        _ => rx().try_recv().err().and_then(TryRecvError::into_fault),
                    };
                    if let Some(fault) = failed {
                        break fault;
                    }
                };
                brief.say(fault);
            }
            "count" => {
                let stop = Words::of(Shm::from_id(number as i32));
                let mut n = 0;
                while stop.get(0) == 0 {
                    tx().send(n).unwrap();
                    n += 1;
                }
                tx().send(u64::MAX).unwrap();
                brief.say("counted");
            }
            "check" => {
                let mut expected = 0;
                loop {
                    match rx().recv().unwrap() {
                        u64::MAX => break,
                        n => assert_eq!(n, expected),
                    }
                    expected += 1;
                }
                brief.say("checked");
            }
            "leave" => match unshare(CloneFlags::CLONE_NEWIPC) {
                Ok(()) => brief.say("left"),
                Err(error) => brief.say(error),
            },
            "exit" => std::process::exit(0),
            "panic" => panic!("on purpose"),
            word => panic!("{word}"),
        }
    }
}

#[test]
#[ignore = "what the child processes run"]
fn child_entry() {
    let Some(brief) = Brief::take() else { return };
    let segment = Segment::open(brief.text(0)).unwrap();
    let channel = segment.channel::<u64>("c");
    match brief.text(1) {
        "spsc" => puppet(&brief, &channel.spsc()),
        _ => puppet(&brief, &channel),
    }
}
