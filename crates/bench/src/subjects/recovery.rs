//! The time from a SIGKILL until a sleeping process has what the dead one held
//! up.
//!
//! There are three processes. The survivor runs on one processor. The victim and
//! the nurse run on the other. The nurse starts a victim, waits until the victim
//! holds what it should and the survivor sleeps, and kills the victim. The clock
//! runs from just before the kill until the survivor's call has returned.

use std::hint::spin_loop;
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

use tombolo::sys::sem::Op;
use tombolo::{Mpmc, Receiver, Segment};

use super::wake::{self, set};
use crate::failure::Failure;
use crate::harness::crew;
use crate::harness::{Mechanism, Object, Report, Setting, Shared, Subject, Task, Times};
use crate::terms::now;

pub(super) fn all() -> Vec<Box<dyn Subject>> {
    [Held::Undo, Held::Grant, Held::Delivery].map(|held| Box::new(held) as Box<dyn Subject>).into()
}

/// How many deaths at least.
pub(super) const LEAST: u64 = 8;

/// On the board: how many victims hold it, and how many deaths the survivor
/// has noticed, and when it noticed the last; whether that was all.
pub(super) const HELD: u64 = 0;
pub(super) const NOTICED: u64 = 1;
pub(super) const WHEN: u64 = 2;
pub(super) const OVER: u64 = 3;

/// The thing that a victim holds when it is killed.
enum Held {
    /// Nothing but an operation that the kernel undoes: the limit.
    Undo,
    /// The slot at the head of a channel, to write in; a message is behind it.
    Grant,
    /// The message at the head of a channel, taken and not acknowledged.
    Delivery,
}

pub(super) fn broken<E: std::fmt::Display>(error: E) -> Failure {
    Failure::broken("cannot recover", error)
}

pub(super) fn segment(shared: &Shared) -> Result<Segment, Failure> {
    let id = shared.numbers.first().and_then(|&id| i32::try_from(id).ok());
    Segment::open_id(id.unwrap_or(-1)).map_err(broken)
}

/// Waits for another process to note a number on the board.
pub(super) fn until(
    task: &Task<'_>,
    note: u64,
    number: u64,
    idle: impl Fn(),
) -> Result<(), Failure> {
    let deadline = Instant::now() + Duration::from_secs(10);
    while task.board.noted(note) < number {
        if Instant::now() > deadline {
            return Err(Failure::Broken("what was to come did not".to_owned()));
        }
        idle();
    }
    Ok(())
}

/// A segment, with the channel that `make` makes.
pub(super) fn prepared(
    make: impl FnOnce(&Segment) -> Result<(), Failure>,
) -> Result<Shared, Failure> {
    let mut shared = Shared::default();
    let segment = Segment::options().prefault(true).size(1 << 20).anonymous();
    let segment = segment.map_err(broken)?;
    shared.objects.push(Object::Segment(segment.id()));
    shared.numbers.push(i64::from(segment.id()));
    make(&segment)?;
    shared.held.push(Box::new(segment));
    Ok(shared)
}

/// A pause between two looks of the supervisor.
pub(super) fn nap() {
    thread::sleep(Duration::from_micros(50));
}

/// A victim's end, once it has what it is to have: it waits for it.
pub(super) fn linger(task: &Task<'_>) -> ! {
    task.board.note(HELD, task.board.noted(HELD) + 1);
    loop {
        thread::park();
    }
}

impl Subject for Held {
    fn name(&self) -> String {
        match self {
            Self::Undo => "semop, undone by the kernel",
            Self::Grant => "tombolo MPMC, the message behind a dead sender's slot",
            Self::Delivery => "tombolo MPMC, the message of a dead receiver",
        }
        .to_owned()
    }

    fn prepare(&self, setting: &Setting) -> Result<Shared, Failure> {
        if matches!(self, Self::Undo) {
            return Mechanism::prepare(&wake::Semop, setting);
        }
        prepared(|segment| {
            let channel = segment.channel::<u64>("c").capacity(setting.slots).lasting();
            channel.sender().map(drop).map_err(broken)
        })
    }

    fn work(&self, task: &Task<'_>) -> Result<Report, Failure> {
        match task.place {
            0 => self.survive(task),
            1 => self.supervise(task),
            _ => self.hold(task),
        }
    }
}

