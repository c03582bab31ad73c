//! Distributes lines among receivers by how fast each of them is read.
//!
//! A line that was taken belongs to this receiver until it has been read out of
//! the pipe. A receiver takes no more than its reader consumes in a moment. So a
//! slow reader leaves the rest to other receivers, and what a dead one had not
//! read is delivered again. Two banks of hands hold at most one message each: the
//! content of one bank is being read while the other bank takes.

use std::mem;
use std::time::{Duration, Instant};

use tombolo::{ByteDelivery, ByteReceiver, Fault, Mpmc, Side};

use super::{Page, Receiving};
use crate::failure::Failure;
use crate::place::Place;
use crate::stream::{CHUNK, Crowd, TOGETHER, TURN};

/// Receivers of a bank.
const BANK: usize = 16;
/// As many messages are held as both banks can.
const MOST: usize = 2 * BANK;
/// A reader may work as long as this on the messages that are taken at once.
const MOMENT: Duration = Duration::from_millis(2);
/// How long a reader may take for several lines that come together.
const LONG: Duration = Duration::from_millis(10);
/// How many lines in a row a reader must take at once before it gets two.
const QUICK: u32 = 4;

/// The reasons to take no more.
pub(super) enum Stop {
    Fault(Fault),
    Failed(Failure),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// How much may be held.
struct Pace {
    /// How many messages.
    most: usize,
    /// How many times in a row they were read at once.
    quick: u32,
}

impl Pace {
    const START: Self = Self { most: 1, quick: 0 };

    /// Whether messages are taken while others are being read.
    const fn flows(&self) -> bool {
        self.most >= MOST
    }

    fn faster(&mut self) {
        self.quick += 1;
        if self.most > 1 || self.quick >= QUICK {
            self.most = (2 * self.most).min(MOST);
        }
    }

    fn slower(&mut self) {
        *self = Self { most: (self.most / 2).max(1), quick: 0 };
    }
}

/// Messages that are this receiver's until they are known to be delivered. Those
/// that are not released are given back.
struct Held<'a> {
    /// Each with the number of bytes written when it is out.
    messages: Vec<(ByteDelivery<'a, Mpmc>, usize)>,
    bytes: usize,
    since: Instant,
    /// Whether it is as much as was allowed.
    full: bool,
}

impl Held<'_> {
    fn none() -> Self {
        Self { messages: Vec::new(), bytes: 0, since: Instant::now(), full: false }
    }

    /// Lets go of what is out by now.
    fn release(&mut self, out: usize) {
        let done = self.messages.partition_point(|&(_, end)| end <= out);
        self.messages.drain(..done).for_each(|(message, _)| message.release());
    }

    fn release_all(mut self) {
        self.release(usize::MAX);
    }

    fn end(&self) -> usize {
        self.messages.last().map_or(0, |&(_, end)| end)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.messages.drain(..).for_each(|(message, _)| message.give_back());
    }
}

/// Receives lines until the senders have ended.
pub(super) fn receive(receiving: &mut Receiving, name: &Place) -> Result<(), Failure> {
    let careful = receiving.outlet.is_queue();
    let (crowd, first) = Crowd::into(name, receiving.interrupt, careful)?;
    let mut lines = Lines { receiving, crowd, pace: Pace::START, page: Page::default() };
    let mut one = vec![first];
    loop {
        let fault = match lines.alternate(&mut one, &mut Vec::new()) {
            Stop::Failed(failure) => return Err(failure),
            Stop::Fault(fault) => fault,
        };
        if !lines.crowd.goes_on(fault).map_err(|fault| lines.receiving.failed(&fault))? {
            break;
        }
        one = vec![lines.crowd.receiver()?];
    }
    if let Err(failure) = lines.receiving.outlet.close() {
        lines.crowd.lose();
        return Err(failure);
    }
    lines.crowd.done();
    Ok(())
}

struct Lines<'a> {
    receiving: &'a mut Receiving,
    crowd: Crowd,
    pace: Pace,
    page: Page,
}

