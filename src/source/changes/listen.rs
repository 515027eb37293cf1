//! Messages on a channel: `NOTIFY` of an application, or of triggers.
//!
//! PostgreSQL keeps no message for who is not connected. So a connection that was lost, or that is new, means that anything may have changed, unless it can be told that nothing was
//! committed meanwhile: the list of transactions (`pg_current_snapshot()`) is asked for once a second, and is the same as before.
//!
//! A pooler that gives its connections away after each transaction takes `LISTEN`, and never hands a message on. Hence nothing is believed: each new connection is told something
//! from another one, and has to hear it while it is at rest.

use std::time::Duration;

use sqlx::AssertSqlSafe;
use sqlx::postgres::{PgConnection, PgListener, PgPoolOptions};
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

use super::super::connections::{Postgres, STATE, State, part};
use super::super::error::{silence, translate};
use super::install::{lacks, set_path};
use super::tries::Tries;
use super::triggers;
use crate::ground::changes::{FeedState, Heard, Watched};
use crate::ground::error::{Error, ErrorKind};

/// How often the server is asked whether it is there, and what was committed.
const BEAT: Duration = Duration::from_secs(1);
/// How long it may take for an answer, and how long what was sent on trial may be on its way.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often it is looked whether the triggers are there.
const LOOKS: Duration = Duration::from_secs(60);
/// The most messages that are handed on together.
const TOGETHER: usize = 1000;
/// What a message of ours begins with: one on trial.
const TRIAL: &str = "warm:trial:";

/// Listens, again and again.
pub struct Listener {
    postgres: Postgres,
    channel: String,
    connection: Option<Connection>,
    /// What the last connection knew of the database.
    before: Option<State>,
    tries: Tries,
    trials: u64,
    /// The tables whose triggers are to tell it, when that was looked at last, and what is known.
    tables: Vec<Watched>,
    looked: Instant,
    state: watch::Sender<FeedState>,
}

struct Connection {
    listener: PgListener,
    /// When it gave the last sign of life.
    spoke: Instant,
    /// The states that the last two beats saw. Messages of what the earlier one saw have come by the later one.
    states: [State; 2],
    /// Messages that came too early.
    kept: Vec<String>,
    /// Why nothing comes any more.
    broken: Option<Error>,
}

impl Listener {
    /// One that listens to this channel of the server that the database is written to, and looks whether these tables have their triggers. Nothing is opened yet.
    pub fn new(postgres: &Postgres, channel: &str, tables: &[Watched]) -> (Self, watch::Receiver<FeedState>) {
        let (state, states) = watch::channel(FeedState::default());
        let listener = Listener {
            postgres: postgres.primary().unwrap_or(postgres).clone(),
            channel: channel.to_owned(),
            connection: None,
            before: None,
            tries: Tries::new(),
            trials: 0,
            tables: tables.to_vec(),
            looked: Instant::now(),
            state,
        };
        (listener, states)
    }

    /// Waits for what happens next.
    pub async fn next(&mut self) -> Heard {
        loop {
            let Some(connection) = &mut self.connection else {
                match self.connect().await {
                    Ok((connection, state)) => {
                        let missed = self.before.as_ref().is_none_or(|before| !before.has_same_transactions(&state));
                        self.connection = Some(connection);
                        self.tries.connected();
                        return Heard::Back { missed, position: None };
                    }
                    Err(error) if self.tries.is_news(&error) => return Heard::Lost(self.postgres.named(error)),
                    Err(_) => self.tries.wait().await,
                }
                continue;
            };
            match connection.hear().await {
                Ok(messages) => {
                    if self.looked.elapsed() > LOOKS {
                        self.look_again().await;
                    }
                    let is_trial = |message: &String| message.starts_with(TRIAL);
                    let messages: Vec<_> = messages.into_iter().filter(|message| !is_trial(message)).collect();
                    if !messages.is_empty() {
                        return Heard::Messages { messages, position: None };
                    }
                }
                Err(error) => {
                    if let Some(connection) = self.connection.take() {
                        let [earlier, _] = connection.states;
                        self.before = Some(earlier);
                    }
                    self.tries.lost(&error);
                    return Heard::Lost(self.postgres.named(error));
                }
            }
        }
    }

    /// A connection, and what had been committed when it began to listen.
    async fn connect(&mut self) -> Result<(Connection, State), Error> {
        let limit = self.postgres.connect_timeout();
        let begin = async {
            let pool =
                PgPoolOptions::new().max_connections(1).acquire_timeout(limit).idle_timeout(None).max_lifetime(None);
            let pool = pool.test_before_acquire(false).connect_lazy_with(self.postgres.target().options.clone());
            let mut listener = PgListener::connect_with(&pool).await?;
            listener.eager_reconnect(false);
            Ok(listener)
        };
        let server = self.postgres.target().describe();
        let listener = match timeout(limit, begin).await {
            Ok(Ok(listener)) => listener,
            Err(_) | Ok(Err(sqlx::Error::PoolTimedOut)) => {
                let message = format!("no connection to PostgreSQL at {server}: {}", silence("connecting", limit));
                return Err(Error::new(ErrorKind::PostgresUnreachable, message));
            }
            Ok(Err(error)) => return Err(translate(error)),
        };
        let mut connection = Connection::new(listener);
        // A standby would refuse to listen, in other words.
        connection.beat().await?;
        let listen = timeout(PATIENCE, connection.listener.listen(&self.channel)).await;
        listen.map_err(|_| silence("LISTEN", PATIENCE))?.map_err(translate)?;
        connection.beat().await?;
        let state = connection.states[1].clone();
        self.try_out(&mut connection).await?;
        Ok((connection, state))
    }

