//! What is written is what the database holds, whatever the application does meanwhile.
//!
//! The race is made certain: the job's query sleeps after its snapshot was taken, and the application changes the row in that time.

use std::process::Child;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::gate::Gate;
use crate::support::postgres::Postgres;
use crate::support::redis::Redis;
use crate::support::server::wait_for;
use crate::support::world::{CONFIG, Ran, World};

const SLOW: &str =
    "query = '''SELECT id, v, pg_sleep(0.4)::text AS s FROM t ORDER BY id'''\nkey = 't:{id}'\nvalue = 'column:v'\n";

/// A database of its own: on the shared one, other tests commit all the time.
pub(crate) fn quiet() -> (Postgres, World) {
    let postgres = Postgres::start(&[]);
    let world = World::of(postgres.database(), Redis::start(""));
    (postgres, world)
}

/// One row, `old`, and a job that reads it slowly.
fn slow(more: &str) -> World {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY, v text NOT NULL); INSERT INTO t VALUES (1, 'old'); GRANT SELECT ON t TO PUBLIC");
    world.job("job", &format!("{SLOW}{more}"));
    world
}

/// Waits until the job's query is under way, so that its snapshot is taken.
pub(crate) fn while_reading(world: &World, arguments: &[&str]) -> Child {
    let child = world.start(arguments);
    wait_for("the query", || {
        let sleeping =
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()";
        (world.sql(sleeping) == "1").then_some(())
    });
    child
}

pub(crate) fn end(child: Child) -> Ran {
    Ran::of(child.wait_with_output().unwrap())
}

pub(crate) fn lifetime(world: &World) -> i64 {
    world.ask(&["PTTL", "t:1"])
}

#[test]
fn a_row_that_changes_between_reading_and_writing_is_set_right() {
    let world = slow("");
    let child = while_reading(&world, &["--now"]);
    world.sql("UPDATE t SET v = 'new'");
    let _: i64 = world.ask(&["DEL", "t:1"]);
    end(child).exits(0).says("wrote 1 key").says("1 changed meanwhile and set right");
    assert_eq!(world.value("t:1").as_deref(), Some("new"));
    assert!(lifetime(&world) > 500_000, "it has its full lifetime: {}", lifetime(&world));
}

#[test]
fn a_value_that_dies_before_it_is_set_right_is_written_again() {
    let (_postgres, world) = quiet();
    world.sql("CREATE TABLE t (id int PRIMARY KEY, v text NOT NULL); INSERT INTO t VALUES (1, 'old')");
    // Reading takes longer than the value may live until it has been read again.
    world.job("job", &format!("{}ttl = '1s'", SLOW.replace("0.4", "0.8")));
    let child = while_reading(&world, &["--now", "--json"]);
    world.sql("UPDATE t SET v = 'new'");
    let report = end(child).exits(0).json();
    let job = &report["jobs"][0];
    assert_eq!((&job["keys"], &job["overtaken"], &job["unconfirmed"]), (&1.into(), &0.into(), &0.into()), "{job:#}");
}

#[test]
fn without_verification_the_old_value_stays() {
    let world = slow("verify = 'none'");
    let child = while_reading(&world, &["--now"]);
    world.sql("UPDATE t SET v = 'new'");
    let _: i64 = world.ask(&["DEL", "t:1"]);
    end(child).exits(0).says("wrote 1 key");
    assert_eq!(world.value("t:1").as_deref(), Some("old"), "this is the race that the other tests are about");
}

#[test]
fn what_the_application_wrote_meanwhile_stays_as_it_is() {
    let world = slow("");
    let child = while_reading(&world, &["--now"]);
    world.sql("UPDATE t SET v = 'new'");
    let _: () = world.ask(&["SET", "t:1", "theirs", "PX", "123000"]);
    end(child).exits(0).says("1 left alone: changed, removed or evicted by others meanwhile");
    assert_eq!(world.value("t:1").as_deref(), Some("theirs"));
    assert!(lifetime(&world) <= 123_000);
}

#[test]
fn a_row_that_is_deleted_meanwhile_leaves_nothing_that_lasts() {
    let world = slow("");
    let child = while_reading(&world, &["--now"]);
    world.sql("DELETE FROM t");
    let _: i64 = world.ask(&["DEL", "t:1"]);
    end(child).exits(0).says("1 not verified, and left to die");
    assert!(lifetime(&world) <= 10_000);
}

