//! A segment in which nearly every field has a value, checked row by row.

mod rings;

use super::*;

const PARTICIPANTS: usize = 6;
const CHANNELS: usize = 11;
const BYTES: usize = 1 << 20;

/// A segment in which as many fields as possible are not zero: this process
/// is participant 1, in that slot's second life.
struct Stage {
    document: Document,
    memory: Memory,
    parts: Parts,
    name: Name,
    /// Participant 1.
    segment: Segment,
    /// Participants 0 and 2.
    _others: (Segment, Segment),
    blocks: Vec<(usize, Block)>,
}

#[test]
fn every_documented_field_is_found_where_it_says() {
    let mut stage = Stage::set();
    stage.header();
    stage.semaphores();
    stage.participants();
    stage.directory();
    stage.spsc();
    stage.mpmc();
    stage.packets();
    stage.parcels();
    stage.broadcast();
    stage.calls();
    stage.waiting();
    stage.deaths();
    stage.completed();
    let document = stage.remove();
    let rows: BTreeSet<Row> = document.bytes.keys().chain(document.bits.keys()).cloned().collect();
    let names = document.semaphores.keys().map(|name| ("semaphores".to_owned(), name.clone()));
    let rows: BTreeSet<Row> = rows.into_iter().chain(names).collect();
    let unchecked: Vec<&Row> = rows.difference(&document.checked).collect();
    assert!(unchecked.is_empty(), "nothing checks {unchecked:?}");
    let unknown: Vec<&Row> = document.checked.difference(&rows).collect();
    assert!(unknown.is_empty(), "the document has no {unknown:?}");
}

const READY: u64 = 1;
const LIVE: u64 = 1;
/// Phases of a slot.
const FREE: u64 = 0;
const WRITING: u64 = 1;
const FULL: u64 = 2;
const READING: u64 = 3;
const ORPHAN: u64 = 4;

type Wide = [u128; 2];

impl Stage {
    fn set() -> Stage {
        let name = Name::new();
        let options = Segment::options().size(BYTES);
        let options = options.participants(PARTICIPANTS as u16).channels(CHANNELS as u16);
        let zero = options.create(&name).unwrap();
        drop(Segment::open(&name).unwrap());
        let segment = Segment::open(&name).unwrap();
        let two = Segment::open(&name).unwrap();
        let (document, memory) = (Document::read(), Memory::of(&segment));
        let parts = Parts::new(PARTICIPANTS, CHANNELS);
        Stage { document, memory, parts, name, segment, _others: (zero, two), blocks: Vec::new() }
    }

    fn set_of_semaphores(&self) -> Set {
        Set::open(key(&self.name, 0)).unwrap()
    }

    fn header(&mut self) {
        let (document, memory) = (&mut self.document, &self.memory);
        // The key is in the kernel's own table.
        let table = fs::read_to_string("/proc/sysvipc/shm").unwrap();
        let rows = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
        let row = rows.into_iter().find(|row| number::<i32>(row[1]) == self.segment.id()).unwrap();
        assert_eq!(number::<i32>(row[0]), key(&self.name, 0).raw());
        let size = self.parts.size(BYTES);
        assert_eq!((number::<usize>(row[3]), self.segment.size()), (size, size));
        assert_eq!((size % 4096, size > 512), (1803, true));

        let set = Set::open(key(&self.name, 0)).unwrap();
        let nonce = document.get(memory, "Header", 0, "nonce");
        assert_eq!(nonce % 2, 1);
        document.check("Header", "nonce");
        let generation = document.get(memory, "Header", 0, "generation");
        assert!(generation != 0 && generation < 1 << 56);
        document.check("Header", "generation");
        let values = [
            ("magic", u64::from_le_bytes(*b"tombolo\0")),
            ("magic", 0x006F_6C6F_626D_6F74),
            ("version", 2),
            ("size", size as u64),
            ("set", u64::try_from(set.id()).unwrap()),
            ("flags", 8),
            ("participants", PARTICIPANTS as u64),
            ("channels", CHANNELS as u64),
            ("kinds", 0),
            ("gate", 0),
        ];
        document.fields(memory, "Header", 0, &values);
        document.text(memory, "Header", 0, "name", &self.name);
        document.reserved(memory, "Header", 0);

        // Flags: 1 SYMMETRIC, 2 TRANSIENT, 4 ANONYMOUS, 8 OWN_BELLS.
        let options = Segment::options().size(1);
        for (options, flags) in [
            (options.clone().symmetric_fences(true), 9),
            (options.clone().transient(true), 10),
            (options.clone().symmetric_fences(true).transient(true), 11),
        ] {
            let name = Name::new();
            let segment = options.create(&name).unwrap();
            document.fields(&Memory::of(&segment), "Header", 0, &[("flags", flags)]);
        }
        let anonymous = Memory::of(&options.anonymous().unwrap());
        document.fields(&anonymous, "Header", 0, &[("flags", 14), ("name length", 0)]);
    }

