//! One process of a sample; or the whole sample, if the ends of its subject are
//! threads.

#![allow(unsafe_code)]

use std::fs;
use std::io::{self, Read};
use std::os::fd::{FromRawFd, OwnedFd};
use std::process;
use std::sync::OnceLock;
use std::thread;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

use super::board::{Board, Place, Plan};
use super::clock::Clock;
use super::exchange;
use super::orders::{Object, Orders, Report, Setting, Shape, Shared};
use super::subject::Subject;
use crate::failure::Failure;
use crate::terms::{self, now};

/// The work of a worker, and what it needs for it.
pub(crate) struct Task<'a> {
    pub(crate) orders: &'a Orders,
    pub(crate) setting: &'a Setting,
    pub(crate) place: usize,
    pub(crate) board: &'a Board,
    pub(crate) shared: &'a Shared,
    pub(crate) clock: Clock,
}

/// Does what the conductor ordered and reports it.
pub(crate) fn run(orders: &str, subjects: &[Box<dyn Subject>]) -> Result<(), Failure> {
    let orders: Orders =
        serde_json::from_str(orders).map_err(|error| Failure::unusable("orders", error))?;
    let reports = work(&orders, subjects).unwrap_or_else(|failure| vec![Err(failure)]);
    for report in reports {
        let report = report.unwrap_or_else(|failure| Report {
            failed: Some(failure.message().unwrap_or("it was told to end").to_owned()),
            ..Report::default()
        });
        let report = serde_json::to_string(&report);
        terms::print(&report.map_err(|error| Failure::broken("cannot report", error))?)?;
    }
    Ok(())
}

type Reports = Vec<Result<Report, Failure>>;

fn work(orders: &Orders, subjects: &[Box<dyn Subject>]) -> Result<Reports, Failure> {
    let subject = subjects.iter().find(|subject| subject.name() == orders.subject);
    let subject = subject.ok_or_else(|| Failure::unusable(&orders.subject, "no such subject"))?;
    let board = Board::open(orders.board)
        .map_err(|error| Failure::unusable("cannot open the board", error))?;
    let shared = if subject.threads() {
        subject.prepare(&orders.setting)?
    } else {
        inherit(orders).map_err(|error| Failure::unusable("a descriptor", error))?
    };
    watch(shared.objects.clone())?;
    let task = |place| Task {
        orders,
        setting: &orders.setting,
        place,
        board: &board,
        shared: &shared,
        clock: orders.clock,
    };
    let work = |place| {
        pin(&orders.setting, place)?;
        board.enter(place);
        subject.work(&task(place))
    };
    if !subject.threads() {
        return Ok(vec![work(orders.place)]);
    }
    // None begins before all are there: it would wait for the others.
    let go = &OnceLock::new();
    thread::scope(|scope| {
        let places = 0..orders.setting.workers();
        let mut threads = Vec::new();
        for place in places {
            let body = move || if *go.wait() { work(place) } else { Err(Failure::Told(2)) };
            match thread::Builder::new().spawn_scoped(scope, body) {
                Ok(thread) => threads.push(thread),
                Err(error) => {
                    let _ = go.set(false);
                    return Err(Failure::unusable("cannot start a thread", error));
                }
            }
        }
        let _ = go.set(true);
        let panicked = |_| Err(Failure::Broken("a thread panicked".to_owned()));
        Ok(threads.into_iter().map(|thread| thread.join().unwrap_or_else(panicked)).collect())
    })
}

