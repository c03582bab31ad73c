//! The command in pipelines of a shell: which receiver gets the work, what becomes of
//! data that a dead one had not read, and what the shell is told when something
//! unusual was inherited.

#![allow(unsafe_code)]

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::thread;

use nix::sys::signal::{SigHandler, Signal, signal};

use crate::command::{PROGRAM, Running};
use crate::common::{Folder, Name, heed_signals};
use tombolo::Segment;

/// A shell with a segment's name, in a folder of its own.
struct Shell {
    name: Name,
    folder: Folder,
}

impl Shell {
    fn new() -> Self {
        Self { name: Name::new(), folder: Folder::new() }
    }

    /// `$T` is the command, `$N` the name.
    fn command(&self, script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]).env("T", PROGRAM);
        command.env("N", &*self.name).current_dir(self.folder.whole()).process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        heed_signals(&mut command);
        command
    }

    /// The output of a script, which ends well.
    #[track_caller]
    fn run(&self, script: &str) -> String {
        let output = Running::spawn(&mut self.command(script)).end();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{script}: {said}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.folder.path(file)).unwrap()
    }

    /// The different lines of these files.
    fn lines(&self, files: &[&str]) -> BTreeSet<String> {
        let text = files.iter().map(|file| self.read(file)).collect::<String>();
        text.lines().map(str::to_owned).collect()
    }
}

fn numbers(count: usize) -> BTreeSet<String> {
    (1..=count).map(|number| number.to_string()).collect()
}

#[test]
fn each_of_four_slow_readers_gets_its_share() {
    let shell = Shell::new();
    shell.run(
        "for i in 1 2 3 4; do
            $T recv $N --lines | while read j; do echo $j; sleep .04; done > $i &
        done
        seq 80 | $T send $N --lines && wait",
    );
    for reader in ["1", "2", "3", "4"] {
        let got = shell.read(reader).lines().count();
        assert!((12..=28).contains(&got), "reader {reader} got {got} of 80");
    }
    assert_eq!(shell.lines(&["1", "2", "3", "4"]), numbers(80));
}

#[test]
fn a_slow_reader_leaves_the_work_to_a_quick_one() {
    let shell = Shell::new();
    shell.run(
        "$T recv $N --lines | (while read j; do echo $j; sleep .2; done) > slow &
        $T recv $N --lines | cat > quick &
        (until test $($T ctl $N ping 2> none | grep -c ping) = 3; do sleep .01; done
        seq 100) | $T send $N --lines && wait",
    );
    assert!(shell.read("slow").lines().count() < 10);
    assert_eq!(shell.lines(&["slow", "quick"]), numbers(100));
}

#[test]
fn what_a_killed_reader_had_not_read_comes_to_another() {
    let shell = Shell::new();
    let said = shell.run(
        "($T recv $N --lines 2> said; echo $? > status) | sh -c '
            read l; echo $l > read; until test -e go; do sleep .01; done; kill -9 $$' &
        $T recv $N --lines > rest &
        (until test -s read; do echo x; sleep .02; done; seq 2000; touch go) |
            $T send $N --lines
        echo $?; wait; cat status",
    );
    // Nothing is lost; the receiver could not write on.
    assert_eq!(said, "0\n1\n");
    // As it waits for the reader, or as it writes the next line.
    let why = shell.read("said");
    let closed = ["standard output has been closed", "Broken pipe"];
    assert!(closed.iter().any(|closed| why.contains(closed)), "{why}");
    let mut expected = numbers(2_000);
    expected.insert("x".to_owned());
    assert_eq!(shell.lines(&["read", "rest"]), expected);
}

#[test]
fn what_the_last_reader_had_not_read_is_no_success() {
    let shell = Shell::new();
    let said = shell.run(
        "(trap '' PIPE; $T recv $N --lines; echo $? > status) | sh -c 'read l' &
        seq 1000 | $T send $N --lines; echo $?; wait; cat status",
    );
    assert_eq!(said, "1\n1\n");
}

