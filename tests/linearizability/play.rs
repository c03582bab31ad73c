//! Short histories of real processes, one after the other.

use std::time::{Duration, Instant};

use tombolo::Segment;

use crate::actor;
use crate::common::ends::{self, Grants, Patience, Ring, Verdict};
use crate::common::{Brief, Name, PATIENCE, Peer, parked};
use crate::history::{Answer, Asked, History, Kill, Op, Spec};
use crate::tape::{A_WHILE, BATCH, Beat, MOST, STEPS, Step, Tape, now, wait_for};

pub(crate) type Queue = ends::Queue<32>;

/// Each ring at each of these capacities.
const CAPACITIES: usize = 4;
/// How often a message is delivered again, by capacity.
const TIMES: [u8; CAPACITIES] = [1, 8, 0, 2];
/// The same in an SPSC queue: more often than a history has deaths.
const MOST_TIMES: u8 = 15;

/// The queues that histories are of.
pub(crate) fn queues() -> Vec<Queue> {
    let queue = |ring: Ring, capacity: usize| Queue {
        times: if ring.single() { MOST_TIMES } else { TIMES[capacity - 1] },
        lasting: true,
        ..Queue::new(ring, &format!("{ring:?}/{capacity}"), capacity)
    };
    Ring::ALL.iter().flat_map(|ring| (1..=CAPACITIES).map(move |n| queue(*ring, n))).collect()
}

/// An incident of one of the processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Incident {
    Nothing,
    Kill(usize),
    /// It stands still for a while.
    Stop(usize),
    /// And never goes on.
    StopAndKill(usize),
}

/// Those who play, and what they play with.
pub(crate) struct Stage {
    name: Name,
    segment: Segment,
    queues: Vec<Queue>,
    tape: Tape,
    actors: Vec<Option<Peer>>,
    chance: fastrand::Rng,
    round: u64,
    messages: u64,
    pub(crate) stops: usize,
}

impl Stage {
    pub(crate) fn new(seed: u64) -> Self {
        let name = Name::new();
        let options = Segment::options().size(1 << 20).participants(8).channels(16);
        let segment = options.open_or_create(&name).unwrap();
        Self {
            name,
            segment,
            queues: queues(),
            tape: Tape::new(),
            actors: (0..MOST).map(|_| None).collect(),
            chance: fastrand::Rng::with_seed(seed),
            round: 0,
            messages: 0,
            stops: 0,
        }
    }

    fn patience(&mut self, ever: bool) -> Patience {
        match self.chance.u8(..10) {
            0..6 => Patience::None,
            6..9 => Patience::For(A_WHILE),
            _ if ever => Patience::Ever,
            _ => Patience::None,
        }
    }

    fn beat(&mut self, ring: Ring, sends: bool, ever: bool) -> Beat {
        let patience = self.patience(ever);
        // These have no form that times out.
        let or_none = if patience == Patience::Ever { patience } else { Patience::None };
        let first = self.messages + 1;
        let most = self.chance.usize(1..=BATCH);
        let step = match (sends, self.chance.u8(..8)) {
            (true, 0) if or_none == Patience::Ever || !ring.bytes() => {
                Step::Send { first, count: most, patience: or_none }
            }
            (true, 1..3) => {
                let end = [Grants::Commit, Grants::Commit, Grants::Abort, Grants::Drop];
                Step::Grant { id: first, patience: or_none, end: end[self.chance.usize(..4)] }
            }
            (true, _) => Step::Send { first, count: 1, patience },
            (false, 0) if ever => Step::Recv { most, patience: Patience::Ever },
            (false, 1..4) => {
                let end = [Verdict::Release, Verdict::GiveBack, Verdict::Drop];
                Step::Take { patience, end: end[self.chance.usize(..3)] }
            }
            (false, _) => Step::Recv { most: 1, patience },
        };
        self.messages += if sends { BATCH as u64 } else { 0 };
        let pause = if self.chance.bool() { 0 } else { self.chance.u16(..400) };
        Beat { pause, hold: pause, step }
    }

    fn program(&mut self, ring: Ring, who: usize, ever: bool) -> Vec<Beat> {
        let only = ring.single().then_some(who == 0);
        let length = self.chance.usize(1..=STEPS);
        (0..length)
            .map(|_| {
                let sends = only.unwrap_or_else(|| self.chance.bool());
                self.beat(ring, sends, ever)
            })
            .collect()
    }

