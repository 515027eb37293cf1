//! The cache follows the database through a replication slot, which keeps changes for who is away.

use crate::changes::{as_owner, goes, set, wait_until_filled};
use crate::serve::Serving;
use crate::support::postgres::Postgres;
use crate::support::redis::Redis;
use crate::support::server::wait_for;
use crate::support::world::{CONFIG, World};

const TABLES: &str = "CREATE TABLE event (id int PRIMARY KEY, v text NOT NULL, owner text, ok bool NOT NULL DEFAULT true, code char(5) NOT NULL DEFAULT 'c');
    INSERT INTO event SELECT i, 'v' || i, 'o' || i FROM generate_series(1, 20) i; GRANT SELECT ON event TO PUBLIC;
    CREATE TABLE part (id int, day int, v text, PRIMARY KEY (id, day)) PARTITION BY LIST (day); CREATE TABLE part_1 PARTITION OF part FOR VALUES IN (1); CREATE TABLE part_2 PARTITION OF part FOR VALUES IN (2);
    CREATE TABLE noise (x text); ALTER ROLE warm REPLICATION";

const CHANGES: &str = "[invalidate.event]\nkeys = ['t:event:{id}', 't:list:*']\n[invalidate.owner]\nkeys = ['t:owner:{name}']\n[invalidate.part]\nkeys = ['t:part:{id}']\n\
    [changes]\nslot = 'warm_test'\n[changes.tables]\nevent = ['event id={id}', 'owner name=by-{owner}-{ok}-{code}']\npart = ['part id={id}', 'owner name={v}']\n";

const JOB: &str = "schedule = '@yearly'\ncatch_up = 'none'\nquery = 'SELECT id, v FROM event ORDER BY id LIMIT 10'\nfill_query = 'SELECT id, v FROM event WHERE id = :id'\nkey = 't:event:{id}'\nvalue = 'row'";

/// What the server needs for slots.
pub(crate) const SETTINGS: [&str; 2] = ["wal_level=logical", "max_slot_wal_keep_size=1GB"];

fn world(postgres: &Postgres) -> World {
    let world = World::of(postgres.database(), Redis::start(""));
    world.sql(TABLES);
    world.config(&format!("{CONFIG}{CHANGES}"));
    world.job("event", JOB);
    world
}

/// A service that has heard all until now, and filled the cache.
pub(crate) fn following(postgres: &Postgres, change: impl FnOnce(&mut World)) -> Serving {
    let mut world = world(postgres);
    change(&mut world);
    as_owner(&mut world, &["changes", "install"]).exits(0);
    let serving = Serving::telling("debug", world);
    serving.wait_until_it_says("following changes through the slot warm_test; some may have been missed");
    wait_until_filled(&serving);
    serving
}

#[test]
fn a_change_reaches_its_keys_and_no_others() {
    let postgres = Postgres::start(&SETTINGS);
    let serving = following(&postgres, |_| {});
    let world = &serving.world;
    set(
        world,
        &["t:list:a", "t:owner:by-o1-true-c", "t:owner:by-o2-true-c", "t:other", "t:part:1", "t:part:2", "t:owner:v"],
    );
    world.sql("UPDATE event SET v = 'new' WHERE id = 1");
    ["t:event:1", "t:list:a", "t:owner:by-o1-true-c"].iter().for_each(|key| goes(world, key));
    let is_there = |key: &str| world.value(key).is_some();
    assert!(is_there("t:event:2") && is_there("t:owner:by-o2-true-c") && is_there("t:other"));
    // Both the row that was and the row that is.
    set(world, &["t:event:1", "t:event:100", "t:owner:by-null-false-x", "t:owner:by-o1-true-c"]);
    world.sql("UPDATE event SET id = 100, owner = NULL, ok = false, code = 'x' WHERE id = 1");
    let keys = ["t:event:1", "t:event:100", "t:owner:by-null-false-x", "t:owner:by-o1-true-c"];
    keys.iter().for_each(|key| goes(world, key));
    set(world, &["t:event:200"]);
    world.sql("INSERT INTO event VALUES (200, 'v')");
    goes(world, "t:event:200");
    set(world, &["t:event:200"]);
    world.sql("DELETE FROM event WHERE id = 200");
    goes(world, "t:event:200");
    // A row of a partition is one of the table, also when it moves, or was written by the partition's own name.
    world.sql("INSERT INTO part VALUES (1, 1, 'v')");
    goes(world, "t:part:1");
    set(world, &["t:part:1"]);
    world.sql("UPDATE part SET day = 2 WHERE id = 1");
    goes(world, "t:part:1");
    goes(world, "t:owner:v");
    set(world, &["t:part:1", "t:owner:v", "t:owner:z"]);
    world.sql("UPDATE part_2 SET v = 'w'");
    ["t:part:1", "t:owner:v"].iter().for_each(|key| goes(world, key));
    assert!(is_there("t:event:3") && is_there("t:part:2") && is_there("t:owner:z"));
    world.sql("BEGIN; UPDATE event SET v = 'never' WHERE id = 3; ROLLBACK; UPDATE event SET v = 'w' WHERE id = 4");
    goes(world, "t:event:4");
    assert!(is_there("t:event:3"), "nothing was committed");
    world.sql("TRUNCATE event");
    (2..=10).for_each(|id| goes(world, &format!("t:event:{id}")));
    assert!(is_there("t:other"));
    let (_, code, log) = serving.end();
    assert_eq!(code, Some(0));
    assert!(!log.contains("cannot be understood") && !log.contains("not heard"), "{log}");
}

