//! Reading from a standby, which shows changes late.

use std::time::{Duration, Instant};

use warm::source::LOST_AFTER;

use crate::machine::{Machine, locks, sessions, settings};
use crate::support::postgres::{Database, Postgres};
use crate::support::redis::Redis;
use crate::support::server::{free_port, wait_for};
use crate::support::world::{Ran, World};

#[test]
fn a_standby_replays_late() {
    let primary = Postgres::start(&[]);
    let database = primary.database();
    database.sql("CREATE TABLE t (x int)");
    let late = Duration::from_millis(1500);
    let server = primary.standby(&[&format!("recovery_min_apply_delay={}ms", late.as_millis())]);
    let standby = server.named(&database.name);
    assert_eq!(standby.sql("SELECT pg_is_in_recovery()"), "t");
    wait_for("the table", || standby.try_sql("TABLE t").ok());
    let before = Instant::now();
    database.sql("INSERT INTO t VALUES (1)");
    wait_for("the replay", || (standby.sql("TABLE t") == "1").then_some(()));
    assert!(before.elapsed() >= late, "replayed after {:?}", before.elapsed());
}

/// A primary with one row, and what reads it from a standby that shows each commit so much later.
fn lagging(delay: &str) -> (Postgres, Postgres, Database, World) {
    let primary = Postgres::start(&[]);
    let written = primary.database();
    written.sql("CREATE TABLE t (id int PRIMARY KEY, v text NOT NULL); INSERT INTO t VALUES (1, 'old')");
    let standby = primary.standby(&[&format!("recovery_min_apply_delay={delay}")]);
    let read = standby.named(&written.name);
    wait_for("the row", || read.try_sql("SELECT v FROM t").ok());
    let mut world = World::of(read, Redis::start(""));
    world.set("DATABASE_PRIMARY_URL", &written.url());
    world.job("job", "query = 'SELECT id, v, pg_sleep(0.2)::text AS s FROM t'\nkey = 't:{id}'\nvalue = 'column:v'");
    (primary, standby, written, world)
}

#[test]
fn a_standby_is_read_again_when_it_has_come_as_far_as_its_primary() {
    let (_primary, _standby, written, world) = lagging("700ms");
    let child = world.start(&["--now"]);
    wait_for("the query", || {
        let sleeping = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
        (world.sql(sleeping) == "1").then_some(())
    });
    // The application has changed the row and removed the key, but the standby will not show it before the key is written.
    written.sql("UPDATE t SET v = 'new'");
    let _: i64 = world.ask(&["DEL", "t:1"]);
    wait_for("the outdated key", || world.value("t:1").filter(|value| value == "old"));
    Ran::of(child.wait_with_output().unwrap()).exits(0).says("1 changed meanwhile and set right");
    assert_eq!(world.value("t:1").as_deref(), Some("new"));
    assert!(world.ask::<i64>(&["PTTL", "t:1"]) > 500_000);
    world.warm(&["check"]).exits(0).says("a standby").says("its primary at");
}

#[test]
fn a_standby_that_lags_for_long_leaves_the_keys_to_die() {
    let (_primary, _standby, written, world) = lagging("10min");
    written.sql("UPDATE t SET v = 'new'");
    let ran = world.warm(&["--now"]).exits(1).says("1 not verified, and left to die");
    ran.says("the standby lags behind its primary by more than 5 s");
    assert!(world.ask::<i64>(&["PTTL", "t:1"]) <= 10_000);
}

#[test]
fn a_standby_whose_primary_nobody_knows_is_refused() {
    let (_primary, _standby, _written, mut world) = lagging("0");
    world.unset("DATABASE_PRIMARY_URL");
    for arguments in [["--now"], ["check"]] {
        world
            .warm(&arguments)
            .exits(1)
            .says("PostgreSQL is a standby, which shows changes late")
            .says("primary_url in [postgres]");
    }
    assert_eq!(world.keys(), Vec::<String>::new());
    world.set("WARM_DEFAULTS__VERIFY", "none");
    world.warm(&["--now"]).exits(0).says("wrote 1 key");
}

#[test]
fn a_standby_that_is_named_as_the_primary_is_found_out() {
    let (_primary, _standby, _written, mut world) = lagging("0");
    world.set("DATABASE_PRIMARY_URL", &world.database.url());
    world.warm(&["--now"]).exits(1).says("the server that is named as the primary is a standby too");
    let ran = world.warm(&["check"]).exits(1).says("is a standby too").says("at: $DATABASE_PRIMARY_URL");
    assert!(!ran.all().contains("its primary at"), "{}", ran.all());
    world.set("DATABASE_PRIMARY_URL", &Postgres::shared().database().url());
    let other = "the server that is named as the primary is another cluster's";
    world.warm(&["--now"]).exits(1).says(other);
    world.warm(&["check"]).exits(1).says(other).says("at: $DATABASE_PRIMARY_URL");
}

