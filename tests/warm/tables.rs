//! What a replication slot tells of tables that change: names, partitions, children, publications, keys.

use crate::changes::{as_owner, goes, set};
use crate::serve::Serving;
use crate::slot::{SETTINGS, following};
use crate::support::postgres::Postgres;
use crate::support::server::wait_for;
use crate::support::world::{CONFIG, World};

/// A service that follows these tables.
fn watching(postgres: &Postgres, sql: &str, tables: &str) -> Serving {
    following(postgres, |world| {
        world.sql(sql);
        configure(world, tables);
    })
}

fn configure(world: &World, tables: &str) {
    world.config(&format!(
        "{CONFIG}[invalidate.event]\nkeys = ['t:event:{{id}}']\n[invalidate.x]\nkeys = ['t:x:{{v}}']\n[changes]\nslot = 'warm_test'\n[changes.tables]\nevent = ['event id={{id}}']\n{tables}\n"
    ));
}

/// How things are, as the service has it.
fn unready(world: &World) -> String {
    world.warm(&["status"]).out
}

#[test]
fn a_table_is_the_same_by_whichever_name() {
    let postgres = Postgres::start(&SETTINGS);
    let serving = watching(&postgres, "CREATE TABLE a (id int PRIMARY KEY)", "a = ['x v={id}']");
    let world = &serving.world;
    set(world, &["t:x:7"]);
    world.sql("BEGIN; ALTER TABLE a RENAME TO b; INSERT INTO b VALUES (7); ALTER TABLE b RENAME TO a; COMMIT");
    goes(world, "t:x:7");
}

#[test]
fn a_partition_that_was_made_later_tells_less_and_is_told_of() {
    let postgres = Postgres::start(&SETTINGS);
    let table = "CREATE TABLE p (id int PRIMARY KEY, u text) PARTITION BY RANGE (id); CREATE TABLE p_1 PARTITION OF p FOR VALUES FROM (1) TO (10)";
    let serving = following(&postgres, |world| {
        world.set("WARM_SERVE__LISTEN", "127.0.0.1:0");
        world.sql(table);
        configure(world, "p = ['x v={u}']");
    });
    let world = &serving.world;
    world
        .sql("CREATE TABLE p_2 PARTITION OF p FOR VALUES FROM (10) TO (20); INSERT INTO p VALUES (11, 'a'), (12, 'b')");
    wait_for("that it is noticed", || unready(world).contains("p does not tell all columns").then_some(()));
    // Which one it was nobody knows: so it is any.
    set(world, &["t:x:a", "t:x:b", "t:x:other"]);
    world.sql("UPDATE p SET u = 'z' WHERE id = 11");
    ["t:x:a", "t:x:other"].iter().for_each(|key| goes(world, key));
    set(world, &["t:x:b"]);
    world.sql("DELETE FROM p WHERE id = 12");
    goes(world, "t:x:b");
}

#[test]
fn nobody_is_refused_to_update_what_inherits_or_has_lost_its_key() {
    let postgres = Postgres::start(&SETTINGS);
    let tables = "CREATE TABLE parent (id int PRIMARY KEY, v int); CREATE TABLE child (extra int) INHERITS (parent);
        INSERT INTO parent VALUES (1, 1); INSERT INTO child VALUES (2, 2, 2)";
    let serving = watching(&postgres, tables, "parent = ['x v={id}']");
    let (mut world, ..) = serving.end();
    world.sql("UPDATE parent SET v = 3; UPDATE child SET v = 4; DELETE FROM child");
    // PostgreSQL itself refuses this; it is said in so many words, and mended.
    world.sql("ALTER TABLE parent DROP CONSTRAINT parent_pkey");
    world.warm(&["changes", "status"]).exits(1).says("parent cannot be updated any more");
    as_owner(&mut world, &["changes", "install"]).exits(0);
    world.sql("UPDATE parent SET v = 5");
}

