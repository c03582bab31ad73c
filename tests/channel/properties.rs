//! Every queue against a list: any calls, in any order, by one process.

#![allow(unsafe_code)]

use crate::common;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use tombolo::{Fault, Segment};

use common::effort;
use common::ends::{self, Grants, Nothing, Patience, Ring, Rx, Tx, Verdict};

type Queue = ends::Queue<32>;
const LONGEST: usize = Queue::LONGEST;

/// Long enough to be waited for, short enough for thousands.
const MOMENT: Patience = Patience::For(Duration::from_micros(50));

/// A call, with a number for whatever number it needs.
#[derive(Clone, Copy, Debug)]
enum Call {
    Send(Patience),
    SendBatch(usize),
    TrySendBatch(usize),
    Grant(Patience, Grants),
    /// Receives are tried while the grant is held.
    Granted(Grants),
    GrantSlice(usize, usize),
    Recv(Patience),
    RecvBatch(usize),
    Take(Patience, Verdict),
    /// Another message is sent while this one is held.
    Taken(Verdict),
    TakeSlice(usize, usize),
    /// One end, or both, is dropped and opened again.
    Reopen(bool, bool),
}

fn patience() -> impl Strategy<Value = Patience> {
    prop_oneof![8 => Just(Patience::None), 1 => Just(MOMENT), 3 => Just(Patience::Ever)]
}

fn grants() -> impl Strategy<Value = Grants> {
    prop_oneof![4 => Just(Grants::Commit), 1 => Just(Grants::Abort), 1 => Just(Grants::Drop)]
}

fn verdicts() -> impl Strategy<Value = Verdict> {
    prop_oneof![2 => Just(Verdict::Release), 2 => Just(Verdict::GiveBack), 1 => Just(Verdict::Drop)]
}

fn calls() -> impl Strategy<Value = (usize, bool, Vec<Call>)> {
    let call = prop_oneof![
        5 => patience().prop_map(Call::Send),
        1 => (0..12_usize).prop_map(Call::SendBatch),
        1 => (0..12_usize).prop_map(Call::TrySendBatch),
        2 => (patience(), grants()).prop_map(|(patience, end)| Call::Grant(patience, end)),
        1 => grants().prop_map(Call::Granted),
        1 => (1..6_usize, 0..6_usize).prop_map(|(most, count)| Call::GrantSlice(most, count)),
        4 => patience().prop_map(Call::Recv),
        2 => (0..12_usize).prop_map(Call::RecvBatch),
        3 => (patience(), verdicts()).prop_map(|(patience, end)| Call::Take(patience, end)),
        1 => verdicts().prop_map(Call::Taken),
        1 => (1..6_usize, 0..6_usize).prop_map(|(most, count)| Call::TakeSlice(most, count)),
        1 => (any::<bool>(), any::<bool>()).prop_map(|(tx, rx)| Call::Reopen(tx, rx)),
    ];
    (1..9_usize, any::<bool>(), prop::collection::vec(call, 1..120))
}

/// Of every length, and again and again the longest and none but the number.
fn length_of(id: u64) -> usize {
    8 + (id.wrapping_mul(97) % (LONGEST as u64 - 7)) as usize
}

/// The list, and how much may be in it.
struct List {
    queue: Queue,
    messages: VecDeque<u64>,
    /// The first one is given back.
    back: bool,
    /// Places given up that may still be among them.
    given_up: usize,
    next: u64,
}

impl List {
    /// Units of eight bytes that a message takes up in an SPSC ring of bytes.
    fn units(&self, id: u64) -> usize {
        1 + (self.queue.length)(id).div_ceil(8)
    }

    /// Whether a message must go in; `None` if it may and may not.
    fn fits(&self, length: usize) -> Option<bool> {
        let (count, capacity) = (self.messages.len(), self.queue.capacity);
        if count < capacity {
            return (self.room() > 0).then_some(true);
        }
        if self.queue.ring != Ring::SpscBytes {
            return Some(false);
        }
        // It holds more of short ones, as far as they go.
        let used: usize = self.messages.iter().map(|id| self.units(*id)).sum();
        let all = (capacity + 1) * (1 + LONGEST.div_ceil(8));
        (used + 1 + length.div_ceil(8) > all).then_some(false)
    }

    fn new_id(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// How many there must be room for.
    fn room(&self) -> usize {
        self.queue.capacity.saturating_sub(self.messages.len() + self.given_up)
    }
}

/// A call that waits for good must have no reason to.
fn unless(would_wait: bool, patience: Patience) -> Patience {
    if would_wait && patience == Patience::Ever { Patience::None } else { patience }
}

fn is(sent: bool, must: Option<bool>) -> bool {
    must.is_none_or(|must| sent == must)
}

struct Run {
    segment: Arc<Segment>,
    list: List,
    tx: Option<Box<dyn Tx>>,
    rx: Option<Box<dyn Rx>>,
}

impl Run {
    fn new(ring: Ring, capacity: usize, varied: bool) -> Self {
        let options = Segment::options().size(32_768).participants(2).channels(1);
        let segment = Arc::new(options.anonymous().unwrap());
        let length = if varied { length_of } else { |_| LONGEST };
        let queue = Queue { times: 3, lasting: true, length, ..Queue::new(ring, "c", capacity) };
        let (tx, rx) = (queue.sender(&segment).ok(), queue.receiver(&segment).ok());
        Self {
            segment,
            list: List { queue, messages: VecDeque::new(), back: false, given_up: 0, next: 0 },
            tx,
            rx,
        }
    }

