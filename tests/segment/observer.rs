//! Looking at a segment from outside: what is seen, and that nothing changes by it.

use crate::common;

use std::os::unix::fs::MetadataExt;
use std::process::Command;

use nix::unistd::Uid;
use tombolo::sys::{sem, shm};
use tombolo::{ChannelInfo, Observer, Passed, Segment, SegmentInfo};

use common::{Brief, Name, Peer, Words, as_nobody, in_own_namespace, wait_until};

/// A participant with a receiver in `quiet`, who has sent two messages into `full` and one
/// into `other`.
fn participant(name: &str) -> Peer {
    let peer = Peer::start("participant", &[&name]);
    peer.expect("there");
    peer
}

#[test]
#[ignore = "what the child processes run"]
fn child_entry() {
    let Some(brief) = Brief::take() else { return };
    let segment = Segment::options().size(1 << 18).participants(4).channels(4);
    let segment = segment.mode(0o644).create(brief.text(0)).unwrap();
    let quiet = segment.channel::<u64>("quiet").capacity(8).receiver().unwrap();
    let full = segment.channel::<u64>("full").capacity(2).sender().unwrap();
    let other = segment.channel::<u64>("other").capacity(2).sender().unwrap();
    full.send_batch(&[1, 2]).unwrap();
    other.send(3).unwrap();
    brief.say("there");
    match &*brief.hear() {
        "send" => full.send(3).unwrap(),
        _ => drop(quiet.recv()),
    }
}

fn the_one(observer: &mut Observer) -> SegmentInfo {
    let mut found = observer.look().unwrap();
    assert_eq!(found.len(), 1);
    found.remove(0)
}

fn channel<'a>(info: &'a SegmentInfo, name: &str) -> &'a ChannelInfo {
    info.channels.iter().find(|channel| channel.name == name).unwrap()
}

/// All that the kernel says of a segment and its set, as a process sees it that attaches
/// nothing.
fn account(info: &SegmentInfo) -> (shm::Stat, sem::Stat, Vec<u16>, Vec<i32>) {
    let (segment, set) = (shm::Shm::from_id(info.id), sem::Set::from_id(info.set));
    let stat = set.stat().unwrap();
    let mut values = vec![0; stat.count];
    set.values(&mut values).unwrap();
    let pids = (0..stat.count as u16).map(|sem| set.last_pid(sem).unwrap()).collect();
    (segment.stat().unwrap(), stat, values, pids)
}

/// Whether this process may map a segment by way of another.
fn may_checkpoint() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap();
    let capabilities = u64::from_str_radix(line.trim(), 16).unwrap();
    // In a container they may be there and mean nothing outside. The first user namespace
    // has this number on every machine.
    let namespace = std::fs::metadata("/proc/self/ns/user").unwrap().ino();
    let able = capabilities >> 21 & 1 == 1 && namespace == 0xEFFF_FFFD;
    if !able {
        eprintln!("SKIPPED: needs CAP_SYS_ADMIN outside of all user namespaces");
    }
    able
}

#[test]
fn a_look_changes_nothing_that_can_be_seen() {
    if !may_checkpoint() {
        return;
    }
    let name = Name::new();
    let mut peer = participant(&name);
    peer.tell("recv");
    peer.wait_until_parked();
    let mut observer = Observer::of(&name).unwrap();
    // Before the first look, only the numbers are known.
    let first = name.shm(0).unwrap().stat().unwrap();
    let info = the_one(&mut observer);
    assert_eq!(name.shm(0).unwrap().stat().unwrap(), first);
    let before = account(&info);
    for _ in 0..5 {
        assert_eq!(the_one(&mut observer).identity, info.identity);
        let all = Observer::all().look().unwrap();
        assert!(all.iter().any(|found| found.identity == info.identity));
    }
    assert_eq!(account(&info), before);
    assert_eq!(before.0.attached, 1);
    // The words last: to see them, this process attaches.
    let words = Words::reading(name.shm(0).unwrap());
    let copy = words.copy();
    the_one(&mut observer);
    assert_eq!(words.copy(), copy);
    assert!(peer.silent());
}

#[test]
fn who_may_only_read_leaves_the_count_of_attachments_as_it_was() {
    if !Uid::effective().is_root() {
        return;
    }
    let name = Name::new();
    let peer = participant(&name);
    as_nobody(|| {
        let mut observer = Observer::of(&name).unwrap();
        let (before, info) = (name.shm(0).unwrap().stat().unwrap(), the_one(&mut observer));
        let after = name.shm(0).unwrap().stat().unwrap();
        assert_eq!((info.participants, info.living_known), (1, true));
        assert_eq!((after.attached, after.change_time), (before.attached, before.change_time));
    });
    drop(peer);
}

#[test]
fn sleepers_and_the_stopped_are_seen() {
    let name = Name::new();
    let mut peer = participant(&name);
    let mut observer = Observer::of(&name).unwrap();
    let info = the_one(&mut observer);
    assert_eq!(channel(&info, "quiet").receivers_asleep, Some(0));
    assert_eq!(info.people[0].stopped, Some(false));
    assert_eq!(info.people[0].peer.pid(), peer.pid().cast_unsigned());
    peer.tell("send");
    peer.wait_until_parked();
    let asleep = |info: &SegmentInfo| {
        let full = channel(info, "full");
        (full.senders_asleep, full.receivers_asleep)
    };
    wait_until(|| asleep(&the_one(&mut observer)) == (Some(1), Some(0)));
    let info = the_one(&mut observer);
    let n = info.channels.iter().position(|channel| channel.name == "full").unwrap();
    let ends = info.people[0].ends.iter().find(|ends| ends.channel == n).unwrap();
    assert_eq!((ends.senders, ends.receivers), (1, 0));
    assert_eq!((ends.waiting_senders, ends.waiting_receivers), (1, 0));
    assert_eq!(info.people[0].ends.len(), 3);
    peer.stop();
    assert_eq!(the_one(&mut observer).people[0].stopped, Some(true));
    peer.resume();
    peer.kill();
    wait_until(|| the_one(&mut observer).people.is_empty());
    Segment::remove_named(&name).unwrap();
    assert_eq!(observer.look().unwrap(), []);
}

