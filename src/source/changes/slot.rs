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

use sqlx::postgres::PgConnection;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::super::connections::Postgres;
use super::super::error::silence;
use super::install::lacks;
use super::memory::Memory;
use super::peek::{Peeked, odd_domains, peek, wait_until_visible};
use super::publication::{self, Found};
use super::session::{self, Look};
use super::told::{Subject, Tables};
use super::tries::Tries;
use crate::ground::changes::{ChangesSettings, FeedState, Heard, Slot, Watched};
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
/// With more than `slot_limit` to read, it has to move within this.
const STUCK: Duration = Duration::from_secs(10);
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
    state: watch::Sender<FeedState>,
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
    /// The server's process for it.
    process: i32,
    /// Where the slot is.
    confirmed: u64,
    /// Up to where everything has been handed on.
    handed: u64,
    /// Up to where the log has been read.
    read: u64,
    /// Whether a further process would know that it has missed nothing.
    is_noted: bool,
    /// Whether it has been told up to where all is done since there is this connection: what was told before may be of another log.
    is_answered: bool,
    /// When the slot was moved, when a peek may be next, when the shape was asked for.
    moved: Instant,
    next_peek: Instant,
    shaped: Instant,
    /// When all had been read that there was.
    caught_up: Instant,
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
    ) -> (Self, watch::Receiver<FeedState>) {
        let (state, states) = watch::channel(FeedState::default());
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
                    self.state.send_modify(|state| state.slot = None);
                    return Heard::Lost(self.postgres.named(error));
                }
            }
        }
    }

    /// A connection, and whether anything may have been missed since the last process.
    async fn connect(&mut self) -> Result<(Connection, bool), Error> {
        let mut link = session::open(&self.postgres, &self.slot).await?;
        let found = publication::find(&mut link, &self.settings.tables, &self.slot.name).await?;
        self.look_at_publication(&found)?;
        let mut is_new = false;
        let look = match session::look(&mut link, &self.slot).await? {
            Some(look) => look,
            None => {
                is_new = true;
                session::make(&mut link, &self.slot).await?;
                // Whoever removes both cannot know of this one.
                if !publication::find(&mut link, &self.settings.tables, &self.slot.name).await?.is_there {
                    session::drop_slot(&mut link, &self.slot).await?;
                    return Err(self.is_gone());
                }
                session::look(&mut link, &self.slot).await?.ok_or_else(|| self.is_gone())?
            }
        };
        let odd = odd_domains(&mut link).await?;
        let circumstances = Fingerprint::of([found.shape.as_str(), &self.depends, &self.slot.name]);
        let remembered = self.memory.read(circumstances);
        // A log that is shorter than what was done is another one: the server's data are a copy of before.
        let is_known = |done: u64| look.confirmed <= done && done <= look.flushed;
        let missed = is_new || !remembered.is_some_and(is_known);
        self.done.mark_unchanged();
        let subject = |(watched, tells_all): (&Watched, bool)| Subject { watched: watched.clone(), tells_all };
        let subjects = self.settings.tables.iter().zip(found.tell_all).map(subject);
        let now = Instant::now();
        let connection = Connection {
            link,
            tables: Tables::new(found.oids.into_iter().zip(subjects), odd),
            circumstances,
            shape: found.shape,
            process: look.process,
            confirmed: look.confirmed,
            handed: look.confirmed,
            read: look.confirmed,
            is_noted: !missed,
            is_answered: false,
            moved: now,
            next_peek: now,
            shaped: now,
            caught_up: now,
        };
        Ok((connection, missed))
    }

    /// Without a publication there is nothing to follow; with a part of it, that part.
    fn look_at_publication(&self, found: &Found) -> Result<(), Error> {
        let name = &self.slot.name;
        if found.standby {
            let message = "PostgreSQL is a standby: primary_url in [postgres] names the server that is written to";
            return Err(Error::new(ErrorKind::Feed, message));
        }
        if !found.is_there {
            let message = format!(
                "there is no publication {name} of warm in the database: run `warm changes install` with an account that owns the tables"
            );
            return Err(Error::new(ErrorKind::Feed, message));
        }
        let lacks = lacks(found.tables.iter().filter_map(|table| table.problem.as_ref()));
        self.state.send_modify(|state| state.lacks = lacks);
        Ok(())
    }

    fn is_gone(&self) -> Error {
        Error::new(ErrorKind::Feed, format!("the slot {} is gone", self.slot.name))
    }

    /// Waits until something has been committed that is to be told.
    async fn hear(&mut self, connection: &mut Connection) -> Result<Vec<String>, Error> {
        loop {
            let look = session::look(&mut connection.link, &self.slot).await?.ok_or_else(|| self.is_gone())?;
            if look.process != connection.process {
                return Err(session::pooled());
            }
            if look.confirmed > connection.confirmed {
                let message =
                    format!("somebody else has moved the slot {}: what it told him is not known here", self.slot.name);
                return Err(Error::new(ErrorKind::Feed, message));
            }
            self.guard(connection, &look).await?;
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
            if connection.read >= look.flushed {
                connection.caught_up = Instant::now();
            }
            sleep(POLL).await;
        }
    }

    /// Gives the slot up if it does not move, and makes the server keep too much. (It also keeps what a transaction needs that is open: there a new slot would be no better.)
    async fn guard(&self, connection: &mut Connection, look: &Look) -> Result<(), Error> {
        let unread = look.flushed.saturating_sub(connection.confirmed);
        if unread <= self.slot.limit || connection.moved.elapsed() < STUCK {
            return Ok(());
        }
        session::drop_slot(&mut connection.link, &self.slot).await?;
        let message = format!(
            "{} of PostgreSQL's log wait for the slot {}, more than slot_limit ({}), and it does not move: it is made anew",
            human_bytes(unread),
            self.slot.name,
            human_bytes(self.slot.limit)
        );
        Err(Error::new(ErrorKind::Feed, message))
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
        Err(Error::new(ErrorKind::Feed, message))
    }

    /// Moves the slot to where all is done, and tells how it is.
    async fn go_on(&self, connection: &mut Connection, look: &Look) -> Result<(), Error> {
        connection.is_answered |= self.done.has_changed().unwrap_or(false);
        let done = if connection.is_answered { *self.done.borrow() } else { 0 };
        // What was read and is not about us is done, too, when all before it is.
        let is_all_done = done >= connection.handed;
        let target = if is_all_done { connection.read.max(connection.handed) } else { done };
        let pause = if done > connection.confirmed { MOVES.0 } else { MOVES.1 };
        let is_due = connection.moved.elapsed() >= pause;
        if is_all_done && !connection.is_noted {
            // From now on whoever begins has missed nothing.
            self.note(connection.circumstances, connection.confirmed);
            connection.is_noted = true;
        }
        if is_due && target > connection.confirmed {
            self.note(connection.circumstances, target);
            session::advance(&mut connection.link, &self.slot, target).await?;
            (connection.confirmed, connection.moved) = (target, Instant::now());
        }
        let unread = look.flushed.saturating_sub(connection.confirmed);
        self.state.send_modify(|state| {
            let slot = state.slot.get_or_insert_default();
            (slot.position, slot.unread, slot.kept) = (connection.confirmed, unread, look.kept);
            slot.behind = connection.caught_up.elapsed();
        });
        Ok(())
    }

    /// Notes up to where all is done. Where that cannot be done, each process takes all for changed.
    fn note(&self, circumstances: Fingerprint, position: u64) {
        let unnoted = self.memory.write(circumstances, position).err().map(|error| error.to_string());
        self.state.send_if_modified(|state| std::mem::replace(&mut state.unnoted, unnoted.clone()) != unnoted);
    }

    /// What has been committed up to this position, and was not told yet.
    async fn peek(&mut self, connection: &mut Connection, flushed: u64) -> Result<Vec<String>, Error> {
        let begin = Instant::now();
        // What was told, and is not done yet, comes again before what is new.
        let rows = if connection.handed > connection.confirmed { 10 * TOGETHER } else { TOGETHER };
        let Connection { link, tables, read, .. } = connection;
        let peeked = timeout(session::LONG, peek(link, &self.slot.name, tables, *read..flushed, rows)).await;
        let pause = (begin.elapsed() * SHARE).clamp(POLL, LONGEST_PAUSE);
        match peeked.unwrap_or_else(|_| Err(silence("reading the slot", session::LONG))) {
            Ok(Peeked { messages, told, transactions, read, is_all, lag }) => {
                // Whoever is behind does not rest, unless it is what is not done yet that comes again.
                let goes_on = !is_all && read > connection.read;
                connection.next_peek = Instant::now() + if goes_on { Duration::ZERO } else { pause };
                wait_until_visible(&mut connection.link, &transactions).await?;
                self.refused = 0;
                connection.read = read;
                connection.handed = told.unwrap_or(connection.handed);
                if lag.is_some() {
                    self.state.send_modify(|state| state.slot.get_or_insert_default().lag = lag);
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
                session::drop_slot(&mut connection.link, &self.slot).await?;
                let message = format!("{}; the slot {} is made anew", error.message, self.slot.name);
                Err(Error { kind: ErrorKind::Feed, message, ..error })
            }
        }
    }
}
