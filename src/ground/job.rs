//! A job as the rest of the program sees it: every field is right by construction, nothing below re-checks it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::fingerprint::Fingerprint;
use super::guard::Guard;
use super::key::{KeyTemplate, PAGE};
use super::kind::KeyType;
use super::refresh::RefreshAhead;
use super::schedule::{Schedule, Splay};
use super::sealing::{Encrypt, MOST_ADDED, NO_KEY, Sealing};
use super::sql::Sql;
use super::ttl::JobTtl;
use super::value::{BigInt, ValueShape};

/// One job: a query, its keys and values, their lifetime and schedule.
#[derive(Debug, Clone)]
pub struct Job {
    /// The job's name: its file's name without `.toml`.
    pub name: String,
    /// The file that defines it.
    pub file: PathBuf,
    /// What it is for, in the author's words.
    pub description: Option<String>,
    /// When it runs.
    pub schedule: Schedule,
    /// How long it waits when it is due.
    pub splay: Splay,
    /// The query that gives the rows.
    pub query: Sql,
    /// The query that gives the rows of one key, where the job's own cannot.
    pub fill_query: Option<Sql>,
    /// Whether it has no query of its own: then it never runs, and only fills single keys for who asks.
    pub on_demand: bool,
    /// The query whose columns the job's own must have, in a job that is narrowed to one key by another query.
    pub columns_of: Option<Sql>,
    /// The only key that is written: this is a job narrowed to it.
    pub only: Option<Arc<[u8]>>,
    /// How keys are made from parameters and columns.
    pub key: KeyTemplate,
    /// How rows become values.
    pub value: ValueShape,
    /// What those values are in Redis.
    pub key_type: KeyType,
    /// The name of the value format, one that `encode` knows.
    pub format: &'static str,
    /// How the format writes an `int8`, where it leaves the choice.
    pub bigint: BigInt,
    /// Columns that are left out of the value.
    pub hide: Vec<String>,
    /// What is done to a value before it is written.
    pub sealing: Sealing,
    /// In which parts the query is read side by side, if it is.
    pub partition: Option<Partition>,
    /// The parameters' values: the query runs once for each combination.
    pub for_each: Vec<Parameter>,
    /// The lifetime of its keys.
    pub ttl: JobTtl,
    /// Jobs with a higher priority run first.
    pub priority: i32,
    /// The longest that a run may take, all its attempts together.
    pub timeout: Duration,
    /// How long the database may take for rows.
    pub row_timeouts: RowTimeouts,
    /// How many more attempts a run gets after a failure that may pass.
    pub retries: u32,
    /// What happens to a row that cannot become an entry.
    pub on_bad_row: OnBadRow,
    /// Which keys a run writes.
    pub mode: Mode,
    /// How a run makes sure that what it wrote is still right.
    pub verify: Verify,
    /// When the application removes what a change of its makes stale.
    pub invalidates: Invalidates,
    /// The longest value in bytes; longer ones are refused and counted.
    pub max_value: usize,
    /// What its rows must be like to be published.
    pub guard: Guard,
    /// Whether keys are removed whose rows are gone.
    pub sweep: bool,
    /// What happens to starts that were missed.
    pub catch_up: CatchUp,
    /// How late a start may be and still be none that was missed.
    pub misfire_grace: TimeDelta,
    /// What happens when the job comes due while it still runs.
    pub overlap: Overlap,
    /// Whether keys are refreshed before they die, beside the schedule.
    pub refresh_ahead: Option<RefreshAhead>,
    /// How long ago a run may have ended well at the most, before somebody is told.
    pub max_age: Option<Duration>,
    /// How many keys each run of `warm serve` fills beside its own, by what is missed, if it does.
    pub predict: Option<usize>,
    /// What becomes of a key when a row that it is made of changes, where that is told.
    pub on_change: OnChange,
}

impl Job {
    /// The most bytes that a value of it has as it stands in Redis: sealing may add some.
    pub fn most_in_redis(&self) -> usize {
        self.max_value.saturating_add(MOST_ADDED)
    }

    /// How its rows are read.
    pub fn reads(&self) -> Reads {
        Reads { timeouts: self.row_timeouts, secret: self.sealing.is_secret() }
    }

    /// Whether the key is made of parameters only, so that it is known before the query runs.
    pub fn key_is_known_beforehand(&self) -> bool {
        self.key.names().iter().all(|name| self.parameter(name).is_some())
    }

