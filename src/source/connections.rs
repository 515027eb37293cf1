//! At most N connections, made when needed and kept for the next snapshot.
//!
//! This is not sqlx's pool on purpose: there, a cancelled `begin` poisons a pooled connection and a dropped dead one keeps its permit for
//! ever. Here a permit and its connection live and die together, and a connection goes back only after its transaction
//! has ended well.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::postgres::PgRow;
use sqlx::{Connection, PgConnection, Row as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};

use super::ahead::Ahead;
use super::error::{may_pass, silence, translate};
use super::snapshot::Snapshot;
use super::url::{Target, UrlError};
use crate::ground::backoff::pause_between_tries;
use crate::ground::error::{Error, ErrorKind};
use crate::ground::settings::{Busy, PostgresSettings};
use crate::ground::sql::quote_identifier;
use secrecy::ExposeSecret;

/// How much longer than a statement's own time-out the server may stay silent: by then it should have said that the time is over.
const GRACE: Duration = Duration::from_secs(5);

/// How long nobody asks again how busy a server is that could not be asked: a query that hangs would delay every run.
const UNKNOWN: Duration = Duration::from_secs(60);

/// A PostgreSQL server to read from.
#[derive(Debug, Clone)]
pub struct Postgres {
    pub(super) shared: Arc<Shared>,
    /// The connection of the fill that this is for.
    pub(super) ahead: Option<Arc<Ahead>>,
}

#[derive(Debug)]
pub(super) struct Shared {
    target: Target,
    pub(super) connections: usize,
    connect_timeout: Duration,
    statement_timeout: Duration,
    pub(super) permits: Arc<Semaphore>,
    /// Those for fills alone, and whether there are any.
    pub(super) for_fills: Arc<Semaphore>,
    pub(super) keeps: AtomicBool,
    idle: Mutex<Vec<PgConnection>>,
    busy: Option<Busy>,
    /// When it was tried in vain last to find out how busy it is.
    load_unknown: Mutex<Option<Instant>>,
    max_lag: Option<Duration>,
    /// Where the database is written to, if this may be a standby.
    primary: Option<Postgres>,
    /// Whether this is the primary of another one.
    is_primary: bool,
}

/// How often the server looks whether the client of a running query is still there.
const CHECK_INTERVAL: Duration = Duration::from_millis(500);
/// How long a query may still run after its connection was dropped: until the server has looked, and a little more.
const AFTERLIFE: Duration = Duration::from_millis(800);

/// A connection with the permit to have one. Dropping it closes the connection.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) connection: PgConnection,
    pub(super) permit: Permit,
}

/// The permit to have a connection.
#[derive(Debug)]
pub(super) struct Permit {
    counted: Option<OwnedSemaphorePermit>,
    /// Whether a query is running on the connection.
    pub(super) busy: bool,
}

impl Drop for Permit {
    /// A query whose connection is dropped runs on until the server notices; only then somebody else may have the permit.
    fn drop(&mut self) {
        let Some(counted) = self.counted.take().filter(|_| self.busy) else { return };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                sleep(AFTERLIFE).await;
                drop(counted);
            });
        }
    }
}

impl Permit {
    pub(super) fn new(counted: OwnedSemaphorePermit) -> Self {
        Permit { counted: Some(counted), busy: false }
    }
}

impl Postgres {
    /// Prepares to connect; nothing is opened yet.
    ///
    /// # Errors
    /// A URL that cannot be used, with the place where it was found.
    pub fn new(settings: &PostgresSettings) -> Result<Self, UrlError> {
        Postgres::with_role(settings, false)
    }

    fn with_role(settings: &PostgresSettings, is_primary: bool) -> Result<Self, UrlError> {
        let target = Target::parse(settings.url.expose_secret())
            .map_err(|error| UrlError(format!("{}: {error}", settings.origin)))?;
        let connections = settings.connections.min(target.connection_limit.unwrap_or(u32::MAX)).max(1) as usize;
        let primary = settings.primary.as_deref().map(|primary| Postgres::with_role(primary, true)).transpose()?;
        Ok(Postgres {
            shared: Arc::new(Shared {
                primary,
                is_primary,
                connections,
                connect_timeout: target.connect_timeout.unwrap_or(settings.connect_timeout),
                statement_timeout: settings.statement_timeout,
                permits: Arc::new(Semaphore::new(connections)),
                for_fills: Arc::new(Semaphore::new(0)),
                keeps: AtomicBool::new(false),
                idle: Mutex::new(Vec::new()),
                busy: settings.busy.clone(),
                load_unknown: Mutex::default(),
                max_lag: settings.max_lag,
                target,
            }),
            ahead: None,
        })
    }

    /// What the URL says.
    pub fn target(&self) -> &Target {
        &self.shared.target
    }

    /// The server that the database is written to, if this one may be a standby.
    pub fn primary(&self) -> Option<&Postgres> {
        self.shared.primary.as_ref()
    }

    /// The longest time to get a connection.
    pub(super) fn connect_timeout(&self) -> Duration {
        self.shared.connect_timeout
    }

