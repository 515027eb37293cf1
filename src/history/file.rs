//! The file: found, begun, or replaced when it is damaged.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use sqlx::sqlite::{SqliteConnectOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, Row, SqliteConnection};

use super::error::{Trouble, translate, words};
use super::passed;

/// The file's name in the state folder.
const NAME: &str = "history.sqlite";
/// What SQLite calls the journal of a transaction that is under way.
const JOURNAL: &str = "-journal";
/// How long another process' lock is waited for.
const BUSY: Duration = Duration::from_secs(2);
/// `warm` in ASCII, at the place where a SQLite file says whose it is.
const APPLICATION: i64 = 0x7761_726d;
/// The version of the tables. A further table gets none: who does not know it can go on with the file.
const VERSION: i64 = 1;

pub(super) const TABLES: &str = "
CREATE TABLE run (
  id INTEGER PRIMARY KEY,
  installation TEXT NOT NULL,
  job TEXT NOT NULL,
  definition TEXT NOT NULL,
  \"trigger\" TEXT NOT NULL,
  started INTEGER NOT NULL,
  ended INTEGER NOT NULL,
  attempts INTEGER NOT NULL,
  rows INTEGER NOT NULL,
  written INTEGER NOT NULL,
  left_alone INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  outcome TEXT NOT NULL,
  message TEXT
) STRICT;
CREATE INDEX run_of_job ON run (installation, job);
CREATE INDEX run_by_age ON run (ended);
CREATE TABLE good (
  id INTEGER PRIMARY KEY,
  installation TEXT NOT NULL,
  job TEXT NOT NULL,
  definition TEXT NOT NULL,
  ended INTEGER NOT NULL,
  rows INTEGER NOT NULL,
  columns TEXT NOT NULL,
  UNIQUE (installation, job, definition)
) STRICT;";

/// An open file, and what happened to the one before.
pub(super) struct Opened {
    pub(super) connection: SqliteConnection,
    /// For people: that a damaged file was replaced.
    pub(super) replaced: Option<String>,
}

/// How a file is looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Look {
    /// To be used.
    Quick,
    /// The same, but all of it is read.
    Thorough,
    /// Nothing may be changed.
    Only,
    /// The same, and all of it is read.
    OnlyThorough,
}

impl Look {
    fn is_thorough(self) -> bool {
        matches!(self, Look::Thorough | Look::OnlyThorough)
    }

    fn changes_nothing(self) -> bool {
        matches!(self, Look::Only | Look::OnlyThorough)
    }
}

/// What is there at the file's path.
enum Found {
    Good(SqliteConnection),
    Nothing,
    /// A file without content, or a database without tables.
    Empty,
    Broken(String),
}

/// The path of the file in a state folder.
pub(super) fn path(folder: &Path) -> PathBuf {
    folder.join(NAME)
}

fn journal(path: &Path) -> PathBuf {
    path.with_file_name(format!("{NAME}{JOURNAL}"))
}

/// Opens the file, begins it if there is none, and replaces one that is damaged. With `doubt` it is read through first.
pub(super) async fn open(folder: &Path, doubt: bool) -> Result<Opened, Trouble> {
    let path = path(folder);
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|error| Trouble::at(folder, words(&error)))?;
    if !doubt && let Found::Good(connection) = find(&path, Look::Quick).await? {
        return Ok(Opened { connection, replaced: None });
    }
    // Held until the end: what is found now is nobody's unfinished beginning.
    let _lock = lock(folder)?;
    let replaced = match find(&path, if doubt { Look::Thorough } else { Look::Quick }).await? {
        Found::Good(connection) => return Ok(Opened { connection, replaced: None }),
        Found::Nothing => None,
        Found::Empty => Some(format!("the run history {} was empty; it is begun anew", path.display())),
        Found::Broken(reason) => {
            let aside = move_aside(&path).map_err(|error| {
                Trouble::at(&path, format_args!("{reason}, and it cannot be moved aside: {}", words(&error)))
            })?;
            let path = path.display();
            Some(format!(
                "the run history {path} was damaged ({reason}); it was moved to {aside}, and a new one is begun"
            ))
        }
    };
    match begin(&path).await {
        Ok(connection) => Ok(Opened { connection, replaced }),
        // That it was moved is told in any case: the next one to come finds nothing of it.
        Err(trouble) => {
            let replaced = replaced.map(|what| format!("{what}: ")).unwrap_or_default();
            Err(Trouble::Unusable(replaced + &trouble.into_words()))
        }
    }
}

/// Opens a file that is there, and changes nothing.
pub(super) async fn look_at(folder: &Path) -> Result<Option<SqliteConnection>, Trouble> {
    let path = path(folder);
    match find(&path, Look::Only).await? {
        Found::Good(connection) => Ok(Some(connection)),
        Found::Nothing | Found::Empty => Ok(None),
        Found::Broken(reason) => Err(Trouble::at(&path, format_args!("it is damaged ({reason})"))),
    }
}

