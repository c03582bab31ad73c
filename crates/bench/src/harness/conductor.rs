//! Takes samples in rounds: all subjects of a case in turns, in one placement.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use indicatif::ProgressBar;

use super::board::Place;
use super::case::{Case, Group};
use super::clock::Clock;
use super::crew::{self, Tools, Vain};
use super::orders::Setting;
use super::placement::{of_one_placement, stayed};
use super::records::{Outcome, Sample, median};
use super::subject::Subject;
use crate::failure::Failure;
use crate::signals::Signals;
use crate::terms::{self, remark};

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
    /// After how long a subject that says nothing hangs, beside ten times what
    /// its sample is to take.
    pub(crate) silence: Duration,
}

/// A subject that hung, where.
struct Hung {
    group: &'static str,
    subject: String,
    setting: Setting,
}

impl Hung {
    /// Whether a case of its group is the same with more workers or messages
    /// that are longer.
    fn in_less_than(&self, setting: &Setting) -> bool {
        let at = &self.setting;
        let (was, is) = ((at.workers(), at.words), (setting.workers(), setting.words));
        at.shape == setting.shape && was != is && was.0 <= is.0 && was.1 <= is.1
    }
}

/// A sample of each subject that works, and where the processors were meanwhile, if
/// that was found out.
type Round = (Option<Place>, Vec<Option<Sample>>);

/// Whether the samples of a round have to be of one placement.
#[derive(Clone, Copy)]
enum Placed {
    Together,
    Anywhere,
}

