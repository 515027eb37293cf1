//! `predict = true`: each run of `warm serve` also fills what is missed most.

use super::learn::is_heard;
use super::serve::Serving;
use crate::support::server::wait_for;
use crate::support::world::{World, ask};

/// The run writes the three last ones of nine, each second.
const JOB: &str = "schedule = '* * * * * *'\nquery = 'SELECT id, v FROM t ORDER BY id DESC LIMIT 3'\n\
    fill_query = 'SELECT id, v FROM t WHERE id = :id'\nkey = 't:{id}'\nvalue = 'row'\n";

fn world(more: &str) -> World {
    let world = World::new();
    let _: () = world.ask(&["CONFIG", "SET", "notify-keyspace-events", "Em"]);
    world.sql(
        "CREATE TABLE t (id int PRIMARY KEY, v text); GRANT SELECT ON t TO PUBLIC;
         INSERT INTO t SELECT i, 'v' || i FROM generate_series(1, 9) i",
    );
    world.job("job", &format!("{JOB}{more}"));
    world
}

fn listening(world: World) -> Serving {
    let serving = Serving::of(world);
    wait_for("it listens", || is_heard(&serving.world).then_some(()));
    serving
}

/// To read one that is not there would be a miss.
fn is_there(world: &World, key: &str) -> bool {
    world.keys().iter().any(|other| other == key)
}

/// Nothing is learned while the job runs.
fn missed_until_it_is_there(world: &World) {
    wait_for("it is filled", || world.value("t:3"));
}

#[test]
fn what_is_missed_most_is_filled_after_a_run_and_no_more_than_the_job_allows() {
    let serving = listening(world("predict = true\npredict_top = 2\nttl = '4s'\n"));
    let world = &serving.world;
    // Runs of the job may come in between: nothing is learned while they go on.
    wait_for("the two that are missed most", || {
        for (key, times) in [("t:1", 1), ("t:2", 3), ("t:3", 6), ("t:404", 9)] {
            let _: Vec<Option<String>> = world.ask(&[&["MGET"][..], &vec![key; times]].concat());
        }
        let there = |key| is_there(world, key);
        let tried = serving.log().contains("1 without a row");
        (tried && there("t:3") && there("t:2") && !there("t:1") && !there("t:404")).then_some(())
    });
    assert_eq!(world.value("t:3").as_deref(), Some(r#"{"id":3,"v":"v3"}"#));
    let runs = || serving.log().matches("job: also filled 2 keys that are missed most").count();
    let before = runs();
    wait_for("two more runs", || (runs() > before + 1).then_some(()));
    assert_eq!(serving.log().matches("without a row").count(), 1, "it is not tried again");
}

#[test]
fn keys_without_a_row_keep_no_real_one_out_however_often_and_many_they_are_missed() {
    let serving = listening(world("predict = true\npredict_top = 1\n"));
    // More of them than are looked at in a run.
    let without_a_row: Vec<_> = (100..112).flat_map(|id| std::iter::repeat_n(format!("t:{id}"), 9)).collect();
    let missed: Vec<_> = ["MGET"].into_iter().chain(without_a_row.iter().map(String::as_str)).chain(["t:3"]).collect();
    wait_for("a real one", || {
        let _: Vec<Option<String>> = serving.world.ask(&missed);
        is_there(&serving.world, "t:3").then_some(())
    });
}

#[test]
fn what_was_learned_outlives_the_process_and_keys_that_nobody_misses_are_not_forgotten() {
    let serving = listening(world("predict = true\npredict_top = 1\n"));
    missed_until_it_is_there(&serving.world);
    let (world, code, log) = serving.end();
    assert_eq!(code, Some(0), "{log}");
    let _: () = world.ask(&["FLUSHALL"]);
    let serving = Serving::of(world);
    wait_for("it is filled again", || is_there(&serving.world, "t:3").then_some(()));
    assert!(is_there(&serving.world, "t:9"), "after the job's own keys");
    let _: () = serving.world.ask(&["FLUSHALL"]);
    wait_for("and again, when Redis was emptied", || is_there(&serving.world, "t:3").then_some(()));
}

#[test]
fn a_job_that_is_told_to_predict_does_so_from_then_on_and_one_that_is_not_does_not() {
    let serving = Serving::of(world(""));
    wait_for("a run", || is_there(&serving.world, "t:9").then_some(()));
    assert!(!is_heard(&serving.world), "nobody listens for nothing");
    serving.world.job("job", &format!("{JOB}predict = true\n"));
    wait_for("it listens", || is_heard(&serving.world).then_some(()));
    missed_until_it_is_there(&serving.world);
    serving.world.job("job", JOB);
    wait_for("nobody listens any more", || (!is_heard(&serving.world)).then_some(()));
}

#[test]
fn what_the_runs_themselves_look_for_is_not_learned() {
    let serving = listening(world("predict = true\n"));
    // What goes away in the middle of a run is missed when it is to be confirmed.
    let runs = || serving.log().matches("job: done").count();
    let (before, mut connection) = (runs(), serving.world.redis.connect());
    wait_for("some runs", || {
        for _ in 0..100 {
            let _: u64 = ask(&mut connection, &["DEL", "t:7", "t:8", "t:9"]);
        }
        (runs() > before + 4).then_some(())
    });
    let (_, _, log) = serving.end();
    assert!(!log.contains("also filled"), "{log}");
}

#[test]
fn where_redis_tells_of_no_misses_the_job_runs_as_any_other_and_it_is_said() {
    let world = world("predict = true\n");
    let _: () = world.ask(&["CONFIG", "SET", "notify-keyspace-events", ""]);
    let serving = Serving::of(world);
    serving.wait_until_it_says("nothing is learned of what is missed (predict): Redis tells nobody of misses");
    wait_for("a run", || is_there(&serving.world, "t:9").then_some(()));
    assert_eq!(serving.end().1, Some(0));
}

#[test]
fn check_says_what_is_missing_for_it_and_list_that_it_is_on() {
    let world = world("predict = true\npredict_top = 7\n");
    world.warm(&["list"]).exits(0).says("t:{id} (and the 7 that are missed most)");
    assert_eq!(world.warm(&["list", "--json"]).json()["jobs"][0]["predict"], 7);
    let good = world.warm(&["check"]).exits(0);
    assert!(!good.out.contains("predict"), "{}", good.out);
    let _: () = world.ask(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lfu"]);
    world.warm(&["check"]).exits(0).says("nobody can tell which warmed keys are still read");
    let _: () = world.ask(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    let _: () = world.ask(&["ACL", "SETUSER", "warm", "-object|idletime"]);
    world.warm(&["check"]).exits(0).says("grant +object|idletime");
    let _: () = world.ask(&["CONFIG", "SET", "notify-keyspace-events", "KEA"]);
    world.warm(&["check"]).exits(0).says("nothing is learned for predict = true (job): Redis tells nobody of misses");
}
