//! Creation: one name has one segment and one set, whoever builds, dies, or
//! removes things behind the builders' backs.

use std::cell::RefCell;
use std::convert::Infallible;
use std::rc::Rc;

use loom::sync::Mutex;

use crate::death::{self, End, Fate};
use crate::explore::{completely, fails_for_some_end, holds, holds_for_every_end};
use crate::kernel::{Deadline, Process, System};
use crate::mutant::{self, Mutant};
use crate::ring::creation::{Block, Established, Found, MAGIC, Site, establish};
use crate::ring::kernel::{Kernel, LightFence, Op, Refusal};
use crate::ring::lease;
use crate::ring::set::SetMap;
use crate::sync::{AtomicU64, Ordering};

const MAP: SetMap = SetMap { participants: 1, channels: 0, own_bells: false };
const NAME: u64 = 77;

/// The kernel's objects on one key.
struct Key {
    /// The state of the key, which a system call reads and changes at one instant.
    shelf: Mutex<Shelf>,
    processes: usize,
    /// Which process has got what: the model's own knowledge.
    holders: RefCell<Vec<(usize, usize)>>,
}

#[derive(Default)]
struct Shelf {
    set: Option<usize>,
    block: Option<usize>,
    sets: Vec<Rc<System>>,
    blocks: Vec<Rc<Page>>,
    removed: Vec<bool>,
    drawn: u64,
}

/// A segment's header.
struct Page {
    nonce: AtomicU64,
    magic: AtomicU64,
    set: AtomicU64,
    generation: AtomicU64,
    name: loom::cell::Cell<u64>,
}

struct SetOf {
    index: usize,
    process: Process,
    /// For a mutant: a brand that is still to come.
    late: RefCell<Vec<Op>>,
}

struct BlockOf {
    index: usize,
    page: Rc<Page>,
}

#[derive(Clone)]
struct Opener {
    key: Rc<Key>,
    id: usize,
}

type Finding<B> = Result<Found<B>, Infallible>;

impl LightFence for SetOf {
    fn light_fence(&self) {}
}

impl Kernel for SetOf {
    type Deadline = Deadline;

    fn semop(&self, ops: &[Op], until: Option<Deadline>) -> Result<(), Refusal> {
        if ops.len() == SetMap::brand(0).len() && mutant::has("the brand after the magic") {
            *self.late.borrow_mut() = ops.to_vec();
            return Ok(());
        }
        let late = self.late.take();
        if !late.is_empty() {
            let _ = self.process.semop(&late, None);
        }
        self.process.semop(ops, until)
    }

    fn values(&self, into: &mut [u16]) -> Result<(), Refusal> {
        self.process.values(into)
    }

    fn heavy_fence(&self) {}

    fn soon(&self) -> Option<Deadline> {
        None
    }

    fn now(&self) -> Deadline {
        self.process.now()
    }

    fn at_once(&self) -> Option<Deadline> {
        None
    }

    fn own_fence(&self) {}
}

impl Block for BlockOf {
    fn nonce(&self) -> &AtomicU64 {
        &self.page.nonce
    }

    fn magic(&self) -> &AtomicU64 {
        &self.page.magic
    }

    fn sealed(&self) -> (i32, u64) {
        let set = self.page.set.load(Ordering::Relaxed);
        (set as i32, self.page.generation.load(Ordering::Relaxed))
    }

    fn fill(&self, set: i32, generation: u64) {
        if mutant::has("the magic before the rest") {
            self.page.magic.store(MAGIC, Ordering::Release);
        }
        self.page.set.store(set as u64, Ordering::Relaxed);
        self.page.generation.store(generation, Ordering::Relaxed);
        self.page.name.set(NAME);
    }
}

impl Opener {
    /// A system call on the key.
    fn call<R>(&self, call: impl FnOnce(&mut Shelf) -> R) -> R {
        death::step();
        call(&mut self.key.shelf.lock().unwrap())
    }

    fn set_of(&self, index: usize, system: &Rc<System>) -> SetOf {
        let process = Process { system: Rc::clone(system), id: self.id };
        SetOf { index, process, late: RefCell::default() }
    }

    fn attach(&self, index: usize) -> Option<BlockOf> {
        self.call(|shelf| {
            let page = Rc::clone(&shelf.blocks[index]);
            (!shelf.removed[index]).then_some(BlockOf { index, page })
        })
    }

