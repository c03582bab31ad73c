//! Joining, leaving and dying: nobody living is buried, and nobody dead stays.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::death::{self, End, Fate};
use crate::explore::{completely, fails, fails_for_some_end, holds, holds_for_every_end};
use crate::kernel::{Process, System};
use crate::mutant::{self, Mutant};
use crate::ring::kernel::{Kernel, Op, Refusal};
use crate::ring::set::SetMap;
use crate::ring::table::{self, Blind, Member, MemberState, MemberWord, Scratch, Table};
use crate::ring::{credit, lease};
use crate::sync::{AtomicU64, Ordering};

const GENERATION: u64 = 7;
const FIRST: u64 = 1;

struct Town {
    system: Rc<System>,
    map: SetMap,
    words: Vec<AtomicU64>,
    /// The trace of a sweep: the last life that it has swept.
    swept: Vec<AtomicU64>,
    /// Which participants have really died: the model's own knowledge.
    died: RefCell<Vec<Member>>,
}

impl Table for Town {
    fn map(&self) -> SetMap {
        self.map
    }

    fn word(&self, id: u16) -> &AtomicU64 {
        &self.words[usize::from(id)]
    }
}

#[derive(Clone)]
struct Citizen {
    town: Rc<Town>,
    process: Process,
    /// Its incarnation since it last joined.
    introduced: Rc<Cell<Option<Member>>>,
}

/// `P` slots, of which the first `living` are taken by a process each, and
/// some processes more.
fn town<const N: usize>(slots: u16, living: usize) -> [Citizen; N] {
    let map = SetMap { participants: slots, channels: 1, own_bells: false };
    let system = Rc::new(System::new(map.count(), N));
    let word = |id| {
        let state = if id < living { MemberState::Live } else { MemberState::Free };
        AtomicU64::new(MemberWord { state, incarnation: FIRST }.word())
    };
    let town = Rc::new(Town {
        system: Rc::clone(&system),
        map,
        words: (0..usize::from(slots)).map(word).collect(),
        swept: (0..slots).map(|_| AtomicU64::new(0)).collect(),
        died: RefCell::default(),
    });
    let citizens: [Citizen; N] = core::array::from_fn(|id| Citizen {
        town: Rc::clone(&town),
        process: Process { system: Rc::clone(&system), id },
        introduced: Rc::default(),
    });
    citizens[0].process.semop(&SetMap::brand(GENERATION), None).unwrap();
    for (id, citizen) in (0..).zip(&citizens[..living]) {
        citizen.process.semop(&[Op::add(map.liveness(id), 1).undo()], None).unwrap();
        credit::arm(&citizen.process, map.items(0)).unwrap();
    }
    citizens
}

impl Citizen {
    fn join(&self) -> Option<Member> {
        lease::acquire(&self.process, None).unwrap();
        let introduce = |member: Member| {
            self.introduced.set(Some(member));
            // A sweep of the slot's last life has done all that it does.
            let last = Member { id: member.id, incarnation: member.incarnation - 1 };
            if self.town.died.borrow().contains(&last) {
                let swept = self.town.swept[usize::from(member.id)].load(Ordering::Relaxed);
                assert_eq!(swept, last.incarnation, "the slot is free before its sweep is done");
            }
        };
        let joined = table::join(&self.process, &*self.town, introduce).unwrap();
        lease::release(&self.process).unwrap();
        joined
    }

    fn leave(&self, member: Member) {
        table::leave(&self.process, &*self.town, member).unwrap();
    }

    fn look(&self, witness: u16) -> Result<bool, Blind> {
        self.look_with(&mut Scratch::new(self.town.map), witness)
    }

    fn look_with(&self, scratch: &mut Scratch, witness: u16) -> Result<bool, Blind> {
        let bury = |dead: Member, _: &[u16]| {
            assert!(self.town.died.borrow().contains(&dead), "{dead:?} is buried alive");
            self.town.swept[usize::from(dead.id)].store(dead.incarnation, Ordering::Relaxed);
            Ok(())
        };
        table::scan(&self.process, &*self.town, GENERATION, witness, scratch, bury)
    }

