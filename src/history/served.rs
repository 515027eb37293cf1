//! The statements about due times: which one each job has served last, so that a process that begins knows what was missed.
//!
//! Its table is made when a job is first run by its schedule.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::{Row, SqliteConnection};

use super::table::exists;
use crate::ground::history::Record;

const TABLE: &str = "CREATE TABLE IF NOT EXISTS served (
  installation TEXT NOT NULL,
  job TEXT NOT NULL,
  due INTEGER NOT NULL,
  PRIMARY KEY (installation, job)
) STRICT, WITHOUT ROWID";

/// Notes the due time that a run has served. The last word counts, not the latest time: a clock that was wrong must not have it for ever.
pub(super) async fn note(
    connection: &mut SqliteConnection,
    installation: &str,
    record: &Record,
) -> Result<(), sqlx::Error> {
    let Some(due) = record.served else { return Ok(()) };
    sqlx::query(TABLE).execute(&mut *connection).await?;
    let replace = sqlx::query("INSERT OR REPLACE INTO served (installation, job, due) VALUES (?, ?, ?)");
    let replace = replace.bind(installation).bind(&record.job).bind(due.timestamp_millis());
    replace.execute(connection).await.map(|_| ())
}

/// The due time that each job has served last, by its name.
pub(super) async fn all(
    connection: &mut SqliteConnection,
    installation: &str,
) -> Result<HashMap<String, DateTime<Utc>>, sqlx::Error> {
    if !exists(connection, "served").await? {
        return Ok(HashMap::new());
    }
    let select = sqlx::query("SELECT job, due FROM served WHERE installation = ?").bind(installation);
    let mut served = HashMap::new();
    for row in select.fetch_all(connection).await? {
        // What nobody can have written is not known.
        if let Some(due) = DateTime::from_timestamp_millis(row.try_get(1)?) {
            served.insert(row.try_get(0)?, due);
        }
    }
    Ok(served)
}