#[test]
fn what_changes_while_nobody_is_there_is_kept_and_nothing_else_is_touched() {
    let postgres = Postgres::start(&SETTINGS);
    let serving = following(&postgres, |_| {});
    set(&serving.world, &["t:event:77"]);
    serving.world.sql("UPDATE event SET v = 'new' WHERE id = 1");
    goes(&serving.world, "t:event:1");
    let noted = serving.world.state().join("changes-warm_test");
    wait_for("that it is noted", || noted.exists().then_some(()));
    // Killed: what was done is known, or done again.
    serving.signal("KILL");
    let (world, _, _) = serving.end();
    world.sql("UPDATE event SET v = 'new' WHERE id = 2");
    set(&world, &["t:event:1", "t:event:2"]);
    let serving = Serving::telling("debug", world);
    serving.wait_until_it_says("following changes through the slot warm_test; none was missed");
    goes(&serving.world, "t:event:2");
    assert!(serving.world.value("t:event:77").is_some() && serving.world.value("t:event:3").is_some());
    let (world, _, _) = serving.end();
    // Other sets: what an earlier process has done was something else.
    world.config(&format!("{CONFIG}{CHANGES}").replace("'t:list:*'", "'t:lists:*'"));
    let serving = Serving::telling("debug", world);
    serving.wait_until_it_says("some may have been missed");
    goes(&serving.world, "t:event:77");
}

#[test]
fn what_was_heard_and_is_not_done_is_told_again() {
    let postgres = Postgres::start(&SETTINGS);
    let serving = following(&postgres, |world| {
        world.set("WARM_REDIS__TIMEOUT", "300ms");
        world.set("WARM_REDIS__CONNECT_TIMEOUT", "300ms");
        world.set("WARM_SERVE__LISTEN", "127.0.0.1:0");
    });
    let noted = serving.world.state().join("changes-warm_test");
    wait_for("that it is noted", || noted.exists().then_some(()));
    serving.world.redis.server.signal("STOP");
    serving.world.sql("UPDATE event SET v = 'new' WHERE id = 1");
    // By then the slot would have moved, if it could.
    wait_for("a while", || {
        let changes = serving.world.warm(&["status", "--json"]).json()["changes"].clone();
        (changes["behind_seconds"].as_f64().unwrap() > 1.5).then_some(())
    });
    serving.signal("KILL");
    let (world, ..) = serving.end();
    world.redis.server.signal("CONT");
    assert!(world.value("t:event:1").is_some());
    let serving = Serving::telling("debug", world);
    serving.wait_until_it_says("none was missed");
    goes(&serving.world, "t:event:1");
}

#[test]
fn what_is_published_of_other_tables_holds_nobody_up() {
    let postgres = Postgres::start(&SETTINGS);
    let serving = following(&postgres, |_| {});
    let (world, ..) = serving.end();
    world.sql("ALTER PUBLICATION warm_test ADD TABLE noise");
    // More than is read at a time.
    let write = "INSERT INTO noise SELECT 'x' FROM generate_series(1, 1000); COMMIT;";
    world.sql(&format!("DO $$ BEGIN FOR i IN 1..20 LOOP {write} END LOOP; END $$"));
    world.sql("UPDATE event SET v = 'new' WHERE id = 1");
    let serving = Serving::telling("debug", world);
    serving.wait_until_it_says("DEBUG heard of 2 changes");
    let place = |world: &World| world.sql("SELECT confirmed_flush_lsn FROM pg_replication_slots");
    let before = place(&serving.world);
    serving.world.sql("UPDATE event SET v = 'newer' WHERE id = 1");
    wait_for("the slot moves", || (place(&serving.world) != before).then_some(()));
}

