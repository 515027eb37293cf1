//! PostgreSQL fails: what stays, what is said, which code.

use std::time::{Duration, Instant};

use crate::support::postgres::Postgres;
use crate::support::proxy::{Fault, Proxy};
use crate::support::redis::Redis;
use crate::support::server::wait_for;
use crate::support::world::{CONFIG, World};

/// Ten thousand rows of some hundred bytes.
const MANY: &str = "query = '''SELECT n AS id, repeat('x', 200) AS x FROM generate_series(1, 10000) n'''\nkey = 't:{id}'\nvalue = 'row'\n";

fn own_cluster() -> (Postgres, World) {
    let postgres = Postgres::start(&[]);
    let world = World::of(postgres.database(), Redis::start(""));
    (postgres, world)
}

#[test]
fn a_server_that_is_down_is_tried_until_the_deadline_and_costs_no_key() {
    let mut world = World::new();
    world.job("job", MANY);
    let _: () = world.ask(&["SET", "t:1", "old", "PX", "100000"]);
    let port = crate::support::server::free_port();
    world.set("DATABASE_URL", &world.database.tcp_url(port));
    world.set("WARM_POSTGRES__CONNECT_TIMEOUT", "2500ms");
    let start = Instant::now();
    let ran = world
        .warm(&["--now"])
        .exits(3)
        .says("no connection to PostgreSQL at 127.0.0.1")
        .says("check that PostgreSQL runs");
    assert!((1.0..4.0).contains(&start.elapsed().as_secs_f64()), "{:?}", start.elapsed());
    assert_eq!(ran.err.matches("ERROR").count(), 1, "a failure is logged once: {}", ran.all());
    assert_eq!(world.value("t:1").as_deref(), Some("old"));
}

#[test]
fn a_server_that_is_starting_is_waited_for() {
    let (mut postgres, mut world) = own_cluster();
    world.job("job", MANY);
    world.set("WARM_POSTGRES__CONNECT_TIMEOUT", "30s");
    postgres.server.end();
    let child = world.start(&["--now"]);
    postgres.start_again();
    let ran = crate::support::world::Ran::of(child.wait_with_output().unwrap());
    ran.exits(0).says("wrote 10000 keys");
}

#[test]
fn too_many_connections_are_waited_out() {
    let (_postgres, mut world) = own_cluster();
    world.job("job", MANY);
    world.sql("ALTER ROLE warm CONNECTION LIMIT 0");
    world.set("WARM_POSTGRES__CONNECT_TIMEOUT", "30s");
    let child = world.start(&["--now"]);
    world.sql("SELECT pg_sleep(0.2)");
    world.sql("ALTER ROLE warm CONNECTION LIMIT -1");
    crate::support::world::Ran::of(child.wait_with_output().unwrap()).exits(0).says("wrote 10000 keys");
}

#[test]
fn a_run_makes_do_with_the_connections_that_it_has() {
    let (_postgres, mut world) = own_cluster();
    world.job(
        "job",
        "query = 'SELECT :id::int AS id, pg_sleep(0.2)::text AS v'\nkey = 't:{id}'\nvalue = 'row'\n[for_each]\nid = [1, 2, 3, 4, 5, 6]",
    );
    world.sql("ALTER ROLE warm CONNECTION LIMIT 1");
    // The run is done long before: for more connections it does not wait.
    for (limit, warned) in [("300ms", 1), ("60s", 0)] {
        world.set("WARM_POSTGRES__CONNECT_TIMEOUT", limit);
        let ran = world.warm(&["--now"]).exits(0).says("wrote 6 keys");
        let words = "job: makes do with the connections that it has: no connection to PostgreSQL at ";
        assert_eq!(ran.err.matches(words).count(), warned, "{}", ran.all());
    }
    // The first one is needed.
    world.sql("ALTER ROLE warm CONNECTION LIMIT 0");
    world.set("WARM_POSTGRES__CONNECT_TIMEOUT", "300ms");
    let ran = world.warm(&["--now"]).exits(3).says("kind=PostgresFull").says("too many connections for role");
    let ran = ran.says("lower `connections` in [postgres]").says("CONNECTION LIMIT");
    assert!(!ran.all().contains("host and port"), "{}", ran.all());
}