    fn step(&mut self, call: Call) -> Result<(), TestCaseError> {
        let Self { segment, list, tx, rx } = self;
        if let Call::Reopen(sender, receiver) = call {
            // There is one at a time.
            if sender {
                drop(tx.take());
                *tx = list.queue.sender(segment).ok();
            }
            if receiver {
                drop(rx.take());
                *rx = list.queue.receiver(segment).ok();
            }
        }
        let (Some(tx), Some(rx)) = (tx, rx) else {
            return Err(TestCaseError::fail("it cannot be opened"));
        };
        let ring = list.queue.ring;
        // The next message, and whether it fits.
        let id = list.new_id();
        let length = (list.queue.length)(id);
        let (empty, first) = (list.messages.is_empty(), list.messages.front().copied());
        match call {
            Call::Send(patience) => {
                let must = list.fits(length);
                let sent = tx.send_for(id, unless(must != Some(true), patience))?;
                prop_assert!(is(sent, must), "{sent}, not {must:?}");
                list.messages.extend(sent.then_some(id));
            }
            Call::SendBatch(count) => {
                let ids: Vec<u64> = (0..count.min(list.room())).map(|_| list.new_id()).collect();
                tx.send_batch(&ids)?;
                list.messages.extend(ids);
            }
            Call::TrySendBatch(count) => {
                let ids: Vec<u64> = (0..count).map(|_| list.new_id()).collect();
                let sent = tx.try_send_batch(&ids)?;
                // A ring of bytes holds more of short ones.
                let more = if ring == Ring::SpscBytes { count } else { list.given_up };
                let most = count.min(list.room() + more);
                prop_assert!((count.min(list.room())..=most).contains(&sent));
                list.messages.extend(&ids[..sent]);
            }
            Call::Grant(patience, end) => {
                // It has no form that times out.
                let must = list.fits(ends::room_of_grant(id, length, LONGEST));
                let patience = if must == Some(true) { patience } else { Patience::None };
                let granted = tx.grant_for(id, patience, end, &mut || {})?;
                prop_assert!(is(granted, must), "{granted}, not {must:?}");
                list.messages.extend((granted && end == Grants::Commit).then_some(id));
            }
            Call::Granted(end) => {
                let mut seen = Vec::new();
                let granted = tx.grant_for(id, Patience::None, end, &mut || {
                    seen.push(rx.recv_for(Patience::None));
                    seen.push(rx.recv_for(Patience::None));
                })?;
                prop_assert!(is(granted, list.fits(ends::room_of_grant(id, length, LONGEST))));
                for got in seen {
                    match list.messages.pop_front() {
                        Some(id) => prop_assert_eq!(got?, Ok(id)),
                        // The holder of a place has those behind it wait.
                        None if ring == Ring::Mpmc => prop_assert_eq!(got?, Err(Nothing::Pending)),
                        None => prop_assert_eq!(got?, Err(Nothing::Empty)),
                    }
                }
                list.messages.extend((granted && end == Grants::Commit).then_some(id));
            }
            Call::GrantSlice(most, commit) if list.room() > 0 => {
                let ids: Vec<u64> = (0..most).map(|_| list.new_id()).collect();
                if let Some(room) = tx.grant_slice(&ids, commit) {
                    let room = room?;
                    // As many as are side by side.
                    prop_assert!((1..=most.min(list.room())).contains(&room));
                    list.messages.extend(&ids[..commit.min(room)]);
                }
            }
            Call::Recv(patience) => {
                let patience = unless(empty, patience);
                let got = rx.recv_for(patience)?;
                prop_assert_eq!(got, list.messages.pop_front().ok_or(nothing(patience)));
            }
            Call::RecvBatch(most) if !empty || most == 0 => {
                let got = rx.recv_batch(most)?;
                prop_assert_eq!(got.len(), most.min(list.messages.len()));
                let expected: Vec<u64> = list.messages.drain(..got.len()).collect();
                prop_assert_eq!(got, expected);
            }
            Call::Take(patience, end) => {
                let patience = unless(empty, patience);
                let mut deaths = 0;
                let got = rx.take(patience, end, &mut |_, died| deaths = died)?;
                prop_assert_eq!(got, list.messages.front().copied().ok_or(nothing(patience)));
                prop_assert_eq!(deaths, 0, "nobody has died");
                if end != Verdict::GiveBack {
                    list.messages.pop_front();
                }
            }
            Call::Taken(end) => {
                let must = list.fits(length);
                let mut sent = None;
                let got = rx.take(Patience::None, end, &mut |_, _| {
                    sent = Some(tx.send_for(id, Patience::None));
                })?;
                prop_assert_eq!(got, list.messages.front().copied().ok_or(Nothing::Empty));
                let Some(sent) = sent else { return Ok(()) };
                let sent = sent?;
                // A message that is being read is in the way, and is there again.
                prop_assert!(is(sent, must), "{sent}, not {must:?}");
                if end != Verdict::GiveBack {
                    list.messages.pop_front();
                }
                list.messages.extend(sent.then_some(id));
            }
            Call::TakeSlice(most, release) if !empty => {
                if let Some(got) = rx.take_slice(most, release) {
                    let got = got?;
                    prop_assert!((1..=most.min(list.messages.len())).contains(&got.len()));
                    prop_assert!(got.iter().eq(list.messages.iter().take(got.len())));
                    list.messages.drain(..release.min(got.len()));
                }
            }
            Call::GrantSlice(..) | Call::RecvBatch(_) | Call::TakeSlice(..) | Call::Reopen(..) => {}
        }
        // In an MPMC channel what is given back has been taken all the same.
        let back =
            matches!(call, Call::Take(_, Verdict::GiveBack) | Call::Taken(Verdict::GiveBack));
        list.back = !ring.single()
            && !list.messages.is_empty()
            && (back || list.back && list.messages.front() == first.as_ref());
        if ring != Ring::SpscBytes {
            // And a place that was given up is one until receivers come to it.
            let given_up = matches!(
                call,
                Call::Grant(_, Grants::Abort | Grants::Drop)
                    | Call::Granted(Grants::Abort | Grants::Drop)
            );
            list.given_up += usize::from(ring == Ring::Mpmc && given_up);
            if list.messages.is_empty() {
                list.given_up = 0;
            }
            let least = list.messages.len();
            prop_assert!((least..=least + list.given_up).contains(&tx.len()));
            prop_assert_eq!(rx.len(), tx.len());
        }
        Ok(())
    }

