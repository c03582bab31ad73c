//! Commands that look: nobody notices, and it costs next to nothing.

use std::fs;
use std::os::unix::fs::MetadataExt;

use tombolo::sys::{sem, shm};
use tombolo::{Segment, Start};

use crate::command::{Running, run, text};
use crate::common::{Name, Words, wait_until};

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
fn account(segment: &Segment, set: i32) -> (shm::Stat, sem::Stat, Vec<u16>, Vec<i32>) {
    let set = sem::Set::from_id(set);
    let stat = set.stat().unwrap();
    let mut values = vec![0; stat.count];
    set.values(&mut values).unwrap();
    let pids = (0..stat.count as u16).map(|sem| set.last_pid(sem).unwrap()).collect();
    (shm::Shm::from_id(segment.id()).stat().unwrap(), stat, values, pids)
}

#[test]
fn no_command_that_looks_changes_anything() {
    if !may_checkpoint() {
        return;
    }
    let name = Name::new();
    let segment = Segment::options().size(1 << 18).create(&name).unwrap();
    let words = Words::behind(&segment);
    let prices = segment.broadcast::<u64>("prices").capacity(8);
    let (publisher, _slow) =
        (prices.publisher().unwrap(), prices.reliable_subscriber_from(Start::Oldest).unwrap());
    let jobs = segment.channel::<u64>("jobs").capacity(8).sender().unwrap();
    publisher.send(1).unwrap();
    jobs.send_batch(&[1, 2]).unwrap();
    // One that sleeps would wake.
    let watcher = Running::start(&["events", &name]);
    wait_until(|| crate::common::parked_for_good(watcher.pid()));
    let listed = Segment::list().unwrap();
    let set = listed.iter().find(|info| info.id == segment.id()).unwrap().set;
    let before = (account(&segment, set), words.copy());
    for args in [
        &["ls"] as &[&str],
        &["ls", "--json"],
        &["top", "--once", "--interval", "0.01"],
        &["top", &name, "--json", "--once", "--interval", "0.01"],
        &["metrics", "--once"],
        &["metrics", &name, "--once"],
        &["tap", &name, "prices"],
        &["tap", &name, "jobs", "--json"],
        &["rm", "--orphans", "--dry-run"],
        &["doctor"],
    ] {
        let output = run(args);
        // What the doctor finds is this machine's affair.
        let well = output.status.success() || args == ["doctor"];
        assert!(well, "{args:?}: {}", text(&output.stderr));
        assert_eq!((account(&segment, set), words.copy()), before, "{args:?}");
    }
    assert!(crate::common::parked_for_good(watcher.pid()));
}

/// Processor time of a process and its threads, in nanoseconds.
fn processor_time(pid: i32) -> u64 {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let time = |thread: fs::DirEntry| {
        let stat = fs::read_to_string(thread.path().join("schedstat")).unwrap();
        stat.split(' ').next().unwrap().parse::<u64>().unwrap()
    };
    threads.map(|thread| time(thread.unwrap())).sum()
}

#[test]
fn a_look_at_a_hundred_channels_takes_less_than_a_fiftieth_of_a_second() {
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
    let pid = top.pid();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(top.stdout()));
    let mut look = || assert!(lines.next().unwrap().unwrap().contains("channel.99"));
    // Each look is a line. The first pays for what all have.
    look();
    let before = processor_time(pid);
    const LOOKS: u64 = 20;
    (0..LOOKS).for_each(|_| look());
    let each = (processor_time(pid) - before) / LOOKS;
    println!("{each} ns a look");
    // By default there is one a second: this is 2 % of a processor.
    assert!(each < 20_000_000, "{each} ns");
    drop(ends);
}
