//! `warm diff`: what differs between cache and database, and what does not though it seems to.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

use crate::freshness::end;
use crate::support::gate::Gate;
use crate::support::server::free_port;
use crate::support::world::World;

const TABLE: &str = "CREATE TABLE t (id int PRIMARY KEY, at timestamptz NOT NULL DEFAULT '2026-11-24T12:00Z', v text); GRANT SELECT ON t TO PUBLIC;
    INSERT INTO t SELECT i, DEFAULT, 'v' || i FROM generate_series(1, 20) i";

fn world() -> World {
    let world = World::new();
    world.sql(&TABLE.replace("SELECT i, DEFAULT", "SELECT i, '2026-11-24T12:00Z'"));
    job(&world, "fill_query = 'SELECT id, at, v FROM t WHERE id = :id'");
    world
}

/// The first ten rows, one key each.
fn job(world: &World, more: &str) {
    let query = "SELECT id, at, v FROM t ORDER BY id LIMIT 10";
    world.job("job", &format!("query = '{query}'\nkey = 't:{{id}}'\nvalue = 'row'\n{more}"));
}

/// What the application would have cached for a row.
fn value(id: u32, v: &str) -> String {
    format!(r#"{{"id":{id},"at":"2026-11-24T12:00:00.000Z","v":"{v}"}}"#)
}

fn set(world: &World, key: &str, value: &str) {
    let _: () = world.ask(&["SET", key, value, "EX", "300"]);
}

#[test]
fn what_is_missing_or_stale_is_found_and_repaired() {
    let world = world();
    world.warm(&["diff"]).exits(1).says("job: 0 keys as in the database, 10 missing").says("t:1  missing");
    assert!(world.keys().is_empty(), "nothing is changed");
    world.warm(&["--now"]).exits(0);
    world.warm(&["diff"]).exits(0).says("job: 10 keys as in the database\n");
    world.sql("UPDATE t SET v = 'Ọdún' WHERE id = 3");
    let _: () = world.ask(&["DEL", "t:4"]);
    world
        .warm(&["diff"])
        .exits(1)
        .says("8 keys as in the database, 1 missing, 1 stale")
        .says("t:3  stale: in v, at byte 45: should be `….000Z\",\"v\":\"Ọdún\"}`, is `….000Z\",\"v\":\"v3\"}`");
    world
        .warm(&["diff", "--repair"])
        .exits(0)
        .says("10 keys as in the database (before the repair: 1 missing, 1 stale)");
    assert_eq!(world.value("t:3"), Some(value(3, "Ọdún")));
    world.warm(&["diff", "--repair"]).exits(0).says("job: 10 keys as in the database\n");
}

#[test]
fn what_the_application_wrote_in_another_way_has_another_shape() {
    let world = world();
    world.warm(&["--now"]).exits(0);
    set(&world, "t:1", r#"{"at":"2026-11-24T12:00:00.000Z","id":1,"v":"v1"}"#);
    set(&world, "t:2", &value(2, "v2").replace("12:00:00.000Z", "12:00:00Z"));
    set(&world, "t:3", &value(3, "v3").replace(":3", ": 3"));
    set(&world, "t:4", "\u{1f}\u{8b}");
    // Another row of the same making.
    set(&world, "t:5", &value(5, "v6"));
    // The same, with something that was made otherwise behind it.
    set(&world, "t:6", &value(7, "v6").replace("00.000Z", "00+00:00"));
    set(&world, "t:7", &value(8, "v7").replace("\"v\"", "\"w\""));
    let ran = world
        .warm(&["diff"])
        .exits(1)
        .says("3 keys as in the database, 1 stale, 6 of another shape")
        .says("t:1  another shape: `at` stands where `id` should; first difference at byte 2: should be `{\"id\":1")
        .says("t:2  another shape: `at` should be a time (`2026-11-24T12:00:00.000Z`), and is a text (`2026-11-24T12:00:00Z`); first difference in at, at byte 33: should be ")
        .says("t:3  another shape: it says the same in another notation; first difference in id, at byte 6: should be ")
        .says("t:4  another shape: it is no JSON; first difference at byte 0: should be ")
        .says("t:5  stale: in v")
        .says("t:6  another shape: `at` should be a time (`2026-11-24T12:00:00.000Z`), and is a text (`2026-11-24T12:00:00+00:00`); first difference in id, at byte 6: should be `{\"id\":6,")
        .says("t:7  another shape: `v` is missing, and `w` is there; first difference in id, at byte 6");
    assert!(ran.out.contains("is `\\u{1f}"), "{}", ran.out);
    let shown = world.warm(&["show", "t:6"]).exits(1);
    shown
        .says("PostgreSQL  makes a value of another shape: `at` should be a time (")
        .says("; first difference in id, ");
    let report = world.warm(&["show", "--json", "t:7"]).exits(1).json();
    let finding = &report["findings"][0];
    assert_eq!(
        (&finding["kind"], &finding["reason"], &finding["member"]),
        (&"other_shape".into(), &"`v` is missing, and `w` is there".into(), &"id".into())
    );
}

#[test]
fn keys_of_the_applications_own_are_compared_with_what_a_fill_would_write() {
    let world = world();
    world.warm(&["--now"]).exits(0);
    set(&world, "t:15", &value(15, "v15"));
    set(&world, "t:16", &value(16, "old"));
    set(&world, "t:17", r#"{"id":17}"#);
    for key in ["t:99", "t:x", "t:099"] {
        set(&world, key, "{}");
    }
    world
        .warm(&["diff"])
        .exits(1)
        .says("11 keys as in the database, 1 stale, 1 of another shape, 3 extra")
        .says("t:16  stale")
        .says("t:17  another shape")
        .says("t:99  extra: no row makes it")
        .says("t:099  extra");
    let repaired = world.warm(&["diff", "--repair"]);
    repaired.exits(1).says("13 keys as in the database, 3 extra");
    assert_eq!(world.value("t:16"), Some(value(16, "v16")));
    assert_eq!(world.value("t:99").as_deref(), Some("{}"), "nothing is removed that others wrote");
    job(&world, "");
    world.warm(&["diff"]).exits(0).says("10 keys as in the database, 6 not known");
}

#[test]
fn keys_of_a_more_special_job_are_not_those_of_this_one() {
    let world = world();
    world.job("list", "query = 'SELECT id FROM t WHERE id < 3 ORDER BY id'\nkey = 't:list'\nvalue = 'rows'");
    world.warm(&["--now"]).exits(0);
    set(&world, "t:list", "[]");
    world.warm(&["diff", "job"]).exits(0).says("job: 10 keys as in the database\n");
    world
        .warm(&["diff"])
        .exits(1)
        .says("list: 0 keys as in the database, 1 stale")
        .says("at byte 1: should be `[{\"id\":1},{\"id\":2}]`, is `[]`");
    world.warm(&["diff", "nobody"]).exits(2).says("there is no job `nobody`");
}

#[test]
fn lifetimes_and_types_are_compared_too_and_left_alone() {
    let world = world();
    world.warm(&["--now"]).exits(0);
    let _: () = world.ask(&["PERSIST", "t:1"]);
    let _: () = world.ask(&["EXPIRE", "t:2", "900"]);
    let _: () = world.ask(&["EXPIRE", "t:3", "9"]);
    let _: () = world.ask(&["DEL", "t:4"]);
    let _: () = world.ask(&["LPUSH", "t:4", "x"]);
    for _ in 0..2 {
        world
            .warm(&["diff", "--repair"])
            .exits(1)
            .says("9 keys as in the database, 1 of another type, 2 with another TTL")
            .says("t:1  another TTL: it never dies, instead of after 10m")
            .says("t:4  another type: list")
            .says("t:2  another TTL: it lives for 14m 5")
            .says("longer than 10m");
    }
    // How that is put right.
    world.warm(&["fill", "t:1", "t:4"]).exits(1);
    let gone: i64 = world.ask(&["UNLINK", "t:1", "t:2", "t:4"]);
    assert_eq!(gone, 3);
    world.warm(&["fill", "t:1", "t:2", "t:4"]).exits(0);
    world.warm(&["diff"]).exits(0).says("job: 10 keys as in the database\n");
}

#[test]
fn a_sample_is_a_part_of_the_keys() {
    let world = world();
    world.sql("INSERT INTO t SELECT i, '2026-11-24T12:00Z', 'x' FROM generate_series(21, 2000) i");
    world.job("job", "query = 'SELECT id, at, v FROM t'\nkey = 't:{id}'\nvalue = 'row'");
    let ran: Value = serde_json::from_str(&world.warm(&["diff", "--json", "--sample", "10%"]).out).unwrap();
    let missing = ran["jobs"][0]["keys"]["missing"].as_u64().unwrap();
    assert!((100..320).contains(&missing), "{missing}");
    assert_eq!((&ran["exit_code"], &ran["jobs"][0]["findings"][0]["kind"]), (&1.into(), &"missing".into()));
    for share in ["0%", "101%", "5"] {
        world.warm(&["diff", "--sample", share]).exits(2).says("it is a share above 0% and up to 100%");
    }
}

#[test]
fn what_is_changing_is_not_drift() {
    let world = world();
    world.warm(&["--now"]).exits(0);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // An application that writes through: for a moment after each commit the cache is behind.
        scope.spawn(|| {
            for round in 0.. {
                if done.load(Ordering::Relaxed) {
                    break;
                }
                for id in 1..=10 {
                    let v = format!("r{round}");
                    world.sql(&format!("UPDATE t SET v = '{v}' WHERE id = {id}"));
                    set(&world, &format!("t:{id}"), &value(id, &v));
                }
            }
        });
        let codes: Vec<_> = (0..8).map(|_| world.warm(&["diff"])).map(|ran| (ran.code, ran.out)).collect();
        done.store(true, Ordering::Relaxed);
        assert!(codes.iter().all(|(code, _)| *code == 0), "{codes:?}");
    });
    world.warm(&["diff"]).exits(0).says("job: 10 keys as in the database\n");
}

#[test]
fn what_changes_between_reading_and_looking_is_no_drift() {
    let world = world();
    let query = "SELECT id, at, v FROM t WHERE id <= 10 AND (id <> 10 OR wait(1)) ORDER BY id";
    let gate = Gate::shut(&world.database, 1);
    world.job("job", &format!("query = '{query}'\nkey = 't:{{id}}'\nvalue = 'row'"));
    (1..=10).for_each(|id| set(&world, &format!("t:{id}"), &value(id, &format!("v{id}"))));
    let child = world.start(&["diff"]);
    gate.wait_for_query();
    // The application changes one row and removes another, and each key with it.
    world.sql("UPDATE t SET v = 'new' WHERE id = 1; DELETE FROM t WHERE id = 2");
    set(&world, "t:1", &value(1, "new"));
    let _: i64 = world.ask(&["DEL", "t:2"]);
    gate.open();
    end(child).exits(0).says("8 keys as in the database, 2 changed meanwhile");
}

/// A job on demand, whose keys somebody has filled.
fn on_demand() -> World {
    let world = world();
    world.job("job", "fill_query = 'SELECT id, at, v FROM t WHERE id = :id'\nkey = 't:{id}'\nvalue = 'row'");
    set(&world, "t:1", &value(1, "v1"));
    set(&world, "t:2", &value(2, "old"));
    world
}

#[test]
fn a_comparison_that_fails_says_so_also_where_no_run_does() {
    let mut world = on_demand();
    world.warm(&["diff"]).exits(1).says("job: 1 key as in the database, 1 stale");
    world.job("job", "fill_query = 'SELECT id, at, v FROM nowhere WHERE id = :id'\nkey = 't:{id}'\nvalue = 'row'");
    let report = world.warm(&["diff", "--json"]).exits(1).json();
    let error = report["jobs"][0]["error"].as_str().unwrap();
    assert!(error.starts_with("`t:") && error.contains("relation \"nowhere\" does not exist"), "{error}");
    assert_eq!(report["jobs"][0]["ok"], false);
    world.warm(&["diff", "--repair"]).exits(1).says("job: failed\n").says("(SQLSTATE 42P01)");
    world.set("DATABASE_URL", &world.database.tcp_url(free_port()));
    world.set("WARM_POSTGRES__CONNECT_TIMEOUT", "1s");
    world.warm(&["diff"]).exits(3).says("job: failed\n").says("no connection to PostgreSQL");
}

#[test]
fn a_repair_that_fails_is_no_repair() {
    let world = on_demand();
    let _: () = world.ask(&["ACL", "SETUSER", "warm", "-set"]);
    world.warm(&["diff"]).exits(1).says("1 stale");
    world.warm(&["diff", "--repair"]).exits(4).says("job: failed\n").says("`t:2`: ");
}
