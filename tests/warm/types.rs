//! Keys that are no strings: hashes, lists, sets and sorted sets, replaced as a whole.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::support::world::{CONFIG, World};

/// Values whose text takes some care, one row of which is empty but for its keys.
const TABLE: &str = r#"CREATE TYPE mood AS ENUM ('so-so', 'fi"ne');
    CREATE TABLE t (id int PRIMARY KEY, g text NOT NULL, name text, big bigint, at timestamptz, mood mood, tags text[], doc jsonb, points float8);
    INSERT INTO t VALUES (1, 'a', E'Òwàmbẹ̀ "Live"\n', 9007199254740993, '2026-01-02 03:04:05.678Z', 'fi"ne', '{x,"y z"}', '{"b": 1.0}', 2.5),
                         (2, 'a', NULL, NULL, NULL, NULL, NULL, NULL, -0.5),
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
pub(crate) fn allow(world: &World, ty: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/redis-acl.conf");
    let text = fs::read_to_string(file).unwrap();
    let rights = text.lines().find_map(|line| line.strip_prefix(&format!("#   type = \"{ty}\""))).unwrap();
    let rights: Vec<&str> = rights.split_whitespace().filter(|word| word.starts_with('+')).collect();
    assert!(rights.len() > 3, "{rights:?}");
    let _: () = world.ask(&[&["ACL", "SETUSER", "warm"], &rights[..]].concat());
}

