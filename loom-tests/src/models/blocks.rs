//! Blocks and the ring of many, as a channel of bytes uses them: each block
//! is free, or one owner's, or one message's; whoever dies.
//!
//! The order of steps is that of `src/kinds/mpmc_bytes/mod.rs`, the sweep's that
//! of `recover` in `src/kinds/mpmc_bytes/recover.rs`. There is no kernel here, as in the ring's own models.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use loom::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};

use crate::death::{self, End, Fate};
use crate::explore::{completely, fails, fails_for_some_end, holds, holds_for_every_end};
use crate::mutant::{self, Mutant};
use crate::ring::blocks::{self, Blocks};
use crate::ring::mpmc::{self, Cursor, Dead, Refused, SlotState as Slot, SlotWord, Taken, Words};
use crate::ring::recovery::Repairing;
use crate::ring::set::SetMap;
use crate::ring::table::{Member, MemberState, MemberWord, Table};
use crate::sync::AtomicU64;
use crate::world::{Ring, settled};

const FIRST: u64 = 1;

/// A channel of bytes, the table's words, and what the model itself knows.
struct Scene {
    ring: Ring,
    /// The block that each slot names.
    labels: Vec<AtomicU64>,
    blocks: Vec<AtomicU64>,
    /// The content of each block: the message, and its length in the label too.
    bytes: Vec<loom::cell::Cell<u64>>,
    words: Vec<AtomicU64>,
    published: RefCell<Vec<u64>>,
    consumed: RefCell<Vec<u64>>,
    dropped: Cell<u64>,
    /// A sweep died that may have dropped a message.
    uncounted: Cell<bool>,
}

impl Table for Scene {
    fn map(&self) -> SetMap {
        SetMap { participants: self.words.len() as u16, channels: 1, own_bells: false }
    }

    fn word(&self, id: u16) -> &AtomicU64 {
        &self.words[usize::from(id)]
    }
}

impl Blocks for Scene {
    fn count(&self) -> u64 {
        self.blocks.len() as u64
    }

    fn block(&self, index: u64) -> &AtomicU64 {
        &self.blocks[index as usize]
    }
}

const fn word(state: MemberState, incarnation: u64) -> u64 {
    MemberWord { state, incarnation }.word()
}

/// The owner of a block, if it has one.
const fn owner(block: u64) -> Option<u16> {
    if block >> 13 & 1 == 1 { Some(block as u16 & 0x1FFF) } else { None }
}

/// One who is at the channel.
struct At<'a> {
    scene: &'a Scene,
    owner: u16,
    sends: Cell<Cursor>,
    receives: Cell<Cursor>,
    hint: Cell<u64>,
}

/// A message in somebody's hands: `Reading`.
struct Delivery {
    slot: Taken,
    block: u64,
    message: u64,
}

impl Scene {
    /// As many blocks as slots.
    fn new(capacity: usize, participants: usize) -> Rc<Self> {
        let live = word(MemberState::Live, FIRST);
        let words = |count: usize, word: u64| (0..count).map(|_| AtomicU64::new(word)).collect();
        Rc::new(Self {
            ring: Ring::new(capacity),
            labels: words(capacity, 0),
            blocks: words(capacity, 0),
            bytes: (0..capacity).map(|_| loom::cell::Cell::new(0)).collect(),
            words: words(participants, live),
            published: RefCell::default(),
            consumed: RefCell::default(),
            dropped: Cell::new(0),
            uncounted: Cell::new(false),
        })
    }