#[test]
fn a_check_says_what_is_wrong_with_the_primary() {
    let (_primary, _standby, written, mut world) = lagging("10min");
    let (primary, standby) = (written.url(), world.database.url());
    world.warm(&["check"]).exits(0).says("its primary at");
    written.sql("UPDATE t SET v = 'new'");
    let lag = "warning: the standby lags behind its primary by more than 5 s";
    world.warm(&["check"]).exits(0).says(lag).says("cannot be verified");
    // What is written to needs no primary beside it, whoever that is.
    world.set("DATABASE_URL", &primary);
    for named in [&primary, &standby] {
        world.set("DATABASE_PRIMARY_URL", named);
        let unneeded = "is no standby: nobody ever asks the primary\n  at: $DATABASE_PRIMARY_URL\n";
        world.warm(&["check"]).exits(0).says("warning: a primary is named, but PostgreSQL at").says(unneeded);
    }
    world.unset("DATABASE_PRIMARY_URL");
    assert!(!world.warm(&["check"]).exits(0).all().contains("primary"));
    // One that is not there is an error, and the jobs are looked at all the same.
    world.set("DATABASE_URL", &standby);
    world.set("DATABASE_PRIMARY_URL", "postgres://warm@127.0.0.1:1/shop");
    world.set("WARM_POSTGRES__CONNECT_TIMEOUT", "300ms");
    world.warm(&["check"]).exits(3).says("no connection to PostgreSQL at 127.0.0.1:1/shop").says("job: writes about");
}

#[test]
fn an_error_of_the_primary_says_that_it_is_the_primarys() {
    let (_primary, _standby, written, mut world) = lagging("0");
    world.set("WARM_POSTGRES__CONNECT_TIMEOUT", "300ms");
    world.set("DATABASE_PRIMARY_URL", &format!("postgres://warm@127.0.0.1:{}/shop", free_port()));
    for arguments in [["--now"], ["check"]] {
        let ran = world.warm(&arguments).exits(3);
        ran.says("the primary (primary_url): no connection to PostgreSQL at 127.0.0.1")
            .says("for the primary: primary_url");
    }
    world.set("DATABASE_PRIMARY_URL", &written.url().replace("warm:", "nobody:"));
    for arguments in [["--now"], ["check"]] {
        world.warm(&arguments).exits(3).says("the primary (primary_url): password authentication failed");
    }
    // An error of the server that is read from does not.
    world.set("DATABASE_URL", &world.database.url().replace("warm:", "nobody:"));
    let ran = world.warm(&["--now"]).exits(3).says("password authentication failed");
    assert!(!ran.all().contains("the primary (primary_url)"), "{}", ran.all());
}

#[test]
fn the_end_of_a_segment_of_the_log_is_no_lag() {
    let (_primary, _standby, written, world) = lagging("0");
    written.sql("SELECT pg_switch_wal()");
    world.warm(&["--now"]).exits(0).says("wrote 1 key");
    assert!(world.ask::<i64>(&["PTTL", "t:1"]) > 500_000);
}

#[test]
fn machines_that_read_from_a_standby_take_leases_where_its_primary_is_known() {
    let (_primary, _standby, written, world) = lagging("0");
    let (primary, standby) = (settings(&written.url()), settings(&world.database.url()));
    let mut knows = standby.clone();
    knows.primary = Some(Box::new(warm::ground::settings::PostgresSettings { connections: 1, ..primary.clone() }));
    let [reader, other, writer] = [&knows, &knows, &primary].map(|settings| Machine::with(settings, LOST_AFTER));
    // One that has been read from before is kept: it must not be taken for the primary.
    reader.runtime.block_on(async { reader.source.snapshot().await.unwrap().finish().await.unwrap() });
    let lease = reader.takes("a");
    other.is_refused("a");
    writer.is_refused("a");
    assert_eq!((locks(&written), locks(&world.database), sessions(&world.database)), (1, 0, 0));
    assert_eq!(reader.source.free(), 1);
    // The primary can still be asked how far it is.
    let asked = reader.runtime.block_on(reader.source.primary().unwrap().snapshot_if_free()).unwrap();
    assert!(asked.is_some());
    reader.gives_back(lease);
    writer.takes("a");
    // Where no primary is known, the standby has leases of its own.
    let [one, other] = [&standby, &standby].map(|settings| Machine::with(settings, LOST_AFTER));
    let _lease = one.takes("b");
    other.is_refused("b");
    writer.takes("b");
}
