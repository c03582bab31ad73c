//! Creating, joining and removing segments: what later processes find after one was
//! killed in the middle.
//!
//! The director has kernel tables of its own, so that nothing can stay in them unseen.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use tombolo::sys::msg::{self, Queue};
use tombolo::sys::sem::{self, Set};
use tombolo::sys::shm::{self, Shm};
use tombolo::{
    CallError, CallTimeoutError, ChannelError, CommandError, Commander, Event, Events, Fault,
    OpenError, Options, Receiver, RecvError, Segment, SendAll, Service, Start, TryRecvError,
    TrySendError, WaitSet, WaitStrategy,
};

use super::actor::{Actor, Scene};
use super::ledger::{Doom, Ledger};
use crate::common::{SIGNATURE, Words, key_of, parked, tables, word};

/// A deed over which its doer may be killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    Create,
    OpenOrCreate,
    MakeChannels,
    Anonymous,
    /// Removes a segment in use.
    Remove,
    RemoveNamed,
    /// Is the last to leave a transient segment.
    LeaveLast,
    ClearOrphans,
    Inspect,
    /// Clears away what somebody left unfinished.
    ClearDebris,
    /// Opens a segment whose name has another's object on its first key.
    Displaced,
    /// Joins a segment and a channel whose bells are as full as a semaphore
    /// can be.
    FullBells,
    /// Sweeps two at once who died over messages and roles.
    Sweep,
    /// Listens to what happens, itself included.
    Listen,
    /// Commands one who waits.
    Command,
    /// Is commanded, waiting and sending.
    Obey,
    /// Waits again and again for one who answers only who sleeps.
    Converse,
    /// The same by a wait set.
    Watch,
    /// And by one of so many members that it watches them, of one who does, too.
    WatchMany,
    /// Publishes to every sort of subscriber, and is each of them.
    Broadcast,
    /// Publishes to who sleeps, and reads what publishers wait for.
    Wake,
    /// Makes calls in every way, and serves them.
    Calls,
    /// Calls one who replies only to who sleeps.
    Ask,
    /// Replies to one who sleeps.
    Serve,
    /// Sends to a channel of each kind, to all or to none, until they are full.
    SendToAll,
}

impl Deed {
    pub(crate) const ALL: [Deed; 25] = [
        Deed::Create,
        Deed::OpenOrCreate,
        Deed::MakeChannels,
        Deed::Anonymous,
        Deed::Remove,
        Deed::RemoveNamed,
        Deed::LeaveLast,
        Deed::ClearOrphans,
        Deed::Inspect,
        Deed::ClearDebris,
        Deed::Displaced,
        Deed::FullBells,
        Deed::Sweep,
        Deed::Listen,
        Deed::Command,
        Deed::Obey,
        Deed::Converse,
        Deed::Watch,
        Deed::WatchMany,
        Deed::Broadcast,
        Deed::Wake,
        Deed::Calls,
        Deed::Ask,
        Deed::Serve,
        Deed::SendToAll,
    ];

    /// Whether it leaves the segment in another state, perhaps.
    pub(crate) const fn commands(self) -> bool {
        matches!(self, Deed::Command | Deed::Obey)
    }
}

const NAME: &str = "deeds";
/// The wait for a participant that does not answer.
const SHORT: Duration = Duration::from_millis(20);
/// The semaphores of the first channel: after those of four participants.
const FIRST_BELL: u16 = 12;
const WAKE_ALL: u16 = 7;

pub(super) fn options() -> Options {
    Segment::options().size(1 << 14).participants(4).channels(12)
}

/// Two of the kinds, so that there is something to find on the way.
pub(super) fn use_channels(segment: &Segment) {
    let words = segment.channel::<u64>("words").capacity(3);
    let (tx, rx) = (words.sender().unwrap(), words.receiver().unwrap());
    tx.send(7).unwrap();
    assert_eq!(rx.recv().unwrap(), 7);
    let any = segment.open_channel("words").unwrap();
    any.sender().unwrap().send(&7_u64.to_ne_bytes()).unwrap();
    assert_eq!(rx.recv().unwrap(), 7);
    let bytes = segment.bytes("bytes").capacity(3, 32).spsc();
    let (tx, rx) = (bytes.sender().unwrap(), bytes.receiver().unwrap());
    assert!(matches!(bytes.sender(), Err(ChannelError::RoleTaken { .. })));
    tx.send(b"seven").unwrap();
    assert_eq!(rx.recv(&mut Vec::new()).unwrap(), 5);
}