#[test]
fn no_line_is_torn_where_receivers_share_a_pipe() {
    let shell = Shell::new();
    let line = |i: usize| format!("{i} {}\n", "x".repeat(i * 7_919 % 712));
    let long = |i: usize| format!("{i} {}\n", "y".repeat(4_000 + i * 7_919 % 90_000));
    let lines: String = (0..4_000).map(|i| if i % 100 == 0 { long(i) } else { line(i) }).collect();
    fs::write(shell.folder.path("in"), &lines).unwrap();
    shell.run(
        "($T recv $N --lines & $T recv $N --lines & $T recv $N --lines & wait) | cat > out &
        $T send $N in --lines && wait",
    );
    assert!(shell.lines(&["in"]) == shell.lines(&["out"]));
    assert_eq!(shell.read("out").len(), lines.len());
}

#[test]
fn lines_without_an_end_do_not_run_together_in_a_shared_pipe_or_file() {
    for receivers in [
        "($T recv $N --lines & $T recv $N --lines & wait) | cat > out &",
        "($T recv $N --lines >> out & $T recv $N --lines >> out & wait) &",
    ] {
        let shell = Shell::new();
        let senders = "
            (until test -e over; do sleep .01; done) | $T send $N --lines &
            until test $($T ctl $N ping 2> none | grep -c ping) = 3; do sleep .01; done
            for i in 1 2 3 4 5 6; do printf $i | $T send $N --lines || exit; done
            touch over; wait";
        shell.run(&format!("{receivers}{senders}"));
        assert_eq!(shell.lines(&["out"]), numbers(6), "{receivers}");
    }
}

#[test]
fn a_command_for_each_line_acknowledges_it() {
    let shell = Shell::new();
    // Long lines too, and whether or not they are read.
    shell.run(
        "$T recv $N --lines --exec 'read l; sleep .02; echo $l >> one' &
        $T recv $N --lines --exec 'cat >> other' &
        (seq 30; head -c 300000 /dev/zero | tr '\\0' z; echo) | $T send $N --lines || exit
        cat one other > all; wait
        $T recv $N --lines --exec : &
        head -c 300000 /dev/zero | $T send $N --lines && wait",
    );
    let lines = shell.lines(&["all"]);
    assert!(lines.is_superset(&numbers(30)) && lines.len() == 31);
    assert_eq!(shell.read("all").lines().count(), 31, "each once");
}

#[test]
fn a_line_whose_command_fails_comes_again_and_is_named_in_the_end() {
    let shell = Shell::new();
    let script = |retries| {
        format!(
            "$T recv $N --lines --retries {retries} \
                --exec 'read l; echo $l >> ran; test $l != 2 || test $(grep -c 2 ran) = 3' &
            seq 3 | $T send $N --lines; echo $?; wait $!; echo $?"
        )
    };
    assert_eq!(shell.run(&script(2)), "0\n0\n");
    assert_eq!(shell.read("ran").lines().filter(|line| *line == "2").count(), 3);

    fs::remove_file(shell.folder.path("ran")).unwrap();
    let output = Running::spawn(&mut shell.command(&script(1))).end();
    assert_eq!(output.stdout, b"1\n1\n");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("line \"2\" is given up: the command ended with status 1"), "{said}");
    assert!(said.contains("not all was delivered"), "{said}");
    assert_eq!(shell.read("ran").lines().filter(|line| *line == "2").count(), 2);
    assert_eq!(shell.lines(&["ran"]), numbers(3), "the others are done");
}

#[test]
fn every_receiver_of_a_broadcast_runs_its_command_for_each_line() {
    let shell = Shell::new();
    let receive = "$T recv $N --broadcast --lines --reliable --exec";
    let said = shell.run(&format!(
        "{receive} 'read l; sleep .02; echo $l >> one' & one=$!
        {receive} 'read l; echo $l >> other; test $l != 2' --retries 1 2> said & other=$!
        seq 5 | $T send $N --broadcast --lines --subscribers 2; echo $?
        cat one | wc -l
        wait $one; echo $?; wait $other; echo $?"
    ));
    // The sender has waited for the slow command.
    assert_eq!(said, "0\n5\n0\n1\n");
    assert_eq!(shell.read("one"), "1\n2\n3\n4\n5\n");
    assert_eq!(shell.read("other"), "1\n2\n2\n3\n4\n5\n");
    let said = shell.read("said");
    assert!(said.contains("line \"2\" is given up: the command ended with status 1"), "{said}");
}

