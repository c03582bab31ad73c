//! What has come and is not yet in the channel: so many bytes at most.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use zenoh::Wait as _;
use zenoh::liveliness::LivelinessToken;
use zenoh::pubsub::Subscriber;
use zenoh::query::{Query, Queryable};
use zenoh::sample::{Sample, SampleKind};

use crate::key;
use crate::route::Here;

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

/// So many other importers are noted.
const MOST_OTHERS: usize = 64;

/// What each item counts for beside its bytes.
const EACH: usize = 256;

/// The bytes of a query beside its payload.
pub(crate) fn extras(query: &Query) -> usize {
    let attached = query.attachment().map_or(0, |attached| attached.len());
    attached + query.parameters().as_str().len() + query.key_expr().as_str().len()
}

impl Inbox {
    pub(crate) fn new(most: u64, waits: bool) -> Self {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        Self { state: Mutex::default(), came: Condvar::new(), room: Condvar::new(), most, waits }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn push(&self, item: Item) {
        // All of it that stays in memory, whoever sent it.
        let (size, plain) = match &item {
            Item::Put(put) => {
                let attached = put.attachment().map(|attached| attached.len());
                (put.payload().len() + attached.unwrap_or_default(), attached.is_none())
            }
            Item::Query(query) => {
                let payload = query.payload().map_or(0, |payload| payload.len());
                (payload + extras(query), true)
            }
        };
        let size = size + EACH;
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
    _puts: Vec<Subscriber<()>>,
    _queries: Vec<Queryable<()>>,
    _token: Option<LivelinessToken>,
}

impl Inlet {
    /// For a broadcast channel: what is put comes to each host that imports it.
    pub(crate) fn of_broadcast(here: &Here<'_>, inbox: &Arc<Inbox>) -> zenoh::Result<Self> {
        let at = key::inlet(here.base);
        let (to, asked) = (Arc::clone(inbox), Arc::clone(inbox));
        let puts = here.session.declare_subscriber(&at);
        let puts = puts.callback(move |put| to.push(Item::Put(put))).wait()?;
        let queries = here.session.declare_queryable(&at);
        let queries = queries.callback(move |query| asked.push(Item::Query(query))).wait()?;
        let inbox = Arc::clone(inbox);
        Ok(Self { inbox, _puts: vec![puts], _queries: vec![queries], _token: None })
    }

    /// For a queue: what is asked comes to one host. A put would come to each, so there is none;
    /// and if several hosts import the queue, one of them is to be asked by its own key.
    pub(crate) fn of_queue(here: &Here<'_>, inbox: &Arc<Inbox>) -> zenoh::Result<Self> {
        let at = key::inlet(here.base);
        let own = format!("{at}/{}", here.origin);
        let others = Arc::<Mutex<BTreeSet<String>>>::default();
        let seen = Arc::clone(&others);
        let (this, liveliness) = (own.clone(), here.session.liveliness());
        let watch = liveliness.declare_subscriber(format!("{at}/*")).history(true);
        let watch = watch.callback(move |sample| {
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            let key = sample.key_expr().to_string();
            match sample.kind() {
                SampleKind::Put if key != this && seen.len() < MOST_OTHERS => {
                    seen.insert(key);
                }
                SampleKind::Put => {}
                SampleKind::Delete => {
                    seen.remove(&key);
                }
            }
        });
        let watch = watch.wait()?;
        let (to, of_one) = (Arc::clone(inbox), Arc::clone(inbox));
        let any = here.session.declare_queryable(&at).callback(move |query| {
            let others = others.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(one) = others.first() else { return to.push(Item::Query(query)) };
            let _ = query.reply_err(format!("several hosts import it: ask one, as {one}")).wait();
        });
        let any = any.wait()?;
        let one = here.session.declare_queryable(&own);
        let one = one.callback(move |query| of_one.push(Item::Query(query))).wait()?;
        let token = here.session.liveliness().declare_token(&own).wait()?;
        let inbox = Arc::clone(inbox);
        Ok(Self { inbox, _puts: vec![watch], _queries: vec![any, one], _token: Some(token) })
    }
}

impl Drop for Inlet {
    fn drop(&mut self) {
        self.inbox.close();
    }
}
