//! A channel, a victim, and the survivors.

use std::time::Duration;

use nix::sys::signal::{Signal, raise};
use tombolo::sys::crash::End;
use tombolo::sys::sem::Set;
use tombolo::sys::shm::Shm;
use tombolo::{Fault, Options, Segment};

use super::actor::{Actor, Scene};
use super::judge;
use super::ledger::{Doom, Ledger, Note};
use crate::common::Name;
use crate::common::ends::{self, Got, Grants, Patience, Ring, Rx, Tx, Verdict};

type Short = ends::Queue<5>;
/// Of messages that are longer than a slot of MPMC bytes has room for.
type Long = ends::Queue<16>;

/// How many messages the channel holds.
pub(crate) const CAPACITY: usize = 3;
/// How long an operation that is to time out takes to.
const SHORT: Duration = Duration::from_millis(1);

/// The channel's content when the victim comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Empty,
    One,
    /// Two, with the end of the ring between them.
    Wrapped,
    Full,
    /// Two, of which a reader who has died had the first.
    Orphaned,
    /// As many as fit, of which one reader holds the first and others have had
    /// the rest: blocks, and no place.
    Held,
    /// None, and a sender holds all blocks: places, and no block.
    Granted,
}

/// The victim's act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Send,
    Batch,
    Commit,
    Abort,
    SendInTime,
    Recv,
    RecvBatch,
    Acknowledge,
    GiveBack,
    RecvInTime,
    /// Opens the segment and both ends, and leaves.
    Attach,
}

impl State {
    const ALL: [State; 7] = [
        State::Empty,
        State::One,
        State::Wrapped,
        State::Full,
        State::Orphaned,
        State::Held,
        State::Granted,
    ];
}

impl Act {
    pub(crate) const ALL: [Act; 11] = [
        Act::Send,
        Act::Batch,
        Act::Commit,
        Act::Abort,
        Act::SendInTime,
        Act::Recv,
        Act::RecvBatch,
        Act::Acknowledge,
        Act::GiveBack,
        Act::RecvInTime,
        Act::Attach,
    ];

    pub(crate) const fn sends(self) -> bool {
        matches!(self, Act::Send | Act::Batch | Act::Commit | Act::Abort | Act::SendInTime)
    }
}

/// A scene.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Play {
    pub(crate) ring: Ring,
    pub(crate) state: State,
    pub(crate) act: Act,
    /// Whether another process waits for the same as the victim.
    pub(crate) company: bool,
    /// Whether what a dead reader had is dropped.
    pub(crate) drops: bool,
}

/// Numbers of the messages: of those that were there, of the survivors', and
/// of the victim's.
pub(crate) const THERE: u64 = 100;
pub(crate) const SURVIVORS: u64 = 200;
pub(crate) const VICTIMS: u64 = 300;
/// How many the victim of a batch handles.
pub(crate) const BATCH: u64 = 2;

impl Play {
    /// All that make sense.
    pub(crate) fn all() -> Vec<Play> {
        let mut plays = Vec::new();
        for ring in Ring::ALL {
            for act in Act::ALL {
                for state in State::ALL {
                    for (company, drops) in
                        [(false, false), (true, false), (false, true), (true, true)]
                    {
                        let play = Play { ring, state, act, company, drops };
                        if play.makes_sense() {
                            plays.push(play);
                        }
                    }
                }
            }
        }
        plays
    }

    fn makes_sense(self) -> bool {
        let receives = !self.act.sends() && self.act != Act::Attach;
        let sensible = match self.state {
            // A successor drops the message of a dead reader.
            State::Orphaned if self.ring.single() => receives || self.act == Act::Attach,
            State::Orphaned => receives && !self.drops,
            State::Wrapped | State::Full => receives || !self.drops,
            State::Empty | State::One => !self.drops,
            State::Held | State::Granted => {
                self.ring == Ring::MpmcBytes && self.act.sends() && !self.drops
            }
        };
        if !sensible {
            return false;
        }
        let waits = match self.state {
            State::Empty => !self.act.sends(),
            State::Full | State::Held | State::Granted => self.act.sends(),
            _ => false,
        };
        let in_time = matches!(self.act, Act::SendInTime | Act::RecvInTime);
        match (self.act, self.company) {
            (Act::Attach, company) => !company && self.state != State::One,
            (_, true) => !self.ring.single() && waits && !in_time,
            (_, false) => !in_time || waits,
        }
    }

