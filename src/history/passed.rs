//! Starts without a run: which, how many and why.
//!
//! A job may skip a start every second for a year. So starts of one job that passed for one reason within an hour are one row; and those that are
//! not yet written, because the disk does not answer, are one entry of a map: neither the file nor the memory grows, and the scheduler never waits.
//!
//! Their table is begun with the file, so that everybody may ask for it; a file from before there was one gets it at the first of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{Connection, Row, SqliteConnection};

use super::table::{DAYS, RUNS, exists};
use crate::ground::passed::{Passed, Reason};

/// Starts that are so close together are one row.
const TOGETHER: TimeDelta = TimeDelta::hours(1);

pub(super) const TABLE: &str = "
CREATE TABLE IF NOT EXISTS passed (
  id INTEGER PRIMARY KEY,
  installation TEXT NOT NULL,
  job TEXT NOT NULL,
  reason TEXT NOT NULL,
  due INTEGER NOT NULL,
  count INTEGER NOT NULL,
  since INTEGER NOT NULL,
  time INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS passed_of_job ON passed (installation, job, reason);
CREATE INDEX IF NOT EXISTS passed_by_age ON passed (time);";

/// Starts of one job that passed for one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Starts {
    /// The last due time.
    due: DateTime<Utc>,
    count: u64,
    /// When the first and the last of them were passed over.
    since: DateTime<Utc>,
    time: DateTime<Utc>,
}

/// What is not yet written.
#[derive(Debug, Clone, Default)]
pub(super) struct Unwritten(Arc<Mutex<HashMap<(String, Reason), Starts>>>);

impl Unwritten {
    /// Adds starts that were passed over now. Whether there was nothing before, so that the keeper has to be told.
    pub(super) fn add(&self, passed: &Passed, now: DateTime<Utc>) -> bool {
        let Passed { job, due, count, reason } = passed;
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let first = all.is_empty();
        let starts = all.entry((job.clone(), *reason)).or_insert(Starts { due: *due, count: 0, since: now, time: now });
        (starts.due, starts.time) = (*due, now);
        starts.count = starts.count.saturating_add(*count as u64);
        first
    }

    pub(super) fn take(&self) -> HashMap<(String, Reason), Starts> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Records all of these starts, or none.
pub(super) async fn record(
    connection: &mut SqliteConnection,
    installation: &str,
    starts: &HashMap<(String, Reason), Starts>,
) -> Result<(), sqlx::Error> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    sqlx::raw_sql(TABLE).execute(&mut *transaction).await?;
    for ((job, reason), starts) in starts {
        add(&mut transaction, (installation, job, reason.name()), starts).await?;
        prune(&mut transaction, installation, job, starts.time).await?;
    }
    transaction.commit().await
}

async fn add(
    connection: &mut SqliteConnection,
    (installation, job, reason): (&str, &str, &str),
    starts: &Starts,
) -> Result<(), sqlx::Error> {
    let [due, since, time] = [starts.due, starts.since, starts.time].map(|time| time.timestamp_millis());
    let count = i64::try_from(starts.count).unwrap_or(i64::MAX);
    // A row from the future is one before a clock that has been set back since.
    let join = "UPDATE passed SET due = ?4, count = count + ?5, time = ?7 WHERE since BETWEEN ?6 - ?8 AND ?6 AND id = \
                (SELECT max(id) FROM passed WHERE installation = ?1 AND job = ?2 AND reason = ?3)";
    let insert =
        "INSERT INTO passed (installation, job, reason, due, count, since, time) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    for statement in [join, insert] {
        let query = sqlx::query(statement).bind(installation).bind(job).bind(reason);
        let query = query.bind(due).bind(count).bind(since).bind(time).bind(TOGETHER.num_milliseconds());
        if query.execute(&mut *connection).await?.rows_affected() > 0 {
            break;
        }
    }
    Ok(())
}

/// As many are kept as runs, and for as long.
async fn prune(
    connection: &mut SqliteConnection,
    installation: &str,
    job: &str,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    let surplus = "DELETE FROM passed WHERE installation = ?1 AND job = ?2 AND id <= \
                   (SELECT id FROM passed WHERE installation = ?1 AND job = ?2 ORDER BY id DESC LIMIT 1 OFFSET ?3)";
    sqlx::query(surplus).bind(installation).bind(job).bind(RUNS).execute(&mut *connection).await?;
    let Some(oldest) = now.checked_sub_days(DAYS) else { return Ok(()) };
    let old = sqlx::query("DELETE FROM passed WHERE time < ?").bind(oldest.timestamp_millis());
    old.execute(connection).await.map(|_| ())
}