#[test]
fn a_commit_that_nobody_sees_yet_deletes_nothing() {
    let postgres = Postgres::start(&SETTINGS);
    let serving = following(&postgres, |_| {});
    let world = &serving.world;
    // It is in the log, and waits for a standby that never comes.
    world.sql("ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
    world.sql("SELECT pg_reload_conf()");
    wait_for("the setting", || (world.sql("SHOW synchronous_standby_names") == "nobody").then_some(()));
    std::thread::scope(|scope| {
        scope.spawn(|| world.sql("UPDATE event SET v = 'new' WHERE id = 1"));
        let looks = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'warm' AND query LIKE 'SELECT pg_catalog.pg_current_snapshot()::text AS now%' AND state = 'idle'";
        wait_for("that it is read", || (world.sql(looks) == "1").then_some(()));
        let is_old = |value: &str| value == r#"{"id":1,"v":"v1"}"#;
        assert!(world.value("t:event:1").is_some_and(|value| is_old(&value)));
        assert_eq!(world.sql("SELECT v FROM event WHERE id = 1"), "v1", "nobody sees it");
        let cancel = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
        wait_for("its end", || (world.sql(cancel) == "t").then_some(()));
    });
    goes(world, "t:event:1");
}

#[test]
fn what_somebody_else_has_taken_from_the_slot_is_missed() {
    let postgres = Postgres::start(&SETTINGS);
    let serving = following(&postgres, |_| {});
    let world = &serving.world;
    set(world, &["t:event:77"]);
    world.sql("UPDATE event SET v = 'new' WHERE id = 1");
    goes(world, "t:event:1");
    let (world, code, _) = serving.end();
    assert_eq!(code, Some(0));
    world.sql("UPDATE event SET v = 'new' WHERE id = 2");
    world.sql("SELECT pg_replication_slot_advance('warm_test', pg_current_wal_lsn())");
    let serving = Serving::telling("debug", world);
    serving.wait_until_it_says("some may have been missed");
    goes(&serving.world, "t:event:77");
    // Two that follow the same would each hear a part.
    let mut second = World::of(postgres.named(&serving.world.database.name), Redis::start(""));
    second.set("REDIS_URL", &serving.world.redis.url());
    second.config(&format!("{CONFIG}{CHANGES}"));
    second.job("event", JOB);
    let second = Serving::telling("debug", second);
    second.wait_until_it_says("another warm follows the slot warm_test");
}

#[test]
fn a_slot_that_keeps_too_much_is_given_up_and_made_anew() {
    let postgres = Postgres::start(&[&SETTINGS[..], &["max_wal_size=64MB"]].concat());
    let serving = following(&postgres, |world| {
        world.config(&format!("{CONFIG}{CHANGES}").replace("slot =", "slot_limit = '64MiB'\nslot ="));
        world.set("WARM_REDIS__TIMEOUT", "300ms");
        world.set("WARM_REDIS__CONNECT_TIMEOUT", "300ms");
    });
    let world = &serving.world;
    set(world, &["t:event:77"]);
    // Nothing can be deleted, so the slot stays where it is, however much is written.
    world.redis.server.signal("STOP");
    world.sql("UPDATE event SET v = 'new' WHERE id = 1");
    world.sql("INSERT INTO noise SELECT repeat(md5(i::text), 50) FROM generate_series(1, 60000) i");
    serving.wait_until_it_says("more than slot_limit (64.0 MiB), and it does not move: it is made anew");
    wait_for("a new slot", || {
        let kept = "SELECT pg_current_wal_lsn() - restart_lsn < 16 * 1024 * 1024 FROM pg_replication_slots";
        (world.sql(kept) == "t").then_some(())
    });
    world.redis.server.signal("CONT");
    // All of it may have changed.
    ["t:event:1", "t:event:77"].iter().for_each(|key| goes(world, key));
    set(world, &["t:event:77"]);
    world.sql("INSERT INTO event VALUES (77, 'v')");
    goes(world, "t:event:77");
}

#[test]
fn a_slot_that_the_server_gave_up_is_made_anew() {
    let postgres = Postgres::start(&["wal_level=logical", "max_slot_wal_keep_size=1MB", "max_wal_size=32MB"]);
    let serving = following(&postgres, |_| {});
    set(&serving.world, &["t:event:77"]);
    let (world, _, _) = serving.end();
    wait_for("the slot's end", || {
        world.sql("INSERT INTO noise SELECT repeat(md5(i::text), 50) FROM generate_series(1, 20000) i");
        world.sql("CHECKPOINT");
        (world.sql("SELECT wal_status FROM pg_replication_slots") == "lost").then_some(())
    });
    world
        .warm(&["changes", "status"])
        .exits(1)
        .says("(lost; max_slot_wal_keep_size is 1MB)")
        .says("has given the slot warm_test up");
    let serving = Serving::telling("debug", world);
    serving.wait_until_it_says("some may have been missed");
    goes(&serving.world, "t:event:77");
    set(&serving.world, &["t:event:77"]);
    serving.world.sql("INSERT INTO event VALUES (77, 'v')");
    goes(&serving.world, "t:event:77");
}

#[test]
fn the_publication_and_the_slot_are_installed_once_and_removed_as_a_whole() {
    let postgres = Postgres::start(&SETTINGS);
    let mut world = world(&postgres);
    world.sql("CREATE UNIQUE INDEX by_v ON event (v); ALTER TABLE event REPLICA IDENTITY USING INDEX by_v");
    world.warm(&["changes", "status"]).exits(1).says("event (event, owner): missing");
    world.warm(&["check"]).exits(0).says("changes: event is not published");
    world
        .warm(&["changes", "install"])
        .exits(1)
        .says("permission denied")
        .says("an account that owns the tables, or `--print` and psql");
    for _ in 0..2 {
        let ran = as_owner(&mut world, &["changes", "install"]).exits(0).says("event (event, owner): installed");
        ran.says("of its log for the slot (reserved; max_slot_wal_keep_size is 1GB)");
    }
    world.warm(&["changes", "status"]).exits(0);
    assert!(!world.warm(&["check"]).exits(0).all().contains("slot"));
    let identity = |world: &World| {
        world.sql("SELECT string_agg(relname || relreplident::text, ' ' ORDER BY relname) FROM pg_class WHERE relname IN ('event', 'part', 'part_1', 'noise')")
    };
    assert_eq!(identity(&world), "eventf noised partf part_1f");
    // A table that nobody wants any more is as it was; one that is new is not told before it is installed.
    world.config(&format!("{CONFIG}{CHANGES}").replace("part = [", "noise = ['owner name={x}']\nabsent = ["));
    world
        .warm(&["changes", "status"])
        .exits(1)
        .says("noise (owner): missing")
        .says("absent (part, owner): no such table");
    world.config(
        &format!("{CONFIG}{CHANGES}")
            .replace("part = ['part id={id}', 'owner name={v}']", "noise = ['owner name={x}']"),
    );
    as_owner(&mut world, &["changes", "install"]).exits(0).says("noise (owner): installed");
    assert_eq!(identity(&world), "eventf noisef partd part_1d");
    world.config(&format!("{CONFIG}{CHANGES}").replace("{owner}", "{own}"));
    as_owner(&mut world, &["changes", "install"])
        .exits(1)
        .says("event has no column own")
        .says("the columns are id, v, owner, ok, code");
    world.config(&format!("{CONFIG}{CHANGES}"));
    as_owner(&mut world, &["changes", "remove"]).exits(0);
    as_owner(&mut world, &["changes", "remove"]).exits(0).says("event (event, owner): removed");
    assert_eq!(identity(&world), "eventi noised partd part_1d");
    let left = "SELECT (SELECT count(*) FROM pg_publication), (SELECT count(*) FROM pg_replication_slots)";
    assert_eq!(world.sql(left), "0|0");
    // By psql, too.
    let file = world.folder.path.join("script.sql");
    for (action, there) in [("install", "1|1"), ("install", "1|1"), ("remove", "0|0"), ("remove", "0|0")] {
        std::fs::write(&file, world.warm(&["changes", action, "--print"]).exits(0).out).unwrap();
        world.database.psql(&["-f", file.to_str().unwrap()]);
        assert_eq!(world.sql(left), there, "{action}");
    }
    world.sql("ALTER TABLE part DROP CONSTRAINT part_pkey");
    as_owner(&mut world, &["changes", "install"]).exits(1).says("\"part\" has partitions and no primary key");
    as_owner(&mut world, &["changes", "remove"]).exits(0);
    world.sql("CREATE PUBLICATION warm_test FOR TABLE noise");
    as_owner(&mut world, &["changes", "install"]).exits(1).says("the publication warm_test is none of warm");
    as_owner(&mut world, &["changes", "remove"]).exits(0);
    assert_eq!(world.sql(left), "1|0");
}

#[test]
fn a_server_that_a_slot_could_fill_gets_none() {
    let postgres = Postgres::start(&["wal_level=logical"]);
    let mut world = world(&postgres);
    as_owner(&mut world, &["changes", "install"])
        .exits(1)
        .says("a slot that nobody reads would fill the disk of PostgreSQL")
        .says("ALTER SYSTEM SET max_slot_wal_keep_size");
    let mut other = World::new();
    other.config(&format!("{CONFIG}{CHANGES}"));
    other.job("event", JOB);
    other.sql(&TABLES.replace("; ALTER ROLE warm REPLICATION", ""));
    as_owner(&mut other, &["changes", "install"]).exits(1).says("let wal_level be logical");
}
