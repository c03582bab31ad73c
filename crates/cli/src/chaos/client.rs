//! A client of a service: makes numbered calls in every possible way, and notes before and
//! after.

use std::time::Duration;

use tombolo::{
    ByteClient, Bytes, CallError, CallTimeoutError, PendingCall, SendError, SendTimeoutError,
    TrySendError,
};

use super::ledger::{How, Id, Note, Phase};
use super::message;
use super::worker::{Post, opened, wrong};
use crate::failure::Failure;

/// How many calls it has under way at most.
const CALLS: usize = 4;
/// Over so many servers a call dies at most before it fails.
const REPEATS: u8 = 2;

/// Whether to go on with this end.
type GoesOn = bool;

pub(crate) fn run(post: &Post<'_>) -> Result<(), Failure> {
    let request = vec![0; post.orders.setting.length()];
    let mut asking = Asking { post, chance: post.orders.chance(), number: 0, request };
    loop {
        let segment = post.open()?;
        // In one membership, some with several ends after each other.
        for _ in 0..=asking.chance.u8(..3) {
            let mut client = opened(post.orders.setting.service(&segment).client())?;
            post.note(Note::Up);
            while post.phase() == Phase::Storm && asking.step(&mut client)? {
                post.dawdle(&mut asking.chance);
            }
            if post.phase() != Phase::Storm {
                post.idle();
                return Ok(());
            }
            post.note(Note::Down);
        }
    }
}

struct Asking<'a> {
    post: &'a Post<'a>,
    chance: fastrand::Rng,
    /// The next one's.
    number: u64,
    request: Vec<u8>,
}

