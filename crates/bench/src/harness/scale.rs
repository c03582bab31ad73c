//! How much is measured, and on which processors.

use std::fs;
use std::time::Duration;

use super::conductor::Care;
use super::driver::Options;
use super::orders::{Setting, Shape};

/// How much is measured, and where.
pub(crate) struct Scale {
    pub(crate) quick: bool,
    pub(crate) care: Care,
    /// Nanoseconds of a sample.
    pub(crate) span: u64,
    /// The processors to use, the two that are most like strangers first.
    pub(crate) cpus: Vec<usize>,
}

impl Scale {
    pub(crate) fn new(options: &Options) -> Self {
        let quick = options.quick;
        let span = options.span.map_or(if quick { 20 } else { 60 }, u64::from) * 1_000_000;
        let (rounds, seconds, silence) = if quick { (3, 60, 5) } else { (5, 1_200, 10) };
        let rounds = options.rounds.map_or(rounds, usize::from);
        let [patience, silence] = [seconds, silence].map(Duration::from_secs);
        let care = Care { rounds, patience, silence };
        Self { quick, care, span, cpus: cpus() }
    }

    /// Two workers, on processors of their own.
    pub(crate) fn pair(&self, shape: Shape) -> Setting {
        self.crew(shape, 1, 1)
    }

    /// A worker by itself.
    pub(crate) fn alone(&self) -> Setting {
        self.crew(Shape::Work, 1, 0)
    }

    /// So many workers, spread over the processors: senders and receivers apart, as
    /// far as there are enough processors.
    pub(crate) fn crew(&self, shape: Shape, producers: usize, consumers: usize) -> Setting {
        let cpu = |worker: usize| self.cpus[worker % self.cpus.len()];
        // The nth producer and the nth consumer are neighbours in the list.
        let producing = (0..producers).map(|n| cpu(2 * n));
        let consuming = (0..consumers).map(|n| cpu(2 * n + 1));
        Setting {
            shape,
            words: 1,
            slots: 1_024,
            batch: 1,
            producers,
            consumers,
            cpus: producing.chain(consuming).collect(),
            span: self.span,
        }
    }
}

/// The processors that this process may use; the first two do not share a
/// core, if there are such.
fn cpus() -> Vec<usize> {
    let allowed = nix::sched::sched_getaffinity(nix::unistd::Pid::from_raw(0));
    let allowed = allowed.ok();
    let mut cpus: Vec<usize> = allowed.map_or(Vec::new(), |set| {
        (0..nix::sched::CpuSet::count()).filter(|&cpu| set.is_set(cpu).unwrap_or(false)).collect()
    });
    let core = |cpu: &usize| {
        let path = format!("/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list");
        fs::read_to_string(path).unwrap_or_else(|_| cpu.to_string())
    };
    if let Some(first) = cpus.first().map(core)
        && let Some(other) = cpus.iter().position(|cpu| core(cpu) != first)
    {
        let other = cpus.remove(other);
        cpus.insert(1, other);
    }
    if cpus.is_empty() { vec![0] } else { cpus }
}