#[test]
fn the_line_of_a_killed_worker_comes_to_another() {
    let shell = Shell::new();
    let said = shell.run(
        "$T recv $N --lines --exec 'touch busy; exec sleep 9' & victim=$!
        (seq 20; until test -e killed; do sleep .01; done) | $T send $N --lines & sender=$!
        until test -e busy; do sleep .01; done
        $T recv $N --lines --exec 'cat >> done' & other=$!
        until test $($T ctl $N ping --timeout 0.1 2> none | grep -c ping) = 3; do sleep .01; done
        kill -9 $victim; touch killed
        wait $sender; echo $?; wait $other; echo $?",
    );
    assert_eq!(said, "0\n0\n");
    assert_eq!(shell.lines(&["done"]), numbers(20));
}

#[test]
fn an_interrupt_ends_the_command_too() {
    let shell = Shell::new();
    let said = shell.run(
        "$T recv $N --lines --exec 'echo $$ > pid; sleep 9; true' 2> said & worker=$!
        seq 1 | $T send $N --lines 2>> said & sender=$!
        until test -s pid; do sleep .01; done
        kill -INT $worker; wait $worker; echo $?; wait $sender; echo $?
        kill -0 $(cat pid) 2> nobody || echo gone",
    );
    assert_eq!(said, "130\n1\ngone\n");
}

#[test]
fn what_was_closed_is_no_place_to_write_to_or_to_read_from() {
    let shell = Shell::new();
    fs::write(shell.folder.path("in"), "some\nlines\n").unwrap();
    for mode in ["", "--lines"] {
        for input in ["in", "/dev/null"] {
            let said = shell.run(&format!(
                "$T recv $N {mode} >&- 2> said & $T send $N {mode} {input} 2>> said
                wait $!; echo $?"
            ));
            assert_eq!(said, "1\n", "{mode} {input}");
            assert!(shell.read("said").contains("EBADF"));
        }
    }
    for (args, status) in [
        ("send $N <&-", 1),
        ("ls >&-", 1),
        ("events $N >&-", 1),
        ("ctl $N ping >&-", 1),
        ("--version >&-", 1),
        ("help >&-", 1),
        ("ls >/dev/full", 1),
        ("ls --json >/dev/full", 1),
        ("--help >/dev/full", 1),
        ("ctl $N ping >/dev/full", 1),
        ("demo --messages 10 >&-", 1),
        ("demo --messages 10 >/dev/full", 1),
        ("run -- cat in >&-", 1),
        ("rm $N >&- <&- 2>&-", 0),
    ] {
        let made = Segment::open_or_create(&shell.name).unwrap();
        // One that answers.
        let events = made.events();
        let serving = std::thread::spawn(move || while events.recv().is_ok() {});
        let said = shell.run(&format!("$T {args} 2>said; echo $?; cat said"));
        assert_eq!(said.lines().next(), Some(&*status.to_string()), "{args}: {said}");
        made.remove().ok();
        serving.join().unwrap();
    }
}

#[test]
fn one_that_joins_after_a_senders_death_is_told_that_it_was_cut() {
    let shell = Shell::new();
    let said = shell.run(
        "$T recv $N --lines 2> first | (until test -e over; do sleep .01; done) &
        yes 2> /dev/null | sh -c 'echo $$ > pid; exec $T send $N --lines' &
        # Of this segment: others are of other tests.
        full='$1 == n { on = 1; next } /^[^ ]/ { on = 0 } on && $6 >= 127 { f = 1 } END { exit !f }'
        until $T ls | awk -v n=$N \"$full\"; do sleep .01; done
        kill -9 $(cat pid)
        $T recv $N --lines > rest 2> said; echo $?; touch over; wait",
    );
    assert_eq!(said, "1\n");
    assert!(shell.read("said").contains("the sender has left or died before the end"));
}

/// Starts it with these signals ignored.
fn ignoring(mut command: Command, signals: &'static [Signal]) -> Command {
    let ignore = move || {
        for &ignored in signals {
            // SAFETY: installs no handler.
            unsafe { signal(ignored, SigHandler::SigIgn) }?;
        }
        Ok(())
    };
    // SAFETY: in the forked child this makes system calls only.
    unsafe { command.pre_exec(ignore) };
    command
}

