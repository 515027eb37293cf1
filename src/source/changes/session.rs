//! The session that follows a slot, and what it does with the slot: looks how it is, makes it, moves it, gives it up.

use std::time::Duration;

use sqlx::AssertSqlSafe;
use sqlx::postgres::{PgArguments, PgConnection, PgRow};
use tokio::time::{Instant, sleep, timeout};

use super::super::connections::{MARKER, Postgres, part};
use super::super::error::{silence, translate};
use super::install::{PATIENCE, ask, get, set_path, with};
use super::peek::shown;
use crate::ground::changes::Slot;
use crate::ground::error::{Error, ErrorKind};
use crate::ground::fingerprint::Fingerprint;

/// How long it may take for an answer that takes a look into the log.
pub(super) const LONG: Duration = Duration::from_secs(120);
/// How long a new slot may wait for transactions that are open.
const MAKING: Duration = Duration::from_secs(30);
/// How long the session of one who has just ended is waited for.
const LOCK: Duration = Duration::from_secs(2);

/// Where the log and the slot are.
pub(super) struct Look {
    /// How far the log is.
    pub(super) flushed: u64,
    /// Where the slot is.
    pub(super) confirmed: u64,
    /// How much the server keeps for it.
    pub(super) kept: u64,
    /// Which of the server's processes answered.
    pub(super) process: i32,
}

/// A session that follows the slot, and the only one.
///
/// # Errors
/// As connecting; another one follows it; a pooler stands between.
pub(super) async fn open(postgres: &Postgres, slot: &Slot) -> Result<PgConnection, Error> {
    let mut link = postgres.connect().await?;
    // First: what is shared must not be locked.
    is_its_own(&mut link, postgres).await?;
    let begin = Instant::now();
    while !lock(&mut link, slot).await? {
        if begin.elapsed() > LOCK {
            let name = &slot.name;
            let message = format!(
                "another warm follows the slot {name}: each needs one of its own, which `slot` in [changes] names"
            );
            return Err(Error::new(ErrorKind::Feed, message));
        }
        sleep(Duration::from_millis(100)).await;
    }
    set_path(&mut link, postgres).await?;
    // A machine that vanished would hold the lock for hours.
    let settings = format!(
        "SET TimeZone = 'UTC'; SET DateStyle = 'ISO, MDY'; SET IntervalStyle = 'postgres'; SET bytea_output = 'hex'; SET extra_float_digits = 1; \
         SET statement_timeout = {limit}; SELECT CASE WHEN current_setting('idle_session_timeout', true) IS NOT NULL THEN set_config('idle_session_timeout', '60s', false) END",
        limit = LONG.as_millis()
    );
    set(&mut link, settings).await?;
    Ok(link)
}

/// The lock by which nobody else of us follows the same slot; whether it is to be had.
async fn lock(link: &mut PgConnection, slot: &Slot) -> Result<bool, Error> {
    let name = Fingerprint::of([slot.name.as_str()]).number();
    #[expect(clippy::cast_possible_truncation, reason = "a part of it will do")]
    let (ours, its) = (MARKER as i32, name as i32);
    let row = run(link, format!("SELECT pg_catalog.pg_try_advisory_lock({ours}, {its}) AS is_ours")).await?;
    get(&row, "is_ours")
}

/// A pooler would share the session that has the lock, and give the settings of ours to others. While another connection is in a transaction, it is found out: it has our session, or we have got another one.
/// (What is not found out here is so when the session changes: [`Look::process`].)
async fn is_its_own(link: &mut PgConnection, postgres: &Postgres) -> Result<(), Error> {
    const PROCESS: &str = "SELECT pg_catalog.pg_backend_pid() AS process";
    let process: i32 = get(&run(link, PROCESS.to_owned()).await?, "process")?;
    let mut other = postgres.connect().await?;
    let others: i32 = get(&run(&mut other, format!("BEGIN; {PROCESS}")).await?, "process")?;
    let again: i32 = get(&run(link, PROCESS.to_owned()).await?, "process")?;
    let is_shared = others == process || again != process;
    run(&mut other, "COMMIT; SELECT 1".to_owned()).await?;
    part(other).await;
    if is_shared { Err(pooled()) } else { Ok(()) }
}

/// What is said of a pooler.
pub(super) fn pooled() -> Error {
    let message = "a pooler stands before PostgreSQL that shares its sessions: let primary_url in [postgres] name PostgreSQL itself";
    Error::new(ErrorKind::Feed, message)
}

/// Runs statements without parameters, which a pooler leaves together; gives the last row.
async fn run(link: &mut PgConnection, statements: String) -> Result<PgRow, Error> {
    let run = sqlx::raw_sql(AssertSqlSafe(statements)).fetch_all(link);
    let rows = timeout(PATIENCE, run).await.map_err(|_| silence("a word about the session", PATIENCE))?;
    let last = rows.map_err(translate)?.pop();
    last.ok_or_else(|| Error::new(ErrorKind::PostgresLost, "PostgreSQL answered nothing"))
}

