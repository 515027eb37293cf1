//! What is remembered of a run after its process has ended: for people who ask what happened, and for guards that compare a run with the last good one.

use chrono::{DateTime, Utc};

use super::error::Error;
use super::fingerprint::Fingerprint;
use super::request::Trigger;
use super::row::Column;
use super::run::Stats;

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
    /// What a good run read, as the measure of later ones; `None` for a run that failed or that did not look at everything.
    pub measure: Option<Measure>,
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
