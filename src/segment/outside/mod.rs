//! Segments from outside: seen by a process that has not joined them.

mod broadcast;
mod calls;
pub(super) mod debris;
mod examine;
pub(super) mod holders;
mod list;
mod observer;
mod orphans;
mod people;

pub use broadcast::{BroadcastInfo, ReliableInfo};
pub use calls::CallsInfo;
pub use list::{ChannelInfo, SegmentInfo};
pub use observer::Observer;
pub use orphans::Orphan;
pub use people::{EndsInfo, PersonInfo};
