//! Keys that are no strings: hashes, lists, sets and sorted sets, replaced as a whole.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::freshness::end;
use crate::support::gate::Gate;
use crate::support::redis::Redis;
use crate::support::world::{CONFIG, World, ask};

/// Values whose text takes some care, one row of which is empty but for its keys.
const TABLE: &str = r#"CREATE TYPE mood AS ENUM ('so-so', 'fi"ne');
    CREATE TABLE t (id int PRIMARY KEY, g text NOT NULL, name text, big bigint, at timestamptz, mood mood, tags text[], doc jsonb, points float8);
    INSERT INTO t VALUES (1, 'a', E'Òwàmbẹ̀ "Live"\n', 9007199254740993, '2026-01-02 03:04:05.678Z', 'fi"ne', '{x,"y z"}', '{"b": 1.0}', 2.5),
                         (2, 'a', NULL, NULL, NULL, NULL, NULL, NULL, -0.1),
                         (3, 'a', '', 5, '2026-01-02', 'so-so', '{}', '[]', 1e21);
    GRANT SELECT ON t TO PUBLIC"#;

/// A world whose account may do what `config/redis-acl.conf` says of each type, and no more.
fn world() -> World {
    let world = World::new();
    for ty in ["hash", "list", "set", "zset"] {
        allow(&world, ty);
    }
    world.sql(TABLE);
    world
}

/// Grants what the comment in `config/redis-acl.conf` says.
fn allow(world: &World, ty: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/redis-acl.conf");
    let text = fs::read_to_string(file).unwrap();
    let rights = text.lines().find_map(|line| line.strip_prefix(&format!("#   type = \"{ty}\""))).unwrap();
    let rights: Vec<&str> = rights.split_whitespace().filter(|word| word.starts_with('+')).collect();
    assert!(rights.len() > 3, "{rights:?}");
    let _: () = world.ask(&[&["ACL", "SETUSER", "warm"], &rights[..]].concat());
}

fn job(world: &World, ty: &str, more: &str) {
    let (key, value) = if ty == "hash" { ("t:{id}", "row") } else { ("t:{g}", "rows") };
    let query = "SELECT * FROM t WHERE wait(1) ORDER BY id";
    world.job("job", &format!("query = '{query}'\nkey = '{key}'\nvalue = '{value}'\ntype = '{ty}'\n{more}\n"));
}

fn hash(world: &World, key: &str) -> BTreeMap<String, String> {
    world.ask(&["HGETALL", key])
}

fn list(world: &World, key: &str) -> Vec<String> {
    world.ask(&["LRANGE", key, "0", "-1"])
}

fn set(world: &World, key: &str) -> BTreeSet<String> {
    world.ask(&["SMEMBERS", key])
}

fn scores(world: &World, key: &str) -> Vec<String> {
    world.ask(&["ZRANGE", key, "0", "-1", "WITHSCORES"])
}

fn life(world: &World, key: &str) -> i64 {
    world.ask(&["PTTL", key])
}

#[test]
fn the_columns_of_a_row_are_the_fields_of_a_hash() {
    let world = world();
    for (format, at) in [("prisma", "2026-01-02T03:04:05.678Z"), ("postgres", "2026-01-02T03:04:05.678+00:00")] {
        let _: () = world.ask(&["FLUSHALL"]);
        job(&world, "hash", &format!("hide = ['g', 'points']\nformat = '{format}'"));
        world.warm(&["--now"]).exits(0).says("wrote 3 keys");
        let (tags, doc) = match format {
            "prisma" => (r#"["x","y z"]"#, r#"{"b": 1.0}"#),
            _ => (r#"["x","y z"]"#, r#"{"b": 1.0}"#),
        };
        let expected = [
            ("id", "1"),
            ("name", "Òwàmbẹ̀ \"Live\"\n"),
            ("big", "9007199254740993"),
            ("at", at),
            ("mood", "fi\"ne"),
            ("tags", tags),
            ("doc", doc),
        ];
        let expected: BTreeMap<_, _> = expected.map(|(field, value)| (field.to_owned(), value.to_owned())).into();
        assert_eq!(hash(&world, "t:1"), expected, "{format}");
        assert_eq!(hash(&world, "t:2"), BTreeMap::from([("id".to_owned(), "2".to_owned())]), "NULL is no field");
        assert_eq!(hash(&world, "t:3")["name"], "");
        assert!((500_000..=600_000).contains(&life(&world, "t:1")));
        world.warm(&["--now"]).exits(0).says("wrote 3 keys (3 unchanged)");
    }
    // Dotted names nest, and what is nested is JSON.
    for format in ["prisma", "postgres"] {
        let query = r#"SELECT 1 AS id, 2 AS "a.b", NULL::int AS "a.c", t FROM (SELECT 5 AS n) t"#;
        world.job("job", &format!("query = '{query}'\nkey = 't:n:{{id}}'\nvalue = 'row'\ntype = 'hash'\nformat = '{format}'"));
        world.warm(&["--now"]).exits(0);
    }
}

#[test]
fn a_row_with_nothing_but_null_makes_no_hash() {
    let world = world();
    world.job("job", "query = 'SELECT id, name FROM t ORDER BY id'\nkey = 't:{id}'\nvalue = 'row'\ntype = 'hash'\nhide = ['id']\non_bad_row = 'skip'");
    world.warm(&["--now"]).exits(0).says("wrote 2 keys").says("Redis has no hash without fields");
    assert_eq!(world.keys(), ["t:1", "t:3"]);
}

#[test]
fn rows_are_the_elements_of_lists_sets_and_sorted_sets() {
    let world = world();
    for format in ["prisma", "postgres"] {
        let _: () = world.ask(&["FLUSHALL"]);
        let format = format!("format = '{format}'\nhide = ['g', 'big', 'at', 'mood', 'tags', 'doc', 'name']");
        let row = |id: i64, points: &str| format!(r#"{{"id":{id},"points":{points}}}"#);
        let rows = [row(1, "2.5"), row(2, "-0.1"), row(3, if format.contains("prisma") { "1e+21" } else { "1e+21" })];
        job(&world, "list", &format);
        world.warm(&["--now"]).exits(0).says("wrote 1 key");
        assert_eq!(list(&world, "t:a"), rows);
        let _: () = world.ask(&["DEL", "t:a"]);
        job(&world, "set", &format);
        world.warm(&["--now"]).exits(0).says("wrote 1 key");
        assert_eq!(set(&world, "t:a"), BTreeSet::from(rows));
        let _: () = world.ask(&["DEL", "t:a"]);
        job(&world, "zset", &format!("score = 'points'\n{format}"));
        world.warm(&["--now"]).exits(0).says("wrote 1 key");
        let without = |id: i64| format!(r#"{{"id":{id}}}"#);
        assert_eq!(scores(&world, "t:a"), [&without(2), "-0.1", &without(1), "2.5", &without(3), "1e+21"]);
        world.warm(&["--now"]).exits(0).says("1 unchanged");
        job(&world, "zset", &format!("score = 'big'\nelement = 'column:mood'\non_bad_row = 'skip'\n{format}").replace("'big', ", ""));
        world.warm(&["--now"]).exits(0).says("column \"mood\": it is NULL, which cannot be an element");
        assert_eq!(scores(&world, "t:a"), ["so-so", "5", "fi\"ne", "9007199254740992"]);
    }
}
