//! From other hosts into a channel.
//!
//! Before messages are published, a note says which they are and how much is in the channel; see
//! [`site`](crate::site). So a successor knows which of them are there.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tombolo::{AnyChannel, AnySender, Observer, SendBatchError, SendTimeoutError, TrySendError};
use zenoh::Wait as _;
use zenoh::sample::{Locality, Sample};

use super::{Imported, Inbox, Inlet, Item, export};
use crate::describe::{Length, Unfit, Watch};
use crate::route::{Ended, Here};
use crate::site::Seat;
use crate::status::{Counts, RouteStatus, State};
use crate::wire::{Form, Header, Origin};

/// So long it waits at most before it looks whether it is to end.
const LOOK: Duration = Duration::from_millis(250);
/// So often it looks at who is there.
const AROUND: Duration = Duration::from_secs(1);
/// So long it waits before it tries again to publish what is not to go back.
const RETRY: Duration = Duration::from_micros(200);

/// So many messages may an exporter repeat when it begins anew: what it had put together and not
/// noted, and a little before that; with room to spare.
const REPEATED: u64 = 2 * (export::MOST + export::BEFORE) as u64;

/// Where messages are published.
struct Outlet<'a> {
    here: &'a Here<'a>,
    sender: AnySender,
    status: &'a RouteStatus,
    seat: &'a Mutex<Seat>,
    imported: Option<&'a Imported>,
    watch: &'a Watch,
    length: Length,
    fingerprint: u64,
}

/// Imports until the route's life ends.
pub(crate) fn import(
    here: &Here<'_>,
    channel: &AnyChannel<'_>,
    status: &RouteStatus,
    (seat, imported): (&Mutex<Seat>, Option<&Imported>),
    watch: &Watch,
) -> Result<(), Ended> {
    let sender = channel.sender().map_err(Ended::failed)?;
    let (length, fingerprint) = (Length::of(channel), channel.fingerprint());
    let mut outlet = Outlet { here, sender, status, seat, imported, watch, length, fingerprint };
    outlet.settle()?;
    let inbox = Arc::new(Inbox::new(here.route.credit_bytes, here.route.reliable));
    let puts = Arc::clone(&inbox);
    let _subscriber = here
        .session
        .declare_subscriber(here.base.to_owned())
        .allowed_origin(Locality::Remote)
        .callback(move |put| puts.push(Item::Put(put)))
        .wait()
        .map_err(Ended::failed)?;
    // It goes before the subscriber, however this ends: then nobody waits for room any more.
    let _inlet = Inlet::of_broadcast(here, &inbox).map_err(Ended::failed)?;
    status.set(State::Running, "");
    let mut around = None::<Instant>;
    while here.goes_on() {
        if around.is_none_or(|around| around.elapsed() >= AROUND) {
            around = Some(Instant::now());
            here.stands()?;
            look_around(here, channel, status, watch);
            Counts::add(&status.counts.refused, inbox.take_refused());
        }
        match inbox.pop(LOOK) {
            None => {}
            Some(Item::Put(put)) => outlet.put(&put)?,
            Some(Item::Query(query)) => {
                let payload = query.payload().map(|payload| payload.to_bytes());
                let done = match payload {
                    Some(message) => outlet.plain(&message)?,
                    None => Err("a query here has the message as its payload".to_owned()),
                };
                let key = query.key_expr().clone();
                let _ = match done {
                    Ok(()) => query.reply(key, "ok").wait(),
                    Err(why) => query.reply_err(why).wait(),
                };
            }
        }
    }
    Ok(())
}

/// Whether nobody else publishes in the channel.
fn is_alone(segment: &str, channel: &str) -> bool {
    let Ok(all) = Observer::of(segment).and_then(|mut observer| observer.look()) else {
        return false;
    };
    let channels = all.first().map(|one| one.channels.as_slice()).unwrap_or_default();
    let found = channels.iter().find(|one| one.name == channel);
    found.and_then(|one| one.broadcast.as_ref()).is_some_and(|info| info.publishers.len() <= 1)
}

/// Says whether an exporter has another channel.
pub(crate) fn look_around(
    here: &Here<'_>,
    channel: &AnyChannel<'_>,
    status: &RouteStatus,
    watch: &Watch,
) {
    let unfit =
        watch.described().iter().find_map(|there| match there.fits(channel, &here.route.segment) {
            Err(Unfit::Mismatch(what)) => Some(what),
            _ => None,
        });
    match unfit {
        Some(what) => status.set(State::Refused, &what),
        None => status.set(State::Running, ""),
    }
}

