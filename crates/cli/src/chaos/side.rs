//! A side worker: creates, opens, uses and removes a segment while others do the
//! same.

use tombolo::{ChannelError, Fault, OpenError, Segment, TryRecvError, TrySendError};

use super::ledger::{Note, Phase};
use super::orders::Setting;
use super::worker::{Post, creating, unopened, wrong};
use crate::failure::Failure;

/// The messages of the channel, and the bytes of the longest.
const CAPACITY: usize = 4;
const LONGEST: usize = 64;

pub(crate) fn run(post: &Post<'_>) -> Result<(), Failure> {
    let mut chance = post.orders.chance();
    let setting = &post.orders.setting;
    post.note(Note::Up);
    while post.phase() == Phase::Storm {
        match chance.u8(..8) {
            0..3 => using(post, &open(setting)?, &mut chance)?,
            opens @ 3..5 => {
                let opened = if opens == 3 { there_already(setting)? } else { create(setting)? };
                if let Some(segment) = opened {
                    using(post, &segment, &mut chance)?;
                }
            }
            5 => drop(opened(setting, Segment::remove_named(&setting.side()))?),
            _ => removed_in_use(&open(setting)?)?,
        }
        post.dawdle(&mut chance);
    }
    Ok(())
}

/// Opens the segment, or makes it: that must always succeed.
pub(crate) fn open(setting: &Setting) -> Result<Segment, Failure> {
    let _alone = creating();
    let opened = options().open_or_create(&setting.side());
    opened.map_err(|error| unopened(setting, "open the side segment", error))
}

fn options() -> tombolo::Options {
    Segment::options().room_for_bytes(CAPACITY, LONGEST).participants(8).channels(2)
}

fn there_already(setting: &Setting) -> Result<Option<Segment>, Failure> {
    let _alone = creating();
    opened(setting, Segment::open(&setting.side()))
}

fn create(setting: &Setting) -> Result<Option<Segment>, Failure> {
    let _alone = creating();
    opened(setting, options().create(&setting.side()))
}

/// `None` where the segment was not there, or was there already.
fn opened<T>(setting: &Setting, done: Result<T, OpenError>) -> Result<Option<T>, Failure> {
    match done {
        Ok(done) => Ok(Some(done)),
        Err(OpenError::NotFound { .. } | OpenError::Exists { .. }) => Ok(None),
        Err(error) => Err(unopened(setting, "open, create or remove the side segment", error)),
    }
}

/// Whether the segment is still there: it may be removed at any time.
fn there<T>(done: Result<T, Fault>) -> Result<Option<T>, Failure> {
    match done {
        Ok(done) => Ok(Some(done)),
        Err(Fault::Closed) => Ok(None),
        Err(fault) => Err(wrong("use the side segment", fault)),
    }
}

/// Sends and receives a little in it.
fn using(post: &Post<'_>, segment: &Segment, chance: &mut fastrand::Rng) -> Result<(), Failure> {
    let channel = segment.bytes("side").capacity(CAPACITY, LONGEST);
    let ends = channel.sender().and_then(|sender| Ok((sender, channel.receiver()?)));
    let ends = match ends {
        Err(ChannelError::Fault(fault)) => there(Err(fault))?,
        ends => Some(ends.map_err(|error| wrong("open the side channel", error))?),
    };
    let Some((sender, receiver)) = ends else {
        return Ok(());
    };
    let mut message = Vec::new();
    for _ in 0..chance.u8(..8) {
        let sent = match sender.try_send(b"a message of the side segment") {
            Ok(()) | Err(TrySendError::Full(())) => Some(()),
            Err(TrySendError::Disconnected(())) => None,
            Err(TrySendError::Fault { fault, .. }) => there(Err(fault))?,
            Err(error) => return Err(wrong("send in the side segment", error)),
        };
        let received = match receiver.try_recv(&mut message) {
            Err(TryRecvError::Disconnected) => None,
            Err(TryRecvError::Fault(fault)) => there(Err(fault))?,
            Ok(_) if message != b"a message of the side segment" => {
                return Err(Failure::Broken("a message in the side segment is torn".to_owned()));
            }
            Ok(_) | Err(TryRecvError::Empty | TryRecvError::Pending) => Some(()),
            Err(error) => return Err(wrong("receive in the side segment", error)),
        };
        if sent.is_none() || received.is_none() {
            break;
        }
        post.dawdle(chance);
    }
    Ok(())
}

/// Removes the segment while processes have it open, this one among them.
fn removed_in_use(segment: &Segment) -> Result<(), Failure> {
    there(segment.remove())?;
    match segment.bytes("side").capacity(CAPACITY, LONGEST).sender() {
        Err(ChannelError::Fault(Fault::Closed)) => Ok(()),
        Ok(_) => Err(Failure::Broken("a removed segment can still be used".to_owned())),
        Err(error) => Err(wrong("find that the side segment is closed", error)),
    }
}