/// The last due time of each job that began no run, by its name.
pub(super) async fn last(
    connection: &mut SqliteConnection,
    installation: &str,
) -> Result<HashMap<String, DateTime<Utc>>, sqlx::Error> {
    if !exists(connection, "passed").await? {
        return Ok(HashMap::new());
    }
    let last = "SELECT job, due FROM passed WHERE id IN (SELECT max(id) FROM passed WHERE installation = ? GROUP BY job, reason)";
    let mut found = HashMap::<String, DateTime<Utc>>::new();
    for row in sqlx::query(last).bind(installation).fetch_all(connection).await? {
        let job: String = row.try_get(0)?;
        // What nobody can have written is not known.
        let Some(due) = DateTime::from_timestamp_millis(row.try_get(1)?) else { continue };
        let known = found.get(&job).copied().unwrap_or(due);
        found.insert(job, known.max(due));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::file::TABLES;

    async fn empty() -> SqliteConnection {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        sqlx::raw_sql(TABLES).execute(&mut connection).await.unwrap();
        connection
    }

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
    }

    fn passed(job: &str, reason: Reason, due: i64) -> Passed {
        Passed { job: job.to_owned(), due: at(due), count: 1, reason }
    }

    /// Records one start that was passed over a second after it was due.
    async fn pass(connection: &mut SqliteConnection, job: &str, reason: Reason, due: i64) {
        let unwritten = Unwritten::default();
        unwritten.add(&passed(job, reason, due), at(due + 1));
        record(connection, "here", &unwritten.take()).await.unwrap();
    }

    /// Reason, last due time in seconds, and count of each row.
    async fn rows(connection: &mut SqliteConnection) -> Vec<(String, i64, i64)> {
        let rows = sqlx::query("SELECT reason, due / 1000, count FROM passed ORDER BY id").fetch_all(connection).await;
        rows.unwrap().iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
    }

    #[tokio::test]
    async fn starts_of_one_hour_are_one_row() {
        let mut connection = empty().await;
        for due in 0..3000 {
            pass(&mut connection, "a", Reason::Overlap, due).await;
            if due == 1000 {
                pass(&mut connection, "a", Reason::Missed, due).await;
            }
        }
        pass(&mut connection, "a", Reason::Overlap, 3600).await;
        pass(&mut connection, "a", Reason::Overlap, 3601).await;
        // The clock is set back.
        pass(&mut connection, "a", Reason::Overlap, 50).await;
        let row = |reason: &str, due, count| (reason.to_owned(), due, count);
        assert_eq!(
            rows(&mut connection).await,
            [row("overlap", 3600, 3001), row("missed", 1000, 1), row("overlap", 3601, 1), row("overlap", 50, 1)]
        );
    }

    #[tokio::test]
    async fn as_many_rows_are_kept_as_runs_and_for_as_long() {
        let mut connection = empty().await;
        pass(&mut connection, "seldom", Reason::Missed, 0).await;
        for hour in 0..1010 {
            pass(&mut connection, "often", Reason::Missed, hour * 3601).await;
        }
        let of = |job| sqlx::query_scalar::<_, i64>("SELECT count(*) FROM passed WHERE job = ?").bind(job);
        assert_eq!(of("often").fetch_one(&mut connection).await.unwrap(), 1000);
        assert_eq!(of("seldom").fetch_one(&mut connection).await.unwrap(), 1);
        pass(&mut connection, "often", Reason::Missed, 401 * 86_400).await;
        assert_eq!(of("seldom").fetch_one(&mut connection).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn the_last_start_without_a_run_is_known_for_each_job() {
        let mut connection = empty().await;
        assert_eq!(last(&mut connection, "here").await.unwrap().len(), 0);
        for (job, reason, due) in
            [("a", Reason::Paused, 60), ("a", Reason::Overlap, 120), ("a", Reason::Paused, 90), ("b", Reason::Held, 7)]
        {
            pass(&mut connection, job, reason, due).await;
        }
        let found = last(&mut connection, "here").await.unwrap();
        assert_eq!((found.len(), found["a"], found["b"]), (2, at(120), at(7)));
        assert_eq!(last(&mut connection, "elsewhere").await.unwrap().len(), 0);
    }

    #[test]
    fn what_is_not_written_yet_does_not_grow() {
        let unwritten = Unwritten::default();
        let told = (0..100_000).filter(|due| unwritten.add(&passed("a", Reason::Overlap, *due), at(*due))).count();
        assert_eq!(told, 1, "the keeper has one order to serve");
        let all = Vec::from_iter(unwritten.take());
        let starts = Starts { due: at(99_999), count: 100_000, since: at(0), time: at(99_999) };
        assert_eq!(all, [(("a".to_owned(), Reason::Overlap), starts)]);
        assert!(unwritten.add(&passed("a", Reason::Overlap, 1), at(1)));
    }
}
