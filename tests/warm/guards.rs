//! A guard stops a run before its first write, and never stands in the way of a good one.

use std::collections::BTreeMap;
use std::fs;

use crate::freshness::{end, on_busy, quiet, while_reading};
use crate::support::world::{Ran, World};

/// The comment must not swallow what stands behind the query when its rows are counted.
const QUERY: &str =
    "query = '''SELECT * FROM t WHERE made <= :now ORDER BY id -- all'''\nkey = 't:{id}'\nvalue = 'row'\n";

/// So little that no result of these tests can be held back.
const LARGE: &str = "64KiB";

/// A table with so many rows, of 200 bytes each, and a job that reads it under this guard.
fn world(rows: usize, guard: &str) -> World {
    let world = World::new();
    fill(&world, rows);
    world.job("job", &format!("{QUERY}[guard]\n{guard}\n"));
    world
}

fn fill(world: &World, rows: usize) {
    world.sql("CREATE TABLE t (id int, v text, made timestamptz DEFAULT '2020-01-01'); GRANT SELECT ON t TO PUBLIC");
    world.sql(&format!("INSERT INTO t SELECT n, repeat(md5(n::text), 6) FROM generate_series(1, {rows}) n"));
}

/// What Redis holds: each key with its bytes, as Redis would write them to a file, and the time at which it dies.
pub(crate) fn dump(world: &World) -> BTreeMap<String, (Vec<u8>, i64)> {
    let look = |key: &String| (world.ask(&["DUMP", key]), world.ask(&["PEXPIRETIME", key]));
    world.keys().into_iter().map(|key| (key.clone(), look(&key))).collect()
}

/// Runs the job, which has to be stopped with nothing changed in Redis.
#[track_caller]
fn stopped(world: &World) -> Ran {
    let before = dump(world);
    let ran = world.warm(&["--now"]).exits(5).says("`warm --now JOB --accept` publishes it once");
    assert_eq!(dump(world), before);
    ran
}

/// The same for a job with so few rows that they are held back, and for one whose rows have to be counted first.
fn small_and_large(guard: &str, test: impl Fn(&World)) {
    for large in [false, true] {
        let mut world = world(400, guard);
        if large {
            world.set("WARM_LIMITS__IN_FLIGHT", LARGE);
        }
        world.warm(&["--now"]).exits(0).says("wrote 400 keys");
        test(&world);
    }
}

#[test]
fn too_few_rows_are_not_published() {
    small_and_large("min_rows = 300", |world| {
        world.sql("UPDATE t SET v = 'new'; DELETE FROM t WHERE id > 299");
        stopped(world).says("the query gives 299 rows, fewer than min_rows = 300").says("from 299 rows");
        world.sql("INSERT INTO t VALUES (300, 'new')");
        world.warm(&["--now"]).exits(0).says("wrote 300 keys");
    });
}

#[test]
fn no_rows_at_all_are_said_to_have_been_read() {
    small_and_large("min_rows = 1", |world| {
        world.sql("DELETE FROM t");
        stopped(world)
            .says("the query gives 0 rows, fewer than min_rows = 1")
            .says("wrote 0 keys (0 B) from 0 rows in ");
    });
}

#[test]
fn too_many_rows_are_not_published() {
    small_and_large("max_rows = 401", |world| {
        world.sql("UPDATE t SET v = 'new'; INSERT INTO t SELECT n, 'new' FROM generate_series(401, 900) n");
        stopped(world).says("rows, more than max_rows = 401");
        world.sql("DELETE FROM t WHERE id > 401");
        world.warm(&["--now"]).exits(0).says("wrote 401 keys");
    });
}

#[test]
fn a_result_without_end_is_not_read_to_it() {
    let world = World::new();
    world.job(
        "job",
        "query = '''SELECT generate_series(1, 100000000000) AS id, repeat('x', 1000) AS v'''\nkey = 't:{id}'\nvalue = 'row'\nguard.max_rows = 10000",
    );
    stopped(&world).says("the query gives at least").says("more than max_rows = 10000");
}

#[test]
fn rows_that_shrink_are_compared_with_the_last_good_run() {
    small_and_large("max_shrink = '50%'", |world| {
        world.sql("UPDATE t SET v = 'new'; DELETE FROM t WHERE id > 150");
        stopped(world).says("the query gives 150 rows, 62 % fewer than the 400 of the last good run (20");
        // A run that was stopped is no measure, nor is one that failed.
        stopped(world).says("fewer than the 400 of");
        world.sql("INSERT INTO t SELECT NULL FROM generate_series(1, 150)");
        world.warm(&["--now"]).exits(1).says("column `id` of the key is NULL");
        world.sql("DELETE FROM t WHERE id IS NULL");
        stopped(world).says("fewer than the 400 of");
        // One that was accepted is.
        world.warm(&["--now", "job", "--accept"]).exits(0).says("wrote 150 keys");
        world.sql("DELETE FROM t WHERE id > 75");
        world.warm(&["--now"]).exits(0).says("wrote 75 keys");
        world.sql("DELETE FROM t WHERE id > 37");
        stopped(world).says("51 % fewer than the 75 of");
    });
}