/// All of a broadcast channel: what the dead before have published is there, whole and in
/// order, and none of them is in the way.
fn broadcast(segment: &Segment) {
    let news = segment.broadcast::<u64>("news").capacity(2).publishers(2).reliable(2);
    let (tx, other) = (news.publisher().unwrap(), news.publisher().unwrap());
    let (rx, ledger) =
        (news.subscriber_from(Start::Oldest).unwrap(), news.reliable_subscriber().unwrap());
    tx.wait_for(2).unwrap();
    let first = tx.published();
    assert_eq!(ledger.sequence(), first);
    // Each message is its own number. Publishers take turns, so each finds the other's.
    tx.send(first).unwrap();
    other.send(first + 1).unwrap();
    assert!(tx.try_send(0).is_err_and(|error| error.is_full()));
    assert_eq!((ledger.recv(), ledger.recv()), (Ok(first), Ok(first + 1)));
    for number in first + 2..first + 10 {
        let tx = if number % 2 == 0 { &tx } else { &other };
        tx.send(number).unwrap();
        assert_eq!(ledger.recv(), Ok(number));
    }
    loop {
        let number = rx.sequence();
        match rx.try_recv() {
            Ok(got) => assert_eq!(got, number),
            Err(TryRecvError::Lagged(missed)) => assert!(missed > 0),
            Err(TryRecvError::Empty) => break,
            Err(error) => panic!("{error}"),
        }
    }
    // One that was away for some laps.
    for number in first + 10..first + 40 {
        tx.send(number).unwrap();
        assert_eq!(ledger.recv(), Ok(number));
    }
    other.send(first + 40).unwrap();
    assert!(tx.slowest().is_some_and(|slowest| slowest.behind == 1));
    assert_eq!(ledger.recv(), Ok(first + 40));
    let clone = ledger.try_clone().unwrap();
    drop(ledger);
    tx.send_batch(&[first + 41, first + 42]).unwrap();
    assert_eq!(rx.latest(), Ok(first + 42));
    assert_eq!(clone.skip_to_newest(), Ok(1));
    tx.try_send_gap(7).unwrap();
    assert_eq!(clone.recv(), Ok(first + 42));
    assert_eq!((clone.recv(), rx.recv()), (Err(RecvError::Lagged(7)), Err(RecvError::Lagged(7))));
    let lines = segment.broadcast_bytes("lines").capacity(1, 16).publishers(1).reliable(0);
    let (tx, rx) = (lines.publisher().unwrap(), lines.subscriber().unwrap());
    tx.try_send_gap(8).unwrap();
    assert_eq!(rx.recv(&mut Vec::new()), Err(RecvError::Lagged(8)));
    tx.send(b"seven").unwrap();
    assert_eq!(rx.recv(&mut Vec::new()).unwrap(), 5);
}

/// All of a service, by one process: what the dead before have left is in nobody's way.
fn calls(segment: &Segment) {
    let service = segment.service::<u64, u64>("squares").capacity(2);
    let (client, server) = (service.client().unwrap(), service.server().unwrap());
    assert!(matches!(server.try_recv(), Err(TryRecvError::Empty)));
    client.set_repeats(1);
    let calls = [client.start(2).unwrap(), client.try_start(3).unwrap()];
    let other = client.try_clone().unwrap();
    assert!(matches!(other.try_start(4), Err(TrySendError::Full(4))));
    server.recv().unwrap().give_back().unwrap();
    let another = server.try_clone().unwrap();
    let [first, second] = [server.recv().unwrap(), another.try_recv().unwrap()];
    let number = second.request().unwrap();
    assert_eq!(second.reply(number * number), Ok(true));
    drop(first);
    let ended = calls.map(|call| call.wait());
    assert!(matches!(ended, [Ok(4), Err(CallError::Refused)] | [Err(CallError::Refused), Ok(9)]));
    let given_up = client.start(5).unwrap();
    // It has to find out what has changed.
    drop(service.server().unwrap());
    assert_eq!(given_up.try_wait(), None);
    let call = server.recv().unwrap();
    drop(given_up);
    assert!(!call.is_wanted());
    assert_eq!(call.reply(25), Ok(false));
    drop(client.start(6).unwrap());
    let late = client.call_timeout(7, Duration::from_millis(1));
    assert_eq!(late, Err(CallTimeoutError::TimedOut));
    let files = segment.service_bytes("files").capacity(1, 8, 16);
    let (client, server) = (files.client().unwrap(), files.server().unwrap());
    let pending = client.start(b"name").unwrap();
    let mut call = server.recv().unwrap();
    assert_eq!(call.write_at(0, b"content"), 7);
    assert_eq!(call.reply_written(7), Ok(true));
    assert_eq!(pending.wait().unwrap(), b"content");
}

