//! Calls, against a plain list of what each client and each server has in hand: long sequences
//! of whole operations by one thread, with more slots than the models can afford.

use std::cell::Cell;

use crate::effort;
use crate::ring::calls::{
    self, Call, CallWord, GivenUp, InHand, LetGo, Look, MAX_AGAIN, Outcome, Phase, Words,
};
use crate::ring::mpmc::{MAX_OWNERS, Recovered};
use crate::ring::recovery::{Counting, Repairing};
use crate::sync::{AtomicU64, Ordering::Relaxed};

/// xorshift: the same sequences everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % n
    }
}

struct Slots {
    words: Vec<AtomicU64>,
    shown: Vec<AtomicU64>,
}

impl Slots {
    fn new(slots: u64) -> Self {
        let zeros = |n: u64| (0..n).map(|_| AtomicU64::new(0)).collect();
        Self { words: zeros(slots), shown: zeros(slots.div_ceil(calls::GROUP)) }
    }

    fn call(&self, hint: &Cell<u64>, client: u16, again: u8) -> Option<Call> {
        let draft = calls::claim(self, hint, client)?;
        Some(calls::open(self, draft, again).expect("nobody took it away"))
    }
}

impl Words for Slots {
    fn slots(&self) -> u64 {
        self.words.len() as u64
    }
    fn slot(&self, index: u64) -> &AtomicU64 {
        &self.words[index as usize]
    }
    fn shown(&self, group: u64) -> &AtomicU64 {
        &self.shown[group as usize]
    }
}

/// What is true of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Truth {
    Open,
    Taken(u16),
    Over(Phase),
}

/// A call whose client waits for it.
struct Waiting {
    call: Call,
    client: u16,
    again: u8,
    asleep: bool,
    truth: Truth,
}

/// A call that a server has, and its slot.
struct Serving {
    call: InHand,
    server: u16,
    given_up: bool,
}

const CLIENTS: u64 = 3;
/// Participants 2 to 4 serve. Participant 2 does both, and perhaps its own calls.
const SERVERS: u64 = 3;

struct Play {
    slots: Slots,
    random: Random,
    hints: Vec<Cell<u64>>,
    waiting: Vec<Waiting>,
    serving: Vec<Serving>,
}

impl Play {
    fn step(&mut self) {
        let client = self.random.below(CLIENTS) as u16;
        let server = (CLIENTS - 1 + self.random.below(SERVERS)) as u16;
        match self.random.below(16) {
            0..5 => self.call(client),
            5..9 => self.take(server),
            9..12 => self.let_go(),
            12 => self.doze(),
            13..15 => self.hear(),
            _ => {
                let dead = self.random.below(CLIENTS + SERVERS - 1) as u16;
                if self.random.below(4) == 0 {
                    self.bury(dead);
                }
            }
        }
        self.check();
    }

    fn held(&self, index: u64) -> bool {
        self.waiting.iter().any(|waiting| waiting.call.index == index)
            || self.serving.iter().any(|serving| serving.call.index == index)
    }

    fn call(&mut self, client: u16) {
        let again = self.random.below(3) as u8;
        let room = (0..self.slots.slots()).any(|index| !self.held(index));
        assert_eq!(calls::room(&self.slots), room);
        let called = self.slots.call(&self.hints[usize::from(client)], client, again);
        assert_eq!(called.is_some(), room);
        if let Some(call) = called {
            assert!(!self.held(call.index), "a slot in two hands");
            self.waiting.push(Waiting { call, client, again, asleep: false, truth: Truth::Open });
        }
    }

    fn take(&mut self, server: u16) {
        let open = self.waiting.iter().any(|waiting| waiting.truth == Truth::Open);
        assert_eq!(calls::available(&self.slots), open);
        let taken = calls::take(&self.slots, &self.hints[usize::from(server)], server);
        assert_eq!(taken.is_some(), open);
        if let Some(call) = taken {
            assert!(calls::is_wanted(&self.slots, &call));
            let waiting = self.waiting.iter_mut().find(|waiting| waiting.call.index == call.index);
            let waiting = waiting.expect("the call of a client");
            assert_eq!(waiting.truth, Truth::Open);
            waiting.truth = Truth::Taken(server);
            self.serving.push(Serving { call, server, given_up: false });
        }
    }