impl Held {
    /// The survivor's part.
    fn survive(&self, task: &Task<'_>) -> Result<Report, Failure> {
        let mut receiver = match self {
            Self::Undo => None,
            _ => Some(segment(task.shared)?.channel::<u64>("c").receiver().map_err(broken)?),
        };
        task.board.meet(2);
        for death in 1.. {
            if matches!(self, Self::Delivery) {
                // Or it would take what the victim is to have.
                until(task, HELD, death, spin_loop)?;
            }
            let got = self.wait(task, receiver.as_mut())?;
            let when = now();
            if task.board.noted(OVER) > 0 {
                break;
            }
            if got.is_some_and(|got| got != death) {
                return Err(Failure::Broken(format!("message {got:?} came after death {death}")));
            }
            task.board.note(WHEN, when);
            task.board.note(NOTICED, death);
        }
        Ok(Report::default())
    }

    fn wait(
        &self,
        task: &Task<'_>,
        receiver: Option<&mut Receiver<u64, Mpmc>>,
    ) -> Result<Option<u64>, Failure> {
        match receiver {
            Some(receiver) => Ok(Some(receiver.take().map_err(broken)?.read())),
            None => set(task.shared).perform(&[Op::take(0, 1)]).map(|()| None).map_err(broken),
        }
    }

    /// Starts victims and kills them.
    fn supervise(&self, task: &Task<'_>) -> Result<Report, Failure> {
        let sender = match self {
            Self::Undo => None,
            _ => Some(segment(task.shared)?.channel::<u64>("c").sender().map_err(broken)?),
        };
        let send = |number| match &sender {
            Some(sender) => sender.send(number).map_err(broken),
            None => Ok(()),
        };
        task.board.meet(2);
        let survivor = task.board.sleeper(0)?;
        let mut times = Times::new()?;
        let stop = Instant::now() + Duration::from_nanos(task.setting.span);
        let mut death = 0;
        while times.count() < LEAST || Instant::now() < stop {
            death += 1;
            if matches!(self, Self::Delivery) {
                send(death)?;
            }
            let mut victim = Victim::start(task)?;
            until(task, HELD, death, nap)?;
            if matches!(self, Self::Grant) {
                send(death)?;
            }
            survivor.wait()?;
            let killed = now();
            victim.kill()?;
            until(task, NOTICED, death, nap)?;
            times.record(task.board.noted(WHEN).saturating_sub(killed));
        }
        task.board.note(OVER, 1);
        task.board.note(HELD, death + 1);
        match self {
            Self::Undo => set(task.shared).perform(&[Op::add(0, 1)]).map_err(broken)?,
            _ => send(0)?,
        }
        Ok(Report { times: times.listed(), ..Report::default() })
    }

    /// A victim's part: it never comes to its end.
    fn hold(&self, task: &Task<'_>) -> Result<Report, Failure> {
        match self {
            Self::Undo => {
                let set = set(task.shared);
                // Together they change nothing, until the second is undone.
                let arm = set.perform(&[Op::add(0, 1), Op::take(0, 1).undo()]);
                arm.map_err(broken)?;
                linger(task)
            }
            Self::Grant => {
                let segment = segment(task.shared)?;
                let mut sender = segment.channel::<u64>("c").sender().map_err(broken)?;
                let _grant = sender.reserve().map_err(broken)?;
                linger(task)
            }
            Self::Delivery => {
                let segment = segment(task.shared)?;
                let mut receiver = segment.channel::<u64>("c").receiver().map_err(broken)?;
                let _delivery = receiver.take().map_err(broken)?;
                linger(task)
            }
        }
    }
}

/// A process to be killed.
pub(super) struct Victim(Child);

impl Victim {
    pub(super) fn start(task: &Task<'_>) -> Result<Self, Failure> {
        let mut orders = task.orders.clone();
        orders.place = 2;
        let beside = orders.setting.cpus.get(1).copied();
        orders.setting.cpus.extend(beside);
        let program = std::env::current_exe().map_err(broken)?;
        let child = crew::command(&program, &orders).and_then(|mut command| command.spawn());
        Ok(Self(child.map_err(broken)?))
    }

    pub(super) fn kill(&mut self) -> Result<(), Failure> {
        self.0.kill().and_then(|()| self.0.wait()).map(drop).map_err(broken)
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}