    /// How many messages there are, from [`THERE`] on.
    pub(crate) const fn there(self) -> u64 {
        match self.state {
            State::Empty | State::Granted => 0,
            State::One => 1,
            State::Wrapped | State::Orphaned => 2,
            State::Full => CAPACITY as u64,
            // Messages that others have had do not matter.
            State::Held => 1,
        }
    }

    /// How many of them are dropped before anything else happens.
    pub(crate) fn gone(self) -> u64 {
        u64::from(self.state == State::Orphaned && self.drops)
    }

    /// Messages that bring the ring to where the next two have its end
    /// between them.
    const fn prelude(self) -> &'static [u64] {
        match self.ring {
            // Two units before the end: padding.
            Ring::SpscBytes => &[1, 2, 4, 3],
            // And a hint is due at position 16.
            _ => &[1; 14],
        }
    }

    fn options() -> Options {
        Segment::options().size(1 << 14).participants(6).channels(2)
    }

    fn prepare(self, name: &str) -> Segment {
        let segment = Self::options().create(name).unwrap();
        let (tx, rx) = (self.sender(&segment), self.receiver(&segment));
        if self.state == State::Wrapped {
            for &id in self.prelude() {
                assert!(tx.try_send(id) == Ok(true) && rx.try_recv() == Ok(Some(id)));
            }
        }
        for id in 0..self.there() {
            assert_eq!(tx.try_send(THERE + id), Ok(true));
        }
        drop((tx, rx));
        if self.state == State::Orphaned {
            let mut reader = Actor::fork("a reader who dies", || {
                let mut rx = self.receiver(&Self::options().open(name).unwrap());
                take(&mut *rx, Verdict::Release, &|_| raise(Signal::SIGKILL).unwrap());
            });
            assert_eq!(reader.end(), Ok(Scene::Ended(-9)));
            assert!(segment.sweep().unwrap());
        }
        segment
    }

    fn times(self) -> u8 {
        if self.drops { 0 } else { 8 }
    }

    fn short(self) -> Short {
        Short {
            times: self.times(),
            // Every third is shorter.
            length: |id| if id.is_multiple_of(3) { 24 } else { 40 },
            ..Short::new(self.ring, "c", CAPACITY)
        }
    }

    fn long(self) -> Long {
        Long {
            times: self.times(),
            // The first of each sender has a block; the next ones are in their slots.
            length: |id| if id.is_multiple_of(5) { 128 } else { 24 },
            ..Long::new(self.ring, "c", CAPACITY)
        }
    }

    pub(crate) fn sender(self, segment: &Segment) -> Box<dyn Tx> {
        match self.ring {
            Ring::MpmcBytes => self.long().sender(segment).unwrap(),
            _ => self.short().sender(segment).unwrap(),
        }
    }

    pub(crate) fn receiver(self, segment: &Segment) -> Box<dyn Rx> {
        match self.ring {
            Ring::MpmcBytes => self.long().receiver(segment).unwrap(),
            _ => self.short().receiver(segment).unwrap(),
        }
    }
}

/// How the victim ends, and how one who sweeps it.
#[derive(Clone, Debug)]
pub(crate) struct Plot {
    pub(crate) victim: Doom,
    pub(crate) sweeper: Option<Doom>,
}

