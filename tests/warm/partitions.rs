//! `partition_by`: a big query is read in ranges of a column, side by side, and nothing is lost or read twice.

use crate::freshness::{end, on_busy};
use crate::serve::Serving;
use crate::support::gate::Gate;
use crate::support::postgres::Postgres;
use crate::support::redis::Redis;
use crate::support::server::wait_for;
use crate::support::world::World;

/// A table whose statistics know ids from 1 to 2000, and then rows on both sides of what they know.
const TABLE: &str = "CREATE TABLE t (id int, g text, v text DEFAULT 'v'); GRANT SELECT ON t TO PUBLIC;
    INSERT INTO t SELECT n, 'g' || n % 400 FROM generate_series(1, 2000) n; ANALYZE t;
    INSERT INTO t VALUES (-7, 'g1'), (999999, 'zz')";
const ROWS: usize = 2002;

fn world() -> World {
    let world = World::new();
    world.sql(TABLE);
    world
}

fn job(query: &str, more: &str) -> String {
    format!(
        "query = '''{query}'''\nkey = 't:{{id}}'\nvalue = 'row'\npartition_by = {{ column = 'id', parts = 4 }}\n{more}\n"
    )
}

/// Runs the job and compares how many queries and keys there were.
#[track_caller]
fn runs(world: &World, arguments: &[&str], queries: u64, keys: u64) -> serde_json::Value {
    let ran = world.warm(&[&["--now", "--json"][..], arguments].concat()).exits(0);
    let job = ran.json()["jobs"][0].clone();
    assert_eq!((&job["queries"], &job["keys"]), (&queries.into(), &keys.into()), "{}", ran.all());
    assert_eq!((&job["duplicates"], &job["unconfirmed"]), (&0.into(), &0.into()), "{}", ran.all());
    job
}

/// The keys, as the database has them.
fn expected(world: &World, rows: &str) -> Vec<String> {
    let mut keys: Vec<String> = world.sql(&format!("SELECT 't:' || {rows}")).lines().map(str::to_owned).collect();
    keys.sort();
    keys
}

