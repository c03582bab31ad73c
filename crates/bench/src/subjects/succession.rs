//! The time from the SIGKILL of the process that has the role of an SPSC channel
//! until its successor's first message: a receiver's successor has then received
//! the first message left to it, and a sender's successor has sent one.
//!
//! The successor tries for the role until it has it, because no call waits for a
//! role. Processes and clock are those of [`recovery`](super::recovery).

use std::hint::spin_loop;
use std::time::{Duration, Instant};

use tombolo::ChannelError;

use super::recovery::{
    HELD, LEAST, NOTICED, OVER, Victim, WHEN, broken, linger, nap, prepared, segment, until,
};
use crate::failure::Failure;
use crate::harness::{Report, Setting, Shared, Subject, Task, Times};
use crate::terms::now;

pub(super) fn all() -> Vec<Box<dyn Subject>> {
    [Role::Receiver, Role::Sender].map(|role| Box::new(role) as Box<dyn Subject>).into()
}

/// The role that the dead leave.
enum Role {
    Receiver,
    Sender,
}

/// An end of the channel, once nobody living has it.
fn taken<E>(open: impl Fn() -> Result<E, ChannelError>) -> Result<E, Failure> {
    loop {
        match open() {
            Err(ChannelError::RoleTaken { .. }) => spin_loop(),
            done => return done.map_err(broken),
        }
    }
}

impl Subject for Role {
    fn name(&self) -> String {
        match self {
            Self::Receiver => "tombolo SPSC, the first message of a dead receiver's successor",
            Self::Sender => "tombolo SPSC, the first message of a dead sender's successor",
        }
        .to_owned()
    }

    fn prepare(&self, setting: &Setting) -> Result<Shared, Failure> {
        prepared(|segment| {
            let channel = segment.channel::<u64>("c").spsc().capacity(setting.slots).lasting();
            channel.sender().map(drop).map_err(broken)
        })
    }

    fn work(&self, task: &Task<'_>) -> Result<Report, Failure> {
        match task.place {
            0 => self.succeed(task),
            1 => self.supervise(task),
            _ => self.hold(task),
        }
    }
}

impl Role {
    /// The successor's part.
    fn succeed(&self, task: &Task<'_>) -> Result<Report, Failure> {
        let segment = segment(task.shared)?;
        let channel = segment.channel::<u64>("c").spsc();
        task.board.meet(2);
        for death in 1.. {
            until(task, HELD, death, spin_loop)?;
            if task.board.noted(OVER) > 0 {
                break;
            }
            let when = match self {
                Self::Receiver => {
                    let receiver = taken(|| channel.receiver())?;
                    let got = receiver.recv().map_err(broken)?;
                    let when = now();
                    expect(got, death)?;
                    when
                }
                Self::Sender => {
                    let sender = taken(|| channel.sender())?;
                    sender.send(death).map_err(broken)?;
                    now()
                }
            };
            // The role is free again for the next victim.
            task.board.note(WHEN, when);
            task.board.note(NOTICED, death);
        }
        Ok(Report::default())
    }

    /// Starts victims, kills them, and has the other end.
    fn supervise(&self, task: &Task<'_>) -> Result<Report, Failure> {
        let segment = segment(task.shared)?;
        let channel = segment.channel::<u64>("c").spsc();
        let (sender, receiver) = match self {
            Self::Receiver => (Some(channel.sender().map_err(broken)?), None),
            Self::Sender => (None, Some(channel.receiver().map_err(broken)?)),
        };
        task.board.meet(2);
        let mut times = Times::new()?;
        let stop = Instant::now() + Duration::from_nanos(task.setting.span);
        let mut death = 0;
        while times.count() < LEAST || Instant::now() < stop {
            death += 1;
            let mut victim = Victim::start(task)?;
            until(task, HELD, death, nap)?;
            if let Some(sender) = &sender {
                sender.send(death).map_err(broken)?;
            }
            let killed = now();
            victim.kill()?;
            until(task, NOTICED, death, nap)?;
            if let Some(receiver) = &receiver {
                expect(receiver.recv().map_err(broken)?, death)?;
            }
            times.record(task.board.noted(WHEN).saturating_sub(killed));
        }
        task.board.note(OVER, 1);
        task.board.note(HELD, death + 1);
        Ok(Report { times: times.listed(), ..Report::default() })
    }

    /// A victim's part.
    fn hold(&self, task: &Task<'_>) -> Result<Report, Failure> {
        let segment = segment(task.shared)?;
        let channel = segment.channel::<u64>("c").spsc();
        match self {
            Self::Receiver => {
                let _receiver = channel.receiver().map_err(broken)?;
                linger(task)
            }
            Self::Sender => {
                let _sender = channel.sender().map_err(broken)?;
                linger(task)
            }
        }
    }
}

fn expect(got: u64, death: u64) -> Result<(), Failure> {
    if got == death {
        return Ok(());
    }
    Err(Failure::Broken(format!("message {got} came after death {death}")))
}
