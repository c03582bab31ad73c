//! The conductor's work: it starts, kills and stops the workers, reads their
//! notes, and detects when nothing moves.
//!
//! It is no participant, so it delays and sweeps nobody. A [`Blow`] is what the
//! conductor does to a worker from outside; a worker's [`Orders`] say what happens
//! to it from within.

use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::signal::Signal;

use super::clerk::Clerk;
use super::explain;
use super::judge::{End, Findings, Judge};
use super::ledger::{Ledger, Note, Phase};
use super::orders::{Orders, Role, Setting};
use super::points;
use super::seat::{Seat, State};
use super::stall::{Outlook, Stall};
use crate::failure::Failure;
use crate::signals::Signals;
use crate::terms::now;

/// Processes that fight over the side segment.
const SIDE: u16 = 2;
/// After so long without a message, nothing moves any more.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many stops there are for each kill; and the fewest and the most in a second.
const STOPS: (f64, f64, f64) = (0.25, 2.0, 50.0);

/// A kill or a stop, and the workers that it is for.
#[derive(Debug)]
enum Blow {
    Kill(Vec<usize>),
    Stop(usize, Duration),
}

/// The storm.
#[derive(Debug)]
pub(crate) struct Storm {
    program: PathBuf,
    signals: Signals,
    ledger: Ledger,
    seats: Vec<Seat>,
    chance: fastrand::Rng,
    clerk: Clerk,
    stall: Stall,
    pub(crate) kills: u64,
    next_kill: Instant,
    next_stop: Instant,
}

/// Longer than any storm, and of many the sum is still a time.
const NEVER: Duration = Duration::from_secs(1 << 32);

impl Storm {
    /// Starts the workers.
    pub(crate) fn muster(
        program: PathBuf,
        setting: &Setting,
        ledger: Ledger,
        judge: Judge,
        signals: Signals,
    ) -> Result<Self, Failure> {
        let mut seats = Vec::new();
        for (role, count) in [
            (Role::Producer, setting.producers),
            (Role::Consumer, setting.consumers),
            (Role::Side, SIDE),
        ] {
            for index in 0..count {
                let (seat, setting) = (seats.len(), setting.clone());
                seats.push(Seat::new(Orders { role, index, seat, life: 0, steps: 0, setting }));
            }
        }
        let now = Instant::now();
        let mut storm = Self {
            program,
            signals,
            ledger,
            seats,
            chance: fastrand::Rng::with_seed(setting.seed),
            clerk: Clerk::new(judge),
            stall: Stall::new(now),
            kills: 0,
            next_kill: now,
            next_stop: now,
        };
        // One that is to have every message is there before the first.
        let (first, others): (Vec<usize>, Vec<usize>) =
            (0..storm.seats.len()).partition(|&seat| storm.seats[seat].orders.is_witness());
        for &seat in &first {
            storm.start(seat)?;
        }
        storm.wait_until("the witness is there", |storm| {
            first.iter().all(|&seat| storm.seats[seat].up)
        })?;
        for seat in others {
            storm.start(seat)?;
        }
        Ok(storm)
    }

    /// How many books a ledger has to have.
    pub(crate) const fn books(producers: u16, consumers: u16) -> usize {
        producers as usize + consumers as usize + SIDE as usize
    }

    pub(crate) const fn messages(&self) -> u64 {
        self.clerk.messages()
    }

    pub(crate) const fn longest_stall(&self) -> Duration {
        self.stall.longest()
    }

    fn start(&mut self, seat: usize) -> Result<(), Failure> {
        let witness = self.seats[seat].orders.is_witness();
        let stormy = self.ledger.phase() == Phase::Storm && !witness;
        self.seats[seat].orders.steps = if stormy { points::draw(&mut self.chance) } else { 0 };
        match self.seats[seat].start(&self.program) {
            Ok(()) => Ok(()),
            Err(error) => Err(Failure::unusable("cannot start a worker", error)),
        }
    }

    /// Blows for so long, with so many kills a second; shows how far it is.
    pub(crate) fn blow(
        &mut self,
        span: Duration,
        rate: f64,
        mut show: impl FnMut(&Self),
    ) -> Result<(), Failure> {
        let start = Instant::now();
        self.next_kill = start + self.pause(rate);
        while start.elapsed() < span {
            let struck = self.due(rate);
            match struck {
                Some(Blow::Kill(victims)) => {
                    self.kill(&victims);
                    for victim in victims {
                        self.start(victim)?;
                    }
                }
                Some(Blow::Stop(seat, span)) => self.stop(seat, span),
                None => {}
            }
            let rest = self.next_kill.saturating_duration_since(Instant::now());
            self.tick(rest)?;
            show(self);
        }
        Ok(())
    }

