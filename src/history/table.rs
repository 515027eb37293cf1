//! The statements. Runs are in the order of their numbers, not of their times: a clock that is set back must not hide a run.

use chrono::{DateTime, Days, Utc};
use serde_json::Value;
use sqlx::{Connection, Row, SqliteConnection};

use super::{sample, served, slowest, success};
use crate::ground::fingerprint::Fingerprint;
use crate::ground::history::{LastGood, Measure, NamedType, Record};
use crate::ground::request::Trigger;

/// The most runs of one job that are kept, and as many of its refresh-ahead.
pub(super) const RUNS: i64 = 1000;
/// How long a run is kept.
pub(super) const DAYS: Days = Days::new(400);
/// The most definitions of one job whose last good run is kept. They have no age: a clock that is wrong for once must not take a guard's measure away.
const DEFINITIONS: i64 = 8;
/// The most characters of an error message that are kept.
const MESSAGE: usize = 4096;

/// Records all of these runs, or none.
pub(super) async fn record(
    connection: &mut SqliteConnection,
    installation: &str,
    records: &[Record],
) -> Result<(), sqlx::Error> {
    // A lock that is asked for in the middle of a transaction is not waited for.
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    for record in records {
        if record.is_run() {
            add(&mut transaction, installation, record).await?;
            prune(&mut transaction, installation, record).await?;
        }
        served::note(&mut transaction, installation, record).await?;
        success::note(&mut transaction, installation, record).await?;
        slowest::note(&mut transaction, installation, record).await?;
        sample::note(&mut transaction, installation, record).await?;
        if let Some(measure) = &record.measure {
            add_good(&mut transaction, installation, record, measure).await?;
        }
    }
    transaction.commit().await
}

async fn add(connection: &mut SqliteConnection, installation: &str, record: &Record) -> Result<(), sqlx::Error> {
    let Record { job, definition, trigger, started, ended, stats, failure, .. } = record;
    let outcome = failure.as_ref().map_or("ok".to_owned(), |failure| format!("{:?}", failure.kind));
    let message = failure.as_ref().map(|failure| failure.message.chars().take(MESSAGE).collect::<String>());
    let insert = "INSERT INTO run (installation, job, definition, \"trigger\", started, ended, \
                  attempts, rows, written, left_alone, bytes, outcome, message) \
                  VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    let insert = sqlx::query(insert).bind(installation).bind(job).bind(definition.to_string()).bind(trigger.name());
    let insert = insert.bind(started.timestamp_millis()).bind(ended.timestamp_millis()).bind(stats.attempts);
    let counts = [stats.rows, stats.written, stats.left(), stats.bytes];
    let insert = counts.into_iter().fold(insert, |insert, count| insert.bind(integer(count)));
    insert.bind(outcome).bind(message).execute(connection).await.map(|_| ())
}

async fn prune(connection: &mut SqliteConnection, installation: &str, record: &Record) -> Result<(), sqlx::Error> {
    // Runs of refresh-ahead are so many that they would push all others out.
    let surplus = "DELETE FROM run WHERE installation = ?1 AND job = ?2 AND (\"trigger\" = ?4) = ?5 AND id <= \
                   (SELECT id FROM run WHERE installation = ?1 AND job = ?2 AND (\"trigger\" = ?4) = ?5 \
                    ORDER BY id DESC LIMIT 1 OFFSET ?3)";
    let surplus = sqlx::query(surplus).bind(installation).bind(&record.job).bind(RUNS);
    let surplus = surplus.bind(Trigger::RefreshAhead.name()).bind(record.trigger == Trigger::RefreshAhead);
    surplus.execute(&mut *connection).await?;
    let Some(oldest) = record.ended.checked_sub_days(DAYS) else { return Ok(()) };
    let old = sqlx::query("DELETE FROM run WHERE ended < ?").bind(oldest.timestamp_millis());
    old.execute(connection).await.map(|_| ())
}

async fn add_good(
    connection: &mut SqliteConnection,
    installation: &str,
    record: &Record,
    measure: &Measure,
) -> Result<(), sqlx::Error> {
    // Replaced, so that its number is the highest.
    let replace =
        "INSERT OR REPLACE INTO good (installation, job, definition, ended, rows, columns) VALUES (?, ?, ?, ?, ?, ?)";
    let replace = sqlx::query(replace).bind(installation).bind(&record.job).bind(record.definition.to_string());
    let replace = replace.bind(record.ended.timestamp_millis()).bind(integer(measure.rows));
    replace.bind(as_text(&measure.columns)).execute(&mut *connection).await?;
    let surplus = "DELETE FROM good WHERE installation = ?1 AND job = ?2 AND id <= \
                   (SELECT id FROM good WHERE installation = ?1 AND job = ?2 ORDER BY id DESC LIMIT 1 OFFSET ?3)";
    let surplus = sqlx::query(surplus).bind(installation).bind(&record.job).bind(DEFINITIONS);
    surplus.execute(connection).await.map(|_| ())
}

/// The last good run of a job with this definition.
pub(super) async fn last_good(
    connection: &mut SqliteConnection,
    installation: &str,
    job: &str,
    definition: Fingerprint,
) -> Result<Option<LastGood>, sqlx::Error> {
    let select = "SELECT ended, rows, columns FROM good WHERE installation = ? AND job = ? AND definition = ?";
    let select = sqlx::query(select).bind(installation).bind(job).bind(definition.to_string());
    let Some(row) = select.fetch_optional(connection).await? else { return Ok(None) };
    let (ended, rows, columns): (i64, i64, String) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    // What nobody can have written is no measure.
    let good = (|| {
        let measure = Measure { rows: u64::try_from(rows).ok()?, columns: from_text(&columns)? };
        Some(LastGood { ended: DateTime::<Utc>::from_timestamp_millis(ended)?, measure })
    })();
    Ok(good)
}