    fn let_go(&mut self) {
        let outcomes = [Outcome::Answered, Outcome::Refused, Outcome::GivenBack];
        let outcome = outcomes[self.random.below(3) as usize];
        let Some(at) = self.any(self.serving.len()) else { return };
        let Serving { call, given_up, .. } = self.serving.swap_remove(at);
        assert_eq!(calls::is_wanted(&self.slots, &call), !given_up);
        let index = call.index;
        let let_go = calls::let_go(&self.slots, call, outcome);
        if given_up {
            assert_eq!(let_go, LetGo::Unwanted);
            return;
        }
        let waiting = self.waiting.iter_mut().find(|waiting| waiting.call.index == index).unwrap();
        let sleeper = waiting.asleep.then_some(waiting.client);
        let (truth, expected) = match outcome {
            Outcome::Answered => (Truth::Over(Phase::Answered), LetGo::Over(sleeper)),
            Outcome::Refused => (Truth::Over(Phase::Refused), LetGo::Over(sleeper)),
            Outcome::GivenBack => (Truth::Open, LetGo::Open(waiting.client)),
        };
        waiting.truth = truth;
        assert_eq!(let_go, expected);
    }

    fn doze(&mut self) {
        let Some(at) = self.any(self.waiting.len()) else { return };
        let waiting = &mut self.waiting[at];
        let dozes = calls::doze(&self.slots, &waiting.call);
        assert_eq!(dozes, !matches!(waiting.truth, Truth::Over(_)));
        waiting.asleep |= dozes;
    }

    /// Finishes a call, or gives it up.
    fn hear(&mut self) {
        let Some(at) = self.any(self.waiting.len()) else { return };
        let Waiting { call, truth, .. } = self.waiting.swap_remove(at);
        let given_up = calls::give_up(&self.slots, &call);
        match truth {
            Truth::Open => assert_eq!(given_up, GivenUp::Unserved),
            Truth::Taken(_) => {
                assert_eq!(given_up, GivenUp::Served);
                let serving = &mut self.serving;
                serving.iter_mut().find(|s| s.call.index == call.index).unwrap().given_up = true;
            }
            Truth::Over(phase) => {
                assert_eq!(given_up, GivenUp::Over);
                assert_eq!(look(&self.slots, &call), phase);
                calls::finish(&self.slots, call);
            }
        }
    }

    fn bury(&mut self, dead: u16) {
        let counted = calls::recover(&self.slots, dead, &Counting).unwrap();
        let done = calls::recover(&self.slots, dead, &Repairing(|| true)).unwrap();
        assert_eq!(done, counted, "what was counted is what was repaired");
        let mut expected = Recovered::default();
        for waiting in &mut self.waiting {
            match waiting.truth {
                _ if waiting.client == dead => expected.tombstones += 1,
                Truth::Taken(server) if server == dead && waiting.again > 0 => {
                    expected.orphans += 1;
                    waiting.again -= 1;
                    waiting.truth = Truth::Open;
                }
                Truth::Taken(server) if server == dead => {
                    expected.dropped += 1;
                    waiting.truth = Truth::Over(Phase::Failed);
                }
                _ => {}
            }
        }
        assert_eq!(done, expected);
        let (gone, waiting): (Vec<_>, Vec<_>) =
            self.waiting.drain(..).partition(|waiting| waiting.client == dead);
        self.waiting = waiting;
        self.serving.retain(|serving| serving.server != dead);
        for gone in gone {
            let serving = &mut self.serving;
            if let Some(serving) = serving.iter_mut().find(|s| s.call.index == gone.call.index) {
                serving.given_up = true;
            }
        }
        let nothing = calls::recover(&self.slots, dead, &Counting).unwrap();
        assert_eq!(nothing, Recovered::default());
    }

    fn any(&mut self, of: usize) -> Option<usize> {
        (of > 0).then(|| self.random.below(of as u64) as usize)
    }

    fn check(&self) {
        let count = |phase| calls::count(&self.slots, phase);
        let truths = |truth: fn(Truth) -> bool| {
            self.waiting.iter().filter(|waiting| truth(waiting.truth)).count() as u64
        };
        assert_eq!(count(Phase::Open), truths(|truth| truth == Truth::Open));
        assert_eq!(count(Phase::Taken), truths(|truth| matches!(truth, Truth::Taken(_))));
        assert_eq!(count(Phase::Answered), truths(|t| t == Truth::Over(Phase::Answered)));
        let given_up = self.serving.iter().filter(|serving| serving.given_up).count();
        assert_eq!(count(Phase::Abandoned), given_up as u64);
        for Waiting { call, truth, .. } in &self.waiting {
            match (calls::look(&self.slots, call), truth) {
                (Look::Open, Truth::Open) => {}
                (Look::Taken(server), Truth::Taken(by)) if server == *by => {}
                (_, Truth::Over(phase)) => assert_eq!(look(&self.slots, call), *phase),
                other => panic!("{other:?}"),
            }
        }
    }
}

