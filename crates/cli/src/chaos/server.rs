//! A server of a service: takes calls, has several in hand, and ends them in every possible
//! way.

use std::time::Duration;

use tombolo::{ByteServer, ByteServerCall, RecvTimeoutError, TryRecvError};

use super::ledger::{Deed, Id, Note, Phase};
use super::message;
use super::worker::{Post, opened, wrong};
use crate::failure::Failure;

/// How many calls it has in hand at most.
const CALLS: usize = 3;

pub(crate) fn run(post: &Post<'_>) -> Result<(), Failure> {
    let reply = vec![0; post.orders.setting.reply_length()];
    let mut serving = Serving { post, chance: post.orders.chance(), reply };
    loop {
        let segment = post.open()?;
        for _ in 0..=serving.chance.u8(..3) {
            let server = opened(post.orders.setting.service(&segment).server())?;
            post.note(Note::Up);
            // The phase is asked after the end was opened: see the consumer.
            while post.phase() != Phase::Drain && serving.step(&server)? {}
            let last = post.phase() == Phase::Drain;
            if last {
                // The dead may have left calls.
                serving.sweep_up(&server)?;
            }
            post.note(Note::Down);
            if last {
                return Ok(());
            }
        }
    }
}

struct Serving<'a> {
    post: &'a Post<'a>,
    chance: fastrand::Rng,
    reply: Vec<u8>,
}

impl Serving<'_> {
    /// Serves some calls; whether to go on with this end.
    fn step(&mut self, server: &ByteServer) -> Result<bool, Failure> {
        let mut held = Vec::new();
        self.ask();
        let first = match self.chance.u8(..4) {
            0 => server.recv_timeout(Duration::from_millis(1)),
            _ => server.recv().map_err(RecvTimeoutError::from),
        };
        match first {
            Ok(call) => held.extend(self.took(call)),
            Err(error) => {
                self.post.note(Note::Done);
                return match error {
                    RecvTimeoutError::Timeout => Ok(true),
                    RecvTimeoutError::Disconnected => Ok(false),
                    error => Err(wrong("take a call", error)),
                };
            }
        }
        // One that waits for a call while it has others may have all that there can be.
        for _ in 1..self.chance.usize(1..=CALLS) {
            self.ask();
            match server.try_recv() {
                Ok(call) => held.extend(self.took(call)),
                Err(error) => {
                    self.post.note(Note::Done);
                    forgive(error)?;
                    break;
                }
            }
        }
        self.post.dawdle(&mut self.chance);
        while !held.is_empty() {
            let (id, call) = held.swap_remove(self.chance.usize(..held.len()));
            self.end(id, call)?;
        }
        self.post.dawdle(&mut self.chance);
        Ok(self.chance.u16(..) >= 64 || self.post.phase() != Phase::Storm)
    }

    fn ask(&self) {
        self.post.note(Note::Asking { most: 1, whole: false });
    }

    fn took(&self, call: ByteServerCall) -> Option<(Id, ByteServerCall)> {
        let request = call.request().unwrap_or_default();
        let id = message::read(&request);
        self.post.note(id.map_or(Note::Torn, |id| Note::Took(id, 0)));
        id.map(|id| (id, call))
    }

    /// Lets a call go in one of the ways that there are.
    fn end(&mut self, id: Id, mut call: ByteServerCall) -> Result<(), Failure> {
        let note = |deed| self.post.note(Note::Lets(id, deed));
        let failed = |error| wrong("reply", error);
        let way = if call.is_wanted() { self.chance.u8(..16) } else { 0 };
        let replied = match way {
            0..2 => {
                note(Deed::Refusing);
                drop(call);
                note(Deed::Refused);
                return Ok(());
            }
            2..4 => {
                note(Deed::GivingBack);
                call.give_back().map_err(|fault| wrong("give a call back", fault))?;
                note(Deed::GaveBack);
                return Ok(());
            }
            4..8 => {
                let length = self.write(id);
                let (first, second) = self.reply.split_at(length / 3);
                call.write_at(0, first);
                self.post.dawdle(&mut self.chance);
                call.write_at(first.len(), second);
                note(Deed::Replying);
                call.reply_written(length).map_err(failed)?
            }
            _ => {
                self.write(id);
                note(Deed::Replying);
                call.reply(&self.reply).map_err(failed)?
            }
        };
        note(if replied { Deed::Replied } else { Deed::Unwanted });
        Ok(())
    }

    /// The reply: the request that it is to, and who gives it. How long it is.
    fn write(&mut self, id: Id) -> usize {
        let orders = self.post.orders;
        let by = Id { producer: orders.index, life: orders.life, number: id.number };
        if let Some((echo, name)) = self.reply.split_at_mut_checked(orders.setting.length()) {
            message::write(id, echo);
            message::write(by, name);
        }
        self.reply.len()
    }

    /// Serves what is left, without waiting for more.
    fn sweep_up(&mut self, server: &ByteServer) -> Result<(), Failure> {
        loop {
            self.ask();
            match server.try_recv() {
                Ok(call) => {
                    if let Some((id, call)) = self.took(call) {
                        self.end(id, call)?;
                    }
                }
                Err(error) => {
                    self.post.note(Note::Done);
                    return forgive(error);
                }
            }
        }
    }
}

/// Nothing, if there was only nothing to take.
fn forgive(error: TryRecvError) -> Result<(), Failure> {
    match error {
        TryRecvError::Empty | TryRecvError::Pending | TryRecvError::Disconnected => Ok(()),
        error => Err(wrong("take a call", error)),
    }
}
