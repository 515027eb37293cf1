//! `compress`, `encrypt`, and the file with keys: no message shows anything of it.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::files::{Cases, GOOD};
use crate::support::world::CONFIG;

/// 32 bytes, and what would be seen of it.
const SECRET: &str = "aHVudGVyMmh1bnRlcjJodW50ZXIyaHVudGVyMmh1bnQ=";

fn with_keys(cases: &mut Cases, text: &str, mode: u32) {
    cases.files.write("keys", text);
    fs::set_permissions(cases.files.path("keys"), fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_compression_that_is_none_is_refused() {
    let mut cases = Cases::new();
    cases.line("another format", "compress = 'brotli'");
    cases.line("no text", "compress = true");
    cases.line("another format in a table", "compress = { with = 'zip' }");
    cases.line("no format", "compress = { above = '1KiB' }");
    cases.line("another field", "compress = { with = 'zstd', level = 3 }");
    cases.line("a size that is none", "compress = { with = 'zstd', above = 'big' }");
    cases.line("too large", "compress = { with = 'zstd', above = '1GiB' }");
    cases.line("no boolean", "encrypt = 'yes'");
    cases.config("no default", format!("{CONFIG}[defaults]\nencrypt = true\n"));
    cases.compare("sealing");
}

#[test]
fn a_file_with_keys_that_cannot_be_used_is_refused_and_never_shown() {
    let mut cases = Cases::new();
    cases.files.write("jobs/job.toml", format!("{GOOD}schedule = 'every 8m'\nencrypt = true\n"));
    cases.files.write("warm.toml", format!("{CONFIG}[encryption]\nkeys_file = 'keys'\n"));
    cases.refused("no file");
    let good = format!("2026-11 {SECRET}");
    for (title, text) in [
        ("empty", "# nothing\n\n".to_owned()),
        ("no name", format!("{SECRET}\n")),
        ("no base64", format!("# keys\n{good}\n2026-12 hunter2hunter2hunter2hunter2hunter2hun!\n")),
        ("too short", format!("{good}\n2026-12 aHVudGVyMg==\n")),
        ("too long", format!("2026-12 {}{SECRET}\n", &SECRET[..43])),
        ("without padding", format!("2026-12 {}\n", &SECRET[..43])),
        ("a name with an umlaut", format!("schlüssel {SECRET}\n")),
        ("a name that is too long", format!("{} {SECRET}\n", "x".repeat(33))),
        ("three words", format!("{good} # mine\n")),
        ("one name for two", format!("{good}\n\n2026-11 {SECRET}\n")),
    ] {
        with_keys(&mut cases, &text, 0o600);
        cases.refused(title);
    }
    cases.config("a key in the place of a file", format!("{CONFIG}[encryption]\nkeys_file = '{SECRET}'\n"));
    cases.files.set("WARM_ENCRYPTION__KEYS_FILE", &good);
    cases.refused("a key in the place of a file, in the environment");
    cases.files.unset("WARM_ENCRYPTION__KEYS_FILE");
    cases.config("a URL", format!("{CONFIG}[encryption]\nkeys_file = 'https://vault:hunter2@h/keys'\n"));
    cases.config("another field", format!("{CONFIG}[encryption]\nkey = '{SECRET}'\n"));
    let said = cases.text();
    // But for the line with a field that does not exist, which is quoted like any other.
    let (said, _) = said.split_once("━━━ another field").unwrap();
    assert!(!said.contains("hunter2") && !said.contains(&SECRET[..8]), "{said}");
    crate::files::compare("keys_files", said);
}

#[test]
fn keys_that_everybody_may_read_are_warned_about_and_without_any_a_job_is_disabled() {
    let mut cases = Cases::new();
    cases.files.write("jobs/job.toml", format!("{GOOD}schedule = 'every 8m'\nencrypt = true\n"));
    cases.warned("no keys");
    cases.files.write("warm.toml", format!("{CONFIG}[encryption]\nkeys_file = 'keys'\n"));
    with_keys(&mut cases, &format!("  2026-11\t{SECRET}  \r\n"), 0o644);
    cases.warned("keys that everybody may read");
    with_keys(&mut cases, &format!("2026-11 {SECRET}"), 0o640);
    cases.warned("keys that the owner and the group may read");
    let said = cases.files.warm(&["list"]).exits(0).out;
    cases.add("a list", said.split(", schedule").next().unwrap());
    cases.compare("readable_keys");
}