impl Outlet<'_> {
    fn put(&mut self, put: &Sample) -> Result<(), Ended> {
        let payload = put.payload().to_bytes();
        let Some(attached) = put.attachment() else {
            // It is counted, and nobody waits for an answer.
            let _ = self.plain(&payload)?;
            return Ok(());
        };
        let counts = &self.status.counts;
        let header = match Header::decode(&attached.to_bytes()) {
            Ok(header) if self.takes(&header) => header,
            _ => {
                Counts::add(&counts.refused, 1);
                return Ok(());
            }
        };
        // What was sent from here has gone in a circle.
        if header.origin == self.here.origin {
            return Ok(());
        }
        let messages = header.messages(&payload, self.length.size);
        let Some(messages) =
            messages.filter(|all| all.iter().all(|message| self.length.fits(message)))
        else {
            Counts::add(&counts.refused, u64::from(header.count));
            return Ok(());
        };
        self.publish(&header, &messages)
    }

    /// Goes on where a predecessor ended, perhaps in the middle of something.
    fn settle(&self) -> Result<(), Ended> {
        let lock = || self.seat.lock().unwrap_or_else(PoisonError::into_inner);
        let alone =
            self.imported.is_none() && is_alone(&self.here.route.segment, &self.here.route.channel);
        // What is missing is about to be told, and so it is noted as before any message.
        let gap = {
            let mut seat = lock();
            seat.note.settle(self.sender.published().unwrap_or_default(), alone);
            seat.note.gap = std::mem::take(&mut seat.note.owed);
            seat.write();
            seat.note.gap
        };
        if gap > 0 {
            let told = self.tell(gap)?;
            self.told(gap, told);
        }
        Ok(())
    }

    /// Notes that a gap was told, after which nothing comes; or that it is still to be.
    fn told(&self, gap: u64, told: bool) {
        let mut seat = self.seat.lock().unwrap_or_else(PoisonError::into_inner);
        if told {
            seat.note.done(0, self.end());
        } else {
            seat.note.owed = seat.note.owed.saturating_add(gap);
            seat.note.gap = 0;
            seat.note.done(0, None);
        }
        seat.write();
    }

    /// The position behind what was published last from here.
    fn end(&self) -> Option<u64> {
        self.sender.sequence().map(|last| last.wrapping_add(1))
    }

    /// Whether messages like these are those of the channel.
    fn takes(&self, header: &Header) -> bool {
        let same = if self.length.is_bytes {
            header.lengths.is_some() || header.count == 0
        } else {
            header.fingerprint == self.fingerprint
        };
        same && header.form == Form::Broadcast && header.origin != Origin([0; 16])
    }

    /// Publishes what has not been here, after what is missing has been told.
    fn publish(&mut self, header: &Header, messages: &[&[u8]]) -> Result<(), Ended> {
        let counts = &self.status.counts;
        let (gap, fresh) = {
            let mut seat = self.seat.lock().unwrap_or_else(PoisonError::into_inner);
            if seat.note.find(header.origin).is_none() {
                let there = self.watch.origins();
                seat.note.keep(|origin| there.contains(&origin));
                if seat.note.is_full() {
                    Counts::add(&counts.refused, u64::from(header.count));
                    return Ok(());
                }
            }
            let (n, known) = seat.note.stream(header.origin);
            let stream = &mut seat.note.streams[n];
            // An exporter repeats a little when it begins anew. One that is further back has a
            // segment whose numbers have gone back, as that of a restored machine.
            let new = std::mem::replace(&mut stream.session, header.stream) != header.stream;
            let back = new && header.seq.saturating_add(REPEATED) < stream.next;
            let next = if known && !back { stream.next } else { header.seq };
            let gap = header.seq.saturating_sub(next);
            // What had no number is told with the numbers around it: each such gap has one.
            let told = if new { 0 } else { stream.lost };
            let lost = if gap > 0 { header.lost.saturating_sub(told) } else { 0 };
            stream.lost = header.lost;
            let gap = gap.saturating_add(lost);
            let skipped = next.saturating_sub(header.seq).min(messages.len() as u64);
            Counts::add(&counts.skipped, skipped);
            let fresh = messages.get(skipped as usize..).unwrap_or_default();
            if gap == 0 && fresh.is_empty() && known && header.seq <= next {
                return Ok(());
            }
            let note = &mut seat.note;
            note.streams[n].next = next.max(header.seq);
            note.current = n as u64;
            (note.gap, note.span) = (gap, fresh.len() as u64);
            note.begin(self.sender.published().unwrap_or_default());
            seat.write();
            (gap, fresh)
        };
        if gap > 0 {
            Counts::add(&counts.gaps, 1);
            Counts::add(&counts.missed, gap);
            if !self.tell(gap)? {
                self.told(gap, false);
                return Ok(());
            }
        }
        let sent = self.send(fresh)?;
        let bytes = fresh.iter().take(sent).map(|message| message.len() as u64).sum();
        Counts::add(&counts.messages, sent as u64);
        Counts::add(&counts.bytes, bytes);
        let mut seat = self.seat.lock().unwrap_or_else(PoisonError::into_inner);
        seat.note.done(sent as u64, self.end());
        seat.write();
        Ok(())
    }

    /// One message of a plain client; or why it was refused.
    fn plain(&mut self, message: &[u8]) -> Result<Result<(), String>, Ended> {
        if !self.length.fits(message) {
            Counts::add(&self.status.counts.refused, 1);
            return Ok(Err(self.length.refusal(message)));
        }
        let lock = || self.seat.lock().unwrap_or_else(PoisonError::into_inner);
        lock().note.begin(self.sender.published().unwrap_or_default());
        if self.send(&[message])? == 0 {
            return Ok(Err("the bridge ends".to_owned()));
        }
        let mut seat = lock();
        seat.note.published(1, self.end());
        seat.write();
        drop(seat);
        Counts::add(&self.status.counts.messages, 1);
        Counts::add(&self.status.counts.bytes, message.len() as u64);
        Ok(Ok(()))
    }

    /// Tells all subscribers that so many messages are missing. `false`: the route's life ends
    /// before.
    fn tell(&self, missed: u64) -> Result<bool, Ended> {
        loop {
            let mut noting = self.imported.map(Imported::hold);
            match self.sender.try_send_gap(missed) {
                Some(Ok(())) => {
                    if let (Some(noting), Some(position)) = (&mut noting, self.sender.sequence()) {
                        noting.add(position);
                    }
                    return Ok(true);
                }
                Some(Err(TrySendError::Full(()) | TrySendError::Paused(()))) => {}
                Some(Err(TrySendError::Unwoken(_))) | None => return Ok(true),
                Some(Err(why)) => return Err(Ended::failed(why)),
            }
            drop(noting);
            if !self.here.goes_on() {
                return Ok(false);
            }
            std::thread::sleep(RETRY);
        }
    }

    /// Publishes the messages; how many, if the route's life ends before.
    fn send(&self, messages: &[&[u8]]) -> Result<usize, Ended> {
        if let Some(imported) = self.imported {
            return self.send_noted(messages, imported);
        }
        let mut sent = 0;
        while sent < messages.len() {
            let left = messages.get(sent..).unwrap_or_default();
            match self.sender.send_batch_timeout(left, LOOK) {
                Ok(()) => return Ok(messages.len()),
                Err(SendBatchError { sent: so_many, reason, .. }) => {
                    sent += so_many;
                    match reason {
                        SendTimeoutError::Timeout(()) | SendTimeoutError::Unwoken(_) => {}
                        why => return Err(Ended::failed(why)),
                    }
                }
            }
            if !self.here.goes_on() {
                return Ok(sent);
            }
        }
        Ok(sent)
    }

    /// The same, and notes where they are. Nobody waits while the notes are held: the exporter, for
    /// which a publisher may wait, wants them too.
    fn send_noted(&self, messages: &[&[u8]], imported: &Imported) -> Result<usize, Ended> {
        for (sent, message) in messages.iter().enumerate() {
            loop {
                let mut noting = imported.hold();
                match self.sender.try_send(message) {
                    Ok(()) | Err(TrySendError::Unwoken(_)) => {
                        self.sender
                            .sequence()
                            .into_iter()
                            .for_each(|position| noting.add(position));
                        break;
                    }
                    Err(TrySendError::Full(()) | TrySendError::Paused(())) => {}
                    Err(why) => return Err(Ended::failed(why)),
                }
                drop(noting);
                if !self.here.goes_on() {
                    return Ok(sent);
                }
                std::thread::sleep(RETRY);
            }
        }
        Ok(messages.len())
    }
}