#[test]
fn ignored_signals_hang_nothing_and_hide_no_failure() {
    let shell = Shell::new();
    let ignored =
        &[Signal::SIGCHLD, Signal::SIGPIPE, Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM];
    for (script, status) in [
        ("exec $T run -- sh -c 'exit 7'", 7),
        ("exec $T run -- sleep .1", 0),
        ("exec $T demo --messages 100", 0),
        ("seq 9 | $T send $N --lines & exec $T recv $N --lines --exec 'exit 1' --retries 0", 1),
        ("$T recv $N & pid=$!; sleep .1; kill -TERM $pid; wait $pid", 143),
        ("seq 99999 | $T send $N --lines & $T recv $N --lines | true; wait $!", 1),
    ] {
        let output = Running::spawn(&mut ignoring(shell.command(script), ignored)).end();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(status), "{script}: {said}");
    }
}

#[test]
fn every_signal_that_ends_ends_with_its_number_and_leaves_nothing() {
    let shell = Shell::new();
    let watched = Name::new();
    let _kept = Segment::create(&watched).unwrap();
    fs::write(shell.folder.path("in"), "a line\n").unwrap();
    for (signal, status) in [("ALRM", 142), ("USR1", 138)] {
        for (args, started) in [
            ("recv $N", "$T ls | grep -q $N' '"),
            ("recv $N --lines", "$T ls | grep -q $N' '"),
            ("send $N --lines in", "$T ls | grep -q $N' '"),
            ("events $W", "$T ctl $W ping --timeout .2 --json 2> none | grep -q '\"ok\":true'"),
            ("run -- sleep 9", "$T ls | grep -q anonymous"),
        ] {
            let said = shell.run(&format!(
                "W={watched}; $T {args} > out 2> said & pid=$!; until {started} 2> none; do sleep .01; done; sleep .05
                kill -{signal} $pid; wait $pid; echo $?"
            ));
            assert_eq!(said, format!("{status}\n"), "{args} {signal}");
        }
        assert!(!Segment::list().unwrap().iter().any(|found| found.name == *shell.name));
    }
}

/// Starts it with system calls refused: their numbers, the least of their first
/// arguments and the greatest for which they are, and their errors.
fn refusing(mut command: Command, calls: &[(i64, u32, u32, i32)]) -> Command {
    const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const LEAST: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;
    const ABOVE: u16 = (libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    const FIRST: u32 = std::mem::offset_of!(libc::seccomp_data, args) as u32;
    let op = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let mut program = Vec::new();
    for &(call, least, most, errno) in calls {
        program.push(op(LOAD, 0, 0, 0));
        program.push(op(EQUAL, 0, 4, call as u32));
        program.push(op(LOAD, 0, 0, FIRST));
        program.push(op(LEAST, 0, 2, least));
        program.push(op(ABOVE, 1, 0, most));
        program.push(op(RETURN, 0, 0, libc::SECCOMP_RET_ERRNO | errno as u32));
    }
    program.push(op(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW));
    let refuse = move || {
        let (len, filter) = (program.len() as u16, program.as_ptr().cast_mut());
        let filter = libc::sock_fprog { len, filter };
        // SAFETY: sets a flag of this process.
        let done = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
        if done != 0 {
            return Err(io::Error::last_os_error());
        }
        let (call, mode) = (libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER);
        // SAFETY: reads the program, which lives longer.
        let done = unsafe { libc::prctl(call, mode, &raw const filter) };
        if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    };
    // SAFETY: in the forked child this makes system calls only.
    unsafe { command.pre_exec(refuse) };
    command
}

#[test]
fn what_only_closing_brings_to_light_fails_both() {
    let shell = Shell::new();
    for (mode, sent) in [("", "1\n"), ("--lines", "0\n")] {
        let calls = [(libc::SYS_close, 1, 1, libc::EDQUOT)];
        let script = format!("exec $T recv $N {mode} > out");
        let receiver = Running::spawn(&mut refusing(shell.command(&script), &calls));
        // With lines only where it is the file system that refuses.
        let said = shell.run(&format!("echo much | $T send $N {mode} 2> said; echo $?"));
        assert_eq!(said, sent, "{mode}");
        let output = receiver.end();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("quota exceeded"), "{said}");
        assert_eq!(shell.read("out"), "much\n");
    }
}

