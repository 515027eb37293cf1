//! Changes out of a logical replication slot: the server keeps them until we say that they are done.
//!
//! The driver speaks no replication protocol. So the slot is polled by SQL: `pg_logical_slot_peek_binary_changes` shows what has been committed, and takes nothing away; when all keys are gone that it is about,
//! `pg_replication_slot_advance` moves the slot. Whoever dies in between is told again by the next process, and what is deleted twice is no harm.
//!
//! ```text
//! peek ─► pgoutput ─► told ─► messages ─► deleted ─► position ─► memory ─► advance
//! ```
//!
//! A peek reads the server's log from where the slot begins, and that moves only every 15 s or so, however little is for us. Hence there is none while nothing is written, none reads for more than a part of the time
//! ([`SHARE`]), and what other tables write moves the slot, too.
//!
//! A slot that nobody moves keeps the log until the disk is full. Three things are between: `max_slot_wal_keep_size`, without which none is installed; `slot_limit`, at which we give it up and make it anew, with all keys taken
//! for changed; and the lock, by which no two of us move the same.

use std::path::Path;
use std::time::Duration;

use sqlx::postgres::{PgArguments, PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Row as _};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::super::connections::{MARKER, Postgres};
use super::super::error::{silence, translate};
use super::install::{ask, set_path, with};
use super::memory::Memory;
use super::peek::{Peeked, odd_domains, peek, shown, wait_until_visible};
use super::publication::{self, Found};
use super::told::Tables;
use super::tries::Tries;
use crate::ground::changes::{ChangesSettings, Heard, Slot, SlotState};
use crate::ground::error::{Error, ErrorKind};
use crate::ground::fingerprint::Fingerprint;
use crate::ground::show::human_bytes;

/// How often the server is asked how far its log is.
const POLL: Duration = Duration::from_millis(100);
/// After a peek there is none for so many times what it took, but for no longer than this.
const SHARE: u32 = 4;
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// How often the slot is moved: after our changes, and if there are none.
const MOVES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));
/// How often it is asked whether the publication is as it was.
const SHAPES: Duration = Duration::from_secs(10);
/// How long it may take for an answer, and for what reads the log.
const PATIENCE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(120));
/// How long a new slot may wait for transactions that are open.
const MAKING: Duration = Duration::from_secs(30);
/// About how many rows are read in a peek: it ends with the transaction in which there are so many.
const TOGETHER: i32 = 5000;
/// A peek that the server refuses so often in a row will not go better: the slot is given up.
const REFUSALS: u32 = 5;

/// Reads a slot, again and again.
pub struct Reader {
    postgres: Postgres,
    settings: ChangesSettings,
    slot: Slot,
    /// What else it depends on what has been done: the sets, the cache.
    depends: String,
    memory: Memory,
    /// Up to where all is done, as it is told.
    done: watch::Receiver<u64>,
    state: watch::Sender<SlotState>,
    connection: Option<Connection>,
    tries: Tries,
    /// How many peeks have been refused in a row.
    refused: u32,
}

struct Connection {
    link: PgConnection,
    tables: Tables,
    circumstances: Fingerprint,
    shape: String,
    /// Where the slot is.
    confirmed: u64,
    /// Up to where everything has been handed on.
    handed: u64,
    /// Up to where the log has been read.
    read: u64,
    /// Whether a further process would know that it has missed nothing.
    is_noted: bool,
    /// When the slot was moved, when a peek may be next, when the shape was asked for.
    moved: Instant,
    next_peek: Instant,
    shaped: Instant,
}

/// Where the log and the slot are.
struct Look {
    flushed: u64,
    confirmed: u64,
    kept: u64,
}

impl Reader {
    /// One for the slot of the server that the database is written to. `done` tells up to where all has been deleted, `depends` is what else has to be as it was, `folder` where that is remembered. Nothing is opened yet.
    pub fn new(
        postgres: &Postgres,
        settings: &ChangesSettings,
        slot: &Slot,
        depends: String,
        folder: Option<&Path>,
        done: watch::Receiver<u64>,
    ) -> (Self, watch::Receiver<SlotState>) {
        let (state, states) = watch::channel(SlotState::default());
        let reader = Reader {
            postgres: postgres.primary().unwrap_or(postgres).clone(),
            settings: settings.clone(),
            slot: slot.clone(),
            depends,
            memory: Memory::new(folder, &slot.name),
            done,
            state,
            connection: None,
            tries: Tries::new(),
            refused: 0,
        };
        (reader, states)
    }

