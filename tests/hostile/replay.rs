//! The fuzzer's cases without a fuzzer: the corpus, and then mutations of it that a seed
//! decides. They run in a separate process. A file contains the current input, which
//! shows the cause if the process dies.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tombolo::sys::proc;

use crate::case;
use crate::common::{Brief, Peer, effort, own_tables, tables};

/// The longest time of one input, on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// Of how many inputs of the corpus an everyday run takes one.
const ONE_IN: u64 = 12;
/// The longest input.
const LONGEST: usize = 400;

#[test]
fn whatever_is_in_a_segment_ends_in_data_or_an_error() {
    let own = own_tables();
    let (runs, seed) = (effort::rounds(30, 500), effort::seed());
    let at = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("hostile-{}", proc::pid()));
    println!("the input that it is at is in {}", at.display());
    let mut child = Peer::start("replay", &[&seed, &runs, &at.display()]);
    child.tell("go");
    let said = loop {
        let said = child.said_within(PATIENCE).expect("it hangs");
        if !said.is_empty() {
            break said;
        }
    };
    println!("{said}");
    assert_eq!(child.join(), 0);
    fs::remove_file(at).unwrap();
    if own {
        assert_eq!(tables(), (0, 0), "something was left behind");
    }
}

/// Marsaglia's xorshift: the same numbers for the same seed.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
}

/// The inputs for one target, in an order that does not change.
fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut paths: Vec<_> =
        fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() > 20, "{} is nearly empty", folder.display());
    paths.into_iter().map(|path| fs::read(path).unwrap()).collect()
}

/// An input made from others.
fn mutated(corpus: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut input = corpus[random.below(corpus.len())].clone();
    for _ in 0..1 + random.below(6) {
        let at = random.below(input.len() + 1);
        match random.below(6) {
            0 => input.insert(at, random.next() as u8),
            1 => input.truncate(at),
            2 => {
                let other = &corpus[random.below(corpus.len())];
                let from = random.below(other.len() + 1);
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
            3 => input.extend((0..random.below(12)).map(|_| random.next() as u8)),
            how => {
                if let Some(byte) = input.get_mut(at) {
                    *byte =
                        if how == 4 { random.next() as u8 } else { *byte ^ 1 << random.below(8) };
                }
            }
        }
    }
    input.truncate(LONGEST);
    input
}

#[test]
#[ignore = "what the child processes run"]
fn child_entry() {
    let Some(brief) = Brief::take() else { return };
    let (seed, runs, at) = (brief.number::<u64>(0), brief.number::<u64>(1), brief.text(2));
    brief.hear();
    let run = |target: &str, input: &[u8]| {
        fs::write(at, [target.as_bytes(), b"\n", input].concat()).unwrap();
        // It goes on.
        brief.say("");
        match target {
            "steps" => case::steps(input),
            "broadcast" => case::broadcast(input),
            _ => case::image(input),
        }
    };
    let targets = ["steps", "image", "broadcast"].map(|target| (target, corpus(target)));
    let mut done = 0;
    for (target, inputs) in &targets {
        for (input, _) in inputs.iter().zip(0..).filter(|(_, n)| effort::sampled(ONE_IN, seed, *n))
        {
            run(target, input);
            done += 1;
        }
    }
    let mut random = Random(seed | 1 << 63);
    for _ in 0..runs {
        let (target, inputs) = &targets[random.below(targets.len())];
        run(target, &mutated(inputs, &mut random));
    }
    brief.say(format!("{done} inputs of the corpus and {runs} mutations of seed {seed}"));
}
