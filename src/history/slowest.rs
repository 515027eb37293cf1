//! The statements about the slowest query of each job's last run that had any.
//!
//! Their table is made at the first such run: runs have a table without such a column, which other versions of warm read, too.

use std::collections::HashMap;
use std::time::Duration;

use sqlx::{Row, SqliteConnection};

use super::table::{exists, integer};
use crate::ground::history::Record;
use crate::ground::request::Trigger;

const TABLE: &str = "CREATE TABLE IF NOT EXISTS slowest (
  installation TEXT NOT NULL,
  job TEXT NOT NULL,
  ended INTEGER NOT NULL,
  microseconds INTEGER NOT NULL,
  PRIMARY KEY (installation, job)
) STRICT, WITHOUT ROWID";

/// Notes how long the slowest query took. A refresh of some keys is no run here, as in all that is said of runs.
pub(super) async fn note(
    connection: &mut SqliteConnection,
    installation: &str,
    record: &Record,
) -> Result<(), sqlx::Error> {
    let took = record.stats.slowest_query;
    if took.is_zero() || record.trigger == Trigger::RefreshAhead {
        return Ok(());
    }
    sqlx::query(TABLE).execute(&mut *connection).await?;
    let note = "INSERT OR REPLACE INTO slowest (installation, job, ended, microseconds) VALUES (?, ?, ?, ?)";
    let note = sqlx::query(note).bind(installation).bind(&record.job).bind(record.ended.timestamp_millis());
    let took = integer(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    note.bind(took).execute(connection).await.map(|_| ())
}

/// How long the slowest query of each job's last run took, by its name.
pub(super) async fn all(
    connection: &mut SqliteConnection,
    installation: &str,
) -> Result<HashMap<String, Duration>, sqlx::Error> {
    if !exists(connection, "slowest").await? {
        return Ok(HashMap::new());
    }
    let select = sqlx::query("SELECT job, microseconds FROM slowest WHERE installation = ?").bind(installation);
    let of = |row: &sqlx::sqlite::SqliteRow| {
        Ok((row.try_get(0)?, Duration::from_micros(row.try_get::<i64, _>(1)?.unsigned_abs())))
    };
    select.fetch_all(connection).await?.iter().map(of).collect()
}
