//! Keys whose rows are gone are removed by a run that can be sure of it, and by no other.

use std::time::{Duration, Instant};

use crate::freshness::{end, on_busy, while_reading};
use crate::guards::dump;
use crate::history;
use crate::support::server::wait_for;
use crate::support::world::{Ran, World};

const JOB: &str = "query = 'SELECT id, v FROM t'\nkey = 't:{id}'\nvalue = 'column:v'\nsweep = true\n";

/// A table with so many rows, and a job that has written them.
fn world(rows: usize, more: &str) -> World {
    let world = World::new();
    world.sql("CREATE TABLE t (id int, v text); GRANT SELECT ON t TO PUBLIC");
    world.sql(&format!("INSERT INTO t SELECT n, 'v' || n FROM generate_series(1, {rows}) n"));
    world.job("job", &format!("{JOB}{more}"));
    world.warm(&["--now"]).exits(0).says(&format!("wrote {rows} key"));
    world
}

/// The keys that the manifest knows.
fn manifest(world: &World) -> Vec<String> {
    let rows =
        history::ask(&world.state().join("history.sqlite"), "SELECT CAST(key AS text) FROM manifest ORDER BY key");
    rows.iter().map(|row| sqlx::Row::get(row, 0)).collect()
}

/// The run must not remove anything, though the rows of some keys are gone.
#[track_caller]
fn keeps(world: &World, ran: Ran) -> Ran {
    assert!(!ran.all().contains("removed: their"), "{}", ran.all());
    assert_eq!(world.value("t:1").as_deref(), Some("v1"), "{}", ran.all());
    ran
}

/// The next good run finds it.
#[track_caller]
fn removes_one(world: &World) {
    world.warm(&["--now"]).exits(0).says("1 removed: their rows are gone");
    assert_eq!(world.value("t:1"), None);
}

#[test]
fn a_key_whose_row_is_gone_is_removed_unless_it_is_no_longer_ours() {
    let world = world(8, "");
    let kept = dump(&world);
    world.sql("DELETE FROM t WHERE id < 7");
    let _: () = world.ask(&["SET", "t:2", "theirs", "EX", "1000"]);
    let _: () = world.ask(&["PERSIST", "t:3"]);
    let _: i64 = world.ask(&["DEL", "t:4", "t:5"]);
    let _: i64 = world.ask(&["RPUSH", "t:5", "theirs"]);
    let _: () = world.ask(&["SET", "t:6", "v7", "EX", "1000"]);
    let report = world.warm(&["--now", "--json"]).exits(0).json();
    assert_eq!((&report["jobs"][0]["keys"], &report["jobs"][0]["swept"]), (&2.into(), &1.into()), "{report}");
    assert_eq!(world.keys(), ["t:2", "t:3", "t:5", "t:6", "t:7", "t:8"]);
    assert_eq!(world.value("t:2").as_deref(), Some("theirs"));
    assert_eq!(world.value("t:3").as_deref(), Some("v3"));
    assert_eq!(dump(&world)["t:7"].0, kept["t:7"].0);
    assert_eq!(manifest(&world), ["t:7", "t:8"], "what is not ours is forgotten");
    // Whoever comes back is written again.
    world.sql("INSERT INTO t VALUES (1, 'v1')");
    world.warm(&["--now"]).exits(0).says("wrote 3 keys");
    removes_all_but(&world, 7);
}

#[track_caller]
fn removes_all_but(world: &World, id: u32) {
    world.sql(&format!("DELETE FROM t WHERE id <> {id}"));
    world.warm(&["--now"]).exits(0).says("2 removed: their rows are gone");
    assert_eq!(manifest(world), [format!("t:{id}")]);
}

#[test]
fn without_sweep_nothing_is_removed_and_nothing_noted() {
    let world = world(2, "");
    world.job("job", &JOB.replace("sweep = true", "sweep = false"));
    world.sql("DELETE FROM t WHERE id = 1; INSERT INTO t VALUES (3, 'v3')");
    keeps(&world, world.warm(&["--now"]).exits(0));
    assert_eq!(manifest(&world), ["t:1", "t:2"]);
    let other = World::new();
    other.job("job", "query = 'SELECT 1 AS id'\nkey = 't:{id}'\nvalue = 'row'");
    other.warm(&["--now"]).exits(0);
    let tables =
        history::ask(&other.state().join("history.sqlite"), "SELECT 1 FROM sqlite_schema WHERE name = 'manifest'");
    assert!(tables.is_empty(), "only sweeping jobs pay");
}

#[test]
fn a_failed_run_removes_nothing() {
    let world = world(3, "");
    world.sql("DELETE FROM t WHERE id = 1; INSERT INTO t VALUES (NULL, 'x')");
    keeps(&world, world.warm(&["--now"]).exits(1).says("column `id` of the key is NULL"));
    world.sql("DELETE FROM t WHERE id IS NULL");
    removes_one(&world);
}