    /// Opens or creates, and lets go of the lease.
    fn establish(&self) -> (usize, usize) {
        match establish(self, true, None).unwrap_or_else(|never| match never {}) {
            Established::Created(set, block) | Established::Opened(set, block) => {
                let held = (set.index, block.index);
                self.key.holders.borrow_mut().push(held);
                let _ = lease::release(&set);
                held
            }
            Established::Foreign => panic!("a stranger"),
            Established::Missing => panic!("missing"),
            Established::Busy(_) => panic!("busy"),
            Established::Unstable => panic!("unstable"),
        }
    }

    /// The kernel's part when this process has ended, set by set.
    fn end(&self) {
        let sets = self.key.shelf.lock().unwrap().sets.clone();
        for system in sets {
            Process { system, id: self.id }.end();
        }
    }

    fn spawn(&self, fate: Option<Fate>) -> loom::thread::JoinHandle<()> {
        let this = self.clone();
        loom::thread::spawn(move || {
            death::mortal_with(|| this.end(), fate, || this.establish());
        })
    }

    /// As `by_id` in `src/segment/open/mod.rs`: whoever finds a magic, without
    /// the lease, finds all the rest.
    fn look_in(&self) {
        let found = self.call(|shelf| shelf.block).and_then(|index| self.attach(index));
        let Some(block) = found else { return };
        if block.magic().load(Ordering::Acquire) != MAGIC {
            return;
        }
        assert!(self.named(&block), "a magic without a name");
        let (set, generation) = block.sealed();
        let system = self.call(|shelf| Rc::clone(&shelf.sets[set as usize]));
        let set = self.set_of(set as usize, &system);
        let mut values = vec![0; usize::from(MAP.count())];
        if set.values(&mut values).is_ok() {
            assert_eq!(SetMap::generation(&values), Some(generation), "a magic without a brand");
        }
    }
}

impl Site for Opener {
    type Set = SetOf;
    type Block = BlockOf;
    type Error = Infallible;

    fn set(&self, create: bool) -> Finding<SetOf> {
        let found = self.call(|shelf| shelf.set);
        if found.is_none() && !create {
            return Ok(Found::Nothing);
        }
        // Made exclusively, or else opened after all.
        let found = found.map(|set| (set, false)).or_else(|| {
            self.call(|shelf| {
                if let Some(set) = shelf.set {
                    return Some((set, false));
                }
                let index = shelf.sets.len();
                shelf.sets.push(Rc::new(System::new(MAP.count(), self.key.processes)));
                shelf.set = Some(index);
                Some((index, true))
            })
        });
        let Some((index, _)) = found else { return Ok(Found::Nothing) };
        // `stat`: it may have gone again.
        let system = self.call(|shelf| Rc::clone(&shelf.sets[index]));
        if system.removed() {
            return Ok(Found::Nothing);
        }
        Ok(Found::Ours(self.set_of(index, &system)))
    }

    fn set_id(&self, set: &SetOf) -> i32 {
        set.index as i32
    }

    fn refused(&self, _: &SetOf, refusal: Refusal) -> Infallible {
        panic!("refused: {refusal:?}")
    }

    fn set_count(&self, _: &SetOf) -> usize {
        usize::from(MAP.count())
    }

    fn remove_set(&self, set: &SetOf) -> Result<(), Infallible> {
        self.call(|shelf| shelf.remove_set(set.index));
        Ok(())
    }

    fn foreign(&self) -> Result<bool, Infallible> {
        Ok(false)
    }

    fn block(&self) -> Finding<BlockOf> {
        let Some(index) = self.call(|shelf| shelf.block) else { return Ok(Found::Nothing) };
        Ok(self.attach(index).map_or(Found::Nothing, Found::Ours))
    }

    fn make_block(&self) -> Finding<BlockOf> {
        let made = self.call(|shelf| {
            if shelf.block.is_some() {
                return None;
            }
            shelf.blocks.push(Rc::new(Page {
                nonce: AtomicU64::new(0),
                magic: AtomicU64::new(0),
                set: AtomicU64::new(0),
                generation: AtomicU64::new(0),
                name: loom::cell::Cell::new(0),
            }));
            shelf.removed.push(false);
            shelf.block = Some(shelf.blocks.len() - 1);
            shelf.block
        });
        let attached = made.and_then(|index| self.attach(index));
        Ok(attached.map_or(Found::Nothing, Found::Ours))
    }

    fn remove_block(&self, block: &BlockOf) -> Result<(), Infallible> {
        self.call(|shelf| shelf.remove_block(block.index));
        Ok(())
    }

    fn named(&self, block: &BlockOf) -> bool {
        block.page.name.get() == NAME
    }

    fn map(&self) -> SetMap {
        MAP
    }