    /// Waits for what happens next.
    pub async fn next(&mut self) -> Heard {
        loop {
            let Some(mut connection) = self.connection.take() else {
                match self.connect().await {
                    Ok((connection, missed)) => {
                        let position = Some(connection.confirmed);
                        self.connection = Some(connection);
                        self.tries.connected();
                        return Heard::Back { missed, position };
                    }
                    Err(error) if self.tries.is_news(&error) => return Heard::Lost(self.postgres.named(error)),
                    Err(_) => self.tries.wait().await,
                }
                continue;
            };
            match self.hear(&mut connection).await {
                Ok(messages) => {
                    let position = Some(connection.handed);
                    self.connection = Some(connection);
                    return Heard::Messages { messages, position };
                }
                Err(error) => {
                    self.tries.lost(&error);
                    return Heard::Lost(self.postgres.named(error));
                }
            }
        }
    }

    /// A connection, and whether anything may have been missed since the last process.
    async fn connect(&mut self) -> Result<(Connection, bool), Error> {
        let mut link = self.postgres.connect().await?;
        self.prepare(&mut link).await?;
        let found = publication::find(&mut link, &self.settings.tables, &self.slot.name).await?;
        self.look_at_publication(&found)?;
        let mut is_new = false;
        let look = match self.slot_of(&mut link).await? {
            Some(look) => look,
            None => {
                is_new = true;
                self.make(&mut link).await?;
                // Whoever removes both has dropped the slot first, and cannot know of this one.
                if !publication::find(&mut link, &self.settings.tables, &self.slot.name).await?.is_there {
                    self.drop_slot(&mut link).await?;
                    return Err(self.is_gone());
                }
                self.slot_of(&mut link).await?.ok_or_else(|| self.is_gone())?
            }
        };
        let odd = odd_domains(&mut link).await?;
        let circumstances = Fingerprint::of([found.shape.as_str(), &self.depends, &self.slot.name]);
        let remembered = self.memory.read(circumstances);
        let missed = is_new || remembered.is_none_or(|done| look.confirmed > done);
        let now = Instant::now();
        let connection = Connection {
            link,
            tables: Tables::new(found.schemas().zip(self.settings.tables.iter().cloned()), odd),
            circumstances,
            shape: found.shape,
            confirmed: look.confirmed,
            handed: look.confirmed,
            read: look.confirmed,
            is_noted: !missed,
            moved: now,
            next_peek: now,
            shaped: now,
        };
        Ok((connection, missed))
    }

    /// Settings of the session, and the lock by which nobody else of us follows the same slot.
    async fn prepare(&self, link: &mut PgConnection) -> Result<(), Error> {
        set_path(link, &self.postgres).await?;
        // A machine that vanished would hold the lock for hours.
        let settings = format!(
            "SET TimeZone = 'UTC'; SET DateStyle = 'ISO, MDY'; SET IntervalStyle = 'postgres'; SET bytea_output = 'hex'; SET extra_float_digits = 1; \
             SET statement_timeout = {limit}; SELECT CASE WHEN current_setting('idle_session_timeout', true) IS NOT NULL THEN set_config('idle_session_timeout', '60s', false) END",
            limit = PATIENCE.1.as_millis()
        );
        let set = sqlx::raw_sql(AssertSqlSafe(settings)).execute(&mut *link);
        timeout(PATIENCE.0, set).await.map_err(|_| silence("SET", PATIENCE.0))?.map_err(translate)?;
        let name = Fingerprint::of([self.slot.name.as_str()]).number();
        #[expect(clippy::cast_possible_truncation, reason = "a part of it will do")]
        let keys = with(with(PgArguments::default(), MARKER as i32)?, name as i32)?;
        let lock = one(link, "SELECT pg_catalog.pg_try_advisory_lock($1, $2) AS is_ours", keys, PATIENCE.0).await?;
        match lock.try_get("is_ours").map_err(translate)? {
            true => Ok(()),
            false => {
                let name = &self.slot.name;
                let message = format!(
                    "another warm follows the slot {name}: each needs one of its own, which `slot` in [changes] names (or it was one that has ended a moment ago, or a pooler stands between, and primary_url in [postgres] has to name PostgreSQL itself)"
                );
                Err(Error::new(ErrorKind::Definition, message))
            }
        }
    }