    /// Looks, and says up to which stroke of the wake-all semaphore all deaths are known.
    fn listen_as(&self, id: u16) -> u16 {
        let mut scratch = Scratch::new(self.town.map);
        self.look_with(&mut scratch, self.town.map.liveness(id)).unwrap();
        if mutant::has("slots are read once") {
            return scratch.value(SetMap::WAKE_ALL);
        }
        scratch.heard(SetMap::WAKE_ALL)
    }

    fn look_as(&self, id: u16) -> bool {
        self.look(self.town.map.liveness(id)).unwrap()
    }

    /// Dies, as the holder of this slot.
    fn die(&self, member: Member) {
        self.town.died.borrow_mut().push(member);
        self.process.end();
    }

    fn entry(&self, id: u16) -> MemberWord {
        MemberWord::read(self.town.word(id).load(Ordering::Acquire)).unwrap()
    }

    /// After a look, when everybody else has gone: nobody is left but `id`.
    fn alone(&self, id: u16) {
        self.look_as(id);
        for other in 0..self.town.map.participants {
            let state = if other == id { MemberState::Live } else { MemberState::Free };
            assert_eq!(self.entry(other).state, state, "slot {other}");
            let lives = self.town.system.value(self.town.map.liveness(other));
            assert_eq!(lives, u16::from(other == id), "liveness of {other}");
        }
    }
}

const fn member(id: u16) -> Member {
    Member { id, incarnation: FIRST }
}

/// One dies while another one joins; who is woken by that finds it dead.
pub(super) fn death_beside_a_joiner() {
    let [waiter, dying, joining] = town(3, 2);
    let dying = loom::thread::spawn(move || dying.die(member(1)));
    let joining = loom::thread::spawn(move || {
        let liveness = joining.town.map.liveness(1);
        if mutant::has("a joiner tries the living") {
            let probe = [Op::zero(liveness).no_wait(), Op::add(liveness, 1).undo()];
            if joining.process.semop(&probe, None).is_ok() {
                let undo = [Op::take(liveness, 1).undo().no_wait()];
                joining.process.semop(&undo, None).unwrap();
            }
        }
        let joined = joining.join().unwrap();
        joining.leave(joined);
    });
    waiter.process.semop(&[Op::take(waiter.town.map.items(0), 1)], None).unwrap();
    waiter.look_as(0);
    let now = waiter.entry(1);
    let buried = now.state == MemberState::Free || now.incarnation != FIRST;
    assert!(buried, "the dead one was not found");
    dying.join().unwrap();
    joining.join().unwrap();
    waiter.alone(0);
}

#[test]
fn a_joiner_hides_no_death() {
    completely(|| {
        let name = "table, a death beside a joiner";
        holds(name, Some(2), death_beside_a_joiner);
        let probe = Mutant::Model("a joiner tries the living");
        fails(name, probe, "not found", Some(2), death_beside_a_joiner);
    });
}

/// One joins and dies while another one looks, and strikes the wake-all semaphore by that.
fn joins_and_dies_beside_a_look() {
    let [main, joining] = town(2, 1);
    credit::arm(&joining.process, SetMap::WAKE_ALL).unwrap();
    let joining = loom::thread::spawn(move || joining.die(joining.join().unwrap()));
    let heard = main.listen_as(0);
    joining.join().unwrap();
    if main.town.system.value(SetMap::WAKE_ALL) == heard {
        assert_ne!(main.entry(1).state, MemberState::Live, "a death was heard and not found");
    }
}

#[test]
fn no_death_is_heard_and_not_found() {
    let name = "table, joins and dies beside a look";
    completely(|| {
        holds(name, Some(3), joins_and_dies_beside_a_look);
        let once = Mutant::Model("slots are read once");
        fails(name, once, "not found", Some(3), joins_and_dies_beside_a_look);
    });
}

/// One is stopped while it leaves; another one joins, and dies.
pub(super) fn joiner_dies_beside_a_leaver(fate: Fate) {
    let [main, leaving, joining] = town(2, 2);
    let leaving = loom::thread::spawn(move || {
        death::mortal_with(|| {}, Some(fate), || leaving.leave(member(1)));
    });
    let joining = loom::thread::spawn(move || {
        let joined = joining.join();
        if let Some(joined) = joined {
            joining.die(joined);
        }
        joined
    });
    main.look_as(0);
    leaving.join().unwrap();
    let joined = joining.join().unwrap();
    main.look_as(0);
    if joined.is_some() {
        assert_eq!(main.entry(1).state, MemberState::Free, "the dead one seems to live");
    }
}

