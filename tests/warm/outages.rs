//! `warm serve` through what happens to servers, disks, files and itself: whatever it was, the cache is full and right again by itself.

use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use sqlx::Row;

use super::history::ask as history;
use super::serve::{Ends, Serving};
use crate::support::gate::Gate;
use crate::support::server::wait_for;
use crate::support::world::{World, ask};

const ROWS: usize = 200;
/// Takes two seconds.
const SLOW: &str = "schedule = '@yearly'\nquery = 'SELECT n AS id, pg_sleep(0.01)::text AS x FROM generate_series(1, 200) n'\nkey = 't:{id}'\nvalue = 'row'\nverify = 'none'";
const FIRST: &str = "schedule = '@yearly'\npriority = 9\nquery = 'SELECT 1 AS id'\nkey = 't:first'\nvalue = 'rows'";
/// A row without a second word: a value that is half written is no JSON.
const OFTEN: &str = "schedule = '* * * * * *'\nquery = 'SELECT n AS id, repeat(md5(n::text), 20) AS x FROM generate_series(1, 300) n'\nkey = 't:{id}'\nvalue = 'row'";

fn keys(world: &World) -> usize {
    world.ask::<Vec<String>>(&["KEYS", "t:*"]).len()
}

#[test]
fn a_redis_that_is_killed_in_mid_run_is_filled_again_the_most_important_job_first() {
    let mut serving = Serving::start(&[("slow", SLOW), ("first", FIRST)]);
    wait_for("the middle of the run", || (keys(&serving.world) > ROWS / 3).then_some(()));
    serving.world.redis.server.signal("KILL");
    serving.world.redis.server.end();
    serving.world.redis.start_again();
    serving.world.redis.allow_all_keys();
    wait_for("all keys", || (keys(&serving.world) == ROWS + 1).then_some(()));
    let (_, code, log) = serving.end();
    let refilled = log.split("Redis was restarted").nth(1).unwrap_or_else(|| panic!("{log}"));
    let place = |text| refilled.find(text).unwrap_or_else(|| panic!("{text}: {log}"));
    assert!(place("first: started") < place("slow: started"), "{log}");
    assert_eq!(code, Some(0), "{log}");
}

#[test]
fn a_redis_that_is_emptied_in_mid_run_is_filled_again_although_the_run_ends_well() {
    let world = World::new();
    let job = "schedule = '@yearly'\nverify = 'none'\nquery = 'SELECT n AS id, repeat(md5(n::text), 9) AS x FROM generate_series(1, 2000) n WHERE n < 2000 OR wait(1)'\nkey = 't:{id}'\nvalue = 'row'";
    world.job("job", job);
    let gate = Gate::shut(&world.database, 1);
    let serving = Serving::of(world);
    wait_for("the first keys", || (keys(&serving.world) > 1000).then_some(()));
    let _: () = serving.world.ask(&["FLUSHALL"]);
    serving.wait_until_it_says("Redis was emptied");
    gate.open();
    wait_for("all keys", || (keys(&serving.world) == 2000).then_some(()));
    let (_, code, log) = serving.end();
    assert_eq!((code, log.matches("job: done").count()), (Some(0), 2), "{log}");
}

