//! What to say when memory, or huge pages, are not to be had.

use std::fs;

use crate::sys::error::Detail;

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
