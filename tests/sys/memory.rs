//! Shared memory.

#![allow(unsafe_code)]

use std::fs;

use crate::common::{Owned, fresh_key, segment, wait_until};
use tombolo::sys::sem::{self, Set};
use tombolo::sys::shm::{self, AttachOptions, HugePages, Shm};
use tombolo::sys::{ErrorKind, Key, Object, limits, proc};

/// The block of /proc/self/smaps about the mapping at `address`.
fn smaps(address: *const u8) -> String {
    let head = format!("{:08x}-", address.addr());
    let text = fs::read_to_string("/proc/self/smaps").unwrap();
    let at = text.find(&head).expect("mapped");
    let end = text[at..].find("VmFlags").unwrap() + at;
    text[at..].split_at(end - at).0.to_owned() + text[end..].lines().next().unwrap()
}

#[test]
fn exclusive_creation_of_a_taken_key_names_it() {
    let key = fresh_key();
    let segment = Owned(Shm::options().exclusive(true).create(key, 100).unwrap());
    let error = Shm::options().exclusive(true).create(key, 100).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Exists);
    assert_eq!(error.errno(), libc::EEXIST);
    assert_eq!(error.call(), "shmget");
    assert_eq!(error.object(), &Object::NewSegment { key, size: 100, huge_pages: None });
    assert!(error.to_string().contains(&format!("ipcrm -M {key}")), "{error}");
    assert_eq!(Shm::options().create(key, 100).unwrap(), *segment);
    assert_eq!(Shm::open(key).unwrap(), *segment);

    let set = Owned(Set::options().exclusive(true).create(key, 3).unwrap());
    let error = Set::options().exclusive(true).create(key, 3).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Exists);
    assert!(error.to_string().contains(&format!("ipcrm -S {key}")), "{error}");
    assert_eq!(Set::open(key).unwrap(), *set);
}

#[test]
fn opening_what_is_not_there_is_not_found() {
    let key = fresh_key();
    for key in [key, Key::PRIVATE] {
        let error = Shm::open(key).unwrap_err();
        assert_eq!(
            (error.kind(), error.object()),
            (ErrorKind::NotFound, &Object::SegmentKey { key })
        );
        assert!(error.to_string().contains(&key.to_string()), "{error}");
        let error = Set::open(key).unwrap_err();
        assert_eq!((error.kind(), error.object()), (ErrorKind::NotFound, &Object::SetKey { key }));
    }
}

#[test]
fn a_new_object_is_zero_and_as_described() {
    let key = fresh_key();
    let segment = Owned(Shm::options().mode(0o640).create(key, 5000).unwrap());
    let stat = segment.stat().unwrap();
    assert_eq!((stat.id, stat.key, stat.size, stat.mode), (segment.id(), key, 5000, 0o640));
    assert_eq!((stat.uid, stat.creator_uid), (proc::uid(), proc::uid()));
    assert_eq!((stat.creator_pid.cast_unsigned(), stat.last_pid), (proc::pid(), 0));
    assert_eq!((stat.attached, stat.attach_time), (0, 0));
    assert!(stat.change_time > 0 && !stat.marked_for_removal && !stat.locked);
    assert_eq!(segment.stat_any().unwrap(), stat);
    assert!(shm::all().unwrap().contains(&stat));

    let set = Owned(Set::options().mode(0o640).create(key, 7).unwrap());
    let stat = set.stat().unwrap();
    assert_eq!((stat.id, stat.key, stat.count, stat.mode), (set.id(), key, 7, 0o640));
    assert_eq!((stat.uid, stat.last_op_time), (proc::uid(), 0));
    assert_eq!(set.stat_any().unwrap(), stat);
    assert!(sem::all().unwrap().contains(&stat));
    let mut values = [9; 7];
    set.values(&mut values).unwrap();
    assert_eq!(values, [0; 7]);

    let used = (limits::shm().unwrap(), limits::sem().unwrap());
    assert!(used.0.used_segments >= 1 && used.0.used_pages >= 2, "{used:?}");
    assert!(used.1.used_sets >= 1 && used.1.used_sems >= 7, "{used:?}");
    assert_eq!(used.1.max_value, 32767);
}

/// Waits until `segment` has so many attachments: the children that other
/// tests fork inherit this process's, for a moment.
fn attached_only(segment: &Shm, count: u64) {
    wait_until(|| segment.stat().unwrap().attached == count);
}

#[test]
fn memory_is_shared_until_the_last_detaches() {
    let segment = segment(5000);
    let one = segment.attach().unwrap();
    let two = segment.attach().unwrap();
    assert_eq!((one.len(), one.read_only(), one.shm()), (5000, false, *segment));
    // SAFETY: the first byte of the segment, which only this thread uses.
    unsafe { one.as_ptr().write_volatile(42) };
    // SAFETY: as above.
    assert_eq!(unsafe { two.as_ptr().read_volatile() }, 42);

    segment.remove().unwrap();
    let stat = segment.stat().unwrap();
    assert!(stat.marked_for_removal && stat.key.is_private());
    attached_only(&segment, 2);
    let late = segment.attach().unwrap();
    // SAFETY: as above.
    assert_eq!(unsafe { late.as_non_null().read_volatile() }, 42);
    drop(late);
    one.detach().unwrap();
    two.detach().unwrap();
    wait_until(|| segment.stat().is_err());
    for error in [segment.stat().unwrap_err(), segment.attach().unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::Removed, "{error}");
        assert_eq!(error.object(), &Object::Segment { id: segment.id() });
    }
}