#[test]
fn a_run_that_leaves_rows_out_removes_nothing() {
    let world = world(3, "on_bad_row = 'skip'\nguard.max_value = '10'");
    world.sql("DELETE FROM t WHERE id = 1; INSERT INTO t VALUES (NULL, 'x')");
    keeps(&world, world.warm(&["--now"]).exits(0).says("1 row skipped"));
    world.sql("UPDATE t SET id = 4, v = 'longer than allowed' WHERE id IS NULL");
    keeps(&world, world.warm(&["--now"]).exits(0).says("larger than max_value"));
    world.sql("DELETE FROM t WHERE id = 4");
    removes_one(&world);
}

#[test]
fn a_run_that_writes_absent_keys_only_or_nothing_removes_nothing() {
    let world = world(3, "");
    world.sql("DELETE FROM t WHERE id = 1; INSERT INTO t VALUES (4, 'v4')");
    keeps(&world, world.warm(&["--now", "--dry-run"]).exits(0));
    keeps(&world, world.warm(&["--now", "--missing"]).exits(0).says("wrote 1 key"));
    removes_one(&world);
    // What it wrote is known.
    world.sql("DELETE FROM t WHERE id = 4");
    world.warm(&["--now"]).exits(0).says("1 removed");
    assert_eq!(world.keys(), ["t:2", "t:3"]);
}

#[test]
fn a_dry_run_shows_what_would_be_removed_and_touches_nothing() {
    let mut world = world(20, "");
    world.sql("DELETE FROM t WHERE id <= 12; UPDATE t SET v = 'new' WHERE id = 13");
    let _: () = world.ask(&["SET", "t:2", "theirs", "EX", "1000"]);
    let _: () = world.ask(&["PERSIST", "t:3"]);
    let file = world.state().join("history.sqlite");
    let untouched = || (dump(&world), std::fs::read(&file).unwrap());
    let before = untouched();
    let ran = world.warm(&["--now", "--dry-run"]).exits(0).says("would write 8 keys");
    let ran = ran.says(", would remove 10 keys whose rows are gone\n").says("  t:1  would be removed\n");
    let ran = ran.says("  and 3 more\n").says("  and 5 more would be removed\n");
    assert_eq!(ran.out.matches("  would be removed\n").count(), 5, "{}", ran.all());
    let report = world.warm(&["--now", "--dry-run", "--json"]).exits(0).json();
    let job = &report["jobs"][0];
    assert_eq!(job["swept"], 10);
    assert_eq!(job["swept_sample"], serde_json::json!(["t:1", "t:10", "t:11", "t:12", "t:4"]));
    assert!(untouched() == before, "a dry run only looks");
    let report = world.warm(&["--now", "--json"]).exits(0).json();
    assert_eq!((&report["jobs"][0]["swept"], &report["jobs"][0]["swept_sample"]), (&10.into(), &serde_json::json!([])));
    let ran = world.warm(&["--now", "--dry-run"]).exits(0);
    assert!(!ran.out.contains("remove"), "{}", ran.all());
    // With a prefix, keys are shown as they stand in Redis.
    world.set("WARM_REDIS__KEY_PREFIX", "p:");
    world.warm(&["--now"]).exits(0);
    world.sql("DELETE FROM t WHERE id = 20");
    world.warm(&["--now", "--dry-run"]).exits(0).says("would remove 1 key whose").says("  p:t:20  would be removed\n");
}

#[test]
fn a_dry_run_shows_nothing_where_a_run_would_remove_nothing() {
    let mut world = world(3, "");
    world.sql("DELETE FROM t WHERE id = 1");
    let silent = |world: &World, arguments: &[&str], code: i32| {
        let ran = world.warm(&[&["--now", "--dry-run"][..], arguments].concat()).exits(code);
        assert!(!ran.out.contains("remove"), "{}", ran.all());
        ran
    };
    world.warm(&["--now", "--dry-run"]).exits(0).says("would remove 1 key");
    silent(&world, &["--missing"], 0);
    world.job("job", &format!("{JOB}guard.min_rows = 3"));
    silent(&world, &[], 5);
    world.warm(&["--now", "--dry-run", "--accept", "job"]).exits(0).says("would remove 1 key");
    world.job("job", JOB);
    world.sql("INSERT INTO t VALUES (NULL, 'x')");
    silent(&world, &[], 1);
    world.job("job", &format!("{JOB}on_bad_row = 'skip'"));
    silent(&world, &[], 0).says("1 row skipped");
    world.sql("DELETE FROM t WHERE id IS NULL");
    world.job("job", &JOB.replace("sweep = true", ""));
    silent(&world, &[], 0);
    world.job("job", JOB);
    world.set("STATE_DIRECTORY", &world.folder.path.join("none").display().to_string());
    assert_eq!(silent(&world, &[], 0).err, "", "no run has noted anything there");
    world.set("STATE_DIRECTORY", &world.folder.path.join("warm.toml").display().to_string());
    silent(&world, &[], 0).says("job: without the run history keys whose rows are gone are not known");
}

