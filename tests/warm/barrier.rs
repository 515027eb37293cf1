//! Applications that invalidate before they commit: the second reading waits for the transactions that were open when a value was written.

use crate::freshness::{end, lifetime, quiet};
use crate::support::postgres::{Database, Postgres};
use crate::support::redis::Redis;
use crate::support::server::wait_for;
use crate::support::world::World;

const BEFORE: &str = "invalidates = 'before-commit'";

/// One row, `old`, and a job that reads it.
fn one_row(world: &World, more: &str) {
    world.sql("CREATE TABLE t (id int PRIMARY KEY, v text NOT NULL); INSERT INTO t VALUES (1, 'old')");
    world.job("job", &format!("query = 'SELECT id, v FROM t'\nkey = 't:{{id}}'\nvalue = 'column:v'\n{more}"));
}

#[test]
fn an_application_that_invalidates_before_its_commit_needs_the_barrier() {
    for (more, value) in [("", Some("old")), (BEFORE, Some("new"))] {
        let (_postgres, world) = quiet();
        one_row(&world, more);
        // The application has removed the key, and has not committed yet.
        let mut application = world.database.session();
        application.say("BEGIN; UPDATE t SET v = 'new';");
        let _: i64 = world.ask(&["DEL", "t:1"]);
        let child = world.start(&["--now"]);
        wait_for("the key", || world.value("t:1"));
        if more.is_empty() {
            end(child).exits(0);
            application.say("COMMIT;");
        } else {
            while_waiting(&world);
            assert!(lifetime(&world) <= 10_000);
            application.say("COMMIT;");
            end(child).exits(0).says("1 changed meanwhile and set right");
        }
        assert_eq!(world.value("t:1").as_deref(), value, "{more}");
        assert!(lifetime(&world) > 500_000);
    }
}

/// Waits until a run has asked three times whether the open transactions have ended.
fn while_waiting(world: &World) {
    let asked =
        "SELECT query_start FROM pg_stat_activity WHERE query LIKE '%virtualxid%' AND application_name = 'warm'";
    let mut times = std::collections::HashSet::new();
    wait_for("the barrier", || {
        times.insert(world.sql(asked));
        times.remove("");
        (times.len() > 2).then_some(())
    });
}

#[test]
fn what_the_application_writes_before_a_value_is_confirmed_stays_as_it_is() {
    // Absent, the same value, another value: what a run sees of the key when it looks.
    for seen in [None, Some("old"), Some("stale")] {
        let (_postgres, world) = quiet();
        one_row(&world, BEFORE);
        if let Some(value) = seen {
            let _: () = world.ask(&["SET", "t:1", value, "PX", "300000"]);
        }
        let mut application = world.database.session();
        application.say("BEGIN; UPDATE t SET v = 'theirs';");
        let child = world.start(&["--now"]);
        while_waiting(&world);
        let _: () = world.ask(&["SET", "t:1", "theirs", "PX", "200000"]);
        application.say("ROLLBACK;");
        end(child).exits(0).says("1 left alone: changed, removed or evicted by others meanwhile");
        assert_eq!(world.value("t:1").as_deref(), Some("theirs"), "{seen:?}");
        assert!(lifetime(&world) <= 200_000, "{seen:?}: {}", lifetime(&world));
    }
}

#[test]
fn a_transaction_that_stays_open_leaves_the_keys_to_die() {
    let world = World::new();
    one_row(&world, BEFORE);
    let mut application = world.database.session();
    let pid = application.say("SELECT pg_backend_pid(); BEGIN; UPDATE t SET v = 'new';");
    let ran = world.warm(&["--now"]).exits(1).says("1 not verified, and left to die");
    let ran = ran.says("a transaction that was open when keys were written is still open after 5 s: ");
    ran.says(&format!("process {pid} (`psql`), for how long, only members of pg_read_all_stats are told"));
    assert!(lifetime(&world) <= 5_000);
    application.say("ROLLBACK;");
}

#[test]
fn the_oldest_of_the_transactions_that_are_waited_for_is_named() {
    let postgres = Postgres::start(&["max_prepared_transactions=5"]);
    let world = World::of(postgres.database(), Redis::start(""));
    one_row(&world, BEFORE);
    world.sql("GRANT pg_read_all_stats TO warm");
    let mut application = world.database.session();
    let pid = application.say("SET application_name = 'shop'; SELECT pg_backend_pid(); BEGIN; SELECT 'secret';");
    let pid = pid.lines().next().unwrap();
    world.database.session().say("BEGIN; UPDATE t SET v = 'new'; PREPARE TRANSACTION 'two phases';");
    let ran = world.warm(&["--now"]).exits(1);
    let ran = ran.says("2 transactions that were open when keys were written are still open after 5 s; the oldest: ");
    let ran = ran.says(&format!("process {pid} (`shop`), open for "));
    assert!(!ran.all().contains("secret"), "what it does is its own concern: {}", ran.all());
    application.say("COMMIT;");
    let ran = world.warm(&["--now"]).exits(1).says("is still open after 5 s: the prepared transaction `two phases`, ");
    ran.says("s ago");
    world.sql("ROLLBACK PREPARED 'two phases'");
}

