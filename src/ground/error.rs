//! Errors of a run. The kind decides everything that follows: whether another attempt makes sense, the
//! exit code, and the advice for the operator. It is decided once, where the driver's error is first seen,
//! and looked up in [`TABLE`].

use std::fmt;
use std::path::Path;

use super::exit;

/// What went wrong, as far as it matters for what happens next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// No connection to PostgreSQL could be made in time.
    PostgresUnreachable,
    /// PostgreSQL had no connection left for the account until the time for connecting was over.
    PostgresFull,
    /// PostgreSQL rejects the account, the database or the encryption.
    PostgresRefused,
    /// A pooler stands before PostgreSQL that allows no transactions.
    PooledStatements,
    /// The account lacks a right on a table or schema.
    PostgresPermission,
    /// What was written could not be verified: the second look at the database had to wait for too long.
    Unverified,
    /// The connection broke, or the server was shut down, in the middle of a result.
    PostgresLost,
    /// A statement ran into its time-out.
    StatementTimeout,
    /// A row came later than the job allows.
    RowTimeout,
    /// Others had so much to do in the database that the job waited until its time was over.
    DatabaseBusy,
    /// The standby that is read from was so far behind that the job waited until its time was over.
    StandbyBehind,
    /// The snapshot could not be kept (conflict with recovery or serialization).
    SnapshotLost,
    /// The query does not fit the database: syntax, a column or a type.
    Query,
    /// Something in the data is not what the query takes it for: a text that it casts is no number, or a number is out of range.
    Data,
    /// A parameter's value is none of the type that the query takes it for: no row can have it.
    NoValue,
    /// A row cannot become a key and a value.
    Row,
    /// The job's definition does not fit what the query gives.
    Definition,
    /// What the database tells changes by is not as it has to be: the server's settings, the account's rights, what is installed.
    Feed,
    /// No connection to Redis could be made in time, or it kept breaking.
    RedisUnreachable,
    /// Redis rejects the account, a command or a key.
    RedisRefused,
    /// Redis has no room, or cannot persist, and refuses writes.
    RedisFull,
    /// Redis has no room left for new keys within `memory_limit`.
    RedisTight,
    /// Redis gives keys up while it is written to, more than it did before.
    RedisEvicts,
    /// Redis answered something that the protocol does not allow here.
    RedisReply,
    /// Redis was restarted in the middle of a run: what was written before may be gone.
    RedisRestarted,
    /// What the query gives is not what the job's guard allows; nothing was written.
    Guard,
    /// The job ran into its own time-out.
    JobTimeout,
    /// A panic inside the job: a defect of this program.
    Panic,
    /// The run was stopped by a signal.
    Cancelled,
    /// Another instance runs the job; this run did nothing.
    HeldElsewhere,
    /// Another instance has served the due time; this run did nothing.
    ServedElsewhere,
}

/// Whether another try can succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Not before somebody has changed something: the schedule's next time is soon enough.
    Never,
    /// The next run, a while later: this one has waited for as long as it may.
    Run,
    /// A new attempt of the same run, from a new snapshot, and after the last one the next run.
    Attempt,
}

/// What follows from an [`ErrorKind`].
#[derive(Debug, Clone, Copy)]
pub struct Consequence {
    /// The kind.
    pub kind: ErrorKind,
    /// Whether another try can succeed, and which.
    pub retry: Retry,
    /// The process' exit code if this is the failure that counts.
    pub exit: u8,
    /// What the operator can do about it.
    pub advice: &'static str,
}

const fn row(kind: ErrorKind, retry: Retry, exit: u8, advice: &'static str) -> Consequence {
    Consequence { kind, retry, exit, advice }
}

