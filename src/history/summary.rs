//! What all runs of a job come to, for people who ask how it is. As in the table, the last run is the one with the highest number.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::{Row, SqliteConnection};

use super::passed;
use crate::ground::error::ErrorKind;
use crate::ground::history::{PastRun, Summary};

/// How a run ended well.
const OK: &str = "ok";

/// The runs that matter, oldest first: of each job its last one, its last good one and its last failed one.
const LAST: &str = "
SELECT job, ended, written, outcome, message FROM run WHERE id IN (
  SELECT max(id) FROM run WHERE installation = ?1 AND outcome <> ?3 GROUP BY job
  UNION SELECT max(id) FROM run WHERE installation = ?1 AND outcome IN (?2, ?3) GROUP BY job
  UNION SELECT max(id) FROM run WHERE installation = ?1 AND outcome NOT IN (?2, ?3) GROUP BY job)
ORDER BY id";

const COUNTS: &str = "
SELECT job, count(*) FILTER (WHERE outcome = ?2), count(*) FILTER (WHERE outcome <> ?2)
FROM run WHERE installation = ?1 AND outcome <> ?3 GROUP BY job";

/// What is known of each job's runs, by its name.
pub(super) async fn all(
    connection: &mut SqliteConnection,
    installation: &str,
) -> Result<HashMap<String, Summary>, sqlx::Error> {
    // In a file that may only be read, such starts still stand among the runs.
    let elsewhere = format!("{:?}", ErrorKind::ServedElsewhere);
    let mut summaries = HashMap::<String, Summary>::new();
    let select = sqlx::query(LAST).bind(installation).bind(OK).bind(&elsewhere);
    for row in select.fetch_all(&mut *connection).await? {
        let (job, ended, keys): (String, i64, i64) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        let (outcome, message): (String, Option<String>) = (row.try_get(3)?, row.try_get(4)?);
        // A time that nobody can have written is that of no run.
        let Some(ended) = DateTime::<Utc>::from_timestamp_millis(ended) else { continue };
        let summary = summaries.entry(job).or_default();
        if outcome == OK || outcome == elsewhere {
            summary.last_success = Some(ended);
        }
        if outcome == elsewhere {
            continue;
        }
        let failure = (outcome != OK).then(|| (outcome, message.unwrap_or_default()));
        let run = PastRun { ended, keys: keys.unsigned_abs(), failure };
        if run.failure.is_some() {
            summary.last_failure = Some(run.clone());
        }
        summary.last_run = Some(run);
    }
    for (job, time) in passed::elsewhere(connection, installation).await? {
        let last = &mut summaries.entry(job).or_default().last_success;
        *last = (*last).max(Some(time));
    }
    let select = sqlx::query(COUNTS).bind(installation).bind(OK).bind(&elsewhere);
    for row in select.fetch_all(connection).await? {
        let (succeeded, failed): (i64, i64) = (row.try_get(1)?, row.try_get(2)?);
        let summary = summaries.entry(row.try_get(0)?).or_default();
        (summary.succeeded, summary.failed) = (succeeded.unsigned_abs(), failed.unsigned_abs());
    }
    Ok(summaries)
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use sqlx::Connection;

    use super::*;
    use crate::ground::error::Error;
    use crate::ground::fingerprint::Fingerprint;
    use crate::ground::history::Record;
    use crate::ground::passed::{Passed, Reason};
    use crate::ground::request::Trigger;
    use crate::ground::run::Stats;
    use crate::history::passed::Unwritten;
    use crate::history::{file, served, table};

    /// A run that ended this many minutes after the epoch, and wrote as many keys.
    fn run(job: &str, minute: u32, failure: Option<ErrorKind>) -> Record {
        let ended = DateTime::UNIX_EPOCH + TimeDelta::minutes(minute.into());
        Record {
            job: job.to_owned(),
            definition: Fingerprint::of(["x"]),
            trigger: Trigger::Schedule,
            started: ended,
            ended,
            stats: Stats { written: minute.into(), ..Stats::default() },
            failure: failure.map(|kind| Error::new(kind, "words")),
            served: None,
            measure: None,
        }
    }

    async fn summary(runs: &[Record]) -> Summary {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        sqlx::raw_sql(file::TABLES).execute(&mut connection).await.unwrap();
        table::record(&mut connection, "here", runs).await.unwrap();
        table::record(&mut connection, "elsewhere", &[run("a", 99, None)]).await.unwrap();
        table::record(&mut connection, "here", &[run("b", 98, Some(ErrorKind::Row))]).await.unwrap();
        all(&mut connection, "here").await.unwrap().remove("a").unwrap_or_default()
    }

    fn at(minute: i64) -> Option<DateTime<Utc>> {
        Some(DateTime::UNIX_EPOCH + TimeDelta::minutes(minute))
    }

    #[tokio::test]
    async fn the_last_of_each_kind_counts() {
        assert_eq!(summary(&[]).await, Summary::default());
        // The last run is the one that was recorded last, whatever the clock said.
        let runs = [run("a", 7, None), run("a", 3, Some(ErrorKind::Query)), run("a", 5, None), run("a", 4, None)];
        let found = summary(&runs).await;
        assert_eq!((found.succeeded, found.failed, found.last_success), (3, 1, at(4)));
        assert_eq!(found.last_run.unwrap().keys, 4);
        let failure = found.last_failure.unwrap();
        assert_eq!((Some(failure.ended), failure.failure), (at(3), Some(("Query".to_owned(), "words".to_owned()))));
    }

    #[tokio::test]
    async fn what_another_instance_has_served_is_a_success_and_no_run() {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        sqlx::raw_sql(file::TABLES).execute(&mut connection).await.unwrap();
        let served = Record { served: at(2), ..run("a", 2, Some(ErrorKind::ServedElsewhere)) };
        let runs = [run("a", 1, Some(ErrorKind::PostgresLost)), served];
        table::record(&mut connection, "here", &runs).await.unwrap();
        let unwritten = Unwritten::default();
        for (job, minute) in [("a", 2), ("b", 5)] {
            let due = at(minute).unwrap();
            unwritten.add(&Passed { job: job.to_owned(), due, count: 1, reason: Reason::Elsewhere }, due);
        }
        passed::record(&mut connection, "here", &unwritten.take()).await.unwrap();
        let found = all(&mut connection, "here").await.unwrap();
        assert_eq!((found["a"].succeeded, found["a"].failed, found["a"].last_success), (0, 1, at(2)));
        assert_eq!(found["a"].last_run.clone().and_then(|run| run.failure).unwrap().0, "PostgresLost");
        assert_eq!(found["b"], Summary { last_success: at(5), ..Summary::default() });
        assert_eq!(served::all(&mut connection, "here").await.unwrap()["a"], at(2).unwrap());
        table::record(&mut connection, "here", &[run("a", 3, None)]).await.unwrap();
        assert_eq!(all(&mut connection, "here").await.unwrap()["a"].last_success, at(3));
    }

    #[tokio::test]
    async fn an_old_file_that_may_only_be_read_says_the_same() {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        sqlx::raw_sql(file::TABLES).execute(&mut connection).await.unwrap();
        table::record(&mut connection, "here", &[run("a", 1, None), run("a", 2, None)]).await.unwrap();
        let old = "UPDATE run SET outcome = 'ServedElsewhere' WHERE ended = 120000";
        sqlx::query(old).execute(&mut connection).await.unwrap();
        let found = all(&mut connection, "here").await.unwrap();
        assert_eq!((found["a"].succeeded, found["a"].failed, found["a"].last_success), (1, 0, at(2)));
    }
}
