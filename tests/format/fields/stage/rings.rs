//! The rows of the channels.

use super::*;

impl Stage {
    pub(super) fn broadcast(&mut self) {
        const ELEMENTS: usize = 6;
        const BYTES: usize = 7;
        const PUBLISHER: &str = "Publisher's entry";
        const SUBSCRIBER: &str = "Reliable subscriber's entry";
        let segment = self.segment.clone();
        let channel = segment.broadcast::<u16>("prices");
        let (tx, rx) = (channel.publisher().unwrap(), channel.reliable_subscriber().unwrap());
        for n in 0..6 {
            tx.try_send(0x100 + n).unwrap();
            if n == 4 {
                self.controls(ELEMENTS, &[("tail", 5)]);
                assert!(tx.try_send(0).is_err());
                assert_eq!(rx.recv().unwrap(), 0x100);
            }
        }
        self.controls(ELEMENTS, &[("tail", 6), ("publishers used", 1), ("reliable used", 1)]);
        let (base, block) = &self.blocks[ELEMENTS];
        let (buffers, bits) = (block.units as u64 + SEATS.0 as u64, 6);
        let word = |place: u64, turn: u64, buffer: u64| {
            (turn << bits) | ((buffer + buffers - place) % buffers)
        };
        assert_eq!((block.units, buffers), (15, 23));
        // Each message went into the buffer that the one before it had displaced.
        assert_eq!(self.memory.word(base + block.slots), word(0, 1, 15));
        assert_eq!(self.memory.word(base + block.slots + 8 * 5), word(5, 1, 4));
        assert_eq!(self.memory.word(base + block.blocks + block.apart * 4), 0x105);
        let (document, memory) = (&mut self.document, &self.memory);
        let entry = base + block.words;
        let values = [("word", word(15, 6, 5)), ("helped", 0), ("at", 5), ("over", 5)];
        document.fields(memory, PUBLISHER, entry, &values);
        // Others store it for one that is killed in between.
        document.check(PUBLISHER, "helped");
        document.reserved(memory, PUBLISHER, entry);
        let seat = entry + 128 * SEATS.0;
        document.fields(memory, SUBSCRIBER, seat, &[("position", 1)]);
        document.reserved(memory, SUBSCRIBER, seat);
        for (of, entry) in [(PUBLISHER, entry), (SUBSCRIBER, seat)] {
            let holder = document.get(memory, of, entry, "holder");
            let values = [("participant", 1), ("mark", 0), ("incarnation", 2)];
            document.word("Holder word", holder, &values);
            document.check(of, "holder");
        }
        drop((tx, rx));
        let (document, memory) = (&mut self.document, &self.memory);
        document.fields(memory, PUBLISHER, entry, &[("holder", 0)]);
        document.fields(memory, SUBSCRIBER, seat, &[("holder", 0)]);

        segment.broadcast_bytes("news").publisher().unwrap().send(b"hello").unwrap();
        let (base, block) = &self.blocks[BYTES];
        assert_eq!((block.units, block.apart), (86, 112));
        let buffer = base + block.blocks + block.apart * 86;
        assert_eq!(self.memory.word(buffer), 5);
        assert_eq!(self.memory.bytes(buffer + 8, 5), b"hello");
        self.controls(BYTES, &[("tail", 8)]);
    }