    /// The longest time for one statement.
    pub(super) fn statement_timeout(&self) -> Duration {
        self.shared.statement_timeout
    }

    /// When it counts as busy, if ever.
    pub fn busy(&self) -> Option<&Busy> {
        self.shared.busy.as_ref()
    }

    /// Whether it was tried in vain just now to find out how busy it is.
    pub(super) fn is_load_unknown(&self) -> bool {
        let tried = *self.shared.load_unknown.lock().unwrap_or_else(PoisonError::into_inner);
        tried.is_some_and(|tried| tried.elapsed() < UNKNOWN)
    }

    /// Notes that it cannot be found out now.
    pub(super) fn load_is_unknown(&self) {
        *self.shared.load_unknown.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// How far it may be behind if it is a standby, if that matters.
    pub fn max_lag(&self) -> Option<Duration> {
        self.shared.max_lag
    }

    /// The most connections that are open at a time.
    pub fn connections(&self) -> usize {
        self.shared.connections
    }

    /// Connections that nobody uses now.
    pub fn free(&self) -> usize {
        self.shared.permits.available_permits()
    }

    /// The same as [`Postgres::snapshot`] if a connection is free now, else `None`.
    ///
    /// # Errors
    /// As [`Postgres::snapshot`].
    pub async fn snapshot_if_free(&self) -> Result<Option<Snapshot>, Error> {
        match Arc::clone(&self.shared.permits).try_acquire_owned() {
            Ok(permit) => self.open(Permit::new(permit)).await.map(Some),
            Err(_) => Ok(None),
        }
    }

    /// Opens a read-only transaction that sees one state of the database; waits for a free connection if need be.
    ///
    /// # Errors
    /// [`ErrorKind::PostgresUnreachable`] or [`ErrorKind::PostgresFull`] when no connection can be made in time, [`ErrorKind::PostgresRefused`] at once when the server
    /// rejects us, or what `BEGIN` gave.
    pub async fn snapshot(&self) -> Result<Snapshot, Error> {
        let permit = self.permit().await?;
        self.open(permit).await.map_err(|error| self.named(error))
    }

    /// An error of a primary says so: else it would be looked for at the server that is read from.
    pub(super) fn named(&self, error: Error) -> Error {
        if !self.shared.is_primary {
            return error;
        }
        Error { message: format!("the primary (primary_url): {}", error.message), ..error }
    }

    /// Whether a new snapshot would see the same; `None` when that cannot be found out: no connection is free now, or it breaks.
    pub async fn is_still_at(&self, state: &State) -> Option<bool> {
        let permit = Arc::clone(&self.shared.permits).try_acquire_owned().ok()?;
        let permit = Permit::new(permit);
        let connection = match self.kept() {
            Some(connection) => connection,
            None => self.connect().await.ok()?,
        };
        let mut link = Link { connection, permit };
        let now = self.state(&mut link, STATE).await.ok()?;
        self.keep(link);
        Some(now.is_the_same_as(state))
    }

    /// A connection that nobody uses now. Whoever has a permit asks for one first: else there would be more connections than permits.
    pub(super) fn kept(&self) -> Option<PgConnection> {
        self.shared.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    async fn open(&self, permit: Permit) -> Result<Snapshot, Error> {
        if let Some(connection) = self.kept() {
            // A connection that was left idle may be dead by now: then a new one takes its place.
            let mut link = Link { connection, permit };
            return match self.begin(&mut link).await {
                Ok(state) => Ok(self.wrap(link, state)),
                Err(error) if may_pass(&error) => self.begin_new(link.permit).await,
                Err(error) => Err(error),
            };
        }
        self.begin_new(permit).await
    }

    pub(super) async fn begin_new(&self, permit: Permit) -> Result<Snapshot, Error> {
        let mut link = Link { connection: self.connect().await?, permit };
        let state = self.begin(&mut link).await?;
        Ok(self.wrap(link, state))
    }

    fn wrap(&self, link: Link, state: State) -> Snapshot {
        Snapshot::new(self.clone(), link, state, self.shared.statement_timeout + GRACE)
    }

    /// Takes a connection back whose transaction has ended well.
    pub(super) fn keep(&self, link: Link) {
        let Link { connection, permit } = link;
        self.shared.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        drop(permit);
    }

    /// Closes the connections that nobody uses, politely.
    pub async fn close(&self) {
        let idle = std::mem::take(&mut *self.shared.idle.lock().unwrap_or_else(PoisonError::into_inner));
        for connection in idle {
            part(connection).await;
        }
        if let Some(primary) = self.primary() {
            Box::pin(primary.close()).await;
        }
    }

    /// One connection, tried for until the connect time-out, authentication included.
    pub(super) async fn connect(&self) -> Result<PgConnection, Error> {
        let limit = self.shared.connect_timeout;
        let start = Instant::now();
        loop {
            let left = limit.saturating_sub(start.elapsed());
            let error = match timeout(left, PgConnection::connect_with(&self.shared.target.options)).await {
                Ok(Ok(connection)) => return Ok(connection),
                Ok(Err(error)) => translate(error),
                Err(_) => silence("connecting", limit),
            };
            if !may_pass(&error) {
                return Err(error);
            }
            let pause = pause_between_tries();
            if start.elapsed() + pause >= limit {
                let server = self.shared.target.describe();
                // One that has no room is there: its address is right.
                let kind = match error.kind {
                    ErrorKind::PostgresFull => ErrorKind::PostgresFull,
                    _ => ErrorKind::PostgresUnreachable,
                };
                return Err(Error::new(kind, format!("no connection to PostgreSQL at {server}: {error}")));
            }
            sleep(pause).await;
        }
    }

    pub(super) async fn begin(&self, link: &mut Link) -> Result<State, Error> {
        let begin = begin_statement(self.shared.statement_timeout, self.shared.target.schema.as_deref());
        self.state(link, &begin).await
    }

    /// Runs statements of which the last one is [`STATE`].
    async fn state(&self, link: &mut Link, statements: &str) -> Result<State, Error> {
        let text = sqlx::AssertSqlSafe(statements.to_owned());
        let run = sqlx::raw_sql(text).fetch_all(&mut link.connection);
        let rows = match timeout(self.shared.statement_timeout + GRACE, run).await {
            Ok(result) => result.map_err(translate)?,
            Err(_) => return Err(silence("BEGIN", self.shared.statement_timeout)),
        };
        let last = rows.last().ok_or_else(|| Error::new(ErrorKind::PostgresLost, "PostgreSQL did not answer BEGIN"))?;
        State::of(last)
    }
}

/// Closes a connection politely. A server that does not answer the good-bye has lost nothing.
pub(super) async fn part(connection: PgConnection) {
    let _ = timeout(Duration::from_secs(1), connection.close()).await;
}

/// The advisory lock that every transaction of ours holds, shared with all others: by it other sessions are told from the application's. A name would
/// not do: behind a pooler, the application may be on a server connection that was named by us.
pub(super) const MARKER: i64 = 0x7761_726d;

/// Asks for the [`State`].
pub(super) const STATE: &str = "SELECT pg_catalog.pg_current_snapshot()::text AS transactions, pg_catalog.pg_is_in_recovery() AS standby, \
     EXISTS (SELECT FROM pg_catalog.pg_foreign_table) AS foreign_tables";

/// The state of a database that a snapshot sees.
#[derive(Debug, Clone)]
pub struct State {
    /// Which transactions are seen, as `pg_current_snapshot()` says it.
    transactions: String,
    /// Whether the server is a standby, which shows what the primary has committed only later. There the list of transactions is not complete.
    pub standby: bool,
    /// Whether there are foreign tables, whose rows change without a transaction here.
    foreign: bool,
}

impl State {
    /// What the row says that [`STATE`] gives.
    pub(super) fn of(row: &PgRow) -> Result<Self, Error> {
        let is = |column: &str| row.try_get(column).map_err(translate);
        Ok(State {
            transactions: row.try_get("transactions").map_err(translate)?,
            standby: is("standby")?,
            foreign: is("foreign_tables")?,
        })
    }

    /// One that is the same as no other.
    pub(super) fn unknown() -> Self {
        State { transactions: String::new(), standby: true, foreign: false }
    }

    /// Whether nothing was committed in this database, nor in others of the server, between both.
    pub(super) fn has_same_transactions(&self, other: &State) -> bool {
        !self.transactions.is_empty() && self.transactions == other.transactions
    }

    /// Whether no query can see anything else in the other one, so that it need not be asked.
    pub fn is_the_same_as(&self, other: &State) -> bool {
        self.transactions == other.transactions && !(self.standby || other.standby || self.foreign || other.foreign)
    }
}

/// Begins a transaction and fixes everything in the session that values depend on.
///
/// `client_connection_check_interval` (PostgreSQL 14 and later) makes the server stop a query whose client has gone, so that closing the
/// connection cancels it; without it the statement time-out does.
fn begin_statement(statement_timeout: Duration, schema: Option<&str>) -> String {
    let schema = schema.map(|name| format!("SET LOCAL search_path = {};", quote_identifier(name))).unwrap_or_default();
    format!(
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; \
         SET LOCAL TimeZone = 'UTC'; SET LOCAL DateStyle = 'ISO, MDY'; SET LOCAL IntervalStyle = 'postgres'; \
         SET LOCAL bytea_output = 'hex'; SET LOCAL extra_float_digits = 1; {schema} \
         SET LOCAL statement_timeout = {millis}; SET LOCAL lock_timeout = {lock}; \
         SET LOCAL idle_in_transaction_session_timeout = {idle}; \
         SELECT CASE WHEN current_setting('client_connection_check_interval', true) IS NOT NULL \
         THEN set_config('client_connection_check_interval', '{check}ms', true) END; \
         SELECT pg_catalog.pg_try_advisory_xact_lock_shared({MARKER}); {STATE}",
        millis = statement_timeout.as_millis(),
        // Shorter, so that the error says what was waited for.
        lock = (statement_timeout / 2).as_millis(),
        idle = (statement_timeout * 4).as_millis(),
        check = CHECK_INTERVAL.as_millis(),
    )
}