/// Takes what the conductor made.
fn inherit(orders: &Orders) -> Result<Shared, nix::Error> {
    let mut shared = Shared::default();
    shared.borrowed = true;
    shared.numbers.clone_from(&orders.numbers);
    shared.objects.clone_from(&orders.objects);
    for &number in &orders.fds {
        // SAFETY: the conductor left it open for this process, and tells its
        // number once.
        let fd = unsafe { OwnedFd::from_raw_fd(number) };
        fcntl(&fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
        shared.fds.push(fd);
    }
    Ok(shared)
}

/// Ends this process when the conductor has gone, and leaves nothing behind.
fn watch(objects: Vec<Object>) -> Result<(), Failure> {
    let watch = move || {
        let mut nothing = [0; 1];
        while matches!(io::stdin().read(&mut nothing), Ok(1..)) {}
        objects.iter().for_each(|object| object.remove());
        process::exit(1);
    };
    match thread::Builder::new().spawn(watch) {
        Ok(_) => Ok(()),
        Err(error) => Err(Failure::unusable("cannot start a thread", error)),
    }
}

/// Puts the calling thread on its processor, or, as long as it makes its end, on any of
/// those of the sample where it is going to sleep most of the time: a handle chooses how to
/// wait by the number of processors that it has.
fn pin(setting: &Setting, place: usize) -> Result<(), Failure> {
    let free = setting.shape == Shape::Trickle && place >= setting.producers;
    stay(setting, place, if free { &setting.cpus } else { &[] })
}

/// Puts the calling thread on its processor or one of these others.
fn stay(setting: &Setting, place: usize, others: &[usize]) -> Result<(), Failure> {
    let mut cpus = CpuSet::new();
    let cpu = setting.cpus.get(place).copied().unwrap_or(0);
    others
        .iter()
        .chain([&cpu])
        .try_for_each(|&cpu| cpus.set(cpu))
        .and_then(|()| sched_setaffinity(Pid::from_raw(0), &cpus))
        .map_err(|error| Failure::unusable(format!("cannot stay on processor {cpu}"), error))
}

/// Nanoseconds that the calling thread has waited for its processor.
fn waited() -> u64 {
    let schedstat = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    schedstat.split(' ').nth(1).and_then(|delay| delay.parse().ok()).unwrap_or(0)
}

impl Task<'_> {
    /// Puts the calling thread on its own processor. Two workers that probe the line between
    /// them would take turns for seconds if they shared one.
    pub(crate) fn stay(&self) -> Result<(), Failure> {
        stay(self.setting, self.place, &[])
    }

    /// Runs ever longer parts, the first of so many messages, until one has
    /// shown how many make up the timed one; and that.
    pub(crate) fn parts(
        &self,
        first: u64,
        mut run: impl FnMut(u64, Plan) -> Result<(), Failure>,
    ) -> Result<Report, Failure> {
        let workers = self.setting.workers();
        let leads = self.place == 0;
        if leads {
            self.board.plan(Plan { messages: first.max(1), timed: false });
        }
        self.board.meet(workers);
        let before = self.probe();
        let mut from = 0;
        let mut report = loop {
            self.board.meet(workers);
            let plan = self.board.planned();
            let delay = waited();
            let began = now();
            run(from, plan)?;
            let ended = now();
            let delay = waited() - delay;
            from += plan.messages;
            self.board.meet(workers);
            if plan.timed {
                break Report { messages: plan.messages, began, ended, delay, ..Report::default() };
            }
            if leads {
                self.board.plan(next(plan.messages, now() - began, self.setting));
            }
        };
        self.board.meet(workers);
        report.probes = before.zip(self.probe());
        Ok(report)
    }

    /// Where the processors are. All workers call it; the first one learns it.
    fn probe(&self) -> Option<Place> {
        let (first, other) = self.setting.probers()?;
        if self.place == first {
            return Some(self.board.probe());
        }
        if self.place == other {
            self.board.answer();
        }
        None
    }
}

/// The plan that follows so many messages in so many nanoseconds.
fn next(messages: u64, took: u64, setting: &Setting) -> Plan {
    if took < setting.span / 8 {
        return Plan { messages: 4 * messages, timed: false };
    }
    let usual = took as f64 / messages as f64;
    let each = if matches!(setting.shape, Shape::Busy | Shape::SpreadBusy) {
        exchange::paced(usual)
    } else {
        usual
    };
    Plan { messages: ((setting.span as f64 / each) as u64).max(16), timed: true }
}