fn questions(segment: &Segment) -> Service<'_, u64, u64> {
    segment.service("questions").capacity(2).lasting()
}

/// How many messages each channel of those that are sent to together holds.
const TOGETHER: usize = 3;

/// A message of bytes: longer than what is in a slot.
fn text(number: u64) -> Vec<u8> {
    number.to_ne_bytes().repeat(20)
}

/// Sends to a channel of each kind, to all or to none, until they are full.
fn send_to_all(segment: &Segment) {
    let numbers = segment.channel::<u64>("numbers").capacity(TOGETHER);
    let single = segment.channel::<u64>("single").capacity(TOGETHER).spsc();
    let texts = segment.bytes("texts").capacity(TOGETHER, 160);
    // There, more of the shorter ones would fit.
    let records = segment.bytes("records").capacity(TOGETHER, 160).spsc();
    let senders = (
        texts.sender().unwrap(),
        single.sender().unwrap(),
        records.sender().unwrap(),
        numbers.sender().unwrap(),
    );
    let all = SendAll::new(senders).unwrap();
    let mine = u64::from(std::process::id()) << 8;
    let full = (mine + 1..).find_map(|number| {
        let text = text(number);
        all.try_send((&text, number, &text, number)).err()
    });
    assert!(full.is_some_and(|error| error.reason.is_full()));
}

/// What the dead before have sent is there whole, and in all channels or in none.
fn sent_to_all(segment: &Segment) {
    let numbers = segment.channel::<u64>("numbers").capacity(TOGETHER);
    let single = segment.channel::<u64>("single").capacity(TOGETHER).spsc();
    let texts = segment.bytes("texts").capacity(TOGETHER, 160);
    let records = segment.bytes("records").capacity(TOGETHER, 160).spsc();
    let (numbers, single) = (numbers.receiver().unwrap(), single.receiver().unwrap());
    let (texts, records) = (texts.receiver().unwrap(), records.receiver().unwrap());
    for round in 0..2 {
        let mut got = [Vec::new(), Vec::new(), Vec::new(), Vec::new()];
        while let Ok(number) = numbers.try_recv() {
            got[0].push(number);
        }
        while let Ok(number) = single.try_recv() {
            got[1].push(number);
        }
        let number = |bytes: &[u8]| {
            let number = u64::from_ne_bytes(bytes[..8].try_into().unwrap());
            assert_eq!(bytes, text(number));
            number
        };
        let mut bytes = Vec::new();
        while texts.try_recv(&mut bytes).is_ok() {
            got[2].push(number(&bytes));
            bytes.clear();
        }
        while records.try_recv(&mut bytes).is_ok() {
            got[3].push(number(&bytes));
            bytes.clear();
        }
        let [first, others @ ..] = &got;
        assert!(others.iter().all(|other| other == first), "some and not all: {got:?}");
        // And afterwards the capacity is whole.
        assert!(round == 0 || first.len() == TOGETHER, "{got:?}");
        if round == 0 {
            send_to_all(segment);
        }
    }
}

