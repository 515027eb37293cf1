//! Settings, URLs and secrets from the environment.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::files::{Cases, Files, GOOD, compare};
use crate::support::world::CONFIG;

#[test]
fn each_setting_can_be_given_in_the_environment() {
    let mut files = Files::new();
    files.write("elsewhere.toml", "");
    fs::create_dir(files.path("elsewhere")).unwrap();
    files.write("elsewhere/job.toml", GOOD);
    for (name, value) in [
        ("WARM_JOBS", "elsewhere"),
        ("WARM_STATE", "elsewhere/state"),
        ("WARM_TTL", "{ 't:' = '7m' }"),
        ("WARM_DEFAULTS__SCHEDULE", "every 6m"),
        ("WARM_DEFAULTS__TIMEZONE", "Africa/Lagos"),
        ("WARM_DEFAULTS__SPLAY", "45s"),
        ("WARM_DEFAULTS__PRIORITY", "12"),
        ("WARM_DEFAULTS__FORMAT", "prisma5"),
        ("WARM_DEFAULTS__GUARD__MAX_VALUE", "2MiB"),
        ("WARM_DEFAULTS__GUARD__MIN_ROWS", "1"),
        ("WARM_DEFAULTS__GUARD__MAX_SHRINK", "50%"),
        ("WARM_DEFAULTS__GUARD__SAME_COLUMNS", "true"),
        ("WARM_POSTGRES__CONNECTIONS", "2"),
        ("WARM_POSTGRES__STATEMENT_TIMEOUT", "3s"),
        ("WARM_REDIS__KEY_PREFIX", "7"),
        ("WARM_REDIS__DATABASE", "3"),
        ("WARM_LIMITS__IN_FLIGHT", "1MiB"),
        // No settings: how to find the file, what to log, and what Kubernetes adds for a service of this name.
        ("WARM_LOG", "debug"),
        ("WARM_SERVICE_HOST", "10.0.0.1"),
        ("WARM_SERVICE_PORT_HTTP", "80"),
        ("WARM_PORT", "tcp://10.0.0.1:80"),
        ("WARM_PORT_80_TCP_ADDR", "10.0.0.1"),
    ] {
        files.set(name, value);
    }
    let listed = files.warm(&["list", "--json"]).exits(0).json();
    let job = &listed["jobs"][0];
    assert_eq!(job["file"], "elsewhere/job.toml");
    assert_eq!(job["ttl_seconds"], 420.0);
    assert_eq!((&job["schedule"], &job["timezone"]), (&"every 6m".into(), &"Africa/Lagos".into()));
    assert_eq!((&job["priority"], &job["format"]), (&12.into(), &"prisma5".into()));
    assert_eq!(job["splay_seconds"], 45.0);
}

#[test]
fn a_variable_that_names_no_setting_or_has_a_wrong_value_is_refused() {
    let mut cases = Cases::new();
    cases.files.write("jobs/job.toml", GOOD);
    cases.variable("WARM_COLOUR", "red");
    cases.variable("WARM_REDIS_PASSWORD", "hunter2");
    cases.variable("WARM_REDIS__PASSWORD", "hunter2");
    cases.variable("WARM_POSTGRES_URL", "postgres://u:hunter2@h/d");
    cases.variable("WARM_POSTGRES__CONECTIONS", "4");
    cases.variable("WARM_POSTGRES__", "4");
    cases.variable("WARM_", "4");
    cases.variable("WARM_TTL__t:", "4m");
    cases.variable("WARM_POSTGRES__CONNECTIONS", "many");
    cases.variable("WARM_POSTGRES__CONNECTIONS", "4.5");
    cases.variable("WARM_POSTGRES__CONNECTIONS", "1000");
    cases.variable("WARM_POSTGRES__CONNECT_TIMEOUT", "10");
    cases.variable("WARM_POSTGRES", "hunter2");
    cases.variable("WARM_DEFAULTS__SCHEDULE", "hourly");
    cases.variable("WARM_TTL", "{ 't:' = '10m'");
    cases.variable("WARM_JOBS", "nowhere");
    cases.compare("variables");
}

