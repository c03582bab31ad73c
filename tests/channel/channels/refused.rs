//! Channels that are refused, by name.

use super::*;

pub(super) fn mismatches_name_both_sides<K: Pick>() {
    let segment = small();
    let channel = K::pick::<u64>(&segment, "c").capacity(10);
    let _kept = (channel.sender().unwrap(), channel.receiver().unwrap());
    let said = |error: ChannelError| match &error {
        ChannelError::Mismatch { channel, segment: named, what, theirs, ours } => {
            let text = error.to_string();
            assert_eq!((&**channel, named), ("c", &format!("@{}", segment.id())));
            assert!(text.contains(&format!("`tombolo rm {named}`")), "{text}");
            assert!(
                text.contains(theirs) && text.contains(ours) && text.contains(&what.to_string()),
                "{text}"
            );
            (*what, theirs.clone(), ours.clone())
        }
        error => panic!("{error:?}"),
    };
    let (what, theirs, ours) =
        said(K::pick::<u64>(&segment, "c").capacity(11).sender().unwrap_err());
    assert_eq!((what, &*theirs, &*ours), (ChannelProperty::Capacity, "10", "11"));
    let (what, theirs, ours) = said(K::pick::<u32>(&segment, "c").sender().unwrap_err());
    assert_eq!(what, ChannelProperty::Elements);
    assert!(theirs.contains("u64") && theirs.contains("8 bytes"), "{theirs}");
    assert!(ours.contains("u32") && ours.contains("4 bytes"), "{ours}");
    // As large and as aligned, but something else.
    let (what, theirs, ours) = said(K::pick::<i64>(&segment, "c").receiver().unwrap_err());
    assert_eq!(what, ChannelProperty::Elements);
    assert!(theirs.contains("u64") && ours.contains("i64"), "{theirs} {ours}");
    let (what, theirs, ours) = said(K::pick::<[u64; 2]>(&segment, "c").receiver().unwrap_err());
    assert!(theirs.contains("8 bytes") && ours.contains("16 bytes"), "{what} {theirs} {ours}");
    let other = if K::NAME == "Spsc" {
        segment.channel::<u64>("c").mpmc().sender().map(drop)
    } else {
        segment.channel::<u64>("c").spsc().sender().map(drop)
    };
    let (what, theirs, ours) = said(other.unwrap_err());
    assert_eq!((what, &*theirs), (ChannelProperty::Kind, K::NAME));
    assert_ne!(ours, theirs);
}

#[test]
fn channels_that_cannot_be_are_refused_by_name() {
    let name = Name::new();
    let segment =
        Segment::options().size(100_000).participants(4).channels(3).create(&name).unwrap();
    let error = segment.channel::<u64>("none").sender().unwrap_err();
    let missing = |c: &str, s: &str| c == "none" && s == &*name;
    assert!(
        matches!(&error, ChannelError::NotFound { channel, segment } if missing(channel, segment)),
        "{error:?}"
    );
    for capacity in [0, (1 << 31) + 1, usize::MAX] {
        for error in [
            segment.channel::<u64>("odd").capacity(capacity).sender().unwrap_err(),
            segment.channel::<u64>("odd").spsc().capacity(capacity).sender().unwrap_err(),
        ] {
            assert!(matches!(error, ChannelError::BadCapacity { .. }), "{capacity}: {error:?}");
            assert!(error.to_string().contains(&capacity.to_string()), "{error}");
        }
    }
    let error = segment.channel::<TooAligned>("odd").capacity(1).sender().unwrap_err();
    assert!(matches!(error, ChannelError::BadCapacity { .. }), "{error:?}");
    // Possible, but not here.
    for capacity in [20_000, 1 << 31] {
        let error = segment.channel::<u64>("large").capacity(capacity).sender().unwrap_err();
        match &error {
            ChannelError::SegmentFull { channel, segment, needed, available, .. } => {
                assert_eq!((&**channel, &**segment), ("large", &*name));
                assert!(*needed > 8 * capacity && *available < *needed && *available > 90_000);
            }
            error => panic!("{error:?}"),
        }
    }
    for bad in ["", "a b", "naïve", "nul\0", "tab\t", &"x".repeat(65)] {
        let error = segment.channel::<u64>(bad).capacity(1).sender().unwrap_err();
        assert!(matches!(error, ChannelError::BadName(_)), "{bad:?}: {error:?}");
    }
    // None of it took anything.
    for n in 0..3 {
        let name = format!("{}/{n}", "y".repeat(62));
        let tx = segment.channel::<u64>(&name).capacity(1_000).sender().unwrap();
        drop(tx);
    }
    let error = segment.channel::<u64>("fourth").capacity(1).sender().unwrap_err();
    match &error {
        ChannelError::DirectoryFull { segment, channels: 3 } => assert_eq!(segment, &*name),
        error => panic!("{error:?}"),
    }
}