/// Does it, once; every death is followed by that of the next, if there is.
pub(crate) fn perform(deed: Deed, dooms: &[&Doom], ledger: &Ledger) -> Result<(), String> {
    ledger.clear();
    let mut waiting = before(deed)?;
    for doom in dooms {
        let mut victim = Actor::fork("the victim", || act(deed, doom, ledger));
        match victim.end()? {
            Scene::Ended(0 | -9) => {}
            Scene::Stopped => {
                victim.resume();
                victim.exit()?;
            }
            scene => return Err(format!("the victim: {scene:?}")),
        }
    }
    // The next process gets on with any remains.
    let next = Actor::fork("the next", || {
        let segment = options().open_or_create(NAME).unwrap();
        if deed.commands() {
            segment.commander().unwrap().resume(SHORT).unwrap();
        }
        use_channels(&segment);
        if deed == Deed::Calls {
            calls(&segment);
        }
        if matches!(deed, Deed::Calls | Deed::Ask | Deed::Serve) {
            let audit = Segment::check(NAME).unwrap();
            assert!(audit.faults.is_empty(), "{:#?}", audit.faults);
        }
        if deed == Deed::SendToAll {
            sent_to_all(&segment);
        }
        if deed == Deed::Broadcast {
            broadcast(&segment);
        }
        if matches!(deed, Deed::Broadcast | Deed::SendToAll) {
            let audit = Segment::check(NAME).unwrap();
            assert!(audit.faults.is_empty(), "{:#?}", audit.faults);
        }
    });
    { next }.exit()?;
    let _ = Segment::remove_named(NAME);
    if deed == Deed::Displaced {
        Shm::open(key_of(NAME, 0)).and_then(|other| other.remove()).unwrap();
    }
    if let Some(waiting) = &mut waiting {
        waiting.exit()?;
    }
    for orphan in Segment::orphans().map_err(|error| error.to_string())? {
        orphan.remove().map_err(|error| format!("{orphan:?}: {error}"))?;
    }
    if tables() == (0, 0) && msg::all().is_ok_and(|queues| queues.is_empty()) {
        return Ok(());
    }
    let left = format!("{:?} {:?} {:?}", shm::all(), sem::all(), msg::all());
    clear();
    Err(format!("left behind: {left}"))
}

/// Empties the tables, which are this process's own.
pub(super) fn clear() {
    shm::all().unwrap().iter().for_each(|stat| drop(Shm::from_id(stat.id).remove()));
    sem::all().unwrap().iter().for_each(|stat| drop(Set::from_id(stat.id).remove()));
    msg::all().unwrap().iter().for_each(|stat| drop(Queue::from_id(stat.id).remove()));
}

