//! The end of a storm: when all workers have ended, a last participant inspects
//! the segment, uses everything in it, and removes it.

use std::iter;

use tombolo::sys::{Key, sem::Set, shm::Shm};
use tombolo::{
    ByteReceiver, ByteSender, ChannelError, OpenError, Segment, TryRecvError, TrySendError,
};

use super::orders::{Kind, Sends, Setting};
use super::side;
use crate::failure::Failure;

/// The findings of the last participant.
#[derive(Debug, Default)]
pub(crate) struct Aftermath {
    /// Deaths that were swept.
    pub(crate) recovered: u64,
    /// Objects, places and slots that nobody can use any more.
    pub(crate) leaks: Vec<String>,
    pub(crate) leaked: u64,
}

impl Aftermath {
    fn leak(&mut self, count: usize, what: &str) {
        if count > 0 {
            self.leaked += count as u64;
            self.leaks.push(format!("{count} {what}"));
        }
    }

    /// Looks round, and removes everything.
    pub(crate) fn of(setting: &Setting, using: Using) -> Result<Self, Failure> {
        let mut found = Self::default();
        found.use_all(setting, using)?;
        found.audit(setting)?;
        let side = side::open(setting)?;
        drop(side);
        clear(setting)?;
        for name in names(setting) {
            let (segments, sets) = objects(&name);
            found.leak(segments, "shared-memory segments");
            found.leak(sets, "semaphore sets");
        }
        Ok(found)
    }

    fn use_all(&mut self, setting: &Setting, using: Using) -> Result<(), Failure> {
        let wrong = |error| Failure::broken("cannot open the segment after the storm", error);
        let segment = setting.open().map_err(wrong)?;
        let swept = segment.sweep();
        swept.map_err(|error| Failure::broken("cannot sweep after the storm", error))?;

        using(self, setting, &segment)?;
        // Everybody's places.
        let others = iter::repeat_with(|| setting.open())
            .take(usize::from(setting.participants()) - 1)
            .collect::<Vec<_>>();
        let full =
            |other: &&Result<Segment, OpenError>| matches!(other, Err(OpenError::TableFull { .. }));
        self.leak(others.iter().filter(full).count(), "participants' places");
        let failed = others.into_iter().filter_map(Result::err);
        if let Some(error) =
            failed.into_iter().find(|error| !matches!(error, OpenError::TableFull { .. }))
        {
            return Err(wrong(error));
        }
        self.recovered = segment.deaths().total;
        Ok(())
    }

    /// What cannot be in a segment at rest.
    fn audit(&mut self, setting: &Setting) -> Result<(), Failure> {
        let audit = Segment::check(&setting.name)
            .map_err(|error| Failure::broken("cannot audit the segment after the storm", error))?;
        self.leaked += audit.faults.len() as u64 + audit.more;
        let faults = audit.faults.into_iter().take(10);
        self.leaks.extend(faults.map(|fault| format!("what the audit finds: {fault}")));
        Ok(())
    }

    /// Fills the channel and empties it again.
    fn fill<K: Sends, R: tombolo::Kind>(
        &mut self,
        setting: &Setting,
        sender: &ByteSender<K>,
        receiver: &ByteReceiver<R>,
    ) -> Result<(), Failure> {
        let payload = vec![0; setting.length()];
        let mut filled = 0;
        loop {
            match sender.try_send(&payload) {
                Ok(()) => filled += 1,
                Err(TrySendError::Full(())) => break,
                Err(error) => return Err(Failure::broken("cannot send after the storm", error)),
            }
        }
        let drained = drain(receiver)?;
        self.leak(setting.capacity.saturating_sub(filled as usize), "slots of the channel");
        if drained != filled {
            return Err(Failure::Broken(format!(
                "after the storm {filled} messages fit the channel, and {drained} came out"
            )));
        }
        Ok(())
    }
}

/// Uses a channel after the storm, all of it.
type Using = fn(&mut Aftermath, &Setting, &Segment) -> Result<(), Failure>;

fn unusable(error: ChannelError) -> Failure {
    Failure::broken("cannot open the channel after the storm", error)
}

/// How many messages there were.
fn drain<K: tombolo::Kind>(receiver: &ByteReceiver<K>) -> Result<u64, Failure> {
    let (mut message, mut taken) = (Vec::new(), 0);
    loop {
        match receiver.try_recv(&mut message) {
            Ok(_) => taken += 1,
            Err(TryRecvError::Empty) => return Ok(taken),
            Err(error) => return Err(Failure::broken("cannot receive after the storm", error)),
        }
    }
}

