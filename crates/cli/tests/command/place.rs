//! A name and a folder for one test, and the commands that use them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Stdio};

use serde_json::Value;
use tombolo::{ChannelInfo, Segment};

use crate::command::{Running, run, tombolo};
use crate::common::{Folder, Name, wait_until};

/// A name and a folder that nobody else has, and that go with the test.
pub(crate) struct Place {
    pub(crate) name: Name,
    folder: Folder,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { name: Name::new(), folder: Folder::new() }
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.folder.path(file)
    }

    pub(crate) fn write(&self, file: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(file);
        fs::write(&path, bytes).unwrap();
        path
    }

    pub(crate) fn send(&self, file: &Path, more: &[&str]) -> Running {
        let args = [&["send", &*self.name, file.to_str().unwrap()], more].concat();
        Running::start(&args)
    }

    /// One that reads what the test gives it.
    pub(crate) fn send_slowly(&self, more: &[&str]) -> (Running, ChildStdin) {
        let args = [&["send", &*self.name], more].concat();
        let mut running = Running::spawn(tombolo(&args).stdin(Stdio::piped()));
        let stdin = running.stdin();
        (running, stdin)
    }

    pub(crate) fn recv_to(&self, output: impl Into<Stdio>, more: &[&str]) -> Running {
        let args = [&["recv", &*self.name], more].concat();
        Running::spawn(tombolo(&args).stdout(output))
    }

    pub(crate) fn recv(&self, file: &str, more: &[&str]) -> Running {
        self.recv_to(File::create(self.path(file)).unwrap(), more)
    }

    pub(crate) fn read(&self, file: &str) -> Vec<u8> {
        fs::read(self.path(file)).unwrap()
    }

    fn channel(&self) -> Option<ChannelInfo> {
        let all = Segment::list().unwrap();
        let segment = all.into_iter().find(|segment| segment.name == *self.name)?;
        segment.channels.into_iter().find(|channel| channel.name == "stream")
    }

    /// Waits until as many senders and receivers are there.
    #[track_caller]
    pub(crate) fn wait_for(&self, senders: u64, receivers: u64) {
        wait_until(|| {
            let channel = self.channel();
            channel.is_some_and(|c| c.senders == senders && c.receivers >= receivers)
        });
    }

    /// Waits until so many bytes have arrived.
    #[track_caller]
    pub(crate) fn wait_for_bytes(&self, file: &str, bytes: u64) {
        wait_until(|| fs::metadata(self.path(file)).unwrap().len() >= bytes);
    }

    pub(crate) fn is_listed(&self) -> bool {
        self.listed().is_some()
    }

    /// Its entry in the list of `ls`.
    pub(crate) fn listed(&self) -> Option<Value> {
        let listed: Vec<Value> = {
            let output = run(&["ls", "--json"]);
            assert_eq!(output.status.code(), Some(0));
            serde_json::from_slice(&output.stdout).unwrap()
        };
        listed.into_iter().find(|segment| segment["name"] == *self.name)
    }

    #[track_caller]
    pub(crate) fn assert_gone(&self) {
        assert!(!self.is_listed(), "{} is left", self.name);
    }
}

/// Bytes without a pattern, and with newlines.
pub(crate) fn noise(count: usize, mut seed: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(count + 8);
    while bytes.len() < count {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bytes.extend((seed >> 16).to_le_bytes());
    }
    bytes.truncate(count);
    bytes
}
