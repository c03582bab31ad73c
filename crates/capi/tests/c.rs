//! The library as C and C++ programs use it: installed by the script, found by pkg-config, beside
//! Rust programs in the same segment.

use std::collections::{BTreeSet, VecDeque};
use std::ffi::OsStr;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{self, Child, ChildStdout, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{OnceLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tombolo::{AnyReceiver, AnySender, ChannelKind, Segment, Shared, Start};

/// Longer than anything waited for takes.
const PATIENCE: Duration = Duration::from_secs(30);

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Whether there is this program.
fn has(program: &str) -> bool {
    let mut asks = Command::new(program);
    let asks = asks.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    asks.status().is_ok_and(|status| status.success())
}

/// Says why a test is left out; loudly, and not to the harness, which would keep it.
fn say(why: &str) {
    let _ = writeln!(io::stderr(), "\nSKIPPED in crates/capi/tests/c.rs: {why}");
}

/// Where the library is installed for these tests; `None` where it cannot be used, which is said.
fn installed() -> Option<&'static Path> {
    static INSTALLED: OnceLock<Option<PathBuf>> = OnceLock::new();
    let lacks = ["cc", "c++", "pkg-config"].into_iter().find(|program| !has(program));
    if let Some(lacks) = lacks {
        say(&format!("there is no {lacks} here, so nothing is compiled against the library"));
        return None;
    }
    INSTALLED
        .get_or_init(|| {
            // Beside the tests, with which it was built.
            let test = std::env::current_exe().unwrap();
            let prefix = Path::new(env!("CARGO_TARGET_TMPDIR")).join("installed");
            let _ = fs::remove_dir_all(&prefix);
            let mut install = Command::new(root().join("install"));
            install.env("PREFIX", &prefix).env("BUILT", test.parent().unwrap());
            done(install.env_remove("DESTDIR").env_remove("LIBDIR").env_remove("INCLUDEDIR"));
            Some(prefix)
        })
        .as_deref()
}

/// Runs it, and shows what it said if it fails.
#[track_caller]
fn done(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    let said = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    assert!(output.status.success(), "{command:?}: {}\n{}", output.status, said.concat());
    output
}

fn words(output: &Output) -> Vec<String> {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    text.split_whitespace().map(str::to_owned).collect()
}

fn pkg_config(prefix: &Path, asks: &[&str]) -> Vec<String> {
    let mut command = Command::new("pkg-config");
    command.env("PKG_CONFIG_PATH", prefix.join("lib/pkgconfig"));
    words(&done(command.args(asks).arg("tombolo")))
}

/// What else the compiler is told: `.ci/sanitize` has the programs checked, and the library with
/// them.
fn sanitizers() -> Vec<String> {
    let flags = std::env::var("TOMBOLO_C_SANITIZERS").unwrap_or_default();
    flags.split_whitespace().map(str::to_owned).collect()
}

const STRICT: [&str; 4] = ["-Wall", "-Wextra", "-pedantic", "-Werror"];

/// Compiles a program of C or C++ as its language demands, against what is installed.
fn compiled(prefix: &Path, source: &str, flags: &[&str]) -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let source = root().join(source);
    let is_cpp = source.extension() == Some(OsStr::new("cpp"));
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("{}-{number}", source.file_stem().unwrap().to_str().unwrap());
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let mut compiler = Command::new(if is_cpp { "c++" } else { "cc" });
    compiler.arg(if is_cpp { "-std=c++17" } else { "-std=gnu11" }).args(STRICT).arg("-g");
    compiler.arg("-pthread").args(flags).args(sanitizers()).arg("-o").arg(&program).arg(&source);
    compiler.args(pkg_config(prefix, &["--cflags", "--libs"]));
    done(&mut compiler);
    program
}

/// Runs what was compiled.
fn command(prefix: &Path, program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env("LD_LIBRARY_PATH", prefix.join("lib"));
    command
}

/// A segment whose name nothing else uses, and which goes with the test.
struct Market {
    name: String,
    segment: Segment,
}