#[test]
fn other_columns_are_not_published() {
    let world = world(3, "same_columns = true");
    world.warm(&["--now"]).exits(0).says("wrote 3 keys");
    world.sql("ALTER TABLE t ADD COLUMN secret text DEFAULT 'x'; UPDATE t SET v = 'new'");
    let ran =
        stopped(&world).says("the query's columns are not those of the last good run").says("`secret` (text) is new");
    ran.says("job: failed before any row was read, in ");
    world.sql("ALTER TABLE t DROP COLUMN secret, ALTER COLUMN v TYPE varchar(300)");
    stopped(&world).says("`v` is character varying and was text");
    world.warm(&["--now", "job", "--accept"]).exits(0).says("wrote 3 keys");
    world.warm(&["--now"]).exits(0).says("wrote 3 keys");
    // A value format of the server's own gives other columns; the query's are meant.
    world.job("job", &format!("{QUERY}format = 'postgres'\nguard.same_columns = true"));
    world.warm(&["--now"]).exits(0).says("wrote 3 keys");
}

#[test]
fn rows_of_all_combinations_are_counted_together_and_bad_ones_too() {
    for in_flight in ["8MiB", LARGE] {
        let mut world = World::new();
        world.set("WARM_LIMITS__IN_FLIGHT", in_flight);
        fill(&world, 600);
        world.job("job", "query = '''SELECT NULLIF(id, 1) AS id, id % 3 AS g, v FROM t WHERE id % 3 = :g'''\nkey = 't:{g}:{id}'\nvalue = 'row'\non_bad_row = 'skip'\nfor_each.g = [0, 1, 2]\n[guard]\nmin_rows = 600\nmax_rows = 600");
        world.warm(&["--now"]).exits(0).says("wrote 599 keys").says("1 row skipped").says("from 600 rows");
        world.sql("DELETE FROM t WHERE id = 600");
        let ran = stopped(&world).says("the query gives 599 rows, fewer than min_rows = 600");
        assert!(!ran.all().contains("skipped"), "nothing was looked at: {}", ran.all());
        world.job("job", "query = '''SELECT v FROM t WHERE id = :n'''\nkey = 't:{n}'\nvalue = 'rows'\nfor_each.n = [1, 2, 600, 700]\n[guard]\nmin_rows = 2");
        world.warm(&["--now"]).exits(0).says("wrote 4 keys");
        assert_eq!(world.value("t:700").as_deref(), Some("[]"), "a combination without rows has been read, too");
        world.sql("DELETE FROM t WHERE id = 2");
        stopped(&world).says("the query gives 1 row, fewer than min_rows = 2");
    }
}

#[test]
fn a_small_result_is_read_once_and_a_large_one_counted_first() {
    // Two runs of two queries, each of which reads the whole table.
    for (in_flight, read) in [("8MiB", "1600"), (LARGE, "3200")] {
        let (_postgres, mut world) = quiet();
        world.set("WARM_LIMITS__IN_FLIGHT", in_flight);
        fill(&world, 400);
        world.job(
            "job",
            "query = 'SELECT id, v FROM t WHERE id > :n'\nkey = 't:{n}:{id}'\nvalue = 'row'\nfor_each.n = [0, 500]\nguard.min_rows = 1",
        );
        world.warm(&["--now"]).exits(0).says("wrote 400 keys");
        world.warm(&["--now"]).exits(0).says("wrote 400 keys");
        let statistics = || world.sql("SELECT seq_tup_read FROM pg_stat_user_tables WHERE relname = 't'");
        // Statistics of a backend are there when it has ended.
        let read_now = crate::support::server::wait_for("statistics", || Some(statistics()).filter(|now| now == read));
        assert_eq!(read_now, read, "{in_flight}");
    }
}

#[test]
fn without_a_history_there_is_nothing_to_compare_with_and_the_run_goes_on() {
    let mut world = world(3, "min_rows = 1\nmax_shrink = '10%'\nsame_columns = true");
    world.warm(&["--now"]).exits(0);
    world.sql("DELETE FROM t WHERE id > 1");
    stopped(&world);
    fs::write(world.folder.path.join("file"), "").unwrap();
    world.set("STATE_DIRECTORY", &world.folder.path.join("file").display().to_string());
    let ran = world.warm(&["--now"]).exits(0).says("wrote 1 key").says("the run history cannot be used");
    let said = "job: without the run history max_shrink and same_columns of [guard] cannot be judged";
    assert_eq!(ran.err.matches(said).count(), 1, "{}", ran.all());
    world.sql("DELETE FROM t");
    stopped(&world).says("the query gives 0 rows, fewer than min_rows = 1");
}

