//! What has come and is not yet in the channel: so many bytes at most.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use zenoh::pubsub::Subscriber;
use zenoh::query::{Query, Queryable};
use zenoh::sample::Sample;
use zenoh::{Session, Wait as _};

use crate::key;

/// Something that has come.
pub(crate) enum Item {
    /// Messages of an exporter, or one of a plain client.
    Put(Sample),
    /// A message of a plain client that waits for an answer.
    Query(Query),
}

/// What has come.
pub(crate) struct Inbox {
    state: Mutex<Waiting>,
    came: Condvar,
    room: Condvar,
    most: usize,
    /// Whether the other side waits for room. Otherwise what has none is dropped, which its numbers
    /// tell.
    waits: bool,
}

#[derive(Default)]
struct Waiting {
    items: VecDeque<(Item, usize)>,
    bytes: usize,
    /// Messages of plain clients for which there was no room.
    refused: u64,
    closed: bool,
}

/// What each item counts for beside its payload.
const EACH: usize = 256;

impl Inbox {
    pub(crate) fn new(most: u64, waits: bool) -> Self {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        Self { state: Mutex::default(), came: Condvar::new(), room: Condvar::new(), most, waits }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn push(&self, item: Item) {
        let (payload, plain) = match &item {
            Item::Put(sample) => (sample.payload().len(), sample.attachment().is_none()),
            Item::Query(query) => (query.payload().map_or(0, |payload| payload.len()), true),
        };
        let size = payload + EACH;
        let mut state = self.lock();
        while !state.closed && !state.items.is_empty() && state.bytes + size > self.most {
            // This thread brings what comes for all channels. A plain client that wants to know
            // what becomes of its message asks.
            if !self.waits || plain {
                state.refused += u64::from(plain);
                drop(state);
                if let Item::Query(query) = item {
                    let _ = query.reply_err("there is no room for it").wait();
                }
                return;
            }
            state = self.room.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.closed {
            return;
        }
        state.bytes += size;
        state.items.push_back((item, size));
        drop(state);
        self.came.notify_one();
    }

    pub(crate) fn pop(&self, most: Duration) -> Option<Item> {
        let mut state = self.lock();
        if state.items.is_empty() {
            let came = self.came.wait_timeout_while(state, most, |state| state.items.is_empty());
            state = came.unwrap_or_else(PoisonError::into_inner).0;
        }
        let (item, size) = state.items.pop_front()?;
        state.bytes -= size;
        drop(state);
        self.room.notify_all();
        Some(item)
    }

    /// How many messages of plain clients had no room since the last call.
    pub(crate) fn take_refused(&self) -> u64 {
        std::mem::take(&mut self.lock().refused)
    }

    /// Nothing more comes in, and nobody waits for room.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        drop(state);
        self.room.notify_all();
    }
}

/// What plain clients put, and what they ask to be answered, until this is dropped.
pub(crate) struct Inlet {
    inbox: Arc<Inbox>,
    _puts: Subscriber<()>,
    _queries: Queryable<()>,
}

impl Inlet {
    pub(crate) fn new(session: &Session, base: &str, inbox: &Arc<Inbox>) -> Result<Self, String> {
        let at = key::inlet(base);
        let (puts, queries) = (Arc::clone(inbox), Arc::clone(inbox));
        let puts = session.declare_subscriber(&at).callback(move |put| puts.push(Item::Put(put)));
        let puts = puts.wait().map_err(|why| why.to_string())?;
        let queries =
            session.declare_queryable(&at).callback(move |query| queries.push(Item::Query(query)));
        let queries = queries.wait().map_err(|why| why.to_string())?;
        Ok(Self { inbox: Arc::clone(inbox), _puts: puts, _queries: queries })
    }
}

impl Drop for Inlet {
    fn drop(&mut self) {
        self.inbox.close();
    }
}
