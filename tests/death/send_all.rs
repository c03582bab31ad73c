//! A storm over joint senders: each of their messages arrives in all of its channels, or in
//! none.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tombolo::sys::proc;
use tombolo::{RecvError, Segment, SendAll};

use crate::common::{Brief, Name, Peer, effort, own_tables, tables, wait_until};

const CHANNELS: [&str; 4] = ["a", "b", "texts", "single"];
/// In which order the senders give their channels, and which these are.
const SETS: [&[usize]; 4] = [&[0, 1], &[2, 1, 0], &[1, 3, 2], &[1]];
const TEXT: usize = 300;

/// Who sends it in which life, its set, and a count.
const fn number(life: u64, set: u64, n: u64) -> u64 {
    life << 40 | set << 32 | n
}

fn text(number: u64) -> Vec<u8> {
    number.to_ne_bytes().repeat(TEXT / 8)
}

struct Ends<'a>(&'a Segment);

impl Ends<'_> {
    fn words(&self, n: usize) -> tombolo::Channel<'_, u64> {
        self.0.channel(CHANNELS[n]).capacity(n + 1).lasting()
    }

    fn texts(&self) -> tombolo::ByteChannel<'_> {
        self.0.bytes(CHANNELS[2]).capacity(2, TEXT).lasting()
    }

    fn single(&self) -> tombolo::Channel<'_, u64, tombolo::Spsc> {
        self.0.channel(CHANNELS[3]).capacity(2).lasting().spsc()
    }
}

#[test]
fn a_storm_of_kills_over_joint_senders_leaves_no_message_in_some_of_its_channels_only() {
    let own = own_tables();
    let name = Name::new();
    let segment = Segment::options().size(1 << 20).participants(12).channels(4).create(&name);
    let segment = segment.unwrap();
    let ends = Ends(&segment);
    // By message: in which channels it has come, a bit for each.
    let got = Mutex::new(HashMap::<u64, u64>::new());
    let received = AtomicU64::new(0);
    let note = |channel: u64, number: u64| {
        let mut got = got.lock().unwrap();
        let mask = got.entry(number).or_default();
        assert_eq!(*mask & 1 << channel, 0, "{number:x} came twice");
        *mask |= 1 << channel;
        received.fetch_add(1, Ordering::Relaxed);
    };
    let note = &note;
    let mut lives = 0;
    let mut start = |set: usize| {
        lives += 1;
        let peer = Peer::start("sender", &[&name, &set, &lives]);
        peer.expect("open");
        peer
    };
    thread::scope(|scope| {
        for n in [0, 1] {
            let receiver = ends.words(n).receiver().unwrap();
            scope.spawn(move || {
                for number in &receiver {
                    let Ok(number) = number else { return };
                    note(n as u64, number);
                }
            });
        }
        let single = ends.single().receiver().unwrap();
        scope.spawn(move || {
            for number in &single {
                let Ok(number) = number else { return };
                note(3, number);
            }
        });
        let texts = ends.texts().receiver().unwrap();
        scope.spawn(move || {
            let mut bytes = Vec::new();
            loop {
                bytes.clear();
                match texts.recv(&mut bytes) {
                    Ok(_) => {
                        let number = u64::from_ne_bytes(bytes[..8].try_into().unwrap());
                        assert_eq!(bytes, text(number), "torn");
                        note(2, number);
                    }
                    Err(RecvError::Fault(_)) => return,
                    Err(error) => panic!("{error}"),
                }
            }
        });
        let mut peers: Vec<Peer> = (0..SETS.len()).map(&mut start).collect();
        effort::say_how_to_repeat();
        for _ in 0..effort::rounds(24, 2_000) {
            let random = proc::random_u64().unwrap();
            let until = Instant::now() + Duration::from_nanos(random >> 16 & 0x3F_FFFF);
            while Instant::now() < until {
                std::hint::spin_loop();
            }
            let set = (random % SETS.len() as u64) as usize;
            peers.swap_remove(set).finish();
            peers.push(start(set));
            let last = peers.len() - 1;
            peers.swap(set, last);
            // Nobody stalls, whatever the dead held.
            let before = received.load(Ordering::Relaxed);
            wait_until(|| received.load(Ordering::Relaxed) > before + 50);
        }
        peers.into_iter().for_each(Peer::finish);
        segment.sweep().unwrap();
        let channels = [ends.words(0).sender().unwrap(), ends.words(1).sender().unwrap()];
        let (texts, single) = (ends.texts().sender().unwrap(), ends.single().sender().unwrap());
        wait_until(|| {
            channels.iter().all(|channel| channel.is_empty())
                && texts.is_empty()
                && single.is_empty()
        });
        let audit = Segment::check(segment.name()).unwrap();
        assert!(audit.is_sound(), "{:#?}", audit.faults);
        let completed: u64 = segment.deaths().recent.iter().map(|death| death.completed).sum();
        println!("{completed} messages completed for the last of the dead");
        segment.remove().unwrap();
    });
    let got = got.into_inner().unwrap();
    assert!(got.len() > 100);
    for (number, mask) in got {
        let set = SETS[(number >> 32 & 0xFF) as usize];
        let all = set.iter().fold(0, |mask, &n| mask | 1 << n);
        assert_eq!(mask, all, "{number:x} came in some of its channels only");
    }
    drop(segment);
    if own {
        assert_eq!(tables(), (0, 0), "left in the kernel's tables");
    }
}

#[test]
#[ignore = "what the child processes run"]
fn child_entry() {
    let Some(brief) = Brief::take() else { return };
    let segment = Segment::open(brief.text(0)).unwrap();
    let ends = Ends(&segment);
    let (set, life): (usize, u64) = (brief.number(1), brief.number(2));
    let numbers = (0..).map(|n| number(life, set as u64, n));
    let word = |n| ends.words(n).sender().unwrap();
    match set {
        0 => {
            let all = SendAll::new([word(0), word(1)]).unwrap();
            brief.say("open");
            numbers.for_each(|number| all.send([number; 2]).unwrap());
        }
        1 => {
            let all = SendAll::new((ends.texts().sender().unwrap(), word(1), word(0))).unwrap();
            brief.say("open");
            numbers.for_each(|number| all.send((&text(number), number, number)).unwrap());
        }
        2 => {
            let single = ends.single().sender().unwrap();
            let all = SendAll::new((word(1), single, ends.texts().sender().unwrap())).unwrap();
            brief.say("open");
            numbers.for_each(|number| all.send((number, number, &text(number))).unwrap());
        }
        _ => {
            let one = word(1);
            brief.say("open");
            numbers.for_each(|number| one.send(number).unwrap());
        }
    }
}
