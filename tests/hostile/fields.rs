//! The places of the fields of a segment, as `docs/format.md` gives them, for mutations
//! of fields.

use crate::common::Words;

/// The sizes of the segments under attack.
pub(crate) const PARTICIPANTS: usize = 4;
pub(crate) const CHANNELS: usize = 8;

const HEADER: usize = 512;
const RECORDS: usize = 128;
const LINE: usize = 128;
/// How many groups of fields are not those of a channel's block.
pub(crate) const OF_SEGMENT: usize = 10;
/// Words of an entry of the directory.
const ENTRY: usize = 64;

/// The bits, first and last, of the words that have parts.
type Parts = &'static [(u32, u32)];

const WHOLE: Parts = &[(0, 63)];
const PARTICIPANT: Parts = &[(0, 1), (2, 31), (32, 63)];
const END: Parts = &[(0, 0), (1, 31), (32, 63)];
const JOURNAL_RECORD: Parts = &[(0, 13), (14, 16), (17, 63)];
const EVENT: Parts = &[(0, 15), (16, 31), (32, 63)];
const WAITING: Parts = &[(0, 31), (32, 63)];
const HOLDER: Parts = &[(0, 15), (16, 31), (32, 63)];
const WAITERS: Parts = &[(0, 31), (32, 63)];
const ENDPOINTS: Parts = &[(0, 15), (16, 31), (32, 63)];
const SLOT: Parts = &[(0, 12), (13, 15), (16, 19), (20, 63)];
const LABEL: Parts = &[(0, 31), (32, 63)];
const MESSAGE_BLOCK: Parts = &[(0, 12), (13, 13), (14, 63)];
const RECORD_HEADER: Parts = &[(0, 31), (32, 63)];
/// A place of a broadcast ring with at most 16, or 32, buffers.
const PLACES: [Parts; 2] = [&[(0, 3), (4, 63)], &[(0, 4), (5, 63)]];

/// One word of a segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field {
    /// Which word.
    pub(crate) index: usize,
    pub(crate) parts: Parts,
}

/// Which words the state of a ring is in.
pub(crate) struct RingWords {
    /// Its tail and its head.
    pub(crate) cursors: [usize; 2],
    pub(crate) orphans: usize,
    /// The words of its slots; none in a ring without slots.
    pub(crate) slots: Vec<usize>,
}

/// The fields by what they belong to, so that each kind of thing is hit as
/// often as any other, however many words it has.
#[derive(Debug)]
pub(crate) struct Fields(Vec<Vec<Field>>);

fn up(n: usize, to: usize) -> usize {
    n.next_multiple_of(to)
}

fn fields(at: usize, words: impl IntoIterator<Item = (usize, Parts)>) -> Vec<Field> {
    words.into_iter().map(|(word, parts)| Field { index: at / 8 + word, parts }).collect()
}

fn whole(words: impl IntoIterator<Item = usize>) -> impl Iterator<Item = (usize, Parts)> {
    words.into_iter().map(|word| (word, WHOLE))
}

impl Fields {
    /// Of a segment that is as it was made.
    pub(crate) fn of(words: &Words) -> Fields {
        let infos = up(HEADER + 8 * PARTICIPANTS, LINE);
        let journal = up(infos + LINE * PARTICIPANTS, LINE);
        let directory = journal + LINE * RECORDS;
        let mut groups = vec![
            fields(0, whole((0..10).chain(16..32))),
            // The gate: once it is shut, little else happens.
            fields(0, whole(32..35)),
            fields(HEADER, (0..PARTICIPANTS).map(|i| (i, PARTICIPANT))),
            fields(
                infos,
                (0..PARTICIPANTS).flat_map(|i| whole((16 * i..16 * i + 4).chain([16 * i + 5]))),
            ),
            fields(infos, (0..PARTICIPANTS).map(|i| (16 * i + 4, END))),
            fields(journal, (0..RECORDS).map(|i| (16 * i, JOURNAL_RECORD))),
            fields(journal, (0..RECORDS).map(|i| (16 * i + 1, EVENT))),
            fields(journal, (0..RECORDS).flat_map(|i| whole(16 * i + 2..16 * i + 14))),
            fields(directory, (0..CHANNELS).flat_map(|c| whole(ENTRY * c..ENTRY * c + 11))),
            fields(directory, (0..CHANNELS).flat_map(|c| whole(ENTRY * c + 16..ENTRY * c + 58))),
        ];
        assert_eq!(groups.len(), OF_SEGMENT);
        for channel in 0..CHANNELS {
            let entry = directory / 8 + ENTRY * channel;
            if words.get(entry) == 1 {
                block(words, entry, &mut groups);
            }
        }
        assert!(groups.iter().flatten().all(|field| field.index < words.len()));
        Fields(groups)
    }