#[test]
fn a_missing_right_or_table_or_column_fails_its_job_with_the_line() {
    let world = World::new();
    world.sql("CREATE TABLE secret (id int); CREATE TABLE open (id int); REVOKE ALL ON secret FROM warm");
    world.job("a", "query = 'SELECT id FROM secret'\nkey = 't:a:{id}'\nvalue = 'row'");
    world.warm(&["--now"]).exits(3).says("permission denied for table secret").says("config/postgres-role.sql");
    world.job("a", "key = 't:a:{id}'\nvalue = 'row'\nquery = '''\n  SELECT id,\n    nothing\n  FROM open\n'''");
    world
        .warm(&["--now"])
        .exits(1)
        .says("column \"nothing\" does not exist (SQLSTATE 42703); at jobs/a.toml:5; advice:");
    world.job(
        "a",
        "key = 't:a:{id}'\nvalue = 'row'\nquery = '''\n  SELECT id\n  FROM nowhere WHERE id = :x'''\nfor_each.x = [1]",
    );
    world.warm(&["--now"]).exits(1).says("relation \"nowhere\" does not exist").says("at jobs/a.toml:5");
    world.job("a", "key = 't:a:{id}'\nvalue = 'row'\nquery = 'SELECT id FROM open'");
    world.job("b", "key = 't:b:{id}'\nvalue = 'row'\nquery = 'SELECT * FROM missing'");
    world.warm(&["--now"]).exits(1).says("a: wrote 0 keys").says("at jobs/b.toml:3");
}

#[test]
fn a_wrong_password_is_tried_once() {
    let mut world = World::new();
    world.job("job", MANY);
    let proxy = Proxy::before(world.database.port, &[]);
    let url = format!("postgres://warm:wrong-s3cret@127.0.0.1:{}/{}", proxy.port, world.database.name);
    world.set("DATABASE_URL", &url);
    let ran = world.warm(&["--now"]).exits(3).says("password authentication failed for user \"warm\"");
    assert!(!ran.all().contains("wrong-s3cret"), "{}", ran.all());
    assert_eq!(proxy.accepted(), 1, "not tried again: {}", ran.all());
}

#[test]
fn a_statement_timeout_fails_that_job_only_and_at_once() {
    let mut world = World::new();
    world.set("WARM_POSTGRES__STATEMENT_TIMEOUT", "300ms");
    world.job("slow", "query = 'SELECT pg_sleep(20)::text AS x'\nkey = 't:slow'\nvalue = 'rows'\npriority = 5");
    world.job("quick", "query = 'SELECT 1 AS x'\nkey = 't:quick'\nvalue = 'rows'");
    let start = Instant::now();
    let ran = world
        .warm(&["--now"])
        .exits(1)
        .says("statement timeout (SQLSTATE 57014)")
        .says("statement_timeout in [postgres]");
    assert!(start.elapsed() < Duration::from_secs(10));
    assert!(ran.err.contains("attempts=1"), "not retried: {}", ran.all());
    assert_eq!(world.keys(), ["t:quick"]);
}

#[test]
fn a_terminated_backend_makes_the_job_start_over() {
    // A query without arguments is run as COPY, where the driver reports the end of the connection only.
    for (argument, reported) in
        [("", "expected to read 5 bytes, got 0 bytes at EOF"), ("[for_each]\nx = ['']", "57P01")]
    {
        start_over(argument, reported);
    }
}