    /// Without a publication there is nothing to follow; with a part of it, that part.
    fn look_at_publication(&self, found: &Found) -> Result<(), Error> {
        let name = &self.slot.name;
        if found.standby {
            let message = "PostgreSQL is a standby: primary_url in [postgres] names the server that is written to";
            return Err(Error::new(ErrorKind::Definition, message));
        }
        if !found.is_there {
            let message = format!(
                "there is no publication {name} of warm in the database: run `warm changes install` with an account that owns the tables"
            );
            return Err(Error::new(ErrorKind::Definition, message));
        }
        let lacks = found.lacks(&self.settings.tables);
        self.state.send_modify(|state| state.lacks = lacks);
        Ok(())
    }

    /// Where the log and the slot are; `None` if there is no slot, or one that the server has given up, which is dropped.
    async fn slot_of(&self, link: &mut PgConnection) -> Result<Option<Look>, Error> {
        const LOOK: &str = "SELECT (pg_catalog.pg_current_wal_flush_lsn() - '0/0')::int8 AS flushed, \
             coalesce(confirmed_flush_lsn - '0/0', 0)::int8 AS confirmed, coalesce(pg_catalog.pg_current_wal_lsn() - restart_lsn, 0)::int8 AS kept, \
             plugin IS NOT DISTINCT FROM 'pgoutput' AND database IS NOT DISTINCT FROM current_database() AS is_ours, wal_status IS NOT DISTINCT FROM 'lost' AS is_lost \
             FROM pg_catalog.pg_replication_slots WHERE slot_name = $1";
        let name = with(PgArguments::default(), self.slot.name.clone())?;
        let rows = ask(link, LOOK, name, PATIENCE.0).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let get = |column: &str| row.try_get::<i64, _>(column).map(i64::cast_unsigned).map_err(translate);
        if !row.try_get::<bool, _>("is_ours").map_err(translate)? {
            let message =
                format!("the slot {} is one of another database or plugin: let `slot` name another", self.slot.name);
            return Err(Error::new(ErrorKind::Definition, message));
        }
        if row.try_get::<bool, _>("is_lost").map_err(translate)? {
            self.drop_slot(link).await?;
            return Ok(None);
        }
        Ok(Some(Look { flushed: get("flushed")?, confirmed: get("confirmed")?, kept: get("kept")? }))
    }

    async fn make(&self, link: &mut PgConnection) -> Result<(), Error> {
        const MAKE: &str = "SELECT FROM pg_catalog.pg_create_logical_replication_slot($1, 'pgoutput')";
        ask(link, MAKE, with(PgArguments::default(), self.slot.name.clone())?, MAKING).await.map(|_| ()).map_err(
            |error| match error.kind {
                ErrorKind::PostgresPermission => {
                    let message = format!(
                        "{}; `ALTER ROLE … REPLICATION` gives the account that right (docs/changes.md)",
                        error.message
                    );
                    Error { message, ..error }
                }
                _ => error,
            },
        )
    }

    async fn drop_slot(&self, link: &mut PgConnection) -> Result<(), Error> {
        let name = with(PgArguments::default(), self.slot.name.clone())?;
        ask(link, "SELECT pg_catalog.pg_drop_replication_slot($1)", name, PATIENCE.0).await.map(|_| ())
    }

    fn is_gone(&self) -> Error {
        Error::new(ErrorKind::PostgresLost, format!("the slot {} is gone", self.slot.name))
    }

    /// Waits until something has been committed that is to be told.
    async fn hear(&mut self, connection: &mut Connection) -> Result<Vec<String>, Error> {
        loop {
            let look = self.slot_of(&mut connection.link).await?.ok_or_else(|| self.is_gone())?;
            if look.confirmed > connection.confirmed {
                let message =
                    format!("somebody else has moved the slot {}: what it told him is not known here", self.slot.name);
                return Err(Error::new(ErrorKind::PostgresLost, message));
            }
            if look.kept > self.slot.limit {
                self.drop_slot(&mut connection.link).await?;
                let message = format!(
                    "the server had to keep {} for the slot {}, more than slot_limit ({}): it is made anew",
                    human_bytes(look.kept),
                    self.slot.name,
                    human_bytes(self.slot.limit)
                );
                return Err(Error::new(ErrorKind::PostgresLost, message));
            }
            self.keep_shape(connection).await?;
            self.go_on(connection, &look).await?;
            if look.flushed > connection.read && Instant::now() >= connection.next_peek {
                let messages = self.peek(connection, look.flushed).await?;
                if !messages.is_empty() {
                    return Ok(messages);
                }
                if connection.read < look.flushed {
                    continue;
                }
            }
            sleep(POLL).await;
        }
    }