    /// Has everybody there who is to take part in the next round.
    fn assemble(&mut self, count: usize) {
        for who in 0..MOST {
            if self.actors[who].is_none() && who < count {
                self.tape.seat(who).assign(0, 0, &[]);
                let (name, id, round) = (&*self.name, self.tape.id(), self.round);
                let actor = Peer::start("act", &[&name, &id, &who, &round]);
                self.actors[who] = Some(actor);
            }
        }
        for actor in self.actors.iter().flatten() {
            // Those who are new say so.
            while actor.said_within(Duration::ZERO).is_some() {}
        }
    }

    /// Plays one history, to its end.
    pub(crate) fn play(&mut self) -> History {
        self.round += 1;
        let round = self.round;
        let at = self.chance.usize(..self.queues.len());
        let queue = self.queues[at].clone();
        let spec = Spec { ring: queue.ring, capacity: queue.capacity, times: queue.times };
        let count = if spec.ring.single() { 2 } else { self.chance.usize(2..=MOST) };
        let ever = self.chance.u8(..8) == 0;
        let victim = self.chance.usize(..count);
        let incident = match self.chance.u8(..24) {
            0..3 => Incident::Kill(victim),
            3 => Incident::Stop(victim),
            4 => Incident::StopAndKill(victim),
            _ => Incident::Nothing,
        };
        self.assemble(count);
        let mut programs: Vec<Vec<Beat>> =
            (0..count).map(|who| self.program(spec.ring, who, ever)).collect();
        if incident != Incident::Nothing {
            // So that it is met in the middle of something.
            programs[victim].iter_mut().for_each(|beat| beat.hold = self.chance.u16(..30_000));
        }
        for (who, program) in programs.iter().enumerate() {
            self.tape.seat(who).assign(round, at, program);
        }
        // Those who are not in it are to wait for the one after it.
        for who in count..MOST {
            self.tape.seat(who).assign(round, at, &[]);
        }
        let present: Vec<usize> = (0..MOST).filter(|who| self.actors[*who].is_some()).collect();
        let deadline = Instant::now() + PATIENCE;
        wait_for(|| {
            assert!(Instant::now() < deadline, "somebody does not begin");
            present.iter().all(|who| self.tape.seat(*who).is_ready(round))
        });
        self.tape.go(round);
        let mut kills = Vec::new();
        self.intervene(incident, count, &programs[victim], &mut kills);
        let gone = |kills: &[Kill], who| kills.iter().any(|kill| kill.who == who);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let busy = |who: &usize| !gone(&kills, *who) && !self.tape.seat(*who).is_done(round);
            let left: Vec<usize> = present.iter().copied().filter(busy).collect();
            if left.is_empty() {
                break;
            }
            match self.stranded(&left, &queue, &programs, !kills.is_empty()) {
                Some(who) => kills.push(self.kill(who)),
                None => std::thread::yield_now(),
            }
            if Instant::now() > deadline {
                let history = History { spec, ops: self.ops(&programs), kills };
                panic!("{left:?} are not told that they can go on:\n{history}");
            }
        }
        let mut ops = self.ops(&programs);
        let mut errors = Ok(());
        self.conclude(&queue, count, &mut ops).unwrap_or_else(|fault| errors = Err(fault));
        let history = History { spec, ops, kills };
        errors.unwrap_or_else(|fault| panic!("{fault}\n{history}"));
        history
    }

    fn ops(&self, programs: &[Vec<Beat>]) -> Vec<Op> {
        let each = programs.iter().enumerate();
        each.flat_map(|(who, program)| self.tape.seat(who).ops(who, program)).collect()
    }

    fn kill(&mut self, who: usize) -> Kill {
        let actor = self.actors[who].take().unwrap();
        let sent = now();
        actor.kill();
        actor.finish();
        Kill { who, sent, dead: now() }
    }

    fn intervene(
        &mut self,
        incident: Incident,
        count: usize,
        program: &[Beat],
        kills: &mut Vec<Kill>,
    ) {
        let (Incident::Kill(who) | Incident::Stop(who) | Incident::StopAndKill(who)) = incident
        else {
            return;
        };
        // In the midst of it: some time after some call has begun, or while it
        // has something in its hands.
        let (call, in_hand) = (self.chance.usize(..2 * STEPS), self.chance.bool());
        let seat = self.tape.seat(who);
        let until = Instant::now() + 4 * A_WHILE;
        let there = || match in_hand {
            true => seat.ops(who, program).last().is_some_and(Op::is_held),
            false => seat.has_called(call),
        };
        while !there() && !seat.is_done(self.round) && Instant::now() < until {
            std::hint::spin_loop();
        }
        (0..self.chance.u32(..600)).for_each(|_| std::hint::spin_loop());
        if let Incident::Kill(_) = incident {
            kills.push(self.kill(who));
            return;
        }
        self.actors[who].as_ref().unwrap().stop();
        self.stops += 1;
        let until = Instant::now() + 2 * A_WHILE;
        wait_for(|| {
            let done = |n: usize| self.tape.seat(n).is_done(self.round);
            Instant::now() > until || (0..count).filter(|n| *n != who).all(done)
        });
        if incident == Incident::Stop(who) {
            self.actors[who].as_ref().unwrap().resume();
        } else {
            kills.push(self.kill(who));
        }
    }

    /// One that sleeps and will not be woken: all who are left sleep, and
    /// there is nothing to receive, or no room.
    fn stranded(
        &self,
        left: &[usize],
        queue: &Queue,
        programs: &[Vec<Beat>],
        deaths: bool,
    ) -> Option<usize> {
        let asleep = |who: &usize| parked(self.actors[*who].as_ref().unwrap().pid());
        if !left.iter().all(asleep) {
            return None;
        }
        let under = |who: usize| {
            let ops = self.tape.seat(who).ops(who, &programs[who]);
            ops.into_iter().find(|op| op.end.is_none()).map(|op| op.asked)
        };
        let channels = self.segment.channels();
        let depth = channels.iter().find(|channel| channel.name == queue.name)?.depth;
        // A message that has come back, or will, is in the way and not counted.
        let back = self.ops(programs).iter().any(|op| op.asked == Asked::GiveBack);
        let full = depth >= queue.capacity as u64 || back || deaths;
        left.iter().copied().find(|who| match under(*who) {
            Some(Asked::Recv(_) | Asked::Take) => depth == 0,
            Some(Asked::Send(_) | Asked::Reserve | Asked::Commit(_)) => full,
            _ => false,
        })
    }

    /// Puts right what the dead have left, takes what is there, and sees
    /// whether the queue is whole.
    fn conclude(&mut self, queue: &Queue, who: usize, ops: &mut Vec<Op>) -> Result<(), String> {
        let mut note = |asked: Asked, call: u64, end: u64, answer: Answer| {
            ops.push(Op { who, call, end: Some((end, answer)), asked });
        };
        let call = now();
        self.segment.sweep().map_err(|fault| fault.to_string())?;
        note(Asked::Sweep, call, now(), Answer::Done);
        let mut rx = queue.receiver(&self.segment).map_err(|error| error.to_string())?;
        let tx = queue.sender(&self.segment).map_err(|error| error.to_string())?;
        let whole = self.chance.u8(..4) == 0;
        let most = 2 * queue.capacity + 2;
        for pass in 0..=usize::from(whole) {
            for _ in 0..most {
                // A delivery says as well how many have died over it.
                let mut call = now();
                let mut taken = None;
                let got = rx.take(Patience::None, Verdict::Release, &mut |id, deaths| {
                    taken = Some((call, now(), Answer::Taken(id, deaths)));
                    call = now();
                });
                let end = now();
                match (got.map_err(|fault| fault.to_string())?, taken) {
                    (Err(nothing), _) => {
                        note(Asked::Take, call, end, Answer::Nothing(nothing));
                        break;
                    }
                    (Ok(_), Some((from, to, answer))) => {
                        note(Asked::Take, from, to, answer);
                        note(Asked::Release, call, end, Answer::Done);
                    }
                    (Ok(_), None) => unreachable!("it was in our hands"),
                }
            }
            for _ in 0..most * usize::from(whole && pass == 0) {
                self.messages += 1;
                let (id, call) = (self.messages, now());
                let sent = tx.try_send(id).map_err(|fault| fault.to_string())?;
                note(Asked::Send(vec![id]), call, now(), Answer::Sent(sent.into()));
                if !sent {
                    break;
                }
            }
        }
        Ok(())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        (0..MOST).for_each(|who| self.tape.seat(who).dismiss());
    }
}

#[test]
#[ignore = "what the child processes run"]
fn child_entry() {
    let Some(brief) = Brief::take() else { return };
    actor::act(&brief, &queues());
}