    fn at(&self, owner: u16) -> At<'_> {
        At {
            scene: self,
            owner,
            sends: Cell::new(Cursor::producer(&self.ring)),
            receives: Cell::new(Cursor::consumer(&self.ring)),
            hint: Cell::new(0),
        }
    }

    /// `BlockSlots::named`.
    fn named(&self, slot: u64) -> Option<(u64, u64)> {
        let label = self.labels[slot as usize].load(Relaxed);
        let (block, message) = (label & u64::from(u32::MAX), label >> 32);
        (block < self.count()).then_some((block, message))
    }

    /// `BlockSlots::all_named`, and how often.
    fn all_named(&self) -> Vec<u64> {
        let mut named = vec![0; self.blocks.len()];
        for slot in 0..self.ring.capacity() {
            let state = SlotWord(self.ring.slot(slot).load(Acquire));
            if matches!(state.state(), Some(Slot::Full | Slot::Reading | Slot::Orphan))
                && let Some((block, _)) = self.named(slot)
            {
                named[block as usize] += 1;
            }
        }
        named
    }

    /// The part of a look for a participant that the kernel says has ended.
    fn mark(&self, id: u16) {
        let (live, dead) = (word(MemberState::Live, FIRST), word(MemberState::Dead, FIRST));
        self.word(id).compare_exchange(live, dead, AcqRel, Acquire).unwrap();
    }

    /// The next life of `id`, if its last one has been swept.
    fn revive(&self, id: u16) -> bool {
        let (free, live) = (word(MemberState::Free, FIRST), word(MemberState::Live, FIRST + 1));
        self.word(id).compare_exchange(free, live, AcqRel, Acquire).is_ok()
    }

    /// `Mapped::recover`, if `id` is dead; its slot of the table is free then.
    /// How many blocks it freed.
    fn sweep(&self, id: u16, attempts: u8) -> u64 {
        let dead = Member { id, incarnation: FIRST };
        if !dead.is_dead(self) {
            return 0;
        }
        let still_dead = || dead.is_dead(self);
        let let_go = |slot: u64, state: SlotWord| {
            let still_read = || {
                mutant::has("assigned to the dead whoever reads it")
                    || self.ring.slot(slot).load(Acquire) == state.0 && still_dead()
            };
            if !mutant::has("no assign_to_dead")
                && let Some((block, _)) = self.named(slot)
            {
                blocks::assign_to_dead(self, block, id, still_read);
            }
        };
        let Ok(done) = mpmc::recover(
            &self.ring,
            Dead { owner: id, attempts, committed: 0 },
            &Repairing(still_dead),
            let_go,
        ) else {
            return 0;
        };
        self.dropped.set(self.dropped.get() + done.dropped);
        let named = self.all_named();
        let named = |block: u64| !mutant::has("named or not") && named[block as usize] != 0;
        let still_dead = || mutant::has("whose blocks were a dead one's still are") || still_dead();
        let freed = blocks::recover(self, id, named, &Repairing(still_dead));
        let (dead, free) = (word(MemberState::Dead, FIRST), word(MemberState::Free, FIRST));
        let _ = self.word(id).compare_exchange(dead, free, AcqRel, Acquire);
        freed
    }

    /// One life, which may end before its time.
    fn live(&self, id: u16, fate: Fate, life: impl FnOnce()) {
        if death::mortal_with(|| {}, Some(fate), life).is_none() {
            self.mark(id);
        }
    }

    /// When everybody has gone: each block is free or one message's; and once
    /// those have been taken, the channel does what a new one does.
    fn settle(&self, id: u16) {
        for (block, &named) in self.all_named().iter().enumerate() {
            let has = owner(self.blocks[block].load(Acquire));
            assert_eq!(u64::from(has.is_some()), named, "block {block} is {has:?}'s");
        }
        let at = self.at(id);
        while at.receive() {}
        assert_eq!(mpmc::take(&self.ring, &at.receives, id).unwrap_err(), Refused::None);
        assert!(!mpmc::in_flight(&self.ring), "a slot stays with the dead");
        let (consumed, published) = (self.consumed.take(), self.published.take());
        assert!(consumed.iter().all(|message| published.contains(message)), "never sent");
        let gone = published.len() - consumed.len();
        assert!(gone as u64 == self.dropped.get() || self.uncounted.get(), "{gone} are lost");
        let capacity = self.ring.capacity();
        (1..=capacity).for_each(|message| assert!(at.send(message), "room is lost"));
        assert!(!at.send(capacity + 1));
        (0..capacity).for_each(|_| assert!(at.receive()));
        assert_eq!(*self.consumed.borrow(), (1..=capacity).collect::<Vec<_>>());
    }
}

