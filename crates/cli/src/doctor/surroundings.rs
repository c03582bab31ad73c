//! What is round a process: containers, control groups, log-outs, sandboxes and
//! processors.

use std::thread;

use nix::unistd::getuid;
use tombolo::sys::proc;

use super::host::Host;
use super::{Args, Row};

/// The inode number of the first IPC namespace, as the kernel fixes it.
const FIRST_NAMESPACE: &str = "ipc:[4026531839]";
/// Users below are the system's, whom a log-out does not concern.
const FIRST_PERSON: u32 = 1000;

pub(super) fn rows(host: &Host, args: &Args) -> Vec<Row> {
    let mut rows = vec![namespace(host), lasting(host), log_out(host, getuid().as_raw())];
    rows.push(barrier(proc::register_global_barrier()));
    rows.push(sandbox(host));
    rows.push(processors(thread::available_parallelism().map_or(1, usize::from)));
    rows.extend(groups(host, args.size as u64));
    rows.extend(huge_pages(host));
    rows
}

fn namespace(host: &Host) -> Row {
    let found = host.link("/proc/self/ns/ipc").unwrap_or_else(|| "unknown".to_owned());
    let found = if found == FIRST_NAMESPACE {
        format!("{found}, the host's")
    } else {
        format!("{found}, one of its own: processes elsewhere do not meet those in here")
    };
    Row::fine("IPC namespace", found, "the same for all processes that shall meet")
}

pub(super) fn lasting(host: &Host) -> Row {
    let forced = host.number("/proc/sys/kernel/shm_rmid_forced").unwrap_or(0);
    Row::judged(
        forced == 0,
        "named segments last",
        format!("kernel.shm_rmid_forced is {forced}"),
        "0, so that a segment does not go with its last process",
        "sysctl -w kernel.shm_rmid_forced=0",
    )
}

/// Whether systemd removes what a user has made, at the end of the last session.
pub(super) fn log_out(host: &Host, user: u32) -> Row {
    const CHECK: &str = "segments outlast a log-out";
    const WANTED: &str = "RemoveIPC=no, or a system user";
    if !host.has("/run/systemd/system") {
        return Row::fine(CHECK, "no systemd here", WANTED);
    }
    if user < FIRST_PERSON {
        return Row::fine(CHECK, format!("user {user} is a system user"), WANTED);
    }
    let mut said = vec![host.text("/etc/systemd/logind.conf").unwrap_or_default()];
    said.extend(host.folder("/etc/systemd/logind.conf.d", ".conf"));
    let said = said.join("\n");
    let value = said.lines().filter_map(|line| line.trim().strip_prefix("RemoveIPC=")).next_back();
    let keeps = value.is_some_and(|value| matches!(value.trim(), "no" | "false" | "0" | "off"));
    Row::judged(
        keeps,
        CHECK,
        format!("RemoveIPC={} for user {user}", value.map_or("yes, the default", str::trim)),
        WANTED,
        "mkdir -p /etc/systemd/logind.conf.d && printf '[Login]\\nRemoveIPC=no\\n' > /etc/systemd/logind.conf.d/ipc.conf && systemctl restart systemd-logind",
    )
}

fn barrier(works: bool) -> Row {
    Row::judged(
        works,
        "membarrier",
        if works { "allowed" } else { "refused by the kernel or a sandbox" },
        "allowed; or segments with symmetric fences",
        "allow membarrier in the sandbox's profile, or create segments with Options::symmetric_fences(true)",
    )
}

fn sandbox(host: &Host) -> Row {
    let status = host.text("/proc/self/status").unwrap_or_default();
    let mode = status.lines().find_map(|line| line.strip_prefix("Seccomp:")).map_or("", str::trim);
    let found = match mode {
        "2" => "a seccomp filter; the trial below says whether it lets System V calls pass",
        "1" => "strict seccomp",
        _ => "none",
    };
    Row::fine("sandbox", found, "one that allows shmget, semget, semtimedop and msgget")
}

fn processors(count: usize) -> Row {
    let found = match count {
        1 => "1: those who wait do not spin, and each message costs a switch".to_owned(),
        count => count.to_string(),
    };
    Row::fine("processors of this process", found, "2 or more")
}

/// The folders of this process's control groups, the innermost first.
fn folders(host: &Host, controller: &str) -> Vec<String> {
    let text = host.text("/proc/self/cgroup").unwrap_or_default();
    let mut root = "/sys/fs/cgroup".to_owned();
    let mut path = None;
    for line in text.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(names), Some(at)) = (parts.next(), parts.next()) else { continue };
        if names.split(',').any(|name| name == controller) {
            root = format!("/sys/fs/cgroup/{controller}");
            path = Some(at.to_owned());
            break;
        }
        if names.is_empty() {
            path = Some(at.to_owned());
        }
    }
    let mut folders = Vec::new();
    let mut at = path.unwrap_or_default();
    while at.len() > 1 {
        folders.push(format!("{root}{at}"));
        at.truncate(at.rfind('/').unwrap_or(0));
    }
    folders.push(root);
    folders
}

pub(super) fn groups(host: &Host, size: u64) -> Vec<Row> {
    let bytes = |folder: &String| {
        let file = |name| host.number(&format!("{folder}/{name}"));
        file("memory.max").or_else(|| file("memory.limit_in_bytes"))
    };
    // Version 1 says that there is no limit by a number that no machine has.
    let limit =
        folders(host, "memory").iter().filter_map(bytes).min().filter(|most| *most < 1 << 60);
    let share = |folder: &String| -> Option<f64> {
        let (quota, period) = match host.text(&format!("{folder}/cpu.max")) {
            Some(text) => {
                let (quota, period) = text.split_once(' ')?;
                (quota.parse::<f64>().ok()?, period.parse::<f64>().ok()?)
            }
            None => {
                let number = |name| host.number(&format!("{folder}/cpu.{name}"));
                (number("cfs_quota_us")? as f64, number("cfs_period_us")? as f64)
            }
        };
        (period > 0.0).then_some(quota / period)
    };
    let quota = folders(host, "cpu").iter().filter_map(share).reduce(f64::min);
    vec![
        Row::judged(
            limit.is_none_or(|most| most > size),
            "memory of the control group",
            limit.map_or("no limit".to_owned(), |most| format!("at most {most} bytes")),
            format!("more than {size} bytes, since touched pages of a segment count"),
            "raise the memory limit of the container or unit (docker update --memory, systemctl set-property UNIT MemoryMax=)",
        ),
        Row::judged(
            quota.is_none_or(|share| share >= 1.0),
            "processor time of the control group",
            quota.map_or("no quota".to_owned(), |share| format!("{share:.2} processors")),
            "one processor or more, since a throttled process holds up those who wait for it",
            "raise the quota of the container or unit (docker update --cpus, systemctl set-property UNIT CPUQuota=)",
        ),
    ]
}

fn huge_pages(host: &Host) -> Option<Row> {
    let text = host.text("/sys/kernel/mm/transparent_hugepage/shmem_enabled")?;
    let chosen = text.split(['[', ']']).nth(1).unwrap_or(&text).to_owned();
    let reserved = host.number("/proc/sys/vm/nr_hugepages").unwrap_or(0);
    let found = format!("transparent: {chosen}; {reserved} reserved");
    Some(Row::fine("huge pages", found, "only for segments that ask for them"))
}
