//! Servers and clients that meet at a FIFO: real processes, really killed.

#![allow(unsafe_code)]

mod roles;

use crate::common;

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use common::{Brief, Folder, Peer, as_nobody, own_tables, parked_in, tables, wait_until};
use tombolo::sys::pipe::{Reader, Writer};
use tombolo::sys::{ErrorKind, fifo, proc};
use tombolo::{ConnectError, Event, ListenError, Listener, Segment, connect, connect_timeout};

use roles::*;

const POLL: &[i64] = &[libc::SYS_poll];
const NAME: &str = "market";

/// Where the FIFOs of a runtime directory are.
fn fifos(folder: &Folder) -> Vec<String> {
    let path = folder.path("tombolo");
    let Ok(entries) = fs::read_dir(path) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// A runtime directory, and kernel tables, of this test's own: of the segments
/// that a killed server had made, the semaphore sets stay, and go with these.
fn place() -> Option<Folder> {
    own_tables().then(Folder::new)
}

fn start(folder: &Folder, role: &str) -> Peer {
    Peer::start_under(folder.as_runtime_directory(), role, &[])
}

fn serving(folder: &Folder, clients: u32) -> Peer {
    let server = Peer::start_under(folder.as_runtime_directory(), "serve", &[&clients]);
    server.expect("listening");
    server
}

fn server(folder: &Folder) -> Peer {
    serving(folder, u32::MAX)
}

/// A client by hand, which stops after so many steps, is in the middle of it.
fn halfway(folder: &Folder, steps: usize) -> Peer {
    let args: [&dyn std::fmt::Display; 1] = [&steps];
    let client = Peer::start_under(folder.as_runtime_directory(), "go halfway", &args);
    client.expect("there");
    client
}

#[test]
fn a_client_and_its_server_end_up_on_one_segment() {
    let Some(folder) = place() else { return };
    let server = serving(&folder, 3);
    let clients = [0, 1, 2].map(|_| start(&folder, "greet"));
    for client in clients {
        client.expect("greeted");
        assert_eq!(client.join(), 0);
    }
    for _ in 0..3 {
        assert!(server.said().starts_with("accepted"));
    }
    server.expect("done");
    assert_eq!(fifos(&folder), [""; 0]);
    wait_until(|| tables() == (0, 0));
}

#[test]
fn a_client_killed_anywhere_on_its_way_costs_nothing_and_leaves_nothing() {
    for steps in 1..=STEPS {
        let Some(folder) = place() else { return };
        let server = server(&folder);
        let victims = [0, 1].map(|_| halfway(&folder, steps));
        let last = steps == STEPS;
        victims.iter().for_each(Peer::kill);
        if last {
            // They have joined and left a message each.
            for _ in &victims {
                server.said();
            }
        }
        // The kernel tells the server, which sleeps without a time-out.
        wait_until(|| fifos(&folder) == [NAME] && parked_in(server.pid(), POLL));
        assert!(server.silent(), "after {steps} steps");
        wait_until(|| tables() == (0, 0));
        let client = start(&folder, "greet");
        client.expect("greeted");
        assert!(server.said().ends_with(", skipped 0"));
    }
}

#[test]
fn a_stopped_client_on_its_way_holds_nobody_up() {
    let Some(folder) = place() else { return };
    let server = server(&folder);
    for steps in 1..STEPS {
        halfway(&folder, steps).stop();
        let stopped = halfway(&folder, steps);
        stopped.stop();
        start(&folder, "greet").expect("greeted");
        assert!(server.said().starts_with("accepted"), "after {steps} steps");
    }
}

#[test]
fn clients_of_a_killed_server_are_told_at_once() {
    let Some(folder) = place() else { return };
    let server = server(&folder);
    server.stop();
    let clients = [0, 1, 2].map(|_| start(&folder, "connect"));
    for client in &clients {
        wait_until(|| parked_in(client.pid(), POLL));
    }
    server.kill();
    for client in clients {
        client.expect("gone");
    }
    // And later ones, as long as there is nobody.
    drop(server);
    start(&folder, "connect").expect("nobody");
    // The FIFO that it left is in nobody's way.
    let successor = self::server(&folder);
    start(&folder, "greet").expect("greeted");
    assert!(successor.said().starts_with("accepted"));
}

#[test]
fn clients_of_a_server_that_stops_to_listen_are_told_and_its_fifo_goes() {
    let Some(folder) = place() else { return };
    let server = start(&folder, "bind");
    server.expect("listening");
    let client = start(&folder, "connect");
    wait_until(|| parked_in(client.pid(), POLL));
    assert_eq!(server.join(), 0);
    client.expect("gone");
    wait_until(|| fifos(&folder).is_empty());
}

#[test]
fn a_client_waits_no_longer_than_it_said() {
    let Some(folder) = place() else { return };
    let server = server(&folder);
    server.stop();
    start(&folder, "connect within 50 ms").expect("timed out");
    // With a FIFO that is full, too.
    let mut stuffing = writer(&folder);
    while stuffing.write(&[b'.'; 4_096]).is_ok() {}
    start(&folder, "connect within 50 ms").expect("timed out");
}

#[test]
fn clients_wait_for_room_and_junk_is_skipped() {
    let Some(folder) = place() else { return };
    let server = server(&folder);
    server.stop();
    let (mut stuffing, mut junk) = (writer(&folder), 0);
    // The beginning of a request, over and over.
    while let Ok(written) = stuffing.write(b"tmb-ask\n\x01\0\0\0\0\0\0\0\x07\0") {
        junk += written;
    }
    let clients: Vec<Peer> = (0..20).map(|_| start(&folder, "greet")).collect();
    for client in &clients {
        wait_until(|| parked_in(client.pid(), POLL));
        assert!(client.silent());
    }
    assert_ne!(junk % 40, 0, "a reader of 40 bytes would be in step again");
    server.resume();
    for (number, client) in (1..).zip(clients) {
        client.expect("greeted");
        server.expect(&format!("accepted {number}, skipped {junk}"));
    }
    // Whole requests of nobody, and of a client that is there twice, are no
    // clients.
    stuffing.write_all(&request(0x1234)).unwrap();
    let twice = halfway(&folder, 2);
    let token = fifos(&folder).iter().find_map(|name| name.strip_prefix("market@").map(token));
    stuffing.write_all(&request(token.unwrap())).unwrap();
    stuffing.write_all(&request(token.unwrap())).unwrap();
    twice.kill();
    start(&folder, "greet").expect("greeted");
    assert!(server.said().starts_with("accepted"));
    assert!(server.silent());
}

#[test]
fn a_thousand_clients_at_one_fifo_some_killed_on_the_way() {
    const PROCESSES: usize = 20;
    const EACH: usize = 50;
    let Some(folder) = place() else { return };
    let server = server(&folder);
    server.stop();
    let mut crowds: Vec<Peer> = (0..PROCESSES).map(|_| start(&folder, "greet 50 times")).collect();
    // All have asked, and wait for the answer.
    wait_until(|| fifos(&folder).len() == PROCESSES * EACH + 1);
    let victims = crowds.split_off(PROCESSES - 5);
    // Some while nobody answers, some while they are answered.
    let (early, late) = victims.split_at(2);
    early.iter().for_each(Peer::kill);
    server.resume();
    assert!(server.said().starts_with("accepted"));
    late.iter().for_each(Peer::kill);
    for crowd in crowds {
        crowd.expect("all greeted");
        assert_eq!(crowd.join(), 0);
    }
    wait_until(|| fifos(&folder) == [NAME]);
    // One more, known by what comes before it.
    writer(&folder).write_all(b".").unwrap();
    start(&folder, "greet").expect("greeted");
    let mut accepted = 1;
    while !server.said().ends_with("skipped 1") {
        accepted += 1;
    }
    let (living, all) = ((PROCESSES - 5) * EACH, (PROCESSES - 2) * EACH);
    assert!((living..=all).contains(&accepted), "{accepted} accepted");
    wait_until(|| tables() == (0, 0));
}

#[test]
fn of_servers_that_start_together_over_a_dead_ones_fifo_one_wins() {
    let Some(folder) = place() else { return };
    for _ in 0..15 {
        // Left by a killed server.
        server(&folder).finish();
        assert_eq!(fifos(&folder), [NAME]);
        let mut servers: Vec<Peer> = (0..6).map(|_| start(&folder, "try to bind")).collect();
        servers.iter().for_each(|server| server.expect("ready"));
        servers.iter_mut().for_each(|server| server.tell("go"));
        let said: Vec<String> = servers.iter().map(|server| server.said()).collect();
        let winners: Vec<_> =
            servers.iter().zip(&said).filter(|(_, said)| *said == "listening").collect();
        assert_eq!(winners.len(), 1, "{said:?}");
        // The others name it, and their going does not take the FIFO away.
        let pid = winners[0].0.pid();
        let named = format!("taken by {pid}");
        assert!(said.iter().all(|said| said == "listening" || *said == named), "{pid}: {said:?}");
        assert_eq!(fifos(&folder), [NAME]);
        servers
            .into_iter()
            .zip(&said)
            .filter(|(_, said)| *said != "listening")
            .for_each(|(loser, _)| assert_eq!(loser.join(), 0));
        assert_eq!(fifos(&folder), [NAME]);
    }
}

#[test]
fn a_new_server_sweeps_what_the_dead_have_left_and_nothing_else() {
    let Some(folder) = place() else { return };
    let living = server(&folder);
    let others = ["other", "third"].map(|name| {
        let server = Peer::start_under(folder.as_runtime_directory(), "bind as", &[&name]);
        server.expect("listening");
        server
    });
    fs::write(folder.path("tombolo/notes"), "mine").unwrap();
    others.iter().for_each(Peer::kill);
    drop(others);
    let mut there = fifos(&folder);
    there.sort();
    assert_eq!(there, ["market", "notes", "other", "third"]);
    let new = Peer::start_under(folder.as_runtime_directory(), "bind as", &[&"new"]);
    new.expect("listening");
    let mut there = fifos(&folder);
    there.sort();
    assert_eq!(there, ["market", "new", "notes"]);
    start(&folder, "greet").expect("greeted");
    drop(living);
}

/// Puts something where the directory would be.
type Plant<'a> = &'a dyn Fn(&Path);

#[test]
fn a_directory_that_others_could_use_is_refused() {
    let planted: [(Plant, &str); 4] = [
        (&|path| symlink("/", path).unwrap(), "untrusted: a symbolic link"),
        (&|path| fs::write(path, "").unwrap(), "untrusted: no directory"),
        (&|path| fs::DirBuilder::new().mode(0o755).create(path).unwrap(), "untrusted: chmod 700"),
        (
            &|path| {
                fs::DirBuilder::new().mode(0o700).create(path).unwrap();
                // Another user's, if this one may give it away.
                if std::os::unix::fs::chown(path, Some(65534), None).is_err() {
                    eprintln!("SKIPPED: another user's directory: needs to be root");
                    symlink("/", path).unwrap();
                }
            },
            "untrusted: belongs to uid 65534",
        ),
    ];
    for (plant, why) in planted {
        let Some(folder) = place() else { return };
        plant(&folder.path("tombolo"));
        for role in ["try to bind", "connect"] {
            let mut peer = start(&folder, role);
            if role == "try to bind" {
                peer.expect("ready");
                peer.tell("go");
            }
            let said = peer.said();
            let words = why.split(": ").collect::<Vec<_>>();
            assert!(words.iter().all(|word| said.contains(word)), "{role}, {why}: {said}");
        }
    }
}

#[test]
fn what_stands_in_the_way_of_a_name_is_said() {
    let Some(folder) = place() else { return };
    // Nobody has ever listened: no directory.
    start(&folder, "connect").expect("nobody");
    fs::DirBuilder::new().mode(0o700).create(folder.path("tombolo")).unwrap();
    start(&folder, "connect").expect("nobody");
    fs::write(folder.path("tombolo/market"), "precious").unwrap();
    for role in ["bind", "connect"] {
        let said = start(&folder, role).said();
        assert!(said.contains("NotFifo") && said.contains("a file of uid"), "{role}: {said}");
    }
    assert_eq!(fs::read_to_string(folder.path("tombolo/market")).unwrap(), "precious");
    // The runtime directory itself is missing.
    let mut elsewhere = std::process::Command::new("env");
    elsewhere.arg(format!("XDG_RUNTIME_DIR={}", folder.path("none").display()));
    let said = Peer::start_under(elsewhere, "bind", &[]).said();
    assert!(said.contains("NotFound") && said.contains("none is no directory"), "{said}");
    for name in ["", "a/b", ".hidden", "..", "a b", &"x".repeat(201)] {
        assert!(matches!(Listener::bind(name), Err(ListenError::BadName(_))), "{name:?}");
        assert!(matches!(connect(name), Err(ConnectError::BadName(_))), "{name:?}");
    }
}

#[test]
fn a_missing_permission_is_named() {
    let Some(folder) = place() else { return };
    let path = folder.path("closed");
    fs::create_dir(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let mut elsewhere = std::process::Command::new("env");
    elsewhere.arg(format!("XDG_RUNTIME_DIR={}", path.display()));
    as_nobody(|| {
        let said = Peer::start_under(elsewhere, "bind", &[]).said();
        assert!(said.contains("PermissionDenied") && said.contains("uid 65534"), "{said}");
    });
}

#[test]
fn a_stopped_newcomer_at_the_directory_is_told_of_not_waited_for_for_ever() {
    let Some(folder) = place() else { return };
    server(&folder).finish();
    let directory = File::open(folder.path("tombolo")).unwrap();
    directory.lock().unwrap();
    let mut waiting = start(&folder, "try to bind");
    waiting.expect("ready");
    waiting.tell("go");
    assert_eq!(waiting.said(), "busy");
    directory.unlock().unwrap();
    server(&folder);
}

#[test]
fn a_server_without_means_refuses_its_client_and_goes_on() {
    let Some(folder) = place() else { return };
    let server = start(&folder, "serve too much, then less");
    server.expect("listening");
    start(&folder, "connect").expect("refused");
    let said = server.said();
    assert!(said.contains("a client had to be refused"), "{said}");
    let client = start(&folder, "connect");
    client.expect("connected");
    server.expect("accepted");
}

#[test]
fn a_peer_that_dies_after_the_meeting_is_a_peer_that_dies() {
    let Some(folder) = place() else { return };
    let server = start(&folder, "watch");
    server.expect("listening");
    let mut client = start(&folder, "connect");
    client.expect("connected");
    server.expect("accepted");
    client.kill();
    server.expect(&format!("died {}", client.pid()));
    client = start(&folder, "connect and watch");
    client.expect("connected");
    server.expect("accepted");
    server.kill();
    client.expect(&format!("died {}", server.pid()));
}

#[test]
fn a_removed_fifo_is_noticed() {
    let Some(folder) = place() else { return };
    let server = server(&folder);
    let client = start(&folder, "greet");
    client.expect("greeted");
    assert!(server.said().starts_with("accepted"));
    let on_its_way = halfway(&folder, 1);
    fs::remove_file(folder.path("tombolo/market")).unwrap();
    drop(on_its_way);
    let said = server.said();
    assert!(said.contains("removed behind its back"), "{said}");
}

#[test]
fn a_server_takes_nobodys_fifo_away_but_its_own() {
    let Some(folder) = place() else { return };
    let first = start(&folder, "bind");
    first.expect("listening");
    fs::remove_file(folder.path("tombolo/market")).unwrap();
    let second = server(&folder);
    assert_eq!(first.join(), 0);
    start(&folder, "greet").expect("greeted");
    assert!(second.said().starts_with("accepted"));
}

#[test]
fn a_forked_child_has_no_listener_and_leaves_the_fifo() {
    let Some(folder) = place() else { return };
    let server = start(&folder, "bind and fork");
    server.expect("listening");
    server.expect("the child was refused");
    assert_eq!(fifos(&folder), [NAME]);
}

#[test]
fn who_does_not_wait_gets_its_clients_as_well() {
    let Some(folder) = place() else { return };
    let server = start(&folder, "serve without waiting");
    server.expect("listening");
    let client = start(&folder, "connect");
    client.expect("connected");
    server.expect("accepted");
}

// The children.

#[test]
#[ignore = "what the child processes run"]
fn child_entry() {
    let Some(brief) = Brief::take() else { return };
    match &*brief.role {
        "serve" => serve(&brief),
        "bind" => match Listener::bind(NAME) {
            Ok(listener) => {
                brief.say("listening");
                let mut line = String::new();
                std::io::stdin().read_line(&mut line).unwrap();
                drop(listener);
            }
            Err(error) => brief.say(format!("{error:?}")),
        },
        "bind as" => {
            brief.say(bound(Listener::bind(brief.text(0))));
            brief.hear();
        }
        "try to bind" => {
            brief.say("ready");
            brief.hear();
            brief.say(bound(Listener::bind(NAME)));
            let mut line = String::new();
            std::io::stdin().read_line(&mut line).unwrap();
        }
        "bind and fork" => {
            let mut listener = Listener::bind(NAME).unwrap();
            brief.say("listening");
            let child = common::Child::fork(|| {
                let forked = matches!(listener.try_accept(), Err(ListenError::Forked));
                // SAFETY: as the end of a scope would; the child ends without
                // using it again.
                unsafe { std::ptr::drop_in_place(&raw mut listener) };
                i32::from(forked)
            });
            assert_eq!(child.join(), 1);
            brief.say("the child was refused");
            brief.hear();
        }
        "serve too much, then less" => {
            let too_much = Segment::options().size(usize::MAX / 2);
            let mut listener = Listener::bind(NAME).unwrap().segments(too_much);
            brief.say("listening");
            brief.say(listener.accept().unwrap_err());
            let mut listener = listener.segments(small());
            let _segment = listener.accept().unwrap();
            brief.say("accepted");
            brief.hear();
        }
        "serve without waiting" => {
            let mut listener = Listener::bind(NAME).unwrap().segments(small());
            brief.say("listening");
            let mut segment = None;
            wait_until(|| {
                segment = listener.try_accept().unwrap();
                segment.is_some()
            });
            brief.say("accepted");
            brief.hear();
        }
        "watch" => {
            let mut listener = Listener::bind(NAME).unwrap().segments(small());
            brief.say("listening");
            for _ in 0..2 {
                let segment = listener.accept().unwrap();
                brief.say("accepted");
                watch(&brief, &segment);
            }
        }
        "go halfway" => {
            let mut client = Halfway::default();
            (1..=brief.number(0)).for_each(|number| client.step(number));
            brief.say("there");
            brief.hear();
        }
        "greet" => {
            greet();
            brief.say("greeted");
        }
        "greet 50 times" => {
            let crowd: Vec<_> = (0..50).map(|_| thread::spawn(greet)).collect();
            crowd.into_iter().for_each(|client| client.join().unwrap());
            brief.say("all greeted");
        }
        "connect" => {
            let connected = connect(NAME);
            let segment = connected.as_ref().ok().cloned();
            brief.say(told(connected));
            brief.hear();
            drop(segment);
        }
        "connect and watch" => {
            let segment = connect(NAME).unwrap();
            brief.say("connected");
            watch(&brief, &segment);
        }
        "connect within 50 ms" => brief.say(told(connect_timeout(NAME, Duration::from_millis(50)))),
        role => panic!("{role}"),
    }
}