    /// What the publication tells, and of which tables, has to be what it was.
    async fn keep_shape(&self, connection: &mut Connection) -> Result<(), Error> {
        if connection.shaped.elapsed() < SHAPES {
            return Ok(());
        }
        connection.shaped = Instant::now();
        let found = publication::find(&mut connection.link, &self.settings.tables, &self.slot.name).await?;
        if found.shape == connection.shape {
            return Ok(());
        }
        let message = format!("the publication {}, or a table of it, is not what it was", self.slot.name);
        Err(Error::new(ErrorKind::PostgresLost, message))
    }

    /// Moves the slot to where all is done, and tells how it is.
    async fn go_on(&self, connection: &mut Connection, look: &Look) -> Result<(), Error> {
        let done = *self.done.borrow();
        // What was read and is not about us is done, too, when all before it is.
        let is_all_done = done >= connection.handed;
        let target = if is_all_done { connection.read.max(connection.handed) } else { done };
        let pause = if done > connection.confirmed { MOVES.0 } else { MOVES.1 };
        let is_due = connection.moved.elapsed() >= pause;
        if is_all_done && !connection.is_noted {
            // From now on whoever begins has missed nothing.
            self.memory.write(connection.circumstances, connection.confirmed);
            connection.is_noted = true;
        }
        if is_due && target > connection.confirmed {
            self.memory.write(connection.circumstances, target);
            const MOVE: &str = "SELECT FROM pg_catalog.pg_replication_slot_advance($1, $2::pg_lsn)";
            let arguments = with(with(PgArguments::default(), self.slot.name.clone())?, shown(target))?;
            ask(&mut connection.link, MOVE, arguments, PATIENCE.1).await?;
            (connection.confirmed, connection.moved) = (target, Instant::now());
        }
        let unread = look.flushed.saturating_sub(connection.confirmed);
        self.state.send_modify(|state| {
            (state.position, state.unread, state.kept) = (connection.confirmed, unread, look.kept);
        });
        Ok(())
    }

    /// What has been committed up to this position, and was not told yet.
    async fn peek(&mut self, connection: &mut Connection, flushed: u64) -> Result<Vec<String>, Error> {
        let begin = Instant::now();
        // What was told, and is not done yet, comes again before what is new.
        let rows = if connection.handed > connection.confirmed { 10 * TOGETHER } else { TOGETHER };
        let Connection { link, tables, read, .. } = connection;
        let peeked = timeout(PATIENCE.1, peek(link, &self.slot.name, tables, *read..flushed, rows)).await;
        connection.next_peek = Instant::now() + (begin.elapsed() * SHARE).clamp(POLL, LONGEST_PAUSE);
        match peeked.unwrap_or_else(|_| Err(silence("reading the slot", PATIENCE.1))) {
            Ok(Peeked { messages, told, transactions, read, lag }) => {
                wait_until_visible(&mut connection.link, &transactions).await?;
                self.refused = 0;
                connection.read = read;
                connection.handed = told.unwrap_or(connection.handed);
                if lag.is_some() {
                    self.state.send_modify(|state| state.lag = lag);
                }
                Ok(messages)
            }
            Err(error) if error.kind == ErrorKind::PostgresLost => Err(error),
            Err(error) => {
                self.refused += 1;
                if self.refused < REFUSALS {
                    return Err(error);
                }
                // Such as a publication that was not there yet when the change was made: that stays so.
                self.refused = 0;
                self.drop_slot(&mut connection.link).await?;
                let message = format!("{}; the slot {} is made anew", error.message, self.slot.name);
                Err(Error { message, ..error })
            }
        }
    }
}

async fn one(
    link: &mut PgConnection,
    query: &'static str,
    arguments: PgArguments,
    limit: Duration,
) -> Result<PgRow, Error> {
    let rows = ask(link, query, arguments, limit).await?;
    rows.into_iter().next().ok_or_else(|| Error::new(ErrorKind::PostgresLost, "PostgreSQL answered nothing"))
}
