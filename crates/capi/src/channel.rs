//! What a channel is: as a caller describes it, and as it is found.

use std::ffi::{c_char, c_int};

use tombolo::{AnyChannel, ChannelKind, Segment, Start};

use crate::failure::{Failure, door};
use crate::given::{Extensible, fill_in, filled, given, text};
use crate::segment::tombolo_segment;

/// A kind of channel, of `tombolo_channel.kind`: any number of senders and receivers; elements
/// of one size.
pub const TOMBOLO_MPMC: u32 = 1;
/// One sender and one receiver; elements of one size.
pub const TOMBOLO_SPSC: u32 = 2;
/// Any number of senders and receivers; bytes of any length up to a longest.
pub const TOMBOLO_MPMC_BYTES: u32 = 3;
/// One sender and one receiver; bytes of any length up to a longest.
pub const TOMBOLO_SPSC_BYTES: u32 = 4;
/// Each subscriber gets every message; elements of one size.
pub const TOMBOLO_BROADCAST: u32 = 5;
/// Each subscriber gets every message; bytes of any length up to a longest.
pub const TOMBOLO_BROADCAST_BYTES: u32 = 6;
/// A service, which `tombolo_client_open` and `tombolo_server_open` open.
pub const TOMBOLO_CALLS: u32 = 7;

/// The channel outlives its peers: a flag of `tombolo_channel.flags`. No end of it is told
/// −EPIPE.
pub const TOMBOLO_LASTING: u32 = 1;
/// A message whose receiver is killed over it is dropped, and not delivered again.
pub const TOMBOLO_DROP: u32 = 2;
/// A subscriber of a broadcast channel loses nothing: publishers wait for it.
pub const TOMBOLO_RELIABLE: u32 = 4;
/// A subscriber begins with the oldest message that is retained, and not with the next one.
pub const TOMBOLO_FROM_OLDEST: u32 = 8;

const FLAGS: u32 = TOMBOLO_LASTING | TOMBOLO_DROP | TOMBOLO_RELIABLE | TOMBOLO_FROM_OLDEST;

/// A channel to open, or to create if it has a capacity. 0 in a field is for what is usual. Other
/// processes get −EPROTOTYPE if they describe it differently. With a kind of 0, a channel of
/// whatever kind and type there is is opened, and its other fields but the flags are not looked at.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct tombolo_channel {
    /// sizeof(tombolo_channel)
    pub struct_size: usize,
    /// TOMBOLO_MPMC and the others.
    pub kind: u32,
    /// TOMBOLO_LASTING and the others, or-ed.
    pub flags: u32,
    /// Elements: sizeof the type.
    pub element_size: usize,
    /// Elements: alignof the type.
    pub element_align: usize,
    /// Elements: what the type is, as docs/format.md says, for example "Order{id:u64,price:f64}".
    /// The same text, size and alignment are the same type in all languages.
    pub schema: *const c_char,
    /// Bytes: how long a message may be.
    pub longest: usize,
    /// How many messages the channel holds. 0: it must exist.
    pub capacity: usize,
    /// How often a message is delivered again whose receiver was killed over it (8; up to 15).
    pub redeliver: u32,
    /// Broadcast: how many publishers there may be (8).
    pub publishers: u16,
    /// Broadcast: how many subscribers there may be for which publishers wait (16).
    pub reliable: u16,
}

// SAFETY: numbers and a pointer, the first of which is its size.
unsafe impl Extensible for tombolo_channel {}

/// What a channel is that exists.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct tombolo_channel_info {
    /// sizeof(tombolo_channel_info)
    pub struct_size: usize,
    /// TOMBOLO_MPMC and the others.
    pub kind: u32,
    /// TOMBOLO_LASTING and TOMBOLO_DROP, or-ed.
    pub flags: u32,
    /// How many bytes a message has; of messages of any length, the longest.
    pub element_size: usize,
    /// To what a message is aligned.
    pub element_align: usize,
    /// How many messages the channel holds.
    pub capacity: usize,
    /// A hash of the schema, the size and the alignment.
    pub fingerprint: u64,
    /// How often a message is delivered again.
    pub redeliver: u32,
    /// 0.
    pub reserved: u32,
    /// What a message is; "bytes". With a zero at its end.
    pub schema: [c_char; 257],
}

// SAFETY: numbers, the first of which is its size.
unsafe impl Extensible for tombolo_channel_info {}

