//! Extreme values, at which arithmetic goes wrong, in every word that a peer may write:
//! looking at the segment, from inside and from outside, still gives an answer.
//!
//! A random mutation meets two extreme cursors beside an orphan only by luck. This test
//! writes all of them.

use std::thread;

use tombolo::Segment;
use tombolo::sys::msg::{Queue, Selector, Wait};

use crate::case::small;
use crate::common::{Brief, Name, Peer, Words, key_of, word};
use crate::ends::{A_CALL, CAPACITY, End, RINGS, Site, receiver, sender, timed};
use crate::fields::{Field, Fields, OF_SEGMENT, PARTICIPANTS};
use crate::input::Input;

const ROOM: u64 = CAPACITY as u64;
const EXTREMES: [u64; 12] = [
    0,
    1,
    ROOM - 1,
    ROOM,
    ROOM + 1,
    2 * ROOM,
    1 << 31,
    u32::MAX as u64,
    i64::MAX as u64,
    i64::MIN as u64,
    u64::MAX - 1,
    u64::MAX,
];
/// Words of a group that are alike: the first ones stand for all.
const ALIKE: usize = 2;
/// The first groups are the header's, the last ones of the segment's the entries of
/// its directory.
const OF_HEADER: usize = 2;
const OF_DIRECTORY: usize = 2;
/// The most parts of a word.
const PARTS: usize = 4;
/// The number of the operation that asks an end how full its channel is.
const LEN: u8 = 5;

#[test]
fn whatever_extremes_a_segment_says_looking_at_it_gives_an_answer() {
    let name = Name::new();
    let child = Peer::start("extremes", &[&name]);
    let said = child.said_within(60 * A_CALL).expect("it hangs");
    eprintln!("{said}");
    assert_eq!(child.join(), 0);
    assert_eq!(name.objects(), (0, 0));
}

#[test]
#[ignore = "what the child processes run"]
fn child_entry() {
    let Some(brief) = Brief::take() else { return };
    child(&brief);
}

fn child(brief: &Brief) {
    let victim = Victim::new(brief.text(0));
    let mut looks = 0;
    let mut look = |words: &[(usize, u64)], how: fn(&Victim)| {
        victim.with(words, how);
        looks += 1;
    };
    let groups: Vec<_> = victim.fields.groups().collect();
    for field in groups.iter().flat_map(|group| group.iter().take(ALIKE)) {
        for part in parts(field) {
            EXTREMES
                .into_iter()
                .for_each(|value| look(&[victim.put(field, part, value)], Victim::look));
        }
    }
    // An audit that finds faults reads the segment several times, and waits in
    // between. So each one is over a word of every group; a wrong entry hides
    // its block, and has one of its own.
    let (tables, blocks) = groups.split_at(OF_SEGMENT);
    let (tables, entries) = tables.split_at(OF_SEGMENT - OF_DIRECTORY);
    for groups in [[&tables[OF_HEADER..], blocks].concat(), entries.to_vec()] {
        for (n, part) in (0..ALIKE).flat_map(|n| (0..PARTS).map(move |part| (n, part))) {
            for value in EXTREMES {
                let words = groups.iter().filter_map(|group| group.get(n)).map(|field| {
                    let parts = parts(field);
                    victim.put(field, parts[part % parts.len()], value)
                });
                look(&words.collect::<Vec<_>>(), Victim::audit);
            }
        }
    }
    for ring in &victim.fields.rings() {
        for (a, b) in EXTREMES.into_iter().flat_map(|a| EXTREMES.map(|b| (a, b))) {
            let [tail, head] = ring.cursors;
            let cursors = [(tail, a), (head, b)];
            look(&cursors, Victim::measure);
            // An orphan in every slot, and nobody has looked for them.
            let orphan = |&slot: &usize| (slot, victim.words.get(slot) >> 20 << 20 | 4 << 13);
            let orphans =
                ring.slots.iter().map(orphan).chain(cursors).chain([(ring.orphans, u64::MAX)]);
            look(&orphans.collect::<Vec<_>>(), Victim::measure);
        }
    }
    let posted = victim.letters();
    victim.segment.remove().unwrap();
    brief.say(format!("{looks} looks, {posted} letters"));
}

