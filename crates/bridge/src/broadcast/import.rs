//! From other hosts into a channel.
//!
//! Before messages are published, a note says which they are and how much is in the channel; see
//! [`site`](crate::site). So a successor knows which of them are there.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tombolo::{AnyChannel, AnySender, SendBatchError, SendTimeoutError, TrySendError};
use zenoh::Wait as _;
use zenoh::sample::{Locality, Sample};

use super::{Imported, Inbox, Inlet, Item};
use crate::describe::{Unfit, Watch};
use crate::route::{Ended, Here};
use crate::site::Seat;
use crate::status::{Counts, RouteStatus, State};
use crate::wire::{Form, Header};

/// So long it waits at most before it looks whether it is to end.
const LOOK: Duration = Duration::from_millis(250);
/// So often it looks at who is there.
const AROUND: Duration = Duration::from_secs(1);
/// So long it waits before it tries again to publish what is not to go back.
const RETRY: Duration = Duration::from_micros(200);

/// Where messages are published.
struct Outlet<'a> {
    here: &'a Here<'a>,
    sender: AnySender,
    status: &'a RouteStatus,
    seat: &'a Mutex<Seat>,
    imported: Option<&'a Imported>,
    is_bytes: bool,
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
    {
        let mut seat = seat.lock().unwrap_or_else(PoisonError::into_inner);
        // Where others publish too, it is not known what of the last batch is there: then all of it
        // counts as missing.
        let published = if imported.is_some() { 0 } else { sender.published().unwrap_or_default() };
        seat.note.settle(published);
        seat.write();
    }
    let inbox = Arc::new(Inbox::new(here.route.credit_bytes, here.route.reliable));
    let inlet = Inlet::new(here.session, here.base, &inbox).map_err(Ended::failed)?;
    let puts = Arc::clone(&inbox);
    let _subscriber = here
        .session
        .declare_subscriber(here.base.to_owned())
        .allowed_origin(Locality::Remote)
        .callback(move |put| puts.push(Item::Put(put)))
        .wait()
        .map_err(Ended::failed)?;
    let (is_bytes, fingerprint) = (channel.is_bytes(), channel.fingerprint());
    let mut outlet = Outlet { here, sender, status, seat, imported, is_bytes, fingerprint };
    status.set(State::Running, "");
    let mut around = None::<Instant>;
    while here.goes_on() {
        if around.is_none_or(|around| around.elapsed() >= AROUND) {
            around = Some(Instant::now());
            look_around(here, channel, status, watch);
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
    drop(inlet);
    Ok(())
}

/// Says whether an exporter has another channel.
pub(crate) fn look_around(
    here: &Here<'_>,
    channel: &AnyChannel<'_>,
    status: &RouteStatus,
    watch: &Watch,
) {
    let unfit = watch.described(here.session).iter().find_map(|there| {
        match there.fits(channel, &here.route.segment) {
            Err(Unfit::Mismatch(what)) => Some(what),
            _ => None,
        }
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
            if let Err(why) = self.plain(&payload)? {
                crate::log::say(&format!("{}: a put was refused: {why}", self.here.base));
            }
            return Ok(());
        };
        let counts = &self.status.counts;
        let header = match Header::decode(&attached.to_bytes()) {
            Ok(header) if header.form == Form::Broadcast && self.takes(&header) => header,
            _ => {
                Counts::add(&counts.refused, 1);
                return Ok(());
            }
        };
        // What was sent from here has gone in a circle.
        if header.origin == self.here.origin {
            return Ok(());
        }
        let messages = header.messages(&payload, self.sender.element_size());
        let longest = self.sender.element_size();
        let Some(messages) =
            messages.filter(|all| all.iter().all(|message| message.len() <= longest))
        else {
            Counts::add(&counts.refused, u64::from(header.count));
            return Ok(());
        };
        self.publish(&header, &messages)
    }

    /// Whether messages like these are those of the channel.
    fn takes(&self, header: &Header) -> bool {
        if self.is_bytes {
            header.lengths.is_some() || header.count == 0
        } else {
            header.fingerprint == self.fingerprint
        }
    }

    /// Publishes what has not been here, after what is missing has been told.
    fn publish(&mut self, header: &Header, messages: &[&[u8]]) -> Result<(), Ended> {
        let counts = &self.status.counts;
        let (gap, fresh) = {
            let mut seat = self.seat.lock().unwrap_or_else(PoisonError::into_inner);
            let (n, known) = seat.note.stream(header.origin);
            let next = if known { seat.note.streams[n].next } else { header.seq };
            let gap = header.seq.saturating_sub(header.skip).saturating_sub(next);
            let lost = if header.seq >= next { header.lost.into() } else { 0 };
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
            note.at = self.sender.published().unwrap_or_default();
            seat.write();
            (gap, fresh)
        };
        if gap > 0 {
            Counts::add(&counts.gaps, 1);
            Counts::add(&counts.missed, gap);
            self.tell(gap)?;
        }
        let sent = self.send(fresh)?;
        let bytes = fresh.iter().take(sent).map(|message| message.len() as u64).sum();
        Counts::add(&counts.messages, sent as u64);
        Counts::add(&counts.bytes, bytes);
        let mut seat = self.seat.lock().unwrap_or_else(PoisonError::into_inner);
        let note = &mut seat.note;
        if let Some(stream) = note.streams.get_mut(note.current as usize) {
            stream.next = stream.next.saturating_add(sent as u64);
        }
        (note.gap, note.span) = (0, 0);
        Ok(())
    }

    /// One message of a plain client; or why it was refused.
    fn plain(&mut self, message: &[u8]) -> Result<Result<(), String>, Ended> {
        let size = self.sender.element_size();
        if if self.is_bytes { message.len() > size } else { message.len() != size } {
            Counts::add(&self.status.counts.refused, 1);
            let most = if self.is_bytes { "at most " } else { "" };
            return Ok(Err(format!("a message has {most}{size} bytes, and not {}", message.len())));
        }
        if self.send(&[message])? == 0 {
            return Ok(Err("the bridge ends".to_owned()));
        }
        Counts::add(&self.status.counts.messages, 1);
        Counts::add(&self.status.counts.bytes, message.len() as u64);
        Ok(Ok(()))
    }

    /// Tells all subscribers that so many messages are missing.
    fn tell(&self, missed: u64) -> Result<(), Ended> {
        loop {
            let mut noting = self.imported.map(Imported::hold);
            match self.sender.try_send_gap(missed) {
                Some(Ok(())) => {
                    if let (Some(noting), Some(position)) = (&mut noting, self.sender.sequence()) {
                        noting.add(position);
                    }
                    return Ok(());
                }
                Some(Err(TrySendError::Full(()) | TrySendError::Paused(()))) => {}
                Some(Err(TrySendError::Unwoken(_))) | None => return Ok(()),
                Some(Err(why)) => return Err(Ended::failed(why)),
            }
            drop(noting);
            if !self.here.goes_on() {
                return Ok(());
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
