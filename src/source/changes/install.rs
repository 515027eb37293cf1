//! What the database needs to tell what has changed, by a channel or through a slot: installed, removed, looked at.

use std::time::Duration;

use sqlx::postgres::{PgArguments, PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Row as _, SqlSafeStr};
use tokio::time::timeout;

use super::super::connections::{Postgres, part};
use super::super::error::{silence, translate};
use super::{publication, triggers};
use crate::ground::changes::{ChangesSettings, Feed, Slot, Watched};
use crate::ground::error::{Error, ErrorKind};
use crate::ground::near::nearest;
use crate::ground::sql::quote_identifier;

/// How long it may take for an answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

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
    pub tables: Vec<Table>,
    /// Tables with triggers of ours for which the configuration has no use any more.
    pub unwanted: Vec<String>,
    /// What is wrong with the server or the slot.
    pub problems: Vec<Problem>,
    /// What there is of ours beside it, of other channels and slots: another installation's, or what an earlier configuration has left.
    pub others: Vec<String>,
    /// The slot, if there is one.
    pub slot: Option<SlotFound>,
    /// Whether this account may read slots, where that is needed.
    pub account_may_read: bool,
}

/// A table of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// What is there for it.
    pub state: Installed,
    /// What is wrong with it.
    pub problem: Option<Problem>,
}

/// Why changes are not told as they are to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub way_out: String,
    /// What it means.
    pub weight: Weight,
}

/// What a problem means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// Nothing can be installed before it is mended.
    Bars,
    /// Changes are not told.
    Open,
    /// They are, but it is not as somebody meant it to be.
    Unwise,
}

impl Problem {
    pub(super) fn new(weight: Weight, what: impl Into<String>, way_out: impl Into<String>) -> Self {
        Problem { what: what.into(), way_out: way_out.into(), weight }
    }

    /// One that `install` mends.
    pub(super) fn to_install(what: String) -> Self {
        Problem::new(Weight::Open, what, "run `warm changes install` with an account that owns the tables")
    }

    pub(super) fn no_table(watched: &Watched) -> Self {
        let way_out = "correct its name in [changes.tables], or give its schema; names are taken letter by letter, as \"Event\" or \"public.Event\"";
        Problem::new(Weight::Bars, format!("there is no table {} that this account finds", watched.name()), way_out)
    }

    /// Columns that are wanted, and are none of these; `or` is what else that may mean.
    pub(super) fn of_columns(watched: &Watched, columns: &[String], or: &str) -> Option<Self> {
        let wanted = watched.columns();
        let missing = wanted.iter().find(|wanted| !columns.iter().any(|column| column == *wanted))?;
        let way_out = match nearest(missing, columns.iter().map(String::as_str)) {
            Some(near) => format!("correct it in [changes.tables]: did you mean {{{near}}}?"),
            None => format!("correct it in [changes.tables]; the columns are {}", columns.join(", ")),
        };
        Some(Problem::new(Weight::Bars, format!("{} has no column {missing}{or}", watched.name()), way_out))
    }
}

/// What is wrong, in one line; `None` if nothing is.
pub(super) fn lacks<'p>(problems: impl Iterator<Item = &'p Problem>) -> Option<String> {
    let all: Vec<_> = problems.map(|problem| format!("{} ({})", problem.what, problem.way_out)).collect();
    (!all.is_empty()).then(|| all.join("; "))
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
        let mut link = home.connect().await?;
        set_path(&mut link, home).await?;
        let others = others(&mut link, &settings.feed).await?;
        let found = match &settings.feed {
            Feed::Channel(channel) => {
                let (tables, unwanted) = triggers::find(&mut link, channel, &settings.tables).await?;
                Installation { tables, unwanted, problems: Vec::new(), others, slot: None, account_may_read: true }
            }
            Feed::Slot(slot) => {
                let found = publication::find(&mut link, &settings.tables, &slot.name).await?;
                let (problems, slot, account_may_read) = publication::slot_of(&mut link, slot).await?;
                Installation { tables: found.tables, unwanted: Vec::new(), problems, others, slot, account_may_read }
            }
        };
        part(link).await;
        Ok(found)
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

/// What there is of other channels and publications of ours.
async fn others(link: &mut PgConnection, feed: &Feed) -> Result<Vec<String>, Error> {
    const OTHERS: &str = "SELECT name FROM ( \
         SELECT DISTINCT 'channel ' || substr(pg_catalog.obj_description(p.oid, 'pg_proc'), 15) AS name FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace \
         WHERE n.nspname = 'warm' AND pg_catalog.obj_description(p.oid, 'pg_proc') LIKE 'warm changes: %' \
         UNION SELECT 'slot ' || p.pubname FROM pg_catalog.pg_publication p WHERE pg_catalog.obj_description(p.oid, 'pg_publication') LIKE 'warm changes: %') o \
         WHERE name <> $1 ORDER BY 1";
    let rows = ask(link, OTHERS, with(PgArguments::default(), feed.shown())?, PATIENCE).await?;
    rows.iter().map(|row| get(row, "name")).collect()
}

/// What the server refuses to install: the account that reads is not the one that may change tables.
fn refused(error: Error) -> Error {
    let is_right = error.kind == ErrorKind::PostgresPermission || error.message.contains("read-only transaction");
    let way_out = "; it takes an account that owns the tables, or `--print` and psql";
    match error.kind {
        ErrorKind::PostgresPermission | ErrorKind::Query | ErrorKind::Data | ErrorKind::Definition => {
            let message = error.message + if is_right { way_out } else { "" };
            Error { kind: ErrorKind::Feed, message, at: error.at }
        }
        _ => error,
    }
}

/// The table in SQL.
pub(super) fn quoted(watched: &Watched) -> String {
    let schema = watched.schema.iter().map(|schema| quote_identifier(schema) + ".").collect::<String>();
    schema + &quote_identifier(&watched.table)
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
