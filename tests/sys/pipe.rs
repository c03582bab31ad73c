//! Pipes against the real kernel.

#![allow(unsafe_code)]

use crate::common;

use std::env;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::process::{Command, Stdio};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};

use common::{Brief, Child, Peer, as_nobody, parked_in, says, wait_until};
use tombolo::sys::pipe::{self, PIPE_BUF, Reader, Writer, hand_over};
use tombolo::sys::{ErrorKind, Object};

#[test]
fn bytes_wait_in_order_and_are_counted() {
    let (mut reader, mut writer) = pipe::pair().unwrap();
    writer.write_all(b"one").unwrap();
    writer.write_record(b"two").unwrap();
    assert_eq!((reader.waiting().unwrap(), writer.waiting().unwrap()), (6, 6));
    let mut all = [0; 6];
    reader.read_exact(&mut all).unwrap();
    assert_eq!((&all, reader.waiting().unwrap()), (b"onetwo", 0));
}

#[test]
fn a_program_started_meanwhile_has_no_end() {
    let (reader, writer) = pipe::pair().unwrap();
    for end in [reader.as_fd(), writer.as_fd()] {
        let flags = fcntl(end, FcntlArg::F_GETFD).unwrap();
        assert_eq!(flags, FdFlag::FD_CLOEXEC.bits());
    }
}

#[test]
fn the_end_comes_when_the_last_writer_is_killed() {
    let (reader, writer) = pipe::pair().unwrap();
    let number = writer.as_fd().as_raw_fd();
    let text = *b"12345678";
    // The child has the end by descent. Only async-signal-safe calls there.
    let child = Child::fork(|| {
        // SAFETY: writes eight bytes that are there.
        unsafe { libc::write(number, text.as_ptr().cast(), text.len()) };
        common::sleep_forever()
    });
    drop(writer);
    let mut record = [0; 8];
    assert!(reader.read_record(&mut record).unwrap());
    assert_eq!(record, text);
    reader.set_blocking(false).unwrap();
    assert_eq!(reader.read_record(&mut record).unwrap_err().kind(), ErrorKind::WouldBlock);
    reader.set_blocking(true).unwrap();
    child.kill();
    assert!(!reader.read_record(&mut record).unwrap());
}

#[test]
fn nobody_to_read_is_an_error_and_no_signal() {
    let (reader, mut writer) = pipe::pair().unwrap();
    drop(reader);
    let error = writer.write_record(b"x").unwrap_err();
    says(&error, ErrorKind::NoReader, &["EPIPE", "every reading end is closed"]);
    assert_eq!(error.object(), &Object::Pipe);
    assert_eq!(writer.write(b"x").unwrap_err().kind(), std::io::ErrorKind::BrokenPipe);
}

