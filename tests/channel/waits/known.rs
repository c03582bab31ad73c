//! Other handles know what one handle has found out.

use tombolo::{Fault, RecvError, Segment, SendError, TryRecvError, TrySendError};

use crate::common::{Name, RINGS, receiver, sender};

#[test]
fn a_clone_is_as_disconnected_as_its_original() {
    let segment = Segment::options().size(1 << 18).anonymous().unwrap();
    let channel = segment.channel::<u64>("c").capacity(1);
    let bytes = segment.bytes("b").capacity(1, 8);
    let (tx, rx) = (channel.sender().unwrap(), channel.receiver().unwrap());
    let (btx, brx) = (bytes.sender().unwrap(), bytes.receiver().unwrap());
    drop((rx, brx));
    let (one, bone) = (tx.try_clone().unwrap(), btx.try_clone().unwrap());
    let (two, btwo) = (one.try_clone().unwrap(), bone.try_clone().unwrap());
    for tx in [&two, &one, &tx] {
        assert_eq!(tx.send(1), Err(SendError::Disconnected(1)));
        assert_eq!(tx.try_send(1), Err(TrySendError::Disconnected(1)));
    }
    for tx in [&btwo, &bone, &btx] {
        assert_eq!(tx.try_send(b"x"), Err(TrySendError::Disconnected(())));
    }
    // A peer that comes connects all of them again, and none that was before.
    let (rx, brx) = (channel.receiver().unwrap(), bytes.receiver().unwrap());
    two.send(7).unwrap();
    btwo.send(b"x").unwrap();
    drop((tx, one, two, btx, bone, btwo));
    assert_eq!(rx.recv().unwrap(), 7);
    assert_eq!(brx.recv(&mut Vec::new()).unwrap(), 1);
    let (one, bone) = (rx.try_clone().unwrap(), brx.try_clone().unwrap());
    let (two, btwo) = (one.try_clone().unwrap(), bone.try_clone().unwrap());
    for rx in [&two, &one, &rx] {
        assert_eq!(rx.recv(), Err(RecvError::Disconnected));
    }
    for rx in [&btwo, &bone, &brx] {
        assert_eq!(rx.recv(&mut Vec::new()), Err(RecvError::Disconnected));
    }
    // One that has met nobody waits, and so does its clone.
    let fresh = segment.channel::<u64>("fresh").capacity(1).receiver().unwrap();
    assert!(matches!(fresh.try_clone().unwrap().try_recv(), Err(TryRecvError::Empty)));
}

#[test]
fn closed_stays_closed_for_every_handle() {
    let name = Name::new();
    let options = Segment::options().size(1 << 20).participants(8).channels(64);
    let segment = options.create(&name).unwrap();
    let ends = RINGS.map(|ring| {
        let (tx, rx) = (sender(&segment, ring, ring), receiver(&segment, ring, ring));
        // All is as it mostly is.
        tx.send(1).unwrap();
        assert_eq!(rx.try_recv().unwrap(), Some(1));
        assert_eq!(rx.try_recv().unwrap(), None);
        (tx, rx)
    });
    name.set(0).unwrap().remove().unwrap();
    let closed = |told: Result<(), Fault>| matches!(told, Err(Fault::Closed));
    // One that only tries finds out in time, and all others with it.
    let tries = (0..300).position(|_| closed(ends[0].1.try_recv().map(drop)));
    assert!(tries.is_some_and(|tries| tries <= 256), "{tries:?}");
    for (tx, rx) in &ends {
        for _ in 0..3 {
            assert!(closed(rx.try_recv().map(drop)));
            assert!(closed(rx.recv().map(drop)));
            assert!(closed(tx.try_send(1).map(drop)));
            assert!(closed(tx.send(1)));
        }
    }
    assert!(matches!(segment.sweep(), Err(Fault::Closed)));
}
