//! What is remembered of a run after its process has ended: for people who ask what happened, and for guards that compare a run with the last good one.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::error::{Error, ErrorKind};
use super::fingerprint::Fingerprint;
use super::request::Trigger;
use super::row::Column;
use super::run::Stats;
use super::sample::Sampled;

/// A finished run.
#[derive(Debug, Clone)]
pub struct Record {
    /// The job's name.
    pub job: String,
    /// Which rows the job asks for: [`super::job::Job::definition`].
    pub definition: Fingerprint,
    /// Why it began.
    pub trigger: Trigger,
    /// When it began.
    pub started: DateTime<Utc>,
    /// When it ended.
    pub ended: DateTime<Utc>,
    /// What was done.
    pub stats: Stats,
    /// The failure that ended it.
    pub failure: Option<Error>,
    /// The due time that is done with now.
    pub served: Option<DateTime<Utc>>,
    /// Whether the job is up to date with it: [`super::run::Report::is_success`].
    pub success: bool,
    /// What a good run read, as the measure of later ones; `None` for a run that failed or that did not look at everything.
    pub measure: Option<Measure>,
    /// A few of the keys that it wrote or found in place; `None` of a run that failed or was not whole.
    pub sample: Option<Sampled>,
}

impl Record {
    /// Whether anything was run: what another instance has served is a start without a run.
    pub fn is_run(&self) -> bool {
        self.failure.as_ref().is_none_or(|failure| failure.kind != ErrorKind::ServedElsewhere)
    }
}

/// What a run's query gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measure {
    /// The rows of all combinations.
    pub rows: u64,
    /// The query's own columns, in their order.
    pub columns: Vec<NamedType>,
}

/// The last good run of a job whose definition was the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastGood {
    /// When it ended.
    pub ended: DateTime<Utc>,
    /// What its query gave.
    pub measure: Measure,
}

/// What is known of a job's runs, as far as they are kept. Refreshes of keys before they die are no runs here: they are many, and each of them is a part of one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// When the job was up to date last. A start that another instance has served counts: whether it was a success, the other instance knows.
    pub last_success: Option<DateTime<Utc>>,
    /// The keys that the last success of this instance wrote or renewed.
    pub keys: Option<u64>,
    /// When the first run of this instance began that is kept, refreshes included: since then the job is known.
    pub known_since: Option<DateTime<Utc>>,
    /// The last run of this instance.
    pub last_run: Option<PastRun>,
    /// The last run of this instance that failed.
    pub last_failure: Option<PastRun>,
    /// The last refresh, if it failed, and the job was not up to date since.
    pub failed_refresh: Option<PastRun>,
    /// How many runs of this instance ended well.
    pub succeeded: u64,
    /// How many did not.
    pub failed: u64,
    /// How long the slowest query of the last run that had any took, until its last row.
    pub slowest_query: Option<Duration>,
}

/// A run that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastRun {
    /// When it ended.
    pub ended: DateTime<Utc>,
    /// Keys written.
    pub keys: u64,
    /// If it failed, what kind of error that was, and the message.
    pub failure: Option<(String, String)>,
}

/// The history cannot be used, so that nothing is known of earlier runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unknown;

/// A column by name and type, as they are written in SQL: numbers of types differ from one database to its copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedType {
    /// The column's name or alias.
    pub name: String,
    /// Its type; a row type with its fields, since they are part of the value.
    pub ty: String,
}

impl From<&Column> for NamedType {
    fn from(column: &Column) -> Self {
        NamedType { name: column.name.clone(), ty: column.ty.in_full() }
    }
}