    /// The time to the next of events that come so often a second.
    fn pause(&mut self, rate: f64) -> Duration {
        let even = 1.0 - self.chance.f64();
        Duration::try_from_secs_f64(-even.ln() / rate).unwrap_or(NEVER).min(NEVER)
    }

    /// The kill or stop that is due now.
    fn due(&mut self, rate: f64) -> Option<Blow> {
        let now = Instant::now();
        if now >= self.next_kill {
            // Now and then several in the same instant, sometimes all.
            let mut victims: Vec<usize> = (0..self.seats.len())
                .filter(|&seat| !self.seats[seat].orders.is_witness())
                .collect();
            let most = if self.chance.u8(..8) == 0 { victims.len() } else { 1 };
            self.chance.shuffle(&mut victims);
            victims.truncate(self.chance.usize(1..=most));
            // Not later than it should have been, or they would become fewer.
            let late = now.saturating_duration_since(self.next_kill).min(Duration::from_secs(1));
            let pause = victims.iter().map(|_| self.pause(rate)).sum::<Duration>();
            self.next_kill = now + pause.saturating_sub(late);
            return Some(Blow::Kill(victims));
        }
        if now >= self.next_stop {
            let (part, least, most) = STOPS;
            self.next_stop = now + self.pause((part * rate).clamp(least, most));
            let longest = if self.chance.u8(..10) == 0 { 300 } else { 30 };
            let span = Duration::from_millis(self.chance.u64(1..=longest));
            return Some(Blow::Stop(self.chance.usize(..self.seats.len()), span));
        }
        None
    }

    /// Kills them all at once.
    fn kill(&mut self, victims: &[usize]) {
        let signal_at = now();
        for &victim in victims {
            self.seats[victim].signal(Signal::SIGKILL);
        }
        for &victim in victims {
            let seat = &mut self.seats[victim];
            // It may have ended from within before that.
            let alive_at = if seat.orders.steps > 0 { seat.alive_at } else { signal_at };
            seat.reap();
            self.bury(victim, alive_at);
        }
    }

    /// Enters the death of a worker whose process has been reaped.
    fn bury(&mut self, victim: usize, alive_at: u64) {
        let seat = &mut self.seats[victim];
        let (judged, life) = (seat.judged(), seat.orders.life);
        seat.next_life();
        self.hear(victim, life);
        let at = now();
        self.clerk.end(judged, life, at, End::Killed { signal_at: alive_at, reaped_at: at });
        self.kills += 1;
    }

    fn stop(&mut self, seat: usize, span: Duration) {
        let seat = &mut self.seats[seat];
        if seat.begun {
            seat.signal(Signal::SIGSTOP);
            seat.stopped = Some(Instant::now() + span);
        }
    }

    /// Continues the stopped workers whose time is over.
    fn resume(&mut self, by: Instant) {
        for seat in &mut self.seats {
            if seat.stopped.is_some_and(|until| until <= by) {
                seat.signal(Signal::SIGCONT);
                seat.stopped = None;
            }
        }
    }

    /// Lets the workers finish, and hears the verdict, and how many were killed.
    pub(crate) fn calm(mut self) -> Result<(Findings, u64), Failure> {
        self.resume(Instant::now() + Duration::from_secs(3_600));
        self.ledger.set_phase(Phase::Finish);
        // Producers stay until the consumers have met them.
        self.wait_until("the producers have finished", |storm| {
            let done = |seat: &Seat| match seat.orders.role {
                Role::Producer => seat.idle,
                Role::Consumer => seat.up,
                Role::Side => true,
            };
            storm.seats.iter().all(done)
        })?;
        self.ledger.set_phase(Phase::Drain);
        // Some do not leave, and nobody comes after them whose joining would
        // wake anybody: the consumers learn it from the kernel alone.
        let spares = self.chance.bool();
        let sends = |seat: &usize| self.seats[*seat].orders.role == Role::Producer;
        let mut last: Vec<usize> = (0..self.seats.len()).filter(sends).collect();
        last.retain(|_| !spares || self.chance.bool());
        self.kill(&last);
        self.wait_until("all have left", |storm| {
            storm.seats.iter().all(|seat| seat.pid().is_none())
        })?;
        let Self { clerk, kills, .. } = self;
        Ok((clerk.conclude(), kills))
    }