/// Prepares what the deed is done to; somebody who waits, where there is one.
fn before(deed: Deed) -> Result<Option<Actor>, String> {
    match deed {
        Deed::Remove | Deed::RemoveNamed => {
            let mut waiting = Actor::fork("who waits", || {
                let segment = options().create(NAME).unwrap();
                let rx = segment.channel::<u64>("numbers").capacity(3).receiver().unwrap();
                assert!(matches!(rx.recv(), Err(RecvError::Fault(Fault::Closed))));
            });
            waiting.scene()?;
            Ok(Some(waiting))
        }
        Deed::ClearOrphans | Deed::Inspect | Deed::Sweep => {
            let mut dead = Actor::fork("one who dies", || {
                let segment = options().create(NAME).unwrap();
                use_channels(&segment);
                let numbers = segment.channel::<u64>("numbers").capacity(3);
                let (tx, mut rx) = (numbers.sender().unwrap(), numbers.receiver().unwrap());
                tx.send(1).unwrap();
                let _holding = rx.take().unwrap();
                let single = segment.channel::<u64>("single").capacity(3).spsc();
                let (tx, mut rx) = (single.sender().unwrap(), single.receiver().unwrap());
                tx.send(1).unwrap();
                let _held = rx.take().unwrap();
                nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL).unwrap();
            });
            dead.end()?;
            Ok(None)
        }
        Deed::ClearDebris => {
            let _unfinished = Shm::options().create(key_of(NAME, 0), 8_192 + SIGNATURE).unwrap();
            Ok(None)
        }
        Deed::Displaced => {
            // Goes with the one who attaches it, if that is the last.
            let _other = Shm::options().create(key_of(NAME, 0), 4_096).unwrap();
            Ok(None)
        }
        Deed::FullBells => {
            let segment = options().create(NAME).unwrap();
            use_channels(&segment);
            let words = Words::behind(&segment);
            let set = Set::from_id(i32::try_from(words.get(word::SET)).unwrap());
            drop(segment);
            for bell in [WAKE_ALL, FIRST_BELL, FIRST_BELL + 1] {
                let there = set.value(bell).unwrap();
                set.perform(&[sem::Op::add(bell, 32_767 - there)]).unwrap();
            }
            Ok(None)
        }
        Deed::Listen => {
            let mut waiting = Actor::fork("who listens", || {
                let segment = options().create(NAME).unwrap();
                every_life_ends(&segment.events());
            });
            waiting.scene()?;
            Ok(Some(waiting))
        }
        Deed::Command => {
            let mut waiting = Actor::fork("who obeys", || {
                let segment = options().create(NAME).unwrap();
                let rx = segment.channel::<u64>("numbers").capacity(3).lasting().receiver();
                let rx = rx.unwrap();
                // Its final answer depends on when the other died.
                while let Err(RecvError::Fault(fault)) = rx.recv() {
                    match fault {
                        Fault::Closed => break,
                        Fault::Shutdown | Fault::Disconnected { .. } => {}
                        fault => panic!("{fault}"),
                    }
                }
            });
            waiting.scene()?;
            Ok(Some(waiting))
        }
        Deed::Obey => {
            drop(options().create(NAME).unwrap());
            Ok(Some(Actor::fork("who commands", || {
                // Until the segment is removed, perhaps before it has come.
                let Ok(segment) = options().open(NAME) else { return };
                let Ok(commander) = segment.commander() else { return };
                while all_commands(&commander).is_ok() {}
            })))
        }
        Deed::Wake => {
            // Each message is awaited by who sleeps, and there is room for one.
            let mut waiting = Actor::fork("who publishes and subscribes", || {
                let segment = options().create(NAME).unwrap();
                let channel = |name| segment.broadcast::<u64>(name).publishers(2).reliable(2);
                let (there, back) = (channel("there"), channel("back"));
                let (there, back) = (there.capacity(1).lasting(), back.capacity(1).lasting());
                let questions = there.reliable_subscriber().unwrap();
                let answers = back.publisher().unwrap();
                while questions.recv().is_ok() {
                    for _ in 0..2 {
                        // Refused once the segment has been removed.
                        let _ = answers.send(std::process::id().into());
                    }
                }
            });
            waiting.scene()?;
            Ok(Some(waiting))
        }
        Deed::Ask => {
            let mut waiting = Actor::fork("who serves", || {
                let segment = options().create(NAME).unwrap();
                let server = questions(&segment).server().unwrap();
                while let Ok(call) = server.recv() {
                    let asking = call.request().unwrap();
                    until_parked(asking);
                    // Refused once the segment has been removed.
                    let _ = call.reply(asking);
                }
            });
            waiting.scene()?;
            Ok(Some(waiting))
        }
        Deed::Serve => {
            let mut waiting = Actor::fork("who calls", || {
                let segment = options().create(NAME).unwrap();
                let client = questions(&segment).client().unwrap();
                let own = std::process::id().into();
                for call in 0.. {
                    client.set_repeats(call % 2);
                    match client.call(own) {
                        Ok(answer) => assert_eq!(answer, own),
                        Err(CallError::ServerDied | CallError::Refused) => {}
                        Err(CallError::Fault(Fault::Closed)) => break,
                        Err(error) => panic!("{error}"),
                    }
                }
            });
            waiting.scene()?;
            Ok(Some(waiting))
        }
        Deed::Converse | Deed::Watch => {
            let mut waiting = Actor::fork("who answers", || {
                let segment = options().create(NAME).unwrap();
                let channel = |name| segment.channel::<u64>(name).capacity(8).lasting();
                let (questions, answers) = (channel("there").receiver(), channel("back").sender());
                let (questions, answers) = (questions.unwrap(), answers.unwrap());
                while let Ok(asking) = questions.recv() {
                    until_parked(asking);
                    // Refused once the segment has been removed.
                    let _ = answers.send(asking);
                }
            });
            waiting.scene()?;
            Ok(Some(waiting))
        }
        Deed::WatchMany => {
            let mut waiting = Actor::fork("who answers by a set of many", || {
                let segment = options().create(NAME).unwrap();
                let channel = |name| segment.channel::<u64>(name).capacity(8).lasting();
                let (questions, answers) = (channel("there").receiver(), channel("back").sender());
                let (questions, answers) = (questions.unwrap(), answers.unwrap());
                let all = clones(&questions);
                let mut set = set_of(&segment, &all);
                while set.wait(&mut Vec::new(), None).is_ok() {
                    while let Ok(asking) = questions.try_recv() {
                        until_parked(asking);
                        // Refused once the segment has been removed.
                        let _ = answers.send(asking);
                    }
                }
            });
            waiting.scene()?;
            Ok(Some(waiting))
        }
        _ => Ok(None),
    }
}

/// So many members a set watches.
const MANY: usize = 31;

fn clones(rx: &Receiver<u64>) -> Vec<Receiver<u64>> {
    (0..MANY).map(|_| rx.try_clone().unwrap()).collect()
}

