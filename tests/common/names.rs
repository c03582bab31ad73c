//! Segments by name, as any client finds them, and words beside them.

use std::fmt;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use nix::sched::{CloneFlags, unshare};
use tombolo::Segment;
use tombolo::sys::shm::AttachOptions;
use tombolo::sys::{
    Key,
    msg::Queue,
    proc,
    sem::{self, Set},
    shm::{self, Attachment, Shm},
};

/// How many keys a name has.
pub(crate) const PROBES: u8 = 8;
/// The bytes of a segment's size beyond whole pages.
pub(crate) const SIGNATURE: usize = 1_803;
/// "tombolo" and a zero byte.
pub(crate) const MAGIC: u64 = u64::from_le_bytes(*b"tombolo\0");

/// Words of the header, by their place.
pub(crate) mod word {
    pub(crate) const NONCE: usize = 0;
    pub(crate) const MAGIC: usize = 1;
    pub(crate) const VERSION: usize = 2;
    pub(crate) const SIZE: usize = 3;
    pub(crate) const SET: usize = 5;
    pub(crate) const FLAGS: usize = 6;
    pub(crate) const PARTICIPANTS: usize = 7;
    pub(crate) const CHANNELS: usize = 8;
    pub(crate) const KINDS: usize = 9;
    pub(crate) const CALLS: usize = 33;
}

/// The key of a name's nth probe, as the format says: FNV-1a.
pub(crate) fn key_of(name: &str, probe: u8) -> Key {
    let mut hash = 0xCBF2_9CE4_8422_2325_u64;
    for byte in b"tombolo:".iter().chain(name.as_bytes()).chain(&[probe]) {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01B3);
    }
    let folded = (hash >> 32 ^ hash) & 0x7FFF_FFFF;
    Key::new(i32::try_from(folded.max(1)).unwrap())
}

/// A segment with a name that nothing else uses.
pub(crate) fn market(participants: u16, channels: u16) -> (Name, Segment) {
    let name = Name::new();
    let options = Segment::options().size(1 << 20).participants(participants).channels(channels);
    let segment = options.create(&name).unwrap();
    (name, segment)
}

/// A name that nothing else uses. All objects on its keys go with it.
#[derive(Debug)]
pub(crate) struct Name(String);

impl Name {
    pub(crate) fn new() -> Name {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let test = std::thread::current().name().unwrap_or("main").replace("::", ".");
        let end = format!(":{}.{}", proc::pid(), COUNT.fetch_add(1, Ordering::Relaxed));
        // 120 bytes are a segment's name.
        let test = &test[..test.len().min(80)];
        Name(format!("test/{test}{end}"))
    }

    /// The name of another process's; that one clears it.
    pub(crate) fn of(name: &str) -> std::mem::ManuallyDrop<Name> {
        std::mem::ManuallyDrop::new(Name(name.to_owned()))
    }

    pub(crate) fn key(&self, probe: u8) -> Key {
        key_of(&self.0, probe)
    }

    /// The shared-memory object on a key.
    pub(crate) fn shm(&self, probe: u8) -> Option<Shm> {
        Shm::open(self.key(probe)).ok()
    }

    pub(crate) fn set(&self, probe: u8) -> Option<Set> {
        Set::open(self.key(probe)).ok()
    }

    /// Segments and sets on all of the name's keys.
    pub(crate) fn objects(&self) -> (usize, usize) {
        let count = |there: &dyn Fn(u8) -> bool| (0..PROBES).filter(|&n| there(n)).count();
        (count(&|n| self.shm(n).is_some()), count(&|n| self.set(n).is_some()))
    }

    pub(crate) fn words(&self) -> Words {
        Words::of(self.shm(0).unwrap())
    }
}

impl std::ops::Deref for Name {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        clear(&self.0);
    }
}

/// Removes whatever is on a name's keys.
pub(crate) fn clear(name: &str) {
    for key in (0..PROBES).map(|probe| key_of(name, probe)) {
        if let Ok(shm) = Shm::open(key) {
            let _ = shm.remove();
        }
        if let Ok(set) = Set::open(key) {
            let _ = set.remove();
        }
        if let Ok(queue) = Queue::open(key) {
            let _ = queue.remove();
        }
    }
}

/// A segment as words: attached behind the library's back, or a ledger.
#[derive(Debug)]
pub(crate) struct Words(Attachment);

impl Words {
    pub(crate) fn of(shm: Shm) -> Words {
        Words(shm.attach().unwrap())
    }

    /// Of one that may only be read.
    pub(crate) fn reading(shm: Shm) -> Words {
        let options = AttachOptions { read_only: true, ..AttachOptions::default() };
        Words(shm.attach_with(options).unwrap())
    }

    /// Another view of a segment in use.
    pub(crate) fn behind(segment: &Segment) -> Words {
        Words::of(Shm::from_id(segment.id()))
    }

    pub(crate) const fn len(&self) -> usize {
        self.0.len() / 8
    }

    pub(crate) fn at(&self, index: usize) -> &AtomicU64 {
        assert!(index < self.len());
        // SAFETY: in bounds, just checked.
        let word = unsafe { self.0.as_ptr().cast::<AtomicU64>().add(index) };
        // SAFETY: aligned, as the attachment is to a page; mapped as long as
        // `self`, and never accessed but by atomics from here.
        unsafe { &*word }
    }

    /// Where the first channel's block begins in a segment of so many participants and
    /// channels: see `docs/format.md`.
    pub(crate) const fn first_block(&self, participants: usize, channels: usize) -> usize {
        let infos = (512 + 8 * participants).next_multiple_of(128);
        let journal = infos + 128 * participants;
        let directory = journal + 128 * 128;
        let heap = (directory + 512 * channels).next_multiple_of(4096);
        assert!(heap < self.0.len());
        heap / 8
    }

    pub(crate) fn get(&self, index: usize) -> u64 {
        self.at(index).load(Ordering::SeqCst)
    }

    pub(crate) fn put(&self, index: usize, value: u64) {
        self.at(index).store(value, Ordering::SeqCst);
    }

    pub(crate) fn add(&self, index: usize, value: u64) -> u64 {
        self.at(index).fetch_add(value, Ordering::SeqCst)
    }

    /// All of them.
    pub(crate) fn copy(&self) -> Vec<u64> {
        (0..self.len()).map(|index| self.get(index)).collect()
    }
}

/// Gives this thread, and who it starts, empty kernel tables of their own, if
/// it may: then a test can say exactly what it leaves behind.
pub(crate) fn own_tables() -> bool {
    let own = unshare(CloneFlags::CLONE_NEWIPC).is_ok();
    if !own {
        eprintln!("SKIPPED: what is left in the kernel's tables, for want of a namespace");
    }
    own
}

/// How many segments and sets there are in this IPC namespace.
pub(crate) fn tables() -> (usize, usize) {
    (shm::all().unwrap().len(), sem::all().unwrap().len())
}
