//! Segments of other versions, names and rights that are refused.

use super::*;

#[test]
fn another_version_is_named_and_left_alone() {
    let name = Name::new();
    works(&name);
    let words = name.words();
    let ours = words.get(word::VERSION);
    for theirs in [ours - 1, ours + 1] {
        words.put(word::VERSION, theirs);
        for tried in [Segment::open(&name), Segment::open_or_create(&name)] {
            let error = tried.unwrap_err();
            let said = error.to_string();
            for part in [format!("version {theirs}"), format!("version {ours}"), "remove it".into()]
            {
                assert!(said.contains(&part), "{part}: {said}");
            }
            match error {
                OpenError::Version { name: n, found, supported } => {
                    assert_eq!((&*n, found, supported), (&*name, theirs, ours));
                }
                error => panic!("{error:?}"),
            }
        }
    }
    assert!(matches!(Segment::create(&name), Err(OpenError::Exists { .. })));
    assert_eq!(name.objects(), (1, 1));
    // The lease was given back each time.
    words.put(word::VERSION, ours);
    works(&name);
    words.put(word::VERSION, ours + 1);
    Segment::remove_named(&name).unwrap();
    assert_eq!(name.objects(), (0, 0));
}

#[test]
fn what_only_a_later_build_knows_is_left_alone() {
    // A flag, and a kind of channels that a sweep has to know.
    for (index, bit) in [(word::FLAGS, 1 << 4), (word::KINDS, 1 << 9)] {
        let name = Name::new();
        works(&name);
        let words = name.words();
        words.add(index, bit);
        let error = Segment::open(&name).unwrap_err();
        assert!(matches!(&error, OpenError::Newer { name: n } if *n == *name), "{error:?}");
        assert_eq!(name.objects(), (1, 1));
        words.add(index, bit.wrapping_neg());
        works(&name);
    }
}

#[test]
fn a_header_that_cannot_be_is_reported_and_can_be_removed() {
    let lies = [
        (word::PARTICIPANTS, 0),
        (word::PARTICIPANTS, 50),
        (word::PARTICIPANTS, u64::MAX),
        (word::CHANNELS, 0),
        (word::CHANNELS, 30),
        (word::CHANNELS, 1 << 20),
        (3, 12),
        (3, u64::MAX),
    ];
    for (index, lie) in lies {
        let name = Name::new();
        works(&name);
        let words = name.words();
        assert_ne!(words.get(index), lie);
        words.put(index, lie);
        let error = Segment::open(&name).unwrap_err();
        assert!(
            matches!(&error, OpenError::Damaged { name: n, .. } if *n == *name),
            "word {index} is {lie}: {error:?}"
        );
        assert_eq!(name.objects(), (1, 1));
        Segment::remove_named(&name).unwrap();
        assert_eq!(name.objects(), (0, 0));
        works(&name);
    }
}

#[test]
fn the_mode_is_the_owners_unless_it_is_said_otherwise() {
    for (options, mode) in [(small(), 0o600), (small().mode(0o640), 0o640)] {
        let name = Name::new();
        drop(options.create(&name).unwrap());
        assert_eq!(name.shm(0).unwrap().stat().unwrap().mode, mode);
        assert_eq!(name.set(0).unwrap().stat().unwrap().mode, mode);
    }
}

#[test]
fn who_may_not_is_told_so_and_leaves_no_trace() {
    let name = Name::new();
    works(&name);
    as_nobody(|| {
        let denied = |result: Result<(), OpenError>| match result.unwrap_err() {
            OpenError::System(error) => {
                assert_eq!(error.kind(), ErrorKind::PermissionDenied);
                assert!(error.to_string().to_lowercase().contains("permission"), "{error}");
            }
            error => panic!("{error:?}"),
        };
        denied(Segment::open(&name).map(drop));
        denied(Segment::open_or_create(&name).map(drop));
        denied(Segment::create(&name).map(drop));
        denied(Segment::remove_named(&name));
    });
    assert_eq!(name.objects(), (1, 1));
    works(&name);
}

#[test]
fn names_that_cannot_be_are_refused_before_anything_is_made() {
    let long = "x".repeat(121);
    for bad in ["", " ", "a b", "a\0b", "naïve", "a\n", "a$b", &long] {
        for error in [
            small().create(bad).unwrap_err(),
            small().open_or_create(bad).unwrap_err(),
            small().open(bad).unwrap_err(),
            Segment::remove_named(bad).unwrap_err(),
        ] {
            assert!(matches!(error, OpenError::BadName(_)), "{bad:?}: {error:?}");
        }
        assert!(Shm::open(key_of(bad, 0)).is_err());
    }
    let name = Name::new();
    let options = [
        small().participants(0),
        small().participants(8_193),
        small().channels(0),
        small().channels(4_097),
        small().size(usize::MAX),
    ];
    for options in options {
        let error = options.create(&name).unwrap_err();
        assert!(matches!(error, OpenError::BadOption { .. }), "{error:?}");
        assert!(matches!(options.anonymous(), Err(OpenError::BadOption { .. })));
        assert_eq!(name.objects(), (0, 0));
    }
    // More than any machine has.
    for size in [1 << 56, usize::MAX - 100_000] {
        let error = small().size(size).create(&name).unwrap_err();
        assert!(matches!(error, OpenError::System(_)), "{error:?}");
        assert_eq!(name.objects(), (0, 0));
    }
}
