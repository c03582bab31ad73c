//! Invented histories: those that no queue could have are refused, and accepted after the
//! smallest correction.

use crate::check::{Judgement, check};
use crate::common::ends::{Nothing, Ring};
use crate::history::{Answer, Asked, History, Kill, Op, Spec};

/// A history in the making. Times are whatever one likes.
#[derive(Clone)]
struct Story(History);

impl Story {
    fn of(ring: Ring, capacity: usize) -> Self {
        Self(History {
            spec: Spec { ring, capacity, times: 1 },
            ops: Vec::new(),
            kills: Vec::new(),
        })
    }

    fn with(mut self, who: usize, call: u64, asked: Asked, end: Option<(u64, Answer)>) -> Self {
        self.0.ops.push(Op { who, call, end, asked });
        self
    }

    fn sent(self, who: usize, [call, end]: [u64; 2], id: u64) -> Self {
        self.with(who, call, Asked::Send(vec![id]), Some((end, Answer::Sent(1))))
    }

    fn full(self, who: usize, [call, end]: [u64; 2], id: u64) -> Self {
        self.with(who, call, Asked::Send(vec![id]), Some((end, Answer::Sent(0))))
    }

    fn got(self, who: usize, [call, end]: [u64; 2], id: u64) -> Self {
        self.with(who, call, Asked::Recv(1), Some((end, Answer::Got(vec![id]))))
    }

    fn nothing(self, who: usize, [call, end]: [u64; 2], nothing: Nothing) -> Self {
        self.with(who, call, Asked::Recv(1), Some((end, Answer::Nothing(nothing))))
    }

    fn empty(self, who: usize, time: [u64; 2]) -> Self {
        self.nothing(who, time, Nothing::Empty)
    }

    fn taken(self, who: usize, [call, end]: [u64; 2], id: u64, deaths: u8) -> Self {
        self.with(who, call, Asked::Take, Some((end, Answer::Taken(id, deaths))))
    }

    fn done(self, who: usize, [call, end]: [u64; 2], asked: Asked) -> Self {
        self.with(who, call, asked, Some((end, Answer::Done)))
    }

    fn cut(self, who: usize, call: u64, asked: Asked) -> Self {
        self.with(who, call, asked, None)
    }

    fn killed(mut self, who: usize, [sent, dead]: [u64; 2]) -> Self {
        self.0.kills.push(Kill { who, sent, dead });
        self
    }

    #[track_caller]
    fn is_right(&self) {
        let judged = check(&self.0);
        assert!(matches!(judged, Judgement::Right(_)), "{judged:?}: {}", self.0);
    }

    #[track_caller]
    fn is_wrong(&self) {
        let judged = check(&self.0);
        assert!(matches!(judged, Judgement::Wrong(_)), "{judged:?}: {}", self.0);
    }
}

/// Each ring with room for two.
fn each(test: impl Fn(Story)) {
    Ring::ALL.into_iter().for_each(|ring| test(Story::of(ring, 2)));
}

fn each_mpmc(test: impl Fn(Story)) {
    [Ring::Mpmc, Ring::MpmcBytes].into_iter().for_each(|ring| test(Story::of(ring, 2)));
}

#[test]
fn a_lost_message_is_noticed() {
    each(|story| {
        let sent = story.sent(0, [0, 1], 7);
        sent.clone().got(1, [2, 3], 7).empty(1, [4, 5]).is_right();
        sent.clone().empty(1, [2, 3]).is_wrong();
        // It may not have been sent yet.
        sent.empty(1, [0, 3]).is_right();
    });
}

#[test]
fn a_message_from_nowhere_is_noticed() {
    each(|story| {
        story.clone().got(1, [0, 1], 7).is_wrong();
        story.clone().sent(0, [2, 3], 7).got(1, [0, 1], 7).is_wrong();
        story.full(0, [0, 1], 7).is_wrong();
    });
}

#[test]
fn a_message_that_comes_twice_is_noticed() {
    each(|story| {
        let sent = story.sent(0, [0, 1], 7).sent(0, [2, 3], 8);
        sent.clone().got(1, [4, 5], 7).got(1, [6, 7], 8).is_right();
        sent.got(1, [4, 5], 7).got(1, [6, 7], 7).is_wrong();
    });
}

#[test]
fn messages_out_of_order_are_noticed() {
    each(|story| {
        let sent = story.sent(0, [0, 1], 7).sent(0, [2, 3], 8);
        sent.got(1, [4, 5], 8).got(1, [6, 7], 7).is_wrong();
    });
    each_mpmc(|story| {
        let sent = story.clone().sent(0, [0, 1], 7).sent(0, [2, 3], 8);
        // Two receivers at once may have either.
        sent.clone().got(1, [4, 6], 8).got(2, [5, 7], 7).is_right();
        sent.got(1, [4, 5], 8).got(2, [6, 7], 7).is_wrong();
        // And two senders at once come in either order.
        let both = story.sent(0, [0, 2], 7).sent(3, [1, 3], 8);
        both.clone().got(1, [4, 5], 8).got(1, [6, 7], 7).is_right();
        both.got(1, [4, 5], 7).got(1, [6, 7], 8).is_right();
    });
}

