//! The tutorial, as it is printed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tombolo::Segment;

use crate::command::{Running, run};
use crate::common::{in_own_namespace, tables, wait_until};

fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The program, built.
fn pool() -> PathBuf {
    let build = ["build", "--quiet", "-p", "tombolo", "--example", "pool"];
    let built = Command::new(env!("CARGO")).args(build).current_dir(project()).status().unwrap();
    assert!(built.success());
    let own = std::env::current_exe().unwrap();
    // That of this profile is beside this test, if it has been built.
    let beside = own.ancestors().nth(2).unwrap().join("examples/pool");
    if beside.exists() { beside } else { project().join("target/debug/examples/pool") }
}

#[test]
fn its_program_is_the_example() {
    let read = |path: &str| fs::read_to_string(project().join(path)).unwrap();
    let (page, example) = (read("docs/tutorial.md"), read("examples/pool.rs"));
    let (_, code) = page.split_once("```rust,no_run\n").unwrap();
    let (code, _) = code.split_once("```").unwrap();
    let (_, program) = example.split_once("\n\n").unwrap();
    assert_eq!(code, program);
}

#[test]
fn a_job_that_a_killed_worker_had_in_hand_is_done_by_another() {
    let pool = pool();
    in_own_namespace(|| {
        let start = |role: &str| {
            let mut command = Command::new(&pool);
            command.arg(role).stdout(Stdio::piped()).stderr(Stdio::piped());
            Running::spawn(&mut command)
        };
        let victim = start("work");
        let others: Vec<Running> = (0..7).map(|_| start("work")).collect();
        let asking = start("ask");
        // The victim has a job in hand.
        wait_until(|| {
            let listed = Segment::list().unwrap();
            let segment = listed.iter().find(|info| info.name == "pool");
            segment.is_some_and(|info| {
                let jobs = info.channels.iter().find(|channel| channel.name == "jobs");
                info.participants == 9 && jobs.is_some_and(|jobs| (1..=22).contains(&jobs.depth))
            })
        });
        victim.kill();
        let (status, said) = asking.ended();
        assert_eq!(status, 0, "{said}");
        others.into_iter().for_each(Running::kill);
        assert_eq!(run(&["rm", "pool"]).status.code(), Some(0));
        assert_eq!(tables(), (0, 0));
    });
}