    pub(super) fn spsc(&mut self) {
        const C: usize = 2;
        let changes = self.control(C, "changes");
        let segment = self.segment.clone();
        let channel = segment.channel::<u64>("numbers").spsc();
        let (tx, mut rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        for n in 0..7 {
            tx.send(0x1000 + n).unwrap();
            if n < 4 {
                assert_eq!(rx.recv().unwrap(), 0x1000 + n);
            }
        }
        let values = [
            ("tail", 7),
            ("head", 4),
            ("changes", changes + 2),
            ("senders joined", 2),
            ("receivers joined", 1),
        ];
        self.controls(C, &values);
        let (base, block) = &self.blocks[C];
        for n in 4..7 {
            let at = base + block.slots + block.stride * (n as usize % 5);
            assert_eq!(self.memory.word(at), 0x1000 + n);
        }
        // Participant 1, second life.
        let row = base + 1_024 + 64;
        for role in ["producer", "consumer"] {
            let word = self.document.get(&self.memory, "Control", *base, role);
            let values = [("participant", 1), ("mark", 0), ("incarnation", 2)];
            self.document.word("Holder word", word, &values);
            self.document.check("Control", role);
        }
        let endpoints = self.document.get(&self.memory, "Row", row, "endpoints");
        let counts = [("senders", 1), ("receivers", 1), ("incarnation", 2)];
        self.document.word("Endpoints word", endpoints, &counts);
        // Positions 4 to 6 by the first mark, the first given back.
        let marks = base + self.document.field("Control", "in-flight marks").start;
        let slice = rx.take_slice(9).unwrap();
        assert_eq!((slice.read(0).unwrap(), self.memory.word(marks)), (0x1004, 5));
        drop(slice);
        assert_eq!((rx.take_slice(9).unwrap().len(), self.memory.word(marks)), (2, 7));
        let word = self.document.get(&self.memory, "Control", *base, "taker");
        let values = [("participant", 1), ("mark", 0), ("incarnation", 2)];
        self.document.word("Holder word", word, &values);
        self.document.check("Control", "in-flight marks");
        self.document.check("Control", "taker");
        drop(rx);
        let endpoints = self.document.get(&self.memory, "Row", row, "endpoints");
        let counts = [("senders", 1), ("receivers", 0), ("incarnation", 2)];
        self.document.word("Endpoints word", endpoints, &counts);
        self.document.check("Row", "endpoints");
        self.controls(C, &[("consumer", 0), ("changes", changes + 3)]);
        drop(tx);
        self.controls(C, &[("producer", 0), ("changes", changes + 4), ("tail", 7)]);
        // A delivery that is forgotten stays with its reader's mark.
        channel.sender().unwrap().send(1).unwrap();
        for attempts in 0..16 {
            let mut rx = channel.receiver().unwrap();
            let delivery = rx.take().unwrap();
            assert_eq!(delivery.attempts(), attempts);
            std::mem::forget(delivery);
        }
        self.controls(C, &[("head", 7)]);
        let last = self.blocks[C].0 + self.document.field("Control", "in-flight marks").end - 8;
        assert_eq!(self.memory.word(last), 8);
        let word = self.control(C, "taker");
        let values = [("participant", 1), ("mark", 15), ("incarnation", 2)];
        self.document.word("Holder word", word, &values);
    }

    pub(super) fn mpmc(&mut self) {
        const C: usize = 3;
        let channel = self.segment.channel::<Wide>("wide");
        let (mut tx, mut rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        let _more = (channel.receiver().unwrap(), channel.receiver().unwrap());
        let message = |n: u128| [n, n << 64 | 0xABCD];
        // Position 18 is slot 0 of lap 6; the bounds follow every 16.
        for n in 0..18 {
            tx.send(message(n)).unwrap();
            assert_eq!(rx.recv().unwrap(), message(n));
        }
        let values = [("tail", 16), ("head", 16), ("senders joined", 2), ("receivers joined", 3)];
        self.controls(C, &values);
        self.slot_is(C, 0, 6, 0, FREE, 0);
        let mut grant = tx.reserve().unwrap();
        self.slot_is(C, 0, 6, 0, WRITING, 1);
        grant.write(&message(18));
        grant.commit().unwrap();
        self.slot_is(C, 0, 6, 0, FULL, 0);
        let (base, block) = &self.blocks[C];
        let cell = base + block.slots + block.element;
        let bytes = message(18).map(u128::to_le_bytes).concat();
        assert_eq!(self.memory.bytes(cell, 32), bytes);
        let delivery = rx.take().unwrap();
        self.slot_is(C, 0, 6, 0, READING, 1);
        self.controls(C, &[("orphans", 0), ("scanned", 0)]);
        delivery.give_back();
        self.slot_is(C, 0, 6, 0, ORPHAN, 0);
        self.controls(C, &[("orphans", 1), ("scanned", 0)]);
        assert_eq!(rx.recv().unwrap(), message(18));
        assert!(rx.try_recv().is_err());
        self.controls(C, &[("orphans", 1), ("scanned", 1)]);
        self.slot_is(C, 0, 7, 0, FREE, 0);
    }

    pub(super) fn packets(&mut self) {
        const C: usize = 4;
        let channel = self.segment.bytes("packets").spsc();
        let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        let (base, block) = &self.blocks[C];
        let (slots, units) = (base + block.slots, block.units);
        assert_eq!(units, 84);
        let message = |n: u8, length: usize| (0..length).map(|k| n ^ k as u8).collect::<Vec<_>>();
        let mut into = Vec::new();
        for n in 0..5 {
            // 14 units each.
            tx.send(&message(n, 100)).unwrap();
            rx.recv(&mut into).unwrap();
            assert_eq!(into, message(n, 100));
        }
        // 2 of 14 that are left, then one that does not fit.
        tx.send(&message(6, 5)).unwrap();
        tx.send(&message(7, 97)).unwrap();
        let header = |document: &mut Document, unit: usize, what, length| {
            let header = self.memory.word(slots + 8 * unit);
            document.word("Record header", header, &[("what", what), ("length", length)]);
        };
        header(&mut self.document, 56, 1, 100);
        header(&mut self.document, 70, 1, 5);
        header(&mut self.document, 72, 2, 12);
        header(&mut self.document, 0, 1, 97);
        assert_eq!(self.memory.bytes(slots + 8 * 71, 5), message(6, 5));
        assert_eq!(self.memory.bytes(slots + 8, 97), message(7, 97));
        self.controls(C, &[("head", 70), ("tail", 84 + 14)]);
        rx.recv(&mut into).unwrap();
        self.controls(C, &[("head", 72)]);
        rx.recv(&mut into).unwrap();
        self.controls(C, &[("head", 84 + 14)]);
    }

    #[track_caller]
    pub(super) fn message_block_is(&mut self, k: usize, version: u64, held: u64, owner: u64) {
        let (base, block) = &self.blocks[5];
        let word = self.memory.word(base + block.words + 8 * k);
        let values = [("version", version), ("held", held), ("owner", owner)];
        self.document.word("Message block word", word, &values);
    }

    pub(super) fn parcels(&mut self) {
        const C: usize = 5;
        let channel = self.segment.bytes("parcels");
        let (mut tx, mut rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        let long = |byte: u8| vec![byte; 150];
        let messages = [long(1), long(2), b"short".to_vec()];
        messages.iter().for_each(|message| tx.send(message).unwrap());
        self.message_block_is(0, 1, 1, 1);
        self.message_block_is(2, 0, 0, 0);
        let (base, block) = &self.blocks[C];
        for (n, message) in messages.into_iter().enumerate() {
            let slot = base + block.slots + block.stride * n;
            let word = self.document.get(&self.memory, "Bytes slot", slot, "word");
            self.document.word(
                "Slot word",
                word,
                &[("lap", 0), ("attempts", 0), ("phase", FULL), ("owner", 0)],
            );
            let label = self.document.get(&self.memory, "Bytes slot", slot, "label");
            let here = message.len() <= 112;
            let named = if here { u64::from(u32::MAX) } else { n as u64 };
            let named = [("block", named), ("length", message.len() as u64)];
            self.document.word("Label", label, &named);
            let in_block = base + block.blocks + block.apart * n;
            let bytes = if here { slot + 16 } else { in_block };
            assert_eq!(self.memory.bytes(bytes, message.len()), message);
        }
        self.document.check("Bytes slot", "word");
        self.document.check("Bytes slot", "label");
        let delivery = rx.take().unwrap();
        self.message_block_is(0, 2, 1, 1);
        self.slot_is(C, 0, 0, 0, READING, 1);
        drop(delivery);
        self.message_block_is(0, 2, 0, 0);
        self.slot_is(C, 0, 1, 0, FREE, 0);
        let grant = tx.reserve(113).unwrap();
        // The first one, since it is free.
        self.message_block_is(0, 3, 1, 1);
        self.slot_is(C, 3, 0, 0, FREE, 0);
        drop(grant);
        self.message_block_is(0, 3, 0, 0);
        assert_eq!(rx.recv(&mut Vec::new()).unwrap(), 150);
        assert_eq!(rx.recv(&mut Vec::new()).unwrap(), 5);
    }

    pub(super) fn calls(&mut self) {
        const ELEMENTS: usize = 8;
        const BYTES: usize = 9;
        const OF_BYTES: &str = "Call slot of bytes";
        let segment = self.segment.clone();
        let service = segment.service::<u16, Wide>("calls");
        let (client, server) = (service.client().unwrap(), service.server().unwrap());
        // Participant 1 begins with slot 7.
        let is = |stage: &mut Stage, phase: u64, server: u64, client: u64, turn: u64| {
            let word = stage.slot(ELEMENTS, 7);
            let [again, asleep] =
                ["again", "asleep"].map(|field| stage.document.bits_of("Call word", word, field));
            let values = [
                ("client", client),
                ("server", server),
                ("phase", phase),
                ("asleep", asleep),
                ("again", again),
                ("turn", turn),
            ];
            stage.document.word("Call word", word, &values);
            (again, asleep)
        };
        let shown = |stage: &Stage| {
            let (base, block) = &stage.blocks[ELEMENTS];
            stage.memory.word(base + block.words)
        };
        client.set_repeats(5);
        let pending = client.start(0xABCD).unwrap();
        assert_eq!(is(self, 2, 0, 1, 0), (5, 0));
        assert_eq!(shown(self), 1 << 7);
        let (base, block) = &self.blocks[ELEMENTS];
        let slot = base + block.slots + block.stride * 7;
        assert_eq!(self.memory.bytes(slot + block.element, 2), [0xCD, 0xAB]);
        let call = server.recv().unwrap();
        assert_eq!((is(self, 3, 1, 1, 0), shown(self)), ((5, 0), 0));
        call.give_back().unwrap();
        assert_eq!((is(self, 2, 0, 1, 0), shown(self)), ((5, 0), 1 << 7));
        let (tell, told) = std::sync::mpsc::channel();
        let waiting = thread::spawn(move || {
            tell.send(tid()).unwrap();
            pending.wait()
        });
        let tid = told.recv().unwrap();
        wait_until(|| thread_parked(tid));
        let call = server.recv().unwrap();
        assert_eq!(is(self, 3, 1, 1, 0), (5, 1));
        call.reply([1, 2]).unwrap();
        assert_eq!(waiting.join().unwrap(), Ok([1, 2]));
        assert_eq!(is(self, 0, 0, 0, 1), (0, 0));
        let reply = slot + up(8 + 2, 16);
        assert_eq!(self.memory.bytes(reply, 32), [1_u128, 2].map(u128::to_le_bytes).concat());
        client.set_repeats(0);
        let pending = client.start(1).unwrap();
        drop(server.recv().unwrap());
        is(self, 6, 1, 1, 1);
        drop(pending);
        let pending = client.start(2).unwrap();
        let call = server.recv().unwrap();
        drop(pending);
        is(self, 7, 1, 0, 2);
        drop(call);
        is(self, 0, 0, 0, 3);
        self.controls(ELEMENTS, &[("tail", 0), ("head", 0)]);

        let service = segment.service_bytes("files");
        let (client, server) = (service.client().unwrap(), service.server().unwrap());
        let pending = client.start(b"a name").unwrap();
        server.recv().unwrap().reply(b"what is in it").unwrap();
        let (base, block) = &self.blocks[BYTES];
        let slot = base + block.slots + block.stride;
        let (document, memory) = (&mut self.document, &self.memory);
        document.fields(memory, OF_BYTES, slot, &[("request length", 6), ("reply length", 13)]);
        let word = document.get(memory, OF_BYTES, slot, "word");
        assert_eq!(document.bits_of("Call word", word, "phase"), 4);
        document.check(OF_BYTES, "word");
        assert_eq!(memory.bytes(slot + 24, 6), b"a name");
        assert_eq!(memory.bytes(slot + 24 + 104, 13), b"what is in it");
        assert_eq!(pending.wait().unwrap(), b"what is in it");
    }

    /// A thread that waits for items, and one that waits for space.
    pub(super) fn waiting(&mut self) {
        let document = |stage: &mut Stage, c: usize, word: &str, record: &str, count: u64| {
            let base = stage.blocks[c].0;
            let waiting = stage.document.get(&stage.memory, "Control", base, word);
            let version = stage.document.bits_of("Waiting word", waiting, "version");
            let values = [("count", count), ("watched", 0), ("version", version)];
            stage.document.word("Waiting word", waiting, &values);
            stage.document.check("Control", word);
            let row = base + 1_024 + 64;
            let word = stage.document.get(&stage.memory, "Row", row, record);
            let values = [("threads", count), ("incarnation", 2)];
            stage.document.word("Waiters record", word, &values);
            stage.document.check("Row", record);
            stage.document.reserved(&stage.memory, "Row", row);
            version
        };
        let segment = self.segment.clone();
        let channel = segment.channel::<u64>("1");
        let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
        let parked = |call: Box<dyn FnOnce() + Send>| {
            let (tell, told) = std::sync::mpsc::channel();
            let thread = thread::spawn(move || {
                tell.send(tid()).unwrap();
                call();
            });
            let tid = told.recv().unwrap();
            wait_until(|| thread_parked(tid));
            thread
        };
        let thread = parked(Box::new(move || assert_eq!(rx.recv().unwrap(), 5)));
        let before = document(self, 1, "items waiting", "items record", 1);
        tx.send(5).unwrap();
        thread.join().unwrap();
        let after = document(self, 1, "items waiting", "items record", 0);
        assert_eq!(after, before, "only an announcement makes another version");
        let rx = channel.receiver().unwrap();
        tx.send(6).unwrap();
        let thread = parked(Box::new(move || tx.send(7).unwrap()));
        document(self, 1, "space waiting", "space record", 1);
        assert_eq!(rx.recv().unwrap(), 6);
        thread.join().unwrap();
        document(self, 1, "space waiting", "space record", 0);
        assert_eq!(rx.recv().unwrap(), 7);
        // A long message, all message blocks being held by grants.
        let bytes = segment.bytes("parcels");
        let (tx, rx) = (bytes.sender().unwrap(), bytes.receiver().unwrap());
        let mut writers: Vec<_> = (0..5).map(|_| tx.try_clone().unwrap()).collect();
        let mut grants: Vec<_> = writers.iter_mut().map(|tx| tx.reserve(150).unwrap()).collect();
        let thread = parked(Box::new(move || tx.send(&[0; 150]).unwrap()));
        document(self, 5, "slots waiting", "slots record", 1);
        drop(grants.pop());
        thread.join().unwrap();
        document(self, 5, "slots waiting", "slots record", 0);
        assert_eq!(rx.recv(&mut Vec::new()).unwrap(), 150);
        drop(rx);
        // Of a channel with bells: one stroke is for all who were announced by a version.
        let prices = segment.broadcast::<u16>("prices");
        let (tx, rx) = (prices.publisher().unwrap(), prices.reliable_subscriber().unwrap());
        let thread = parked(Box::new(move || assert_eq!(rx.recv().unwrap(), 8)));
        let version = document(self, 6, "items waiting", "items record", 1);
        tx.send(8).unwrap();
        thread.join().unwrap();
        self.controls(6, &[("items struck", version)]);
        let rx = prices.reliable_subscriber().unwrap();
        tx.send_batch(&[0; 5]).unwrap();
        let thread = parked(Box::new(move || tx.send(9).unwrap()));
        let version = document(self, 6, "space waiting", "space record", 1);
        assert_eq!(rx.recv().unwrap(), 0);
        thread.join().unwrap();
        self.controls(6, &[("space struck", version)]);
        self.watching();
    }

    /// More members than a set counts itself at: it watches them.
    fn watching(&mut self) {
        let segment = self.segment.clone();
        let channel = segment.channel::<u64>("1");
        let receivers: Vec<_> = (0..31).map(|_| channel.receiver().unwrap()).collect();
        let mut set = WaitSet::new(&segment);
        for (key, receiver) in (0..).zip(&receivers) {
            set.add(receiver, key).unwrap();
        }
        let soon = Duration::from_millis(1);
        assert_eq!(set.wait(&mut Vec::new(), soon), Ok(0));
        self.controls(1, &[("watchers", 1 << 1)]);
        let base = self.blocks[1].0;
        let waiting = self.document.get(&self.memory, "Control", base, "items waiting");
        let version = self.document.bits_of("Waiting word", waiting, "version");
        let values = [("count", 0), ("watched", 1), ("version", version)];
        self.document.word("Waiting word", waiting, &values);
        let watches = self.document.get(&self.memory, "Row", base + 1_024 + 64, "watches");
        self.document.word("Watches word", watches, &[("topics", 1), ("incarnation", 2)]);
        self.document.check("Row", "watches");
        let called = self.parts.infos + 128 + self.document.field("Info", "called").start;
        channel.sender().unwrap().send(1).unwrap();
        let waiting = self.document.get(&self.memory, "Control", base, "items waiting");
        assert_eq!(self.document.bits_of("Waiting word", waiting, "watched"), 0);
        assert_eq!(self.memory.word(called), 1 << 1);
        self.document.check("Info", "called");
        drop(set);
        assert_eq!(receivers[0].try_recv(), Ok(1));
    }
}