#[test]
fn the_one_sender_and_the_one_receiver_are_named_by_their_process() {
    let name = Name::new();
    let segment = Segment::create(&name).unwrap();
    let channel = segment.channel::<u64>("s").spsc().capacity(4);
    let rx = channel.receiver().unwrap();
    let peer = Peer::start("hold", &[&name]);
    peer.expect("open");
    for (taken, expected_side, expected_pid) in [
        (channel.sender().map(drop), tombolo::Side::Sender, peer.pid().unsigned_abs()),
        (channel.receiver().map(drop), tombolo::Side::Receiver, std::process::id()),
    ] {
        match taken.unwrap_err() {
            ChannelError::RoleTaken { channel, side, pid } => {
                assert_eq!((&*channel, side, pid), ("s", expected_side, expected_pid.into()));
            }
            error => panic!("{error:?}"),
        }
    }
    // A refused attempt changes nothing for who is there.
    assert!(matches!(rx.try_recv(), Err(TryRecvError::Empty)));
    drop(peer);
    let tx = channel.sender().unwrap();
    tx.send(1).unwrap();
    assert_eq!(rx.recv().unwrap(), 1);
}

#[test]
fn what_does_not_fit_says_the_size_with_which_it_does() {
    type Frame = [u8; 4 << 20];
    fn fill(segment: &Segment) -> Result<(), ChannelError> {
        drop(segment.channel::<u64>("before").capacity(100).sender()?);
        drop(segment.channel::<Frame>("frames").capacity(16).sender()?);
        drop(segment.bytes("after").capacity(16, 4 << 20).spsc().sender()?);
        Ok(())
    }
    let mut size = 1 << 20;
    let mut rounds = 0;
    loop {
        let segment = Segment::options().size(size).no_reserve(true).anonymous().unwrap();
        match fill(&segment) {
            Ok(()) => break,
            Err(ChannelError::SegmentFull { size: enough, needed, .. }) => {
                let error = fill(&segment).unwrap_err().to_string();
                assert!(error.contains(&format!("`Options::size({enough})`")), "{error}");
                assert!(needed > 64 << 20 && enough > size, "{error}");
                size = enough;
                rounds += 1;
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(rounds, 2);
    // It was not more than it takes: pages are whole.
    let less = Segment::options().size(size - 3 * 4_096).no_reserve(true).anonymous().unwrap();
    assert!(matches!(fill(&less), Err(ChannelError::SegmentFull { .. })));
    // Or one says what there is to be room for.
    let options = Segment::options().no_reserve(true).participants(300);
    let options = options.room_for::<u64>(100).room_for::<Frame>(16).room_for_bytes(16, 4 << 20);
    fill(&options.anonymous().unwrap()).unwrap();
    let options = Segment::options().size(1_000).room_for::<u64>(0);
    assert!(matches!(options.anonymous(), Err(tombolo::OpenError::BadOption { .. })));
}

#[test]
#[ignore = "what the child processes run"]
fn child_entry() {
    let Some(brief) = Brief::take() else { return };
    let segment = Segment::open(brief.text(0)).unwrap();
    let _tx = segment.channel::<u64>("s").spsc().sender().unwrap();
    brief.say("open");
    brief.hear();
}