#[test]
fn a_run_that_a_guard_stops_removes_nothing() {
    let world = world(3, "guard.min_rows = 3");
    world.sql("DELETE FROM t WHERE id = 1");
    keeps(&world, world.warm(&["--now"]).exits(5));
    world.warm(&["--now", "job", "--accept"]).exits(0).says("1 removed: their rows are gone");
    assert_eq!(world.keys(), ["t:2", "t:3"]);
}

#[test]
fn a_run_that_cannot_be_verified_removes_nothing() {
    let slow = JOB.replace("id, v FROM", "id, v, pg_sleep(0.3)::text AS s FROM");
    let world = world(3, "");
    world.sql("DELETE FROM t WHERE id = 1");
    // A row that vanishes between two readings.
    world.job("job", &slow);
    world.sql("INSERT INTO t VALUES (4, 'v4')");
    let child = while_reading(&world, &["--now"]);
    world.sql("DELETE FROM t WHERE id = 4");
    keeps(&world, end(child).exits(0).says("1 not verified"));
    // All of its keys hold what they should, but nobody knows for how long.
    world.job("job", &format!("{JOB}invalidates = 'before-commit'"));
    let mut application = world.database.session();
    application.say("BEGIN; UPDATE t SET v = 'new';");
    keeps(&world, world.warm(&["--now"]).exits(1).says("still open after 5 s"));
    application.say("ROLLBACK;");
    let _: i64 = world.ask(&["DEL", "t:4"]);
    removes_one(&world);
}

#[test]
fn what_a_killed_run_wrote_is_known_to_the_next_one() {
    let world = world(1500, "");
    // In this order it reads what is as it was, what has changed, and what is new; it is killed when some of that is written.
    world.sql("UPDATE t SET v = 'new' || id WHERE id <= 750");
    world.sql("INSERT INTO t SELECT n, repeat('x', 200) FROM generate_series(1501, 2250) n");
    world.job("job", &JOB.replace("FROM t", "FROM t WHERE id < 2000 OR pg_sleep(30) IS NOT NULL"));
    let mut child = world.start(&["--now"]);
    wait_for("some of the new keys", || world.value("t:1600"));
    child.kill().unwrap();
    child.wait().unwrap();
    world.job("job", JOB);
    world.sql("DELETE FROM t WHERE id % 3 = 0");
    let report = world.warm(&["--now", "--json"]).exits(0).json();
    let mut expected: Vec<String> = (1..=2250).filter(|id| id % 3 != 0).map(|id| format!("t:{id}")).collect();
    expected.sort();
    // New keys that it had not noted had not got their full lifetime either.
    let dies_soon = |key: &String| world.ask::<i64>(&["PTTL", key]) <= 10_000;
    let found: Vec<String> = world.keys().into_iter().filter(|key| expected.contains(key) || !dies_soon(key)).collect();
    assert_eq!(found, expected, "{report}");
    assert!(report["jobs"][0]["swept"].as_u64() >= Some(500), "{report}");
    assert_eq!(manifest(&world), expected);
}

#[test]
fn a_cache_that_was_emptied_has_nothing_to_remove() {
    let world = world(3, "");
    let _: () = world.ask(&["FLUSHALL"]);
    world.sql("DELETE FROM t WHERE id = 1");
    let ran = world.warm(&["--now"]).exits(0).says("wrote 2 keys");
    assert!(!ran.out.contains("removed: their"), "{}", ran.all());
    assert_eq!(manifest(&world), ["t:2", "t:3"]);
}

#[test]
fn twenty_thousand_keys_are_removed_in_seconds() {
    let world = world(20_000, "");
    world.sql("DELETE FROM t WHERE id % 10 <> 0");
    let start = Instant::now();
    world.warm(&["--now"]).exits(0).says("wrote 2000 keys").says("18000 removed");
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    assert_eq!(world.ask::<u64>(&["DBSIZE"]), 2000);
}

#[test]
fn installations_that_share_a_state_folder_keep_to_their_own_keys() {
    let mut world = world(3, "");
    world.set("WARM_REDIS__KEY_PREFIX", "other:");
    world.warm(&["--now"]).exits(0).says("wrote 3 keys");
    world.sql("DELETE FROM t WHERE id = 1");
    world.warm(&["--now"]).exits(0).says("1 removed");
    assert_eq!(world.keys(), ["other:t:2", "other:t:3", "t:1", "t:2", "t:3"]);
    world.unset("WARM_REDIS__KEY_PREFIX");
    removes_one(&world);
}

