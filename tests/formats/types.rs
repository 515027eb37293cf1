//! Each type, with its nasty values.

use std::fmt::Write;

use sqlx::{AssertSqlSafe, Executor};

use crate::harness::{WHOLE, connect, object, rows, setup};

/// An expression, what `prisma` prints, what `prisma5` prints; `!` is a row that cannot be written.
type Case = (&'static str, &'static str, &'static str);

fn same((expression, text): &(&'static str, &'static str)) -> Case {
    (expression, text, text)
}

async fn check(cases: impl IntoIterator<Item = Case>) {
    let mut connection = connect().await;
    setup(&mut connection).await;
    let mut wrong = String::new();
    for (expression, seven, five) in cases {
        let sql = format!("SELECT {expression} AS v");
        let server: String = sqlx::query_scalar(AssertSqlSafe(format!("SELECT row_to_json(r)::text FROM ({sql}) r")))
            .fetch_one(&mut connection)
            .await
            .unwrap();
        let expected = |text: &str| {
            if text == "!" { None } else { Some(format!("{{\"v\":{text}}}")) }
        };
        for (format, expected) in [("prisma", expected(seven)), ("prisma5", expected(five)), ("postgres", Some(server))]
        {
            let found = object(&mut connection, format, &sql).await;
            if found.as_ref().ok() != expected.as_ref() {
                writeln!(wrong, "{format} {expression}\n  expected {expected:?}\n  found    {found:?}").unwrap();
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[tokio::test]
async fn text_and_its_kin() {
    let cases = [
        ("'plain'::text", r#""plain""#),
        (r#"E'\b\f\n\r\t"\\/\x01\x1f\x7f'::text"#, "\"\\b\\f\\n\\r\\t\\\"\\\\/\\u0001\\u001f\x7f\""),
        ("U&'\\2028\\2029é\\+01F600'::varchar", "\"\u{2028}\u{2029}é\u{1F600}\""),
        ("''::text", r#""""#),
        ("'ab'::char(5)", r#""ab   ""#),
        ("'n'::name", r#""n""#),
        ("'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'::uuid", r#""a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11""#),
        ("'<a b=\"c\"/>'::xml", r#""<a b=\"c\"/>""#),
        ("B'10110'::bit(5)", r#""10110""#),
        ("B'1011011101'::varbit", r#""1011011101""#),
        ("B''::varbit", r#""""#),
        ("'happy'::pg_temp.\"Mood\"", r#""happy""#),
        ("'so-so \"quoted\"'::pg_temp.\"Mood\"", r#""so-so \"quoted\"""#),
        ("NULL::text", "null"),
    ];
    check(cases.iter().map(same)).await;
}

#[tokio::test]
async fn addresses() {
    let texts = [
        "192.168.0.1",
        "192.168.0.1/24",
        "0.0.0.0/0",
        "255.255.255.255",
        "::",
        "::1",
        "::2",
        "::1.2.3.4",
        "::ffff:1.2.3.4",
        "::ffff:0:0",
        "::1:0:0",
        "1::",
        "1:0:0:2::",
        "1:0:2:0:3:0:4:0",
        "1:0:0:2:3:0:0:4",
        "fe80::1/64",
        "2001:db8::/32",
        "0:0:1::",
        "1:2:3:4:5:6:7:8",
        "::ffff:abcd:1",
        "0:1:0:0:0:0:0:0",
        "::/0",
        "0:0:0:0:0:1::",
        "::1:2.3.4.5",
        "abcd:ef01::0a0b",
    ];
    let mut connection = connect().await;
    for text in texts {
        for sql in [format!("SELECT '{text}'::inet AS v"), format!("SELECT network('{text}'::inet) AS v")] {
            let server: String =
                sqlx::query_scalar(AssertSqlSafe(format!("SELECT row_to_json(r)::text FROM ({sql}) r")))
                    .fetch_one(&mut connection)
                    .await
                    .unwrap();
            assert_eq!(object(&mut connection, "prisma", &sql).await.unwrap(), server);
        }
    }
}

#[tokio::test]
async fn numbers() {
    let cases = [
        ("true", "true"),
        ("false", "false"),
        ("NULL::bool", "null"),
        ("(-32768)::int2", "-32768"),
        ("2147483647::int4", "2147483647"),
        ("4294967295::oid", "4294967295"),
        ("9223372036854775807::int8", r#""9223372036854775807""#),
        ("(-9223372036854775808)::int8", r#""-9223372036854775808""#),
        ("1::float8", "1"),
        ("0.000001::float8", "0.000001"),
        ("1e-7::float8", "1e-7"),
        ("1e20::float8", "100000000000000000000"),
        ("1e21::float8", "1e+21"),
        ("'-0'::float8", "0"),
        ("'NaN'::float8", "null"),
        ("'-Infinity'::float8", "null"),
        ("0.1::float4", "0.1"),
        ("1677721::float4", "1677721"),
        ("1e21::float4", "1e+21"),
        ("'-0'::float4", "0"),
        ("'NaN'::float4", "null"),
        ("1.10::numeric", r#""1.1""#),
        ("100::numeric", r#""100""#),
        ("-0.00::numeric", r#""0""#),
        ("0.000001::numeric", r#""0.000001""#),
        ("0.0000001::numeric", r#""1e-7""#),
        ("-0.00000012345::numeric", r#""-1.2345e-7""#),
        ("1e20::numeric", r#""100000000000000000000""#),
        ("1e21::numeric", r#""1e+21""#),
        ("1234567890123456789012.50::numeric", r#""1.2345678901234567890125e+21""#),
        ("123456789012345678901.50::numeric", r#""123456789012345678901.5""#),
        ("10000.0001::numeric", r#""10000.0001""#),
        ("99990000::numeric", r#""99990000""#),
        ("0.00010002::numeric", r#""0.00010002""#),
        ("12.5::money", r#""12.5""#),
        ("1::money", r#""1""#),
        ("0.05::money", r#""0.05""#),
        ("12.5000::pg_temp.price", r#""12.5""#),
        ("7::pg_temp.fine_price", r#""7""#),
    ];
    check(cases.iter().map(same)).await;
    check([
        ("(0.1::float8 + 0.2)", "0.30000000000000004", "0.3"),
        ("(1::float8 / 3)", "0.3333333333333333", "0.3333333333333333"),
        ("123456.789::float4", "123456.79", "123456.8"),
        ("(1.0/3)::float4", "0.33333334", "0.3333333"),
        ("16777216::float4", "16777216", "16777220"),
        ("1e-45::float4", "1e-45", "1.401298e-45"),
        ("1234566.5::float4", "1234566.5", "1234567"),
        ("'NaN'::numeric", r#""NaN""#, "!"),
        ("'Infinity'::numeric", r#""Infinity""#, "!"),
        ("'-Infinity'::numeric", r#""-Infinity""#, "!"),
    ])
    .await;
}

#[tokio::test]
async fn float4_shows_the_digits_that_postgres_sends() {
    let mut connection = connect().await;
    let sql = "SELECT x, x::text::float8 AS y FROM (
        SELECT (33554432 + 4 * i)::float4 AS x FROM generate_series(1, 20000) i
        UNION ALL SELECT (800.0 * (2 * i + 1) + 536870912 + s)::float4 FROM generate_series(1, 5000) i, unnest('{32,-32}'::int[]) s
        UNION ALL SELECT power(2::float8, i)::float4 FROM generate_series(-149, 127) i
        UNION ALL SELECT (random() * power(10::float8, i % 60 - 30))::float4 FROM generate_series(1, 20000) i) q";
    for row in rows(&mut connection, "prisma", sql, &WHOLE).await.unwrap() {
        let row = row.unwrap();
        let (x, y) = row.split_once(',').unwrap();
        assert_eq!(x.strip_prefix("{\"x\":"), y.strip_suffix('}').and_then(|y| y.strip_prefix("\"y\":")));
    }
}

#[tokio::test]
async fn dates_and_times() {
    let cases = [
        ("'2024-05-06 07:08:09.123456'::timestamp", r#""2024-05-06T07:08:09.123Z""#),
        ("'2024-05-06 07:08:09.9999'::timestamp", r#""2024-05-06T07:08:09.999Z""#),
        ("'1969-12-31 23:59:59.9999'::timestamp", r#""1969-12-31T23:59:59.999Z""#),
        ("'2024-05-06 07:08:09+02'::timestamptz", r#""2024-05-06T05:08:09.000Z""#),
        ("'0001-01-01'::timestamp", r#""0001-01-01T00:00:00.000Z""#),
        ("'9999-12-31 23:59:59.999999'::timestamp", r#""9999-12-31T23:59:59.999Z""#),
        ("'2024-02-29'::date", r#""2024-02-29T00:00:00.000Z""#),
        ("'1900-03-01'::date", r#""1900-03-01T00:00:00.000Z""#),
        ("'12:34:56.789999'::time", r#""1970-01-01T12:34:56.789Z""#),
        ("'24:00:00'::time", r#""1970-01-02T00:00:00.000Z""#),
        ("'12:34:56+05:30'::timetz", r#""1970-01-01T12:34:56.000Z""#),
    ];
    check(cases.iter().map(same)).await;
    let odd = [
        "'infinity'::timestamp",
        "'-infinity'::timestamptz",
        "'10000-01-01'::timestamp",
        "'0001-12-31 BC'::timestamp",
        "'infinity'::date",
        "'-infinity'::date",
        "'10000-01-01'::date",
        "'0044-03-15 BC'::date",
        "'294276-12-31'::timestamp",
    ];
    check(odd.map(|expression| (expression, "null", "!"))).await;
}

#[tokio::test]
async fn documents_and_bytes() {
    let cases = [
        (
            r#"'{"b": 1.0, "a": [1, 2.50, -0, 1E400, 1e-7], "c": {}}'::json"#,
            r#"{"b":1,"a":[1,2.5,0,null,1e-7],"c":{}}"#,
        ),
        (
            r#"'{"b": 1, "10": 2, "9": 3, "01": 4, "4294967294": 5, "4294967295": 6, "-1": 7}'::json"#,
            r#"{"9":3,"10":2,"4294967294":5,"b":1,"01":4,"4294967295":6,"-1":7}"#,
        ),
        (r#"'{"b": 1, "a": 2, "b": {"x": 3}, "a": [4]}'::json"#, r#"{"b":{"x":3},"a":[4]}"#),
        (r#"'{"b": 1, "10": 2, "bb": {"z": 1, "0": 2}, "9": 3}'::jsonb"#, r#"{"9":3,"10":2,"b":1,"bb":{"0":2,"z":1}}"#),
        (r#"'"\u00e9\ud83d\ude00\/\u001F\u0022\u2028"'::json"#, "\"é\u{1F600}/\\u001f\\\"\u{2028}\""),
        (r#"'"\uD800 \udc00\uDBFFx\ud83d\ud83d\ude00"'::json"#, "\"\\ud800 \\udc00\\udbffx\\ud83d\u{1F600}\""),
        (r#"'{"\u0061": 1, "a": 2, "\u0031": 3}'::json"#, r#"{"1":3,"a":2}"#),
        ("' null '::json", "null"),
        ("'\"s\"'::jsonb", r#""s""#),
        ("' [ ] '::json", "[]"),
        ("'{ }'::json", "{}"),
        ("'12345678901234567890'::jsonb", "12345678901234567000"),
        ("'0.1000'::jsonb", "0.1"),
        ("'123456789012345'::json", "123456789012345"),
        ("NULL::jsonb", "null"),
        ("'{\"b\": 1.50}'::jsonb::pg_temp.doc", r#"{"b":1.5}"#),
    ];
    check(cases.iter().map(same)).await;
    check([
        (r"'\xDEAD00'::bytea", r#"{"0":222,"1":173,"2":0}"#, r#"{"type":"Buffer","data":[222,173,0]}"#),
        ("''::bytea", "{}", r#"{"type":"Buffer","data":[]}"#),
    ])
    .await;
}

#[tokio::test]
async fn arrays() {
    let cases = [
        ("ARRAY['a', 'b\"', '']", r#"["a","b\"",""]"#),
        ("'{}'::text[]", "[]"),
        ("NULL::text[]", "[]"),
        ("NULL::int[]", "[]"),
        ("ARRAY[1, -2]::int8[]", r#"["1","-2"]"#),
        ("ARRAY[1.50, 2]::numeric[]", r#"["1.5","2"]"#),
        ("'[5:6]={1,2}'::int[]", "[1,2]"),
        (r#"ARRAY['{"a": 1.0}', '[]']::jsonb[]"#, r#"[{"a":1},[]]"#),
        ("ARRAY[true, false]", "[true,false]"),
        ("ARRAY['happy', 'größer']::pg_temp.\"Mood\"[]", r#"["happy","größer"]"#),
        ("ARRAY['2024-01-02'::date]", r#"["2024-01-02T00:00:00.000Z"]"#),
        ("ARRAY[1.5, 2]::pg_temp.price[]", r#"["1.5","2"]"#),
        ("'{a,b}'::pg_temp.tags", r#"["a","b"]"#),
        ("NULL::pg_temp.tags", "[]"),
        ("ARRAY['ab']::char(3)[]", r#"["ab "]"#),
        ("ARRAY['a']::name[]", r#"["a"]"#),
        ("ARRAY['10.0.0.1']::inet[]", r#"["10.0.0.1"]"#),
    ];
    check(cases.iter().map(same)).await;
    check(
        ["ARRAY['a', NULL]", "ARRAY[NULL]::int[]", "ARRAY[[1, 2], [3, 4]]", "ARRAY[[['a']]]"].map(|it| (it, "!", "!")),
    )
    .await;
    check([(
        r"ARRAY['\x01', '\x']::bytea[]",
        r#"[{"0":1},{}]"#,
        r#"[{"type":"Buffer","data":[1]},{"type":"Buffer","data":[]}]"#,
    )])
    .await;
}

#[tokio::test]
async fn composites() {
    let inner = "ROW(1, 0.5, '2024-05-06 07:08:09', 'happy')::pg_temp.inner_type";
    let text = r#"{"1":"2024-05-06T07:08:09.000Z","2":0.5,"x":1,"mood":"happy"}"#;
    let nulls = r#"{"1":null,"2":null,"x":null,"mood":null}"#;
    let event = r#"{"id":1,"title":"a \"b\"","tags":["x"],"at":"2024-05-06T07:08:09.123Z","doc":{"a":[1,2],"b":1}}"#;
    let leak = |text: String| -> &'static str { text.leak() };
    let cases = [
        (inner.to_owned(), text.to_owned()),
        (format!("{inner}::pg_temp.inner_domain"), text.to_owned()),
        (format!("ARRAY[{inner}::pg_temp.inner_domain]"), format!("[{text}]")),
        ("ARRAY['größer'::pg_temp.mood_domain]".into(), r#"["größer"]"#.into()),
        ("NULL::pg_temp.inner_type".into(), "null".into()),
        ("ROW(NULL, NULL, NULL, NULL)::pg_temp.inner_type".into(), nulls.into()),
        (format!("ARRAY[{inner}, {inner}]"), format!("[{text},{text}]")),
        ("'{}'::pg_temp.inner_type[]".into(), "[]".into()),
        (format!("ARRAY[{inner}, NULL]"), "!".into()),
        (
            format!(
                "ROW('A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', {inner}, ARRAY[{inner}], NULL, 1.50)::pg_temp.outer_type"
            ),
            format!(
                r#"{{"id":"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11","one":{text},"many":[{text}],"tags":[],"price":"1.5"}}"#
            ),
        ),
        ("ROW()::pg_temp.empty_type".into(), "{}".into()),
        ("(SELECT e FROM event e WHERE id = 1)".into(), event.into()),
        (
            "(SELECT e FROM event e WHERE id = 2)".into(),
            r#"{"id":2,"title":null,"tags":[],"at":null,"doc":null}"#.into(),
        ),
        ("(SELECT e FROM event e WHERE id = 3)".into(), "null".into()),
    ];
    check(cases.map(|(expression, text)| same(&(leak(expression), leak(text))))).await;
}

#[tokio::test]
async fn types_that_are_not_known_are_refused_by_name() {
    let mut connection = connect().await;
    setup(&mut connection).await;
    let mut messages = String::new();
    for expression in [
        "'1 day'::interval",
        "'(1,2)'::point",
        "'a'::tsvector",
        "'[1,2]'::int4range",
        "'08:00:2b:01:02:03'::macaddr",
        "ARRAY['a'::\"char\"]",
        "'a'::\"char\"",
        "ARRAY['1 day'::interval]",
        "'pg_class'::regclass",
        "'$.a'::jsonpath",
        "'1 2'::int2vector",
        "ROW(1, 'x')",
        "ARRAY['{a}'::pg_temp.tags]",
    ] {
        for format in ["prisma", "prisma5"] {
            let error =
                object(&mut connection, format, &format!("SELECT 1 AS ok, {expression} AS v")).await.unwrap_err();
            writeln!(messages, "{error}").unwrap();
        }
        object(&mut connection, "postgres", &format!("SELECT 1 AS ok, {expression} AS v")).await.unwrap();
    }
    connection.execute("CREATE TYPE pg_temp.odd AS (a int, at interval)").await.unwrap();
    writeln!(
        messages,
        "{}",
        object(&mut connection, "prisma", "SELECT ARRAY[ROW(1, '1 day')::pg_temp.odd] AS v").await.unwrap_err()
    )
    .unwrap();
    insta::assert_snapshot!(messages);
}
