//! The kernel's limits on System V objects, against what a segment needs.

use tombolo::sys::{self, limits};

use super::{Args, Row};

/// Semaphores of a set besides those of its processes and channels.
const OF_THE_SET: u64 = 13;
/// Operations of one call that a segment needs whose participants have bells of their own: as many
/// are struck together.
const OF_A_CALL: u64 = 32;
/// The same where they have none, because the set is too small for them: for a wait set of some 30
/// members.
const OF_A_WAIT_SET: u64 = 36;

pub(super) fn rows(args: &Args) -> sys::Result<Vec<Row>> {
    let (sem, shm, msg) = (limits::sem()?, limits::shm()?, limits::msg()?);
    let mut rows = semaphores(&sem, args);
    rows.extend(memory(&shm, args));
    rows.push(queues(&msg));
    Ok(rows)
}

/// The four numbers of `kernel.sem`.
fn semaphores(sem: &limits::Sem, args: &Args) -> Vec<Row> {
    let need = OF_THE_SET + 2 * u64::from(args.participants) + 2 * u64::from(args.channels);
    let limits::Sem { per_set, system_wide, ops_per_call, sets, used_sets, used_sems, .. } = *sem;
    // One command mends all four numbers.
    let remedy = format!(
        "sysctl -w kernel.sem=\"{} {} {} {}\"",
        per_set.max(need.next_power_of_two()),
        system_wide.max(used_sems.saturating_add(64 * need)),
        ops_per_call.max(500),
        if used_sets < sets { sets } else { sets.saturating_mul(4) },
    );
    let (operations, of_what) = if per_set >= need {
        (OF_A_CALL, "for wake-ups of many at once")
    } else {
        (OF_A_WAIT_SET, "for wait sets of 30 members where a set is small")
    };
    vec![
        Row::judged(
            per_set >= need,
            "semaphores of a set",
            format!("at most {per_set}"),
            format!("{need} for {} processes and {} channels", args.participants, args.channels),
            remedy.clone(),
        ),
        Row::judged(
            system_wide.saturating_sub(used_sems) >= need,
            "semaphores of all sets",
            format!("{used_sems} of {system_wide} are in use"),
            format!("{need} more"),
            remedy.clone(),
        ),
        Row::judged(
            used_sets < sets,
            "semaphore sets",
            format!("{used_sets} of {sets} are in use"),
            "one more, for each segment",
            remedy.clone(),
        ),
        Row::judged(
            ops_per_call >= operations,
            "operations of a semop",
            format!("at most {ops_per_call}"),
            format!("{operations}, {of_what}"),
            remedy,
        ),
    ]
}

fn memory(shm: &limits::Shm, args: &Args) -> Vec<Row> {
    let limits::Shm { max_size, max_segments, max_pages_total, used_segments, used_pages, .. } =
        *shm;
    let (participants, channels) = (u64::from(args.participants), u64::from(args.channels));
    // What a process and a channel cost besides, rounded up.
    let size =
        args.size as u64 + participants * (136 + 64 * channels) + (channels << 10) + (64 << 10);
    let pages = size.div_ceil(limits::page_size() as u64);
    vec![
        Row::judged(
            max_size >= size,
            "bytes of a segment",
            format!("at most {max_size}"),
            size.to_string(),
            format!("sysctl -w kernel.shmmax={}", size.next_power_of_two()),
        ),
        Row::judged(
            max_pages_total.saturating_sub(used_pages) >= pages,
            "pages of all segments",
            format!("{used_pages} of {max_pages_total} are in use"),
            format!("{pages} more"),
            format!(
                "sysctl -w kernel.shmall={}",
                used_pages.saturating_add(pages.saturating_mul(4))
            ),
        ),
        Row::judged(
            used_segments < max_segments,
            "shared-memory segments",
            format!("{used_segments} of {max_segments} are in use"),
            "one more",
            format!("sysctl -w kernel.shmmni={}", max_segments.saturating_mul(4)),
        ),
    ]
}

fn queues(msg: &limits::Msg) -> Row {
    let limits::Msg { max_queues, used_queues, .. } = *msg;
    Row::judged(
        used_queues < max_queues,
        "message queues",
        format!("{used_queues} of {max_queues} are in use"),
        "one more, for each segment that is given commands",
        format!("sysctl -w kernel.msgmni={}", max_queues.saturating_mul(4)),
    )
}
