//! What a job writes: keys, values, lifetimes.

use crate::support::world::World;

const TABLE: &str = "CREATE TABLE thing (id int PRIMARY KEY, kind text NOT NULL, name text, price numeric(8, 2), at timestamp(3));
    INSERT INTO thing VALUES (1, 'a', 'one', 1.50, '2026-01-02 03:04:05.678'), (2, 'b', 'two', NULL, NULL), (3, 'a', 'three', 3, '2026-01-01')";

const ROW: &str = "query = 'SELECT * FROM thing ORDER BY id'\nkey = 't:{id}'\nvalue = 'row'\n";

fn things() -> World {
    let world = World::new();
    world.sql(TABLE);
    world
}

fn value(world: &World, key: &str) -> String {
    world.value(key).unwrap_or_else(|| panic!("{key} is absent; there are {:?}", world.keys()))
}

fn ttl(world: &World, key: &str) -> i64 {
    world.ask(&["PTTL", key])
}

#[test]
fn a_row_becomes_a_key() {
    let world = things();
    world.job("things", ROW);
    let ran = world.warm(&["--now"]).exits(0);
    assert!(ran.out.starts_with("things: wrote 3 keys ("), "{}", ran.all());
    assert_eq!(
        value(&world, "t:1"),
        r#"{"id":1,"kind":"a","name":"one","price":"1.5","at":"2026-01-02T03:04:05.678Z"}"#
    );
    assert_eq!(value(&world, "t:2"), r#"{"id":2,"kind":"b","name":"two","price":null,"at":null}"#);
    assert_eq!(world.keys(), ["t:1", "t:2", "t:3"]);
    assert!((590_000..=600_000).contains(&ttl(&world, "t:1")));
}

#[test]
fn rows_of_one_key_become_an_array_in_the_order_of_the_query() {
    let world = things();
    world.job("kinds", "query = 'SELECT kind, id FROM thing ORDER BY id DESC'\nkey = 't:kind:{kind}'\nvalue = 'rows'");
    world.warm(&["--now"]).exits(0);
    assert_eq!(
        value(&world, "t:kind:a"),
        r#"[{"kind":"a","id":3},{"kind":"a","id":1}]"#,
        "though they do not follow one another"
    );
    assert_eq!(value(&world, "t:kind:b"), r#"[{"kind":"b","id":2}]"#);
}

#[test]
fn one_column_can_be_the_value() {
    let world = things();
    world.job("text", "query = 'SELECT id, name FROM thing'\nkey = 't:text:{id}'\nvalue = 'column:name'");
    world.job(
        "json",
        r#"query = '''SELECT id, '{"b": 1.0,  "a": 2}'::json AS doc FROM thing'''
        key = 't:json:{id}'
        value = 'column:doc'"#,
    );
    world.job("time", "query = 'SELECT id, at FROM thing WHERE id = 1'\nkey = 't:time:{id}'\nvalue = 'column:at'");
    world.warm(&["--now"]).exits(0);
    assert_eq!(value(&world, "t:text:1"), "one", "text as it is");
    assert_eq!(value(&world, "t:json:1"), r#"{"b": 1.0,  "a": 2}"#, "json as it is");
    assert_eq!(value(&world, "t:time:1"), r#""2026-01-02T03:04:05.678Z""#, "anything else as the format prints it");
}

#[test]
fn values_take_the_shape_that_the_aliases_say() {
    let world = things();
    world.sql("CREATE TABLE note (id int, thing int, body text); INSERT INTO note VALUES (7, 1, 'é')");
    world.job(
        "shapes",
        r#"
        query = '''
          SELECT n.id, n.body AS secret, count(*) OVER ()::int AS "_count.notes", sum(n.thing) OVER ()::int AS "_sum.things", t AS thing
          FROM note n JOIN thing t ON t.id = n.thing
        '''
        key = "t:note:{id}"
        value = "row"
        hide = ["secret"]
        "#,
    );
    world.warm(&["--now"]).exits(0);
    assert_eq!(
        value(&world, "t:note:7"),
        r#"{"id":7,"_count":{"notes":1},"_sum":{"things":1},"thing":{"id":1,"kind":"a","name":"one","price":"1.5","at":"2026-01-02T03:04:05.678Z"}}"#
    );
}

#[test]
fn the_format_is_that_of_the_job() {
    let world = things();
    for format in ["prisma", "prisma5", "postgres"] {
        let job = "query = 'SELECT 0.1::float8 + 0.2 AS x, 1.50 AS n, 5::int8 AS b'\nvalue = 'row'\n";
        world.job(format, &format!("{job}key = 't:{format}'\nformat = '{format}'"));
    }
    world.job("number", "query = 'SELECT 5::int8 AS b'\nvalue = 'row'\nkey = 't:number'\nbigint = 'number'");
    world.warm(&["--now"]).exits(0);
    assert_eq!(value(&world, "t:prisma"), r#"{"x":0.30000000000000004,"n":"1.5","b":"5"}"#);
    assert_eq!(value(&world, "t:prisma5"), r#"{"x":0.3,"n":"1.5","b":"5"}"#);
    assert_eq!(value(&world, "t:postgres"), r#"{"x":0.30000000000000004,"n":1.50,"b":5}"#);
    assert_eq!(value(&world, "t:number"), r#"{"b":5}"#);
}

#[test]
fn no_rows_give_an_empty_list_where_the_key_is_known_and_nothing_elsewhere() {
    let world = things();
    world.job(
        "known",
        "query = 'SELECT * FROM thing WHERE kind = :kind'\nkey = 't:{kind}'\nvalue = 'rows'\nfor_each.kind = ['a', 'x']",
    );
    world.job("unknown", "query = 'SELECT * FROM thing WHERE id > 9'\nkey = 't:thing:{id}'\nvalue = 'row'");
    world.job("single", "query = 'SELECT * FROM thing WHERE id > 9'\nkey = 't:none'\nvalue = 'rows'");
    world.warm(&["--now"]).exits(0);
    assert_eq!(world.keys(), ["t:a", "t:none", "t:x"]);
    assert_eq!(value(&world, "t:x"), "[]");
    assert_eq!(value(&world, "t:none"), "[]");
}

#[test]
fn a_lifetime_is_that_of_the_longest_prefix_unless_the_job_has_its_own() {
    let world = things();
    world.config("jobs = 'jobs'\n[ttl]\n't:' = '10m'\n't:list:' = '1m'\n't:2' = '30s'");
    world.job("things", ROW);
    world.job("list", "query = 'SELECT 1 AS x'\nkey = 't:list:x'\nvalue = 'rows'");
    world.job("own", "query = 'SELECT 1 AS x'\nkey = 't:own'\nvalue = 'rows'\nttl = '2h'");
    world.warm(&["--now"]).exits(0);
    for (key, seconds) in [("t:1", 600), ("t:2", 30), ("t:list:x", 60), ("t:own", 7200)] {
        let found = ttl(&world, key);
        assert!((seconds * 1000 - 10_000..=seconds * 1000).contains(&found), "{key}: {found}");
    }
}

#[test]
fn jitter_shortens_lifetimes_by_at_most_its_share_and_the_same_each_time() {
    let world = things();
    world.job(
        "many",
        "query = 'SELECT generate_series(1, 300) AS id'\nkey = 't:{id}'\nvalue = 'row'\nttl = '1h'\nttl_jitter = '10%'",
    );
    let lifetimes = || -> Vec<i64> {
        world.warm(&["--now"]).exits(0);
        // The moment at which each key dies, less that at which the first of them does: what the jitter makes of it.
        (1..=300).map(|id| ttl(&world, &format!("t:{id}"))).collect()
    };
    let first = lifetimes();
    assert!(first.iter().all(|ttl| (3_200_000..=3_600_000).contains(ttl)), "{first:?}");
    let spread = first.iter().max().unwrap() - first.iter().min().unwrap();
    assert!((200_000..370_000).contains(&spread), "{spread} ms");
    let second = lifetimes();
    assert!(first.iter().zip(&second).all(|(a, b)| (a - b).abs() < 20_000), "a key's lifetime is its own");
}

#[test]
fn a_second_run_replaces_values_and_renews_lifetimes() {
    let world = things();
    world.job("things", ROW);
    world.warm(&["--now"]).exits(0);
    world.sql("UPDATE thing SET name = 'new' WHERE id = 1");
    let _: i64 = world.ask(&["PEXPIRE", "t:1", "5000"]);
    let ran = world.warm(&["--now"]).exits(0).says("wrote 3 keys");
    assert!(value(&world, "t:1").contains("\"new\""), "{}", ran.all());
    assert!(ttl(&world, "t:1") > 500_000);
}

#[test]
fn the_same_value_with_a_longer_life_keeps_it() {
    let world = things();
    world.job("things", ROW);
    world.warm(&["--now"]).exits(0);
    let longer: i64 = 90_000_000;
    let _: i64 = world.ask(&["PEXPIRE", "t:1", &longer.to_string()]);
    world.warm(&["--now"]).exits(0).says("wrote 3 keys").says("3 of them unchanged");
    assert!((longer - 60_000..=longer).contains(&ttl(&world, "t:1")));
}

#[test]
fn missing_touches_only_absent_keys() {
    let world = things();
    world.job("things", ROW);
    let _: () = world.ask(&["SET", "t:1", "theirs", "PX", "5000"]);
    let ran = world.warm(&["--now", "--missing"]).exits(0).says("wrote 2 keys").says("1 left alone: already present");
    assert_eq!(value(&world, "t:1"), "theirs", "{}", ran.all());
    assert!(ttl(&world, "t:1") <= 5000);
    world.job("things", &format!("{ROW}mode = 'missing'"));
    world.warm(&["--now"]).exits(0).says("wrote 0 keys").says("3 left alone: already present");
}

#[test]
fn a_dry_run_says_what_would_be_written_and_writes_nothing() {
    let world = things();
    world.job("things", ROW);
    let _: () = world.ask(&["SET", "t:1", "theirs", "PX", "50000"]);
    let _: () = world.ask(&["SET", "t:2", "for ever"]);
    let _: i64 = world.ask(&["LPUSH", "t:3", "a list"]);
    let ran = world.warm(&["--now", "--dry-run"]).exits(0).says("things: would write 1 key");
    assert!(ran.out.contains("1 left alone: another type, 1 left alone: no TTL"), "{}", ran.all());
    assert!(ran.out.contains("  t:1  78 B  TTL 10m\n"), "{}", ran.all());
    world
        .warm(&["--now", "--dry-run", "--missing"])
        .exits(0)
        .says("would write 0 keys")
        .says("3 left alone: already present");
    assert_eq!(value(&world, "t:1"), "theirs");
    assert_eq!(world.keys().len(), 3);
}

#[test]
fn jobs_can_be_chosen_and_run_in_order_of_priority() {
    let mut world = things();
    for (name, priority) in [("low", -5), ("high", 10), ("middle", 0)] {
        world.job(name, &format!("query = 'SELECT 1 AS x'\nkey = 't:{name}'\nvalue = 'rows'\npriority = {priority}"));
    }
    world.set("WARM_POSTGRES__CONNECTIONS", "1");
    world.set("WARM_LOG", "info");
    let ran = world.warm(&["--now"]).exits(0);
    let lines: Vec<&str> = ran.out.lines().map(|line| line.split(':').next().unwrap()).collect();
    assert_eq!(lines, ["high", "middle", "low"]);
    let started = ["high: started", "middle: started", "low: started"].map(|line| ran.err.find(line));
    assert!(started.is_sorted() && started.iter().all(Option::is_some), "{}", ran.all());

    let _: () = world.ask(&["FLUSHALL"]);
    world.warm(&["--now", "low", "middle"]).exits(0);
    assert_eq!(world.keys(), ["t:low", "t:middle"]);
}

#[test]
fn a_slow_job_does_not_hold_up_those_after_it() {
    let mut world = things();
    world.set("WARM_POSTGRES__CONNECTIONS", "2");
    // The first two run at once; the fourth and fifth must start as soon as the second and third are done.
    world.job("a-slow", "query = 'SELECT pg_sleep(3)::text AS x'\nkey = 't:slow'\nvalue = 'rows'\npriority = 9");
    for name in ["b", "c", "d", "e"] {
        world.job(name, &format!("query = 'SELECT clock_timestamp() AS x'\nkey = 't:{name}'\nvalue = 'rows'"));
    }
    world.warm(&["--now"]).exits(0);
    let time = |key: &str| value(&world, key);
    let slow: i64 = ttl(&world, "t:slow");
    for key in ["t:b", "t:c", "t:d", "t:e"] {
        assert!(ttl(&world, key) < slow - 1500, "{key} was written long before: {}", time(key));
    }
}

#[test]
fn a_shared_server_is_shared_by_prefix_and_database() {
    let mut world = things();
    world.job("things", ROW);
    world.set("WARM_REDIS__KEY_PREFIX", "staging:");
    world.set("WARM_REDIS__DATABASE", "3");
    let ran = world.warm(&["--now", "--dry-run"]).exits(0).says("staging:t:1");
    world.warm(&["--now"]).exits(0);
    assert_eq!(world.keys(), [""; 0], "{}", ran.all());
    let mut connection = world.redis.connect();
    redis::cmd("SELECT").arg(3).exec(&mut connection).unwrap();
    let mut keys: Vec<String> = redis::cmd("KEYS").arg("*").query(&mut connection).unwrap();
    keys.sort();
    assert_eq!(keys, ["staging:t:1", "staging:t:2", "staging:t:3"]);
}

#[test]
fn the_report_is_there_for_programs_too() {
    let world = things();
    world.job("things", ROW);
    world.job("zbad", "query = 'SELECT nothing FROM thing'\nkey = 't:x:{id}'\nvalue = 'row'");
    let report = world.warm(&["--now", "--json"]).exits(1).json();
    assert_eq!(report["exit_code"], 1);
    let [good, bad] = &report["jobs"].as_array().unwrap()[..] else { panic!("{report:#}") };
    assert_eq!(
        (&good["job"], &good["ok"], &good["keys"], &good["rows"]),
        (&"things".into(), &true.into(), &3.into(), &3.into())
    );
    let bytes: usize = world.keys().iter().map(|key| key.len() + value(&world, key).len()).sum();
    assert_eq!(good["bytes"], bytes);
    assert_eq!((&bad["ok"], &bad["keys"], &bad["error"]["kind"]), (&false.into(), &0.into(), &"Query".into()));
    assert_eq!(bad["error"]["at"], "jobs/zbad.toml:1");
}

#[test]
fn a_row_type_that_is_altered_between_two_jobs_is_seen_as_it_is() {
    let mut world = World::new();
    world.set("WARM_POSTGRES__CONNECTIONS", "1");
    world.sql("CREATE TYPE addr AS (street text, zip text)");
    let job = |id: u32, rest: &str| {
        format!(
            "query = '''SELECT {id} AS id, row('s', 'z')::addr AS a{rest}'''\nkey = 't:a{id}'\nvalue = 'row'\npriority = -{id}"
        )
    };
    world.job("a", &job(1, ", pg_sleep(1)::text AS s"));
    world.job("b", &job(2, ""));
    let child = world.start(&["--now"]);
    crate::support::server::wait_for("the first job", || {
        (world
            .sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()")
            == "1")
            .then_some(())
    });
    world.sql("ALTER TYPE addr RENAME ATTRIBUTE street TO x; ALTER TYPE addr RENAME ATTRIBUTE zip TO street; ALTER TYPE addr RENAME ATTRIBUTE x TO zip");
    crate::support::world::Ran::of(child.wait_with_output().unwrap()).exits(0);
    assert_eq!(value(&world, "t:a2"), r#"{"id":2,"a":{"zip":"s","street":"z"}}"#);
}
