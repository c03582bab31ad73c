//! Tombolo's typed channels: by value, one message or many at a time, waiting or
//! polling; and in place.

#![allow(unsafe_code)]

mod awaited;
mod broadcast;
mod bytes;
mod service;
mod set;
mod typed;

use std::fmt::Display;

use tombolo::{Broadcast, Mpmc, Options, Reliable, Segment, Spsc, TrustedPeers};

use crate::failure::Failure;
use crate::harness::{Object, Setting, Shared, Subject};
use awaited::Awaited;
use broadcast::Published;
use bytes::Bytes;
use set::InSet;
use typed::{Batches, Blocking, InPlace, Slices, Spinning, Typed};

pub(super) fn all() -> Vec<Box<dyn Subject>> {
    vec![
        Box::new(Typed::<Spsc, Spinning>::new("tombolo SPSC")),
        Box::new(Typed::<Spsc, Blocking>::new("tombolo SPSC, blocking")),
        Box::new(Awaited::<Spsc>::new("tombolo SPSC, awaited")),
        Box::new(Typed::<Spsc, Batches>::new("tombolo SPSC, batches")),
        Box::new(Typed::<Spsc, InPlace>::new("tombolo SPSC, in place")),
        Box::new(Typed::<Spsc, Slices>::new("tombolo SPSC, slices in place")),
        Box::new(Bytes::<Spsc, bytes::ByValue>::new("tombolo SPSC bytes")),
        Box::new(Bytes::<Spsc, bytes::Batches>::new("tombolo SPSC bytes, batches")),
        Box::new(Bytes::<Spsc, bytes::InPlace>::new("tombolo SPSC bytes, in place")),
        Box::new(Typed::<Mpmc, Spinning>::new("tombolo MPMC")),
        Box::new(Typed::<Mpmc, Blocking>::new("tombolo MPMC, blocking")),
        Box::new(Awaited::<Mpmc>::new("tombolo MPMC, awaited")),
        Box::new(Typed::<Mpmc, Batches>::new("tombolo MPMC, batches")),
        Box::new(Typed::<Mpmc, InPlace>::new("tombolo MPMC, in place")),
        Box::new(Bytes::<Mpmc, bytes::ByValue>::new("tombolo MPMC bytes")),
        Box::new(Bytes::<Mpmc, bytes::Batches>::new("tombolo MPMC bytes, batches")),
        Box::new(Bytes::<Mpmc, bytes::InPlace>::new("tombolo MPMC bytes, in place")),
        Box::new(InSet::new("tombolo MPMC, by a set of 1", 0, false)),
        Box::new(InSet::new("tombolo MPMC, by a set of 17", 16, false)),
        Box::new(InSet::new("tombolo MPMC, by a set of 17, a wait each", 16, true)),
        Box::new(service::Service::<service::Spinning>::new("tombolo calls")),
        Box::new(service::Service::<service::Blocking>::new("tombolo calls, blocking")),
        Box::new(Published::<Broadcast, broadcast::Trying>::new("tombolo broadcast, lossy")),
        Box::new(Published::<Broadcast, broadcast::Waiting>::new(
            "tombolo broadcast, lossy, blocking",
        )),
        Box::new(Published::<Broadcast, broadcast::Batches>::new(
            "tombolo broadcast, lossy, received in batches",
        )),
        Box::new(Published::<Reliable, broadcast::Trying>::new("tombolo broadcast")),
        Box::new(Published::<Reliable, broadcast::Waiting>::new("tombolo broadcast, blocking")),
        Box::new(Published::<Reliable, broadcast::Batches>::new(
            "tombolo broadcast, received in batches",
        )),
        Box::new(Published::<Reliable, broadcast::InPlace>::new("tombolo broadcast, in place")),
    ]
}

/// The names of the channels: one, or one there and one back.
const NAMES: [&str; 2] = ["there", "back"];

/// Bytes that a channel needs for each message beside it, at most: of a type, and of any
/// length.
const BESIDE_TYPED: usize = 80;
const BESIDE_BYTES: usize = 160;

/// A segment with room for the channels of a setting, which `make` makes.
fn prepare(
    setting: &Setting,
    beside: usize,
    make: impl Fn(&Segment, &str) -> Result<(), Failure>,
) -> Result<Shared, Failure> {
    prepare_in(Segment::options(), setting, beside, make)
}

/// The same where the segment has these options.
fn prepare_in(
    options: Options,
    setting: &Setting,
    beside: usize,
    make: impl Fn(&Segment, &str) -> Result<(), Failure>,
) -> Result<Shared, Failure> {
    let channel = setting.slots * (setting.words * 8 + beside) + (64 << 10);
    let segment = options
        .size(channel * setting.channels() + (1 << 20))
        .prefault(true)
        .anonymous()
        .map_err(cannot("make the segment"))?;
    let mut shared = Shared::default();
    shared.numbers.push(i64::from(segment.id()));
    shared.objects.push(Object::Segment(segment.id()));
    for name in NAMES.iter().take(setting.channels()) {
        make(&segment, name)?;
    }
    shared.held.push(Box::new(segment));
    Ok(shared)
}

fn open(shared: &Shared) -> Result<Segment, Failure> {
    shared.once(0, || {
        let id = shared.numbers.first().copied().unwrap_or(-1);
        let options = Segment::options().prefault(true);
        options.open_id(i32::try_from(id).unwrap_or(-1)).map_err(cannot("open the segment"))
    })
}

/// Messages in place are measured by reference.
fn trust(segment: &Segment) -> TrustedPeers {
    // SAFETY: an anonymous segment of this command's, whose other participants
    // are its own processes.
    unsafe { segment.trust_peers() }
}

fn cannot<E: Display>(what: &'static str) -> impl Fn(E) -> Failure {
    move |error| Failure::broken(format!("cannot {what}"), error)
}

/// The kinds, for what differs.
trait Choose: tombolo::InPlace {
    /// Whether there is one receiver, which gets every message.
    const TO_ONE: bool;

    fn choose<'a, T: tombolo::Message>(
        channel: tombolo::Channel<'a, T>,
    ) -> tombolo::Channel<'a, T, Self>
    where
        Self: Sized;

    fn choose_bytes(channel: tombolo::ByteChannel<'_>) -> tombolo::ByteChannel<'_, Self>
    where
        Self: Sized;
}

impl Choose for Spsc {
    const TO_ONE: bool = true;

    fn choose<'a, T: tombolo::Message>(
        channel: tombolo::Channel<'a, T>,
    ) -> tombolo::Channel<'a, T, Self> {
        channel.spsc()
    }

    fn choose_bytes(channel: tombolo::ByteChannel<'_>) -> tombolo::ByteChannel<'_, Self> {
        channel.spsc()
    }
}

impl Choose for Mpmc {
    const TO_ONE: bool = false;

    fn choose<'a, T: tombolo::Message>(
        channel: tombolo::Channel<'a, T>,
    ) -> tombolo::Channel<'a, T, Self> {
        channel.mpmc()
    }

    fn choose_bytes(channel: tombolo::ByteChannel<'_>) -> tombolo::ByteChannel<'_, Self> {
        channel.mpmc()
    }
}
