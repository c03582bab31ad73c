//! Points at which a test can kill the process. They exist with the feature
//! `crash-points`, which only tests should enable.
//!
//! Every use of an atomic in a segment, every system call that changes
//! something and the middle of every copy into a segment is a *point*. A
//! point is named by its place in the source and what is about to happen
//! there. So no point can be forgotten: a new step is a new point.
//!
//! ```text
//!           watch                     plot
//!  idle ───────────▶ counting ─────────────────▶ about to end
//!                       │ trace                   │ the nth time at the point
//!                       ▼                         ▼
//!                 the points passed          killed, or stopped, before it
//! ```
//!
//! The state belongs to this process; a forked child starts with a copy.

use std::collections::HashMap;
use std::fmt;
use std::panic::Location;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A place in the source, and what is about to happen there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Point {
    file: &'static str,
    line: u32,
    column: u32,
    step: &'static str,
}

impl Point {
    #[track_caller]
    const fn here(step: &'static str) -> Point {
        let here = Location::caller();
        Point { file: here.file(), line: here.line(), column: here.column(), step }
    }

    /// The file, from the library's `src` on.
    pub fn file(&self) -> &'static str {
        self.file.rsplit_once("src/").map_or(self.file, |(_, file)| file)
    }

    /// The line, from 1.
    pub const fn line(&self) -> u32 {
        self.line
    }

    /// What is about to happen: the name of an atomic operation or of a system
    /// call, or `"copy"`, of which half has happened.
    pub const fn step(&self) -> &'static str {
        self.step
    }
}

/// `ring/spsc.rs:182:21 store`: what [`Plot::at`] compares with.
impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{} {}", self.file(), self.line, self.column, self.step)
    }
}

/// How a process is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// By `SIGKILL`.
    Killed,
    /// By `SIGSTOP`. When it is continued, it continues where it stopped.
    Stopped,
}

/// Where and how this process is to end.
#[derive(Clone, Debug)]
pub struct Plot {
    /// The point, as [`Point`] is displayed. If empty, every step counts.
    pub at: String,
    /// Which passing of the point ends the process, counted from 1.
    pub time: u64,
    /// How the process ends there.
    pub end: End,
}

#[derive(Default)]
struct Watch {
    trace: Option<Vec<Point>>,
    plot: Option<Plot>,
    names: HashMap<Point, String>,
}

static ACTIVE: AtomicBool = AtomicBool::new(false);
static RECOVERY_OFF: AtomicBool = AtomicBool::new(false);
static WATCH: Mutex<Option<Watch>> = Mutex::new(None);

fn watch_now() -> MutexGuard<'static, Option<Watch>> {
    WATCH.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Notes every point that this process passes from now on.
pub fn watch() {
    watch_now().get_or_insert_default().trace = Some(Vec::new());
    ACTIVE.store(true, Ordering::Relaxed);
}

/// Returns the points that this process has passed since [`watch`], in order, and
/// stops noting them.
pub fn trace() -> Vec<Point> {
    watch_now().as_mut().and_then(|watch| watch.trace.take()).unwrap_or_default()
}

/// Makes this process end as plotted. `None` forgets an earlier plot.
pub fn plot(plot: Option<Plot>) {
    let active = plot.is_some();
    let mut watch = watch_now();
    let watch = watch.get_or_insert_default();
    watch.plot = plot;
    ACTIVE.store(active || watch.trace.is_some(), Ordering::Relaxed);
}

/// Makes this process leave the dead as they are. That breaks the library's
/// promise, and a test that checks the promise has to fail.
pub fn switch_recovery_off() {
    RECOVERY_OFF.store(true, Ordering::Relaxed);
}

/// Whether this build has crash points.
pub(crate) const POINTS: bool = true;

/// Whether this process leaves the dead as they are.
pub(crate) fn recovery_is_off() -> bool {
    RECOVERY_OFF.load(Ordering::Relaxed)
}

/// To be called before a step.
///
/// Functions between the place that names the point and this one carry
/// `#[track_caller]`.
#[track_caller]
#[inline]
pub(crate) fn point(step: &'static str) {
    if ACTIVE.load(Ordering::Relaxed) {
        pass(Point::here(step));
    }
}

#[cold]
fn pass(point: Point) {
    let mut watch = watch_now();
    let Some(Watch { trace, plot, names }) = watch.as_mut() else {
        return;
    };
    if let Some(trace) = trace {
        trace.push(point);
    }
    let Some(due) = plot else {
        return;
    };
    let name = names.entry(point).or_insert_with(|| point.to_string());
    if !due.at.is_empty() && due.at != *name {
        return;
    }
    due.time = due.time.saturating_sub(1);
    if due.time == 0 {
        let end = due.end;
        *plot = None;
        drop(watch);
        let signal = match end {
            End::Killed => Signal::SIGKILL,
            End::Stopped => Signal::SIGSTOP,
        };
        // The kernel delivers it before the call returns.
        let _ = kill(Pid::this(), signal);
    }
}
