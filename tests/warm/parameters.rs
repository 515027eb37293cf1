//! Parameters: bound with the type that PostgreSQL infers, never spliced.

use crate::support::world::World;

fn world(job: &str) -> World {
    let world = World::new();
    world.sql(
        r#"CREATE TYPE "Mood" AS ENUM ('happy', 'so-so');
        CREATE TABLE thing (id bigint PRIMARY KEY, kind text NOT NULL, mood "Mood" NOT NULL, day date NOT NULL, at timestamp(3) NOT NULL);
        INSERT INTO thing SELECT n, 'kind ' || n % 3, 'happy', date '2026-01-01' + n::int, timestamp '2026-01-01' + n * interval '1 day'
          FROM generate_series(1, 9) n;
        CREATE TABLE victim (x int); INSERT INTO victim VALUES (1)"#,
    );
    world.job("job", job);
    world
}

const NASTY: [&str; 9] = [
    "it's",
    "a\"b",
    "'; DROP TABLE victim; --",
    "' OR '1'='1",
    "$1",
    ":other",
    "\\' \\\\",
    "Òwàmbẹ̀ 🎉",
    "{braces} *?[glob]",
];

#[test]
fn sql_in_a_parameter_is_text() {
    let list = serde_json::to_string(&NASTY).unwrap();
    let world = world(&format!(
        "query = 'SELECT :word::text AS word, length(:word) AS length'\nkey = 't:{{word}}'\nvalue = 'rows'\nfor_each.word = {list}"
    ));
    world.warm(&["--now"]).exits(0).says("wrote 9 keys");
    for word in NASTY {
        let expected = serde_json::json!([{ "word": word, "length": word.chars().count() }]);
        let found: serde_json::Value = serde_json::from_str(&world.value(&format!("t:{word}")).unwrap()).unwrap();
        assert_eq!(found, expected);
    }
    assert_eq!(world.sql("SELECT x FROM victim"), "1");
}

