//! A storm over joint senders: each of their messages arrives in all of its channels, or in
//! none.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use tombolo::sys::proc;
use tombolo::{Death, Segment, SendAll};

use crate::common::{Brief, Name, Peer, Words, effort, own_tables, tables, wait_until};

const CHANNELS: [&str; 4] = ["a", "b", "texts", "single"];
/// In which order the senders give their channels, and which these are.
const SETS: [&[usize]; 4] = [&[0, 1], &[2, 1, 0], &[1, 3, 2], &[1]];
const TEXT: usize = 300;
const THREADS: u64 = 3;
const PARTICIPANTS: u16 = 12;
/// So often a sender is stopped to find it in the middle, before it is killed wherever it is.
const TRIES: u32 = 50;

/// Whether the participant with this pid has committed, or has claimed a slot of one of the
/// first two channels that were made: by what docs/format.md says of the memory.
fn is_in_the_middle(memory: &Words, pid: i32) -> bool {
    const INFOS: usize = 80;
    const DIRECTORY: usize = INFOS + 16 * PARTICIPANTS as usize + 128 * 16;
    let infos = (0..PARTICIPANTS.into()).map(|i| (i, INFOS + 16 * i as usize));
    let mut own = infos.filter(|(_, info)| memory.get(*info) == u64::from(pid.unsigned_abs()));
    own.any(|(i, info): (u64, _)| {
        let slots = (0..2).flat_map(|channel| {
            let block = memory.get(DIRECTORY + 64 * channel + 6) as usize / 8;
            let slots = block + 128 + 8 * usize::from(PARTICIPANTS);
            (0..16 * (channel + 1)).map(move |n| slots + (1 + size_of::<Long>() / 8) * n)
        });
        let writing = |word: u64| word >> 13 & 7 == 1 && word & 0x1FFF == i;
        memory.get(info + 15) != 0 || slots.into_iter().any(|slot| writing(memory.get(slot)))
    })
}

/// So long that a sender is often killed while it writes one into its place.
type Long = [u64; 1_024];

/// The process that sends it, in which life, its set, and a count.
const fn number(life: u64, set: u64, n: u64) -> u64 {
    life << 40 | set << 32 | n
}

const fn long(number: u64) -> Long {
    [number; 1_024]
}

fn text(number: u64) -> Vec<u8> {
    number.to_ne_bytes().repeat(TEXT / 8)
}

struct Ends<'a>(&'a Segment);

impl Ends<'_> {
    fn words(&self, n: usize) -> tombolo::Channel<'_, Long> {
        self.0.channel(CHANNELS[n]).capacity(16 * n + 16).lasting()
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
    let segment =
        Segment::options().size(1 << 20).participants(PARTICIPANTS).channels(4).create(&name);
    let segment = segment.unwrap();
    let ends = Ends(&segment);
    let received = AtomicU64::new(0);
    let received = &received;
    let note = |got: &mut Vec<u64>, number: u64| {
        got.push(number);
        received.fetch_add(1, Ordering::Relaxed);
    };
    let memory = Words::behind(&segment);
    let mut lives = 0;
    let mut start = |set: usize| {
        lives += 1;
        let peer = Peer::start("sender", &[&name, &set, &lives]);
        peer.expect("open");
        peer
    };
    let got = thread::scope(|scope| {
        // Ends the receivers, also by a panic.
        let gone = segment.remove_on_drop();
        let words = |n| {
            let receiver = ends.words(n).receiver().unwrap();
            scope.spawn(move || {
                let mut got = Vec::new();
                for message in &receiver {
                    let Ok(message) = message else { break };
                    // Not all of it: then the senders would wait for this one all the time.
                    let [first, .., last] = message;
                    assert_eq!(first, last, "torn");
                    note(&mut got, first);
                }
                got
            })
        };
        let words = [words(0), words(1)];
        let receiver = ends.texts().receiver().unwrap();
        let texts = scope.spawn(move || {
            let (mut got, mut bytes) = (Vec::new(), Vec::new());
            while receiver.recv(&mut bytes).is_ok() {
                let number = u64::from_ne_bytes(bytes[..8].try_into().unwrap());
                assert_eq!(bytes, text(number), "torn");
                note(&mut got, number);
                bytes.clear();
            }
            got
        });
        let receiver = ends.single().receiver().unwrap();
        let single = scope.spawn(move || {
            let mut got = Vec::new();
            while let Ok(number) = receiver.recv() {
                note(&mut got, number);
            }
            got
        });
        let receivers = words.into_iter().chain([texts, single]);
        let mut peers: Vec<Peer> = (0..SETS.len()).map(&mut start).collect();
        effort::say_how_to_repeat();
        for _ in 0..effort::rounds(16, 2_000) {
            let random = proc::random_u64().unwrap();
            thread::sleep(Duration::from_nanos(random >> 16 & 0x3F_FFFF));
            let set = (random % SETS.len() as u64) as usize;
            for _ in 0..TRIES {
                peers[set].stop();
                if is_in_the_middle(&memory, peers[set].pid()) {
                    break;
                }
                peers[set].resume();
            }
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
        let deaths = segment.deaths().recent;
        let sum = |of: fn(&Death) -> u64| deaths.iter().map(of).sum::<u64>();
        let (completed, unsent) = (sum(|death| death.completed), sum(|death| death.unsent));
        println!("of the last {}: {completed} completed, {unsent} unsent", deaths.len());
        drop(gone);
        receivers.map(|receiver| receiver.join().unwrap()).collect::<Vec<_>>()
    });
    // By message: in which channels it has come, a bit for each.
    let mut came = HashMap::<u64, u64>::new();
    for (channel, got) in got.into_iter().enumerate() {
        for number in got {
            let mask = came.entry(number).or_default();
            assert_eq!(*mask & 1 << channel, 0, "{number:x} came twice");
            *mask |= 1 << channel;
        }
    }
    println!("{} messages", came.len());
    for (number, mask) in came {
        let set = SETS[(number >> 32 & 0xFF) as usize];
        let all = set.iter().fold(0, |mask, &n| mask | 1 << n);
        assert_eq!(mask, all, "{number:x} came in some of its channels only");
    }
    drop((segment, memory));
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
    let word = |n| ends.words(n).sender().unwrap();
    let numbers = |thread: u64| (0..).map(move |n| number(THREADS * life + thread, set as u64, n));
    // Each in several threads, where there may be several senders.
    thread::scope(|scope| match set {
        0 => {
            for thread in 0..THREADS {
                let all = SendAll::new([word(0), word(1)]).unwrap();
                scope.spawn(move || {
                    numbers(thread).for_each(|number| all.send([long(number); 2]).unwrap());
                });
            }
            brief.say("open");
        }
        1 => {
            for thread in 0..THREADS {
                let texts = ends.texts().sender().unwrap();
                let all = SendAll::new((texts, word(1), word(0))).unwrap();
                scope.spawn(move || {
                    for number in numbers(thread) {
                        all.send((&text(number), long(number), long(number))).unwrap();
                    }
                });
            }
            brief.say("open");
        }
        2 => {
            let (single, texts) = (ends.single().sender().unwrap(), ends.texts().sender().unwrap());
            let all = SendAll::new((word(1), single, texts)).unwrap();
            brief.say("open");
            numbers(0).for_each(|number| all.send((long(number), number, &text(number))).unwrap());
        }
        _ => {
            let one = word(1);
            brief.say("open");
            numbers(0).for_each(|number| one.send(long(number)).unwrap());
        }
    });
}
