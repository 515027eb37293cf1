//! What the database needs to tell what has changed, by a channel or through a slot: installed, removed, looked at.

use std::time::Duration;

use sqlx::postgres::{PgArguments, PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Row as _, SqlSafeStr};
use tokio::time::timeout;

use super::super::connections::{Postgres, part};
use super::super::error::{silence, translate};
use super::{publication, triggers};
use crate::ground::changes::{ChangesSettings, Feed, Slot};
use crate::ground::error::{Error, ErrorKind};
use crate::ground::sql::quote_identifier;

/// What is there for a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Installed {
    /// All, as it should be.
    Yes,
    /// Another version, or not all of it; or it is switched off.
    Outdated,
    /// Nothing.
    No,
    /// The account sees no such table.
    NoTable,
}

/// What is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installation {
    /// Of each table, in the order of the configuration.
    pub tables: Vec<Installed>,
    /// Tables with triggers of ours for which the configuration has no use any more.
    pub unwanted: Vec<String>,
    /// What is wrong with the tables, where changes come through a slot.
    pub lacks: Option<String>,
    /// The slot, if there is one.
    pub slot: Option<SlotFound>,
}

/// A slot on the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotFound {
    /// How much of its log the server keeps for it, in bytes.
    pub kept: u64,
    /// The server's word for whether what it needs is there: `reserved`, `extended`, `unreserved`, `lost`.
    pub status: String,
    /// The most that the server keeps for any slot (`max_slot_wal_keep_size`), as it says it.
    pub most: String,
}

/// A part of the work.
pub(super) enum Step {
    /// Statements for a transaction of their own: so no table is locked for long.
    Transaction(String),
    /// A statement that must not be within a transaction.
    Alone(String),
}

/// The statements that install everything, for `psql`: each of them does nothing where its work is done already. `schema` is where tables are whose schema is not named.
pub fn install(settings: &ChangesSettings, schema: Option<&str>) -> String {
    let head = format!("-- Lets the database tell warm what has changed ({}).\n", settings.feed.shown());
    let path = schema.map(|name| format!("SET search_path = {};\n", quote_identifier(name))).unwrap_or_default();
    script(head + "\\set ON_ERROR_STOP on\n" + &path, steps(settings))
}

/// The statements that remove everything.
pub fn remove(settings: &ChangesSettings) -> String {
    let head = format!("-- Removes what lets the database tell warm what has changed ({}).\n", settings.feed.shown());
    script(head + "\\set ON_ERROR_STOP on\n", removal(settings))
}

fn script(head: String, steps: Vec<Step>) -> String {
    steps.into_iter().fold(head, |script, step| match step {
        Step::Transaction(statements) => script + "\nBEGIN READ WRITE;\n" + &statements + "COMMIT;\n",
        Step::Alone(statement) => script + "\n" + &statement,
    })
}

fn steps(settings: &ChangesSettings) -> Vec<Step> {
    match &settings.feed {
        Feed::Channel(channel) => triggers::install(channel, &settings.tables),
        Feed::Slot(Slot { name, .. }) => publication::install(name, &settings.tables),
    }
}

fn removal(settings: &ChangesSettings) -> Vec<Step> {
    match &settings.feed {
        Feed::Channel(channel) => triggers::remove(channel),
        Feed::Slot(Slot { name, .. }) => publication::remove(name),
    }
}

impl Postgres {
    /// Installs everything, step by step.
    ///
    /// # Errors
    /// What the server says; the steps before are done.
    pub async fn install_changes(&self, settings: &ChangesSettings) -> Result<(), Error> {
        self.change(steps(settings)).await
    }

    /// Removes everything.
    ///
    /// # Errors
    /// What the server says; then some of it may be there.
    pub async fn remove_changes(&self, settings: &ChangesSettings) -> Result<(), Error> {
        self.change(removal(settings)).await
    }

    /// What is there.
    ///
    /// # Errors
    /// What the server says.
    pub async fn installation(&self, settings: &ChangesSettings) -> Result<Installation, Error> {
        let home = self.primary().unwrap_or(self);
        match &settings.feed {
            Feed::Channel(channel) => {
                let (tables, unwanted) = triggers::find(home, channel, &settings.tables).await?;
                Ok(Installation { tables, unwanted, lacks: None, slot: None })
            }
            Feed::Slot(slot) => {
                let mut link = home.connect().await?;
                set_path(&mut link, home).await?;
                let found = publication::find(&mut link, &settings.tables, &slot.name).await?;
                let slot = publication::slot_of(&mut link, &slot.name).await?;
                part(link).await;
                let lacks = found.lacks(&settings.tables);
                Ok(Installation { tables: found.installed(), unwanted: Vec::new(), lacks, slot })
            }
        }
    }

    /// Runs steps on a connection of their own.
    async fn change(&self, steps: Vec<Step>) -> Result<(), Error> {
        let home = self.primary().unwrap_or(self);
        let mut link = home.connect().await?;
        set_path(&mut link, home).await?;
        let limit = home.statement_timeout();
        for step in steps {
            let text = match step {
                // An account may have been given transactions that only read, for want of another word.
                Step::Transaction(statements) => format!("BEGIN READ WRITE;\n{statements}COMMIT;"),
                Step::Alone(statement) => statement,
            };
            let run = sqlx::raw_sql(AssertSqlSafe(text)).execute(&mut link);
            match timeout(limit, run).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(home.named(refused(translate(error)))),
                Err(_) => return Err(home.named(silence("what changes are told by", limit))),
            }
        }
        part(link).await;
        Ok(())
    }
}

/// Tables without a schema are where the connection's URL says.
pub(super) async fn set_path(link: &mut PgConnection, home: &Postgres) -> Result<(), Error> {
    let Some(schema) = home.target().schema.as_deref() else { return Ok(()) };
    let set = sqlx::raw_sql(AssertSqlSafe(format!("SET search_path = {}", quote_identifier(schema)))).execute(link);
    let limit = home.statement_timeout();
    timeout(limit, set).await.map_err(|_| silence("SET", limit))?.map_err(translate).map(|_| ())
}

/// The account that reads is not the one that may change tables.
fn refused(error: Error) -> Error {
    match error.kind {
        ErrorKind::PostgresPermission => Error {
            message: format!("{}; --print gives the statements, for an account that owns the tables", error.message),
            ..error
        },
        _ => error,
    }
}

/// Adds an argument.
pub(super) fn with<'q>(
    mut arguments: PgArguments,
    value: impl sqlx::Encode<'q, sqlx::Postgres> + sqlx::Type<sqlx::Postgres> + 'q,
) -> Result<PgArguments, Error> {
    use sqlx::Arguments as _;
    arguments.add(value).map_err(|error| translate(sqlx::Error::Encode(error)))?;
    Ok(arguments)
}

/// The rows of a query, within a limit.
pub(super) async fn ask(
    link: &mut PgConnection,
    query: impl SqlSafeStr,
    arguments: PgArguments,
    limit: Duration,
) -> Result<Vec<PgRow>, Error> {
    let rows = sqlx::query_with(query, arguments).persistent(false).fetch_all(link);
    timeout(limit, rows).await.map_err(|_| silence("an answer about changes", limit))?.map_err(translate)
}

/// The value of a column.
pub(super) fn get<'r, T: sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>>(
    row: &'r PgRow,
    column: &str,
) -> Result<T, Error> {
    row.try_get(column).map_err(translate)
}
