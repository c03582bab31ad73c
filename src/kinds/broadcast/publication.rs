//! A publisher's place in a broadcast ring, and how it goes on when it is refused.

use core::cell::Cell;

use super::words::Board;
use crate::kinds::keep_back::KeepBack;
use crate::ring::broadcast::{self, Publisher, Refused, Words};
use crate::ring::role;
use crate::ring::table::Member;
use crate::ring::wait::NotNow;
use crate::storage::View;

/// So many times in a row nobody is overtaken by others who keep to the protocol.
const MOST_PASSES: u32 = 1_000;

/// A publisher's entry, and where it is. The entry is given up when this is dropped.
#[derive(Debug)]
pub struct Publication {
    publisher: Publisher,
    /// How many messages had been published when this one last published, that one included;
    /// 0 if it has not.
    published: Cell<u64>,
    /// From the reliable subscribers.
    keep_back: KeepBack,
    board: Board,
    me: Member,
}

impl Publication {
    /// `None` if all entries are taken.
    pub(super) fn claim(board: &Board, me: Member) -> Option<Self> {
        let number = broadcast::claim(board, board.cells(), me)?;
        let publisher = Publisher::attach(board, number);
        let keep_back = KeepBack::new(board.shape().reach, publisher.position());
        Some(Self { publisher, published: Cell::new(0), keep_back, board: board.clone(), me })
    }

    /// A lower bound of the next position.
    pub(super) fn position(&self) -> u64 {
        self.publisher.position()
    }

    /// The position of the message that this one published last.
    pub(crate) fn last(&self) -> Option<u64> {
        self.published.get().checked_sub(1)
    }

    #[inline(always)]
    pub(super) fn spare(&self) -> u64 {
        self.publisher.spare()
    }

    /// Fetches what is to be written a little later.
    #[inline(always)]
    pub(super) fn fetch_ahead(&self, board: &Board) {
        board.fetch_ahead(self.publisher.slot(), self.publisher.spare());
    }

    /// Whether there is room, without asking anybody.
    #[inline(always)]
    pub(super) fn is_ready(&self) -> bool {
        self.publisher.has_room()
    }

    /// Finds room, which asks the reliable subscribers. Where they leave none, keeps back, and
    /// asks once more.
    pub(super) fn ready(&self, board: &Board) -> Result<(), NotNow> {
        let ready = || self.publisher.ready(board, board.cells());
        let find = || ready().or_else(|refused| settled(refused, ready));
        match find() {
            Err(NotNow::Nothing) if self.keep_back.retries(self.position()) => find(),
            found => found,
        }
    }

    /// Publishes what is in the spare buffer.
    #[inline(always)]
    pub(super) fn publish(&self, board: &Board) -> Result<(), NotNow> {
        self.settle(board, self.publisher.publish(board, board.cells()))
    }

    /// The same after [`is_ready`](Self::is_ready) or [`ready`](Self::ready) has found room.
    #[inline(always)]
    pub(super) fn publish_next(&self, board: &Board) -> Result<(), NotNow> {
        self.settle(board, self.publisher.publish_next(board, board.cells(), false))
    }

    /// Goes on after the first attempt to publish what is in the spare buffer.
    #[inline(always)]
    fn settle(&self, board: &Board, attempt: Result<u64, Refused>) -> Result<(), NotNow> {
        match attempt {
            Ok(position) => {
                self.published.set(position.wrapping_add(1));
                Ok(())
            }
            Err(refused) => {
                self.publish_again(refused, || self.publisher.publish(board, board.cells()))
            }
        }
    }

    /// Publishes that so many messages are missing.
    pub(super) fn publish_gap(&self, board: &Board, missed: u64) -> Result<(), NotNow> {
        self.ready(board)?;
        board.set_missing(self.spare(), missed);
        let publish = || self.publisher.publish_gap(board, board.cells());
        match publish() {
            Ok(position) => {
                self.published.set(position.wrapping_add(1));
                Ok(())
            }
            Err(refused) => self.publish_again(refused, publish),
        }
    }

    #[cold]
    #[inline(never)]
    fn publish_again(
        &self,
        refused: Refused,
        publish: impl FnMut() -> Result<u64, Refused>,
    ) -> Result<(), NotNow> {
        let position = settled(refused, publish)?;
        self.published.set(position.wrapping_add(1));
        Ok(())
    }
}

/// Tries again as long as others are faster.
#[cold]
#[inline(never)]
fn settled<R>(
    mut refused: Refused,
    mut attempt: impl FnMut() -> Result<R, Refused>,
) -> Result<R, NotNow> {
    let backoff = crossbeam_utils::Backoff::new();
    for _ in 0..MOST_PASSES {
        match refused {
            Refused::Blocked(_) => return Err(NotNow::Nothing),
            Refused::Corrupt(word) => return Err(NotNow::Word(word)),
            Refused::Contended => backoff.spin(),
        }
        match attempt() {
            Ok(done) => return Ok(done),
            Err(again) => refused = again,
        }
    }
    Err(NotNow::Disorder)
}

impl Drop for Publication {
    fn drop(&mut self) {
        // In a forked child, it belongs to the parent.
        if !self.board.cells().in_child() {
            role::release(self.board.publisher(self.publisher.number()).holder, self.me);
        }
    }
}
