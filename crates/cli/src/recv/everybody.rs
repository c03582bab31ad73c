//! `recv --broadcast`: everything, as every other receiver gets it, too.

use std::thread;

use tombolo::{Fault, Side, Start};

use super::{Args, Page, Receiving, not_ours, number, parse};
use crate::failure::Failure;
use crate::place::Place;
use crate::plain::plain;
use crate::stream::everybody::In;
use crate::stream::{BEGIN, CHUNK, END, TURN, write_all};
use crate::terms::remark;

/// With what to begin, as an argument.
pub(super) fn start(text: &str) -> Result<Start, String> {
    let last = || text.strip_prefix("last:").and_then(|count| count.parse().ok());
    match text {
        "newest" => Ok(Start::Newest),
        "oldest" => Ok(Start::Oldest),
        _ => last().map(Start::Last).ok_or_else(|| "newest, oldest or last:K".to_owned()),
    }
}

/// Receives until the senders have ended.
pub(super) fn receive(receiving: &mut Receiving, args: &Args) -> Result<(), Failure> {
    let Args { place, lines, reliable, from, allow_lag, .. } = args;
    let (done, missed, unit) = if *lines {
        let start = from.unwrap_or(Start::Newest);
        let mut missed = 0;
        (receiving.every_line(place, (*reliable, start), &mut missed), missed, "line")
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
}

/// What becomes of it after a message.
enum Turn {
    GoesOn,
    /// It is in the middle of a stream whose beginning it has not got.
    Passes,
    Ends,
}

impl Receiving {
    fn every_line(
        &mut self,
        name: &Place,
        begin: (bool, Start),
        missed: &mut u64,
    ) -> Result<(), Failure> {
        let mut into = In::join(name, true, begin, self.interrupt)?;
        let reliable = into.listener.is_reliable();
        let (mut page, mut message) = (Page::default(), Vec::new());
        loop {
            let received = into.listener.next(&mut message, |line| {
                page.add(&self.outlet, |bytes| bytes.extend_from_slice(line));
                // A sender takes for delivered what a reliable receiver has let go of.
                if reliable { self.put_out(&mut page) } else { Ok(()) }
            });
            *missed = into.listener.missed();
            match received.map_err(|error| error.into_fault()) {
                Ok(done) => done?,
                Err(None) => {
                    self.look_up()?;
                    let begun = self.received > 0;
                    let alone = || !begun && !into.has_senders();
                    self.notice.waits(&into.segment, "sender", alone);
                }
                Err(Some(fault)) => {
                    self.put_out(&mut page)?;
                    if !into.goes_on(fault).map_err(|fault| self.failed(&fault))? {
                        return self.outlet.close();
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
        'next: loop {
            let mut into = In::join(name, false, begin, self.interrupt)?;
            let before = into.listener.published();
            loop {
                let received = into
                    .listener
                    .next(&mut message, |message| self.pass(message, from.is_none(), part));
                let turn = match received.map_err(|error| error.into_fault()) {
                    Ok(turn) => turn?,
                    Err(None) => {
                        self.look_up()?;
                        let alone = || part.next.is_none() && !into.has_senders();
                        self.notice.waits(&into.segment, "sender", alone);
                        continue;
                    }
                    // It has ended an earlier stream, or died before it could begin.
                    Err(Some(Fault::Disconnected { .. })) if part.next.is_none() => {
                        drop(into);
                        thread::sleep(TURN);
                        self.interrupt.check()?;
                        continue 'next;
                    }
                    Err(Some(fault)) => return Err(self.failed(&fault)),
                };
                match turn {
                    Turn::GoesOn => {}
                    // Whatever was sent before this receiver came may be of an earlier stream.
                    Turn::Passes if into.listener.next_number() < before => {}
                    Turn::Passes => {
                        return Err(Failure::Broken(plain(&format!(
                            "the beginning of what {name} carries is not kept any more; --from \
                             newest or oldest takes the rest"
                        ))));
                    }
                    Turn::Ends => return self.outlet.close(),
                }
                self.interrupt.check()?;
            }
        }
    }

    /// Writes a message of a stream out; if this is to be a `whole` one, from its beginning on.
    fn pass(&mut self, message: &[u8], whole: bool, part: &mut Part) -> Result<Turn, Failure> {
        let (word, bytes) = parse(message).ok_or_else(not_ours)?;
        match (word, part.next) {
            (BEGIN, None) => part.next = Some(0),
            // Its end was missed.
            (BEGIN, Some(_)) => {
                return Err(self.failed(&Fault::Disconnected { side: Side::Sender }));
            }
            (END, None) if whole => {}
            (END, next) => {
                let length = number(bytes).ok_or_else(not_ours)?;
                let next = next.unwrap_or(length);
                part.missed += length.checked_sub(next).ok_or_else(not_ours)?;
                return Ok(Turn::Ends);
            }
            (_, None) if whole => return Ok(Turn::Passes),
            (position, next) => {
                if next.is_none() && position > 0 {
                    remark(&format!("this begins at byte {position} of the stream"));
                }
                let next = next.unwrap_or(position);
                part.missed += position.checked_sub(next).ok_or_else(not_ours)?;
                part.next = Some(position + bytes.len() as u64);
                self.outlet.check()?;
                let mut written = 0;
                let done = write_all(self.outlet.file(), bytes, &mut written, self.interrupt);
                self.note(written);
                done?;
            }
        }
        Ok(Turn::GoesOn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
