//! Rounds of samples: all subjects of a case in turns, in one placement.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use indicatif::ProgressBar;

use super::case::{Case, Group};
use super::clock::Clock;
use super::crew;
use super::orders::Setting;
use super::records::{Outcome, Sample};
use super::subject::Subject;
use crate::failure::Failure;
use crate::signals::Signals;
use crate::terms::{self, remark};

/// How far two round trips of a cache line are from each other when the
/// processors have moved. Those of neighbours and of strangers differ by more.
const MOVED: f64 = 1.6;
/// The part of its time that a worker may have had to wait for its processor.
/// If it was more, others were at work there, and the sample is taken again;
/// of several, the calmest counts.
const DISTURBED: f64 = 0.05;
/// How often a sample, and a round, is tried before it is given up.
const TRIES: usize = 3;

/// How thorough to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Care {
    pub(crate) rounds: usize,
    /// How long disturbed samples are taken again; after twice as long, one
    /// round has to do.
    pub(crate) patience: Duration,
}

/// The one that has it measured.
pub(crate) struct Conductor<'a> {
    program: PathBuf,
    subjects: &'a [Box<dyn Subject>],
    care: Care,
    began: Instant,
    clock: Clock,
    signals: Signals,
    bar: ProgressBar,
}

impl<'a> Conductor<'a> {
    pub(crate) fn new(
        subjects: &'a [Box<dyn Subject>],
        groups: &[Group],
        care: Care,
        quiet: bool,
    ) -> Result<Self, Failure> {
        let program = std::env::current_exe()
            .map_err(|error| Failure::unusable("cannot find this program's own file", error))?;
        let signals =
            Signals::hold().map_err(|error| Failure::broken("cannot hold signals back", error))?;
        let cases = groups.iter().flat_map(|group| &group.cases);
        let samples: usize = cases.map(|case| case.subjects.len() * care.rounds).sum();
        let bar = terms::progress(samples as u64, quiet);
        let began = Instant::now();
        Ok(Self { program, subjects, care, began, clock: Clock::compared(), signals, bar })
    }

    /// Measures a case. A subject that fails is told of and left out.
    pub(crate) fn measure(&self, group: &Group, case: &Case) -> Result<Outcome, Failure> {
        let mut outcome = Outcome {
            group: group.name,
            case: case.name.clone(),
            plot: case.plot.clone(),
            subjects: case.subjects.clone(),
            standard: case.standard.clone(),
            rounds: Vec::new(),
            again: 0,
        };
        let mut works = vec![true; case.subjects.len()];
        let mut rounds: Vec<(Option<f64>, Vec<Option<Sample>>)> = Vec::new();
        let mut planned = 0;
        for round in 0..self.care.rounds {
            if round > 0 && self.began.elapsed() > 2 * self.care.patience {
                break;
            }
            planned += 1;
            self.bar.set_message(format!("{}: {}", group.name, case.name));
            for _ in 0..TRIES {
                let mut place = None;
                let taken = self.round(case, round, &mut works, &mut place, &mut outcome.again)?;
                if let Some(samples) = taken {
                    rounds.push((place, samples));
                    break;
                }
            }
            self.bar.inc(case.subjects.len() as u64);
        }
        outcome.rounds = of_one_placement(rounds);
        let (kept, wanted) = (outcome.rounds.len(), self.care.rounds);
        if kept < planned {
            self.say(&format!("{}: {kept} of {planned} rounds were in one placement", case.name));
        }
        if planned < wanted {
            let why = "the machine is too busy for more";
            self.say(&format!("{}: {planned} of {wanted} rounds: {why}", case.name));
        }
        // The bar counts what is not done as well.
        self.bar.inc(((wanted - planned) * case.subjects.len()) as u64);
        Ok(outcome)
    }

    /// One sample of each subject that works, unless the processors do not
    /// stay where they are. Each round begins with another subject.
    fn round(
        &self,
        case: &Case,
        round: usize,
        works: &mut [bool],
        place: &mut Option<f64>,
        again: &mut usize,
    ) -> Result<Option<Vec<Option<Sample>>>, Failure> {
        let count = case.subjects.len();
        let mut samples: Vec<Option<Sample>> = vec![None; count];
        for index in (0..count).map(|index| (index + round) % count) {
            if !works[index] {
                continue;
            }
            let name = &case.subjects[index];
            let mut calmest: Option<Sample> = None;
            for attempt in 1..=TRIES {
                match self.sample(name, &case.setting) {
                    Ok(sample) if stayed(&sample, place) => {
                        let calm = sample.noise < DISTURBED
                            || !case.setting.undisturbed()
                            || self.began.elapsed() > self.care.patience;
                        if calmest.as_ref().is_none_or(|other| sample.noise < other.noise) {
                            calmest = Some(sample);
                        }
                        if calm {
                            break;
                        }
                    }
                    Ok(_) => {}
                    Err(Failure::Signalled(signal)) => return Err(Failure::Signalled(signal)),
                    Err(failure) => {
                        let why = failure.message().unwrap_or_default();
                        self.say(&format!("{}, {name}: left out: {why}", case.name));
                        works[index] = false;
                        break;
                    }
                }
                *again += usize::from(attempt < TRIES);
            }
            if calmest.is_none() && works[index] {
                return Ok(None);
            }
            samples[index] = calmest;
        }
        Ok(Some(samples))
    }

    fn sample(&self, name: &str, setting: &Setting) -> Result<Sample, Failure> {
        let subject = self.subjects.iter().find(|subject| subject.name() == name);
        let subject = subject.ok_or_else(|| Failure::unusable(name, "no such subject"))?;
        let reports =
            crew::work(&self.program, subject.as_ref(), setting, self.clock, &self.signals)?;
        Sample::of(setting, &reports)
    }

    fn say(&self, what: &str) {
        self.bar.suspend(|| remark(what));
    }

    /// Prints a result beside the bar.
    pub(crate) fn print(&self, what: &str) -> Result<(), Failure> {
        self.bar.suspend(|| terms::print(what))
    }

    pub(crate) fn end(&self) {
        self.bar.finish_and_clear();
    }
}

fn near(one: f64, other: f64) -> bool {
    one < other * MOVED && other < one * MOVED
}

/// Whether the processors were all the time where this round's are.
fn stayed(sample: &Sample, place: &mut Option<f64>) -> bool {
    let Some((before, after)) = sample.probes else {
        return true;
    };
    near(before, after) && near(before, *place.get_or_insert(before))
}

/// The rounds of the placement that most were in.
fn of_one_placement(
    mut rounds: Vec<(Option<f64>, Vec<Option<Sample>>)>,
) -> Vec<Vec<Option<Sample>>> {
    let alike = |one: &Option<f64>, other: &Option<f64>| match (one, other) {
        (Some(one), Some(other)) => near(*one, *other),
        _ => true,
    };
    let companions =
        |place: Option<f64>| rounds.iter().filter(|(other, _)| alike(&place, other)).count();
    let places = rounds.iter().map(|(place, _)| *place);
    let most = places.max_by_key(|place| companions(*place)).flatten();
    rounds.retain(|(place, _)| alike(place, &most));
    rounds.into_iter().map(|(_, samples)| samples).collect()
}
