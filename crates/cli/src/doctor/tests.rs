//! Surroundings that this machine does not have.

use std::fs;
use std::path::PathBuf;

use super::host::Host;
use super::surroundings::{groups, lasting, log_out};

/// A root of a file system with these files.
struct Root(PathBuf);

impl Root {
    fn new(name: &str, files: &[(&str, &str)]) -> Self {
        let root = std::env::temp_dir().join(format!("tombolo-{name}-{}", std::process::id()));
        for (path, text) in files {
            let file = root.join(path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        Self(root)
    }

    fn host(&self) -> Host {
        Host::at(&self.0)
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn the_narrowest_control_group_counts() {
    let root = Root::new(
        "groups",
        &[
            ("proc/self/cgroup", "0::/a/b\n"),
            ("sys/fs/cgroup/a/memory.max", "1000\n"),
            ("sys/fs/cgroup/a/b/memory.max", "max\n"),
            ("sys/fs/cgroup/a/cpu.max", "max 100000\n"),
            ("sys/fs/cgroup/a/b/cpu.max", "50000 100000\n"),
        ],
    );
    let rows = groups(&root.host(), 1000);
    assert_eq!(rows[0].found, "at most 1000 bytes");
    assert_eq!(rows[1].found, "0.50 processors");
    assert!(rows.iter().all(|row| !row.ok));
    assert!(groups(&root.host(), 999)[0].ok);
}

#[test]
fn control_groups_of_version_1_are_read_too() {
    let root = Root::new(
        "groups-1",
        &[
            ("proc/self/cgroup", "5:cpu,cpuacct:/x\n4:memory:/y\n1:name=systemd:/z\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ("sys/fs/cgroup/memory/y/memory.limit_in_bytes", "4096\n"),
            ("sys/fs/cgroup/cpu/x/cpu.cfs_quota_us", "250000\n"),
            ("sys/fs/cgroup/cpu/x/cpu.cfs_period_us", "100000\n"),
        ],
    );
    let rows = groups(&root.host(), 4095);
    assert_eq!(rows[0].found, "at most 4096 bytes");
    assert_eq!(rows[1].found, "2.50 processors");
    assert!(rows.iter().all(|row| row.ok));
}

#[test]
fn without_a_limit_nothing_is_in_the_way() {
    let root = Root::new(
        "no-groups",
        &[
            ("proc/self/cgroup", "4:memory:/\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n"),
            ("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n"),
        ],
    );
    assert!(groups(&root.host(), 1 << 40).iter().all(|row| row.ok));
}

#[test]
fn a_log_out_removes_what_is_a_persons_unless_systemd_is_told_otherwise() {
    const UNIT: (&str, &str) = ("run/systemd/system/x", "");
    let root = Root::new("log-out", &[UNIT, ("etc/systemd/logind.conf", "#RemoveIPC=no\n")]);
    assert!(!log_out(&root.host(), 1000).ok);
    assert!(log_out(&root.host(), 999).ok);
    let told = [UNIT, ("etc/systemd/logind.conf.d/ipc.conf", "[Login]\nRemoveIPC=no\n")];
    assert!(log_out(&Root::new("told", &told).host(), 1000).ok);
    assert!(log_out(&Root::new("none", &[("etc/x", "")]).host(), 1000).ok);
}

#[test]
fn segments_that_go_with_their_last_process_are_told() {
    let file = "proc/sys/kernel/shm_rmid_forced";
    assert!(!lasting(&Root::new("forced", &[(file, "1\n")]).host()).ok);
    assert!(lasting(&Root::new("kept", &[(file, "0\n")]).host()).ok);
}
