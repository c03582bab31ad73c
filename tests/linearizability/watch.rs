//! Short histories of real publishers and subscribers of broadcast channels.

use std::time::Instant;

use tombolo::{
    Broadcast, BroadcastChannel, Publisher, Receiver, Reliable, ReliableSubscriber, Segment, Start,
    Subscriber, TryRecvError,
};

use crate::actor::{Diary, dawdle, perform};
use crate::board::{Spec, check};
use crate::cast::{Cast, Victim};
use crate::common::ends::{Nothing, Patience};
use crate::common::{Brief, Name, Peer, effort};
use crate::history::{Answer, Asked, History, Op};
use crate::tally::Tally;
use crate::tape::{A_WHILE, BATCH, Beat, MOST, Seat, Step, now};

/// A channel of each of these capacities.
const CAPACITIES: [usize; 4] = [1, 2, 3, 8];
/// The most steps of a program, beside the last.
const STEPS: usize = 4;

const NAMES: [&str; CAPACITIES.len()] = ["one", "two", "three", "eight"];

fn channel(segment: &Segment, at: usize) -> BroadcastChannel<'_, u64> {
    segment.broadcast(NAMES[at]).capacity(CAPACITIES[at]).lasting()
}

/// A subscriber of one of the two sorts.
enum End {
    Lossy(Box<Subscriber<u64>>),
    Reliable(Box<ReliableSubscriber<u64>>),
}

impl End {
    fn open(channel: &BroadcastChannel<'_, u64>, reliable: bool, start: Start) -> Self {
        if reliable {
            Self::Reliable(Box::new(channel.reliable_subscriber_from(start).unwrap()))
        } else {
            Self::Lossy(Box::new(channel.subscriber_from(start).unwrap()))
        }
    }

    fn sequence(&self) -> u64 {
        match self {
            Self::Lossy(end) => end.sequence(),
            Self::Reliable(end) => end.sequence(),
        }
    }

    fn receive(&self, most: usize, patience: Patience) -> Answer {
        match self {
            Self::Lossy(end) => receive::<Broadcast>(end, most, patience),
            Self::Reliable(end) => receive::<Reliable>(end, most, patience),
        }
    }
}

fn receive<K: tombolo::Kind>(end: &Receiver<u64, K>, most: usize, patience: Patience) -> Answer {
    let mut ids = Vec::new();
    let received = match (patience, most) {
        (Patience::None, 1) => end.try_recv().map(|id| ids.push(id)),
        (Patience::None, _) => end.try_recv_batch(&mut ids, most).map(|_| ()),
        _ => match end.recv_timeout(A_WHILE) {
            Ok(id) => {
                ids.push(id);
                Ok(())
            }
            Err(tombolo::RecvTimeoutError::Timeout) => return Answer::Nothing(Nothing::TimedOut),
            Err(tombolo::RecvTimeoutError::Lagged(count)) => Err(TryRecvError::Lagged(count)),
            Err(error) => {
                eprintln!("{error}");
                return Answer::Failed;
            }
        },
    };
    match received {
        Ok(()) => Answer::Got(ids),
        Err(TryRecvError::Empty) => Answer::Nothing(Nothing::Empty),
        Err(TryRecvError::Lagged(count)) => Answer::Lagged(count),
        Err(error) => {
            eprintln!("{error}");
            Answer::Failed
        }
    }
}

fn send(publisher: &Publisher<u64>, first: u64, count: usize, patience: Patience) -> Answer {
    let ids: Vec<u64> = (first..first + count as u64).collect();
    match (patience, count) {
        (Patience::None, 1) => Answer::Sent(usize::from(publisher.try_send(first).is_ok())),
        (Patience::None, _) => publisher.try_send_batch(&ids).map_or(Answer::Failed, Answer::Sent),
        _ => Answer::Sent(usize::from(publisher.send_timeout(first, A_WHILE).is_ok())),
    }
}

