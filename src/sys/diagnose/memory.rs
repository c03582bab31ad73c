//! The advice when memory, or huge pages, are not available.

use std::fs;

use nix::sys::resource::{Resource, getrlimit};

use crate::sys::error::Detail;
use crate::sys::limits::page_size;

pub(super) fn short() -> Box<Detail> {
    let policy = fs::read_to_string("/proc/sys/vm/overcommit_memory").unwrap_or_default();
    Detail::new(
        format!(
            "vm.overcommit_memory is {}; {}",
            policy.trim(),
            meminfo(&["MemTotal", "MemAvailable", "SwapFree", "CommitLimit", "Committed_AS"])
        ),
        "ask for less, free memory, or create with no_reserve",
    )
}

/// The kernel refused a mapping of `size` bytes: because of the limit on address
/// space, because of the number of mappings, or because memory is short.
pub(super) fn unmapped(size: u64) -> Box<Detail> {
    let pages = |at: usize| -> u64 {
        let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
        statm.split(' ').nth(at).and_then(|pages| pages.parse().ok()).unwrap_or(0)
    };
    let used = pages(0).saturating_mul(page_size());
    let (limit, _) = limit(Resource::RLIMIT_AS);
    // A mapping has whole pages, and takes more than its size for its tables.
    let taken = size.next_multiple_of(page_size()).max(64 * page_size());
    if used.saturating_add(taken) > limit {
        return Detail::new(
            format!(
                "this process may have {limit} bytes of address space (RLIMIT_AS, ulimit -v in \
                 units of 1024), has {used}, and this takes {size}"
            ),
            "ask for less, or raise that limit in the shell or service that starts the process",
        );
    }
    let maps = fs::read_to_string("/proc/self/maps").map_or(0, |maps| maps.lines().count() as u64);
    let most = fs::read_to_string("/proc/sys/vm/max_map_count").unwrap_or_default();
    if most.trim().parse().is_ok_and(|most: u64| maps >= most) {
        return Detail::new(
            format!("vm.max_map_count allows {} mappings, and there are {maps}", most.trim()),
            format!("unmap some, or raise it: sysctl vm.max_map_count={}", 2 * maps),
        );
    }
    short()
}

/// This process locks all memory that it maps, and may not lock this much more.
pub(super) fn unlocked(size: u64) -> Box<Detail> {
    let (limit, _) = limit(Resource::RLIMIT_MEMLOCK);
    Detail::new(
        format!(
            "this process locks what it maps (mlockall), may lock {limit} bytes \
             (RLIMIT_MEMLOCK, ulimit -l in units of 1024), and this takes {size}"
        ),
        "ask for less, or raise that limit in the shell or service that starts the process",
    )
}

fn limit(resource: Resource) -> (u64, u64) {
    getrlimit(resource).unwrap_or((u64::MAX, u64::MAX))
}

pub(super) fn huge_page_pool() -> Box<Detail> {
    Detail::new(
        format!(
            "the pool of huge pages is short: {}",
            meminfo(&["HugePages_Total", "HugePages_Free", "HugePages_Rsvd", "Hugepagesize"])
        ),
        "raise vm.nr_hugepages (or nr_hugepages of that size in /sys/kernel/mm/hugepages)",
    )
}

pub(super) fn huge_page_sizes() -> Box<Detail> {
    let sizes: Vec<String> = fs::read_dir("/sys/kernel/mm/hugepages")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    Detail::new(
        format!("this machine has huge pages of these sizes: [{}]", sizes.join(", ")),
        "ask for one of them",
    )
}

pub(super) fn huge_page_permission() -> Box<Detail> {
    let group = fs::read_to_string("/proc/sys/vm/hugetlb_shm_group").unwrap_or_default();
    Detail::new(
        format!(
            "huge pages are for CAP_IPC_LOCK and group vm.hugetlb_shm_group ({})",
            group.trim()
        ),
        "create without huge pages, or join that group",
    )
}

/// The named lines of /proc/meminfo.
fn meminfo(wanted: &[&str]) -> String {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let lines = text.lines().filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        wanted.contains(&name).then(|| format!("{name} {}", value.trim()))
    });
    lines.collect::<Vec<_>>().join(", ")
}
