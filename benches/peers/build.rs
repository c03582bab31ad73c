//! Says which versions the lockfile has.

use std::{env, fs, process::Command};

fn main() {
    println!("cargo::rerun-if-changed=Cargo.lock");
    let lock = fs::read_to_string("Cargo.lock").expect("a lockfile");
    let package = |package: &str| {
        let value = |key| {
            let line = package.lines().find_map(|line| line.strip_prefix(key))?;
            Some(line.trim_matches('"').to_owned())
        };
        Some((value("name = ")?, value("version = ")?))
    };
    for (name, version) in lock.split("[[package]]").filter_map(package) {
        println!("cargo::rustc-env=VERSION_{}={version}", name.replace('-', "_"));
    }
    let rustc = env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let said = Command::new(rustc).arg("--version").output().expect("a compiler");
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    let version = said.split(' ').nth(1).unwrap_or("unknown");
    println!("cargo::rustc-env=VERSION_std={version}");
}