/// Plays once. The points handed over are in the ledger then.
pub(crate) fn perform(play: Play, plot: &Plot, ledger: &Ledger) -> Result<(), String> {
    ledger.clear();
    let name = Name::new();
    let segment = play.prepare(&name);
    let mut cast =
        Cast { play, name: &name, ledger, early: Vec::new(), late: Vec::new(), slow: None };
    cast.early()?;
    let mut sweeper = plot.sweeper.as_ref().map(|doom| cast.sweeper(doom));
    if let Some(sweeper) = &mut sweeper {
        sweeper.stop_when_ready()?;
        for actor in &mut cast.early {
            actor.stop()?;
        }
    }
    let mut victim = cast.victim(&plot.victim);
    let scene = loop {
        let scene = if cast.late.is_empty() { victim.scene()? } else { victim.end()? };
        match scene {
            Scene::Ended(_) => break scene,
            Scene::Parked => cast.late(),
            Scene::Stopped => {
                // Stopped is not dead, whoever looks.
                for _ in 0..2 {
                    if segment.sweep().map_err(|fault| fault.to_string())? {
                        return Err("the stopped victim was swept".to_owned());
                    }
                }
                victim.resume();
            }
        }
    };
    let killed = match (scene, &plot.victim) {
        (Scene::Ended(0), _) => false,
        (Scene::Ended(-9), Doom::At(_, _, End::Killed)) => true,
        (scene, _) => return Err(format!("the victim: {scene:?}")),
    };
    if let Some(sweeper) = &mut sweeper {
        sweeper.sweep()?;
        for actor in &mut cast.early {
            actor.resume();
        }
    }
    cast.finish(&segment)?;
    judge::whole(play, &segment)?;
    judge::judge(play, killed, ledger)?;
    segment.remove().map_err(|fault| fault.to_string())?;
    drop(segment);
    if name.objects() != (0, 0) {
        return Err(format!("left behind: {:?}", name.objects()));
    }
    Ok(())
}

struct Cast<'a> {
    play: Play,
    name: &'a str,
    ledger: &'a Ledger,
    early: Vec<Actor>,
    late: Vec<Actor>,
    /// Stopped over a message, until the late ones come.
    slow: Option<Actor>,
}

