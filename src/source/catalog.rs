//! What `warm check` wants to know about a database. Everything here only reads.

use sqlx::postgres::PgArguments;
use sqlx::{Arguments as _, AssertSqlSafe, Column as _, Row as _, Statement as _};
use tokio::time::timeout;

use super::error::{silence, translate};
use super::snapshot::Snapshot;
use super::statement::{Argument, Statement};
use crate::ground::calls::Called;
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

/// What of two lists, schemas and names, is a table that has no statistics yet. One of an older server that is empty cannot be told from one that has.
const NEVER_ANALYZED: &str = "SELECT c.oid::regclass::text FROM unnest($1::text[], $2::text[]) AS t (schema, name) \
     JOIN pg_namespace n ON n.nspname = t.schema JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = t.name \
     WHERE c.relkind IN ('r', 'm') AND (c.reltuples < 0 OR c.reltuples = 0 AND c.relpages = 0 AND pg_relation_size(c.oid) > 0) \
     ORDER BY 1";

/// What of three lists, schemas (empty for the search path), names and numbers of arguments, is a function that may give another value at each reading. Where
/// several kinds could be meant, all of them have to; one that gives nothing (`pg_sleep`) does not.
const CHANGING: &str = "SELECT f.schema, f.name, bool_and(n.nspname = 'pg_catalog' AND p.proname = ANY($4)) AS time \
     FROM unnest($1::text[], $2::text[], $3::int[]) AS f (schema, name, arguments) \
     JOIN pg_proc p ON p.proname = f.name AND f.arguments >= p.pronargs - p.pronargdefaults AND (f.arguments <= p.pronargs OR p.provariadic <> 0) \
     JOIN pg_namespace n ON n.oid = p.pronamespace \
     WHERE CASE f.schema WHEN '' THEN pg_function_is_visible(p.oid) ELSE n.nspname = f.schema END AND p.prorettype <> 'void'::regtype \
     GROUP BY 1, 2, f.arguments HAVING bool_and(p.provolatile = 'v' OR n.nspname = 'pg_catalog' AND p.proname = ANY($4))";

/// PostgreSQL's own functions for the time. Some of them are the same throughout a transaction; the second reading has another one.
const TIMES: &[&str] = &["now", "transaction_timestamp", "statement_timestamp", "clock_timestamp", "timeofday"];

/// A function that gives another value at each reading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changing {
    /// The schema, as it was asked for.
    pub schema: Option<String>,
    /// The name.
    pub name: String,
    /// Whether it gives the time.
    pub is_time: bool,
}

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

    /// The plan of a statement as PostgreSQL's JSON, which also shows whether the account may read what the statement reads.
    ///
    /// # Errors
    /// What the server says.
    pub async fn explain(
        &mut self,
        statement: &Statement,
        value: impl Fn(&str) -> Option<Argument>,
    ) -> Result<String, Error> {
        let arguments = statement.arguments(value)?;
        let text = format!("EXPLAIN (VERBOSE, FORMAT JSON) {}", statement.prepared.sql().as_str());
        let rows = self.query(text, arguments).await?;
        // JSON travels as its text.
        rows.first().map_or(Ok(String::new()), |row| row.try_get_unchecked(0)).map_err(translate)
    }

    /// The same for people, line by line.
    ///
    /// # Errors
    /// What the server says.
    pub async fn explain_in_lines(
        &mut self,
        statement: &Statement,
        value: impl Fn(&str) -> Option<Argument>,
    ) -> Result<Vec<String>, Error> {
        let text = format!("EXPLAIN {}", statement.prepared.sql().as_str());
        let rows = self.query(text, statement.arguments(value)?).await?;
        rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>().map_err(translate)
    }

    /// Which of these tables, by schema and name, were never analyzed, so that the planner knows little about them.
    ///
    /// # Errors
    /// What the server says.
    pub async fn never_analyzed(&mut self, tables: &[(String, String)]) -> Result<Vec<String>, Error> {
        if tables.is_empty() {
            return Ok(Vec::new());
        }
        let arguments = lists(tables.iter().cloned().unzip()).map_err(translate)?;
        let rows = self.query(NEVER_ANALYZED.to_owned(), arguments).await?;
        rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>().map_err(translate)
    }

    /// Which of the functions give another value at each reading, as the catalog has them.
    ///
    /// # Errors
    /// What the server says.
    pub async fn changing(&mut self, functions: &[Called]) -> Result<Vec<Changing>, Error> {
        if functions.is_empty() {
            return Ok(Vec::new());
        }
        let names = functions.iter().map(|called| (called.schema.clone().unwrap_or_default(), called.name.clone()));
        let mut arguments = lists(names.unzip()).map_err(translate)?;
        let numbers = functions.iter().map(|called| i32::try_from(called.arguments).unwrap_or(i32::MAX));
        let added = arguments.add(numbers.collect::<Vec<_>>()).and_then(|()| arguments.add(TIMES));
        added.map_err(|error| translate(sqlx::Error::Encode(error)))?;
        let rows = self.query(CHANGING.to_owned(), arguments).await?;
        let changing = rows.iter().map(|row| {
            let schema = Some(row.try_get::<String, _>(0)?).filter(|schema| !schema.is_empty());
            Ok(Changing { schema, name: row.try_get(1)?, is_time: row.try_get(2)? })
        });
        changing.collect::<Result<_, _>>().map_err(translate)
    }

    pub(super) async fn query(
        &mut self,
        text: String,
        arguments: PgArguments,
    ) -> Result<Vec<sqlx::postgres::PgRow>, Error> {
        let patience = self.patience;
        let query = sqlx::query_with(AssertSqlSafe(text), arguments).persistent(false);
        match timeout(patience, query.fetch_all(&mut self.link.connection)).await {
            Ok(result) => result.map_err(translate),
            Err(_) => Err(silence("asking the catalog", patience)),
        }
    }
}

/// Two lists as arguments.
fn lists((first, second): (Vec<String>, Vec<String>)) -> Result<PgArguments, sqlx::Error> {
    let mut arguments = PgArguments::default();
    arguments.add(first).map_err(sqlx::Error::Encode)?;
    arguments.add(second).map_err(sqlx::Error::Encode)?;
    Ok(arguments)
}

fn arguments(relation: sqlx::postgres::types::Oid, number: i16) -> Result<PgArguments, sqlx::Error> {
    let mut arguments = PgArguments::default();
    arguments.add(relation).map_err(sqlx::Error::Encode)?;
    arguments.add(number).map_err(sqlx::Error::Encode)?;
    Ok(arguments)
}