#[test]
fn killed_at_two_hundred_instants_it_leaves_whole_values_no_lease_and_a_good_history() {
    let world = World::new();
    world.job("often", OFTEN);
    for _ in 0..200 {
        let mut child = world.program(&["serve"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // The instant is meant to be any.
        sleep(Duration::from_millis(fastrand::u64(0..400)));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let leases = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    wait_for("no lease", || (world.sql(leases) == "0").then_some(()));
    let mut connection = world.redis.connect();
    let written: Vec<String> = ask(&mut connection, &["KEYS", "t:*"]);
    for key in &written {
        let value: String = ask(&mut connection, &["GET", key]);
        let row: serde_json::Value = serde_json::from_str(&value).unwrap_or_else(|error| panic!("{key}: {error}"));
        assert_eq!((row["x"].as_str().unwrap().len(), format!("t:{}", row["id"])), (640, key.clone()));
        assert!(ask::<i64>(&mut connection, &["PTTL", key]) > 0, "{key} lives for ever");
    }
    let file = world.state().join("history.sqlite");
    assert_eq!(history(&file, "PRAGMA integrity_check")[0].get::<String, _>(0), "ok");
    let _: () = world.ask(&["FLUSHALL"]);
    let serving = Serving::of(world);
    wait_for("all keys", || (keys(&serving.world) == 300).then_some(()));
    let (_, code, log) = serving.end();
    assert!(code == Some(0) && !log.contains("WARN") && !log.contains("ERROR"), "{code:?}: {log}");
}

#[test]
fn a_file_that_is_being_written_is_not_read() {
    let serving = Serving::start(&[("first", FIRST)]);
    wait_for("the first run", || serving.world.value("t:first"));
    // Each piece changes the file between any two looks at it.
    let path = serving.world.folder.path.join("jobs/slowly.toml");
    let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
    let text = format!("# {}\n{}", "written slowly ".repeat(9), FIRST.replace("t:first", "t:slowly"));
    for piece in text.as_bytes().chunks(text.len().div_ceil(50)) {
        file.write_all(piece).unwrap();
        sleep(Duration::from_millis(100));
    }
    wait_for("the new job", || serving.world.value("t:slowly"));
    // One that stays half written is an error, and the jobs before go on.
    serving.world.job("half", &FIRST[..FIRST.len() - 9]);
    serving.wait_until_it_says("half.toml");
    let _: () = serving.world.ask(&["FLUSHALL"]);
    wait_for("both jobs", || (keys(&serving.world) == 2).then_some(()));
    serving.world.job("half", &FIRST.replace("t:first", "t:half"));
    wait_for("the third job", || serving.world.value("t:half"));
    let (_, code, log) = serving.end();
    assert_eq!((code, log.matches("cannot be used").count()), (Some(0), 1), "{log}");
}

#[test]
fn a_full_state_disk_stops_nothing_is_told_once_and_used_again_when_it_has_room() {
    let world = World::new();
    world.job("often", "schedule = '* * * * * *'\nquery = 'SELECT now()::text AS t'\nkey = 't:now'\nvalue = 'rows'");
    fs::create_dir(world.state()).unwrap();
    // A limit on the length of files is a full disk for everybody, root or not.
    let script = format!("trap '' XFSZ; ulimit -S -f 4; exec {} serve", env!("CARGO_BIN_EXE_warm"));
    let program = world.program(&[]);
    let mut shell = Command::new("bash");
    shell.args(["-c", &script]).current_dir(&world.folder.path).env_clear().stdin(Stdio::null()).stderr(Stdio::piped());
    shell.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut serving = Ends(shell.spawn().unwrap());
    let pid = serving.0.id().to_string();
    let mut last = wait_for("the first run", || world.value("t:now"));
    for _ in 0..4 {
        last = wait_for("another run", || world.value("t:now").filter(|value| *value != last));
    }
    let room = Command::new("prlimit").args(["--fsize=unlimited", "--pid", &pid]).status();
    assert!(room.unwrap().success());
    let file = world.state().join("history.sqlite");
    wait_for("a run that is recorded", || {
        let made =
            fs::metadata(&file).is_ok_and(|file| file.len() > 0) && !file.with_extension("sqlite-journal").exists();
        (made && !history(&file, "SELECT 1 FROM run").is_empty()).then_some(())
    });
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    let mut log = String::new();
    serving.0.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    assert_eq!(serving.0.wait().unwrap().code(), Some(0), "{log}");
    assert_eq!(log.matches("the run history cannot be used, runs go on without it").count(), 1, "{log}");
    assert_eq!(log.matches("WARN").count(), 1, "{log}");
}