#[test]
fn all_rows_are_read_once_also_beyond_what_the_statistics_know() {
    let world = world();
    for more in ["", "format = 'postgres'", "verify = { version = 'v' }"] {
        world.job("job", &job("SELECT id, v FROM t WHERE :now > '2020-01-01'", more));
        runs(&world, &[], 4, ROWS as u64);
        assert_eq!(world.keys(), expected(&world, "id FROM t"), "{more}");
        assert_eq!(world.value("t:-7").as_deref(), Some(r#"{"id":-7,"v":"v"}"#));
        let _: () = world.ask(&["FLUSHALL"]);
    }
    // A table that is one of several.
    world.sql("CREATE TABLE whole (id int) PARTITION BY HASH (id); CREATE TABLE one PARTITION OF whole FOR VALUES WITH (MODULUS 2, REMAINDER 0);
        CREATE TABLE two PARTITION OF whole FOR VALUES WITH (MODULUS 2, REMAINDER 1); INSERT INTO whole SELECT id FROM t;
        ANALYZE whole; GRANT SELECT ON whole TO PUBLIC");
    world.job("job", &job("SELECT id FROM whole", ""));
    runs(&world, &[], 4, ROWS as u64);
    let _: () = world.ask(&["FLUSHALL"]);
    // More parts than there are statistics for, and none at all.
    world.sql("CREATE TABLE few AS SELECT * FROM t LIMIT 3; ANALYZE few; CREATE VIEW seen AS SELECT * FROM t; GRANT SELECT ON few, seen TO PUBLIC");
    world.job("job", &job("SELECT id FROM few", ""));
    runs(&world, &[], 2, 3);
    let _: () = world.ask(&["FLUSHALL"]);
    for expression in ["id FROM seen", "id + 0 AS id FROM t"] {
        world.job("job", &job(&format!("SELECT {expression}"), ""));
        runs(&world, &[], 1, ROWS as u64);
        world.warm(&["check"]).says("partition_by wants 4 parts, but PostgreSQL has no histogram of the column `id`");
    }
    // Analyzed, and still without a histogram: ANALYZE again would change nothing.
    world.sql("CREATE TABLE alike AS SELECT n % 3 AS id FROM generate_series(1, 100) n; ANALYZE alike; GRANT SELECT ON alike TO PUBLIC");
    world.job("job", &job("SELECT DISTINCT id FROM alike", ""));
    world.warm(&["check"]).says("it has too few different values to cut at").says("name another column");
}

#[test]
fn any_type_that_can_stand_in_a_key_can_be_cut() {
    let world = World::new();
    world.sql("CREATE TYPE mood AS ENUM ('b', 'a', 'c'); GRANT USAGE ON TYPE mood TO PUBLIC");
    for (ty, value) in [
        ("smallint", "n"),
        ("bigint", "n * 9000000000"),
        ("uuid", "md5(n::text)::uuid"),
        ("text", "'O''Brien \\ é ' || n"),
        ("text COLLATE \"C\"", "chr(60 + n % 60) || n"),
        ("varchar(20)", "'v' || n"),
        ("char(8)", "'c' || n"),
        ("mood", "(enum_range(NULL::mood))[1 + n % 3]"),
    ] {
        world.sql(&format!(
            "DROP TABLE IF EXISTS t; CREATE TABLE t (id {ty}); GRANT SELECT ON t TO PUBLIC;
             INSERT INTO t SELECT {value} FROM generate_series(1, 500) n; ANALYZE t;
             INSERT INTO t SELECT {value} FROM generate_series(501, 600) n"
        ));
        world.job("job", &job("SELECT DISTINCT id FROM t", ""));
        let keys = expected(&world, "id::text FROM (SELECT DISTINCT id FROM t) t");
        let trimmed = |keys: Vec<String>| keys.iter().map(|key| key.trim_end().to_owned()).collect::<Vec<_>>();
        // Of three values there is no histogram.
        runs(&world, &[], if ty == "mood" { 1 } else { 4 }, keys.len() as u64);
        assert_eq!(trimmed(world.keys()), trimmed(keys), "{ty}");
        let _: () = world.ask(&["FLUSHALL"]);
    }
}

#[test]
fn a_row_without_a_value_is_in_the_first_part() {
    let world = world();
    world.sql("INSERT INTO t VALUES (NULL, 'null')");
    world.job("job", &job("SELECT id FROM t", ""));
    world.warm(&["--now"]).exits(1).says("column `id` of the key is NULL");
    world.job("job", &job("SELECT id FROM t", "on_bad_row = 'skip'"));
    let report = runs(&world, &[], 4, ROWS as u64);
    assert_eq!((&report["bad_rows"], &report["rows"]), (&1.into(), &(ROWS + 1).into()), "{report:#}");
}

#[test]
fn arrays_and_pages_have_all_their_rows_in_one_part() {
    let world = world();
    let by_group = job("SELECT g, id FROM t ORDER BY id", "").replace("'id'", "'g'").replace("'row'", "'rows'");
    world.job("job", &by_group.replace("{id}", "{g}"));
    runs(&world, &[], 4, 401);
    assert_eq!(world.value("t:zz").as_deref(), Some(r#"[{"g":"zz","id":999999}]"#));
    let groups = world.sql(
        "SELECT json_object_agg('t:' || g, ids) FROM (SELECT g, json_agg(id ORDER BY id) AS ids FROM t GROUP BY g) x",
    );
    let groups: std::collections::BTreeMap<String, Vec<i64>> = serde_json::from_str(&groups).unwrap();
    for (key, ids) in groups {
        let rows: Vec<serde_json::Value> = serde_json::from_str(&world.value(&key).unwrap()).unwrap();
        assert_eq!(rows.iter().map(|row| row["id"].as_i64().unwrap()).collect::<Vec<_>>(), ids, "{key}");
    }
    let _: () = world.ask(&["FLUSHALL"]);
    world.job("job", &format!("{}paginate = 2\n", by_group.replace("{id}", "{g}:{page}")));
    runs(&world, &[], 4, 3 * 400 + 1);
    assert_eq!(world.value("t:g1:1").as_deref(), Some(r#"[{"g":"g1","id":-7},{"g":"g1","id":1}]"#));
}

#[test]
fn each_combination_is_cut() {
    let world = world();
    world.sql("UPDATE t SET v = 'w' WHERE id % 2 = 0");
    let query = "SELECT id, v FROM t WHERE v = :v AND :now > '2020-01-01' -- all";
    world.job("job", &job(query, "for_each.v = ['v', 'w']").replace("t:{id}", "t:{v}:{id}"));
    runs(&world, &[], 8, ROWS as u64);
    assert_eq!(world.keys(), expected(&world, "v || ':' || id FROM t"));
    world.sql("ANALYZE t");
    world.warm(&["check"]).says("job: writes about 2002 keys");
    world.job("job", &job("SELECT id FROM t WHERE g = ANY(:g)", "for_each.g = ['g1', 'zz']"));
    let _: () = world.ask(&["FLUSHALL"]);
    runs(&world, &[], 4, 7);
}

#[test]
fn the_parts_are_read_side_by_side() {
    let mut world = world();
    // One of them is for looks whether anything was committed.
    world.set("WARM_POSTGRES__CONNECTIONS", "5");
    world.job("job", &job("SELECT id FROM t WHERE wait(1)", ""));
    let gate = Gate::shut(&world.database, 1);
    let child = world.start(&["--now"]);
    let waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 1 AND NOT granted \
                   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    wait_for("four queries", || (world.sql(waiting) == "4").then_some(()));
    gate.open();
    end(child).exits(0).says(&format!("wrote {ROWS} keys"));
}

#[test]
fn a_big_table_to_which_nothing_is_committed_is_read_once() {
    let postgres = Postgres::start(&["max_parallel_workers_per_gather=0", "autovacuum=off"]);
    let world = World::of(postgres.database(), Redis::start(""));
    world.sql("CREATE TABLE big AS SELECT n AS id, repeat('x', 100) AS x FROM generate_series(1, 100000) n; GRANT SELECT ON big TO PUBLIC");
    world.sql("ANALYZE big");
    let scans = || world.sql("SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'big'").parse::<u64>().unwrap();
    world.job("job", &job("SELECT id, x FROM big", ""));
    let before = scans();
    runs(&world, &[], 4, 100_000);
    // What a session has done is known at the latest when it has ended.
    wait_for("the end of the sessions", || {
        (world.sql("SELECT count(*) FROM pg_stat_activity WHERE usename = 'warm'") == "0").then_some(())
    });
    assert_eq!(scans() - before, 4);
}

#[test]
fn parts_are_read_again_and_what_has_changed_is_set_right() {
    let world = world();
    for more in ["", "verify = { version = 'v' }", "format = 'postgres'"] {
        world.job("job", &job("SELECT id, v FROM t -- all", more));
        on_busy(&world, || runs(&world, &[], 4, ROWS as u64));
        assert!(world.keys().iter().all(|key| world.ask::<i64>(&["PTTL", key]) > 500_000), "{more}");
        let _: () = world.ask(&["FLUSHALL"]);
    }
    // Rows of the last part change while it is read; one of them moves to the first one, which has been read.
    world.job("job", &job("SELECT id, v FROM t WHERE id <> 1999 OR wait(1)", ""));
    let gate = Gate::shut(&world.database, 1);
    let child = world.start(&["--now"]);
    gate.wait_for_query();
    wait_for("the first part", || world.value("t:-7"));
    world.sql("UPDATE t SET v = 'new' WHERE id = 1999; UPDATE t SET id = -99 WHERE id = 999999");
    gate.open();
    end(child).exits(0).says("1 changed meanwhile and set right").says("1 not verified, and left to die");
    assert_eq!(world.value("t:1999").as_deref(), Some(r#"{"id":1999,"v":"new"}"#));
    assert!(world.ask::<i64>(&["PTTL", "t:999999"]) <= 10_000);
    world.warm(&["--now"]).exits(0);
    assert_eq!(world.value("t:-99").as_deref(), Some(r#"{"id":-99,"v":"v"}"#));
}

#[test]
fn sweeps_guards_and_absent_keys_are_about_all_parts() {
    let mut world = world();
    world.job("job", &job("SELECT id FROM t", &format!("sweep = true\nguard.min_rows = {}", ROWS - 3)));
    runs(&world, &[], 4, ROWS as u64);
    world.sql("DELETE FROM t WHERE id IN (-7, 1000, 2000)");
    let report = runs(&world, &[], 4, ROWS as u64 - 3);
    assert_eq!(report["swept"], 3, "{report:#}");
    assert_eq!(world.keys(), expected(&world, "id FROM t"));
    world.sql("DELETE FROM t WHERE id = 500");
    world.warm(&["--now"]).exits(5).says("min_rows");
    // Too many to be held back: they are counted.
    world.set("WARM_LIMITS__IN_FLIGHT", "64KiB");
    world.warm(&["--now"]).exits(5).says("min_rows");
    world.sql("INSERT INTO t VALUES (500)");
    world.warm(&["--now"]).exits(0);
    let _: i64 = world.ask(&["DEL", "t:1", "t:1999"]);
    let report = world.warm(&["--now", "--missing", "--json"]).exits(0).json();
    assert_eq!(report["jobs"][0]["keys"], 2, "{report:#}");
    assert_eq!(world.keys(), expected(&world, "id FROM t"));
}

#[test]
fn all_parts_are_refreshed_before_they_die() {
    let world = world();
    let more = "schedule = '@yearly'\nrefresh_ahead = true\nttl = '4s'\nverify = 'none'";
    world.job("job", &job("SELECT id, clock_timestamp()::text AS t FROM t", more));
    let serving = Serving::of(world);
    let ends = || ["t:-7", "t:999999"].map(|key| serving.world.value(key));
    wait_for("both ends", || ends().iter().all(Option::is_some).then_some(()));
    let first = ends();
    wait_for("others", || {
        let now = ends();
        assert!(now.iter().all(Option::is_some), "one died");
        now.iter().zip(&first).all(|(now, first)| now != first).then_some(())
    });
}

#[test]
fn a_column_that_is_not_there_or_twice_is_named() {
    let world = world();
    world.job("job", &job("SELECT v FROM t", ""));
    world.warm(&["--now"]).exits(1).says("`id`");
    world.job("job", &job("SELECT id, id FROM t", ""));
    world.warm(&["--now"]).exits(1).says("the query gives several of this name").says("jobs/job.toml:4");
    assert_eq!(world.keys(), [""; 0]);
}

#[test]
fn the_example_of_the_documentation_is_read_in_parts() {
    let world = World::platform();
    world.sql("ANALYZE");
    world.job("event-seats", crate::pages::example("Big tables: parts"));
    world.warm(&["check", "event-seats"]).exits(0);
    let events: u64 = world.sql(r#"SELECT count(*) FROM "Event" WHERE "status" = 'published'"#).parse().unwrap();
    let report = world.warm(&["--now", "--json", "event-seats"]).exits(0).json();
    let job = &report["jobs"][0];
    assert_eq!((&job["queries"], &job["keys"]), (&4.into(), &events.into()), "{job:#}");
}