/// Has the workers of each sample started, and collects what they report.
pub(crate) struct Conductor<'a> {
    tools: Tools,
    subjects: &'a [Box<dyn Subject>],
    care: Care,
    began: Instant,
    /// How long it waited in vain, which says nothing of the machine.
    vain: Cell<Duration>,
    /// Samples that were taken again for others' noise, and those that were calm.
    retaken: Cell<(usize, usize)>,
    /// Rounds that were begun, and those that ended in the placement they began in.
    begun: Cell<(usize, usize)>,
    hung: RefCell<Vec<Hung>>,
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
        Ok(Self {
            tools: Tools { program, clock: Clock::compared(), signals },
            subjects,
            care,
            began,
            vain: Cell::new(Duration::ZERO),
            retaken: Cell::new((0, 0)),
            begun: Cell::new((0, 0)),
            hung: RefCell::new(Vec::new()),
            bar,
        })
    }

    /// Measures a case. A subject that fails is told of and left out.
    pub(crate) fn measure(&self, group: &Group, case: &Case) -> Result<Outcome, Failure> {
        let mut outcome = Outcome {
            subjects: case.subjects.clone(),
            failed: self.hopeless(group, case),
            ..Outcome::of(group.name, &case.name, case.plot.clone())
        };
        let mut rounds: Vec<Round> = Vec::new();
        let mut planned = 0;
        for round in 0..self.care.rounds {
            if round > 0 && self.elapsed() > 2 * self.care.patience {
                break;
            }
            planned += 1;
            self.bar.set_message(format!("{}: {}", group.name, case.name));
            let mut taken = None;
            for _ in 0..if self.settled() { TRIES } else { 1 } {
                taken = self.round(group, case, round, &mut outcome)?;
                if taken.is_some() {
                    break;
                }
            }
            rounds.push(match taken {
                Some(taken) => taken,
                // Without a placement that lasts, what there is counts, and says so.
                None => self.restless(group, case, round, &mut outcome)?,
            });
            self.bar.inc(case.subjects.len() as u64);
        }
        outcome.rounds = of_one_placement(rounds);
        let (kept, wanted) = (outcome.rounds.len(), self.care.rounds);
        if outcome.moved() > 0 {
            self.say(&format!("{}: the processors moved in each round", case.name));
        } else if kept < planned {
            self.say(&format!("{}: {kept} of {planned} rounds were in one placement", case.name));
        }
        if planned < wanted {
            let why = "the machine is too busy for more";
            self.say(&format!("{}: {planned} of {wanted} rounds: {why}", case.name));
        }
        self.tell_if_busy(case, &outcome);
        // The bar counts what is not done as well.
        self.bar.inc(((wanted - planned) * case.subjects.len()) as u64);
        Ok(outcome.limited(case.limit.clone()))
    }

    /// Whether it is of use to begin a round again because the processors moved: where
    /// they always do, the time is better spent on the next case.
    fn settled(&self) -> bool {
        let (tried, settled) = self.begun.get();
        self.elapsed() < self.care.patience && (tried < 2 * TRIES || 2 * settled >= tried)
    }

    /// A round wherever the processors are, marked as such.
    fn restless(
        &self,
        group: &Group,
        case: &Case,
        round: usize,
        outcome: &mut Outcome,
    ) -> Result<Round, Failure> {
        let taken = self.samples(group, case, (round, Placed::Anywhere), outcome)?;
        let (_, mut samples) = taken.unwrap_or_default();
        samples.iter_mut().flatten().for_each(|sample| sample.moved = true);
        Ok((None, samples))
    }

    /// One sample of each subject that works, unless the processors do not
    /// stay where they are.
    fn round(
        &self,
        group: &Group,
        case: &Case,
        round: usize,
        outcome: &mut Outcome,
    ) -> Result<Option<Round>, Failure> {
        let taken = self.samples(group, case, (round, Placed::Together), outcome)?;
        let (tried, settled) = self.begun.get();
        self.begun.set((tried + 1, settled + usize::from(taken.is_some())));
        Ok(taken)
    }

    /// One sample of each subject that works; if they are to be in one placement,
    /// there may be none. Each round begins with another subject.
    fn samples(
        &self,
        group: &Group,
        case: &Case,
        (round, placed): (usize, Placed),
        outcome: &mut Outcome,
    ) -> Result<Option<Round>, Failure> {
        let mut place = None;
        let count = case.subjects.len();
        let mut samples: Vec<Option<Sample>> = vec![None; count];
        // Workers that share a processor make the noise themselves, and what
        // they probe is the scheduler.
        let apart = case.setting.undisturbed();
        'subjects: for index in (0..count).map(|index| (index + round) % count) {
            let name = &case.subjects[index];
            if outcome.failed.iter().any(|(failed, _)| failed == name) {
                continue;
            }
            let mut calmest: Option<Sample> = None;
            for attempt in 1..=TRIES {
                match self.sample(group, name, &case.setting) {
                    Ok(sample)
                        if !apart
                            || matches!(placed, Placed::Anywhere)
                            || stayed(&sample, &mut place) =>
                    {
                        let calm = sample.noise < DISTURBED;
                        if apart && attempt > 1 {
                            let (again, calmed) = self.retaken.get();
                            self.retaken.set((again + 1, calmed + usize::from(calm)));
                        }
                        let enough = calm
                            || !apart
                            || !self.worthwhile()
                            || self.elapsed() > self.care.patience;
                        if calmest.as_ref().is_none_or(|other| sample.noise < other.noise) {
                            calmest = Some(sample);
                        }
                        if enough {
                            break;
                        }
                    }
                    Ok(_) => {}
                    Err(failure @ (Failure::Signalled(_) | Failure::Stuck(_))) => {
                        return Err(failure);
                    }
                    Err(failure) => {
                        let why = failure.message().unwrap_or_default();
                        self.say(&format!("{}, {name}: left out: {why}", case.name));
                        outcome.failed.push((name.clone(), why.to_owned()));
                        samples[index] = None;
                        continue 'subjects;
                    }
                }
                outcome.again += usize::from(attempt < TRIES);
            }
            if calmest.is_none() {
                return Ok(None);
            }
            samples[index] = calmest;
        }
        Ok(Some((place, samples)))
    }

    /// A sample. The time of one that fails does not count.
    fn sample(&self, group: &Group, name: &str, setting: &Setting) -> Result<Sample, Failure> {
        let subject = self.subjects.iter().find(|subject| subject.name() == name);
        let subject = subject.ok_or_else(|| Failure::unusable(name, "no such subject"))?;
        let silence = self.care.silence + 10 * Duration::from_nanos(setting.span);
        let started = Instant::now();
        let reports = crew::work(&self.tools, subject.as_ref(), setting, silence);
        let sample = match reports {
            Ok(reports) => Sample::of(setting, &reports),
            Err(Vain::Failed(failure)) => Err(failure),
            Err(Vain::Hung(took)) => {
                let subject = name.to_owned();
                let hung = Hung { group: group.name, subject, setting: setting.clone() };
                self.hung.borrow_mut().push(hung);
                Err(Failure::Broken(format!("no end after {:.1} s", took.as_secs_f64())))
            }
            // This says nothing about the subject, so larger cases are still tried.
            Err(Vain::Starved(took)) => Err(Failure::Broken(format!(
                "the machine is too busy: no end after {:.1} s, in which its workers had to wait \
                 for a processor",
                took.as_secs_f64()
            ))),
        };
        if sample.is_err() {
            self.vain.set(self.vain.get() + started.elapsed());
        }
        sample
    }

    /// Whether it has been of use to take disturbed samples again, or it is too
    /// early to know: on a machine that others use all the time it only takes
    /// the time of further rounds.
    fn worthwhile(&self) -> bool {
        let (again, calmed) = self.retaken.get();
        again < 10 || 3 * calmed >= again
    }

    /// Says so where the figures are those of a busy machine.
    fn tell_if_busy(&self, case: &Case, outcome: &Outcome) {
        let mut noise: Vec<f64> =
            outcome.rounds.iter().flatten().flatten().map(|s| s.noise).collect();
        let noise = median(&mut noise);
        if case.setting.undisturbed() && noise >= DISTURBED {
            let part = 100.0 * noise;
            self.say(&format!(
                "{}: others use the processors, for which {part:.0} % of the time was spent \
                 waiting: on an idle machine the figures are better",
                case.name
            ));
        }
    }

    /// The subjects of a case that hung in a smaller one, and that this is why.
    fn hopeless(&self, group: &Group, case: &Case) -> Vec<(String, String)> {
        let hung = self.hung.borrow();
        let hung = hung.iter().filter(|hung| hung.group == group.name);
        let hung = hung.filter(|hung| hung.in_less_than(&case.setting));
        let mut hopeless: Vec<(String, String)> = Vec::new();
        for Hung { subject, .. } in hung.filter(|hung| case.subjects.contains(&hung.subject)) {
            if !hopeless.iter().any(|(known, _)| known == subject) {
                let why = "it did not end in a smaller case of the group".to_owned();
                self.say(&format!("{}, {subject}: left out: {why}", case.name));
                hopeless.push((subject.clone(), why));
            }
        }
        hopeless
    }

    fn elapsed(&self) -> Duration {
        self.began.elapsed().saturating_sub(self.vain.get())
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