impl Cast<'_> {
    fn segment(&self) -> Segment {
        Segment::open(self.name).unwrap()
    }

    fn sender(&self) -> Actor {
        Actor::fork("a surviving sender", || {
            let tx = self.play.sender(&self.segment());
            for id in SURVIVORS..SURVIVORS + 3 {
                if tx.send(id).is_err() {
                    break;
                }
                self.ledger.note(Note::SurvivorSent, id);
            }
        })
    }

    fn receiver(&self) -> Actor {
        Actor::fork("a surviving receiver", || {
            let rx = self.play.receiver(&self.segment());
            while let Some(id) = unless_over(rx.recv()) {
                self.ledger.note(Note::Received, id);
            }
        })
    }

    /// Those who wait before the victim comes.
    fn early(&mut self) -> Result<(), String> {
        let sends = self.play.act.sends();
        match self.play.state {
            State::Held => return self.held(),
            State::Granted => return self.granted(),
            _ => {}
        }
        match (self.play.act, self.play.state) {
            (Act::Attach, _) => {}
            (_, State::Empty) if sends => self.early.push(self.receiver()),
            (_, State::Full) if !sends => self.early.push(self.sender()),
            (_, State::Full) if self.play.company => self.early.push(self.sender()),
            (_, State::Empty) if self.play.company => self.early.push(self.receiver()),
            _ => {}
        }
        for actor in &mut self.early {
            let scene = actor.scene()?;
            if scene != Scene::Parked {
                return Err(format!("a survivor does not wait: {scene:?}"));
            }
        }
        Ok(())
    }

    /// A reader who is stopped with the oldest message in its hands, and who
    /// waits for its place, if anybody does.
    fn held(&mut self) -> Result<(), String> {
        let mut reader = Actor::fork("a slow reader", || {
            let mut rx = self.play.receiver(&self.segment());
            let id = take(&mut *rx, Verdict::Release, &|_| raise(Signal::SIGSTOP).unwrap());
            id.into_iter().for_each(|id| self.ledger.note(Note::Received, id));
        });
        let stopped = reader.end()?;
        if stopped != Scene::Stopped {
            return Err(format!("the slow reader: {stopped:?}"));
        }
        self.slow = Some(reader);
        let segment = self.segment();
        let (tx, rx) = (self.play.sender(&segment), self.play.receiver(&segment));
        for _ in 1..CAPACITY {
            if tx.try_send(1) != Ok(true) || rx.try_recv() != Ok(Some(1)) {
                return Err("no room for what the slow reader does not hold".to_owned());
            }
        }
        drop((tx, rx));
        self.committer()
    }

    /// A sender who is stopped with all message blocks reserved, and who waits for one, if
    /// anybody does.
    fn granted(&mut self) -> Result<(), String> {
        let mut writer = Actor::fork("a slow writer", || {
            let segment = self.segment();
            let txs: Vec<_> = (0..CAPACITY).map(|_| self.play.sender(&segment)).collect();
            reserve_all(txs, &|| raise(Signal::SIGSTOP).unwrap());
        });
        let stopped = writer.end()?;
        if stopped != Scene::Stopped {
            return Err(format!("the slow writer: {stopped:?}"));
        }
        self.slow = Some(writer);
        self.committer()
    }

    /// A survivor that waits like the victim, if the play has one.
    fn committer(&mut self) -> Result<(), String> {
        if self.play.company {
            let mut committer = Actor::fork("a surviving committer", || {
                let mut tx = self.play.sender(&self.segment());
                if tx.grant(SURVIVORS, &mut || ()).is_ok() {
                    self.ledger.note(Note::SurvivorSent, SURVIVORS);
                }
            });
            let scene = committer.scene()?;
            self.early.push(committer);
            if scene != Scene::Parked {
                return Err(format!("a survivor does not wait: {scene:?}"));
            }
        }
        Ok(())
    }

    /// Those who give the victim, and whoever waits like it, what they wait
    /// for.
    fn late(&mut self) {
        if let Some(mut slow) = self.slow.take() {
            slow.resume();
            // That is all: there is room for everything then.
            return self.late.push(slow);
        }
        let actor = if self.play.act.sends() { self.receiver() } else { self.sender() };
        self.late.push(actor);
    }

    /// Everybody comes to an end by himself.
    fn finish(&mut self, segment: &Segment) -> Result<(), String> {
        let receives = self.play.state == State::Empty && !self.play.act.sends();
        if self.play.act == Act::Attach {
            let both = [self.sender(), self.receiver()];
            self.late.extend(both);
        } else if self.late.is_empty() && (self.play.company || receives || self.slow.is_some()) {
            self.late();
        }
        self.early.iter_mut().chain(&mut self.late).try_for_each(Actor::exit)?;
        let rx = self.play.receiver(segment);
        while let Ok(Some(id)) = rx.try_recv() {
            self.ledger.note(Note::Received, id);
        }
        Ok(())
    }

    fn victim(&self, doom: &Doom) -> Actor {
        let (play, ledger) = (self.play, self.ledger);
        Actor::fork("the victim", || {
            if play.act == Act::Attach {
                doom.begin();
                attach(play, self.name);
                doom.finish(ledger);
                return;
            }
            let segment = self.segment();
            if play.act.sends() {
                let tx = play.sender(&segment);
                doom.begin();
                send(play.act, tx, ledger);
            } else {
                let rx = play.receiver(&segment);
                doom.begin();
                receive(play.act, rx, ledger);
            }
            drop(segment);
            doom.finish(ledger);
        })
    }

    fn sweeper(&self, doom: &Doom) -> Sweeper {
        Sweeper(Actor::fork("the sweeper", || {
            let segment = self.segment();
            nix::sys::signal::raise(nix::sys::signal::Signal::SIGSTOP).unwrap();
            doom.begin();
            segment.sweep().unwrap();
            doom.finish(self.ledger);
            // It does no more than that, its leaving included.
            core::mem::forget(segment);
        }))
    }
}

struct Sweeper(Actor);