    fn semaphores(&mut self) {
        let set = self.set_of_semaphores();
        let mut values = vec![0; set.stat().unwrap().count];
        assert_eq!((values.len(), values.len() % 16), (self.parts.semaphores, 13));
        // A channel that was opened and left leaves its tokens.
        for n in 0..2 {
            let segment = &self.segment;
            drop(segment.channel::<u64>(&format!("{n}")).capacity(1).sender().unwrap());
        }
        let document = &mut self.document;
        let lease = document.semaphore("LEASE", &[]);
        let known = [("P", PARTICIPANTS), ("C", CHANNELS), ("i", 2)];
        let own = document.semaphore("OWN(i)", &known);
        set.perform(&[Op::add(own, 1)]).unwrap();
        // Never waits, unless the document is wrong about which one it is.
        set.perform(&[Op::zero(lease).no_wait(), Op::add(lease, 1).undo()]).unwrap();
        let soon = Segment::options().timeout(std::time::Duration::from_millis(1));
        assert!(matches!(soon.open(&self.name), Err(OpenError::Busy { .. })));
        set.values(&mut values).unwrap();
        set.perform(&[Op::take(lease, 1).undo()]).unwrap();

        let mut expected = vec![0_u64; values.len()];
        let mut expect = |semaphore: u16, value: u64| expected[usize::from(semaphore)] = value;
        let generation = document.get(&self.memory, "Header", 0, "generation");
        expect(lease, 1);
        expect(own, 1);
        expect(document.semaphore("BUILT", &[]), 1);
        let first = document.semaphore("GENERATION", &[]);
        for (semaphore, digit) in (first..).zip(digits(generation)) {
            expect(semaphore, digit);
        }
        assert_eq!(document.semaphores["GENERATION"], format!("{first} … {}", first + 3));
        expect(document.semaphore("CHECK", &[]), check(generation));
        for i in 0..3 {
            expect(document.semaphore("LIVE(i)", &[("i", i)]), 1);
        }
        for c in 0..2 {
            let known = [("P", PARTICIPANTS), ("c", c)];
            expect(document.semaphore("ITEMS(c)", &known), 1);
            expect(document.semaphore("SPACE(c)", &known), 1);
        }
        // One for each joining and leaving; nobody has died.
        let events = self.segment.events().remembered();
        let events = std::iter::from_fn(|| events.try_recv().unwrap()).count();
        expect(document.semaphore("WAKE_ALL", &[]), events as u64);
        let values: Vec<u64> = values.into_iter().map(u64::from).collect();
        assert_eq!(values, expected);
    }

