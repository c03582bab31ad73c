//! The files that the kernel and the system answer with.

use std::fs;
use std::path::{Path, PathBuf};

/// A machine, by the root of its file system.
#[derive(Debug)]
pub(super) struct Host {
    root: PathBuf,
}

impl Host {
    /// This machine.
    pub(super) fn this() -> Self {
        Self::at(Path::new("/"))
    }

    pub(super) fn at(root: &Path) -> Self {
        Self { root: root.to_path_buf() }
    }

    /// The content of a file, without the space around it; `None` if it cannot be read.
    pub(super) fn text(&self, path: &str) -> Option<String> {
        let text = fs::read_to_string(self.root.join(path.trim_start_matches('/'))).ok()?;
        Some(text.trim().to_owned())
    }

    /// A file that holds one number.
    pub(super) fn number(&self, path: &str) -> Option<u64> {
        self.text(path)?.parse().ok()
    }

    /// Whether there is such a file or folder.
    pub(super) fn has(&self, path: &str) -> bool {
        self.root.join(path.trim_start_matches('/')).exists()
    }

    /// What a symbolic link names.
    pub(super) fn link(&self, path: &str) -> Option<String> {
        let target = fs::read_link(self.root.join(path.trim_start_matches('/'))).ok()?;
        Some(target.to_string_lossy().into_owned())
    }

    /// The contents of the files of a folder whose names end so, by name.
    pub(super) fn folder(&self, path: &str, end: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.root.join(path.trim_start_matches('/'))) else {
            return Vec::new();
        };
        let mut files: Vec<PathBuf> = entries
            .flatten()
            .map(|entry| entry.path())
            .filter(|file| file.to_string_lossy().ends_with(end))
            .collect();
        files.sort();
        files.iter().flat_map(fs::read_to_string).collect()
    }
}