/// Says what a channel is that exists; −ENOENT if it does not.
///
/// Threads: any. Waits: never. Fork: −ECHILD in a child. Crash: holds nothing.
#[unsafe(no_mangle)]
pub extern "C" fn tombolo_channel_inspect(
    segment: Option<&tombolo_segment>,
    name: *const c_char,
    info: *mut tombolo_channel_info,
) -> c_int {
    door(|| {
        let channel = given(segment)?.segment.open_channel(text(name)?)?;
        let attempts = channel.attempts();
        let is_dropped = attempts == 0 && !channel.is_broadcast();
        let mut told = tombolo_channel_info {
            struct_size: size_of::<tombolo_channel_info>(),
            kind: number(channel.kind()),
            flags: if channel.is_lasting() { TOMBOLO_LASTING } else { 0 }
                | if is_dropped { TOMBOLO_DROP } else { 0 },
            element_size: channel.element_size(),
            element_align: channel.element_align(),
            capacity: channel.capacity(),
            fingerprint: channel.fingerprint(),
            redeliver: attempts.into(),
            reserved: 0,
            schema: [0; 257],
        };
        for (at, byte) in told.schema[..256].iter_mut().zip(channel.schema().bytes()) {
            *at = byte.cast_signed() as c_char;
        }
        fill_in(info, &told)?;
        Ok(0)
    })
}

const fn number(kind: ChannelKind) -> u32 {
    match kind {
        ChannelKind::Mpmc => TOMBOLO_MPMC,
        ChannelKind::Spsc => TOMBOLO_SPSC,
        ChannelKind::MpmcBytes => TOMBOLO_MPMC_BYTES,
        ChannelKind::SpscBytes => TOMBOLO_SPSC_BYTES,
        ChannelKind::Broadcast => TOMBOLO_BROADCAST,
        ChannelKind::BroadcastBytes => TOMBOLO_BROADCAST_BYTES,
        _ => TOMBOLO_CALLS,
    }
}

/// What a caller wants of a channel.
pub(crate) struct Wanted<'a> {
    pub(crate) channel: AnyChannel<'a>,
    pub(crate) reliable: bool,
    pub(crate) start: Start,
}

/// Opens the channel that a caller describes (null: whatever there is).
pub(crate) fn open<'a>(
    segment: &'a Segment,
    name: *const c_char,
    channel: *const tombolo_channel,
) -> Result<Wanted<'a>, Failure> {
    let name = text(name)?;
    let whatever = |flags: u32| {
        Ok(Wanted {
            channel: segment.open_channel(name)?,
            reliable: flags & TOMBOLO_RELIABLE != 0,
            start: start(flags),
        })
    };
    if channel.is_null() {
        return whatever(0);
    }
    let wanted = filled(channel)?;
    if wanted.flags & !FLAGS != 0 {
        return Err(Failure::bad(c"the channel has a flag that this build does not know"));
    }
    let kind = match wanted.kind {
        0 => return whatever(wanted.flags),
        TOMBOLO_MPMC => ChannelKind::Mpmc,
        TOMBOLO_SPSC => ChannelKind::Spsc,
        TOMBOLO_MPMC_BYTES => ChannelKind::MpmcBytes,
        TOMBOLO_SPSC_BYTES => ChannelKind::SpscBytes,
        TOMBOLO_BROADCAST => ChannelKind::Broadcast,
        TOMBOLO_BROADCAST_BYTES => ChannelKind::BroadcastBytes,
        _ => return Err(Failure::bad(c"there is no such kind of channel")),
    };
    let mut spec = segment.any_channel(name, kind);
    if wanted.element_size != 0 {
        let schema = text(wanted.schema)?;
        spec = spec.element(wanted.element_size, wanted.element_align, schema);
    }
    if wanted.longest != 0 {
        spec = spec.longest(wanted.longest);
    }
    if wanted.capacity != 0 {
        spec = spec.capacity(wanted.capacity);
    }
    if wanted.flags & TOMBOLO_DROP != 0 {
        spec = spec.redeliver(0);
    } else if wanted.redeliver != 0 {
        spec = spec.redeliver(u8::try_from(wanted.redeliver).unwrap_or(u8::MAX));
    }
    if wanted.flags & TOMBOLO_LASTING != 0 {
        spec = spec.lasting();
    }
    if wanted.publishers != 0 {
        spec = spec.publishers(wanted.publishers);
    }
    if wanted.reliable != 0 {
        spec = spec.reliable(wanted.reliable);
    }
    let reliable = wanted.flags & TOMBOLO_RELIABLE != 0;
    Ok(Wanted { channel: spec.open()?, reliable, start: start(wanted.flags) })
}

const fn start(flags: u32) -> Start {
    if flags & TOMBOLO_FROM_OLDEST != 0 { Start::Oldest } else { Start::Newest }
}
