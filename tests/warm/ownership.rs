//! Keys that are not ours stay as they are.

use crate::support::world::World;

fn world(values: &str) -> World {
    let world = World::new();
    world.job("job", &format!("query = '''SELECT * FROM (VALUES {values}) v (id)'''\nkey = 't:{{id}}'\nvalue = 'row'"));
    world
}

#[test]
fn another_type_and_a_life_without_end_are_left_alone_and_counted() {
    let world = world("('list'), ('hash'), ('set'), ('zset'), ('stream'), ('forever'), ('mortal')");
    let _: i64 = world.ask(&["RPUSH", "t:list", "a"]);
    let _: i64 = world.ask(&["HSET", "t:hash", "a", "b"]);
    let _: i64 = world.ask(&["SADD", "t:set", "a"]);
    let _: i64 = world.ask(&["ZADD", "t:zset", "1", "a"]);
    let _: String = world.ask(&["XADD", "t:stream", "*", "a", "b"]);
    let _: () = world.ask(&["SET", "t:forever", "theirs"]);
    let _: () = world.ask(&["SET", "t:mortal", "old", "PX", "60000"]);
    let before: Vec<u64> = dump(&world, &["t:list", "t:hash", "t:set", "t:zset", "t:stream", "t:forever"]);
    world.warm(&["--now"]).exits(0).says("wrote 1 key").says("5 left alone: another type").says("1 left alone: no TTL");
    assert_eq!(dump(&world, &["t:list", "t:hash", "t:set", "t:zset", "t:stream", "t:forever"]), before);
    assert_eq!(world.value("t:mortal").as_deref(), Some(r#"{"id":"mortal"}"#));
    assert_eq!(world.ask::<i64>(&["PTTL", "t:forever"]), -1);
}

/// What Redis holds at the keys, as it would be written to a file.
fn dump(world: &World, keys: &[&str]) -> Vec<u64> {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let hash = |key: &&str| {
        let bytes: Vec<u8> = world.ask(&["DUMP", key]);
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        hasher.finish()
    };
    keys.iter().map(hash).collect()
}

#[test]
fn a_thousand_foreign_keys_are_untouched() {
    let world = world("('a'), ('b')");
    let mut connection = world.redis.connect();
    let mut fill = redis::pipe();
    for n in 0..1000 {
        fill.cmd("SET").arg(format!("foreign:{n}")).arg(n);
    }
    fill.exec(&mut connection).unwrap();
    let digest = || {
        let all: Vec<String> = (0..1000).map(|n| world.value(&format!("foreign:{n}")).unwrap()).collect();
        all.join(",")
    };
    let before = digest();
    world.warm(&["--now"]).exits(0);
    assert_eq!(digest(), before);
    assert_eq!(world.ask::<u64>(&["DBSIZE"]), 1002);
}

#[test]
fn a_value_cannot_leave_the_jobs_prefix() {
    let world = world("('../other'), ('*'), ('{x}'), (E'a\\nb'), ('a b'), (E'\\x01'), ('Òwàmbẹ̀')");
    world.warm(&["--now"]).exits(0).says("wrote 7 keys");
    assert!(world.keys().iter().all(|key| key.starts_with("t:")), "{:?}", world.keys());
    assert!(world.value("t:a\nb").is_some());
}

#[test]
fn a_key_that_says_nothing_or_is_too_long_is_a_bad_row() {
    world("('')").warm(&["--now"]).exits(1).says("a value of the key is empty");
    let long = world("(repeat('k', 2000))");
    long.warm(&["--now"]).exits(1).says("the key is 2002 bytes long").says("key_length = 1024 in [limits]");
    assert_eq!(long.keys(), [""; 0]);
}

#[test]
fn a_key_that_could_be_read_in_two_ways_is_a_bad_row() {
    let world = World::new();
    world.job("job", "query = '''SELECT * FROM (VALUES ('1:b:2', '3'), ('1', '2')) v (x, y)'''\nkey = 't:{x}:b:{y}'\nvalue = 'row'\non_bad_row = 'skip'");
    world.warm(&["--now"]).exits(0).says("could be read in two ways").says("wrote 1 key");
    assert_eq!(world.keys(), ["t:1:b:2"]);
}

#[test]
fn a_row_that_renders_another_jobs_key_is_refused() {
    let world = world("('1'), ('list:a'), ('list:')");
    world.job(
        "lists",
        "query = 'SELECT :x::text AS x'\nkey = 't:list:{x}'\nvalue = 'rows'\npriority = 5\nfor_each.x = ['a']",
    );
    world.warm(&["--now"]).exits(1).says("row 2: its key `t:list:a` belongs to the job `lists`");
    assert_eq!(world.value("t:list:a").as_deref(), Some(r#"[{"x":"a"}]"#), "the owner's value");
    world.warm(&["--now", "job"]).exits(1).says("belongs to the job `lists`");
}

#[test]
fn rights_that_redis_does_not_grant_are_an_error_of_that_job_alone() {
    let world = world("('1')");
    world.job("other", "query = 'SELECT 1 AS x'\nkey = 'o:x'\nvalue = 'rows'\nttl = '1m'");
    let _: () = world.ask(&["ACL", "SETUSER", "warm", "resetkeys", "~t:*"]);
    world.warm(&["--now"]).exits(4).says("NOPERM").says("job: wrote 1 key").says("config/redis-acl.conf");
    assert_eq!(world.keys(), ["t:1"]);
}

#[test]
fn check_misses_no_right_that_a_run_needs_and_asks_for_no_other() {
    let world = World::platform();
    world.warm(&["check"]).exits(0);
    let _: () = world.ask(&["SET", "leaderboard:referral:top100", "theirs"]);
    for command in ["set", "get", "type", "pttl", "unlink", "eval", "evalsha", "script|load"] {
        let _: () = world.ask(&["ACL", "SETUSER", "warm", &format!("-{command}")]);
        let ran = world.warm(&["check"]).exits(4).says("the Redis account lacks a right").says("config/redis-acl.conf");
        assert!(ran.err.contains(&format!("'{command}'")), "{command}: {}", ran.all());
        let _: () = world.ask(&["ACL", "SETUSER", "warm", &format!("+{command}")]);
    }
    let on_demand = ["~analytics:*", "~groupbuy:*", "~payment:*", "~ticket:*"];
    let _: () = world.ask(&[&["ACL", "SETUSER", "warm", "resetkeys", "~event:*"], &on_demand[..]].concat());
    world
        .warm(&["check"])
        .exits(4)
        .says("leaderboard:referral:top100*: this user has no permissions to access one of the keys");
    let _: () = world.ask(&["ACL", "SETUSER", "warm", "~leaderboard:referral:top100"]);
    world.warm(&["check"]).exits(0);
    assert_eq!(world.value("leaderboard:referral:top100").as_deref(), Some("theirs"), "nothing is written");
    assert_eq!(world.keys().len(), 1);
}

#[test]
fn check_says_what_the_account_lacks_to_invalidate() {
    let world = World::platform();
    let _: () = world.ask(&["CONFIG", "SET", "maxmemory", "1gb", "maxmemory-policy", "allkeys-lru"]);
    let _: () = world.ask(&["SET", "user:1", "theirs"]);
    let _: () = world.ask(&["ACL", "SETUSER", "warm", "-scan"]);
    let ran =
        world.warm(&["check"]).exits(0).says("may not look for keys such as `event:list:*`").says("'scan' command");
    ran.says("grant +scan").says("0 errors, 1 warning");
    world.warm(&["check", "event-lists"]).exits(0).says("0 errors, 0 warnings");
    let rights = ["resetkeys", "~event:*", "~leaderboard:referral:top100", "~warm:*", "%R~user:*", "+scan"];
    let on_demand = ["~analytics:*", "~groupbuy:*", "~payment:*", "~ticket:*"];
    let _: () = world.ask(&[&["ACL", "SETUSER", "warm"], &rights[..], &on_demand[..]].concat());
    let ran = world.warm(&["check"]).exits(0).says("0 errors, 1 warning").says("%W~ticket:*");
    ran.says("may not delete `user:{id}`, `leaderboard:referral*`, which [invalidate]");
    assert_eq!(world.keys(), ["user:1"], "nothing is written, and nothing deleted");
}

#[test]
fn a_dry_run_shows_control_characters_of_keys_as_escapes() {
    let world = world("(E'a\\x1b[2J\\nb')");
    let ran = world.warm(&["--now", "--dry-run"]).exits(0);
    assert!(ran.out.contains("t:a\\u{1b}[2J\\nb  "), "{}", ran.all());
}
