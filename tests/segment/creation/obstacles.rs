//! The remains of a dead creator, or of anybody else, on the keys of a name.

use super::*;

/// The name of an obstacle, and how to make it.
type Remains = (&'static str, fn(&Name));

/// The remains of a dead creator, made by hand.
fn remains() -> Vec<Remains> {
    fn set(name: &Name, count: usize) -> Set {
        Set::options().exclusive(true).create(name.key(0), count).unwrap()
    }
    fn shm(name: &Name) -> Words {
        Words::of(Shm::options().exclusive(true).create(name.key(0), SOME_SIZE).unwrap())
    }
    /// BUILT, four digits and the check of generation 0.
    fn brand(set: Set) {
        let ops: Vec<Op> = (1..=6).map(|index| Op::add(index, 1)).collect();
        set.perform(&ops).unwrap();
    }
    vec![
        ("nothing", |_| {}),
        ("a set", |name| _ = set(name, SMALL_SET)),
        ("a set of another shape", |name| _ = set(name, SMALL_SET + 32)),
        ("a set and a segment", |name| {
            set(name, SMALL_SET);
            shm(name);
        }),
        ("a nonce and no magic", |name| {
            set(name, SMALL_SET);
            shm(name).put(word::NONCE, 77);
        }),
        ("a marked set and no magic", |name| {
            brand(set(name, SMALL_SET));
            shm(name).put(word::NONCE, 77);
        }),
        ("a marked set alone", |name| {
            brand(set(name, SMALL_SET));
        }),
        ("magic, and a set that is not its own", |name| {
            set(name, SMALL_SET);
            let words = shm(name);
            words.put(word::NONCE, 77);
            words.put(word::MAGIC, MAGIC);
        }),
        ("a segment and no set", |name| drop(shm(name))),
        ("a complete segment without its set", |name| {
            works(name);
            name.set(0).unwrap().remove().unwrap();
        }),
        ("a complete set without its segment", |name| {
            works(name);
            name.shm(0).unwrap().remove().unwrap();
        }),
        ("a complete segment without magic", |name| {
            works(name);
            name.words().put(word::MAGIC, 0);
        }),
        ("a complete segment of another set", |name| {
            works(name);
            name.words().put(word::SET, 1 << 40);
        }),
    ]
}

#[test]
fn whatever_a_dead_creator_left_is_cleared_away() {
    for (what, leave) in remains() {
        for exclusive in [false, true] {
            let name = Name::new();
            leave(&name);
            if exclusive {
                drop(small().create(&name).unwrap_or_else(|error| panic!("{what}: {error}")));
            }
            works(&name);
            assert_eq!(name.objects(), (1, 1), "{what}");
            assert!(matches!(small().create(&name), Err(OpenError::Exists { .. })), "{what}");
        }
    }
}

#[test]
fn what_a_dead_creator_left_is_no_segment() {
    for (what, leave) in remains() {
        let name = Name::new();
        leave(&name);
        let error = small().open(&name).unwrap_err();
        assert!(
            matches!(&error, OpenError::NotFound { name: n } if *n == *name),
            "{what}: {error}"
        );
        works(&name);
    }
}

#[test]
fn removing_a_name_removes_what_a_dead_creator_left() {
    for (what, leave) in remains() {
        let name = Name::new();
        leave(&name);
        // Whether or not there was anything to find, nothing is left.
        match Segment::remove_named(&name) {
            Ok(()) | Err(OpenError::NotFound { .. }) => {}
            Err(error) => panic!("{what}: {error}"),
        }
        assert_eq!(name.objects(), (0, 0), "{what}");
    }
}

/// A segment of another program on one of a name's keys.
pub(super) struct Foreign {
    pub(super) shm: Owned<Shm>,
    words: Words,
    before: Vec<u64>,
}

impl Foreign {
    pub(super) fn on(key: Key) -> Foreign {
        let shm = Owned(Shm::options().exclusive(true).create(key, 4_096).unwrap());
        let words = Words::of(*shm);
        for n in 0..words.len() {
            words.put(n, n as u64 * 0x0101_0101_0101);
        }
        let before = words.copy();
        Foreign { shm, words, before }
    }

    #[track_caller]
    pub(super) fn is_untouched(&self, key: Key) {
        assert_eq!(self.words.copy(), self.before);
        let stat = self.shm.stat().unwrap();
        assert_eq!((stat.key, stat.attached, stat.size), (key, 1, 4_096));
        // Not attached, not even for a moment.
        assert_eq!(stat.last_pid.unsigned_abs(), proc::pid());
        assert!(!stat.marked_for_removal);
    }
}

#[test]
fn a_foreign_segment_on_the_key_stays_as_it_is_and_the_name_still_works() {
    let name = Name::new();
    let foreign = Foreign::on(name.key(0));
    works(&name);
    let peer = opener(&name);
    let id = Segment::open(&name).unwrap().id();
    peer.expect(&id.to_string());
    assert_eq!(name.shm(1).unwrap().id(), id);
    assert!(matches!(small().create(&name), Err(OpenError::Exists { .. })));
    // No set of ours beside the foreigner's segment.
    assert!(name.set(0).is_none());
    Segment::remove_named(&name).unwrap();
    assert_eq!(name.objects(), (1, 0));
    assert!(matches!(Segment::remove_named(&name), Err(OpenError::NotFound { .. })));
    foreign.is_untouched(name.key(0));
}

#[test]
fn a_foreign_set_on_the_key_stays_as_it_is_and_the_name_still_works() {
    for count in [1, 5, 12, 14, 250] {
        let name = Name::new();
        let set = Owned(Set::options().exclusive(true).create(name.key(0), count).unwrap());
        let before = set.stat().unwrap();
        works(&name);
        assert_eq!(name.objects(), (1, 2));
        Segment::remove_named(&name).unwrap();
        assert_eq!(name.objects(), (0, 1));
        assert_eq!(set.stat().unwrap(), before, "{count}: never operated upon");
    }
}

#[test]
fn a_foreign_set_that_is_in_use_stays_as_it_is_even_if_as_large_as_ours() {
    for values in [&[0_u16, 0, 7, 1][..], &[0, 3, 0, 0, 2], &[5, 5, 5, 5]] {
        let name = Name::new();
        let set = Owned(Set::options().exclusive(true).create(name.key(0), SMALL_SET).unwrap());
        for (index, &value) in (0..).zip(values).filter(|(_, value)| **value > 0) {
            set.perform(&[Op::add(index, value)]).unwrap();
        }
        let read = || {
            let mut values = vec![0; SMALL_SET];
            set.values(&mut values).map(|()| values)
        };
        let before = read().unwrap();
        let opened = small().timeout(SOON).open_or_create(&name);
        assert_eq!(read().unwrap(), before, "{values:?}");
        opened.unwrap_or_else(|error| panic!("{values:?}: {error}"));
    }
}

#[test]
fn a_name_whose_keys_are_all_foreign_has_no_key() {
    let name = Name::new();
    let foreigners: Vec<Foreign> = (0..PROBES).map(|n| Foreign::on(name.key(n))).collect();
    for tried in [small().create(&name), small().open_or_create(&name)] {
        match tried.unwrap_err() {
            OpenError::NoKey { name: n, keys } => assert_eq!((&*n, keys), (&*name, PROBES)),
            error => panic!("{error:?}"),
        }
    }
    assert!(matches!(small().open(&name), Err(OpenError::NotFound { .. })));
    assert_eq!(name.objects(), (8, 0));
    for (probe, foreign) in (0..).zip(&foreigners) {
        foreign.is_untouched(name.key(probe));
    }
    // One goes, and its key serves.
    drop(foreigners.into_iter().nth(5));
    works(&name);
}