    fn participants(&mut self) {
        let (document, memory) = (&mut self.document, &self.memory);
        for (i, incarnation) in [(0, 1), (1, 2), (2, 1)] {
            let word = memory.word(512 + 8 * i);
            document.word(
                "Participant word",
                word,
                &[("phase", LIVE), ("incarnation", incarnation)],
            );
            let base = self.parts.infos + 128 * i;
            let pid = proc::pid();
            let values = [
                ("pid", u64::from(pid)),
                ("start time", proc::start_time(pid).unwrap()),
                ("pid namespace", proc::pid_namespace().unwrap()),
                ("uid", u64::from(proc::uid())),
                ("kinds", 0x1E0 | 1 << 63),
            ];
            document.fields(memory, "Info", base, &values);
            document.reserved(memory, "Info", base);
        }
        // Which is 0 for root.
        document.check("Info", "uid");
        document.check("Journal record", "uid");
        assert_eq!(memory.word(512 + 8 * 3), 0);
    }

    /// Two channels there are already; eight more, one of each kind.
    fn directory(&mut self) {
        let segment = &self.segment;
        let numbers = segment.channel::<u64>("numbers").capacity(5).redeliver(15);
        drop(numbers.spsc().sender().unwrap());
        let wide = segment.channel::<Wide>("wide").capacity(3).redeliver(5).lasting();
        drop(wide.sender().unwrap());
        drop(segment.bytes("packets").capacity(5, 100).spsc().sender().unwrap());
        drop(segment.bytes("parcels").capacity(5, 200).redeliver(0).sender().unwrap());
        self.document.fields(&self.memory, "Header", 0, &[("kinds", 0)]);
        drop(segment.broadcast::<u16>("prices").capacity(5).publisher().unwrap());
        drop(segment.broadcast_bytes("news").capacity(70, 100).lasting().publisher().unwrap());
        self.document.fields(&self.memory, "Header", 0, &[("kinds", 1 << 5 | 1 << 6)]);
        drop(segment.service::<u16, Wide>("calls").capacity(70).client().unwrap());
        drop(segment.service_bytes("files").capacity(3, 100, 200).lasting().client().unwrap());
        self.document.fields(&self.memory, "Header", 0, &[("kinds", 0x1E0)]);
        let entries = [
            ("0", Kind::Mpmc, 1, ("u64", 8, 8), 8, 0),
            ("1", Kind::Mpmc, 1, ("u64", 8, 8), 8, 0),
            ("numbers", Kind::Spsc, 5, ("u64", 8, 8), 15, 0),
            ("wide", Kind::Mpmc, 3, ("u128", 32, 16), 5, 1),
            ("packets", Kind::SpscBytes, 5, ("bytes", 100, 1), 8, 0),
            ("parcels", Kind::MpmcBytes, 5, ("bytes", 200, 1), 0, 0),
            ("prices", Kind::Broadcast, 5, ("u16", 2, 2), 0, 0),
            ("news", Kind::BroadcastBytes, 70, ("bytes", 100, 1), 0, 1),
            ("calls", Kind::Calls, 70, ("u16 -> u128", 2, 2), 0, 0),
            ("files", Kind::CallsBytes, 3, ("bytes -> bytes", 100, 1), 0, 1),
        ];
        let mut offset = self.parts.heap;
        for (c, (name, kind, capacity, (schema, size, alignment), attempts, flags)) in
            entries.into_iter().enumerate()
        {
            let base = self.parts.directory + 512 * c;
            let broadcast = matches!(kind, Kind::Broadcast | Kind::BroadcastBytes);
            let (publishers, reliable) = if broadcast { SEATS } else { (0, 0) };
            let [publishers, reliable] = [publishers, reliable].map(|n| n as u64);
            let (of, reply_size, reply_alignment) = match kind {
                Kind::Calls => ("u128", 32, 16),
                Kind::CallsBytes => ("bytes", 200, 1),
                _ => ("", 0, 0),
            };
            let replied =
                if of.is_empty() { 0 } else { fingerprint(of, reply_size, reply_alignment) };
            let values = [
                ("state", READY),
                ("kind", kind as u64),
                ("element size", size),
                ("element alignment", alignment),
                ("fingerprint", fingerprint(schema, size, alignment)),
                ("capacity", capacity),
                ("offset", offset as u64),
                ("attempts", attempts),
                ("flags", flags),
                ("publishers", publishers),
                ("reliable", reliable),
                ("reply size", reply_size),
                ("reply alignment", reply_alignment),
                ("reply fingerprint", replied),
            ];
            let (document, memory) = (&mut self.document, &self.memory);
            document.fields(memory, "Entry", base, &values);
            document.text(memory, "Entry", base, "name", name);
            document.text(memory, "Entry", base, "schema", schema);
            document.reserved(memory, "Entry", base);
            let [capacity, size, alignment] = [capacity, size, alignment].map(|n| n as usize);
            let reply = (reply_size as usize, reply_alignment.max(1) as usize);
            let (of, participants) = ((size, alignment), self.parts.participants);
            let block = Block::replied_to(kind, capacity, of, reply, participants);
            let end = offset + block.end;
            self.blocks.push((offset, block));
            offset = end;
        }
    }

