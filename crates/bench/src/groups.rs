//! The groups of cases: which subjects are compared, to answer which question.

mod alone;
mod attach;
mod broadcast;
mod calls;
mod contention;
mod idle;
mod latency;
mod limits;
mod recovery;
mod sets;
mod throughput;

use super::Which;
use super::harness::{Case, Group, Plot, Scale, Setting};

pub(super) fn of(group: Which, scale: &Scale) -> Group {
    match group {
        Which::Limits => limits::group(scale),
        Which::Latency => latency::group(scale),
        Which::Calls => calls::group(scale),
        Which::Throughput => throughput::group(scale),
        Which::Contention => contention::group(scale),
        Which::Broadcast => broadcast::group(scale, |_| Vec::new()),
        Which::Alone => alone::group(scale),
        Which::Idle => idle::group(scale),
        Which::Sets => sets::group(scale),
        Which::Recovery => recovery::group(scale),
        Which::Attach => attach::group(scale),
    }
}

/// A case of which each subject is a bar.
fn bars(name: &str, setting: &Setting, subjects: &[&str]) -> Case {
    Case::new(name, Plot::Bars, setting, subjects)
}
