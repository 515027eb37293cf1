//! `warm learn`: what is missed in Redis, and what would be worth warming.

use std::process::{Child, Command};

use serde_json::{Value, json};

use crate::support::server::wait_for;
use crate::support::world::{Ran, World};

const CHANNEL: &str = "__keyevent@0__:keymiss";

/// A job of rows, one of parameters, and a Redis that tells of misses.
fn world() -> World {
    let world = World::new();
    let _: () = world.ask(&["CONFIG", "SET", "notify-keyspace-events", "Em"]);
    world.sql(
        "CREATE TABLE t (id int PRIMARY KEY, g text, v text); GRANT SELECT ON t TO PUBLIC;
        INSERT INTO t SELECT i, 'g' || i % 3, 'v' || i FROM generate_series(1, 9) i",
    );
    world.job("rows", "query = 'SELECT id, v FROM t ORDER BY id'\nkey = 't:{id}'\nvalue = 'row'\n");
    let lists = "query = 'SELECT id FROM t WHERE g = :g ORDER BY id'\nkey = 't:list:{g}'\nvalue = 'rows'\nfor_each.g = ['g0']\n";
    world.job("lists", lists);
    world
}

/// Whether somebody listens, and has tried that out: until then a connection that breaks is an error.
pub(crate) fn is_heard(world: &World) -> bool {
    let tried_out = !world.ask::<String>(&["INFO", "stats"]).contains("keyspace_misses:0\r");
    tried_out && world.ask::<(String, u64)>(&["PUBSUB", "NUMSUB", CHANNEL]).1 == 1
}

/// The command, once it listens.
fn begin(world: &World, arguments: &[&str]) -> Child {
    let child = world.start(&[&["learn"], arguments].concat());
    wait_for("it listens", || is_heard(world).then_some(()));
    child
}

/// Ends it as Ctrl-C does.
fn end(child: Child) -> Ran {
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    Ran::of(child.wait_with_output().unwrap())
}

fn miss(world: &World, key: &str, times: usize) {
    for _ in 0..times {
        assert_eq!(world.value(key), None);
    }
}

#[test]
fn what_is_missed_most_is_proposed_and_the_rest_is_dropped() {
    let world = world();
    let learning = begin(&world, &["--for", "10m", "--top", "2"]);
    miss(&world, "t:7", 5);
    miss(&world, "t:8", 9);
    miss(&world, "t:9", 1);
    miss(&world, "t:list:g0", 3);
    miss(&world, "t:list:it's", 4);
    miss(&world, "other:1", 6);
    let learned = end(learning);
    let learned = learned.exits(130).says("rows: 15 misses, 3 keys counted in ").says("  warm fill t:8 t:7\n");
    let learned = learned.says("lists: 7 misses, 2 keys counted in ").says("  [for_each]\n  g = [\"g0\", \"it's\"]\n");
    let learned = learned.says("  t:8  9 misses, or ");
    let learned = learned.says("t:list:g0  ").says("the job warms it").says("its query decides whether it warms it");
    let learned = learned.says("22 misses of these jobs' keys in ").says(", and 6 of others");
    assert!(!learned.out.contains("t:9"), "{}", learned.out);
    assert_eq!(world.keys(), Vec::<String>::new(), "it writes nothing");
}

#[test]
fn what_is_proposed_keeps_what_the_job_warms_and_leaves_queries_alone() {
    let world = world();
    let job = |name: &str, key: &str, more: &str| {
        let query = "query = 'SELECT id FROM t WHERE g = :g AND v <> :v ORDER BY id'";
        world.job(name, &format!("{query}\nkey = '{key}'\nvalue = 'rows'\n[for_each]\n{more}\n"));
    };
    job("both", "t:both:{g}:{v}", "v = ['Lagos', 'Abuja']\ng = { query = 'SELECT DISTINCT g FROM t' }");
    job("asked", "t:asked:{g}", "v = ['x']\ng = { query = 'SELECT DISTINCT g FROM t' }");
    let learning = begin(&world, &["--for", "10m", "both", "asked"]);
    miss(&world, "t:both:g7:Jos", 1);
    miss(&world, "t:asked:g8", 1);
    let query = |name: &str, value: &str| {
        format!("  # {name} comes from a query of [for_each], which would have to give [\"{value}\"]\n")
    };
    end(learning)
        .says(&format!("  [for_each]\n  v = [\"Lagos\", \"Abuja\", \"Jos\"]\n{}", query("g", "g7")))
        .says(&format!("{}  warm fill t:asked:g8\n", query("g", "g8")));
}

