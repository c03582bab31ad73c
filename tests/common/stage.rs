//! The examples of a program's help, run as they are printed: each in an empty directory, with
//! kernel tables of its own, and with the peers that it speaks of.

// Each package's tests use some of it.
#![allow(unsafe_code)]
#![allow(dead_code)]

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::command::{PROGRAM, Running, run, text};
use crate::common::{Folder, heed_signals, wait_until};

/// Lines of a help, and what happens when they are run.
pub(crate) type Scene = (&'static str, fn(&mut Stage));

/// How many run at a time: most of them wait.
const AT_A_TIME: usize = 8;

/// Programs of others in the examples.
const OTHERS: [&str; 3] = ["jq", "curl", "man"];

/// Where an example is run.
pub(crate) struct Stage {
    example: &'static str,
    folder: Folder,
    before: String,
    after: String,
    input: Stdio,
}

/// An example that runs.
pub(crate) struct Shown {
    shell: Running,
    said: Arc<Mutex<String>>,
    readers: Vec<thread::JoinHandle<()>>,
}

impl Stage {
    fn new(example: &'static str) -> Self {
        let folder = Folder::new();
        let (before, after) = (String::new(), String::new());
        let stage = Self { example, folder, before, after, input: Stdio::null() };
        fs::create_dir_all(stage.programs()).unwrap();
        if PROGRAM.ends_with("/tombolo") {
            symlink(PROGRAM, stage.programs().join("tombolo")).unwrap();
        } else {
            // What `tombolo` hands over to: a benchmark does not get the subcommand's name.
            let shift = if PROGRAM.ends_with("-bench") { "shift" } else { ":" };
            stage.program("tombolo", &format!("{shift}; exec {PROGRAM} \"$@\""));
        }
        stage
    }

    /// As `man` wants it, to find pages beside it.
    fn programs(&self) -> PathBuf {
        self.folder.path(".local/bin")
    }

    /// A program of the user's.
    pub(crate) fn program(&self, name: &str, script: &str) {
        let file = self.programs().join(name);
        fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// A file of the user's.
    pub(crate) fn file(&self, name: &str, content: &str) {
        fs::write(self.folder.path(name), content).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path(name)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path(name)).unwrap()
    }

    /// What the same shell does before.
    pub(crate) fn before(&mut self, lines: &str) -> &mut Self {
        lines.clone_into(&mut self.before);
        self
    }

    /// What the same shell does afterwards.
    pub(crate) fn after(&mut self, lines: &str) -> &mut Self {
        lines.clone_into(&mut self.after);
        self
    }

    /// What is typed.
    pub(crate) fn typed(&mut self, text: &str) -> &mut Self {
        self.file(".typed", text);
        self.input = fs::File::open(self.folder.path(".typed")).unwrap().into();
        self
    }

    /// Runs the example in a shell. Output comes by lines, as in a terminal.
    pub(crate) fn start(&mut self) -> Shown {
        let Self { example, before, after, .. } = self;
        let script =
            format!("set -o pipefail\n{before}\n{example}\nstatus=$?\n{after}\nwait\nexit $status");
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new("stdbuf");
        command
            .args(["-oL", "bash", "-c", &script])
            .current_dir(self.folder.whole())
            .env("HOME", self.folder.whole())
            .env("PATH", format!("{}:{path}", self.programs().display()))
            .stdin(std::mem::replace(&mut self.input, Stdio::null()))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        heed_signals(&mut command);
        let mut shell = Running::spawn(&mut command);
        let said = Arc::new(Mutex::new(String::new()));
        let readers = vec![
            note(shell.0.stdout.take().unwrap(), &said),
            note(shell.0.stderr.take().unwrap(), &said),
        ];
        Shown { shell, said, readers }
    }

    /// Runs the example to its end, which is a success, and returns what it says.
    #[track_caller]
    pub(crate) fn play(&mut self) -> String {
        self.start().ends(&[0])
    }
}

impl Shown {
    pub(crate) fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// Waits until it has said this.
    #[track_caller]
    pub(crate) fn says(&self, words: &str) -> &Self {
        wait_until(|| self.said().contains(words));
        self
    }

    /// The commands of ours that the shell has started.
    pub(crate) fn commands(&self) -> Vec<i32> {
        let ours = |pid: &i32| {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            name.starts_with("tombolo")
        };
        self.shell.workers().into_iter().filter(ours).collect()
    }

    /// Ctrl-C, for those that go on until then.
    pub(crate) fn interrupt(&self) -> &Self {
        wait_until(|| !self.commands().is_empty());
        for pid in self.commands() {
            let _ = kill(Pid::from_raw(pid), Signal::SIGINT);
        }
        self
    }

    /// Ends with one of these, and has said what is returned.
    #[track_caller]
    pub(crate) fn ends(mut self, statuses: &[i32]) -> String {
        let status = self.shell.wait().code();
        self.readers.drain(..).for_each(|reader| reader.join().unwrap());
        let said = self.said();
        assert!(status.is_some_and(|status| statuses.contains(&status)), "{status:?}: {said}");
        said
    }
}

fn note(mut pipe: impl Read + Send + 'static, said: &Arc<Mutex<String>>) -> thread::JoinHandle<()> {
    let said = Arc::clone(said);
    thread::spawn(move || {
        let mut piece = [0; 4096];
        while let Ok(count @ 1..) = pipe.read(&mut piece) {
            said.lock().unwrap().push_str(&String::from_utf8_lossy(&piece[..count]));
        }
    })
}

/// Plays all scenes, and fails if a help has an example that none of them has.
#[track_caller]
pub(crate) fn play_all(helps: &[&[&str]], scenes: &[Scene]) {
    let helps: Vec<String> = helps.iter().map(|args| text(&run(args).stdout)).collect();
    let printed: BTreeSet<&str> = helps.iter().flat_map(|help| examples(help)).collect();
    let lines = |scene: &Scene| scene.0.lines();
    let played: BTreeSet<&str> = scenes.iter().flat_map(lines).collect();
    let unplayed: Vec<_> = printed.difference(&played).collect();
    assert!(unplayed.is_empty(), "no scene plays them: {unplayed:#?}");
    for (example, _) in scenes {
        let block: String = example.lines().map(|line| format!("  {line}\n")).collect();
        let there = helps.iter().any(|help| format!("{help}\n").contains(&block));
        assert!(there, "no help has this example:\n{block}");
    }
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                while let Some((example, scene)) = scenes.get(next.fetch_add(1, Ordering::Relaxed))
                {
                    if let Err(why) = play(example, *scene) {
                        failed.lock().unwrap().push(format!("{example}\n{why}"));
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "as printed, they do not work:\n\n{}", failed.join("\n\n"));
}

/// The lines of a help that are examples.
fn examples(help: &str) -> impl Iterator<Item = &str> {
    let indented = help.lines().filter_map(|line| line.strip_prefix("  "));
    indented.filter(|line| line.starts_with("tombolo ") || line.contains("| tombolo "))
}

fn play(example: &'static str, scene: fn(&mut Stage)) -> Result<(), String> {
    for other in OTHERS.into_iter().filter(|other| example.contains(&format!("{other} "))) {
        if Command::new(other).arg("--version").output().is_err() {
            eprintln!("SKIPPED: {example}: there is no {other}");
            return Ok(());
        }
    }
    let body = move || {
        // The network, too: an example has a port.
        if unshare(CloneFlags::CLONE_NEWIPC | CloneFlags::CLONE_NEWNET).is_err() {
            eprintln!("SKIPPED: {example}: needs namespaces of its own, run it as root");
            return;
        }
        loopback();
        scene(&mut Stage::new(example));
    };
    let played = thread::Builder::new().name("example".to_owned()).spawn(body).unwrap().join();
    played.map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| Some((*panic.downcast_ref::<&str>()?).to_owned())).unwrap_or_default()
    })
}

/// Switches on the network within this machine, which a new namespace has off.
fn loopback() {
    let mut request = [0_u8; 40];
    request[..2].copy_from_slice(b"lo");
    // The flags are behind the name's 16 bytes.
    request[16..18].copy_from_slice(&(libc::IFF_UP as u16).to_ne_bytes());
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    let socket = std::os::fd::AsRawFd::as_raw_fd(&socket);
    // SAFETY: the request is there, 40 bytes as the kernel's `struct ifreq` has, and outlives the call.
    let done = unsafe { libc::ioctl(socket, libc::SIOCSIFFLAGS, request.as_ptr()) };
    assert_eq!(done, 0);
}

/// Has the next shared-memory object of this namespace this id. `false` where the kernel cannot.
pub(crate) fn next_segment_is(id: i32) -> bool {
    fs::write("/proc/sys/kernel/shm_next_id", id.to_string()).is_ok()
}
