//! Rows that cannot become entries, or become the same one twice.

use crate::freshness::quiet;
use crate::support::proxy::{Fault, Proxy};
use crate::support::world::World;

fn world(query: &str, rest: &str) -> World {
    let world = World::new();
    world.job("job", &format!("query = '''{query}'''\n{rest}\n"));
    world
}

const ROW: &str = "key = 't:{id}'\nvalue = 'row'";

#[test]
fn the_last_of_several_rows_of_one_key_wins_and_is_counted() {
    let query = "SELECT * FROM (VALUES (1, 'first'), (2, 'other'), (1, 'last')) v (id, name)";
    let world = world(query, ROW);
    world.warm(&["--now"]).exits(0).says("wrote 3 keys").says("1 duplicate key");
    assert_eq!(world.value("t:1").as_deref(), Some(r#"{"id":1,"name":"last"}"#));
}

#[test]
fn the_last_of_many_rows_of_one_key_wins_across_batches() {
    let world = world("SELECT n % 100 AS id, n FROM generate_series(0, 99999) n", ROW);
    world.warm(&["--now"]).exits(0).says("99900 duplicate keys");
    for id in 0..100 {
        assert_eq!(world.value(&format!("t:{id}")), Some(format!(r#"{{"id":{id},"n":{}}}"#, 99_900 + id)));
    }
}

#[test]
fn a_row_without_a_key_fails_the_job_or_is_counted() {
    let query = "SELECT * FROM (VALUES (1), (NULL), (3)) v (id)";
    let strict = world(query, ROW);
    let ran = strict.warm(&["--now"]).exits(1).says("row 2: column `id` of the key is NULL");
    assert!(ran.err.contains("on_bad_row"), "the way out is named: {}", ran.all());

    let lenient = world(query, &format!("{ROW}\non_bad_row = 'skip'"));
    lenient.warm(&["--now"]).exits(0).says("wrote 2 keys").says("1 row skipped").says("skipped row 2");
    assert_eq!(lenient.keys(), ["t:1", "t:3"]);
}

#[test]
fn a_row_that_no_application_could_have_cached_fails_the_job_or_is_counted() {
    let query = "SELECT 1 AS id, ARRAY['a', NULL] AS tags UNION ALL SELECT 2, ARRAY['b']";
    let strict = world(query, ROW);
    strict.warm(&["--now"]).exits(1).says("row 1: column \"tags\"");
    assert_eq!(strict.keys(), [""; 0]);
    let lenient = world(query, &format!("{ROW}\non_bad_row = 'skip'"));
    lenient.warm(&["--now"]).exits(0).says("1 row skipped");
    assert_eq!(lenient.keys(), ["t:2"]);
}

#[test]
fn many_skipped_rows_are_counted_and_not_all_described() {
    let world = world("SELECT NULL::int AS id FROM generate_series(1, 1000)", &format!("{ROW}\non_bad_row = 'skip'"));
    let ran = world.warm(&["--now"]).exits(0).says("1000 rows skipped").says("further skipped rows are only counted");
    assert!(ran.err.lines().count() < 10, "{}", ran.all());
}

#[test]
fn a_job_that_fails_half_way_says_how_far_it_came_and_leaves_the_rest() {
    // What was written before the failure is confirmed only if nobody has committed anything meanwhile.
    let (_postgres, world) = quiet();
    let query = "SELECT CASE WHEN n <= 5000 THEN n END AS id, repeat('x', 100) AS x FROM generate_series(1, 10000) n";
    world.job("job", &format!("query = \"{query}\"\n{ROW}\n"));
    world.job("other", "query = 'SELECT 1 AS x'\nkey = 't:other'\nvalue = 'rows'\npriority = -1");
    let _: () = world.ask(&["SET", "t:9000", "old", "PX", "100000"]);
    let report = world.warm(&["--now", "--json"]).exits(1).json();
    let written = report["jobs"][0]["keys"].as_u64().unwrap();
    assert_eq!(world.keys().len() as u64, written + 2, "as many keys as it says, the old one and the other job's");
    assert!((4900..=5000).contains(&written), "{written}");
    assert_eq!(world.value("t:9000").as_deref(), Some("old"));
    assert_eq!(world.value("t:other").as_deref(), Some(r#"[{"x":1}]"#), "the other jobs go on");
    world.warm(&["--now"]).says(&format!("job: failed after writing {written} keys"));
}

#[test]
fn rows_of_one_key_that_are_too_far_apart_fail_the_job_and_leave_no_half_array() {
    let apart = "SELECT n % 800 AS id, repeat('x', 200) AS x FROM generate_series(1, 1600) n";
    let mut world = world(apart, "key = 't:{id}'\nvalue = 'rows'");
    world.set("WARM_LIMITS__BUFFER", "64KiB");
    let _: () = world.ask(&["SET", "t:799", "old", "PX", "100000"]);
    let report = world.warm(&["--now", "--json"]).exits(1).json();
    let message = report["jobs"][0]["error"]["message"].as_str().unwrap();
    assert!(message.contains("`t:1` do not follow one another") && message.contains("ORDER BY"), "{message}");
    assert!(report["jobs"][0]["keys"].as_u64().unwrap() > 400, "arrays were written early: {report:#}");
    assert_eq!(world.keys(), ["t:799"], "and all taken back, since any may be half");
    assert_eq!(world.value("t:799").as_deref(), Some("old"));
    world.set("WARM_LIMITS__BUFFER", "16MiB");
    world.warm(&["--now"]).exits(0).says("wrote 800 keys");
    assert_eq!(world.value("t:1").map(|value| value.matches("\"id\":1,").count()), Some(2));
}

#[test]
fn more_arrays_than_can_be_remembered_fail_the_job() {
    let mut world = world("SELECT n AS id FROM generate_series(1, 5000) n", "key = 't:{id}'\nvalue = 'rows'");
    world.set("WARM_LIMITS__BUFFER", "64KiB");
    world.warm(&["--now"]).exits(1).says("raise `buffer` in [limits]");
}

#[test]
fn values_beyond_the_limit_are_refused_and_counted() {
    let sizes = "SELECT n AS id, repeat('x', n) AS x FROM (VALUES (1), (100), (1000)) v (n)";
    let world = world(sizes, &format!("{ROW}\nguard.max_value = '200'"));
    let _: () = world.ask(&["SET", "t:1000", "old", "PX", "100000"]);
    world.warm(&["--now"]).exits(0).says("wrote 2 keys").says("1 refused: larger than max_value");
    assert_eq!(world.value("t:1000").as_deref(), Some("old"));
    world.job("job", &format!("query = '''{sizes}'''\nkey = 't:all'\nvalue = 'rows'\nguard.max_value = '200'"));
    world.warm(&["--now"]).exits(0).says("wrote 0 keys").says("1 refused: larger than max_value");
    assert_eq!(world.value("t:all"), None);
}

/// Twenty large arrays, and perhaps a late row of one of them, with a pause before it.
fn with_a_late_row(late: &str) -> World {
    let query = format!("SELECT g, g AS seq, repeat('x', 10000) AS pad FROM generate_series(1, 20) g UNION ALL {late}");
    let mut world = world(&query, "key = 't:{g}'\nvalue = 'rows'");
    world.set("WARM_LIMITS__BUFFER", "64KiB");
    world
}

const LATE: &str = "SELECT 3, 100, 'late'";

#[test]
fn taking_back_leaves_other_types_and_goes_on() {
    let world = with_a_late_row(LATE);
    let _: i64 = world.ask(&["HSET", "t:5", "a", "1"]);
    world.warm(&["--now"]).exits(1).says("do not follow one another");
    assert_eq!(world.keys(), ["t:5"], "the hash, and no half array");
}

#[test]
fn taking_back_touches_only_what_this_run_wrote() {
    let world = with_a_late_row("SELECT 0, 0, '' WHERE false");
    world.warm(&["--now"]).exits(0).says("wrote 20 keys");
    let _: i64 = world.ask(&["PERSIST", "t:5"]);
    let late = std::fs::read_to_string(world.folder.path.join("jobs/job.toml")).unwrap();
    world.job("job", &late.replace("SELECT 0, 0, '' WHERE false", LATE));
    world.warm(&["--now", "--missing"]).exits(1).says("do not follow one another");
    assert_eq!(world.keys().len(), 20, "nothing was written, so nothing is taken back");
    world.warm(&["--now"]).exits(1);
    assert_eq!(world.ask::<i64>(&["PTTL", "t:5"]), -1, "a key without a TTL is not ours");
}

#[test]
fn arrays_that_may_be_half_do_not_outlive_a_run_that_ends_early() {
    let world = with_a_late_row("SELECT 3, 100, pg_sleep(60)::text");
    let job = std::fs::read_to_string(world.folder.path.join("jobs/job.toml")).unwrap();
    world.job("job", &format!("{job}timeout = '2s'\n"));
    let report = world.warm(&["--now", "--json"]).exits(1).json();
    assert_eq!(report["jobs"][0]["error"]["kind"], "JobTimeout");
    assert_eq!(world.value("t:3"), None);
}

#[test]
fn a_key_whose_only_row_was_skipped_is_unknown_and_not_empty() {
    let query = "SELECT * FROM (VALUES (1, ARRAY['a']), (2, ARRAY[NULL])) v (g, a)";
    let world = world(query, "key = 't:{g}'\nvalue = 'rows'\non_bad_row = 'skip'");
    let _: () = world.ask(&["SET", "t:2", "good", "PX", "100000"]);
    world.warm(&["--now"]).exits(0).says("wrote 1 key").says("1 row skipped");
    assert_eq!(world.value("t:2").as_deref(), Some("good"));
}

#[test]
fn the_last_row_of_a_key_wins_when_the_cache_turns_out_to_be_full_in_between() {
    let mut world = World::new();
    // The answers to one batch of 64 keys, all of which are there, come in one step.
    let faults = [Fault::Slow(64 * "$-1\r\n".len()); 8];
    let proxy = Proxy::before(world.redis.port, &faults);
    world.set("REDIS_URL", &world.redis.tcp_url(proxy.port));
    world.set("WARM_REDIS__LATENCY_LIMIT", "none");
    // The third batch repeats the keys of the second one, and is to come when only the first one has been answered.
    for milliseconds in (0..150).step_by(10) {
        let query = format!(
            "SELECT CASE WHEN n BETWEEN 129 AND 192 THEN n - 64 ELSE n END AS id, n, \
             CASE WHEN n = 185 THEN pg_sleep({milliseconds} / 1000.0)::text ELSE '' END || repeat('x', 300) AS x FROM generate_series(1, 256) n"
        );
        world.job("job", &format!("query = \"{query}\"\nkey = 't:{{id}}'\nvalue = 'column:n'\nverify = 'none'\n"));
        world.warm(&["--now"]).exits(0);
        let keys: Vec<String> = (65..=128).map(|id| format!("t:{id}")).collect();
        let values: Vec<Option<String>> = keys.iter().map(|key| world.value(key)).collect();
        let last: Vec<Option<String>> = (129..=192).map(|n| Some(n.to_string())).collect();
        assert_eq!(values, last);
    }
}