#[test]
fn programs_get_the_same_as_json_and_of_the_jobs_that_are_named() {
    let mut world = world();
    world.set("WARM_REDIS__KEY_PREFIX", "shop:");
    let learning = begin(&world, &["--json", "--for", "10m", "lists"]);
    miss(&world, "shop:t:list:g1", 2);
    miss(&world, "shop:t:1", 2);
    miss(&world, "t:list:g1", 2);
    let learned = end(learning);
    let value: Value = serde_json::from_str(&learned.out).unwrap();
    assert_eq!((&value["exit_code"], &value["gaps"], &value["other_misses"]), (&json!(130), &json!(0), &json!(2)));
    assert_eq!(value["jobs"].as_array().unwrap().len(), 1);
    let job = &value["jobs"][0];
    assert_eq!(
        (&job["job"], &job["misses"], &job["for_each"]),
        (&json!("lists"), &json!(2), &json!({ "g": ["g0", "g1"] }))
    );
    let key = &job["keys"][0];
    assert_eq!((&key["key"], &key["warmed"]), (&json!("shop:t:list:g1"), &json!(false)));
    assert!(key["misses_per_hour"].as_f64().unwrap() > 12.0 && key["error_per_hour"] == json!(0.0), "{key}");
}

#[test]
fn what_warm_itself_looks_for_is_no_demand() {
    let world = world();
    let learning = begin(&world, &["--for", "10m"]);
    world.warm(&["--now"]).exits(0);
    world.warm(&["--now"]).exits(0);
    let _: () = world.ask(&["FLUSHALL"]);
    world.warm(&["--now"]).exits(0);
    world.warm(&["fill", "t:1", "t:list:g2"]).exits(0);
    end(learning).says("0 misses of these jobs' keys");
}

#[test]
fn a_redis_that_tells_of_no_misses_is_not_watched_in_vain() {
    let world = world();
    for letters in ["", "KEA", "Km"] {
        let _: () = world.ask(&["CONFIG", "SET", "notify-keyspace-events", letters]);
        let refused = world.warm(&["learn", "--for", "1s"]);
        refused.exits(4).says("Redis tells nobody of misses").says("add the letters `Em` to `notify-keyspace-events`");
        let left: Vec<String> = world.ask(&["CONFIG", "GET", "notify-keyspace-events"]);
        assert!(!left[1].contains("Em"), "it is left as it was: {left:?}");
    }
    let _: () = world.ask(&["CONFIG", "SET", "notify-keyspace-events", "Em"]);
    world
        .warm(&["learn", "--for", "1s"])
        .exits(0)
        .says("rows: nothing was missed")
        .says("0 misses of these jobs' keys in 1s");
}

#[test]
fn an_account_that_may_not_hear_of_misses_is_told_which_right_it_lacks() {
    let world = world();
    for lacks in ["resetchannels", "-subscribe"] {
        let _: () = world.ask(&["ACL", "SETUSER", "warm", lacks]);
        let way_out = "grant +subscribe and &__keyevent@*__:keymiss";
        world.warm(&["learn", "--for", "1s"]).exits(4).says("the Redis account may not hear of misses").says(way_out);
        let _: () = world.ask(&["ACL", "SETUSER", "warm", "+subscribe", "&__keyevent@*__:keymiss"]);
    }
    let _: () = world.ask(&["ACL", "LOG", "RESET"]);
    world.warm(&["learn", "--for", "3s"]).exits(0);
    let log: Vec<redis::Value> = world.ask(&["ACL", "LOG"]);
    assert!(log.is_empty(), "it tries nothing that it has no right for: {log:?}");
}

#[test]
fn a_connection_that_breaks_is_made_again_and_told_of() {
    let world = world();
    let learning = begin(&world, &["--for", "10m"]);
    miss(&world, "t:7", 2);
    wait_for("it is killed", || (world.ask::<u64>(&["CLIENT", "KILL", "TYPE", "pubsub"]) == 1).then_some(()));
    wait_for("it listens again", || is_heard(&world).then_some(()));
    miss(&world, "t:7", 3);
    let learned = end(learning);
    learned
        .exits(130)
        .says("rows: 5 misses")
        .says("the connection to Redis broke 1 time: what was missed meanwhile was not heard");
}

#[test]
fn another_database_has_misses_of_its_own() {
    let mut world = world();
    world.set("WARM_REDIS__DATABASE", "3");
    let child = world.start(&["learn", "--for", "10m"]);
    let channel = "__keyevent@3__:keymiss";
    wait_for("it listens", || (world.ask::<(String, u64)>(&["PUBSUB", "NUMSUB", channel]).1 == 1).then_some(()));
    miss(&world, "t:7", 2);
    end(child).exits(130).says("rows: nothing was missed");
}