impl Asking<'_> {
    fn step(&mut self, client: &mut ByteClient) -> Result<GoesOn, Failure> {
        client.set_repeats(self.chance.u8(..=REPEATS));
        match self.chance.u8(..16) {
            0..5 => self.call(client, None),
            5..8 => {
                let timeout = Duration::from_micros(self.chance.u64(1..2_000));
                self.call(client, Some(timeout))
            }
            8..13 => self.several(client),
            13..15 => self.in_place(client),
            _ => Ok(self.chance.u16(..) >= 16),
        }
    }

    /// Writes the next request, and notes that its call is about to be made. Its number.
    fn write(&mut self, client: &ByteClient) -> u64 {
        let (number, orders) = (self.number, self.post.orders);
        self.number += 1;
        message::write(Id { producer: orders.index, life: orders.life, number }, &mut self.request);
        self.post.note(Note::Calling { number, repeats: client.repeats() });
        number
    }

    fn ended(&self, number: u64, how: How) {
        self.post.note(Note::Ended { number, how, server: (0, 0) });
    }

    /// Notes how a call has ended; whether to go on with this end.
    fn conclude(
        &self,
        number: u64,
        ended: Result<Vec<u8>, CallTimeoutError>,
    ) -> Result<GoesOn, Failure> {
        match ended {
            Ok(reply) => self.answered(number, &reply),
            Err(CallTimeoutError::TimedOut) => self.ended(number, How::TimedOut),
            Err(CallTimeoutError::ServerDied) => self.ended(number, How::ServerDied),
            Err(CallTimeoutError::Refused) => self.ended(number, How::Refused),
            Err(CallTimeoutError::NoServer) => {
                self.ended(number, How::NoServer);
                return Ok(false);
            }
            Err(error) => return Err(wrong("call", error)),
        }
        Ok(true)
    }

    fn answered(&self, number: u64, reply: &[u8]) {
        let orders = self.post.orders;
        let mine = Id { producer: orders.index, life: orders.life, number };
        let halves = reply.split_at_checked(orders.setting.length());
        let whole = halves.and_then(|(echo, name)| message::read(echo).zip(message::read(name)));
        let (how, server) = match whole {
            Some((echo, by)) if echo == mine && by.number == number => {
                (How::Answered, (by.producer, by.life))
            }
            Some((_, by)) => (How::Another, (by.producer, by.life)),
            None => (How::Torn, (0, 0)),
        };
        self.post.note(Note::Ended { number, how, server });
    }

    fn call(&mut self, client: &ByteClient, timeout: Option<Duration>) -> Result<GoesOn, Failure> {
        let number = self.write(client);
        let ended = match timeout {
            None => client.call(&self.request).map_err(CallTimeoutError::from),
            Some(timeout) => client.call_timeout(&self.request, timeout),
        };
        self.conclude(number, ended)
    }

    /// Makes a call, and others if there is room, and has them end in any order.
    fn several(&mut self, client: &ByteClient) -> Result<GoesOn, Failure> {
        let mut pending = Vec::new();
        let number = self.write(client);
        let started = match self.chance.u8(..4) {
            0 => client.start_timeout(&self.request, Duration::from_millis(1)),
            _ => client.start(&self.request).map_err(SendTimeoutError::from),
        };
        match started {
            Ok(call) => pending.push((number, call)),
            Err(error) => {
                self.ended(number, How::Unmade);
                return match error {
                    SendTimeoutError::Timeout(()) => Ok(true),
                    SendTimeoutError::Disconnected(()) => Ok(false),
                    error => Err(wrong("start a call", error)),
                };
            }
        }
        // One that waits for room while it has calls of its own may wait for itself.
        for _ in 1..self.chance.usize(1..=CALLS) {
            let number = self.write(client);
            match client.try_start(&self.request) {
                Ok(call) => pending.push((number, call)),
                Err(error) => {
                    self.ended(number, How::Unmade);
                    match error {
                        TrySendError::Full(()) | TrySendError::Disconnected(()) => break,
                        error => return Err(wrong("start a call", error)),
                    }
                }
            }
        }
        self.post.dawdle(&mut self.chance);
        let mut goes_on = true;
        while !pending.is_empty() {
            let (number, call) = pending.swap_remove(self.chance.usize(..pending.len()));
            goes_on &= self.end(number, call)?;
        }
        Ok(goes_on)
    }

    /// Waits for a call, or gives it up.
    fn end(&mut self, number: u64, call: PendingCall<Bytes, Bytes>) -> Result<GoesOn, Failure> {
        let ended = match self.chance.u8(..8) {
            0 => None,
            1..3 => call.wait_timeout(Duration::from_micros(self.chance.u64(1..2_000))),
            3 => call.try_wait(),
            _ => return self.conclude(number, call.wait().map_err(CallTimeoutError::from)),
        };
        match ended {
            Some(ended) => self.conclude(number, ended.map_err(CallTimeoutError::from)),
            None => {
                drop(call);
                self.ended(number, How::GivenUp);
                Ok(true)
            }
        }
    }

    /// Writes a request in place, and thinks better of it now and then: no server may ever see
    /// that.
    fn in_place(&mut self, client: &mut ByteClient) -> Result<GoesOn, Failure> {
        let number = self.write(client);
        let length = self.request.len();
        let mut request = match client.reserve() {
            Ok(request) => request,
            Err(error) => return self.unmade(number, error),
        };
        if self.chance.u8(..4) == 0 {
            message::spoil(&mut self.request);
            request.write_at(0, &self.request);
            drop(request);
            self.ended(number, How::Unmade);
            return Ok(true);
        }
        request.write_at(0, &self.request[..length / 2]);
        self.post.dawdle(&mut self.chance);
        request.write_at(length / 2, &self.request[length / 2..]);
        match request.start(length) {
            Ok(call) => {
                let ended: Result<_, CallError> = call.wait();
                self.conclude(number, ended.map_err(CallTimeoutError::from))
            }
            Err(error) => self.unmade(number, error),
        }
    }

    fn unmade(&self, number: u64, error: SendError) -> Result<GoesOn, Failure> {
        self.ended(number, How::Unmade);
        match error {
            SendError::Disconnected(()) => Ok(false),
            error => Err(wrong("make a call in place", error)),
        }
    }
}
