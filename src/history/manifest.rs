//! The statements about the manifest: what sweeping jobs have written, key by key.
//!
//! Its tables are made when the first sweeping job runs: nobody else pays for them.

use chrono::{DateTime, Days, Utc};
use sqlx::{Connection, QueryBuilder, Row, Sqlite, SqliteConnection};
use tokio::sync::oneshot;

use super::keeper::Keeper;
use super::table::exists;
use crate::ground::manifest::{ManifestRun, Noted};

/// How many keys are given at a time.
const AT_A_TIME: i64 = 512;
/// After so long without a run nothing is alive that a job has written.
const DAYS: Days = Days::new(400);

const TABLES: &str = "
CREATE TABLE IF NOT EXISTS sweeping (
  id INTEGER PRIMARY KEY,
  installation TEXT NOT NULL,
  job TEXT NOT NULL,
  run INTEGER NOT NULL,
  began INTEGER NOT NULL,
  UNIQUE (installation, job)
) STRICT;
CREATE TABLE IF NOT EXISTS manifest (
  job INTEGER NOT NULL,
  key BLOB NOT NULL,
  fingerprint INTEGER NOT NULL,
  earlier INTEGER,
  dies INTEGER NOT NULL,
  run INTEGER NOT NULL,
  PRIMARY KEY (job, key)
) STRICT, WITHOUT ROWID;";

/// What the keeper is asked about the manifest. An answer is `None` when it cannot be done.
pub(super) enum Asked {
    /// Begins a run of the job of this name, now.
    Begin(String, DateTime<Utc>, oneshot::Sender<Option<ManifestRun>>),
    /// Gives what a run after all others would see, without beginning it.
    Manifest(String, oneshot::Sender<Option<Option<ManifestRun>>>),
    /// Notes keys of the run.
    Note(ManifestRun, Vec<Noted>, oneshot::Sender<Option<()>>),
    /// Gives some of the keys behind this one that were noted before the run and not in it, in their order.
    Gone(ManifestRun, Vec<u8>, oneshot::Sender<Option<Vec<Noted>>>),
    /// Forgets these keys, unless a later run has noted them, too.
    Forget(ManifestRun, Vec<Vec<u8>>, oneshot::Sender<Option<()>>),
}

impl Keeper {
    /// Does what it is asked, and answers. Who asked may have stopped waiting.
    pub(super) async fn answer_about_manifest(&mut self, asked: Asked) {
        match asked {
            Asked::Begin(job, now, answer) => {
                let installation = self.installation().to_owned();
                let work = async |connection: &mut SqliteConnection| begin(connection, &installation, &job, now).await;
                let _ = answer.send(self.with(work).await);
            }
            Asked::Manifest(job, answer) => {
                let installation = self.installation().to_owned();
                let work = async |connection: &mut SqliteConnection| after_all(connection, &installation, &job).await;
                let _ = answer.send(self.with(work).await);
            }
            Asked::Note(run, notes, answer) => {
                let work = async |connection: &mut SqliteConnection| note(connection, run, &notes).await;
                let _ = answer.send(self.with(work).await);
            }
            Asked::Gone(run, after, answer) => {
                let work = async |connection: &mut SqliteConnection| gone(connection, run, &after).await;
                let _ = answer.send(self.with(work).await);
            }
            Asked::Forget(run, keys, answer) => {
                let work = async |connection: &mut SqliteConnection| forget(connection, run, &keys).await;
                let _ = answer.send(self.with(work).await);
            }
        }
    }
}

async fn begin(
    connection: &mut SqliteConnection,
    installation: &str,
    job: &str,
    now: DateTime<Utc>,
) -> Result<ManifestRun, sqlx::Error> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    sqlx::raw_sql(TABLES).execute(&mut *transaction).await?;
    let upsert = "INSERT INTO sweeping (installation, job, run, began) VALUES (?1, ?2, ?3, ?3) \
                  ON CONFLICT (installation, job) DO UPDATE SET run = max(run + 1, excluded.run), began = excluded.began \
                  RETURNING id, run";
    // Numbered by the time, so that in a file that was begun anew meanwhile an old run sees nothing that is older.
    let upsert = sqlx::query(upsert).bind(installation).bind(job).bind(now.timestamp_millis());
    let row = upsert.fetch_one(&mut *transaction).await?;
    if let Some(oldest) = now.checked_sub_days(DAYS) {
        let dead = [
            "DELETE FROM manifest WHERE job IN (SELECT id FROM sweeping WHERE began < ?)",
            "DELETE FROM sweeping WHERE began < ?",
        ];
        for statement in dead {
            sqlx::query(statement).bind(oldest.timestamp_millis()).execute(&mut *transaction).await?;
        }
    }
    transaction.commit().await?;
    Ok(ManifestRun { job: row.try_get(0)?, run: row.try_get(1)? })
}

async fn after_all(
    connection: &mut SqliteConnection,
    installation: &str,
    job: &str,
) -> Result<Option<ManifestRun>, sqlx::Error> {
    if !exists(connection, "sweeping").await? {
        return Ok(None);
    }
    let select = sqlx::query("SELECT id FROM sweeping WHERE installation = ? AND job = ?");
    let row = select.bind(installation).bind(job).fetch_optional(connection).await?;
    row.map(|row| Ok(ManifestRun { job: row.try_get(0)?, run: i64::MAX })).transpose()
}

