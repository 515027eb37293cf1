//! The statements about successes: when each job was up to date last. They are kept apart from the runs, a thousand of which may fail without one.
//!
//! Their table is made at the first success.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::{Row, SqliteConnection};

use super::table::{exists, integer};
use crate::ground::history::Record;

const TABLE: &str = "CREATE TABLE IF NOT EXISTS success (
  installation TEXT NOT NULL,
  job TEXT NOT NULL,
  ended INTEGER NOT NULL,
  keys INTEGER,
  PRIMARY KEY (installation, job)
) STRICT, WITHOUT ROWID";

/// A success that another instance answers for says nothing about keys: those of the last one before stay.
const NOTE: &str = "INSERT INTO success (installation, job, ended, keys) VALUES (?, ?, ?, ?)
ON CONFLICT DO UPDATE SET ended = excluded.ended, keys = coalesce(excluded.keys, keys)";

/// Notes that a job is up to date. The last word counts, not the latest time: a clock that was wrong must not have it for ever.
pub(super) async fn note(
    connection: &mut SqliteConnection,
    installation: &str,
    record: &Record,
) -> Result<(), sqlx::Error> {
    if !record.success {
        return Ok(());
    }
    sqlx::query(TABLE).execute(&mut *connection).await?;
    let keys = record.failure.is_none().then(|| integer(record.stats.written));
    let note = sqlx::query(NOTE).bind(installation).bind(&record.job).bind(record.ended.timestamp_millis()).bind(keys);
    note.execute(connection).await.map(|_| ())
}

/// When each job was up to date last, and the keys of its own last success, by its name.
pub(super) async fn all(
    connection: &mut SqliteConnection,
    installation: &str,
) -> Result<HashMap<String, (DateTime<Utc>, Option<u64>)>, sqlx::Error> {
    if !exists(connection, "success").await? {
        return Ok(HashMap::new());
    }
    let select = sqlx::query("SELECT job, ended, keys FROM success WHERE installation = ?").bind(installation);
    let mut found = HashMap::new();
    for row in select.fetch_all(connection).await? {
        // A time that nobody can have written is that of no success.
        if let Some(ended) = DateTime::from_timestamp_millis(row.try_get(1)?) {
            found.insert(row.try_get(0)?, (ended, row.try_get::<Option<i64>, _>(2)?.map(i64::unsigned_abs)));
        }
    }
    Ok(found)
}