    fn control(&self, c: usize, field: &str) -> u64 {
        self.document.get(&self.memory, "Control", self.blocks[c].0, field)
    }

    #[track_caller]
    fn controls(&mut self, c: usize, values: &[(&str, u64)]) {
        let base = self.blocks[c].0;
        self.document.fields(&self.memory, "Control", base, values);
        self.document.reserved(&self.memory, "Control", base);
    }

    /// The word of a slot.
    fn slot(&self, c: usize, n: usize) -> u64 {
        let (base, block) = &self.blocks[c];
        self.memory.word(base + block.slots + block.stride * n)
    }

    #[track_caller]
    fn slot_is(&mut self, c: usize, n: usize, lap: u64, attempts: u64, phase: u64, owner: u64) {
        let word = self.slot(c, n);
        let values = [("lap", lap), ("attempts", attempts), ("phase", phase), ("owner", owner)];
        self.document.word("Slot word", word, &values);
    }

    /// A process that is killed over claims and messages of two channels.
    fn deaths(&mut self) {
        const WIDE: usize = 3;
        const PARCELS: usize = 5;
        let wide = self.segment.channel::<Wide>("wide");
        let parcels = self.segment.bytes("parcels");
        let (wide_tx, parcels_tx) = (wide.sender().unwrap(), parcels.sender().unwrap());
        let wide_rx = wide.receiver().unwrap();
        // Positions 19 and 20: slots 1 and 2 of lap 6.
        wide_tx.send([1, 2]).unwrap();
        wide_tx.send([3, 4]).unwrap();
        parcels_tx.send(&[7; 150]).unwrap();
        let child = Peer::start("victim", &[&self.name]);
        child.expect("holding");
        self.slot_is(WIDE, 1, 6, 0, READING, 3);
        self.slot_is(WIDE, 2, 6, 0, READING, 3);
        self.slot_is(WIDE, 0, 7, 0, WRITING, 3);
        assert!(!parked(child.pid()));
        let pid = child.pid().unsigned_abs();
        let start = proc::start_time(pid).unwrap();
        let before = proc::monotonic();
        child.kill();
        child.finish();
        assert!(self.segment.sweep().unwrap());
        let last = self.parts.journal + 128 * 6;
        let time = self.document.get(&self.memory, "Journal record", last, "time");
        assert!((before..=proc::monotonic()).contains(&time), "{before}, {time}");
        self.document.check("Journal record", "time");
        self.slot_is(WIDE, 1, 6, 1, ORPHAN, 0);
        self.slot_is(WIDE, 0, 8, 0, FREE, 0);
        let values = [("tombstones", 1), ("orphaned", 2), ("dropped", 0)];
        self.controls(WIDE, &values);
        self.controls(PARCELS, &[("tombstones", 0), ("orphaned", 0), ("dropped", 1)]);
        let word = self.memory.word(512 + 8 * 3);
        self.document.word("Participant word", word, &[("phase", 0), ("incarnation", 1)]);
        self.journal(u64::from(pid), start);
        assert_eq!((wide_rx.recv().unwrap(), wide_rx.recv().unwrap()), ([1, 2], [3, 4]));
    }