    /// The nth word of those that a segment's only channel changes as it is
    /// used, the first ones of each kind.
    pub(crate) fn of_one_ring(&self, n: usize) -> Option<usize> {
        let first = |group: &Vec<Field>| group.iter().take(5).map(|field| field.index).collect();
        let block = &self.0[OF_SEGMENT..];
        let all: Vec<Vec<usize>> = self.0[2..3].iter().chain(block).map(first).collect();
        all.concat().get(n).copied()
    }

    pub(crate) fn groups(&self) -> impl Iterator<Item = &[Field]> {
        self.0.iter().map(Vec::as_slice)
    }

    /// The words of each channel's ring.
    pub(crate) fn rings(&self) -> Vec<RingWords> {
        let mut rings: Vec<RingWords> = Vec::new();
        let blocks = &self.0[OF_SEGMENT..];
        for (group, next) in blocks.iter().zip(blocks.iter().skip(1).chain([&Vec::new()])) {
            match (&group[..], rings.last_mut()) {
                // The only group of two, and orphans is the first word of the next
                // one: see `block`.
                (&[tail, head], _) => rings.push(RingWords {
                    cursors: [tail.index, head.index],
                    orphans: next[0].index,
                    slots: Vec::new(),
                }),
                (group, Some(ring)) if group[0].parts == SLOT => {
                    ring.slots = group.iter().map(|field| field.index).collect();
                }
                _ => {}
            }
        }
        rings
    }

    pub(crate) fn pick(&self, group: usize, n: usize) -> Field {
        let group = &self.0[group % self.0.len()];
        group[n % group.len()]
    }
}

/// The fields of the block that an entry describes.
fn block(words: &Words, entry: usize, groups: &mut Vec<Vec<Field>>) {
    let number = |n: usize| words.get(entry + n) as usize;
    let (kind, size, align, capacity, at) = (number(1), number(2), number(3), number(5), number(6));
    let rows = at + 1_024;
    let slots = at + up(1_024 + 64 * PARTICIPANTS, LINE);
    groups.push(fields(at, whole([32, 48])));
    groups.push(fields(at, whole((4..6).chain(16..21))));
    let roles = [(33, HOLDER), (49, HOLDER), (50, HOLDER)];
    let waiting = [(1, WAITING), (2, WAITING), (3, WAITING)];
    groups.push(fields(at, [(0, WHOLE)].into_iter().chain(waiting).chain(roles)));
    groups.push(fields(at, whole(51..67)));
    groups.push(fields(rows, (0..PARTICIPANTS).map(|i| (8 * i, ENDPOINTS))));
    let records = |i| (1..4).map(move |n| (8 * i + n, WAITERS));
    groups.push(fields(rows, (0..PARTICIPANTS).flat_map(records)));
    match kind {
        1 => groups.push(fields(slots, whole(0..capacity * size / 8))),
        2 => {
            assert!(align <= 8);
            let stride = up(8 + size, 8) / 8;
            groups.push(fields(slots, (0..capacity).map(|n| (stride * n, SLOT))));
        }
        3 => {
            let units = (capacity + 1) * (1 + size.div_ceil(8));
            groups.push(fields(slots, (0..units).map(|n| (n, RECORD_HEADER))));
        }
        5 | 6 => {
            let (publishers, reliable) = (number(9), number(10));
            let count = capacity + 2 * (capacity / 8).max(capacity.min(8));
            let entries = up(slots + 8 * count, LINE);
            let buffers = entries + LINE * (publishers + reliable);
            let apart = if kind == 5 { up(size, align.max(8)) } else { up(8 + size, 8) };
            let buffers_in_all = count + publishers;
            assert!(buffers_in_all <= 32);
            let place = PLACES[usize::from(buffers_in_all > 16)];
            groups.push(fields(at, whole([32, 80, 81])));
            groups.push(fields(slots, (0..count).map(|n| (n, place))));
            groups.push(fields(entries, (0..publishers).map(|n| (16 * n, HOLDER))));
            let of_one = |n| {
                [(1, place), (2, place), (3, WHOLE), (4, WHOLE)]
                    .map(move |(word, parts)| (16 * n + word, parts))
            };
            groups.push(fields(entries, (0..publishers).flat_map(of_one)));
            let seats = entries + LINE * publishers;
            groups.push(fields(seats, (0..reliable).map(|n| (16 * n, HOLDER))));
            groups.push(fields(seats, whole((0..reliable).map(|n| 16 * n + 1))));
            let all = (0..count + publishers).map(|n| apart / 8 * n);
            groups.push(fields(buffers, whole(all)));
        }
        _ => {
            let blocks = up(slots + 16 * capacity, LINE);
            groups.push(fields(slots, (0..capacity).map(|n| (2 * n, SLOT))));
            groups.push(fields(slots, (0..capacity).map(|n| (2 * n + 1, LABEL))));
            groups.push(fields(blocks, (0..capacity).map(|n| (n, MESSAGE_BLOCK))));
        }
    }
}
