//! Children that are started with a segment.

#![allow(unsafe_code)]

use crate::common;

use std::env;
use std::fs;
use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use common::{Child as Forked, Name, PATIENCE, own_tables, tables, wait_until};
use tombolo::sys::pipe;
use tombolo::{Event, Fault, InheritError, Options, RecvError, Segment, SpawnError, SpawnedChild};

const ROLE: &str = "TOMBOLO_TEST_HEIR";
const ID: &str = "TOMBOLO_TEST_ID";

/// This program as a child with a role.
fn child(role: &str) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command
        .args([&*common::entry(), "--exact", "--ignored", "--nocapture", "--test-threads=1"])
        .env(ROLE, role)
        .stdout(Stdio::null());
    command
}

/// This program started by a shell, as `$RUN` in its script.
fn below(script: &str, role: &str) -> Command {
    let program = env::current_exe().unwrap();
    let run = format!("{} {} --exact --ignored --nocapture", program.display(), common::entry());
    let mut command = Command::new("bash");
    command.arg("-c").arg(script).env("RUN", run).env(ROLE, role).stdout(Stdio::null());
    command
}

/// A child that is killed with the test.
struct Kept(SpawnedChild);

impl Kept {
    fn of(segment: &Segment, mut command: Command) -> Kept {
        command.env(ID, segment.id().to_string()).stdin(Stdio::piped());
        Kept(segment.spawn(&mut command).unwrap())
    }

    fn tell(&mut self) {
        self.0.child().stdin.take().unwrap().write_all(b"go\n").unwrap();
    }

    /// Its exit code.
    fn ends(mut self) -> i32 {
        ends(self.0.child())
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let _ = self.0.child().kill();
        let _ = self.0.child().wait();
    }
}