#[test]
fn line_breaks_and_spaces_in_a_value_are_part_of_the_key() {
    let world = world(
        "query = 'SELECT :word::text AS word'\nkey = 't:{word}:end'\nvalue = 'rows'\nfor_each.word = [\"a\\r\\nb\", ' x ', \"tab\\t\"]",
    );
    world.warm(&["--now"]).exits(0);
    assert_eq!(world.keys(), ["t: x :end", "t:a\r\nb:end", "t:tab\t:end"]);
    assert_eq!(world.value("t:a\r\nb:end").as_deref(), Some(r#"[{"word":"a\r\nb"}]"#));
}

#[test]
fn a_parameter_has_the_type_that_its_place_asks_for() {
    for (condition, values, key) in [
        ("id = :x", "[3, '5']", "t:5"),
        ("id = :x", "[3, '5']", "t:3"),
        ("mood = :x AND id = 1", "['happy']", "t:happy"),
        ("day = :x", "['2026-01-05']", "t:2026-01-05"),
        ("at = :x", "['2026-01-05 00:00:00']", "t:2026-01-05 00:00:00"),
        ("(id = 1) = :x AND id = 1", "[true]", "t:true"),
        ("id = :x::int", "['7']", "t:7"),
    ] {
        let world = world(&format!(
            "query = 'SELECT id FROM thing WHERE {condition}'\nkey = 't:{{x}}'\nvalue = 'rows'\nfor_each.x = {values}"
        ));
        world.warm(&["--now"]).exits(0);
        let value = world.value(key).unwrap_or_else(|| panic!("{condition}: {key} is absent"));
        assert!(value.starts_with("[{\"id\":"), "{condition}: {value}");
    }
}

#[test]
fn a_value_that_the_type_does_not_know_fails_the_job_and_names_it() {
    let world =
        world("query = 'SELECT id FROM thing WHERE id = :x'\nkey = 't:{x}'\nvalue = 'rows'\nfor_each.x = ['many']");
    world.warm(&["--now"]).exits(1).says("invalid input syntax for type bigint: \"many\"");
    world.warm(&["check"]).exits(1).says("invalid input syntax for type bigint: \"many\"");
}

#[test]
fn a_typed_parameter_uses_the_index() {
    let world =
        world("query = 'SELECT id, day FROM big WHERE id = :x'\nkey = 't:{x}'\nvalue = 'rows'\nfor_each.x = [77]");
    world.sql("CREATE TABLE big AS SELECT n AS id, now()::timestamp AS day FROM generate_series(1, 50000) n; CREATE INDEX ON big (id)");
    world.sql("GRANT SELECT ON big TO warm");
    // Not in the same transaction: the server may be analyzing the table by itself.
    world.sql("ANALYZE big");
    world.warm(&["--now"]).exits(0).says("wrote 1 key");
    world.sql("SELECT pg_stat_force_next_flush()");
    crate::support::server::wait_for("the statistics' arrival", || {
        (world.sql("SELECT idx_scan > 0 AND seq_scan <= 1 FROM pg_stat_user_tables WHERE relname = 'big'") == "t")
            .then_some(())
    });
}

#[test]
fn several_parameters_give_their_product() {
    let world = world(
        "query = 'SELECT :a::text AS a, :b::int AS b, :c::text AS c'\nkey = 't:{a}:{b}:{c}'\nvalue = 'rows'\n[for_each]\na = ['x', 'y']\nb = [1, 2, 3]\nc = ['m', 'n']",
    );
    world.warm(&["--now"]).exits(0).says("wrote 12 keys");
    assert_eq!(world.value("t:y:3:n").as_deref(), Some(r#"[{"a":"y","b":3,"c":"n"}]"#));
}

#[test]
fn a_parameter_that_would_be_lost_from_the_key_is_refused() {
    let world = world(
        "query = 'SELECT :slug::text AS s, :page::int AS p'\nkey = 't:{slug}'\nvalue = 'rows'\n[for_each]\nslug = ['a', 'b']\npage = [1, 2]",
    );
    for arguments in [["--now"], ["check"]] {
        world.warm(&arguments).exits(1).says("the same for all 2 values of `:page`").says("put `{page}` into the key");
    }
    assert_eq!(world.keys(), [""; 0]);
}

#[test]
fn arrays_that_combinations_would_overwrite_are_refused_and_a_whole_list_is_the_way_out() {
    let world = world(
        "query = 'SELECT kind, id FROM thing WHERE id = :id ORDER BY kind, id'\nkey = 't:{kind}'\nvalue = 'rows'\nfor_each.id = [1, 4]",
    );
    world.warm(&["--now"]).exits(1).says("the same for all 2 values of `:id`").says("= ANY(:id)");
    assert_eq!(world.keys(), [""; 0]);
    world.job(
        "job",
        "query = 'SELECT kind, id FROM thing WHERE id = ANY(:id) ORDER BY kind, id'\nkey = 't:{kind}'\nvalue = 'rows'\nfor_each.id = [1, 4]",
    );
    world.warm(&["--now"]).exits(0);
    assert_eq!(world.value("t:kind 1").as_deref(), Some(r#"[{"kind":"kind 1","id":"1"},{"kind":"kind 1","id":"4"}]"#));
}

#[test]
fn lists_from_queries_are_bounded_while_they_are_read() {
    let world = world(
        "query = 'SELECT :a::int AS x'\nkey = 't:{a}'\nvalue = 'rows'\nfor_each.a = { query = 'SELECT generate_series(1, 100000000)' }",
    );
    world.warm(&["--now"]).exits(1).says("gives more than 10000 values");
    world.job(
        "job",
        "query = 'SELECT x AS a, y AS b FROM unnest(:a::int[]) x, unnest(:b::int[]) y WHERE false'\nkey = 't:{a}:{b}'\nvalue = 'rows'\n[for_each]\na = { query = 'SELECT generate_series(1, 200)' }\nb = { query = 'SELECT generate_series(1, 200)' }",
    );
    world.warm(&["--now"]).exits(1).says("more than 10000 combinations");
    assert_eq!(world.keys(), [""; 0]);
}

#[test]
fn the_product_is_bounded_also_where_queries_give_the_values() {
    let mut world = world(
        "query = 'SELECT :a::int + :b::int AS x'\nkey = 't:{a}:{b}'\nvalue = 'rows'\n[for_each]\na = { query = 'SELECT generate_series(1, 200)' }\nb = { query = 'SELECT generate_series(1, 200)' }",
    );
    world.warm(&["--now"]).exits(1).says("more than 10000 combinations").says("`combinations` in [limits]");
    assert_eq!(world.keys(), [""; 0]);
    world.set("WARM_LIMITS__COMBINATIONS", "40000");
    world.warm(&["--now"]).exits(0).says("wrote 40000 keys");
}

#[test]
fn a_query_gives_the_values_of_a_parameter() {
    let world = world(
        "query = 'SELECT id FROM thing WHERE kind = :kind ORDER BY id'\nkey = 't:{kind}'\nvalue = 'rows'\nfor_each.kind = { query = 'SELECT kind FROM thing WHERE at < :now ORDER BY 1' }",
    );
    world.warm(&["--now"]).exits(0).says("wrote 3 keys");
    assert_eq!(world.value("t:kind 1").as_deref(), Some(r#"[{"id":"1"},{"id":"4"},{"id":"7"}]"#));
}

#[test]
fn a_query_of_values_that_gives_nothing_runs_nothing() {
    let world = world(
        "query = 'SELECT id FROM thing WHERE kind = :kind'\nkey = 't:{kind}'\nvalue = 'rows'\nfor_each.kind = { query = 'SELECT kind FROM thing WHERE false' }",
    );
    world.warm(&["--now"]).exits(0).says("wrote 0 keys");
    world.job("job", "query = 'SELECT id FROM thing WHERE kind = :kind'\nkey = 't:{kind}'\nvalue = 'rows'\nfor_each.kind = { query = 'SELECT NULL::text' }");
    world.warm(&["--now"]).exits(1).says("gives a NULL");
}

#[test]
fn an_array_parameter_takes_the_whole_list_in_one_query() {
    for condition in ["kind = ANY(:kind)", "kind IN (SELECT unnest(:kind::text[]))"] {
        let world = world(&format!(
            "query = 'SELECT kind, id FROM thing WHERE {condition} ORDER BY kind, id'\nkey = 't:{{kind}}'\nvalue = 'rows'\nfor_each.kind = ['kind 1', 'kind 2', 'nothing']"
        ));
        let report = world.warm(&["--now", "--json"]).exits(0).json();
        assert_eq!(report["jobs"][0]["queries"], 1);
        assert_eq!(
            world.value("t:kind 2").as_deref(),
            Some(r#"[{"kind":"kind 2","id":"2"},{"kind":"kind 2","id":"5"},{"kind":"kind 2","id":"8"}]"#)
        );
        assert_eq!(world.value("t:nothing").as_deref(), Some("[]"), "each member is owed a key");
        assert_eq!(world.keys().len(), 3);
    }
}

#[test]
fn typed_arrays_are_bound_too_and_combine_with_single_values() {
    let world = world(
        "query = '''SELECT id, kind FROM thing WHERE id = ANY(:ids) AND mood = ANY(:moods) AND kind = :kind ORDER BY id'''\nkey = 't:{kind}'\nvalue = 'rows'\n[for_each]\nids = [1, 2, 4]\nmoods = ['happy', 'so-so']\nkind = ['kind 1', 'kind 2']",
    );
    world.warm(&["--now"]).exits(0).says("wrote 2 keys");
    assert_eq!(world.value("t:kind 1").as_deref(), Some(r#"[{"id":"1","kind":"kind 1"},{"id":"4","kind":"kind 1"}]"#));
}

#[test]
fn a_row_for_nobody_who_was_asked_for_is_a_bad_row() {
    let world = world(
        "query = 'SELECT kind FROM thing WHERE kind = ANY(:kind) OR id = 1'\nkey = 't:{kind}'\nvalue = 'rows'\nfor_each.kind = ['kind 2']",
    );
    world.warm(&["--now"]).exits(1).says("`t:kind 1`").says("not among the parameter's values");
}

#[test]
fn a_parameter_shadows_a_column_of_the_same_name() {
    let world = world(
        "query = 'SELECT id, upper(:kind) AS kind FROM thing WHERE kind = :kind AND id < 3'\nkey = 't:{kind}:{id}'\nvalue = 'row'\nfor_each.kind = ['kind 1']",
    );
    world.warm(&["--now"]).exits(0);
    assert_eq!(world.value("t:kind 1:1").as_deref(), Some(r#"{"id":"1","kind":"KIND 1"}"#));
}

#[test]
fn now_is_the_runs_start_in_milliseconds_and_the_same_in_all_its_queries() {
    let world = world(
        "query = '''SELECT :now AS now, pg_typeof(:now)::text AS type, extract(microseconds FROM :now)::int % 1000 AS rest, pg_sleep(0.05)::text IS NULL AS s FROM (SELECT :x::int) y'''\nkey = 't:{x}'\nvalue = 'rows'\n[for_each]\nx = { query = \"SELECT n FROM generate_series(1, 20) n WHERE :now > '2026-01-01'\" }",
    );
    world.warm(&["--now"]).exits(0).says("wrote 20 keys");
    let values: std::collections::HashSet<_> = world.keys().iter().map(|key| world.value(key)).collect();
    assert_eq!(values.len(), 1, "{values:?}");
    let value = values.into_iter().next().flatten().unwrap();
    assert!(value.contains("\"type\":\"timestamp with time zone\",\"rest\":0"), "{value}");
}

#[test]
fn sessions_run_in_utc_whatever_the_account_says() {
    let world = world(
        "query = '''SELECT now() = now()::timestamp AT TIME ZONE 'UTC' AS utc, '2026-01-05'::timestamp >= :now AS later, date '2026-02-03'::text AS day'''\nkey = 't:utc'\nvalue = 'rows'",
    );
    world.sql(&format!("ALTER ROLE warm IN DATABASE {} SET TimeZone = 'Africa/Lagos'", world.database.name));
    world.sql(&format!("ALTER ROLE warm IN DATABASE {} SET DateStyle = 'German'", world.database.name));
    world.warm(&["--now"]).exits(0);
    assert_eq!(world.value("t:utc").as_deref(), Some(r#"[{"utc":true,"later":false,"day":"2026-02-03"}]"#));
}

#[test]
fn nothing_can_be_changed_through_a_query() {
    let world = world(
        "query = 'WITH gone AS (DELETE FROM victim RETURNING x) SELECT x FROM gone'\nkey = 't:x'\nvalue = 'rows'",
    );
    world.sql("GRANT DELETE ON victim TO warm");
    world.warm(&["--now"]).exits(1).says("read-only transaction");
    assert_eq!(world.sql("SELECT x FROM victim"), "1");
}

#[test]
fn a_parameter_is_cut_to_no_length() {
    let world = world("query = 'SELECT 1 AS x'\nkey = 't:x'\nvalue = 'rows'");
    world.sql("CREATE TABLE padded (id int, c char(3), b bit(3), one \"char\", cs char(3)[]); INSERT INTO padded VALUES (1, 'NGA', '101', 'z', '{NGA}')");
    for (condition, value) in
        [("c = :v", "NGA"), ("b = :v", "101"), ("one = :v", "z"), ("c = ANY(:v)", "NGA"), (":v = ANY(cs)", "NGA")]
    {
        for format in ["prisma", "postgres"] {
            world.job(
                "job",
                &format!(
                    "query = 'SELECT id FROM padded WHERE {condition}'\nkey = 't:only'\nvalue = 'rows'\nformat = '{format}'\nfor_each.v = ['{value}']"
                ),
            );
            world.warm(&["--now"]).exits(0);
            assert_eq!(world.value("t:only").as_deref(), Some(r#"[{"id":1}]"#), "{condition} {format}");
        }
    }
}
