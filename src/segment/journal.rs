//! The content of the journal's records, and when they are written.

use super::mapped::{Mapped, inside};
use super::trace::{self, Note, What};
use crate::ring::death_record::{self, How};
use crate::ring::journal::{self, LEASEHOLDER, Read};
use crate::ring::mpmc::Recovered;
use crate::ring::recovery::Counting;
use crate::ring::set::SetMap;
use crate::ring::table::{Member, Table as _};
use crate::storage::layout::{JournalRecord, RECORD_FIELDS, RECORDS};
use crate::sync::{AtomicU64, Ordering};
use crate::sys::proc;

/// What happened to a participant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LifeEvent {
    Joined,
    Left,
    Died,
}

impl LifeEvent {
    const ALL: [Self; 3] = [Self::Joined, Self::Left, Self::Died];

    const fn code(self) -> u64 {
        match self {
            Self::Joined => 1,
            Self::Left => 2,
            Self::Died => 3,
        }
    }
}

/// What a participant was to the channels when it died, and what becomes of
/// what it held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) senders: u64,
    pub(crate) receivers: u64,
    pub(crate) slots: Recovered,
    /// Blocks of bytes that no slot names.
    pub(crate) blocks: u64,
    /// The first channel in which it held anything.
    pub(crate) channel: Option<u16>,
}

/// A record, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LifeRecord {
    pub(crate) event: LifeEvent,
    pub(crate) member: Member,
    /// Nanoseconds of the monotonic clock.
    pub(crate) time: u64,
    pub(crate) pid: u64,
    pub(crate) start_time: u64,
    pub(crate) pid_namespace: u64,
    pub(crate) uid: u64,
    pub(crate) held: Held,
}

const ID_BITS: u32 = 16;
const ID_MASK: u64 = (1 << ID_BITS) - 1;

/// Whom a record is about, by its first field.
const fn about(field: u64) -> u16 {
    (field >> ID_BITS & ID_MASK) as u16
}

impl LifeRecord {
    fn fields(self) -> [u64; RECORD_FIELDS] {
        let channel = self.held.channel.map_or(0, |index| u64::from(index) + 1);
        let id = u64::from(self.member.id);
        [
            channel << (2 * ID_BITS) | id << ID_BITS | self.event.code(),
            self.member.incarnation,
            self.time,
            self.pid,
            self.start_time,
            self.pid_namespace,
            self.uid,
            self.held.senders,
            self.held.receivers,
            self.held.slots.tombstones,
            self.held.slots.orphans,
            self.held.slots.dropped,
            self.held.blocks,
            self.held.slots.completed,
        ]
    }

    /// `None` of fields that none of us writes.
    fn read(fields: [u64; RECORD_FIELDS]) -> Option<Self> {
        let [what, incarnation, time, pid, start_time, pid_namespace, uid, held @ ..] = fields;
        let [senders, receivers, tombstones, orphans, dropped, blocks, completed] = held;
        let event = LifeEvent::ALL.into_iter().find(|event| event.code() == what & ID_MASK)?;
        let channel = (what >> (2 * ID_BITS)).checked_sub(1).map(u16::try_from);
        let slots = Recovered { tombstones, orphans, dropped, completed };
        let channel = channel.transpose().ok()?;
        Some(Self {
            event,
            member: Member { id: about(what), incarnation },
            time,
            pid,
            start_time,
            pid_namespace,
            uid,
            held: Held { senders, receivers, slots, blocks, channel },
        })
    }
}

/// The journal of a segment.
struct Journal<'a>(&'a Mapped);

impl Journal<'_> {
    fn record(&self, index: u64) -> &JournalRecord {
        let index = index as usize % RECORDS;
        inside(self.0.memory.at(self.0.plan.journal + size_of::<JournalRecord>() * index))
    }

    /// Whether somebody's life ended with this record: see `death_record`.
    fn whole(&self, index: u64, position: u64) -> bool {
        let [first, ..] = &self.record(index).fields;
        let id = about(first.load(Ordering::Relaxed));
        id < self.0.map().participants && death_record::names(&self.0.info(id).end, position)
    }
}

impl journal::Records<RECORD_FIELDS> for Journal<'_> {
    fn count(&self) -> u64 {
        RECORDS as u64
    }

    fn word(&self, index: u64) -> &AtomicU64 {
        &self.record(index).word
    }

    fn field(&self, index: u64, n: usize) -> &AtomicU64 {
        let fields = &self.record(index).fields;
        fields.get(n).unwrap_or(&fields[0])
    }
}

