//! `paginate`: the rows of one group are cut into pages, each at a key with its number in it.

use std::collections::BTreeMap;

use crate::freshness::{end, on_busy};
use crate::serve::Serving;
use crate::support::gate::Gate;
use crate::support::server::wait_for;
use crate::support::world::World;

/// Groups `a`, `b` and `c` with five, four and one rows, whose ids alternate.
const TABLE: &str = "CREATE TABLE t (g text, id int, v text DEFAULT 'v'); GRANT SELECT ON t TO PUBLIC;
    INSERT INTO t VALUES ('a', 1), ('b', 2), ('a', 3), ('b', 4), ('c', 5), ('a', 6), ('b', 7), ('a', 8), ('b', 9), ('a', 10)";

fn world() -> World {
    let world = World::new();
    world.sql(TABLE);
    world
}

fn job(query: &str, more: &str) -> String {
    format!("query = '''{query}'''\nkey = 't:{{g}}:{{page}}'\nvalue = 'rows'\npaginate = 2\n{more}\n")
}

/// All keys with the ids in their values.
fn pages(world: &World) -> BTreeMap<String, Vec<i64>> {
    let ids = |key: &String| {
        let rows: serde_json::Value = serde_json::from_str(&world.value(key).unwrap()).unwrap();
        rows.as_array().unwrap().iter().map(|row| row["id"].as_i64().unwrap()).collect()
    };
    world.keys().into_iter().map(|key| (key.clone(), ids(&key))).collect()
}

/// Compares what is there with keys and ids.
#[track_caller]
fn are(world: &World, expected: &[(&str, &[i64])]) {
    let expected: BTreeMap<_, _> = expected.iter().map(|(key, ids)| ((*key).to_owned(), ids.to_vec())).collect();
    assert_eq!(pages(world), expected);
}

const ALL: [(&str, &[i64]); 6] =
    [("t:a:1", &[1, 3]), ("t:a:2", &[6, 8]), ("t:a:3", &[10]), ("t:b:1", &[2, 4]), ("t:b:2", &[7, 9]), ("t:c:1", &[5])];

