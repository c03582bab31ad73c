//! A message: its number, when it was sent, a checksum, and bytes that follow from the number.

use crc32fast::Hasher;
use tombolo_cli::terms::now;

/// The number and the time, and the checksum of everything else.
const HEAD: usize = 20;
/// How short a message can be.
pub(super) const LEAST: usize = HEAD;
/// The number of a message that only shows that the way is open.
pub(super) const HELLO: u64 = u64::MAX;

/// Writes a message of this number.
pub(super) fn write(number: u64, into: &mut [u8]) {
    let mut state = number | 1;
    for chunk in into.get_mut(HEAD..).unwrap_or_default().chunks_mut(8) {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        chunk.copy_from_slice(&state.to_le_bytes()[..chunk.len()]);
    }
    into[..8].copy_from_slice(&number.to_le_bytes());
    into[8..16].copy_from_slice(&now().to_le_bytes());
    let sum = sum(into);
    into[16..HEAD].copy_from_slice(&sum.to_le_bytes());
}

/// The number of a message, and how many nanoseconds ago it was sent; `None` if it is not whole.
pub(super) fn read(message: &[u8], size: usize) -> Option<(u64, u64)> {
    let word = |at: usize| Some(u64::from_le_bytes(message.get(at..at + 8)?.try_into().ok()?));
    let said = u32::from_le_bytes(message.get(16..HEAD)?.try_into().ok()?);
    (message.len() == size && said == sum(message))
        .then_some((word(0)?, now().saturating_sub(word(8)?)))
}

fn sum(message: &[u8]) -> u32 {
    let mut hasher = Hasher::new();
    hasher.update(message.get(..16).unwrap_or_default());
    hasher.update(message.get(HEAD..).unwrap_or_default());
    hasher.finalize()
}
