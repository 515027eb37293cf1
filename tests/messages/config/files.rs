//! Files and folders: their names, their content as bytes, who may write to them, and where they are.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use crate::files::{Cases, Files, GOOD};
use crate::support::world::CONFIG;

fn allow(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// A pipe to which nobody writes: reading it would wait for ever.
fn pipe(path: &Path) {
    assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
}

#[test]
fn a_job_files_name_is_the_jobs_name() {
    let mut cases = Cases::new();
    for name in ["two words.toml", "a.b.toml", "ọjà.toml", "-now.toml"] {
        let file = format!("jobs/{name}");
        cases.files.write(&file, GOOD);
        cases.refused(name);
        fs::remove_file(cases.files.path(&file)).unwrap();
    }
    cases.compare("names_of_files");
}

#[test]
fn files_that_are_no_jobs_are_left_alone() {
    let files = Files::new();
    for name in ["good.toml", ".hidden.toml", "notes.txt", "good.toml.bak", "good.toml~"] {
        files.write(&format!("jobs/{name}"), if name == "good.toml" { GOOD } else { "no job" });
    }
    let listed = files.warm(&["list", "--json"]).exits(0).json();
    assert_eq!(listed["jobs"].as_array().unwrap().len(), 1, "{listed:#}");
    assert_eq!(listed["jobs"][0]["job"], "good");
}

#[test]
fn a_file_is_utf8_of_a_sane_size() {
    let mut cases = Cases::new();
    cases.job("Latin-1", b"# caf\xe9\nquery = 'SELECT 1'\n");
    cases.job("binary", b"\x7fELF\x02\x01\x01\x00\xff\xfe");
    cases.job("UTF-16", b"\xff\xfeq\0u\0e\0r\0y\0");
    cases.job("ten megabytes", format!("{GOOD}# {}\n", "x".repeat(10 << 20)));
    cases.config("a configuration of ten megabytes", format!("{CONFIG}# {}\n", "x".repeat(10 << 20)));
    cases.compare("content");
}

#[test]
fn a_byte_order_mark_and_windows_line_ends_do_no_harm() {
    let files = Files::new();
    files.write("warm.toml", format!("\u{feff}{}", CONFIG.replace('\n', "\r\n")));
    files.write("jobs/good.toml", format!("\u{feff}{}", GOOD.replace('\n', "\r\n")));
    files.warm(&["list"]).exits(0).says("good: key t:{id}, ttl 10m");
}

#[test]
fn only_regular_files_inside_the_folder_are_read() {
    let mut cases = Cases::new();
    let path = cases.files.path("jobs/job.toml");
    pipe(&path);
    cases.refused("a pipe");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    cases.refused("a folder");
    fs::remove_dir(&path).unwrap();
    cases.files.write("outside.toml", GOOD);
    symlink("../outside.toml", &path).unwrap();
    cases.refused("a link that leads out");
    fs::remove_file(&path).unwrap();
    symlink("nowhere.toml", &path).unwrap();
    cases.refused("a link that leads nowhere");
    fs::remove_file(&path).unwrap();
    symlink("job.toml", &path).unwrap();
    cases.refused("a link that leads to itself");
    cases.compare("kinds_of_files");
}

#[test]
fn a_link_inside_the_folder_is_followed() {
    let files = Files::new();
    // As Kubernetes mounts a ConfigMap.
    fs::create_dir(files.path("jobs/..2026")).unwrap();
    files.write("jobs/..2026/good.toml", GOOD);
    symlink("..2026", files.path("jobs/..data")).unwrap();
    symlink("..data/good.toml", files.path("jobs/good.toml")).unwrap();
    files.warm(&["list"]).exits(0).says("good: key t:{id}");
}

#[test]
fn what_everybody_may_write_to_is_warned_about() {
    let mut cases = Cases::new();
    cases.files.write("jobs/job.toml", format!("{GOOD}schedule = 'every 8m'\n"));
    assert_eq!(cases.files.warned(), "1 job in warm.toml\n0 errors, 0 warnings\n");
    for name in ["jobs/job.toml", "jobs", "warm.toml"] {
        let path = cases.files.path(name);
        let before = fs::metadata(&path).unwrap().permissions();
        allow(&path, if path.is_dir() { 0o777 } else { 0o666 });
        cases.warned(name);
        fs::set_permissions(&path, before).unwrap();
    }
    allow(&cases.files.path("jobs"), 0o1777);
    cases.warned("a folder to which everybody may add files");
    cases.compare("writable");
}

#[test]
fn the_jobs_folder_is_there_and_holds_jobs() {
    let mut cases = Cases::new();
    cases.refused("an empty folder");
    fs::create_dir(cases.files.path("jobs/more")).unwrap();
    cases.files.write("jobs/more/job.toml", GOOD);
    cases.refused("jobs in a folder further down");
    fs::remove_dir_all(cases.files.path("jobs")).unwrap();
    cases.refused("no folder");
    cases.files.write("jobs", "");
    cases.refused("a file in its place");
    cases.files.write("warm.toml", "[ttl]\n't:' = '10m'\n");
    cases.refused("not named");
    cases.compare("folder");
}

#[test]
fn a_job_is_shown_by_the_short_path_to_its_file() {
    let files = Files::new();
    fs::create_dir_all(files.path("elsewhere/config")).unwrap();
    fs::create_dir(files.path("config")).unwrap();
    symlink("elsewhere/config", files.path("link")).unwrap();
    for folder in ["config", "elsewhere/config"] {
        files.write(&format!("{folder}/warm.toml"), CONFIG.replace("\"jobs\"", "\"../jobs\""));
    }
    files.write("jobs/job.toml", GOOD);
    let at = |arguments: &[&str], code: i32, pointer: &str| {
        let report = files.warm(arguments).exits(code).json();
        report.pointer(pointer).unwrap_or_else(|| panic!("{report:#}")).clone()
    };
    assert_eq!(at(&["list", "--json", "--config", "config/warm.toml"], 0, "/jobs/0/file"), "jobs/job.toml");
    assert_eq!(at(&["list", "--json", "--config", "./config/warm.toml"], 0, "/jobs/0/file"), "jobs/job.toml");
    let check = ["check", "--offline", "--json", "--config", "config/warm.toml"];
    assert_eq!(at(&check, 0, "/findings/0/at"), "jobs/job.toml");
    // Behind a link it is another folder.
    fs::create_dir(files.path("elsewhere/jobs")).unwrap();
    files.write("elsewhere/jobs/other.toml", GOOD);
    assert_eq!(at(&["list", "--json", "--config", "link/warm.toml"], 0, "/jobs/0/file"), "link/../jobs/other.toml");
    files.write("jobs/job.toml", "");
    assert_eq!(at(&["list", "--json", "--config", "config/warm.toml"], 2, "/findings/0/at"), "jobs/job.toml");
}

#[test]
fn the_configuration_is_found_or_looked_for_in_vain() {
    let mut cases = Cases::new();
    fs::remove_file(cases.files.path("warm.toml")).unwrap();
    cases.refused("$WARM_CONFIG names no file");
    let said = cases.files.warm(&["--now", "--config", "other.toml"]).exits(2);
    cases.add("--config names no file", &said.err);
    let said = cases.files.warm(&["--now", "--config", "jobs"]).exits(2);
    cases.add("--config names a folder", &said.err);
    pipe(&cases.files.path("pipe"));
    let said = cases.files.warm(&["--now", "--config", "pipe"]).exits(2);
    cases.add("--config names a pipe", &said.err);
    cases.files.set("WARM_CONFIG", "");
    cases.refused("nobody names one, and none is there");
    cases.compare("configuration");
}

#[test]
fn the_first_configuration_of_flag_variable_and_usual_place_is_read() {
    let mut files = Files::new();
    fs::create_dir(files.path("config")).unwrap();
    let with_ttl = |ttl: &str| format!("jobs = '{}'\n[ttl]\n't:' = '{ttl}'\n", files.path("jobs").display());
    files.write("flag.toml", with_ttl("1m"));
    files.write("variable.toml", with_ttl("2m"));
    files.write("config/warm.toml", with_ttl("3m"));
    files.write("jobs/job.toml", GOOD);
    files.set("WARM_CONFIG", "variable.toml");
    files.warm(&["list", "--config", "flag.toml"]).exits(0).says("ttl 1m");
    files.warm(&["list"]).exits(0).says("ttl 2m");
    files.set("WARM_CONFIG", "");
    files.warm(&["list"]).exits(0).says("ttl 3m");
}
