//! The oldest Rust that is said to suffice is the one that the dependencies ask for, and every page says the same.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// What a command of the toolchain prints.
fn ask(program: &str, arguments: &[&str]) -> String {
    let ran = Command::new(program).args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(ran.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8(ran.stdout).unwrap()
}

/// `1.94` and `1.94.0` are the same.
fn version(text: &str) -> Vec<u32> {
    let mut parts: Vec<u32> = text.split('.').map(|part| part.parse().unwrap()).collect();
    parts.resize(3, 0);
    parts
}

#[test]
fn the_oldest_rust_that_suffices_is_that_of_the_dependencies() {
    let own = env!("CARGO_PKG_RUST_VERSION");
    let about = ask("rustc", &["-vV"]);
    let host = about.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    // Of this platform only: the packages of others need not be here.
    let metadata = ["metadata", "--locked", "--offline", "--format-version", "1", "--filter-platform", host];
    let metadata: Value = serde_json::from_str(&ask(env!("CARGO"), &metadata)).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let wanted = packages.iter().filter(|package| package["name"] != "warm");
    let wanted = wanted.filter_map(|package| Some((package["rust_version"].as_str()?, package["name"].as_str()?)));
    let (newest, whose) = wanted.max_by_key(|(wanted, _)| version(wanted)).unwrap();
    assert_eq!(version(own), version(newest), "{whose} needs {newest}, and Cargo.toml says {own}");
}

#[test]
fn the_readme_says_which_rust_suffices() {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let words = format!("Rust {} or newer", env!("CARGO_PKG_RUST_VERSION"));
    assert!(readme.contains(&words), "README.md does not say `{words}`");
}
