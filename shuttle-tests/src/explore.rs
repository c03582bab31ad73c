//! Runs a scene in many schedules, and reports their number.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, FailurePersistence, MaxSteps, Runner};

use crate::death::{self, End, Fate};
use crate::effort;
use crate::mutant::{self, Mutant};

/// How many changes of priority the second kind makes.
const CHANGES: usize = 3;
/// More than any scene has, unless somebody goes round in circles.
const MOST_STEPS: usize = 200_000;

thread_local! {
    static DEATHS: Cell<usize> = const { Cell::new(0) };
}

fn run(scheduler: impl Scheduler + 'static, scene: impl Fn() + Send + Sync + 'static) -> usize {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let mut config = Config::new();
    config.max_steps = MaxSteps::FailAfter(MOST_STEPS);
    config.silence_warnings = true;
    // The seed says it all.
    config.failure_persistence = FailurePersistence::None;
    Runner::new(scheduler, config).run(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        death::reset(false);
        scene();
        DEATHS.set(DEATHS.get() + usize::from(death::burnt()));
    });
    count.load(Ordering::Relaxed)
}

/// In so many schedules of each of the two kinds.
fn both(schedules: u64, seed: u64, scene: impl Fn() + Copy + Send + Sync + 'static) -> usize {
    let schedules = schedules as usize;
    let random = run(RandomScheduler::new_from_seed(seed, schedules), scene);
    random + run(PctScheduler::new_from_seed(seed, CHANGES, schedules), scene)
}

/// Runs a scene, which must hold.
pub(crate) fn holds(name: &str, scene: impl Fn() + Copy + Send + Sync + 'static) {
    mutant::set(None);
    DEATHS.set(0);
    let start = Instant::now();
    let schedules = both(effort::rounds(100, 1_500), effort::seed(), scene);
    let (deaths, took) = (DEATHS.get(), start.elapsed().as_secs_f32());
    println!("{name}: {schedules} schedules, {deaths} with a death, {took:.1} s");
    assert!(schedules > 1, "that is no exploring");
}

/// Runs a scene with a mutant, which must break it as `how` says.
pub(crate) fn fails(
    name: &str,
    mutant: &'static str,
    how: &str,
    scene: impl Fn() + Copy + Send + Sync + 'static,
) {
    mutant::set(Some(Mutant::Model(mutant)));
    let broken = catch_unwind(AssertUnwindSafe(|| both(1_500, 1, scene)));
    let used = mutant::used();
    mutant::set(None);
    assert!(used, "{name}: {mutant:?} changes nothing");
    let why = match broken {
        Ok(schedules) => panic!("{name}: survives {mutant:?} for {schedules} schedules"),
        Err(why) => why,
    };
    let text = why.downcast_ref::<String>().cloned();
    let text = text.or_else(|| why.downcast_ref::<&str>().map(|&text| text.to_owned()));
    let text = text.unwrap_or_default();
    assert!(text.contains(how), "{name}: {mutant:?} breaks it otherwise: {text}");
    println!("{name}: {mutant:?} found: {how}");
}

/// Any number below this.
pub(crate) fn any(below: usize) -> usize {
    use shuttle::rand::Rng;
    shuttle::rand::thread_rng().gen_range(0..below)
}

/// A death before some step, or none.
pub(crate) fn some_death(steps: usize) -> Option<Fate> {
    Some(Fate { step: any(steps), end: End::Killed })
}