/// One process in one round.
fn play(segment: &Segment, seat: &Seat<'_>, begin: &dyn Fn()) {
    let (at, sort, program) = (seat.queue() / 3, seat.queue() % 3, seat.program());
    let channel = channel(segment, at);
    let publisher = (sort == 0 && !program.is_empty()).then(|| channel.publisher().unwrap());
    let mut end = (sort > 0).then(|| End::open(&channel, sort == 2, Start::Newest));
    begin();
    let diary = Diary::new(seat);
    for beat in program {
        dawdle(beat.pause);
        diary.call();
        let answer = match (beat.step, &publisher, &mut end) {
            (Step::Send { first, count, patience }, Some(publisher), _) => {
                send(publisher, first, count, patience)
            }
            (Step::Recv { most, patience }, _, Some(end)) => end.receive(most, patience),
            (Step::Join { last }, _, end) => {
                drop(end.take());
                let joined = end.insert(End::open(&channel, sort == 2, Start::Last(last)));
                Answer::At(joined.sequence())
            }
            (Step::Leave, _, end) => {
                drop(end.take());
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
    messages: u64,
    /// Of each channel, what was retained last, and the sequence number of the first.
    retained: Vec<(Vec<u64>, u64)>,
}

impl Stage {
    fn new(seed: u64) -> Self {
        let name = Name::new();
        let segment = Segment::options().size(1 << 20).participants(8).channels(8);
        let segment = segment.open_or_create(&name).unwrap();
        Self {
            cast: Cast::new(|args| Peer::start("watch", args), &name),
            _name: name,
            segment,
            chance: fastrand::Rng::with_seed(seed),
            messages: 0,
            retained: vec![(Vec::new(), 0); CAPACITIES.len()],
        }
    }

    fn beat(&mut self, sends: bool, capacity: usize) -> Beat {
        let patience = match self.chance.u8(..4) {
            0 => Patience::For(A_WHILE),
            _ => Patience::None,
        };
        let most = if patience == Patience::None { self.chance.usize(1..=BATCH) } else { 1 };
        let step = match (sends, self.chance.u8(..8)) {
            (true, _) => Step::Send { first: self.messages + 1, count: most, patience },
            (false, 0) => Step::Join { last: self.chance.u64(..=capacity as u64) },
            // More than a channel holds never come at once.
            (false, _) => Step::Recv { most: most.min(capacity), patience },
        };
        self.messages += if sends { BATCH as u64 } else { 0 };
        Beat { pause: if self.chance.bool() { 0 } else { self.chance.u16(..400) }, hold: 0, step }
    }

    fn play(&mut self) -> History<Spec> {
        let at = self.chance.usize(..CAPACITIES.len());
        let count = self.chance.usize(2..=MOST);
        // Somebody publishes, and somebody subscribes.
        let sorts: Vec<usize> = (0..count)
            .map(|who| match who {
                0 => 0,
                1 => self.chance.usize(1..=2),
                _ => self.chance.usize(..=2),
            })
            .collect();
        let of = |sort: usize| (0..count).filter(|who| sorts[*who] == sort).collect();
        let (before, first) = self.retained[at].clone();
        let capacity = CAPACITIES[at] as u64;
        let spec = Spec { capacity, lossy: of(1), reliable: of(2), before, first };
        let programs: Vec<Vec<Beat>> = sorts
            .iter()
            .map(|sort| {
                let length = self.chance.usize(1..=STEPS);
                let mut program: Vec<Beat> =
                    (0..length).map(|_| self.beat(*sort == 0, CAPACITIES[at])).collect();
                if *sort > 0 {
                    program.push(Beat { pause: 0, hold: 0, step: Step::Leave });
                }
                program
            })
            .collect();
        let numbers = (0..count).map(|who| 3 * at + sorts[who]);
        let parts: Vec<(usize, Vec<Beat>)> = numbers.zip(programs).collect();
        let victim = (self.chance.u8(..4) == 0).then(|| Victim {
            who: self.chance.usize(..count),
            calls: self.chance.usize(..STEPS),
            pauses: self.chance.u16(..100),
            patience: 2 * A_WHILE,
        });
        let (mut ops, kills) = self.cast.play(&parts, victim);
        self.conclude(at, count, &mut ops);
        History { spec, ops, kills }
    }

    /// Sees what there is in the end.
    fn conclude(&mut self, at: usize, who: usize, ops: &mut Vec<Op>) {
        let mut note = |asked: Asked, call: u64, answer: Answer| {
            ops.push(Op { who, call, end: Some((now(), answer)), asked });
        };
        let call = now();
        let channel = channel(&self.segment, at);
        let end = End::open(&channel, false, Start::Last(CAPACITIES[at] as u64));
        note(Asked::Join(CAPACITIES[at] as u64), call, Answer::At(end.sequence()));
        loop {
            let call = now();
            let answer = end.receive(1, Patience::None);
            let last = !matches!(answer, Answer::Got(_));
            note(Asked::Recv(1), call, answer);
            if last {
                break;
            }
        }
        let call = now();
        note(Asked::Count, call, Answer::At(end.sequence()));
        let all = End::open(&channel, false, Start::Oldest);
        let first = all.sequence();
        let mut ids = Vec::new();
        while let Answer::Got(id) = all.receive(1, Patience::None) {
            ids.extend(id);
        }
        self.retained[at] = (ids, first);
    }
}

#[test]
fn what_publishers_and_subscribers_do_is_what_a_broadcast_channel_does() {
    let (histories, seed) = (effort::rounds(300, 3_000) as usize, effort::seed());
    let start = Instant::now();
    let mut stage = Stage::new(seed);
    let (mut tally, mut lags) = (Tally::default(), 0);
    for _ in 0..histories {
        let history = stage.play();
        tally.add(&history, check(&history), seed);
        let lagged = |op: &&Op| matches!(op.end, Some((_, Answer::Lagged(_))));
        lags += history.ops.iter().filter(lagged).count();
    }
    let Tally { calls, overlaps, kills, cut_off, most_states, .. } = tally;
    println!(
        "{histories} histories, {calls} calls of which {overlaps} pairs overlap and {lags} lagged, \
         {kills} kills of which {cut_off} in a call, at most {most_states} states to a history, {:.1} s",
        start.elapsed().as_secs_f32(),
    );
    assert!(histories == 0 || lags > 0 && overlaps > 0, "nothing happens in them");
}

#[test]
#[ignore = "what the child processes run"]
fn child_entry() {
    let Some(brief) = Brief::take() else { return };
    perform(&brief, play);
}