    /// A process that is killed when it has committed a joint send, by what the document
    /// says, and has published nothing of it.
    fn completed(&mut self) {
        const NUMBERS: usize = 2;
        const WIDE: usize = 3;
        const TICKET: u64 = 3;
        let child = Peer::start("committer", &[&self.name]);
        child.expect("holding");
        let words = Words::behind(&self.segment);
        let (base, block) = &self.blocks[WIDE];
        let slot = (0..3).map(|n| base + block.slots + block.stride * n);
        let slot = slot.into_iter().find(|&slot| self.memory.word(slot) >> 13 & 7 == WRITING);
        let slot = slot.unwrap();
        let lap = self.memory.word(slot) >> 20;
        words.add(slot / 8, TICKET << 16);
        let tail = self.control(NUMBERS, "tail");
        let numbers = self.blocks[NUMBERS].0;
        let pledge = numbers + self.document.field("Control", "pledge").start;
        words.put(pledge / 8, (tail + 1) << 4 | TICKET);
        let info = self.parts.infos + 128 * 3;
        let committed = info + self.document.field("Info", "committed").start;
        words.put(committed / 8, 1 << TICKET);
        let word = self.control(NUMBERS, "pledge");
        self.document.word("Pledge word", word, &[("ticket", TICKET), ("end", tail + 1)]);
        self.document.check("Control", "pledge");
        self.document.fields(&self.memory, "Info", info, &[("committed", 1 << TICKET)]);
        let values = [("lap", lap), ("attempts", TICKET), ("phase", WRITING), ("owner", 3)];
        self.document.word("Slot word", self.memory.word(slot), &values);
        child.kill();
        child.finish();
        assert!(self.segment.sweep().unwrap());
        let values = [("lap", lap), ("attempts", 0), ("phase", FULL), ("owner", 0)];
        self.document.word("Slot word", self.memory.word(slot), &values);
        self.controls(NUMBERS, &[("tail", tail + 1)]);
        let record = self.parts.journal + 128 * 8;
        let values = [("completed", 2), ("tombstones", 0), ("senders", 2)];
        self.document.fields(&self.memory, "Journal record", record, &values);
        let (wide, numbers) = (
            self.segment.channel::<Wide>("wide").receiver().unwrap(),
            self.segment.channel::<u64>("numbers").spsc().receiver().unwrap(),
        );
        assert_eq!((wide.recv().unwrap(), numbers.recv().unwrap()), ([5, 6], 77));
        // Whoever follows takes the pledge back.
        drop(self.segment.channel::<u64>("numbers").spsc().sender().unwrap());
        assert_eq!(self.control(NUMBERS, "pledge"), 0);
    }

    /// Three joined, one of them twice; participant 3 has joined and died.
    fn journal(&mut self, pid: u64, start: u64) {
        const JOINED: u64 = 1;
        const LEFT: u64 = 2;
        const DIED: u64 = 3;
        const DONE: u64 = 2;
        let (own, own_start) = (u64::from(proc::pid()), proc::start_time(proc::pid()).unwrap());
        let records = [
            (JOINED, 0, 1),
            (JOINED, 1, 1),
            (LEFT, 1, 1),
            (JOINED, 1, 2),
            (JOINED, 2, 1),
            (JOINED, 3, 1),
            (DIED, 3, 1),
        ];
        let (document, memory) = (&mut self.document, &self.memory);
        for (position, (kind, participant, incarnation)) in (0..).zip(records) {
            let base = self.parts.journal + 128 * position as usize;
            let word = document.get(memory, "Journal record", base, "word");
            let values = [("position", position), ("phase", DONE), ("owner", 0)];
            document.word("Journal word", word, &values);
            let event = document.get(memory, "Journal record", base, "event");
            // Nothing was held in the first three channels.
            let channel = if kind == DIED { 4 } else { 0 };
            let values = [("kind", kind), ("participant", participant), ("channel", channel)];
            document.word("Event word", event, &values);
            let (pid, start) = if participant == 3 { (pid, start) } else { (own, own_start) };
            let died = u64::from(kind == DIED);
            let values = [
                ("incarnation", incarnation),
                ("pid", pid),
                ("start time", start),
                ("pid namespace", proc::pid_namespace().unwrap()),
                ("uid", u64::from(proc::uid())),
                ("senders", 2 * died),
                ("receivers", 3 * died),
                ("tombstones", died),
                ("orphaned", 2 * died),
                ("dropped", died),
                ("blocks", died),
            ];
            document.fields(memory, "Journal record", base, &values);
            document.reserved(memory, "Journal record", base);
        }
        assert_eq!(memory.word(self.parts.journal + 128 * records.len()), 0);
        document.check("Journal record", "word");
        document.check("Journal record", "event");
        // The owner while it is written is nobody's business here.
        document.check("Journal word", "owner");
        for (i, which, ended, deaths) in [(0, 1, 0, 0), (1, 2, 0, 0), (3, 6, 1, 1)] {
            let end = document.get(memory, "Info", self.parts.infos + 128 * i, "end");
            let values = [("which", which), ("ended", ended), ("deaths", deaths)];
            document.word("End word", end, &values);
        }
        document.check("Info", "end");
    }