fn job(world: &World, ty: &str, more: &str) {
    let (key, value) = if ty == "hash" { ("t:{id}", "row") } else { ("t:{g}", "rows") };
    let query = "SELECT * FROM t ORDER BY id";
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
        let expected = [
            ("id", "1"),
            ("name", "Òwàmbẹ̀ \"Live\"\n"),
            ("big", "9007199254740993"),
            ("at", at),
            ("mood", "fi\"ne"),
            ("tags", r#"["x","y z"]"#),
            ("doc", r#"{"b": 1.0}"#),
        ];
        let expected: BTreeMap<_, _> = expected.map(|(field, value)| (field.to_owned(), value.to_owned())).into();
        assert_eq!(hash(&world, "t:1"), expected, "{format}");
        assert_eq!(hash(&world, "t:2"), BTreeMap::from([("id".to_owned(), "2".to_owned())]), "NULL is no field");
        assert_eq!(hash(&world, "t:3")["name"], "");
        assert!((500_000..=600_000).contains(&life(&world, "t:1")));
        world.warm(&["--now"]).exits(0).says("wrote 3 keys").says("3 of them unchanged");
    }
    // Dotted names nest, and what is nested is JSON.
    for format in ["prisma", "postgres"] {
        let query = r#"SELECT 1 AS id, 2 AS "a.b", NULL::int AS "a.c", true AS "yes", t AS whole FROM (SELECT id, name FROM t WHERE id = 2) t"#;
        let query = query.replace("t AS whole", "ROW(id, name)::pair AS whole");
        world.sql("DROP TYPE IF EXISTS pair; CREATE TYPE pair AS (id int, name text)");
        world.job(
            "job",
            &format!("query = '{query}'\nkey = 't:n:{{id}}'\nvalue = 'row'\ntype = 'hash'\nformat = '{format}'"),
        );
        world.warm(&["--now"]).exits(0);
        let expected =
            [("id", "1"), ("a", r#"{"b":2,"c":null}"#), ("yes", "true"), ("whole", r#"{"id":2,"name":null}"#)];
        assert_eq!(hash(&world, "t:n:1"), expected.map(|(a, b)| (a.to_owned(), b.to_owned())).into(), "{format}");
        let _: () = world.ask(&["DEL", "t:n:1"]);
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
        let rows = [row(1, "2.5"), row(2, "-0.5"), row(3, "1e+21")];
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
        assert_eq!(scores(&world, "t:a"), [&without(2), "-0.5", &without(1), "2.5", &without(3), "1e+21"]);
        world.warm(&["--now"]).exits(0).says("1 of them unchanged");
        job(
            &world,
            "zset",
            &format!("score = 'big'\nelement = 'column:mood'\non_bad_row = 'skip'\n{format}")
                .replace("'big', ", "")
                .replace("'mood', ", ""),
        );
        world.warm(&["--now"]).exits(0).says("column \"mood\": it is NULL, which cannot be an element");
        assert_eq!(scores(&world, "t:a"), ["so-so", "5", "fi\"ne", "9007199254740992"]);
    }
}

#[test]
fn a_score_is_a_finite_number() {
    let world = world();
    world.sql("CREATE TABLE s (g text, member text, f8 float8, f4 float4, n numeric, i2 int2, txt text); GRANT SELECT ON s TO PUBLIC;
        INSERT INTO s VALUES ('a', 'nan', 'NaN', 'NaN', 'NaN', NULL, ''), ('a', 'inf', 'Infinity', '-Infinity', 'Infinity', NULL, ''),
                             ('a', 'huge', 0, 0, 1e400, 0, ''), ('a', 'tiny', 5e-324, 0.1, 1e-400, -7, ''), ('a', 'twice', 1, 1, 1, 1, ''), ('a', 'twice', 2, 2, 2, 2, '')");
    let query = "SELECT * FROM s ORDER BY f8, txt, i2";
    let job = |score: &str, policy: &str| {
        world.job("job", &format!("query = '{query}'\nkey = 't:{{g}}'\nvalue = 'rows'\ntype = 'zset'\nscore = '{score}'\nelement = 'column:member'\non_bad_row = '{policy}'"));
    };
    job("f8", "fail");
    world.warm(&["--now"]).exits(1).says("column \"f8\": it is not a finite number, which cannot be a score");
    for (score, expected) in [
        ("f8", ["huge", "0", "tiny", "4.9406564584124654e-324", "twice", "2"].as_slice()),
        ("f4", &["huge", "0", "tiny", "0.10000000000000001", "twice", "2"]),
        ("n", &["tiny", "0", "twice", "2"]),
        ("i2", &["tiny", "-7", "huge", "0", "twice", "2"]),
    ] {
        job(score, "skip");
        world.warm(&["--now"]).exits(0).says("skipped row");
        assert_eq!(scores(&world, "t:a"), expected, "{score}: of two rows with one element the last one counts");
        world.warm(&["--now"]).exits(0).says("1 of them unchanged");
    }
    job("txt", "skip");
    world.warm(&["--now"]).exits(1).says("column \"txt\" of type text: a score is a number; cast it");
    job("none", "skip");
    world.warm(&["--now"]).exits(1).says("it is to be the score, but the query has no such column");
}

/// As many elements as are more than one command of a script takes, and the keys that hold them.
fn many(world: &World, ty: &str, more: &str) -> (String, usize) {
    world.sql("CREATE TABLE IF NOT EXISTS m AS SELECT n, 'x' || n AS v, 'a' AS g FROM generate_series(1, 4321) n; GRANT SELECT ON m TO PUBLIC");
    if ty == "hash" {
        let columns: Vec<String> = (0..1500).map(|n| format!("v || {n} AS f{n}")).collect();
        let query = format!("SELECT g, {} FROM m WHERE n = 1", columns.join(", "));
        world.job("job", &format!("query = '{query}'\nkey = 't:{{g}}'\nvalue = 'row'\ntype = 'hash'\n{more}"));
        return ("HLEN".to_owned(), 1501);
    }
    let score = if ty == "zset" { "score = 'n'" } else { "" };
    world.job("job", &format!("query = 'SELECT * FROM m ORDER BY n'\nkey = 't:{{g}}'\nvalue = 'rows'\ntype = '{ty}'\nelement = 'column:v'\n{score}\n{more}"));
    let count = match ty {
        "list" => "LLEN",
        "set" => "SCARD",
        _ => "ZCARD",
    };
    (count.to_owned(), 4321)
}

#[test]
fn thousands_of_elements_are_written_compared_and_replaced() {
    let world = world();
    for ty in ["hash", "list", "set", "zset"] {
        for more in ["", "verify = 'none'"] {
            let (count, expected) = many(&world, ty, more);
            let counted = || world.ask::<usize>(&[&count, "t:a"]);
            world.warm(&["--now"]).exits(0).says("wrote 1 key");
            assert_eq!(counted(), expected, "{ty}");
            let ran = world.warm(&["--now"]).exits(0);
            assert_eq!(
                ran.out.contains("1 of them unchanged") || ran.err.contains("1 of them unchanged"),
                more.is_empty(),
                "{}",
                ran.all()
            );
            // One element too many, one too few, and another one in the last place.
            let changes: &[&[&str]] = match ty {
                "hash" => &[&["HSET", "t:a", "other", "1"], &["HDEL", "t:a", "f7"], &["HSET", "t:a", "f1499", "1"]],
                "list" => &[&["RPUSH", "t:a", "x"], &["RPOP", "t:a"], &["LSET", "t:a", "-1", "x"]],
                "set" => &[&["SADD", "t:a", "y"], &["SREM", "t:a", "x7"], &["SMOVE", "t:a", "other:b", "x4321"]],
                _ => &[&["ZADD", "t:a", "1", "y"], &["ZREM", "t:a", "x7"], &["ZINCRBY", "t:a", "1", "x4321"]],
            };
            for change in changes {
                let _: redis::Value = world.ask(change);
                let differs = world.warm(&["diff"]).exits(1).says("t:a  stale: in ");
                assert!(differs.out.contains(if ty == "list" { "element " } else { "the " }), "{}", differs.out);
                let ran = world.warm(&["--now"]).exits(0).says("wrote 1 key");
                assert!(!ran.all().contains("unchanged"), "{change:?}: {}", ran.all());
                assert_eq!(counted(), expected, "{change:?}");
                world.warm(&["diff"]).exits(0);
                assert!(life(&world, "t:a") > 500_000);
            }
            let _: () = world.ask(&["FLUSHALL"]);
        }
    }
}

#[test]
fn what_is_of_another_type_or_has_no_end_is_left_alone() {
    let world = world();
    for ty in ["hash", "list", "set", "zset"] {
        for more in ["", "verify = 'none'"] {
            many(&world, ty, more);
            let _: () = world.ask(&["SET", "t:a", "theirs", "EX", "100"]);
            world.warm(&["--now", "--dry-run"]).exits(0).says("1 left alone: another type");
            world.warm(&["--now"]).exits(0).says("1 left alone: another type");
            world.warm(&["diff"]).exits(1).says("t:a  another type: string");
            assert_eq!(world.value("t:a").as_deref(), Some("theirs"));
            let _: () = world.ask(&["DEL", "t:a"]);
            world.warm(&["--now", "--dry-run"]).exits(0).says("would write 1 key");
            assert!(world.keys().is_empty());
            world.warm(&["--now", "--missing"]).exits(0).says("wrote 1 key");
            assert!((500_000..=600_000).contains(&life(&world, "t:a")), "{ty} {more}");
            let _: () = world.ask(&["EXPIRE", "t:a", "100"]);
            world.warm(&["--now", "--missing"]).exits(0).says("already present");
            assert!(life(&world, "t:a") <= 100_000);
            let _: () = world.ask(&["PERSIST", "t:a"]);
            world.warm(&["--now", "--dry-run"]).exits(0).says("1 left alone: no TTL");
            world.warm(&["--now"]).exits(0).says("1 left alone: no TTL");
            assert_eq!(life(&world, "t:a"), -1);
            let _: () = world.ask(&["FLUSHALL"]);
        }
    }
}

#[test]
fn without_rows_nothing_is_written_and_what_is_there_lives_on() {
    let world = world();
    let job = |id: u32| {
        world.job("job", &format!("query = 'SELECT id FROM t WHERE g = :g AND id > {id} ORDER BY id'\nkey = 't:{{g}}'\nvalue = 'rows'\ntype = 'list'\nelement = 'column:id'\nfor_each.g = ['a', 'none']"));
    };
    job(1);
    world.warm(&["--now"]).exits(0).says("wrote 1 key");
    assert_eq!((world.keys(), list(&world, "t:a")), (vec!["t:a".to_owned()], vec!["2".to_owned(), "3".to_owned()]));
    job(9);
    world.warm(&["--now"]).exits(0).says("wrote 0 keys");
    world.warm(&["--now", "--missing"]).exits(0).says("wrote 0 keys");
    assert_eq!(list(&world, "t:a"), ["2", "3"]);
    world.warm(&["fill", "t:none"]).exits(1).says("no row makes this key; nothing was written");
}

#[test]
fn a_single_key_is_filled_and_shown() {
    let world = world();
    job(&world, "zset", "score = 'points'\nelement = 'column:id'");
    world.warm(&["show", "t:a"]).exits(1).says("absent").says("has it, so that it could be filled");
    world.warm(&["fill", "t:a"]).exits(0).says("t:a: written");
    world.warm(&["show", "t:a"]).exits(0).says("zset, dies in").says("makes the same value");
    let _: f64 = world.ask(&["ZINCRBY", "t:a", "1", "1"]);
    world
        .warm(&["show", "t:a"])
        .exits(1)
        .says("has other rows: in the score of 1, at byte 0: should be `2.5`, is `3.5`");
    let _: () = world.ask(&["SET", "t:a", "x", "EX", "100"]);
    world.warm(&["show", "t:a"]).exits(1).says("makes a sorted set");
}

#[test]
fn a_server_without_json_documents_is_found_out_before_anything_is_read() {
    let world = world();
    // Their scripts are loaded all the same, so that the server has read them.
    for (more, arguments) in [
        ("", &["--now"][..]),
        ("verify = 'none'", &["--now"]),
        ("verify = 'none'", &["--now", "--missing"]),
        ("", &["--now", "--dry-run"]),
        ("", &["diff"]),
    ] {
        let job = "query = 'SELECT id FROM missing_table'\nkey = 't:{id}'\nvalue = 'row'\ntype = 'json'\n";
        world.job("job", &format!("{job}{more}"));
        let ran = world.warm(arguments).exits(1).says("type = \"json\" needs the commands of RedisJSON");
        assert!(!ran.all().contains("missing_table"), "{}", ran.all());
    }
    job(&world, "json", "");
    world.warm(&["check"]).exits(1).says("which this server does not have").says("load the module into Redis");
}

#[test]
fn a_check_tells_which_rights_a_type_needs() {
    let world = World::new();
    world.sql(TABLE);
    for ty in ["hash", "list", "set", "zset"] {
        job(&world, ty, if ty == "zset" { "score = 'points'" } else { "" });
        let first = match ty {
            "hash" => "+hset",
            "list" => "+rpush",
            "set" => "+sadd",
            _ => "+zadd",
        };
        world.warm(&["check"]).exits(4).says(&format!("a right that type = \"{ty}\" needs, one of {first} "));
        world.warm(&["--now"]).exits(4);
        allow(&world, ty);
        world.warm(&["check"]).exits(0);
        world.warm(&["--now"]).exits(0);
        let _: () = world.ask(&["FLUSHALL"]);
        world.warm(&["check"]).exits(0);
        assert!(world.keys().is_empty(), "a check leaves nothing behind");
    }
}

#[test]
fn a_full_redis_keeps_the_old_value() {
    let world = world();
    for ty in ["hash", "list", "set", "zset"] {
        let (count, expected) = many(&world, ty, "verify = 'none'");
        world.warm(&["--now"]).exits(0);
        let change: &[&str] = match ty {
            "hash" => &["HSET", "t:a", "f3", "other"],
            "list" => &["LSET", "t:a", "3", "other"],
            "set" => &["SMOVE", "t:a", "other:b", "x3"],
            _ => &["ZADD", "t:a", "-1", "x3"],
        };
        let _: redis::Value = world.ask(change);
        let before: usize = world.ask(&[&count, "t:a"]);
        let _: () = world.ask(&["CONFIG", "SET", "maxmemory", "1000000"]);
        for more in ["verify = 'none'", ""] {
            many(&world, ty, more);
            world.warm(&["--now"]).exits(5).says("OOM");
            assert_eq!(world.ask::<usize>(&[&count, "t:a"]), before, "{ty} {more}");
        }
        let _: () = world.ask(&["CONFIG", "SET", "maxmemory", "0"]);
        world.warm(&["--now"]).exits(0);
        assert_eq!(world.ask::<usize>(&[&count, "t:a"]), expected);
        let _: () = world.ask(&["FLUSHALL"]);
    }
}

#[test]
fn a_redis_that_is_nearly_full_takes_values_of_about_the_same_size() {
    let world = world();
    for ty in ["hash", "list", "set", "zset"] {
        for more in ["", "verify = 'none'"] {
            many(&world, ty, more);
            world.config(CONFIG);
            world.warm(&["--now"]).exits(0);
            let old: Vec<u8> = world.ask(&["DUMP", "t:a"]);
            let _: () = world.ask(&["CONFIG", "SET", "maxmemory", "100mb"]);
            world.config(&format!("{CONFIG}[redis]\nmemory_limit = \"1%\"\n"));
            world.sql("UPDATE m SET v = 'y' || n");
            world.warm(&["--now"]).exits(0).says("wrote 1 key");
            assert_ne!(world.ask::<Vec<u8>>(&["DUMP", "t:a"]), old, "{ty} {more}");
            world.sql("UPDATE m SET v = v || 'zzzz'");
            let old: Vec<u8> = world.ask(&["DUMP", "t:a"]);
            world.warm(&["--now"]).exits(5).says("no room for 1 key");
            assert_eq!(world.ask::<Vec<u8>>(&["DUMP", "t:a"]), old, "{ty} {more}");
            let _: () = world.ask(&["DEL", "t:a"]);
            world.warm(&["--now"]).exits(5).says("no room for 1 key");
            assert!(world.keys().is_empty());
            let _: () = world.ask(&["CONFIG", "SET", "maxmemory", "0"]);
            world.sql("DROP TABLE m");
        }
    }
}