/// Takes what is left in a queue, and uses its slots.
pub(crate) fn queue<K: Kind>(
    found: &mut Aftermath,
    setting: &Setting,
    segment: &Segment,
) -> Result<(), Failure> {
    let channel = setting.channel::<K>(segment);
    let receiver = channel.receiver().map_err(unusable)?;
    // Nothing, unless the judge misses it.
    drain(&receiver)?;
    found.fill(setting, &channel.sender().map_err(unusable)?, &receiver)
}

/// Uses a broadcast channel's places for publishers and reliable subscribers, and its slots.
pub(crate) fn board(
    found: &mut Aftermath,
    setting: &Setting,
    segment: &Segment,
) -> Result<(), Failure> {
    let channel = setting.board(segment);
    let (mut publishers, mut subscribers) = (Vec::new(), Vec::new());
    for _ in 0..setting.producers {
        match channel.publisher() {
            Err(ChannelError::TooManyPublishers { .. }) => {}
            publisher => publishers.push(publisher.map_err(unusable)?),
        }
    }
    for _ in 0..setting.reliable() {
        match channel.reliable_subscriber() {
            Err(ChannelError::TooManyReliable { .. }) => {}
            subscriber => subscribers.push(subscriber.map_err(unusable)?),
        }
    }
    let missing = |all: u16, there: usize| usize::from(all).saturating_sub(there);
    found.leak(missing(setting.producers, publishers.len()), "publishers' places");
    found.leak(missing(setting.reliable(), subscribers.len()), "reliable subscribers' places");
    let subscriber = subscribers.pop();
    // The others would be waited for.
    drop(subscribers);
    match publishers.first().zip(subscriber) {
        Some((publisher, subscriber)) => found.fill(setting, publisher, &subscriber),
        None => Ok(()),
    }
}

/// Uses all slots of a service.
pub(crate) fn service(
    found: &mut Aftermath,
    setting: &Setting,
    segment: &Segment,
) -> Result<(), Failure> {
    let service = setting.service(segment);
    let client = service.client().map_err(unusable)?;
    let server = service.server().map_err(unusable)?;
    let wrong = |error| Failure::broken("cannot call after the storm", error);
    let mut calls = Vec::new();
    loop {
        match client.try_start(&[]) {
            Ok(call) => calls.push(call),
            Err(TrySendError::Full(())) => break,
            Err(error) => return Err(wrong(error.to_string())),
        }
    }
    found.leak(setting.capacity.saturating_sub(calls.len()), "slots of the service");
    for call in calls {
        // Which one it is does not matter.
        let taken = server.try_recv().map_err(|error| wrong(error.to_string()))?;
        taken.reply(&[]).map_err(|error| wrong(error.to_string()))?;
        drop(call);
    }
    if client.try_start(&[]).is_err() {
        found.leak(1, "slots of a service that was used");
    }
    Ok(())
}

fn names(setting: &Setting) -> [String; 2] {
    [setting.name.clone(), setting.side()]
}

/// Removes whatever the storm has in the kernel's tables. Everybody must have
/// ended.
pub(crate) fn clear(setting: &Setting) -> Result<(), Failure> {
    for name in names(setting) {
        match Segment::remove_named(&name) {
            Ok(()) | Err(OpenError::NotFound { .. }) => {}
            Err(error) => return Err(Failure::broken("cannot remove the segment", error)),
        }
    }
    Ok(())
}

/// Segments and sets on any key of a name.
fn objects(name: &str) -> (usize, usize) {
    let keys = (0..8).map(|probe| key(name, probe)).collect::<Vec<_>>();
    let segments = keys.iter().filter(|&&key| Shm::open(key).is_ok()).count();
    (segments, keys.iter().filter(|&&key| Set::open(key).is_ok()).count())
}

/// The key of a name's nth probe, as docs/format.md says: FNV-1a, folded.
fn key(name: &str, probe: u8) -> Key {
    let bytes = b"tombolo:".iter().chain(name.as_bytes()).chain(iter::once(&probe));
    let hash = bytes.fold(0xCBF2_9CE4_8422_2325_u64, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)
    });
    Key::new((((hash >> 32 ^ hash) & 0x7FFF_FFFF) as i32).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_s_objects_are_found_by_its_keys() {
        let name = format!("chaos-test.{}", std::process::id());
        assert_eq!(objects(&name), (0, 0));
        let segment = Segment::create(&name).unwrap();
        let found = objects(&name);
        segment.remove().unwrap();
        assert_eq!(found, (1, 1));
        assert_eq!(objects(&name), (0, 0));
    }
}
