//! Node packages of examples, installed beside what cargo builds, so that nothing lies around in the sources.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The folder of an example with its packages, in which its files are, too; the first test that wants it installs them. `prepare` does what is to be done then.
pub fn example(name: &str, prepare: impl FnOnce(&Path)) -> PathBuf {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name);
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("examples").join(name);
    fs::create_dir_all(&home).unwrap();
    let lock = File::create(home.with_extension("lock")).unwrap();
    lock.lock().unwrap();
    let mut files: Vec<_> = fs::read_dir(&sources).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.is_file());
    files.sort();
    let texts: Vec<u8> = files.iter().flat_map(|file| fs::read(file).unwrap()).collect();
    let done = home.join("installed");
    if fs::read(&done).ok().as_ref() == Some(&texts) {
        return home;
    }
    let _ = fs::remove_file(&done);
    for file in &files {
        fs::copy(file, home.join(file.file_name().unwrap())).unwrap();
    }
    let options = ["install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock", "--silent"];
    run(Command::new("npm").args(options).arg("--prefix").arg(&home));
    prepare(&home);
    fs::write(done, texts).unwrap();
    home
}

/// Runs it to its end, and gives what it has said.
#[track_caller]
pub fn run(command: &mut Command) -> String {
    let ran = command.stdin(Stdio::null()).output().unwrap_or_else(|error| {
        panic!("{command:?}: {error}; scripts/test installs it (nodejs, npm)");
    });
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{command:?}: {}", said.lines().rev().take(20).collect::<Vec<_>>().join("\n"));
    String::from_utf8(ran.stdout).unwrap()
}
