//! The statements about what was learned of each job's keys, for the next process. Their table is made when there is something to note.

use std::collections::HashMap;

use sqlx::{Connection, Row, SqliteConnection};

use super::table::exists;

const TABLE: &str = "CREATE TABLE IF NOT EXISTS demand (
  installation TEXT NOT NULL,
  job TEXT NOT NULL,
  learned TEXT NOT NULL,
  PRIMARY KEY (installation, job)
) STRICT, WITHOUT ROWID";

/// Notes what was learned of these jobs, in the place of what was before; nothing is kept of any other.
pub(super) async fn note(
    connection: &mut SqliteConnection,
    installation: &str,
    learned: &[(String, String)],
) -> Result<(), sqlx::Error> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    sqlx::query(TABLE).execute(&mut *transaction).await?;
    sqlx::query("DELETE FROM demand WHERE installation = ?").bind(installation).execute(&mut *transaction).await?;
    for (job, learned) in learned {
        let insert = sqlx::query("INSERT INTO demand (installation, job, learned) VALUES (?, ?, ?)");
        insert.bind(installation).bind(job).bind(learned).execute(&mut *transaction).await?;
    }
    transaction.commit().await
}

/// What was learned of each job's keys, by its name.
pub(super) async fn all(
    connection: &mut SqliteConnection,
    installation: &str,
) -> Result<HashMap<String, String>, sqlx::Error> {
    if !exists(connection, "demand").await? {
        return Ok(HashMap::new());
    }
    let select = sqlx::query("SELECT job, learned FROM demand WHERE installation = ?").bind(installation);
    let rows = select.fetch_all(connection).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}
