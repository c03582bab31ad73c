//! Short histories of real clients and servers of services.

use std::time::{Duration, Instant};

use tombolo::{
    CallError, Client, PendingCall, Segment, Server, ServerCall, Service, TryRecvError,
    TrySendError,
};

use crate::actor::{Diary, dawdle, perform};
use crate::cast::{Cast, Victim};
use crate::common::ends::{Nothing, Patience};
use crate::common::{Brief, Name, Peer, effort};
use crate::history::{Answer, Asked, History, Letting, Op};
use crate::service::{Spec, check, reply};
use crate::tally::Tally;
use crate::tape::{self, Beat, MOST, Seat, Step, now};

/// A wait that mostly comes to something.
const A_WHILE: Duration = tape::A_WHILE.saturating_mul(10);
/// A service with each of these numbers of slots.
const CAPACITIES: [usize; 3] = [1, 2, 3];
/// The most steps of a program, beside the last.
const STEPS: usize = 4;

const NAMES: [&str; CAPACITIES.len()] = ["one", "two", "three"];

fn service(segment: &Segment, at: usize) -> Service<'_, u64, u64> {
    segment.service(NAMES[at]).capacity(CAPACITIES[at]).lasting()
}

fn ask(client: &Client<u64, u64>, id: u64, patience: Patience) -> Option<PendingCall<u64, u64>> {
    match patience {
        Patience::None => match client.try_start(id) {
            Ok(call) => Some(call),
            Err(TrySendError::Full(_)) => None,
            Err(error) => panic!("{error}"),
        },
        _ => client.start_timeout(id, A_WHILE).ok(),
    }
}

fn hear(call: &PendingCall<u64, u64>, patience: Patience) -> Answer {
    let ended = match patience {
        Patience::None => call.try_wait(),
        _ => call.wait_timeout(A_WHILE),
    };
    match ended {
        None => Answer::Nothing(Nothing::Empty),
        Some(Ok(reply)) => Answer::Got(vec![reply]),
        Some(Err(CallError::ServerDied)) => Answer::Died,
        Some(Err(CallError::Refused)) => Answer::Refused,
        Some(Err(error)) => {
            eprintln!("{error}");
            Answer::Failed
        }
    }
}

fn serve(server: &Server<u64, u64>, patience: Patience) -> Option<ServerCall<u64, u64>> {
    match patience {
        Patience::None => match server.try_recv() {
            Ok(call) => Some(call),
            Err(TryRecvError::Empty) => None,
            Err(error) => panic!("{error}"),
        },
        _ => server.recv_timeout(A_WHILE).ok(),
    }
}

fn let_go(call: ServerCall<u64, u64>, way: Letting) -> Answer {
    match way {
        Letting::Reply => {
            let id = call.request().unwrap();
            Answer::Sent(usize::from(call.reply(reply(id)).unwrap()))
        }
        Letting::GiveBack => {
            call.give_back().unwrap();
            Answer::Done
        }
        Letting::Refuse => {
            drop(call);
            Answer::Done
        }
    }
}

/// One process in one round.
fn play(segment: &Segment, seat: &Seat<'_>, begin: &dyn Fn()) {
    let (at, serves, program) = (seat.queue() / 2, seat.queue() % 2 == 1, seat.program());
    let service = service(segment, at);
    let client = (!serves && !program.is_empty()).then(|| service.client().unwrap());
    let server = serves.then(|| service.server().unwrap());
    begin();
    let diary = Diary::new(seat);
    let (mut pending, mut in_hand) = (None, None);
    for beat in program {
        dawdle(beat.pause);
        let needed = match beat.step {
            Step::Ask { .. } => pending.is_none(),
            Step::Hear { .. } | Step::GiveUp => pending.is_some(),
            Step::Serve { .. } => in_hand.is_none(),
            Step::Let { .. } => in_hand.is_some(),
            _ => true,
        };
        if !needed {
            diary.skip();
            continue;
        }
        diary.call();
        let answer = match (beat.step, &client, &server) {
            (Step::Ask { id, again, patience }, Some(client), _) => {
                client.set_repeats(again);
                pending = ask(client, id, patience);
                Answer::Sent(usize::from(pending.is_some()))
            }
            (Step::Hear { patience }, _, _) => {
                let call = pending.take().unwrap();
                let answer = hear(&call, patience);
                pending = matches!(answer, Answer::Nothing(_)).then_some(call);
                answer
            }
            (Step::GiveUp, _, _) => {
                pending = None;
                Answer::Done
            }
            (Step::Serve { patience }, _, Some(server)) => {
                in_hand = serve(server, patience);
                let id = in_hand.as_ref().map(|call| call.request().unwrap());
                id.map_or(Answer::Nothing(Nothing::Empty), |id| Answer::Taken(id, 0))
            }
            (Step::Let { way }, _, _) => let_go(in_hand.take().unwrap(), way),
            (Step::Leave, _, _) => {
                (pending, in_hand) = (None, None);
                Answer::Done
            }
            _ => unreachable!("it has the end that it needs"),
        };
        diary.answer(&answer);
    }
}

struct Stage {
    /// Leaves before the segment is removed.
    cast: Cast,
    _name: Name,
    segment: Segment,
    chance: fastrand::Rng,
    calls: u64,
}

