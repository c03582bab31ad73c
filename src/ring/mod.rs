//! The algorithms, and nothing else: no system call, no segment, no payload.
//!
//! Each file is one algorithm over words that somebody else has placed and a
//! [`Kernel`](kernel::Kernel) that somebody else provides. The crate
//! `loom-tests` compiles these very files beside its own `sync`; what they
//! import is therefore `crate::sync` and each other.

pub(crate) mod backoff;
pub(crate) mod bell;
pub(crate) mod blocks;
pub(crate) mod broadcast;
pub(crate) mod calls;
pub(crate) mod creation;
pub(crate) mod credit;
pub(crate) mod cursor;
pub(crate) mod death_record;
pub(crate) mod event;
pub(crate) mod gate;
pub(crate) mod in_flight;
pub(crate) mod joint;
pub(crate) mod journal;
pub(crate) mod kernel;
pub(crate) mod lease;
pub(crate) mod mpmc;
pub(crate) mod records;
pub(crate) mod recovery;
pub(crate) mod role;
pub(crate) mod set;
pub(crate) mod slot_waiters;
pub(crate) mod spsc;
pub(crate) mod table;
pub(crate) mod wait;
pub(crate) mod wake_all;
pub(crate) mod watch;