#[test]
fn the_rows_of_each_group_are_cut_in_the_querys_order_and_no_empty_page_follows() {
    let world = world();
    for order in ["g, id", "id"] {
        world.job("job", &job(&format!("SELECT g, id FROM t ORDER BY {order}"), ""));
        world.warm(&["--now"]).exits(0).says("wrote 6 keys");
        are(&world, &ALL);
        assert_eq!(world.value("t:a:1").as_deref(), Some(r#"[{"g":"a","id":1},{"g":"a","id":3}]"#));
        assert!(world.ask::<i64>(&["PTTL", "t:b:2"]) > 500_000);
        let _: () = world.ask(&["FLUSHALL"]);
    }
    world.job("job", &job("SELECT g, id FROM t ORDER BY id DESC", "hide = ['g']\nformat = 'postgres'"));
    world.warm(&["--now"]).exits(0).says("wrote 6 keys");
    assert_eq!(world.value("t:a:1").as_deref(), Some(r#"[{"id":10},{"id":8}]"#));
    assert_eq!(world.value("t:a:3").as_deref(), Some(r#"[{"id":1}]"#));
}

#[test]
fn keys_that_are_known_without_a_row_have_an_empty_first_page_and_no_other() {
    let world = world();
    world.job("job", &job("SELECT id FROM t WHERE g = :g ORDER BY id", "for_each.g = ['b', 'x']"));
    world.warm(&["--now"]).exits(0).says("wrote 3 keys");
    are(&world, &[("t:b:1", &[2, 4]), ("t:b:2", &[7, 9]), ("t:x:1", &[])]);
    assert_eq!(world.value("t:x:1").as_deref(), Some("[]"));
    let _: () = world.ask(&["FLUSHALL"]);
    // A list that is bound as a whole.
    world.job("job", &job("SELECT g, id FROM t WHERE g = ANY(:g) ORDER BY id", "for_each.g = ['b', 'x']"));
    world.warm(&["--now"]).exits(0).says("wrote 3 keys");
    are(&world, &[("t:b:1", &[2, 4]), ("t:b:2", &[7, 9]), ("t:x:1", &[])]);
    // Of values that are not in the key, each would write the same pages.
    world
        .job("job", &job("SELECT id FROM t WHERE g = :g ORDER BY id", "for_each.g = ['b', 'c']").replace("{g}", "all"));
    world.warm(&["--now"]).exits(1).says("so that each would overwrite the others");
    // The same though a column tells some of them apart.
    world.job(
        "job",
        &job("SELECT v, id FROM t WHERE g = :g ORDER BY id", "for_each.g = ['b', 'c']").replace("{g}", "{v}"),
    );
    world.warm(&["--now"]).exits(1).says("so that each would overwrite the others");
}

#[test]
fn a_page_that_is_too_large_is_refused_alone_and_a_row_that_is_skipped_keeps_its_place() {
    let world = world();
    world.sql("UPDATE t SET v = repeat('x', 500) WHERE id = 6");
    world.job("job", &job("SELECT g, id, v FROM t WHERE g = 'a' ORDER BY id", "guard.max_value = '300'"));
    let _: () = world.ask(&["SET", "t:a:2", "old", "PX", "100000"]);
    world.warm(&["--now"]).exits(0).says("wrote 2 keys").says("1 refused: larger than max_value");
    assert_eq!(world.value("t:a:2").as_deref(), Some("old"));
    let _: i64 = world.ask(&["DEL", "t:a:2"]);
    are(&world, &[("t:a:1", &[1, 3]), ("t:a:3", &[10])]);
    // An application that asks for rows 3 and 4 never sees what stands before them.
    let null = |ids: &str| {
        format!("SELECT g, id, CASE WHEN id IN ({ids}) THEN ARRAY[NULL] END AS v FROM t WHERE g = 'a' ORDER BY id")
    };
    let _: () = world.ask(&["FLUSHALL"]);
    world.job("job", &job(&null("3"), "on_bad_row = 'skip'"));
    world.warm(&["--now"]).exits(0).says("wrote 3 keys").says("1 row skipped");
    are(&world, &[("t:a:1", &[1]), ("t:a:2", &[6, 8]), ("t:a:3", &[10])]);
    let _: () = world.ask(&["FLUSHALL"]);
    world.job("job", &job(&null("6, 8"), "on_bad_row = 'skip'"));
    world.warm(&["--now"]).exits(0).says("wrote 2 keys").says("2 rows skipped");
    are(&world, &[("t:a:1", &[1, 3]), ("t:a:3", &[10])]);
}

#[test]
fn a_page_whose_key_cannot_be_is_left_out_or_fails_the_job() {
    let world = world();
    let numbers = "SELECT 'g' AS g, n AS id FROM generate_series(1, 11) n ORDER BY id";
    let one = |key: &str, more: &str| job(numbers, more).replace("t:{g}:{page}", key).replace("= 2\n", "= 1\n");
    world.job("other", "query = 'SELECT 1 AS id WHERE false'\nkey = 't:g:2'\nvalue = 'row'");
    world.job("job", &one("t:{g}:{page}", ""));
    world.warm(&["--now", "job"]).exits(1).says("row 2: its key `t:g:2` belongs to the job `other`");
    let _: () = world.ask(&["FLUSHALL"]);
    world.job("job", &one("t:{g}:{page}", "on_bad_row = 'skip'"));
    world.warm(&["--now", "job"]).exits(0).says("wrote 10 keys").says("1 row skipped");
    assert_eq!((world.value("t:g:2"), pages(&world)["t:g:3"].clone()), (None, vec![3]));
    let _: () = world.ask(&["FLUSHALL"]);
    // `t:100g` could be page 1 of `0g`, too.
    world.job("job", &one("t:{page}0{g}", "on_bad_row = 'skip'"));
    world.warm(&["--now", "job"]).exits(0).says("wrote 10 keys").says("could be read in two ways");
    assert!(world.value("t:100g").is_none() && world.value("t:110g").is_some(), "{:?}", world.keys());
}

#[test]
fn pages_that_are_no_longer_made_are_swept() {
    let world = world();
    let query = "SELECT g, id FROM t ORDER BY g, id";
    world.job("job", &job(query, "sweep = true"));
    world.warm(&["--now"]).exits(0).says("wrote 6 keys");
    world.sql("DELETE FROM t WHERE id IN (1, 9) OR g = 'c'");
    world.warm(&["--now", "--dry-run"]).exits(0).says("would remove 2 keys");
    world.warm(&["--now"]).exits(0).says("2 removed: their rows are gone");
    are(&world, &[("t:a:1", &[3, 6]), ("t:a:2", &[8, 10]), ("t:b:1", &[2, 4]), ("t:b:2", &[7])]);
    // Larger pages are fewer.
    world.job("job", &job(query, "sweep = true").replace("= 2\n", "= 4\n"));
    world.warm(&["--now"]).exits(0).says("2 removed: their rows are gone");
    are(&world, &[("t:a:1", &[3, 6, 8, 10]), ("t:b:1", &[2, 4, 7])]);
    // An empty first page is no absent one.
    world.job("job", &job("SELECT id FROM t WHERE g = :g ORDER BY id", "sweep = true\nfor_each.g = ['a', 'b']"));
    world.warm(&["--now"]).exits(0).says("wrote 4 keys");
    world.sql("DELETE FROM t WHERE g = 'a'");
    world.warm(&["--now"]).exits(0).says("1 removed: their rows are gone");
    are(&world, &[("t:a:1", &[]), ("t:b:1", &[2, 4]), ("t:b:2", &[7])]);
    // Nobody removes them without.
    world.job("job", &job(query, ""));
    world.sql("DELETE FROM t WHERE id = 7");
    world.warm(&["--now"]).exits(0);
    are(&world, &[("t:a:1", &[]), ("t:b:1", &[2, 4]), ("t:b:2", &[7])]);
}

#[test]
fn a_first_page_that_is_there_says_nothing_of_the_others() {
    let world = world();
    world.job("job", &job("SELECT id FROM t WHERE g = :g ORDER BY id", "for_each.g = ['a', 'b']"));
    world.warm(&["--now"]).exits(0).says("wrote 5 keys");
    let _: i64 = world.ask(&["DEL", "t:a:2"]);
    let report = world.warm(&["--now", "--missing", "--json"]).exits(0).json();
    let job = &report["jobs"][0];
    assert_eq!((&job["keys"], &job["queries"], &job["left"]["present"]), (&1.into(), &2.into(), &4.into()), "{job:#}");
    are(&world, &[ALL[0], ALL[1], ALL[2], ALL[3], ALL[4]]);
}

#[test]
fn a_row_that_goes_while_it_is_read_moves_the_others_and_each_page_is_set_right() {
    let world = world();
    world.job("job", &job("SELECT g, id FROM t WHERE g <> 'a' OR id < 10 OR wait(1) ORDER BY g, id", ""));
    let gate = Gate::shut(&world.database, 1);
    let child = world.start(&["--now"]);
    gate.wait_for_query();
    world.sql("DELETE FROM t WHERE id = 1");
    gate.open();
    // Two pages have other rows now, and the third one has none: it dies soon.
    end(child).exits(0).says("2 changed meanwhile and set right").says("1 not verified, and left to die");
    assert!(world.ask::<i64>(&["PTTL", "t:a:3"]) <= 10_000);
    assert!(world.ask::<i64>(&["PTTL", "t:a:2"]) > 500_000);
    let _: i64 = world.ask(&["DEL", "t:a:3"]);
    are(&world, &[("t:a:1", &[3, 6]), ("t:a:2", &[8, 10]), ALL[3], ALL[4], ALL[5]]);
}

#[test]
fn on_a_busy_database_all_pages_are_read_again_and_live() {
    let world = World::new();
    world.sql("CREATE TABLE t AS SELECT 'g' || n % 7 AS g, n AS id, repeat(md5(n::text), 5) AS v FROM generate_series(1, 5000) n; GRANT SELECT ON t TO PUBLIC");
    for order in ["g, id", "id"] {
        world.job("job", &job(&format!("SELECT g, id, v FROM t ORDER BY {order}"), "").replace("= 2\n", "= 20\n"));
        let report = on_busy(&world, || world.warm(&["--now", "--json"])).exits(0).json();
        let job = &report["jobs"][0];
        assert_eq!(
            (&job["keys"], &job["unconfirmed"], &job["duplicates"]),
            (&252.into(), &0.into(), &0.into()),
            "{job:#}"
        );
        let lives = |key: &String| world.ask::<i64>(&["PTTL", key]) > 500_000;
        assert!(world.keys().iter().all(lives));
        let _: () = world.ask(&["FLUSHALL"]);
    }
}

#[test]
fn a_group_needs_the_memory_of_one_page_and_groups_too_far_apart_leave_no_half_page() {
    let mut world = World::new();
    world.set("WARM_LIMITS__BUFFER", "64KiB");
    let rows = "repeat('x', 200) AS x FROM generate_series";
    world.job("job", &job(&format!("SELECT n % 4 AS g, n AS id, {rows}(1, 20000) n ORDER BY n"), ""));
    world.warm(&["--now"]).exits(0).says("wrote 10000 keys");
    assert_eq!(pages(&world)["t:3:2500"], [19995, 19999]);
    let _: () = world.ask(&["FLUSHALL"]);
    // Three rows of each of so many groups that they do not fit side by side, and a fourth one of some.
    let apart = format!("SELECT n % 800 AS g, n AS id, {rows}(1, 1600) n");
    world.job("job", &job(&format!("{apart} ORDER BY n"), "").replace("= 2\n", "= 3\n"));
    world.warm(&["--now"]).exits(1).says("do not follow one another");
    assert_eq!(world.keys(), [""; 0], "what was written is taken back, since any may be half");
    // The first pages are whole when the rows of the others are found to be too far apart.
    let far = format!("SELECT (n / 2) % 800 AS g, n AS id, {rows}(0, 1999) n");
    world.job("job", &job(&format!("{far} ORDER BY n"), ""));
    world.warm(&["--now"]).exits(1).says("do not follow one another");
    assert!(world.keys().len() > 300, "{}", world.keys().len());
    for (key, ids) in pages(&world) {
        assert!(key.ends_with(":1") && ids.len() == 2 && ids[0] + 1 == ids[1], "{key}: {ids:?}");
    }
}

#[test]
fn guards_count_rows_and_not_pages() {
    let world = world();
    let query = "SELECT g, id FROM t ORDER BY g, id";
    world.job("job", &job(query, "guard.min_rows = 10\nguard.max_rows = 10"));
    world.warm(&["--now"]).exits(0).says("wrote 6 keys");
    world.sql("DELETE FROM t WHERE id = 10");
    world.warm(&["--now"]).exits(5).says("min_rows");
    are(&world, &ALL);
    world.warm(&["--now", "--accept", "job"]).exits(0).says("wrote 5 keys");
}

#[test]
fn pages_are_refreshed_before_they_die() {
    let world = world();
    let more = "schedule = '@yearly'\nrefresh_ahead = true\nttl = '4s'\nverify = 'none'\nfor_each.g = ['a']";
    world.job("job", &job("SELECT id, clock_timestamp()::text AS t FROM t WHERE g = :g ORDER BY id", more));
    let serving = Serving::of(world);
    let third = || serving.world.value("t:a:3");
    let first = wait_for("the third page", third);
    wait_for("another one", || {
        let now = third();
        assert!(now.is_some(), "it died");
        (now.as_ref() != Some(&first)).then_some(())
    });
}

#[test]
fn a_check_and_a_list_know_of_pages() {
    let world = world();
    world.sql("ANALYZE t");
    world.job("job", &job("SELECT g, id FROM t WHERE g = ANY(:g) ORDER BY g, id", "for_each.g = ['a', 'b', 'c']"));
    world.warm(&["check"]).says("job: writes about 6 keys");
    world.warm(&["list"]).exits(0).says("job: key t:{g}:{page} (pages of 2 rows), ttl 10m");
    assert_eq!(world.warm(&["list", "--json"]).exits(0).json()["jobs"][0]["paginate"], 2);
    // The same columns, one of them with the name of the page's number.
    world.job("job", &job("SELECT g, id AS page FROM t ORDER BY g, id", ""));
    world.warm(&["check"]).exits(1).says("the query gives a column `page`, but with `paginate`");
    world.warm(&["--now"]).exits(1).says("give the column another name (AS)");
    world.job("job", &job("SELECT g, id FROM t ORDER BY g, id", "").replace("paginate = 2\n", ""));
    world.warm(&["--now"]).exits(1).says("needs a column `page`").says("how many rows make a page: `paginate = 20`");
    // Without `paginate` such a column is one like any other.
    world.job("job", &job("SELECT g, id AS page FROM t WHERE g = 'c'", "").replace("paginate = 2\n", ""));
    world.warm(&["--now"]).exits(0);
    assert_eq!(world.keys(), ["t:c:5"]);
    assert_eq!(world.warm(&["list", "--json"]).exits(0).json()["jobs"][0]["paginate"], serde_json::Value::Null);
}

/// The first TOML block of a section of `docs/jobs.md`.
pub(crate) fn example(section: &str) -> &'static str {
    let (_, rest) = include_str!("../../docs/jobs.md").split_once(&format!("## {section}\n")).unwrap();
    rest.split_once("```toml\n").and_then(|(_, rest)| rest.split_once("```")).unwrap().0
}

#[test]
fn the_feed_of_the_documentation_runs_against_the_platform() {
    let world = World::platform();
    world.job("event-feed", example("Big results: pages"));
    world.warm(&["check", "event-feed"]).exits(0);
    world.warm(&["--now", "event-feed"]).exits(0);
    let upcoming =
        r#""Event" WHERE "status" = 'published' AND "startDate" >= now() AT TIME ZONE 'UTC' AND NOT "isHidden""#;
    let expected = world.sql(&format!(
        r#"WITH pages AS (SELECT s.state, t."eventType", 1 + (row_number() OVER w - 1) / 20 AS page, e.id, row_number() OVER w AS place
             FROM unnest(ARRAY['Lagos', 'Abuja', 'Kano']) s (state) CROSS JOIN (SELECT DISTINCT "eventType" FROM "Event") t
             LEFT JOIN (SELECT * FROM {upcoming}) e ON (e.state, e."eventType") = (s.state, t."eventType")
             WINDOW w AS (PARTITION BY s.state, t."eventType" ORDER BY e."startDate", e.id))
           SELECT json_object_agg(key, ids) FROM (SELECT format('event:list:state:%s:type:%s:page:%s', state, "eventType", page) AS key,
             coalesce(json_agg(id ORDER BY place) FILTER (WHERE id IS NOT NULL), '[]') AS ids FROM pages GROUP BY state, "eventType", page) x"#
    ));
    let expected: BTreeMap<String, Vec<String>> = serde_json::from_str(&expected).unwrap();
    let ids = |key: String| {
        let rows: Vec<serde_json::Value> = serde_json::from_str(&world.value(&key).unwrap()).unwrap();
        (key, rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect())
    };
    let keys = world.keys().into_iter().filter(|key| !key.starts_with("warm:"));
    let found: BTreeMap<String, Vec<String>> = keys.map(ids).collect();
    assert!(found.keys().any(|key| key.ends_with(":page:2")), "{:?}", found.keys());
    assert_eq!(found, expected);
}
