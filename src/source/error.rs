//! Translates the driver's errors into kinds, by SQLSTATE.

use sqlx::postgres::{PgDatabaseError, PgErrorPosition};

use crate::ground::encryption::encryption_is_refused;
use crate::ground::error::{Error, ErrorKind};
use crate::ground::sql::{Rendered, Sql};

/// The kind that a server's SQLSTATE belongs to (PostgreSQL documentation, appendix A).
fn kind_of(code: &str) -> ErrorKind {
    match code {
        "57014" | "55P03" | "25P03" | "57P05" => ErrorKind::StatementTimeout,
        "40001" | "40P01" => ErrorKind::SnapshotLost,
        "42501" => ErrorKind::PostgresPermission,
        "57P01" | "57P02" | "57P03" => ErrorKind::PostgresLost,
        "53300" => ErrorKind::PostgresFull,
        "3D000" => ErrorKind::PostgresRefused,
        // What a domain does not allow.
        "23514" => ErrorKind::Data,
        _ if code.starts_with("22") => ErrorKind::Data,
        _ if code.starts_with("28") => ErrorKind::PostgresRefused,
        _ if code.starts_with("08") => ErrorKind::PostgresLost,
        _ => ErrorKind::Query,
    }
}

/// The same for an error about a query: it names the line of the job's file that the server points at.
pub(super) fn translate_at(error: sqlx::Error, sql: &Sql, sent: &Rendered) -> Error {
    let position = error.as_database_error().and_then(|error| error.try_downcast_ref::<PgDatabaseError>()?.position());
    let line = match position {
        Some(PgErrorPosition::Original(position)) => sql.line(sent.origin(position.saturating_sub(1))),
        _ => sql.line(0),
    };
    translate(error).at_line(line)
}

/// Translates an error of the driver. The server's own words, its hint and its SQLSTATE are kept; the driver never puts a password
/// into its errors.
pub(super) fn translate(error: sqlx::Error) -> Error {
    match error {
        // PgBouncer, of BEGIN.
        sqlx::Error::Database(error) if error.message().contains("statement pooling mode") => {
            let message = format!(
                "the pooler before PostgreSQL gives each statement another server connection: {}",
                error.message()
            );
            Error::new(ErrorKind::PooledStatements, message)
        }
        sqlx::Error::Database(error) => {
            let code = error.code().unwrap_or_default().into_owned();
            let hint = error.try_downcast_ref::<PgDatabaseError>().and_then(PgDatabaseError::hint);
            let hint = hint.map(|hint| format!("; {hint}")).unwrap_or_default();
            Error::new(kind_of(&code), format!("{}{hint} (SQLSTATE {code})", error.message()))
        }
        sqlx::Error::Io(error) if encryption_is_refused(&error) => {
            let hint = "sslrootcert=FILE in the URL names the authority to trust";
            let hint = if error.to_string().contains("UnknownIssuer") { format!(" ({hint})") } else { String::new() };
            Error::new(ErrorKind::PostgresRefused, format!("no encrypted connection to PostgreSQL: {error}{hint}"))
        }
        sqlx::Error::Io(error) => {
            Error::new(ErrorKind::PostgresLost, format!("the connection to PostgreSQL broke: {error}"))
        }
        sqlx::Error::Tls(error) => {
            Error::new(ErrorKind::PostgresRefused, format!("no encrypted connection to PostgreSQL: {error}"))
        }
        sqlx::Error::Configuration(error) => Error::new(ErrorKind::PostgresRefused, error.to_string()),
        // sqlx says so of a multirange, whatever column it is in.
        other if other.to_string().contains("unknown type code") => Error::new(
            ErrorKind::Definition,
            "a column of the query has a type that no format knows (a multirange); cast it, for example to text, or leave it out",
        ),
        other => Error::new(ErrorKind::PostgresLost, format!("PostgreSQL's answer was not understood: {other}")),
    }
}

/// Whether such an error is about the server, the account or the statement, and so quotes nothing that stands in a row (PostgreSQL documentation, appendix A).
fn speaks_of_no_value(code: &str) -> bool {
    ["08", "0A", "25", "28", "3D", "40", "42", "53", "55", "57", "58"].iter().any(|class| code.starts_with(class))
}

/// The same about rows that nobody may see: the server's own words may hold what stands in them.
pub(super) fn translate_secret(error: sqlx::Error) -> Error {
    match &error {
        sqlx::Error::Database(said) if !speaks_of_no_value(&said.code().unwrap_or_default()) => {
            let code = said.code().unwrap_or_default();
            let message = format!(
                "PostgreSQL refused it, with words that may hold values, which the job encrypts; its log has them (SQLSTATE {code})"
            );
            Error { message, ..translate(error) }
        }
        _ => translate(error),
    }
}

/// Whether a failed try to connect is worth another one: the server is absent, starting up, full, or slow.
pub(super) fn may_pass(error: &Error) -> bool {
    matches!(error.kind, ErrorKind::PostgresLost | ErrorKind::PostgresFull)
}

/// An error for a row that came too late for its job, after so many others. What the server would have said, nobody knows: it may be at work, or away.
pub(super) fn late(given: u64, limit: std::time::Duration) -> Error {
    let limit = humantime::format_duration(limit);
    let message = match given {
        0 => format!("PostgreSQL gave no row within first_row_timeout = {limit}, and the query was ended"),
        1 => format!("PostgreSQL gave no second row within next_row_timeout = {limit}, and the query was ended"),
        rows => format!(
            "PostgreSQL gave no further row within next_row_timeout = {limit} after {rows} rows, and the query was ended"
        ),
    };
    Error::new(ErrorKind::RowTimeout, message)
}

/// An error for a server that did not answer in time.
pub(super) fn silence(what: &str, limit: std::time::Duration) -> Error {
    Error::new(
        ErrorKind::PostgresLost,
        format!("PostgreSQL did not answer within {} ({what})", humantime::format_duration(limit)),
    )
}