impl At<'_> {
    fn reserve(&self) -> Option<u64> {
        let mut hint = self.hint.get();
        let block = blocks::allocate(self.scene, &mut hint, self.owner);
        self.hint.set(hint);
        block
    }

    fn commit(&self, block: u64, message: u64) -> bool {
        let scene = self.scene;
        scene.bytes[block as usize].set(message);
        let Ok(slot) = settled(|| mpmc::claim(&scene.ring, &self.sends, self.owner)) else {
            return false;
        };
        scene.labels[slot.index as usize].store(message << 32 | block, Relaxed);
        assert_eq!(scene.bytes[block as usize].get(), message, "another one's block");
        mpmc::publish(&scene.ring, slot);
        scene.published.borrow_mut().push(message);
        true
    }

    fn send(&self, message: u64) -> bool {
        let Some(block) = self.reserve() else { return false };
        let sent = self.commit(block, message);
        if !sent {
            blocks::free(self.scene, block);
        }
        sent
    }

    fn take(&self) -> Option<Delivery> {
        let scene = self.scene;
        let slot = settled(|| mpmc::take(&scene.ring, &self.receives, self.owner)).ok()?;
        let (block, message) = scene.named(slot.index).unwrap();
        let mine = mutant::has("no adopt") || blocks::adopt(scene, block, self.owner);
        assert!(mine, "a block that is free is named");
        assert_eq!(scene.bytes[block as usize].get(), message, "torn");
        Some(Delivery { slot, block, message })
    }

    fn release(&self, Delivery { slot, block, message }: Delivery) {
        let scene = self.scene;
        assert_eq!(scene.bytes[block as usize].get(), message, "torn while it is read");
        let early = mutant::has("freed before it is released");
        if early {
            blocks::free(scene, block);
        }
        mpmc::release(&scene.ring, slot);
        let mut consumed = scene.consumed.borrow_mut();
        assert!(!consumed.contains(&message), "{message} comes twice");
        consumed.push(message);
        drop(consumed);
        if !early {
            blocks::free(scene, block);
        }
    }

    fn receive(&self) -> bool {
        self.take().map(|delivery| self.release(delivery)).is_some()
    }
}

fn spawn(scene: &Rc<Scene>, what: impl FnOnce(&Scene) + 'static) -> loom::thread::JoinHandle<()> {
    let scene = Rc::clone(scene);
    loom::thread::spawn(move || what(&scene))
}

/// Senders that send, while one receives.
fn crowd(capacity: usize, senders: u16, sends: u64, receives: usize) {
    let scene = Scene::new(capacity, usize::from(senders) + 1);
    let sending: Vec<_> = (0..senders)
        .map(|id| {
            spawn(&scene, move |scene| {
                let at = scene.at(id);
                let _ = (1..=sends).all(|n| at.send(10 * u64::from(id) + n));
            })
        })
        .collect();
    let at = scene.at(senders);
    let mut last = [0; 10];
    for _ in 0..receives {
        let Some(delivery) = at.take() else { break };
        let last = &mut last[delivery.message as usize / 10];
        assert!(*last < delivery.message, "{} after {last}", delivery.message);
        *last = delivery.message;
        at.release(delivery);
    }
    sending.into_iter().for_each(|thread| thread.join().unwrap());
    scene.settle(senders);
}

/// The only block goes back and forth.
pub(super) fn one_and_one() {
    crowd(1, 1, 2, 2);
}

#[test]
fn a_block_is_one_owners() {
    completely(|| {
        holds("blocks, one block", Some(3), one_and_one);
        holds("blocks, two blocks", Some(2), || crowd(2, 1, 3, 3));
        holds("blocks, two senders", Some(1), || crowd(2, 2, 1, 2));
    });
}

/// A sender dies somewhere, while another one sends, sweeps and receives.
fn sender_dies(fate: Fate) {
    let scene = Scene::new(2, 2);
    let dying = spawn(&scene, move |scene| {
        scene.live(0, fate, || {
            let at = scene.at(0);
            let _ = at.send(1) && at.send(2);
        });
    });
    let at = scene.at(1);
    at.send(11);
    scene.sweep(0, 1);
    at.receive();
    dying.join().unwrap();
    scene.sweep(0, 1);
    scene.settle(1);
}

/// The same with a receiver of its own, and one block.
fn sender_dies_of_one_block(fate: Fate) {
    let scene = Scene::new(1, 3);
    let dying = spawn(&scene, move |scene| {
        scene.live(0, fate, || {
            scene.at(0).send(1);
        });
    });
    let receiving = spawn(&scene, |scene| {
        scene.at(2).receive();
    });
    scene.sweep(0, 1);
    scene.at(1).send(11);
    dying.join().unwrap();
    receiving.join().unwrap();
    scene.sweep(0, 1);
    scene.settle(1);
}

/// One reserves and aborts somewhere, or finds no place in the order.
fn abort(fate: Fate) {
    let scene = Scene::new(2, 2);
    // Its position is in the way of the third message.
    let at = scene.at(1);
    let _ = at.send(11) && at.send(12);
    let oldest = at.take().unwrap();
    at.receive();
    let aborting = spawn(&scene, move |scene| {
        scene.live(0, fate, || {
            let at = scene.at(0);
            at.reserve().into_iter().for_each(|block| blocks::free(scene, block));
            at.send(1);
        });
    });
    at.send(13);
    scene.sweep(0, 1);
    at.release(oldest);
    aborting.join().unwrap();
    scene.sweep(0, 1);
    scene.settle(1);
}