    /// Why the job runs neither by itself nor when all jobs are asked for, if it does not.
    pub fn disabled(&self) -> Option<&'static str> {
        matches!(self.sealing.encrypt, Encrypt::WithoutKey).then_some(NO_KEY)
    }

    /// Whether there are runs of it: it is neither disabled nor for single keys only.
    pub fn runs(&self) -> bool {
        !self.on_demand && self.disabled().is_none()
    }

    /// When a run starts that is due then: after a delay of the job's own, so that not all jobs start at once.
    pub fn start_of(&self, due: DateTime<Utc>) -> DateTime<Utc> {
        self.splay.start(&self.schedule, due)
    }

    /// What the job is called where several installations may see it: two jobs of one name that write other keys are not the same job.
    pub fn mark(&self) -> String {
        format!("{}:{}", self.name, Fingerprint::of([&*self.key.to_string()]))
    }

    /// The due time whose run is the next to start, at `from` or later: it may have passed already, while the run waits for the job's delay.
    pub fn next_due(&self, from: DateTime<Utc>) -> Option<DateTime<Utc>> {
        // No delay reaches the following due time, so that one run at most waits.
        let latest = self.schedule.latest(from).filter(|due| self.start_of(*due) >= from);
        latest.or_else(|| self.schedule.next(from))
    }

    /// All due times from [`Job::next_due`] on, one after the other.
    pub fn all_due(&self, from: DateTime<Utc>) -> impl Iterator<Item = DateTime<Utc>> {
        std::iter::successors(self.next_due(from), |due| self.schedule.next(*due))
    }

    /// Which rows the job asks for: its query and the parameters' values, whatever is made of the rows then.
    pub fn definition(&self) -> Fingerprint {
        let parameters = self.for_each.iter().flat_map(|Parameter { name, values }| {
            let (kind, values) = match values {
                Values::List(list) => ("list", list.iter().map(String::as_str).collect()),
                Values::Query(sql) => ("query", vec![sql.text()]),
            };
            [name.as_str(), kind].into_iter().chain(values)
        });
        Fingerprint::of([self.query.text()].into_iter().chain(parameters))
    }

    /// Whether it is refreshed as a whole: its guard counts the rows of all combinations, the absence of a row means something, or a combination is read in
    /// parts, one of which says nothing of the others.
    pub fn is_refreshed_whole(&self) -> bool {
        self.sweep || self.partition.is_some() || self.guard.counts_rows()
    }

    /// Whether this placeholder of the key is a page's number, and so neither a parameter nor a column.
    pub fn is_page_number(&self, placeholder: &str) -> bool {
        placeholder == PAGE && self.value.page_size().is_some()
    }

    /// The parameter of that name.
    pub fn parameter(&self, name: &str) -> Option<&Parameter> {
        self.for_each.iter().find(|parameter| parameter.name == name)
    }
}

/// How long a query's rows are waited for, beside the time-out of each statement. Only the server's time counts: what rows wait for on their way to the
/// cache does not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RowTimeouts {
    /// From the beginning of the query to its first row, or to its end without one (`first_row_timeout`).
    pub first: Option<Duration>,
    /// From one row to the next, or to the end (`next_row_timeout`).
    pub next: Option<Duration>,
}

/// How a statement's rows are read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reads {
    /// How long they are waited for.
    pub timeouts: RowTimeouts,
    /// Whether what the server says about them is told to nobody, since it may hold values.
    pub secret: bool,
}

/// One parameter of `[for_each]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// The name, as in `:name` and `{name}`.
    pub name: String,
    /// Where its values come from.
    pub values: Values,
}

/// The values of a parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Values {
    /// Given in the job file, as text; without repetition, and at least one.
    List(Vec<String>),
    /// The rows of a query with one column.
    Query(Sql),
}

/// What happens to a row that cannot become an entry (`on_bad_row`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnBadRow {
    /// The job fails.
    Fail,
    /// The row is left out and counted.
    Skip,
}

/// Which keys a run writes (`mode`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// All keys of the job.
    Refresh,
    /// Absent keys only.
    Missing,
}

/// What becomes of a key when a row that it is made of changes (`on_change`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnChange {
    /// It is deleted.
    Delete,
    /// It is written again, if it is there.
    Rewrite,
}

/// What happens to starts that were missed (`catch_up`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CatchUp {
    /// One run makes up for all of them.
    Latest,
    /// Each is made up, one after the other.
    All,
    /// They are counted.
    None,
}

/// What happens when a job comes due while it still runs (`overlap`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overlap {
    /// The new run is not begun.
    Skip,
    /// The old run is stopped, and the new one begun.
    Replace,
    /// Both run.
    Allow,
}

/// How a run makes sure that what it wrote is still right (`verify`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verify {
    /// The query is run again in a newer snapshot, unless nothing was committed since the first one.
    Requery,
    /// The same, but only this column is compared, and only it and the key's columns are read again.
    Version(Version),
    /// Not at all.
    None,
}

/// The column with a row's version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Its name.
    pub column: String,
    /// Where it is named, in the job's file or in the configuration: `FILE:LINE` or `$VARIABLE`.
    pub at: String,
}

/// How a big query is read in parts (`partition_by`): ranges of a column that the key is made of, so that all rows of a key are in one of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// The column.
    pub column: String,
    /// How many ranges.
    pub parts: usize,
    /// Where it is named: `FILE:LINE`.
    pub at: String,
}

/// When the application removes what a change of its makes stale (`invalidates`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Invalidates {
    /// After it has committed the change.
    AfterCommit,
    /// In the transaction that makes the change, before it is committed.
    BeforeCommit,
}