    fn remove(mut self) -> Document {
        let commander = self.segment.commander().unwrap();
        let queue = Queue::open(key(&self.name, 0)).unwrap();
        let id = u64::try_from(queue.id()).unwrap();
        self.document.fields(&self.memory, "Header", 0, &[("queue", id + 1)]);
        let stat = queue.stat().unwrap();
        assert_eq!(stat.mode, 0o601);
        // Nobody answers; everybody is called, and called again.
        let soon = std::time::Duration::from_millis(1);
        let state = |document: &mut Document, memory: &Memory, is: &[&str]| {
            let gate = document.get(memory, "Header", 0, "gate");
            let bits =
                ["closed", "paused", "draining", "drained", "shutdown", "reserved", "opened"];
            let expected = bits.map(|bit| (bit, u64::from(is.contains(&bit))));
            document.word("Gate word", gate, &expected);
        };
        let calls = |document: &Document| document.get(&self.memory, "Header", 0, "calls");
        let before = calls(&self.document);
        commander.pause(soon).unwrap();
        state(&mut self.document, &self.memory, &["paused"]);
        assert!(calls(&self.document) > before);
        self.document.check("Header", "calls");
        commander.drain(soon).unwrap();
        state(&mut self.document, &self.memory, &["draining", "drained"]);
        commander.shutdown(soon).unwrap();
        state(&mut self.document, &self.memory, &["shutdown"]);
        commander.resume(soon).unwrap();
        state(&mut self.document, &self.memory, &["opened"]);
        self.segment.remove().unwrap();
        state(&mut self.document, &self.memory, &["closed", "opened"]);
        self.document.check("Gate word", "reserved");
        self.document.check("Header", "gate");
        assert!(queue.stat().is_err());
        self.document
    }
}

#[test]
#[ignore = "a role, not a test"]
fn child_entry() {
    let Some(brief) = Brief::take() else { return };
    let segment = Segment::open(brief.text(0)).unwrap();
    let wide = segment.channel::<Wide>("wide");
    if brief.role == "committer" {
        let numbers = segment.channel::<u64>("numbers").spsc();
        let (mut wide, mut numbers) = (wide.sender().unwrap(), numbers.sender().unwrap());
        let (mut slot, mut cell) = (wide.reserve().unwrap(), numbers.reserve().unwrap());
        slot.write(&[5, 6]);
        cell.write(&77);
        brief.say("holding");
        brief.hear();
        return;
    }
    let (mut tx, mut one) = (wide.sender().unwrap(), wide.receiver().unwrap());
    let (mut two, mut bytes) =
        (wide.receiver().unwrap(), segment.bytes("parcels").receiver().unwrap());
    let _held = (one.take().unwrap(), two.take().unwrap(), bytes.take().unwrap());
    let _grant = tx.reserve().unwrap();
    let mut writing = segment.bytes("parcels").sender().unwrap();
    let _room = writing.reserve(150).unwrap();
    brief.say("holding");
    brief.hear();
}
