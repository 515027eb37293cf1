//! The one connection for all leases of a process: opened when the first one is wanted, given back with the last one. What it is for and why it is held as it
//! is, stands in `lease.rs`.

use std::collections::HashMap;
use std::time::Duration;

use chrono::DateTime;
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, PgConnection, Row as _};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};

use super::connections::{Link, MARKER, Permit, Postgres, part};
use super::error::{silence, translate};
use super::lease::{Acquired, Holder, Lease};
use crate::ground::error::{Error, ErrorKind};

/// Why no lease can be taken where only one connection is allowed.
const NO_ROOM: &str = "a lease needs a connection beside the one that reads: let `connections` in [postgres] be 2 or more, and `connection_limit` in the URL, if it is there";

/// What the keeper is asked.
#[derive(Debug)]
pub(super) enum Request {
    Acquire { lock: i64, requests: mpsc::UnboundedSender<Request>, reply: Reply },
    Release { lock: i64, done: Option<oneshot::Sender<()>> },
}

type Reply = oneshot::Sender<Result<Acquired, Error>>;

/// Has the connection for all leases of a process.
pub(super) struct Keeper {
    home: Postgres,
    primary: Option<Postgres>,
    lost_after: Duration,
    session: Option<Session>,
    /// There as long as a lease is held, even if the connection has broken: so that the next one does not wait for those who hold leases.
    permit: Option<Permit>,
    /// The locks of all leases, and whether the session still has each of them.
    held: HashMap<i64, bool>,
}

struct Session {
    connection: PgConnection,
    /// When it last gave a sign of life.
    spoke: Instant,
}

impl Keeper {
    pub(super) fn new(home: Postgres, lost_after: Duration) -> Self {
        let primary = home.primary().cloned();
        Keeper { home, primary, lost_after, session: None, permit: None, held: HashMap::new() }
    }

    /// Answers until nobody can ask any more.
    pub(super) async fn serve(mut self, mut queue: mpsc::UnboundedReceiver<Request>) {
        loop {
            let due = self.session.as_ref().map(|session| session.spoke + self.beat());
            let request = tokio::select! {
                request = queue.recv() => request,
                () = at(due) => {
                    // Who does not answer is dropped.
                    let _ = self.ask("SELECT 1").await;
                    continue;
                }
            };
            let mut done = None;
            match request {
                Some(Request::Acquire { lock, requests, reply }) => self.answer(lock, requests, reply).await,
                Some(Request::Release { lock, done: asked }) => {
                    self.release(lock).await;
                    done = asked;
                }
                None => return,
            }
            if self.held.is_empty() {
                self.rest().await;
            }
            // Nobody need wait for it.
            let _ = done.map(|done| done.send(()));
        }
    }

    /// How often a sign of life is given, and how long the server may take to answer: so that a holder that lives is never taken for lost.
    fn beat(&self) -> Duration {
        self.lost_after / 3
    }

    fn server(&self) -> &Postgres {
        self.primary.as_ref().unwrap_or(&self.home)
    }

    async fn answer(&mut self, lock: i64, requests: mpsc::UnboundedSender<Request>, reply: Reply) {
        let acquired = if self.held.contains_key(&lock) {
            Ok(Acquired::HeldHere)
        } else if !self.home.has_room_for_leases() {
            Ok(Acquired::NotPossible(NO_ROOM))
        } else {
            self.acquire(lock, requests).await
        };
        // If the caller has given up, it is given back at once: the caller may already have asked again.
        if let Err(Ok(Acquired::Held(lease))) = reply.send(acquired) {
            lease.forget();
            self.release(lock).await;
        }
    }

    async fn acquire(&mut self, lock: i64, requests: mpsc::UnboundedSender<Request>) -> Result<Acquired, Error> {
        if self.permit.is_none() {
            self.permit = Some(self.home.permit().await?);
        }
        if !self.lock(lock).await? {
            return Ok(Acquired::HeldElsewhere(self.holder(lock).await.ok().flatten()));
        }
        self.held.insert(lock, true);
        Ok(Acquired::Held(Lease::new(lock, requests)))
    }

    async fn lock(&mut self, lock: i64) -> Result<bool, Error> {
        let lock = format!("SELECT pg_catalog.pg_try_advisory_lock('{lock}'::bigint) AS done");
        // A connection that was silent for a while may have broken.
        if self.session.is_some()
            && let Ok(locked) = self.is_done(&lock).await
        {
            return Ok(locked);
        }
        self.open().await?;
        self.is_done(&lock).await
    }