fn name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("capi:{}.{}", process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

impl Market {
    fn new() -> Self {
        let name = name();
        let segment = Segment::options().size(4 << 20).participants(8).create(&name).unwrap();
        Self { name, segment }
    }
}

impl Drop for Market {
    fn drop(&mut self) {
        let _ = self.segment.remove();
    }
}

/// A program that runs, and is killed with the test.
struct Running {
    child: Child,
    out: Option<BufReader<ChildStdout>>,
}

impl Running {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let out = child.stdout.take().map(BufReader::new);
        Self { child, out }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.out.as_mut().unwrap().read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    fn take_out(&mut self) -> BufReader<ChildStdout> {
        self.out.take().unwrap()
    }

    #[track_caller]
    fn expect(&mut self, line: &str) {
        assert_eq!(self.line(), line);
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    #[track_caller]
    fn ended_well(mut self) {
        let since = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(since.elapsed() < PATIENCE, "it does not end");
            thread::park_timeout(Duration::from_millis(1));
        };
        assert!(status.success(), "{status}");
    }

    fn killed(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn peer(prefix: &Path) -> PathBuf {
    static PEER: OnceLock<PathBuf> = OnceLock::new();
    PEER.get_or_init(|| compiled(prefix, "tests/c/peer.c", &[])).clone()
}

const KINDS: [(ChannelKind, &str); 6] = [
    (ChannelKind::Mpmc, "mpmc"),
    (ChannelKind::Spsc, "spsc"),
    (ChannelKind::MpmcBytes, "mpmc-bytes"),
    (ChannelKind::SpscBytes, "spsc-bytes"),
    (ChannelKind::Broadcast, "broadcast"),
    (ChannelKind::BroadcastBytes, "broadcast-bytes"),
];

const SIZE: usize = 24;

/// Both ends of Rust's, of which a test drops one; for broadcast of a reliable subscriber.
fn ends(market: &Market, kind: ChannelKind, name: &str) -> (AnySender, AnyReceiver) {
    let spec = market.segment.any_channel(name, kind).element(SIZE, 8, "Row{n:u64,rest:u64[2]}");
    let channel = spec.longest(SIZE).capacity(16).open().unwrap();
    let receiver = if channel.is_broadcast() {
        channel.reliable_subscriber_from(Start::Newest)
    } else {
        channel.receiver()
    };
    (channel.sender().unwrap(), receiver.unwrap())
}

fn row(n: u64) -> [u8; SIZE] {
    let mut row = [0; SIZE];
    row[..8].copy_from_slice(&n.to_ne_bytes());
    row
}

/// How many messages are exchanged: a sample, or as many as the long tests want.
fn messages() -> u64 {
    if std::env::var_os("TOMBOLO_TEST_LONG").is_some() { 1_000_000 } else { 2_000 }
}

#[test]
fn the_headers_compile_as_each_standard_that_they_are_for() {
    let Some(prefix) = installed() else { return };
    let standards =
        [("c", "c11", "tombolo.h"), ("c++", "c++17", "tombolo.h"), ("c++", "c++17", "tombolo.hpp")];
    for (language, standard, header) in standards {
        let mut compiler = Command::new("c++");
        compiler.args(["-fsyntax-only", "-x", language]).arg(format!("-std={standard}"));
        compiler.args(STRICT).arg("-include").arg(header).arg("/dev/null");
        done(compiler.args(pkg_config(prefix, &["--cflags"])));
    }
}

#[test]
fn what_is_wrong_is_an_error_with_a_message() {
    let Some(prefix) = installed() else { return };
    let program = compiled(prefix, "tests/c/misuse.c", &[]);
    done(command(prefix, &program).arg(name()));
}

#[test]
fn the_sanitizers_of_addresses_and_undefined_behaviour_find_nothing() {
    let Some(prefix) = installed() else { return };
    let empty = Path::new(env!("CARGO_TARGET_TMPDIR")).join("sanitized.c");
    fs::write(&empty, "int main(void) { return 0; }\n").unwrap();
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("sanitized");
    let mut compiler = Command::new("cc");
    let flags =
        ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"];
    compiler.args(flags).arg("-o").arg(&program).arg(&empty);
    if !compiler.stderr(Stdio::null()).status().is_ok_and(|status| status.success()) {
        say("this compiler has no sanitizers of addresses and undefined behaviour");
        return;
    }
    let program = compiled(prefix, "tests/c/misuse.c", &flags);
    done(command(prefix, &program).env("ASAN_OPTIONS", "detect_leaks=1").arg(name()));
}

#[test]
fn the_static_library_links() {
    let Some(prefix) = installed() else { return };
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("static");
    let mut compiler = Command::new("cc");
    compiler.arg("-std=c11").arg("-o").arg(&program).arg(root().join("examples/square.c"));
    compiler.args(pkg_config(prefix, &["--cflags"])).arg(prefix.join("lib/libtombolo.a"));
    let libraries = pkg_config(prefix, &["--static", "--libs-only-l"]);
    compiler.args(libraries.iter().filter(|library| *library != "-ltombolo")).args(sanitizers());
    done(&mut compiler);
    // Without the shared one.
    let market = Market::new();
    market.segment.service_bytes("squares").capacity(16, 8, 8).server().unwrap();
    let mut server =
        Running::start(Command::new(&program).env("TOMBOLO_SEGMENT", &market.name).arg("serve"));
    server.expect("serving");
    let called = done(Command::new(&program).env("TOMBOLO_SEGMENT", &market.name).arg("-12"));
    assert_eq!(words(&called), ["144"]);
    server.ended_well();
}

#[test]
fn the_examples_do_what_they_say() {
    let Some(prefix) = installed() else { return };
    let market = Market::new();
    let worker = compiled(prefix, "examples/worker.c", &[]);
    let run = |args: &[&str]| {
        let mut run = command(prefix, &worker);
        run.env("TOMBOLO_SEGMENT", &market.name).args(args);
        run
    };
    let jobs = market.segment.bytes("jobs").capacity(100, 1024);
    let (watch, own) = (jobs.receiver().unwrap(), jobs.sender().unwrap());
    done(&mut run(&["send", "3"]));
    assert_eq!(watch.len(), 3);
    drop(own);
    let worked = String::from_utf8(done(&mut run(&["work"])).stdout).unwrap();
    assert_eq!(worked, "job 1, attempt 1\njob 2, attempt 1\njob 3, attempt 1\n");

    let camera = compiled(prefix, "examples/camera.cpp", &[]);
    let seen = String::from_utf8(done(&mut command(prefix, &camera)).stdout).unwrap();
    let frames = "frame 0, first pixel 0\nframe 1, first pixel 10\nframe 2, first pixel 20\n";
    assert_eq!(seen, frames);
}

#[test]
fn c_and_rust_exchange_messages_of_each_kind_in_each_form() {
    let Some(prefix) = installed() else { return };
    let (peer, count) = (peer(prefix), messages());
    for (kind, name) in KINDS {
        let market = Market::new();
        for form in ["value", "place", "batch"] {
            let run = |role: &str| {
                let mut run = command(prefix, &peer);
                run.args([&market.name, role, name, form]).arg(count.to_string());
                Running::start(&mut run)
            };
            // From Rust to C.
            let (sender, receiver) = ends(&market, kind, name);
            drop(receiver);
            let mut receives = run("recv");
            receives.expect("open");
            for n in 0..count {
                sender.send(&row(n)).unwrap();
            }
            receives.ended_well();
            drop(sender);
            // From C to Rust.
            let (sender, receiver) = ends(&market, kind, name);
            drop(sender);
            let mut sends = run("send");
            sends.expect("open");
            let mut message = Vec::new();
            for n in 0..count {
                receiver.recv_timeout(&mut message, PATIENCE).unwrap();
                assert_eq!(message, row(n), "{name}, {form}");
            }
            sends.ended_well();
        }
    }
}

#[test]
fn c_and_rust_call_each_other() {
    let Some(prefix) = installed() else { return };
    let (peer, market, count) = (peer(prefix), Market::new(), messages() / 10);
    let calls = market.segment.service_bytes("calls").capacity(4, 8, 64);
    let run = |role: &str| {
        let mut run = command(prefix, &peer);
        run.args([&market.name, role]).arg(count.to_string());
        Running::start(&mut run)
    };
    let client = calls.client().unwrap();
    let mut serves = run("serve");
    serves.expect("open");
    for n in 0..count {
        let request = n.to_ne_bytes();
        let reply = client.call_timeout(&request, PATIENCE).unwrap();
        assert_eq!(reply, request.map(|byte| byte.wrapping_add(1)));
    }
    serves.ended_well();
    drop(client);
    let server = calls.server().unwrap();
    let makes_calls = run("call");
    for _ in 0..count {
        let call = server.recv_timeout(PATIENCE).unwrap();
        let request = call.request().unwrap();
        let reply: Vec<u8> = request.iter().map(|byte| byte.wrapping_add(1)).collect();
        call.reply(&reply).unwrap();
    }
    makes_calls.ended_well();
}

/// What is there, without waiting.
fn taken(receiver: &Shared<AnyReceiver>) -> Vec<(u64, u8)> {
    let take = || receiver.try_take().ok();
    std::iter::from_fn(take)
        .map(|delivery| {
            let bytes = delivery.to_vec();
            (u64::from_ne_bytes(bytes[..8].try_into().unwrap()), delivery.attempts())
        })
        .collect()
}

#[test]
fn what_a_killed_c_program_held_comes_again() {
    let Some(prefix) = installed() else { return };
    let peer = peer(prefix);
    for (kind, name) in KINDS.into_iter().filter(|(_, name)| !name.starts_with("broadcast")) {
        let market = Market::new();
        let (sender, receiver) = ends(&market, kind, name);
        (0..3).for_each(|n| sender.try_send(&row(n)).unwrap());
        drop(receiver);
        let held = if name.starts_with("spsc") { 1 } else { 3 };
        let mut run = command(prefix, &peer);
        run.args([&market.name, "hold", name]).arg(held.to_string());
        let mut holds = Running::start(&mut run);
        holds.expect("open");
        holds.expect("held");
        holds.killed();
        market.segment.sweep().unwrap();
        let receiver = market.segment.open_channel(name).unwrap().receiver().unwrap();
        let mut again = taken(&receiver.into_shared());
        again.sort_unstable();
        let expected: Vec<_> = (0..3).map(|n| (n, u8::from(n < held))).collect();
        assert_eq!(again, expected, "{name}");
    }
}

#[test]
fn what_a_killed_c_program_was_writing_is_not_seen() {
    let Some(prefix) = installed() else { return };
    let peer = peer(prefix);
    for (kind, name) in KINDS {
        let market = Market::new();
        let (sender, receiver) = ends(&market, kind, name);
        drop(sender);
        let places = if name.starts_with("spsc") { 1 } else { 2 };
        let mut run = command(prefix, &peer);
        run.args([&market.name, "reserve", name]).arg(places.to_string());
        let mut reserves = Running::start(&mut run);
        reserves.expect("held");
        reserves.killed();
        market.segment.sweep().unwrap();
        let sender = market.segment.open_channel(name).unwrap().sender().unwrap();
        let capacity = u64::try_from(sender.capacity()).unwrap();
        (0..capacity).for_each(|n| sender.try_send(&row(n)).unwrap());
        let receiver = receiver.into_shared();
        let expected: Vec<_> = (0..capacity).map(|n| (n, 0)).collect();
        assert_eq!(taken(&receiver), expected, "{name}");
    }
}

#[test]
fn killed_workers_in_c_lose_no_job_and_hang_nobody() {
    let Some(prefix) = installed() else { return };
    let (peer, market, count) = (peer(prefix), Market::new(), messages() / 2);
    let jobs = market.segment.any_channel("jobs", ChannelKind::MpmcBytes).longest(SIZE);
    let jobs = jobs.capacity(16).redeliver(15).open().unwrap();
    let sender = jobs.sender().unwrap();
    let (say, done) = mpsc::channel();
    let start = || {
        let mut run = command(prefix, &peer);
        let mut worker = Running::start(run.args([&market.name, "work", "jobs"]));
        worker.expect("open");
        let (out, say) = (worker.take_out(), say.clone());
        let told = thread::spawn(move || {
            // A worker that is killed in the middle of a line has not released its job.
            for line in out.lines().map_while(Result::ok) {
                say.send(line.parse::<u64>().unwrap()).unwrap();
            }
        });
        (worker, told)
    };
    let mut workers: VecDeque<_> = (0..3).map(|_| start()).collect();
    let mut told = Vec::new();
    for n in 0..count {
        sender.send_timeout(&row(n), PATIENCE).unwrap();
        if n % (count / 20) == 7 {
            let (worker, tells) = workers.pop_front().unwrap();
            worker.killed();
            told.push(tells);
            workers.push_back(start());
        }
    }
    drop(sender);
    for (worker, tells) in workers {
        worker.ended_well();
        told.push(tells);
    }
    drop(say);
    told.into_iter().for_each(|tells| tells.join().unwrap());
    let seen: BTreeSet<u64> = done.iter().collect();
    assert_eq!(seen.len() as u64, count);
}

#[test]
fn a_signal_ends_a_wait_of_a_c_program() {
    let Some(prefix) = installed() else { return };
    let (peer, market) = (peer(prefix), Market::new());
    let _ends = ends(&market, ChannelKind::Mpmc, "mpmc");
    let mut run = command(prefix, &peer);
    let mut waits = Running::start(run.args([&market.name, "interrupted", "mpmc"]));
    waits.expect("open");
    waits.expect("waits");
    waits.signal(Signal::SIGINT);
    waits.ended_well();
}
