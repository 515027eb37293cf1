//! The statements about a few keys of each job: those that its last whole run left behind. So whoever asks how warm a job is knows which keys there should be.
//!
//! Their table is made at the first such run.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::{Row, SqliteConnection};

use super::table::{DAYS, exists, integer};
use crate::ground::history::Record;
use crate::ground::sample::{LastSample, Sampled};

const TABLE: &str = "CREATE TABLE IF NOT EXISTS sample (
  installation TEXT NOT NULL,
  job TEXT NOT NULL,
  key BLOB NOT NULL,
  ended INTEGER NOT NULL,
  keys INTEGER NOT NULL,
  PRIMARY KEY (installation, job, key)
) STRICT, WITHOUT ROWID";

/// Puts the keys of this run in the place of those before, if it was a whole one.
pub(super) async fn note(
    connection: &mut SqliteConnection,
    installation: &str,
    record: &Record,
) -> Result<(), sqlx::Error> {
    let Some(Sampled { names, keys }) = &record.sample else { return Ok(()) };
    sqlx::query(TABLE).execute(&mut *connection).await?;
    let before = sqlx::query("DELETE FROM sample WHERE installation = ? AND job = ?").bind(installation);
    before.bind(&record.job).execute(&mut *connection).await?;
    for name in names {
        let insert = "INSERT OR REPLACE INTO sample (installation, job, key, ended, keys) VALUES (?, ?, ?, ?, ?)";
        let insert = sqlx::query(insert).bind(installation).bind(&record.job).bind(&name[..]);
        insert.bind(record.ended.timestamp_millis()).bind(integer(*keys)).execute(&mut *connection).await?;
    }
    // Those of a job that is gone.
    let Some(oldest) = record.ended.checked_sub_days(DAYS) else { return Ok(()) };
    let old = sqlx::query("DELETE FROM sample WHERE ended < ?").bind(oldest.timestamp_millis());
    old.execute(connection).await.map(|_| ())
}

/// The keys of each job's last whole run, by its name.
pub(super) async fn all(
    connection: &mut SqliteConnection,
    installation: &str,
) -> Result<HashMap<String, LastSample>, sqlx::Error> {
    let mut samples = HashMap::<String, LastSample>::new();
    if !exists(connection, "sample").await? {
        return Ok(samples);
    }
    let select = sqlx::query("SELECT job, key, ended, keys FROM sample WHERE installation = ?").bind(installation);
    for row in select.fetch_all(connection).await? {
        // A time that nobody can have written is that of no run.
        let Some(ended) = DateTime::<Utc>::from_timestamp_millis(row.try_get(2)?) else { continue };
        let keys = row.try_get::<i64, _>(3)?.unsigned_abs();
        let new = || LastSample { ended, sampled: Sampled { names: Vec::new(), keys } };
        samples.entry(row.try_get(0)?).or_insert_with(new).sampled.names.push(row.try_get(1)?);
    }
    Ok(samples)
}

#[cfg(test)]
mod tests {
    use sqlx::Connection;

    use super::*;
    use crate::ground::fingerprint::Fingerprint;
    use crate::ground::request::Trigger;
    use crate::ground::run::Stats;
    use crate::history::{file, table};

    fn run(minute: i64, sample: Option<&[&str]>) -> Record {
        let ended = DateTime::UNIX_EPOCH + chrono::TimeDelta::minutes(minute);
        let names = |names: &[&str]| names.iter().map(|name| name.as_bytes().to_vec()).collect();
        Record {
            job: "a".to_owned(),
            definition: Fingerprint::of(["x"]),
            trigger: Trigger::Schedule,
            started: ended,
            ended,
            stats: Stats::default(),
            failure: None,
            served: None,
            success: true,
            measure: None,
            sample: sample.map(|sample| Sampled { names: names(sample), keys: 9 }),
        }
    }

    #[tokio::test]
    async fn the_last_whole_run_counts_and_each_installation_has_its_own() {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        sqlx::raw_sql(file::TABLES).execute(&mut connection).await.unwrap();
        assert!(all(&mut connection, "here").await.unwrap().is_empty(), "there is no table yet");
        let runs = [run(1, Some(&["x", "y"])), run(2, Some(&["z", "y"])), run(3, None)];
        table::record(&mut connection, "here", &runs).await.unwrap();
        table::record(&mut connection, "elsewhere", &[run(4, Some(&["w"]))]).await.unwrap();
        let sample = all(&mut connection, "here").await.unwrap().remove("a").unwrap();
        assert_eq!(sample.ended, run(2, None).ended);
        assert_eq!(sample.sampled, Sampled { names: vec![b"y".to_vec(), b"z".to_vec()], keys: 9 });
    }
}
