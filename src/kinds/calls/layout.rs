//! How calls lie in memory: a slot for each call, with the request and the reply beside its
//! word, and behind the slots the bits that say which of them may be open.

use crate::kinds::any::Facts;
use crate::ring::calls::GROUP;
use crate::storage::layout::{Blocks, LINE, MAX_LENGTH, Measures, Parts, ReplyPlace, up};
use crate::storage::{KindCode, Shape};

pub(crate) const OF_ELEMENTS: Facts = Facts {
    code: KindCode(7),
    name: "calls",
    single: false,
    bytes: false,
    broadcast: false,
    calls: true,
};
pub(crate) const OF_BYTES: Facts = Facts {
    code: KindCode(8),
    name: "calls bytes",
    single: false,
    bytes: true,
    broadcast: false,
    calls: true,
};

/// The most calls that can be under way at once.
pub(crate) const MAX_CALLS: usize = 1 << 16;

/// Bytes of a slot before its request: the word; of bytes, also the lengths of the request
/// and of the reply.
const HEAD: usize = 8;
const HEAD_OF_BYTES: usize = 24;

fn parts(of: &Measures, head: usize) -> Option<Parts> {
    if of.messages > MAX_CALLS {
        return None;
    }
    let request = up(head, of.align.max(8))?;
    let reply = up(request.checked_add(of.size)?, of.reply.align.max(8))?;
    // Whole lines, since two calls have other participants.
    let stride = up(reply.checked_add(of.reply.size)?, LINE)?;
    let groups = of.messages.div_ceil(GROUP as usize);
    Some(Parts {
        slots: of.messages,
        shape: Shape { cell: request, stride },
        blocks: Some(Blocks { words: LINE * groups, count: 0, apart: 0 }),
        reply: ReplyPlace { at: reply, size: of.reply.size },
    })
}

pub(super) fn parts_of_elements(of: &Measures) -> Option<Parts> {
    parts(of, HEAD)
}

pub(super) fn parts_of_bytes(of: &Measures) -> Option<Parts> {
    if of.size.max(of.reply.size) > MAX_LENGTH { None } else { parts(of, HEAD_OF_BYTES) }
}