impl Lines<'_> {
    /// Takes with one bank, and where there is much to do with the other in
    /// turn, until something ends it.
    fn alternate(&mut self, one: &mut Vec<ByteReceiver>, other: &mut Vec<ByteReceiver>) -> Stop {
        let mut before = Held::none();
        loop {
            let held = match self.turn(one, before) {
                Ok(held) => held,
                Err(stop) => return stop,
            };
            let next = if self.pace.flows() {
                self.turn(other, held)
            } else {
                self.settle(held).map(|()| Held::none())
            };
            before = match next {
                Ok(held) => held,
                Err(stop) => return stop,
            };
        }
    }

    /// Takes what is there, as far as that is allowed, and writes it out; what
    /// was taken before is let go when it is delivered.
    fn turn<'n>(
        &mut self,
        bank: &'n mut Vec<ByteReceiver>,
        mut before: Held<'_>,
    ) -> Result<Held<'n>, Stop> {
        let queue = self.receiving.outlet.is_queue();
        while bank.len() < self.pace.most.min(BANK) {
            bank.push(self.crowd.receiver()?);
        }
        let mut receivers = bank.iter_mut().take(self.pace.most.min(BANK));
        let Some(receiver) = receivers.next() else {
            return Ok(Held::none());
        };
        if queue && !self.pace.flows() || receiver.is_empty() {
            self.settle(mem::replace(&mut before, Held::none()))?;
            // Others that write to the same pipe may be waiting.
            self.receiving.outlet.pass_on();
        }
        let first = match receiver.take_timeout(TURN) {
            Ok(first) => first,
            Err(error) => {
                self.settle(before)?;
                self.receiving.outlet.pass_on();
                let fault = error.into_fault();
                self.idle()?;
                return fault.map_or_else(|| Ok(Held::none()), |fault| Err(Stop::Fault(fault)));
            }
        };
        if !self.receiving.outlet.claim() {
            // Another receiver's lines are before its own reader.
            first.give_back();
            self.receiving.outlet.wait_for_turn()?;
            return Ok(Held::none());
        }
        let mut held = Held::none();
        self.page.bytes.clear();
        // A message without a line asks whether those before it are delivered.
        let mut asked = false;
        let mut next = Some(first);
        while let Some(message) = next {
            asked |= message.is_empty();
            self.add(message, &mut held);
            next = match receivers.next() {
                Some(receiver) if self.page.bytes.len() < CHUNK => receiver.try_take().ok(),
                // Why there is no more, will be seen when this is out.
                _ => None,
            };
            held.full = receivers.len() == 0;
        }
        let mut written = 0;
        let done = self.receiving.outlet.write(&self.page.bytes, &mut written);
        self.receiving.note(written);
        held.since = Instant::now();
        if let Err(failure) = done.and_then(|()| self.receiving.interrupt.check()) {
            let read = self.receiving.outlet.read();
            before.release(read);
            held.release(read);
            return Err(failure.into());
        }
        if queue {
            self.settle(before)?;
        } else {
            if held.full {
                self.pace.faster()
            } else {
                self.pace = Pace::START
            }
            before.release_all();
            if asked || !self.receiving.outlet.is_file() {
                self.settle(mem::replace(&mut held, Held::none()))?;
            }
        }
        Ok(held)
    }

    /// Adds a message to those that are held.
    fn add<'a>(&mut self, message: ByteDelivery<'a, Mpmc>, held: &mut Held<'a>) {
        if !message.is_empty() {
            self.page.add(&self.receiving.outlet, |bytes| message.append_to(bytes));
            held.bytes += message.len();
        }
        held.messages.push((message, self.receiving.outlet.written() + self.page.bytes.len()));
    }

    /// Waits until what is held is delivered, and lets go of it.
    fn settle(&mut self, mut held: Held<'_>) -> Result<(), Stop> {
        if held.messages.is_empty() {
            return Ok(());
        }
        let outlet = &self.receiving.outlet;
        if let Err(failure) = outlet.settle() {
            // Those let go before are not there either.
            self.crowd.lose();
            return Err(failure.into());
        }
        if outlet.is_queue() {
            if let Err(failure) = outlet.wait_until_read(held.end()) {
                held.release(outlet.read());
                return Err(failure.into());
            }
            if held.bytes > 0 {
                self.learn(held.since.elapsed(), held.bytes, held.full)?;
            }
        }
        held.release_all();
        Ok(())
    }

    /// A reader has taken so many bytes in this time.
    fn learn(&mut self, time: Duration, bytes: usize, full: bool) -> Result<(), Failure> {
        if time <= MOMENT {
            if full {
                self.pace.faster();
            }
        } else if time > 16 * MOMENT {
            self.pace = Pace::START;
        } else if time > 2 * MOMENT {
            self.pace.slower();
        }
        // Several lines in one message are for readers that are done with them
        // soon.
        let together = time.saturating_mul(u32::try_from(TOGETHER).unwrap_or(u32::MAX));
        let allowed = LONG.saturating_mul(u32::try_from(bytes).unwrap_or(u32::MAX));
        if self.crowd.is_careful() {
            if self.pace.flows() && together <= allowed {
                self.crowd.set_careful(false)?;
                self.pace = Pace { most: 2, quick: QUICK };
            }
        } else if time > LONG && self.pace.most == 1 {
            self.crowd.set_careful(true)?;
        }
        Ok(())
    }

    /// Nothing has come for a while.
    fn idle(&mut self) -> Result<(), Stop> {
        if !self.receiving.outlet.is_queue() {
            self.pace = Pace::START;
        }
        self.receiving.look_up()?;
        self.receiving.waits(&self.crowd);
        if self.crowd.was_cut() {
            return Err(Stop::Fault(Fault::Disconnected { side: Side::Sender }));
        }
        Ok(())
    }
}
