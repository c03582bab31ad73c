//! Why a call on a message queue failed.

use nix::errno::Errno;

use super::memory;
use crate::sys::error::{Detail, ErrorKind, Found};
use crate::sys::raw;

pub(super) fn new_queue(errno: Errno) -> Found {
    match errno {
        Errno::ENOSPC => (ErrorKind::NoSpace, number()),
        Errno::ENOMEM => (ErrorKind::NoMemory, Some(memory::short())),
        _ => (ErrorKind::Other, None),
    }
}

pub(super) fn queue(errno: Errno, id: i32) -> Found {
    match errno {
        Errno::EINVAL if found(id).is_none() => (ErrorKind::Removed, None),
        Errno::EINVAL => (ErrorKind::Invalid, None),
        // A message that does not fit: who receives knows into what.
        Errno::E2BIG => (ErrorKind::TooBig, None),
        Errno::ENOMEM => (ErrorKind::NoMemory, Some(memory::short())),
        _ => (ErrorKind::Other, None),
    }
}

pub(super) fn message(errno: Errno, id: i32, kind: i64, len: usize) -> Found {
    match errno {
        Errno::EAGAIN => full(id, len),
        Errno::EINVAL if kind < 1 => (
            ErrorKind::Invalid,
            Some(Detail::new("a message's type is at least 1", "choose a number from 1 on")),
        ),
        Errno::EINVAL => match longest() {
            Some(longest) if len as u64 > longest => (
                ErrorKind::TooBig,
                Some(Detail::new(
                    format!("kernel.msgmax allows {longest} bytes per message"),
                    "send less, send where the rest is, or raise it: sysctl kernel.msgmax",
                )),
            ),
            _ => queue(errno, id),
        },
        _ => queue(errno, id),
    }
}

fn full(id: i32, len: usize) -> Found {
    let Some(stat) = found(id) else {
        return (ErrorKind::WouldBlock, None);
    };
    let (most, held, messages) = (stat.msg_qbytes, stat.__msg_cbytes, stat.msg_qnum);
    if len as u64 > most {
        let cause = format!("the queue holds {most} bytes at most (msg_qbytes)");
        let remedy = "send less, or have its owner raise that, up to kernel.msgmnb";
        return (ErrorKind::TooBig, Some(Detail::new(cause, remedy)));
    }
    let limit = limits().map_or_else(String::new, |info| info.msgmnb.to_string());
    let cause = format!(
        "the queue is full: {messages} messages of {held} bytes, and it holds {most} of either \
         (kernel.msgmnb: {limit})"
    );
    let remedy = "does its receiver run? raise kernel.msgmnb before it is created";
    (ErrorKind::WouldBlock, Some(Detail::new(cause, remedy)))
}

fn number() -> Option<Box<Detail>> {
    let (_, used) = raw::msg_info().ok()?;
    // MSG_INFO reports use in this field.
    let exist = used.msgpool;
    Some(Detail::new(
        format!("kernel.msgmni allows {} queues, {exist} exist", used.msgmni),
        format!(
            "remove unused queues (ipcs -q, ipcrm -q ID), or raise it: sysctl kernel.msgmni={}",
            used.msgmni.saturating_mul(2).max(1)
        ),
    ))
}

fn limits() -> Option<libc::msginfo> {
    raw::msg_info().map(|(_, info)| info).ok()
}

fn longest() -> Option<u64> {
    limits().and_then(|info| info.msgmax.try_into().ok())
}

pub(super) fn found(id: i32) -> Option<libc::msqid_ds> {
    let (found, stat) = raw::msg_stat_any(id).ok()?;
    (found == id).then_some(stat)
}
