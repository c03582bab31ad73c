//! The kinds of channels. All that is particular to one stands in its folder: its number
//! and what its block consists of (`layout`), its words and messages in memory (`words`,
//! `storage`), how its ring is used (`mod`), what the dead held in it (`recover`), and how
//! it is audited (`audit`).
//!
//! A kind is one of rings, and of what messages are made of: elements of one
//! size, or bytes of any length. [`table`] lists the kinds; [`ring`] and [`any`] say
//! what each has to be.

mod any;
pub(crate) mod audit;
pub(crate) mod batch;
pub(crate) mod block;
pub(crate) mod broadcast;
pub(crate) mod calls;
pub(crate) mod element;
pub(crate) mod joint;
mod keep_back;
pub(crate) mod message;
pub(crate) mod mpmc;
pub(crate) mod mpmc_bytes;
pub(crate) mod passed;
pub(crate) mod payload;
pub(crate) mod recover;
pub(crate) mod ring;
pub(crate) mod spsc;
pub(crate) mod spsc_bytes;
pub(crate) mod table;
