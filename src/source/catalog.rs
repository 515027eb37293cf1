//! What `warm check` wants to know about a database. Everything here only reads.

use sqlx::postgres::PgArguments;
use sqlx::{AssertSqlSafe, Column as _, Row as _, Statement as _};
use tokio::time::timeout;

use super::error::{silence, translate};
use super::snapshot::Snapshot;
use super::statement::{Argument, Statement};
use crate::ground::error::Error;

/// What the account may do beyond reading, as far as it matters for a guest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// Whether it is a superuser.
    pub superuser: bool,
    /// Whether it may write to some table outside the system's schemas.
    pub writes: bool,
    /// Whether the server is a standby.
    pub standby: bool,
    /// The server's version (`server_version`).
    pub version: String,
}

const ACCOUNT: &str = "SELECT current_user::text, r.rolsuper, \
     EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
             WHERE c.relkind IN ('r', 'p') AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\\_%' \
               AND (has_table_privilege(c.oid, 'INSERT') OR has_table_privilege(c.oid, 'UPDATE') OR has_table_privilege(c.oid, 'DELETE'))), \
     pg_is_in_recovery(), current_setting('server_version') \
     FROM pg_roles r WHERE r.rolname = current_user";

const NOT_NULL: &str = "SELECT a.attnotnull FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid \
     WHERE a.attrelid = $1 AND a.attnum = $2 AND c.relkind IN ('r', 'p')";

impl Snapshot {
    /// The account that the snapshot is read with.
    ///
    /// # Errors
    /// What the server says.
    pub async fn account(&mut self) -> Result<Account, Error> {
        let rows = self.query(ACCOUNT.to_owned(), PgArguments::default()).await?;
        let account = rows.first().map(|row| {
            Ok(Account {
                name: row.try_get(0)?,
                superuser: row.try_get(1)?,
                writes: row.try_get(2)?,
                standby: row.try_get(3)?,
                version: row.try_get(4)?,
            })
        });
        account.unwrap_or_else(|| Ok(Account::default())).map_err(translate)
    }

    /// Whether the statement's column can never be NULL as far as the catalog tells: a table's column with NOT NULL. An expression, a view's
    /// column and the optional side of an outer join are not told apart from nullable ones by this; `None` for what is no table's column.
    ///
    /// # Errors
    /// What the server says.
    pub async fn never_null(&mut self, statement: &Statement, column: &str) -> Result<Option<bool>, Error> {
        let columns = statement.prepared.columns();
        let Some(column) = columns.iter().find(|candidate| candidate.name() == column) else { return Ok(None) };
        let (Some(relation), Some(number)) = (column.relation_id(), column.relation_attribute_no()) else {
            return Ok(None);
        };
        let arguments = arguments(relation, number).map_err(translate)?;
        let rows = self.query(NOT_NULL.to_owned(), arguments).await?;
        rows.first().map(|row| row.try_get(0)).transpose().map_err(translate)
    }

    /// The plan of a statement, which also shows whether the account may read what the statement reads.
    ///
    /// # Errors
    /// What the server says.
    pub async fn explain(
        &mut self,
        statement: &Statement,
        value: impl Fn(&str) -> Option<Argument>,
    ) -> Result<Vec<String>, Error> {
        let arguments = statement.arguments(value)?;
        let text = format!("EXPLAIN {}", statement.prepared.sql().as_str());
        let rows = self.query(text, arguments).await?;
        rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>().map_err(translate)
    }

    async fn query(&mut self, text: String, arguments: PgArguments) -> Result<Vec<sqlx::postgres::PgRow>, Error> {
        let patience = self.patience;
        let query = sqlx::query_with(AssertSqlSafe(text), arguments).persistent(false);
        match timeout(patience, query.fetch_all(&mut self.link.connection)).await {
            Ok(result) => result.map_err(translate),
            Err(_) => Err(silence("asking the catalog", patience)),
        }
    }
}

fn arguments(relation: sqlx::postgres::types::Oid, number: i16) -> Result<PgArguments, sqlx::Error> {
    use sqlx::Arguments as _;
    let mut arguments = PgArguments::default();
    arguments.add(relation).map_err(sqlx::Error::Encode)?;
    arguments.add(number).map_err(sqlx::Error::Encode)?;
    Ok(arguments)
}
