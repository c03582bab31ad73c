//! What the demo and the bench need for the processes that they start.

use std::io::{Result, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::{env, fs, process};

use serde::Serialize;

/// A folder for this process's files, which goes when it is not needed any more.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(what: &str) -> Result<Self> {
        let path = env::temp_dir().join(format!("tombolo-{what}-{}", process::id()));
        fs::create_dir(&path)?;
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A port of the loopback interface that nobody has. It is unlikely to be given to another program
/// soon.
pub(crate) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Says something to the process that has started this one, as a JSON object in a line. That one
/// may have gone; the end of input tells that.
pub(crate) fn say(what: &impl Serialize) {
    let Ok(mut line) = serde_json::to_string(what) else { return };
    line.push('\n');
    let _ = std::io::stdout().write_all(line.as_bytes());
}
