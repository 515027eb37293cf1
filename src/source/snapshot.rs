//! One read-only transaction: everything read through it belongs to one state of the database.

use std::time::Duration;

use sqlx::postgres::{PgRow, PgStatement};
use sqlx::{AssertSqlSafe, Column as _, Connection, Executor, SqlSafeStr, Statement as _};
use tokio::time::timeout;

use super::barrier::{Barrier, Doubt};
use super::connections::{Link, Postgres, State, part};
use super::error::{silence, translate, translate_at};
use super::rows::Rows;
use super::statement::{Argument, Statement, bare, cast};
use super::types;
use crate::ground::error::Error;
use crate::ground::job::Reads;
use crate::ground::row::Column;
use crate::ground::sql::{Rendered, Sql};

/// A read-only transaction on a connection of its own. Dropped without [`Snapshot::finish`], it closes the connection, which
/// also ends a query that still runs.
#[derive(Debug)]
pub struct Snapshot {
    home: Postgres,
    pub(super) link: Link,
    state: State,
    /// The longest silence of the server.
    pub(super) patience: Duration,
}

impl Snapshot {
    pub(super) fn new(home: Postgres, link: Link, state: State, patience: Duration) -> Self {
        Snapshot { home, link, state, patience }
    }

    /// The state of the database that it sees.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Ends the transaction, waits for what the barrier says, and begins another transaction on the same connection, which sees the state of now.
    /// Statements have to be prepared anew. Says why the wait was given up, if it was.
    ///
    /// # Errors
    /// When the server does not confirm; then the snapshot is of no use any more.
    pub async fn renew(&mut self, barrier: Barrier) -> Result<Doubt, Error> {
        let commit = sqlx::raw_sql("COMMIT").execute(&mut self.link.connection);
        within(self.patience, "COMMIT", commit).await?;
        let doubt = self.wait(barrier).await?;
        self.state = self.home.begin(&mut self.link).await?;
        Ok(doubt)
    }

    /// Begins another transaction, whatever has become of this one.
    pub(super) async fn begin_again(&mut self) -> Result<(), Error> {
        let end = sqlx::raw_sql("ROLLBACK").execute(&mut self.link.connection);
        within(self.patience, "ROLLBACK", end).await?;
        self.state = self.home.begin(&mut self.link).await?;
        Ok(())
    }

    /// The server that it is of.
    pub(super) fn home(&self) -> &Postgres {
        &self.home
    }

    /// The longest time for one statement.
    pub(super) fn statement_timeout(&self) -> Duration {
        self.home.statement_timeout()
    }

    /// Runs one statement as it stands.
    pub(super) async fn ask(&mut self, statement: &str) -> Result<Vec<PgRow>, Error> {
        let rows = sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).fetch_all(&mut self.link.connection);
        within(self.patience, "asking for its state", rows).await
    }

    /// Where the database is written to, if this is a standby and that is known.
    pub fn primary(&self) -> Option<Postgres> {
        self.home.primary().cloned()
    }

    /// The same on another connection, for one that remembers what may be outdated.
    ///
    /// # Errors
    /// As connecting, and as [`Snapshot::renew`].
    pub async fn renew_elsewhere(self) -> Result<Self, Error> {
        let Link { connection, permit } = self.link;
        part(connection).await;
        self.home.begin_new(permit).await
    }

    /// Prepares a query: twice if it has parameters that are not text, since their types are inferred from the first look.
    ///
    /// # Errors
    /// What the server says about the query, or that it does not answer.
    pub async fn prepare(&mut self, sql: &Sql) -> Result<Statement, Error> {
        let first = bare(sql);
        let inferred = self.describe(sql, &first).await?;
        let prepared = match cast(sql, &inferred) {
            Some(second) => self.describe(sql, &second).await?,
            None => inferred.clone(),
        };
        // Named statements must not outlive the transaction: behind a pooler the next one may be on another server. What is kept is
        // the description; executing parses the text again, without a name.
        within(self.patience, "preparing a query", self.link.connection.clear_cached_statements()).await?;
        let columns = prepared.columns().iter().map(|column| Column {
            name: column.name().to_owned(),
            ty: std::sync::Arc::new(types::resolve(column.type_info())),
        });
        let columns = columns.collect();
        Ok(Statement::new(prepared, &inferred, sql, columns))
    }

    async fn describe(&mut self, sql: &Sql, sent: &Rendered) -> Result<PgStatement, Error> {
        let text = AssertSqlSafe(sent.text.clone()).into_sql_str();
        match timeout(self.patience, self.link.connection.prepare(text)).await {
            Ok(result) => result.map_err(|error| translate_at(error, sql, sent)),
            Err(_) => Err(silence("preparing a query", self.patience)),
        }
    }

    /// Runs a statement; `value` gives the parameters' values by name. A row that comes later than `reads` says ends it.
    ///
    /// # Errors
    /// Only for a parameter without a value; what the server says comes with the first row.
    pub fn rows<'s>(
        &'s mut self,
        statement: &'s Statement,
        reads: Reads,
        value: impl Fn(&str) -> Option<Argument>,
    ) -> Result<Rows<'s>, Error> {
        let Link { connection, permit } = &mut self.link;
        if let Some(copy) = statement.copy(&value) {
            return Ok(Rows::copied(connection, copy, self.patience, reads, &mut permit.busy));
        }
        let arguments = statement.arguments(value)?;
        let stream = statement.prepared.query_with(arguments).persistent(false).fetch(connection);
        Ok(Rows::fetched(stream, self.patience, reads, &mut permit.busy))
    }

    /// Ends the transaction and keeps the connection for the next one.
    ///
    /// # Errors
    /// When the server does not confirm; everything read before was right nevertheless.
    pub async fn finish(mut self) -> Result<(), Error> {
        let commit = sqlx::raw_sql("COMMIT").execute(&mut self.link.connection);
        within(self.patience, "COMMIT", commit).await?;
        self.home.keep(self.link);
        Ok(())
    }

    /// Ends the transaction and closes the connection: for one whose buffers a huge value has swollen.
    pub async fn close(self) {
        part(self.link.connection).await;
    }
}

async fn within<T>(
    limit: Duration,
    what: &str,
    work: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, Error> {
    match timeout(limit, work).await {
        Ok(result) => result.map_err(translate),
        Err(_) => Err(silence(what, limit)),
    }
}