#[test]
fn a_record_is_written_whole_or_not_at_all() {
    let (reader, writer) = pipe::pair().unwrap();
    writer.set_blocking(false).unwrap();
    let capacity = writer.set_capacity(2 * PIPE_BUF).unwrap();
    writer.write_record(&[1; PIPE_BUF - 1]).unwrap();
    writer.write_record(&[2; PIPE_BUF]).unwrap();
    // Only one byte is free: none of these is written.
    for len in [2, 100, PIPE_BUF] {
        let error = writer.write_record(&[3; PIPE_BUF][..len]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
    }
    assert_eq!(reader.waiting().unwrap(), capacity - 1);
    let error = writer.write_record(&[4; PIPE_BUF + 1]).unwrap_err();
    says(&error, ErrorKind::TooBig, &["4097 bytes", "PIPE_BUF", "4096"]);
    assert_eq!(writer.write_record(&[]).unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn a_part_of_a_record_is_noticed() {
    let (reader, writer) = pipe::pair().unwrap();
    writer.write_record(b"abc").unwrap();
    let error = reader.read_record(&mut [0; 8]).unwrap_err();
    says(&error, ErrorKind::Invalid, &["3 bytes came, and a record has 8"]);
    for (len, kind) in [(0, ErrorKind::Invalid), (PIPE_BUF + 1, ErrorKind::TooBig)] {
        assert_eq!(reader.read_record(&mut vec![0; len]).unwrap_err().kind(), kind);
    }
}

#[test]
fn capacity_is_set_and_its_limits_are_named() {
    let (reader, writer) = pipe::pair().unwrap();
    assert_eq!(reader.set_capacity(1).unwrap(), 4096);
    assert_eq!(reader.set_capacity(5000).unwrap(), 8192);
    assert_eq!((reader.capacity().unwrap(), writer.capacity().unwrap()), (8192, 8192));
    writer.write_record(&[0; PIPE_BUF]).unwrap();
    writer.write_record(&[0; PIPE_BUF]).unwrap();
    let error = writer.set_capacity(4096).unwrap_err();
    says(&error, ErrorKind::Busy, &["EBUSY", "more bytes wait"]);
    // Of which the kernel cannot make one, and which few may ask for.
    let error = writer.set_capacity(usize::MAX).unwrap_err();
    says(&error, error.kind(), &["fs.pipe-max-size", "CAP_SYS_RESOURCE"]);
    assert!(matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::Invalid), "{error}");
    as_nobody(|| {
        let most = std::fs::read_to_string("/proc/sys/fs/pipe-max-size").unwrap();
        let more = 2 * most.trim().parse::<usize>().unwrap();
        let error = writer.set_capacity(more).unwrap_err();
        says(&error, ErrorKind::PermissionDenied, &["fs.pipe-max-size allows", most.trim()]);
    });
}

#[test]
fn an_end_is_handed_to_one_child() {
    let (from_child, writer) = pipe::pair().unwrap();
    let (reader, to_child) = pipe::pair().unwrap();
    let mut command = Command::new(env::current_exe().unwrap());
    let numbers = [
        hand_over(reader, &mut command).unwrap().to_string(),
        hand_over(writer, &mut command).unwrap().to_string(),
    ];
    // As `Peer` does, with a command of one's own.
    command
        .args([&common::entry(), "--exact", "--ignored", "--nocapture"])
        .env("TOMBOLO_TEST_ROLE", format!("echo\x1f{}\x1f{}", numbers[0], numbers[1]))
        .stdout(Stdio::null());
    let mut child = command.spawn().unwrap();
    drop(command);
    // A stranger that is started meanwhile does not keep the pipe open.
    let stranger = Peer::start("stay", &[]);
    stranger.expect("here");

    to_child.write_record(b"there and back").unwrap();
    let mut record = [0; 14];
    assert!(from_child.read_record(&mut record).unwrap());
    assert_eq!(&record, b"THERE AND BACK");
    // The child of the child does not either: it ends by the end of the file.
    drop(to_child);
    assert!(!from_child.read_record(&mut record).unwrap());
    assert!(child.wait().unwrap().success());
}

#[test]
fn what_was_not_handed_over_is_refused() {
    let (reader, writer) = pipe::pair().unwrap();
    let file = std::fs::File::open("/dev/null").unwrap();
    let number = |end: &dyn AsFd| end.as_fd().as_raw_fd();
    let of = |number| {
        // SAFETY: refused, so nothing is owned.
        unsafe { Reader::inherited(number) }.unwrap_err()
    };
    says(&of(number(&reader)), ErrorKind::Invalid, &["not inherited, or has been taken"]);
    says(&of(1), ErrorKind::Invalid, &["standard stream"]);
    says(&of(100_000), ErrorKind::NotFound, &["no descriptor of that number"]);
    for end in [file.as_fd(), writer.as_fd()] {
        fcntl(end, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
    }
    says(&of(number(&file)), ErrorKind::NotFifo, &["no pipe"]);
    says(&of(number(&writer)), ErrorKind::Invalid, &["other end"]);
    fcntl(&writer, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).unwrap();
}

#[test]
fn too_many_descriptors_are_named() {
    let peer = Peer::start("few descriptors", &[]);
    peer.expect("named");
    assert_eq!(peer.join(), 0);
}

#[test]
fn a_writer_waits_for_room_and_is_served() {
    let (reader, writer) = pipe::pair().unwrap();
    writer.set_capacity(4096).unwrap();
    writer.write_record(&[1; PIPE_BUF]).unwrap();
    let number = writer.as_fd().as_raw_fd();
    let bytes = [2_u8; PIPE_BUF];
    let child = Child::fork(|| {
        // SAFETY: writes bytes that are there.
        i32::from(unsafe { libc::write(number, bytes.as_ptr().cast(), PIPE_BUF) } != 4096)
    });
    wait_until(|| parked_in(child.pid(), &[libc::SYS_write]));
    let mut record = [0; PIPE_BUF];
    for expected in [1, 2] {
        assert!(reader.read_record(&mut record).unwrap());
        assert!(record.iter().all(|&byte| byte == expected));
    }
    assert_eq!(child.join(), 0);
}

fn echo(brief: &Brief) {
    // SAFETY: the parent handed over these two, and nothing else takes them.
    let reader = unsafe { Reader::inherited(brief.number(0)) }.unwrap();
    // SAFETY: as above.
    let writer = unsafe { Writer::inherited(brief.number(1)) }.unwrap();
    // SAFETY: refused, as it has been taken.
    let again = unsafe { Reader::inherited(brief.number(0)) }.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::Invalid);
    let mut record = [0; 14];
    while reader.read_record(&mut record).unwrap() {
        writer.write_record(&record.to_ascii_uppercase()).unwrap();
    }
}

fn few_descriptors() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, 20, hard).unwrap();
    let mut pairs = Vec::new();
    let error = loop {
        match pipe::pair() {
            Ok(pair) => pairs.push(pair),
            Err(error) => break error,
        }
    };
    says(&error, ErrorKind::NoSpace, &["EMFILE", "RLIMIT_NOFILE allows this process 20"]);
}

#[test]
#[ignore = "what the child processes run"]
fn child_entry() {
    let Some(brief) = Brief::take() else { return };
    match &*brief.role {
        "echo" => echo(&brief),
        "stay" => {
            brief.say("here");
            brief.hear();
        }
        "few descriptors" => {
            few_descriptors();
            brief.say("named");
        }
        role => panic!("{role}"),
    }
}