    fn random(&self) -> Result<u64, Infallible> {
        let mut shelf = self.key.shelf.lock().unwrap();
        shelf.drawn += 2;
        Ok(shelf.drawn)
    }
}

impl Shelf {
    fn remove_set(&mut self, index: usize) {
        self.sets[index].remove();
        if self.set == Some(index) {
            self.set = None;
        }
    }

    fn remove_block(&mut self, index: usize) {
        self.removed[index] = true;
        if self.block == Some(index) {
            self.block = None;
        }
    }
}

fn key<const N: usize>() -> [Opener; N] {
    let key = Rc::new(Key {
        shelf: Mutex::new(Shelf::default()),
        processes: N,
        holders: RefCell::default(),
    });
    core::array::from_fn(|id| Opener { key: Rc::clone(&key), id })
}

/// Opens once more, which succeeds; then there is exactly one of each, and
/// whoever holds a set that is still there holds these two.
fn settle(last: &Opener) {
    let held = last.establish();
    let shelf = last.key.shelf.lock().unwrap();
    assert_eq!((shelf.set, shelf.block), (Some(held.0), Some(held.1)));
    let sets: Vec<_> = (0..shelf.sets.len()).filter(|&at| !shelf.sets[at].removed()).collect();
    let blocks: Vec<_> = (0..shelf.blocks.len()).filter(|&at| !shelf.removed[at]).collect();
    assert_eq!((sets, blocks), (vec![held.0], vec![held.1]), "something is left over");
    for &(set, block) in last.key.holders.borrow().iter() {
        if !shelf.sets[set].removed() {
            assert_eq!((set, block), held, "somebody holds what was removed");
        }
    }
}

/// Two open one name; one of them dies somewhere.
pub(super) fn two_builders(fate: Fate) {
    let [main, other] = key();
    let other = other.spawn(Some(fate));
    let held = main.establish();
    other.join().unwrap();
    settle(&main);
    // Nobody has removed anything that somebody had got.
    for &got in main.key.holders.borrow().iter() {
        assert_eq!(got, held);
    }
}

#[test]
fn a_name_has_one_segment_whoever_dies_building() {
    completely(|| {
        holds_for_every_end("creation, two builders", Some(2), End::Killed, two_builders);
        let lease = Mutant::Model("nobody waits for zero");
        let name = "creation, two builders";
        fails_for_some_end(name, lease, "", Some(2), End::Killed, two_builders);
        fails_for_some_end(name, Mutant::NoUndo, "deadlock", Some(2), End::Killed, two_builders);
    });
}

/// The same, and somebody removes the set or the segment.
fn behind_their_backs(fate: Option<Fate>, set: bool) {
    let [main, other, _] = key();
    let stranger = main.clone();
    let other = other.spawn(fate);
    let stranger = loom::thread::spawn(move || {
        let mut shelf = stranger.key.shelf.lock().unwrap();
        match (shelf.set, shelf.block) {
            (Some(index), _) if set => shelf.remove_set(index),
            (_, Some(index)) if !set => shelf.remove_block(index),
            _ => {}
        }
    });
    main.establish();
    stranger.join().unwrap();
    other.join().unwrap();
    settle(&main);
}

#[test]
fn a_set_may_be_removed_behind_a_builders_back() {
    completely(|| {
        holds("creation, the set is removed", Some(2), || behind_their_backs(None, true));
        let name = "creation, the set is removed and a builder dies";
        holds_for_every_end(name, Some(1), End::Killed, |fate| {
            behind_their_backs(Some(fate), true)
        });
    });
}

#[test]
fn a_segment_may_be_removed_alone() {
    completely(|| {
        holds("creation, the segment is removed", Some(2), || behind_their_backs(None, false));
        let name = "creation, the segment is removed and a builder dies";
        holds_for_every_end(name, Some(1), End::Killed, |fate| {
            behind_their_backs(Some(fate), false)
        });
    });
}

/// One builds, another one finds the segment by its id, without the lease.
pub(super) fn found_by_id(fate: Fate) {
    let [main, builder] = key();
    let builder = builder.spawn(Some(fate));
    main.look_in();
    builder.join().unwrap();
    main.look_in();
    settle(&main);
}

#[test]
fn who_sees_the_magic_sees_everything() {
    completely(|| {
        let name = "creation, found by id";
        holds_for_every_end(name, Some(2), End::Killed, found_by_id);
        let early = Mutant::Model("the magic before the rest");
        fails_for_some_end(name, early, "", Some(2), End::Killed, found_by_id);
        let late = Mutant::Model("the brand after the magic");
        fails_for_some_end(name, late, "without a brand", Some(2), End::Killed, found_by_id);
    });
}
