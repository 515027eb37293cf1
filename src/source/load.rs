//! How busy the database is, as far as a guest should care: by default how many sessions of others are at work in it, else what the operator's own query gives.
//!
//! It is asked inside of the transaction at hand, so that it needs no connection beside the allowed ones, and behind a savepoint, so that a query that fails, or
//! takes too long, takes nothing away from that transaction. What PostgreSQL says of its sessions is kept for a whole transaction; so that is forgotten first.

use std::time::Duration;

use sqlx::Row as _;
use sqlx::postgres::{PgArguments, PgRow};

use super::error::translate;
use super::snapshot::Snapshot;
use crate::ground::error::{Error, ErrorKind};
use crate::ground::hold::Hold;
use crate::ground::settings::Busy;

/// The longest time for asking. A figure that takes longer is of no use.
const LONGEST: Duration = Duration::from_secs(5);

/// How many sessions of others are at work. Of other accounts' sessions the state is told to members of `pg_read_all_stats` only; but everybody sees which of them
/// hold a snapshot, as each statement does that runs. Among those are the workers of a parallel query, and not those that send the log to standbys.
const AT_WORK: &str = "SELECT count(*) FROM pg_catalog.pg_stat_activity \
     WHERE pid <> pg_catalog.pg_backend_pid() AND usesysid IS NOT NULL AND application_name <> 'warm' \
     AND CASE WHEN state IS NULL AND backend_type IS NULL \
     THEN backend_xmin IS NOT NULL AND pid NOT IN (SELECT pid FROM pg_catalog.pg_stat_replication) \
     ELSE backend_type = 'client backend' AND state IN ('active', 'fastpath function call') END";

/// Whether the account is told of all sessions what they do.
const SEES_ALL: &str = "SELECT pg_catalog.pg_has_role('pg_read_all_stats', 'usage')";

/// How busy the database is.
#[derive(Debug)]
pub enum Load {
    /// It can be told.
    Figure(f64),
    /// It cannot, and why; the transaction is as it was.
    Unknown(Error),
}

impl Load {
    /// Whether the database is busy by this.
    pub fn hold(&self, busy: &Busy) -> Option<Hold> {
        match *self {
            Load::Figure(figure) if figure > f64::from(busy.above) => {
                Some(Hold::Busy { figure, above: busy.above, queried: busy.query.is_some() })
            }
            Load::Figure(_) | Load::Unknown(_) => None,
        }
    }
}

impl Snapshot {
    /// How busy the database is now, not when the snapshot began; only a query that reads tables sees them as the snapshot does.
    ///
    /// # Errors
    /// When the transaction is of no use any more.
    pub async fn load(&mut self, busy: &Busy) -> Result<Load, Error> {
        let limit = LONGEST.min(self.statement_timeout()).as_millis();
        self.ask(&format!(
            "SAVEPOINT warm_load; SET LOCAL statement_timeout = {limit}; SELECT pg_catalog.pg_stat_clear_snapshot()"
        ))
        .await?;
        let text = busy.query.as_ref().map_or(AT_WORK, |query| query.text());
        let rows = self.query(wrapped(text), PgArguments::default()).await;
        let load = match rows.and_then(|rows| figure(&rows)) {
            Ok(figure) => Load::Figure(figure),
            Err(error) => Load::Unknown(error),
        };
        self.ask("ROLLBACK TO SAVEPOINT warm_load; RELEASE SAVEPOINT warm_load").await?;
        Ok(load)
    }

    /// Whether the account is told of all sessions what they do, so that those at work are known exactly.
    ///
    /// # Errors
    /// What the server says.
    pub async fn sees_all_sessions(&mut self) -> Result<bool, Error> {
        let rows = self.query(SEES_ALL.to_owned(), PgArguments::default()).await?;
        rows.first().map_or(Ok(false), |row| row.try_get(0)).map_err(translate)
    }
}

/// The query's first column as a number, and how many columns it has: both of types that the driver knows, since looking another one up would destroy the
/// statement, which has no name. The line break ends a comment that the query may end in.
fn wrapped(query: &str) -> String {
    format!(
        "SELECT warm_row.warm_figure::float8, \
         (SELECT count(*) FROM pg_catalog.json_object_keys(pg_catalog.row_to_json(warm_row))) \
         FROM (\n{query}\n) AS warm_row (warm_figure) LIMIT 2"
    )
}

fn figure(rows: &[PgRow]) -> Result<f64, Error> {
    let refuse = |what: &str| Error::new(ErrorKind::Query, format!("it must give one row with one number, and {what}"));
    let [row] = rows else {
        return Err(refuse(if rows.is_empty() { "gives no row" } else { "gives more than one row" }));
    };
    let columns: i64 = row.try_get(1).map_err(translate)?;
    if columns != 1 {
        return Err(refuse(&format!("gives {columns} columns")));
    }
    let figure: Option<f64> = row.try_get(0).map_err(translate)?;
    figure.ok_or_else(|| refuse("gives NULL"))
}