#[test]
fn what_has_gone_into_a_channel_of_each_kind_is_counted() {
    let segment = Segment::options().size(1 << 20).anonymous().unwrap();
    let mut observer = Observer::of_id(segment.id());
    let mpmc = segment.channel::<u64>("mpmc").capacity(4);
    let (to, from) = (mpmc.sender().unwrap(), mpmc.receiver().unwrap());
    let spsc = segment.channel::<u64>("spsc").capacity(4).spsc();
    let (to_one, from_one) = (spsc.sender().unwrap(), spsc.receiver().unwrap());
    let bytes = segment.bytes("bytes").capacity(4, 200);
    let (to_bytes, from_bytes) = (bytes.sender().unwrap(), bytes.receiver().unwrap());
    let records = segment.bytes("records").capacity(4, 24).spsc();
    let (to_records, from_records) = (records.sender().unwrap(), records.receiver().unwrap());
    let all = segment.broadcast::<u64>("all").capacity(4).publisher().unwrap();
    let service = segment.service::<u64, u64>("calls").capacity(2);
    let (client, server) = (service.client().unwrap(), service.server().unwrap());
    let passed = |observer: &mut Observer| {
        let info = the_one(observer);
        info.channels.iter().map(|channel| channel.passed).collect::<Vec<_>>()
    };
    let none = [
        Passed::Messages(0),
        Passed::Messages(0),
        Passed::Messages(0),
        Passed::Bytes(0),
        Passed::Messages(0),
        Passed::Calls(0),
    ];
    assert_eq!(passed(&mut observer), none);
    for n in 0..50 {
        to.send(n).unwrap();
        to_one.send(n).unwrap();
        to_bytes.send(&[1; 200]).unwrap();
        to_records.send(&[1; 20]).unwrap();
        all.send(n).unwrap();
        from.recv().unwrap();
        from_one.recv().unwrap();
        from_bytes.recv(&mut Vec::new()).unwrap();
        from_records.recv(&mut Vec::new()).unwrap();
        let call = client.start(n).unwrap();
        server.recv().unwrap().reply(n).unwrap();
        call.wait().unwrap();
    }
    to.send(1).unwrap();
    let pending = client.start(1).unwrap();
    let found = passed(&mut observer);
    let Passed::Bytes(bytes) = found[3] else { panic!("{found:?}") };
    // Each of 20 bytes, rounded up, behind 8; and what was left at the end of a lap.
    assert!((50 * 32..50 * 34).contains(&bytes), "{bytes}");
    let (fifty, more) = (Passed::Messages(50), Passed::Messages(51));
    assert_eq!(found, [more, fifty, fifty, Passed::Bytes(bytes), fifty, Passed::Calls(51)]);
    drop(pending);
}

#[test]
fn memory_counts_once_it_is_touched() {
    let segment = Segment::options().size(8 << 20).anonymous().unwrap();
    let mut observer = Observer::of_id(segment.id());
    let before = the_one(&mut observer).resident.unwrap();
    assert!(before < 1 << 20, "{before}");
    let blocks = segment.channel::<[u8; 4096]>("blocks").capacity(1024);
    let sender = blocks.sender().unwrap();
    for _ in 0..1024 {
        sender.send([1; 4096]).unwrap();
    }
    let after = the_one(&mut observer).resident.unwrap();
    assert!(after >= before + (4 << 20), "{before} {after}");
    assert_eq!(the_one(&mut observer).resident, Some(after));
}

#[test]
fn a_process_of_other_segments_with_the_same_id_is_not_taken_for_a_way() {
    if !may_checkpoint() {
        return;
    }
    // Both namespaces are new, so both segments have the first id.
    in_own_namespace(|| {
        let mut other = Command::new("unshare");
        other.arg("--ipc");
        let stranger = Name::new();
        let peer = Peer::start_under(other, "participant", &[&&*stranger]);
        peer.expect("there");
        let segment = Segment::options().size(1 << 16).anonymous().unwrap();
        // As if the creator were that process.
        let words = Words::behind(&segment);
        let pid = (512_usize + 8 * 64).next_multiple_of(128) / 8;
        let before = Observer::of_id(segment.id()).look().unwrap();
        for at in 0..64 {
            if words.get(pid + 16 * at) != 0 {
                words.put(pid + 16 * at, peer.pid().cast_unsigned().into());
            }
        }
        let mut observer = Observer::of_id(segment.id());
        for _ in 0..3 {
            let found = observer.look().unwrap();
            assert_eq!(found[0].identity, before[0].identity);
        }
        drop(peer);
    });
}

#[test]
fn a_name_that_is_not_there_is_no_error_and_comes_later() {
    let name = Name::new();
    let mut observer = Observer::of(&name).unwrap();
    assert_eq!(observer.look().unwrap(), []);
    let segment = Segment::options().size(1 << 16).create(&name).unwrap();
    assert_eq!(the_one(&mut observer).id, segment.id());
    assert!(Observer::of("").is_err());
}