#[test]
fn a_publication_that_somebody_has_altered_is_found_out_and_mended() {
    let postgres = Postgres::start(&SETTINGS);
    let serving = watching(&postgres, "SELECT", "");
    let (mut world, ..) = serving.end();
    let server: u32 = world.sql("SHOW server_version_num").parse().unwrap();
    let filter = (server >= 150_000).then_some("SET TABLE event WHERE (id < 3)");
    for alter in ["SET (publish = 'insert')", "DROP TABLE event"].into_iter().chain(filter) {
        world.sql(&format!("ALTER PUBLICATION warm_test {alter}"));
        world.warm(&["changes", "status"]).exits(1).says("event is not published");
        as_owner(&mut world, &["changes", "install"]).exits(0).says("event (event): installed");
    }
}

#[test]
fn a_copy_of_the_server_from_before_has_missed_what_was_done_since() {
    let postgres = Postgres::start(&SETTINGS);
    let serving = watching(&postgres, "SELECT", "");
    let noted = serving.world.state().join("changes-warm_test");
    wait_for("that it is noted", || noted.exists().then_some(()));
    let (world, ..) = serving.end();
    let text = std::fs::read_to_string(&noted).unwrap();
    let (circumstances, _) = text.split_once(' ').unwrap();
    // More is done than the server has ever written.
    std::fs::write(&noted, format!("{circumstances} {}\n", u64::MAX / 4)).unwrap();
    Serving::of(world).wait_until_it_says("some may have been missed");
}

#[test]
fn an_owner_without_the_right_to_slots_removes_all_the_rest() {
    let postgres = Postgres::start(&SETTINGS);
    let table = "DROP ROLE IF EXISTS plain; CREATE ROLE plain LOGIN; DO $$ BEGIN EXECUTE 'GRANT CREATE ON DATABASE ' || current_database() || ' TO plain'; END $$; GRANT CREATE ON SCHEMA public TO plain;
        SET ROLE plain; CREATE TABLE own (id int, v text); CREATE UNIQUE INDEX own_v ON own (v); ALTER TABLE own ALTER v SET NOT NULL, REPLICA IDENTITY USING INDEX own_v; RESET ROLE;
        GRANT SELECT ON own TO PUBLIC";
    let serving = watching(&postgres, table, "own = ['x v={id}']");
    let (mut world, ..) = serving.end();
    // The note of what it was leads nowhere any more.
    world.sql("ALTER INDEX own_v RENAME TO own_w; ALTER PUBLICATION warm_test OWNER TO plain");
    world.sql("ALTER ROLE plain PASSWORD 'p'");
    let reader = world.database.url();
    let (_, place) = reader.split_once('@').unwrap();
    world.set("DATABASE_URL", &format!("postgres://plain:p@{place}"));
    world.warm(&["changes", "remove"]).exits(1).says("own (x): removed").says("the slot warm_test is still there");
    let left = "SELECT (SELECT count(*) FROM pg_publication), (SELECT count(*) FROM pg_replication_slots), (SELECT relreplident FROM pg_class WHERE relname = 'own')";
    assert_eq!(world.sql(left), "0|1|d");
    world.set("DATABASE_URL", &reader);
    world.warm(&["changes", "remove"]).exits(0);
    assert_eq!(world.sql(left), "0|0|d");
}

#[test]
fn a_slot_is_not_made_where_it_could_fill_the_disk() {
    let postgres = Postgres::start(&["wal_level=logical"]);
    let limit = |world: &World, limit: &str| {
        world.sql(&format!("ALTER SYSTEM SET max_slot_wal_keep_size = '{limit}'"));
        world.sql("SELECT pg_reload_conf()");
        wait_for("the setting", || (world.sql("SHOW max_slot_wal_keep_size") == limit).then_some(()));
    };
    let serving = following(&postgres, |world| limit(world, "1GB"));
    let (world, ..) = serving.end();
    limit(&world, "-1");
    world.sql("SELECT pg_drop_replication_slot('warm_test')");
    world.warm(&["check"]).exits(0).says("a slot that nobody reads would fill the disk");
    let serving = Serving::of(world);
    serving.wait_until_it_says("a slot that nobody reads would fill the disk of PostgreSQL");
    assert_eq!(serving.world.sql("SELECT count(*) FROM pg_replication_slots"), "0");
}
