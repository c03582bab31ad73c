//! A peer that writes over the directory so that channels share memory.

use tombolo::{ChannelError, Segment};

use crate::common::Words;

const PARTICIPANTS: usize = 8;
const CHANNELS: usize = 64;
/// Words of an entry.
const ENTRY: usize = 64;
/// In an entry: its state, its size of an element, its capacity, its name.
const STATE: usize = 0;
const SIZE: usize = 2;
const CAPACITY: usize = 5;
const NAME: usize = 17;

fn segment() -> Segment {
    let options = Segment::options().size(1 << 20).channels(CHANNELS as u16);
    options.participants(PARTICIPANTS as u16).anonymous().unwrap()
}

/// Where the first entry is, in words.
fn directory() -> usize {
    let infos = (512 + 8 * PARTICIPANTS).next_multiple_of(128);
    (infos + 128 * PARTICIPANTS + 128 * 128) / 8
}

#[test]
fn many_entries_for_one_block_are_one_channel() {
    let segment = segment();
    let channel = segment.channel::<u64>("a").capacity(4);
    let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
    let (words, first) = (Words::behind(&segment), directory());
    for n in 1..CHANNELS {
        let entry = first + ENTRY * n;
        for word in (0..ENTRY).rev() {
            words.put(entry + word, words.get(first + word));
        }
        words.put(entry + NAME, u64::from(b'a') + n as u64);
    }
    // What walks over all channels comes by the block once.
    assert_eq!(segment.channels().len(), 1);
    assert!(matches!(segment.open_channel("b"), Err(ChannelError::NotFound { .. })));
    let made = segment.channel::<u64>("new").capacity(4).sender();
    assert!(matches!(made, Err(ChannelError::Damaged { .. })), "{made:?}");
    let audit = Segment::check_id(segment.id()).unwrap();
    assert!(audit.faults.iter().any(|fault| fault.what == "offset"), "{audit:?}");
    // The channel itself works.
    tx.send(7).unwrap();
    assert_eq!(rx.recv().unwrap(), 7);
}

#[test]
fn a_block_in_use_is_not_opened_as_another_one() {
    let segment = segment();
    let made = segment.channel::<u64>("c").capacity(4).sender().unwrap();
    let (words, first) = (Words::behind(&segment), directory());
    words.put(first + SIZE, 16);
    words.put(first + CAPACITY, 2);
    let other = segment.open_channel("c").unwrap();
    let opened = other.receiver();
    assert!(matches!(opened, Err(ChannelError::Damaged { .. })), "{opened:?}");
    // As long as it is in use.
    drop(made);
    drop(other.receiver().unwrap());
    assert_eq!(words.get(first + STATE), 1);
}
