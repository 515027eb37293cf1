//! Queries against the tests' PostgreSQL, through a format.

use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Column as _, Connection, Executor, Row as _, SqlSafeStr, Statement, ValueRef};
use warm::encode::{self, Encoder, ValueSpec};
use warm::ground::kind::KeyType;
use warm::ground::row::{Column, Row};
use warm::ground::value::{BigInt, ValueShape};
use warm::source::types::resolve;

use crate::support::postgres::Postgres;

/// A connection of the superuser to the tests' PostgreSQL.
pub(crate) async fn connect() -> PgConnection {
    let url = Postgres::shared().named("postgres").admin_url();
    let mut connection = PgConnection::connect(&url).await.unwrap();
    connection.execute("SET TimeZone = 'UTC'; SET DateStyle = 'ISO'").await.unwrap();
    connection
}

pub(crate) struct Fetched(pub(crate) PgRow);

impl Row for Fetched {
    fn value(&self, index: usize) -> Option<&[u8]> {
        let value = self.0.try_get_raw(index).ok()?;
        if value.is_null() { None } else { value.as_bytes().ok() }
    }
}

pub(crate) async fn prepare(connection: &mut PgConnection, sql: &str) -> (sqlx::postgres::PgStatement, Vec<Column>) {
    let sql = AssertSqlSafe(sql.to_owned()).into_sql_str();
    let statement = (&mut *connection).prepare(sql).await.unwrap();
    connection.clear_cached_statements().await.unwrap();
    let column = |column: &sqlx::postgres::PgColumn| Column {
        name: column.name().to_owned(),
        ty: resolve(column.type_info()).into(),
    };
    let columns = statement.columns().iter().map(column).collect();
    (statement, columns)
}

/// What each row of a query becomes; a bad row gives its error.
pub(crate) async fn rows(
    connection: &mut PgConnection,
    format: &str,
    sql: &str,
    spec: &ValueSpec<'_>,
) -> Result<Vec<Result<String, String>>, String> {
    let format = encode::format(format).unwrap();
    let mut transaction = connection.begin().await.unwrap();
    let (mut statement, mut columns) = prepare(&mut transaction, sql).await;
    let rewritten = encode::rewrite(format, sql, &columns, spec).map_err(|error| error.to_string())?;
    if let Some(sql) = rewritten {
        (statement, columns) = prepare(&mut transaction, &sql).await;
    }
    let encoder = Encoder::new(format, &columns, spec).map_err(|error| error.to_string())?;
    let rows = statement.query().persistent(false).fetch_all(&mut *transaction).await.unwrap();
    let encoded = rows.into_iter().map(|row| {
        let mut out = b"before".to_vec();
        let result = encoder.row(&Fetched(row), &mut out, 1 << 20).map_err(|error| error.to_string());
        result.map(|()| String::from_utf8(out[6..].to_vec()).unwrap())
    });
    Ok(encoded.collect())
}

pub(crate) const WHOLE: ValueSpec<'static> = ValueSpec {
    shape: &ValueShape::Row,
    key_type: &KeyType::String,
    hide: &[],
    key_columns: &[],
    bigint: BigInt::String,
};

/// The object of the one row that a query gives.
pub(crate) async fn object(connection: &mut PgConnection, format: &str, sql: &str) -> Result<String, String> {
    rows(connection, format, sql, &WHOLE).await?.remove(0)
}

/// Types of our own, in a schema that only this connection sees.
pub(crate) async fn setup(connection: &mut PgConnection) {
    let sql = r#"
        SET client_min_messages = 'warning';
        CREATE TYPE pg_temp."Mood" AS ENUM ('happy', 'so-so "quoted"', 'größer');
        CREATE DOMAIN pg_temp.price AS numeric(12, 4) CHECK (VALUE >= 0);
        CREATE DOMAIN pg_temp.fine_price AS pg_temp.price;
        CREATE DOMAIN pg_temp.tags AS text[];
        CREATE DOMAIN pg_temp.doc AS jsonb;
        CREATE TYPE pg_temp.inner_type AS (x int, dropped text, "2" float4, "1" timestamp, mood pg_temp."Mood");
        ALTER TYPE pg_temp.inner_type DROP ATTRIBUTE dropped;
        CREATE TYPE pg_temp.outer_type AS (id uuid, one pg_temp.inner_type, many pg_temp.inner_type[], tags text[], price pg_temp.price);
        CREATE DOMAIN pg_temp.mood_domain AS pg_temp."Mood" CHECK (VALUE <> 'happy');
        CREATE DOMAIN pg_temp.inner_domain AS pg_temp.inner_type;
        CREATE TYPE pg_temp.empty_type AS ();
        CREATE TEMP TABLE event (id int, gone int, title text, tags text[], at timestamp(3), doc jsonb);
        ALTER TABLE event DROP COLUMN gone;
        INSERT INTO event VALUES (1, 'a "b"', '{x}', '2024-05-06 07:08:09.123', '{"b": 1.0, "a": [1, 2]}'), (2, NULL, NULL, NULL, NULL);
    "#;
    connection.execute(AssertSqlSafe(sql.to_owned())).await.unwrap();
}