fn start_over(argument: &str, reported: &str) {
    let (_postgres, world) = own_cluster();
    // The row that hangs does so on the first look only.
    world.sql("CREATE SEQUENCE looks; GRANT SELECT, UPDATE ON SEQUENCE looks TO warm");
    world.sql("CREATE TABLE gate (open bool); INSERT INTO gate VALUES (false)");
    world.job(
        "job",
        &format!(
            "query = '''SELECT n AS id, CASE WHEN n = 5000 AND NOT (SELECT open FROM gate) THEN pg_sleep(60)::text END AS x FROM generate_series(1, 10000) n{}'''\nkey = 't:{{id}}'\nvalue = 'row'\n{argument}",
            if argument.is_empty() { "" } else { " WHERE :x = ''" }
        ),
    );
    let child = world.start(&["--now"]);
    wait_for("the query", || {
        (world.sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'") == "1").then_some(())
    });
    world.sql("UPDATE gate SET open = true");
    world.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'");
    let ran = crate::support::world::Ran::of(child.wait_with_output().unwrap()).exits(0);
    assert!(ran.err.contains(reported) && ran.err.contains("attempt 2 follows"), "{}", ran.all());
    assert!(ran.out.contains("wrote 10000 keys") && ran.out.contains("1 retry"), "not counted twice: {}", ran.all());
    assert_eq!(world.ask::<u64>(&["DBSIZE"]), 10_000);
}

#[test]
fn an_immediate_shutdown_in_mid_stream_is_never_fewer_rows() {
    let (mut postgres, mut world) = own_cluster();
    world.set("WARM_POSTGRES__CONNECT_TIMEOUT", "2s");
    world.job(
        "job",
        "query = '''SELECT n AS id, CASE WHEN n = 5000 THEN pg_sleep(60)::text END AS x FROM generate_series(1, 10000) n'''\nkey = 't:{id}'\nvalue = 'row'",
    );
    world.job("list", "query = '''SELECT n AS id, CASE WHEN n = 5000 THEN pg_sleep(60)::text END AS x FROM generate_series(1, 10000) n'''\nkey = 't:list'\nvalue = 'rows'");
    let _: () = world.ask(&["SET", "t:list", "old", "PX", "100000"]);
    let child = world.start(&["--now"]);
    wait_for("both queries", || {
        (world.sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'") == "2").then_some(())
    });
    postgres.server.end();
    crate::support::world::Ran::of(child.wait_with_output().unwrap()).exits(3).says("job: failed");
    assert_eq!(world.value("t:list").as_deref(), Some("old"), "half a list is no list");
}

#[test]
fn a_connection_that_is_cut_anywhere_is_never_fewer_rows() {
    let mut world = World::new();
    world.job("job", "query = '''SELECT n AS id, repeat('x', 20) AS x FROM generate_series(1, 1000) n'''\nkey = 't:{id}'\nvalue = 'row'\nretries = 2");
    world.job("list", "query = '''SELECT n AS id, repeat('x', 20) AS x FROM generate_series(1, 1000) n'''\nkey = 't:list'\nvalue = 'rows'\nretries = 2");
    // Somewhere in authentication, in describing, in the rows and in their end.
    let mut cuts = vec![30, 500, 1200, 20_000];
    cuts.extend((0..8).map(|n| 38_000 + 700 * n));
    for cut in cuts {
        // Whatever comes first in two connections, which may both be one job's; the next ones pass.
        let proxy = Proxy::before(world.database.port, &[Fault::CutAfter(cut), Fault::CutAfter(cut)]);
        world.set("DATABASE_URL", &world.database.tcp_url(proxy.port));
        let _: () = world.ask(&["FLUSHALL"]);
        let ran = world.warm(&["--now"]).exits(0);
        assert!(ran.out.contains("wrote 1000 keys"), "cut after {cut}: {}", ran.all());
        let list = world.value("t:list").unwrap();
        assert_eq!(list.matches("\"id\"").count(), 1000, "cut after {cut}");
        assert_eq!(world.ask::<u64>(&["DBSIZE"]), 1001, "cut after {cut}");
    }
}

#[test]
fn a_server_that_falls_silent_is_given_up() {
    let mut world = World::new();
    world.job("job", &format!("{MANY}retries = 0"));
    world.set("WARM_POSTGRES__CONNECT_TIMEOUT", "1500ms");
    let silent =
        Proxy::before(world.database.port, &[Fault::FreezeAfter(0), Fault::FreezeAfter(0), Fault::FreezeAfter(0)]);
    world.set("DATABASE_URL", &world.database.tcp_url(silent.port));
    let start = Instant::now();
    world.warm(&["--now"]).exits(3).says("PostgreSQL did not answer");
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());

    world.set("WARM_POSTGRES__STATEMENT_TIMEOUT", "500ms");
    let frozen = Proxy::before(world.database.port, &[Fault::FreezeAfter(100_000)]);
    world.set("DATABASE_URL", &world.database.tcp_url(frozen.port));
    let start = Instant::now();
    world.warm(&["--now"]).exits(3).says("PostgreSQL did not answer").says("waiting for a row");
    assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());
}

#[test]
fn a_jobs_own_timeout_ends_it_and_its_query() {
    let world = World::new();
    world.config(&format!("{CONFIG}[defaults]\ntimeout = '1s'"));
    world.job("slow", "query = 'SELECT n AS id, CASE WHEN n = 500 THEN pg_sleep(60)::text END AS x FROM generate_series(1, 1000) n'\nkey = 't:{id}'\nvalue = 'row'");
    let ran = world.warm(&["--now"]).exits(1).says("the job did not end within its timeout of 1s");
    let written = world.keys().len();
    assert!(ran.err.contains(&format!("failed after writing {written} keys")) && written > 300, "{}", ran.all());
    wait_for("the end of the query", || {
        (world
            .sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()")
            == "0")
            .then_some(())
    });
}

fn wait_for_the_end_of_the_query(world: &World) {
    let sleeping =
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()";
    wait_for("the end of the query", || (world.sql(sleeping) == "0").then_some(()));
}