#[test]
fn without_another_thread_or_process_there_is_one_line() {
    let shell = Shell::new();
    let _kept = Segment::create(&shell.name).unwrap();
    let calls = [
        (libc::SYS_clone3, 0, u32::MAX, libc::ENOSYS),
        (libc::SYS_clone, 0, u32::MAX, libc::EAGAIN),
        #[cfg(target_arch = "x86_64")]
        (libc::SYS_vfork, 0, u32::MAX, libc::EAGAIN),
        #[cfg(target_arch = "x86_64")]
        (libc::SYS_fork, 0, u32::MAX, libc::EAGAIN),
    ];
    for args in ["events $N", "run -- true", "demo", "chaos", "bench limits --quick"] {
        let script = format!("exec $T {args}");
        let output = Running::spawn(&mut refusing(shell.command(&script), &calls)).end();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{args}: {said}");
        assert_eq!(said.lines().count(), 1, "{args}: {said}");
    }
}

/// A terminal: what sees it, and what is it.
fn terminal() -> (File, OwnedFd) {
    let (mut ours, mut theirs) = (0, 0);
    let none = std::ptr::null_mut();
    // SAFETY: fills two ints; nothing else is asked for.
    let done =
        unsafe { libc::openpty(&raw mut ours, &raw mut theirs, none, none.cast(), none.cast()) };
    assert_eq!(done, 0);
    // SAFETY: just opened, and nobody else's.
    let ours = unsafe { File::from_raw_fd(ours) };
    // SAFETY: as above.
    (ours, unsafe { OwnedFd::from_raw_fd(theirs) })
}

#[test]
fn one_that_waits_says_for_what() {
    let says = |(args, saying): (&str, &str)| {
        let shell = Shell::new();
        let (mut screen, terminal) = terminal();
        let script = format!("yes 2> /dev/null | head -c 999999 | $T {args}");
        let waiting = Running::spawn(shell.command(&script).stderr(terminal));
        let (mut said, mut some) = (String::new(), [0; 256]);
        while !said.contains(saying) {
            let read = screen.read(&mut some).unwrap();
            said.push_str(&String::from_utf8_lossy(&some[..read]));
        }
        drop(waiting);
        Segment::remove_named(&shell.name).unwrap();
    };
    // It takes a while each time.
    thread::scope(|scope| {
        for case in [
            ("send $N", "waiting for a receiver: nobody has run `tombolo recv"),
            ("send $N --lines", "waiting for a receiver"),
            ("recv $N", "waiting for a sender"),
        ] {
            scope.spawn(move || says(case));
        }
    });
    let shell = Shell::new();
    // Where nobody looks, only what somebody has brought about.
    let quiet = shell.run("timeout 1.3 $T send $N /dev/null 2>&1; true");
    assert!(!quiet.contains("waiting"), "{quiet}");
    let said = shell.run(
        "$T run $N -- true; $T ctl $N pause 2>&1
        timeout 1 $T send $N /dev/null 2>&1; $T ctl $N resume 2> none; $T rm $N",
    );
    assert!(said.contains("IS paused: senders wait until `tombolo ctl"), "{said}");
    assert!(said.contains("is paused: nothing is sent until `tombolo ctl"), "{said}");
}

#[test]
fn a_negative_number_is_told_to_be_one() {
    let shell = Shell::new();
    for args in
        ["ctl $N ping --timeout -1", "ctl $N ping --timeout -0.5", "ctl $N ping --timeout=-1"]
    {
        let said = shell.run(&format!("$T {args} 2>&1; echo $?"));
        assert!(said.contains("a time-out is not negative") && said.ends_with("\n2\n"), "{said}");
        assert!(!said.contains("-- -"), "{said}");
    }
    for (value, why) in [("-inf", "not negative"), ("-1s", "not a positive number")] {
        let said = shell.run(&format!("$T ctl $N ping --timeout {value} 2>&1; echo $?"));
        assert!(said.contains(why) && said.ends_with("\n2\n"), "{said}");
    }
    let said = shell.run("$T demo --messages -1 2>&1; $T demo --seconds -2 2>&1; true");
    assert!(!said.contains("-- -") && said.lines().count() == 2, "{said}");
}
