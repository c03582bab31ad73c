//! Blocks that slots name: none is lost to the dead, and none is two
//! messages' at once.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::checker::{self, thread};
use crate::death;
use crate::explore::{any, fails, holds, some_death};
use crate::mutant;
use crate::ring::blocks::{self, Blocks};
use crate::ring::mpmc::{self, Cursor, Dead, SlotWord, Words};
use crate::ring::recovery::Repairing;
use crate::sync::{AtomicU64, Ordering::SeqCst};
use crate::world::{Ring, settled};

const ATTEMPTS: u8 = 1;

/// The cell of a slot is the number of a block; what is in a block is said
/// in `bytes`.
struct BlockSlots {
    ring: Ring,
    blocks: Vec<AtomicU64>,
    bytes: Vec<checker::Cell<u64>>,
    dead: Vec<AtomicU64>,
    consumed: RefCell<Vec<u64>>,
}

impl Blocks for BlockSlots {
    fn count(&self) -> u64 {
        self.blocks.len() as u64
    }

    fn block(&self, index: u64) -> &AtomicU64 {
        &self.blocks[index as usize]
    }
}

impl BlockSlots {
    fn new(capacity: usize, ids: usize) -> Rc<Self> {
        let words = |count: usize| (0..count).map(|_| AtomicU64::new(0)).collect();
        Rc::new(Self {
            ring: Ring::new(capacity),
            blocks: words(capacity),
            bytes: (0..capacity).map(|_| checker::Cell::new(0)).collect(),
            dead: words(ids),
            consumed: RefCell::default(),
        })
    }

    /// As `push` in `src/kinds/mpmc_bytes/mod.rs`.
    fn push(&self, cursor: &Cell<Cursor>, hint: &mut u64, id: u16, message: u64) {
        let Some(block) = blocks::allocate(self, hint, id) else { return };
        self.bytes[block as usize].set(message);
        match settled(|| mpmc::claim(&self.ring, cursor, id)) {
            Ok(slot) => {
                self.ring.cell(slot.index).set(block);
                mpmc::publish(&self.ring, slot);
            }
            Err(_) => blocks::free(self, block),
        }
    }

    /// As `take` and `release` in `src/kinds/mpmc_bytes/mod.rs`.
    fn pop(&self, cursor: &Cell<Cursor>, id: u16) -> bool {
        let Ok(slot) = settled(|| mpmc::take(&self.ring, cursor, id)) else { return false };
        let block = self.ring.cell(slot.index).get();
        assert!(blocks::adopt(self, block, id), "its block was free");
        let message = self.bytes[block as usize].get();
        if mutant::has("the block is freed before its slot") {
            blocks::free(self, block);
            mpmc::release(&self.ring, slot);
        } else {
            mpmc::release(&self.ring, slot);
            blocks::free(self, block);
        }
        let mut consumed = self.consumed.borrow_mut();
        assert!(!consumed.contains(&message), "{message} comes twice");
        consumed.push(message);
        true
    }

    /// As `Mapped::recover`.
    fn sweep(&self) {
        for id in 0..self.dead.len() as u16 {
            let still_dead = || self.dead[usize::from(id)].load(SeqCst) == 1;
            if !still_dead() {
                continue;
            }
            let let_go = |slot: u64, state: SlotWord| {
                let still_read = || self.ring.slot(slot).load(SeqCst) == state.0;
                let block = self.ring.cell(slot).get();
                blocks::assign_to_dead(self, block, id, still_read);
            };
            mpmc::recover(
                &self.ring,
                Dead { owner: id, attempts: ATTEMPTS, committed: 0 },
                &Repairing(still_dead),
                let_go,
            )
            .unwrap();
            let named: Vec<u64> = (0..self.ring.capacity())
                .filter(|&slot| {
                    let phase = SlotWord(self.ring.slot(slot).load(SeqCst)).state();
                    use mpmc::SlotState::{Full, Orphan, Reading};
                    matches!(phase, Some(Full | Reading | Orphan))
                })
                .map(|slot| self.ring.cell(slot).get())
                .collect();
            blocks::recover(self, id, |block| named.contains(&block), &Repairing(still_dead));
        }
    }
}

/// Two that write and two that read, all mortal, and two that sweep.
fn block_slots() {
    let scene = BlockSlots::new(2 + any(3), 5);
    let mut threads = Vec::new();
    for id in 0..4_u16 {
        let scene = Rc::clone(&scene);
        threads.push(thread::spawn(move || {
            let life = || {
                let mut hint = 0;
                let producer = Cell::new(Cursor::producer(&scene.ring));
                let consumer = Cell::new(Cursor::consumer(&scene.ring));
                for n in 1..4 {
                    if id < 2 {
                        scene.push(&producer, &mut hint, id, u64::from(id) << 32 | n);
                    } else {
                        scene.pop(&consumer, id);
                    }
                }
            };
            if death::mortal_with(|| {}, some_death(60), life).is_none() {
                scene.dead[usize::from(id)].store(1, SeqCst);
                scene.sweep();
            }
        }));
    }
    for _ in 0..2 {
        let scene = Rc::clone(&scene);
        threads.push(thread::spawn(move || (0..2).for_each(|_| scene.sweep())));
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    scene.sweep();
    let cursor = Cell::new(Cursor::consumer(&scene.ring));
    while scene.pop(&cursor, 4) {}
    let mut hint = 0;
    for _ in 0..scene.count() {
        assert!(blocks::allocate(&*scene, &mut hint, 4).is_some(), "a block is lost");
    }
}

#[test]
fn no_block_is_lost_to_the_dead() {
    holds("blocks, four die", block_slots);
    fails("blocks, four die", "the block is freed before its slot", "", block_slots);
}