/// Reads all of a file that is there, if it can be read without repairing it, and changes nothing.
pub(super) async fn examine(path: &Path) -> Result<(), Trouble> {
    // What a killed process left unfinished is taken back by the next one that may write: until then nobody can read it.
    if fs::metadata(journal(path)).is_ok_and(|journal| journal.len() > 0) {
        return Ok(());
    }
    match find(path, Look::OnlyThorough).await? {
        Found::Good(_) | Found::Nothing | Found::Empty => Ok(()),
        Found::Broken(reason) => Err(Trouble::Broken(reason)),
    }
}

/// Looks at what is there.
async fn find(path: &Path, how: Look) -> Result<Found, Trouble> {
    match fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) => return Err(Trouble::at(path, words(&error))),
        Ok(metadata) if !metadata.is_file() => return Err(Trouble::at(path, "this is no regular file")),
        Ok(metadata) if metadata.len() == 0 => return Ok(Found::Empty),
        Ok(_) => {}
    }
    match look(path, how).await.map_err(|error| translate(path, &error)) {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(reason)) => Err(Trouble::at(path, reason)),
        Err(Trouble::Broken(reason)) => Ok(Found::Broken(reason)),
        Err(trouble) => Err(trouble),
    }
}

/// The inner error is a reason to leave the file alone.
async fn look(path: &Path, how: Look) -> Result<Result<Found, String>, sqlx::Error> {
    let mut connection = connect(path, how.changes_nothing()).await?;
    let header = "SELECT application_id, user_version, (SELECT count(*) FROM sqlite_schema) \
                  FROM pragma_application_id, pragma_user_version";
    let row = sqlx::query(header).fetch_one(&mut connection).await?;
    let (application, version, objects): (i64, i64, i64) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    if how.is_thorough() {
        let first = sqlx::query("PRAGMA quick_check(1)").fetch_one(&mut connection).await?;
        let verdict: String = first.try_get(0)?;
        if verdict != "ok" {
            // The verdict names pages and cells; what it means, SQLite says in these words elsewhere.
            return Ok(Ok(Found::Broken("database disk image is malformed".to_owned())));
        }
    }
    Ok(match (application, version, objects) {
        (APPLICATION, VERSION, _) => Ok(Found::Good(connection)),
        (APPLICATION, ..) => {
            Err(format!("it was written by another version of warm (format {version}, not {VERSION})"))
        }
        (_, _, 0) => Ok(Found::Empty),
        _ => Err("this is another program's database".to_owned()),
    })
}

async fn begin(path: &Path) -> Result<SqliteConnection, Trouble> {
    let made = OpenOptions::new().create(true).append(true).mode(0o600).open(path);
    made.map_err(|error| Trouble::at(path, words(&error)))?;
    let create = async {
        let mut connection = connect(path, false).await?;
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        for tables in [TABLES, passed::TABLE] {
            sqlx::raw_sql(tables).execute(&mut *transaction).await?;
        }
        let marks = format!("PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {VERSION}");
        sqlx::raw_sql(sqlx::AssertSqlSafe(marks)).execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(connection)
    };
    create.await.map_err(|error| translate(path, &error))
}

async fn connect(path: &Path, read_only: bool) -> Result<SqliteConnection, sqlx::Error> {
    let options = SqliteConnectOptions::new().filename(path).busy_timeout(BUSY).read_only(read_only);
    // A killed process leaves a whole file all the same; after a power failure it may be damaged, and is replaced. Waiting for the
    // disk would be half of a short run's time.
    options.synchronous(SqliteSynchronous::Off).disable_statement_logging().connect().await
}

/// The folder's lock, until it is dropped. A file system that has no such locks is used without.
fn lock(folder: &Path) -> Result<Option<File>, Trouble> {
    let handle = File::open(folder).map_err(|error| Trouble::at(folder, words(&error)))?;
    let start = Instant::now();
    loop {
        match handle.try_lock() {
            Ok(()) => return Ok(Some(handle)),
            Err(TryLockError::Error(_)) => return Ok(None),
            Err(TryLockError::WouldBlock) if start.elapsed() > BUSY => {
                return Err(Trouble::at(folder, "another process holds its lock"));
            }
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// Moves the file to a name of its own, with the journal that belongs to it, and returns that name.
fn move_aside(path: &Path) -> std::io::Result<String> {
    let millis = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis());
    let aside = format!("{NAME}.broken-{millis}");
    fs::rename(path, path.with_file_name(&aside))?;
    match fs::rename(journal(path), path.with_file_name(format!("{aside}{JOURNAL}"))) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(aside),
    }
}