#[test]
fn a_dead_senders_block_is_free_or_its_messages() {
    completely(|| {
        const KILLED: End = End::Killed;
        holds_for_every_end("blocks, a sender dies", Some(1), KILLED, sender_dies);
        let name = "blocks, a sender of one block dies";
        holds_for_every_end(name, Some(1), KILLED, sender_dies_of_one_block);
        holds_for_every_end("blocks, one aborts, or dies", Some(1), KILLED, abort);
        let named = Mutant::Model("named or not");
        let name = "blocks, a sender dies";
        fails_for_some_end(name, named, "free is named", Some(1), KILLED, sender_dies);
    });
}

/// A receiver dies somewhere, while another one sweeps and sends.
fn receiver_dies(fate: Fate, capacity: usize, attempts: u8) {
    let scene = Scene::new(capacity, 2);
    let at = scene.at(1);
    let _ = at.send(11) && at.send(12);
    let dying = spawn(&scene, move |scene| {
        scene.live(0, fate, || {
            scene.at(0).receive();
        });
    });
    scene.sweep(0, attempts);
    at.send(13);
    dying.join().unwrap();
    scene.sweep(0, attempts);
    assert!(scene.dropped.get() == 0 || attempts == 0);
    scene.settle(1);
}

fn receiver_dies_once(fate: Fate) {
    receiver_dies(fate, 2, 1);
}

fn receiver_dies_for_good(fate: Fate) {
    receiver_dies(fate, 2, 0);
}

/// The sender is dead already, and maybe swept, when its reader dies.
fn both_die(fate: Fate, attempts: u8) {
    let scene = Scene::new(1, 3);
    scene.at(0).send(1);
    scene.mark(0);
    let dying = spawn(&scene, move |scene| {
        scene.live(1, fate, || {
            scene.at(1).receive();
        });
    });
    scene.sweep(0, attempts);
    scene.sweep(1, attempts);
    scene.at(2).receive();
    dying.join().unwrap();
    scene.sweep(1, attempts);
    scene.settle(2);
}

fn both_die_once(fate: Fate) {
    both_die(fate, 1);
}

fn both_die_for_good(fate: Fate) {
    both_die(fate, 0);
}

/// A message that one receiver gives back, or dies over, goes to another one.
fn given_back(fate: Fate) {
    let scene = Scene::new(1, 2);
    scene.at(1).send(11);
    let giving = spawn(&scene, move |scene| {
        scene.live(0, fate, || {
            let at = scene.at(0);
            if let Some(delivery) = at.take() {
                mpmc::give_back(&scene.ring, delivery.slot);
            }
        });
    });
    let at = scene.at(1);
    scene.sweep(0, 2);
    at.receive();
    at.send(12);
    giving.join().unwrap();
    scene.sweep(0, 2);
    scene.settle(1);
}

#[test]
fn a_dead_receivers_block_is_free_or_comes_again() {
    completely(|| {
        const KILLED: End = End::Killed;
        let name = "blocks, a receiver dies";
        holds_for_every_end(name, Some(2), KILLED, receiver_dies_once);
        for (mutant, how) in [("freed before it is released", "block "), ("no adopt", "block ")] {
            let mutant = Mutant::Model(mutant);
            fails_for_some_end(name, mutant, how, Some(1), KILLED, receiver_dies_once);
        }
    });
}

#[test]
fn a_dropped_messages_block_is_free() {
    completely(|| {
        const KILLED: End = End::Killed;
        let name = "blocks, a receiver dies for good";
        holds_for_every_end(name, Some(2), KILLED, receiver_dies_for_good);
        let mutant = Mutant::Model("no assign_to_dead");
        fails_for_some_end(name, mutant, "block ", Some(1), KILLED, receiver_dies_for_good);
    });
}

#[test]
fn a_block_outlives_its_sender_and_its_reader() {
    completely(|| {
        const KILLED: End = End::Killed;
        holds_for_every_end("blocks, both die", Some(1), KILLED, both_die_once);
        holds_for_every_end("blocks, both die for good", Some(1), KILLED, both_die_for_good);
        holds_for_every_end("blocks, given back", Some(1), KILLED, given_back);
        let named = Mutant::Model("named or not");
        let name = "blocks, both die";
        fails_for_some_end(name, named, "free is named", Some(1), KILLED, both_die_once);
    });
}

