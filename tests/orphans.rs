//! What `Segment::orphans` finds is what no living process holds, and what it
//! found is not removed once somebody holds it.

mod common;

use std::os::unix::process::CommandExt;
use std::process::Command;

use tombolo::sys::{Key, proc, sem::Set, shm::Shm};
use tombolo::{Orphan, Segment};

use common::{Brief, Name, Owned, Peer, SIGNATURE, Words, key_of, wait_until, word};

fn small(name: &str) -> Segment {
    Segment::options().size(1 << 16).participants(4).channels(2).create(name).unwrap()
}

/// The orphans that have one of these in their description.
fn orphans(marks: &[String]) -> Vec<Orphan> {
    let ours = |orphan: &Orphan| marks.iter().any(|mark| orphan.what.contains(mark));
    Segment::orphans().unwrap().into_iter().filter(ours).collect()
}

/// The one orphan that there is. Whoever else looks at the segment right now
/// is attached to it for as long.
fn only(marks: &[String]) -> Orphan {
    let mut found = Vec::new();
    wait_until(|| {
        found = orphans(marks);
        !found.is_empty()
    });
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

/// How the orphans of a segment's objects are described.
fn marks(segment: i32, set: i32) -> [String; 2] {
    [format!("(id {segment},"), format!("semaphore set {set} ")]
}

fn set_of(name: &str) -> Set {
    Set::open(key_of(name, 0)).unwrap()
}

#[test]
fn a_segment_that_cannot_be_understood_keeps_its_set() {
    for (at, what) in [(word::VERSION, "of another version"), (word::SIZE, "damaged")] {
        let name = Name::new();
        let segment = small(&name);
        let words = Words::behind(&segment);
        let right = words.get(at);
        words.put(at, right + 1);
        let marks = marks(segment.id(), set_of(&name).id());
        assert!(orphans(&marks).is_empty(), "{what}");
        words.put(at, right);
        assert!(!segment.sweep().unwrap());
    }
}

#[test]
fn memory_of_our_size_without_a_key_is_somebody_elses() {
    let shm = Owned(Shm::options().create(Key::PRIVATE, 8_192 + SIGNATURE).unwrap());
    assert!(orphans(&marks(shm.id(), -1)).is_empty());
}

#[test]
fn an_orphan_that_somebody_has_joined_is_left_alone() {
    for role in ["stay", "exec"] {
        let name = Name::new();
        let segment = small(&name);
        let (id, set) = (segment.id(), set_of(&name));
        drop(segment);
        let orphan = only(&marks(id, set.id()));
        let peer = Peer::start(role, &[&name]);
        peer.expect("joined");
        if role == "exec" {
            // Nothing is attached any more; the process is there.
            wait_until(|| Shm::from_id(id).stat().unwrap().attached == 0);
        }
        assert!(!orphan.remove().unwrap(), "{role}");
        assert_eq!(set.value(0).unwrap(), 0, "the lease has been given back");
        assert!(orphans(&marks(id, set.id())).is_empty());
        peer.finish();
        wait_until(|| orphan.remove().unwrap());
        assert_eq!(name.objects(), (0, 0));
    }
}

#[test]
fn who_may_not_remove_an_orphan_does_not_keep_its_lease() {
    if proc::uid() != 0 {
        return eprintln!("SKIPPED: another user's orphan: it takes root to be another user");
    }
    let name = Name::new();
    let options = Segment::options().size(1 << 16).mode(0o666);
    let segment = options.create(&name).unwrap();
    let (id, set) = (segment.id(), set_of(&name));
    drop(segment);
    let orphan = only(&marks(id, set.id()));
    let peer = Peer::start_under(nobody(), "may not", &[&name]);
    peer.expect("refused");
    assert_eq!(set.value(0).unwrap(), 0, "the lease is free");
    wait_until(|| orphan.remove().unwrap());
}

/// Runs what follows as another user.
fn nobody() -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
    command
}

#[test]
#[ignore = "what the child processes run"]
fn child_entry() {
    let Some(brief) = Brief::take() else { return };
    if brief.role == "may not" {
        let name = brief.text(0);
        wait_until(|| {
            let mut found = Segment::orphans().unwrap().into_iter();
            let orphan = found.find(|orphan| orphan.name.as_deref() == Some(name));
            orphan.is_some_and(|orphan| orphan.remove().is_err())
        });
        brief.say("refused");
        // Still there, with what it has not given back.
        brief.hear();
        return;
    }
    let _segment = Segment::open(brief.text(0)).unwrap();
    brief.say("joined");
    if brief.role == "exec" {
        panic!("{}", Command::new("cat").exec());
    }
    brief.hear();
}
