//! Looking at the messages of a broadcast channel, as a subscriber that publishers do not wait
//! for, which writes nothing.

use super::words::Board;
use crate::kinds::peek::{Copied, Peek};
use crate::ring::broadcast::{self, Look, Words as _};
use crate::ring::cursor::Cursor;

/// What is at a position, of which `copy` makes a copy, by its buffer.
pub(super) fn peek(board: &Board, position: u64, copy: impl FnOnce(u64) -> Copied) -> Peek {
    let next = position.wrapping_add(1);
    match broadcast::look(board, Cursor::at(position, board.shape().slots)) {
        Look::Found(found) => {
            let message = copy(found.buffer);
            if broadcast::unchanged(board, found) {
                Peek::Found { message, next }
            } else {
                Peek::Gone(broadcast::oldest(board).max(next))
            }
        }
        Look::Gap(gap) => {
            let count = board.missing(gap.buffer);
            if broadcast::unchanged(board, gap) {
                Peek::Missing { count, next }
            } else {
                Peek::Gone(broadcast::oldest(board).max(next))
            }
        }
        Look::Missed => Peek::Gone(broadcast::oldest(board).max(next)),
        Look::Nothing | Look::Corrupt(_) => Peek::Nothing,
    }
}