#[test]
fn a_leaked_mapping_stays() {
    let segment = segment(1);
    let address = segment.attach().unwrap().leak();
    attached_only(&segment, 1);
    // SAFETY: the address came from an attachment that nothing else undoes.
    assert_eq!(unsafe { libc::shmdt(address.as_ptr().cast()) }, 0);
    attached_only(&segment, 0);
}

#[test]
fn attach_options_reach_the_mapping() {
    let segment = segment(3 << 20);
    let plain = segment.attach().unwrap();
    let text = smaps(plain.as_ptr());
    assert!(text.contains("rw-s") && !text.contains(" dd"), "{text}");
    assert!(text.lines().any(|l| l.starts_with("Rss:") && l.ends_with(" 0 kB")), "{text}");

    let options =
        AttachOptions { prefault: true, keep_out_of_core_dumps: true, ..Default::default() };
    let filled = segment.attach_with(options).unwrap();
    let text = smaps(filled.as_ptr());
    assert!(text.contains("rw-s") && text.contains(" dd"), "{text}");
    assert!(text.lines().any(|l| l.starts_with("Rss:") && l.ends_with(" 3072 kB")), "{text}");

    let options = AttachOptions { read_only: true, prefault: true, ..Default::default() };
    let read = segment.attach_with(options).unwrap();
    assert!(read.read_only());
    let text = smaps(read.as_ptr());
    assert!(text.contains("r--s"), "{text}");
    assert!(text.lines().any(|l| l.starts_with("Rss:") && l.ends_with(" 3072 kB")), "{text}");
}

#[test]
fn memory_that_is_given_back_reads_as_zeros_and_counts_no_more() {
    let segment = segment(16 * 4096);
    let (here, there) = (segment.attach().unwrap(), segment.attach().unwrap());
    let byte = |at: usize| {
        // SAFETY: inside the mapping.
        let byte = unsafe { there.as_ptr().add(at) };
        // SAFETY: as above, and nobody else knows it.
        unsafe { byte.read() }
    };
    // SAFETY: the whole of the mapping, which nobody else knows.
    unsafe { here.as_ptr().write_bytes(7, 16 * 4096) };
    let pages = || {
        let text = smaps(here.as_ptr());
        let rss = text.lines().find_map(|line| line.strip_prefix("Rss:")).unwrap().trim();
        rss.trim_end_matches(" kB").parse::<usize>().unwrap() / 4
    };
    assert_eq!(pages(), 16);
    // Pages that are partly inside stay.
    here.give_back(4095..10 * 4096 + 1).unwrap();
    assert_eq!(pages(), 7);
    assert_eq!([byte(4095), byte(4096), byte(10 * 4096 - 1), byte(10 * 4096)], [7, 0, 0, 7]);
    // Nothing is wholly inside, or nothing is there.
    here.give_back(1..4096).unwrap();
    here.give_back(usize::MAX - 1..usize::MAX).unwrap();
    assert_eq!(pages(), 7);
}

#[test]
fn a_segment_too_large_names_the_limit() {
    let error = Shm::options().create(Key::PRIVATE, usize::MAX).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let limit = format!("kernel.shmmax allows {} bytes", limits::shm().unwrap().max_size);
    assert!(error.to_string().contains(&limit), "{error}");
    let error = Shm::options().create(Key::PRIVATE, 0).unwrap_err();
    assert!(error.to_string().contains("at least one byte"), "{error}");

    let key = fresh_key();
    let small = Owned(Shm::options().create(key, 10).unwrap());
    let error = Shm::options().create(key, 11).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains(&format!("segment {} has this key", small.id())), "{error}");
    assert!(error.to_string().contains("(10 bytes)"), "{error}");
}

#[test]
fn a_set_of_the_wrong_size_names_the_limit() {
    let error = Set::options().create(Key::PRIVATE, usize::MAX).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let limit = format!("allows {} semaphores per set", limits::sem().unwrap().per_set);
    assert!(error.to_string().contains(&limit), "{error}");
    let error = Set::options().create(Key::PRIVATE, 0).unwrap_err();
    assert!(error.to_string().contains("at least one semaphore"), "{error}");

    let key = fresh_key();
    let small = Owned(Set::options().create(key, 2).unwrap());
    let error = Set::options().create(key, 3).unwrap_err();
    assert!(error.to_string().contains(&format!("set {} has this key", small.id())), "{error}");
}

#[test]
fn more_memory_than_there_is_says_so() {
    // An exabyte: within shmmax and shmall by default, but nobody's memory.
    let Err(error) = Shm::options().create(Key::PRIVATE, 1 << 60).map(Owned) else {
        eprintln!("SKIPPED: this kernel promises an exabyte");
        return;
    };
    if error.kind() == ErrorKind::NoMemory {
        assert!(error.to_string().contains("vm.overcommit_memory is"), "{error}");
    } else {
        assert!(error.to_string().contains("kernel.shm"), "{error}");
    }
}

#[test]
fn huge_pages_come_or_are_explained() {
    for pages in [HugePages::Default, HugePages::Size2M, HugePages::Size1G] {
        match Shm::options().huge_pages(Some(pages)).create(Key::PRIVATE, 1).map(Owned) {
            Ok(segment) => {
                let options = AttachOptions {
                    prefault: true,
                    keep_out_of_core_dumps: true,
                    ..Default::default()
                };
                let attachment = segment.attach_with(options).unwrap();
                assert!(smaps(attachment.as_ptr()).contains(" dd"));
            }
            Err(error) => {
                let text = error.to_string();
                assert!(text.contains(&pages.to_string()), "{text}");
                assert!(text.contains("HugePages_Free") || text.contains("huge pages "), "{text}");
            }
        }
    }
}
