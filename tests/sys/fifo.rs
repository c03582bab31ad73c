//! FIFOs against the real kernel.

use crate::common;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use common::{Brief, Folder, Peer, as_nobody, parked_in, says, wait_until};
use tombolo::sys::pipe::PIPE_BUF;
use tombolo::sys::{Error, ErrorKind, Object, fifo, proc};

const OPEN: &[i64] = &[libc::SYS_openat];

/// A FIFO in a folder.
fn fifo_in(folder: &Folder) -> PathBuf {
    let path = folder.path("fifo");
    fifo::create(&path, 0o600).unwrap();
    path
}

#[test]
fn a_new_fifo_is_its_makers_and_as_described() {
    let folder = Folder::new();
    let path = fifo_in(&folder);
    let stat = fifo::stat(&path).unwrap();
    assert_eq!((stat.uid, stat.mode), (proc::uid(), 0o600));
    fifo::remove(&path).unwrap();
    fifo::create(&path, 0o600).unwrap();
    let error = fifo::create(&path, 0o600).unwrap_err();
    says(&error, ErrorKind::Exists, &["a FIFO of uid", "mode 0600", path.to_str().unwrap()]);
    assert_eq!(error.object(), &Object::Fifo(path.into()));
}

#[test]
fn without_a_reader_there_is_none_to_write_to() {
    let folder = Folder::new();
    let path = fifo_in(&folder);
    let none = |error: &Error| says(error, ErrorKind::NoReader, &["nobody has it open"]);
    none(&fifo::options().writer(&path).unwrap_err());
    let reader = fifo::options().reader(&path).unwrap();
    let writer = fifo::options().writer(&path).unwrap();
    writer.write_record(b"1").unwrap();
    drop(reader);
    // Stale: its server has gone.
    none(&writer.write_record(b"2").unwrap_err());
    none(&fifo::options().writer(&path).unwrap_err());
    // A successor heals it, and gets what was not read: the writer has kept it.
    let reader = fifo::options().reader(&path).unwrap();
    writer.write_record(b"3").unwrap();
    let mut record = [0; 2];
    assert!(reader.read_record(&mut record).unwrap());
    assert_eq!(&record, b"13");
    // With the last who has it open, it goes.
    writer.write_record(b"45").unwrap();
    drop((reader, writer));
    let reader = fifo::options().reader(&path).unwrap();
    let _writer = fifo::options().writer(&path).unwrap();
    assert_eq!(reader.read_record(&mut record).unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
fn a_fifo_of_a_killed_server_is_told_from_a_served_one() {
    let folder = Folder::new();
    let path = fifo_in(&folder);
    let server = Peer::start("serve", &[&path.display()]);
    server.expect("open");
    drop(fifo::options().writer(&path).unwrap());
    server.finish();
    assert_eq!(fifo::options().writer(&path).unwrap_err().kind(), ErrorKind::NoReader);
    assert_eq!(fifo::create(&path, 0o600).unwrap_err().kind(), ErrorKind::Exists);
    fifo::remove(&path).unwrap();
    fifo::create(&path, 0o600).unwrap();
}

#[test]
fn the_end_comes_with_the_last_writer_however_it_ends() {
    let folder = Folder::new();
    let path = fifo_in(&folder);
    let reader = fifo::options().reader(&path).unwrap();
    let mut record = [0; 8];
    // Nobody has come yet.
    assert!(!reader.read_record(&mut record).unwrap());
    let writers = [1_u64, 2].map(|number| {
        let peer = Peer::start("write one", &[&path.display(), &number]);
        peer.expect("written");
        peer
    });
    let mut found = [0, 0].map(|_: i32| {
        assert!(reader.read_record(&mut record).unwrap());
        u64::from_ne_bytes(record)
    });
    found.sort_unstable();
    assert_eq!(found, [1, 2]);
    let [one, other] = writers;
    one.finish();
    assert_eq!(reader.read_record(&mut record).unwrap_err().kind(), ErrorKind::WouldBlock);
    reader.set_blocking(true).unwrap();
    other.kill();
    assert!(!reader.read_record(&mut record).unwrap());
}

#[test]
fn an_open_that_waits_ends_with_the_other_side() {
    let folder = Folder::new();
    let path = fifo_in(&folder);
    let server = Peer::start("wait for a writer", &[&path.display()]);
    wait_until(|| parked_in(server.pid(), OPEN));
    assert!(server.silent());
    let writer = fifo::options().wait(true).writer(&path).unwrap();
    server.expect("open");
    // It waits in reads, too.
    wait_until(|| parked_in(server.pid(), &[libc::SYS_read]));
    writer.write_record(&7_u64.to_ne_bytes()).unwrap();
    server.expect("7");
}

#[test]
fn records_of_several_writers_are_never_mixed() {
    const WRITERS: usize = 4;
    const RECORDS: usize = 500;
    let folder = Folder::new();
    let path = fifo_in(&folder);
    let reader = fifo::options().reader(&path).unwrap();
    let mut peers: Vec<Peer> = (1..=WRITERS)
        .map(|number| Peer::start("write many", &[&path.display(), &number, &RECORDS]))
        .collect();
    for peer in &peers {
        peer.expect("open");
    }
    reader.set_blocking(true).unwrap();
    for peer in &mut peers {
        peer.tell("go");
    }
    let (mut counts, mut killed) = ([0; WRITERS + 1], false);
    let mut record = [0; PIPE_BUF];
    while reader.read_record(&mut record).unwrap() {
        let writer = record[0];
        assert!(record.iter().all(|&byte| byte == writer), "a mixed record");
        counts[usize::from(writer)] += 1;
        // One dies in the middle of it.
        if !killed && counts[1] > 10 {
            killed = true;
            peers[0].kill();
        }
    }
    assert!(killed && counts[0] == 0 && counts[1] <= RECORDS, "{counts:?}");
    assert_eq!(counts[2..], [RECORDS; WRITERS - 1]);
}

#[test]
fn what_is_no_fifo_is_refused_and_left_alone() {
    let folder = Folder::new();
    let real = fifo_in(&folder);
    let (file, link, socket) = (folder.path("file"), folder.path("link"), folder.path("socket"));
    fs::write(&file, "precious").unwrap();
    symlink(&real, &link).unwrap();
    let _listener = UnixListener::bind(&socket).unwrap();
    let others: [(&Path, &str); 5] = [
        (&file, "a file"),
        (&link, "a symbolic link, which is not followed"),
        (&socket, "a socket"),
        (folder.whole(), "a directory"),
        (Path::new("/dev/null"), "a device"),
    ];
    for (path, what) in others {
        for error in [
            fifo::options().reader(path).unwrap_err(),
            fifo::options().writer(path).unwrap_err(),
            fifo::options().wait(true).reader(path).unwrap_err(),
            fifo::stat(path).unwrap_err(),
            fifo::remove(path).unwrap_err(),
        ] {
            says(&error, ErrorKind::NotFifo, &[what, path.to_str().unwrap()]);
        }
        says(&fifo::create(path, 0o600).unwrap_err(), ErrorKind::Exists, &[what]);
        assert!(fs::symlink_metadata(path).is_ok());
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
}

#[test]
fn a_missing_fifo_and_a_missing_directory_are_told_apart() {
    let folder = Folder::new();
    let path = folder.path("none");
    for error in [
        fifo::options().reader(&path).unwrap_err(),
        fifo::options().writer(&path).unwrap_err(),
        fifo::stat(&path).unwrap_err(),
        fifo::remove(&path).unwrap_err(),
    ] {
        says(&error, ErrorKind::NotFound, &["nothing of that name", "creator"]);
    }
    let path = folder.path("missing/fifo");
    for error in [fifo::create(&path, 0o600).unwrap_err(), fifo::stat(&path).unwrap_err()] {
        says(&error, ErrorKind::NotFound, &["missing is no directory", "create it first"]);
    }
    let error = fifo::create(folder.path(&"x".repeat(300)), 0o600).unwrap_err();
    says(&error, ErrorKind::Invalid, &["255 bytes"]);
}

#[test]
fn an_owner_and_a_mode_can_be_asked_for() {
    let folder = Folder::new();
    let path = fifo_in(&folder);
    let me = proc::uid();
    let ours = fifo::options().owner(me).deny(0o077);
    let _reader = ours.reader(&path).unwrap();
    ours.writer(&path).unwrap();
    let error = fifo::options().owner(me + 1).writer(&path).unwrap_err();
    says(&error, ErrorKind::Untrusted, &["belongs to uid", "not to uid"]);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o622)).unwrap();
    let error = ours.writer(&path).unwrap_err();
    says(&error, ErrorKind::Untrusted, &["mode 0622", "0077"]);
}

#[test]
fn a_missing_permission_names_owner_and_mode() {
    let folder = Folder::new();
    let path = fifo_in(&folder);
    as_nobody(|| {
        for error in
            [fifo::options().reader(&path).unwrap_err(), fifo::options().writer(&path).unwrap_err()]
        {
            says(&error, ErrorKind::PermissionDenied, &["uid 0", "mode 0600", "uid 65534"]);
        }
        for error in
            [fifo::create(folder.path("new"), 0o600).unwrap_err(), fifo::remove(&path).unwrap_err()]
        {
            says(&error, ErrorKind::PermissionDenied, &["uid 0", "uid 65534", "directory"]);
        }
    });
}

#[test]
#[ignore = "what the child processes run"]
fn child_entry() {
    let Some(brief) = Brief::take() else { return };
    let path = brief.text(0);
    match &*brief.role {
        "serve" => {
            let _reader = fifo::options().reader(path).unwrap();
            brief.say("open");
            brief.hear();
        }
        "wait for a writer" => {
            let reader = fifo::options().wait(true).reader(path).unwrap();
            brief.say("open");
            let mut record = [0; 8];
            assert!(reader.read_record(&mut record).unwrap());
            brief.say(u64::from_ne_bytes(record));
        }
        "write one" => {
            let writer = fifo::options().writer(path).unwrap();
            writer.write_record(&brief.number::<u64>(1).to_ne_bytes()).unwrap();
            brief.say("written");
            brief.hear();
        }
        "write many" => {
            let writer = fifo::options().writer(path).unwrap();
            writer.set_blocking(true).unwrap();
            brief.say("open");
            brief.hear();
            for _ in 0..brief.number(2) {
                writer.write_record(&[brief.number(1); PIPE_BUF]).unwrap();
            }
        }
        role => panic!("{role}"),
    }
}
