//! `recv --broadcast`: everything, as every other receiver gets it, too.

use tombolo::{Fault, Side, Start};

use super::{Args, Page, Receiving, Task, exec, not_ours, number, parse};
use crate::failure::Failure;
use crate::place::Place;
use crate::plain::plain;
use crate::stream::everybody::In;
use crate::stream::{BEGIN, CHUNK, END, write_all};
use crate::terms::remark;

/// Receives until the senders have ended.
pub(super) fn receive(
    receiving: &mut Receiving,
    args: &Args,
    task: Option<&Task>,
) -> Result<(), Failure> {
    let Args { place, lines, reliable, from, allow_lag, .. } = args;
    let (done, missed, unit) = if *lines {
        let start = from.unwrap_or(Start::Newest);
        let mut missed = 0;
        (receiving.every_line(place, (*reliable, start), task, &mut missed), missed, "line")
    } else {
        let mut part = Part::default();
        (receiving.every_byte(place, (*reliable, *from), &mut part), part.missed, "byte")
    };
    if missed == 0 {
        return done;
    }
    let several = if missed == 1 { "" } else { "s" };
    let advice =
        if *allow_lag { "" } else { "; --reliable has the senders wait for this receiver" };
    remark(&format!(
        "{missed} {unit}{several} were missed: the senders were faster than this receiver{advice}"
    ));
    if *allow_lag { done } else { done.and(Err(Failure::Told(1))) }
}

/// How far a receiver of a stream has come.
#[derive(Default)]
struct Part {
    /// The position of the next byte; `None` before it has begun.
    next: Option<u64>,
    /// How many bytes were missed.
    missed: u64,
    /// What is to be written out, unless this turns out to be a stream of the past.
    held: Vec<u8>,
    /// Whether it is in the middle of a stream whose beginning it has not got.
    headless: bool,
}

impl Receiving {
    fn every_line(
        &mut self,
        name: &Place,
        begin: (bool, Start),
        task: Option<&Task>,
        missed: &mut u64,
    ) -> Result<(), Failure> {
        let mut into = In::join(name, true, begin, self.interrupt)?;
        let reliable = into.listener.is_reliable();
        let (mut page, mut message, mut given_up) = (Page::default(), Vec::new(), false);
        loop {
            let received = into.listener.next(&mut message, |line| {
                if let Some(task) = task {
                    given_up |= !exec::insist(self, task, line)?;
                    return Ok(());
                }
                page.add(&self.outlet, |bytes| bytes.extend_from_slice(line));
                // A sender takes for delivered what a reliable receiver has let go of.
                if reliable { self.put_out(&mut page) } else { Ok(()) }
            });
            *missed = into.listener.missed();
            match received.map_err(|error| error.into_fault()) {
                Ok(done) => done?,
                Err(None) => {
                    // Otherwise standard output is the command's.
                    if task.is_none() {
                        self.look_up()?;
                    }
                    let begun = self.received > 0;
                    let alone = || !begun && !into.has_senders();
                    self.notice.waits(&into.segment, "sender", alone);
                }
                Err(Some(fault)) => {
                    self.put_out(&mut page)?;
                    if !into.goes_on(fault).map_err(|fault| self.failed(&fault))? {
                        return match task {
                            None => self.outlet.close(),
                            // Each was named.
                            Some(_) if given_up => Err(Failure::Told(1)),
                            Some(_) => Ok(()),
                        };
                    }
                }
            }
            if page.bytes.len() >= CHUNK || into.listener.is_empty() {
                self.put_out(&mut page)?;
            }
            self.interrupt.check()?;
        }
    }

    /// Writes out what is there.
    fn put_out(&mut self, page: &mut Page) -> Result<(), Failure> {
        if page.bytes.is_empty() {
            return Ok(());
        }
        if self.outlet.is_shared() && !self.outlet.claim() {
            self.outlet.wait_for_turn()?;
        }
        let mut written = 0;
        let done = self.outlet.write(&page.bytes, &mut written);
        self.outlet.pass_on();
        self.note(written);
        page.bytes.clear();
        done
    }