    fn wait_until(&mut self, what: &str, done: impl Fn(&Self) -> bool) -> Result<(), Failure> {
        let mut since = Instant::now();
        let mut seen = self.messages();
        while !done(self) {
            self.tick(Duration::from_millis(1))?;
            if self.messages() != seen {
                (seen, since) = (self.messages(), Instant::now());
            }
            if since.elapsed() > PATIENCE {
                return Err(self.stuck(&format!("waiting until {what}")));
            }
        }
        Ok(())
    }

    /// Hears everybody, and waits a moment.
    fn tick(&mut self, rest: Duration) -> Result<(), Failure> {
        let horizon = now();
        self.resume(Instant::now());
        let heard = (0..self.seats.len()).fold(0, |sum, seat| {
            let life = self.seats[seat].orders.life;
            sum + self.hear(seat, life)
        });
        self.attend()?;
        self.clerk.tell_until(horizon);
        self.stall.tick(Instant::now(), heard > 0, self.outlook());
        if self.stall.now() > PATIENCE {
            return Err(self.stuck("in the storm"));
        }
        let millis = u8::from(rest >= Duration::from_millis(1));
        let mut fds = [PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
        // An interruption is as good as a time-out.
        let _ = poll(&mut fds, millis);
        match self.signals.caught() {
            Some(signal) => Err(Failure::Signalled(signal)),
            None => Ok(()),
        }
    }

    /// Enters what a seat has noted; how many of its notes were of messages.
    fn hear(&mut self, seat: usize, life: u32) -> usize {
        let Self { ledger, seats, clerk, .. } = self;
        let Some(place) = seats.get_mut(seat) else {
            return 0;
        };
        let judged = place.judged();
        let mut moved = 0;
        ledger.read(seat, |at, note| {
            place.begun = true;
            match note {
                Note::Up => place.up = true,
                Note::Down => place.up = false,
                Note::Idle => place.idle = true,
                Note::Sent { .. } | Note::Got(_) | Note::Took(..) | Note::Released(_) => moved += 1,
                Note::Ended { .. } => moved += 1,
                _ => {}
            }
            clerk.note(judged, life, at, note);
        });
        moved
    }

    /// Notices the workers that have ended. None does before there is nothing left to do.
    fn attend(&mut self) -> Result<(), Failure> {
        let phase = self.ledger.phase();
        for index in 0..self.seats.len() {
            let seat = &mut self.seats[index];
            match seat.pid().map_or(Ok(State::Living), |_| seat.state())? {
                State::Living => continue,
                State::Ended => {}
                State::Killed => {
                    let (alive_at, role) = (seat.alive_at, seat.orders.role);
                    self.bury(index, alive_at);
                    let goes_on = match role {
                        Role::Producer => phase != Phase::Drain,
                        Role::Consumer => true,
                        Role::Side => phase == Phase::Storm,
                    };
                    if goes_on {
                        self.start(index)?;
                    }
                    continue;
                }
            }
            let allowed = match seat.orders.role {
                Role::Side => phase != Phase::Storm,
                _ => phase == Phase::Drain,
            };
            if !allowed {
                return Err(Failure::Broken(format!("{} has ended too early", seat.name())));
            }
            let (judged, life) = (seat.judged(), seat.orders.life);
            self.hear(index, life);
            self.clerk.end(judged, life, now(), End::ByItself);
        }
        Ok(())
    }

    /// Whether messages should go through.
    fn outlook(&self) -> Outlook {
        let held = |seat: &Seat| seat.stopped.is_some() && seat.orders.holds_up();
        // One that stands still and holds nobody up is as good as not there.
        let goes = |seat: &Seat| seat.up && (seat.stopped.is_none() || held(seat));
        let up = |role| self.seats.iter().any(|seat| seat.orders.role == role && goes(seat));
        if !up(Role::Producer) || !up(Role::Consumer) {
            Outlook::Nobody
        } else if self.seats.iter().any(held) {
            Outlook::Held
        } else {
            Outlook::Due
        }
    }

    fn stuck(&self, when: &str) -> Failure {
        let seats: Vec<_> =
            self.seats.iter().filter_map(|seat| Some((seat.name(), seat.pid()?))).collect();
        let setting = &self.seats[0].orders.setting;
        Failure::Broken(format!(
            "no message has gone through for {} seconds, {when}\n{}",
            PATIENCE.as_secs(),
            explain::waiting(setting, &seats)
        ))
    }
}