impl Stage {
    fn new(seed: u64) -> Self {
        let name = Name::new();
        let segment = Segment::options().size(1 << 20).participants(8).channels(8);
        let segment = segment.open_or_create(&name).unwrap();
        for at in 0..CAPACITIES.len() {
            service(&segment, at).client().unwrap();
        }
        Self {
            cast: Cast::new(|args| Peer::start("serve", args), &name),
            _name: name,
            segment,
            chance: fastrand::Rng::with_seed(seed),
            calls: 0,
        }
    }

    /// A step that is likely to have something to do.
    fn beat(&mut self, serves: bool, before: Option<Step>) -> Beat {
        let patience =
            if self.chance.u8(..3) == 0 { Patience::None } else { Patience::For(A_WHILE) };
        let ways = [Letting::Reply, Letting::Reply, Letting::GiveBack, Letting::Refuse];
        let step = match (serves, before) {
            (true, Some(Step::Serve { .. })) => Step::Let { way: ways[self.chance.usize(..4)] },
            (true, _) => Step::Serve { patience },
            (false, Some(Step::Ask { .. })) => match self.chance.u8(..8) {
                0 => Step::GiveUp,
                _ => Step::Hear { patience },
            },
            (false, _) => {
                self.calls += 1;
                Step::Ask { id: self.calls, again: self.chance.u8(..4) / 2, patience }
            }
        };
        // Some servers die over a call.
        let longest = if matches!(step, Step::Let { .. }) { 30_000 } else { 400 };
        Beat {
            pause: if self.chance.bool() { 0 } else { self.chance.u16(..longest) },
            hold: 0,
            step,
        }
    }

    fn program(&mut self, serves: bool) -> Vec<Beat> {
        let mut program: Vec<Beat> = Vec::new();
        for _ in 0..self.chance.usize(2..=STEPS) {
            let before = program.last().map(|beat| beat.step);
            program.push(self.beat(serves, before));
        }
        program.push(Beat { pause: 0, hold: 0, step: Step::Leave });
        program
    }

    fn play(&mut self) -> History<Spec> {
        let at = self.chance.usize(..CAPACITIES.len());
        let count = self.chance.usize(2..=MOST);
        // Somebody asks, and somebody serves.
        let serves: Vec<bool> =
            (0..count).map(|who| who == 1 || who > 1 && self.chance.bool()).collect();
        let programs: Vec<Vec<Beat>> = serves.iter().map(|serves| self.program(*serves)).collect();
        let numbers = (0..count).map(|who| 2 * at + usize::from(serves[who]));
        let parts: Vec<(usize, Vec<Beat>)> = numbers.zip(programs).collect();
        let victim = (self.chance.u8(..3) == 0).then(|| Victim {
            who: self.chance.usize(..count),
            calls: self.chance.usize(..STEPS),
            pauses: self.chance.u16(..3_000),
            patience: 2 * A_WHILE,
        });
        let (mut ops, kills) = self.cast.play(&parts, victim);
        self.conclude(at, count, &mut ops);
        History { spec: Spec { capacity: CAPACITIES[at] }, ops, kills }
    }

    /// Sees whether something is left.
    fn conclude(&self, at: usize, who: usize, ops: &mut Vec<Op>) {
        let mut note = |asked: Asked, call: u64, answer: Answer| {
            ops.push(Op { who, call, end: Some((now(), answer)), asked });
        };
        let call = now();
        self.segment.sweep().unwrap();
        note(Asked::Sweep, call, Answer::Done);
        let call = now();
        let channels = self.segment.channels();
        let info = channels.iter().find(|channel| channel.name == NAMES[at]).unwrap();
        note(Asked::Count, call, Answer::At(info.calls.as_ref().unwrap().under_way));
    }
}

#[test]
fn what_clients_and_servers_do_is_what_a_service_does() {
    let (histories, seed) = (effort::rounds(150, 3_000) as usize, effort::seed());
    let start = Instant::now();
    let mut stage = Stage::new(seed);
    let (mut tally, mut replies, mut deaths) = (Tally::default(), 0, 0);
    for _ in 0..histories {
        let history = stage.play();
        tally.add(&history, check(&history), seed);
        let ended = |answer: fn(&Answer) -> bool| {
            let is = |op: &&Op| op.end.as_ref().is_some_and(|(_, ended)| answer(ended));
            history.ops.iter().filter(is).count()
        };
        replies += ended(|answer| matches!(answer, Answer::Got(_)));
        deaths += ended(|answer| matches!(answer, Answer::Died));
    }
    let Tally { calls, overlaps, kills, cut_off, most_states, .. } = tally;
    println!(
        "{histories} histories, {calls} steps of which {overlaps} pairs overlap, {replies} replies, \
         {deaths} calls whose server died, {kills} kills of which {cut_off} in a step, at most \
         {most_states} states to a history, {:.1} s",
        start.elapsed().as_secs_f32(),
    );
    assert!(histories == 0 || replies > 0 && overlaps > 0, "nothing happens in them");
}

#[test]
#[ignore = "what the child processes run"]
fn child_entry() {
    let Some(brief) = Brief::take() else { return };
    perform(&brief, play);
}