fn set_of<'a>(segment: &Segment, all: &'a [Receiver<u64>]) -> WaitSet<'a> {
    let mut set = WaitSet::new(segment);
    set.set_wait_strategy(WaitStrategy::Block);
    for (key, rx) in (0..).zip(all) {
        set.add(rx, key).unwrap();
    }
    set
}

/// Waits a short time at most until this process sleeps in a call.
fn until_parked(pid: u64) {
    let patience = Instant::now() + SHORT;
    while !parked(pid.try_into().unwrap()) && Instant::now() < patience {}
}

/// Gives every command that leaves the channels in use.
fn all_commands(commander: &Commander) -> Result<(), CommandError> {
    commander.ping(SHORT)?;
    commander.stats(SHORT)?;
    commander.pause(SHORT)?;
    commander.resume(SHORT)?;
    commander.user(b"do", SHORT)?;
    Ok(())
}

/// Listens until the segment is removed: who has joined has left or died.
fn every_life_ends(events: &Events) {
    let mut living = HashSet::new();
    for event in events {
        match event.unwrap() {
            Event::Joined(member) => assert!(living.insert((member.slot, member.life))),
            Event::Left(member) => assert!(living.remove(&(member.slot, member.life))),
            // A participant that died in joining may not have been told of.
            Event::Died(death) => drop(living.remove(&(death.slot, death.life))),
            event => panic!("{event:?}"),
        }
    }
    assert!(living.is_empty(), "no end of {living:?}");
}