#[test]
fn a_url_that_is_none_is_refused_and_never_shown() {
    let mut cases = Cases::new();
    cases.files.write("jobs/job.toml", GOOD);
    for name in ["DATABASE_URL", "WARM_POSTGRES__URL", "REDIS_URL", "WARM_REDIS__URL"] {
        cases.files.set(name, "mysql://root:hunter2@db/shop");
        cases.refused(name);
        cases.files.unset(name);
    }
    for (name, value) in [
        ("DATABASE_URL", "postgres://u:hunter2@db:port/shop"),
        ("DATABASE_URL", "postgres://u:hunter2@db/shop?sslmode=maybe"),
        ("WARM_POSTGRES__PRIMARY_URL", "hunter2"),
        ("DATABASE_PRIMARY_URL", "postgres://u:hunter2@db:port/shop"),
        ("DATABASE_URL", "postgres://u:hunter2@db/shop?connection_limit=many"),
        ("REDIS_URL", "redis://:hunter2@cache:port"),
        ("REDIS_URL", "redis://:hunter2@cache/first"),
    ] {
        let said = {
            cases.files.set(name, value);
            cases.files.refused()
        };
        assert!(!said.contains("hunter2"), "{said}");
        cases.add(&format!("{name} {}", value.replace("hunter2", "…")), &said);
        let checked = cases.files.warm(&["check", "--offline"]).exits(2);
        assert_eq!(checked.err, said, "the check without servers sees it too");
        cases.files.unset(name);
    }
    cases.config("in the configuration", format!("{CONFIG}[redis]\nurl = 'hunter2'\n[postgres]\nurl = ''\n"));
    cases.config("in the configuration, in one line", format!("redis = {{ database = 1, url = 'hunter2' }}\n{CONFIG}"));
    cases.config("two ways at once", format!("{CONFIG}[redis]\nurl = 'redis://:hunter2@h'\nurl_file = 'url'\n"));
    cases.compare("urls");
}

#[test]
fn a_file_with_a_url_is_read_like_any_other_and_never_shown() {
    let mut cases = Cases::new();
    cases.files.write("jobs/job.toml", GOOD);
    cases.files.unset("DATABASE_URL");
    cases.files.unset("REDIS_URL");
    let url = |name: &str, text: &[u8]| (name.to_owned(), text.to_vec());
    for (name, text) in [url("scheme", b"hunter2"), url("empty", b"\n"), url("bytes", b"redis://:hunter2\xff@h")] {
        cases.files.write(&name, text);
        cases.files.set("REDIS_URL_FILE", &name);
        cases.refused(&format!("REDIS_URL_FILE={name}"));
    }
    cases.files.set("REDIS_URL_FILE", "nowhere");
    cases.refused("REDIS_URL_FILE=nowhere");
    assert!(std::process::Command::new("mkfifo").arg(cases.files.path("pipe")).status().unwrap().success());
    cases.files.set("REDIS_URL_FILE", "pipe");
    cases.refused("REDIS_URL_FILE=pipe");
    cases.files.unset("REDIS_URL_FILE");
    cases.files.write("database_url", "hunter2");
    cases.files.set("CREDENTIALS_DIRECTORY", ".");
    cases.refused("a credential");
    cases.files.set("CREDENTIALS_DIRECTORY", "database_url");
    cases.refused("a credential that cannot be looked at");
    cases.files.unset("CREDENTIALS_DIRECTORY");
    cases.config("url_file", format!("{CONFIG}[redis]\nurl_file = 'nowhere'\n"));
    cases.compare("files_with_urls");
}