/// A reader died over a message for the last time. One sweeper is slow;
/// another one is done, and the block is a sender's, who may never commit.
pub(super) fn dropped_by_two() {
    let scene = Scene::new(1, 2);
    scene.at(1).send(11);
    let _ = mpmc::take(&scene.ring, &scene.at(0).receives, 0).unwrap();
    scene.mark(0);
    let slow = spawn(&scene, |scene| {
        scene.sweep(0, 0);
    });
    scene.sweep(0, 0);
    let at = scene.at(1);
    let block = at.reserve();
    slow.join().unwrap();
    assert_eq!(scene.dropped.get(), 1);
    if let Some(block) = block {
        let owner = owner(scene.blocks[0].load(Acquire));
        assert_eq!(owner, Some(1), "the sender was robbed of its block");
        assert!(at.commit(block, 12));
    }
    scene.settle(1);
}

/// The same; a sweeper dies somewhere, and another one goes on.
fn sweeper_dies(fate: Fate, adopted: bool) {
    let scene = Scene::new(1, 2);
    scene.at(1).send(11);
    let at = scene.at(0);
    if adopted {
        let _ = at.take();
    } else {
        let _ = mpmc::take(&scene.ring, &at.receives, 0).unwrap();
    }
    scene.mark(0);
    scene.uncounted.set(true);
    let dying = spawn(&scene, move |scene| {
        let life = || scene.sweep(0, 0);
        let _ = death::mortal_with(|| {}, Some(fate), life);
    });
    scene.sweep(0, 0);
    scene.at(1).send(12);
    dying.join().unwrap();
    scene.settle(1);
}

fn sweeper_of_what_was_taken_dies(fate: Fate) {
    sweeper_dies(fate, false);
}

fn sweeper_of_what_was_adopted_dies(fate: Fate) {
    sweeper_dies(fate, true);
}

#[test]
fn a_dropped_messages_block_is_free_once() {
    completely(|| {
        holds("blocks, dropped by two", Some(2), dropped_by_two);
        let mutant = Mutant::Model("assigned to the dead whoever reads it");
        fails("blocks, dropped by two", mutant, "robbed", Some(2), dropped_by_two);
        let name = "blocks, a sweeper dies before it is adopted";
        holds_for_every_end(name, Some(2), End::Killed, sweeper_of_what_was_taken_dies);
        let name = "blocks, a sweeper dies";
        holds_for_every_end(name, Some(1), End::Killed, sweeper_of_what_was_adopted_dies);
    });
}

/// Somebody died with a block. One sweeper is slow; another one is done with
/// it, and the id has a next life, which sends.
pub(super) fn id_is_used_again() {
    let scene = Scene::new(1, 2);
    scene.at(0).reserve().unwrap();
    scene.mark(0);
    let freed = Rc::new(Cell::new(0));
    let slowly = Rc::clone(&freed);
    let slow = spawn(&scene, move |scene| slowly.set(scene.sweep(0, 1)));
    let first = scene.sweep(0, 1);
    if scene.revive(0) {
        assert!(scene.at(0).send(1));
    }
    slow.join().unwrap();
    assert_eq!(first + freed.get(), 1, "the next life was robbed of its block");
    scene.settle(1);
}

/// Somebody died with nothing. The next life receives what another one sends.
pub(super) fn next_life_receives() {
    let scene = Scene::new(1, 2);
    let at = scene.at(1);
    let block = at.reserve().unwrap();
    scene.mark(0);
    let slow = spawn(&scene, |scene| assert_eq!(scene.sweep(0, 1), 0, "robbed of its block"));
    let sending = spawn(&scene, move |scene| assert!(scene.at(1).commit(block, 1)));
    scene.sweep(0, 1);
    if scene.revive(0) {
        scene.at(0).receive();
    }
    slow.join().unwrap();
    sending.join().unwrap();
    scene.settle(1);
}

/// A dead reader had looked at the bytes; the block is written again.
pub(super) fn read_and_reused() {
    let scene = Scene::new(1, 2);
    scene.at(1).send(11);
    let dying = spawn(&scene, |scene| {
        let _ = scene.at(0).take();
        scene.mark(0);
        scene.sweep(0, 0);
    });
    scene.at(1).send(12);
    dying.join().unwrap();
    scene.settle(1);
}

#[test]
fn a_slow_sweep_does_not_rob_the_next_life() {
    completely(|| {
        holds("blocks, an id is used again", Some(2), id_is_used_again);
        holds("blocks, the next life receives", Some(1), next_life_receives);
        holds("blocks, read and reused", Some(2), read_and_reused);
        let still = Mutant::Model("whose blocks were a dead one's still are");
        fails("blocks, an id is used again", still, "robbed", Some(2), id_is_used_again);
    });
}
