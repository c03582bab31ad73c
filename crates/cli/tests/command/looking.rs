//! Commands that look: nobody notices, and all is shown.

use std::fs;
use std::os::unix::fs::MetadataExt;

use tombolo::sys::{sem, shm};
use tombolo::{Segment, SegmentInfo};

use crate::command::{Running, run, text};
use crate::common::{Name, own_tables, parked_for_good, wait_until};

/// Whether the commands may map a segment by way of this process: see `tombolo ls --help`.
fn may_checkpoint() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap();
    let capabilities = u64::from_str_radix(line.trim(), 16).unwrap();
    // The first user namespace has this number on every machine.
    let namespace = fs::metadata("/proc/self/ns/user").unwrap().ino();
    let able = capabilities >> 21 & 1 == 1 && namespace == 0xEFFF_FFFD;
    if !able {
        eprintln!("SKIPPED: needs CAP_SYS_ADMIN outside of all user namespaces");
    }
    able
}

/// All that the kernel says of a segment and its set: the last process, times, counts, the
/// value of each semaphore and who has changed it last.
fn account(info: &SegmentInfo) -> (shm::Stat, sem::Stat, Vec<u16>, Vec<i32>) {
    let set = sem::Set::from_id(info.set);
    let stat = set.stat().unwrap();
    let mut values = vec![0; stat.count];
    set.values(&mut values).unwrap();
    let pids = (0..stat.count as u16).map(|sem| set.last_pid(sem).unwrap()).collect();
    (shm::Shm::from_id(info.id).stat().unwrap(), stat, values, pids)
}

#[test]
fn no_command_that_looks_changes_anything() {
    // Other tests look at all segments that they see.
    if !own_tables() || !may_checkpoint() {
        return;
    }
    let segment = Segment::options().size(1 << 18).create("stuff").unwrap();
    segment.broadcast::<u64>("prices").capacity(8).publisher().unwrap().send(1).unwrap();
    segment.channel::<u64>("jobs").capacity(8).sender().unwrap().send_batch(&[1, 2]).unwrap();
    drop(segment);
    // It sleeps, and would wake. The commands look by way of it.
    let watcher = Running::start(&["events", "stuff"]);
    wait_until(|| parked_for_good(watcher.pid()));
    let listed = Segment::list().unwrap();
    assert_eq!(listed.len(), 1);
    let before = account(&listed[0]);
    for args in [
        &["ls"] as &[&str],
        &["ls", "--json"],
        &["top", "--once", "--interval", "0.01"],
        &["top", "stuff", "--json", "--once", "--interval", "0.01"],
        &["metrics", "--once"],
        &["metrics", "stuff", "--once"],
        &["tap", "stuff", "prices"],
        &["tap", "stuff", "jobs", "--json"],
    ] {
        let output = run(args);
        assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
        assert_eq!(account(&listed[0]), before, "{args:?}");
    }
    assert!(parked_for_good(watcher.pid()));
}

#[test]
fn each_look_shows_all_of_a_hundred_channels() {
    let name = Name::new();
    let options = Segment::options().size(1 << 20).channels(100);
    let segment = options.create(&name).unwrap();
    let ends: Vec<_> = (0..100)
        .map(|n| {
            let name = format!("channel.{n}");
            let channel = segment.channel::<u64>(&name).capacity(8);
            (channel.sender().unwrap(), channel.receiver().unwrap())
        })
        .collect();
    let mut top = Running::start(&["top", &name, "--json", "--interval", "0.02"]);
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(top.stdout()));
    for _ in 0..20 {
        let look = lines.next().unwrap().unwrap();
        assert!((0..100).all(|n| look.contains(&format!("\"channel.{n}\""))), "{look}");
    }
    drop(ends);
}
