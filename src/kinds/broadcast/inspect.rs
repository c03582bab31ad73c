//! What a broadcast channel has, for people: a moment ago, and each word by itself.

use super::words::Board;
use crate::ring::broadcast::{self, ReliableView, Words};
use crate::ring::table::Member;
use crate::storage::{Cells, View};
use crate::sync::Ordering;

/// What there is.
pub(crate) struct Inspection {
    pub(crate) limit: u64,
    /// The first position that is not published.
    pub(crate) published: u64,
    /// The first one that is retained.
    pub(crate) oldest: u64,
    /// The participants that publish.
    pub(crate) publishers: Vec<Member>,
    /// The participants with a reliable subscriber, and the position that it reads next.
    pub(crate) reliable: Vec<(Member, u64)>,
}

impl Inspection {
    /// `None` of another kind of channel.
    pub(crate) fn of(cells: &Cells) -> Option<Self> {
        let board = Board::of(cells)?;
        let lives = |member: &Member| member.is_live(board.cells());
        let (publishers, reliable) = broadcast::entries_used(&board);
        let publishers = (0..publishers.min(board.shape().publishers))
            .filter_map(|n| broadcast::view_of_publisher(&board, n).holder.filter(lives))
            .collect();
        let reliable = (0..reliable.min(board.shape().reliable))
            .filter_map(|n| {
                let ReliableView { holder, joining, position } =
                    broadcast::view_of_reliable(&board, n);
                let holder = holder.filter(lives).filter(|_| !joining)?;
                Some((holder, position))
            })
            .collect();
        let published = board.published();
        Some(Self {
            limit: board.limit().load(Ordering::Relaxed),
            published,
            oldest: broadcast::oldest(&board).min(published),
            publishers,
            reliable,
        })
    }
}
