//! The log, for people and for programs.

use std::io::{ErrorKind, Write};
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::serve::Serving;
use crate::support::server::wait_for;
use crate::support::world::{Ran, World};

const GOOD: &str = "query = 'SELECT n AS id FROM generate_series(1, 3) n'\nkey = 't:{id}'\nvalue = 'row'";
const BAD: &str = "query = 'SELECT nothing'\nkey = 't:x'\nvalue = 'rows'\npriority = -1";

fn world(format: &str) -> World {
    let mut world = World::new();
    world.job("good", GOOD);
    world.set("WARM_LOG", "info");
    if !format.is_empty() {
        world.set("WARM_LOG_FORMAT", format);
    }
    world
}

/// Each line of the log.
fn lines(log: &str) -> Vec<Value> {
    log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

/// The first line whose message begins so.
#[track_caller]
fn line(log: &str, message: &str) -> Value {
    let mut lines = lines(log).into_iter();
    lines
        .find(|line| line["message"].as_str().unwrap().starts_with(message))
        .unwrap_or_else(|| panic!("{message}: {log}"))
}

#[test]
fn each_line_is_an_object_with_fields() {
    let world = world("json");
    world.job("bad", BAD);
    let ran = world.warm(&["--now"]).exits(1);
    let done = line(&ran.err, "good: done");
    assert!(done["time"].as_str().unwrap().parse::<chrono::DateTime<chrono::Utc>>().is_ok(), "{done}");
    assert!(done["milliseconds"].is_u64(), "{done}");
    let has = |line: &Value, fields: Value| {
        for (name, value) in fields.as_object().unwrap() {
            assert_eq!(&line[name], value, "{name}");
        }
    };
    has(&done, json!({ "level": "info", "job": "good", "trigger": "manual", "keys": 3, "rows": 3, "swept": 0 }));
    let failed = line(&ran.err, "bad: failed");
    has(&failed, json!({ "level": "error", "kind": "Query", "at": "jobs/bad.toml:1", "attempts": 1 }));
}

#[test]
fn a_service_says_all_in_one_form_and_nothing_of_its_libraries() {
    let seldom = "schedule = '@yearly'\nttl = '1m'\n";
    let world = world("json");
    // Unwise: the key `t:xx` would be that of both.
    for (name, key) in [("good", "t:x{id}"), ("other", "t:{id}x")] {
        world.job(name, &format!("{seldom}{}", GOOD.replace("t:{id}", key)));
    }
    let serving = Serving::of(world);
    serving.wait_until_it_says("good: done");
    serving.world.job("broken", "query = ");
    serving.signal("HUP");
    serving.wait_until_it_says("the one before stays");
    let (_, code, log) = serving.end();
    assert_eq!(code, Some(0), "{log}");
    let others: Vec<_> = lines(&log).into_iter().filter(|line| line["target"] != "warm::observe::log").collect();
    assert_eq!(others, [Value::Null; 0]);
    assert_eq!(line(&log, "a key may belong to")["level"], "warn");
    let reason = line(&log, "the configuration cannot be used");
    assert!(reason["message"].as_str().unwrap().contains("broken.toml:1"), "{reason}");
}

#[test]
fn at_the_level_info_people_are_told_nothing_of_libraries_either() {
    let serving = Serving::of(world(""));
    serving.wait_until_it_says("good: done");
    let (.., log) = serving.end();
    let own = |line: &str| {
        ["good: ", "Redis answers", "nothing says", "warm serve ", "SIGTERM: "].iter().any(|begin| line.contains(begin))
    };
    assert!(log.lines().all(own), "{log}");
}

#[test]
fn a_word_that_is_no_format_is_refused() {
    let world = world("yaml");
    let ran = world.warm(&["--now"]).exits(2);
    assert_eq!(ran.err, "error: WARM_LOG_FORMAT: `yaml` is no format; it is one of text, json, journald\n");
    assert_eq!(world.keys(), [""; 0]);
}

#[test]
fn what_is_set_to_nothing_is_not_set() {
    let mut world = world("");
    world.job("bad", BAD);
    for nothing in ["", " "] {
        world.set("WARM_LOG", nothing);
        world.set("WARM_LOG_FORMAT", nothing);
        let ran = world.warm(&["--now"]).exits(1);
        assert!(ran.err.contains("ERROR bad: failed") && !ran.err.contains("INFO"), "{}", ran.err);
    }
}

#[test]
fn the_most_talkative_log_holds_no_secret_in_any_format() {
    for format in ["text", "json"] {
        let mut world = world(format);
        // Of libraries, too.
        world.set("WARM_LOG", "trace,warm=trace");
        // `Ran::of` looks for the passwords in all that is said.
        let ran = world.warm(&["--now"]).exits(0);
        assert!(ran.err.contains(".pgpass"), "{}", ran.err);
        let url = world.database.tcp_url(1);
        world.set("WARM_POSTGRES__CONNECT_TIMEOUT", "10ms");
        world.set("DATABASE_URL", &url);
        world.warm(&["--now"]).exits(3);
    }
}

#[test]
fn nobody_waits_for_long_for_a_reader_who_has_stopped() {
    for format in ["text", "json"] {
        let world = world(format);
        let (reader, mut writer) = std::io::pipe().unwrap();
        // As much as a pipe takes.
        writer.write_all(&[b'x'; 64 << 10]).unwrap();
        let start = Instant::now();
        let mut child = world.program(&["--now"]).stdout(Stdio::null()).stderr(writer).spawn().unwrap();
        let code = wait_for("its end", || child.try_wait().unwrap());
        assert!(code.success() && start.elapsed() < Duration::from_secs(20), "{code}");
        assert_eq!(world.keys().len(), 3);
        drop(reader);
    }
}

#[test]
fn without_a_journal_the_log_is_text() {
    if std::path::Path::new("/run/systemd/journal/socket").exists() {
        eprintln!("there is a journal on this machine");
        return;
    }
    let ran = world("journald").warm(&["--now"]).exits(0);
    assert!(
        ran.err.contains("WARN the log goes to standard error as text: the journal does not listen at"),
        "{}",
        ran.err
    );
    assert!(ran.err.contains("INFO good: done"), "{}", ran.err);
}

/// What stands in the place of the journal: a socket where it listens, in a mount namespace of the program.
fn with_journal(world: &World, environment: &str) -> Option<(Ran, Vec<String>)> {
    let may_mount = Command::new("unshare").args(["--mount", "mount", "-t", "tmpfs", "none", "/mnt"]).status();
    if !may_mount.is_ok_and(|status| status.success()) {
        eprintln!("this account may not mount: the journal's socket is left to the unit tests");
        return None;
    }
    let folder = world.folder.path.join("journal");
    std::fs::create_dir(&folder).unwrap();
    let socket = UnixDatagram::bind(folder.join("socket")).unwrap();
    socket.set_nonblocking(true).unwrap();
    let mount =
        "mount -t tmpfs none /run && mkdir -p /run/systemd/journal && mount --bind journal /run/systemd/journal";
    let script = format!("{mount} && {environment} exec \"$0\" --now");
    let program = world.program(&[]);
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "sh", "-c", &script, env!("CARGO_BIN_EXE_warm")])
        .current_dir(&world.folder.path)
        .env_clear();
    command.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let ran = Ran::of(command.output().unwrap());
    let mut entries = Vec::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match socket.recv(&mut buffer) {
            Ok(length) => entries.push(String::from_utf8_lossy(&buffer[..length]).into_owned()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Some((ran, entries)),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn the_journal_gets_fields_and_priorities() {
    let mut world = world("journald");
    world.job("bad", BAD);
    world.set("WARM_LOG", "trace");
    let Some((ran, entries)) = with_journal(&world, "") else { return };
    assert_eq!((ran.code, ran.err.as_str()), (1, ""));
    let entry =
        |begin: &str| entries.iter().find(|entry| entry.starts_with(begin)).unwrap_or_else(|| panic!("{entries:?}"));
    let done = entry("MESSAGE=good: done\n");
    for field in ["PRIORITY=6", "SYSLOG_IDENTIFIER=warm", "WARM_JOB=good", "WARM_TRIGGER=manual", "WARM_KEYS=3"] {
        assert!(done.lines().any(|line| line == field), "{field}: {done}");
    }
    let failed = entry("MESSAGE=bad: failed");
    assert!(failed.contains("\nPRIORITY=3\n") && failed.contains("\nWARM_KIND=Query\n"), "{failed}");
    world.set("WARM_LOG", "trace,warm=trace");
    std::fs::remove_dir_all(world.folder.path.join("journal")).unwrap();
    let Some((ran, entries)) = with_journal(&world, "") else { return };
    let entries = entries.concat();
    assert!(entries.contains("sqlx"), "{entries}");
    // It looks for the passwords.
    Ran::of(std::process::Output {
        stdout: entries.into_bytes(),
        stderr: Vec::new(),
        status: Command::new("true").status().unwrap(),
    });
    assert_eq!(ran.code, 1);
}

#[test]
fn standard_error_that_leads_to_the_journal_is_found_out() {
    let world = world("");
    let stream = "JOURNAL_STREAM=$(stat -L -c %d:%i /proc/self/fd/2)";
    let Some((ran, entries)) = with_journal(&world, stream) else { return };
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert!(entries.iter().any(|entry| entry.starts_with("MESSAGE=good: done\n")), "{entries:?}");
    // That of another process.
    std::fs::remove_dir_all(world.folder.path.join("journal")).unwrap();
    let Some((ran, entries)) = with_journal(&world, "JOURNAL_STREAM=8:1234567") else { return };
    assert!(ran.err.contains("INFO good: done") && entries.is_empty(), "{}", ran.err);
}
