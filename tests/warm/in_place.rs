//! Keys that an application updates in place, and that its readers read while they are replaced.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use redis::Value;

use crate::freshness::{end, quiet};
use crate::support::gate::Gate;
use crate::support::server::wait_for;
use crate::support::world::{World, ask};
use crate::types::allow;

const BEFORE: &str = "invalidates = 'before-commit'";

/// A leaderboard of two, as a sorted set.
fn board(world: &World, more: &str) {
    allow(world, "zset");
    world.sql("CREATE TABLE b (name text PRIMARY KEY, points int NOT NULL); INSERT INTO b VALUES ('ada', 10), ('eze', 20); GRANT SELECT ON b TO PUBLIC");
    let query = "SELECT name, points FROM b ORDER BY points DESC, name";
    world.job("job", &format!("query = '{query}'\nkey = 't:board'\nvalue = 'rows'\ntype = 'zset'\nscore = 'points'\nelement = 'column:name'\n{more}"));
}

fn points(world: &World, name: &str) -> Option<f64> {
    world.ask(&["ZSCORE", "t:board", name])
}

fn life(world: &World) -> i64 {
    world.ask(&["PTTL", "t:board"])
}

#[test]
fn readers_see_the_old_value_or_the_new_one_and_nothing_between() {
    let world = World::new();
    for ty in ["hash", "list", "set", "zset"] {
        allow(&world, ty);
    }
    world.sql("CREATE TABLE m AS SELECT n, n AS v FROM generate_series(1, 3000) n; GRANT SELECT ON m TO PUBLIC");
    let rows = |ty: &str, more: &str| {
        format!(
            "query = 'SELECT v, n FROM m ORDER BY n'\nkey = 't:{ty}'\nvalue = 'rows'\ntype = '{ty}'\nelement = 'column:v'\n{more}"
        )
    };
    world.job("list", &rows("list", ""));
    world.job("set", &rows("set", "verify = 'none'"));
    world.job("zset", &rows("zset", "score = 'n'"));
    let columns: Vec<String> = (0..1000).map(|n| format!("v + {n} AS f{n}")).collect();
    world.job(
        "hash",
        &format!(
            "query = 'SELECT {} FROM m WHERE n = 1'\nkey = 't:hash'\nvalue = 'row'\ntype = 'hash'",
            columns.join(", ")
        ),
    );
    world.warm(&["--now"]).exits(0).says("list: wrote 1 key");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reads: [&[&str]; 4] = [
            &["LRANGE", "t:list", "0", "-1"],
            &["SMEMBERS", "t:set"],
            &["ZRANGE", "t:zset", "0", "-1"],
            &["HVALS", "t:hash"],
        ];
        let readers: Vec<_> = reads
            .map(|read| {
                let (world, done) = (&world, &done);
                scope.spawn(move || {
                    let (mut connection, mut seen) = (world.redis.connect(), BTreeSet::new());
                    while !done.load(Ordering::Relaxed) {
                        let found: Vec<i64> = ask(&mut connection, read);
                        let round = found.iter().min().copied().unwrap_or(-1) / 100_000;
                        let distinct: BTreeSet<i64> = found.iter().copied().collect();
                        let expected = if read[0] == "HVALS" { 1000 } else { 3000 };
                        assert!(
                            distinct.len() == expected && distinct.iter().all(|v| v / 100_000 == round),
                            "{read:?}: {}",
                            found.len()
                        );
                        seen.insert(round);
                    }
                    seen.len()
                })
            })
            .into();
        for _ in 0..5 {
            world.sql("UPDATE m SET v = v + 100000");
            world.warm(&["--now"]).exits(0);
        }
        done.store(true, Ordering::Relaxed);
        for reader in readers {
            assert!(reader.join().unwrap() > 1, "it has seen several values");
        }
    });
}

#[test]
fn a_row_that_changes_between_the_readings_is_set_right_also_in_what_was_updated_in_place() {
    let world = World::new();
    let gate = Gate::shut(&world.database, 1);
    board(&world, "");
    let job = std::fs::read_to_string(world.folder.path.join("jobs/job.toml")).unwrap();
    world.job("job", &job.replace("FROM b", "FROM b WHERE wait(1)"));
    let child = world.start(&["--now"]);
    gate.wait_for_query();
    world.sql("UPDATE b SET points = 30 WHERE name = 'ada'; DELETE FROM b WHERE name = 'eze'");
    gate.open();
    end(child).exits(0).says("1 changed meanwhile and set right");
    assert_eq!((points(&world, "ada"), points(&world, "eze")), (Some(30.0), None), "nothing of the old value is left");
    assert!(life(&world) > 500_000);
}