impl Sweeper {
    fn stop_when_ready(&mut self) -> Result<(), String> {
        match self.0.end()? {
            Scene::Stopped => Ok(()),
            scene => Err(format!("the sweeper: {scene:?}")),
        }
    }

    /// Has it sweep, for as long as it lives.
    fn sweep(&mut self) -> Result<(), String> {
        self.0.resume();
        match self.0.end()? {
            Scene::Ended(0 | -9) => Ok(()),
            scene => Err(format!("the sweeper: {scene:?}")),
        }
    }
}

fn attach(play: Play, name: &str) {
    let segment = Play::options().open(name).unwrap();
    let (tx, rx) = (play.sender(&segment), play.receiver(&segment));
    if !play.ring.single() {
        drop((tx.again(), rx.again()));
    }
    drop((tx, rx));
    drop(segment);
}

fn send(act: Act, mut tx: Box<dyn Tx>, ledger: &Ledger) {
    let ids: Vec<u64> = (VICTIMS..VICTIMS + BATCH).collect();
    match act {
        Act::Send => {
            for &id in &ids {
                if tx.send(id).is_ok() {
                    ledger.note(Note::Sent, id);
                }
            }
        }
        Act::Batch => {
            if tx.send_batch(&ids).is_ok() {
                ids.iter().for_each(|&id| ledger.note(Note::Sent, id));
            }
        }
        Act::Commit => {
            for &id in &ids {
                if tx.grant(id, &mut || ()).is_ok() {
                    ledger.note(Note::Sent, id);
                }
            }
        }
        Act::Abort => {
            for &id in &ids {
                drop(tx.grant_for(id, Patience::Ever, Grants::Abort, &mut || ()));
            }
        }
        _ => drop(tx.send_timeout(VICTIMS, SHORT)),
    }
}

fn receive(act: Act, mut rx: Box<dyn Rx>, ledger: &Ledger) {
    let got = |id| ledger.note(Note::Got, id);
    match act {
        Act::Recv => unless_over(rx.recv()).into_iter().for_each(got),
        Act::RecvInTime => rx.recv_timeout(SHORT).unwrap_or_default().into_iter().for_each(got),
        Act::RecvBatch => {
            rx.recv_batch(BATCH as usize).unwrap_or_default().into_iter().for_each(got);
        }
        _ => {
            let verdict = if act == Act::GiveBack { Verdict::GiveBack } else { Verdict::Release };
            if let Some(id) = take(&mut *rx, verdict, &|id| ledger.note(Note::Holding, id)) {
                ledger.note(Note::LetGo, id);
            }
        }
    }
}

/// The message received; `None` if there will be none any more.
fn unless_over(got: Result<u64, Fault>) -> Option<u64> {
    match got {
        Err(Fault::Disconnected { .. } | Fault::Closed) => None,
        got => Some(got.unwrap()),
    }
}

/// Calls `holding` while it has the message.
fn take(rx: &mut dyn Rx, verdict: Verdict, holding: &dyn Fn(u64)) -> Option<u64> {
    let taken: Got<u64> = rx.take(Patience::Ever, verdict, &mut |id, _| holding(id));
    unless_over(taken.map(Result::unwrap))
}

/// Calls `holding` while each of these has a place reserved, and gives them all up.
fn reserve_all(mut txs: Vec<Box<dyn Tx>>, holding: &dyn Fn()) {
    let Some(mut tx) = txs.pop() else { return holding() };
    let mut rest = Some(txs);
    let mut inside = || rest.take().into_iter().for_each(|rest| reserve_all(rest, holding));
    drop(tx.grant_for(VICTIMS, Patience::Ever, Grants::Abort, &mut inside));
}

/// The semaphores of a segment, one after the other.
pub(crate) fn values(segment: &Segment) -> Vec<u16> {
    let words = crate::common::Words::of(Shm::from_id(segment.id()));
    let id = i32::try_from(words.get(crate::common::word::SET)).unwrap();
    let set = Set::from_id(id);
    let mut values = vec![0; set.stat().unwrap().count];
    set.values(&mut values).unwrap();
    values
}