/// The parts of a word, and the whole.
fn parts(field: &Field) -> Vec<(u32, u32)> {
    [field.parts, &[(0, 63)]].concat()
}

/// A segment with something of everything in it, and all the ends.
struct Victim {
    name: String,
    segment: Segment,
    words: Words,
    fields: Fields,
    before: Vec<u64>,
    ends: Vec<std::cell::RefCell<Box<dyn End>>>,
}

impl Victim {
    fn new(name: &str) -> Self {
        let segment = small().create(name).unwrap();
        let words = Words::behind(&segment);
        let mut ends = Vec::new();
        for ring in RINGS {
            let (mut tx, mut rx) =
                (sender(&segment, ring).unwrap(), receiver(&segment, ring).unwrap());
            for end in [0, 0, 0, 1, 1, 0, 0] {
                let end = if end == 0 { &mut tx } else { &mut rx };
                let site = Site { segment: &segment, patience: None };
                end.operate(0, site, &mut Input(&[11]), &mut |_| ());
            }
            ends.extend([tx, rx].map(std::cell::RefCell::new));
        }
        // Or the queue and the word for it would come later.
        segment.commander().unwrap();
        let (fields, before) = (Fields::of(&words), words.copy());
        assert_eq!(fields.rings().len(), RINGS.len());
        let name = name.to_owned();
        Self { name, segment, words, fields, before, ends }
    }

    /// A word in which one part says this.
    fn put(&self, field: &Field, (low, high): (u32, u32), value: u64) -> (usize, u64) {
        let mask = u64::MAX >> (63 - (high - low));
        let word = self.words.get(field.index);
        (field.index, word & !(mask << low) | (value & mask) << low)
    }

    /// Looks at it while these words say that.
    fn with(&self, words: &[(usize, u64)], look: impl FnOnce(&Self)) {
        let said = Said(words);
        words.iter().for_each(|&(at, value)| self.words.put(at, value));
        look(self);
        words.iter().for_each(|&(at, _)| self.words.put(at, self.before[at]));
        drop(said);
    }

    /// How full the channels are.
    fn measure(&self) {
        for end in &self.ends {
            let site = Site { segment: &self.segment, patience: None };
            end.borrow_mut().operate(LEN, site, &mut Input(&[]), &mut |_| ());
        }
        let channels = timed("channels", || self.segment.channels());
        assert!(channels.iter().all(|channel| channel.depth <= channel.capacity as u64));
    }

    fn look(&self) {
        self.measure();
        assert!(timed("participants", || self.segment.participants()).len() <= PARTICIPANTS);
        timed("deaths", || self.segment.deaths()).recent.iter().for_each(|d| drop(d.to_string()));
    }

    fn audit(&self) {
        drop(timed("check", || Segment::check_id(self.segment.id())));
    }

    /// Commands from everybody that the bits of a message can name: how many.
    fn letters(&self) -> usize {
        let queue = Queue::open(key_of(&self.name, 0)).unwrap();
        // To this participant, in the band of a ping.
        let me = self.segment.participants()[0].peer;
        let kind = 1 + (1 | i64::from(me.slot()) << 2 | (me.life() as i64) << 15);
        let inbox = self.segment.inbox();
        let mut posted = 0;
        for from in [0, PARTICIPANTS as u64, 8_191, 1 << 13, u16::MAX.into(), u64::MAX] {
            for incarnation in [0, 1, u64::MAX] {
                for deadline in [0, i64::MAX as u64, u64::MAX] {
                    let magic = u64::from_le_bytes(*b"TMBLMAIL");
                    let words = [magic, self.words.get(4), 7, 1, from, incarnation, deadline];
                    let bytes: Vec<u8> = words.into_iter().flat_map(u64::to_le_bytes).collect();
                    queue.send(kind, &bytes, Wait::No).unwrap();
                    self.words.add(word::CALLS, 1);
                    let _ = timed("taking a command", || inbox.try_recv());
                    let left = queue.receive(Selector::Type(kind), &mut [0; 100], Wait::No);
                    assert!(left.is_err(), "nobody has read the message");
                    posted += 1;
                }
            }
        }
        posted
    }
}

/// The words written, to explain a panic.
struct Said<'a>(&'a [(usize, u64)]);

impl Drop for Said<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("the words and what they said: {:x?}", self.0);
        }
    }
}