/// Whether there is a table of this name: most are made when there is something to note.
pub(super) async fn exists(connection: &mut SqliteConnection, table: &str) -> Result<bool, sqlx::Error> {
    let select = sqlx::query("SELECT 1 FROM sqlite_schema WHERE name = ?").bind(table);
    Ok(select.fetch_optional(connection).await?.is_some())
}

/// SQLite's integers have a sign.
pub(super) fn integer(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Columns as a JSON array of pairs.
fn as_text(columns: &[NamedType]) -> String {
    columns
        .iter()
        .map(|NamedType { name, ty }| Value::from(vec![name.as_str(), ty.as_str()]))
        .collect::<Value>()
        .to_string()
}

fn from_text(text: &str) -> Option<Vec<NamedType>> {
    let pairs: Vec<[String; 2]> = serde_json::from_str(text).ok()?;
    Some(pairs.into_iter().map(|[name, ty]| NamedType { name, ty }).collect())
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::ground::error::{Error, ErrorKind};
    use crate::ground::run::Stats;
    use crate::history::file::TABLES;

    async fn empty() -> SqliteConnection {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        sqlx::raw_sql(TABLES).execute(&mut connection).await.unwrap();
        connection
    }

    /// A good run that began this many minutes after the epoch.
    fn run(job: &str, definition: &str, minute: i64) -> Record {
        let started = DateTime::UNIX_EPOCH + TimeDelta::minutes(minute);
        let columns = vec![NamedType { name: "a \"b\"".to_owned(), ty: "integer[]".to_owned() }];
        Record {
            job: job.to_owned(),
            definition: Fingerprint::of([definition]),
            trigger: Trigger::Manual,
            started,
            ended: started + TimeDelta::seconds(1),
            stats: Stats::default(),
            failure: None,
            served: None,
            success: true,
            measure: Some(Measure { rows: minute.unsigned_abs(), columns }),
            sample: None,
        }
    }

    async fn minutes(connection: &mut SqliteConnection, job: &str) -> Vec<i64> {
        let select = sqlx::query_scalar("SELECT started / 60000 FROM run WHERE job = ? ORDER BY id").bind(job);
        select.fetch_all(connection).await.unwrap()
    }

    #[tokio::test]
    async fn a_thousand_runs_of_each_job_are_kept() {
        let mut connection = empty().await;
        let runs: Vec<_> = (0..1003).map(|minute| run("often", "x", minute)).collect();
        record(&mut connection, "here", &[run("seldom", "x", 1)]).await.unwrap();
        record(&mut connection, "elsewhere", &[run("often", "x", 7000)]).await.unwrap();
        record(&mut connection, "here", &runs).await.unwrap();
        assert_eq!(minutes(&mut connection, "seldom").await, [1]);
        let kept = minutes(&mut connection, "often").await;
        assert_eq!((kept[0], kept[1], kept.len()), (7000, 3, 1001), "and another installation's runs are not counted");
    }

    #[tokio::test]
    async fn refreshes_push_no_other_runs_out() {
        let mut connection = empty().await;
        let refresh = |minute| Record { trigger: Trigger::RefreshAhead, ..run("job", "x", minute) };
        let runs: Vec<_> = std::iter::once(run("job", "x", 0)).chain((1..1003).map(refresh)).collect();
        record(&mut connection, "here", &runs).await.unwrap();
        let kept = minutes(&mut connection, "job").await;
        assert_eq!((kept[0], kept[1], kept.len()), (0, 3, 1001));
    }

    #[tokio::test]
    async fn a_run_is_kept_for_400_days_whatever_its_job_has_become() {
        let mut connection = empty().await;
        let day = 24 * 60;
        record(&mut connection, "here", &[run("gone", "x", 0), run("gone", "x", 2 * day)]).await.unwrap();
        record(&mut connection, "here", &[run("job", "x", 401 * day)]).await.unwrap();
        assert_eq!(minutes(&mut connection, "gone").await, [2 * day]);
        let measure = last_good(&mut connection, "here", "gone", Fingerprint::of(["x"])).await.unwrap();
        assert!(measure.is_some(), "a measure has no age");
    }

    #[tokio::test]
    async fn the_last_good_run_is_that_of_the_same_definition() {
        let mut connection = empty().await;
        let failed = Record {
            failure: Some(Error::new(ErrorKind::Query, "")),
            success: false,
            measure: None,
            ..run("job", "x", 9)
        };
        let runs = [run("job", "x", 1), run("job", "y", 2), run("job", "x", 3), run("job", "y", 1), failed];
        record(&mut connection, "here", &runs).await.unwrap();
        let rows = async |connection: &mut SqliteConnection, installation: &str, definition: &str| {
            let definition = Fingerprint::of([definition]);
            last_good(connection, installation, "job", definition).await.unwrap().map(|good| good.measure.rows)
        };
        assert_eq!(rows(&mut connection, "here", "x").await, Some(3));
        assert_eq!(rows(&mut connection, "here", "y").await, Some(1));
        assert_eq!(rows(&mut connection, "here", "z").await, None);
        assert_eq!(rows(&mut connection, "elsewhere", "x").await, None);
        for other in 0..8 {
            record(&mut connection, "here", &[run("job", &other.to_string(), 1)]).await.unwrap();
        }
        assert_eq!(rows(&mut connection, "here", "x").await, None, "eight definitions are remembered");
        let good = last_good(&mut connection, "here", "job", Fingerprint::of(["7"])).await.unwrap().unwrap();
        assert_eq!(good.measure, run("job", "7", 1).measure.unwrap());
        assert_eq!(good.ended, run("job", "7", 1).ended);
    }
}