#[test]
fn another_definition_begins_anew() {
    let world = world(100, "max_shrink = '10%'");
    world.warm(&["--now"]).exits(0).says("wrote 100 keys");
    let narrow = QUERY.replace("ORDER BY", "AND id < 10 ORDER BY");
    world.job("job", &format!("{narrow}[guard]\nmax_shrink = '10%'"));
    world.warm(&["--now"]).exits(0).says("wrote 9 keys");
    // The old one is still known.
    world.job("job", &format!("{QUERY}[guard]\nmax_shrink = '10%'"));
    world.sql("DELETE FROM t WHERE id > 50");
    stopped(&world).says("50 % fewer than the 100 of");
}

#[test]
fn a_dry_run_is_stopped_too_and_changes_no_history() {
    let world = world(10, "max_shrink = '10%'");
    world.warm(&["--now", "--dry-run"]).exits(0).says("would write 10 keys");
    assert!(!world.state().exists());
    world.warm(&["--now"]).exits(0);
    world.sql("DELETE FROM t WHERE id > 5");
    let before = fs::read(world.state().join("history.sqlite")).unwrap();
    world.warm(&["--now", "--dry-run"]).exits(5).says("50 % fewer than the 10 of").says("would write 0 keys");
    world.warm(&["--now", "job", "--dry-run", "--accept"]).exits(0).says("would write 5 keys");
    assert_eq!(fs::read(world.state().join("history.sqlite")).unwrap(), before);
    // What is damaged is not replaced by somebody who only looks.
    fs::write(world.state().join("history.sqlite"), "no database, whatever is read of it").unwrap();
    world.warm(&["--now", "--dry-run"]).exits(0).says("it is damaged").says("max_shrink of [guard] cannot be judged");
    assert_eq!(fs::read_dir(world.state()).unwrap().count(), 1);
}

#[test]
fn a_part_of_the_rows_is_no_measure() {
    let world = World::new();
    world.sql("CREATE TABLE t AS SELECT n AS id FROM generate_series(1, 4) n; GRANT SELECT ON t TO PUBLIC");
    world.job(
        "job",
        "query = '''SELECT id FROM t WHERE id = :n'''\nkey = 't:{n}'\nvalue = 'rows'\nfor_each.n = [1, 2, 3, 4]\nguard.min_rows = 4",
    );
    world.warm(&["--now"]).exits(0);
    let _: i64 = world.ask(&["DEL", "t:3"]);
    world.warm(&["--now", "--missing"]).exits(0).says("wrote 1 key");
    world.sql("DELETE FROM t WHERE id = 1");
    let _: () = world.ask(&["FLUSHALL"]);
    world.warm(&["--now", "--missing"]).exits(5).says("the query gives 3 rows, fewer than min_rows = 4");
    assert!(world.keys().is_empty());
}

#[test]
fn on_a_busy_database_a_guard_decides_once_and_all_keys_live() {
    small_and_large("min_rows = 400\nmax_shrink = '1%'\nsame_columns = true", |world| {
        on_busy(world, || {
            let report = world.warm(&["--now", "--json"]).exits(0).json();
            assert_eq!((&report["jobs"][0]["keys"], &report["jobs"][0]["unconfirmed"]), (&400.into(), &0.into()));
            world.sql("DELETE FROM t WHERE id = 1");
            stopped(world).says("399 rows");
        });
        assert!(world.ask::<i64>(&["PTTL", "t:1"]) > 500_000);
    });
}

#[test]
fn what_changes_while_rows_are_held_back_is_set_right() {
    let world = World::new();
    world.sql(
        "CREATE TABLE t (id int, v text); INSERT INTO t VALUES (1, 'old'), (2, 'old'); GRANT SELECT ON t TO PUBLIC",
    );
    // So slow that it is time to verify the first row before the second one is written.
    world.job(
        "job",
        "query = '''SELECT id, v, pg_sleep(1.2)::text AS s FROM t WHERE id = :n'''\nkey = 't:{id}'\nvalue = 'column:v'\nfor_each.n = [1, 2]\nguard.min_rows = 2",
    );
    let child = while_reading(&world, &["--now"]);
    world.sql("UPDATE t SET v = 'new' WHERE id = 2");
    end(child).exits(0).says("wrote 2 keys").says("1 changed meanwhile and set right");
    assert_eq!((world.value("t:1").as_deref(), world.value("t:2").as_deref()), (Some("old"), Some("new")));
    assert!(world.ask::<i64>(&["PTTL", "t:2"]) > 500_000);
}
