//! What this process watches, and which channels have called it.
//!
//! A participant has one bell and one record of what has called, whatever number of its threads
//! watch. So whoever collects that record hands it to all of them, under a lock: nobody can find
//! the record empty and sleep before it has been handed what was in it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::mapped::Mapped;
use crate::kinds::block::Block;
use crate::ring::table::Member;
use crate::ring::watch::{self, Calls, PARTS, Topic, Watchers as _};
use crate::sync::Ordering;
use crate::sync::unstepped::AtomicU64;

/// All who watch in this process.
#[derive(Debug, Default)]
pub(super) struct Ears(Mutex<All>);

#[derive(Debug, Default)]
struct All {
    /// What each of them has been handed.
    handed: Vec<Weak<Handed>>,
    /// How many watch a topic of a channel.
    users: HashMap<(u16, Topic), usize>,
}

/// Which channels have called, and one of those who watch has not looked yet.
#[derive(Debug, Default)]
pub(super) struct Handed([AtomicU64; PARTS]);

impl Handed {
    fn take(&self) -> Calls {
        let take = |part: &AtomicU64| match part.load(Ordering::Relaxed) {
            0 => 0,
            // Relaxed: the lock, and the look that follows.
            _ => part.swap(0, Ordering::Relaxed),
        };
        self.0.each_ref().map(take)
    }
}

impl Ears {
    fn all(&self) -> MutexGuard<'_, All> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more who watches.
    pub(super) fn enter(&self) -> Arc<Handed> {
        let handed = Arc::<Handed>::default();
        let mut all = self.all();
        all.handed.retain(|other| other.strong_count() > 0);
        all.handed.push(Arc::downgrade(&handed));
        handed
    }

    /// What has called this participant is handed to all, and taken by one of them.
    pub(super) fn collect(&self, mapped: &Mapped, me: Member, mine: &Handed) -> Calls {
        let all = self.all();
        // Those of a process that the others have taken for dead are its successor's.
        if !me.is_live(mapped) {
            return mine.take();
        }
        let calls = watch::collect(mapped, me.id);
        if calls.iter().any(|part| *part != 0) {
            for handed in all.handed.iter().filter_map(Weak::upgrade) {
                for (part, called) in handed.0.iter().zip(calls) {
                    part.fetch_or(called, Ordering::Relaxed);
                }
            }
        }
        mine.take()
    }

    /// The same for one who is awake: may leave out what another one is just collecting.
    pub(super) fn glance(&self, mapped: &Mapped, me: Member, mine: &Handed) -> Calls {
        let none = |part: usize| mapped.calls(me.id, part).load(Ordering::Relaxed) == 0;
        if (0..PARTS).all(none) { mine.take() } else { self.collect(mapped, me, mine) }
    }

    /// So many watch a topic of a channel as `change` makes of those who did.
    pub(super) fn change(
        &self,
        mapped: &Mapped,
        me: Member,
        (block, topic): (&Block, Topic),
        change: impl FnOnce(usize) -> usize,
    ) {
        let mut all = self.all();
        let key = (block.index, topic);
        let before = all.users.get(&key).copied().unwrap_or_default();
        match change(before) {
            0 => all.users.remove(&key),
            after => all.users.insert(key, after),
        };
        if (before == 0) != all.users.contains_key(&key) {
            return;
        }
        let watched = |topic: &Topic| all.users.contains_key(&(block.index, *topic));
        let topics = [Topic::Items, Topic::Space, Topic::Slots].into_iter().filter(watched);
        if let Some(watch) = mapped.watch(block, topic) {
            watch.register(me, topics.map(|topic| topic as u64).sum());
        }
    }
}