#[test]
fn a_first_row_that_comes_too_late_ends_the_job_and_its_query() {
    let mut world = World::new();
    world.set("WARM_DEFAULTS__FIRST_ROW_TIMEOUT", "700ms");
    world.job("slow", "query = 'SELECT 1 AS x FROM pg_sleep(20)'\nkey = 't:slow'\nvalue = 'rows'\npriority = 5");
    world.job(
        "quick",
        "query = 'SELECT 1 AS x FROM pg_sleep(1)'\nkey = 't:quick'\nvalue = 'rows'\nfirst_row_timeout = '20s'",
    );
    let start = Instant::now();
    let ran = world.warm(&["--now"]).exits(1);
    assert!(
        ran.err.contains("slow: failed after writing 0 keys: PostgreSQL gave no row within first_row_timeout = 700ms, and the query was ended; at jobs/slow.toml"),
        "{}",
        ran.all()
    );
    assert!(ran.err.contains("attempts=1") && ran.err.contains("raise this limit of the job"), "{}", ran.all());
    assert_eq!(world.keys(), ["t:quick"]);
    wait_for_the_end_of_the_query(&world);
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}

/// Rows of some size, since the server sends them in portions; the thousandth is late.
const STOPS: &str = "query = '''SELECT n AS id, repeat('x', 500) AS x, CASE WHEN n = 1000 THEN pg_sleep(20)::text END AS s FROM generate_series(1, 2000) n'''\nkey = 't:{id}'\nvalue = 'row'\n";

#[test]
fn a_further_row_that_comes_too_late_ends_the_job_and_its_query() {
    let world = World::new();
    world.job("job", &format!("{STOPS}first_row_timeout = '20s'\nnext_row_timeout = '700ms'"));
    let start = Instant::now();
    let ran =
        world.warm(&["--now"]).exits(1).says("PostgreSQL gave no further row within next_row_timeout = 700ms after 9");
    wait_for_the_end_of_the_query(&world);
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    assert!(ran.err.contains("attempts=1"), "{}", ran.all());
    // It holds for each reading: here the guard's, before anything is written.
    world.job("job", &format!("{STOPS}next_row_timeout = '700ms'\nguard.min_rows = 1"));
    let _: () = world.ask(&["FLUSHALL"]);
    world.warm(&["--now"]).exits(1).says("next_row_timeout = 700ms");
    assert_eq!(world.keys(), [""; 0]);
    // And the first row is none of the next ones.
    world.job("job", &format!("{STOPS}first_row_timeout = '700ms'\ntimeout = '3s'"));
    world.warm(&["--now"]).exits(1).says("timeout of 3s");
}

#[test]
fn a_server_that_falls_silent_among_the_rows_is_given_up_after_the_jobs_own_limit() {
    let mut world = World::new();
    world.job("job", &format!("{MANY}next_row_timeout = '1s'"));
    let frozen = Proxy::before(world.database.port, &[Fault::FreezeAfter(100_000)]);
    world.set("DATABASE_URL", &world.database.tcp_url(frozen.port));
    let start = Instant::now();
    world.warm(&["--now"]).exits(1).says("within next_row_timeout = 1s after");
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}

#[test]
fn a_slow_redis_uses_up_no_time_of_the_database() {
    let mut world = World::new();
    world.set("WARM_LIMITS__IN_FLIGHT", "64KiB");
    world.job("job", &format!("{MANY}first_row_timeout = '1s'\nnext_row_timeout = '1s'"));
    let _: () = world.ask(&["CLIENT", "PAUSE", "3000", "WRITE"]);
    let start = Instant::now();
    world.warm(&["--now"]).exits(0).says("wrote 10000 keys");
    assert!(start.elapsed() > Duration::from_secs(2), "nothing was held up: {:?}", start.elapsed());
}

#[test]
fn a_lost_lock_fails_that_job_only() {
    let mut world = World::new();
    world.set("WARM_POSTGRES__STATEMENT_TIMEOUT", "1s");
    world.sql("CREATE TABLE locked (id int)");
    world.job("locked", "query = 'SELECT id FROM locked'\nkey = 't:{id}'\nvalue = 'row'");
    world.job("quick", "query = 'SELECT 1 AS x'\nkey = 't:quick'\nvalue = 'rows'");
    let mut holder = std::process::Command::new("psql")
        .arg(world.database.admin_url())
        .args(["-qc", "BEGIN; LOCK TABLE locked; SELECT pg_sleep(60)"])
        .spawn()
        .unwrap();
    wait_for("the lock", || {
        (world
            .sql("SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND relation = 'locked'::regclass")
            == "1")
            .then_some(())
    });
    world.warm(&["--now"]).exits(1).says("SQLSTATE 55P03").says("quick: wrote 1 key");
    holder.kill().unwrap();
    holder.wait().unwrap();
}
