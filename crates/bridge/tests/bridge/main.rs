//! Two hosts on one machine: each is a thread with an IPC namespace of its own, in which its
//! bridge and its segment are.

mod carried;
mod hostile;
mod hosts;
mod kills;
mod link;
mod plain;
mod removed;
mod secure;