#[test]
fn a_url_in_the_place_of_a_file_is_refused_and_never_shown() {
    let mut cases = Cases::new();
    cases.files.write("jobs/job.toml", GOOD);
    let (postgres, redis) = ("postgres://u:hunter2@h/shop", "redis://:hunter2@h/0");
    cases.files.unset("DATABASE_URL");
    cases.files.unset("REDIS_URL");
    for (name, url) in [
        ("DATABASE_URL_FILE", postgres),
        ("DATABASE_PRIMARY_URL_FILE", postgres),
        ("REDIS_URL_FILE", redis),
        ("WARM_REDIS__URL_FILE", redis),
        ("WARM_REDIS__CA_FILE", redis),
        ("WARM_STATE", postgres),
        ("WARM_JOBS", postgres),
        ("WARM_CONFIG", postgres),
    ] {
        cases.variable(name, url);
    }
    cases.config("url_file", format!("{CONFIG}[redis]\nurl_file = \"{redis}\"\n"));
    cases.config("primary_url_file", format!("{CONFIG}[postgres]\nprimary_url_file = '{postgres}'\n"));
    let said = cases.files.warm(&["list", "--config", postgres]).exits(2).err;
    cases.add("--config", &said);
    let titles = [postgres, redis];
    let said = titles.iter().fold(cases.text(), |text, url| text.replace(&format!("={url}\n"), "\n"));
    assert!(!said.contains("hunter2"), "{said}");
    compare("urls_for_files", &said);
}

#[test]
fn a_password_that_everybody_may_read_is_warned_about() {
    let mut cases = Cases::new();
    cases.files.write("jobs/job.toml", format!("{GOOD}schedule = 'every 8m'\n"));
    cases.files.unset("REDIS_URL");
    cases.files.write("url", "redis://:hunter2@h\n");
    cases.files.set("REDIS_URL_FILE", "url");
    fs::set_permissions(cases.files.path("url"), fs::Permissions::from_mode(0o644)).unwrap();
    cases.warned("REDIS_URL_FILE, readable");
    fs::set_permissions(cases.files.path("url"), fs::Permissions::from_mode(0o640)).unwrap();
    cases.warned("REDIS_URL_FILE, readable by its owner and group only");
    cases.files.unset("REDIS_URL_FILE");
    cases.files.write("warm.toml", format!("{CONFIG}[redis]\nurl = 'redis://:hunter2@h'\n"));
    cases.warned("in the configuration, readable");
    cases.files.write("warm.toml", format!("{CONFIG}[redis]\nurl = 'redis://h'\n"));
    cases.warned("no password");
    cases.compare("readable_passwords");
}

#[test]
fn a_url_comes_from_the_first_place_that_has_one() {
    let mut files = Files::new();
    files.write("jobs/job.toml", GOOD);
    files.unset("REDIS_URL");
    // Each place names a scheme that is refused, and the message says which place was asked.
    let asked = |files: &Files| {
        let said = files.refused();
        assert!(said.contains("the URL of Redis does not begin like one"), "{said}");
        let place = said.lines().find_map(|line| line.trim_start().strip_prefix("--> "));
        place.unwrap().to_owned()
    };
    files.write("file", "x");
    files.write("redis_url", "x");
    files.write("warm.toml", format!("{CONFIG}[redis]\nurl_file = 'file'\n"));
    assert_eq!(asked(&files), "file (`url_file` in [redis])");
    files.write("warm.toml", format!("{CONFIG}[redis]\nurl = 'x'\n"));
    assert_eq!(asked(&files), "warm.toml:5:7");
    files.set("WARM_REDIS__URL_FILE", "file");
    assert_eq!(asked(&files), "file (`url_file` in [redis])", "the environment replaces what the file says");
    files.set("CREDENTIALS_DIRECTORY", ".");
    assert_eq!(asked(&files), "the credential redis_url");
    files.set("REDIS_URL_FILE", "file");
    assert_eq!(asked(&files), "file ($REDIS_URL_FILE)");
    files.set("REDIS_URL", "x");
    assert_eq!(asked(&files), "$REDIS_URL");
    files.set("WARM_REDIS__URL", "x");
    assert_eq!(asked(&files), "$WARM_REDIS__URL");
}
