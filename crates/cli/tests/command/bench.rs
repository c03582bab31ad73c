//! `tombolo bench` hands over to a program of its own.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::command::{PROGRAM, text};
use crate::common::Folder;

#[test]
fn bench_hands_over_to_a_program_of_its_own_and_says_how_to_build_it() {
    let folder = Folder::new();
    let program = folder.path("tombolo");
    fs::copy(PROGRAM, &program).unwrap();
    let bench = |path: &Path| {
        let mut command = Command::new(&program);
        let output = command.args(["bench", "--quick", "limits", "--help"]).env("PATH", path);
        output.output().unwrap()
    };
    let none = bench(&folder.path("nowhere"));
    assert_eq!(none.status.code(), Some(2));
    let said = text(&none.stderr);
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains("`cargo build --release -p tombolo-bench`"), "{said}");

    // In PATH, and then beside it, which comes first.
    fs::create_dir(folder.path("bin")).unwrap();
    for (at, status) in [("bin/tombolo-bench", 7), ("tombolo-bench", 8)] {
        let script = format!("#!/bin/sh\necho \"$@\"\nexit {status}\n");
        fs::write(folder.path(at), script).unwrap();
        fs::set_permissions(folder.path(at), Permissions::from_mode(0o755)).unwrap();
        let output = bench(&folder.path("bin"));
        assert_eq!(output.status.code(), Some(status), "{}", text(&output.stderr));
        assert_eq!(text(&output.stdout), "--quick limits --help\n");
    }
}