fn act(deed: Deed, doom: &Doom, ledger: &Ledger) {
    match deed {
        Deed::Create => {
            doom.begin();
            // The second one finds the first one's.
            drop(options().create(NAME));
        }
        Deed::OpenOrCreate | Deed::Displaced => {
            doom.begin();
            drop(options().open_or_create(NAME).unwrap());
        }
        Deed::MakeChannels => {
            let segment = options().open_or_create(NAME).unwrap();
            doom.begin();
            use_channels(&segment);
        }
        Deed::Anonymous => {
            doom.begin();
            let segment = options().anonymous().unwrap();
            let same = options().open_id(segment.id()).unwrap();
            drop((segment, same));
        }
        Deed::Remove => {
            // The first one may have removed it.
            let Ok(segment) = options().open(NAME) else { return doom.finish(ledger) };
            doom.begin();
            segment.remove().unwrap();
        }
        Deed::RemoveNamed => {
            doom.begin();
            let _ = Segment::remove_named(NAME);
        }
        Deed::LeaveLast => {
            let segment = options().transient(true).open_or_create(NAME).unwrap();
            doom.begin();
            drop(segment);
        }
        Deed::ClearOrphans | Deed::ClearDebris => {
            doom.begin();
            for orphan in Segment::orphans().unwrap() {
                let _ = orphan.remove();
            }
        }
        Deed::Inspect => {
            let Ok(segment) = options().open(NAME) else { return doom.finish(ledger) };
            doom.begin();
            let _ = (Segment::list().unwrap(), segment.participants(), segment.channels());
        }
        Deed::FullBells => {
            doom.begin();
            let segment = options().open(NAME).unwrap();
            let words = segment.channel::<u64>("words").capacity(3);
            let (tx, rx) = (words.sender().unwrap(), words.receiver().unwrap());
            let canceller = rx.canceller();
            canceller.cancel().unwrap();
            assert!(matches!(rx.recv(), Err(RecvError::Fault(Fault::Cancelled))));
            drop((tx, rx));
        }
        Deed::Listen => {
            doom.begin();
            let segment = options().open(NAME).unwrap();
            let events = segment.events();
            // With the one who listens, all that there is room for.
            let all = [(); 2].map(|()| options().open(NAME).unwrap());
            assert!(matches!(options().open(NAME), Err(OpenError::TableFull { .. })));
            drop(all);
            for _ in 0..4 {
                assert!(events.recv().is_ok());
            }
            assert_eq!(events.recv_timeout(Duration::from_millis(1)).unwrap(), None);
        }
        Deed::Command => {
            doom.begin();
            let segment = options().open(NAME).unwrap();
            let commander = segment.commander().unwrap();
            // The first one may have left it shut.
            commander.resume(SHORT).unwrap();
            all_commands(&commander).unwrap();
            // Nobody answers for it.
            let silent = options().open(NAME).unwrap();
            commander.ping(Duration::from_millis(1)).unwrap();
            drop(silent);
            commander.drain(SHORT).unwrap();
            commander.shutdown(SHORT).unwrap();
            commander.resume(SHORT).unwrap();
        }
        Deed::Obey => {
            doom.begin();
            let segment = options().open(NAME).unwrap();
            let inbox = segment.inbox();
            let numbers = segment.channel::<u64>("numbers").capacity(3);
            let (tx, rx) = (numbers.sender().unwrap(), numbers.receiver().unwrap());
            while inbox.try_recv().unwrap().is_none() {
                let _ = tx.try_send(1);
                let _ = rx.recv_timeout(SHORT);
            }
        }
        Deed::Converse => {
            doom.begin();
            let segment = options().open(NAME).unwrap();
            let channel = |name| segment.channel::<u64>(name).capacity(8).lasting();
            let (tx, rx) =
                (channel("there").sender().unwrap(), channel("back").receiver().unwrap());
            for _ in 0..4 {
                tx.send(std::process::id().into()).unwrap();
                // Perhaps to one who has died.
                rx.recv().unwrap();
            }
        }
        Deed::Watch => {
            doom.begin();
            let segment = options().open(NAME).unwrap();
            let channel = |name| segment.channel::<u64>(name).capacity(8).lasting();
            let (tx, rx) =
                (channel("there").sender().unwrap(), channel("back").receiver().unwrap());
            let (other, mut set) = (rx.try_clone().unwrap(), WaitSet::new(&segment));
            set.set_wait_strategy(WaitStrategy::Block);
            set.add(&rx, 0).unwrap();
            set.add(&other, 1).unwrap();
            let mut ready = Vec::new();
            for _ in 0..4 {
                tx.send(std::process::id().into()).unwrap();
                // The token that ended the sleep stays, and is in the way of the next one.
                set.wait(&mut ready, None).unwrap();
                while rx.try_recv().is_ok() {}
            }
        }
        Deed::WatchMany => {
            doom.begin();
            let segment = options().open(NAME).unwrap();
            let channel = |name| segment.channel::<u64>(name).capacity(8).lasting();
            let (tx, rx) =
                (channel("there").sender().unwrap(), channel("back").receiver().unwrap());
            let all = clones(&rx);
            let mut set = set_of(&segment, &all);
            for _ in 0..4 {
                tx.send(std::process::id().into()).unwrap();
                set.wait(&mut Vec::new(), None).unwrap();
                while rx.try_recv().is_ok() {}
            }
        }
        Deed::Wake => {
            doom.begin();
            let segment = options().open(NAME).unwrap();
            let there = segment.broadcast::<u64>("there").publisher().unwrap();
            let back = segment.broadcast::<u64>("back").reliable_subscriber().unwrap();
            for question in 0..3 {
                there.send(question).unwrap();
                // Perhaps what was meant for one who has died.
                let answering = back.recv().unwrap();
                // It waits until its second answer has been read.
                until_parked(answering);
                back.recv().unwrap();
            }
        }
        Deed::Calls => {
            let segment = options().open_or_create(NAME).unwrap();
            doom.begin();
            calls(&segment);
        }
        Deed::Ask => {
            doom.begin();
            let segment = options().open(NAME).unwrap();
            let client = questions(&segment).client().unwrap();
            let own = std::process::id().into();
            for _ in 0..2 {
                assert_eq!(client.call(own), Ok(own));
                let call = client.start(own).unwrap();
                let answer = call.wait_timeout(Duration::from_secs(10));
                assert_eq!(answer, Some(Ok(own)));
            }
        }
        Deed::Serve => {
            doom.begin();
            let segment = options().open(NAME).unwrap();
            let server = questions(&segment).server().unwrap();
            for _ in 0..3 {
                let call = server.recv().unwrap();
                let asking = call.request().unwrap();
                until_parked(asking);
                assert_eq!(call.reply(asking), Ok(true));
            }
        }
        Deed::Broadcast => {
            let segment = options().open_or_create(NAME).unwrap();
            doom.begin();
            broadcast(&segment);
        }
        Deed::SendToAll => {
            let segment = options().open_or_create(NAME).unwrap();
            doom.begin();
            send_to_all(&segment);
        }
        Deed::Sweep => {
            doom.begin();
            let segment = options().open(NAME).unwrap();
            let single = segment.channel::<u64>("single").capacity(3).spsc();
            drop((single.sender().unwrap(), single.receiver().unwrap()));
        }
    }
    doom.finish(ledger);
}
