//! One case: a segment in use. The input decides what is overwritten, and what is done
//! then. The segment is real, and used through the public interface.

use std::time::Duration;

use tombolo::sys::msg::{Queue, Wait};
use tombolo::{Observer, Options, Segment};

use crate::common::{Name, Words, clear, key_of, word};
use crate::ends::{End, PROMPT, RINGS, Site, TO_ALL, WAITING, receiver, sender, timed};
use crate::fields::{CHANNELS, Fields, PARTICIPANTS};
use crate::input::{Input, mutate};

/// More steps than this show nothing new.
const STEPS: usize = 48;
/// After so long a call that waits is ended.
const ENOUGH: Duration = Duration::from_millis(1);

pub(crate) fn small() -> Options {
    let options = Segment::options().size(18_000).timeout(Duration::from_millis(5));
    options.participants(PARTICIPANTS as u16).channels(CHANNELS as u16)
}

struct Case<'a> {
    name: &'a str,
    rings: &'static [&'static str],
    segment: Segment,
    words: Words,
    fields: Fields,
    /// None where it could not be opened again.
    ends: Vec<Option<Box<dyn End>>>,
}

/// The nth end: senders are even.
fn open(segment: &Segment, rings: &[&str], n: usize) -> Option<Box<dyn End>> {
    let ring = rings[n / 2];
    if n.is_multiple_of(2) { sender(segment, ring).ok() } else { receiver(segment, ring).ok() }
}