fn ends(child: &mut Child) -> i32 {
    let mut status = None;
    wait_until(|| {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    status.unwrap().code().unwrap()
}

fn small() -> Options {
    Segment::options().size(1 << 16).participants(8).channels(4)
}

/// Kernel tables of this test's own, for what a killed parent leaves.
fn anonymous() -> Option<Segment> {
    own_tables().then(|| small().anonymous().unwrap())
}

/// A child's findings, as it says in a channel.
fn found(segment: &Segment) -> String {
    let mut words = segment.bytes("found").capacity(4, 1_000).receiver().unwrap();
    let said = words.take_timeout(PATIENCE).unwrap().to_vec();
    String::from_utf8(said).unwrap()
}

#[test]
fn a_child_gets_an_anonymous_segment_and_a_named_one() {
    let Some(segment) = anonymous() else { return };
    let name = Name::new();
    let named = small().create(&name).unwrap();
    for segment in [&segment, &named] {
        let numbers = segment.channel::<u64>("numbers").capacity(4).receiver().unwrap();
        let mut spawned = Kept::of(segment, child("send a number"));
        spawned.0.joined().unwrap();
        assert_eq!(numbers.recv().unwrap(), 42);
        assert!(matches!(numbers.recv(), Err(RecvError::Disconnected)));
        assert_eq!(spawned.ends(), 0);
    }
    drop((segment, named));
    drop(name);
    wait_until(|| tables() == (0, 0));
}

#[test]
fn the_parent_learns_of_the_childs_death_as_of_any_peers() {
    let Some(segment) = anonymous() else { return };
    let events = segment.events();
    let numbers = segment.channel::<u64>("numbers").capacity(4).receiver().unwrap();
    let mut spawned = Kept::of(&segment, child("stay with a sender"));
    spawned.0.joined().unwrap();
    let pid = spawned.0.child().id();
    assert!(matches!(events.recv().unwrap(), Event::Joined(member) if member.pid == pid));
    assert_eq!(numbers.recv().unwrap(), 1);
    let killer = thread::spawn(move || {
        common::wait_until(|| common::parked(i32::try_from(std::process::id()).unwrap()));
        spawned.0.child().kill().unwrap();
        spawned
    });
    assert!(matches!(numbers.recv(), Err(RecvError::Disconnected)));
    assert!(matches!(events.recv().unwrap(), Event::Died(death) if death.pid == pid));
    drop(killer.join().unwrap());
}

/// It joins, and is no end of anything.
#[test]
fn the_parent_learns_of_the_death_of_a_child_that_has_opened_no_channel() {
    let Some(segment) = anonymous() else { return };
    let numbers = segment.channel::<u64>("numbers").capacity(4).receiver().unwrap();
    let mut spawned = Kept::of(&segment, child("join and stay"));
    let peer = spawned.0.joined().unwrap();
    assert_eq!(spawned.0.joined().unwrap(), peer, "once more");
    let listed = segment.participants();
    assert_eq!(listed.iter().find(|one| !one.own).unwrap().peer, peer);
    numbers.bind_to_peer(peer).unwrap();
    let me = common::tid();
    let killer = thread::spawn(move || {
        wait_until(|| common::thread_parked(me));
        spawned.0.child().kill().unwrap();
        spawned
    });
    let told = numbers.recv();
    assert!(
        matches!(told, Err(RecvError::Fault(Fault::PeerGone { peer: its })) if its == peer),
        "{told:?}"
    );
    drop(killer.join().unwrap());
}

#[test]
fn the_segment_waits_for_the_child_and_goes_with_the_last() {
    let Some(segment) = anonymous() else { return };
    let mut spawned = Kept::of(&segment, child("join when told"));
    drop(segment);
    // Nobody else is on it but the spawned that waits for the child.
    wait_until(|| tables() == (1, 1));
    assert!(!spawned.0.joined_timeout(Duration::from_millis(1)).unwrap());
    spawned.tell();
    spawned.0.joined().unwrap();
    // From here on the child alone has it.
    assert_eq!(spawned.ends(), 0);
    wait_until(|| tables() == (0, 0));
}

#[test]
fn a_segment_that_nobody_kept_is_gone_with_a_typed_error() {
    let Some(segment) = anonymous() else { return };
    let mut command = child("join when told");
    command.stdin(Stdio::piped());
    let spawned = segment.spawn(&mut command).unwrap();
    let mut child = spawned.into_child();
    drop(segment);
    wait_until(|| tables() == (0, 0));
    child.stdin.take().unwrap().write_all(b"go\n").unwrap();
    assert_eq!(ends(&mut child), GONE);
}

#[test]
fn a_child_that_ends_without_joining_is_told_of() {
    let Some(segment) = anonymous() else { return };
    let mut spawned = segment.spawn(Command::new("true").stdout(Stdio::null())).unwrap();
    let pid = spawned.child().id();
    let error = spawned.joined().unwrap_err();
    assert!(matches!(error, SpawnError::NeverJoined { pid: its } if its == pid), "{error}");
    spawned.child().wait().unwrap();
    // Killed before.
    let mut spawned = Kept::of(&segment, child("join when told"));
    spawned.0.child().kill().unwrap();
    assert!(matches!(spawned.0.joined(), Err(SpawnError::NeverJoined { .. })));
}

#[test]
fn a_program_that_is_not_there_is_named() {
    let Some(segment) = anonymous() else { return };
    let error = segment.spawn(&mut Command::new("/no/such/program")).unwrap_err();
    assert!(error.to_string().contains("cannot start /no/such/program"), "{error}");
    assert!(matches!(error, SpawnError::Start { .. }));
    assert_eq!(segment.participants().len(), 1);
}

#[test]
fn a_removed_segment_is_not_handed_over() {
    let Some(segment) = anonymous() else { return };
    segment.remove().unwrap();
    let error = segment.spawn(&mut Command::new("true")).unwrap_err();
    assert!(matches!(error, SpawnError::Fault(Fault::Closed)), "{error}");
}

#[test]
fn pipes_lead_both_ways() {
    let Some(segment) = anonymous() else { return };
    let spawned = segment.spawn(&mut child("square")).unwrap();
    let (mut child, to, from) = spawned.into_pipes().unwrap();
    let mut number = [0; 8];
    for n in 1..=3_u64 {
        to.write_record(&n.to_ne_bytes()).unwrap();
        assert!(from.read_record(&mut number).unwrap());
        assert_eq!(u64::from_ne_bytes(number), n * n);
    }
    // Each finds the end of the other.
    drop(to);
    assert!(!from.read_record(&mut number).unwrap());
    assert_eq!(ends(&mut child), 0);
}

#[test]
fn an_inheritance_is_taken_once() {
    let Some(segment) = anonymous() else { return };
    assert_eq!(Kept::of(&segment, child("take it twice")).ends(), 0);
}

#[test]
fn who_was_not_started_with_one_is_told_so() {
    let status = child("expect nothing").env_remove("TOMBOLO_INHERIT").status().unwrap();
    assert_eq!(status.code(), Some(0));
    assert!(matches!(Segment::inherited(), Err(InheritError::NotHandedOver)));
}

#[test]
fn a_program_that_takes_the_place_of_the_child_inherits() {
    let Some(segment) = anonymous() else { return };
    let spawned = Kept::of(&segment, below("exec $RUN", "say what is found"));
    assert_eq!(found(&segment), "joined");
    assert_eq!(spawned.ends(), 0);
}

#[test]
fn a_grandchild_is_refused_and_takes_nobodys_descriptor() {
    let Some(segment) = anonymous() else { return };
    // The child has not taken it: the descriptors are there, in the grandchild
    // as well.
    let mut spawned = Kept::of(&segment, below("$RUN; exit $?", "say what is found, by id"));
    let (said, shell) = (found(&segment), spawned.0.child().id());
    assert!(
        said.contains("NotForThis") && said.contains(&format!("is process {shell}:")),
        "{said}"
    );
    assert_eq!(spawned.ends(), 0);
    // The child has taken it; the variable is still there.
    let spawned = Kept::of(&segment, child("have a child that is refused"));
    assert_eq!(spawned.ends(), 0);
}

#[test]
fn what_is_in_the_place_of_a_closed_descriptor_is_left_alone() {
    let Some(segment) = anonymous() else { return };
    let (first, second) = ("cut -d: -f2", "cut -d: -f4");
    for done in ["$N<&-", "$N</dev/null", "$N>&$M", "$M<&$N"] {
        let script = format!(
            "N=$({first} <<<$TOMBOLO_INHERIT); M=$({second} <<<$TOMBOLO_INHERIT); \
             eval \"exec {done}\"; exec $RUN"
        );
        let spawned = Kept::of(&segment, below(&script, "say what is found, by id"));
        let said = found(&segment);
        assert!(said.contains("Spent"), "{done}: {said}");
        assert_eq!(spawned.ends(), 0, "{done}");
    }
    for senseless in ["", "7", "1:2:3:4", "x:3:4:5:6", "-1:-1:-1:-1:-1"] {
        let set = format!("TOMBOLO_INHERIT='{senseless}' exec $RUN");
        let spawned = Kept::of(&segment, below(&set, "say what is found, by id"));
        let said = found(&segment);
        assert!(said.contains("Spent"), "{senseless}: {said}");
        assert_eq!(spawned.ends(), 0, "{senseless}");
    }
}

#[test]
fn an_orphan_is_refused_rather_than_mistaken() {
    let Some(segment) = anonymous() else { return };
    let mut parent = child("leave an orphan");
    parent.env(ID, segment.id().to_string());
    assert_eq!(parent.status().unwrap().code(), Some(0));
    let said = found(&segment);
    assert!(said.contains("NotForThis"), "{said}");
}

#[test]
fn other_children_get_neither_descriptors_nor_the_variable() {
    let Some(segment) = anonymous() else { return };
    let mut spawned = Kept::of(&segment, child("stay with a sender"));
    spawned.0.joined().unwrap();
    let open = |pid: u32| {
        let entries = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
        let numbers = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        numbers.filter(|number| number.parse::<i32>().unwrap() > 2).count()
    };
    let mut other = Command::new("sleep");
    let mut other = other.arg("100").spawn().unwrap();
    wait_until(|| {
        fs::read_link(format!("/proc/{}/exe", other.id()))
            .is_ok_and(|exe| !exe.ends_with(env::current_exe().unwrap().file_name().unwrap()))
    });
    // Its loader has files open for a moment.
    wait_until(|| open(other.id()) == open_of_a_stranger());
    other.kill().unwrap();
    other.wait().unwrap();
    // A command that is started again hands nothing over.
    let mut again = child("expect nothing");
    let mut first = segment.spawn(&mut again).unwrap();
    assert_ne!(ends(first.child()), 0, "it had something");
    assert_eq!(again.status().unwrap().code(), Some(0));
}

/// How many descriptors beyond the standard ones any child of this process
/// has: those that its own parent let it have.
fn open_of_a_stranger() -> usize {
    let entries = fs::read_dir("/proc/self/fd").unwrap();
    let numbers = entries.filter_map(|entry| entry.unwrap().file_name().into_string().ok());
    numbers
        .filter_map(|number| {
            let info = fs::read_to_string(format!("/proc/self/fdinfo/{number}")).ok()?;
            let flags =
                info.lines().find_map(|line| line.strip_prefix("flags:"))?.trim().to_owned();
            let kept = u32::from_str_radix(&flags, 8).ok()? & libc::O_CLOEXEC as u32 == 0;
            (kept && number.parse::<i32>().ok()? > 2).then_some(())
        })
        .count()
}

#[test]
fn a_forked_child_can_hand_nothing_over() {
    let Some(segment) = anonymous() else { return };
    let forked = Forked::fork(|| {
        let mut command = Command::new("true");
        i32::from(matches!(segment.spawn(&mut command), Err(SpawnError::Fault(Fault::Forked))))
    });
    assert_eq!(forked.join(), 1);
}

// The children.

/// Their exit status if the segment has gone.
const GONE: i32 = 9;

fn say(segment: &Segment, what: &str) {
    let words = segment.bytes("found").capacity(4, 1_000).sender().unwrap();
    words.send(what.as_bytes()).unwrap();
}

#[test]
#[ignore = "what the child processes run"]
fn child_entry() {
    let Ok(role) = env::var(ROLE) else { return };
    match &*role {
        "send a number" => {
            let segment = Segment::inherited().unwrap();
            segment.channel::<u64>("numbers").capacity(4).sender().unwrap().send(42).unwrap();
        }
        "stay with a sender" => {
            let segment = Segment::inherited().unwrap();
            let numbers = segment.channel::<u64>("numbers").capacity(4).sender().unwrap();
            numbers.send(1).unwrap();
            common::sleep_forever();
        }
        "join and stay" => {
            let _segment = Segment::inherited().unwrap();
            common::sleep_forever();
        }
        "join when told" => {
            let mut line = String::new();
            std::io::stdin().read_line(&mut line).unwrap();
            match Segment::inherited() {
                Ok(_) => {}
                Err(InheritError::Gone { .. }) => std::process::exit(GONE),
                Err(error) => panic!("{error}"),
            }
        }
        "square" => {
            let (_segment, from, to) = Segment::inherited_with_pipes().unwrap();
            let mut number = [0; 8];
            while from.read_record(&mut number).unwrap() {
                to.write_record(&u64::from_ne_bytes(number).pow(2).to_ne_bytes()).unwrap();
            }
        }
        "take it twice" => {
            let threads: Vec<_> = (0..8).map(|_| thread::spawn(Segment::inherited)).collect();
            let got: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
            assert_eq!(got.iter().filter(|got| got.is_ok()).count(), 1);
            let taken = |got: &Result<Segment, InheritError>| {
                matches!(got, Ok(_) | Err(InheritError::Taken))
            };
            assert!(got.iter().all(taken), "{got:?}");
            drop(got);
            assert!(matches!(Segment::inherited(), Err(InheritError::Taken)));
        }
        "expect nothing" => {
            let nothing = matches!(Segment::inherited(), Err(InheritError::NotHandedOver));
            std::process::exit(i32::from(!nothing));
        }
        "say what is found" => say(&Segment::inherited().unwrap(), "joined"),
        "say what is found, by id" => {
            let before = open_of_a_stranger();
            let told = format!("{:?}", Segment::inherited().unwrap_err());
            assert_eq!(open_of_a_stranger(), before, "a descriptor was taken");
            let id = env::var(ID).unwrap().parse().unwrap();
            say(&Segment::open_id(id).unwrap(), &told);
        }
        "have a child that is refused" => {
            let _segment = Segment::inherited().unwrap();
            // A taken descriptor would be the next number.
            let _other = pipe::pair().unwrap();
            assert!(env::var_os("TOMBOLO_INHERIT").is_some());
            let status = child("expect to be no child").status().unwrap();
            assert!(status.success());
        }
        "expect to be no child" => {
            let error = Segment::inherited().unwrap_err();
            assert!(matches!(error, InheritError::NotForThis { .. }), "{error}");
        }
        "leave an orphan" => {
            let id = env::var(ID).unwrap().parse().unwrap();
            let segment = Segment::open_id(id).unwrap();
            let wait = "while [ $(cut -d' ' -f4 /proc/$$/stat) = ${TOMBOLO_INHERIT%%:*} ]; do :; done; \
                        exec $RUN";
            segment.spawn(&mut below(wait, "say what is found, by id")).unwrap();
        }
        role => panic!("{role}"),
    }
}