#[test]
fn a_leaver_lends_nobody_its_life() {
    completely(|| {
        let name = "table, a joiner dies beside a leaver";
        holds_for_every_end(name, Some(2), End::Stopped, joiner_dies_beside_a_leaver);
        let hasty = Mutant::Model("nobody waits for zero");
        let how = "seems to live";
        fails_for_some_end(name, hasty, how, Some(2), End::Stopped, joiner_dies_beside_a_leaver);
    });
}

/// One joins and leaves, and dies somewhere; another one joins meanwhile.
pub(super) fn comes_and_goes(fate: Fate) {
    let [main, mortal, other] = town(3, 1);
    let mortal = loom::thread::spawn(move || {
        let end = || match mortal.introduced.get() {
            Some(member) if member.is_live(&*mortal.town) => mortal.die(member),
            // Not yet, or no longer.
            _ => mortal.process.end(),
        };
        death::mortal_with(end, Some(fate), || mortal.leave(mortal.join().unwrap()));
    });
    let other = loom::thread::spawn(move || {
        let member = other.join().unwrap();
        assert!(member.is_live(&*other.town), "somebody has taken this slot");
        let liveness = other.town.system.value(other.town.map.liveness(member.id));
        assert_eq!(liveness, 1, "somebody else is in this slot");
        other.leave(member);
    });
    main.look_as(0);
    mortal.join().unwrap();
    other.join().unwrap();
    main.alone(0);
}

#[test]
fn who_dies_joining_or_leaving_leaves_a_free_slot() {
    completely(|| {
        holds_for_every_end("table, comes and goes", Some(1), End::Killed, comes_and_goes);
    });
}

/// Somebody has died; two look, one of whom dies over it; the slot has its
/// next life.
pub(super) fn two_look(fate: Fate) {
    let [main, dead, looking, joining] = town(3, 3);
    dead.die(member(1));
    let town = Rc::clone(&main.town);
    let looking = loom::thread::spawn(move || {
        let end = || looking.die(member(2));
        death::mortal_with(end, Some(fate), || looking.look_as(2));
        // Alive or not, it has gone at the end.
        if !looking.town.died.borrow().contains(&member(2)) {
            looking.die(member(2));
        }
    });
    let joining = loom::thread::spawn(move || {
        let joined = joining.join();
        if let Some(joined) = joined {
            assert!(joined.incarnation > FIRST);
            assert!(joined.is_live(&*joining.town), "buried alive");
            joining.leave(joined);
        }
    });
    main.look_as(0);
    let now = MemberWord::read(town.word(1).load(Ordering::Acquire)).unwrap();
    let buried = now.state == MemberState::Free || now.incarnation > FIRST;
    assert!(buried, "the dead one was not buried");
    looking.join().unwrap();
    joining.join().unwrap();
    main.alone(0);
}

#[test]
fn two_looks_bury_the_dead_and_nobody_else() {
    completely(|| {
        holds_for_every_end("table, two look", Some(1), End::Killed, two_look);
    });
}

/// A process that is not in the set that it reads, or reads another one, sees nobody
/// dead in it.
#[test]
fn a_stranger_sees_nobody_die() {
    completely(|| {
        holds("table, a stranger", Some(2), || {
            let [main, dead, stranger] = town(2, 2);
            dead.die(member(1));
            let looking = loom::thread::spawn(move || {
                let map = stranger.town.map;
                assert_eq!(stranger.look(SetMap::LEASE), Err(Blind::NotMember));
                let mut scratch = Scratch::new(map);
                let bury =
                    |_: Member, _: &[u16]| -> Result<(), Refusal> { panic!("nobody to bury") };
                let (process, town) = (&stranger.process, &*stranger.town);
                let witness = map.liveness(0);
                let seen = table::scan(process, town, GENERATION + 1, witness, &mut scratch, bury);
                assert_eq!(seen, Err(Blind::NotMember));
            });
            main.look_as(0);
            looking.join().unwrap();
            main.alone(0);
        });
    });
}
