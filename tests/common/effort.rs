//! How long a test runs, and with which numbers: the two settings that all tests
//! of the workspace share.
//!
//! Every day a test with many rounds runs a sample of them. `TOMBOLO_TEST_LONG=1`
//! runs all, as `.ci/run` does; `TOMBOLO_TEST_LONG=10` ten times as many.
//! `TOMBOLO_TEST_SEED` decides what is drawn, where the test draws.

use std::collections::hash_map::RandomState;
use std::env;
use std::hash::{BuildHasher, Hasher};
use std::ops::Range;
use std::sync::OnceLock;
use std::thread;

const LONG: &str = "TOMBOLO_TEST_LONG";
const SEED: &str = "TOMBOLO_TEST_SEED";

fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} should be a number, and is {text:?}")))
}

/// How often a test is to run the number of rounds of a long run; 0 every day.
pub(crate) fn times() -> u64 {
    number(LONG).unwrap_or(0)
}

/// How many rounds: so many every day, or so many in a long run.
pub(crate) fn rounds(everyday: u64, long: u64) -> u64 {
    match times() {
        0 => everyday,
        times => long.saturating_mul(times),
    }
}

/// The seed of a test that draws numbers: one for all tests of a process.
///
/// Prints the command that repeats the test; the harness shows it if the test fails.
pub(crate) fn seed() -> u64 {
    static DRAWN: OnceLock<u64> = OnceLock::new();
    let drawn = || RandomState::new().build_hasher().finish() >> 32;
    let seed = *DRAWN.get_or_init(|| number(SEED).unwrap_or_else(drawn));
    println!("repeat with: {}", command(Some(seed)));
    seed
}

/// Prints the command that repeats a test that draws nothing.
pub(crate) fn say_how_to_repeat() {
    println!("repeat with: {}", command(None));
}

/// The command that runs the test of this thread again.
fn command(seed: Option<u64>) -> String {
    let mut command = String::new();
    if times() > 0 {
        command += &format!("{LONG}={} ", times());
    }
    if let Some(seed) = seed {
        command += &format!("{SEED}={seed} ");
    }
    command += &format!("cargo test -p {}", env!("CARGO_PKG_NAME"));
    let program = env::current_exe().unwrap();
    // target/PROFILE/deps/NAME-HASH
    let profile = program.ancestors().nth(2).and_then(|folder| folder.file_name());
    if let Some(profile) = profile.and_then(|name| name.to_str()).filter(|name| *name != "debug") {
        command += &format!(" --profile {profile}");
    }
    let name = program.file_stem().unwrap().to_string_lossy();
    let name = name.rsplit_once('-').map_or(&*name, |(name, _)| name);
    if name == env!("CARGO_PKG_NAME").replace('-', "_") {
        command += " --lib";
    } else {
        command += &format!(" --test {name}");
    }
    let test = thread::current();
    command + &format!(" -- --exact {}", test.name().unwrap_or(""))
}

/// Whether a run takes the nth of many: every day one in so many, as the seed
/// decides; a long run takes all.
pub(crate) fn sampled(one_in: u64, seed: u64, n: u64) -> bool {
    times() > 0 || n % one_in == seed % one_in
}

/// Seeds for so many rounds: others each time, unless they are given.
pub(crate) fn seeds(everyday: u64, long: u64) -> Range<u64> {
    let first = seed() << 16 | 1;
    first..first + rounds(everyday, long)
}