/// Lets a run wait before it verifies, changes something, and lets it go on.
fn meanwhile(world: &World, change: &str, update: &[&str], ends: &str) -> crate::support::world::Ran {
    let mut application = world.database.session();
    application.say(&format!("BEGIN; {change};"));
    let child = world.start(&["--now"]);
    let asked = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%virtualxid%' AND application_name = 'warm'";
    wait_for("the barrier", || (world.sql(asked) == "1" && life(world) > 0).then_some(()));
    let _: Value = world.ask(update);
    application.say(&format!("{ends};"));
    end(child)
}

#[test]
fn what_was_updated_in_place_before_it_was_confirmed_is_not_given_a_full_life() {
    let (_postgres, world) = quiet();
    board(&world, BEFORE);
    let ada = "UPDATE b SET points = 11 WHERE name = 'ada'";
    // Twice counted: the row has been read with the change that the increment stands for.
    let ran = meanwhile(&world, ada, &["ZINCRBY", "t:board", "1", "ada"], "ROLLBACK");
    ran.exits(0).says("1 left alone: changed, removed or evicted by others meanwhile");
    assert_eq!(points(&world, "ada"), Some(11.0));
    assert!(life(&world) <= 10_000, "it dies soon");
    // The same where the key had been there with the same content, and with another one.
    for found in ["10", "7"] {
        let _: () = world.ask(&["DEL", "t:board"]);
        let _: () = world.ask(&["ZADD", "t:board", found, "ada", "20", "eze"]);
        let _: () = world.ask(&["EXPIRE", "t:board", "100"]);
        let ran = meanwhile(&world, ada, &["ZINCRBY", "t:board", "1", "ada"], "ROLLBACK");
        ran.exits(0).says("1 left alone: changed, removed or evicted by others meanwhile");
        assert_eq!(points(&world, "ada"), Some(found.parse::<f64>().unwrap() + 1.0));
        assert!((50_000..=100_000).contains(&life(&world)), "its life is its own");
    }
}

#[test]
fn what_was_updated_in_place_for_a_change_that_was_read_is_right() {
    let (_postgres, world) = quiet();
    board(&world, BEFORE);
    let ada = "UPDATE b SET points = 11 WHERE name = 'ada'";
    // The same that the second reading gives.
    meanwhile(&world, ada, &["ZADD", "t:board", "11", "ada"], "COMMIT")
        .exits(0)
        .says("1 changed meanwhile and set right");
    assert_eq!(points(&world, "ada"), Some(11.0));
    assert!(life(&world) > 500_000);
}

#[test]
fn what_was_deleted_meanwhile_stays_away() {
    let (_postgres, world) = quiet();
    board(&world, BEFORE);
    let change = "UPDATE b SET points = 11 WHERE name = 'ada'";
    let ran = meanwhile(&world, change, &["DEL", "t:board"], "ROLLBACK");
    ran.exits(0).says("1 left alone: changed, removed or evicted by others meanwhile");
    assert!(world.keys().is_empty());
}

#[test]
fn half_a_list_is_left_to_die_or_not_written_at_all() {
    for (more, words) in [
        ("", "ORDER BY the key's columns first"),
        ("verify = 'none'", "half of a list that is not verified could not be taken back"),
    ] {
        let world = World::new();
        allow(&world, "list");
        world.config("jobs = \"jobs\"\n[ttl]\n\"t:\" = \"10m\"\n[limits]\nbuffer = \"64KiB\"\n");
        // The rows of the first key are far apart.
        world.sql("CREATE TABLE m AS SELECT CASE WHEN n = 900 THEN 1 ELSE n END AS g, n, repeat('x', 1000) AS x FROM generate_series(1, 1000) n; GRANT SELECT ON m TO PUBLIC");
        world.job(
            "job",
            &format!("query = 'SELECT g, x FROM m ORDER BY n'\nkey = 't:{{g}}'\nvalue = 'rows'\ntype = 'list'\n{more}"),
        );
        world.warm(&["--now"]).exits(1).says(words);
        for key in world.keys() {
            assert!(world.ask::<i64>(&["PTTL", &key]) <= 10_000, "{key}");
        }
        assert_eq!(world.keys().is_empty(), !more.is_empty());
    }
}

#[test]
fn a_bad_row_confirms_no_half_list() {
    let (_postgres, world) = quiet();
    allow(&world, "list");
    world.config("jobs = \"jobs\"\n[ttl]\n\"t:\" = \"10m\"\n[limits]\nbuffer = \"64KiB\"\n");
    world.sql("CREATE TABLE m AS SELECT CASE WHEN n < 1000 THEN n END AS g, n, repeat('x', 1000) AS x FROM generate_series(1, 1000) n");
    world.job("job", "query = 'SELECT g, x FROM m ORDER BY n'\nkey = 't:{g}'\nvalue = 'rows'\ntype = 'list'");
    world.warm(&["--now"]).exits(1).says("row 1000: ");
    let keys = world.keys();
    assert!(keys.len() > 500, "{}", keys.len());
    for key in keys {
        assert!(world.ask::<i64>(&["PTTL", &key]) <= 10_000, "{key} may lack a row");
    }
}