async fn note(connection: &mut SqliteConnection, run: ManifestRun, notes: &[Noted]) -> Result<(), sqlx::Error> {
    // SQLite takes 32,766 parameters.
    for notes in notes.chunks(4096) {
        let mut insert = QueryBuilder::<Sqlite>::new("INSERT INTO manifest (job, key, fingerprint, dies, run) ");
        insert.push_values(notes, |mut values, noted| {
            values.push_bind(run.job).push_bind(&noted.key).push_bind(noted.fingerprint.cast_signed());
            values.push_bind(noted.dies.timestamp_millis()).push_bind(run.run);
        });
        insert.push(
            " ON CONFLICT (job, key) DO UPDATE SET \
             earlier = CASE WHEN fingerprint = excluded.fingerprint THEN earlier ELSE fingerprint END, \
             fingerprint = excluded.fingerprint, dies = max(dies, excluded.dies), run = max(run, excluded.run)",
        );
        insert.build().execute(&mut *connection).await?;
    }
    Ok(())
}

async fn gone(connection: &mut SqliteConnection, run: ManifestRun, after: &[u8]) -> Result<Vec<Noted>, sqlx::Error> {
    let select = "SELECT key, fingerprint, earlier, dies FROM manifest \
                  WHERE job = ? AND key > ? AND run < ? ORDER BY key LIMIT ?";
    let select = sqlx::query(select).bind(run.job).bind(after).bind(run.run).bind(AT_A_TIME);
    let mut notes = Vec::new();
    for row in select.fetch_all(connection).await? {
        let (fingerprint, earlier, dies): (i64, Option<i64>, i64) = (row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
        notes.push(Noted {
            key: row.try_get(0)?,
            fingerprint: fingerprint.cast_unsigned(),
            earlier: earlier.map(i64::cast_unsigned),
            // A time that nobody can have written is over.
            dies: DateTime::from_timestamp_millis(dies).unwrap_or_default(),
        });
    }
    Ok(notes)
}

async fn forget(connection: &mut SqliteConnection, run: ManifestRun, keys: &[Vec<u8>]) -> Result<(), sqlx::Error> {
    let mut delete = QueryBuilder::<Sqlite>::new("DELETE FROM manifest WHERE job = ");
    delete.push_bind(run.job).push(" AND run < ").push_bind(run.run).push(" AND key IN (");
    let mut list = delete.separated(", ");
    for key in keys {
        list.push_bind(key);
    }
    delete.push(")");
    delete.build().execute(connection).await.map(|_| ())
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    fn noted(key: &str, fingerprint: u64) -> Noted {
        let dies = DateTime::UNIX_EPOCH + TimeDelta::milliseconds(7);
        Noted { key: key.into(), fingerprint, earlier: None, dies }
    }

    async fn keys(connection: &mut SqliteConnection, run: ManifestRun) -> Vec<String> {
        let gone = gone(connection, run, b"").await.unwrap();
        gone.into_iter().map(|noted| String::from_utf8(noted.key).unwrap()).collect()
    }

    #[tokio::test]
    async fn what_an_earlier_run_noted_and_this_one_did_not_is_gone() {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        let now = DateTime::UNIX_EPOCH;
        let first = begin(&mut connection, "here", "job", now).await.unwrap();
        note(&mut connection, first, &[noted("a", 1), noted("b", u64::MAX), noted("c", 1)]).await.unwrap();
        let second = begin(&mut connection, "here", "job", now).await.unwrap();
        note(&mut connection, second, &[noted("a", 2)]).await.unwrap();
        assert_eq!(keys(&mut connection, second).await, ["b", "c"]);
        assert_eq!(gone(&mut connection, second, b"a").await.unwrap()[0], noted("b", u64::MAX));
        assert_eq!(gone(&mut connection, second, b"b").await.unwrap(), [noted("c", 1)]);
        for (installation, job) in [("elsewhere", "job"), ("here", "other")] {
            let other = begin(&mut connection, installation, job, now).await.unwrap();
            assert!(keys(&mut connection, other).await.is_empty(), "{installation} {job}");
        }
        // One that began earlier and ends later does not make a key its own that a later one has noted.
        note(&mut connection, first, &[noted("a", 3)]).await.unwrap();
        assert_eq!(keys(&mut connection, second).await, ["b", "c"]);
        let third = begin(&mut connection, "here", "job", now).await.unwrap();
        note(&mut connection, third, &[noted("c", 1)]).await.unwrap();
        forget(&mut connection, second, &["b".into(), "c".into()]).await.unwrap();
        let left = gone(&mut connection, ManifestRun { run: 9, ..third }, b"").await.unwrap();
        assert_eq!(left, [Noted { earlier: Some(2), ..noted("a", 3) }, noted("c", 1)]);
    }

    #[tokio::test]
    async fn who_only_looks_sees_what_all_runs_have_noted() {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        assert_eq!(after_all(&mut connection, "here", "job").await.unwrap(), None, "there are no tables yet");
        let run = begin(&mut connection, "here", "job", DateTime::UNIX_EPOCH).await.unwrap();
        note(&mut connection, run, &[noted("a", 1)]).await.unwrap();
        let run = after_all(&mut connection, "here", "job").await.unwrap().unwrap();
        assert_eq!(keys(&mut connection, run).await, ["a"]);
        assert_eq!(after_all(&mut connection, "elsewhere", "job").await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_job_that_no_longer_runs_is_forgotten() {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        let old = begin(&mut connection, "here", "old", DateTime::UNIX_EPOCH).await.unwrap();
        note(&mut connection, old, &[noted("a", 1)]).await.unwrap();
        begin(&mut connection, "here", "job", DateTime::UNIX_EPOCH + TimeDelta::days(401)).await.unwrap();
        assert!(keys(&mut connection, ManifestRun { run: 9, ..old }).await.is_empty());
    }
}