    async fn release(&mut self, lock: i64) {
        if self.held.remove(&lock) == Some(true) {
            let unlock = format!("SELECT pg_catalog.pg_advisory_unlock('{lock}'::bigint) AS done");
            if self.is_done(&unlock).await != Ok(true) {
                self.lose();
            }
        }
    }

    /// Who has a lock.
    async fn holder(&mut self, lock: i64) -> Result<Option<Holder>, Error> {
        let (high, low) = (lock.cast_unsigned() >> 32, lock.cast_unsigned() & 0xFFFF_FFFF);
        let rows = self
            .ask(&format!(
                "SELECT l.pid, a.application_name, pg_catalog.host(a.client_addr) AS client_addr, \
                 (extract(epoch FROM a.xact_start) * 1000)::bigint AS since \
                 FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_activity a USING (pid) \
                 WHERE l.locktype = 'advisory' AND l.granted AND l.classid = '{high}'::oid AND l.objid = '{low}'::oid AND l.objsubid = 1 \
                 AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())"
            ))
            .await?;
        let holder = |row: &PgRow| {
            Ok(Holder {
                pid: row.try_get("pid")?,
                application_name: row.try_get("application_name")?,
                client_addr: row.try_get("client_addr")?,
                since: row.try_get::<Option<i64>, _>("since")?.and_then(DateTime::from_timestamp_millis),
            })
        };
        rows.first().map(holder).transpose().map_err(translate)
    }

    /// Begins the transaction, on a connection that is kept, or on a new one.
    async fn open(&mut self) -> Result<(), Error> {
        if let Some(kept) = self.home.kept() {
            if self.primary.is_some() {
                part(kept).await;
            } else if self.begin(kept).await.is_ok() {
                return Ok(());
            }
        }
        let connection = self.server().connect().await?;
        self.begin(connection).await
    }

    async fn begin(&mut self, connection: PgConnection) -> Result<(), Error> {
        self.session = Some(Session { connection, spoke: Instant::now() });
        let begin = format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY; SET LOCAL statement_timeout = {beat}; \
             SET LOCAL idle_in_transaction_session_timeout = {lost_after}; \
             SELECT CASE WHEN pg_catalog.current_setting('transaction_timeout', true) IS NOT NULL \
             THEN pg_catalog.set_config('transaction_timeout', '0', true) END; \
             SELECT pg_catalog.pg_try_advisory_xact_lock_shared({MARKER})",
            beat = self.beat().as_millis(),
            lost_after = self.lost_after.as_millis(),
        );
        self.ask(&begin).await.map(drop)
    }

    /// Gives the connection back when no lock is held any more.
    async fn rest(&mut self) {
        let Some(permit) = self.permit.take() else { return };
        // Only now: a pooler gives a session on at the end of a transaction, with all its locks.
        if self.session.is_none() || self.ask("COMMIT").await.is_err() {
            return;
        }
        match self.session.take() {
            Some(Session { connection, .. }) if self.primary.is_none() => self.home.keep(Link { connection, permit }),
            Some(Session { connection, .. }) => part(connection).await,
            None => {}
        }
    }

    async fn is_done(&mut self, statement: &str) -> Result<bool, Error> {
        let rows = self.ask(statement).await?;
        let row = rows.first().ok_or_else(|| Error::new(ErrorKind::PostgresLost, "PostgreSQL gave no row"))?;
        row.try_get("done").map_err(translate)
    }

    /// Runs statements. After an error the session is lost: its transaction is of no use any more, or an answer is still to come.
    async fn ask(&mut self, statements: &str) -> Result<Vec<PgRow>, Error> {
        let patience = self.beat();
        let Some(session) = &mut self.session else {
            return Err(Error::new(ErrorKind::PostgresLost, "there is no connection for leases"));
        };
        session.spoke = Instant::now();
        let rows = sqlx::raw_sql(AssertSqlSafe(statements.to_owned())).fetch_all(&mut session.connection);
        let result = match timeout(patience, rows).await {
            Ok(result) => result.map_err(translate),
            Err(_) => Err(silence("asking about a lease", patience)),
        };
        if result.is_err() {
            self.lose();
        }
        result
    }

    /// Drops the connection, which ends the session. Never by ending its transaction first: the locks would stay.
    fn lose(&mut self) {
        self.session = None;
        self.held.values_mut().for_each(|there| *there = false);
    }
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}