#[test]
fn a_version_column_is_compared_instead_of_the_value() {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY, v text, version int); INSERT INTO t SELECT n, 'old', 1 FROM generate_series(1, 2) n; GRANT SELECT ON t TO PUBLIC");
    world.job(
        "job",
        "query = 'SELECT id, v, version FROM t WHERE id <> 1 OR wait(1) ORDER BY id;'\nkey = 't:{id}'\nvalue = 'column:v'\nverify = { version = 'version' }",
    );
    let gate = Gate::shut(&world.database, 1);
    let child = world.start(&["--now"]);
    gate.wait_for_query();
    world.sql("UPDATE t SET v = 'new', version = 2 WHERE id = 1");
    // The version did not change: by the job's own word, nothing did.
    world.sql("UPDATE t SET v = 'unseen' WHERE id = 2");
    gate.open();
    let ran = end(child).exits(0).says("wrote 2 keys").says("1 changed meanwhile and removed");
    assert!(!ran.out.contains("set right"), "{}", ran.all());
    assert_eq!(world.value("t:1"), None, "removed: the new value was not read");
    assert_eq!(world.value("t:2").as_deref(), Some("old"));
    assert!(world.ask::<i64>(&["PTTL", "t:2"]) > 500_000);
    // A key that holds another value needs the value itself.
    let _: () = world.ask(&["SET", "t:1", "stale", "EX", "100"]);
    world.warm(&["--now"]).exits(0);
    assert_eq!(world.value("t:1").as_deref(), Some("new"));
    assert!(lifetime(&world) > 500_000);
}

#[test]
fn a_version_works_for_arrays_for_the_servers_own_format_and_for_columns_of_one_name() {
    let world = World::new();
    world.sql("CREATE TABLE t (id int PRIMARY KEY, g text, version int); INSERT INTO t SELECT n, 'g' || n % 2, 1 FROM generate_series(1, 6) n; GRANT SELECT ON t TO PUBLIC");
    let job = |key: &str, more: &str| {
        format!(
            "query = '''SELECT id, g, version, 1 AS x, 2 AS x FROM t ORDER BY g, id -- versions'''\nkey = 't:{key}{{g}}'\nvalue = 'rows'\nverify = {{ version = 'version' }}\n{more}"
        )
    };
    world.job("a", &job("a", "hide = ['x']"));
    world.job("b", &job("b", "format = 'postgres'\nhide = ['version', 'x']"));
    let report = on_busy(&world, || world.warm(&["--now", "--json"])).exits(0).json();
    assert_eq!(report["jobs"][0]["unconfirmed"], 0, "{report}");
    assert_eq!(world.keys(), ["t:ag0", "t:ag1", "t:bg0", "t:bg1"]);
    for key in world.keys() {
        assert!(world.ask::<i64>(&["PTTL", &key]) > 500_000, "{key}");
    }
    assert_eq!(world.value("t:bg1").unwrap().matches("\"id\":").count(), 3);
}

#[test]
fn a_version_that_the_query_does_not_give_is_an_error() {
    let mut world = slow("\nverify = { version = 'updatedAt' }");
    let says = |world: &World, message: &str, at: &str| {
        let ran = world.warm(&["--now"]).exits(1).says(message);
        ran.says(&format!("; at {at}; "));
        world.warm(&["check"]).exits(1).says(message).says(&format!("at: {at}\n"));
    };
    let missing = "verify compares the column `updatedAt`, which the query does not give; it gives id, v, s: add \"updatedAt\" to its SELECT";
    says(&world, missing, "jobs/job.toml:5");
    world.job("job", &SLOW.replace("'column:v'", "'row'"));
    world.config(&format!("{CONFIG}[defaults]\nverify.version = 'updatedAt'\n"));
    let hide = format!("{missing}; hide = [\"updatedAt\"] keeps it out of the value");
    says(&world, &hide, "warm.toml:5");
    world.config(CONFIG);
    world.set("WARM_DEFAULTS__VERIFY", "{ version = 'updatedAt' }");
    says(&world, &hide, "$WARM_DEFAULTS__VERIFY");

    world.set("WARM_DEFAULTS__VERIFY", "{ version = 'v' }");
    world.job("job", &SLOW.replace("id, v,", "id, v, v,"));
    says(
        &world,
        "verify compares the column `v`, for which `v` is read again, and the query gives `v` more than once",
        "jobs/job.toml:1",
    );
    world.job("job", &SLOW.replace("SELECT id, v,", "SELECT id AS a, v,"));
    says(&world, "column \"id\": the key needs it, but the query has no such column", "jobs/job.toml:1");
}