#[test]
fn full_is_not_said_where_there_is_room() {
    each(|story| {
        let one = story.sent(0, [0, 1], 7);
        one.clone().full(0, [2, 3], 8).is_wrong();
        let two = one.sent(0, [2, 3], 8);
        two.clone().full(0, [4, 5], 9).is_right();
        two.clone().got(1, [6, 7], 7).full(0, [8, 9], 9).is_wrong();
        // It may not have been received yet.
        two.got(1, [4, 7], 7).full(0, [5, 6], 9).is_right();
    });
}

#[test]
fn no_more_fit_than_there_is_room_for() {
    each(|story| {
        let many = (0..3).fold(story, |story, n| story.sent(0, [2 * n, 2 * n + 1], n + 1));
        if many.0.spec.ring == Ring::SpscBytes {
            many.clone().is_right();
            many.sent(0, [8, 9], 9).is_wrong();
        } else {
            many.is_wrong();
        }
    });
}

#[test]
fn what_is_being_read_is_in_the_way() {
    each(|story| {
        let taken = story.sent(0, [0, 1], 7).sent(0, [2, 3], 8).taken(1, [4, 5], 7, 0);
        taken.clone().full(0, [6, 7], 9).is_right();
        let released = taken.clone().done(1, [6, 7], Asked::Release);
        released.clone().full(0, [8, 9], 9).is_wrong();
        released.sent(0, [8, 9], 9).is_right();
        if taken.0.spec.ring != Ring::SpscBytes {
            taken.sent(0, [6, 7], 9).is_wrong();
        }
    });
}

/// A grant that reader and writers meet, or not, before it is committed.
#[test]
fn an_unpublished_message_hides_what_is_behind_it() {
    let reserved = |ring| {
        let granted = Some((1, Answer::Sent(1)));
        Story::of(ring, 2).with(0, 0, Asked::Reserve, granted).sent(2, [2, 3], 8)
    };
    let typed = reserved(Ring::Mpmc);
    typed.clone().nothing(1, [4, 5], Nothing::Pending).is_right();
    typed.clone().empty(1, [4, 5]).is_wrong();
    typed.clone().got(1, [4, 5], 8).is_wrong();
    typed.clone().full(2, [4, 5], 9).is_right();
    let committed = typed.clone().done(0, [6, 7], Asked::Commit(7));
    committed.clone().got(1, [8, 9], 7).got(1, [10, 11], 8).is_right();
    committed.clone().nothing(1, [8, 9], Nothing::Pending).is_wrong();
    committed.got(1, [8, 9], 8).is_wrong();
    let aborted = typed.done(0, [6, 7], Asked::Abort);
    aborted.clone().got(1, [8, 9], 8).empty(1, [10, 11]).is_right();
    aborted.nothing(1, [8, 9], Nothing::Pending).is_wrong();
    // Bytes have no place until they are committed, but count.
    let bytes = reserved(Ring::MpmcBytes);
    bytes.clone().nothing(1, [4, 5], Nothing::Pending).is_wrong();
    bytes.clone().full(2, [4, 5], 9).is_right();
    bytes.clone().sent(2, [4, 5], 9).is_wrong();
    bytes.got(1, [4, 5], 8).done(0, [6, 7], Asked::Commit(7)).got(1, [8, 9], 7).is_right();
}

#[test]
fn pending_is_not_said_where_nobody_writes() {
    each(|story| {
        story.clone().nothing(1, [0, 1], Nothing::Pending).is_wrong();
        story.sent(0, [0, 1], 7).nothing(1, [2, 3], Nothing::Pending).is_wrong();
    });
    each_mpmc(|story| {
        story.sent(0, [0, 3], 7).nothing(1, [1, 2], Nothing::Pending).is_right();
    });
}

#[test]
fn a_time_out_has_a_reason() {
    each(|story| {
        story.clone().nothing(1, [0, 1], Nothing::TimedOut).is_right();
        story.sent(0, [0, 1], 7).nothing(1, [2, 3], Nothing::TimedOut).is_wrong();
    });
}