impl<'a> Case<'a> {
    fn new(name: &'a str, rings: &'static [&'static str]) -> Self {
        let segment = small().create(name).unwrap();
        let words = Words::behind(&segment);
        let ends = (0..2 * rings.len()).map(|n| Some(open(&segment, rings, n).unwrap())).collect();
        let fields = Fields::of(&words);
        let mut case = Case { name, rings, segment, words, fields, ends };
        // Something of everything is in it, and the rings have wrapped.
        for ring in 0..rings.len() {
            for end in [0, 0, 0, 1, 1, 0, 0, 0, 1, 0] {
                case.use_end(2 * ring + end, 0, &mut Input(&[11]));
            }
        }
        case
    }

    /// Does something with one end.
    fn use_end(&mut self, n: usize, what: u8, input: &mut Input<'_>) {
        let Case { segment, words, fields, ends, .. } = self;
        if let Some(end) = &mut ends[n] {
            let site = Site { segment, patience: Some(ENOUGH) };
            end.operate(what, site, input, &mut |input| mutate(words, fields, input));
        }
    }

    /// Does something about the segment.
    fn manage(&mut self, input: &mut Input<'_>) {
        let Case { name, rings, segment, ends, .. } = self;
        match input.byte() % 14 {
            12 => self.command(input),
            13 => self.post(input),
            0 => drop(timed("sweep", || segment.sweep())),
            1 => {
                let found = timed("channels", || segment.channels());
                assert!(found.len() <= CHANNELS);
            }
            2 => {
                let found = timed("participants", || segment.participants());
                assert!(found.len() <= PARTICIPANTS);
            }
            3 => {
                let deaths = timed("deaths", || segment.deaths());
                assert!(deaths.recent.len() <= 256);
                deaths.recent.iter().for_each(|death| drop(death.to_string()));
            }
            4 => {
                drop(timed("list", Segment::list));
                drop(timed("look", || Observer::of_id(segment.id()).look()));
            }
            5 => drop(timed("orphans", Segment::orphans)),
            6 => {
                if let Ok(other) = timed("open", || small().open(name)) {
                    Self::visit(&other, rings, input);
                }
            }
            7 => {
                if let Ok(other) = timed("open_id", || small().open_id(segment.id())) {
                    Self::visit(&other, rings, input);
                }
            }
            8 | 9 => {
                let n = input.below(ends.len());
                ends[n] = None;
                ends[n] = timed("opening an end", || open(segment, rings, n));
            }
            10 => drop(timed("a new channel", || sender(segment, "new"))),
            _ => match input.below(4) {
                0 => drop(timed("create", || small().create(name))),
                1 => drop(timed("open_or_create", || small().open_or_create(name))),
                2 => drop(timed("remove_named", || Segment::remove_named(name))),
                _ => drop(timed("Debug", || format!("{segment:?}"))),
            },
        }
    }

    /// Commands whoever is there.
    fn command(&self, input: &mut Input<'_>) {
        let Ok(commander) = timed("commander", || self.segment.commander()) else { return };
        let payload = [input.byte(); 40];
        timed("commanding", || match input.byte() % 8 {
            0 => drop(commander.ping(ENOUGH)),
            1 => drop(commander.stats(ENOUGH)),
            2 => drop(commander.pause(ENOUGH)),
            3 => drop(commander.drain(ENOUGH)),
            4 => drop(commander.shutdown(ENOUGH)),
            5 => drop(commander.user(&payload, ENOUGH)),
            _ => drop(commander.resume(ENOUGH)),
        });
    }

    /// Writes something like a command, or a reply to one, and has everybody
    /// look for it.
    fn post(&mut self, input: &mut Input<'_>) {
        if timed("commander", || self.segment.commander()).is_err() {
            return;
        }
        let Ok(queue) = Queue::open(key_of(self.name, 0)) else { return };
        let late = u64::MAX >> (input.byte() % 2);
        let (verb, status) = (u64::from(input.byte() % 9), u64::from(input.byte() % 6));
        let from = u64::from(input.byte()) % (PARTICIPANTS as u64 + 1);
        let magic = u64::from_le_bytes(*b"TMBLMAIL");
        let words = [magic, self.words.get(4), 7, verb | status << 16, from, 1, late];
        let mut bytes: Vec<u8> = words.into_iter().flat_map(u64::to_le_bytes).collect();
        bytes.extend(std::iter::repeat_n(input.byte(), input.pair() % 1_200));
        // One in four is more broken than that.
        if input.byte().is_multiple_of(4) {
            let at = input.below(bytes.len());
            bytes[at] = input.byte();
            bytes.truncate(input.pair() % (bytes.len() + 1));
        }
        // Of the first life of each.
        let kind = 32_768 + 1 + i64::from(input.byte() % 40);
        let _ = queue.send(kind, &bytes, Wait::No);
        self.words.add(word::CALLS, 1);
        let inbox = self.segment.inbox();
        let _ = timed("taking a command", || inbox.try_recv());
    }

    /// The acts of another process that has come in.
    fn visit(segment: &Segment, rings: &[&str], input: &mut Input<'_>) {
        let n = input.below(2 * rings.len());
        if let Some(mut end) = timed("opening an end", || open(segment, rings, n)) {
            let site = Site { segment, patience: Some(ENOUGH) };
            end.operate(input.byte() % PROMPT, site, input, &mut |_| ());
        }
    }

    fn step(&mut self, input: &mut Input<'_>) {
        match input.byte() % 8 {
            0..3 => mutate(&self.words, &self.fields, input),
            3..6 => {
                let n = input.below(self.ends.len());
                let what = input.byte() % (PROMPT + WAITING);
                self.use_end(n, what, input);
            }
            6 => self.manage(input),
            _ => {
                // Bytes, anywhere.
                let from = input.pair() % self.words.len();
                for index in from..(from + input.below(9)).min(self.words.len()) {
                    self.words.put(index, input.word());
                }
            }
        }
    }

    /// Everything once that does not wait.
    fn everything(&mut self) {
        for what in 0..PROMPT {
            (0..self.ends.len()).for_each(|n| self.use_end(n, what, &mut Input(&[33, 2])));
        }
        (0..11).chain(12..14).for_each(|what| self.manage(&mut Input(&[what, what])));
    }

    /// Its name can be used again in any case.
    fn end(self) {
        let Case { name, segment, ends, .. } = self;
        timed("removing", || segment.remove()).unwrap();
        timed("dropping the ends", || drop(ends));
        timed("leaving", || drop(segment));
        // One more may have been made, if this one could not be found.
        let _ = timed("removing by name", || Segment::remove_named(name));
        let anew = timed("creating anew", || small().create(name)).unwrap();
        let channel = anew.channel::<u64>("anew").capacity(1);
        let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        tx.try_send(5).unwrap();
        assert_eq!(rx.try_recv().unwrap(), 5);
        anew.remove().unwrap();
    }
}

/// Fields written over and operations, in any order.
pub(crate) fn steps(data: &[u8]) {
    in_steps(data, &RINGS);
}

/// The same where all channels are broadcast channels.
pub(crate) fn broadcast(data: &[u8]) {
    in_steps(data, &TO_ALL);
}

fn in_steps(data: &[u8], rings: &'static [&'static str]) {
    let name = Name::new();
    let mut case = Case::new(&name, rings);
    let mut input = Input(data);
    for _ in 0..STEPS {
        if input.is_empty() {
            break;
        }
        case.step(&mut input);
    }
    case.everything();
    case.end();
    assert_eq!(name.objects(), (0, 0), "something was left behind");
    // It may have been named wrongly, and stays for `Segment::orphans` then.
    clear(&name);
}

/// Pieces of any bytes laid over the segment, and then everything.
pub(crate) fn image(data: &[u8]) {
    let name = Name::new();
    let mut case = Case::new(&name, &RINGS);
    let mut input = Input(data);
    while !input.is_empty() {
        // Where a field is, so that the pieces begin with something.
        let at = case.fields.pick(input.byte().into(), input.pair()).index;
        let words = 1 + input.below(64);
        for index in at..(at + words).min(case.words.len()) {
            if !input.is_empty() {
                case.words.put(index, input.word());
            }
        }
    }
    case.everything();
    case.end();
    assert_eq!(name.objects(), (0, 0), "something was left behind");
    // It may have been named wrongly, and stays for `Segment::orphans` then.
    clear(&name);
}