#[test]
fn without_a_history_nothing_is_removed() {
    let mut world = world(3, "");
    let state = world.state().display().to_string();
    world.sql("DELETE FROM t WHERE id = 1");
    world.set("STATE_DIRECTORY", &world.folder.path.join("warm.toml").display().to_string());
    let said = "job: without the run history keys whose rows are gone are not removed";
    let ran =
        keeps(&world, world.warm(&["--now"]).exits(0).says("the run history cannot be used").says("wrote 2 keys"));
    assert_eq!(ran.err.matches(said).count(), 1, "{}", ran.all());
    world.set("STATE_DIRECTORY", &state);
    removes_one(&world);
}

#[test]
fn a_repair_removes_nothing_and_says_nothing_of_it() {
    let world = world(3, "");
    world.sql("DELETE FROM t WHERE id = 1; UPDATE t SET v = 'new' WHERE id = 2");
    let ran = world.warm(&["diff", "--repair"]).exits(1);
    let ran = ran.says("2 keys as in the database, 1 extra (before the repair: 1 stale, 1 extra)");
    assert_eq!((world.value("t:2").as_deref(), ran.err.as_str()), (Some("new"), ""));
    keeps(&world, ran);
    removes_one(&world);
}

#[test]
fn what_is_dead_or_belongs_to_another_job_now_is_only_forgotten() {
    let world = world(4, "");
    let file = world.state().join("history.sqlite");
    world.sql("DELETE FROM t WHERE id <> 4");
    history::ask(&file, "UPDATE manifest SET dies = 1 WHERE CAST(key AS text) = 't:1'");
    // One of its keys is another job's from now on, and that job has not run yet.
    world.job("two", "query = 'SELECT 1 AS id WHERE false'\nkey = 't:2'\nvalue = 'row'");
    world.warm(&["--now", "job"]).exits(0).says("1 removed");
    assert_eq!(world.keys(), ["t:1", "t:2", "t:4"]);
    assert_eq!(manifest(&world), ["t:4"]);
    // Other keys from now on.
    world.job("job", &JOB.replace("'t:{id}'", "'t:new:{id}'"));
    world.warm(&["--now", "job"]).exits(0).says("wrote 1 key");
    assert_eq!(world.keys(), ["t:1", "t:2", "t:4", "t:new:4"]);
    assert_eq!(manifest(&world), ["t:new:4"]);
}

#[test]
fn arrays_versions_and_values_of_for_each_are_swept_like_rows() {
    let world = World::new();
    world.sql("CREATE TABLE t (g text, id int, version int DEFAULT 1); INSERT INTO t SELECT 'g' || n % 3, n FROM generate_series(1, 9) n; GRANT SELECT ON t TO PUBLIC");
    let more = "value = 'rows'\nsweep = true\nverify = { version = 'version' }";
    world.job("a", &format!("query = 'SELECT * FROM t ORDER BY g, id'\nkey = 't:a:{{g}}'\n{more}"));
    let b = format!("query = 'SELECT * FROM t WHERE g = :g ORDER BY id'\nkey = 't:b:{{g}}'\n{more}\n");
    world.job("b", &format!("{b}for_each.g = ['g0', 'g1']"));
    on_busy(&world, || world.warm(&["--now"]).exits(0));
    world.sql("DELETE FROM t WHERE g = 'g0'");
    world.job("b", &format!("{b}for_each.g = ['g0']"));
    on_busy(&world, || world.warm(&["--now"]).exits(0).says("a: wrote 2 keys").says("b: wrote 1 key"));
    assert_eq!(world.keys(), ["t:a:g1", "t:a:g2", "t:b:g0"]);
    assert_eq!(world.value("t:b:g0").as_deref(), Some("[]"), "an array without rows is there");
}

#[test]
fn a_value_that_changed_while_it_was_written_is_known_as_it_is_now() {
    let world = world(1, "");
    world.job("job", &JOB.replace("id, v FROM", "id, v, pg_sleep(0.4)::text AS s FROM"));
    let _: i64 = world.ask(&["DEL", "t:1"]);
    let child = while_reading(&world, &["--now"]);
    world.sql("UPDATE t SET v = 'v1 again'");
    end(child).exits(0).says("1 changed meanwhile and set right");
    assert_eq!(world.value("t:1").as_deref(), Some("v1 again"));
    world.sql("DELETE FROM t");
    world.warm(&["--now"]).exits(0).says("1 removed");
    assert!(world.keys().is_empty());
}