    /// Makes sure that messages come. Others that come meanwhile are kept.
    async fn try_out(&mut self, connection: &mut Connection) -> Result<(), Error> {
        self.trials += 1;
        let message = format!("{TRIAL}{}:{}:{:x}", std::process::id(), self.trials, fastrand::u64(..));
        let mut other = self.postgres.connect().await?;
        let send = sqlx::query("SELECT pg_catalog.pg_notify($1, $2)").bind(&self.channel).bind(&message);
        let sent = timeout(PATIENCE, send.persistent(false).execute(&mut other)).await;
        self.look(&mut other).await;
        part(other).await;
        match sent.map_err(|_| silence("a message on trial", PATIENCE))? {
            Ok(_) => {}
            // It has come to the wrong one: a pooler gave the sender the connection that listens.
            Err(error) if error.to_string().contains("NotificationResponse") => return Err(self.deaf()),
            Err(error) => return Err(translate(error)),
        }
        let end = Instant::now() + PATIENCE;
        loop {
            match timeout_at(end, connection.receive()).await {
                Ok(heard) if heard.as_ref().is_ok_and(|heard| *heard == message) => break,
                Ok(heard) => connection.kept.push(heard?),
                Err(_) => return Err(self.deaf()),
            }
        }
        // The message was committed, too: what is known of the database is older.
        connection.beat().await?;
        connection.states[0] = State::unknown();
        Ok(())
    }

    /// Looks whether the triggers are there.
    async fn look(&mut self, link: &mut PgConnection) {
        self.looked = Instant::now();
        let found = match set_path(link, &self.postgres).await {
            Ok(()) => triggers::find(link, &self.channel, &self.tables).await,
            Err(error) => Err(error),
        };
        // Whoever cannot ask knows nothing new.
        if let Ok((tables, _)) = found {
            let lacks = lacks(tables.iter().filter_map(|table| table.problem.as_ref()));
            self.state.send_modify(|state| state.lacks = lacks);
        }
    }

    /// The same on a connection of its own: the one that listens shall not wait.
    async fn look_again(&mut self) {
        self.looked = Instant::now();
        // Messages that come meanwhile wait: not for long.
        let look = async {
            if let Ok(mut other) = self.postgres.connect().await {
                self.look(&mut other).await;
                part(other).await;
            }
        };
        let _ = timeout(BEAT, look).await;
    }

    fn deaf(&self) -> Error {
        let message = format!(
            "PostgreSQL takes LISTEN, but what is sent to the channel `{}` does not come: a pooler stands between that hands no messages on; \
             let primary_url in [postgres] name PostgreSQL itself",
            self.channel
        );
        Error::new(ErrorKind::Feed, message)
    }
}

impl Connection {
    fn new(listener: PgListener) -> Self {
        let (now, nothing) = (Instant::now(), State::unknown());
        let states = [nothing.clone(), nothing];
        Connection { listener, spoke: now, states, kept: Vec::new(), broken: None }
    }

    /// What has come, which is nothing if it has only shown that it lives.
    async fn hear(&mut self) -> Result<Vec<String>, Error> {
        let mut messages = std::mem::take(&mut self.kept);
        if !messages.is_empty() {
            return Ok(messages);
        }
        match timeout_at(self.spoke + BEAT, self.receive()).await {
            Ok(first) => messages.push(first?),
            Err(_) => self.beat().await?,
        }
        while messages.len() < TOGETHER {
            // What has come already is there at once.
            match timeout(Duration::ZERO, self.receive()).await {
                Ok(Ok(next)) => messages.push(next),
                // It is told at the next look, after these messages.
                Ok(Err(_)) | Err(_) => break,
            }
        }
        Ok(messages)
    }

    /// The next message. Whoever stops waiting loses none.
    async fn receive(&mut self) -> Result<String, Error> {
        if let Some(error) = &self.broken {
            return Err(error.clone());
        }
        let error = match self.listener.try_recv().await {
            Ok(Some(message)) => return Ok(message.payload().to_owned()),
            // If it were asked again, it would connect again without a word.
            Ok(None) => Error::new(ErrorKind::PostgresLost, "the connection to PostgreSQL was closed"),
            Err(error) => translate(error),
        };
        Err(self.broken.insert(error).clone())
    }

    async fn beat(&mut self) -> Result<(), Error> {
        if let Some(error) = &self.broken {
            return Err(error.clone());
        }
        self.spoke = Instant::now();
        let ask = sqlx::raw_sql(AssertSqlSafe(STATE.to_owned())).fetch_one(&mut self.listener);
        let row = timeout(PATIENCE, ask).await.map_err(|_| silence("a sign of life", PATIENCE))?.map_err(translate)?;
        let state = State::of(&row)?;
        if state.standby {
            let message = "PostgreSQL is a standby, which sends no messages: primary_url in [postgres] names the server that is written to";
            return Err(Error::new(ErrorKind::Feed, message));
        }
        self.states.swap(0, 1);
        self.states[1] = state;
        Ok(())
    }
}