#[test]
fn keys_that_were_there_before_a_run_that_cannot_verify_them_are_not_said_to_be_somebody_elses_doing() {
    let world = World::new();
    one_row(&world, BEFORE);
    world.sql("INSERT INTO t SELECT n, 'old' FROM generate_series(2, 3) n");
    let _: () = world.ask(&["SET", "t:2", "old", "PX", "300000"]);
    let _: () = world.ask(&["SET", "t:3", "stale", "PX", "300000"]);
    let mut application = world.database.session();
    application.say("BEGIN; UPDATE t SET v = 'new';");
    let report = world.warm(&["--now", "--json"]).exits(1).json();
    let job = &report["jobs"][0];
    assert_eq!((&job["unconfirmed"], &job["left"]["unverified"], &job["overtaken"]), (&1.into(), &2.into(), &0.into()));
    assert_eq!((world.value("t:2").as_deref(), world.value("t:3").as_deref()), (Some("old"), Some("stale")));
    assert!(world.ask::<i64>(&["PTTL", "t:2"]) > 200_000 && world.ask::<i64>(&["PTTL", "t:3"]) > 200_000);
}

#[test]
fn a_value_that_dies_by_itself_before_it_gets_more_time_is_written_again() {
    let (_postgres, world) = quiet();
    one_row(&world, BEFORE);
    let _: () = world.ask(&["SET", "t:1", "old", "PX", "300000"]);
    let mut application = world.database.session();
    application.say("BEGIN; INSERT INTO t VALUES (2, 'other');");
    let child = world.start(&["--now", "--json"]);
    while_waiting(&world);
    let _: i64 = world.ask(&["PEXPIRE", "t:1", "1"]);
    wait_for("the end of the key", || world.value("t:1").is_none().then_some(()));
    application.say("ROLLBACK;");
    // That is no moment at which it was to die, and so it was somebody's doing.
    assert_eq!(end(child).exits(0).json()["jobs"][0]["overtaken"], 1);

    let _: () = world.ask(&["SET", "t:1", "old", "PX", "1500"]);
    application.say("BEGIN; INSERT INTO t VALUES (2, 'other');");
    let child = world.start(&["--now", "--json"]);
    while_waiting(&world);
    wait_for("the end of the key", || world.value("t:1").is_none().then_some(()));
    application.say("ROLLBACK;");
    let report = end(child).exits(0).json();
    let job = &report["jobs"][0];
    assert_eq!((&job["keys"], &job["renewed"], &job["overtaken"]), (&1.into(), &0.into(), &0.into()), "{job:#}");
    assert_eq!(world.value("t:1").as_deref(), Some("old"));
    assert!(lifetime(&world) > 500_000);
}

#[test]
fn what_dies_before_it_is_verified_by_its_version_is_not_said_to_be_somebody_elses_doing() {
    let (_postgres, world) = quiet();
    one_row(&world, &format!("{BEFORE}\nverify = {{ version = 'v' }}\nttl = '1s'"));
    for changed in [false, true] {
        let mut application = world.database.session();
        application.say("BEGIN; CREATE TABLE IF NOT EXISTS other (n int);");
        if changed {
            application.say("UPDATE t SET v = 'new';");
        }
        let child = world.start(&["--now", "--json"]);
        while_waiting(&world);
        wait_for("the end of the key", || world.value("t:1").is_none().then_some(()));
        application.say("COMMIT;");
        let report = end(child).exits(0).json();
        let job = &report["jobs"][0];
        assert_eq!((&job["unconfirmed"], &job["overtaken"], &job["withdrawn"]), (&1.into(), &0.into(), &0.into()));
        assert_eq!(world.value("t:1"), None);
    }
}

#[test]
fn a_value_that_would_come_too_late_is_not_said_to_be_somebody_elses_doing() {
    let (_postgres, world) = quiet();
    one_row(&world, &format!("{BEFORE}\nttl = '2s'"));
    let _: () = world.ask(&["SET", "t:1", "stale", "PX", "300000"]);
    let mut application = world.database.session();
    application.say("BEGIN; CREATE TABLE other (n int);");
    let child = world.start(&["--now", "--json"]);
    while_waiting(&world);
    world.redis.server.signal("STOP");
    application.say("ROLLBACK;");
    wait_for("the end of the wait", || {
        let waiting =
            "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%virtualxid%' AND application_name = 'warm'";
        (world.sql(waiting) == "0").then_some(())
    });
    // Longer than the value would live until it is verified.
    std::thread::sleep(std::time::Duration::from_secs(2));
    world.redis.server.signal("CONT");
    let report = end(child).exits(0).json();
    let job = &report["jobs"][0];
    assert_eq!((&job["left"]["unverified"], &job["overtaken"]), (&1.into(), &0.into()), "{job:#}");
    assert_eq!(world.value("t:1").as_deref(), Some("stale"));
}

#[test]
fn an_application_that_looks_like_us_is_waited_for() {
    // Behind a pooler it may be on a server connection that was ours before, with our account and our name.
    let (_postgres, world) = quiet();
    one_row(&world, BEFORE);
    world.sql("GRANT UPDATE ON t TO warm");
    let mut application = Database::session_of(&world.database.url());
    application.say("SET application_name = 'warm'; BEGIN; UPDATE t SET v = 'new';");
    let child = world.start(&["--now"]);
    wait_for("the key", || world.value("t:1"));
    while_waiting(&world);
    application.say("COMMIT;");
    end(child).exits(0).says("1 changed meanwhile and set right");
    assert_eq!(world.value("t:1").as_deref(), Some("new"));
}

#[test]
fn a_transaction_that_is_prepared_meanwhile_is_waited_for() {
    let postgres = Postgres::start(&["max_prepared_transactions=5"]);
    let world = World::of(postgres.database(), Redis::start(""));
    one_row(&world, BEFORE);
    let mut application = world.database.session();
    application.say("BEGIN; UPDATE t SET v = 'new';");
    let child = world.start(&["--now"]);
    while_waiting(&world);
    application.say("PREPARE TRANSACTION 'two phases';");
    while_waiting(&world);
    application.say("COMMIT PREPARED 'two phases';");
    end(child).exits(0).says("1 changed meanwhile and set right");
    assert_eq!(world.value("t:1").as_deref(), Some("new"));
}