/// Does the work while something else is committed again and again.
pub(crate) fn on_busy<T>(world: &World, work: impl FnOnce() -> T) -> T {
    struct Ended<'a>(&'a AtomicBool);
    impl Drop for Ended<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let (stop, begun) = (AtomicBool::new(false), AtomicBool::new(false));
    world.sql("CREATE TABLE IF NOT EXISTS other (n int)");
    std::thread::scope(|scope| {
        let _ended = Ended(&stop);
        scope.spawn(|| {
            let mut application = world.database.session();
            while !stop.load(Ordering::Relaxed) {
                application.say("INSERT INTO other VALUES (1);");
                begun.store(true, Ordering::Relaxed);
            }
        });
        wait_for("the first commit", || begun.load(Ordering::Relaxed).then_some(()));
        work()
    })
}

#[test]
fn on_a_busy_database_rows_are_read_again_and_all_keys_live() {
    let world = World::new();
    world.sql("CREATE TABLE t AS SELECT n AS id, repeat(md5(n::text), 10) AS v FROM generate_series(1, 20000) n; GRANT SELECT ON t TO PUBLIC");
    world.job("job", "query = 'SELECT id, v FROM t'\nkey = 't:{id}'\nvalue = 'row'");
    on_busy(&world, || {
        for round in ["cold", "warm"] {
            let report = world.warm(&["--now", "--json"]).exits(0).json();
            let job = &report["jobs"][0];
            assert_eq!((&job["keys"], &job["unconfirmed"]), (&20_000.into(), &0.into()), "{round}: {job}");
            assert_eq!(job["renewed"], if round == "warm" { 20_000 } else { 0 }, "{round}");
        }
    });
    let mut connection = world.redis.connect();
    let mut lifetimes = redis::pipe();
    for n in 1..=20_000 {
        lifetimes.cmd("PTTL").arg(format!("t:{n}"));
    }
    let shortest: Option<i64> = lifetimes.query::<Vec<i64>>(&mut connection).unwrap().into_iter().min();
    assert!(shortest > Some(500_000), "{shortest:?}");
}

#[test]
fn on_a_quiet_database_rows_are_read_once() {
    let (_postgres, world) = quiet();
    world.sql("CREATE TABLE t AS SELECT n AS id FROM generate_series(1, 500) n; GRANT SELECT ON t TO PUBLIC");
    world.job("job", "query = 'SELECT id FROM t'\nkey = 't:{id}'\nvalue = 'row'");
    for round in ["cold", "warm"] {
        let report = world.warm(&["--now", "--json"]).exits(0).json();
        assert_eq!(
            (&report["jobs"][0]["keys"], &report["jobs"][0]["unconfirmed"]),
            (&500.into(), &0.into()),
            "{round}"
        );
    }
    // Statistics of a backend are there when it has ended.
    let read = wait_for("statistics", || {
        let read = world.sql("SELECT seq_tup_read FROM pg_stat_user_tables WHERE relname = 't'");
        (read != "0").then_some(read)
    });
    assert_eq!(read, "1000", "two runs, one reading each");
    assert!(lifetime(&world) > 500_000);
}

#[test]
fn foreign_tables_are_read_again_since_they_change_without_a_transaction_here() {
    let (_postgres, world) = quiet();
    world.sql(
        "CREATE EXTENSION file_fdw; CREATE SERVER files FOREIGN DATA WRAPPER file_fdw; \
               CREATE FOREIGN TABLE f (line text) SERVER files OPTIONS (filename '/etc/hostname'); \
               CREATE TABLE t AS SELECT 1 AS id; GRANT SELECT ON t TO PUBLIC",
    );
    world.job("job", "query = 'SELECT id FROM t'\nkey = 't:{id}'\nvalue = 'row'");
    world.warm(&["--now"]).exits(0).says("wrote 1 key");
    let read = wait_for("statistics", || {
        let read = world.sql("SELECT seq_tup_read FROM pg_stat_user_tables WHERE relname = 't'");
        (read != "0").then_some(read)
    });
    assert_eq!(read, "2");
}

#[test]
fn rows_that_are_never_the_same_are_said_to_need_another_way() {
    let world = World::new();
    world
        .job("job", "query = 'SELECT 1 AS id, random() AS v, pg_sleep(0.1)::text AS s'\nkey = 't:{id}'\nvalue = 'row'");
    let ran = on_busy(&world, || world.warm(&["--now"])).exits(0).says("1 not verified, and left to die");
    ran.says("some rows were different at each of 5 readings").says("needs verify = \"none\"");
}