impl Mapped {
    fn life_record(&self, event: LifeEvent, member: Member, held: Held) -> LifeRecord {
        let info = self.info(member.id);
        let said = |word: &AtomicU64| word.load(Ordering::Relaxed);
        LifeRecord {
            event,
            member,
            time: proc::monotonic(),
            pid: said(&info.pid),
            start_time: said(&info.start_time),
            pid_namespace: said(&info.pid_namespace),
            uid: said(&info.uid),
            held,
        }
    }

    /// Records that a participant has joined: by itself.
    pub(crate) fn record_joined(&self, me: Member) {
        let record = self.life_record(LifeEvent::Joined, me, Held::default());
        journal::append(&Journal(self), me.id, record.fields());
    }

    /// Records that a participant leaves: by itself, and just before.
    pub(crate) fn record_left(&self, me: Member) {
        let fields = || self.life_record(LifeEvent::Left, me, Held::default()).fields();
        let end = &self.info(me.id).end;
        death_record::record(&Journal(self), end, (me, How::Left), me.id, fields);
    }

    /// Records a death, unless somebody has. To be called before anything is
    /// changed of what the dead held. `witness` is what the caller looked by.
    pub(crate) fn record_death(&self, dead: Member, witness: u16) {
        let fields = || {
            trace::note(|| Note::of(self, dead, What::Died));
            self.life_record(LifeEvent::Died, dead, self.holdings(dead)).fields()
        };
        let owner = match witness {
            SetMap::LEASE => LEASEHOLDER,
            liveness => liveness - self.map().liveness(0),
        };
        let end = &self.info(dead.id).end;
        death_record::record(&Journal(self), end, (dead, How::Died), owner, fields);
    }

    /// Closes the records that a dead participant was writing.
    pub(crate) fn close_records(&self, dead: Member) {
        let journal = Journal(self);
        let whole = |index, position| journal.whole(index, position);
        let _ = journal::recover(&journal, dead.id, whole, || dead.is_dead(self));
    }

    /// Closes the records of those who died with the lease. The caller holds
    /// it, and is not writing any. Whether there were any.
    pub(crate) fn close_leaseholders_records(&self) -> bool {
        let journal = Journal(self);
        let whole = |index, position| journal.whole(index, position);
        journal::recover(&journal, LEASEHOLDER, whole, || true)
    }

    /// What a dead participant holds, as long as nobody has begun to put it
    /// right.
    fn holdings(&self, dead: Member) -> Held {
        let mut held = Held::default();
        for block in self.blocks() {
            let row = self.row(&block, dead.id);
            if !row.belongs_to(dead) {
                continue;
            }
            let (senders, receivers) = row.endpoints(dead);
            held.senders += u64::from(senders);
            held.receivers += u64::from(receivers);
            let Ok(here) = block.recover(self, dead, &Counting) else {
                continue;
            };
            held.slots.tombstones += here.messages.tombstones;
            held.slots.orphans += here.messages.orphans;
            held.slots.dropped += here.messages.dropped;
            held.slots.completed += here.messages.completed;
            held.blocks += here.blocks;
            if here != Default::default() {
                held.channel.get_or_insert(block.index);
            }
        }
        held
    }

    /// Where to begin to read: with what is remembered, or with what comes.
    pub(crate) fn journal_from(&self, remembered: bool) -> u64 {
        let journal = Journal(self);
        if remembered { journal::oldest(&journal) } else { journal::end(&journal) }
    }

    /// Reads on. Records that none of us writes are passed over; as many of them as fit
    /// into the journal are its end for this call, or a hostile writer could have it read
    /// on and on.
    pub(crate) fn read_journal(&self, at: &mut u64) -> Read<LifeRecord> {
        for _ in 0..RECORDS {
            return match journal::read(&Journal(self), at) {
                Read::Record(fields) => match LifeRecord::read(fields) {
                    Some(record) => Read::Record(record),
                    None => continue,
                },
                Read::Missed(positions) => Read::Missed(positions),
                Read::Pending(owner) => Read::Pending(owner),
                Read::End => Read::End,
            };
        }
        Read::End
    }

    /// Everything that the journal remembers, the newest last.
    pub(crate) fn journal(&self) -> Vec<LifeRecord> {
        let mut records = Vec::new();
        let mut at = self.journal_from(true);
        // More only if the writers are faster than this reader.
        for _ in 0..2 * RECORDS {
            match self.read_journal(&mut at) {
                Read::Record(record) => records.push(record),
                Read::Missed(_) => {}
                Read::Pending(_) => at += 1,
                Read::End => break,
            }
        }
        records
    }

    /// How many participants have died, ever.
    pub(crate) fn deaths(&self) -> u64 {
        (0..self.map().participants)
            // Acquire: whoever is counted has its record.
            .map(|id| death_record::deaths(self.info(id).end.load(Ordering::Acquire)))
            .sum()
    }
}
