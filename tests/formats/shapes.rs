//! Names, shapes, limits and keys.

use warm::encode::{self, Encoder, KeyText, ValueSpec};
use warm::ground::kind::KeyType;
use warm::ground::row::Row;
use warm::ground::value::{BigInt, ValueShape};

use crate::harness::{Fetched, WHOLE, connect, prepare, rows, setup};
use sqlx::Statement;

#[tokio::test]
async fn names_nest_hide_and_order() {
    let mut connection = connect().await;
    let sql = r#"SELECT 3 AS "_count.referredUserId", 'x' AS secret, 2.50 AS "_sum.rewardAmount", NULL::int AS "_count.other", 'r' AS "referrerId", 1 AS "7" -- end"#;
    let hide = ["secret".to_owned()];
    let keys = ["referrerId".to_owned(), "secret".to_owned()];
    let spec = ValueSpec {
        shape: &ValueShape::Rows,
        key_type: &KeyType::String,
        hide: &hide,
        key_columns: &keys,
        bigint: BigInt::String,
    };
    let prisma = rows(&mut connection, "prisma", sql, &spec).await.unwrap();
    assert_eq!(
        prisma,
        [Ok(r#"{"7":1,"_count":{"referredUserId":3,"other":null},"_sum":{"rewardAmount":"2.5"},"referrerId":"r"}"#
            .into())]
    );
    let postgres = rows(&mut connection, "postgres", sql, &spec).await.unwrap();
    assert_eq!(
        postgres,
        [Ok(r#"{"_count":{"referredUserId":3,"other":null},"_sum":{"rewardAmount":2.50},"referrerId":"r","7":1}"#
            .into())]
    );

    let columns = prepare(&mut connection, sql).await.1;
    let rewritten = encode::rewrite(encode::format("postgres").unwrap(), sql, &columns, &spec).unwrap().unwrap();
    let columns = prepare(&mut connection, &rewritten).await.1;
    let names: Vec<_> = columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(names, ["referrerId", "secret", "value"]);

    let sql = r#"SELECT 1 AS "a""b'c", 2 AS "d""e.\f ""#;
    for format in encode::formats().map(|format| format.name) {
        let found = rows(&mut connection, format, sql, &WHOLE).await.unwrap();
        assert_eq!(found, [Ok(r#"{"a\"b'c":1,"d\"e":{"\\f ":2}}"#.into())]);
    }

    let sql = "SELECT 1 AS a, 2 AS a, 3 AS b";
    let hide = ["a".to_owned()];
    let hidden = ValueSpec {
        shape: &ValueShape::Row,
        key_type: &KeyType::String,
        hide: &hide,
        key_columns: &[],
        bigint: BigInt::String,
    };
    for format in encode::formats().map(|format| format.name) {
        assert_eq!(rows(&mut connection, format, sql, &hidden).await.unwrap(), [Ok("{\"b\":3}".into())]);
        assert!(rows(&mut connection, format, sql, &WHOLE).await.is_err());
        for name in ["a", "none"] {
            let keys = [name.to_owned()];
            assert!(rows(&mut connection, format, sql, &ValueSpec { key_columns: &keys, ..hidden }).await.is_err());
        }
        let hide = ["none".to_owned()];
        assert!(rows(&mut connection, format, "SELECT 1 AS a", &ValueSpec { hide: &hide, ..WHOLE }).await.is_err());
    }
}

#[tokio::test]
async fn the_order_of_the_query_survives_its_rewriting() {
    let mut connection = connect().await;
    let sql = "SELECT i AS n FROM generate_series(1, 1000) i ORDER BY i % 7, i DESC LIMIT 500";
    assert_eq!(
        rows(&mut connection, "postgres", sql, &WHOLE).await.unwrap(),
        rows(&mut connection, "prisma", sql, &WHOLE).await.unwrap()
    );
}

#[tokio::test]
async fn one_column_as_the_value() {
    let mut connection = connect().await;
    setup(&mut connection).await;
    let shape = ValueShape::Column("v".into());
    let spec = ValueSpec { shape: &shape, ..WHOLE };
    for (expression, prisma, postgres) in [
        (r#"E'raw "text"\n'"#, "raw \"text\"\n", "raw \"text\"\n"),
        ("'ab'::char(4)", "ab  ", "ab  "),
        (r#"'{"a":  1.0}'::json"#, r#"{"a":  1.0}"#, r#"{"a":  1.0}"#),
        (r#"'{"a":  1.0}'::jsonb"#, r#"{"a": 1.0}"#, r#"{"a": 1.0}"#),
        (r#"'{"a":  1.0}'::jsonb::pg_temp.doc"#, r#"{"a": 1.0}"#, r#"{"a": 1.0}"#),
        ("'happy'::pg_temp.\"Mood\"", "\"happy\"", "\"happy\""),
        ("12.50", "\"12.5\"", "12.50"),
        ("12", "12", "12"),
        ("ARRAY[1,2]", "[1,2]", "[1,2]"),
    ] {
        let sql = format!("SELECT 1 AS other, {expression} AS v");
        for (format, expected) in [("prisma", prisma), ("prisma5", prisma), ("postgres", postgres)] {
            assert_eq!(
                rows(&mut connection, format, &sql, &spec).await,
                Ok(vec![Ok(expected.into())]),
                "{format} {sql}"
            );
        }
    }
    for format in encode::formats().map(|format| format.name) {
        for ty in ["text", "int", "jsonb", "text[]"] {
            let found = rows(&mut connection, format, &format!("SELECT NULL::{ty} AS v"), &spec).await.unwrap();
            assert!(found[0].as_ref().is_err_and(|error| error.contains("NULL")), "{found:?}");
        }
        assert!(rows(&mut connection, format, "SELECT 1 AS w", &spec).await.is_err());
    }
}

#[tokio::test]
async fn values_above_the_limit_stop_early() {
    let mut connection = connect().await;
    for (expression, length) in [
        ("repeat('a', 100000)", 100_002),
        ("repeat(E'\\n', 100000)", 200_002),
        ("array_fill('ab'::text, '{10000}')", 50_001),
        ("to_jsonb(array_fill('ab'::text, '{10000}'))", 50_001),
        ("to_json(array_fill('ab'::text, '{10000}'))", 50_001),
        ("decode(repeat('00', 10000), 'hex')", 88_891),
        ("repeat('1', 5000)::numeric", 5_000 + 9),
        ("repeat('1', 5000)::varbit", 5_002),
    ] {
        let sql = format!("SELECT {expression} AS v");
        let (statement, columns) = prepare(&mut connection, &sql).await;
        let encoder = Encoder::new(encode::format("prisma").unwrap(), &columns, &WHOLE).unwrap();
        let row = Fetched(statement.query().persistent(false).fetch_one(&mut connection).await.unwrap());
        let length = length + r#"{"v":}"#.len();
        let mut out = b"before".to_vec();
        encoder.row(&row, &mut out, length).unwrap();
        assert_eq!(out.len(), 6 + length, "{expression}");
        assert_eq!(
            encoder.row(&row, &mut b"before".to_vec(), length - 1),
            Err(encode::RowError::TooLarge),
            "{expression}"
        );
        let mut out = Vec::new();
        assert_eq!(encoder.row(&row, &mut out, 1000), Err(encode::RowError::TooLarge));
        assert!(
            out.len() < 100_100 && (out.len() < 1100 || expression.starts_with("to_json(")),
            "{expression} {}",
            out.len()
        );
    }
}

#[tokio::test]
async fn keys_take_types_without_doubt() {
    let mut connection = connect().await;
    setup(&mut connection).await;
    let sql = "SELECT 'a:b é'::text AS a, 'x'::varchar, 'ab'::char(3), 'happy'::pg_temp.\"Mood\", (-7)::int2, 8::int4, 9000000000::int8,
        4294967295::oid, true, 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'::uuid";
    let (statement, columns) = prepare(&mut connection, sql).await;
    let row = Fetched(statement.query().persistent(false).fetch_one(&mut connection).await.unwrap());
    let mut out = Vec::new();
    for (index, column) in columns.iter().enumerate() {
        KeyText::new(column).unwrap().append(row.value(index).unwrap(), &mut out).unwrap();
        out.push(b'|');
    }
    let key = "a:b é|x|ab |happy|-7|8|9000000000|4294967295|true|a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11|";
    assert_eq!(String::from_utf8(out).unwrap(), key);
    let columns =
        prepare(&mut connection, "SELECT 1.5::numeric, 1::float8, now(), '{}'::text[], '{}'::json, ''::bytea").await.1;
    assert!(columns.iter().all(|column| KeyText::new(column).is_err()));
    let error = KeyText::new(&columns[0]).unwrap_err();
    assert!(error.to_string().contains("column \"numeric\" of type numeric"), "{error}");
}

#[tokio::test]
async fn a_row_of_many_small_columns_stops_at_the_limit() {
    let mut connection = connect().await;
    let columns: Vec<_> = (0..1000).map(|at| format!("{at} AS c{at}")).collect();
    let sql = format!("SELECT {}", columns.join(", "));
    let (statement, columns) = prepare(&mut connection, &sql).await;
    let encoder = Encoder::new(encode::format("prisma").unwrap(), &columns, &WHOLE).unwrap();
    let row = Fetched(statement.query().persistent(false).fetch_one(&mut connection).await.unwrap());
    let mut out = Vec::new();
    assert_eq!(encoder.row(&row, &mut out, 100), Err(encode::RowError::TooLarge));
    assert!(out.len() < 120);
}

#[tokio::test]
async fn members_that_are_dropped_do_not_count_against_the_limit() {
    let mut connection = connect().await;
    let sql = r#"SELECT ('{"a": "' || repeat('x', 500) || '", "a": 1}')::json AS v"#;
    let (statement, columns) = prepare(&mut connection, sql).await;
    let encoder = Encoder::new(encode::format("prisma").unwrap(), &columns, &WHOLE).unwrap();
    let row = Fetched(statement.query().persistent(false).fetch_one(&mut connection).await.unwrap());
    let mut out = Vec::new();
    encoder.row(&row, &mut out, 13).unwrap();
    assert_eq!(out, br#"{"v":{"a":1}}"#);
}

#[tokio::test]
async fn a_bigint_is_a_string_or_a_number_as_the_application_has_chosen() {
    let mut connection = connect().await;
    let sql = "SELECT 9007199254740993 AS a, ARRAY[1, -9223372036854775808]::int8[] AS b";
    let number = ValueSpec { bigint: BigInt::Number, ..WHOLE };
    for format in ["prisma", "prisma5"] {
        let found = rows(&mut connection, format, sql, &number).await.unwrap();
        assert_eq!(
            found,
            [Ok(r#"{"a":9007199254740992,"b":[1,-9223372036854776000]}"#.to_owned())],
            "as Number() rounds"
        );
        let found = rows(&mut connection, format, sql, &WHOLE).await.unwrap();
        assert_eq!(found, [Ok(r#"{"a":"9007199254740993","b":["1","-9223372036854775808"]}"#.to_owned())]);
    }
}
