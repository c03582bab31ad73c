//! `send --broadcast`: everything to everybody who receives.

use std::thread;
use std::time::{Duration, Instant};

use tombolo::{Fault, SendTimeoutError, TrySendError};

use super::{Cutter, Sending};
use crate::failure::Failure;
use crate::place::Place;
use crate::stream::everybody::{CHUNK, LONGEST, Out, has_ended};
use crate::stream::{BEGIN, END, LINGER, TURN, WORD};
use crate::terms::remark;

/// How long to wait at first for what nobody tells.
const SOON: Duration = Duration::from_millis(1);

impl Sending {
    /// Sends everything, once so many receive.
    pub(super) fn publish_all(
        &mut self,
        name: &Place,
        lines: bool,
        subscribers: u16,
    ) -> Result<(), Failure> {
        let mut out = Out::join(name, lines, self.interrupt)?;
        self.await_receivers(&out, subscribers)?;
        let done = if lines { self.publish_lines(&mut out) } else { self.publish_stream(&mut out) };
        let drained = matches!(done, Err(Failure::Told(0)));
        if drained {
            let sent = self.sent;
            remark(&format!("the segment has been drained: {sent} bytes were sent, and no more"));
        } else {
            done?;
        }
        // Before those who receive know of the end, and leave.
        let heard = subscribers == 0 || drained || out.is_heard();
        if !lines {
            let end = [END, self.sent].map(u64::to_le_bytes).concat();
            self.publish(&out, &end)?;
        }
        self.until_read(&out)?;
        let segment = out.done();
        // The others get what is left, if they are not too slow. When they have gone, nothing of
        // this is in the way of the next.
        let until = Instant::now() + LINGER;
        while !has_ended(&segment) && Instant::now() < until {
            self.interrupt.check()?;
            thread::sleep(SOON);
        }
        if heard {
            return Ok(());
        }
        Err(Failure::Broken(format!(
            "no receiver was there at the end: nobody has got all of the {} bytes",
            self.sent
        )))
    }

    fn await_receivers(&mut self, out: &Out, subscribers: u16) -> Result<(), Failure> {
        while let Err(error) = out.publisher.wait_for_timeout(subscribers.into(), TURN) {
            if let Some(fault) = error.into_fault() {
                return Err(self.failed(&fault));
            }
            self.interrupt.check()?;
            self.notice.waits(&out.segment, "receiver", || !out.is_heard());
        }
        Ok(())
    }

    fn publish_stream(&mut self, out: &mut Out) -> Result<(), Failure> {
        let session = [BEGIN, 0].map(u64::to_le_bytes).concat();
        self.publish(out, &session)?;
        let mut message = vec![0; WORD + CHUNK];
        loop {
            self.interrupt.check()?;
            if !self.input.ready() {
                self.look_up(out)?;
                continue;
            }
            let (position, bytes) = message.split_at_mut(WORD);
            position.copy_from_slice(&self.sent.to_le_bytes());
            let read = self.input.read(bytes, self.interrupt)?;
            let chunk = message.get(..WORD + read).filter(|_| read > 0);
            let Some(chunk) = chunk else { return Ok(()) };
            self.publish(out, chunk)?;
            self.sent += read as u64;
            self.input.progress.set_position(self.sent);
        }
    }

    fn publish_lines(&mut self, out: &mut Out) -> Result<(), Failure> {
        let mut cut = Cutter::new(LONGEST)?;
        loop {
            while let Some(line) = cut.next(1)? {
                self.publish(out, line)?;
                self.sent += line.len() as u64;
            }
            if cut.ended {
                return Ok(());
            }
            self.interrupt.check()?;
            if self.input.ready() {
                cut.fill(&mut self.input, self.interrupt)?;
                self.input.progress.set_position(self.sent);
            } else {
                self.look_up(out)?;
            }
        }
    }

    /// Looks up from waiting for input: for the dead, and for commands.
    fn look_up(&mut self, out: &mut Out) -> Result<(), Failure> {
        out.segment.sweep().map_err(|fault| self.failed(&fault))?;
        let refused = out.publisher.try_reserve(0).err().and_then(TrySendError::into_fault);
        refused.map_or(Ok(()), |fault| Err(self.ended(out, &fault)))
    }

    /// Nothing more can be sent. It ends well if somebody has commanded that.
    fn ended(&self, out: &Out, fault: &Fault) -> Failure {
        if matches!(fault, Fault::Drained) && out.is_of_lines() {
            return Failure::Told(0);
        }
        self.failed(fault)
    }

    fn publish(&mut self, out: &Out, message: &[u8]) -> Result<(), Failure> {
        let mut sent = out.publisher.try_send(message).map_err(TrySendError::into_fault);
        loop {
            match sent {
                Ok(()) => return Ok(()),
                Err(None) => {
                    self.interrupt.check()?;
                    self.notice.is_held_up(&out.segment, out.publisher.slowest());
                }
                Err(Some(fault)) => return Err(self.ended(out, &fault)),
            }
            sent = out.publisher.send_timeout(message, TURN).map_err(SendTimeoutError::into_fault);
        }
    }

    /// Waits for the reliable receivers. Nothing tells of their progress where there is room.
    fn until_read(&mut self, out: &Out) -> Result<(), Failure> {
        let mut pause = SOON;
        while !out.is_read() {
            self.interrupt.check()?;
            out.segment.sweep().map_err(|fault| self.failed(&fault))?;
            self.notice.is_held_up(&out.segment, out.publisher.slowest());
            thread::sleep(pause);
            pause = (2 * pause).min(TURN);
        }
        Ok(())
    }
}
