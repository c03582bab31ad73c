//! Reads the versions from the lockfile, and builds the C++ part if possible.

use std::path::PathBuf;
use std::process::Command;
use std::{env, fs};

const SHIM: &str = "src/subjects/boost.cpp";

fn main() {
    println!("cargo::rerun-if-changed=Cargo.lock");
    println!("cargo::rerun-if-changed={SHIM}");
    println!("cargo::rerun-if-env-changed=CPLUS_INCLUDE_PATH");
    println!("cargo::rustc-check-cfg=cfg(boost)");
    versions();
    if boost() {
        println!("cargo::rustc-cfg=boost");
    }
}

fn versions() {
    let lock = fs::read_to_string("Cargo.lock").expect("a lockfile");
    let package = |package: &str| {
        let value = |key| {
            let line = package.lines().find_map(|line| line.strip_prefix(key))?;
            Some(line.trim_matches('"').to_owned())
        };
        Some((value("name = ")?, value("version = ")?))
    };
    for (name, version) in lock.split("[[package]]").filter_map(package) {
        let name = name.replace('-', "_");
        println!("cargo::rustc-env=VERSION_{name}={version}");
        // Some are here in two versions.
        let major = version.split('.').next().unwrap_or_default();
        println!("cargo::rustc-env=VERSION_{name}_{major}={version}");
    }
    let rustc = env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let said = Command::new(rustc).arg("--version").output().expect("a compiler");
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    let version = said.split(' ').nth(1).unwrap_or("unknown");
    println!("cargo::rustc-env=VERSION_std={version}");
}

/// Whether there is a C++ compiler that finds Boost's headers, and a library
/// has been made of the shim.
fn boost() -> bool {
    let folder = PathBuf::from(env::var_os("OUT_DIR").expect("a folder"));
    let (object, library) = (folder.join("boost.o"), folder.join("libboost_shim.a"));
    let done = |command: &mut Command| command.output().is_ok_and(|made| made.status.success());
    let compiled =
        done(Command::new("c++").args(["-O3", "-std=c++17", "-c", SHIM, "-o"]).arg(&object));
    if !compiled || !done(Command::new("ar").arg("crs").arg(&library).arg(&object)) {
        return false;
    }
    let source = folder.join("version.cpp");
    fs::write(&source, "#include <boost/version.hpp>\nBOOST_LIB_VERSION\n").expect("a file");
    let said = Command::new("c++").args(["-E", "-P"]).arg(source).output().expect("a compiler");
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    let version = said.trim().trim_matches('"').replace('_', ".");
    println!("cargo::rustc-env=VERSION_boost={version}");
    println!("cargo::rustc-link-search=native={}", folder.display());
    println!("cargo::rustc-link-lib=static=boost_shim");
    println!("cargo::rustc-link-lib=dylib=stdc++");
    true
}
