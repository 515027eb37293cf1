//! Single keys: `warm fill` writes one, `warm show` says where it stands.

use crate::support::gate::Gate;
use crate::support::world::{Ran, World};

/// A thousand events with an index on their id.
const TABLE: &str = "CREATE TABLE t (id int PRIMARY KEY, g text NOT NULL, v text); GRANT SELECT ON t TO PUBLIC;
    INSERT INTO t SELECT i, CASE WHEN i % 2 = 0 THEN 'even' ELSE 'odd one' END, 'v' || i FROM generate_series(1, 1000) i;
    ANALYZE t";

fn world() -> World {
    let world = World::new();
    world.sql(TABLE);
    world
}

fn rows_job(world: &World, more: &str) {
    world.job("job", &format!("query = 'SELECT id, v FROM t ORDER BY v'\nkey = 't:{{id}}'\nvalue = 'row'\n{more}"));
}

#[test]
fn one_key_is_filled_by_one_query_that_an_index_answers() {
    let world = world();
    rows_job(&world, "");
    world.warm(&["fill", "t:7"]).exits(0).says("t:7: written, 17 B, lives 10m");
    assert_eq!(world.keys(), ["t:7"]);
    assert_eq!(world.value("t:7").as_deref(), Some(r#"{"id":7,"v":"v7"}"#));
    assert!(world.ask::<i64>(&["PTTL", "t:7"]) > 500_000, "it is verified");
    let shown = world.warm(&["show", "--plan", "t:7"]);
    shown.exits(0).says("makes the same value").says("Index Scan using t_pkey on t").says("Index Cond: (id = ");
    world.warm(&["fill", "t:7"]).exits(0).says("t:7: unchanged");
    world.sql("UPDATE t SET v = 'new' WHERE id = 7");
    world.warm(&["fill", "--missing", "t:7"]).exits(0).says("already present");
    world.warm(&["show", "t:7"]).exits(1).says("in v, at byte ");
    world.warm(&["fill", "t:7", "t:8"]).exits(0).says("t:7: written").says("t:8: written");
    assert_eq!(world.value("t:7").as_deref(), Some(r#"{"id":7,"v":"new"}"#));
}

#[test]
fn a_key_without_a_row_is_not_written_and_one_is_not_taken_for_another() {
    let world = world();
    rows_job(&world, "");
    world.warm(&["fill", "t:5000"]).exits(1).says("t:5000: no row makes this key; nothing was written");
    // The same number, but not the same key.
    world.warm(&["fill", "t:07"]).exits(1).says("no row makes this key");
    for command in ["fill", "show"] {
        // Who asks is told, and nothing is wrong with the job.
        let ran = world.warm(&[command, "t:x"]).exits(1).says("no row can have such a value");
        assert_eq!(ran.err, "", "{command}");
    }
    let report = world.warm(&["fill", "--json", "t:x"]).exits(1).json();
    let error = report["keys"][0]["error"].as_str().unwrap();
    assert!(error.contains("invalid input syntax for type integer"), "{error}");
    world.warm(&["fill", "u:7"]).exits(2).says("`u:7`: it is a key of no job; keys of jobs are t:{id}");
    world.warm(&["show", "t:5000"]).exits(0).says("absent").says("no row makes this key");
    let _: () = world.ask(&["SET", "t:5000", "x", "EX", "99"]);
    world.warm(&["show", "t:5000"]).exits(1).says("string, 1 B, dies in 1m 3").says("no row makes this key");
    assert_eq!(world.keys(), ["t:5000"]);
}

#[test]
fn where_a_query_leaves_rows_out_another_one_gives_those_of_one_key() {
    let world = world();
    let job = |more: &str| {
        let query = "SELECT id, v FROM t ORDER BY id DESC LIMIT 3";
        world.job("job", &format!("query = '{query}'\nkey = 't:{{id}}'\nvalue = 'row'\n{more}"));
    };
    job("");
    world.warm(&["fill", "t:7"]).exits(2).says("leaves rows out (LIMIT)").says("name a `fill_query`");
    let _: () = world.ask(&["SET", "t:7", "x", "EX", "99"]);
    let ran = world.warm(&["show", "--plan", "t:7"]).exits(1);
    assert_eq!(ran.err, "", "it is no failure of the job");
    ran.says("  job         job (")
        .says("  key         t:{id}, id = 7\n")
        .says("  lifetime    10m\n")
        .says("  Redis       string, 1 B, dies in 1m 3")
        .says(
            "  PostgreSQL  not known: the query leaves rows out (LIMIT), so that it cannot tell the row of one `{id}`",
        )
        .says("name a `fill_query` that gives it");
    let report = world.warm(&["show", "--json", "t:7"]).exits(1).json();
    assert_eq!((&report["type"], &report["ttl_ms"]), (&"string".into(), &600_000.into()));
    assert!(report["same"].is_null() && report["has_row"].is_null() && report["error"].is_string(), "{report}");
    let _: i64 = world.ask(&["DEL", "t:7"]);
    job("fill_query = 'SELECT id, v FROM t WHERE id = :id'");
    world.warm(&["--now"]).exits(0).says("wrote 3 keys");
    world.warm(&["fill", "t:7", "t:1000"]).exits(0).says("t:7: written").says("t:1000: unchanged");
    world.warm(&["fill", "t:007"]).exits(1).says("no row makes this key");
    world.warm(&["fill", "t:1001"]).exits(1).says("no row makes this key");
    assert_eq!(world.keys(), ["t:1000", "t:7", "t:998", "t:999"]);
}

#[test]
fn a_column_that_is_cast_for_its_key_is_found_by_an_index_with_a_fill_query() {
    let world = world();
    world.sql(
        "CREATE TABLE d (day date PRIMARY KEY, n int); GRANT SELECT ON d TO PUBLIC;
        INSERT INTO d SELECT '2020-01-01'::date + i, i FROM generate_series(0, 4999) i; ANALYZE d",
    );
    let job = |more: &str| {
        world.job(
            "job",
            &format!("query = 'SELECT day::text AS day, n FROM d'\nkey = 't:{{day}}'\nvalue = 'row'\n{more}"),
        );
    };
    world.job("job", "query = 'SELECT day, n FROM d'\nkey = 't:{day}'\nvalue = 'row'");
    world
        .warm(&["check"])
        .exits(1)
        .says("a key takes text, enums, integers, booleans and uuids only; cast the column to text");
    job("");
    world.warm(&["show", "--plan", "t:2020-01-05"]).exits(1).says("Seq Scan on d").says("Filter: ((day)::text = ");
    job("fill_query = 'SELECT day::text AS day, n FROM d WHERE day = :day::date'");
    world.warm(&["check"]).exits(0);
    world
        .warm(&["show", "--plan", "t:2020-01-05"])
        .exits(1)
        .says("Index Scan using d_pkey on d")
        .says("Index Cond: (day = ");
    world.warm(&["fill", "t:2020-01-05"]).exits(0);
    assert_eq!(world.value("t:2020-01-05").as_deref(), Some(r#"{"day":"2020-01-05","n":4}"#));
    // The same day, but not the same key.
    world.warm(&["fill", "t:2020-1-5"]).exits(1).says("no row makes this key");
    world.warm(&["fill", "t:someday"]).exits(1).says("no row can have such a value");
}

#[test]
fn an_array_is_filled_also_for_a_value_that_no_list_names_and_without_rows() {
    let world = world();
    world.job(
        "job",
        "query = 'SELECT id FROM t WHERE g = :g ORDER BY id LIMIT 2'\nkey = 't:g:{g}'\nvalue = 'rows'\nfor_each.g = ['even']",
    );
    world.warm(&["fill", "t:g:odd one", "t:g:none", "t:g:even"]).exits(0);
    assert_eq!(world.value("t:g:odd one").as_deref(), Some(r#"[{"id":1},{"id":3}]"#));
    assert_eq!(world.value("t:g:none").as_deref(), Some("[]"));
    assert_eq!(world.value("t:g:even").as_deref(), Some(r#"[{"id":2},{"id":4}]"#));
    // A list that is bound as a whole, and rows that tell the key.
    world.job("job", "query = 'SELECT g, id FROM t WHERE g = ANY(:g) AND id < 4 ORDER BY id'\nkey = 't:g:{g}'\nvalue = 'rows'\nfor_each.g = ['even', 'x']");
    let _: () = world.ask(&["FLUSHALL"]);
    world.warm(&["fill", "t:g:odd one", "t:g:none"]).exits(0);
    assert_eq!(world.value("t:g:odd one").as_deref(), Some(r#"[{"g":"odd one","id":1},{"g":"odd one","id":3}]"#));
    assert_eq!(world.value("t:g:none").as_deref(), Some("[]"));
}

#[test]
fn an_array_whose_key_the_rows_tell_has_those_of_its_key_only() {
    let world = world();
    world.job("job", "query = 'SELECT g, id FROM t WHERE id < 5 ORDER BY id'\nkey = 't:g:{g}'\nvalue = 'rows'");
    world.warm(&["fill", "t:g:even"]).exits(0);
    assert_eq!(world.value("t:g:even").as_deref(), Some(r#"[{"g":"even","id":2},{"g":"even","id":4}]"#));
    world.warm(&["fill", "t:g:none"]).exits(1).says("no row makes this key");
    assert_eq!(world.keys(), ["t:g:even"]);
}

#[test]
fn a_page_is_filled_by_itself() {
    let world = world();
    world.job("job", "query = 'SELECT g, id FROM t WHERE id < 8 ORDER BY id'\nkey = 't:{g}:{page}'\nvalue = 'rows'\npaginate = 2\nhide = ['g']");
    world.warm(&["fill", "t:even:1", "t:even:2", "t:odd one:2"]).exits(0);
    assert_eq!(world.value("t:even:1").as_deref(), Some(r#"[{"id":2},{"id":4}]"#));
    assert_eq!(world.value("t:even:2").as_deref(), Some(r#"[{"id":6}]"#));
    assert_eq!(world.value("t:odd one:2").as_deref(), Some(r#"[{"id":5},{"id":7}]"#));
    let shown = world.warm(&["--now"]);
    shown.exits(0).says("3 of them unchanged");
    world.warm(&["fill", "t:even:3"]).exits(1).says("no row makes this key");
    for number in ["0", "01", "x", "-1"] {
        world.warm(&["fill", &format!("t:even:{number}")]).exits(2).says("a page's number is 1, 2, …");
    }
    world.job("job", "query = 'SELECT g, id FROM t ORDER BY id LIMIT 9'\nkey = 't:{g}:{page}'\nvalue = 'rows'\npaginate = 2\nhide = ['g']\nfill_query = 'SELECT g, id FROM t WHERE g = :g ORDER BY id'");
    // As the application would cache a page beyond the last one.
    world.warm(&["fill", "t:even:400", "t:even:250"]).exits(0);
    assert_eq!(world.value("t:even:400").as_deref(), Some("[]"));
    assert_eq!(world.value("t:even:250").as_deref(), Some(r#"[{"id":998},{"id":1000}]"#));
}

#[test]
fn the_prefix_of_the_installation_may_stand_there_or_not() {
    let mut world = world();
    world.set("WARM_REDIS__KEY_PREFIX", "app:");
    rows_job(&world, "");
    world.warm(&["fill", "t:1", "app:t:2"]).exits(0).says("app:t:1: written").says("app:t:2: written");
    assert_eq!(world.keys(), ["app:t:1", "app:t:2"]);
    world.warm(&["show", "t:1"]).exits(0).says("app:t:1\n");
}

#[test]
fn what_is_not_ours_stays_and_is_told() {
    let world = world();
    rows_job(&world, "");
    let _: () = world.ask(&["SET", "t:1", "mine"]);
    let _: () = world.ask(&["LPUSH", "t:2", "mine"]);
    world.warm(&["fill", "t:1"]).exits(1).says("t:1: not written: 1 left alone: no TTL");
    world.warm(&["fill", "t:2"]).exits(1).says("t:2: not written: 1 left alone: another type");
    world.warm(&["show", "t:1"]).exits(1).says("never dies");
    world.warm(&["show", "t:2"]).exits(1).says("list, never dies").says("makes a string");
    assert_eq!(world.value("t:1").as_deref(), Some("mine"));
}

#[test]
fn what_is_shown_can_be_read_by_programs() {
    let world = world();
    rows_job(&world, "");
    let of = |arguments: &[&str]| -> serde_json::Value { serde_json::from_str(&world.warm(arguments).out).unwrap() };
    let filled = of(&["fill", "--json", "t:1", "t:0"]);
    assert_eq!(filled["exit_code"], 1);
    assert_eq!((&filled["keys"][0]["filled"], &filled["keys"][0]["bytes"]), (&true.into(), &17.into()));
    assert_eq!((&filled["keys"][1]["filled"], &filled["keys"][1]["rows"]), (&false.into(), &0.into()));
    let shown = of(&["show", "--json", "t:1"]);
    assert_eq!((&shown["type"], &shown["same"], &shown["job"]), (&"string".into(), &true.into(), &"job".into()));
    let shown = of(&["show", "--json", "t:2"]);
    assert_eq!((&shown["type"], &shown["findings"][0]["kind"]), (&serde_json::Value::Null, &"missing".into()));
}

#[test]
fn a_job_without_a_query_has_no_runs_and_fills_who_asks() {
    let world = world();
    world.job("asked", "fill_query = 'SELECT id, v FROM t WHERE id = :id'\nkey = 't:{id}'\nvalue = 'row'");
    world.warm(&["check"]).exits(0).says("0 jobs and 1 on demand in warm.toml");
    assert_eq!(world.warm(&["--now"]).exits(0).out, "");
    world
        .warm(&["--now", "asked"])
        .exits(2)
        .says("the job `asked` has no query, so that it only fills single keys: `warm fill KEY`");
    assert_eq!(world.warm(&["--due"]).exits(0).out, "");
    world.warm(&["list"]).exits(0).says("asked: key t:{id}, ttl 10m, schedule none, next run on demand");
    world.warm(&["list", "--next", "2"]).exits(0).says("asked: on demand");
    assert_eq!(world.keys().iter().filter(|key| key.starts_with("t:")).count(), 0);
    world.warm(&["fill", "t:3"]).exits(0).says("t:3: written");
    world.warm(&["diff"]).exits(0).says("asked: 1 key as in the database\n");
    world.sql("UPDATE t SET v = 'x' WHERE id = 3");
    world.warm(&["diff"]).exits(1).says("asked: 0 keys as in the database, 1 stale");
    world.warm(&["diff", "--repair"]).exits(0).says("asked: 1 key as in the database (before the repair: 1 stale)");
    world.job("asked", "fill_query = 'SELECT id, nothing FROM t WHERE id = :id'\nkey = 't:{id}'\nvalue = 'row'");
    world.warm(&["check"]).exits(1).says("column \"nothing\" does not exist");
    world.job("asked", "fill_query = 'SELECT id FROM t WHERE id = :id'\nkey = 't:{id}'\nvalue = 'row'\nschedule = '@daily'\nsweep = true\nfor_each.x = ['1']\nguard.min_rows = 3");
    let wrong = world.warm(&["check"]).exits(2);
    wrong
        .says("`schedule` is about runs, and a job without `query` has none")
        .says("`sweep` is about runs")
        .says("`min_rows` is about runs")
        .says("[for_each] is about runs");
}

#[test]
fn a_row_of_which_nothing_can_be_made_is_not_taken_for_none() {
    let world = world();
    rows_job(&world, "guard.max_value = '10'");
    world.warm(&["fill", "t:7"]).exits(1).says("t:7: not written: 1 refused: larger than max_value");
    world.warm(&["show", "t:7"]).exits(1).says("has a row, whose value is refused: it is larger than max_value");
    let _: () = world.ask(&["SET", "t:2000", "x", "EX", "99"]);
    rows_job(&world, "");
    world.warm(&["show", "t:x"]).exits(1).says("no row can have such a value");
    world.warm(&["fill", "t:99999999999999999999"]).exits(1).says("no row can have such a value; nothing was written");
    assert_eq!(world.keys(), ["t:2000"]);
}

#[test]
fn an_error_in_the_data_is_not_taken_for_a_value_that_no_row_has() {
    let world = world();
    world.sql(
        "CREATE DOMAIN short AS text CHECK (length(VALUE) < 9); ALTER TABLE t ADD s short; GRANT SELECT ON t TO PUBLIC",
    );
    let job = |fill: &str| world.job("job", &format!("fill_query = '{fill}'\nkey = 't:{{id}}'\nvalue = 'row'"));
    let _: () = world.ask(&["SET", "t:7", "x", "EX", "99"]);
    for (fill, words) in [
        ("SELECT id, v::int AS n FROM t WHERE id = :id", "invalid input syntax for type integer: \"v7\""),
        ("SELECT id, v::date AS n FROM t WHERE id = :id", "invalid input syntax for type date: \"v7\""),
        ("SELECT id, (repeat(substr(v, 2), 20))::int AS n FROM t WHERE id = :id::int", "out of range for type integer"),
    ] {
        job(fill);
        let ran = world.warm(&["fill", "t:7"]).exits(1).says("t:7: failed").says(words).says("kind=Data");
        assert!(!ran.all().contains("no row can have"), "{}", ran.all());
        world.warm(&["show", "t:7"]).exits(1).says("PostgreSQL  not known");
        let told = world.warm(&["diff", "--json"]).exits(1).json();
        assert_eq!((&told["jobs"][0]["keys"]["extra"], &told["jobs"][0]["ok"]), (&0.into(), &false.into()), "{told:#}");
    }
    // The value of the key alone is at fault, whatever it is taken for.
    for (compared, value) in [
        ("id = :id", "x"),
        ("id = :id", "99999999999"),
        ("CURRENT_DATE < :id", "2026-13-01"),
        ("s = CAST(:id AS short)", "much too long"),
    ] {
        job(&format!("SELECT id, v FROM t WHERE {compared}"));
        let key = format!("t:{value}");
        world.warm(&["fill", &key]).exits(1).says("no row can have such a value");
    }
}

#[test]
fn a_fill_query_with_other_columns_writes_nothing() {
    let world = world();
    let query = "SELECT id, v FROM t ORDER BY id LIMIT 3";
    let fill = "SELECT v, id FROM t WHERE id = :id";
    world.job("job", &format!("query = '{query}'\nfill_query = '{fill}'\nkey = 't:{{id}}'\nvalue = 'row'"));
    world.warm(&["--now"]).exits(0);
    let before = world.value("t:1");
    world
        .warm(&["fill", "t:1", "t:9"])
        .exits(1)
        .says("column 1 of fill_query is `v` (text), and that of query is `id` (integer)");
    assert_eq!((world.value("t:1"), world.value("t:9")), (before, None));
}

#[test]
fn the_check_says_where_a_fill_query_is_missing_or_gives_other_columns() {
    let world = world();
    let job = |more: &str| {
        let query = "SELECT id, v FROM t ORDER BY id DESC LIMIT 3";
        world.job("job", &format!("query = '{query}'\nkey = 't:{{id}}'\nvalue = 'row'\n{more}"));
    };
    let both = [&["check"][..], &["check", "--offline"]];
    job("");
    for arguments in both {
        let ran = world.warm(arguments).exits(0);
        ran.says("job: single keys cannot be filled, and `warm diff` compares only those that the query gives: ")
            .says("leaves rows out (LIMIT)")
            .says("name a `fill_query` that gives it; at jobs/job.toml\n");
    }
    job("fill_query = 'SELECT id, v FROM t WHERE id = :id'");
    both.iter().for_each(|arguments| assert!(!world.warm(arguments).exits(0).out.contains("single keys")));
    job("fill_query = 'SELECT v, id FROM t WHERE id = :id'");
    world
        .warm(&["check"])
        .exits(1)
        .says("column 1 of fill_query is `v` (text), and that of query is `id` (integer)")
        .says("jobs/job.toml:4");
    job("fill_query = 'SELECT id, v FROM nowhere WHERE id = :id'");
    world.warm(&["check"]).exits(1).says("nowhere");
    job("fill_query = 'SELECT id, v FROM t WHERE id = :ids'");
    world
        .warm(&["check"])
        .exits(2)
        .says("a fill query knows what stands in the key `t:{id}`")
        .says("did you mean `:id`?");
    job("fill_query = 'SELECT id, v FROM t'");
    world.warm(&["check"]).exits(2).says("does not use `:id`");
}

#[test]
fn what_could_not_be_made_sure_of_is_taken_back() {
    let world = world();
    let gates: Vec<_> = (1..=5).map(|number| Gate::shut(&world.database, number)).collect();
    world.sql("ALTER TABLE t ADD n int DEFAULT 1");
    let query = "SELECT id, n FROM (SELECT id, n, wait(n) FROM t WHERE id = :id::int OFFSET 0) AS q";
    world.job("job", &format!("fill_query = '{query}'\nkey = 't:{{id}}'\nvalue = 'row'"));
    let child = world.start(&["fill", "t:7"]);
    for gate in gates {
        gate.wait_for_query();
        world.sql("UPDATE t SET n = n + 1 WHERE id = 7");
        gate.open();
    }
    let changing = Ran::of(child.wait_with_output().unwrap()).exits(1);
    changing.says("t:7: failed").says("its row was different at each of 5 readings");
    assert_eq!(world.keys(), [""; 0]);
    let gate = Gate::shut(&world.database, 1);
    let child = world.start(&["fill", "t:8"]);
    gate.wait_for_query();
    world.sql("DELETE FROM t WHERE id = 8");
    gate.open();
    let vanished = Ran::of(child.wait_with_output().unwrap()).exits(1);
    vanished.says("t:8: no row makes this key; nothing was written");
    assert_eq!(world.keys(), [""; 0]);
}