/// The one table: kind → what is tried again, exit code, advice.
#[rustfmt::skip]
pub const TABLE: &[Consequence] = &[
    row(ErrorKind::PostgresUnreachable, Retry::Run, exit::POSTGRES, "check that PostgreSQL runs and that DATABASE_URL (for the primary: primary_url) names its host and port"),
    row(ErrorKind::PostgresFull, Retry::Run, exit::POSTGRES, "look who has the connections (pg_stat_activity); lower `connections` in [postgres], or raise the limit: that of the role or the database (CONNECTION LIMIT), or the server's max_connections"),
    row(ErrorKind::PostgresRefused, Retry::Never, exit::POSTGRES, "check user, password, database and sslmode of DATABASE_URL (for the primary: primary_url), and pg_hba.conf"),
    row(ErrorKind::PooledStatements, Retry::Never, exit::POSTGRES, "let the pooler work by transactions or sessions (pool_mode = transaction in PgBouncer), or name PostgreSQL itself in DATABASE_URL: all reading is in transactions, and so are the leases between machines"),
    row(ErrorKind::PostgresPermission, Retry::Never, exit::POSTGRES, "grant SELECT on what the query reads (config/postgres-role.sql shows the least role)"),
    row(ErrorKind::Unverified, Retry::Run, exit::JOB_FAILED, "end what keeps transactions open or the standby behind, or read docs/freshness.md about `verify` and `invalidates`; what was written is left to die"),
    row(ErrorKind::PostgresLost, Retry::Attempt, exit::POSTGRES, "look into PostgreSQL's log for the reason why it closed the connection"),
    row(ErrorKind::StatementTimeout, Retry::Never, exit::JOB_FAILED, "make the query cheaper (EXPLAIN shows where the time goes), or raise statement_timeout in [postgres]"),
    row(ErrorKind::RowTimeout, Retry::Run, exit::JOB_FAILED, "look what the server was at: make the query give its rows sooner (EXPLAIN shows where the time goes), or raise this limit of the job"),
    row(ErrorKind::DatabaseBusy, Retry::Run, exit::JOB_FAILED, "look what keeps PostgreSQL busy (pg_stat_activity); or let the job run at a quieter time, or raise its timeout, or busy_above in [postgres]; the old keys stay"),
    row(ErrorKind::StandbyBehind, Retry::Run, exit::JOB_FAILED, "look why the standby is behind (pg_stat_replication on the primary, recovery conflicts and pg_is_wal_replay_paused() on the standby); or name another server in DATABASE_URL, or raise max_lag in [postgres]; the old keys stay"),
    row(ErrorKind::SnapshotLost, Retry::Attempt, exit::JOB_FAILED, "on a standby, raise max_standby_streaming_delay or read from the primary"),
    row(ErrorKind::Query, Retry::Never, exit::JOB_FAILED, "run `warm check`: it prepares every query"),
    row(ErrorKind::Data, Retry::Never, exit::JOB_FAILED, "correct the row that the server complains about, or what the query makes of it"),
    row(ErrorKind::NoValue, Retry::Never, exit::JOB_FAILED, "correct the value: in the key, or in [for_each]"),
    row(ErrorKind::Row, Retry::Never, exit::JOB_FAILED, "correct the row or the query; on_bad_row = \"skip\" leaves such rows out and counts them"),
    row(ErrorKind::Definition, Retry::Never, exit::JOB_FAILED, "run `warm check`: it compares every job with the database"),
    row(ErrorKind::Feed, Retry::Never, exit::JOB_FAILED, "docs/changes.md says what the database, the account and the owner of the tables need"),
    row(ErrorKind::RedisUnreachable, Retry::Run, exit::REDIS, "check that Redis runs and that REDIS_URL names its host and port"),
    row(ErrorKind::RedisRefused, Retry::Never, exit::REDIS, "check user and password of REDIS_URL and the account's rights (config/redis-acl.conf shows the least account)"),
    row(ErrorKind::RedisFull, Retry::Never, exit::GUARD, "give Redis more memory or cache less; nothing was deleted to make room"),
    row(ErrorKind::RedisTight, Retry::Never, exit::GUARD, "raise maxmemory, cache less, or raise memory_limit in [redis]; nothing was deleted to make room"),
    row(ErrorKind::RedisEvicts, Retry::Never, exit::GUARD, "raise maxmemory or cache less: what is written pushes out what others need"),
    row(ErrorKind::RedisReply, Retry::Attempt, exit::REDIS, "check what stands between warm and Redis"),
    row(ErrorKind::RedisRestarted, Retry::Attempt, exit::REDIS, "look into the Redis log for the reason of its restart"),
    row(ErrorKind::Guard, Retry::Never, exit::GUARD, "look at the data: the old keys stay; if it is right, `warm --now JOB --accept` publishes it once"),
    row(ErrorKind::JobTimeout, Retry::Never, exit::JOB_FAILED, "raise the job's timeout, or make its query cheaper"),
    row(ErrorKind::Panic, Retry::Never, exit::JOB_FAILED, "this is a defect of warm: please report it with the log"),
    row(ErrorKind::Cancelled, Retry::Never, exit::JOB_FAILED, "run it again: what was written is complete key by key"),
    row(ErrorKind::HeldElsewhere, Retry::Never, exit::HELD, "wait until the other instance is done, or allow both with overlap = \"allow\""),
    row(ErrorKind::ServedElsewhere, Retry::Never, exit::OK, "nothing: another instance has done it"),
];

impl ErrorKind {
    /// Whether nothing went wrong: another instance runs the job, or has done so.
    pub fn leaves_it_to_others(self) -> bool {
        matches!(self, ErrorKind::HeldElsewhere | ErrorKind::ServedElsewhere)
    }

    /// What follows from this kind.
    pub fn consequence(self) -> Consequence {
        // The table is complete: a test walks every kind. The fallback keeps this total without a panic.
        TABLE.iter().copied().find(|row| row.kind == self).unwrap_or(row(self, Retry::Never, exit::JOB_FAILED, ""))
    }
}

/// A failed run, or a step of one: its kind and the cause in the words of whoever saw it first.
///
/// The message holds no secret: adapters build it from what the server said, never from a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// Decides what follows.
    pub kind: ErrorKind,
    /// The cause, for people.
    pub message: String,
    /// What it is about.
    pub at: At,
}

/// The place that an error is about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum At {
    /// The job's file.
    #[default]
    Job,
    /// A line of it, from 1.
    Line(usize),
    /// A place that may be in another file, as people are told it.
    Place(String),
}

impl Error {
    /// An error of the given kind.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Error { kind, message: message.into(), at: At::Job }
    }

    /// Where the cause stands, as far as it can be told: `FILE:LINE` or `FILE`. `file` is the job's.
    pub fn place(&self, file: &Path) -> String {
        match &self.at {
            At::Job => file.display().to_string(),
            At::Line(line) => format!("{}:{line}", file.display()),
            At::Place(place) => place.clone(),
        }
    }

    /// The same about a line of the job's file.
    #[must_use]
    pub fn at_line(self, line: Option<usize>) -> Self {
        Error { at: line.map_or(At::Job, At::Line), ..self }
    }

    /// The same about a place that may be in another file.
    #[must_use]
    pub fn at_place(self, place: &str) -> Self {
        Error { at: At::Place(place.to_owned()), ..self }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_exactly_one_row_with_advice() {
        for row in TABLE {
            assert_eq!(TABLE.iter().filter(|other| other.kind == row.kind).count(), 1, "{:?}", row.kind);
            assert!(!row.advice.is_empty(), "{:?}", row.kind);
        }
        // The last kind's number counts the kinds: a new one without a row fails here.
        assert_eq!(TABLE.len(), ErrorKind::ServedElsewhere as usize + 1);
    }
}