#[test]
fn values_that_die_before_they_are_confirmed_are_not_said_to_be_different() {
    let mut world = World::new();
    let rows = "SELECT n AS id FROM generate_series(1, 250) n";
    world.job("job", &format!("query = '{rows}'\nkey = 't:{{id}}'\nvalue = 'row'\nttl = '2s'"));
    // To write them all takes twice as long as the first ones live.
    world.set("WARM_REDIS__KEYS_PER_SECOND", "100");
    let ran = on_busy(&world, || world.warm(&["--now"])).exits(0).says("not verified");
    let ran = ran.says("values died before they could be confirmed: write faster (keys_per_second)");
    assert!(!ran.all().contains("different"), "{}", ran.all());
}

#[test]
fn equal_bytes_get_more_time_and_never_less() {
    let world = slow("");
    let _: () = world.ask(&["SET", "t:1", "old", "PX", "3000000"]);
    world.warm(&["--now"]).exits(0).says("1 of them unchanged");
    assert!(lifetime(&world) > 2_900_000, "the application gave it more");
    let _: () = world.ask(&["SET", "t:1", "old", "PX", "30000"]);
    world.warm(&["--now"]).exits(0).says("1 of them unchanged");
    assert!(lifetime(&world) > 500_000);
}

#[test]
fn with_missing_a_key_that_is_known_beforehand_and_present_costs_no_query() {
    let world = World::new();
    // The query fails if it is run for the first value.
    world.job(
        "job",
        "query = 'SELECT 1 / (:n::int - 1) AS x'\nkey = 't:{n}'\nvalue = 'rows'\n[for_each]\nn = [1, 2, 3]",
    );
    let _: () = world.ask(&["SET", "t:1", "theirs", "EX", "100"]);
    let report = world.warm(&["--now", "--missing", "--json"]).exits(0).json();
    let job = &report["jobs"][0];
    assert_eq!((&job["rows"], &job["keys"], &job["left"]["present"]), (&2.into(), &2.into(), &1.into()), "{job}");
    assert_eq!(world.value("t:1").as_deref(), Some("theirs"));
    world.warm(&["--now", "--missing", "--dry-run"]).exits(0).says("3 left alone: already present");
    let _: i64 = world.ask(&["DEL", "t:1"]);
    world.warm(&["--now", "--missing"]).exits(1).says("division by zero");
}

#[test]
fn what_takes_longer_to_read_than_a_provisional_life_is_verified_nevertheless() {
    let world = World::new();
    // The first key would be dead for seconds when its row is read again.
    world.job(
        "job",
        "query = '''SELECT n AS id FROM generate_series(1, 130) n WHERE n < 130 OR pg_sleep(11) IS NOT NULL'''\nkey = 't:{id}'\nvalue = 'row'",
    );
    let report = on_busy(&world, || world.warm(&["--now", "--json"])).exits(0).json();
    let job = &report["jobs"][0];
    assert_eq!((&job["unconfirmed"], &job["overtaken"]), (&0.into(), &0.into()), "{job}");
    assert_eq!(world.keys().len(), 130);
    assert!(lifetime(&world) > 500_000);
}

#[test]
fn the_later_of_two_rows_of_one_key_is_not_written_as_it_was_before_a_change() {
    let world = World::new();
    world.sql("CREATE TABLE t (id int, n int, v text); INSERT INTO t VALUES (1, 1, 'old1'), (1, 2, 'old2'); GRANT SELECT ON t TO PUBLIC");
    world.job(
        "job",
        "query = 'SELECT id, v, pg_sleep(0.3)::text AS s FROM t ORDER BY n'\nkey = 't:{id}'\nvalue = 'column:v'",
    );
    let child = while_reading(&world, &["--now"]);
    world.sql("UPDATE t SET v = 'new' || n");
    let _: i64 = world.ask(&["DEL", "t:1"]);
    end(child).exits(0);
    let value = world.value("t:1");
    assert!(value.as_deref() != Some("old2") || lifetime(&world) <= 10_000, "{value:?} for {} ms", lifetime(&world));
    // Without a change, the last row wins.
    world.warm(&["--now"]).exits(0);
    assert_eq!(world.value("t:1").as_deref(), Some("new2"));
    assert!(lifetime(&world) > 500_000);
}
