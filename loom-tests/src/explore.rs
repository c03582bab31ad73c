//! Running a model, and saying how much of it was explored.

use std::cell::Cell;
use std::iter::once;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::death::{self, End, Fate};
use crate::effort;
use crate::mutant::{self, Mutant};

/// How many times a thread may be interrupted where it could go on; `None`
/// for every interleaving.
pub(crate) type Bound = Option<usize>;

/// Loom's word for a lost wake: the main thread is a participant, and waits like the
/// others.
pub(crate) const LOST: &str = "deadlock";

thread_local! {
    static COMPLETE: Cell<bool> = const { Cell::new(false) };
    static EXPLORED: Cell<usize> = const { Cell::new(0) };
}

/// Explores every order of steps within the bound.
///
/// Loom leaves out orders that it takes to be the same as others. It knows of
/// each object only who was the last to use it, and so forgets that another
/// thread had read a word as soon as the one that is to write it reads it
/// first, as every claim does. Here all steps share one more object, without
/// any synchronization, and so none is taken to be independent of another.
pub(crate) fn completely(explore: impl FnOnce()) {
    COMPLETE.set(true);
    explore();
    COMPLETE.set(false);
}

/// How much of a model an everyday run explores: so many preemptions and
/// executions, and an end before one step of so many.
const PREEMPTIONS: usize = 1;
const EXECUTIONS: usize = 500;
const OF_AN_END: usize = 100;
const STEPS: usize = 4;
/// Of how many mutants it tries one.
const MUTANTS: u64 = 4;

fn everyday() -> bool {
    effort::times() == 0
}

type Model = Box<dyn Fn() + Send + Sync>;

/// Explores `model` as far as `bound`, or every day so many executions of it.
fn sample(bound: Bound, executions: usize, model: Model) {
    if everyday() {
        let preemptions = bound.map_or(PREEMPTIONS, |bound| bound.min(PREEMPTIONS));
        run(Some(preemptions), Some(executions), model);
    } else {
        run(bound, None, model);
    }
}

fn run(bound: Bound, executions: Option<usize>, model: Model) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let complete = COMPLETE.get();
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = bound;
    builder.max_permutations = executions;
    if executions.is_some() {
        // How often it looks whether it is to end.
        builder.checkpoint_interval = 50;
    }
    builder.max_branches = 10_000;
    let check = AssertUnwindSafe(|| {
        builder.check(move || {
            counted.fetch_add(1, Ordering::Relaxed);
            EXPLORED.set(EXPLORED.get() + 1);
            death::reset(complete);
            model();
        });
    });
    if let Err(why) = catch_unwind(check) {
        println!("{}", death::trace());
        resume_unwind(why);
    }
    let count = count.load(Ordering::Relaxed);
    assert!(count >= 2, "one execution explores nothing");
}

fn report(name: &str, bound: Bound, took: Duration, more: &str) {
    let bound = match bound {
        _ if everyday() => "a sample".to_owned(),
        Some(n) => format!("at most {n} preemptions"),
        None => "exhaustive".to_owned(),
    };
    let orders = if COMPLETE.get() { "complete" } else { "loom's orders" };
    let (explored, took) = (EXPLORED.get(), took.as_secs_f32());
    println!("{name}: {explored} executions, {orders}, {bound}, {took:.1} s{more}");
}

/// Explores `model`, which must hold.
pub(crate) fn holds(name: &str, bound: Bound, model: impl Fn() + Send + Sync + 'static) {
    mutant::set(None);
    EXPLORED.set(0);
    let start = Instant::now();
    sample(bound, EXECUTIONS, Box::new(model));
    report(name, bound, start.elapsed(), "");
}

/// Explores `model` for an end before every step that its mortal thread has.
pub(crate) fn holds_for_every_end(
    name: &str,
    bound: Bound,
    end: End,
    model: impl Fn(Fate) + Copy + Send + Sync + 'static,
) {
    mutant::set(None);
    EXPLORED.set(0);
    let start = Instant::now();
    let steps = if everyday() {
        // The first step, which every model has, and some of the others.
        let first = 1 + effort::seed() as usize % STEPS;
        every_end(
            once(0).chain((first..).step_by(STEPS)),
            end,
            |model| sample(bound, OF_AN_END, model),
            model,
        )
    } else {
        every_end(0.., end, |model| run(bound, None, model), model)
    };
    report(name, bound, start.elapsed(), &format!(", {end:?} before each of {steps} steps"));
}

/// Has the mortal thread end before each of `steps` that it has; says up to which.
fn every_end<M: Fn(Fate) + Copy + Send + Sync + 'static>(
    steps: impl Iterator<Item = usize>,
    end: End,
    explore: impl Fn(Model),
    model: M,
) -> usize {
    let mut ended = false;
    for step in steps {
        death::burnt();
        if std::env::var_os("TOMBOLO_STEPS").is_some_and(|steps| !steps.is_empty()) {
            eprintln!("step {step}, {} executions so far", EXPLORED.get());
        }
        explore(Box::new(move || model(Fate { step, end })));
        if !death::burnt() {
            assert!(ended, "nobody can die in this model");
            return step;
        }
        ended = true;
    }
    unreachable!("a model has finitely many steps")
}

/// Explores `model` with a mutant, which must break it as `how` says.
pub(crate) fn fails(
    name: &str,
    mutant: Mutant,
    how: &str,
    bound: Bound,
    model: impl Fn() + Send + Sync + 'static,
) {
    breaks(name, mutant, how, || run(bound, None, Box::new(model)));
}

/// Explores `model` with a mutant, which must not break it.
pub(crate) fn holds_despite(
    name: &str,
    mutant: Mutant,
    bound: Bound,
    model: impl Fn() + Send + Sync + 'static,
) {
    mutant::set(Some(mutant));
    EXPLORED.set(0);
    let start = Instant::now();
    sample(bound, EXECUTIONS, Box::new(model));
    assert!(mutant::used(), "{name}: {mutant:?} changes nothing");
    mutant::set(None);
    report(name, bound, start.elapsed(), &format!(", despite {mutant:?}"));
}

/// The same for an end before some step.
pub(crate) fn fails_for_some_end(
    name: &str,
    mutant: Mutant,
    how: &str,
    bound: Bound,
    end: End,
    model: impl Fn(Fate) + Copy + Send + Sync + 'static,
) {
    breaks(name, mutant, how, || {
        every_end(0.., end, |model| run(bound, None, model), model);
    });
}

fn breaks(name: &str, mutant: Mutant, how: &str, run: impl FnOnce()) {
    let number = format!("{name} {mutant:?}").bytes().fold(0, |sum, byte| sum + u64::from(byte));
    if !effort::sampled(MUTANTS, effort::seed(), number) {
        return;
    }
    mutant::set(Some(mutant));
    EXPLORED.set(0);
    let broken = catch_unwind(AssertUnwindSafe(run));
    let used = mutant::used();
    mutant::set(None);
    assert!(used, "{name}: {mutant:?} changes nothing: is the function still called so?");
    let Err(why) = broken else {
        panic!("{name}: survives {mutant:?} for {} executions", EXPLORED.get());
    };
    let why = why
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| why.downcast_ref::<&str>().map(|why| (*why).to_owned()))
        .unwrap_or_default();
    assert!(why.contains(how), "{name}: {mutant:?} breaks it otherwise: {why}");
    println!("{name}: {mutant:?} found in execution {}: {how}", EXPLORED.get());
}