/// How a call has ended.
fn look(slots: &Slots, call: &Call) -> Phase {
    match calls::look(slots, call) {
        Look::Answered => Phase::Answered,
        Look::Failed(_) => Phase::Failed,
        Look::Refused(_) => Phase::Refused,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_call_is_where_the_list_says() {
    for slots in [1, 2, 3, 63, 64, 65, 130] {
        let mut play = Play {
            slots: Slots::new(slots),
            random: Random(effort::seed() | 1),
            hints: (0..CLIENTS + SERVERS).map(|_| Cell::new(0)).collect(),
            waiting: Vec::new(),
            serving: Vec::new(),
        };
        (0..3_000).for_each(|_| play.step());
    }
}

/// Of clients that call again at once, a server serves each before it serves one twice.
#[test]
fn no_client_is_overtaken_twice() {
    for slots in [1, 2, 64, 65, 200] {
        let calling = Slots::new(slots);
        let hint = Cell::new(0);
        let mut open: Vec<_> = (0..slots).map(|_| calling.call(&hint, 1, 0).unwrap()).collect();
        open.sort_unstable_by_key(|call| call.index);
        let served = Cell::new(slots / 2);
        for _ in 0..3 {
            let mut order = Vec::new();
            for _ in 0..slots {
                let call = calls::take(&calling, &served, 2).unwrap();
                let index = call.index;
                order.push(index);
                assert_eq!(calls::let_go(&calling, call, Outcome::Answered), LetGo::Over(None));
                let answered = open.iter().position(|call| call.index == index).unwrap();
                calls::finish(&calling, open.swap_remove(answered));
                hint.set(index);
                open.push(calling.call(&hint, 1, 0).unwrap());
            }
            order.sort_unstable();
            assert_eq!(order, (0..slots).collect::<Vec<_>>());
        }
    }
}

/// Turns begin again after the last one.
#[test]
fn turns_begin_again() {
    let slots = Slots::new(1);
    let last = CallWord { turn: (1 << 30) - 1, ..CallWord::read(0) };
    slots.words[0].store(last.word(), Relaxed);
    let hint = Cell::new(0);
    let call = slots.call(&hint, MAX_OWNERS - 1, u8::MAX).unwrap();
    let word = CallWord::read(slots.words[0].load(Relaxed));
    assert_eq!((word.client, word.again, word.turn), (MAX_OWNERS - 1, MAX_AGAIN, last.turn));
    let in_hand = calls::take(&slots, &hint, MAX_OWNERS - 1).unwrap();
    assert!(calls::doze(&slots, &call));
    let told = calls::let_go(&slots, in_hand, Outcome::Answered);
    assert_eq!(told, LetGo::Over(Some(MAX_OWNERS - 1)));
    calls::finish(&slots, call);
    assert_eq!(slots.words[0].load(Relaxed), 0);
}

/// Whatever a peer writes into the words, every call of a function ends, and no number that it
/// passes on is out of its bounds.
#[test]
fn words_that_lie_do_no_harm() {
    let mut random = Random(effort::seed() | 1);
    for slots in [1, 3, 65] {
        let lying = Slots::new(slots);
        let hint = Cell::new(0);
        let (mut mine, mut in_hand) = (Vec::new(), Vec::new());
        for _ in 0..20_000 {
            let any = random.below(u64::MAX);
            let scribbled = match random.below(4) {
                0 => Some(any),
                1 => Some(u64::MAX),
                // Every phase, with people and turns that may be meant.
                2 => Some(any & (0x3F << 30 | 7 << 26 | 1 << 29 | 1 << 13 | 1)),
                _ => None,
            };
            if let Some(word) = scribbled {
                lying.words[random.below(slots) as usize].store(word, Relaxed);
                let groups = lying.shown.len() as u64;
                lying.shown[random.below(groups) as usize].store(any, Relaxed);
            }
            match random.below(8) {
                0 | 1 => mine.extend(lying.call(&hint, 1, 1)),
                2 | 3 => in_hand.extend(calls::take(&lying, &hint, 1)),
                4 => {
                    if let Some(call) = mine.pop() {
                        let _ = (calls::doze(&lying, &call), calls::look(&lying, &call));
                        let _ = calls::give_up(&lying, &call);
                        calls::finish(&lying, call);
                    }
                }
                5 => {
                    if let Some(call) = in_hand.pop() {
                        calls::let_go(&lying, call, Outcome::GivenBack);
                    }
                }
                6 => {
                    let _ = calls::recover(&lying, 1, &Repairing(|| true));
                }
                _ => {
                    let _ = (calls::available(&lying), calls::room(&lying));
                }
            }
            mine.truncate(100);
            in_hand.truncate(100);
        }
    }
}
