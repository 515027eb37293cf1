//! What all runs of a job come to, for people who ask how it is. As in the table, the last run is the one with the highest number.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::{Row, SqliteConnection};

use super::{slowest, success};
use crate::ground::history::{PastRun, Summary};
use crate::ground::request::Trigger;

/// How a run ended well.
const OK: &str = "ok";

/// The runs that matter, oldest first: of each job its last one, its last failed one, and its last refresh.
const LAST: &str = "
SELECT job, ended, written, outcome, message, \"trigger\" FROM run WHERE id IN (
  SELECT max(id) FROM run WHERE installation = ?1 GROUP BY job, \"trigger\" = ?3
  UNION SELECT max(id) FROM run WHERE installation = ?1 AND outcome <> ?2 AND \"trigger\" <> ?3 GROUP BY job)
ORDER BY id";

const COUNTS: &str = "
SELECT job, min(started), count(*) FILTER (WHERE outcome = ?2 AND \"trigger\" <> ?3),
  count(*) FILTER (WHERE outcome <> ?2 AND \"trigger\" <> ?3)
FROM run WHERE installation = ?1 GROUP BY job";

/// What is known of each job's runs, by its name.
pub(super) async fn all(
    connection: &mut SqliteConnection,
    installation: &str,
) -> Result<HashMap<String, Summary>, sqlx::Error> {
    let refresh = Trigger::RefreshAhead.name();
    let mut summaries = HashMap::<String, Summary>::new();
    for (job, (ended, keys)) in success::all(connection, installation).await? {
        summaries.insert(job, Summary { last_success: Some(ended), keys, ..Summary::default() });
    }
    let select = sqlx::query(LAST).bind(installation).bind(OK).bind(refresh);
    for row in select.fetch_all(&mut *connection).await? {
        let (job, ended, keys): (String, i64, i64) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        let (outcome, message): (String, Option<String>) = (row.try_get(3)?, row.try_get(4)?);
        // A time that nobody can have written is that of no run.
        let Some(ended) = DateTime::<Utc>::from_timestamp_millis(ended) else { continue };
        let failure = (outcome != OK).then(|| (outcome, message.unwrap_or_default()));
        let run = PastRun { ended, keys: keys.unsigned_abs(), failure };
        let summary = summaries.entry(job).or_default();
        if row.try_get::<String, _>(5)? == refresh {
            let is_news = run.failure.is_some() && summary.last_success.is_none_or(|last| last <= ended);
            summary.failed_refresh = Some(run).filter(|_| is_news);
            continue;
        }
        if run.failure.is_some() {
            summary.last_failure = Some(run.clone());
        }
        summary.last_run = Some(run);
    }
    for (job, took) in slowest::all(&mut *connection, installation).await? {
        summaries.entry(job).or_default().slowest_query = Some(took);
    }
    let select = sqlx::query(COUNTS).bind(installation).bind(OK).bind(refresh);
    for row in select.fetch_all(connection).await? {
        let (first, succeeded, failed): (i64, i64, i64) = (row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
        let summary = summaries.entry(row.try_get(0)?).or_default();
        summary.known_since = DateTime::from_timestamp_millis(first);
        (summary.succeeded, summary.failed) = (succeeded.unsigned_abs(), failed.unsigned_abs());
    }
    Ok(summaries)
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use sqlx::Connection;

    use super::*;
    use crate::ground::error::{Error, ErrorKind};
    use crate::ground::fingerprint::Fingerprint;
    use crate::ground::history::Record;
    use crate::ground::run::Stats;
    use crate::history::{file, table};

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
            success: failure.is_none_or(|kind| kind == ErrorKind::ServedElsewhere),
            measure: None,
            sample: None,
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
        assert_eq!((found.succeeded, found.failed, found.last_success, found.keys), (3, 1, at(4), Some(4)));
        assert_eq!((found.last_run.unwrap().ended, found.known_since), (at(4).unwrap(), at(3)));
        let failure = found.last_failure.unwrap();
        assert_eq!((Some(failure.ended), failure.failure), (at(3), Some(("Query".to_owned(), "words".to_owned()))));
    }

    #[tokio::test]
    async fn what_another_instance_has_served_is_a_success_and_no_run() {
        let runs = [run("a", 1, None), run("a", 2, Some(ErrorKind::PostgresLost))];
        let found = summary(&[&runs[..], &[run("a", 3, Some(ErrorKind::ServedElsewhere))]].concat()).await;
        assert_eq!((found.succeeded, found.failed, found.last_success, found.keys), (1, 1, at(3), Some(1)));
        assert_eq!(found.last_run.and_then(|run| run.failure).unwrap().0, "PostgresLost");
    }

    #[tokio::test]
    async fn what_left_something_out_is_a_run_and_no_success() {
        let found = summary(&[run("a", 1, None), Record { success: false, ..run("a", 2, None) }]).await;
        assert_eq!((found.succeeded, found.last_success, found.keys), (2, at(1), Some(1)));
        assert_eq!(found.last_run.unwrap().ended, at(2).unwrap());
    }

    #[tokio::test]
    async fn a_refresh_is_no_run_but_its_failure_is_known_until_all_is_well() {
        let refresh =
            |minute, failure| Record { trigger: Trigger::RefreshAhead, success: false, ..run("a", minute, failure) };
        let mut runs = vec![run("a", 1, Some(ErrorKind::Query)), refresh(2, None)];
        let found = summary(&runs).await;
        assert_eq!((found.succeeded, found.failed, found.failed_refresh), (0, 1, None));
        assert!(found.last_run.unwrap().failure.is_some(), "a refresh hides no failure");
        runs.push(refresh(3, Some(ErrorKind::Row)));
        assert_eq!(summary(&runs).await.failed_refresh.unwrap().ended, at(3).unwrap());
        assert_eq!(summary(&[&runs[..], &[refresh(4, None)]].concat()).await.failed_refresh, None);
        assert_eq!(summary(&[&runs[..], &[run("a", 4, None)]].concat()).await.failed_refresh, None);
    }
}