    /// Everything is told when the segment goes, and nothing is done then.
    fn remove(&mut self) -> Result<(), TestCaseError> {
        self.segment.remove().unwrap();
        let (Some(tx), Some(rx)) = (&mut self.tx, &mut self.rx) else { return Ok(()) };
        let closed = |fault: Option<Fault>| matches!(fault, Some(Fault::Closed));
        let start = Instant::now();
        for patience in [Patience::None, Patience::For(common::PATIENCE), Patience::Ever] {
            prop_assert!(closed(tx.send_for(1, patience).err()));
            prop_assert!(closed(rx.recv_for(patience).err()));
            let taken = rx.take(patience, Verdict::Release, &mut |_, _| ());
            let granted = tx.grant_for(1, patience, Grants::Commit, &mut || ());
            prop_assert!(closed(taken.err()) && closed(granted.err()));
        }
        prop_assert!(closed(tx.send_batch(&[1, 2]).err()));
        prop_assert!(closed(rx.recv_batch(2).err()));
        prop_assert!(start.elapsed() < common::PATIENCE, "somebody waits for nothing");
        Ok(())
    }
}

fn nothing(patience: Patience) -> Nothing {
    if matches!(patience, Patience::For(_)) { Nothing::TimedOut } else { Nothing::Empty }
}

fn behaves_like_a_list(ring: Ring) {
    // Files of past failures would be the only trace of a run.
    let config = ProptestConfig {
        cases: u32::try_from(effort::rounds(60, 250)).unwrap(),
        rng_seed: RngSeed::Fixed(effort::seed()),
        failure_persistence: None,
        ..Default::default()
    };
    proptest!(config, |((capacity, varied, calls) in calls())| {
        let mut run = Run::new(ring, capacity, varied);
        let segment = Arc::clone(&run.segment);
        let (done, is_done) = mpsc::channel::<()>();
        thread::scope(|scope| {
            // A call that never returns is woken by this, and fails.
            scope.spawn(move || {
                if is_done.recv_timeout(common::PATIENCE) == Err(RecvTimeoutError::Timeout) {
                    segment.remove().unwrap();
                }
            });
            let _done = done;
            calls.into_iter().try_for_each(|call| run.step(call))
        })?;
        run.remove()?;
    });
}

#[test]
fn an_mpmc_queue_behaves_like_a_list() {
    behaves_like_a_list(Ring::Mpmc);
}

#[test]
fn an_spsc_queue_behaves_like_a_list() {
    behaves_like_a_list(Ring::Spsc);
}

#[test]
fn an_mpmc_queue_of_bytes_behaves_like_a_list() {
    behaves_like_a_list(Ring::MpmcBytes);
}

#[test]
fn an_spsc_queue_of_bytes_behaves_like_a_list() {
    behaves_like_a_list(Ring::SpscBytes);
}