async fn set(link: &mut PgConnection, settings: String) -> Result<(), Error> {
    let set = sqlx::raw_sql(AssertSqlSafe(settings)).execute(link);
    timeout(PATIENCE, set).await.map_err(|_| silence("SET", PATIENCE))?.map_err(translate).map(|_| ())
}

/// Where the log and the slot are; `None` if there is no slot, or one that the server has given up, which is dropped.
///
/// # Errors
/// What the server says; the slot is somebody else's.
pub(super) async fn look(link: &mut PgConnection, slot: &Slot) -> Result<Option<Look>, Error> {
    const LOOK: &str = "SELECT (pg_catalog.pg_current_wal_flush_lsn() - '0/0')::int8 AS flushed, pg_catalog.pg_backend_pid() AS process, \
         coalesce(confirmed_flush_lsn - '0/0', 0)::int8 AS confirmed, coalesce(pg_catalog.pg_current_wal_lsn() - restart_lsn, 0)::int8 AS kept, \
         plugin IS NOT DISTINCT FROM 'pgoutput' AND database IS NOT DISTINCT FROM current_database() AS is_ours, wal_status IS NOT DISTINCT FROM 'lost' AS is_lost \
         FROM pg_catalog.pg_replication_slots WHERE slot_name = $1";
    let rows = ask(link, LOOK, with(PgArguments::default(), slot.name.clone())?, PATIENCE).await;
    // A pooler has given each half of the statement to another session.
    let rows = rows.map_err(|error| if error.message.contains("(SQLSTATE 26000)") { pooled() } else { error })?;
    let Some(row) = rows.first() else { return Ok(None) };
    if !get::<bool>(row, "is_ours")? {
        let message = format!("the slot {} is one of another database or plugin: let `slot` name another", slot.name);
        return Err(Error::new(ErrorKind::Feed, message));
    }
    if get(row, "is_lost")? {
        drop_slot(link, slot).await?;
        return Ok(None);
    }
    let bytes = |column: &str| get::<i64>(row, column).map(i64::cast_unsigned);
    Ok(Some(Look {
        flushed: bytes("flushed")?,
        confirmed: bytes("confirmed")?,
        kept: bytes("kept")?,
        process: get(row, "process")?,
    }))
}

/// Makes the slot, where the server would give it up before its disk is full.
///
/// # Errors
/// What the server says; transactions that stay open.
pub(super) async fn make(link: &mut PgConnection, slot: &Slot) -> Result<(), Error> {
    const GUARD: &str = "SELECT current_setting('max_slot_wal_keep_size') = '-1' AS none";
    let rows = ask(link, GUARD, PgArguments::default(), PATIENCE).await?;
    if rows.first().map_or(Ok(false), |row| get(row, "none"))? {
        let message = "a slot that nobody reads would fill the disk of PostgreSQL: as a superuser, ALTER SYSTEM SET max_slot_wal_keep_size = '4GB'; SELECT pg_reload_conf()";
        return Err(Error::new(ErrorKind::Feed, message));
    }
    const MAKE: &str = "SELECT FROM pg_catalog.pg_create_logical_replication_slot($1, 'pgoutput')";
    // The server ends it, and leaves no half of it behind.
    set(link, format!("SET statement_timeout = {}", MAKING.as_millis())).await?;
    let made = ask(link, MAKE, with(PgArguments::default(), slot.name.clone())?, MAKING + PATIENCE).await;
    let refused = |error: Error| {
        let message = match error.kind {
            ErrorKind::PostgresPermission => {
                format!("{}; as a superuser, ALTER ROLE … REPLICATION gives the account that right", error.message)
            }
            ErrorKind::StatementTimeout => format!(
                "the slot {} cannot be made while transactions stay open that had begun before (pg_stat_activity shows them)",
                slot.name
            ),
            ErrorKind::PostgresLost | ErrorKind::PostgresUnreachable => return error,
            _ => error.message,
        };
        Error { kind: ErrorKind::Feed, message, at: error.at }
    };
    made.map_err(refused)?;
    set(link, format!("SET statement_timeout = {}", LONG.as_millis())).await
}

/// Moves the slot: what is before it is done.
///
/// # Errors
/// What the server says.
pub(super) async fn advance(link: &mut PgConnection, slot: &Slot, to: u64) -> Result<(), Error> {
    const MOVE: &str = "SELECT FROM pg_catalog.pg_replication_slot_advance($1, $2::pg_lsn)";
    let arguments = with(with(PgArguments::default(), slot.name.clone())?, shown(to))?;
    ask(link, MOVE, arguments, LONG).await.map(|_| ())
}

/// Gives the slot up.
///
/// # Errors
/// What the server says.
pub(super) async fn drop_slot(link: &mut PgConnection, slot: &Slot) -> Result<(), Error> {
    let name = with(PgArguments::default(), slot.name.clone())?;
    ask(link, "SELECT pg_catalog.pg_drop_replication_slot($1)", name, PATIENCE).await.map(|_| ())
}
