//! Names and files in shared memory that are removed with their sample.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::failure::Failure;
use crate::harness::Shared;

const FOLDER: &str = "/dev/shm";

/// The name of everything of a sample, which is removed at its end.
struct Leftovers(String);

impl Drop for Leftovers {
    fn drop(&mut self) {
        for entry in fs::read_dir(FOLDER).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(&self.0) {
                remove(&entry.path());
            }
        }
    }
}

fn remove(path: &Path) {
    let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
}

/// Before the number of the process that the sample is of.
const PREFIX: &str = "tombolo-peers-";

fn name(process: i64, sample: i64) -> String {
    format!("{PREFIX}{process}-{sample}-")
}

/// Removes what runs have left that were killed: their processes are no more.
pub(crate) fn sweep() {
    for entry in fs::read_dir(FOLDER).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let process = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        let process = process.and_then(|number| number.parse::<u32>().ok());
        if process.is_some_and(|number| !Path::new(&format!("/proc/{number}")).exists()) {
            remove(&entry.path());
        }
    }
}

/// Gives a sample a name of its own. All files that begin with it in `/dev/shm` are
/// removed with the sample.
pub(super) fn named() -> Shared {
    static SAMPLES: AtomicU64 = AtomicU64::new(0);
    let process = i64::from(std::process::id());
    let sample = SAMPLES.fetch_add(1, Ordering::Relaxed).cast_signed();
    let mut shared = Shared::default();
    shared.numbers = vec![process, sample];
    shared.held.push(Box::new(Leftovers(name(process, sample))));
    shared
}

/// The name of one of the sample's things.
pub(super) fn label(shared: &Shared, what: impl std::fmt::Display) -> String {
    let number = |n: usize| shared.numbers.get(n).copied().unwrap_or_default();
    format!("{}{what}", name(number(0), number(1)))
}

/// The path of one of the sample's things.
pub(super) fn path(shared: &Shared, what: impl std::fmt::Display) -> PathBuf {
    PathBuf::from(FOLDER).join(label(shared, what))
}

/// A file in shared memory for each channel, empty and without a name.
pub(super) fn nameless(channels: usize) -> Result<Shared, Failure> {
    let named = named();
    let mut shared = Shared::default();
    for channel in 0..channels {
        let path = path(&named, channel);
        let file = File::options().read(true).write(true).create_new(true).open(&path);
        shared
            .fds
            .push(file.map_err(|error| Failure::unusable("cannot make a file", error))?.into());
    }
    Ok(shared)
}

/// Repeats what cannot succeed before the other side has done its part.
pub(super) fn until<T, E: std::fmt::Debug>(
    what: &str,
    mut done: impl FnMut() -> Result<T, E>,
) -> Result<T, Failure> {
    let began = Instant::now();
    loop {
        match done() {
            Ok(value) => return Ok(value),
            Err(error) if began.elapsed() > Duration::from_secs(10) => {
                return Err(Failure::Broken(format!("cannot {what}: {error:?}")));
            }
            Err(_) => thread::sleep(Duration::from_micros(100)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_run_left_is_removed_and_nothing_else() {
        let mut dead = std::process::Command::new("true").spawn().unwrap();
        dead.wait().unwrap();
        let left = |process: u32| Path::new(FOLDER).join(name(i64::from(process), 7) + "test");
        let (file, mine) = (left(dead.id()), left(std::process::id()));
        let folder = file.with_extension("folder");
        fs::write(&file, "").unwrap();
        fs::create_dir_all(folder.join("inside")).unwrap();
        fs::write(&mine, "").unwrap();
        sweep();
        let there = [&file, &folder, &mine].map(|path| path.exists());
        remove(&mine);
        assert_eq!(there, [false, false, true]);
    }
}