#[test]
fn what_is_given_back_comes_before_all_else() {
    each_mpmc(|story| {
        let two = story.sent(0, [0, 1], 7).sent(0, [2, 3], 8);
        let back = two.taken(1, [4, 5], 7, 0).done(1, [6, 7], Asked::GiveBack);
        back.clone().got(2, [8, 9], 7).got(2, [10, 11], 8).is_right();
        back.clone().got(2, [8, 9], 8).is_wrong();
        back.clone().taken(2, [8, 9], 7, 1).is_wrong();
        back.clone().got(2, [8, 9], 7).got(2, [10, 11], 8).empty(2, [12, 13]).is_right();
        // One who came before it was back may have passed it over.
        back.got(2, [5, 9], 8).empty(2, [10, 11]).is_wrong();
    });
    for ring in [Ring::Spsc, Ring::SpscBytes] {
        let taken = Story::of(ring, 2).sent(0, [0, 1], 7).taken(1, [2, 3], 7, 0);
        let back = taken.done(1, [4, 5], Asked::GiveBack);
        back.clone().got(1, [6, 7], 7).empty(1, [8, 9]).is_right();
        back.empty(1, [6, 7]).is_wrong();
    }
}

#[test]
fn a_batch_that_stops_short_has_a_reason() {
    let sent = |story: Story, count| {
        story.with(0, 0, Asked::Send(vec![1, 2, 3]), Some((1, Answer::Sent(count))))
    };
    for ring in [Ring::Mpmc, Ring::Spsc] {
        let story = Story::of(ring, 2);
        sent(story.clone(), 2).is_right();
        sent(story.clone(), 1).is_wrong();
        sent(story, 3).is_wrong();
    }
    each(|story| {
        let two = story.sent(0, [0, 1], 7).sent(0, [2, 3], 8);
        let got = |ids: &[u64]| {
            two.clone().with(1, 4, Asked::Recv(3), Some((5, Answer::Got(ids.to_vec()))))
        };
        got(&[7, 8]).is_right();
        got(&[7]).is_wrong();
        got(&[8]).is_wrong();
        got(&[8, 7]).is_wrong();
    });
}

#[test]
fn the_killed_have_done_a_part_of_their_call() {
    each(|story| {
        let cut = story.clone().cut(0, 0, Asked::Send(vec![7, 8])).killed(0, [1, 2]);
        let swept = cut.done(9, [3, 4], Asked::Sweep);
        swept.clone().empty(1, [5, 6]).is_right();
        swept.clone().got(1, [5, 6], 7).empty(1, [7, 8]).is_right();
        swept.clone().got(1, [5, 6], 7).got(1, [7, 8], 8).is_right();
        swept.clone().got(1, [5, 6], 8).is_wrong();
        // Nothing is in the way after the sweep.
        swept.clone().nothing(1, [5, 6], Nothing::Pending).is_wrong();
        // Not before it has begun, and not when it has ended.
        story
            .clone()
            .cut(0, 4, Asked::Send(vec![7]))
            .got(1, [1, 2], 7)
            .killed(0, [5, 6])
            .is_wrong();
        swept.empty(1, [5, 6]).got(1, [7, 8], 7).is_wrong();
    });
}

#[test]
fn what_the_killed_were_reading_comes_again_as_often_as_it_may() {
    each_mpmc(|story| {
        let sent = story.sent(0, [0, 1], 7);
        let swept = |story: Story, who: usize, at: u64| {
            story.killed(who, [at, at + 1]).done(9, [at + 2, at + 3], Asked::Sweep)
        };
        let once = swept(sent.clone().taken(1, [2, 3], 7, 0), 1, 4);
        once.clone().taken(2, [8, 9], 7, 1).is_right();
        once.clone().taken(2, [8, 9], 7, 0).is_wrong();
        once.clone().empty(2, [8, 9]).is_wrong();
        let twice = swept(once.taken(2, [8, 9], 7, 1), 2, 10);
        twice.clone().empty(3, [14, 15]).is_right();
        twice.got(3, [14, 15], 7).is_wrong();
        // Cut off while it received: it has it, or it has not.
        let cut = swept(sent.cut(1, 2, Asked::Recv(1)), 1, 4);
        cut.clone().empty(2, [8, 9]).is_right();
        cut.clone().taken(2, [8, 9], 7, 0).is_right();
        cut.taken(2, [8, 9], 7, 1).is_right();
    });
    for ring in [Ring::Spsc, Ring::SpscBytes] {
        let taken = Story::of(ring, 2).sent(0, [0, 1], 7).taken(1, [2, 3], 7, 0);
        let killed = taken.killed(1, [4, 5]).done(9, [6, 7], Asked::Sweep);
        killed.clone().got(9, [8, 9], 7).is_right();
        killed.empty(9, [8, 9]).is_wrong();
    }
}

#[test]
fn no_call_fails() {
    each(|story| story.with(0, 0, Asked::Recv(1), Some((1, Answer::Failed))).is_wrong());
}