    fn every_byte(
        &mut self,
        name: &Place,
        (reliable, from): (bool, Option<Start>),
        part: &mut Part,
    ) -> Result<(), Failure> {
        let mut message = Vec::new();
        let begin = (reliable, from.unwrap_or(Start::Oldest));
        let mut into = In::join(name, false, begin, self.interrupt)?;
        let whole = from.is_none();
        // A whole stream is not one that had ended when this receiver came.
        let first = if whole { into.first } else { 0 };
        loop {
            let past = into.listener.next_number() < first;
            let received = into.listener.next(&mut message, |message| {
                if past { part.hold(message) } else { self.write(message, whole, part) }
            });
            match received.map_err(|error| error.into_fault()) {
                Ok(ended) => {
                    if ended? {
                        return self.outlet.close();
                    }
                }
                Err(None) => {
                    self.look_up()?;
                    let alone = || part.next.is_none() && !into.has_senders();
                    self.notice.waits(&into.segment, "sender", alone);
                }
                // It has ended an earlier stream, or died before it could begin.
                Err(Some(Fault::Disconnected { .. }))
                    if part.next.is_none() && !into.is_drained() =>
                {
                    into.forget_senders()?;
                }
                Err(Some(fault)) => return Err(self.failed(&fault)),
            }
            if into.listener.next_number() >= first {
                if part.headless {
                    return Err(Failure::Broken(plain(&format!(
                        "the beginning of what {name} carries is not kept any more; --from newest \
                         or oldest takes the rest"
                    ))));
                }
                self.put_held(part)?;
            }
            self.interrupt.check()?;
        }
    }

    /// Writes a message of a stream out; if it is to be a `whole` one, from its beginning on.
    /// Says whether it was the end.
    fn write(&mut self, message: &[u8], whole: bool, part: &mut Part) -> Result<bool, Failure> {
        let (word, bytes) = parse(message).ok_or_else(not_ours)?;
        match (word, part.next) {
            // The end of the one before was missed.
            (BEGIN, Some(_)) => Err(self.failed(&Fault::Disconnected { side: Side::Sender })),
            (END, next) if next.is_some() || !whole => {
                let length = number(bytes).ok_or_else(not_ours)?;
                part.reach(length, b"")?;
                self.put_held(part)?;
                Ok(true)
            }
            (position, None) if !whole && position != BEGIN => {
                if position > 0 {
                    remark(&format!("this begins at byte {position} of the stream"));
                }
                part.reach(position, bytes)?;
                self.put_held(part)?;
                Ok(false)
            }
            _ => {
                part.hold(message)?;
                self.put_held(part)?;
                Ok(false)
            }
        }
    }

    /// Writes out what is held.
    fn put_held(&mut self, part: &mut Part) -> Result<(), Failure> {
        if part.held.is_empty() {
            return Ok(());
        }
        self.outlet.check()?;
        let mut written = 0;
        let done = write_all(self.outlet.file(), &part.held, &mut written, self.interrupt);
        part.held.clear();
        self.note(written);
        done
    }
}

impl Part {
    /// Keeps a message that had been sent before this receiver came, as long as its stream has
    /// not ended.
    fn hold(&mut self, message: &[u8]) -> Result<bool, Failure> {
        let (word, bytes) = parse(message).ok_or_else(not_ours)?;
        match (word, self.next) {
            (BEGIN, _) => *self = Self { next: Some(0), ..Self::default() },
            (END, _) => *self = Self::default(),
            (_, None) => self.headless = true,
            (position, Some(_)) => self.reach(position, bytes)?,
        }
        Ok(false)
    }

    /// Takes these bytes, which are at this position.
    fn reach(&mut self, position: u64, bytes: &[u8]) -> Result<(), Failure> {
        let next = self.next.unwrap_or(position);
        self.missed += position.checked_sub(next).ok_or_else(not_ours)?;
        self.next = Some(position + bytes.len() as u64);
        self.held.extend_from_slice(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tombolo::Start;

    use crate::terms::start;

    #[test]
    fn a_start_is_newest_oldest_or_so_many_of_the_last() {
        assert_eq!(start("newest"), Ok(Start::Newest));
        assert_eq!(start("oldest"), Ok(Start::Oldest));
        assert_eq!(start("last:7"), Ok(Start::Last(7)));
        for bad in ["", "last", "last:", "last:-1", "7", "Newest"] {
            assert!(start(bad).is_err(), "{bad:?}");
        }
    }
}
